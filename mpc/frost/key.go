package frost

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/schnorr"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Public is what everybody knows of a key: enough to check shares and to combine
// them. It must not be changed while it is used.
type Public struct {
	Suite        mpc.Suite
	KeyID        [32]byte
	Epoch        uint64
	Threshold    int
	Parties      []mpc.ID // ascending
	PublicKey    group.Point
	PublicShares map[mpc.ID]group.Point
	FeldmanHash  [32]byte
	RosterHash   [32]byte
	Purpose      string
}

func (p *Public) check() error {
	s, err := suiteOf(p.Suite)
	if err != nil {
		return err
	}
	if err := sharing.CheckIDs(p.Parties); err != nil {
		return err
	}
	if err := sharing.CheckThreshold(p.Threshold, len(p.Parties)); err != nil {
		return err
	}
	if p.PublicKey == nil || p.PublicKey.Curve().Name() != s.curve.Name() || p.PublicKey.IsIdentity() == 1 {
		return fmt.Errorf("no public key on %s", s.curve.Name())
	}
	for _, id := range p.Parties {
		if x := p.PublicShares[id]; x == nil || x.Curve().Name() != s.curve.Name() {
			return fmt.Errorf("no public share of participant %d on %s", id, s.curve.Name())
		}
	}
	return nil
}

// checkSigners demands t to n of the key's parties, ascending, none twice. Coffer
// signs with exactly t; RFC 9591 allows more, and so does this package.
func (p *Public) checkSigners(set []mpc.ID) error {
	if err := sharing.CheckIDs(set); err != nil {
		return err
	}
	if len(set) < p.Threshold || len(set) > len(p.Parties) {
		return fmt.Errorf("%d signers %v, want %d to %d", len(set), set, p.Threshold, len(p.Parties))
	}
	for _, id := range set {
		if !sharing.Contains(p.Parties, id) {
			return fmt.Errorf("signer %d is not one of the key's parties %v", id, p.Parties)
		}
	}
	return nil
}

// Taproot says what becomes of the key before it stands in an output (BIP-341).
// The zero value leaves it as it is: the signature is under the x-only key
// itself. Only keys of the Taproot suite take another.
type Taproot struct {
	mode uint8
	root [32]byte
}

const (
	tapNone  uint8 = 0
	tapEmpty uint8 = 1
	tapRoot  uint8 = 2
)

// KeyPath is the tweak of an output that can be spent by key only: it commits to
// an empty root (BIP-341, BIP-86), so that nobody can hide a script in it.
func KeyPath() Taproot { return Taproot{mode: tapEmpty} }

// MerkleRoot is the tweak of an output with scripts.
func MerkleRoot(root [32]byte) Taproot { return Taproot{mode: tapRoot, root: root} }

func (t Taproot) String() string {
	switch t.mode {
	case tapNone:
		return "no taproot tweak"
	case tapEmpty:
		return "key path only"
	}
	return fmt.Sprintf("merkle root %x", t.root)
}

// Job is one signature.
type Job struct {
	Message []byte       // BIP-340: the 32 bytes of a signature hash, as a rule
	Tweak   group.Scalar // ε, the derivation of the child key; nil = 0
	Path    []byte       // the derivation path that gave ε, in the encoding of mpc/derive; nil = none
	Taproot Taproot
}

const (
	MaxMessage = 1 << 20 // bytes of a message
	MaxPath    = 1024    // bytes of an encoded derivation path
)

// child is the key that a job signs under. Every participant's share of it is
// the same affine function of its share of the group's key, and that gives the
// child's secret since the Lagrange coefficients add up to 1:
//
//	x′ = ±x + b,  X′ = ±X + b·G
type child struct {
	q      group.Point // even y with BIP-340
	qb     []byte      // encoded
	negate bool
	b      group.Scalar
	bg     group.Point // b·G, nil when b = 0
}

// child is the key of a job.
func (p *Public) child(j *Job) (*child, error) { return p.childOf(j, p.PublicKey.Encode()) }

