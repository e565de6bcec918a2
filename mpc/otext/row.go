package otext

import (
	"encoding/binary"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/pprf"
)

// Parameters of set B (docs/spec/ot-extension.md).
const (
	Rows     = baseot.N   // κ_OT: four rows of T for one of U
	Columns  = 416        // ξ, of one signature
	Tail     = 128        // σ
	MaxBatch = 128        // signatures in one extension
	depth    = pprf.Depth // k
)

// rowSize is the length of a row of n signatures: n·ξ + σ bits.
func rowSize(n int) int { return (n*Columns + Tail) / 8 }

// blocks is M, the 128-bit blocks of the columns in a row. The last may be short.
func blocks(n int) int { return (n*Columns + 127) / 128 }

// row is v: M blocks of two words, bit j mod 64 of word j/64 for column j, the
// last block padded with zeroes; then the tail, two words.
type row []uint64

// rows is a matrix of 128 rows in one piece of memory.
type rows []row

func newRow(n int) row { return make(row, 2*blocks(n)+2) }

func newRows(n int) rows {
	w := 2*blocks(n) + 2
	buf, m := make(row, Rows*w), make(rows, Rows)
	for i := range m {
		m[i] = buf[i*w : (i+1)*w : (i+1)*w]
	}
	return m
}

func (m rows) destroy() {
	for i := range m {
		clear(m[i])
	}
}

// setBytes reads the row of n signatures in b. A word that the columns fill by
// half is the last of them: n·ξ is a multiple of 32.
func (v row) setBytes(b []byte, n int) {
	k := n * Columns / 64
	for i := range k {
		v[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	clear(v[k : len(v)-2])
	b = b[8*k:]
	if n%2 == 1 {
		v[k] = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	v[len(v)-2] = binary.LittleEndian.Uint64(b)
	v[len(v)-1] = binary.LittleEndian.Uint64(b[8:])
}

func (v row) bytes(b []byte, n int) {
	k := n * Columns / 64
	for i := range k {
		binary.LittleEndian.PutUint64(b[8*i:], v[i])
	}
	b = b[8*k:]
	if n%2 == 1 {
		binary.LittleEndian.PutUint32(b, uint32(v[k]))
		b = b[4:]
	}
	binary.LittleEndian.PutUint64(b, v[len(v)-2])
	binary.LittleEndian.PutUint64(b[8:], v[len(v)-1])
}

// xorMasked adds a where m is all ones.
func (v row) xorMasked(a row, m uint64) {
	for i := range v {
		v[i] ^= a[i] & m
	}
}

// Column is t_j or q_j: bit i belongs to row i.
type Column [Rows / 8]byte

// transpose turns the rows' columns, without the tail, into cols.
func transpose(cols []Column, rows rows) {
	var t [64]uint64
	for w := range (len(cols) + 63) / 64 {
		n := min(64, len(cols)-64*w)
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
