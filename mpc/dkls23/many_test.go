package dkls23_test

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// batch, presign and online start runs that share setups: none draws the nonces
// of another.
func (c *cluster) batch(tb testing.TB, label string, signers []mpc.ID, items []dkls23.Item, edit func(*dkls23.BatchConfig)) *mpctest.Many {
	tb.Helper()
	m, err := mpctest.NewBatch(fmt.Sprintf("%s #%d", label, runs.Add(1)), c.keys, c.setups, signers, items, edit)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func (c *cluster) presign(tb testing.TB, label string, signers []mpc.ID, kind dkls23.Kind, count int, edit func(*dkls23.PresignConfig)) *mpctest.Many {
	tb.Helper()
	m, err := mpctest.NewPresign(fmt.Sprintf("%s #%d", label, runs.Add(1)), c.keys, c.setups, signers, kind, count, edit)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// presignatures are one of each signer, all of one name.
func (c *cluster) presignatures(tb testing.TB, label string, signers []mpc.ID, kind dkls23.Kind) map[mpc.ID]*dkls23.Presignature {
	tb.Helper()
	m := c.presign(tb, label, signers, kind, 1, nil)
	if err := m.Run(); err != nil {
		tb.Fatal(err)
	}
	return slotOf(m, 0)
}

// slotOf is the presignature of slot k of each signer.
func slotOf(m *mpctest.Many, k int) map[mpc.ID]*dkls23.Presignature {
	out := make(map[mpc.ID]*dkls23.Presignature)
	for id, ps := range m.Presigs {
		out[id] = ps[k]
	}
	return out
}

func (c *cluster) online(tb testing.TB, label string, signers []mpc.ID, presigs map[mpc.ID]*dkls23.Presignature, edit func(*dkls23.OnlineConfig)) *mpctest.Online {
	tb.Helper()
	o, err := mpctest.NewOnline(fmt.Sprintf("%s #%d", label, runs.Add(1)), c.keys, signers, presigs, edit)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// verify checks a signature with decred, under the child key.
func verify(t *testing.T, c *cluster, tweak *secp256k1.Scalar, hash [32]byte, sig *ecdsa.Signature) {
	t.Helper()
	if sig == nil {
		t.Error("no signature")
		return
	}
	p := secp256k1.NewPoint().Set(group.Secp256k1Point(c.keys[1].PublicKey))
	if tweak != nil {
		p.Add(p, secp256k1.NewPoint().ScalarBaseMult(tweak))
	}
	if err := ecdsa.Verify(p.Bytes(), hash, sig); err != nil {
		t.Error(err)
	}
	if key, err := ecdsa.Recover(hash, sig); err != nil || key != p.Bytes() {
		t.Errorf("recovered key %x, %v, want %x", key, err, p.Bytes())
	}
}

var kinds = []dkls23.Kind{dkls23.Delayed, dkls23.Full}

func TestBatchEverySubset(t *testing.T) {
	for _, size := range []struct{ n, t, items int }{{3, 2, 1}, {3, 2, 2}, {3, 2, 9}, {5, 3, 3}} {
		c := shared(t, size.n, size.t)
		for i, signers := range subsets(mpctest.IDs(size.n), size.t) {
			if i%4 != 0 && (raceEnabled || testing.Short()) {
				continue
			}
			m := c.batch(t, "batch", signers, mpctest.Items(size.items), nil)
			if err := m.Run(); err != nil {
				t.Fatal(err)
			}
			sigs, err := m.Combine()
			if err != nil {
				t.Fatal(err)
			}
			for k, sig := range sigs {
				verify(t, c, m.Items[k].Tweak, m.Items[k].MessageHash, sig)
			}
		}
	}
}

func TestPresignEverySubset(t *testing.T) {
	for _, size := range []struct{ n, t int }{{3, 2}, {3, 3}, {5, 3}} {
		c := shared(t, size.n, size.t)
		for i, signers := range subsets(mpctest.IDs(size.n), size.t) {
			if i%4 != 0 && (raceEnabled || testing.Short()) {
				continue
			}
			for _, kind := range kinds {
				name := fmt.Sprintf("%v %v", kind, signers)
				m := c.presign(t, name, signers, kind, 3, nil)
				if err := m.Run(); err != nil {
					t.Fatal(err)
				}
				for k, item := range mpctest.Items(3) {
					o := c.online(t, name, signers, slotOf(m, k), func(cfg *dkls23.OnlineConfig) {
						cfg.MessageHash, cfg.Tweak, cfg.Path = item.MessageHash, item.Tweak, item.Path
					})
					sig, err := o.Run()
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					verify(t, c, item.Tweak, item.MessageHash, sig)
				}
			}
		}
	}
}