// childOf takes the public key's encoding, for who has it. It applies, in this
// order: ε; the sign that makes y even; the Taproot
// tweak; the sign that makes y of the output key even.
func (p *Public) childOf(j *Job, encoded []byte) (*child, error) {
	s, err := suiteOf(p.Suite)
	if err != nil {
		return nil, err
	}
	if len(j.Message) > MaxMessage {
		return nil, fmt.Errorf("message of %d bytes, at most %d", len(j.Message), MaxMessage)
	}
	if len(j.Path) > MaxPath {
		return nil, fmt.Errorf("derivation path of %d bytes, at most %d", len(j.Path), MaxPath)
	}
	c := &child{q: s.curve.NewPoint().Set(p.PublicKey), qb: slices.Clone(encoded), b: s.curve.NewScalar()}
	if j.Tweak != nil {
		if j.Tweak.Curve().Name() != s.curve.Name() {
			return nil, fmt.Errorf("tweak is a scalar of %s, want one of %s", j.Tweak.Curve().Name(), s.curve.Name())
		}
		if err := c.shift(s, j.Tweak); err != nil {
			return nil, fmt.Errorf("tweak: %w", err)
		}
	}
	if !s.bip340 {
		if j.Taproot.mode != tapNone {
			return nil, fmt.Errorf("%s, but a key of suite %q has no Taproot outputs", j.Taproot, string(s.name))
		}
		c.finish(s)
		return c, nil
	}
	c.even(s)
	if j.Taproot.mode != tapNone {
		t, err := j.Taproot.tweak(s, c.qb[1:])
		if err != nil {
			return nil, err
		}
		if err := c.shift(s, t); err != nil {
			return nil, fmt.Errorf("taproot tweak: %w", err)
		}
		c.even(s)
	}
	c.finish(s)
	return c, nil
}

// shift adds k to the secret.
func (c *child) shift(s *suite, k group.Scalar) error {
	if k.IsZero() == 1 {
		return nil
	}
	c.b.Add(c.b, k)
	c.q.Add(c.q, s.curve.NewPoint().ScalarBaseMult(k))
	if c.q.IsIdentity() == 1 {
		return errors.New("it takes the public key to the identity")
	}
	c.qb = c.q.Encode()
	return nil
}

// even negates the secret if y is odd.
func (c *child) even(s *suite) {
	if !odd(c.qb) {
		return
	}
	c.q.Negate(c.q)
	c.qb[0] = 2
	c.b.Negate(c.b)
	c.negate = !c.negate
}

func (c *child) finish(s *suite) {
	if c.b.IsZero() == 0 {
		c.bg = s.curve.NewPoint().ScalarBaseMult(c.b)
	}
}

// secret is x′ = ±x + b. The sign is public.
func (c *child) secret(x group.Scalar) group.Scalar {
	y := x.Curve().NewScalar().Set(x)
	if c.negate {
		y.Negate(y)
	}
	return y.Add(y, c.b)
}

// public is X′ = ±X + b·G.
func (c *child) public(x group.Point) group.Point {
	y := x.Curve().NewPoint().Set(x)
	if c.negate {
		y.Negate(y)
	}
	if c.bg != nil {
		y.Add(y, c.bg)
	}
	return y
}

// tweak is H_TapTweak(x(P) ‖ root), refused when it is not below n (BIP-341).
func (t Taproot) tweak(s *suite, x []byte) (group.Scalar, error) {
	var root []byte
	if t.mode == tapRoot {
		root = t.root[:]
	}
	h := schnorr.TaggedHash("TapTweak", x, root)
	k := s.curve.NewScalar()
	if err := k.Decode(h[:]); err != nil {
		return nil, fmt.Errorf("taproot tweak: %w", err)
	}
	return k, nil
}

// PublicOfCertificate is what a certificate says of its key. Whether it is complete
// is for the caller to check.
func PublicOfCertificate(c *dkg.Certificate) *Public {
	return &Public{
		Suite: c.Suite, KeyID: c.KeyID(), Epoch: c.Epoch, Threshold: c.Threshold, Parties: c.Parties,
		PublicKey: c.PublicKey(), PublicShares: c.PublicShares, FeldmanHash: c.Feldman.Hash(),
		RosterHash: c.RosterHash, Purpose: c.Purpose,
	}
}

// VerificationKey returns the key that the job's signature verifies under, as
// the scheme's verifiers want it: 32 bytes of Ed25519, 33 of secp256k1, 32 (the
// x-coordinate) with BIP-340.
func (p *Public) VerificationKey(j Job) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	c, err := p.child(&j)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	if p.Suite == mpc.FROSTSecp256k1TR {
		return c.qb[1:], nil
	}
	return c.qb, nil
}

// Verify judges a signature of the job by an independent verifier.
func (p *Public) Verify(j Job, sig []byte) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("frost: %w", err)
	}
	c, err := p.child(&j)
	if err != nil {
		return fmt.Errorf("frost: %w", err)
	}
	s, err := suiteOf(p.Suite)
	if err != nil {
		return fmt.Errorf("frost: %w", err)
	}
	if len(sig) != s.signatureSize() {
		return fmt.Errorf("frost: signature of %d bytes, want %d: %w", len(sig), s.signatureSize(), schnorr.ErrInvalid)
	}
	return s.verify(c.qb, j.Message, sig)
}

func (s *suite) signatureSize() int {
	if s.bip340 {
		return 64
	}
	return s.curve.PointSize() + 32
}
