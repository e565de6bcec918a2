package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
)

type p256 struct{ key *ecdsa.PrivateKey }

func newP256(t *testing.T) p256 {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p256{k}
}

func (k p256) public(t *testing.T) signature.PublicKey {
	t.Helper()
	b, err := k.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p, err := signature.ParsePublicKey(signature.P256, b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k p256) sign(t *testing.T, st signature.Statement) signature.Signature {
	t.Helper()
	d := st.Digest()
	r, s, err := ecdsa.Sign(rand.Reader, k.key, d[:])
	if err != nil {
		t.Fatal(err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	sig, err := signature.NormalizeP256(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// The old device's word about the next one's card is checked where it is there, and
// missed where it is not.
func TestVouched(t *testing.T) {
	_, log, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	logKey, err := signature.ParsePublicKey(signature.Ed25519, log.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	old, next, decision := newP256(t), newP256(t), newP256(t)
	e := &governance.Enrolment{Vault: governance.Vault{ID: 2, Name: "bank", Identity: next.public(t), Decision: decision.public(t), Log: logKey, Vendor: "Coffer", Model: "test", Sealing: "test"}}
	st := e.Vault.Statement()
	d := st.Digest()
	e.Identity, e.Decision = next.sign(t, st), decision.sign(t, st)
	e.Log = signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(log, d[:])}
	if err := e.Verify(); err != nil {
		t.Fatal(err)
	}
	inForce := &client.Card{ID: 2, Name: "bank", Identity: old.public(t).String(), Log: logKey.String()}
	path := filepath.Join(t.TempDir(), "card")
	write := func(x *vault.Rotation) {
		t.Helper()
		if err := os.WriteFile(path+".rotation", x.Encode(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, card []byte, wantText, wantErr string) {
		t.Helper()
		text, err := vouched(path, card, inForce)
		switch {
		case wantErr == "" && (err != nil || !strings.Contains(text, wantText)):
			t.Errorf("%s: %q, %v", what, text, err)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
			t.Errorf("%s: %v, want %q", what, err, wantErr)
		}
	}
	expect("no file", e.Encode(), "nobody but the new device vouches", "")
	write(&vault.Rotation{Card: e, Old: old.sign(t, vault.RotationStatement(e))})
	expect("signed", e.Encode(), "has signed for the new one", "")
	expect("another card", append(e.Encode(), 0), "", "the signature on another card")
	write(&vault.Rotation{Card: e, Old: decision.sign(t, vault.RotationStatement(e))})
	expect("a stranger's", e.Encode(), "", "the old device has not signed")
	inForce.Name = "other"
	expect("another vault's", e.Encode(), "", "the card is of vault 2, bank")
}
