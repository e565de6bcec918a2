package refmodel

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// finalShare is a final share, decoded.
type finalShare struct {
	from   int
	common []byte // what all shares of a session have alike
	r      []Point
	w, u   []*big.Int
}

// decodeFinal reads a final share of a signature or a batch.
func decodeFinal(protocol int, m []byte) (f finalShare, err error) {
	r := &parser{b: m}
	version, p, round, session := r.take(1)[0], r.take(1)[0], r.take(1)[0], r.take(40) // sid ‖ epoch
	f.from = r.u16()
	to, echo, n := r.u16(), r.take(32), 1
	if protocol == protocolBatch {
		n = r.count(64)
	}
	f.common = cat(session, echo, u32(n))
	for range n {
		pt := r.point()
		f.r = append(f.r, pt)
		f.w, f.u = append(f.w, r.scalar()), append(f.u, r.scalar())
		f.common = cat(f.common, pt.Bytes())
	}
	if err := r.end(); err != nil {
		return f, err
	}
	if version != 1 || int(p) != protocol || round != 3 || f.from == 0 || to != 0 || n == 0 {
		return f, errors.New("not a final share")
	}
	return f, nil
}

// authors is check 1 and 2 of combine.
func authors(set, from []int) error {
	before := 0
	for _, id := range set {
		if id <= before {
			return benign("S does not ascend from 1")
		}
		before = id
	}
	if len(set) < 1 || len(set) > 16 || !slices.Equal(set, slices.Sorted(slices.Values(from))) {
		return benign("the authors are not S")
	}
	return nil
}

// Combine gives r ‖ s ‖ recovery id of the final shares of a signature.
func Combine(pk Point, set []int, it Item, shares [][]byte) ([]byte, error) {
	sigs, err := combineAll(protocolSign, pk, set, []Item{it}, shares)
	if err != nil {
		return nil, err
	}
	return sigs[0], nil
}

// CombineBatch gives the signatures of a batch; one that does not verify is
// nil, and the error, if it is not the only thing, names the first.
func CombineBatch(pk Point, set []int, items []Item, shares [][]byte) ([][]byte, error) {
	return combineAll(protocolBatch, pk, set, items, shares)
}

func combineAll(protocol int, pk Point, set []int, items []Item, shares [][]byte) ([][]byte, error) {
	var all []finalShare
	var from []int
	for _, m := range shares {
		f, err := decodeFinal(protocol, m)
		if err != nil {
			return nil, err
		}
		all, from = append(all, f), append(from, f.from)
	}
	if err := authors(set, from); err != nil {
		return nil, err
	}
	for _, f := range all {
		if !bytes.Equal(f.common, all[0].common) || len(f.r) != len(items) {
			return nil, benign("the shares are not of one session")
		}
	}
	var sigs [][]byte
	var failed error
	for k, it := range items {
		w, u := new(big.Int), new(big.Int)
		for _, f := range all {
			w, u = add(w, f.w[k]), add(u, f.u[k])
		}
		sig, err := finish(pk, all[0].r[k], it, w, u)
		if err != nil {
			failed = cmpOr(failed, unattributed(fmt.Sprintf("item %d: %v", k, err)))
		}
		sigs = append(sigs, sig)
	}
	return sigs, failed
}

// finish makes the signature of Σw, Σu and R, and verifies it.
func finish(pk, bigR Point, it Item, w, u *big.Int) ([]byte, error) {
	if u.Sign() == 0 {
		return nil, unattributed("Σu is zero")
	}
	r, s := mod(bigR.X), mul(w, inv(u))
	recid := int(bigR.Y.Bit(0))
	if bigR.X.Cmp(q) >= 0 {
		recid |= 2
	}
	if s.Cmp(half) > 0 {
		s = neg(s)
		recid ^= 1
	}
	child := pk.Add(Base(it.Tweak))
	if !VerifyECDSA(child, it.MessageHash, r, s) || !RecoverECDSA(it.MessageHash, r, s, recid).Equal(child) {
		return nil, unattributed("the signature does not verify")
	}
	return cat(enc(r), enc(s), u8(recid)), nil
}
