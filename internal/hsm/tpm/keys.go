package tpm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// Handles of this module: 16 of each kind a slot, in the range of the owner.
const (
	persistentBase = 0x8143f000
	nvBase         = 0x0183f000
)

// What lies at a slot's handles.
const (
	atParent   = 0
	atIdentity = 1
	atDecision = 2
	atAttest   = 3
	atApproval = 4

	nvCounter    = 0 // hsm.Counter
	nvErase      = 1 // bounds the epochs of seal keys that open
	nvGeneration = 2 // of the approver set
)

func (u URI) persistent(n uint32) tpm2.TPMHandle {
	return tpm2.TPMHandle(persistentBase + uint32(u.Slot)<<4 + n)
}

func (u URI) index(n uint32) uint32 { return nvBase + uint32(u.Slot)<<4 + n }

// curve is the kind of every key here.
func eccParms(sym tpm2.TPMTSymDefObject, scheme tpm2.TPMTECCScheme) tpm2.TPMUPublicParms {
	return tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: sym, Scheme: scheme, CurveID: tpm2.TPMECCNistP256})
}

var (
	noSymmetric = tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}
	noScheme    = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}
)

func ecdsaScheme() tpm2.TPMTECCScheme {
	return tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}
}

func unique(id [32]byte) tpm2.TPMUPublicID {
	y := sha256.Sum256(id[:])
	return tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: id[:]}, Y: tpm2.TPM2BECCParameter{Buffer: y[:]}})
}

// parentTemplate is the storage key under which the others lie. It is a primary key:
// the same id gives the same key as long as the TPM isn't cleared.
func parentTemplate(id [32]byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true,
			NoDA: true, Restricted: true, Decrypt: true},
		Parameters: eccParms(tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgAES,
			KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
			Mode:    tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)}, noScheme),
		Unique: unique(id),
	}
}

// attestTemplate is the attestation key: restricted, so that it signs nothing but what
// the TPM itself says. It is in the endorsement hierarchy, where a TPM states its
// firmware's version as it is.
func attestTemplate(id [32]byte) tpm2.TPMTPublic {
	p := signTemplate()
	p.ObjectAttributes.Restricted = true
	p.Unique = unique(id)
	return p
}

// signTemplate is a signing key, used with the device's authorisation value.
func signTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true,
			NoDA: true, SignEncrypt: true},
		Parameters: eccParms(noSymmetric, ecdsaScheme()),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// approvalTemplate signs by its policy only.
func approvalTemplate(policy [32]byte) tpm2.TPMTPublic {
	p := signTemplate()
	p.ObjectAttributes.UserWithAuth = false
	p.ObjectAttributes.AdminWithPolicy = true
	p.AuthPolicy = tpm2.TPM2BDigest{Buffer: policy[:]}
	return p
}

// sealTemplate does Diffie-Hellman by its policy only, and does not sign.
func sealTemplate(policy [32]byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, AdminWithPolicy: true,
			NoDA: true, Decrypt: true},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policy[:]},
		Parameters: eccParms(noSymmetric, noScheme),
		Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// point is the public half of a key as 65 bytes. TPMs may leave zeros out in front.
func point(p *tpm2.TPMTPublic) ([]byte, error) {
	e, err := p.Unique.ECC()
	if err != nil {
		return nil, err
	}
	out := make([]byte, 65)
	out[0] = 4
	for i, c := range [][]byte{e.X.Buffer, e.Y.Buffer} {
		if len(c) > 32 {
			return nil, fmt.Errorf("coordinate of %d bytes, at most 32", len(c))
		}
		copy(out[33+32*i-len(c):], c)
	}
	return out, nil
}

// flat is a signature as r ‖ s with the lower s.
func flat(s tpm2.TPMTSignature) (signature.Signature, error) {
	e, err := s.Signature.ECDSA()
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "the TPM signed with another algorithm: %w", err)
	}
	var raw [64]byte
	for i, c := range [][]byte{e.SignatureR.Buffer, e.SignatureS.Buffer} {
		if len(c) > 32 {
			return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "the TPM returned a signature with a number of %d bytes, at most 32", len(c))
		}
		copy(raw[32+32*i-len(c):], c)
	}
	out, err := signature.NormalizeP256(raw[:])
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "the TPM returned a bad signature: %w", err)
	}
	return out, nil
}

