package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/signature"
)

// logsOf are all logs of a vault, the one in force last.
func (v *verifier) logsOf(id uint16) (out []*vaultLog) {
	for _, l := range v.logs {
		if l.id == id {
			out = append(out, l)
		}
	}
	return out
}

// decisionOf finds a vault's decision on an attempt, in whichever of its logs, and
// that log.
func (v *verifier) decisionOf(id uint16, attempt [16]byte) (*vaultLog, *decision) {
	var in *vaultLog
	for _, l := range v.logsOf(id) {
		if l.decisions[attempt] == nil {
			continue
		}
		if o := l.outcomes[attempt]; in == nil || o != nil && o.Stage == audit.StageReleased {
			in = l
		}
	}
	if in == nil {
		return nil, nil
	}
	return in, in.decisions[attempt]
}

// sameSession says whether two decisions on one attempt agree in all that its
// signers had to agree on.
func sameSession(a, b *decision) bool {
	return a.Request == b.Request && a.R0Hash == b.R0Hash && a.Key == b.Key && a.Epoch == b.Epoch &&
		sameIDs(a.Parties, b.Parties) && sameIDs(a.Witnesses, b.Witnesses) && a.unsigned == b.unsigned &&
		a.GovernanceSeq == b.GovernanceSeq && a.GovernanceHead == b.GovernanceHead
}

// crossWitnesses: where a vault released its final share, it had seen its peers' logs.
// So those logs must be the ones that it saw.
func (v *verifier) crossWitnesses(l *vaultLog) {
	for _, o := range sortedOutcomes(l) {
		if o.Stage != audit.StageReleased || l.decisions[o.Attempt] == nil {
			continue
		}
		for _, cp := range o.witnessed {
			v.crossWitness(l, o, cp)
		}
	}
}

