package keyfile

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

var statement = signature.Statement{Domain: "coffer/test/v1", Body: []byte("body")}

func TestRoundTrip(t *testing.T) {
	for name, make := range map[string]func(io.Reader, string) (*Key, error){"ed25519": New, "p256": NewP256} {
		t.Run(name, func(t *testing.T) {
			k, err := make(rand.Reader, "alice")
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, k)
		})
	}
}

func roundTrip(t *testing.T, k *Key) {
	path := filepath.Join(t.TempDir(), "alice.key")
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := k.Write(path); err == nil {
		t.Error("it overwrote a key")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Principal != "alice" || got.Public() != k.Public() {
		t.Errorf("read %s %v", got.Principal, got.Public())
	}
	for range 8 { // s is above half the order every other time
		statement.Body = append(statement.Body, 1)
		if err := signature.Verify(k.Public(), statement, got.Sign(statement)); err != nil {
			t.Error(err)
		}
	}
	digest := [32]byte{1}
	switch sig, err := got.Approve(digest); {
	case k.Public().Algorithm == signature.Ed25519:
		if err == nil || !strings.Contains(err.Error(), "p256 keys only") {
			t.Errorf("an Ed25519 key approves in a device: %v", err)
		}
	case err != nil || signature.VerifyDigest(k.Public(), digest, sig) != nil:
		t.Errorf("approval: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v", got, *got, got); strings.Contains(s, fmt.Sprint(k.seed.Reveal()[:4])[1:8]) {
		t.Error("printing shows the seed")
	}
}

// TestVector keeps the format: the seed is 32 times 7.
func TestVector(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	line := "coffer-key-v1 bob ed25519 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n"
	k, err := New(bytes.NewReader(bytes.Repeat([]byte{7}, 32)), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != line {
		t.Errorf("%q, %v", b, err)
	}
	if got, want := k.Public().String(), "ed25519:6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"; got != want {
		t.Errorf("public key %s", got)
	}
}

func TestBadFiles(t *testing.T) {
	good := "coffer-key-v1 bob ed25519 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
	for name, c := range map[string]struct{ content, want string }{
		"empty":     {"", "want one line"},
		"magic":     {strings.Replace(good, "v1", "v2", 1), "want one line"},
		"name":      {strings.Replace(good, "bob", "Bob", 1), "name"},
		"algorithm": {strings.Replace(good, "ed25519", "rsa", 1), "want ed25519"},
		"scalar 0":  {"coffer-key-v1 bob p256 " + strings.Repeat("A", 43), "not one of P-256"},
		"too large": {"coffer-key-v1 bob p256 " + strings.Repeat("_", 42) + "8", "not one of P-256"},
		"short":     {good[:len(good)-2], "the seed is not 32 bytes"},
		"padding":   {good + "=", "the seed is not 32 bytes"},
		"two lines": {good + "\n" + good, "want one line"},
		"large":     {strings.Repeat("x", 6000), "more than 5120 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "BwcHBw") {
			t.Errorf("%s: the error shows the seed: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(good), 0o640); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("mode 0640: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "missing")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
	if _, err := New(rand.Reader, "No Name"); err == nil {
		t.Error("a bad name")
	}
	if _, err := New(bytes.NewReader(nil), "bob"); err == nil {
		t.Error("no randomness")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("coffer-key-v1 bob ed25519 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n"))
	f.Add([]byte("coffer-key-v1 bob ed25519 "))
	f.Add(card(f).line())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, c, err := parse(b)
		if err != nil {
			return
		}
		got := []byte(nil)
		if c != nil {
			got = c.line()
		} else {
			got = k.line()
		}
		if !bytes.Equal(bytes.TrimSuffix(b, []byte("\n")), bytes.TrimSuffix(got, []byte("\n"))) {
			t.Fatalf("%q is read as %q", b, got)
		}
	})
}
