package logmaker

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/example"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

const (
	chainID = "eip155:31337"
	start   = 1_800_000_000_000
	hour    = 3_600_000
	// vaults of the cluster; 1 and 2 sign.
	vaults = 3
)

var (
	payee    = evm.Address{0x70, 0x99, 0x79, 0x70, 0xC5, 0x18, 0x12, 0xdc, 0x3A, 0x01, 0x0C, 0x7d, 0x01, 0xb5, 0x0e, 0x0d, 0x17, 0xdc, 0x79, 0xC8} // the example's known address
	stranger = evm.Address{0x22}
)

// Maker is a cluster whose vault 1 keeps the log.
type Maker struct {
	state   *governance.State
	genesis *governance.Genesis
	cards   map[uint16]*card
	people  map[string]ed25519.PrivateKey
	wallet  *secp256k1.PrivateKey
	cert    *dkg.Certificate
	sender  string
	rules   [3]string // by kind
}

type card struct {
	governance.Vault
	identity, decision *ecdsa.PrivateKey
	log                ed25519.PrivateKey
}

// The kinds of payments.
const (
	small   = iota // allowed without approval
	large          // allowed with two
	refused        // by the policy
)

// New makes the cluster.
func New() (*Maker, error) {
	m := &Maker{cards: map[uint16]*card{}, people: map[string]ed25519.PrivateKey{}}
	keys := map[string]signature.PublicKey{}
	for _, name := range example.Principals() {
		pub, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		m.people[name], keys[name] = k, edKey(pub)
	}
	roster, err := example.Roster(keys)
	if err != nil {
		return nil, err
	}
	doc, err := example.Policy(example.Parameters{ChainID: 31337, Unlimited: true})
	if err != nil {
		return nil, err
	}
	m.genesis = &governance.Genesis{Name: "busy", Created: start, Roster: roster, Policy: doc}
	for id := uint16(1); id <= vaults; id++ {
		e, err := m.enrol(id)
		if err != nil {
			return nil, err
		}
		m.genesis.Enrolments = append(m.genesis.Enrolments, *e)
	}
	if m.state, err = governance.Start(m.genesis); err != nil {
		return nil, err
	}
	if err := m.deal(); err != nil {
		return nil, err
	}
	for kind := range m.rules {
		if err := m.learn(kind); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Genesis is the cluster's genesis hash.
func (m *Maker) Genesis() [32]byte { return m.state.Cluster }

// Keys are those under which the checkpoints of a vault verify.
func (m *Maker) Keys(vault uint16) audit.Keys {
	c := m.cards[vault]
	return audit.Keys{Cluster: m.state.Cluster, Vault: vault, Decision: c.Decision, Log: c.Log}
}

func edKey(pub ed25519.PublicKey) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(pub)}
}

func (m *Maker) key(name string) signature.PublicKey {
	return edKey(m.people[name].Public().(ed25519.PublicKey))
}

func signEd(k ed25519.PrivateKey, s signature.Statement) signature.Signature {
	d := s.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(k, d[:])}
}

func signP256(k *ecdsa.PrivateKey, st signature.Statement) (signature.Signature, error) {
	d := st.Digest()
	r, s, err := ecdsa.Sign(rand.Reader, k, d[:])
	if err != nil {
		return signature.Signature{}, err
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return signature.NormalizeP256(raw)
}

func p256Key() (*ecdsa.PrivateKey, signature.PublicKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, signature.PublicKey{}, err
	}
	point, err := k.PublicKey.Bytes()
	return k, signature.PublicKey{Algorithm: signature.P256, Key: string(point)}, err
}

func (m *Maker) enrol(id uint16) (*governance.Enrolment, error) {
	c := &card{Vault: governance.Vault{ID: id, Name: fmt.Sprintf("vault-%d", id), Vendor: "test", Model: fmt.Sprintf("made up %d", id)}}
	var err error
	if c.identity, c.Identity, err = p256Key(); err != nil {
		return nil, err
	}
	if c.decision, c.Decision, err = p256Key(); err != nil {
		return nil, err
	}
	pub, log, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	c.log, c.Log = log, edKey(pub)
	m.cards[id] = c
	e := &governance.Enrolment{Vault: c.Vault, Log: signEd(log, c.Statement())}
	if e.Identity, err = signP256(c.identity, c.Statement()); err != nil {
		return nil, err
	}
	e.Decision, err = signP256(c.decision, c.Statement())
	return e, err
}

