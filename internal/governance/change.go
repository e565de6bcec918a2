package governance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Kind is what a Change is about.
type Kind uint8

// The kinds.
const (
	KindRoster Kind = 1 // Body: identity.Roster
	KindPolicy Kind = 2 // Body: policy.Document
	KindKey    Kind = 3 // Body: KeyOrder; a key goes to its next epoch, or to another custody tier

	KindVault        Kind = 4 // Body: VaultOrder
	KindMeasurements Kind = 5 // Body: attest.Policy

	KindBook     Kind = 6 // Body: Book
	KindChains   Kind = 7 // Body: EncodeChains
	KindFreeze   Kind = 8 // Body: Freeze
	KindWithdraw Kind = 9 // Body: Withdrawal
)

const lastKind = KindWithdraw

const kindNames = "1 (roster), 2 (policy), 3 (key), 4 (vault), 5 (measurements), 6 (book), 7 (chains), 8 (freeze) or 9 (withdraw)"

func (k Kind) String() string {
	switch k {
	case KindRoster:
		return "roster"
	case KindPolicy:
		return "policy"
	case KindKey:
		return "key"
	case KindVault:
		return "vault"
	case KindMeasurements:
		return "measurements"
	case KindBook:
		return "book"
	case KindChains:
		return "chains"
	case KindFreeze:
		return "freeze"
	case KindWithdraw:
		return "withdraw"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Bounds of a change.
const (
	MaxBody       = 512 << 10
	MaxNote       = 256 // bytes
	maxSignatures = 64
)

// Change is one step of the governance. It names the step before it, so that it
// fits exactly one place in the history of one cluster.
type Change struct {
	Cluster [32]byte
	Seq     uint64   // 1 for the first
	Prev    [32]byte // Hash of the change before; the cluster's id for the first
	Kind    Kind
	Body    []byte
	Created uint64
	Author  string
	Note    string
}

const (
	changeVersion = 2
	signedVersion = 1
	orderVersion  = 3
)

// Encode is the canonical encoding.
func (c *Change) Encode() []byte {
	w := wire.NewWriter(changeVersion).Fixed(c.Cluster[:]).Uint64(c.Seq).Fixed(c.Prev[:]).Uint8(uint8(c.Kind)).Var(c.Body)
	return w.Uint64(c.Created).String(c.Author).String(c.Note).Bytes()
}

// DecodeChange is the inverse of Encode. What is in Body, Apply says.
func DecodeChange(b []byte) (*Change, error) {
	r := wire.NewReader(b, changeVersion)
	c := new(Change)
	r.Into("cluster", c.Cluster[:])
	c.Seq = r.Uint64("seq")
	r.Into("prev", c.Prev[:])
	c.Kind, c.Body = Kind(r.Uint8("kind")), r.Var("body", MaxBody)
	if r.Err() == nil && (c.Kind < KindRoster || c.Kind > lastKind) {
		r.Failf("kind: unknown value %d, want %s", c.Kind, kindNames)
	}
	c.Created, c.Author, c.Note = r.Uint64("created"), r.Name("author"), r.Text("note", MaxNote)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode change: %w", err)
	}
	return c, nil
}

// Statement is what the admins sign.
func (c *Change) Statement() signature.Statement {
	return signature.Statement{Domain: "coffer/change/v1", Body: c.Encode()}
}

// Hash names the change; it is the digest that the admins sign.
func (c *Change) Hash() [32]byte { return c.Statement().Digest() }

// AdminSignature is one admin's yes to a change.
type AdminSignature struct {
	Principal string
	Key       signature.PublicKey
	Signature signature.Signature
}

// SignedChange is a change with its signatures, sorted by principal, one a person.
type SignedChange struct {
	Change     Change
	Signatures []AdminSignature
}

// Sort puts the signatures in order.
func (s *SignedChange) Sort() {
	slices.SortStableFunc(s.Signatures, func(a, b AdminSignature) int { return cmp.Compare(a.Principal, b.Principal) })
}

// Encode is the canonical encoding.
func (s *SignedChange) Encode() []byte {
	w := wire.NewWriter(signedVersion).Var(s.Change.Encode()).Count(len(s.Signatures))
	for i := range s.Signatures {
		w.String(s.Signatures[i].Principal)
		signature.WriteKey(w, s.Signatures[i].Key)
		signature.WriteSignature(w, s.Signatures[i].Signature)
	}
	return w.Bytes()
}

// DecodeSignedChange is the inverse of Encode. It verifies no signature: Apply
// does.
func DecodeSignedChange(b []byte) (*SignedChange, error) {
	r := wire.NewReader(b, signedVersion)
	s := new(SignedChange)
	if raw := r.Var("change", MaxBody+1024); r.Err() == nil {
		if c, err := DecodeChange(raw); err != nil {
			r.Fail(err)
		} else {
			s.Change = *c
		}
	}
	for range r.Count("signatures", maxSignatures, 80) {
		s.Signatures = append(s.Signatures, AdminSignature{
			r.Name("principal"), signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature"),
		})
	}
	err := r.Done()
	if err == nil {
		err = s.checkOrder()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode signed change: %w", err)
	}
	return s, nil
}

func (s *SignedChange) checkOrder() error {
	for i := 1; i < len(s.Signatures); i++ {
		switch c := cmp.Compare(s.Signatures[i-1].Principal, s.Signatures[i].Principal); {
		case c == 0:
			return refusal.Newf("change.duplicate", "one signature a person", "signatures[%d]: %s has signed already; one person counts once, with whatever key", i, s.Signatures[i].Principal)
		case c > 0:
			return refusal.Newf("change.order", "signatures sorted by principal", "signatures[%d]: %s comes after %s", i, s.Signatures[i].Principal, s.Signatures[i-1].Principal)
		}
	}
	return nil
}

// KeygenOrder tells the vaults to make a key. One admin suffices: a new key holds
// nothing yet.
type KeygenOrder struct {
	Cluster   [32]byte
	Name      string   // of the wallet
	Parties   []uint16 // vaults, sorted
	Threshold uint16
	Purpose   string
	Tier      Tier
	Insist    bool // though the vaults' devices are too much alike
	// Faults is f: limits and versions hold though so many of the parties are corrupt.
	// Beside the Threshold that sign, Quorum − Threshold others take part in the ledger.
	Faults    uint16
	Created   uint64
	Author    string
	Key       signature.PublicKey
	Signature signature.Signature
}

func (o *KeygenOrder) body(w *wire.Writer) *wire.Writer {
	w.Fixed(o.Cluster[:]).String(o.Name).Count(len(o.Parties))
	for _, p := range o.Parties {
		w.Uint16(p)
	}
	return w.Uint16(o.Threshold).String(o.Purpose).Uint8(uint8(o.Tier)).Bool(o.Insist).Uint16(o.Faults).Uint64(o.Created).String(o.Author)
}

// Statement is what the author signs.
func (o *KeygenOrder) Statement() signature.Statement {
	return signature.Statement{Domain: "coffer/keygen/v1", Body: o.body(wire.NewWriter(orderVersion)).Bytes()}
}

// Encode is the canonical encoding.
func (o *KeygenOrder) Encode() []byte {
	w := o.body(wire.NewWriter(orderVersion))
	signature.WriteKey(w, o.Key)
	signature.WriteSignature(w, o.Signature)
	return w.Bytes()
}

// DecodeKeygenOrder is the inverse of Encode. It verifies no signature:
// State.CheckKeygen does.
func DecodeKeygenOrder(b []byte) (*KeygenOrder, error) {
	r := wire.NewReader(b, orderVersion)
	o := new(KeygenOrder)
	r.Into("cluster", o.Cluster[:])
	o.Name = r.Name("name")
	for range r.Count("parties", MaxVaults, 2) {
		o.Parties = append(o.Parties, r.Uint16("party"))
	}
	o.Threshold, o.Purpose = r.Uint16("threshold"), r.Name("purpose")
	o.Tier, o.Insist, o.Faults = Tier(r.Uint8("tier")), r.Bool("insist"), r.Uint16("faults")
	o.Created, o.Author = r.Uint64("created"), r.Name("author")
	o.Key, o.Signature = signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode keygen order: %w", err)
	}
	return o, nil
}

