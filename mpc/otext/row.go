package otext

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Parameters of set B (PROTOCOLS, docs/spec/ot-extension.md).
const (
	Rows    = baseot.N                   // κ_OT
	Columns = 416                        // ξ
	Tail    = 128                        // σ
	rowSize = (Columns + Tail) / 8       // 68 bytes
	words   = (Columns + Tail + 63) / 64 // 9
	blocks  = (Columns + 127) / 128      // M
)

// row is v, 544 bits: bit j is bit j mod 64 of word j/64. The upper half of the
// last word is zero.
type row [words]uint64

func (v *row) setBytes(b *[rowSize]byte) {
	for i := range words - 1 {
		v[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	v[words-1] = uint64(binary.LittleEndian.Uint32(b[rowSize-4:]))
}

func (v *row) bytes(b *[rowSize]byte) {
	for i := range words - 1 {
		binary.LittleEndian.PutUint64(b[8*i:], v[i])
	}
	binary.LittleEndian.PutUint32(b[rowSize-4:], uint32(v[words-1]))
}

func (v *row) xor(a *row) {
	for i := range v {
		v[i] ^= a[i]
	}
}

// xorMasked adds a where m is all ones.
func (v *row) xorMasked(a *row, m uint64) {
	for i := range v {
		v[i] ^= a[i] & m
	}
}

// prg expands seeds under one dsid: SHA-256 in counter mode, keyed by RO
// (docs/spec/random-oracle.md).
type prg struct {
	in [32 + 1 + baseot.SeedSize]byte
}

func newPRG(dsid *[32]byte) *prg {
	p := new(prg)
	k := transcript.Sum(transcript.TagPRG, dsid[:])
	copy(p.in[:32], k[:])
	return p
}

func (p *prg) expand(v *row, seed *[baseot.SeedSize]byte) {
	var out [96]byte
	copy(p.in[33:], seed[:])
	for c := range 3 {
		p.in[32] = byte(c)
		h := sha256.Sum256(p.in[:])
		copy(out[32*c:], h[:])
	}
	v.setBytes((*[rowSize]byte)(out[:rowSize]))
}

// hash is h with its coefficients χ₁ … χ_M.
type hash [blocks]factor

// newHash takes the coefficients from all of U.
func newHash(dsid *[32]byte, u *[Rows][rowSize]byte) *hash {
	d := sha256.New()
	for i := range u {
		d.Write(u[i][:])
	}
	var sum [32]byte
	d.Sum(sum[:0])
	var b [16 * blocks]byte
	transcript.Fill(b[:], transcript.TagChi, dsid[:], sum[:])
	h := new(hash)
	for i := range h {
		h[i] = newFactor(gfFromBytes(b[16*i:]))
	}
	return h
}

// of returns h(v) = v_{M+1} ⊕ Σ χ_j·v_j. Linear in v; constant time.
func (h *hash) of(v *row) gf {
	var w wide
	for i := range blocks - 1 {
		w.mulAdd(&h[i], gf{v[2*i], v[2*i+1]})
	}
	// The last block has 32 bits; the tail follows them at once.
	w.mulAdd(&h[blocks-1], gf{lo: v[6] & 0xffffffff})
	r := w.reduce()
	r.lo ^= v[6]>>32 | v[7]<<32
	r.hi ^= v[7]>>32 | v[8]<<32
	return r
}

func gfFromBytes(b []byte) gf {
	return gf{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (a gf) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, a.lo)
	return binary.LittleEndian.AppendUint64(b, a.hi)
}

// Column is t_j or q_j: bit i belongs to row i.
type Column [Rows / 8]byte

// transpose turns the rows' first 416 bits into columns.
func transpose(cols *[Columns]Column, rows *[Rows]row) {
	var t [64]uint64
	for w := range (Columns + 63) / 64 {
		n := min(64, Columns-64*w)
		for half := range Rows / 64 {
			for i := range t {
				t[i] = rows[64*half+i][w]
			}
			transpose64(&t)
			for j := range n {
				binary.LittleEndian.PutUint64(cols[64*w+j][8*half:], t[j])
			}
		}
	}
	clear(t[:])
}

// transpose64 transposes a 64×64 bit matrix in place: bit j of word i goes to
// bit i of word j. It swaps off-diagonal squares of 32, 16, … 1 bits.
func transpose64(t *[64]uint64) {
	mask := uint64(0x00000000ffffffff)
	for s := 32; s != 0; s >>= 1 {
		for i := 0; i < 64; i = (i + s + 1) &^ s {
			x := (t[i]>>s ^ t[i+s]) & mask
			t[i] ^= x << s
			t[i+s] ^= x
		}
		mask ^= mask << (s >> 1)
	}
}
