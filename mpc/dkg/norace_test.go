//go:build !race

package dkg_test

const raceEnabled = false
