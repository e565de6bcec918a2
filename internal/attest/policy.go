package attest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
)

// ErrPolicy is wrapped by every refusal of Check.
var ErrPolicy = errors.New("measurements are not accepted")

// Bounds of a policy.
const (
	MaxMeasurements = 64
	MaxKeys         = 256
	policyVersion   = 1
)

// Policy is what a cluster's admins accept of the machines that vaults run on
// (governance kind 5). Without keys and measurements it demands nothing.
type Policy struct {
	// Emulators accepts evidence of TPMs that nobody vouches for: emulators, virtual
	// machines' TPMs, machines that measure nothing. For development.
	Emulators bool
	// Keys are the attestation keys that somebody saw in a TPM of a known maker.
	Keys []TrustedKey
	// Measurements are what may have booted. Without any, everything may.
	Measurements []Measurement
}

// TrustedKey is an attestation key that the admins vouch for.
type TrustedKey struct {
	AK   [32]byte // Result.AK
	Note string   // for people: where the machine stands, who checked its EK certificate
}

// Measurement is one accepted state of a machine.
type Measurement struct {
	Kind     uint8  // of evidence
	Name     string // for people
	Mask     uint32 // which PCRs
	Digest   [32]byte
	Firmware uint64 // of the TPM; 0: any
}

// Demands says whether the policy asks for evidence at all.
func (p Policy) Demands() bool { return len(p.Keys)+len(p.Measurements) > 0 }

// Measured says whether the machine measured its boot: on one that did, no PCR from 0
// to 7 is zero. One that did not, or is in a debug mode that resets them, could have
// booted anything.
func (r Result) Measured() bool {
	if r.Mask&0xff != 0xff {
		return false
	}
	return !slices.Contains(r.PCRs[:8], [32]byte{})
}

// Check says whether the policy accepts what Verify has proven.
func (p Policy) Check(r Result) error {
	if !p.Demands() {
		return nil
	}
	if !p.Emulators {
		if r.Emulator {
			return fmt.Errorf("%w: the TPM says that it is software (%s %s), and the policy accepts no emulators", ErrPolicy, r.Manufacturer, r.Model)
		}
		if !r.Measured() {
			return fmt.Errorf("%w: the machine did not measure its boot (PCRs 0 to 7 of the SHA-256 bank), or is in debug mode", ErrPolicy)
		}
		if !slices.ContainsFunc(p.Keys, func(k TrustedKey) bool { return k.AK == r.AK }) {
			return fmt.Errorf("%w: nobody vouches for attestation key %x", ErrPolicy, r.AK)
		}
	}
	if len(p.Measurements) == 0 {
		return nil
	}
	for _, m := range p.Measurements {
		if m.Kind == r.Kind && m.Mask == r.Mask && m.Digest == r.PCRDigest && (m.Firmware == 0 || m.Firmware == r.Firmware) {
			return nil
		}
	}
	return fmt.Errorf("%w: PCRs %v with digest %x and firmware %x are none of the %d accepted states", ErrPolicy, pcrNumbers(r.Mask), r.PCRDigest, r.Firmware, len(p.Measurements))
}

// Measurement is the state that the evidence shows, as an admin would accept it.
func (r Result) Measurement(name string) Measurement {
	return Measurement{Kind: r.Kind, Name: name, Mask: r.Mask, Digest: r.PCRDigest, Firmware: r.Firmware}
}

// Normalize orders the lists, as Decode wants them.
func (p Policy) Normalize() Policy {
	p.Keys, p.Measurements = slices.Clone(p.Keys), slices.Clone(p.Measurements)
	slices.SortFunc(p.Keys, compareTrusted)
	slices.SortFunc(p.Measurements, compareMeasurements)
	return p
}

func compareTrusted(a, b TrustedKey) int { return bytes.Compare(a.AK[:], b.AK[:]) }

func compareMeasurements(a, b Measurement) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Digest[:], b.Digest[:]), cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Firmware, b.Firmware))
}

// Encode is the canonical encoding. The lists must ascend: see Normalize.
func (p Policy) Encode() []byte {
	w := wire.NewWriter(policyVersion).Bool(p.Emulators).Count(len(p.Keys))
	for _, k := range p.Keys {
		w.Fixed(k.AK[:]).String(k.Note)
	}
	w.Count(len(p.Measurements))
	for _, m := range p.Measurements {
		w.Uint8(m.Kind).String(m.Name).Uint32(m.Mask).Fixed(m.Digest[:]).Uint64(m.Firmware)
	}
	return w.Bytes()
}

// DecodePolicy is the inverse of Encode.
func DecodePolicy(b []byte) (Policy, error) {
	r := wire.NewReader(b, policyVersion)
	var p Policy
	p.Emulators = r.Bool("emulators")
	for range r.Count("keys", MaxKeys, 36) {
		var k TrustedKey
		r.Into("attestation key", k.AK[:])
		k.Note = readText(r, "note")
		p.Keys = append(p.Keys, k)
	}
	for range r.Count("measurements", MaxMeasurements, 49) {
		m := Measurement{Kind: r.Uint8("kind"), Name: readText(r, "name"), Mask: r.Uint32("PCRs")}
		r.Into("digest", m.Digest[:])
		m.Firmware = r.Uint64("firmware")
		p.Measurements = append(p.Measurements, m)
	}
	err := r.Done()
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Policy{}, fmt.Errorf("couldn't decode measurements: %w", err)
	}
	return p, nil
}

func (p Policy) check() error {
	for i, k := range p.Keys {
		if i > 0 && compareTrusted(p.Keys[i-1], k) >= 0 {
			return fmt.Errorf("attestation key %d: keys must ascend and differ", i+1)
		}
	}
	for i, m := range p.Measurements {
		switch {
		case m.Kind != KindTPM:
			return fmt.Errorf("measurement %d: kind %d, want 1 (TPM 2.0)", i+1, m.Kind)
		case m.Mask == 0 || m.Mask >= 1<<pcrCount:
			return fmt.Errorf("measurement %d: PCRs 0x%x, want some of 0 to 23", i+1, m.Mask)
		case i > 0 && compareMeasurements(p.Measurements[i-1], m) >= 0:
			return fmt.Errorf("measurement %d: measurements must ascend and differ", i+1)
		}
	}
	return nil
}
