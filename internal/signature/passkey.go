package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
)

// A passkey signs an assertion of Web Authentication (W3C, Level 3): authenticator
// data, which says what the device saw, and the hash of the client data, in which
// the browser says for which page and over which challenge. The challenge is the
// statement's digest. docs/spec/passkey.md is the format.

// MaxClientData bounds the client data of an assertion.
const MaxClientData = 1024

const (
	rpSize       = sha256.Size // the hash of the relying party's id, in keys and authenticator data
	authDataSize = rpSize + 1 + 4
	sigSize      = 64
	minAssertion = authDataSize + sigSize + 1
	maxAssertion = authDataSize + sigSize + MaxClientData
)

// The flags of authenticator data.
const (
	flagPresent       = 1 << 0 // UP: somebody touched it
	flagVerified      = 1 << 2 // UV: with a PIN or a finger
	flagEligible      = 1 << 3 // BE: the key may be copied to other devices
	flagBackedUp      = 1 << 4 // BS: and it is
	flagsKnown   byte = flagPresent | flagVerified | flagEligible | flagBackedUp
)

// IsPasskey reports whether keys of this algorithm sign assertions.
func (a Algorithm) IsPasskey() bool { return a == WebAuthnP256 || a == WebAuthnEd25519 }

// Passkey makes the key of a passkey: the authenticator's own public key, and the id
// of the relying party (a domain name) for which it was made.
func Passkey(own PublicKey, rpID string) (PublicKey, error) {
	rp := sha256.Sum256([]byte(rpID))
	switch own.Algorithm {
	case P256:
		return ParsePublicKey(WebAuthnP256, append([]byte(own.Key), rp[:]...))
	case Ed25519:
		return ParsePublicKey(WebAuthnEd25519, append([]byte(own.Key), rp[:]...))
	}
	return PublicKey{}, fmt.Errorf("a passkey with a key of %v, want p256 or ed25519", own.Algorithm)
}

// Own is the key without what stands around it: of a passkey the authenticator's
// public key, of any other key itself. Two keys with the same Own are in the same
// hands.
func (k PublicKey) Own() PublicKey {
	own, _ := k.split()
	return own
}

// RPHash is the SHA-256 of the relying party's id for which a passkey was made.
func (k PublicKey) RPHash() (h [32]byte, ok bool) {
	_, rp := k.split()
	return [32]byte([]byte(rp)), k.Algorithm.IsPasskey() && len(rp) == rpSize
}

// split takes a passkey's key apart. The second part has rpSize bytes always.
func (k PublicKey) split() (own PublicKey, rp string) {
	if !k.Algorithm.IsPasskey() || len(k.Key) < rpSize {
		return k, string(make([]byte, rpSize))
	}
	n := len(k.Key) - rpSize
	a := P256
	if k.Algorithm == WebAuthnEd25519 {
		a = Ed25519
	}
	return PublicKey{a, k.Key[:n]}, k.Key[n:]
}

// Assertion is the signature of a passkey, taken apart.
type Assertion struct {
	AuthenticatorData [authDataSize]byte
	Signature         [sigSize]byte // Ed25519's, or r ‖ s with s ≤ q/2
	ClientData        []byte        // JSON, as the browser wrote it
}

// Encode makes the signature that the assertion is.
func (x *Assertion) Encode(a Algorithm) Signature {
	b := append(make([]byte, 0, authDataSize+sigSize+len(x.ClientData)), x.AuthenticatorData[:]...)
	return Signature{a, append(append(b, x.Signature[:]...), x.ClientData...)}
}

// Assertion takes the signature of a passkey apart.
func (s Signature) Assertion() (*Assertion, error) {
	if !s.Algorithm.IsPasskey() || len(s.Bytes) < minAssertion || len(s.Bytes) > maxAssertion {
		return nil, fmt.Errorf("%v signature of %d bytes, want an assertion of %d to %d", s.Algorithm, len(s.Bytes), minAssertion, maxAssertion)
	}
	x := &Assertion{ClientData: bytes.Clone(s.Bytes[authDataSize+sigSize:])}
	copy(x.AuthenticatorData[:], s.Bytes)
	copy(x.Signature[:], s.Bytes[authDataSize:])
	return x, nil
}

// Counter is how many signatures the authenticator says it has made; 0: it does not
// count, as those that copy keys between devices do.
func (x *Assertion) Counter() uint32 { return binary.BigEndian.Uint32(x.AuthenticatorData[rpSize+1:]) }

