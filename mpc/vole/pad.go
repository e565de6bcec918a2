package vole

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// suite is in the gadget.
const suite = string(mpc.DKLS23Secp256k1)

const (
	xi    = otext.Columns // ξ
	ell   = 2             // ℓ: inputs a_w
	rho   = 2             // ρ: check columns
	slots = ell + rho
)

// gadget is g ∈ Z_q^ξ, a constant of the suite.
var gadget = sync.OnceValue(func() []secp256k1.Scalar {
	return transcript.Scalars(xi, transcript.TagGadget, []byte(suite), []byte("secp256k1"))
})

// padGroup is how many columns share a cipher key.
const padGroup = 8

const padBlocks = 48 * slots / aes.BlockSize

// padder makes four scalars of a column: SHA-256, one compression keyed by RO,
// gives (s, s'), and block b of the pad is AES_K(s ⊕ b) ⊕ s' under a public key
// (docs/spec/random-oracle.md).
type padder struct {
	in    [32 + 4 + len(otext.Column{})]byte
	key   [32]byte
	group int
	block cipher.Block
	out   [padBlocks * aes.BlockSize]byte
}

func newPadder(dsid *[32]byte) *padder {
	p := &padder{group: -1}
	k := transcript.Sum(transcript.TagPad, dsid[:])
	copy(p.in[:32], k[:])
	p.key = transcript.Sum(transcript.TagPadKey, dsid[:])
	return p
}

// rekey takes up the key of a group of columns.
func (p *padder) rekey(group int) {
	var in [36]byte
	copy(in[:], p.key[:])
	binary.BigEndian.PutUint32(in[32:], uint32(group))
	k := sha256.Sum256(in[:])
	b, err := aes.NewCipher(k[:16])
	if err != nil {
		panic("vole: " + err.Error()) // the key has the length that AES takes
	}
	p.group, p.block = group, b
}

// expand sets dst to the pad of column j, the global index of the extension: 48
// bytes a scalar, never 32, whose reduction would be biased.
func (p *padder) expand(dst *[slots]secp256k1.Scalar, j uint32, x *otext.Column) {
	if g := int(j / padGroup); g != p.group {
		p.rekey(g)
	}
	binary.BigEndian.PutUint32(p.in[32:36], j)
	copy(p.in[36:], x[:])
	h := sha256.Sum256(p.in[:])
	s0, s1 := binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
	for b := range padBlocks {
		binary.LittleEndian.PutUint64(p.out[16*b:], s0)
		binary.LittleEndian.PutUint64(p.out[16*b+8:], s1^uint64(b)<<56) // the last byte
	}
	for b := range padBlocks {
		q := p.out[16*b : 16*b+16]
		p.block.Encrypt(q, q)
	}
	m0, m1 := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])
	for s := range dst {
		w := (*[48]byte)(p.out[48*s:])
		dst[s].SetWideWords(&[6]uint64{
			binary.BigEndian.Uint64(w[40:48]) ^ m1,
			binary.BigEndian.Uint64(w[32:40]) ^ m0,
			binary.BigEndian.Uint64(w[24:32]) ^ m1,
			binary.BigEndian.Uint64(w[16:24]) ^ m0,
			binary.BigEndian.Uint64(w[8:16]) ^ m1,
			binary.BigEndian.Uint64(w[0:8]) ^ m0,
		})
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

// combine sets s = v + θ_{k,0}·v0 + θ_{k,1}·v1.
func (t *coefficients) combine(s *secp256k1.Scalar, k int, v0, v1, v *secp256k1.Scalar) {
	s.MulMulAdd(&t[k][0], v0, &t[k][1], v1, v)
}

// checksum hashes m_{j,k} for μ, some at a time.
type checksum struct {
	h   hash.Hash
	buf []byte
	n   int // how many there were
}

func newChecksum() *checksum {
	return &checksum{h: sha256.New(), buf: make([]byte, 0, 64*secp256k1.ScalarSize)}
}

func (c *checksum) add(m *secp256k1.Scalar) {
	if len(c.buf) == cap(c.buf) {
		c.h.Write(c.buf)
		c.buf = c.buf[:0]
	}
	n := len(c.buf)
	c.buf = c.buf[:n+secp256k1.ScalarSize]
	m.PutBytes(c.buf[n:])
	c.n++
}

func (c *checksum) mu(dsid *[32]byte) [32]byte {
	c.h.Write(c.buf)
	clear(c.buf[:cap(c.buf)])
	return transcript.Sum(transcript.TagMu, dsid[:], c.h.Sum(nil))
}
