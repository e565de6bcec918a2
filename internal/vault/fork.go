package vault

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// With faults 0 a vault that lies can hide from one peer what it has promised with
// another, and then more than a limit is spent. It cannot do so unseen: the head of its
// ledger stands in the checkpoints that its HSM signs, and no two vaults hold
// histories that differ unless it has signed both.

// LedgerSide is one history of a vault's ledger: events, and a checkpoint of the vault
// that signs for the head after them.
type LedgerSide struct {
	Events     [][]byte
	Checkpoint []byte // audit.SignedCheckpoint; empty: none is held that signs for one of the events
}

func (s *LedgerSide) write(w *wire.Writer) {
	w.Count(len(s.Events))
	for _, e := range s.Events {
		w.Var(e)
	}
	w.Var(s.Checkpoint)
}

// VerifyFork checks that a vault has signed for two histories of its ledger of which
// neither continues the other. It says at which event they part.
func VerifyFork(keys audit.Keys, a, b LedgerSide) (at uint64, err error) {
	for i, s := range []LedgerSide{a, b} {
		cp, err := audit.DecodeSignedCheckpoint(s.Checkpoint)
		if err == nil {
			err = cp.Verify(keys)
		}
		if err != nil {
			return 0, fmt.Errorf("history %d: its checkpoint: %w", i+1, err)
		}
		l := ledger{party: mpc.ID(keys.Vault)}
		for _, e := range s.Events {
			l.append(e)
		}
		if l.head().Hash != cp.Ledger {
			return 0, fmt.Errorf("history %d: its checkpoint does not sign for its %d events", i+1, len(s.Events))
		}
	}
	for i := range min(len(a.Events), len(b.Events)) {
		if string(a.Events[i]) != string(b.Events[i]) {
			return uint64(i), nil
		}
	}
	return 0, errors.New("one history continues the other")
}

// LedgerOf is what this vault can show of another's ledger: the events up to the last
// one for which it holds a signed checkpoint. In memory it keeps the newest ones only;
// logged are those that its log keeps for good, with the outcomes (audit.Outcome).
func (v *Vault) LedgerOf(id mpc.ID, logged ...audit.SignedCheckpoint) (s LedgerSide) {
	l, p := v.ledgers[id], v.peers[id]
	if l == nil || p == nil {
		return s
	}
	var heads []head
	for i := range logged {
		heads = append(heads, headOf(&logged[i], logged[i].Encode()))
	}
	for _, h := range p.held.good {
		heads = append(heads, h)
	}
	for _, h := range append(append(heads, p.held.pending...), p.held.seen, p.held.proven) {
		for n := len(s.Events) + 1; len(h.raw) > 0 && n <= len(l.events); n++ {
			if l.hashes[n-1] == h.ledger {
				s = LedgerSide{l.events[:n], h.raw}
			}
		}
	}
	return s
}

// forkEvidence is what is written down when a peer shows another history than the one
// that is known: both, with the checkpoints that sign for them as far as they are held.
func (v *Vault) forkEvidence(p *peer, d *delta) []byte {
	known := v.LedgerOf(p.id)
	l := v.ledgers[p.id]
	other := LedgerSide{Events: append(append([][]byte(nil), l.events[:min(d.From, uint64(len(l.events)))]...), d.Events...)}
	chain := ledger{party: p.id}
	for _, e := range other.Events {
		chain.append(e)
	}
	for _, h := range append([]head{p.held.seen, p.held.proven}, p.held.pending...) {
		if len(h.raw) > 0 && h.ledger == chain.head().Hash {
			other.Checkpoint = h.raw
		}
	}
	w := wire.NewWriter(1)
	known.write(w)
	other.write(w)
	if b := w.Bytes(); len(b) <= maxForkEvidence {
		return b
	}
	return d.encode()
}

// maxForkEvidence bounds what an incident holds of two long histories; if they are
// longer it holds what the peer sent, and the rest is in the copies of the ledger.
const maxForkEvidence = 256 << 10

// compareHeads looks at what a peer holds of others' ledgers. What it says of them is
// hearsay, so that nothing follows from it; but people should ask both for their copies
// (VerifyFork tells who has lied).
func (v *Vault) compareHeads(p *peer, heads []ledgerHead) {
	for _, h := range heads {
		l := v.ledgers[h.Party]
		if l == nil || h.Party == v.cfg.ID || h.Party == p.id {
			continue
		}
		if known, ok := l.hashAt(h.Seq); ok && known != h.Hash {
			v.notePeer(p, "this peer holds another history of a third vault's ledger: that vault told two stories, or this peer lies", "of", h.Party, "event", h.Seq)
		}
	}
}
