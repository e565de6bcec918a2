package vault

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// A limit or a version rule is not escaped by a reshare (docs/spec/ledger.md, "Over a
// handover"). Every old party states with CLOSED how far its ledger came; a vault of
// the new epoch reserves, and hands the key over again, only when it knows the ledgers
// of so many of them that one who is honest was in the quorum of whatever was signed.

// imports is what a vault of an epoch has to know of the one before.
type imports struct {
	old, threshold int                   // of the epoch before; 0: there was none
	faults         int                   // that its ledger withstood
	closed         map[mpc.ID]ledgerHead // what the old parties stated, as far as this vault's record has it
}

// importsOf is what a commit certificate says; the faults are in none.
func importsOf(commit *handover.Bundle) imports {
	return imports{old: len(commit.Plan.Old), threshold: commit.Plan.OldThreshold, closed: closedLedgers(commit)}
}

// under is the same for a key that was made with these faults.
func (i imports) under(made uint16) imports {
	i.faults = max(0, min(int(made), i.threshold-1))
	return i
}

func (i *imports) merge(o imports) {
	if o.old == 0 {
		return
	}
	i.old, i.threshold = o.old, o.threshold
	if i.closed == nil {
		i.closed = map[mpc.ID]ledgerHead{}
	}
	for id, h := range o.closed {
		i.closed[id] = h
	}
}

// quorum is that of the epoch before.
func (i *imports) quorum() int { return governance.Quorum(i.old, i.threshold, i.faults) }

// need is of how many old parties the ledgers must be known: n−q+f+1. Whatever was
// signed had q members; of so many parties f+1 at least were among them, and so an
// honest one. 0: there was no epoch before.
func (i *imports) need() int {
	if i.old == 0 {
		return 0
	}
	return i.old - i.quorum() + i.faults + 1
}

func (i *imports) write(w *wire.Writer) {
	w.Uint16(uint16(i.old)).Uint16(uint16(i.threshold)).Uint16(uint16(i.faults)).Count(len(i.closed))
	for _, id := range sortedIDs(i.closed) {
		h := i.closed[id]
		w.Uint16(uint16(id)).Uint64(h.Seq).Fixed(h.Hash[:])
	}
}

func readImports(r *wire.Reader) imports {
	i := imports{old: int(r.Uint16("old parties")), threshold: int(r.Uint16("old threshold")), faults: int(r.Uint16("old faults")), closed: map[mpc.ID]ledgerHead{}}
	for range r.Count("closed ledgers", mpc.MaxParties, 42) {
		h := ledgerHead{Party: mpc.ID(r.Uint16("party")), Seq: r.Uint64("seq")}
		r.Into("hash", h.Hash[:])
		i.closed[h.Party] = h
	}
	return i
}

// closedLedgers are the heads that stand in the CLOSED of a commit certificate.
func closedLedgers(b *handover.Bundle) map[mpc.ID]ledgerHead {
	out := map[mpc.ID]ledgerHead{}
	for i := range b.Votes {
		x := &b.Votes[i]
		if x.Kind != handover.Closed {
			continue
		}
		r := wire.NewReader(x.Proof, 1)
		h := ledgerHead{Party: x.From, Seq: r.Uint64("seq")}
		r.Into("hash", h.Hash[:])
		if r.Done() == nil {
			out[x.From] = h
		}
	}
	return out
}

// statedBy is what the old parties have stated by now: who closed after the commit
// stands in the machine's votes only.
func (v *Vault) statedBy(k *key) map[mpc.ID]ledgerHead {
	out := map[mpc.ID]ledgerHead{}
	for id, h := range k.imports.closed {
		out[id] = h
	}
	if m := v.machines[k.id]; m != nil {
		if c := m.Commit(); c != nil && c.Plan.To() == k.cert.Epoch {
			for id, h := range closedLedgers(c) {
				out[id] = h
			}
		}
	}
	return out
}

