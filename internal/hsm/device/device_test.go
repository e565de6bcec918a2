package device

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func TestSoft(t *testing.T) {
	uri := "soft:" + filepath.Join(t.TempDir(), "hsm")
	if d, err := Open(t.Context(), uri); !errors.Is(err, hsm.ErrUnavailable) || d != nil {
		t.Fatalf("before provisioning: got %v, %v; want ErrUnavailable", d, err)
	}
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadURI(t *testing.T) {
	for _, tc := range []struct{ uri, say string }{
		{"", "want soft:DIR or pkcs11:"},
		{"/some/dir", "want soft:DIR or pkcs11:"},
		{"nitro:0", "want soft:DIR or pkcs11:"},
		{"tpm:0", "want /dev/tpmrmN"},
		{"tpm:/dev/tpmrm0", "want name=value"},
		{"soft:", "names no directory"},
		{"pkcs11:tokn=x", "tokn"},
		{"pkcs11:token=x", "no PKCS#11 module"},
		{"pkcs11:?module-path=/lib.so&pin-source=file:/pin", "no token"},
		{"pkcs11:token=x?module-path=/lib.so", "no PIN file"},
	} {
		d, err := Open(t.Context(), tc.uri)
		if !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), tc.say) || d != nil {
			t.Errorf("%q: got %v, %v; want ErrConfig that says %q", tc.uri, d, err, tc.say)
		}
		if err := Provision(t.Context(), tc.uri); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("provision %q: got %v, want ErrConfig that says %q", tc.uri, err, tc.say)
		}
	}
}
