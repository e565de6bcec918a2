package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
)

func (v *verifier) log(id uint16) *vaultLog {
	for _, l := range v.logs {
		if l.id == id {
			return l
		}
	}
	return nil
}

// sameSession says whether two decisions on one attempt agree in all that its
// signers had to agree on.
func sameSession(a, b *audit.Decision) bool {
	return a.Request == b.Request && a.R0Hash == b.R0Hash && a.Key == b.Key && a.Epoch == b.Epoch &&
		sameIDs(a.Parties, b.Parties) && string(a.Unsigned) == string(b.Unsigned) &&
		a.GovernanceSeq == b.GovernanceSeq && a.GovernanceHead == b.GovernanceHead
}

// crossOutcomes: where a vault released its final share, it had seen the
// decisions of all its peers in their logs. So they must be there, and those logs
// must be the ones that it saw.
func (v *verifier) crossOutcomes(l *vaultLog) {
	for _, o := range sortedOutcomes(l) {
		d := l.decisions[o.Attempt]
		if o.Stage != audit.StageReleased || d == nil {
			continue
		}
		var witnessed []uint16
		for i := range o.Witnessed {
			witnessed = append(witnessed, o.Witnessed[i].Vault)
			v.crossWitness(l, o.index, &o.Witnessed[i])
		}
		peers := slices.DeleteFunc(slices.Clone(d.Parties), func(id uint16) bool { return id == l.id })
		if !sameIDs(peers, witnessed) {
			v.entryFault(l, o.index, OutcomeWitness, "a share was released on checkpoints of vaults %v, want those of %v", witnessed, peers)
		}
		for _, id := range peers {
			v.crossPeer(l, o.index, d, id)
		}
	}
}

func sortedOutcomes(l *vaultLog) []*outcome {
	var out []*outcome
	for _, o := range l.outcomes {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *outcome) int { return compareEntry(&a.index, &b.index) })
	return out
}

func (v *verifier) crossPeer(l *vaultLog, i uint64, d *decision, id uint16) {
	peer := v.log(id)
	if peer == nil {
		return // its absence has a note already
	}
	x := peer.decisions[d.Attempt]
	switch {
	case x == nil:
		v.entryFault(l, i, OutcomePeer, "a share was released for attempt %x with vault %d, whose log has no decision on it: it was cut off, or another log was shown", d.Attempt, id)
	case !sameSession(x.Decision, d.Decision):
		v.entryFault(l, i, OutcomePeer, "a share was released for attempt %x with vault %d, whose decision (entry %d) is about another session", d.Attempt, id, x.index)
	}
}

// crossWitness compares a log with what a peer saw of it.
func (v *verifier) crossWitness(l *vaultLog, i uint64, cp *audit.SignedCheckpoint) {
	g, ok := v.start.Vault(cp.Vault)
	if !ok {
		v.entryFault(l, i, OutcomeWitness, "a checkpoint of vault %d, which does not exist", cp.Vault)
		return
	}
	if err := cp.Verify(keysOf(v.cluster, g)); err != nil {
		v.entryFault(l, i, OutcomeWitness, "%v", err)
		return
	}
	peer := v.log(cp.Vault)
	if peer == nil {
		return
	}
	if cp.Size > peer.tree.Size() {
		v.report.fault(cp.Vault, nil, WitnessTruncated, "its log has %s, but vault %d saw it with %d (its entry %d): it was cut off or set back",
			count(len(peer.entries), "entry", "entries"), l.id, cp.Size, i)
		return
	}
	if root, err := peer.tree.RootAt(cp.Size); err != nil || root != cp.Root {
		v.report.fault(cp.Vault, nil, WitnessForked, "its first %d entries are not those that vault %d saw (its entry %d): the log was forked or changed", cp.Size, l.id, i)
	}
}

// crossReceipts checks every signature that came about.
func (v *verifier) crossReceipts() {
	type version struct {
		x *receipt
		d *decision
	}
	good := map[[32]byte][]version{} // by request
	seen := map[[16]byte]bool{}
	for _, l := range v.logs {
		for _, x := range l.receipts {
			d := v.checkReceipt(x)
			if seen[x.Attempt] {
				continue
			}
			seen[x.Attempt] = true
			v.report.Counts.Receipts++
			if d == nil {
				continue
			}
			for _, other := range good[x.Request] {
				if bothCouldHappen(other.d, d) {
					v.report.fault(l.id, entry(x.index), ReceiptConflict, "request %x was signed twice, and the chain can take both: %s and %s", x.Request[:8], other.x.TxID, x.TxID)
				}
			}
			good[x.Request] = append(good[x.Request], version{x, d})
			v.report.Signed = append(v.report.Signed, v.signed(x, d))
		}
	}
}

