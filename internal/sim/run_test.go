package sim

import "testing"

// TestSeeds runs some seeds of every world, each twice: no violation, and the same
// trace.
func TestSeeds(t *testing.T) {
	for _, w := range Worlds {
		t.Run(w.Name, func(t *testing.T) {
			last := uint64(4)
			switch {
			case w.Name == "money": // three times as long as the others
				last = 2
			case raceEnabled:
				last = 2
			}
			for seed := uint64(1); seed <= last; seed++ {
				r, err := Replay(w.Run, seed, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range r.Violations {
					t.Errorf("seed %d: %s", seed, v)
				}
			}
		})
	}
}
