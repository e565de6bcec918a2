package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/mpc"
)

func TestSchemes(t *testing.T) {
	for _, s := range []Scheme{ECDSASecp256k1, Ed25519} {
		if back, err := SchemeOf(s.Suite()); err != nil || back != s {
			t.Errorf("%v: suite %q, back to %v, %v", s, s.Suite(), back, err)
		}
	}
	for _, suite := range []mpc.Suite{mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR, ""} {
		if _, err := SchemeOf(suite); err == nil {
			t.Errorf("suite %q serves a chain", suite)
		}
	}
	if Scheme(9).Suite() != "" || Scheme(9).String() != "unknown scheme" || ECDSASecp256k1.String() == Ed25519.String() {
		t.Error("names of schemes")
	}
}

func TestMessage(t *testing.T) {
	p := &Prepared{Digests: [][32]byte{{1}}}
	if p.Message(0) != nil {
		t.Error("a digest has a message")
	}
	p.Messages = [][]byte{[]byte("m")}
	if string(p.Message(0)) != "m" {
		t.Error("the message is another")
	}
}

func split(b []byte) (s Signature) {
	copy(s.R[:], b[:32])
	copy(s.S[:], b[32:])
	return s
}

func TestVerifyEd25519(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := []byte(key.Public().(ed25519.PublicKey))
	message := []byte("a message")
	digest := sha256.Sum256(message)
	good := split(ed25519.Sign(key, message))
	if err := Ed25519.Verify(public, digest, message, &good); err != nil {
		t.Fatal(err)
	}
	id, over := good, split(ed25519.Sign(key, digest[:]))
	id.RecoveryID = 1
	for want, err := range map[string]error{
		"public key of 31 bytes": Ed25519.Verify(public[1:], digest, message, &good),
		"the message is another": Ed25519.Verify(public, digest, []byte("b message"), &good),
		"recovery id":            Ed25519.Verify(public, digest, message, &id),
		"does not verify":        Ed25519.Verify(public, digest, message, &over), // of the digest, which nobody signs
		"want 33":                ECDSASecp256k1.Verify(public, digest, nil, &good),
		"unknown":                Scheme(0).Verify(public, digest, message, &good),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestVerifyECDSA(t *testing.T) {
	key := secp256k1.PrivKeyFromBytes([]byte{31: 7})
	digest := sha256.Sum256([]byte("a message"))
	compact := ecdsa.SignCompact(key, digest[:], true)
	s := split(compact[1:])
	s.RecoveryID = (compact[0] - 27) & 3
	public := key.PubKey().SerializeCompressed()
	if err := ECDSASecp256k1.Verify(public, digest, nil, &s); err != nil {
		t.Fatal(err)
	}
	digest[0] ^= 1
	if ECDSASecp256k1.Verify(public, digest, nil, &s) == nil {
		t.Error("a signature of another digest verifies")
	}
}