func (v *verifier) signed(x *receipt, d *decision) Signed {
	return Signed{
		TxID: x.TxID, Request: hex.EncodeToString(x.Request[:]), Wallet: v.keys[x.Key].name,
		Chain: d.request.Chain, Rule: d.Rule, Vaults: d.Parties,
	}
}

// checkReceipt returns a decision that the receipt rests on, when all is well.
func (v *verifier) checkReceipt(x *receipt) *decision {
	fault := func(code Code, format string, args ...any) *decision {
		v.report.fault(x.vault, entry(x.index), code, format, args...)
		return nil
	}
	k := v.keys[x.Key]
	if k == nil {
		return fault(ReceiptKey, "%s: signed with key %x, which no log tells of", x.TxID, x.Key[:8])
	}
	if string(x.PublicKey) != string(k.publicKey()) {
		return fault(ReceiptKey, "%s: it names another public key than that of wallet %q", x.TxID, k.name)
	}
	d, why := v.decided(x, k)
	if why != "" {
		return fault(ReceiptDecisions, "%s: %s", x.TxID, why)
	}
	for _, id := range d.Parties {
		if o := v.log(id).outcomes[x.Attempt]; o == nil || o.Stage != audit.StageReleased {
			return fault(ReceiptReleases, "%s: there is a signature, but the log of vault %d does not say that it released its share", x.TxID, id)
		}
	}
	if err := v.checkSignatures(x, d); err != nil {
		return fault(ReceiptSignature, "%s: %v", x.TxID, err)
	}
	codec, _ := v.codec(d.request.Chain)
	if _, txid, err := codec.Assemble(d.request.Sender, x.Unsigned, x.Signatures); err != nil {
		return fault(ReceiptTx, "%s: %v", x.TxID, err)
	} else if txid != x.TxID {
		return fault(ReceiptTx, "%s: the transaction's id is %s", x.TxID, txid)
	}
	return d
}

// checkSignatures verifies every signature over the digests that the codec
// derives from the transaction, or the messages, by a verifier that is not ours.
func (v *verifier) checkSignatures(x *receipt, d *decision) error {
	codec, _ := v.codec(d.request.Chain)
	if len(x.Signatures) != len(d.prepared.Digests) {
		return fmt.Errorf("%d signatures, the transaction takes %d", len(x.Signatures), len(d.prepared.Digests))
	}
	for i := range x.Signatures {
		if err := codec.Scheme().Verify(x.PublicKey, d.prepared.Digests[i], d.prepared.Message(i), &x.Signatures[i]); err != nil {
			return err
		}
	}
	return nil
}

// decided finds the t decisions that a receipt rests on: allowed, found good,
// covered by their vaults' checkpoints, of different vaults, about one session.
// A good decision names t parties, its own vault among them: so t of one session
// are those of exactly its parties.
func (v *verifier) decided(x *receipt, k *keyInfo) (*decision, string) {
	var first *decision
	var have []uint16
	var why []string
	for _, id := range k.everybody() {
		l := v.log(uint16(id))
		if l == nil {
			why = append(why, fmt.Sprintf("there is no copy of the log of vault %d", id))
			continue
		}
		d := l.decisions[x.Attempt]
		switch {
		case d == nil:
			continue
		case !d.sound:
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) does not stand", id, d.index))
		case !d.covered:
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) is not covered by its signed checkpoint", id, d.index))
		case d.Request != x.Request || d.Key != x.Key || string(d.Unsigned) != string(x.Unsigned):
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) is about another request, key or transaction", id, d.index))
		case first != nil && !sameSession(first.Decision, d.Decision):
			why = append(why, fmt.Sprintf("vaults %d and %d decided about different sessions", have[0], id))
		default:
			if first == nil {
				first = d
			}
			have = append(have, uint16(id))
		}
	}
	t := k.cert.Threshold
	if first != nil {
		t = k.epochs[uint64(first.Epoch)].cert.Threshold
	}
	if len(have) < t {
		who := "none"
		if len(have) > 0 {
			who = strings.Trim(fmt.Sprint(have), "[]")
		}
		why = append([]string{fmt.Sprintf("signed, but of the %d vaults that it takes the logs show good decisions of %s", t, who)}, why...)
		return nil, strings.Join(why, "; ")
	}
	return first, ""
}

func (v *verifier) summarise() {
	if v.report.Counts.Receipts == 0 {
		v.report.note("the logs hold no signature")
	}
}
