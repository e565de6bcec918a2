package signature

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"testing"

	"filippo.io/edwards25519"
)

// oddKeys are encodings of points of small order, canonical and not, and of no point.
var oddKeys = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// TestTableIsTheStandards: over honest, changed, small-order and non-canonical keys and
// signatures the table answers what crypto/ed25519 answers.
func TestTableIsTheStandards(t *testing.T) {
	yes, no := 0, 0
	compare := func(tb *Table, pub, message, sig []byte) {
		t.Helper()
		want := ed25519.Verify(pub, message, sig)
		if got := tb.Confirms(message, sig); got != want {
			t.Fatalf("key %x, message %x, signature %x: the table says %v, crypto/ed25519 %v", pub, message, sig, got, want)
		}
		if want {
			yes++
		} else {
			no++
		}
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tb := NewTable(PublicKey{Ed25519, string(pub)})
	for i := range 64 {
		message := []byte{byte(i), 7}
		sig := ed25519.Sign(private, message)
		compare(tb, pub, message, sig)
		compare(tb, pub, []byte{byte(i), 8}, sig)
		compare(tb, pub, message, sig[:63])
		for _, at := range []int{i, 31, 32, 63} {
			bad := append([]byte(nil), sig...)
			bad[at] ^= 1 << (i % 8)
			compare(tb, pub, message, bad)
		}
		compare(tb, pub, message, plusOrder(sig))
	}
	identity, odd := make([]byte, 64), 0
	identity[0] = 1
	for _, x := range oddKeys {
		key, _ := hex.DecodeString(x)
		tb := NewTable(PublicKey{Ed25519, x2s(key)})
		if tb == nil {
			continue
		}
		odd++
		for _, r := range oddKeys { // R of small order, S = 0: some verify, by k mod 8
			sig := make([]byte, 64)
			copy(sig, must32(r))
			for m := range byte(16) {
				compare(tb, key, []byte{m}, sig)
			}
		}
		compare(tb, key, nil, identity)
	}
	// A key with a part of order 8: honest signatures of the other part verify for some k.
	mixed, mpub := mixedKey(t)
	mt := NewTable(PublicKey{Ed25519, string(mpub)})
	for m := range byte(64) {
		compare(mt, mpub, []byte{m}, mixed([]byte{m}))
	}
	if odd < 8 || yes < 70 || no < 400 {
		t.Fatalf("%d odd keys, %d yes and %d no: the test has not seen enough", odd, yes, no)
	}
}

func x2s(b []byte) string { return string(b) }

func must32(x string) []byte { b, _ := hex.DecodeString(x); return b }

// plusOrder is the signature with S + l: not canonical.
func plusOrder(sig []byte) []byte {
	l := must32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	out := append([]byte(nil), sig...)
	carry := 0
	for i := range l {
		c := int(out[32+i]) + int(l[i]) + carry
		out[32+i], carry = byte(c), c>>8
	}
	return out
}

// mixedKey is A = a·B + T, T of order 8, and a signer with a alone.
func mixedKey(t *testing.T) (func(message []byte) []byte, []byte) {
	t.Helper()
	torsion, err := new(edwards25519.Point).SetBytes(must32(oddKeys[10]))
	if err != nil {
		t.Fatal(err)
	}
	scalar := func(label string, parts ...[]byte) *edwards25519.Scalar {
		h := sha512.New()
		h.Write([]byte(label))
		for _, p := range parts {
			h.Write(p)
		}
		s, _ := new(edwards25519.Scalar).SetUniformBytes(h.Sum(nil))
		return s
	}
	a := scalar("a")
	pub := new(edwards25519.Point).ScalarBaseMult(a)
	key := pub.Add(pub, torsion).Bytes()
	return func(message []byte) []byte {
		r := scalar("r", message)
		point := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
		k := scalar("", point, key, message)
		s := new(edwards25519.Scalar).MultiplyAdd(k, a, r)
		return append(point, s.Bytes()...)
	}, key
}

func BenchmarkTable(b *testing.B) {
	pub, private, _ := ed25519.GenerateKey(rand.Reader)
	message := make([]byte, 32)
	sig := ed25519.Sign(private, message)
	tb := NewTable(PublicKey{Ed25519, string(pub)})
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			tb.Confirms(message, sig)
		}
	})
	b.Run("standard", func(b *testing.B) {
		for b.Loop() {
			ed25519.Verify(pub, message, sig)
		}
	})
}
