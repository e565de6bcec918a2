package sim

import (
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/mpc"
)

func newWorld(t *testing.T, seed uint64, n int) *World {
	t.Helper()
	w, err := New(seed, n, Roster(seed), Policy())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestTransfer signs an allowed transfer with every pair of three vaults.
func TestTransfer(t *testing.T) {
	w := newWorld(t, 1, 3)
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range [][]mpc.ID{{1, 2}, {1, 3}, {2, 3}} {
		b := w.Transfer(x, Known, ETH(1))
		unsigned := Unsigned(Known, ETH(1), uint64(i))
		replies, err := w.Sign(b, unsigned, s...)
		if err != nil {
			t.Fatal(err)
		}
		p, err := evm.Codec{}.Prepare(Chain, x.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := Combine(x, p.Digests[0], replies)
		if err != nil {
			t.Fatal(err)
		}
		if sig.S == [32]byte{} {
			t.Error("empty signature")
		}
	}
}

// TestRefusal: a transfer above every limit is refused by each vault.
func TestRefusal(t *testing.T) {
	w := newWorld(t, 2, 3)
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	replies, err := w.Sign(w.Transfer(x, Known, ETH(11)), Unsigned(Known, ETH(11), 0), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for id, r := range replies {
		if r == nil || r.Outcome != cluster.OutcomeRefused || len(r.Certificate) == 0 {
			t.Errorf("vault %d: %+v", id, r)
		}
	}
}
