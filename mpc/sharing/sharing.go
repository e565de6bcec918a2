package sharing

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
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
func Scalar(c group.Curve, id mpc.ID) group.Scalar { return c.NewScalar().SetUint64(uint64(id)) }

// Polynomial is f(x) = Σ aₖ·xᵏ over the scalar field; its coefficients are
// secret.
type Polynomial struct {
	curve        group.Curve
	coefficients []group.Scalar
}

// NewPolynomial draws t coefficients, a₀ first.
func NewPolynomial(c group.Curve, rand io.Reader, t int) (*Polynomial, error) {
	return draw(c, rand, nil, t)
}

// NewPolynomialWith draws a₁ … a_{t−1}; a₀ is a copy of constant, and 0 for nil.
func NewPolynomialWith(c group.Curve, rand io.Reader, constant group.Scalar, t int) (*Polynomial, error) {
	if constant == nil {
		constant = c.NewScalar()
	}
	return draw(c, rand, constant, t)
}

func draw(c group.Curve, rand io.Reader, constant group.Scalar, t int) (*Polynomial, error) {
	p := &Polynomial{curve: c}
	for k := range t {
		a := c.NewScalar()
		p.coefficients = append(p.coefficients, a)
		if k == 0 && constant != nil {
			a.Set(constant)
			continue
		}
		if err := a.SetRandom(rand); err != nil {
			p.Destroy()
			return nil, fmt.Errorf("couldn't draw coefficient %d: %w", k, err)
		}
	}
	return p, nil
}

// Constant returns a copy of a₀.
func (p *Polynomial) Constant() group.Scalar { return p.curve.NewScalar().Set(p.coefficients[0]) }

// Eval returns f(id) by Horner's rule.
func (p *Polynomial) Eval(id mpc.ID) group.Scalar {
	x := Scalar(p.curve, id)
	y := p.curve.NewScalar()
	for k := len(p.coefficients) - 1; k >= 0; k-- {
		y.Mul(y, x)
		y.Add(y, p.coefficients[k])
	}
	return y
}

// Commit returns the Feldman vector, Aₖ = aₖ·G.
func (p *Polynomial) Commit() Commitment {
	c := make(Commitment, len(p.coefficients))
	for k := range c {
		c[k] = p.curve.NewPoint().ScalarBaseMult(p.coefficients[k])
	}
	return c
}

// Destroy wipes the coefficients.
func (p *Polynomial) Destroy() {
	for _, a := range p.coefficients {
		a.Destroy()
	}
}

// Commitment is a Feldman vector A₀ … A_{t−1}, of at least one point.
type Commitment []group.Point

// Eval returns Σ Aₖ·idᵏ, which is f(id)·G. Its time depends on id, which is
// public.
func (c Commitment) Eval(id mpc.ID) group.Point {
	y := c[0].Curve().NewPoint()
	for k := len(c) - 1; k >= 0; k-- {
		y.Add(smallMult(y, uint16(id)), c[k])
	}
	return y
}

// smallMult returns x·P by double and add.
func smallMult(p group.Point, x uint16) group.Point {
	out := p.Curve().NewPoint()
	if p.IsIdentity() == 1 {
		return out
	}
	for bit := bits.Len16(x) - 1; bit >= 0; bit-- {
		out.Add(out, out)
		if x>>bit&1 == 1 {
			out.Add(out, p)
		}
	}
	return out
}

// Verify checks that share is f(id):  share·G = Σ Aₖ·idᵏ.
func (c Commitment) Verify(id mpc.ID, share group.Scalar) error {
	if share.Curve().NewPoint().ScalarBaseMult(share).Equal(c.Eval(id)) != 1 {
		return ErrShare
	}
	return nil
}

// Encode returns the points.
func (c Commitment) Encode() [][]byte { return group.EncodePoints(c) }

// Hash is H(A), an item a point.
func (c Commitment) Hash() [32]byte { return HashEncoded(c.Encode()) }

// HashEncoded is Hash of what Encode returned.
func HashEncoded(points [][]byte) [32]byte {
	return transcript.Sum(transcript.TagDKGFeldman, points...)
}

// SumCommitments adds vectors of equal length coefficient by coefficient. It
// refuses a sum with the identity in it: a polynomial of lower degree, or the
// zero key.
func SumCommitments(vectors ...Commitment) (Commitment, error) {
	if len(vectors) == 0 || len(vectors[0]) == 0 {
		return nil, errors.New("no Feldman vectors to add")
	}
	curve := vectors[0][0].Curve()
	sum := make(Commitment, len(vectors[0]))
	for k := range sum {
		sum[k] = curve.NewPoint()
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
func Lagrange(c group.Curve, set []mpc.ID, id mpc.ID) (group.Scalar, error) {
	return LagrangeAt(c, set, id, 0)
}

// LagrangeAt returns Π_{j∈set, j≠id} (j − x)·(j − id)⁻¹, the weight of id's share
// in f(x).
func LagrangeAt(c group.Curve, set []mpc.ID, id, x mpc.ID) (group.Scalar, error) {
	if err := CheckIDs(set); err != nil {
		return nil, err
	}
	if !Contains(set, id) {
		return nil, fmt.Errorf("participant %d is not in the set %v", id, set)
	}
	num := c.NewScalar().SetUint64(1)
	den := c.NewScalar().SetUint64(1)
	own, at := Scalar(c, id), Scalar(c, x)
	diff := c.NewScalar()
	for _, j := range set {
		if j == id {
			continue
		}
		xj := Scalar(c, j)
		num.Mul(num, diff.Sub(xj, at))
		den.Mul(den, diff.Sub(xj, own))
	}
	return num.Mul(num, den.Invert(den)), nil
}

// InterpolatePoint returns Σ λᵢ·Xᵢ over the set, which is f(0)·G when the points
// are public shares.
func InterpolatePoint(c group.Curve, set []mpc.ID, points map[mpc.ID]group.Point) (group.Point, error) {
	return InterpolatePointAt(c, set, points, 0)
}

// InterpolatePointAt returns f(x)·G.
func InterpolatePointAt(c group.Curve, set []mpc.ID, points map[mpc.ID]group.Point, x mpc.ID) (group.Point, error) {
	ks := make([]group.Scalar, len(set))
	ps := make([]group.Point, len(set))
	for i, id := range set {
		l, err := LagrangeAt(c, set, id, x)
		if err != nil {
			return nil, err
		}
		if points[id] == nil {
			return nil, fmt.Errorf("no public share of participant %d", id)
		}
		ks[i], ps[i] = l, points[id]
	}
	return c.NewPoint().MultiScalarMultVartime(ks, ps), nil
}
