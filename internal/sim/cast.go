package sim

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
)

// The cast of every simulation.
const (
	ChainID   = 31337
	Trader    = "alice"
	Engine    = "risk-1"
	ruleSmall = "small-transfers"
	ruleLarge = "payments"
)

// Approvers and Admins of the cast.
var (
	Approvers = []string{"bob", "carol", "dave"}
	Admins    = []string{"ada", "ben", "cleo"}
)

// Known is the recipient whom the address book knows; Stranger is not in it.
var (
	Known    = evm.Address{0xc0, 0xff, 0xee, 19: 1}
	Stranger = evm.Address{0xde, 0xad, 19: 2}
)

// Chain is the cast's chain.
var Chain = evm.ChainName(ChainID)

// Roster is the cast as a roster: two of three admins govern.
func Roster(seed uint64) *identity.Roster {
	ro := &identity.Roster{AdminQuorum: 2}
	add := func(kind identity.Kind, names ...string) {
		for _, n := range names {
			ro.Principals = append(ro.Principals, identity.Principal{
				ID: n, Kind: kind, Credentials: keysOf(Person(seed, n)),
			})
		}
	}
	add(identity.Person, Trader)
	add(identity.Person, Approvers...)
	add(identity.Person, Admins...)
	add(identity.Risk, Engine)
	slices.SortFunc(ro.Principals, func(a, b identity.Principal) int { return compare(a.ID, b.ID) })
	ro.Groups = []identity.Group{{Name: identity.Admins, Members: Admins}, {Name: "approvers", Members: Approvers}, {Name: "traders", Members: []string{Trader}}}
	return ro
}

// ETH is n ether in wei.
func ETH(n uint64) chain.Amount {
	var a, unit chain.Amount
	unit.SetUint64(1_000_000_000_000_000_000)
	return *a.Mul(&unit, a.Clone().SetUint64(n))
}

// Policy allows up to 1 ETH or SOL to known recipients, and up to 10 to anybody with
// two approvals; the risk engine must pass both.
func Policy() *policy.Document {
	return source.MustCompile(fmt.Sprintf(cast, evm.NativeAsset(Chain), solana.NativeAsset, evm.Account(Chain, Known), solana.Account(KnownSolana)))
}

const cast = `
assets:
  ETH: {id: %s, decimals: 18}
  SOL: {id: %s, decimals: 9}
addressBook:
  known: [%s, %s]
rules:
  - name: ` + ruleSmall + `
    when: |
      onlyTransfers && transfers.all(t, t.asset in ["ETH", "SOL"] && t.to.labelled("known"))
      && total("ETH") <= amount("1 ETH") && total("SOL") <= amount("1 SOL")
      && risk("` + Engine + `").outcome == "pass"
    then: allow
  - name: ` + ruleLarge + `
    when: |
      onlyTransfers && transfers.all(t, t.asset in ["ETH", "SOL"])
      && total("ETH") <= amount("10 ETH") && total("SOL") <= amount("10 SOL")
      && risk("` + Engine + `").outcome == "pass"
    then: {require: {approvers: 2}, initiatorExcluded: true}
`

// Wallet is a key that the simulated cluster made.
type Wallet struct {
	ID          [32]byte
	Certificate *dkg.Certificate
	PublicKey   []byte
	Sender      string
	Parties     []mpc.ID
	Threshold   int
	Faults      int // that the key's ledger withstands
}

// Keygen runs the key generation among all vaults.
func (w *World) Keygen(name string, threshold int) (*Wallet, error) {
	return w.keygen(w.KeygenOrder(name, threshold))
}

