package vault_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

func (f *fixture) cosigned(id mpc.ID) *audit.CosignedCheckpoint {
	f.Helper()
	n, err := f.Command(id, &cluster.Command{Kind: cluster.CommandCosigned})
	f.ok(err)
	rep := f.Replies[n]
	if rep == nil || rep.Outcome != cluster.OutcomeDone {
		f.Fatalf("vault %d tells no cosigned checkpoint", id)
	}
	c, err := audit.DecodeCosignedCheckpoint(rep.Body)
	f.ok(err)
	return c
}

// by are the vaults whose cosignatures of a vault's checkpoint verify.
func (f *fixture) by(id mpc.ID) (ids []uint16) {
	f.Helper()
	c := f.cosigned(id)
	for i := range c.Cosignatures {
		for j := range f.Genesis.Enrolments {
			card := &f.Genesis.Enrolments[j].Vault
			k := audit.Cosigner{Name: audit.Origin(f.Genesis.Hash(), card.ID), Key: card.Log}
			if c.Cosignatures[i].Verify(k, c.Checkpoint.Text()) == nil {
				ids = append(ids, card.ID)
			}
		}
	}
	return ids
}

// TestVaultsCosign: every vault cosigns the others' checkpoints, after a start, too;
// not those of a vault that told two stories.
func TestVaultsCosign(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.pass(4)
	for id := mpc.ID(1); id <= 3; id++ {
		if c, by := f.cosigned(id), f.by(id); len(by) != 2 || c.Checkpoint.Vault != uint16(id) || c.Checkpoint.Size != f.Parties[id].Vault.LogSize() {
			t.Errorf("vault %d's checkpoint of %d entries is cosigned by %v", id, c.Checkpoint.Size, by)
		}
	}
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.pass(4)
	for id := mpc.ID(1); id <= 3; id++ {
		if by := f.by(id); len(by) != 2 {
			t.Errorf("after a start vault %d's is cosigned by %v", id, by)
		}
	}
	fork := f.signedHead(1, func(c *audit.Checkpoint) { c.Root[0] ^= 1 })
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[3].Vault.SealShown(2, fork, 0, nil)}))
	if !f.Parties[2].Vault.Suspended(1) {
		t.Fatal("a fork suspends nobody")
	}
	f.ok(f.Settle())
	before := f.cosigned(1).Checkpoint.Size
	f.pass(40) // an older one with more cosignatures is shown no more
	f.works(1, 3)
	f.pass(4)
	if c, by := f.cosigned(1), f.by(1); c.Checkpoint.Size <= before || len(by) != 1 || by[0] != 3 {
		t.Errorf("the checkpoint of %d entries (%d before the fork) is cosigned by %v, want 3", c.Checkpoint.Size, before, by)
	}
}

// TestForgedCosignature: what a peer's log key has not signed about this checkpoint
// counts for nothing.
func TestForgedCosignature(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.Intercept = nil
	v := f.Parties[1].Vault
	_, other, err := ed25519.GenerateKey(rand.Reader)
	f.ok(err)
	cp := v.Newest()
	c := audit.Cosignature{Name: audit.Origin(f.Genesis.Hash(), 3), Time: 5}
	c.Signature = [64]byte(ed25519.Sign(other, audit.Cosigned(cp.Text(), 5)))
	for name, frame := range map[string][]byte{
		"another key":      f.Parties[3].Vault.SealCosignature(1, cp.Size, &c),
		"another vault":    f.Parties[2].Vault.SealCosignature(1, cp.Size, f.Parties[3].Vault.Cosign(cp.Text())),
		"another text":     f.Parties[3].Vault.SealCosignature(1, cp.Size, f.Parties[3].Vault.Cosign(cp.Text()+"x")),
		"unknown size":     f.Parties[3].Vault.SealCosignature(1, cp.Size+900, f.Parties[3].Vault.Cosign(cp.Text())),
		"checkpoint's own": f.Parties[3].Vault.SealCosignature(1, cp.Size, &audit.Cosignature{Name: c.Name, Time: 5, Signature: [64]byte(cp.Log.Bytes)}),
	} {
		v.ForgetCosignatures()
		f.ok(f.Step(1, vault.Input{Frame: frame}))
		if n := v.Cosignatures(); n != 0 {
			t.Errorf("%s: counts", name)
		}
	}
	f.ok(f.Step(1, vault.Input{Frame: f.Parties[3].Vault.SealCosignature(1, cp.Size, f.Parties[3].Vault.Cosign(cp.Text()))}))
	if v.Cosignatures() != 1 {
		t.Error("a good one does not count")
	}
}
