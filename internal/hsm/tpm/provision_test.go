package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/hsm"
)

const p256Text = "p256:BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"

func TestParseURI(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want URI
	}{
		{"tpm:/dev/tpmrm0?dir=/var/lib/coffer/tpm", URI{Device: "/dev/tpmrm0", Dir: "/var/lib/coffer/tpm"}},
		{"tpm:unix:/run/s?dir=/d&slot=3", URI{Socket: "/run/s", Dir: "/d", Slot: 3}},
		{"tpm:unix:/my%20tpm/s?dir=/a%26b", URI{Socket: "/my tpm/s", Dir: "/a&b"}},
		{"tpm:/dev/tpmrm12?dir=/d&owner-auth=file:/o&endorsement-auth=/e", URI{Device: "/dev/tpmrm12", Dir: "/d", OwnerAuth: "/o", EndorsementAuth: "/e"}},
	} {
		got, err := ParseURI(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", tc.in, d)
		}
		if again, err := ParseURI(got.String()); err != nil || cmp.Diff(got, again) != "" {
			t.Errorf("%s: String gives %s, which parses to %+v, %v", tc.in, got, again, err)
		}
	}
	u, err := ParseURI("tpm:unix:/s?dir=/d&operator=" + p256Text + "&authority=" + p256Text)
	if err != nil || u.Operator == nil || u.Authority == nil || u.Operator.String() != p256Text {
		t.Fatalf("%+v, %v", u, err)
	}
	if again, err := ParseURI(u.String()); err != nil || *again.Operator != *u.Operator || *again.Authority != *u.Authority {
		t.Errorf("%s: %+v, %v", u, again, err)
	}
}

