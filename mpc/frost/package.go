package frost

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Package is one signature with its signers and their commitments fixed: the
// signing package of RFC 9591. Everything in it is public. Whoever holds it may
// check signature shares and combine them; a signer makes its share with Sign.
type Package struct {
	suite *suite
	key   *Public
	child *child
	msg   []byte
	list  []*Commitment // B
	set   []mpc.ID

	rho []group.Scalar // ρᵢ, in the order of the list
	r   group.Point    // R = Σ Dᵢ + ρᵢ·Eᵢ
	rb  []byte         // encoded; even y with BIP-340
	neg bool           // y of R was odd: nonces and their commitments are negated
	c   group.Scalar   // the challenge
}

// NewPackage checks the key, the job and the list B. A list that is not in form
// is an error and no abort: who made it is for the caller to judge.
func NewPackage(key *Public, job Job, list []*Commitment) (*Package, error) {
	if err := key.check(); err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	if err := key.checkList(list); err != nil {
		return nil, fmt.Errorf("frost: commitments: %w", err)
	}
	ch, err := key.child(&job)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	return key.fix(ch, job.Message, list)
}

// fix computes what the list determines. Its inputs are checked.
func (p *Public) fix(ch *child, msg []byte, list []*Commitment) (*Package, error) {
	s, err := suiteOf(p.Suite)
	if err != nil {
		return nil, err
	}
	x := &Package{suite: s, key: p, child: ch, msg: msg, list: list}
	es := make([]group.Point, len(list))
	for i, in := range s.bindingInputs(ch.qb, msg, list) {
		x.set = append(x.set, list[i].id)
		x.rho = append(x.rho, s.h1(in))
		es[i] = list[i].e
	}
	// R = Σ Dᵢ + Σ ρᵢ·Eᵢ   (RFC 9591 §4.5); all of it is public.
	x.r = s.curve.NewPoint().MultiScalarMultVartime(x.rho, es)
	for _, c := range list {
		x.r.Add(x.r, c.d)
	}
	if x.r.IsIdentity() == 1 {
		return nil, errors.New("frost: the group commitment is the identity")
	}
	x.rb = x.r.Encode()
	if s.bip340 && odd(x.rb) {
		x.neg = true
		x.rb[0] = 2
	}
	x.c = s.challenge(x.rb, ch.qb, msg)
	return x, nil
}

// Sign makes this party's signature share and consumes the nonce, whether it
// succeeds or not. The list must hold this party's commitment as it was
// published. The share is for the caller to send once: the same nonce never
// answers again.
//
// Whether the job may be signed is not asked here; a Session asks its peers.
func (x *Package) Sign(key *dkg.KeyShare, n *Nonce) (group.Scalar, error) {
	secret, err := n.take()
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	defer secret.destroy()
	if err := x.signer(key); err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	if err := n.bound(key, x.set); err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	share := key.Share()
	defer share.Destroy()
	return x.sign(key.ID, share, n.commitment.enc, secret)
}

// signer refuses a key that is not the package's.
func (x *Package) signer(key *dkg.KeyShare) error {
	switch {
	case key == nil:
		return errors.New("no key share")
	case !key.Active():
		return key.CheckActive()
	case key.Suite != x.key.Suite:
		return fmt.Errorf("key share is of suite %q, the package of %q", string(key.Suite), string(x.key.Suite))
	case key.KeyID != x.key.KeyID:
		return fmt.Errorf("key share is of key %x, the package of %x", key.KeyID, x.key.KeyID)
	case key.Epoch != x.key.Epoch:
		return fmt.Errorf("key share is of epoch %d, the package of %d", key.Epoch, x.key.Epoch)
	case key.PublicKey.Equal(x.key.PublicKey) != 1:
		return errors.New("key share is of another public key than the package")
	}
	return nil
}

func (x *Package) index(id mpc.ID) int {
	for i, c := range x.list {
		if c.id == id {
			return i
		}
	}
	return -1
}

