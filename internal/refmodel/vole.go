package refmodel

import (
	"bytes"
	"errors"
	"math/big"
	"sync"
)

// gadget is g, the constant of the suite.
var gadget = sync.OnceValue(func() []*big.Int {
	return ROScalars(columns, "gadget", []byte(Suite), []byte("secp256k1"))
})

// VOLEBob is Bob between his two steps.
type VOLEBob struct {
	dsid, x []byte
	t       [][]byte
	Chi     []*big.Int // by signature
}

// two are zeroes to add to.
func two() [2]*big.Int { return [2]*big.Int{new(big.Int), new(big.Int)} }

// VOLEReceive is Bob's first step, for n signatures; it gives χ and message 1.
func VOLEReceive(tr Trees, n int, dsid []byte, rnd *Stream) (*VOLEBob, []byte) {
	t, x, message := extendBob(tr, n, dsid, rnd)
	out := &VOLEBob{dsid: dsid, x: x, t: t}
	for s := range n {
		chi := new(big.Int)
		for j, gj := range gadget() {
			if bit(x, columns*s+j) == 1 {
				chi = add(chi, gj)
			}
		}
		out.Chi = append(out.Chi, chi)
	}
	return out, cat(u8(1), message)
}

// check is v_{2+k} + θ_{k,0}·v_0 + θ_{k,1}·v_1.
func check(theta []*big.Int, k int, v [4]*big.Int) *big.Int {
	return add(v[2+k], mul(theta[2*k], v[0]), mul(theta[2*k+1], v[1]))
}

// VOLESend is Alice's step, for as many signatures as a has: c and message 2.
func VOLESend(tr Trees, dsid, message1 []byte, a [][2]*big.Int, rnd *Stream) (c [][2]*big.Int, message2 []byte, err error) {
	if len(message1) == 0 || message1[0] != 1 {
		return nil, nil, errors.New("not a VOLE message 1")
	}
	n := len(a)
	qrows, err := extendAlice(tr, n, dsid, message1[1:])
	if err != nil {
		return nil, nil, err
	}
	var inputs [][4]*big.Int // a_0, a_1, â_0, â_1
	for s := range n {
		hat0 := rnd.Scalar()
		inputs = append(inputs, [4]*big.Int{a[s][0], a[s][1], hat0, rnd.Scalar()})
	}
	var alpha [][4]*big.Int // α⁰
	var cells []byte        // A
	for j := range n * columns {
		qj := column(qrows, j)
		a0, a1 := pad(dsid, j, qj), pad(dsid, j, xor(qj, tr.Delta))
		alpha = append(alpha, a0)
		for i := range 4 {
			cells = append(cells, enc(add(sub(a0[i], a1[i]), inputs[j/columns][i]))...)
		}
	}
	theta := ROScalars(4, "theta", dsid, H256(cells))
	var etas, m []byte
	for s := range n {
		etas = cat(etas, enc(check(theta, 0, inputs[s])), enc(check(theta, 1, inputs[s])))
		cs := two()
		for j := columns * s; j < columns*(s+1); j++ {
			for k := range 2 {
				m = append(m, enc(check(theta, k, alpha[j]))...)
				cs[k] = sub(cs[k], mul(gadget()[j%columns], alpha[j][k]))
			}
		}
		c = append(c, cs)
	}
	return c, cat(u8(1), cells, etas, RO("mu", 32, dsid, H256(m))), nil
}

// voleMessage1Len is the length of message 1 for n signatures.
func voleMessage1Len(n int) int { return 49 + trees*rowLen(n) }

// voleMessage2Len is the length of message 2 for n signatures.
func voleMessage2Len(n int) int { return 33 + 53312*n }

// Finish is Bob's second step: d.
func (b *VOLEBob) Finish(message2 []byte) (d [][2]*big.Int, err error) {
	n := len(b.Chi)
	if len(message2) != voleMessage2Len(n) || message2[0] != 1 {
		return nil, errors.New("not a VOLE message 2")
	}
	cells, mu := message2[1:1+columns*4*32*n], message2[len(message2)-32:]
	var scalars []*big.Int // Ã, then η
	for at := 1; at < len(message2)-32; at += 32 {
		k, err := DecodeScalar(message2[at : at+32])
		if err != nil {
			return nil, err
		}
		scalars = append(scalars, k)
	}
	eta := scalars[4*columns*n:]
	theta := ROScalars(4, "theta", b.dsid, H256(cells))
	var m []byte
	for s := range n {
		ds := two()
		for j := columns * s; j < columns*(s+1); j++ {
			dj := pad(b.dsid, j, column(b.t, j)) // γ_j
			beta := big.NewInt(int64(bit(b.x, j)))
			for v := range dj {
				dj[v] = add(dj[v], mul(beta, scalars[4*j+v]))
			}
			for k := range 2 {
				m = append(m, enc(sub(check(theta, k, dj), mul(beta, eta[2*s+k])))...)
				ds[k] = add(ds[k], mul(gadget()[j%columns], dj[k]))
			}
		}
		d = append(d, ds)
	}
	if !bytes.Equal(RO("mu", 32, b.dsid, H256(m)), mu) {
		return nil, errCheck
	}
	return d, nil
}
