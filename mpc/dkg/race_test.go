//go:build race

package dkg_test

// raceEnabled cuts down what runs a key generation for every byte.
const raceEnabled = true
