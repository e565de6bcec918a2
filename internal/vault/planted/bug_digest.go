//go:build coffer_planted && bug_digest

package planted

// Bug is the bug of this build.
const Bug = Digest
