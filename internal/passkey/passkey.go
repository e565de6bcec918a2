package passkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/cofferhq/coffer/internal/signature"
)

// MaxAttestation bounds the attestation object of a registration.
const MaxAttestation = 16 << 10 // bytes: certificates of packed and TPM attestation

// Registration is what navigator.credentials.create returns, as far as it counts.
type Registration struct {
	ClientData        []byte `json:"clientDataJSON"`
	AttestationObject []byte `json:"attestationObject"`
}

// Credential is a passkey that was registered.
type Credential struct {
	ID      []byte              // the authenticator's name of it, for allowCredentials
	Key     signature.PublicKey // what the roster lists
	Origin  string              // the page that it was made on
	AAGUID  [16]byte            // the model of the authenticator, by its own unproven word
	Synced  bool                // it may be copied to other devices (BE)
	Counter uint32
}

// Register reads a registration that answers the challenge, on one of the origins,
// for the relying party's id. The authenticator must have verified the person.
func Register(r *Registration, challenge [32]byte, rpID string, origins []string) (*Credential, error) {
	c, err := register(r, challenge, rpID, origins)
	if err != nil {
		return nil, fmt.Errorf("couldn't register the passkey: %w", err)
	}
	return c, nil
}

func register(r *Registration, challenge [32]byte, rpID string, origins []string) (*Credential, error) {
	got, origin, err := signature.ParseClientData(r.ClientData, "webauthn.create")
	if err != nil {
		return nil, err
	}
	if got != challenge {
		return nil, errors.New("it answers another challenge")
	}
	if !slices.Contains(origins, origin) {
		return nil, fmt.Errorf("it was made on %s, want one of %v", origin, origins)
	}
	if len(r.AttestationObject) > MaxAttestation {
		return nil, fmt.Errorf("an attestation object of %d bytes, at most %d", len(r.AttestationObject), MaxAttestation)
	}
	rd := &cborReader{rest: r.AttestationObject}
	x, err := rd.item()
	if err != nil {
		return nil, fmt.Errorf("attestation object: %w", err)
	}
	m, ok := x.(cborMap)
	auth, okAuth := m["authData"].([]byte)
	if !ok || !okAuth || len(m) != 3 || m["fmt"] == nil || m["attStmt"] == nil || len(rd.rest) != 0 {
		return nil, errors.New("attestation object: want fmt, attStmt and authData, and nothing behind")
	}
	c, err := attested(auth, rpID)
	if err != nil {
		return nil, err
	}
	c.Origin = origin
	return c, nil
}

// The flags of authenticator data that matter here.
const (
	present = 1 << 0
	verify  = 1 << 2
	synced  = 1 << 3
	hasKey  = 1 << 6
	hasMore = 1 << 7
)

// attested reads authenticator data that holds a new key.
func attested(b []byte, rpID string) (*Credential, error) {
	const fixed = 32 + 1 + 4 + 16 + 2
	if len(b) < fixed {
		return nil, fmt.Errorf("authenticator data of %d bytes, want more than %d", len(b), fixed)
	}
	flags := b[32]
	rp := sha256.Sum256([]byte(rpID))
	switch {
	case !bytes.Equal(b[:32], rp[:]):
		return nil, fmt.Errorf("the passkey is not for the relying party %q", rpID)
	case flags&present == 0 || flags&verify == 0:
		return nil, errors.New("the authenticator did not verify the person (PIN or finger), which every approval will need")
	case flags&hasKey == 0:
		return nil, errors.New("there is no key in the authenticator data")
	}
	c := &Credential{Synced: flags&synced != 0, Counter: binary.BigEndian.Uint32(b[33:]), AAGUID: [16]byte(b[37:53])}
	n, rest := int(binary.BigEndian.Uint16(b[53:])), b[fixed:]
	if n == 0 || n > 1023 || len(rest) < n {
		return nil, fmt.Errorf("a credential id of %d bytes, want 1 to 1023", n)
	}
	c.ID = bytes.Clone(rest[:n])
	rd := &cborReader{rest: rest[n:]}
	own, err := coseKey(rd)
	if err != nil {
		return nil, err
	}
	if flags&hasMore != 0 { // extensions: none was asked for, none has a meaning here
		if x, err := rd.item(); err != nil {
			return nil, fmt.Errorf("extensions: %w", err)
		} else if _, ok := x.(cborMap); !ok {
			return nil, errors.New("extensions: want a map")
		}
	}
	if len(rd.rest) != 0 {
		return nil, fmt.Errorf("%d bytes behind the authenticator data", len(rd.rest))
	}
	c.Key, err = signature.Passkey(own, rpID)
	return c, err
}

