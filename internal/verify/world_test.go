package verify

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	decred "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// A world is a cluster of three vaults with real keys whose logs are written by
// hand, so that a test can have a vault log what an honest one never would. The
// wallet's key is dealt, not generated, and signs in one piece: what is verified
// is the history, not the protocol.
type world struct {
	t        testing.TB
	genesis  *governance.Genesis
	gov      *governance.State
	vaults   map[uint16]*testVault
	people   map[string]ed25519.PrivateKey
	wallet   *secp256k1.PrivateKey
	cert     *dkg.Certificate
	next     *dkg.Certificate // of the epoch that was dealt last
	sender   string
	now      uint64
	attempt  byte
	tier     governance.Tier // of the wallet; zero: hot
	codecs   []chain.Codec
	changes  [][]byte // about vaults, as they were signed
	counts   func(vault uint16) []audit.LimitUse
	last     [32]byte // the request of the last attempt
	appended []uint16 // whose log got the entries, one after another
}

type testVault struct {
	card               governance.Vault
	identity, decision *ecdsa.PrivateKey
	approval           *ecdsa.PrivateKey // vault 3's
	log                ed25519.PrivateKey
	entries            [][]byte
	boot               uint64
}

const (
	testChain = "eip155:31337"
	testETH   = testChain + "/slip44:60"
	startTime = 1_800_000_000_000
)

var (
	codecs   = []chain.Codec{evm.Codec{}}
	known    = evm.Address{0x11}
	stranger = evm.Address{0x22}
)

func ether(n uint64) chain.Amount {
	var a chain.Amount
	a.SetUint64(n)
	var unit chain.Amount
	unit.SetUint64(1_000_000_000_000_000_000)
	a.Mul(&a, &unit)
	return a
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func p256Key(t testing.TB) (*ecdsa.PrivateKey, signature.PublicKey) {
	k := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return k, signature.PublicKey{Algorithm: signature.P256, Key: string(must[[]byte](t)(k.PublicKey.Bytes()))}
}

func edKey(t testing.TB) (ed25519.PrivateKey, signature.PublicKey) {
	pub, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, edPublic(pub)
}

func edPublic(pub ed25519.PublicKey) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(pub)}
}

func signP256(t testing.TB, k *ecdsa.PrivateKey, st signature.Statement) signature.Signature {
	d := st.Digest()
	r, s, err := ecdsa.Sign(rand.Reader, k, d[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return must[signature.Signature](t)(signature.NormalizeP256(raw))
}

func signEd(k ed25519.PrivateKey, st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(k, d[:])}
}

func (w *world) key(person string) signature.PublicKey {
	return edPublic(w.people[person].Public().(ed25519.PublicKey))
}

// newWorld: admins alice and bob (both must sign), carol who proposes; small
// payments to known addresses are free, larger ones take an admin.
func newWorld(t testing.TB) *world { return newWorldUnder(t, testPolicy(1)) }

func newWorldUnder(t testing.TB, doc *policy.Document) *world {
	w := &world{t: t, vaults: map[uint16]*testVault{}, people: map[string]ed25519.PrivateKey{}, now: startTime, codecs: codecs}
	roster := &identity.Roster{Groups: []identity.Group{{Name: identity.Admins, Members: []string{"alice", "bob"}}}, AdminQuorum: 2}
	for _, name := range []string{"alice", "bob", "carol"} {
		k, pub := edKey(t)
		w.people[name] = k
		roster.Principals = append(roster.Principals, identity.Principal{ID: name, Kind: identity.Person, Credentials: []signature.PublicKey{pub}})
	}
	roster.Sort()
	w.genesis = &governance.Genesis{Name: "test", Created: startTime, Roster: roster, Policy: doc}
	for id := uint16(1); id <= 3; id++ {
		w.genesis.Enrolments = append(w.genesis.Enrolments, w.newVault(id))
	}
	w.gov = must[*governance.State](t)(governance.Start(w.genesis))
	w.dealKey()
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindGenesis, w.genesis.Encode())
		w.bootVault(id)
	}
	return w
}