// Quorum is how many vaults take part in the ledger for every signature with a key of
// threshold t of n, so that any two such sets share more than f vaults (ARCHITECTURE.md
// §5): max(t, ⌈(n+f+1)/2⌉). The first t of them sign, the others witness.
func Quorum(n, t, f int) int { return max(t, (n+f+2)/2) }

// CheckKeygen checks an order against the cluster. That the wallet's name is free
// is the vault's to check. The error is a *refusal.Refusal.
func (st *State) CheckKeygen(o *KeygenOrder, now uint64) error {
	if err := st.checkCluster("keygen", o.Cluster); err != nil {
		return err
	}
	bad := func(fix, format string, args ...any) error {
		return refusal.Newf("keygen.invalid", fix, format, args...)
	}
	if err := wire.CheckName(o.Name); err != nil {
		return bad("", "wallet: %v", err)
	}
	if SuiteOf(o.Purpose) == "" {
		return bad(PurposeECDSA+", "+PurposeEd25519+" or "+PurposeTaproot, "purpose: %q", wire.CleanText(o.Purpose, 80))
	}
	if err := o.Tier.check(bad); err != nil {
		return err
	}
	if err := st.checkParties(o.Parties, int(o.Threshold), bad); err != nil {
		return err
	}
	if o.Faults >= o.Threshold {
		return bad(fmt.Sprintf("faults of 0 to %d", o.Threshold-1), "faults: %d corrupt vaults would be enough to sign, with threshold %d", o.Faults, o.Threshold)
	}
	if o.Created > now && o.Created-now > request.MaxSkew {
		return bad("", "created: %s is ahead of this vault's clock, %s", request.Instant(o.Created), request.Instant(now))
	}
	if err := st.checkAdmin("author", o.Author); err != nil {
		return err
	}
	if err := st.Roster.Verify(o.Author, o.Key, o.Statement(), o.Signature); err != nil {
		return err
	}
	return st.checkDiversity(o.Parties, int(o.Threshold), o.Insist)
}
