package vault

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Cosignatures (docs/spec/checkpoint.md): a vault states to outsiders what it holds of
// its peers. It cosigns only a head that is proven to continue all that it knew of that
// log, after its record of it is durable.

// headsCosign is a round of innerHeads, private: audit.Cosignature of one of the
// receiver's checkpoints, after its size.
const headsCosign = 7

// maxCosigned bounds the own checkpoints for which cosignatures are kept, in memory.
const maxCosigned = 16

// ownCosigned is one of them.
type ownCosigned struct {
	checkpoint *audit.SignedCheckpoint
	by         map[mpc.ID]*audit.Cosignature
}

// cosign sends a peer this vault's cosignature of its newest proven checkpoint, once.
func (v *Vault) cosign(p *peer) {
	h := &p.held.proven
	if !p.confirmed || p.held.dirty || len(h.raw) == 0 || h.size <= p.cosigned || v.barred(p) || !v.mayCheckpoint() {
		return
	}
	cp, err := audit.DecodeSignedCheckpoint(h.raw)
	if err != nil || mpc.ID(cp.Vault) != p.id {
		return // decoded before it was kept
	}
	p.cosigned = h.size
	c := audit.Cosignature{Name: audit.Origin(v.clusterID(), uint16(v.cfg.ID)), Time: v.now / 1000}
	c.Signature = [64]byte(ed25519.Sign(v.logKey, audit.Cosigned(cp.Text(), c.Time)))
	v.sendSealed(p, &inner{Kind: innerHeads, Round: headsCosign, Private: wire.NewWriter(1).Uint64(cp.Size).Var(c.Encode()).Bytes()})
}

// keepOwn remembers a checkpoint that others may cosign.
func (v *Vault) keepOwn(cp *audit.SignedCheckpoint) *ownCosigned {
	for i := range v.cosigned {
		if v.cosigned[i].checkpoint.Size == cp.Size {
			return &v.cosigned[i]
		}
	}
	v.cosigned = append(v.cosigned, ownCosigned{cp, map[mpc.ID]*audit.Cosignature{}})
	if n := len(v.cosigned) - maxCosigned; n > 0 {
		v.cosigned = slices.Delete(v.cosigned, 0, n)
	}
	return &v.cosigned[len(v.cosigned)-1]
}

// onCosign takes a peer's cosignature. One that is wrong counts for nothing.
func (v *Vault) onCosign(p *peer, b []byte) {
	if !p.showPace.spend(v.now, proofCost, proofBurst) || v.checkpoint == nil {
		return
	}
	r := wire.NewReader(b, 1)
	size, raw := r.Uint64("size"), r.Var("cosignature", 1024)
	if r.Done() != nil {
		return
	}
	c, err := audit.DecodeCosignature(raw)
	if err != nil {
		return
	}
	own := v.keepOwn(v.checkpoint)
	if size != v.checkpoint.Size {
		i := slices.IndexFunc(v.cosigned, func(x ownCosigned) bool { return x.checkpoint.Size == size })
		if i < 0 {
			return // of long ago
		}
		own = &v.cosigned[i]
	}
	k := audit.Cosigner{Name: audit.Origin(v.clusterID(), uint16(p.id)), Key: v.keysOf(p).Log}
	if err := c.Verify(k, own.checkpoint.Text()); err != nil {
		v.notePeer(p, "this peer's cosignature does not count", "error", err.Error())
		return
	}
	own.by[p.id] = c
}

// bestCosigned is the checkpoint with the most cosignatures, of those that are nearly
// as new as the newest.
func (v *Vault) bestCosigned() *audit.CosignedCheckpoint {
	var best *ownCosigned
	for i := range v.cosigned {
		x := &v.cosigned[i]
		fresh := v.checkpoint != nil && x.checkpoint.Time+audit.CosignedWithin >= v.checkpoint.Time
		if fresh && (best == nil || len(x.by) >= len(best.by)) {
			best = x
		}
	}
	if best == nil {
		return nil
	}
	out := &audit.CosignedCheckpoint{Checkpoint: *best.checkpoint}
	for _, id := range sortedIDs(best.by) {
		out.Cosignatures = append(out.Cosignatures, *best.by[id])
	}
	audit.SortCosignatures(out.Cosignatures)
	return out
}

// tellCosigned answers its own node, which shows the log to others.
func (v *Vault) tellCosigned(id uint64) {
	c := v.bestCosigned()
	if c == nil {
		v.refuse(id, refusal.New("checkpoint.none", "", fmt.Sprintf("vault %d has signed no checkpoint since it started", v.cfg.ID), "a checkpoint"))
		return
	}
	v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone, Body: c.Encode()})
}