func (w *world) newVault(id uint16) governance.Enrolment {
	v := &testVault{card: governance.Vault{ID: id, Name: fmt.Sprintf("vault-%d", id), Vendor: "test", Model: fmt.Sprintf("soft %d", id)}}
	v.identity, v.card.Identity = p256Key(w.t)
	v.decision, v.card.Decision = p256Key(w.t)
	v.log, v.card.Log = edKey(w.t)
	if id == 3 { // the others' devices have no such key
		v.approval, v.card.Approval = p256Key(w.t)
		attributes, policy, err := attest.ApprovalArea(v.card.Decision)
		if err != nil {
			w.t.Fatal(err)
		}
		v.card.ApprovalArea = attest.Area{Attributes: attributes, Policy: policy[:], Key: v.card.Approval}.Encode()
	}
	st := v.card.Statement()
	w.vaults[id] = v
	return governance.Enrolment{Vault: v.card, Identity: signP256(w.t, v.identity, st), Decision: signP256(w.t, v.decision, st), Log: signEd(v.log, st)}
}

func testPolicy(limit uint64) *policy.Document {
	return source.MustCompile(fmt.Sprintf(`
assets:
  ETH: {id: %s, decimals: 18}
addressBook:
  known: [%s]
rules:
  - name: small
    when: transfers.size() > 0 && transfers.all(t, t.to.labelled("known")) && total("ETH") <= amount("%d ETH")
    then: allow
  - name: large
    when: transfers.size() > 0 && transfers.all(t, t.to.labelled("known"))
    then: {require: {admins: 1}}
`, testETH, evm.Account(testChain, known), limit))
}

func (w *world) dealKey() {
	poly := must[*sharing.Polynomial](w.t)(sharing.NewPolynomial(group.Secp256k1(), rand.Reader, 2))
	feldman := poly.Commit()
	w.wallet = secp256k1.PrivKeyFromBytes(poly.Constant().Encode())
	w.cert = &dkg.Certificate{
		Suite: mpc.DKLS23Secp256k1, Origin: dkg.Generated, Purpose: governance.PurposeECDSA, SID: [32]byte{1}, Epoch: 1, Threshold: 2, Parties: []mpc.ID{1, 2, 3},
		PublicShares: map[mpc.ID]group.Point{}, Feldman: feldman,
	}
	for _, id := range w.cert.Parties {
		w.cert.PublicShares[id] = feldman.Eval(id)
	}
	w.signCert(w.cert, 1, 2, 3)
	w.sender = must[string](w.t)(evm.Codec{}.Address(testChain, w.wallet.PubKey().SerializeCompressed()))
}

func (w *world) signCert(c *dkg.Certificate, ids ...uint16) {
	d := c.Digest()
	for _, id := range ids {
		sig := signP256(w.t, w.vaults[id].identity, signature.Statement{Domain: certificateDomain, Body: d[:]})
		if err := c.AddSignature(mpc.ID(id), sig.Encode()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// tick moves the clock that all vaults share.
func (w *world) tick() uint64 { w.now += 1000; return w.now }

func (w *world) append(vault uint16, kind audit.Kind, body []byte) uint64 {
	return w.appendEntry(vault, &audit.Entry{Time: w.now, Kind: kind, Body: body})
}

func (w *world) appendEntry(vault uint16, e *audit.Entry) uint64 {
	v := w.vaults[vault]
	v.entries = append(v.entries, e.Encode())
	w.appended = append(w.appended, vault)
	return uint64(len(v.entries) - 1)
}

func (w *world) bootVault(id uint16) {
	w.vaults[id].boot++
	w.append(id, audit.KindBoot, (&audit.Boot{Vault: id, Counter: w.vaults[id].boot, Software: "test", Device: "soft"}).Encode())
}

func (w *world) checkpoint(id uint16) audit.SignedCheckpoint {
	return w.checkpointAt(id, len(w.vaults[id].entries))
}

func (w *world) checkpointAt(id uint16, size int) audit.SignedCheckpoint {
	v := w.vaults[id]
	l := audit.Load(v.entries[:size])
	return w.signCheckpoint(id, audit.Checkpoint{Cluster: w.gov.Cluster, Vault: id, Size: l.Size(), Root: l.Root(), Boot: v.boot, Time: w.now})
}

func (w *world) signCheckpoint(id uint16, c audit.Checkpoint) audit.SignedCheckpoint {
	v := w.vaults[id]
	return audit.SignedCheckpoint{
		Checkpoint: c, HSM: signP256(w.t, v.decision, c.Statement()),
		Log: signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.log, []byte(c.Text()))},
	}
}

// order is alice's order to make the wallet.
func (w *world) order() *governance.KeygenOrder {
	o := &governance.KeygenOrder{
		Cluster: w.gov.Cluster, Name: "treasury", Parties: []uint16{1, 2, 3}, Threshold: 2, Purpose: governance.PurposeECDSA, Tier: cmp.Or(w.tier, governance.TierHot),
		Created: w.now, Author: "alice", Key: w.key("alice"),
	}
	o.Signature = signEd(w.people["alice"], o.Statement())
	return o
}

func (w *world) keyEntry() *audit.KeyEntry {
	return &audit.KeyEntry{Key: w.cert.KeyID(), Name: "treasury", Certificate: w.cert.Encode(), Order: w.order().Encode()}
}

// keygen logs the wallet in all vaults.
func (w *world) keygen() {
	w.tick()
	body := w.keyEntry().Encode()
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindKey, body)
	}
}

