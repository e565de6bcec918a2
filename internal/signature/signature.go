// Package signature verifies the signatures of people, devices and services.
//
// A signature is always over a Statement: a domain tag and a canonical body,
// hashed together, so that a signature made for one purpose is worthless for
// another. Every key and every signature names its algorithm; a verifier never
// guesses it. Signing lives with the holders of keys (internal/hsm, client).
package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"filippo.io/edwards25519"

	"github.com/cofferhq/coffer/internal/wire"
)

// Algorithm identifies a signature scheme on the wire.
type Algorithm uint16

// The registered algorithms. Numbers are never reused.
const (
	// Ed25519 (RFC 8032) over the statement's 32-byte digest.
	Ed25519 Algorithm = 1
	// P256 is ECDSA over NIST P-256, the statement's digest being the message
	// hash; the signature is r ‖ s, 32 bytes each, s ≤ q/2.
	P256 Algorithm = 2
	// RSA3072 is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017), the statement's digest
	// being the message hash; the modulus has 3072 bits and the exponent is 65537.
	RSA3072 Algorithm = 3
	// WebAuthnP256 and WebAuthnEd25519 are passkeys: assertions of Web
	// Authentication whose challenge is the statement's digest (passkey.go).
	WebAuthnP256    Algorithm = 4
	WebAuthnEd25519 Algorithm = 5
)

// algorithms are all of them, for the text form.
var algorithms = []Algorithm{Ed25519, P256, RSA3072, WebAuthnP256, WebAuthnEd25519}

// MaxKey and MaxSignature bound the encodings of a key and of a signature.
const (
	MaxKey       = 1 + 2 + 4 + rsaSize
	MaxSignature = 1 + 2 + 4 + maxAssertion
)

const (
	rsaBits = 3072
	rsaSize = rsaBits / 8
)

func (a Algorithm) String() string {
	switch a {
	case Ed25519:
		return "ed25519"
	case P256:
		return "p256"
	case RSA3072:
		return "rsa3072"
	case WebAuthnP256:
		return "webauthn-p256"
	case WebAuthnEd25519:
		return "webauthn-ed25519"
	}
	return fmt.Sprintf("algorithm-%d", uint16(a))
}

// ErrInvalid is wrapped by every failed verification.
var ErrInvalid = errors.New("signature does not verify")

// Statement is what is signed.
type Statement struct {
	Domain string // one of the domain tags of docs/spec/wire.md
	Body   []byte // canonical encoding
}

// Digest is the 32 bytes that the algorithm signs.
func (st Statement) Digest() [32]byte { return wire.Hash(st.Domain, st.Body) }

// size is the length of a signature, zero for an unknown algorithm; that of an
// assertion varies up to it.
func (a Algorithm) size() int {
	switch a {
	case Ed25519, P256:
		return 64
	case RSA3072:
		return rsaSize
	case WebAuthnP256, WebAuthnEd25519:
		return maxAssertion
	}
	return 0
}

// fits says whether a signature of this algorithm can have n bytes.
func (a Algorithm) fits(n int) bool {
	if a.IsPasskey() {
		return n >= minAssertion && n <= maxAssertion
	}
	return n == a.size() && n > 0
}

// PublicKey is a verification key: 32 bytes for Ed25519, the 65-byte
// uncompressed SEC1 point for P256, the 384-byte modulus for RSA3072; for a passkey
// one of the first two and the 32-byte SHA-256 of the relying party's id.
type PublicKey struct {
	Algorithm Algorithm
	Key       string // raw bytes; a string, so that PublicKey is comparable
}

// Signature is a signature with its algorithm: 64 bytes, for RSA3072 384, for a
// passkey an Assertion.
type Signature struct {
	Algorithm Algorithm
	Bytes     []byte
}

const keyVersion, signatureVersion = 1, 1

