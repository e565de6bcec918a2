package vole

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/pprf"
)

// ErrCheck: the peer's message fails a consistency check. One bit of a secret or
// more may have been tested: quarantine the peer.
var ErrCheck = errors.New("VOLE: the consistency check failed")

var errFinished = errors.New("VOLE receiver was already finished")

// C and D are Alice's and Bob's shares of one signature: C[w] + D[w] = a_w·χ.
type (
	C = [ell]secp256k1.Scalar
	D = [ell]secp256k1.Scalar
)

// Receiver is Bob between the two messages.
type Receiver struct {
	dsid [32]byte
	n    int
	out  *otext.ReceiverOutput
	chi  []secp256k1.Scalar // behind Format; see secp256k1.Scalar
}

// Receive is Bob: it draws his choices β for n signatures and makes message 1.
// seeds are his of the pair setup; dsid names this direction and use, once.
func Receive(rand io.Reader, seeds *pprf.Full, dsid [32]byte, n int) (*Receiver, *Message1, error) {
	out, m, err := otext.Receive(rand, seeds, dsid, n)
	if err != nil {
		return nil, nil, err
	}
	r := &Receiver{dsid: dsid, n: n, out: out, chi: make([]secp256k1.Scalar, n)}
	// χ_k = Σ_j β_{416k+j}·g_j
	g, zero, term := gadget(), secp256k1.NewScalar(), secp256k1.NewScalar()
	for k := range r.chi {
		for j := range xi {
			term.Select(&g[j], zero, choice(out.Beta, k*xi+j))
			r.chi[k].Add(&r.chi[k], term)
		}
	}
	term.Destroy()
	return r, (*Message1)(m), nil
}

// choice returns β_j, 0 or 1.
func choice(beta []byte, j int) int { return int(beta[j/8]>>(j%8)) & 1 }

// Chi returns χ of signature k. The Receiver owns it: Destroy overwrites it.
func (r *Receiver) Chi(k int) *secp256k1.Scalar { return &r.chi[k] }

// Destroy overwrites β, the columns and every χ.
func (r *Receiver) Destroy() {
	if r == nil {
		return
	}
	r.out.Destroy()
	r.out = nil
	clear(r.chi)
}

// Finish is Bob on Alice's message: for every signature, d with c_w + d_w =
// a_w·χ. It may be called once; the χ stay. ErrCheck means that Alice is to be
// quarantined: then no signature of the batch gets anything.
func (r *Receiver) Finish(m *Message2) ([]D, error) {
	if r.out == nil {
		return nil, errFinished
	}
	defer func() { r.out.Destroy(); r.out = nil }()
	if m.n != r.n {
		return nil, fmt.Errorf("VOLE message 2 of a batch of %d, want %d", m.n, r.n)
	}
	theta, pads, sum := newTheta(&r.dsid, m.A), newPadder(&r.dsid), newChecksum()
	defer pads.destroy()
	cols, err := columnsOf(r.out, m, theta, pads, sum)
	if err != nil {
		return nil, fmt.Errorf("VOLE message 2: %w", err)
	}
	defer cols.destroy()
	mu := sum.mu(&r.dsid)
	if subtle.ConstantTimeCompare(mu[:], m.Mu[:]) != 1 {
		return nil, ErrCheck
	}
	return cols.products(), nil
}

// columnsOf computes every d_{j,s} and m'_{j,k}; its errors are of form only.
func columnsOf(out *otext.ReceiverOutput, m *Message2, theta *coefficients, pads *padder, sum *checksum) (*columns, error) {
	cols := newColumns(m.n, ell)
	var eta [rho]secp256k1.Scalar
	var v [slots]secp256k1.Scalar
	var zero, a secp256k1.Scalar
	for j := range m.n * xi {
		if j%xi == 0 {
			for k := range eta {
				if err := eta[k].SetBytes(m.Eta[j/xi][k][:]); err != nil {
					return nil, fmt.Errorf("eta %d,%d: %w", j/xi, k, err)
				}
			}
		}
		beta := choice(out.Beta, j)
		pads.expand(&v, uint32(j), &out.T[j]) // γ_j
		for s := range v {
			if err := a.SetBytes(m.cell(j, s)); err != nil {
				cols.destroy()
				return nil, fmt.Errorf("cell %d,%d: %w", j, s, err)
			}
			// d_{j,s} = γ_{j,s} + β_j·Ã_{j,s}
			v[s].Add(&v[s], a.Select(&a, &zero, beta))
		}
		for k := range rho {
			// m'_{j,k} = d_{j,ℓ+k} + Σ θ_{k,w}·d_{j,w} − β_j·η_k
			theta.combine(&v[ell+k], k, &v[0], &v[1], &v[ell+k])
			v[ell+k].Sub(&v[ell+k], a.Select(&eta[k], &zero, beta))
			sum.add(&v[ell+k])
		}
		cols.set(j, v[:ell])
	}
	clear(v[:])
	a.Destroy()
	return cols, nil
}

