package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
)

// ErrStale, ErrForeign and ErrTampered say in which way evidence is no evidence.
var (
	// ErrStale: made for another nonce or another channel.
	ErrStale = errors.New("evidence is not for this connection")
	// ErrForeign: true perhaps, but of other keys.
	ErrForeign = errors.New("evidence is of another device")
	// ErrTampered: no TPM made it so.
	ErrTampered = errors.New("evidence is not genuine")
)

// Want is what the verifier knows beforehand.
type Want struct {
	Nonce, Bind        [32]byte
	Identity, Decision signature.PublicKey // from the vault's card
	Approval           []byte              // public area of the approval key on the card; nil: none
}

// Result is what evidence proves, if its attestation key is one that a TPM holds. That
// it is stands in a Policy: nothing in evidence can prove it by itself.
type Result struct {
	Kind uint8
	AK   [32]byte // names the attestation key: the hash in its TPM name

	Mask      uint32 // which PCRs were quoted
	PCRDigest [32]byte
	PCRs      [][32]byte
	Firmware  uint64
	Clock     uint64 // milliseconds that the TPM has run
	Resets    uint32 // of the TPM's power

	Counter           uint64
	Generation        uint64 // of the approver set; 0 without an approval key
	ApprovalPolicy    [32]byte
	GenerationCounter Name

	// As declared by the TPM: an honest emulator says that it is one.
	Manufacturer, Model string
	Emulator            bool
}

// The attributes of attestation and signing keys, exactly. fixedTPM and fixedParent: it
// can be duplicated to no other TPM. sensitiveDataOrigin: the TPM made it, so nobody
// else has it. restricted: it signs nothing but what the TPM itself states.
const (
	signAttributes = attrFixedTPM | attrFixedParent | attrDataOrigin | attrUserWithAuth | attrNoDA | attrSign
	akAttributes   = signAttributes | attrRestricted
)

const handleEndorsement = 0x4000000b

// Verify checks evidence against what is known of the vault. It checks the signatures
// and the chain from the attestation key to everything else; whether that key, those
// measurements and this firmware are good is for Policy.Check.
func Verify(kind uint8, evidence []byte, w Want) (Result, error) {
	if kind != KindTPM {
		return Result{}, fmt.Errorf("%w: kind %d, want 1 (TPM 2.0)", ErrTampered, kind)
	}
	e, err := DecodeTPM(evidence)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	v := verifier{qualify: Qualify(w.Nonce, w.Bind, e.Manufacturer, e.Model)}
	if err := v.attestationKey(e.AK); err != nil {
		return Result{}, err
	}
	r := Result{Kind: kind, AK: [32]byte(v.name[2:]), PCRs: e.PCRs, Manufacturer: e.Manufacturer, Model: e.Model}
	_, hardware := Chip(e.Manufacturer)
	r.Emulator = !hardware
	if err := v.quote(e, &r); err != nil {
		return Result{}, err
	}
	if err := v.signingKey("identity", e.Identity, w.Identity); err != nil {
		return Result{}, err
	}
	if err := v.signingKey("decision", e.Decision, w.Decision); err != nil {
		return Result{}, err
	}
	if r.Counter, _, err = v.count("counter", e.Counter); err != nil {
		return Result{}, err
	}
	if err := v.approval(e.Approval, w.Approval, &r); err != nil {
		return Result{}, err
	}
	r.Firmware, r.Clock, r.Resets = v.first.Firmware, v.first.Clock.Clock, v.first.Clock.Reset
	return r, nil
}

// verifier holds what all statements of one TPM must have in common.
type verifier struct {
	qualify   [32]byte
	ak        Area
	name      Name
	qualified Name
	first     *attested
}

func (v *verifier) attestationKey(area []byte) error {
	var err error
	if v.ak, err = attestationArea(area); err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	v.name = NameOf(area)
	// The qualified name of a primary key of the endorsement hierarchy: elsewhere a TPM
	// blurs the firmware's version and the counts of resets.
	v.qualified = NameOf(append(binary.BigEndian.AppendUint32(nil, handleEndorsement), v.name[:]...))
	return nil
}

// CheckAttestationKey checks the public area of an attestation key and returns its Name,
// whose hash a Policy lists as TrustedKey.AK.
func CheckAttestationKey(area []byte) (Name, error) {
	if _, err := attestationArea(area); err != nil {
		return Name{}, err
	}
	return NameOf(area), nil
}

func attestationArea(area []byte) (Area, error) {
	a, err := DecodeArea(area)
	if err != nil {
		return Area{}, fmt.Errorf("attestation key: %w", err)
	}
	if a.Attributes != akAttributes || len(a.Policy) != 0 {
		return Area{}, fmt.Errorf("attestation key has attributes 0x%08x, want 0x%08x: a key that isn't restricted signs what it is told", a.Attributes, uint32(akAttributes))
	}
	return a, nil
}

