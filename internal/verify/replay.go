package verify

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// keyInfo is a wallet's key, as the first log to tell of it says.
type keyInfo struct {
	id     [32]byte
	name   string
	order  []byte           // nil: no log tells how it was made
	tier   governance.Tier  // in which the order made it
	faults int              // of which the order made its ledger quorum
	cert   *dkg.Certificate // of any epoch: the public key is the same
	vault  uint16

	epochs map[uint64]epochSeen
}

// everybody are the parties of all its epochs.
func (k *keyInfo) everybody() []mpc.ID {
	var all []mpc.ID
	for _, e := range k.epochs {
		all = append(all, e.cert.Parties...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// epochSeen is an epoch as the first log to tell of it says.
type epochSeen struct {
	cert  *dkg.Certificate
	vault uint16
	entry uint64
}

func (k *keyInfo) publicKey() []byte { return k.cert.PublicKey().Encode() }

// decision is a Decision that allows, found good when sound.
type decision struct {
	*audit.Decision // without bundle and transaction, once it is checked
	log             *vaultLog
	index           uint64
	covered         bool // by the checkpoint
	sound           bool
	chain           string
	sender          string
	unsigned        [32]byte        // SHA-256 of the transaction
	prepared        *chain.Prepared // nil unless sound; at last only its slots
	asks            []asked         // where a policy of the cluster has limits
	move            *policy.Movement
	does            string // in words
}

type outcome struct {
	Attempt   [16]byte
	Request   [32]byte
	Stage     string
	witnessed []*witnessed
	index     uint64
	time      uint64
	state     *governance.State // when it was written
}

// witnessed is a checkpoint that a vault saw of another.
type witnessed struct {
	audit.Checkpoint
	card signature.PublicKey // the log key of the vault's card then; zero: no such vault
	err  error               // what is wrong with its signatures
}

// receipt is a Receipt without the transaction.
type receipt struct {
	attempt   [16]byte
	request   [32]byte
	key       [32]byte
	unsigned  [32]byte // SHA-256 of the transaction
	publicKey string
	txID      string
	hash      [32]byte // of the receipt
	log       *vaultLog
	index     uint64
	time      uint64
}

// receiptCheck is what one verification of a receipt's signatures and transaction said.
type receiptCheck struct {
	signature, tx error
}

// one keeps a text once that many entries repeat.
func (v *verifier) one(s string) string {
	if t, ok := v.texts[s]; ok {
		return t
	}
	v.texts[s] = s
	return s
}

// replay goes through one log from its genesis on.
func (v *verifier) replay(l *vaultLog) {
	done := make(chan struct{})
	defer close(done)
	for p := range l.parts(done) {
		if p.err != nil {
			v.report.fault(l.id, nil, CopyUnreadable, "%s: %v", l.copy, p.err)
			break
		}
		for k := range p.parsed {
			v.replayParsed(l, p.parsed[k].index, &p.parsed[k])
		}
		l.jobs.run()
	}
	if l.covered > 0 && l.boot < l.lastBoot {
		v.report.fault(l.id, nil, CheckpointBoot, "its checkpoint is from start %d, the log tells of start %d", l.boot, l.lastBoot)
	}
}

func (v *verifier) replayParsed(l *vaultLog, i uint64, p *parsed) {
	v.report.Counts.Entries++
	switch {
	case p.e == nil || p.err != nil:
		v.entryFault(l, i, EntryForm, "%v", p.err)
	case i == 0: // admit has checked it
		l.history, l.since, l.way = []*governance.State{v.start}, []uint64{p.e.Time}, governance.Course{State: v.start}
	default:
		v.replayEntry(l, i, p)
	}
}

// entryFault may be called by several jobs at a time.
func (v *verifier) entryFault(l *vaultLog, i uint64, code Code, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.fault(l.id, entry(i), code, format, args...)
}

func (v *verifier) replayEntry(l *vaultLog, i uint64, p *parsed) {
	var err error
	e := p.e
	switch e.Kind {
	case audit.KindGenesis:
		v.entryFault(l, i, GenesisAgain, "a second genesis: a cluster has one")
	case audit.KindBoot:
		err = v.replayBoot(l, i, e)
	case audit.KindChange:
		err = v.replayChange(l, i, e)
	case audit.KindGovernance:
		err = v.replayGovernance(l, i, e)
	case audit.KindKey:
		err = v.replayKey(l, i, e)
	case audit.KindEpoch:
		err = v.replayEpoch(l, i, e)
	case audit.KindDecision:
		err = v.replayDecision(l, i, p)
	case audit.KindOutcome:
		v.replayOutcome(l, i, e.Time, p.o)
	case audit.KindReceipt:
		v.checkDue(l, i, e.Time, "takes a signature in")
		v.replayReceipt(l, i, p)
	case audit.KindIncident:
		err = v.replayIncident(l, i, e)
	case audit.KindClone:
		err = v.replayClone(l, i, e)
	}
	if err != nil {
		v.entryFault(l, i, EntryForm, "%v", err)
	}
}

func (v *verifier) replayBoot(l *vaultLog, i uint64, e *audit.Entry) error {
	b, err := audit.DecodeBoot(e.Body)
	if err != nil {
		return err
	}
	switch {
	case b.Vault != l.id:
		v.entryFault(l, i, BootOrder, "start of vault %d in the log of vault %d", b.Vault, l.id)
	case b.Counter <= l.lastBoot:
		v.entryFault(l, i, BootOrder, "start %d after start %d: the vault's disk was set back", b.Counter, l.lastBoot)
	}
	l.lastBoot = max(l.lastBoot, b.Counter)
	l.started(i, e.Time)
	return nil
}

func (l *vaultLog) state() *governance.State { return l.history[len(l.history)-1] }

// certificateDomain is the domain of the HSM identities' signatures on a key's
// certificate (docs/spec/dkg.md).
const certificateDomain = "coffer/key-certificate/v1"

func (v *verifier) replayKey(l *vaultLog, i uint64, e *audit.Entry) error {
	k, err := audit.DecodeKeyEntry(e.Body)
	if err != nil {
		return err
	}
	cert, err := dkg.DecodeCertificate(k.Certificate)
	if err != nil {
		return err
	}
	order, err := governance.DecodeKeygenOrder(k.Order)
	if err != nil {
		return err
	}
	if err := v.checkOrder(l, e.Time, order, cert, k.Name); err != nil {
		v.entryFault(l, i, KeyOrder, "wallet %q: %v", k.Name, err)
		return nil
	}
	if err := cert.Complete(l.certified); err != nil {
		v.entryFault(l, i, KeySigners, "wallet %q: %v", k.Name, err)
		return nil
	}
	v.checkInForce(l, i, "holds a share of a key")
	v.enterKey(l, i, k, cert)
	return nil
}

// checkOrder checks the order under any roster that was valid up to now: the
// order is given before the key is there, and a change may come between.
func (v *verifier) checkOrder(l *vaultLog, now uint64, o *governance.KeygenOrder, cert *dkg.Certificate, name string) error {
	var err error
	for s := len(l.history) - 1; s >= 0; s-- {
		if err = l.history[s].CheckKeygen(o, now); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the order: %w", err)
	}
	if want := governance.SuiteOf(o.Purpose); cert.Suite != want || cert.Origin != dkg.Generated {
		return fmt.Errorf("the certificate is of a key %s for suite %s, want one generated for %s", cert.Origin, cert.Suite, want)
	}
	parties := make([]uint16, len(cert.Parties))
	for j, id := range cert.Parties {
		parties[j] = uint16(id)
	}
	if o.Name != name || o.Purpose != cert.Purpose || int(o.Threshold) != cert.Threshold || !sameIDs(o.Parties, parties) {
		return fmt.Errorf("ordered was %q, %s, %d of %v; made was %q, %s, %d of %v",
			o.Name, o.Purpose, o.Threshold, o.Parties, name, cert.Purpose, cert.Threshold, parties)
	}
	return nil
}

// certified verifies a party's signature under an identity that it has had so far.
func (l *vaultLog) certified(id mpc.ID, digest [32]byte, sig []byte) bool {
	return l.state().SignedByIdentity(uint16(id), signature.Statement{Domain: certificateDomain, Body: digest[:]}, sig)
}

func (v *verifier) enterKey(l *vaultLog, i uint64, k *audit.KeyEntry, cert *dkg.Certificate) {
	if id := cert.KeyID(); k.Key != id {
		v.entryFault(l, i, KeyDiffers, "wallet %q: the entry names key %x, its certificate makes key %x", k.Name, k.Key[:8], id[:8])
		return
	}
	if other, ok := v.names[k.Name]; ok && other != k.Key {
		v.entryFault(l, i, KeyDiffers, "wallet %q is key %x here and key %x elsewhere", k.Name, k.Key[:8], other[:8])
		return
	}
	l.keys[k.Key], v.names[k.Name] = cert, k.Key
	known := v.keys[k.Key]
	if known == nil {
		known = &keyInfo{id: k.Key, name: k.Name, cert: cert, vault: l.id, epochs: map[uint64]epochSeen{}}
		v.keys[k.Key] = known
		v.report.Counts.Keys++
	}
	if _, ok := known.epochs[cert.Epoch]; !ok {
		known.epochs[cert.Epoch] = epochSeen{cert, l.id, i}
	}
	if known.order == nil {
		known.order = k.Order
		if o, err := governance.DecodeKeygenOrder(k.Order); err == nil {
			known.tier, known.faults = o.Tier, int(o.Faults)
		}
	} else if string(known.order) != string(k.Order) {
		v.entryFault(l, i, KeyDiffers, "key %x is wallet %q here and wallet %q, by another order, in the log of vault %d", k.Key[:8], k.Name, known.name, known.vault)
	}
}

func (v *verifier) replayOutcome(l *vaultLog, i, at uint64, o *audit.Outcome) {
	if _, ok := l.outcomes[o.Attempt]; ok {
		v.entryFault(l, i, OutcomeRepeated, "attempt %x ended twice", o.Attempt)
		return
	}
	x := &outcome{Attempt: o.Attempt, Request: o.Request, Stage: o.Stage, index: i, time: at, state: l.state()}
	l.outcomes[o.Attempt] = x
	if o.Stage != audit.StageReleased {
		return
	}
	for k := range o.Witnessed {
		x.witnessed = append(x.witnessed, v.sawCheckpoint(l, x.state, &o.Witnessed[k]))
	}
	v.checkInForce(l, i, "releases a share")
	v.checkDue(l, i, at, "releases a share")
	d := l.decisions[o.Attempt]
	if d == nil || d.Request != o.Request {
		v.entryFault(l, i, OutcomeDecision, "the final share of attempt %x was released, but the log holds no earlier decision that allows it", o.Attempt)
		return
	}
	v.checkSuspended(l, i, d.Parties)
	l.jobs.after = append(l.jobs.after, func() { v.checkConflict(l, i, d) })
}

// checkConflict is the rule of two versions, within one vault: it may help a
// second version of a request only if the chain can take one of the two.
func (v *verifier) checkConflict(l *vaultLog, i uint64, d *decision) {
	for _, other := range l.released[d.Request] {
		if bothCouldHappen(other, d) {
			v.entryFault(l, i, OutcomeConflict, "request %x: a share was released for a second version (entry %d), although it does not exclude the first (entry %d)", d.Request[:8], d.index, other.index)
			break
		}
	}
	l.released[d.Request] = append(l.released[d.Request], d)
}

// sawCheckpoint verifies a checkpoint of another vault once, however many outcomes
// rest on it.
func (v *verifier) sawCheckpoint(l *vaultLog, st *governance.State, cp *audit.SignedCheckpoint) *witnessed {
	g, ok := st.Vault(cp.Vault)
	h := sha256.New()
	h.Write(cp.Encode())
	if ok {
		fmt.Fprintf(h, "%v %x %v %x", g.Decision.Algorithm, g.Decision.Key, g.Log.Algorithm, g.Log.Key)
	}
	id := [32]byte(h.Sum(nil))
	if x := v.seen[id]; x != nil {
		return x
	}
	x := &witnessed{Checkpoint: cp.Checkpoint}
	if v.seen[id] = x; !ok {
		return x
	}
	x.card = g.Log
	l.jobs.first = append(l.jobs.first, func() { x.err = cp.Verify(keysOf(v.cluster, g)) })
	return x
}

func (v *verifier) replayReceipt(l *vaultLog, i uint64, p *parsed) {
	r := p.r
	x := &receipt{attempt: r.Attempt, request: r.Request, key: r.Key, unsigned: sha256.Sum256(r.Unsigned), publicKey: string(r.PublicKey), txID: r.TxID, hash: p.receipt, log: l, index: i, time: p.e.Time}
	l.receipts = append(l.receipts, x)
	d := l.decisions[r.Attempt]
	if d == nil || d.unsigned != x.unsigned || v.receipts[x.hash] != nil {
		return // crossReceipts sees to it
	}
	use := v.fixed[x.publicKey]
	if use.signatures++; use.signatures == worthTable && len(r.PublicKey) == 33 {
		use.key = newFixedKey(r.PublicKey)
	}
	v.fixed[x.publicKey] = use
	// The decision's transaction is at hand only now.
	check := new(receiptCheck)
	v.receipts[x.hash] = check
	checked := false
	l.jobs.second = append(l.jobs.second, func() {
		if d.prepared != nil && d.prepared.Digests != nil {
			*check, checked = v.checkReceiptTx(r, d.chain, d.sender, d.prepared), true
		}
	})
	l.jobs.after = append(l.jobs.after, func() {
		if !checked {
			delete(v.receipts, x.hash)
		} else {
			d.prepared = &chain.Prepared{Slots: d.prepared.Slots}
		}
	})
}

func bothCouldHappen(a, b *decision) bool {
	if a.prepared == nil || b.prepared == nil {
		return false
	}
	for _, x := range a.prepared.Slots {
		for _, y := range b.prepared.Slots {
			if x == y {
				return false
			}
		}
	}
	return true
}

// ownRollback is the class of the incident by which a vault says that its own disk is
// older than what its peers hold of it.
const ownRollback = "rollback"

func (v *verifier) replayIncident(l *vaultLog, i uint64, e *audit.Entry) error {
	x, err := audit.DecodeIncident(e.Body)
	if err != nil {
		return err
	}
	// Of itself a vault reports only that its disk was put back.
	if _, ok := v.start.Vault(x.Peer); !ok || x.Peer == l.id && x.Class != ownRollback {
		v.entryFault(l, i, IncidentPeer, "it reports vault %d, want another vault of this cluster", x.Peer)
		return nil
	}
	if v.twice(l, i) {
		return nil
	}
	v.report.Reports = append(v.report.Reports, Suspicion{l.id, i, x.Peer, x.Class, x.Detail})
	return nil
}

func sameIDs(a, b []uint16) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