// Send is Alice: it checks Bob's message and answers it for her inputs a, one
// pair for every signature. seeds are hers of the pair setup. ErrCheck means that
// Bob is to be quarantined; then nothing was drawn.
func Send(rand io.Reader, seeds *pprf.Punctured, dsid [32]byte, m1 *Message1, a [][ell]*secp256k1.Scalar) ([]C, *Message2, error) {
	if m1.N() != len(a) {
		return nil, nil, fmt.Errorf("VOLE message 1 of a batch of %d, want %d", m1.N(), len(a))
	}
	q, err := otext.Send(seeds, dsid, (*otext.Message)(m1))
	if errors.Is(err, otext.ErrCheck) {
		return nil, nil, fmt.Errorf("%w: %w", ErrCheck, err)
	}
	if err != nil {
		return nil, nil, err
	}
	defer q.Destroy()
	in, err := newInputs(rand, a)
	if err != nil {
		return nil, nil, err
	}
	defer clear(in)

	m2 := newMessage2(len(a), make([]byte, Message2Size(len(a))))
	alpha := cells(m2, q, seeds, &dsid, in)
	defer alpha.destroy()
	seal(m2, &dsid, alpha, in)
	c := alpha.products()
	for k := range c {
		for w := range c[k] {
			c[k][w].Negate(&c[k][w]) // c_w = −Σ g_j·α⁰_{j,w}
		}
	}
	return c, m2, nil
}

// cells fills in Ã and returns all α⁰.
func cells(m2 *Message2, q *otext.SenderOutput, seeds *pprf.Punctured, dsid *[32]byte, in []inputs) *columns {
	pads := newPadder(dsid)
	defer pads.destroy()
	alpha := newColumns(m2.n, slots) // α⁰
	var zero, one [slots]secp256k1.Scalar
	for j := range q.Q {
		x := q.Q[j]
		pads.expand(&zero, uint32(j), &x)
		subtle.XORBytes(x[:], x[:], seeds.Delta[:])
		pads.expand(&one, uint32(j), &x) // α¹
		for s := range one {
			// Ã_{j,s} = α⁰_{j,s} − α¹_{j,s} + a_s
			one[s].Sub(&zero[s], &one[s])
			one[s].Add(&one[s], &in[j/xi][s]).PutBytes(m2.cell(j, s))
		}
		alpha.set(j, zero[:])
	}
	clear(zero[:])
	clear(one[:])
	return alpha
}

// seal fills in η and μ for the Ã that stands in m2.
func seal(m2 *Message2, dsid *[32]byte, alpha *columns, in []inputs) {
	theta, sum := newTheta(dsid, m2.A), newChecksum()
	for i := range in {
		for k := range rho {
			// η_k = â_k + Σ θ_{k,w}·a_w
			var eta secp256k1.Scalar
			theta.combine(&eta, k, &in[i][0], &in[i][1], &in[i][ell+k])
			m2.Eta[i][k] = eta.Bytes()
		}
	}
	var m secp256k1.Scalar
	for j := range alpha[0] {
		for k := range rho {
			// m_{j,k} = α⁰_{j,ℓ+k} + Σ θ_{k,w}·α⁰_{j,w}
			theta.combine(&m, k, &alpha[0][j], &alpha[1][j], &alpha[ell+k][j])
			sum.add(&m)
		}
	}
	m.Destroy()
	m2.Mu = sum.mu(dsid)
}

// inputs are a_0, a_1 and the fresh â_0, â_1 of one signature.
type inputs [slots]secp256k1.Scalar

func newInputs(rand io.Reader, a [][ell]*secp256k1.Scalar) ([]inputs, error) {
	in := make([]inputs, len(a))
	for i := range a {
		for w := range a[i] {
			in[i][w].Set(a[i][w])
		}
		for k := range rho {
			if err := in[i][ell+k].SetRandom(rand); err != nil {
				clear(in)
				return nil, err
			}
		}
	}
	return in, nil
}

// columns holds scalars of every column j by slot, the first ℓ of them for the
// products with the gadget.
type columns [slots][]secp256k1.Scalar

// newColumns makes room for the first k slots of n signatures.
func newColumns(n, k int) *columns {
	c, size := new(columns), n*xi
	buf := make([]secp256k1.Scalar, k*size)
	for s := range k {
		c[s] = buf[s*size : (s+1)*size : (s+1)*size]
	}
	return c
}

func (c *columns) set(j int, v []secp256k1.Scalar) {
	for s := range v {
		c[s][j].Set(&v[s])
	}
}

// products returns Σ_j g_j·c_{416k+j,w} for every signature k.
func (c *columns) products() [][ell]secp256k1.Scalar {
	out := make([][ell]secp256k1.Scalar, len(c[0])/xi)
	for k := range out {
		for w := range ell {
			out[k][w].InnerProduct(gadget(), c[w][k*xi:(k+1)*xi])
		}
	}
	return out
}

func (c *columns) destroy() {
	for s := range c {
		clear(c[s])
	}
}
