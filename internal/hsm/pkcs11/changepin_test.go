package pkcs11

import (
	"errors"
	"os"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

func pinOf(s string) secret.Bytes { return secret.New([]byte(s)) }

func TestChangePIN(t *testing.T) {
	u := newProvisioned(t)
	before := publicKeys(openDevice(t, u))
	if err := ChangePIN(t.Context(), u, pinOf("1122334455")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(u.PIN); err != nil || string(b) != "1122334455\n" {
		t.Errorf("PIN file: %q, %v", b, err)
	}
	if fi, err := os.Stat(u.PIN); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("PIN file: %v, %v", fi, err)
	}
	if after := publicKeys(openDevice(t, u)); after["seal"] != before["seal"] {
		t.Error("the keys changed with the PIN")
	}
	for _, tc := range []struct{ name, pin, say string }{
		{"the same", "1122334455", "is the old one"},
		{"empty", "", "0 bytes"},
		{"two lines", "12\n34", "want one line"},
		{"short", "1", "takes 4 to 255"},
	} {
		if err := ChangePIN(t.Context(), u, pinOf(tc.pin)); !errors.Is(err, hsm.ErrInput) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: got %v, want ErrInput that says %q", tc.name, err, tc.say)
		}
	}
	// A wrong old PIN is tried once, and nothing changes.
	if err := os.WriteFile(u.PIN, []byte("00000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, ChangePIN(t.Context(), u, pinOf("6677889900")), hsm.ErrPIN, "tried once")
	want(t, ChangePIN(t.Context(), u, pinOf("6677889900")), hsm.ErrPIN, "not tried again")
	if err := os.WriteFile(u.PIN, []byte("1122334455\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	openDevice(t, u)
}

// TestChangePINCutShort: the token has the new PIN, the files are as before the rename.
func TestChangePINCutShort(t *testing.T) {
	u := newProvisioned(t)
	if err := os.WriteFile(u.PIN+newPINSuffix, []byte("1122334455\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ChangePIN(t.Context(), u, pinOf("6677889900")); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "changed nothing") {
		t.Errorf("over the file of an earlier change: %v", err)
	}
	d := openDevice(t, u)
	inSession(t, d, func(h p11.SessionHandle) {
		if err := d.mod.ctx.SetPIN(h, testPIN, "1122334455"); err != nil {
			t.Fatal(err)
		}
	})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrPIN, "tried once")
	var e *hsm.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "rename that over it") {
		t.Errorf("the hint does not say what to do: %v", e)
	}
	if err := os.Rename(u.PIN+newPINSuffix, u.PIN); err != nil {
		t.Fatal(err)
	}
	openDevice(t, u)
}

// TestFullToken: a token without room for the next epoch's keys says so, goes on with
// those that it has, and goes on ratcheting when there is room.
func TestFullToken(t *testing.T) {
	u := newProvisioned(t)
	d := openDevice(t, u)
	blob, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	generateFails = func(label string) error {
		if strings.HasSuffix(label, "seal-2") {
			return p11.Error(p11.CKR_DEVICE_MEMORY)
		}
		return nil
	}
	_, err = d.Advance(t.Context())
	generateFails = nil
	want(t, err, hsm.ErrFull, "no room for key")
	if got, err := d.Unseal(t.Context(), blob, nil, nil); err != nil || string(got) != "share" {
		t.Fatalf("on a full token: %q, %v", got, err)
	}
	if epoch, err := d.SealEpoch(t.Context()); err != nil || epoch != 1 {
		t.Fatalf("epoch %d, %v; want the one before", epoch, err)
	}
	if epoch, err := d.Advance(t.Context()); err != nil || epoch != 2 {
		t.Fatalf("with room again: epoch %d, %v", epoch, err)
	}
	for _, answer := range []p11.Error{p11.CKR_DEVICE_MEMORY, p11.CKR_HOST_MEMORY, ckrResourceExceeded} {
		if err := made("k", answer); !errors.Is(err, hsm.ErrFull) {
			t.Errorf("%v: got %v, want ErrFull", answer, err)
		}
	}
}
