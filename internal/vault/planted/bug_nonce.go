//go:build coffer_planted && bug_nonce

package planted

// Bug is the bug of this build.
const Bug = Nonce
