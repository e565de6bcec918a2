package vole

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Suite is the name that every context, gadget and vector carries.
const Suite = "DKLS23-SECP256K1-B1"

const (
	xi    = otext.Columns // ξ
	ell   = 2             // ℓ: inputs a_w
	rho   = 2             // ρ: check columns
	slots = ell + rho
)

// gadget is g ∈ Z_q^ξ, a constant of the suite.
var gadget = sync.OnceValue(func() []secp256k1.Scalar {
	return transcript.Scalars(xi, transcript.TagGadget, []byte(Suite), []byte("secp256k1"))
})

// padder expands columns to four scalars each: SHA-256 in counter mode, keyed by
// RO (docs/spec/random-oracle.md). One input is one compression.
type padder struct {
	in  [32 + 4 + 1 + len(otext.Column{})]byte
	out [6 * sha256.Size]byte
}

func newPadder(dsid *[32]byte) *padder {
	p := new(padder)
	k := transcript.Sum(transcript.TagPad, dsid[:])
	copy(p.in[:32], k[:])
	return p
}

// expand sets dst to the pad of column j, the global index of the extension: 48
// bytes a scalar, never 32, whose reduction would be biased.
func (p *padder) expand(dst *[slots]secp256k1.Scalar, j uint32, x *otext.Column) {
	binary.BigEndian.PutUint32(p.in[32:36], j)
	copy(p.in[37:], x[:])
	for b := range 6 {
		p.in[36] = byte(b)
		h := sha256.Sum256(p.in[:])
		copy(p.out[sha256.Size*b:], h[:])
	}
	for s := range dst {
		dst[s].SetWide((*[48]byte)(p.out[48*s:]))
	}
}

func (p *padder) destroy() {
	clear(p.in[:])
	clear(p.out[:])
}

// coefficients is θ, ρ×ℓ, from all of Ã as it stands on the wire.
type coefficients [rho][ell]secp256k1.Scalar

func newTheta(dsid *[32]byte, a []byte) *coefficients {
	sum := sha256.Sum256(a)
	s := transcript.Scalars(rho*ell, transcript.TagTheta, dsid[:], sum[:])
	t := new(coefficients)
	for k := range rho {
		for w := range ell {
			t[k][w].Set(&s[k*ell+w])
		}
	}
	return t
}

// combine sets s = v_{ℓ+k} + Σ_w θ_{k,w}·v_w.
func (t *coefficients) combine(s *secp256k1.Scalar, k int, v *[slots]secp256k1.Scalar) {
	s.MulAdd(&t[k][0], &v[0], &v[ell+k])
	s.MulAdd(&t[k][1], &v[1], s)
}

// checksum hashes m_{j,k} for μ.
type checksum struct{ buf []byte }

func newChecksum(n int) *checksum { return &checksum{buf: make([]byte, 0, n*xi*rho*32)} }

func (c *checksum) add(m *secp256k1.Scalar) {
	b := m.Bytes()
	c.buf = append(c.buf, b[:]...)
	clear(b[:])
}

func (c *checksum) mu(dsid *[32]byte) [32]byte {
	sum := sha256.Sum256(c.buf)
	clear(c.buf)
	return transcript.Sum(transcript.TagMu, dsid[:], sum[:])
}
