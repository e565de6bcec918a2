//go:build coffer_planted && bug_approval

package planted

// Bug is the bug of this build.
const Bug = Approval
