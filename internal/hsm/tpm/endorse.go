package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
)

// ekForms are the endorsement keys that makers certify, in the order in which they are
// tried: ECC P-256 and RSA 2048, with the NV indices of their certificates (TCG EK
// Credential Profile, 2.2.1.4).
var ekForms = []struct {
	index    uint32
	template tpm2.TPMTPublic
}{{0x01c0000a, tpm2.ECCEKTemplate}, {0x01c00002, tpm2.RSAEKTemplate}}

// maxCertificate bounds an EK certificate.
const maxCertificate = 4096

// Endorsement is what ties an attestation key to a TPM of a known maker: the certificate
// of the TPM's endorsement key. It proves nothing until its challenge is answered.
type Endorsement struct {
	Certificate []byte // X.509, DER
	EK          []byte // TPMT_PUBLIC
	AK          []byte // TPMT_PUBLIC
}

// Encode is the canonical encoding.
func (e Endorsement) Encode() []byte {
	return wire.NewWriter(fileVersion).Var(e.Certificate).Var(e.EK).Var(e.AK).Bytes()
}

// DecodeEndorsement is the inverse of Encode.
func DecodeEndorsement(b []byte) (Endorsement, error) {
	r := wire.NewReader(b, fileVersion)
	e := Endorsement{r.Var("certificate", maxCertificate), r.Var("endorsement key", 1024), r.Var("attestation key", 512)}
	if err := r.Done(); err != nil {
		return Endorsement{}, fmt.Errorf("couldn't decode endorsement: %w", err)
	}
	return e, nil
}

// Credential is a secret that only the TPM of an endorsement key opens, and only if it
// holds the attestation key too.
type Credential struct{ Blob, Secret []byte }

// Encode is the canonical encoding.
func (c Credential) Encode() []byte {
	return wire.NewWriter(fileVersion).Var(c.Blob).Var(c.Secret).Bytes()
}

// DecodeCredential is the inverse of Encode.
func DecodeCredential(b []byte) (Credential, error) {
	r := wire.NewReader(b, fileVersion)
	c := Credential{r.Var("credential", 512), r.Var("secret", 512)}
	if err := r.Done(); err != nil {
		return Credential{}, fmt.Errorf("couldn't decode credential: %w", err)
	}
	return c, nil
}

// withEK runs f with the endorsement key and its certificate.
func (d *Device) withEK(t transport.TPM, f func(h tpm2.NamedHandle, public, certificate []byte) error) error {
	password, err := readAuth(d.conn.uri.EndorsementAuth)
	if err != nil {
		return err
	}
	for _, form := range ekForms {
		certificate, err := readCertificate(t, form.index)
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		got, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(password)},
			InPublic:      tpm2.New2B(form.template),
		}.Execute(t)
		if err != nil {
			return fmt.Errorf("couldn't make the endorsement key: %w", err)
		}
		return flushed(t, got.ObjectHandle, func() error {
			return f(tpm2.NamedHandle{Handle: got.ObjectHandle, Name: got.Name}, got.OutPublic.Bytes(), certificate)
		})
	}
	return hsm.Errorf(hsm.ErrUnsupported, "list its attestation key with the machine's own word only, or use a TPM whose maker certifies it",
		"the TPM has no certificate of its endorsement key (NV indices 0x%08x, 0x%08x)", ekForms[0].index, ekForms[1].index)
}

// readCertificate reads an EK certificate in the pieces that the TPM gives.
func readCertificate(t transport.TPM, index uint32) ([]byte, error) {
	h := tpm2.TPMHandle(index)
	got, err := tpm2.NVReadPublic{NVIndex: h}.Execute(t)
	if err != nil {
		return nil, err
	}
	public, err := got.NVPublic.Contents()
	if err != nil || public.DataSize > maxCertificate {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "the TPM's EK certificate is of more than %d bytes, or unreadable", maxCertificate)
	}
	var out []byte
	for len(out) < int(public.DataSize) {
		n := min(int(public.DataSize)-len(out), 512)
		piece, err := tpm2.NVRead{AuthHandle: auth(h, got.NVName.Buffer, nil), NVIndex: tpm2.NamedHandle{Handle: h, Name: got.NVName},
			Size: uint16(n), Offset: uint16(len(out))}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the EK certificate: %w", err)
		}
		if len(piece.Data.Buffer) != n {
			return nil, fmt.Errorf("EK certificate: %w", errResponse)
		}
		out = append(out, piece.Data.Buffer...)
	}
	// Some makers pad the index: the certificate ends where its DER does.
	var raw asn1.RawValue
	rest, err := asn1.Unmarshal(out, &raw)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "the TPM's EK certificate is no DER: %w", err)
	}
	return out[:len(out)-len(rest)], nil
}

