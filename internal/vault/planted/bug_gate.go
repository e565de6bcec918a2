//go:build coffer_planted && bug_gate

package planted

// Bug is the bug of this build.
const Bug = Gate
