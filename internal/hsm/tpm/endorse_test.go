package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
)

// manufacturer plays a TPM's maker.
type manufacturer struct {
	key   *ecdsa.PrivateKey
	root  *x509.Certificate
	roots *x509.CertPool
}

func newManufacturer(t testing.TB) manufacturer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TPM maker"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	m := manufacturer{k, root, x509.NewCertPool()}
	m.roots.AddCert(root)
	return m
}

func (m manufacturer) certify(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		// A directory name, critical, as the profile has it.
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 17}, Critical: true, Value: []byte{0x30, 0x04, 0xa4, 0x02, 0x30, 0x00}}}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, m.root, key, m.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// certified has a maker put the certificate of its EK into a TPM.
func certified(t testing.TB, d *Device, m manufacturer, form int) {
	t.Helper()
	err := d.conn.do(t.Context(), "certify", func(tp transport.TPM) error {
		ek, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			InPublic: tpm2.New2B(ekForms[form].template)}.Execute(tp)
		if err != nil {
			return err
		}
		return flushed(tp, ek.ObjectHandle, func() error {
			public, err := ek.OutPublic.Contents()
			if err != nil {
				return err
			}
			key, err := tpm2.Pub(*public)
			if err != nil {
				return err
			}
			der := append(m.certify(t, key), make([]byte, 32)...) // padded, as by some makers
			h := tpm2.TPMHandle(ekForms[form].index)
			_, err = tpm2.NVDefineSpace{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
				PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: h, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(der)),
					Attributes: tpm2.TPMANV{OwnerWrite: true, AuthRead: true, AuthWrite: true, NoDA: true}})}.Execute(tp)
			if err != nil {
				return err
			}
			for at := 0; at < len(der); at += 512 {
				got, err := tpm2.NVReadPublic{NVIndex: h}.Execute(tp)
				if err != nil {
					return err
				}
				_, err = tpm2.NVWrite{AuthHandle: auth(h, got.NVName.Buffer, nil), NVIndex: tpm2.NamedHandle{Handle: h, Name: got.NVName},
					Data: tpm2.TPM2BMaxNVBuffer{Buffer: der[at:min(at+512, len(der))]}, Offset: uint16(at)}.Execute(tp)
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEndorsement: the way from a maker's certificate to an attestation key that a
// policy lists, for both kinds of endorsement key.
func TestEndorsement(t *testing.T) {
	for form := range ekForms {
		d := opened(t, provisioned(t, another(t), ""))
		if _, err := d.Endorsement(t.Context()); !errors.Is(err, hsm.ErrUnsupported) {
			t.Fatalf("without a certificate: %v, want ErrUnsupported", err)
		}
		m := newManufacturer(t)
		certified(t, d, m, form)
		e, err := d.Endorsement(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeEndorsement(e.Encode()); err != nil || !bytes.Equal(again.Encode(), e.Encode()) {
			t.Errorf("endorsement: %v", err)
		}
		c, want, err := NewChallenge(e, m.roots)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = DecodeCredential(c.Encode()); err != nil {
			t.Fatal(err)
		}
		got, err := d.Activate(t.Context(), c)
		if err != nil || !Answered(want, got.Reveal()) {
			t.Fatalf("form %d: %v, or another secret", form, err)
		}
		// What the admin then lists is what the evidence shows.
		w := wantNow(t, d)
		r, err := attest.Verify(hsm.EvidenceTPM, evidence(t, d, w), w)
		if err != nil {
			t.Fatal(err)
		}
		name, err := attest.CheckAttestationKey(e.AK)
		if err != nil || [32]byte(name[2:]) != r.AK {
			t.Errorf("evidence is of attestation key %x, the endorsement of %v, %v", r.AK, name, err)
		}
		refusedEndorsements(t, d, e, m)
		healthy(t, d)
	}
}

func wantNow(t testing.TB, d *Device) attest.Want { return want(t, d, 3) }

func refusedEndorsements(t *testing.T, d *Device, e Endorsement, m manufacturer) {
	t.Helper()
	other := opened(t, provisioned(t, another(t), ""))
	certified(t, other, m, 0)
	theirs, err := other.Endorsement(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	identity := d.keys[hsm.RoleIdentity].blob.public
	for _, tc := range []struct {
		name  string
		e     Endorsement
		roots *x509.CertPool
		say   string
	}{
		{"another maker", e, newManufacturer(t).roots, "unknown authority"},
		{"another TPM's certificate", Endorsement{theirs.Certificate, e.EK, e.AK}, m.roots, "another key"},
		{"no certificate", Endorsement{nil, e.EK, e.AK}, m.roots, "EK certificate"},
		{"an attestation key that signs anything", Endorsement{e.Certificate, e.EK, identity}, m.roots, "isn't restricted"},
		{"a certified key that signs", Endorsement{m.certify(t, publicOf(t, d.ak)), d.ak, e.AK}, m.roots, "restricted decryption key"},
		{"bytes after the endorsement key", Endorsement{e.Certificate, append(bytes.Clone(e.EK), 0), e.AK}, m.roots, "after the end"},
	} {
		if _, _, err := NewChallenge(tc.e, tc.roots); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v; want an error that says %q", tc.name, err, tc.say)
		}
	}
	// An attestation key of another TPM under this one's certificate: this TPM does not
	// open the challenge, and neither does the other.
	c, _, err := NewChallenge(Endorsement{e.Certificate, e.EK, theirs.AK}, m.roots)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Device{d, other} {
		if _, err := x.Activate(t.Context(), c); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("another TPM's attestation key: %v, want ErrInput", err)
		}
	}
}

func publicOf(t testing.TB, area []byte) crypto.PublicKey {
	t.Helper()
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func FuzzDecodeEndorsement(f *testing.F) {
	f.Add(Endorsement{[]byte{1}, []byte{2}, []byte{3}}.Encode())
	f.Add(Credential{[]byte{1}, []byte{2}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := DecodeEndorsement(b); err == nil && !bytes.Equal(e.Encode(), b) {
			t.Error("endorsement has two encodings")
		}
		if c, err := DecodeCredential(b); err == nil && !bytes.Equal(c.Encode(), b) {
			t.Error("credential has two encodings")
		}
	})
}
