package sharing

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// ErrShare says that a share does not lie on the committed polynomial.
var ErrShare = errors.New("share does not match the Feldman commitments")

// CheckIDs demands 1 to mpc.MaxParties ids, ascending, none of them zero. As an
// id has 16 bits, ids that differ also differ mod q.
func CheckIDs(ids []mpc.ID) error {
	if len(ids) == 0 || len(ids) > mpc.MaxParties {
		return fmt.Errorf("%d participants, want 1 to %d", len(ids), mpc.MaxParties)
	}
	for i, id := range ids {
		if id == 0 {
			return errors.New("participant id 0 is the secret's own coordinate, want 1 to 65535")
		}
		if i > 0 && id <= ids[i-1] {
			return fmt.Errorf("participant %d follows %d, want ascending ids without repetition", id, ids[i-1])
		}
	}
	return nil
}

// CheckThreshold demands 2 ≤ t ≤ n ≤ mpc.MaxParties.
func CheckThreshold(t, n int) error {
	if n > mpc.MaxParties || t < 2 || t > n {
		return fmt.Errorf("threshold %d of %d, want 2 ≤ t ≤ n ≤ %d", t, n, mpc.MaxParties)
	}
	return nil
}

// Contains reports whether id is in the ascending list.
func Contains(ids []mpc.ID, id mpc.ID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// Scalar is an id as a field element.
func Scalar(id mpc.ID) *secp256k1.Scalar {
	return secp256k1.NewScalar().SetUint64(uint64(id))
}

// Polynomial is f(x) = Σ aₖ·xᵏ over the scalar field; its coefficients are
// secret.
type Polynomial struct{ coefficients []secp256k1.Scalar }

// NewPolynomial draws t coefficients, a₀ first.
func NewPolynomial(rand io.Reader, t int) (*Polynomial, error) {
	p := &Polynomial{make([]secp256k1.Scalar, t)}
	for k := range p.coefficients {
		if err := p.coefficients[k].SetRandom(rand); err != nil {
			p.Destroy()
			return nil, fmt.Errorf("couldn't draw coefficient %d: %w", k, err)
		}
	}
	return p, nil
}

// Constant returns a copy of a₀.
func (p *Polynomial) Constant() *secp256k1.Scalar {
	return secp256k1.NewScalar().Set(&p.coefficients[0])
}

// Eval returns f(id) by Horner's rule.
func (p *Polynomial) Eval(id mpc.ID) *secp256k1.Scalar {
	x := Scalar(id)
	y := secp256k1.NewScalar()
	for k := len(p.coefficients) - 1; k >= 0; k-- {
		y.Mul(y, x)
		y.Add(y, &p.coefficients[k])
	}
	return y
}

// Commit returns the Feldman vector, Aₖ = aₖ·G.
func (p *Polynomial) Commit() Commitment {
	c := make(Commitment, len(p.coefficients))
	for k := range c {
		c[k] = secp256k1.NewPoint().ScalarBaseMult(&p.coefficients[k])
	}
	return c
}

// Destroy wipes the coefficients.
func (p *Polynomial) Destroy() {
	for k := range p.coefficients {
		p.coefficients[k].Destroy()
	}
}

// Commitment is a Feldman vector A₀ … A_{t−1}.
type Commitment []*secp256k1.Point

// Eval returns Σ Aₖ·idᵏ, which is f(id)·G. Its time depends on id, which is
// public.
func (c Commitment) Eval(id mpc.ID) *secp256k1.Point {
	y := secp256k1.NewPoint()
	for k := len(c) - 1; k >= 0; k-- {
		y.Add(smallMult(y, uint16(id)), c[k])
	}
	return y
}

// smallMult returns x·P by double and add.
func smallMult(p *secp256k1.Point, x uint16) *secp256k1.Point {
	out := secp256k1.NewPoint()
	for bit := 15; bit >= 0; bit-- {
		if x>>(bit+1) != 0 {
			out.Double(out)
		}
		if x>>bit&1 == 1 {
			out.Add(out, p)
		}
	}
	return out
}

// Verify checks that share is f(id):  share·G = Σ Aₖ·idᵏ.
func (c Commitment) Verify(id mpc.ID, share *secp256k1.Scalar) error {
	if secp256k1.NewPoint().ScalarBaseMult(share).Equal(c.Eval(id)) != 1 {
		return ErrShare
	}
	return nil
}

// Encode returns the points, 33 bytes each.
func (c Commitment) Encode() [][33]byte { return secp256k1.EncodePoints(c) }

// Hash is H(A), an item a point.
func (c Commitment) Hash() [32]byte {
	points := c.Encode()
	items := make([][]byte, len(points))
	for k := range points {
		items[k] = points[k][:]
	}
	return transcript.Sum(transcript.TagDKGFeldman, items...)
}

// SumCommitments adds vectors of equal length coefficient by coefficient. It
// refuses a sum with the identity in it: a polynomial of lower degree, or the
// zero key.
func SumCommitments(vectors ...Commitment) (Commitment, error) {
	if len(vectors) == 0 {
		return nil, errors.New("no Feldman vectors to add")
	}
	sum := make(Commitment, len(vectors[0]))
	for k := range sum {
		sum[k] = secp256k1.NewPoint()
		for _, v := range vectors {
			if len(v) != len(sum) {
				return nil, fmt.Errorf("feldman vector of %d points beside one of %d", len(v), len(sum))
			}
			sum[k].Add(sum[k], v[k])
		}
		if sum[k].IsIdentity() == 1 {
			return nil, fmt.Errorf("sum of the commitments to coefficient %d is the identity", k)
		}
	}
	return sum, nil
}

// Lagrange returns λ_id = Π_{j∈set, j≠id} j·(j − id)⁻¹, the weight of id's share
// in f(0). set must be ascending and hold id.
func Lagrange(set []mpc.ID, id mpc.ID) (*secp256k1.Scalar, error) {
	if err := CheckIDs(set); err != nil {
		return nil, err
	}
	if !Contains(set, id) {
		return nil, fmt.Errorf("participant %d is not in the set %v", id, set)
	}
	num := secp256k1.NewScalar().SetUint64(1)
	den := secp256k1.NewScalar().SetUint64(1)
	x := Scalar(id)
	diff := secp256k1.NewScalar()
	for _, j := range set {
		if j == id {
			continue
		}
		xj := Scalar(j)
		num.Mul(num, xj)
		den.Mul(den, diff.Sub(xj, x))
	}
	return num.Mul(num, den.Invert(den)), nil
}

// InterpolatePoint returns Σ λᵢ·Xᵢ over the set, which is f(0)·G when the points
// are public shares.
func InterpolatePoint(set []mpc.ID, points map[mpc.ID]*secp256k1.Point) (*secp256k1.Point, error) {
	ks := make([]*secp256k1.Scalar, len(set))
	ps := make([]*secp256k1.Point, len(set))
	for i, id := range set {
		l, err := Lagrange(set, id)
		if err != nil {
			return nil, err
		}
		if points[id] == nil {
			return nil, fmt.Errorf("no public share of participant %d", id)
		}
		ks[i], ps[i] = l, points[id]
	}
	return secp256k1.NewPoint().MultiScalarMultVartime(ks, ps), nil
}
