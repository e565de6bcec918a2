package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
)

// judge compares what a peer holds with what this vault has. An error says that the
// answer is worth nothing; what is worth something may stop this vault.
func (v *Vault) judge(p *peer, a *answer) error {
	h, err := decodeHello(a.Hello)
	if err != nil {
		return err
	}
	if h.Vault != v.cfg.ID || h.Cluster != v.clusterID() || !v.ownIdentity(h) {
		return fmt.Errorf("it shows a start that vault %d has not signed", v.cfg.ID)
	}
	var cp *audit.SignedCheckpoint
	if len(a.Checkpoint) > 0 {
		if cp, err = audit.DecodeSignedCheckpoint(a.Checkpoint); err != nil {
			return err
		}
		if err := v.ownCheckpoint(cp); err != nil {
			return err
		}
	}
	switch {
	case h.Boot > v.boot:
		v.rollBack(p, cp, h.Boot, fmt.Sprintf("vault %d holds start %d of it, this is start %d", p.id, h.Boot, v.boot), a.Hello)
	case h.Boot == v.boot && h.Nonce != v.bootNonce:
		v.rollBack(p, cp, h.Boot, fmt.Sprintf("vault %d holds another start %d of it: its disk was put back, or a copy of it runs", p.id, h.Boot), a.Hello)
	}
	if cp != nil {
		v.judgeCheckpoint(p, cp, a.Checkpoint)
	}
	return v.judgeLedger(p, a.Ledger)
}

// ownIdentity says whether this vault signed a hello, under the card in force.
func (v *Vault) ownIdentity(h *hello) bool {
	return signature.Verify(v.cfg.Identity, h.statement(), h.Signature) == nil
}

// ownCheckpoint says whether this vault signed a checkpoint, under any card that it
// had: an old device's word stands against this disk.
func (v *Vault) ownCheckpoint(cp *audit.SignedCheckpoint) (err error) {
	for _, c := range v.gov.Cards(uint16(v.cfg.ID)) {
		if err = cp.Verify(audit.Keys{Cluster: v.clusterID(), Vault: c.Vault.ID, Decision: c.Vault.Decision, Log: c.Vault.Log}); err == nil {
			return nil
		}
	}
	return fmt.Errorf("it shows a checkpoint that vault %d has not signed: %w", v.cfg.ID, err)
}

// onOwnCheckpoint takes a checkpoint of this vault itself that somebody relays.
func (v *Vault) onOwnCheckpoint(p *peer, cp *audit.SignedCheckpoint, raw []byte) {
	if v.ownCheckpoint(cp) == nil {
		v.judgeCheckpoint(p, cp, raw)
	}
}

func (v *Vault) judgeCheckpoint(p *peer, cp *audit.SignedCheckpoint, raw []byte) {
	if o := v.resumption(); o != nil && cp.Boot < o.Boot {
		// Of the history that the admins have ended.
		if cp.Size > v.gate.held.size {
			v.gate.held = headOf(cp, raw)
		}
		if o.Action == governance.ResumeVault && cp.Size > o.Held.Size {
			v.rollBack(p, cp, cp.Boot, fmt.Sprintf("vault %d holds a log of it with %d entries, which is more than the %d that the admins gave up by change %d", p.id, cp.Size, o.Held.Size, o.Seq), raw)
		}
		return
	}
	root, err := v.log.RootAt(min(cp.Size, v.log.Size()))
	switch {
	case cp.Size > v.log.Size():
		v.rollBack(p, cp, cp.Boot, fmt.Sprintf("vault %d holds its signed log of %d entries, from start %d", p.id, cp.Size, cp.Boot), raw)
	case err != nil || root != cp.Root:
		v.rollBack(p, cp, cp.Boot, fmt.Sprintf("vault %d holds its signed log of %d entries, from start %d, which is another one", p.id, cp.Size, cp.Boot), raw)
	case cp.Boot > v.boot:
		v.rollBack(p, cp, cp.Boot, fmt.Sprintf("vault %d holds its signed log from start %d, this is start %d", p.id, cp.Boot, v.boot), raw)
	case !v.ledgers[v.cfg.ID].knows(cp.Ledger) && !v.resuming():
		v.rollBack(p, cp, cp.Boot, fmt.Sprintf("vault %d holds its signed log of %d entries, whose ledger is not known here", p.id, cp.Size), raw)
	}
}

// knows says whether a head is one that the ledger has had.
func (l *ledger) knows(hash [32]byte) bool {
	return hash == emptyLedger || slices.Contains(l.hashes, hash)
}

// judgeLedger: how far a peer has heard of this vault's ledger cannot be proven, so
// it stops only until the admins have looked.
func (v *Vault) judgeLedger(p *peer, h ledgerHead) error {
	own, ok := v.ledgers[v.cfg.ID].hashAt(h.Seq)
	switch {
	case ok && own == h.Hash:
		delete(v.gate.claims, p.id)
		return nil
	case v.resuming() && v.gate.merged[p.id] == h:
		return nil
	case v.resuming():
		v.askOwnLedger(p, 0)
		return errors.New("it knows more of this vault's ledger, which is being taken over")
	}
	if _, known := v.gate.claims[p.id]; !known {
		v.incident(p, "rollback", "heads", fmt.Sprintf("vault %d says that this vault's ledger has %d events, here it has %d, or others", p.id, h.Seq, v.ledgers[v.cfg.ID].head().Seq), nil)
		v.endSessions(func([]mpc.ID) bool { return true }, errors.New("this vault's ledger is in doubt"))
	}
	v.gate.claims[p.id] = h
	return errors.New("it speaks of another ledger of this vault")
}

// rollBack stops this vault: its own signature shows that it has forgotten
// something. Only the admins let it go on.
func (v *Vault) rollBack(p *peer, cp *audit.SignedCheckpoint, boot uint64, why string, evidence []byte) {
	x := v.gate.rolled
	first := x == nil
	if first {
		x = &rolledBack{OwnSize: v.log.Size(), Why: why}
		v.gate.rolled = x
	}
	changed := first
	if boot > x.HeldBoot {
		x.HeldBoot, changed = boot, true
	}
	if cp != nil && cp.Size > x.HeldSize {
		x.HeldSize, x.HeldRoot, x.Quarantine, changed = cp.Size, cp.Root, cp.Quarantine, true
		x.HeldBoot = max(x.HeldBoot, cp.Boot)
	}
	if p != nil && !containsID(x.By, p.id) {
		x.By = append(x.By, p.id)
		slices.Sort(x.By)
		changed = true
	}
	if !changed {
		return
	}
	if err := v.store.put(recordRolledBack, x.encode()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	if !first {
		return
	}
	v.endSessions(func([]mpc.ID) bool { return true }, errors.New("this vault's disk was rolled back"))
	for _, id := range sortedIDs(v.peers) {
		v.closePair(v.peers[id])
	}
	i := audit.Incident{Peer: uint16(v.cfg.ID), Class: "rollback", Step: "heads", Detail: x.words(v.cfg.ID), Evidence: evidence}
	v.appendLog(audit.KindIncident, i.Encode())
	v.note("rolled back: this vault signs nothing until the admins resume it", "why", why, "own log", x.OwnSize, "held log", x.HeldSize, "held boot", x.HeldBoot)
}
