//go:build !race

package handover

const slow = 1
