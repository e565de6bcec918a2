//go:build race

package verify

// sparse: the race detector makes every signature ten times as slow, and the
// flipped bytes are the business of the run without it.
const sparse = 29