// Endorsement returns the TPM's certificate with the attestation key.
func (d *Device) Endorsement(ctx context.Context) (Endorsement, error) {
	if err := d.ready(ctx); err != nil {
		return Endorsement{}, err
	}
	var e Endorsement
	err := d.conn.do(ctx, "read the TPM's certificate", func(t transport.TPM) error {
		return d.withEK(t, func(_ tpm2.NamedHandle, public, certificate []byte) error {
			e = Endorsement{Certificate: certificate, EK: public, AK: d.ak}
			return nil
		})
	})
	return e, err
}

// NewChallenge is the admin's part: he checks the certificate against the makers' roots
// that he trusts, and makes a secret that only a TPM with both keys opens. He lists the
// attestation key only if the device answers with the same secret.
func NewChallenge(e Endorsement, roots *x509.CertPool) (Credential, secret.Bytes, error) {
	name, err := attest.CheckAttestationKey(e.AK)
	if err != nil {
		return Credential{}, secret.Bytes{}, fmt.Errorf("couldn't challenge the TPM: %w", err)
	}
	if err := checkCertificate(e, roots); err != nil {
		return Credential{}, secret.Bytes{}, fmt.Errorf("couldn't challenge the TPM: %w", err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](e.EK)
	if err != nil {
		return Credential{}, secret.Bytes{}, fmt.Errorf("couldn't challenge the TPM: endorsement key: %w", err)
	}
	ek, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		return Credential{}, secret.Bytes{}, fmt.Errorf("couldn't challenge the TPM: endorsement key: %w", err)
	}
	s, err := secret.Random(rand.Reader, 32)
	if err != nil {
		return Credential{}, secret.Bytes{}, err
	}
	blob, enc, err := tpm2.CreateCredential(rand.Reader, ek, name[:], s.Reveal())
	if err != nil {
		s.Destroy()
		return Credential{}, secret.Bytes{}, fmt.Errorf("couldn't challenge the TPM: %w", err)
	}
	return Credential{blob, enc}, s, nil
}

// checkCertificate checks that a maker certified this endorsement key, of the form that
// only decrypts: a key that signs could be made to sign for an attestation key.
func checkCertificate(e Endorsement, roots *x509.CertPool) error {
	cert, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		return fmt.Errorf("EK certificate: %w", err)
	}
	// Its subject alternative name is a directory name, which package x509 doesn't read
	// and so calls unhandled; the profile demands that it is critical.
	cert.UnhandledCriticalExtensions = dropSAN(cert.UnhandledCriticalExtensions)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return fmt.Errorf("EK certificate: %w", err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](e.EK)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	if !bytes.Equal(tpm2.Marshal(*public), e.EK) {
		return errors.New("endorsement key: bytes after the end")
	}
	if a := public.ObjectAttributes; !a.FixedTPM || !a.FixedParent || !a.Restricted || !a.Decrypt || a.SignEncrypt {
		return errors.New("endorsement key: want a restricted decryption key that is fixed to its TPM")
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		return fmt.Errorf("endorsement key: %w", err)
	}
	same := false
	switch k := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		same = k.Equal(key)
	case *rsa.PublicKey:
		same = k.Equal(key)
	}
	if !same {
		return errors.New("EK certificate is of another key than the endorsement key")
	}
	return nil
}

func dropSAN(ids []asn1.ObjectIdentifier) (rest []asn1.ObjectIdentifier) {
	for _, id := range ids {
		if !id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			rest = append(rest, id)
		}
	}
	return rest
}

// Activate is the device's part: the TPM opens the credential if it holds both keys.
func (d *Device) Activate(ctx context.Context, c Credential) (secret.Bytes, error) {
	if err := d.ready(ctx); err != nil {
		return secret.Bytes{}, err
	}
	password, err := readAuth(d.conn.uri.EndorsementAuth)
	if err != nil {
		return secret.Bytes{}, err
	}
	var out secret.Bytes
	err = d.conn.do(ctx, "answer the challenge", func(t transport.TPM) error {
		return d.withEK(t, func(ek tpm2.NamedHandle, _, _ []byte) error {
			return withPolicy(t, func(s tpm2.Session) error {
				_, err := tpm2.PolicySecret{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(password)},
					PolicySession: s.Handle()}.Execute(t)
				if err != nil {
					return err
				}
				got, err := tpm2.ActivateCredential{
					ActivateHandle: auth(d.conn.uri.persistent(atAttest), d.attest.Buffer, d.device.auth.Reveal()),
					KeyHandle:      tpm2.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: s},
					CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Blob}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
				}.Execute(t)
				if err != nil {
					return hsm.Errorf(hsm.ErrInput, "", "the TPM does not open the challenge: it is for another TPM or another attestation key: %w", err)
				}
				out = secret.New(got.CertInfo.Buffer)
				return nil
			})
		})
	})
	return out, err
}

// Answered compares a device's answer with the challenge's secret.
func Answered(want secret.Bytes, got []byte) bool {
	return want.Len() == 32 && subtle.ConstantTimeCompare(want.Reveal(), got) == 1
}
