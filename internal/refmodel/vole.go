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
	Chi     *big.Int
}

// VOLEReceive is Bob's first step; it gives χ and message 1.
func VOLEReceive(s Seeds, dsid []byte, rnd *Stream) (*VOLEBob, []byte) {
	t, x, message := extendBob(s, dsid, rnd)
	chi := new(big.Int)
	for j, gj := range gadget() {
		if bit(x, j) == 1 {
			chi = add(chi, gj)
		}
	}
	return &VOLEBob{dsid, x, t, chi}, cat(u8(1), message)
}

// VOLESend is Alice's step: c and message 2.
func VOLESend(s Seeds, dsid, message1 []byte, a [2]*big.Int, rnd *Stream) (c [2]*big.Int, message2 []byte, err error) {
	if len(message1) == 0 || message1[0] != 1 {
		return c, nil, errors.New("not a VOLE message 1")
	}
	qrows, err := extendAlice(s, dsid, message1[1:])
	if err != nil {
		return c, nil, err
	}
	hat := [2]*big.Int{rnd.Scalar(), rnd.Scalar()}
	inputs := [4]*big.Int{a[0], a[1], hat[0], hat[1]}
	key := RO("pad", 32, dsid)
	var alpha [][4]*big.Int // α⁰
	var cells []byte        // A
	for j := range columns {
		qj := column(qrows, j)
		a0, a1 := pad(key, j, qj), pad(key, j, xor(qj, s.Delta))
		alpha = append(alpha, a0)
		for i := range 4 {
			cells = append(cells, enc(add(sub(a0[i], a1[i]), inputs[i]))...)
		}
	}
	theta := ROScalars(4, "theta", dsid, H256(cells))
	var eta [2]*big.Int
	for k := range 2 {
		eta[k] = add(hat[k], mul(theta[2*k], a[0]), mul(theta[2*k+1], a[1]))
	}
	var m []byte
	c = [2]*big.Int{new(big.Int), new(big.Int)}
	for j, a0 := range alpha {
		for k := range 2 {
			m = append(m, enc(add(a0[2+k], mul(theta[2*k], a0[0]), mul(theta[2*k+1], a0[1])))...)
			c[k] = sub(c[k], mul(gadget()[j], a0[k]))
		}
	}
	mu := RO("mu", 32, dsid, H256(m))
	return c, cat(u8(1), cells, enc(eta[0]), enc(eta[1]), mu), nil
}

// Finish is Bob's second step: d.
func (b *VOLEBob) Finish(message2 []byte) (d [2]*big.Int, err error) {
	const cellsLen = columns * 4 * 32
	if len(message2) != 1+cellsLen+96 || message2[0] != 1 {
		return d, errors.New("not a VOLE message 2")
	}
	cells, mu := message2[1:1+cellsLen], message2[1+cellsLen+64:]
	var scalars []*big.Int // Ã, then η
	for at := 1; at < 1+cellsLen+64; at += 32 {
		k, err := DecodeScalar(message2[at : at+32])
		if err != nil {
			return d, err
		}
		scalars = append(scalars, k)
	}
	eta := scalars[4*columns:]
	theta := ROScalars(4, "theta", b.dsid, H256(cells))
	key := RO("pad", 32, b.dsid)
	d = [2]*big.Int{new(big.Int), new(big.Int)}
	var m []byte
	for j := range columns {
		dj := pad(key, j, column(b.t, j)) // γ_j
		beta := bit(b.x, j)
		if beta == 1 {
			for i := range dj {
				dj[i] = add(dj[i], scalars[4*j+i])
			}
		}
		for k := range 2 {
			mk := add(dj[2+k], mul(theta[2*k], dj[0]), mul(theta[2*k+1], dj[1]))
			if beta == 1 {
				mk = sub(mk, eta[k])
			}
			m = append(m, enc(mk)...)
			d[k] = add(d[k], mul(gadget()[j], dj[k]))
		}
	}
	if !bytes.Equal(RO("mu", 32, b.dsid, H256(m)), mu) {
		return [2]*big.Int{}, errCheck
	}
	return d, nil
}
