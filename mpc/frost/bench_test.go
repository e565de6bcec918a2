package frost_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// BenchmarkSession is a whole session and one combination, as make bench counts
// it.
func BenchmarkSession(b *testing.B) {
	for _, c := range []struct {
		name  string
		suite mpc.Suite
		n, t  int
	}{{"ed25519-2of3", mpc.FROSTEd25519, 3, 2}, {"ed25519-3of5", mpc.FROSTEd25519, 5, 3}, {"bip340-2of3", mpc.FROSTSecp256k1TR, 3, 2}} {
		b.Run(c.name, func(b *testing.B) {
			k := keys(b, c.suite, c.n, c.t)
			terms := mpctest.FrostTerms(mpctest.IDs(c.t))
			for b.Loop() {
				f := start(b, "bench", k, terms, nil)
				until(b, f)
				if _, err := f.Combine(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
