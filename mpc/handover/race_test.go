//go:build race

package handover

// The race detector slows these runs tenfold; nothing in them runs at the same time.
const slow = 8
