// Package passkeytest is an authenticator with its browser, for tests: it makes
// passkeys and signs with them as a security key does, and misbehaves as told. Its
// keys are derived from names and worth nothing.
package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/signature"
)

// Flags of authenticator data.
const (
	Present  = 1 << 0
	Verified = 1 << 2
	Eligible = 1 << 3
	BackedUp = 1 << 4
	Attested = 1 << 6
	Extended = 1 << 7
)

// Authenticator is one device with one passkey. Its fields may be changed between
// signatures.
type Authenticator struct {
	RPID    string
	Origin  string
	Flags   byte
	Counter uint32 // of the last signature; Synced ones stay at 0
	Synced  bool
	Extra   string // appended to the client data's fields: `,"x":1`
	Cross   bool

	id  []byte
	p   *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
	key signature.PublicKey
}

// New makes an authenticator with a passkey of the algorithm, WebAuthnP256 or
// WebAuthnEd25519, for the site https://RPID. The same name has the same key.
func New(a signature.Algorithm, name, rpID string) *Authenticator {
	x := &Authenticator{RPID: rpID, Origin: "https://" + rpID, Flags: Present | Verified, id: []byte("credential of " + name)}
	seed := sha256.Sum256([]byte("passkeytest " + name))
	var own signature.PublicKey
	var err error
	if a == signature.WebAuthnEd25519 {
		x.ed = ed25519.NewKeyFromSeed(seed[:])
		own, err = signature.ParsePublicKey(signature.Ed25519, x.ed.Public().(ed25519.PublicKey))
	} else {
		x.p = must(ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]))
		own, err = signature.ParsePublicKey(signature.P256, must(x.p.PublicKey.Bytes()))
	}
	if err != nil {
		panic(err)
	}
	x.key = must(signature.Passkey(own, rpID))
	return x
}

func must[T any](x T, err error) T {
	if err != nil {
		panic("passkeytest: " + err.Error())
	}
	return x
}

// Clone is a copy of the device as it is now: the thief's.
func (x *Authenticator) Clone() *Authenticator {
	c := *x
	return &c
}

// Public is what the roster lists.
func (x *Authenticator) Public() signature.PublicKey { return x.key }

// Sign signs a statement.
func (x *Authenticator) Sign(st signature.Statement) signature.Signature {
	return must(x.Get(st.Digest()).For(x.key))
}

// Get is navigator.credentials.get.
func (x *Authenticator) Get(challenge [32]byte) *passkey.Response {
	client := x.clientData("webauthn.get", challenge)
	if !x.Synced {
		x.Counter++
	}
	r := &passkey.Response{ClientData: client, AuthenticatorData: x.authData(x.Flags)}
	r.Signature = x.sign(r.AuthenticatorData, client)
	return r
}

// Create is navigator.credentials.create, with no attestation.
func (x *Authenticator) Create(challenge [32]byte) *passkey.Registration {
	auth := x.authData(x.Flags | Attested)
	auth = append(auth, make([]byte, 16)...)
	auth = binary.BigEndian.AppendUint16(auth, uint16(len(x.id)))
	auth = append(append(auth, x.id...), x.cose()...)
	obj := []byte{0xa3, 0x63, 'f', 'm', 't', 0x64, 'n', 'o', 'n', 'e', 0x67, 'a', 't', 't', 'S', 't', 'm', 't', 0xa0, 0x68, 'a', 'u', 't', 'h', 'D', 'a', 't', 'a', 0x58, byte(len(auth))}
	return &passkey.Registration{ClientData: x.clientData("webauthn.create", challenge), AttestationObject: append(obj, auth...)}
}

func (x *Authenticator) cose() []byte {
	own := []byte(x.key.Own().Key)
	if x.ed != nil {
		return slices.Concat([]byte{0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20}, own)
	}
	return slices.Concat([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}, own[1:33], []byte{0x22, 0x58, 0x20}, own[33:])
}

func (x *Authenticator) clientData(kind string, challenge [32]byte) []byte {
	cross := "false"
	if x.Cross {
		cross = "true"
	}
	return []byte(`{"type":"` + kind + `","challenge":"` + base64.RawURLEncoding.EncodeToString(challenge[:]) +
		`","origin":"` + x.Origin + `","crossOrigin":` + cross + x.Extra + `}`)
}

func (x *Authenticator) authData(flags byte) []byte {
	rp := sha256.Sum256([]byte(x.RPID))
	if x.Synced {
		flags |= Eligible | BackedUp
	}
	return binary.BigEndian.AppendUint32(append(rp[:], flags), x.Counter)
}

// sign signs as a device does: DER for ECDSA, without randomness (RFC 6979).
func (x *Authenticator) sign(auth, client []byte) []byte {
	h := sha256.Sum256(client)
	message := slices.Concat(auth, h[:])
	if x.ed != nil {
		return ed25519.Sign(x.ed, message)
	}
	d := sha256.Sum256(message)
	return must(x.p.Sign(nil, d[:], crypto.SHA256))
}