// statement checks one TPMS_ATTEST.
func (v *verifier) statement(what string, s Signed, kind uint16) (attested, error) {
	a, err := decodeAttested(s.Attest, kind)
	if err != nil {
		return attested{}, fmt.Errorf("%w: %s: %w", ErrTampered, what, err)
	}
	if err := signature.VerifyDigest(v.ak.Key, sha256.Sum256(s.Attest), s.Signature); err != nil {
		return attested{}, fmt.Errorf("%w: %s: %w", ErrTampered, what, err)
	}
	if a.Signer != v.qualified {
		return attested{}, fmt.Errorf("%w: %s: the attestation key is no primary key of the endorsement hierarchy", ErrTampered, what)
	}
	if a.Extra != v.qualify {
		return attested{}, fmt.Errorf("%w: %s was made for nonce and channel %x, want %x", ErrStale, what, a.Extra, v.qualify)
	}
	if v.first == nil {
		v.first = &a
	}
	if f := v.first; a.Firmware != f.Firmware || a.Clock.Reset != f.Clock.Reset || a.Clock.Restart != f.Clock.Restart {
		return attested{}, fmt.Errorf("%w: %s is of firmware %x and reset %d.%d, the quote of %x and %d.%d", ErrTampered, what,
			a.Firmware, a.Clock.Reset, a.Clock.Restart, f.Firmware, f.Clock.Reset, f.Clock.Restart)
	}
	return a, nil
}

func (v *verifier) quote(e TPM, r *Result) error {
	q, err := v.statement("quote", e.Quote, attestQuote)
	if err != nil {
		return err
	}
	if n := len(pcrNumbers(q.Mask)); n == 0 || n != len(e.PCRs) {
		return fmt.Errorf("%w: %d PCRs, the quote is of %d", ErrTampered, len(e.PCRs), n)
	}
	h := sha256.New()
	for _, p := range e.PCRs {
		h.Write(p[:])
	}
	if !bytes.Equal(h.Sum(nil), q.Digest[:]) {
		return fmt.Errorf("%w: the PCRs are not those of the quote", ErrTampered)
	}
	r.Mask, r.PCRDigest = q.Mask, q.Digest
	return nil
}

// created checks that the TPM made the key of this public area.
func (v *verifier) created(what string, k Key) error {
	a, err := v.statement(what, k.Created, attestCreation)
	if err != nil {
		return err
	}
	if n := NameOf(k.Area); a.Object != n {
		return fmt.Errorf("%w: %s: the TPM made key %v, the evidence shows %v", ErrTampered, what, a.Object, n)
	}
	return nil
}

func (v *verifier) signingKey(role string, k Key, want signature.PublicKey) error {
	what := role + " key"
	a, err := DecodeArea(k.Area)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrTampered, what, err)
	}
	if a.Attributes != signAttributes || len(a.Policy) != 0 {
		return fmt.Errorf("%w: %s has attributes 0x%08x, want 0x%08x: made in the TPM and fixed to it", ErrTampered, what, a.Attributes, uint32(signAttributes))
	}
	if a.Key != want {
		return fmt.Errorf("%w: its %s is %s, the vault's card says %s", ErrForeign, what, a.Key.Fingerprint(), want.Fingerprint())
	}
	return v.created(what, k)
}

func (v *verifier) count(what string, c Count) (uint64, Name, error) {
	name := NameOf(CounterArea(c.Index))
	a, err := v.statement(what, c.Value, attestNV)
	if err != nil {
		return 0, name, err
	}
	if a.Object != name {
		return 0, name, fmt.Errorf("%w: %s: index %v is not a counter at 0x%08x", ErrTampered, what, a.Object, c.Index)
	}
	return a.Value, name, nil
}

func (v *verifier) approval(p *Approval, want []byte, r *Result) error {
	if p == nil {
		if want != nil {
			return fmt.Errorf("%w: it has no approval key, the vault's card has", ErrForeign)
		}
		return nil
	}
	a, err := checkApprovalArea(p.Key.Area)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if want != nil && !bytes.Equal(want, p.Key.Area) {
		return fmt.Errorf("%w: its approval key is %v, the vault's card says %v", ErrForeign, NameOf(p.Key.Area), NameOf(want))
	}
	if err := v.created("approval key", p.Key); err != nil {
		return err
	}
	r.ApprovalPolicy = [32]byte(a.Policy)
	r.Generation, r.GenerationCounter, err = v.count("generation", p.Generation)
	return err
}