// imported says whether this vault knows enough of the epoch before to reserve in the
// key's present one, and to hand it over.
func (v *Vault) imported(k *key) error {
	need := k.imports.need()
	if need == 0 {
		return nil
	}
	known, lack := 0, []string{}
	var ask []*peer
	stated := v.statedBy(k)
	for _, id := range sortedIDs(stated) {
		l, h := v.ledgers[id], stated[id]
		var hash [32]byte
		ok := false
		if l != nil {
			hash, ok = l.hashAt(h.Seq)
		}
		switch {
		case ok && hash == h.Hash, id == v.cfg.ID && v.gate.resumed != 0: // its own, from its peers' copies
			known++
		case ok:
			lack = append(lack, fmt.Sprintf("vault %d shows another ledger than it closed with", id))
		default:
			lack = append(lack, fmt.Sprintf("the ledger of vault %d is not known up to its event %d", id, h.Seq))
			if p := v.peers[id]; p != nil {
				ask = append(ask, p)
			}
		}
	}
	if known >= need {
		return nil
	}
	for _, p := range ask {
		v.askLedger(p)
	}
	if silent := k.imports.old - len(stated); silent > 0 {
		lack = append(lack, v.silent(k, stated, silent))
	}
	i := &k.imports
	return fmt.Errorf("the wallet came from epoch %d, %d of %d vaults with %d faults and a ledger quorum of %d: the ledgers of %d of them must be known here up to where they closed it, known are %d (%s): start %d of those that are missing, with their disks, and retry; if they are destroyed, see docs/ops/lost-ledgers.md",
		k.cert.Epoch-1, i.threshold, i.old, i.faults, i.quorum(), need, known, strings.Join(lack, "; "), need-known)
}

// silent names the old parties that have not stated how far their ledgers came.
func (v *Vault) silent(k *key, stated map[mpc.ID]ledgerHead, count int) string {
	var ids []mpc.ID
	if m := v.machines[k.id]; m != nil {
		if c := m.Commit(); c != nil && c.Plan.To() == k.cert.Epoch {
			for _, id := range c.Plan.Old {
				if _, ok := stated[id]; !ok {
					ids = append(ids, id)
				}
			}
		}
	}
	if len(ids) == 0 { // a repaired vault knows the certificate and not the votes
		return fmt.Sprintf("%d of the old vaults have not stated theirs", count)
	}
	return fmt.Sprintf("the old vaults %v have not stated theirs", ids)
}

// A vault says what its wallet waits for after lackFirst, and then every lackEvery, in
// ms.
const (
	lackFirst = 30_000
	lackEvery = 600_000
)

// tickImports asks for what is missing of the epochs before, and tells the operator.
func (v *Vault) tickImports() {
	for _, k := range v.sortedKeys() {
		if !k.holds() {
			continue
		}
		err := v.imported(k) // it has asked for the ledgers that are missing
		if err == nil {
			k.lacks = 0
			continue
		}
		v.askClosed(k)
		switch {
		case k.lacks == 0:
			k.lacks = v.now + lackFirst
		case v.now >= k.lacks:
			k.lacks = v.now + lackEvery
			v.note("nothing is signed with this wallet: ledgers of the vaults that had it before are missing", "wallet", k.name, "error", err.Error())
		}
	}
}

// askClosed asks the old parties for what they have stated since the commit.
func (v *Vault) askClosed(k *key) {
	m := v.machines[k.id]
	if m == nil {
		return
	}
	c := m.Commit()
	if c == nil || c.Plan.To() != k.cert.Epoch || len(closedLedgers(c)) == len(c.Plan.Old) {
		return
	}
	c.Ask = true
	b := c.Encode()
	for _, id := range c.Plan.Old {
		if p := v.peers[id]; p != nil && p.confirmed {
			v.sendSealed(p, &inner{Kind: innerVotes, Private: b})
		}
	}
}

// mayLeave says whether this vault may take part in ending the epoch that a plan
// leaves: what it does not know it could not pass on.
func (v *Vault) mayLeave(p *handover.Plan) error {
	k := v.keys[p.Key]
	if k == nil || !k.holds() || k.cert.Epoch != p.From || !containsID(p.Old, v.cfg.ID) {
		return nil
	}
	return v.imported(k)
}
