package refmodel

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
)

// Parameters of the OT extension (ot-extension.md).
const (
	rows    = 128 // κ_OT
	columns = 416 // ξ, of a signature
)

// rowLen is the length of a row for n signatures.
func rowLen(n int) int { return 52*n + 16 }

// Seeds are the keys of one direction's base OTs, as far as one party knows them: Bob has
// K0 and K1, Alice Δ and K.
type Seeds struct {
	K0, K1 [][]byte
	Delta  []byte
	K      [][]byte
}

// toField reads 16 bytes as an element of GF(2^128): bit n is the coefficient
// of xⁿ, the least significant bit of a byte first.
func toField(b []byte) *big.Int {
	le := bytes.Clone(b)
	slices.Reverse(le)
	return new(big.Int).SetBytes(le)
}

func fromField(v *big.Int) []byte {
	b := v.FillBytes(make([]byte, 16))
	slices.Reverse(b)
	return b
}

// gf128 is a·b mod x^128 + x^7 + x^2 + x + 1, from the highest bit of b down.
func gf128(a, b *big.Int) *big.Int {
	poly := new(big.Int).SetBit(big.NewInt(0x87), 128, 1)
	out := new(big.Int)
	for n := 127; n >= 0; n-- {
		if out.Lsh(out, 1); out.Bit(128) == 1 {
			out.Xor(out, poly)
		}
		if b.Bit(n) == 1 {
			out.Xor(out, a)
		}
	}
	return out
}

// universal is h: its coefficients χ.
type universal []*big.Int

func newUniversal(n int, dsid, u []byte) universal {
	m := (416*n + 127) / 128
	b := RO("chi", 16*m, dsid, H256(u))
	var h universal
	for i := range m {
		h = append(h, toField(b[16*i:16*i+16]))
	}
	return h
}

// of is h(v) = v_{M+1} ⊕ Σ χ_j·v_j.
func (h universal) of(v []byte) []byte {
	body, tail := v[:len(v)-16], v[len(v)-16:]
	body = cat(body, make([]byte, 16*len(h)-len(body)))
	sum := toField(tail)
	for j, x := range h {
		sum.Xor(sum, gf128(x, toField(body[16*j:16*j+16])))
	}
	return fromField(sum)
}

// column is column j of the rows: bit i of it is bit j of row i.
func column(m [][]byte, j int) []byte {
	out := make([]byte, rows/8)
	for i, row := range m {
		out[i/8] |= byte(bit(row, j) << (i % 8))
	}
	return out
}

// expand gives of the 16 strings of tree i their sum, and for each b the sum of
// those whose number has bit b.
func expand(n int, dsid []byte, i int, strings [][]byte) (all []byte, part [depth][]byte) {
	all = make([]byte, rowLen(n))
	for b := range part {
		part[b] = make([]byte, rowLen(n))
	}
	for x, r := range strings {
		row := prg(r, dsid, i, rowLen(n))
		all = xor(all, row)
		for b := range part {
			if x>>b&1 == 1 {
				part[b] = xor(part[b], row)
			}
		}
	}
	return all, part
}

// extendBob is step 1: the rows T, the choices x, and U ‖ X ‖ TH.
func extendBob(tr Trees, n int, dsid []byte, rnd *Stream) (t [][]byte, x, message []byte) {
	x = rnd.Bytes(rowLen(n))
	var u []byte
	for i := range trees {
		ui, ti := expand(n, dsid, i, tr.Leaves[i])
		t = append(t, ti[:]...)
		u = cat(u, xor(ui, x))
	}
	h := newUniversal(n, dsid, u)
	var hashes []byte
	for _, ti := range t {
		hashes = append(hashes, h.of(ti)...)
	}
	return t, x, cat(u, h.of(x), RO("T", 32, dsid, hashes))
}

// errCheck is a failed check of the trees, the extension or the VOLE.
var errCheck = errors.New("the check failed")

// extendAlice is step 2: the rows Q, if the check holds.
func extendAlice(tr Trees, n int, dsid, message []byte) ([][]byte, error) {
	end := trees * rowLen(n)
	if len(message) != end+16+32 {
		return nil, errors.New("the extension's message has a wrong length")
	}
	u, xh, th := message[:end], message[end:end+16], message[end+16:]
	h := newUniversal(n, dsid, u)
	var m [][]byte
	var hashes []byte
	for i := range trees {
		_, qi := expand(n, dsid, i, tr.Shifted[i]) // z = 0 has no bit
		for b, q := range qi {
			hx := make([]byte, 16)
			if bit(tr.Delta, 4*i+b) == 1 {
				q = xor(q, u[rowLen(n)*i:rowLen(n)*(i+1)])
				hx = xh
			}
			m = append(m, q)
			hashes = append(hashes, xor(h.of(q), hx)...)
		}
	}
	if !bytes.Equal(RO("T", 32, dsid, hashes), th) {
		return nil, errCheck
	}
	return m, nil
}