// ParsePublicKey checks that the key is one that Verify can use.
func ParsePublicKey(a Algorithm, key []byte) (PublicKey, error) {
	k := PublicKey{a, string(key)}
	switch a {
	case Ed25519:
		if len(key) != ed25519.PublicKeySize {
			return PublicKey{}, fmt.Errorf("ed25519 key of %d bytes, want %d", len(key), ed25519.PublicKeySize)
		}
		if goodKeys.has(k.Key) {
			return k, nil
		}
		if err := checkEd25519(key); err != nil {
			return PublicKey{}, err
		}
		goodKeys.add(k.Key)
	case P256:
		if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key); err != nil {
			return PublicKey{}, fmt.Errorf("p256 key: want a 65-byte uncompressed point on the curve: %w", err)
		}
	case RSA3072:
		if _, err := parseRSA(key); err != nil {
			return PublicKey{}, err
		}
	case WebAuthnP256, WebAuthnEd25519:
		own, _ := k.split()
		if own.Algorithm == a {
			return PublicKey{}, fmt.Errorf("%v key of %d bytes: want a public key and the 32-byte hash of the relying party's id", a, len(key))
		}
		if _, err := ParsePublicKey(own.Algorithm, []byte(own.Key)); err != nil {
			return PublicKey{}, fmt.Errorf("%v: %w", a, err)
		}
	default:
		return PublicKey{}, fmt.Errorf("unknown key algorithm %d, want 1 (ed25519), 2 (p256), 3 (rsa3072), 4 (webauthn-p256) or 5 (webauthn-ed25519)", uint16(a))
	}
	return k, nil
}

// parseRSA takes a modulus of exactly 3072 bits, big-endian.
func parseRSA(key []byte) (*rsa.PublicKey, error) {
	n := new(big.Int).SetBytes(key)
	if len(key) != rsaSize || n.BitLen() != rsaBits || n.Bit(0) == 0 {
		return nil, fmt.Errorf("rsa3072 key of %d bytes and %d bits: want an odd modulus of %d bytes and %d bits", len(key), n.BitLen(), rsaSize, rsaBits)
	}
	return &rsa.PublicKey{N: n, E: 65537}, nil
}

// checkEd25519 refuses what RFC 8032 verification lets pass: an encoding that is not
// the one of its point, and a point of small order, under which anybody can make
// signatures that verify.
func checkEd25519(key []byte) error {
	p, err := new(edwards25519.Point).SetBytes(key)
	if err != nil || !bytes.Equal(p.Bytes(), key) {
		return errors.New("ed25519 key: want the canonical encoding of a point on the curve")
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errors.New("ed25519 key: a point of small order, for which anybody can sign")
	}
	return nil
}

// Bytes is the canonical encoding.
func (k PublicKey) Bytes() []byte {
	return wire.NewWriter(keyVersion).Uint16(uint16(k.Algorithm)).String(k.Key).Bytes()
}

// DecodePublicKey is the inverse of Bytes.
func DecodePublicKey(b []byte) (PublicKey, error) {
	r := wire.NewReader(b, keyVersion)
	a, key := Algorithm(r.Uint16("algorithm")), r.Var("key", rsaSize)
	if err := r.Done(); err != nil {
		return PublicKey{}, fmt.Errorf("couldn't decode public key: %w", err)
	}
	return ParsePublicKey(a, key)
}

// Fingerprint names a key to people: the first 16 bytes of its hash, in hex.
func (k PublicKey) Fingerprint() string {
	h := wire.Hash("coffer/key-fingerprint/v1", k.Bytes())
	return fmt.Sprintf("%x", h[:16])
}

// String is the text form "ed25519:BASE64URL", which ParseText reads.
func (k PublicKey) String() string {
	return k.Algorithm.String() + ":" + base64.RawURLEncoding.EncodeToString([]byte(k.Key))
}

// ParseText reads the form that String writes.
func ParseText(s string) (PublicKey, error) {
	name, enc, ok := strings.Cut(s, ":")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(enc)
	if !ok || err != nil || strings.ContainsAny(enc, "\r\n") { // which the decoder would skip
		return PublicKey{}, fmt.Errorf("key %q: want ALGORITHM:BASE64URL with %s", s, algorithmNames)
	}
	for _, a := range algorithms {
		if a.String() == name {
			return ParsePublicKey(a, raw)
		}
	}
	return PublicKey{}, fmt.Errorf("key %q: unknown algorithm %q, want %s", s, name, algorithmNames)
}

const algorithmNames = "ed25519, p256, rsa3072, webauthn-p256 or webauthn-ed25519"

// MarshalText and UnmarshalText let keys stand in JSON and TOML.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the form that MarshalText writes.
func (k *PublicKey) UnmarshalText(b []byte) error {
	parsed, err := ParseText(string(b))
	if err == nil {
		*k = parsed
	}
	return err
}

