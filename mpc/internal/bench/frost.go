package main

import (
	"fmt"
	"math"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// schnorr prints the rows of FROST. Each is a whole session of t signers in which
// nothing is precomputed, and one combination of the shares by somebody else who
// has what was broadcast; the signature is verified once.
func schnorr(line func(string, float64)) error {
	for _, c := range []struct {
		name  string
		suite mpc.Suite
		n, t  int
	}{
		{"frost-ed25519-2of3", mpc.FROSTEd25519, 3, 2},
		{"frost-ed25519-3of5", mpc.FROSTEd25519, 5, 3},
		{"frost-bip340-2of3", mpc.FROSTSecp256k1TR, 3, 2},
		{"frost-bip340-3of5", mpc.FROSTSecp256k1TR, 5, 3},
	} {
		if err := schnorrRow(line, c.name, c.suite, c.n, c.t); err != nil {
			return err
		}
	}
	return nil
}

func schnorrRow(line func(string, float64), name string, suite mpc.Suite, n, t int) error {
	keys, _, err := mpctest.KeysOf(suite, "bench/"+name, mpctest.IDs(n), t)
	if err != nil {
		return err
	}
	terms := mpctest.FrostTerms(mpctest.IDs(t))
	best, sent, rounds := math.Inf(1), 0, 0
	for i := range runs * 20 {
		began := cpu()
		f, err := mpctest.NewFrost(fmt.Sprintf("bench/%s/%d", name, i), keys, terms, nil)
		if err != nil {
			return err
		}
		f.Bare = true
		for r := range f.Broadcast {
			if err := f.Round(r); err != nil {
				return err
			}
		}
		out, err := frost.Combine(f.Public(), terms, f.Broadcast[0], f.Broadcast[f.Last()])
		if err != nil || len(out) != 1 {
			return fmt.Errorf("%d signatures: %w", len(out), err)
		}
		best = min(best, float64(cpu()-began))
		// As largest counts: a broadcast to each peer, and the share once.
		rounds = len(f.Broadcast)
		sent = len(f.Broadcast[f.Last()][1])
		for r := range f.Last() {
			sent += len(f.Broadcast[r][1]) * (t - 1)
		}
	}
	line(name, best)
	fmt.Printf("bench: %s-bytes %d B\n", name, sent)
	fmt.Printf("bench: %s-rounds %d count\n", name, rounds)
	return nil
}
