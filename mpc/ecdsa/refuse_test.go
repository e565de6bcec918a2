package ecdsa_test

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	decred "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/mpc/ecdsa"
)

// A signature is of one hash and one key, in every part: no vectors from outside
// are needed to see it.
func TestVerifyRefuses(t *testing.T) {
	private := secp256k1.PrivKeyFromBytes([]byte{7})
	key := [33]byte(private.PubKey().SerializeCompressed())
	hash := sha256.Sum256([]byte("a message"))
	compact := decred.SignCompact(private, hash[:], true) // 27 + 4 + id, r, s
	var sig ecdsa.Signature
	if err := sig.SetBytes(append(append([]byte{}, compact[1:]...), compact[0]-31)); err != nil {
		t.Fatal(err)
	}
	if err := ecdsa.Verify(key, hash, &sig); err != nil {
		t.Fatal(err)
	}
	if recovered, err := ecdsa.Recover(hash, &sig); err != nil || recovered != key {
		t.Fatalf("recovered %x, %v, want %x", recovered, err, key)
	}
	// R, as whoever made the signature knows it.
	point := new([65]byte)
	{
		r, err := secp256k1.ParsePubKey(append([]byte{2 | sig.RecoveryID&1}, sig.R[:]...))
		if err != nil {
			t.Fatal(err)
		}
		copy(point[:], r.SerializeUncompressed())
	}
	for name, change := range map[string]func(key *[33]byte, hash *[32]byte, sig *ecdsa.Signature){
		"hash":        func(_ *[33]byte, h *[32]byte, _ *ecdsa.Signature) { h[31] ^= 1 },
		"r":           func(_ *[33]byte, _ *[32]byte, s *ecdsa.Signature) { s.R[31] ^= 1 },
		"s":           func(_ *[33]byte, _ *[32]byte, s *ecdsa.Signature) { s.S[31] ^= 1 },
		"negated key": func(k *[33]byte, _ *[32]byte, _ *ecdsa.Signature) { k[0] ^= 1 },
		"another key": func(k *[33]byte, _ *[32]byte, _ *ecdsa.Signature) {
			*k = [33]byte(secp256k1.PrivKeyFromBytes([]byte{8}).PubKey().SerializeCompressed())
		},
	} {
		k, h, s := key, hash, sig
		change(&k, &h, &s)
		if err := ecdsa.Verify(k, h, &s); !errors.Is(err, ecdsa.ErrInvalid) {
			t.Errorf("another %s: got %v, want ErrInvalid", name, err)
		}
		if err := ecdsa.Check(k, h, &s); !errors.Is(err, ecdsa.ErrInvalid) {
			t.Errorf("another %s: Check gives %v, want ErrInvalid", name, err)
		}
		if err := checkAt(t, k, h, &s, point); !errors.Is(err, ecdsa.ErrInvalid) {
			t.Errorf("another %s: CheckAt gives %v, want ErrInvalid", name, err)
		}
		if recovered, err := ecdsa.Recover(h, &s); name != "negated key" && name != "another key" && err == nil && recovered == key {
			t.Errorf("another %s: recovers the key", name)
		}
	}
	s := sig
	s.RecoveryID ^= 1
	if recovered, err := ecdsa.Recover(hash, &s); err == nil && recovered == key {
		t.Error("the other recovery id recovers the key")
	}
	if checkAt(t, key, hash, &s, point) == nil || checkAt(t, key, hash, &sig, point) != nil {
		t.Error("CheckAt takes another recovery id, or refuses the right one")
	}
	if minus := negated(point); checkAt(t, key, hash, &sig, minus) != nil {
		t.Error("CheckAt refuses −R, which s may have been lowered from")
	}
	s.RecoveryID = sig.RecoveryID ^ 2
	if checkAt(t, key, hash, &s, point) == nil {
		t.Error("CheckAt takes a wrong bit 1 of the recovery id")
	}
	if checkAt(t, key, hash, &sig, pointOf(t, 9)) == nil || checkAt(t, key, hash, &sig, new([65]byte)) == nil {
		t.Error("CheckAt takes another R")
	}
	if _, err := ecdsa.NewKey(make([]byte, 33)); err == nil {
		t.Error("no point is a key")
	}
	s = sig
	s.RecoveryID ^= 1
	if ecdsa.Check(key, hash, &s) == nil || ecdsa.Check(key, hash, &sig) != nil {
		t.Error("Check takes another recovery id, or refuses the right one")
	}
}