// Encode is the canonical encoding.
func (s Signature) Encode() []byte {
	return wire.NewWriter(signatureVersion).Uint16(uint16(s.Algorithm)).Var(s.Bytes).Bytes()
}

// Decode is the inverse of Encode. It checks the form, not the validity.
func Decode(b []byte) (Signature, error) {
	r := wire.NewReader(b, signatureVersion)
	s := Signature{Algorithm(r.Uint16("algorithm")), r.Var("signature", maxAssertion)}
	if err := r.Done(); err != nil {
		return Signature{}, fmt.Errorf("couldn't decode signature: %w", err)
	}
	if !s.Algorithm.fits(len(s.Bytes)) {
		return Signature{}, fmt.Errorf("couldn't decode signature: algorithm %d with %d bytes, want 1 or 2 with 64, 3 with %d, or 4 or 5 with %d to %d", s.Algorithm, len(s.Bytes), rsaSize, minAssertion, maxAssertion)
	}
	return s, nil
}

// Verify checks s over st under k. The algorithms of key and signature must
// agree.
func Verify(k PublicKey, st Statement, s Signature) error {
	if k.Algorithm.IsPasskey() && k.Algorithm == s.Algorithm {
		if err := VerifyAssertion(k, st.Digest(), s); err != nil {
			return fmt.Errorf("%w: over %q: %w", ErrInvalid, st.Domain, &AssertionError{err.Error()})
		}
		return nil
	}
	if err := VerifyDigest(k, st.Digest(), s); err != nil {
		return fmt.Errorf("%w: over %q", err, st.Domain)
	}
	return nil
}

// VerifyDigest checks s over 32 bytes that are no Statement's digest: what another
// standard has its keys sign. No passkey signs such a thing.
func VerifyDigest(k PublicKey, digest [32]byte, s Signature) error {
	if k.Algorithm != s.Algorithm {
		return fmt.Errorf("%w: key is %v, signature is %v", ErrInvalid, k.Algorithm, s.Algorithm)
	}
	if k.Algorithm.IsPasskey() {
		return fmt.Errorf("%w: a passkey signs statements only", ErrInvalid)
	}
	if want := k.Algorithm.size(); want != 0 && len(s.Bytes) != want {
		return fmt.Errorf("%w: %d bytes, want %d", ErrInvalid, len(s.Bytes), want)
	}
	switch k.Algorithm {
	case Ed25519:
		if len(k.Key) == ed25519.PublicKeySize && ed25519.Verify(ed25519.PublicKey(k.Key), digest[:], s.Bytes) {
			return nil
		}
	case P256:
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), []byte(k.Key))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		r, t := new(big.Int).SetBytes(s.Bytes[:32]), new(big.Int).SetBytes(s.Bytes[32:])
		if t.Cmp(p256HalfOrder) <= 0 && ecdsa.Verify(pub, digest[:], r, t) {
			return nil
		}
	case RSA3072:
		pub, err := parseRSA([]byte(k.Key))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], s.Bytes) == nil {
			return nil
		}
	default:
		return fmt.Errorf("%w: unknown algorithm %d", ErrInvalid, uint16(k.Algorithm))
	}
	return fmt.Errorf("%w under %v", ErrInvalid, k)
}

var p256HalfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

// NormalizeP256 turns r ‖ s as a device returns it into the one canonical form
// with s ≤ q/2, so that a signature has no second encoding.
func NormalizeP256(raw []byte) (Signature, error) {
	if len(raw) != 64 {
		return Signature{}, fmt.Errorf("p256 signature of %d bytes, want 64", len(raw))
	}
	out := append([]byte(nil), raw...)
	if s := new(big.Int).SetBytes(raw[32:]); s.Cmp(p256HalfOrder) > 0 {
		s.Sub(elliptic.P256().Params().N, s)
		if s.Sign() < 0 {
			return Signature{}, errors.New("p256 signature: s above the group order")
		}
		s.FillBytes(out[32:])
	}
	return Signature{P256, out}, nil
}

// KeyID is a short binary name of a key, for use as a map key in records.
func (k PublicKey) KeyID() [32]byte { return sha256.Sum256(k.Bytes()) }
