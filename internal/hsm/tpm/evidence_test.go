package tpm

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

var update = flag.Bool("update", false, "write the evidence that internal/attest is tested on")

func want(t testing.TB, d *Device, nonce byte) attest.Want {
	t.Helper()
	w := attest.Want{Nonce: [32]byte{nonce}, Bind: [32]byte{1, nonce}}
	var err error
	if w.Identity, err = d.Public(t.Context(), hsm.RoleIdentity); err != nil {
		t.Fatal(err)
	}
	if w.Decision, err = d.Public(t.Context(), hsm.RoleDecision); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.keys[hsm.RoleApproval]; ok {
		if w.Approval, err = d.PublicArea(t.Context(), hsm.RoleApproval); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func evidence(t testing.TB, d *Device, w attest.Want) []byte {
	t.Helper()
	e, err := d.Attest(t.Context(), w.Nonce, w.Bind)
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind != hsm.EvidenceTPM || len(e.Bytes) > hsm.MaxEvidence {
		t.Fatalf("evidence of kind %d with %d bytes", e.Kind, len(e.Bytes))
	}
	return e.Bytes
}

// TestAttest: evidence of a real TPM (an emulator) passes the verifier and shows what
// the TPM says when it is asked.
func TestAttest(t *testing.T) {
	s := emulator(t)
	authority := newPerson(t)
	for name, d := range map[string]*Device{
		"plain":    opened(t, provisioned(t, s, "")),
		"approval": opened(t, provisioned(t, s, "&slot=1&authority="+authority.public.String())),
	} {
		w := want(t, d, 1)
		b := evidence(t, d, w)
		r, err := attest.Verify(hsm.EvidenceTPM, b, w)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := d.Increment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Counter != c-1 {
			t.Errorf("%s: counter was %d, the evidence says %d", name, c-1, r.Counter)
		}
		if !r.Emulator || r.Manufacturer != "IBM" || r.Firmware != d.id.firmware || r.Mask != 0xff || len(r.PCRs) != 8 || r.Measured() {
			t.Errorf("%s: %+v", name, r)
		}
		if name == "approval" {
			in := install(t, d, authority, people(t, 1), 1)
			r, err := attest.Verify(hsm.EvidenceTPM, evidence(t, d, w), w)
			if err != nil || r.Generation != in.set.Generation || r.GenerationCounter != in.set.Counter {
				t.Errorf("generation %d of %v, %v; the set in force is of %d", r.Generation, r.GenerationCounter, err, in.set.Generation)
			}
		}
		if *update {
			writeGolden(t, name, b, w)
		}
		stale := w
		stale.Nonce[0]++
		if _, err := attest.Verify(hsm.EvidenceTPM, b, stale); !errors.Is(err, attest.ErrStale) {
			t.Errorf("%s: another nonce: %v, want ErrStale", name, err)
		}
		p := attest.Policy{Emulators: true, Measurements: []attest.Measurement{r.Measurement("this machine")}}
		if err := p.Check(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		measure(t, d, 7)
		again, err := attest.Verify(hsm.EvidenceTPM, evidence(t, d, w), w)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(again); !errors.Is(err, attest.ErrPolicy) {
			t.Errorf("%s: after something else was measured: %v, want ErrPolicy", name, err)
		}
	}
}

// measure extends a PCR, as a boot loader does with what it starts.
func measure(t testing.TB, d *Device, pcr uint32) {
	t.Helper()
	err := d.conn.do(t.Context(), "measure", func(tp transport.TPM) error {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
		}.Execute(tp)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// writeGolden keeps evidence for the verifier's own tests, which have no TPM.
func writeGolden(t testing.TB, name string, b []byte, w attest.Want) {
	t.Helper()
	text := fmt.Sprintf("%x\n%x\n%x\n%x\n%x\n%x\n", b, w.Nonce, w.Bind, w.Identity.Bytes(), w.Decision.Bytes(), w.Approval)
	path := filepath.Join("..", "..", "attest", "testdata", "swtpm-"+name+".hex")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAttestationKeySignsNothingElse: it is restricted, so that no signature of it
// comes from anywhere but the TPM.
func TestAttestationKeySignsNothingElse(t *testing.T) {
	d := opened(t, provisioned(t, emulator(t), ""))
	forged := signature.Statement{Domain: "coffer/test/v1", Body: []byte("not the TPM's")}.Digest()
	err := d.conn.do(t.Context(), "try", func(tp transport.TPM) error {
		a := attester{d: d, t: tp}
		_, err := sign(tp, a.key(), forged)
		return err
	})
	if !errors.Is(err, tpm2.TPMRCTicket) {
		t.Errorf("the attestation key signed a digest (%s): %v, want TPM_RC_TICKET", hex.EncodeToString(forged[:4]), err)
	}
}
