//go:build coffer_planted && bug_laterelease

package planted

// Bug is the bug of this build.
const Bug = LateRelease