// ParseClientData reads client data as far as a relying party must: type, challenge,
// origin and crossOrigin, which has to be false. It is the limited verification
// algorithm of Web Authentication §5.8.1.2: browsers write these four first, in this
// order and in one form, so that no JSON parser has to be believed. What a browser
// may add behind them is signed, but has no meaning here.
func ParseClientData(b []byte, kind string) (challenge [32]byte, origin string, err error) {
	fail := func(format string, args ...any) ([32]byte, string, error) {
		return [32]byte{}, "", fmt.Errorf("client data: "+format, args...)
	}
	if len(b) == 0 || len(b) > MaxClientData {
		return fail("%d bytes, want 1 to %d", len(b), MaxClientData)
	}
	rest, ok := bytes.CutPrefix(b, []byte(`{"type":"`+kind+`","challenge":"`))
	if !ok {
		return fail(`want {"type":"%s","challenge":… at the beginning`, kind)
	}
	enc, rest, ok := bytes.Cut(rest, []byte(`","origin":"`))
	raw, decodeErr := base64.RawURLEncoding.Strict().DecodeString(string(enc))
	if !ok || decodeErr != nil || len(raw) != len(challenge) || len(enc) != base64.RawURLEncoding.EncodedLen(len(challenge)) {
		return fail("the challenge is not 32 bytes in base64url without padding, followed by the origin")
	}
	name, rest, ok := bytes.Cut(rest, []byte(`","crossOrigin":`))
	if !ok {
		return fail("the origin is not followed by crossOrigin")
	}
	for _, c := range name {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return fail("the origin holds the byte %#x", c)
		}
	}
	rest, ok = bytes.CutPrefix(rest, []byte("false"))
	switch {
	case !ok:
		return fail("crossOrigin is not false: another site's page asked for the signature")
	case string(rest) == "}":
	case len(rest) > 3 && rest[0] == ',' && rest[1] == '"' && rest[len(rest)-1] == '}' && !bytes.HasPrefix(rest, []byte(`,"topOrigin"`)):
	default:
		return fail("want } or more fields, and no topOrigin, after crossOrigin")
	}
	copy(challenge[:], raw)
	return challenge, string(name), nil
}

// Origin is the page that a passkey's signature was made on, by the browser's word.
func (s Signature) Origin() (string, error) {
	x, err := s.Assertion()
	if err != nil {
		return "", err
	}
	_, origin, err := ParseClientData(x.ClientData, "webauthn.get")
	return origin, err
}

// Counter is the counter in a passkey's signature, 0 in any other.
func (s Signature) Counter() uint32 {
	if x, err := s.Assertion(); err == nil {
		return x.Counter()
	}
	return 0
}

// AssertionError says what is wrong with a passkey's signature. Its words are of this
// package: they quote nothing that the signer wrote.
type AssertionError struct{ Why string }

func (e *AssertionError) Error() string { return e.Why }

// VerifyAssertion checks a passkey's signature over a challenge that is no statement's
// digest: what a registration asks for. Whoever checks a statement uses Verify. It says what is wrong, in words for
// the person whose browser and device made it.
func VerifyAssertion(k PublicKey, challenge [32]byte, s Signature) error {
	x, err := s.Assertion()
	if err != nil {
		return err
	}
	signed, _, err := ParseClientData(x.ClientData, "webauthn.get")
	if err != nil {
		return err
	}
	if signed != challenge {
		return fmt.Errorf("the passkey signed the challenge %x, not this, %x", signed[:8], challenge[:8])
	}
	if k.Algorithm != s.Algorithm {
		return fmt.Errorf("key is %v, signature is %v", k.Algorithm, s.Algorithm)
	}
	if rp, ok := k.RPHash(); !ok || !bytes.Equal(rp[:], x.AuthenticatorData[:rpSize]) {
		return errors.New("the passkey signed for another relying party's id")
	}
	if err := checkFlags(x.AuthenticatorData[rpSize]); err != nil {
		return err
	}
	return x.verify(k.Own())
}

func checkFlags(f byte) error {
	switch {
	case f&^flagsKnown != 0:
		return fmt.Errorf("the authenticator's flags are %#02x: want no extensions, no attested key and no reserved bit in an assertion", f)
	case f&flagPresent == 0:
		return errors.New("nobody touched the authenticator (no user presence)")
	case f&flagVerified == 0:
		return errors.New("the authenticator did not verify who touched it (no user verification: ask for a PIN or a finger)")
	case f&flagBackedUp != 0 && f&flagEligible == 0:
		return errors.New("the authenticator says that a key is backed up which cannot be")
	}
	return nil
}

// verify checks the signature alone, under the authenticator's own key.
func (x *Assertion) verify(own PublicKey) error {
	client := sha256.Sum256(x.ClientData)
	message := append(x.AuthenticatorData[:], client[:]...)
	if own.Algorithm == Ed25519 {
		if len(own.Key) == ed25519.PublicKeySize && ed25519.Verify(ed25519.PublicKey(own.Key), message, x.Signature[:]) {
			return nil
		}
		return errors.New("the passkey's signature is not good")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), []byte(own.Key))
	if err != nil {
		return err
	}
	hash := sha256.Sum256(message)
	r, t := new(big.Int).SetBytes(x.Signature[:32]), new(big.Int).SetBytes(x.Signature[32:])
	if t.Cmp(p256HalfOrder) <= 0 && ecdsa.Verify(pub, hash[:], r, t) {
		return nil
	}
	return errors.New("the passkey's signature is not good")
}
