package soft

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
)

// childDir makes this test binary the process that hsmtest kills.
const childDir = "COFFER_TEST_SOFT_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		d, err := Open(context.Background(), dir)
		if err == nil {
			err = hsmtest.Exercise(context.Background(), d, os.Stdout)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func provision(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hsm")
	if err := Provision(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opener(dir string) func(context.Context) (hsm.HSM, error) {
	return func(ctx context.Context) (hsm.HSM, error) { return Open(ctx, dir) }
}

func TestConformance(t *testing.T) {
	dir := provision(t)
	hsmtest.Run(t, hsmtest.Backend{
		Open:  opener(dir),
		Other: opener(provision(t)),
		Child: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childDir+"="+dir)
			return cmd
		},
		State: dir,
	})
}

func TestInfoClaimsNothing(t *testing.T) {
	d, err := Open(t.Context(), provision(t))
	if err != nil {
		t.Fatal(err)
	}
	if i := d.Info(); i.Boundary != hsm.GradeNone || !strings.Contains(i.Model, "development") {
		t.Fatalf("a software HSM says of itself: %v", i)
	}
}

func TestProvisionIsIdempotent(t *testing.T) {
	dir := provision(t)
	before := readAll(t, dir)
	if len(before) != 4 {
		t.Fatalf("%d files, want 4 keys: %v", len(before), before)
	}
	if err := os.Remove(keyFile(dir, "decision")); err != nil { // as if killed before it
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir); !errors.Is(err, hsm.ErrNotProvisioned) {
		t.Fatalf("with a key missing: got %v, want ErrNotProvisioned", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := Provision(context.Background(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after := readAll(t, dir)
	if len(after) != 4 || after["identity.key"] != before["identity.key"] || after["seal.key"] != before["seal.key"] {
		t.Fatal("provisioning again changed keys or left files")
	}
	if _, err := Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, dir string) map[string]string {
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

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string) error
		kind  hsm.Kind
		say   string
	}{
		{"moved away", func(_ *testing.T, dir string) error { return os.Rename(dir, dir+".away") }, hsm.ErrUnavailable, "is not there"},
		{"open directory", func(_ *testing.T, dir string) error { return os.Chmod(dir, 0o755) }, hsm.ErrConfig, "0755"},
		{"open key", func(_ *testing.T, dir string) error { return os.Chmod(keyFile(dir, "seal"), 0o644) }, hsm.ErrConfig, "0644"},
		{"empty key", func(_ *testing.T, dir string) error { return os.Truncate(keyFile(dir, "seal"), 0) }, hsm.ErrConfig, "one PEM block"},
		{"cut key", func(_ *testing.T, dir string) error { return os.Truncate(keyFile(dir, "identity"), 80) }, hsm.ErrConfig, "one PEM block"},
		{"huge key", func(_ *testing.T, dir string) error { return os.Truncate(keyFile(dir, "identity"), 1<<20) }, hsm.ErrConfig, "at most"},
		{"key is a link", func(_ *testing.T, dir string) error {
			p := keyFile(dir, "identity")
			return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		}, hsm.ErrConfig, "regular file"},
		{"key of another curve", func(t *testing.T, dir string) error {
			return os.WriteFile(keyFile(dir, "identity"), p384Key(t), 0o600)
		}, hsm.ErrConfig, "want a P-256 key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := provision(t)
			if err := tc.spoil(t, dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), dir)
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.say) {
				t.Fatalf("got %v, want %v saying %q", err, tc.kind, tc.say)
			}
		})
	}
}

func p384Key(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return contents.Reveal()
}

func BenchmarkSign(b *testing.B)   { hsmtest.BenchSign(b, benchDevice(b)) }
func BenchmarkUnseal(b *testing.B) { hsmtest.BenchUnseal(b, benchDevice(b)) }

func benchDevice(b *testing.B) hsm.HSM {
	d, err := Open(b.Context(), provision(b))
	if err != nil {
		b.Fatal(err)
	}
	return d
}