// signedChange is a change to the next policy, signed by these admins.
func (w *world) signedChange(limit uint64, admins ...string) *governance.SignedChange {
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: w.gov.Cluster, Seq: w.gov.Seq + 1, Prev: w.gov.Head, Kind: governance.KindPolicy,
		Body: testPolicy(limit).Encode(), Created: w.now, Author: "alice",
	}}
	for _, a := range admins {
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: w.key(a), Signature: signEd(w.people[a], s.Change.Statement())})
	}
	return s
}

// change raises the limit, in all vaults.
func (w *world) change(limit uint64) {
	w.tick()
	s := w.signedChange(limit, "alice", "bob")
	w.gov = must[*governance.State](w.t)(w.gov.Apply(s, w.now))
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindChange, s.Encode())
	}
}

// payment is one request with the transaction that is to pay it.
type payment struct {
	bundle   *request.Bundle
	unsigned []byte
	nonce    uint64
}

func (w *world) payment(to evm.Address, amount chain.Amount, nonce uint64, approvers ...string) *payment {
	w.tick()
	q := &request.Request{
		Cluster: w.gov.Cluster, Wallet: w.cert.KeyID(), Chain: testChain, Sender: w.sender, Intent: evm.NewTransfer(to, amount).Encode(),
		MaxFee: ether(1), Initiator: "carol", Salt: [16]byte{byte(w.now >> 8), byte(w.now)}, Created: w.now, Expires: w.now + 3_600_000,
	}
	b := &request.Bundle{Request: q, ProposeKey: w.key("carol"), ProposeSignature: signEd(w.people["carol"], request.ProposeStatement(q.ID()))}
	for _, a := range approvers {
		x := request.Approval{Request: q.ID(), Principal: a, Approve: true, Time: w.now, Expires: w.now + 3_600_000, Key: w.key(a)}
		x.Signature = signEd(w.people[a], x.Statement())
		b.Approvals = append(b.Approvals, x)
	}
	b.Sort()
	p := &payment{bundle: b}
	return p.with(w, to, amount, nonce)
}

// with is another version of the payment's transaction.
func (p *payment) with(w *world, to evm.Address, amount chain.Amount, nonce uint64) *payment {
	tx := &evm.Transaction{Type: evm.TypeDynamicFee, ChainID: 31337, Nonce: nonce, Gas: 21000, To: &to, Value: amount}
	tx.FeeCap.SetUint64(1_000_000_000)
	tx.TipCap.SetUint64(1_000_000_000)
	return &payment{p.bundle, must[[]byte](w.t)(tx.Encode()), nonce}
}

func (w *world) nextAttempt() [16]byte { w.attempt++; return [16]byte{w.attempt} }

// decide is what vault id has to say of an attempt.
func (w *world) decide(id uint16, p *payment, attempt [16]byte, parties []uint16) *audit.Decision {
	d := &audit.Decision{
		Attempt: attempt, Request: p.bundle.Request.ID(), Bundle: p.bundle.Encode(), Unsigned: p.unsigned, Key: w.cert.KeyID(), Epoch: 1,
		Parties: parties, R0Hash: [32]byte{attempt[0], 1}, GovernanceSeq: w.gov.Seq, GovernanceHead: w.gov.Head,
		PolicyRoot: w.gov.Policy.Root(), RosterRoot: w.gov.Roster.Root(), Time: w.now,
	}
	if w.counts != nil {
		d.Limits = w.counts(id)
	}
	v := newVerifier(w.gov.Cluster, codecs)
	got := v.judge(id, w.gov, &keyInfo{cert: w.cert}, w.cert, p.bundle, d, nil)
	d.Allow, d.Code, d.Rule, d.Detail, d.BreakGlass = got.allow, got.code, got.rule, got.detail, got.breakGlass
	if d.Allow && id == 3 && w.tier == governance.TierCold {
		d.Approval = signP256(w.t, w.vaults[3].approval, audit.ApprovedStatement(w.gov.Cluster, 3, d.Request))
	}
	if !d.Allow {
		d.R0Hash = [32]byte{}
	}
	return d
}

