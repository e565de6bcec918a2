//go:build !race

package dkls23_test

const raceEnabled = false
