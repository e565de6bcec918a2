//go:build race

package refmodel

// underRace: the detector makes base OT six times slower, and the model has no
// goroutine; one base OT is enough.
const underRace = true
