//go:build race

package dkls23_test

// raceEnabled shrinks what is slow under the race detector.
const raceEnabled = true