func TestParseURIRefuses(t *testing.T) {
	for _, tc := range []struct{ in, say string }{
		{"", `must start with "tpm:"`},
		{"soft:/d", `must start with "tpm:"`},
		{"tpm:" + strings.Repeat("x", maxURI), "at most"},
		{"tpm:/dev/tpm0?dir=/d", "not /dev/tpmN"},
		{"tpm:/dev/tpmrm?dir=/d", "want /dev/tpmrmN"},
		{"tpm:/dev/tpmrm00?dir=/d", "want /dev/tpmrmN"},
		{"tpm:/dev/tpmrm0/../x?dir=/d", "want /dev/tpmrmN"},
		{"tpm:unix:?dir=/d", "want /dev/tpmrmN"},
		{"tpm:unix:s?dir=/d", "not an absolute path"},
		{"tpm:/dev/tpmrm0", "want name=value"},
		{"tpm:/dev/tpmrm0?", "want name=value"},
		{"tpm:/dev/tpmrm0?slot=1", "no directory"},
		{"tpm:/dev/tpmrm0?dir=d", "not an absolute path"},
		{"tpm:/dev/tpmrm0?dir=/d&dir=/e", "given twice"},
		{"tpm:/dev/tpmrm0?dir=/d&slot=16", "not a slot"},
		{"tpm:/dev/tpmrm0?dir=/d&slot=01", "not a slot"},
		{"tpm:/dev/tpmrm0?dir=/d&slot=-1", "not a slot"},
		{"tpm:/dev/tpmrm0?dir=/d&pin=1234", "unknown, want dir"},
		{"tpm:/dev/tpmrm0?dir=/d&operator=x", "want ALGORITHM:BASE64URL"},
		{"tpm:/dev/tpmrm0?dir=/d&operator=ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "want p256"},
		{"tpm:/dev/tpmrm0?dir=/d%", "mid-escape"},
		{"tpm:/dev/tpmrm0?dir=/d%zz", "not an escape"},
		{"tpm:/dev/tpmrm0?dir=/d%0a", "control character"},
		{"tpm:/dev/tpmrm0?dir=/a b", "must be written"},
		{"tpm:/dev/tpmrm0?dir=/d&owner-auth=secret", "not an absolute path"},
	} {
		if u, err := ParseURI(tc.in); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%q: %+v, %v; want an error that says %q", tc.in, u, err, tc.say)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("tpm:unix:/my%20tpm/s?dir=/a%26b&slot=3&operator=" + p256Text)
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		again, err := ParseURI(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q gives %s, which gives %s, %v", s, u, again, err)
		}
	})
}

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// TestProvisionGoesOn: killed after each file, it makes the rest and replaces nothing.
func TestProvisionGoesOn(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "&authority="+p256Text+"&operator="+p256Text)
	keys := keysDir(t, uri)
	whole := contents(t, keys)
	for _, lost := range []string{"state-1", "cold-1", "approval", "decision", "identity", "epochs"} {
		if err := os.Remove(filepath.Join(keys, lost)); err != nil {
			t.Fatal(err)
		}
		if lost == "identity" || lost == "decision" || lost == "approval" { // its handle is made after the file
			evict(t, uri, map[string]uint32{"identity": atIdentity, "decision": atDecision, "approval": atApproval}[lost])
		}
		if lost != "cold-1" { // state-1 is gone too by then
			if _, err := Open(t.Context(), uri); !errors.Is(err, hsm.ErrNotProvisioned) {
				t.Errorf("without %s: %v, want ErrNotProvisioned", lost, err)
			}
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := Provision(context.Background(), uri); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after := contents(t, keys)
	if len(after) != len(whole) || after[fileDevice] != whole[fileDevice] || after[fileBase] != whole[fileBase] {
		t.Errorf("files were %d, are %d, or the device is another", len(whole), len(after))
	}
	opened(t, uri)
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(after, contents(t, keys)); d != "" {
		t.Errorf("provisioning again changed files: %s", d)
	}
	// Handles that were freed are filled again from the directory.
	for _, at := range []uint32{atParent, atAttest, atIdentity, atDecision, atApproval} {
		evict(t, uri, at)
	}
	opened(t, uri)
}

func evict(t testing.TB, uri string, at uint32) {
	t.Helper()
	u, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	err = c.do(t.Context(), "evict", func(tp transport.TPM) error {
		h := u.persistent(at)
		got, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(tp)
		if err != nil {
			return err
		}
		_, err = tpm2.EvictControl{Auth: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			ObjectHandle: &tpm2.NamedHandle{Handle: h, Name: got.Name}, PersistentHandle: h}.Execute(tp)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "&operator="+p256Text)
	whole := keysDir(t, uri)
	second := another(t)
	for _, tc := range []struct {
		name  string
		spoil func(dir string) error
		uri   func(dir string) string // nil: as provisioned
		kind  hsm.Kind
		say   string
	}{
		{"moved away", func(dir string) error { return os.RemoveAll(dir) }, nil, hsm.ErrNotProvisioned, "is not there"},
		{"open directory", func(dir string) error { return os.Chmod(dir, 0o755) }, nil, hsm.ErrConfig, "0755"},
		{"open file", func(dir string) error { return os.Chmod(filepath.Join(dir, fileDevice), 0o644) }, nil, hsm.ErrConfig, "0644"},
		{"damaged device file", func(dir string) error { return os.Truncate(filepath.Join(dir, fileDevice), 40) }, nil, hsm.ErrConfig, "damaged"},
		{"damaged key", func(dir string) error { return os.Truncate(filepath.Join(dir, fileIdentity), 40) }, nil, hsm.ErrConfig, "damaged"},
		{"huge key", func(dir string) error { return os.Truncate(filepath.Join(dir, fileIdentity), 1<<20) }, nil, hsm.ErrConfig, "at most"},
		{"key is a link", func(dir string) error {
			p := filepath.Join(dir, fileIdentity)
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}, nil, hsm.ErrConfig, "regular file"},
		{"another operator", func(string) error { return nil }, func(dir string) string {
			return s.URI(dir) + "&operator=" + newPerson(t).public.String()
		}, hsm.ErrConfig, "was provisioned with operator"},
		{"an authority that never was", func(string) error { return nil }, func(dir string) string {
			return s.URI(dir) + "&authority=" + p256Text
		}, hsm.ErrConfig, "authority none"},
		{"another TPM", func(string) error { return nil }, func(dir string) string { return second.URI(dir) }, hsm.ErrConfig, "on another TPM"},
		{"keys exchanged", func(dir string) error {
			a, b := filepath.Join(dir, fileIdentity), filepath.Join(dir, fileDecision)
			return errors.Join(os.Rename(a, a+"x"), os.Rename(b, a), os.Rename(a+"x", b))
		}, nil, hsm.ErrConfig, "is taken"},
		{"no socket", func(string) error { return nil }, func(dir string) string { return "tpm:unix:" + filepath.Join(dir, "none") + "?dir=" + dir }, hsm.ErrUnavailable, "not there"},
		{"no device", func(string) error { return nil }, func(dir string) string { return "tpm:/dev/tpmrm4711?dir=" + dir }, hsm.ErrUnavailable, "couldn't open"},
		{"open password file", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "pw"), nil, 0o600), os.Chmod(filepath.Join(dir, "pw"), 0o644))
		}, func(dir string) string { return s.URI(dir) + "&owner-auth=" + filepath.Join(dir, "pw") }, hsm.ErrConfig, "mode 0600"},
	} {
		dir := filepath.Join(t.TempDir(), "k")
		copyDir(t, whole, dir)
		if err := tc.spoil(dir); err != nil {
			t.Fatal(err)
		}
		at := s.URI(dir)
		if tc.uri != nil {
			at = tc.uri(dir)
		}
		if d, err := Open(t.Context(), at); !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v; want %v that says %q", tc.name, err, tc.kind, tc.say)
			if err == nil {
				d.Close()
			}
		}
	}
	// Another directory on the slot that is taken: nothing of the first is touched.
	if err := Provision(t.Context(), s.URI(filepath.Join(t.TempDir(), "new"))); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "slot 0 of the TPM is taken") {
		t.Errorf("a slot that is taken: %v", err)
	}
	d := opened(t, uri)
	healthy(t, d)
	if _, err := d.Public(t.Context(), hsm.RoleApproval); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("without an authority: %v, want ErrUnsupported", err)
	}
}

