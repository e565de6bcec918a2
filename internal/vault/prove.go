package vault

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// How witnesses come by what they hold (docs/spec/rollback.md): vaults show each other
// their newest checkpoints, and prove that each continues the one before.

// tickWitness asks for what is missing, and makes durable what waits for it.
func (v *Vault) tickWitness(p *peer) {
	for i := range p.held.pending {
		v.askProof(p, &p.held.pending[i])
	}
	if p.held.dirty && v.now-p.held.saved >= witnessEvery {
		v.saveWitness(p)
	}
	v.cosign(p)
	if p.confirmed && v.now-p.shownAt >= witnessEvery {
		v.show(p, true)
	}
}

func (v *Vault) askProof(p *peer, h *head) {
	from, to := p.held.proven.size, h.size
	if from > to {
		from, to = to, from
	}
	if !p.confirmed || from == 0 || h.asked > 0 && v.now-h.asked < proveEvery {
		return
	}
	h.asked = max(v.now, 1)
	v.sendSealed(p, &inner{Kind: innerHeads, Round: headsProve, Private: wire.NewWriter(1).Uint64(from).Uint64(to).Bytes()})
}

// onProve answers with a proof from this vault's own log.
func (v *Vault) onProve(p *peer, b []byte) {
	r := wire.NewReader(b, 1)
	from, to := r.Uint64("from"), r.Uint64("to")
	if r.Done() != nil || v.gate.rolled != nil || !p.proofPace.spend(v.now, proofCost, proofBurst) {
		return
	}
	proof, err := v.log.Consistency(from, to)
	if err != nil {
		v.notePeer(p, "peer asks for a proof that this log does not have", "from", from, "to", to)
		return
	}
	v.broadcast(innerHeads, [16]byte{}, headsProof, []mpc.ID{p.id}, encodeProof(from, to, proof), nil)
}

// Bounds of the proofs that one peer may ask for: 100 a second after a burst.
const (
	proofCost  = 10
	proofBurst = 256 * proofCost
)

func encodeProof(from, to uint64, proof [][32]byte) []byte {
	w := wire.NewWriter(1).Uint64(from).Uint64(to)
	writeHashes(w, proof)
	return w.Bytes()
}

func decodeProof(b []byte) (from, to uint64, proof [][32]byte, err error) {
	r := wire.NewReader(b, 1)
	from, to = r.Uint64("from"), r.Uint64("to")
	proof = readHashes(r)
	return from, to, proof, r.Done()
}

const maxProof = 128

func writeHashes(w *wire.Writer, hs [][32]byte) {
	w.Count(len(hs))
	for i := range hs {
		w.Fixed(hs[i][:])
	}
}

func readHashes(r *wire.Reader) (hs [][32]byte) {
	for range r.Count("proof", maxProof, 32) {
		var h [32]byte
		r.Into("hash", h[:])
		hs = append(hs, h)
	}
	return hs
}

// onProof: a proof that is wrong, and signed, shows that the peer's log was
// rewritten.
func (v *Vault) onProof(p *peer, in *inner) {
	from, to, proof, err := decodeProof(in.Broadcast)
	if err != nil {
		return
	}
	old := p.held.proven
	i := slices.IndexFunc(p.held.pending, func(y head) bool { return y.size == from || y.size == to })
	if i < 0 {
		return
	}
	fresh := p.held.pending[i]
	if _, err := v.prove(p, from, to, proof); err != nil {
		v.equivocated(p, boots{old.boot, fresh.boot}, "equivocation", fmt.Sprintf("the log of vault %d with %d entries does not continue the one with %d: %v", p.id, max(fresh.size, old.size), min(fresh.size, old.size), err), old.raw, fresh.raw, in.Broadcast, in.Signature.Encode())
	}
}

// A peer is shown this vault's newest checkpoint, with the proof that it continues
// the one that it was shown before, and the newest of the others'.
type shown struct {
	Checkpoint []byte
	From       uint64
	Proof      [][32]byte
}

func encodeShown(xs []shown) []byte {
	w := wire.NewWriter(1).Count(len(xs))
	for _, s := range xs {
		w.Var(s.Checkpoint).Uint64(s.From)
		writeHashes(w, s.Proof)
	}
	return w.Bytes()
}

func decodeShown(b []byte) (xs []shown, err error) {
	r := wire.NewReader(b, 1)
	for range r.Count("shown", mpc.MaxParties, 16) {
		xs = append(xs, shown{r.Var("checkpoint", maxCheckpointBytes), r.Uint64("from"), readHashes(r)})
	}
	return xs, r.Done()
}

// show sends a peer this vault's newest checkpoint, once.
func (v *Vault) show(p *peer, relay bool) {
	if !p.confirmed || v.gate.rolled != nil {
		return
	}
	var xs []shown
	if cp := v.checkpoint; cp != nil && v.mayCheckpoint() && (cp.Size > p.shown || p.shownAt == 0) {
		s := shown{Checkpoint: cp.Encode(), From: p.shown}
		var err error
		if s.Proof, err = v.log.Consistency(p.shown, cp.Size); err != nil {
			s.From, s.Proof = 0, nil
		}
		xs = append(xs, s)
		p.shown = cp.Size
	}
	if relay {
		for _, id := range sortedIDs(v.peers) {
			q := v.peers[id]
			if size := q.held.seen.size; id != p.id && size > 0 && size != p.relayed[id] {
				xs = append(xs, shown{Checkpoint: q.held.seen.raw})
				if p.relayed == nil {
					p.relayed = map[mpc.ID]uint64{}
				}
				p.relayed[id] = size
			}
		}
	}
	if len(xs) > 0 {
		p.shownAt = max(v.now, 1)
		v.sendSealed(p, &inner{Kind: innerHeads, Round: headsShow, Private: encodeShown(xs)})
	}
}

// onShow takes the checkpoints that a peer shows. What it says of others counts only
// by their own signatures.
func (v *Vault) onShow(p *peer, b []byte) {
	xs, err := decodeShown(b)
	if err != nil {
		return
	}
	for _, s := range xs {
		if !p.showPace.spend(v.now, proofCost, proofBurst) {
			return
		}
		cp, err := audit.DecodeSignedCheckpoint(s.Checkpoint)
		if err != nil {
			continue
		}
		q := v.peers[mpc.ID(cp.Vault)]
		if mpc.ID(cp.Vault) == v.cfg.ID {
			v.onOwnCheckpoint(p, cp, s.Checkpoint)
			continue
		}
		if q == nil || v.witness(q, s.Checkpoint) != nil || q != p {
			continue
		}
		_, _ = v.prove(p, s.From, cp.Size, s.Proof) // a proof that is of no use is asked for
	}
}
