package cage

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the small heaps of vault and helper grow fivefold between two
// collections.
const gcPercent = 400

// SparingGC collects garbage less often, unless GOGC says otherwise. A process with
// a heap of its own of a few MB, as each of a party's is, would else collect many
// times a second under load.
func SparingGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