// The labels and values of COSE keys (RFC 9053) that are read.
const (
	coseType, coseAlg, coseCurve, coseX, coseY = int64(1), int64(3), int64(-1), int64(-2), int64(-3)

	typeOKP, typeEC2       = int64(1), int64(2)
	algES256, algEdDSA     = int64(-7), int64(-8)
	curveP256, curveEd2519 = int64(1), int64(6)
)

func coseKey(rd *cborReader) (signature.PublicKey, error) {
	x, err := rd.item()
	if err != nil {
		return signature.PublicKey{}, fmt.Errorf("the passkey's public key: %w", err)
	}
	m, _ := x.(cborMap)
	px, _ := m[coseX].([]byte)
	py, _ := m[coseY].([]byte)
	switch {
	case m[coseType] == typeEC2 && m[coseAlg] == algES256 && m[coseCurve] == curveP256 && len(m) == 5 && len(px) == 32 && len(py) == 32:
		return signature.ParsePublicKey(signature.P256, slices.Concat([]byte{4}, px, py))
	case m[coseType] == typeOKP && m[coseAlg] == algEdDSA && m[coseCurve] == curveEd2519 && len(m) == 4:
		return signature.ParsePublicKey(signature.Ed25519, px)
	}
	return signature.PublicKey{}, fmt.Errorf("the passkey's public key: type %v, algorithm %v, curve %v: want ES256 over P-256 or EdDSA over Ed25519", m[coseType], m[coseAlg], m[coseCurve])
}

// Response is what navigator.credentials.get returns, as far as it counts.
type Response struct {
	AuthenticatorData []byte `json:"authenticatorData"`
	ClientData        []byte `json:"clientDataJSON"`
	Signature         []byte `json:"signature"`
}

// For makes Coffer's form of an assertion by the key: the DER of an ECDSA
// signature becomes r ‖ s, with s in the lower half. It verifies nothing.
func (r *Response) For(k signature.PublicKey) (signature.Signature, error) {
	fail := func(format string, args ...any) (signature.Signature, error) {
		return signature.Signature{}, fmt.Errorf("couldn't read the passkey's answer: "+format, args...)
	}
	x := &signature.Assertion{ClientData: r.ClientData}
	if len(r.AuthenticatorData) != len(x.AuthenticatorData) {
		return fail("authenticator data of %d bytes, want %d: no extensions", len(r.AuthenticatorData), len(x.AuthenticatorData))
	}
	copy(x.AuthenticatorData[:], r.AuthenticatorData)
	switch k.Algorithm {
	case signature.WebAuthnP256:
		raw, err := rawP256(r.Signature)
		if err != nil {
			return fail("%w", err)
		}
		copy(x.Signature[:], raw)
	case signature.WebAuthnEd25519:
		if len(r.Signature) != len(x.Signature) {
			return fail("a signature of %d bytes, want %d", len(r.Signature), len(x.Signature))
		}
		copy(x.Signature[:], r.Signature)
	default:
		return fail("the key is %v, no passkey", k.Algorithm)
	}
	s := x.Encode(k.Algorithm)
	_, err := signature.Decode(s.Encode())
	return s, err
}

func rawP256(der []byte) ([]byte, error) {
	var s struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) != 0 {
		return nil, errors.New("the signature is not the DER of an ECDSA signature")
	}
	if s.R.Sign() <= 0 || s.S.Sign() <= 0 || s.R.BitLen() > 256 || s.S.BitLen() > 256 {
		return nil, errors.New("the signature's numbers are not of P-256")
	}
	raw := make([]byte, 64)
	s.R.FillBytes(raw[:32])
	s.S.FillBytes(raw[32:])
	n, err := signature.NormalizeP256(raw)
	return n.Bytes, err
}