// sign is zᵢ = dᵢ + eᵢ·ρᵢ + λᵢ·x′ᵢ·c   (RFC 9591 §5.2), dᵢ and eᵢ negated if y of
// R is odd.
func (x *Package) sign(id mpc.ID, share group.Scalar, published []byte, n *noncePair) (group.Scalar, error) {
	i := x.index(id)
	if i < 0 {
		return nil, fmt.Errorf("frost: participant %d is not one of the signers %v", id, x.set)
	}
	if !bytes.Equal(x.list[i].enc, published) {
		return nil, fmt.Errorf("frost: the list has another commitment of participant %d than it published", id)
	}
	lambda, err := sharing.Lagrange(x.suite.curve, x.set, id)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	z := x.suite.curve.NewScalar().Mul(n.e, x.rho[i])
	z.Add(z, n.d)
	if x.neg {
		z.Negate(z)
	}
	k := x.child.secret(share)
	defer k.Destroy()
	k.Mul(k, lambda)
	k.Mul(k, x.c)
	return z.Add(z, k), nil
}

// ErrShare says that a signature share is not its signer's for this package.
var ErrShare = errors.New("signature share is invalid")

// VerifyShare checks one signature share (RFC 9591 §5.4):
//
//	zᵢ·G = ±(Dᵢ + ρᵢ·Eᵢ) + c·λᵢ·X′ᵢ
func (x *Package) VerifyShare(id mpc.ID, z group.Scalar) error {
	i := x.index(id)
	if i < 0 {
		return fmt.Errorf("frost: participant %d is not one of the signers %v", id, x.set)
	}
	if z == nil || z.Curve().Name() != x.suite.curve.Name() {
		return fmt.Errorf("frost: no scalar of %s: %w", x.suite.curve.Name(), ErrShare)
	}
	lambda, err := sharing.Lagrange(x.suite.curve, x.set, id)
	if err != nil {
		return fmt.Errorf("frost: %w", err)
	}
	want := x.suite.curve.NewPoint().MultiScalarMultVartime(
		[]group.Scalar{x.rho[i]}, []group.Point{x.list[i].e})
	want.Add(want, x.list[i].d)
	if x.neg {
		want.Negate(want)
	}
	lambda.Mul(lambda, x.c)
	want.Add(want, x.suite.curve.NewPoint().MultiScalarMultVartime(
		[]group.Scalar{lambda}, []group.Point{x.child.public(x.key.PublicShares[id])}))
	if x.suite.curve.NewPoint().ScalarBaseMult(z).Equal(want) != 1 {
		return fmt.Errorf("frost: participant %d: %w", id, ErrShare)
	}
	return nil
}

const stepAggregate = "frost aggregate"

// Aggregate adds up one share of every signer and judges the signature by a
// verifier that is not ours. Only when it is refused are the shares looked at one
// by one: the abort is attributed to everyone whose share is wrong. Too few
// shares, or some of strangers, are an error and no abort.
func (x *Package) Aggregate(shares map[mpc.ID]group.Scalar) ([]byte, error) {
	if len(shares) != len(x.set) {
		return nil, fmt.Errorf("frost: %d shares, want one of each of %v", len(shares), x.set)
	}
	z := x.suite.curve.NewScalar()
	for _, id := range x.set {
		if shares[id] == nil || shares[id].Curve().Name() != x.suite.curve.Name() {
			return nil, fmt.Errorf("frost: no share of participant %d on %s", id, x.suite.curve.Name())
		}
		z.Add(z, shares[id])
	}
	sig := x.suite.signature(x.rb, z)
	err := x.suite.verify(x.child.qb, x.msg, sig)
	if err == nil {
		return sig, nil
	}
	faults := make(map[mpc.ID]error)
	for _, id := range x.set {
		faults[id] = x.VerifyShare(id, shares[id])
	}
	if err := session.Blame(stepAggregate, x.set, faults); err != nil {
		return nil, err
	}
	return nil, session.Unattributed(stepAggregate, fmt.Errorf("every share is valid, and yet: %w", err))
}

// ID names the package: RO("frost-pkg", suite, key id, epoch, Q, SHA-256(m),
// encoded list). Two that differ in what is signed or by whom, or in one
// commitment, have different names.
func (x *Package) ID() [32]byte {
	m := sha256.Sum256(x.msg)
	return transcript.Sum(transcript.TagFROSTPackage, []byte(x.suite.name), x.key.KeyID[:],
		transcript.Uint64(x.key.Epoch), x.child.qb, m[:], x.suite.encodeList(x.list))
}

// R is the signature's nonce point, as it stands in the signature (with BIP-340
// with the prefix of an even y).
func (x *Package) R() []byte { return bytes.Clone(x.rb) }

// Signers are the participants of the list.
func (x *Package) Signers() []mpc.ID { return append([]mpc.ID(nil), x.set...) }
