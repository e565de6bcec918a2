package tpm

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
)

// quoted are the PCRs of a quote: 0 to 7, which the firmware and the boot loader fill.
const quoted = 0xff

// Attest returns evidence of the keys, the boot and the counter, for one verifier's
// nonce and one channel.
func (d *Device) Attest(ctx context.Context, nonce, bind [32]byte) (hsm.Evidence, error) {
	if err := d.ready(ctx); err != nil {
		return hsm.Evidence{}, err
	}
	e := attest.TPM{AK: d.ak, Manufacturer: d.id.manufacturer, Model: d.id.model}
	q := attest.Qualify(nonce, bind, e.Manufacturer, e.Model)
	err := d.conn.do(ctx, "attest", func(t transport.TPM) error {
		a := attester{d: d, t: t, qualify: tpm2.TPM2BData{Buffer: q[:]}}
		return a.fill(&e)
	})
	if err != nil {
		return hsm.Evidence{}, err
	}
	return hsm.Evidence{Kind: hsm.EvidenceTPM, Bytes: e.Encode()}, nil
}

type attester struct {
	d       *Device
	t       transport.TPM
	qualify tpm2.TPM2BData
}

func (a attester) key() tpm2.AuthHandle {
	return auth(a.d.conn.uri.persistent(atAttest), a.d.attest.Buffer, a.d.device.auth.Reveal())
}

func (a attester) fill(e *attest.TPM) (err error) {
	if err = a.quote(e); err != nil {
		return err
	}
	if e.Identity, err = a.created(hsm.RoleIdentity); err != nil {
		return err
	}
	if e.Decision, err = a.created(hsm.RoleDecision); err != nil {
		return err
	}
	if e.Counter, err = a.count(nvCounter); err != nil {
		return err
	}
	if _, ok := a.d.keys[hsm.RoleApproval]; !ok {
		return nil
	}
	e.Approval = new(attest.Approval)
	if e.Approval.Key, err = a.created(hsm.RoleApproval); err != nil {
		return err
	}
	e.Approval.Generation, err = a.count(nvGeneration)
	return err
}

// quote has the TPM sign its PCRs. They are read apart from that, and read again if
// something was measured in between.
func (a attester) quote(e *attest.TPM) error {
	selection := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{quoted & 0xff, quoted >> 8 & 0xff, quoted >> 16 & 0xff}}}}
	for range 3 {
		read, err := tpm2.PCRRead{PCRSelectionIn: selection}.Execute(a.t)
		if err != nil {
			return fmt.Errorf("couldn't read the PCRs: %w", err)
		}
		h := sha256.New()
		e.PCRs = nil
		for _, p := range read.PCRValues.Digests {
			if len(p.Buffer) != 32 {
				return fmt.Errorf("PCR of %d bytes, want 32: %w", len(p.Buffer), errResponse)
			}
			e.PCRs = append(e.PCRs, [32]byte(p.Buffer))
			h.Write(p.Buffer)
		}
		got, err := tpm2.Quote{SignHandle: a.key(), QualifyingData: a.qualify, InScheme: schemeECDSA(), PCRSelect: selection}.Execute(a.t)
		if err != nil {
			return fmt.Errorf("couldn't quote the PCRs: %w", err)
		}
		if e.Quote, err = signed(got.Quoted, got.Signature); err != nil {
			return err
		}
		said, err := got.Quoted.Contents()
		if err != nil {
			return fmt.Errorf("quote: %w: %w", errResponse, err)
		}
		info, err := said.Attested.Quote()
		if err != nil {
			return fmt.Errorf("quote: %w: %w", errResponse, err)
		}
		if string(info.PCRDigest.Buffer) == string(h.Sum(nil)) {
			return nil
		}
	}
	return hsm.Errorf(hsm.ErrUnavailable, "try again", "the PCRs changed while they were quoted")
}

func signed(b tpm2.TPM2BAttest, s tpm2.TPMTSignature) (attest.Signed, error) {
	sig, err := flat(s)
	return attest.Signed{Attest: b.Bytes(), Signature: sig}, err
}

// created has the TPM certify that it made a key.
func (a attester) created(role hsm.Role) (attest.Key, error) {
	k := a.d.keys[role]
	name := k.name()
	got, err := tpm2.CertifyCreation{
		SignHandle: a.key(), ObjectHandle: tpm2.NamedHandle{Handle: k.handle, Name: tpm2.TPM2BName{Buffer: name[:]}},
		QualifyingData: a.qualify, CreationHash: tpm2.TPM2BDigest{Buffer: k.hash}, InScheme: schemeECDSA(), CreationTicket: k.ticket,
	}.Execute(a.t)
	if err != nil {
		return attest.Key{}, fmt.Errorf("couldn't certify the %v key: %w", role, err)
	}
	s, err := signed(got.CertifyInfo, got.Signature)
	return attest.Key{Area: k.blob.public, Created: s}, err
}

// count has the TPM certify a counter.
func (a attester) count(n uint32) (attest.Count, error) {
	index := a.d.conn.uri.index(n)
	h := tpm2.TPMHandle(index)
	name := counterName(index)
	got, err := tpm2.NVCertify{
		SignHandle: a.key(), AuthHandle: auth(h, name.Buffer, a.d.device.auth.Reveal()),
		NVIndex: tpm2.NamedHandle{Handle: h, Name: name}, QualifyingData: a.qualify, InScheme: schemeECDSA(), Size: 8,
	}.Execute(a.t)
	if err != nil {
		return attest.Count{}, fmt.Errorf("couldn't certify counter 0x%08x: %w", index, err)
	}
	s, err := signed(got.CertifyInfo, got.Signature)
	return attest.Count{Index: index, Value: s}, err
}
