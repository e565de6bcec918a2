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
		if recovered, err := ecdsa.Recover(h, &s); name != "negated key" && name != "another key" && err == nil && recovered == key {
			t.Errorf("another %s: recovers the key", name)
		}
	}
	s := sig
	s.RecoveryID ^= 1
	if recovered, err := ecdsa.Recover(hash, &s); err == nil && recovered == key {
		t.Error("the other recovery id recovers the key")
	}
	if ecdsa.Check(key, hash, &s) == nil || ecdsa.Check(key, hash, &sig) != nil {
		t.Error("Check takes another recovery id, or refuses the right one")
	}
}