// deal makes the wallet's key, in one piece, with the certificate of all vaults.
func (m *Maker) deal() error {
	poly, err := sharing.NewPolynomial(group.Secp256k1(), rand.Reader, 2)
	if err != nil {
		return err
	}
	feldman := poly.Commit()
	m.wallet = secp256k1.PrivKeyFromBytes(poly.Constant().Encode())
	m.cert = &dkg.Certificate{
		Suite: mpc.DKLS23Secp256k1, Origin: dkg.Generated, Purpose: governance.PurposeECDSA, SID: [32]byte{1}, Epoch: 1, Threshold: 2, Parties: []mpc.ID{1, 2, 3},
		PublicShares: map[mpc.ID]group.Point{}, Feldman: feldman,
	}
	for _, id := range m.cert.Parties {
		m.cert.PublicShares[id] = feldman.Eval(id)
	}
	d := m.cert.Digest()
	for _, id := range m.cert.Parties {
		sig, err := signP256(m.cards[uint16(id)].identity, signature.Statement{Domain: "coffer/key-certificate/v1", Body: d[:]})
		if err != nil {
			return err
		}
		if err := m.cert.AddSignature(id, sig.Encode()); err != nil {
			return err
		}
	}
	m.sender, err = evm.Codec{}.Address(chainID, m.wallet.PubKey().SerializeCompressed())
	return err
}

// learn asks the policy which rule decides about a kind of payment.
func (m *Maker) learn(kind int) error {
	b, unsigned, err := m.payment(kind, 0)
	if err != nil {
		return err
	}
	verified, err := m.state.Roster.CheckBundle(b, m.state.Cluster, start+1)
	if err != nil {
		return err
	}
	p, err := evm.Codec{}.Prepare(chainID, m.sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	if err != nil {
		return err
	}
	out := m.state.Policy.Evaluate(m.state.Roster, policy.Input{Request: b.Request, Effects: p.Effects, Verified: verified, Now: start + 1})
	if out.Allow != (kind != refused) {
		return fmt.Errorf("couldn't make a log: payments of kind %d come to %+v", kind, out)
	}
	m.rules[kind] = out.Rule
	return nil
}

// payment is the n-th request with its transaction.
func (m *Maker) payment(kind int, n uint64) (*request.Bundle, []byte, error) {
	now := start + n
	to, wei := payee, uint64(1_000_000_000_000_000+n)
	switch kind {
	case large:
		wei += 1_000_000_000_000_000_000
	case refused: // more than anybody may send
		to, wei = stranger, 11_000_000_000_000_000_000
	}
	var value, fee chain.Amount
	value.SetUint64(wei)
	fee.SetUint64(21_000 * 1_000_000_000)
	q := &request.Request{
		Cluster: m.state.Cluster, Wallet: m.cert.KeyID(), Chain: chainID, Sender: m.sender, Intent: evm.NewTransfer(to, value).Encode(),
		MaxFee: fee, Initiator: example.Bot, Created: now, Expires: now + hour,
	}
	binary.BigEndian.PutUint64(q.Salt[:], n)
	id := q.ID()
	b := &request.Bundle{Request: q, ProposeKey: m.key(example.Bot), ProposeSignature: signEd(m.people[example.Bot], request.ProposeStatement(id))}
	v := request.RiskVerdict{Request: id, Engine: example.Engine, Outcome: request.Pass, Time: now, Expires: now + hour, Key: m.key(example.Engine)}
	v.Signature = signEd(m.people[example.Engine], v.Statement())
	b.Verdicts = append(b.Verdicts, v)
	if kind == large {
		for _, name := range []string{"bob", "carol"} {
			a := request.Approval{Request: id, Principal: name, Approve: true, Time: now, Expires: now + hour, Key: m.key(name)}
			a.Signature = signEd(m.people[name], a.Statement())
			b.Approvals = append(b.Approvals, a)
		}
	}
	b.Sort()
	tx := &evm.Transaction{Type: evm.TypeDynamicFee, ChainID: 31337, Nonce: n, Gas: 21000, To: &to, Value: value}
	tx.FeeCap.SetUint64(1_000_000_000)
	tx.TipCap.SetUint64(1_000_000_000)
	unsigned, err := tx.Encode()
	return b, unsigned, err
}

// Checkpoint signs for a vault's log.
func (m *Maker) Checkpoint(vault uint16, size uint64, root [32]byte, time uint64) (*audit.SignedCheckpoint, error) {
	c := m.cards[vault]
	cp := audit.Checkpoint{Cluster: m.state.Cluster, Vault: vault, Size: size, Root: root, Boot: 1, Time: time}
	hsm, err := signP256(c.decision, cp.Statement())
	if err != nil {
		return nil, err
	}
	log := signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(c.log, []byte(cp.Text()))}
	return &audit.SignedCheckpoint{Checkpoint: cp, HSM: hsm, Log: log}, nil
}

// Cosign is a vault's cosignature of another's checkpoint.
func (m *Maker) Cosign(vault uint16, cp *audit.SignedCheckpoint, seconds uint64) audit.Cosignature {
	c := audit.Cosignature{Name: audit.Origin(m.state.Cluster, vault), Time: seconds}
	c.Signature = [64]byte(ed25519.Sign(m.cards[vault].log, audit.Cosigned(cp.Text(), seconds)))
	return c
}

// peerCheckpoint is what vault 2 shows: its root is made up.
func (m *Maker) peerCheckpoint(n uint64) (*audit.SignedCheckpoint, error) {
	root := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("peer"), n))
	return m.Checkpoint(2, (n+1)*Group, root, start+n)
}
