//go:build !race

package lifecycle_test

const (
	race   = false
	stride = 1
)
