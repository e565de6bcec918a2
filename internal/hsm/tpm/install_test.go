package tpm

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// signedSet is a set of one approver that somebody signed.
func signedSet(t testing.TB, by, approver person, counter attest.Name, generation uint64) installed {
	t.Helper()
	set, err := attest.NewApprovers([]signature.PublicKey{approver.public}, 1, counter, generation)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	return installed{set, by.sign(t, digest)}
}

func TestInstallApprovers(t *testing.T) {
	s := emulator(t)
	authority, approver := newPerson(t), newPerson(t)
	uri := provisioned(t, s, "&authority="+authority.public.String())
	d := opened(t, uri)
	if _, _, err := d.Approvers(t.Context()); !errors.Is(err, hsm.ErrNotProvisioned) {
		t.Errorf("before: %v, want ErrNotProvisioned", err)
	}
	in := install(t, d, authority, []person{approver}, 1)
	counter, now, err := d.Generation(t.Context())
	if err != nil || now != in.set.Generation || counter != in.set.Counter {
		t.Fatalf("generation %d of %v, %v; installed %d", now, counter, err, in.set.Generation)
	}
	st := approvalStatement(1)
	works := func(d *Device, when string) {
		t.Helper()
		if _, err := d.Sign(t.Context(), hsm.RoleApproval, st, hsm.Approvals{approver.approve(t, d, st)}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if set, by, err := d.Approvers(t.Context()); err != nil || set.Generation != in.set.Generation || string(by.Bytes) != string(in.by.Bytes) {
			t.Errorf("%s: generation %d, %v; want %d", when, set.Generation, err, in.set.Generation)
		}
	}
	other := counter
	other[33] ^= 1
	thief := newPerson(t)
	for _, tc := range []struct {
		name string
		in   installed
		kind hsm.Kind
		say  string
	}{
		{"not the authority's", signedSet(t, thief, thief, counter, now+1), hsm.ErrApproval, "not the authority's"},
		{"the same generation", signedSet(t, authority, thief, counter, now), hsm.ErrInput, "already"},
		{"an earlier generation", signedSet(t, authority, thief, counter, now-1), hsm.ErrInput, "already"},
		{"a generation far ahead", signedSet(t, authority, thief, counter, now+maxStep+1), hsm.ErrInput, "at"},
		{"another device's", signedSet(t, authority, thief, other, now+1), hsm.ErrInput, "is for counter"},
	} {
		if err := d.InstallApprovers(t.Context(), tc.in.set, tc.in.by); !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v; want %v that says %q", tc.name, err, tc.kind, tc.say)
		}
		works(d, "after "+tc.name)
	}
	plain := opened(t, provisioned(t, s, "&slot=1"))
	if err := plain.InstallApprovers(t.Context(), in.set, in.by); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("without an approval key: %v, want ErrUnsupported", err)
	}
	if _, _, err := plain.Generation(t.Context()); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("without an approval key: %v, want ErrUnsupported", err)
	}
	if _, _, err := plain.Approvers(t.Context()); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("without an approval key: %v, want ErrUnsupported", err)
	}

	// Killed between the file and the counter: opening does the rest.
	old, where := in, dir(keysDir(t, uri))
	in = signedSet(t, authority, approver, counter, now+1)
	if err := where.write(fileApprovers, in.encode()); err != nil {
		t.Fatal(err)
	}
	again := opened(t, uri)
	works(again, "after a kill")
	if _, g, err := again.Generation(t.Context()); err != nil || g != now+1 {
		t.Errorf("after a kill the generation is %d, %v; want %d", g, err, now+1)
	}
	// What the host may write into the file.
	for _, tc := range []struct {
		name string
		file []byte
		say  string
	}{
		{"a set of its own", signedSet(t, thief, thief, counter, now+2).encode(), "not the authority's"},
		{"a set far ahead", signedSet(t, authority, approver, counter, now+maxStep+9).encode(), "apart"},
		{"half a set", in.encode()[:40], "damaged"},
	} {
		if err := where.write(fileApprovers, tc.file); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), uri); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v; want ErrConfig that says %q", tc.name, err, tc.say)
		}
	}
	// The replaced set, put back: the TPM refuses what its approvers sign.
	if err := where.write(fileApprovers, old.encode()); err != nil {
		t.Fatal(err)
	}
	back := opened(t, uri)
	if _, err := back.Sign(t.Context(), hsm.RoleApproval, st, hsm.Approvals{approver.approve(t, back, st)}); !errors.Is(err, hsm.ErrApproval) || !strings.Contains(err.Error(), "TPM refuses") {
		t.Errorf("the replaced set: %v, want ErrApproval by the TPM", err)
	}
	if err := where.write(fileApprovers, in.encode()); err != nil {
		t.Fatal(err)
	}
	works(back, "with the set in force back")
	healthy(t, back)
}