// curved is the inverse of flat.
func curved(s signature.Signature) tpm2.TPMTSignature {
	return tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: s.Bytes[:32]},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: s.Bytes[32:]},
	})}
}

// flushed runs f with an object that is loaded, and flushes it whatever f does.
func flushed(t transport.TPM, h tpm2.TPMHandle, f func() error) (err error) {
	defer func() {
		if _, ferr := (tpm2.FlushContext{FlushHandle: h}).Execute(t); err == nil && ferr != nil {
			err = fmt.Errorf("couldn't flush 0x%08x: %w", uint32(h), ferr)
		}
	}()
	return f()
}

// withPolicy runs f in a policy session and ends it whatever f does. go-tpm's own
// policy callbacks leak the session when they fail, and a TPM has three.
func withPolicy(t transport.TPM, f func(s tpm2.Session) error) error {
	s, end, err := tpm2.PolicySession(t, tpm2.TPMAlgSHA256, 16)
	if err != nil {
		return fmt.Errorf("couldn't start a session: %w", err)
	}
	err = f(s)
	if ferr := end(); err == nil && ferr != nil {
		err = fmt.Errorf("couldn't end a session: %w", ferr)
	}
	return err
}

// withVerifier runs f with the public key of somebody else loaded.
func withVerifier(t transport.TPM, k signature.PublicKey, f func(h tpm2.NamedHandle) error) error {
	a, err := attest.VerifierArea(k)
	if err != nil {
		return err
	}
	area := a.Encode()
	got, err := tpm2.LoadExternal{InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](area), Hierarchy: tpm2.TPMRHOwner}.Execute(t)
	if err != nil {
		return fmt.Errorf("couldn't load a verification key: %w", err)
	}
	return flushed(t, got.ObjectHandle, func() error {
		if name := attest.NameOf(area); string(got.Name.Buffer) != string(name[:]) {
			return hsm.Errorf(hsm.ErrDevice, "", "the TPM names a key %x, want %v", got.Name.Buffer, name)
		}
		return f(tpm2.NamedHandle{Handle: got.ObjectHandle, Name: got.Name})
	})
}

// nullTicket is a proof that nothing is proven, which is all that a key that isn't
// restricted wants.
var nullTicket = tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull}

func schemeECDSA() tpm2.TPMTSigScheme {
	return tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256})}
}

// auth is the use of an entity with its authorisation value.
func auth(h tpm2.TPMHandle, name, value []byte) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h, Name: tpm2.TPM2BName{Buffer: name}, Auth: tpm2.PasswordAuth(value)}
}

// readCounter reads an NV counter.
func readCounter(t transport.TPM, index uint32, value []byte) (uint64, error) {
	name := attest.NameOf(attest.CounterArea(index))
	h := tpm2.TPMHandle(index)
	got, err := tpm2.NVRead{AuthHandle: auth(h, name[:], value), NVIndex: tpm2.NamedHandle{Handle: h, Name: tpm2.TPM2BName{Buffer: name[:]}}, Size: 8}.Execute(t)
	if err != nil {
		return 0, fmt.Errorf("couldn't read counter 0x%08x: %w", index, err)
	}
	if len(got.Data.Buffer) != 8 {
		return 0, fmt.Errorf("counter 0x%08x has %d bytes, want 8: %w", index, len(got.Data.Buffer), errResponse)
	}
	return binary.BigEndian.Uint64(got.Data.Buffer), nil
}

// increment adds one to an NV counter.
func increment(t transport.TPM, index uint32, name tpm2.TPM2BName, value []byte) error {
	h := tpm2.TPMHandle(index)
	_, err := tpm2.NVIncrement{AuthHandle: auth(h, name.Buffer, value), NVIndex: tpm2.NamedHandle{Handle: h, Name: name}}.Execute(t)
	if err != nil {
		return fmt.Errorf("couldn't increment counter 0x%08x: %w", index, err)
	}
	return nil
}

func counterName(index uint32) tpm2.TPM2BName {
	n := attest.NameOf(attest.CounterArea(index))
	return tpm2.TPM2BName{Buffer: n[:]}
}

// raise increments a counter until it is at least want.
func raise(t transport.TPM, index uint32, value []byte, want uint64) error {
	now, err := readCounter(t, index, value)
	for ; err == nil && now < want; now++ {
		err = increment(t, index, counterName(index), value)
	}
	return err
}

// missing says that nothing is at a handle.
func missing(err error) bool { return errors.Is(err, tpm2.TPMRCHandle) }
