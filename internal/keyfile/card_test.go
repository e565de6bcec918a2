package keyfile

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
)

func card(t testing.TB) *Card {
	k, err := NewP256(rand.Reader, "bob")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Destroy()
	return &Card{"bob", k.Public(), pkcs11uri.URI{Token: "bob's card", Object: "coffer-bob", Module: "/usr/lib/opensc-pkcs11.so"}}
}

func TestCardRoundTrip(t *testing.T) {
	c := card(t)
	path := filepath.Join(t.TempDir(), "bob.key")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(path); err == nil {
		t.Error("it overwrote a key")
	}
	want := "coffer-key-v1 bob pkcs11 " + base64.RawURLEncoding.EncodeToString([]byte(c.Public.Key)) +
		" pkcs11:token=bob's%20card;object=coffer-bob?module-path=/usr/lib/opensc-pkcs11.so\n"
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Fatalf("%q, %v", b, err)
	}
	k, got, err := Open(path)
	if err != nil || k != nil || *got != *c {
		t.Fatalf("%v, %v, %v", k, got, err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "on a smart card") {
		t.Errorf("a program that knows no cards: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	if _, _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("mode 0644: %v", err)
	}
}

func TestBadCardFiles(t *testing.T) {
	good := strings.TrimSuffix(string(card(t).line()), "\n")
	fields := strings.Fields(good)
	for name, x := range map[string]struct{ line, want string }{
		"no card":     {strings.Replace(good, "token=bob's%20card;", "", 1), "must name"},
		"no key":      {strings.Replace(good, ";object=coffer-bob", "", 1), "must name"},
		"no library":  {strings.Replace(good, "?module-path=/usr/lib/opensc-pkcs11.so", "", 1), "must name"},
		"a PIN":       {good + "&pin-value=1234", "pin-value"},
		"two forms":   {strings.Replace(good, "token=bob's", "token=%62ob's", 1), "one form"},
		"no point":    {strings.Replace(good, fields[3], "AAAA", 1), "65-byte"},
		"no base64":   {strings.Replace(good, fields[3], "=", 1), "base64url"},
		"name":        {strings.Replace(good, " bob ", " Bob ", 1), "name"},
		"another URI": {strings.Replace(good, "pkcs11:", "https:", 1), "must start with"},
		"no URI":      {strings.Join(fields[:4], " "), "want ed25519 or p256"},
	} {
		_, _, err := parse([]byte(x.line))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if err != nil && strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: the error shows the PIN: %v", name, err)
		}
	}
	c := card(t)
	c.URI.Object = ""
	if err := c.Write(filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("it writes what it doesn't read")
	}
}