// crossOutcomes: it had seen the decisions of all its peers, so they must be there.
func (v *verifier) crossOutcomes(l *vaultLog) {
	for _, o := range sortedOutcomes(l) {
		d := l.decisions[o.Attempt]
		if o.Stage != audit.StageReleased || d == nil {
			continue
		}
		var witnessed []uint16
		for _, cp := range o.witnessed {
			witnessed = append(witnessed, cp.Vault)
		}
		peers := slices.DeleteFunc(members(d.Decision), func(id uint16) bool { return id == l.id })
		if !sameIDs(peers, witnessed) {
			v.entryFault(l, o.index, OutcomeWitness, "a share was released on checkpoints of vaults %v, want those of %v", witnessed, peers)
		}
		for _, id := range peers {
			v.crossPeer(l, o.index, o.time, d, id)
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

func (v *verifier) crossPeer(l *vaultLog, i, at uint64, d *decision, id uint16) {
	_, x := v.decisionOf(id, d.Attempt)
	switch {
	case x != nil:
		if !sameSession(x, d) {
			v.entryFault(l, i, OutcomePeer, "a share was released for attempt %x with vault %d, whose decision (entry %d) is about another session", d.Attempt, id, x.index)
		}
	case len(v.logsOf(id)) == 0:
		// Its absence has a note already.
	case v.excused(d.Attempt, id, "the decision"):
	case l.tooYoung(i, at, id):
	default:
		v.entryFault(l, i, OutcomePeer, "a share was released for attempt %x with vault %d, whose log has no decision on it: it was cut off, or another log was shown, or the copies were not made together", d.Attempt, id)
	}
}

// crossWitness compares a vault's logs with what a peer saw of them.
func (v *verifier) crossWitness(l *vaultLog, o *outcome, cp *witnessed) {
	if cp.card.Algorithm == 0 {
		v.entryFault(l, o.index, OutcomeWitness, "a checkpoint of vault %d, which does not exist", cp.Vault)
		return
	}
	if cp.err != nil {
		v.entryFault(l, o.index, OutcomeWitness, "%v", cp.err)
		return
	}
	if least := o.state.MinBoot(cp.Vault); cp.Boot < least {
		v.entryFault(l, o.index, OutcomeWitness, "a checkpoint of start %d of vault %d, and by then only starts from %d on count", cp.Boot, cp.Vault, least)
		return
	}
	var known []*vaultLog // of this log key; the one in force, if there is one, last
	for _, peer := range v.logsOf(cp.Vault) {
		if peer.key == cp.card {
			known = append(known, peer)
		}
	}
	if len(known) == 0 {
		if until := v.endOf(cp.Vault, cp.card); until > 0 {
			v.excuse(o.Attempt, cp.Vault, word{change: until, lost: true})
		}
		return
	}
	for _, peer := range known {
		if root, err := peer.tree.RootAt(cp.Size); err == nil && cp.Size <= peer.tree.Size() && root == cp.Root {
			v.crossShown(peer, o)
			return
		}
	}
	if c := v.givenUp(&cp.Checkpoint, cp.card); c != nil {
		v.excuse(o.Attempt, cp.Vault, word{change: c.Seq})
		return
	}
	if peer := known[len(known)-1]; cp.Size > peer.tree.Size() && l.tooYoung(o.index, o.time, cp.Vault) {
		return
	} else if cp.Size > peer.tree.Size() {
		v.report.fault(cp.Vault, nil, WitnessTruncated, "this copy of its log has %s, but vault %d saw it with %d (its entry %d): it was cut off or set back, or the copies were not made together",
			count(peer.size(), "entry", "entries"), l.id, cp.Size, o.index)
	} else {
		v.report.fault(cp.Vault, nil, WitnessForked, "its first %d entries are not those that vault %d saw (its entry %d): the log was forked or changed", cp.Size, l.id, o.index)
	}
}

// crossShown: what was seen is in the log. If that went on later from a head before the
// share was released, the release is in the history that was given up.
func (v *verifier) crossShown(peer *vaultLog, o *outcome) {
	if x := peer.outcomes[o.Attempt]; x != nil && x.Stage == audit.StageReleased {
		return
	}
	for _, r := range peer.resumed {
		if d := peer.decisions[o.Attempt]; d != nil && d.index < r.index {
			v.excuse(o.Attempt, peer.id, word{change: r.order.Seq})
			return
		}
	}
}

// endOf is the change that took a log key of a vault out of service; 0: none did.
func (v *verifier) endOf(id uint16, key signature.PublicKey) uint64 {
	for _, g := range v.generations(id) {
		if g.key() == key {
			return g.until
		}
	}
	return 0
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
			d, young := v.checkReceipt(x)
			if young || seen[x.attempt] {
				continue
			}
			seen[x.attempt] = true
			v.report.Counts.Receipts++
			if d == nil {
				continue
			}
			for _, other := range good[x.request] {
				if bothCouldHappen(other.d, d) {
					v.report.fault(l.id, entry(x.index), ReceiptConflict, "request %x was signed twice, and the chain can take both: %s and %s", x.request[:8], other.x.txID, x.txID)
				}
			}
			good[x.request] = append(good[x.request], version{x, d})
			v.report.Signed = append(v.report.Signed, v.signed(x, d))
		}
	}
}

func (v *verifier) signed(x *receipt, d *decision) Signed {
	return Signed{
		TxID: x.txID, Request: hex.EncodeToString(x.request[:]), Wallet: v.keys[x.key].name,
		Chain: d.chain, Does: d.does, Time: d.Time, Rule: d.Rule, Glass: d.BreakGlass, Vaults: d.Parties,
	}
}

// checkReceipt returns a decision that the receipt rests on, when all is well. young says
// that the copies may not have yet what it rests on.
func (v *verifier) checkReceipt(x *receipt) (d *decision, young bool) {
	fault := func(code Code, format string, args ...any) (*decision, bool) {
		v.report.fault(x.log.id, entry(x.index), code, format, args...)
		return nil, false
	}
	k := v.keys[x.key]
	if k == nil {
		return fault(ReceiptKey, "%s: signed with key %x, which no log tells of", x.txID, x.key[:8])
	}
	if x.publicKey != string(k.publicKey()) {
		return fault(ReceiptKey, "%s: it names another public key than that of wallet %q", x.txID, k.name)
	}
	d, missing, why := v.decided(x, k)
	if why != "" && len(missing) > 0 && x.log.tooYoung(x.index, x.time, missing...) {
		return nil, true
	} else if why != "" {
		return fault(ReceiptDecisions, "%s: %s", x.txID, why)
	}
	late := false // releases are missing that may be younger than the copies
	for _, id := range d.Parties {
		l, _ := v.decisionOf(id, x.attempt)
		if l == nil {
			continue // decided has seen that it is excused, or not asked for
		}
		if o := l.outcomes[x.attempt]; o != nil && o.Stage == audit.StageReleased || v.excused(x.attempt, id, "the release") {
			continue
		} else if o == nil && !l.hasReceipt(x.attempt) && x.log.tooYoung(x.index, x.time, id) {
			late = true
		} else {
			return fault(ReceiptReleases, "%s: there is a signature, but the log of vault %d does not say that it released its share%s", x.txID, id, l.endsBefore(x.attempt))
		}
	}
	check := v.receipts[x.hash]
	if check == nil {
		check = v.checkReceiptAgain(x, d)
		v.receipts[x.hash] = check
	}
	switch {
	case check.signature != nil:
		return fault(ReceiptSignature, "%s: %v", x.txID, check.signature)
	case check.tx != nil:
		return fault(ReceiptTx, "%s: %v", x.txID, check.tx)
	}
	return d, late
}

// endsBefore tells a copy that may just be older than the signature from one that goes on
// after it.
func (l *vaultLog) endsBefore(attempt [16]byte) string {
	if l.hasReceipt(attempt) {
		return ", though it has the signature"
	}
	return fmt.Sprintf(": it gave one that it hides, or this copy of %s was made before that, or cut off (copy it again)", count(l.size(), "entry", "entries"))
}

// checkReceiptTx verifies every signature over the digests that the codec derives from
// the transaction, or the messages, by a verifier that is not ours; and what follows.
func (v *verifier) checkReceiptTx(r *audit.Receipt, chainID, sender string, p *chain.Prepared) (c receiptCheck) {
	codec, ok := v.codec(chainID)
	if !ok || len(r.Signatures) != len(p.Digests) {
		c.signature = fmt.Errorf("%d signatures, the transaction takes %d", len(r.Signatures), len(p.Digests))
		return c
	}
	if id, ok := v.confirmed(codec, r, sender, p); ok && id == r.TxID {
		return c
	}
	for i := range r.Signatures {
		if c.signature = codec.Scheme().Verify(r.PublicKey, p.Digests[i], p.Message(i), &r.Signatures[i]); c.signature != nil {
			return c
		}
	}
	_, txid, err := codec.Assemble(sender, r.Unsigned, r.Signatures)
	if c.tx = err; err == nil && txid != r.TxID {
		c.tx = fmt.Errorf("the transaction's id is %s", txid)
	}
	return c
}

// confirmed verifies one ECDSA signature by the table of its key, if it has one, and
// derives the transaction's id.
func (v *verifier) confirmed(codec chain.Codec, r *audit.Receipt, sender string, p *chain.Prepared) (txid string, ok bool) {
	c, can := codec.(interface {
		TransactionID(sender string, unsigned []byte, sig *chain.Signature) (string, error)
	})
	k := v.fixed[string(r.PublicKey)].key
	if !can || k == nil || codec.Scheme() != chain.ECDSASecp256k1 || len(p.Digests) != 1 || !k.confirms(p.Digests[0], &r.Signatures[0]) {
		return "", false
	}
	if a, err := v.address(codec, chainName(sender), r.PublicKey); err != nil || a != sender {
		return "", false
	}
	id, err := c.TransactionID(sender, r.Unsigned, &r.Signatures[0])
	return id, err == nil
}

// chainName is the chain of an account.
func chainName(account string) string { return account[:max(0, strings.LastIndexByte(account, ':'))] }

// checkReceiptAgain reads a receipt and its decision once more: the log that has the
// receipt has no decision of its own, or has had another receipt since.
func (v *verifier) checkReceiptAgain(x *receipt, d *decision) *receiptCheck {
	var c receiptCheck
	a, err := x.log.at(x.index)
	b, err2 := d.log.at(d.index)
	if c.signature = errors.Join(err, err2); c.signature != nil {
		return &c
	}
	r, made := parse(a), parse(b)
	if r.r == nil || r.receipt != x.hash || made.bundle == nil {
		c.signature = errors.New("the copy changed while it was verified")
		return &c
	}
	p, err := v.prepare(v.keys[x.key], made.bundle.Request, r.r.Unsigned, nil)
	if err != nil {
		c.signature = err
		return &c
	}
	c = v.checkReceiptTx(r.r, d.chain, d.sender, p)
	return &c
}

// decided finds the t decisions that a receipt rests on: allowed, found good,
// covered by their vaults' checkpoints, of different vaults, about one session.
// A good decision names t parties and the witnesses of its ledger quorum, its own vault
// among them: so that many of one session are those of exactly its members.
// missing are the vaults whose copies do not have, or not under their checkpoint, what is
// missing, when nothing else is wrong.
func (v *verifier) decided(x *receipt, k *keyInfo) (first *decision, missing []uint16, reasons string) {
	var have, absent, late []uint16
	uncovered := 0
	var why []string
	for _, id := range k.everybody() {
		_, d := v.decisionOf(uint16(id), x.attempt)
		switch {
		case d == nil:
			if len(v.logsOf(uint16(id))) == 0 && v.alone {
				absent = append(absent, uint16(id))
			} else if len(v.logsOf(uint16(id))) == 0 {
				why = append(why, fmt.Sprintf("there is no copy of the log of vault %d", id))
			} else {
				late = append(late, uint16(id))
			}
			continue
		case !d.sound:
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) does not stand", id, d.index))
		case !d.covered:
			uncovered++
			late = append(late, uint16(id))
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) is not covered by its signed checkpoint", id, d.index))
		case d.Request != x.request || d.Key != x.key || d.unsigned != x.unsigned:
			why = append(why, fmt.Sprintf("the decision of vault %d (entry %d) is about another request, key or transaction", id, d.index))
		case first != nil && !sameSession(first, d):
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
		t = k.epochs[uint64(first.Epoch)].cert.Threshold + len(first.Witnesses)
		for _, id := range members(first.Decision) {
			if _, d := v.decisionOf(id, x.attempt); d == nil && v.excused(x.attempt, id, "the decision") {
				have = append(have, id)
			} else if d == nil && slices.Contains(absent, id) {
				have = append(have, id)
			}
		}
	}
	if len(have) < t {
		if late = v.mayCome(x, first, late); len(why) == uncovered && len(have)+len(late) >= t {
			missing = late
		}
		who := "none"
		if len(have) > 0 {
			who = strings.Trim(fmt.Sprint(have), "[]")
		}
		why = append([]string{fmt.Sprintf("signed, but of the %d vaults that it takes the logs show good decisions of %s", t, who)}, why...)
		return nil, missing, strings.Join(why, "; ")
	}
	return first, nil, ""
}

// mayCome leaves of the vaults that show no decision, or none that their checkpoint covers,
// those whose logs may have got one after they were copied: members of the session, as far
// as it is known, and not whoever has the receipt itself.
func (v *verifier) mayCome(x *receipt, first *decision, late []uint16) (out []uint16) {
	for _, id := range late {
		_, d := v.decisionOf(id, x.attempt)
		switch {
		case first != nil && !slices.Contains(members(first.Decision), id):
		case d == nil && id == x.log.id:
		default:
			out = append(out, id)
		}
	}
	return out
}

func (l *vaultLog) hasReceipt(attempt [16]byte) bool {
	return slices.ContainsFunc(l.receipts, func(r *receipt) bool { return r.attempt == attempt })
}

func (v *verifier) summarise() {
	if v.report.Counts.Receipts == 0 {
		v.report.note("the logs hold no signature")
	}
}
