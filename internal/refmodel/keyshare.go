package refmodel

import (
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
)

// States of a key share.
const (
	Pending = 1
	Active  = 2
)

// KeyShare is what a party holds of a key.
type KeyShare struct {
	Purpose         string
	State           int
	KeyID           []byte
	Epoch, ID, T    int
	IDs             []int   // all n, ascending
	X               []Point // public shares, as IDs
	PublicKey       Point
	Feldman, Roster []byte
	Certificate     []byte // digest
	ChainCode       []byte
	Share           *big.Int
	Zero            map[int][]byte // zero-share seeds by peer
}

// Encode is the encoding of dkg.md.
func (k *KeyShare) Encode() []byte {
	b := cat(u8(1), vary([]byte(Suite)), vary([]byte(k.Purpose)), u8(k.State), k.KeyID, u64(k.Epoch), u16(k.ID), u16(k.T), u32(len(k.IDs)))
	for i, id := range k.IDs {
		b = cat(b, u16(id), k.X[i].Bytes())
	}
	b = cat(b, k.PublicKey.Bytes(), k.Feldman, k.Roster, k.Certificate, k.ChainCode, enc(k.Share), u32(len(k.Zero)))
	return cat(b, cat(byID(k.Zero)...))
}

// DecodeKeyShare reads a key share and checks what dkg.md asks for.
func DecodeKeyShare(b []byte) (*KeyShare, error) {
	r := &parser{b: b}
	k := &KeyShare{Zero: map[int][]byte{}}
	version, suite := r.take(1)[0], r.vary(1, 64)
	k.Purpose = string(r.vary(1, 64))
	k.State = int(r.take(1)[0])
	k.KeyID = r.take(32)
	k.Epoch, k.ID, k.T = int(binary.BigEndian.Uint64(r.take(8))), r.u16(), r.u16()
	for range r.count(16) {
		k.IDs = append(k.IDs, r.u16())
		k.X = append(k.X, r.point())
	}
	k.PublicKey = r.point()
	k.Feldman, k.Roster, k.Certificate, k.ChainCode = r.take(32), r.take(32), r.take(32), r.take(32)
	k.Share = r.scalar()
	seeds := r.count(15)
	for _, j := range k.IDs {
		if j != k.ID {
			k.Zero[j] = r.take(32)
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if version != 1 || string(suite) != Suite || seeds != len(k.IDs)-1 || k.State != Pending && k.State != Active {
		return nil, errors.New("not a key share of this suite")
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *KeyShare) check() error {
	own := slices.Index(k.IDs, k.ID)
	if own < 0 || k.T < 2 || k.T > len(k.IDs) {
		return errors.New("not a threshold of these parties")
	}
	before := 0
	for _, id := range k.IDs {
		if id <= before {
			return errors.New("the parties do not ascend from 1")
		}
		before = id
	}
	if !Base(k.Share).Equal(k.X[own]) {
		return errors.New("the share is not that of the public share")
	}
	// The first t−1 parties with each one of the others.
	for last := k.T - 1; last < len(k.IDs); last++ {
		set := append(slices.Clone(k.IDs[:k.T-1]), k.IDs[last])
		var pk Point
		for i, id := range set {
			x := k.X[last]
			if i < k.T-1 {
				x = k.X[i]
			}
			pk = pk.Add(x.Mul(lagrange(id, set)))
		}
		if !pk.Equal(k.PublicKey) {
			return errors.New("the public shares do not give the public key")
		}
	}
	return nil
}
