package frost

import (
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Nonces counts the nonces that are left in a session.
func (s *Session) Nonces() int {
	n := 0
	for _, x := range *s.nonces {
		if x.secret != nil && *x.secret != nil {
			n++
		}
	}
	return n
}

// Secrets are the encodings of d and e.
func (n *Nonce) Secrets() [][]byte {
	p := *n.secret
	return [][]byte{p.d.Encode(), p.e.Encode()}
}

// Live says that the nonce is not consumed.
func (n *Nonce) Live() bool { return n.secret != nil && *n.secret != nil }

// Parities are those of P (the key with its tweak), Q (with the Taproot tweak)
// and R.
func (x *Package) Parities(key *Public, j Job) (p, q, r bool) {
	at := x.suite.curve.NewPoint().Set(key.PublicKey)
	if j.Tweak != nil {
		at.Add(at, x.suite.curve.NewPoint().ScalarBaseMult(j.Tweak))
	}
	p = odd(at.Encode())
	if p {
		at.Negate(at)
	}
	if j.Taproot.mode != tapNone {
		k, err := j.Taproot.tweak(x.suite, at.Encode()[1:])
		if err != nil {
			panic(err)
		}
		at.Add(at, x.suite.curve.NewPoint().ScalarBaseMult(k))
		q = odd(at.Encode())
	}
	return p, q, x.neg
}

// SignRaw signs with a nonce that stays usable, and without asking whose list
// it is: what a cheat would do.
func (x *Package) SignRaw(id mpc.ID, share group.Scalar, n *Nonce) (group.Scalar, error) {
	return x.sign(id, share, n.commitment.enc, *n.secret)
}

// Bound is bound; BoundAt asks it for another epoch.
func (n *Nonce) Bound(key *dkg.KeyShare, set []mpc.ID) error { return n.bound(key, set) }

// BoundAt is Bound for a nonce that was made at another epoch.
func (n *Nonce) BoundAt(key *dkg.KeyShare, epoch uint64) error {
	m := *n
	m.epoch = epoch
	return m.bound(key, nil)
}

// ChildSecret is Σ λᵢ·x′ᵢ.
func ChildSecret(p *Public, j Job, shares map[mpc.ID]group.Scalar) group.Scalar {
	c, err := p.child(&j)
	if err != nil {
		panic(err)
	}
	var set []mpc.ID
	for id := range shares {
		set = append(set, id)
	}
	slices.Sort(set)
	sum := p.PublicKey.Curve().NewScalar()
	for _, id := range set {
		l, err := sharing.Lagrange(p.PublicKey.Curve(), set, id)
		if err != nil {
			panic(err)
		}
		sum.Add(sum, l.Mul(l, c.secret(shares[id])))
	}
	return sum
}

// SignAs signs with the tweaks of another job.
func (x *Package) SignAs(id mpc.ID, share group.Scalar, j Job, n *Nonce) (group.Scalar, error) {
	c, err := x.key.child(&j)
	if err != nil {
		return nil, err
	}
	y := *x
	y.child = c
	return y.sign(id, share, n.commitment.enc, *n.secret)
}

// SIDOf is the sid that these R0 give.
func SIDOf(p *Public, terms Terms, r0 map[mpc.ID][]byte) [32]byte {
	v, err := newView(p, &terms)
	if err != nil {
		panic(err)
	}
	if _, err := v.hearCommitments(r0); err != nil {
		panic(err)
	}
	return v.sid
}

// Watch tells later whether the scalars are wiped.
func (n *Nonce) Watch() func() bool {
	p := *n.secret
	return func() bool { return p.d.IsZero() == 1 && p.e.IsZero() == 1 }
}

// Watch is that of the session's first nonce.
func (s *Session) Watch() func() bool { return (*s.nonces)[0].Watch() }
