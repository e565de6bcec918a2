package otext

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cofferhq/coffer/mpc/transcript"
)

// hash is h with its coefficients χ₁ … χ_M, which are public.
type hash []gf

// newHash takes the coefficients from all of U.
func newHash(dsid *[32]byte, m *Message) hash {
	sum := sha256.Sum256(m.U)
	b := make([]byte, 16*blocks(m.n))
	transcript.Fill(b, transcript.TagChi, dsid[:], sum[:])
	h := make(hash, blocks(m.n))
	for i := range h {
		h[i] = gfFromBytes(b[16*i:])
	}
	return h
}

// of returns h(v) = v_{M+1} ⊕ Σ χ_j·v_j of one row. Linear in v; constant time.
func (h hash) of(v row) gf {
	var w wide
	for i := range h {
		f := newFactor(h[i])
		w.mulAdd(&f, gf{v[2*i], v[2*i+1]})
	}
	r := w.reduce()
	r.lo ^= v[len(v)-2]
	r.hi ^= v[len(v)-1]
	return r
}

// ofAll returns h of all rows, from the columns and the rows' tails: h(v) is the
// sum of v's bits j times e_j = χ_b·x^p, column j being position p of block b.
// So bit c of all 128 values together is the sum of those columns whose e_j has
// the bit c. The columns are secret, the e_j public: four columns at a time, all
// sixteen sums are made, and e_j picks.
func (h hash) ofAll(cols []Column, m rows) (out [Rows]gf) {
	var sums [Rows]gf // by bit c; bit r of each belongs to row r
	var table [16][16]gf
	var lo, hi [64]uint64
	var e gf
	for first := 0; first < len(cols); first += 64 {
		n := min(64, len(cols)-first)
		for k := range lo {
			if (first+k)%128 == 0 {
				e = h[(first+k)/128]
			}
			lo[k], hi[k] = e.lo, e.hi
			e = e.double()
		}
		transpose64(&lo)
		transpose64(&hi)
		for g := range table {
			combinations(&table[g], cols[first+min(4*g, n):first+min(4*g+4, n)])
		}
		for c := range 64 {
			pick(&sums[c], &table, lo[c])
			pick(&sums[64+c], &table, hi[c])
		}
	}
	clear(table[:])
	turn(&out, &sums)
	clear(sums[:])
	for r := range out {
		out[r].lo ^= m[r][len(m[r])-2]
		out[r].hi ^= m[r][len(m[r])-1]
	}
	return out
}

// combinations fills t with the sums of every choice of up to four columns.
func combinations(t *[16]gf, cols []Column) {
	for k := range 4 {
		var v gf
		if k < len(cols) {
			v = gfFromBytes(cols[k][:])
		}
		for x := range 1 << k {
			t[1<<k|x] = gf{t[x].lo ^ v.lo, t[x].hi ^ v.hi}
		}
	}
}

// pick adds to sum the entry of each table that four of the public bits name.
func pick(sum *gf, table *[16][16]gf, bits uint64) {
	l, h := sum.lo, sum.hi
	for g := range table {
		v := &table[g][bits>>(4*g)&15]
		l ^= v.lo
		h ^= v.hi
	}
	sum.lo, sum.hi = l, h
}

// turn transposes a 128×128 bit matrix.
func turn(out, in *[Rows]gf) {
	var a, b [64]uint64
	for half := range 2 {
		for k := range 64 {
			a[k], b[k] = in[64*half+k].lo, in[64*half+k].hi
		}
		transpose64(&a)
		transpose64(&b)
		for k := range 64 {
			if half == 0 {
				out[k].lo, out[64+k].lo = a[k], b[k]
			} else {
				out[k].hi, out[64+k].hi = a[k], b[k]
			}
		}
	}
	clear(a[:])
	clear(b[:])
}

func gfFromBytes(b []byte) gf {
	return gf{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (a gf) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, a.lo)
	return binary.LittleEndian.AppendUint64(b, a.hi)
}