func checkAt(t *testing.T, key [33]byte, hash [32]byte, sig *ecdsa.Signature, point *[65]byte) error {
	t.Helper()
	k, err := ecdsa.NewKey(key[:])
	if err != nil {
		t.Fatal(err)
	}
	slow := ecdsa.CheckAt(k, hash, sig, point)
	if fast := ecdsa.CheckAt(k.Precompute(), hash, sig, point); (fast == nil) != (slow == nil) {
		t.Errorf("with the table %v, without %v", fast, slow)
	}
	return slow
}

// Many keys, hashes and nonces: what decred signs is accepted, with the table and
// without, and not for another hash.
func TestCheckAt(t *testing.T) {
	for i := range 200 {
		seed := sha256.Sum256([]byte{byte(i)})
		private := secp256k1.PrivKeyFromBytes(seed[:])
		key := [33]byte(private.PubKey().SerializeCompressed())
		hash := sha256.Sum256(seed[:])
		if i == 0 {
			hash = [32]byte{31: 1}
		}
		compact := decred.SignCompact(private, hash[:], true)
		var sig ecdsa.Signature
		if err := sig.SetBytes(append(append([]byte{}, compact[1:]...), compact[0]-31)); err != nil {
			t.Fatal(err)
		}
		r, err := secp256k1.ParsePubKey(append([]byte{2 | sig.RecoveryID&1}, sig.R[:]...))
		if err != nil {
			t.Fatal(err)
		}
		point := (*[65]byte)(r.SerializeUncompressed())
		if err := checkAt(t, key, hash, &sig, point); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		hash[i%32] ^= 1 << (i % 8)
		if checkAt(t, key, hash, &sig, point) == nil {
			t.Errorf("%d: another hash", i)
		}
	}
}

// pointOf is k·G, not compressed.
func pointOf(t *testing.T, k byte) *[65]byte {
	t.Helper()
	return (*[65]byte)(secp256k1.PrivKeyFromBytes([]byte{k}).PubKey().SerializeUncompressed())
}

// negated is −P.
func negated(p *[65]byte) *[65]byte {
	var y secp256k1.FieldVal
	y.SetByteSlice(p[33:])
	y.Negate(1).Normalize()
	out := *p
	y.PutBytesUnchecked(out[33:])
	return &out
}

// Anybody finds r, s and P with P = s⁻¹(hG + rQ): it is a signature only when r is
// the x of P.
func TestCheckAtWantsItsOwnX(t *testing.T) {
	key := [33]byte(secp256k1.PrivKeyFromBytes([]byte{7}).PubKey().SerializeCompressed())
	hash := sha256.Sum256([]byte("nobody signed this"))
	var h, r, s, inverse secp256k1.ModNScalar
	h.SetByteSlice(hash[:])
	r.SetInt(12345)
	s.SetInt(67)
	inverse.InverseValNonConst(&s)
	var p, q secp256k1.JacobianPoint
	public, err := secp256k1.ParsePubKey(key[:])
	if err != nil {
		t.Fatal(err)
	}
	public.AsJacobian(&q)
	secp256k1.ScalarBaseMultNonConst(h.Mul(&inverse), &p)
	var u secp256k1.ModNScalar
	secp256k1.ScalarMultNonConst(u.Mul2(&r, &inverse), &q, &q)
	secp256k1.AddNonConst(&p, &q, &p)
	p.ToAffine()
	point := (*[65]byte)(secp256k1.NewPublicKey(&p.X, &p.Y).SerializeUncompressed())
	sig := ecdsa.Signature{R: r.Bytes(), S: s.Bytes()}
	for id := range byte(4) {
		sig.RecoveryID = id
		if err := checkAt(t, key, hash, &sig, point); !errors.Is(err, ecdsa.ErrInvalid) {
			t.Errorf("recovery id %d: %v, want ErrInvalid", id, err)
		}
	}
}

// With h = −r·k, P is the point at infinity, and so is what no decoder accepts.
func TestCheckAtWantsAPoint(t *testing.T) {
	key := [33]byte(secp256k1.PrivKeyFromBytes([]byte{7}).PubKey().SerializeCompressed())
	var h, r, k secp256k1.ModNScalar
	r.SetInt(12345)
	k.SetInt(7)
	hash := h.Mul2(&r, &k).Negate().Bytes()
	sig := ecdsa.Signature{R: r.Bytes(), S: [32]byte{31: 1}}
	var point [65]byte // (r, 1) is not on the curve
	point[0], point[64] = 4, 1
	copy(point[1:33], sig.R[:])
	for id := range byte(2) {
		sig.RecoveryID = id
		if checkAt(t, key, hash, &sig, &point) == nil {
			t.Errorf("recovery id %d: a signature at infinity verifies", id)
		}
	}
}