// TestHierarchyPasswords: an owner with a password lets nobody make keys without it.
func TestHierarchyPasswords(t *testing.T) {
	s := emulator(t)
	dir := t.TempDir()
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte("opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := ParseURI(s.URI(dir))
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(u)
	if err != nil {
		t.Fatal(err)
	}
	err = c.do(t.Context(), "set passwords", func(tp transport.TPM) error {
		for _, h := range []tpm2.TPMHandle{tpm2.TPMRHOwner, tpm2.TPMRHEndorsement} {
			_, err := tpm2.HierarchyChangeAuth{AuthHandle: tpm2.AuthHandle{Handle: h, Auth: tpm2.PasswordAuth(nil)},
				NewAuth: tpm2.TPM2BAuth{Buffer: []byte("opensesame")}}.Execute(tp)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, c.close()); err != nil {
		t.Fatal(err)
	}
	if err := Provision(t.Context(), s.URI(filepath.Join(dir, "a"))); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("without the passwords: %v, want ErrConfig", err)
	}
	uri := s.URI(filepath.Join(dir, "b")) + "&owner-auth=file:" + pw + "&endorsement-auth=file:" + pw
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	healthy(t, opened(t, uri))
}

func FuzzDecodeFiles(f *testing.F) {
	s := emulator(f)
	for _, b := range contents(f, keysDir(f, provisioned(f, s, "&authority="+p256Text+"&operator="+p256Text))) {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDevice(b); err == nil && string(d.encode()) != string(b) {
			t.Error("device file has two encodings")
		}
		if k, err := decodeBlob(b); err == nil && string(k.encode()) != string(b) {
			t.Error("key file has two encodings")
		}
		if a, err := decodeInstalled(b); err == nil && string(a.encode()) != string(b) {
			t.Error("approvers file has two encodings")
		}
	})
}

// TestSpecifiedAttributes: what the TPM shows is what docs/spec/tpm.md says.
func TestSpecifiedAttributes(t *testing.T) {
	s := emulator(t)
	d := opened(t, provisioned(t, s, "&slot=2&authority="+p256Text+"&operator="+p256Text))
	seal, err := d.blobOf(hsm.ClassState, 1)
	if err != nil {
		t.Fatal(err)
	}
	cold, err := d.blobOf(hsm.ClassCold, 1)
	if err != nil {
		t.Fatal(err)
	}
	attributes := func(area []byte) uint32 { return binary.BigEndian.Uint32(area[4:]) }
	for name, k := range map[string]struct {
		area []byte
		want uint32
	}{"state": {seal.public, 0x000204b2}, "cold": {cold.public, 0x000204b2}} {
		if got := attributes(k.area); got != k.want {
			t.Errorf("%s seal key: attributes 0x%08x, want 0x%08x", name, got, k.want)
		}
	}
	want := map[tpm2.TPMHandle]uint32{0x8143f020: 0x00030472, 0x8143f021: 0x00040472, 0x8143f022: 0x00040472, 0x8143f023: 0x00050472, 0x8143f024: 0x000404b2}
	err = d.conn.do(t.Context(), "look", func(tp transport.TPM) error {
		for h, w := range want {
			got, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(tp)
			if err != nil {
				return err
			}
			if a := attributes(got.OutPublic.Bytes()); a != w {
				t.Errorf("handle 0x%08x: attributes 0x%08x, want 0x%08x", uint32(h), a, w)
			}
		}
		for n := range 3 {
			h := tpm2.TPMHandle(0x0183f020 + n)
			got, err := tpm2.NVReadPublic{NVIndex: h}.Execute(tp)
			if err != nil {
				return err
			}
			if a := binary.BigEndian.Uint32(got.NVPublic.Bytes()[6:]); a != 0x22040014 {
				t.Errorf("index 0x%08x: attributes 0x%08x, want 0x22040014", uint32(h), a)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
