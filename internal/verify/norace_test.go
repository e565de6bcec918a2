//go:build !race

package verify

const sparse = 1
