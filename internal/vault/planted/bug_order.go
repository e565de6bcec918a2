//go:build coffer_planted && bug_order

package planted

// Bug is the bug of this build.
const Bug = Order
