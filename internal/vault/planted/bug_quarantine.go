//go:build coffer_planted && bug_quarantine

package planted

// Bug is the bug of this build.
const Bug = Quarantine
