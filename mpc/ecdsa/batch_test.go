package ecdsa_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	decred "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/mpc/ecdsa"
)

// batchOf is n signatures by decred under some keys; some R are those from before
// s was lowered.
func batchOf(t *testing.T, n, keys int) []ecdsa.BatchItem {
	t.Helper()
	ready := make([]*ecdsa.Key, keys)
	out := make([]ecdsa.BatchItem, n)
	for k := range out {
		seed := sha256.Sum256([]byte{byte(k % keys)})
		private := secp256k1.PrivKeyFromBytes(seed[:])
		if ready[k%keys] == nil {
			key, err := ecdsa.NewKey(private.PubKey().SerializeCompressed())
			if err != nil {
				t.Fatal(err)
			}
			ready[k%keys] = key
		}
		it := &out[k]
		it.Key, it.Hash, it.Sig = ready[k%keys], sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(k))), new(ecdsa.Signature)
		compact := decred.SignCompact(private, it.Hash[:], true)
		if err := it.Sig.SetBytes(append(append([]byte{}, compact[1:]...), compact[0]-31)); err != nil {
			t.Fatal(err)
		}
		it.Point[0] = 2 | byte(k)&1
		copy(it.Point[1:], it.Sig.R[:])
	}
	return out
}

func TestCheckBatch(t *testing.T) {
	for n := range 40 {
		if err := ecdsa.CheckBatch(batchOf(t, n, n/3+1)); err != nil {
			t.Errorf("%d items: %v", n, err)
		}
	}
	if err := ecdsa.CheckBatch(batchOf(t, 256, 2)); err != nil {
		t.Error(err)
	}
}

// Whatever is wrong in one item, the batch is refused.
func TestCheckBatchRefuses(t *testing.T) {
	const n = 8
	for at := range n {
		for name, spoil := range map[string]func(all []ecdsa.BatchItem, it *ecdsa.BatchItem){
			"hash":            func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Hash[at] ^= 1 },
			"another key":     func(all []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Key = all[(at+1)%n].Key },
			"s":               func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.S[31-at] ^= 1 },
			"s is 0":          func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.S = [32]byte{} },
			"s is high":       func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { highS(it.Sig) },
			"r":               func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.R[31-at] ^= 1 },
			"another's r":     func(all []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.R = all[(at+1)%n].Sig.R },
			"another's point": func(all []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Point = all[(at+1)%n].Point },
			"recovery bit 0":  func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.RecoveryID ^= 1 },
			"recovery bit 1":  func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.RecoveryID ^= 2 },
			"recovery id 4":   func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Sig.RecoveryID |= 4 },
			"no point":        func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Point = [33]byte{2, 32: 5} },
			"first byte":      func(_ []ecdsa.BatchItem, it *ecdsa.BatchItem) { it.Point[0] = 4 },
		} {
			all := batchOf(t, n, 4)
			spoil(all, &all[at])
			if ecdsa.CheckBatch(all) == nil {
				t.Errorf("item %d: %s is wrong, and the batch passes", at, name)
			}
		}
	}
}

// highS is the same signature with s above q/2.
func highS(sig *ecdsa.Signature) {
	var s secp256k1.ModNScalar
	s.SetBytes(&sig.S)
	s.Negate()
	sig.S = s.Bytes()
	sig.RecoveryID ^= 1
}

// Two errors that cancel in a plain sum: h₀ + s₀·d and h₁ − s₁·d move the sum by
// d·G and −d·G.
func TestCheckBatchWeighs(t *testing.T) {
	all := batchOf(t, 2, 1)
	var s, h secp256k1.ModNScalar
	for k := range all {
		s.SetBytes(&all[k].Sig.S)
		if k == 1 {
			s.Negate()
		}
		h.SetBytes(&all[k].Hash)
		h.Add(&s)
		all[k].Hash = h.Bytes()
	}
	if err := ecdsa.CheckBatch(all); !errors.Is(err, ecdsa.ErrInvalid) {
		t.Errorf("two errors that cancel: %v", err)
	}
}

// No point has x = 5. With the key G and h = −r the left side is the identity, which
// a point that was not decoded would be too.
func TestCheckBatchWantsPoints(t *testing.T) {
	g := secp256k1.PrivKeyFromBytes([]byte{1}).PubKey().SerializeCompressed()
	key, err := ecdsa.NewKey(g)
	if err != nil {
		t.Fatal(err)
	}
	var h secp256k1.ModNScalar
	h.SetInt(5)
	h.Negate()
	it := ecdsa.BatchItem{Key: key, Hash: h.Bytes(), Sig: &ecdsa.Signature{R: [32]byte{31: 5}, S: [32]byte{31: 1}}, Point: [33]byte{2, 32: 5}}
	if ecdsa.CheckBatch([]ecdsa.BatchItem{it}) == nil {
		t.Error("an R that is no point passes")
	}
}

func FuzzSignedDigits(f *testing.F) {
	f.Add(make([]byte, 16))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		sum := new(big.Int)
		digits := ecdsa.SignedDigits([16]byte(b))
		for i := len(digits) - 1; i >= 0; i-- {
			d := int64(digits[i])
			if d != 0 && (d&1 == 0 || d > 15 || d < -15) {
				t.Fatalf("digit %d is %d", i, d)
			}
			sum.Add(sum.Lsh(sum, 1), big.NewInt(d))
		}
		if sum.Cmp(new(big.Int).SetBytes(b)) != 0 {
			t.Fatalf("%x is written as %x", b, sum)
		}
	})
}
