//go:build coffer_planted && bug_ownledger

package planted

// Bug is the bug of this build.
const Bug = OwnLedger
