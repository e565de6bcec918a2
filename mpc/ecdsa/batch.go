package ecdsa

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// BatchItem is one signature for CheckBatch.
type BatchItem struct {
	Key   *Key
	Hash  [32]byte
	Sig   *Signature
	Point [33]byte // R before s was lowered, SEC1 compressed
}

// CheckBatch is CheckAt for all items at once, in a fraction of the time and in
// the same arithmetic, decred's. With (u, v) = s⁻¹·(h, r) of each item and R as
// its recovery id names it, it demands
//
//	Σ zₖ·(uₖG + vₖQₖ − Rₖ) = O
//
// for weights of 128 bits that are hashed from all items. The group's order is
// prime, so a batch with a wrong item passes for 2⁻¹²⁸ of all weights. It does not
// say which item is wrong: CheckAt does.
func CheckBatch(items []BatchItem) error {
	n := len(items)
	rs, ss := make([]secp256k1.ModNScalar, n), make([]secp256k1.ModNScalar, n)
	points := make([]secp256k1.JacobianPoint, n)
	for k := range items {
		var err error
		it := &items[k]
		if rs[k], ss[k], err = it.Sig.scalars(); err != nil {
			return fmt.Errorf("item %d: %w", k, err)
		}
		if err := decode(&points[k], it.Point[:]); err != nil {
			return fmt.Errorf("item %d: %w", k, err)
		}
		if err := named(&points[k], (*[32]byte)(it.Point[1:]), &rs[k], it.Sig.RecoveryID); err != nil {
			return fmt.Errorf("item %d: %w", k, err)
		}
	}
	invertAll(ss)
	weights := batchWeights(items)
	var g secp256k1.ModNScalar // Σ zₖ·uₖ
	keys := make(map[*Key]*secp256k1.ModNScalar)
	for k := range items {
		var z, h secp256k1.ModNScalar
		z.SetByteSlice(weights[k][:])
		z.Mul(&ss[k])
		h.SetByteSlice(items[k].Hash[:])
		g.Add(h.Mul(&z))
		if keys[items[k].Key] == nil {
			keys[items[k].Key] = new(secp256k1.ModNScalar)
		}
		keys[items[k].Key].Add(z.Mul(&rs[k]))
	}
	var left, right, q secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&g, &left)
	for key, v := range keys {
		key.mult(v, &q)
		secp256k1.AddNonConst(&left, &q, &left)
	}
	weightedSum(&right, weights, points)
	if !left.EquivalentNonConst(&right) {
		return ErrInvalid
	}
	return nil
}

// batchWeights hashes all items and expands the hash.
func batchWeights(items []BatchItem) [][16]byte {
	all := sha256.New()
	all.Write([]byte("weights of a batch of ECDSA signatures"))
	for k := range items {
		it := &items[k]
		key := it.Key.Bytes()
		sig := it.Sig.Bytes()
		all.Write(key[:])
		all.Write(it.Hash[:])
		all.Write(sig[:])
		all.Write(it.Point[:])
	}
	seed := all.Sum(nil)
	out := make([][16]byte, len(items))
	for k := range out {
		h := sha256.Sum256(binary.BigEndian.AppendUint32(seed[:32:32], uint32(k)))
		copy(out[k][:], h[:])
	}
	return out
}

// invertAll inverts every scalar, none of them 0, with one inversion.
func invertAll(ss []secp256k1.ModNScalar) {
	var product secp256k1.ModNScalar
	product.SetInt(1)
	before := make([]secp256k1.ModNScalar, len(ss))
	for k := range ss {
		before[k] = product
		product.Mul(&ss[k])
	}
	product.InverseNonConst()
	for k := len(ss) - 1; k >= 0; k-- {
		s := ss[k]
		ss[k].Mul2(&product, &before[k])
		product.Mul(&s)
	}
}

// weightedSum sets sum = Σ weights[k]·points[k], with the doublings shared: each
// weight in signed digits that are odd and below 16, from tables of odd multiples.
func weightedSum(sum *secp256k1.JacobianPoint, weights [][16]byte, points []secp256k1.JacobianPoint) {
	const width, half = 5, 8
	digits := make([][130]int8, len(points))
	tables := make([][half]secp256k1.JacobianPoint, len(points)) // P, 3P, … 15P
	for k := range points {
		signedDigits(&digits[k], weights[k], width)
		var twice secp256k1.JacobianPoint
		secp256k1.DoubleNonConst(&points[k], &twice)
		tables[k][0] = points[k]
		for i := 1; i < half; i++ {
			secp256k1.AddNonConst(&tables[k][i-1], &twice, &tables[k][i])
		}
	}
	*sum = secp256k1.JacobianPoint{}
	for bit := len(digits[0]) - 1; bit >= 0; bit-- {
		secp256k1.DoubleNonConst(sum, sum)
		for k := range points {
			switch d := digits[k][bit]; {
			case d > 0:
				secp256k1.AddNonConst(sum, &tables[k][d/2], sum)
			case d < 0:
				minus := tables[k][-d/2]
				minus.Y.Negate(1).Normalize()
				secp256k1.AddNonConst(sum, &minus, sum)
			}
		}
	}
}

// signedDigits writes a weight as Σ dᵢ·2ⁱ, dᵢ zero or odd with |dᵢ| < 2^{width−1}.
func signedDigits(out *[130]int8, weight [16]byte, width uint) {
	hi, lo := binary.BigEndian.Uint64(weight[:8]), binary.BigEndian.Uint64(weight[8:])
	var top uint64 // bit 128, for the carry
	for i := range out {
		if lo&1 == 1 {
			d := int64(lo & (1<<width - 1))
			if d >= 1<<(width-1) {
				d -= 1 << width
			}
			out[i] = int8(d)
			if d > 0 {
				lo -= uint64(d) // the low bits: no borrow
			} else if lo += uint64(-d); lo < uint64(-d) {
				if hi++; hi == 0 {
					top++
				}
			}
		}
		lo = lo>>1 | hi<<63
		hi = hi>>1 | top<<63
		top >>= 1
	}
}
