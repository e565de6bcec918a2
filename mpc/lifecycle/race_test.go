//go:build race

package lifecycle_test

// race shrinks what is slow under the race detector; stride is from one byte that
// is attacked to the next.
const (
	race   = true
	stride = 11
)
