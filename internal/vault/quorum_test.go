package vault_test

import (
	"slices"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// startFaulty has a wallet of 2 of 3 whose ledger withstands one corrupt vault.
func startFaulty(t *testing.T, purpose string) *fixture {
	t.Helper()
	f := startQuick(t)
	f.Faults = 1
	o := f.KeygenOrderFor("vigilant", purpose, 2)
	c := f.keygenCommand("vigilant")
	c.Body = o.Encode()
	var last uint64
	for _, id := range f.IDs {
		last = f.command(id, c)
	}
	f.ok(f.Settle())
	x, err := f.Wallet(f.Replies[last].Body)
	f.ok(err)
	f.x = x
	return f
}

func (f *fixture) witnessed(b *request.Bundle, unsigned []byte, signers, witnesses []mpc.ID) map[mpc.ID]*cluster.Reply {
	f.Helper()
	ids, err := f.StartWitnessed(b, unsigned, signers, witnesses)
	f.ok(err)
	f.ok(f.Settle())
	out := map[mpc.ID]*cluster.Reply{}
	for id, n := range ids {
		out[id] = f.Replies[n]
	}
	return out
}

// With f = 1 the third vault takes part in the ledger of every signature, gives no
// share, and nothing is signed without its certificate.
func TestWitness_LedgerQuorum(t *testing.T) {
	f := startFaulty(t, governance.PurposeECDSA)
	for i, signers := range [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}} {
		b, unsigned := f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), uint64(i))
		w := mpc.ID(6) - signers[0] - signers[1]
		replies := f.witnessed(b, unsigned, signers, []mpc.ID{w})
		if r := replies[w]; r == nil || r.Outcome != cluster.OutcomeDone || len(r.Body) != 0 {
			t.Fatalf("witness %d: %s", w, show(r))
		}
		d := f.certified(w, replies[w]).Decision
		if !d.Allow || !slices.Equal(d.Witnesses, []uint16{uint16(w)}) || len(d.Parties) != 2 {
			t.Errorf("witness %d certifies %v, %v, %v", w, d.Allow, d.Parties, d.Witnesses)
		}
		delete(replies, w)
		f.combine(b, unsigned, replies)
	}
}

// Without the witness, or with too few, nothing is even reserved.
func TestWitnessMissing(t *testing.T) {
	f := startFaulty(t, governance.PurposeECDSA)
	b, unsigned := f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4)
	f.refused("sign.witnesses", f.sign(b, unsigned, 1, 2))
	f.refused("sign.witnesses", f.witnessed(b, unsigned, []mpc.ID{1, 2}, []mpc.ID{2}))
	for _, id := range f.IDs {
		if f.Parties[id].Vault.LedgerSeq(id) != 0 {
			t.Errorf("vault %d reserved something", id)
		}
	}
	// What the witness says is lost: the signers release.
	f.Intercept = f.rounds(func(fr sim.Frame) bool { return fr.From != 3 })
	replies := f.witnessed(b, unsigned, []mpc.ID{1, 2}, []mpc.ID{3})
	f.ok(f.Tick(21_000))
	for id, r := range replies {
		if r != nil && r.Outcome == cluster.OutcomeDone {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
	f.Intercept = nil
	f.ok(f.Settle())
	replies = f.witnessed(b, unsigned, []mpc.ID{1, 2}, []mpc.ID{3})
	delete(replies, 3)
	f.combine(b, unsigned, replies)
}

// The same with a FROST key, whose witnesses have no more to do.
func TestWitnessFROST(t *testing.T) {
	f := startFaulty(t, governance.PurposeEd25519)
	b := f.Pay(f.x, sim.KnownSolana, sim.Lamports(1))
	unsigned := sim.UnsignedSolana(f.x, sim.KnownSolana, sim.Lamports(1), 1)
	replies := f.witnessed(b, unsigned, []mpc.ID{1, 3}, []mpc.ID{2})
	for id, r := range replies {
		if r == nil || r.Outcome != cluster.OutcomeDone || (len(r.Body) == 0) != (id == 2) {
			t.Fatalf("vault %d: %s", id, show(r))
		}
	}
	delete(replies, 2)
	if _, err := sim.CombineEd25519(f.x, b, unsigned, replies); err != nil {
		t.Error(err)
	}
}

// A coordinator that names a vault as a signer to itself and as a witness to others, or
// gives them keys of different kinds, under one attempt id, makes nobody guilty.
func TestOneAttemptInDifferentParts(t *testing.T) {
	f := startFaulty(t, governance.PurposeECDSA)
	b, unsigned := f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1)
	c := f.signCommand(b, unsigned, 1, 2)
	c.Witnesses = []uint16{3}
	d := *c
	d.Signers, d.Witnesses = []uint16{2, 3}, []uint16{1}
	var ids []uint64
	for id, c := range map[mpc.ID]*cluster.Command{1: c, 2: &d, 3: &d} {
		ids = append(ids, f.command(id, c))
	}
	f.ok(f.Settle())
	f.ok(f.Tick(21_000))
	f.ok(f.Settle())
	for _, n := range ids {
		if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeAborted || len(r.Culprits) > 0 {
			t.Errorf("%s", show(r))
		}
	}
}
