package attest

import (
	"fmt"
	"math/bits"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// KindTPM is the kind of evidence that a TPM 2.0 gives (hsm.EvidenceTPM).
const KindTPM uint8 = 1

const (
	evidenceVersion = 1
	maxArea         = 256
	maxAttest       = 512
	maxText         = 64
	pcrCount        = 24
)

// Signed is one statement of the TPM (TPMS_ATTEST) with the attestation key's
// signature.
type Signed struct {
	Attest    []byte
	Signature signature.Signature
}

// Key is a key of the device, with the TPM's word that it made it.
type Key struct {
	Area    []byte // TPMT_PUBLIC
	Created Signed
}

// Count is an NV counter with the TPM's word on its value.
type Count struct {
	Index uint32
	Value Signed
}

// Approval is what evidence says of an approval key.
type Approval struct {
	Key        Key
	Generation Count
}

// TPM is the evidence of a TPM 2.0.
type TPM struct {
	AK                 []byte // TPMT_PUBLIC of the attestation key
	Identity, Decision Key
	Quote              Signed
	PCRs               [][32]byte // the quoted ones, ascending
	Counter            Count
	Approval           *Approval

	// What the TPM says of itself, unsigned by its maker: bound by the qualifying data.
	Manufacturer, Model string
}

// Qualify is what a TPM puts into each statement: the verifier's nonce, what the
// prover binds to it, and what the prover declares.
func Qualify(nonce, bind [32]byte, manufacturer, model string) [32]byte {
	return wire.Hash("coffer/tpm-attest/v1", nonce[:], bind[:], []byte(manufacturer), []byte(model))
}

func writeSigned(w *wire.Writer, s Signed) {
	w.Var(s.Attest)
	signature.WriteSignature(w, s.Signature)
}

func readSigned(r *wire.Reader, field string) Signed {
	return Signed{r.Var(field, maxAttest), signature.ReadSignature(r, field)}
}

func writeKey(w *wire.Writer, k Key) { w.Var(k.Area); writeSigned(w, k.Created) }

func readKey(r *wire.Reader, field string) Key {
	return Key{r.Var(field, maxArea), readSigned(r, field)}
}

func writeCount(w *wire.Writer, c Count) { w.Uint32(c.Index); writeSigned(w, c.Value) }

func readCount(r *wire.Reader, field string) Count {
	return Count{r.Uint32(field), readSigned(r, field)}
}

// Encode is the canonical encoding.
func (e TPM) Encode() []byte {
	w := wire.NewWriter(evidenceVersion).Var(e.AK)
	writeKey(w, e.Identity)
	writeKey(w, e.Decision)
	writeSigned(w, e.Quote)
	w.Count(len(e.PCRs))
	for _, p := range e.PCRs {
		w.Fixed(p[:])
	}
	writeCount(w, e.Counter)
	w.Bool(e.Approval != nil)
	if e.Approval != nil {
		writeKey(w, e.Approval.Key)
		writeCount(w, e.Approval.Generation)
	}
	return w.String(e.Manufacturer).String(e.Model).Bytes()
}

// DecodeTPM is the inverse of Encode. It checks the form; Verify checks what it says.
func DecodeTPM(b []byte) (TPM, error) {
	r := wire.NewReader(b, evidenceVersion)
	e := TPM{AK: r.Var("attestation key", maxArea), Identity: readKey(r, "identity key"), Decision: readKey(r, "decision key"), Quote: readSigned(r, "quote")}
	for range r.Count("PCRs", pcrCount, 32) {
		e.PCRs = append(e.PCRs, [32]byte(r.Fixed("PCR", 32)))
	}
	e.Counter = readCount(r, "counter")
	if r.Bool("approval key") {
		e.Approval = &Approval{readKey(r, "approval key"), readCount(r, "generation")}
	}
	e.Manufacturer, e.Model = readText(r, "manufacturer"), readText(r, "model")
	if err := r.Done(); err != nil {
		return TPM{}, fmt.Errorf("couldn't decode TPM evidence: %w", err)
	}
	return e, nil
}

// ApprovalKey returns the public area of the approval key in evidence of a TPM, or nil:
// what a vault's card shows. The evidence must have passed Verify.
func ApprovalKey(kind uint8, evidence []byte) ([]byte, error) {
	if kind != KindTPM {
		return nil, fmt.Errorf("evidence of kind %d, want 1 (TPM 2.0)", kind)
	}
	e, err := DecodeTPM(evidence)
	if err != nil || e.Approval == nil {
		return nil, err
	}
	return e.Approval.Key.Area, nil
}

// readText reads printable ASCII: it reaches terminals.
func readText(r *wire.Reader, field string) string {
	s := r.String(field, maxText)
	for i := range len(s) {
		if r.Err() == nil && (s[i] < ' ' || s[i] > '~') {
			r.Failf("%s %q: byte %d is not printable ASCII", field, s, i)
		}
	}
	return s
}

// pcrNumbers lists the PCRs of a mask.
func pcrNumbers(mask uint32) []int {
	out := make([]int, 0, bits.OnesCount32(mask))
	for i := range pcrCount {
		if mask>>i&1 == 1 {
			out = append(out, i)
		}
	}
	return out
}

// chips are the manufacturers, as a TPM states them, of TPMs that are devices of their
// own or a part of the processor. Every other one (IBM's, which is swtpm, Microsoft's,
// Google's, VMware's) is software, as good as the host that it runs on: a copy of its
// state is a second TPM, and an old copy an old counter.
var chips = map[string]string{
	"AMD": "AMD", "ATML": "Atmel", "BRCM": "Broadcom", "CSCO": "Cisco", "IFX": "Infineon", "INTC": "Intel",
	"NSM": "National Semiconductor", "NTC": "Nuvoton", "NTZ": "Nationz", "QCOM": "Qualcomm", "SMSC": "SMSC",
	"SNS": "Sinosun", "STM": "STMicroelectronics", "TXN": "Texas Instruments",
}

// Chip returns the vendor behind the four letters that a TPM names its manufacturer by,
// and whether that vendor makes hardware. Letters prove nothing: an emulator can be
// built to state any.
func Chip(manufacturer string) (vendor string, hardware bool) {
	vendor, hardware = chips[manufacturer]
	return vendor, hardware
}