// hooks let a test change what the vaults of a payment write.
type hooks struct {
	decision func(*audit.Decision, uint16)
	outcome  func(*audit.Outcome, uint16)
	receipt  func(*audit.Receipt)
}

// pay runs an attempt through the logs of its parties.
func (w *world) pay(p *payment, parties []uint16, h hooks) {
	w.t.Helper()
	w.tick()
	attempt := w.nextAttempt()
	seen := map[uint16]audit.SignedCheckpoint{}
	for _, id := range parties {
		d := w.decide(id, p, attempt, parties)
		if h.decision != nil {
			h.decision(d, id)
		}
		w.appendEntry(id, d.Entry())
		seen[id] = w.checkpoint(id)
	}
	for _, id := range parties {
		o := &audit.Outcome{Attempt: attempt, Request: p.bundle.Request.ID(), Stage: audit.StageReleased}
		for _, peer := range parties {
			if peer != id {
				o.Witnessed = append(o.Witnessed, seen[peer])
			}
		}
		if h.outcome != nil {
			h.outcome(o, id)
		}
		w.append(id, audit.KindOutcome, o.Encode())
	}
	r := w.receipt(p, attempt)
	if h.receipt != nil {
		h.receipt(r)
	}
	for _, id := range parties {
		w.append(id, audit.KindReceipt, r.Encode())
	}
}

func (w *world) receipt(p *payment, attempt [16]byte) *audit.Receipt {
	r := &audit.Receipt{Attempt: attempt, Request: p.bundle.Request.ID(), Key: w.cert.KeyID(), Unsigned: p.unsigned}
	r.PublicKey = w.wallet.PubKey().SerializeCompressed()
	w.sign(r)
	return r
}

// sign makes the wallet's signature over what the receipt says was signed.
func (w *world) sign(r *audit.Receipt) {
	tx := must[*evm.Transaction](w.t)(evm.DecodeUnsigned(r.Unsigned))
	digest := must[[32]byte](w.t)(tx.Digest())
	c := decred.SignCompact(w.wallet, digest[:], true)
	s := chain.Signature{R: [32]byte(c[1:33]), S: [32]byte(c[33:]), RecoveryID: c[0] - 27 - 4}
	r.Signatures = []chain.Signature{s}
	_, txid, err := evm.Codec{}.Assemble(w.sender, r.Unsigned, r.Signatures)
	if err != nil {
		w.t.Fatal(err)
	}
	r.TxID = txid
}

// refuse logs a refusal.
func (w *world) refuse(p *payment, id uint16, parties []uint16) *audit.Decision {
	w.tick()
	d := w.decide(id, p, w.nextAttempt(), parties)
	if d.Allow {
		w.t.Fatal("the payment is allowed")
	}
	w.appendEntry(id, d.Entry())
	return d
}

// history is a little of everything: a wallet, a small payment, a larger one
// with an approval, refusals, a change of policy, a restart, an incident.
func (w *world) history() *world {
	w.keygen()
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	w.pay(w.payment(known, ether(3), 1, "alice"), []uint16{2, 3}, hooks{})
	w.refuse(w.payment(stranger, ether(1), 2), 1, []uint16{1, 2})
	w.refuse(w.payment(known, ether(2), 2), 2, []uint16{1, 2}) // nobody approved
	w.refuse(w.payment(known, ether(1), 2), 3, []uint16{1, 2}) // not its business
	w.change(5)
	w.pay(w.payment(known, ether(5), 2), []uint16{1, 3}, hooks{})
	w.tick()
	w.bootVault(2)
	w.append(1, audit.KindIncident, (&audit.Incident{Peer: 3, Class: "benign", Step: "sign R0", Detail: "silent"}).Encode())
	return w
}

// copies seals every log with its vault's checkpoint.
func (w *world) copies() []Copy {
	var out []Copy
	for id := uint16(1); id <= 3; id++ {
		cp := w.checkpoint(id)
		out = append(out, w.copyWith(id, w.vaults[id].entries, cp.Encode()))
	}
	return out
}

func (w *world) copyWith(id uint16, entries [][]byte, checkpoint []byte) Copy {
	return Copy{Name: fmt.Sprintf("copy-%d", id), Copy: &logfile.Copy{
		Header: logfile.Header{Cluster: w.gov.Cluster, Vault: id}, Entries: slices.Clone(entries), Checkpoint: checkpoint,
	}}
}

func (w *world) verify(copies []Copy) *Report { return Copies(w.gov.Cluster, copies, w.codecs) }