func (w *World) keygen(o *governance.KeygenOrder) (*Wallet, error) {
	var ids []uint64
	for _, id := range w.IDs {
		n, err := w.Command(id, &cluster.Command{Kind: cluster.CommandKeygen, Attempt: w.Attempt(), Body: o.Encode()})
		if err != nil {
			return nil, err
		}
		ids = append(ids, n)
		w.attempt-- // all parties run the same attempt
	}
	w.attempt++
	if err := w.Settle(); err != nil {
		return nil, err
	}
	var cert []byte
	for _, n := range ids {
		r := w.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeDone {
			return nil, fmt.Errorf("keygen: %s", Describe(r))
		}
		if cert != nil && string(cert) != string(r.Body) {
			return nil, fmt.Errorf("keygen: vaults have different certificates")
		}
		cert = r.Body
	}
	return w.Wallet(cert)
}

// KeygenOrder is an order by the first admin.
func (w *World) KeygenOrder(name string, threshold int) *governance.KeygenOrder {
	return w.KeygenOrderFor(name, governance.PurposeECDSA, threshold)
}

// KeygenOrderFor is KeygenOrder for a key of any purpose.
func (w *World) KeygenOrderFor(name, purpose string, threshold int) *governance.KeygenOrder {
	k := Person(w.Seed, Admins[0])
	o := &governance.KeygenOrder{
		Cluster: w.Genesis.Hash(), Name: name, Threshold: uint16(threshold), Purpose: purpose, Tier: cmp.Or(w.Tier, governance.TierHot), Insist: w.Insist, Faults: uint16(w.Faults),
		Created: w.Now, Author: Admins[0], Key: PublicKey(k),
	}
	for _, id := range w.IDs {
		o.Parties = append(o.Parties, uint16(id))
	}
	o.Signature = SignStatement(k, o.Statement())
	return o
}

// Wallet is the wallet of a certificate.
func (w *World) Wallet(cert []byte) (*Wallet, error) {
	c, err := dkg.DecodeCertificate(cert)
	if err != nil {
		return nil, err
	}
	x := &Wallet{ID: c.KeyID(), Certificate: c, PublicKey: c.PublicKey().Encode(), Parties: c.Parties, Threshold: c.Threshold, Faults: w.Faults}
	if c.Suite == mpc.FROSTEd25519 {
		x.Sender, err = solana.Codec{}.Address(solana.Mainnet, x.PublicKey)
	} else {
		x.Sender, err = evm.Codec{}.Address(Chain, x.PublicKey)
	}
	return x, err
}

// Attempt is a fresh attempt id.
func (w *World) Attempt() [16]byte {
	w.attempt++
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], w.Seed)
	binary.BigEndian.PutUint64(a[8:], w.attempt)
	return a
}

// Transfer is a bundle by the trader: amount to a recipient, screened by the
// risk engine, approved by the named people.
func (w *World) Transfer(x *Wallet, to evm.Address, amount chain.Amount, approvers ...string) *request.Bundle {
	return w.bundle(x, Chain, evm.NewTransfer(to, amount).Encode(), ETH(1), approvers)
}

func (w *World) bundle(x *Wallet, chainID string, intent []byte, maxFee chain.Amount, approvers []string) *request.Bundle {
	w.salt++
	q := &request.Request{
		Cluster: w.Genesis.Hash(), Wallet: x.ID, Chain: chainID, Sender: x.Sender, Intent: intent,
		MaxFee: maxFee, Initiator: cmp.Or(w.Proposer, Trader), Created: w.Now, Expires: w.Now + 3_600_000,
	}
	binary.BigEndian.PutUint64(q.Salt[:], w.salt)
	k := Person(w.Seed, q.Initiator)
	b := &request.Bundle{Request: q, ProposeKey: PublicKey(k), ProposeSignature: SignStatement(k, request.ProposeStatement(q.ID()))}
	w.Screen(b, request.Pass)
	for _, a := range approvers {
		w.Approve(b, a)
	}
	return b
}

// Screen adds the risk engine's verdict.
func (w *World) Screen(b *request.Bundle, outcome request.Outcome) {
	k := Person(w.Seed, Engine)
	v := request.RiskVerdict{Request: b.Request.ID(), Engine: Engine, Outcome: outcome, Time: w.Now, Expires: b.Request.Expires, Key: PublicKey(k)}
	v.Signature = SignStatement(k, v.Statement())
	b.Verdicts = []request.RiskVerdict{v}
}

