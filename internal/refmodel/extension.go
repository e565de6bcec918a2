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
	columns = 416 // ξ
	rowLen  = 68  // ξ + σ bits
)

// Seeds are one direction's base OTs, as far as one party knows them: Bob has
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

// gf128 is a·b mod x^128 + x^7 + x^2 + x + 1.
func gf128(a, b *big.Int) *big.Int {
	out := new(big.Int)
	for n := range 128 {
		if b.Bit(n) == 1 {
			out.Xor(out, new(big.Int).Lsh(a, uint(n)))
		}
	}
	poly := new(big.Int).SetBit(big.NewInt(0x87), 128, 1)
	for n := 255; n >= 128; n-- {
		if out.Bit(n) == 1 {
			out.Xor(out, new(big.Int).Lsh(poly, uint(n-128)))
		}
	}
	return out
}

// universal is h with its coefficients χ.
type universal [4]*big.Int

func newUniversal(dsid, u []byte) universal {
	b := RO("chi", 64, dsid, H256(u))
	var h universal
	for i := range h {
		h[i] = toField(b[16*i : 16*i+16])
	}
	return h
}

// of is h(v) = v₅ ⊕ χ₁v₁ ⊕ χ₂v₂ ⊕ χ₃v₃ ⊕ χ₄v₄.
func (h universal) of(v []byte) []byte {
	blocks := [4][]byte{v[0:16], v[16:32], v[32:48], cat(v[48:52], make([]byte, 12))}
	sum := toField(v[52:68])
	for i, b := range blocks {
		sum.Xor(sum, gf128(h[i], toField(b)))
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

// extendBob is step 1: the rows T, the choices x, and U ‖ X ‖ TH.
func extendBob(s Seeds, dsid []byte, rnd *Stream) (t [][]byte, x, message []byte) {
	x = rnd.Bytes(rowLen)
	var u []byte
	for i := range rows {
		ti := prg(s.K0[i], dsid)
		t = append(t, ti)
		u = append(u, xor(xor(ti, prg(s.K1[i], dsid)), x)...)
	}
	h := newUniversal(dsid, u)
	var hashes []byte
	for _, ti := range t {
		hashes = append(hashes, h.of(ti)...)
	}
	return t, x, cat(u, h.of(x), RO("T", 32, dsid, hashes))
}

// errCheck is a failed check of the extension or the VOLE.
var errCheck = errors.New("the check failed")

// extendAlice is step 2: the rows Q, if the check holds.
func extendAlice(s Seeds, dsid, message []byte) ([][]byte, error) {
	if len(message) != rows*rowLen+16+32 {
		return nil, errors.New("the extension's message has a wrong length")
	}
	u, xh, th := message[:rows*rowLen], message[rows*rowLen:rows*rowLen+16], message[rows*rowLen+16:]
	h := newUniversal(dsid, u)
	var m [][]byte
	var hashes []byte
	for i := range rows {
		qi := prg(s.K[i], dsid)
		hx := make([]byte, 16)
		if bit(s.Delta, i) == 1 {
			qi = xor(qi, u[rowLen*i:rowLen*i+rowLen])
			hx = xh
		}
		m = append(m, qi)
		hashes = append(hashes, xor(h.of(qi), hx)...)
	}
	if !bytes.Equal(RO("T", 32, dsid, hashes), th) {
		return nil, errCheck
	}
	return m, nil
}