// Approve adds a person's approval.
func (w *World) Approve(b *request.Bundle, name string) {
	k := Person(w.Seed, name)
	a := request.Approval{Request: b.Request.ID(), Principal: name, Approve: true, Time: w.Now, Expires: b.Request.Expires, Key: PublicKey(k)}
	a.Signature = SignStatement(k, a.Statement())
	b.Approvals = append(b.Approvals, a)
	b.Sort()
}

// Unsigned is a final transaction for a transfer.
func Unsigned(to evm.Address, amount chain.Amount, nonce uint64) []byte {
	tx := &evm.Transaction{Type: 2, ChainID: ChainID, Nonce: nonce, Gas: 21000, To: &to, Value: amount}
	tx.TipCap.SetUint64(1_000_000_000)
	tx.FeeCap.SetUint64(20_000_000_000)
	b, err := tx.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

// Sign asks signers for a signature and delivers everything in order.
func (w *World) Sign(b *request.Bundle, unsigned []byte, signers ...mpc.ID) (map[mpc.ID]*cluster.Reply, error) {
	ids, err := w.StartSign(b, unsigned, signers...)
	if err != nil {
		return nil, err
	}
	if err := w.Settle(); err != nil {
		return nil, err
	}
	out := map[mpc.ID]*cluster.Reply{}
	for id, n := range ids {
		out[id] = w.Replies[n]
	}
	return out, nil
}

// StartSign sends the command to all signers; nothing is delivered yet.
func (w *World) StartSign(b *request.Bundle, unsigned []byte, signers ...mpc.ID) (map[mpc.ID]uint64, error) {
	return w.StartWitnessed(b, unsigned, signers, nil)
}

// StartWitnessed is StartSign with the witnesses of the key's ledger quorum.
func (w *World) StartWitnessed(b *request.Bundle, unsigned []byte, signers, witnesses []mpc.ID) (map[mpc.ID]uint64, error) {
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: w.Attempt(), Body: b.Encode(), Unsigned: unsigned}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	for _, id := range witnesses {
		c.Witnesses = append(c.Witnesses, uint16(id))
	}
	ids := map[mpc.ID]uint64{}
	for _, id := range slices.Concat(signers, witnesses) {
		n, err := w.Command(id, c)
		if err != nil {
			return nil, err
		}
		ids[id] = n
	}
	return ids, nil
}

// Combine makes the signature of all signers' shares and has it verified.
func Combine(x *Wallet, digest [32]byte, replies map[mpc.ID]*cluster.Reply) (*ecdsa.Signature, error) {
	var shares []*dkls23.FinalShare
	var signers []mpc.ID
	for _, id := range x.Parties {
		r, ok := replies[id]
		if !ok {
			continue
		}
		if r == nil || r.Outcome != cluster.OutcomeDone {
			return nil, fmt.Errorf("vault %d gave no share: %s", id, Describe(r))
		}
		s := new(dkls23.FinalShare)
		if err := s.UnmarshalBinary(r.Body); err != nil {
			return nil, err
		}
		shares = append(shares, s)
		signers = append(signers, id)
	}
	return dkls23.Combine(group.Secp256k1Point(x.Certificate.PublicKey()), signers, digest, nil, shares)
}

func keysOf(k ed25519.PrivateKey) (out []publicKey) { return []publicKey{PublicKey(k)} }

// Describe is a reply in words.
func Describe(r *cluster.Reply) string {
	if r == nil {
		return "no answer"
	}
	s := fmt.Sprintf("vault %d %v", r.Vault, r.Outcome)
	if f, err := refusal.Decode(r.Refusal); err == nil {
		s += ": " + f.Error()
	}
	if r.Detail != "" {
		s += fmt.Sprintf(": %s (class %d, culprits %v)", r.Detail, r.Class, r.Culprits)
	}
	return s
}
