package softhsm

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func need(t *testing.T) (util string) {
	t.Helper()
	_, util, err := FindModule()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return util
}

func TestInitToken(t *testing.T) {
	util := need(t)
	dir := filepath.Join(t.TempDir(), "with a space", "hsm")
	tok, err := InitToken(t.Context(), dir, "node-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	show := func() string {
		cmd := exec.Command(util, "--show-slots", "--module", tok.Module)
		cmd.Env = append(os.Environ(), tok.Env()...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := show(); strings.Count(out, "node-1") != 1 {
		t.Fatalf("token is not shown once:\n%s", out)
	}
	for _, f := range []string{tok.PINFile, tok.Conf, filepath.Join(dir, "so-pin")} {
		if fi, err := os.Stat(f); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", f, fi, err)
		}
	}
	pin, err := os.ReadFile(tok.PINFile)
	if err != nil {
		t.Fatal(err)
	}

	again, err := InitToken(t.Context(), dir, "node-1", rand.Reader)
	if err != nil || again != tok {
		t.Fatalf("again: %+v, %v; want %+v", again, err, tok)
	}
	if now, err := os.ReadFile(tok.PINFile); err != nil || !bytes.Equal(now, pin) {
		t.Fatal("making the token again changed its PIN")
	}
	if out := show(); strings.Count(out, "node-1") != 1 {
		t.Fatalf("made again, token is not shown once:\n%s", out)
	}

	away := tok.Tokens + ".away"
	if err := os.Rename(tok.Tokens, away); err != nil {
		t.Fatal(err)
	}
	if _, err := InitToken(t.Context(), dir, "node-1", rand.Reader); !errors.Is(err, hsm.ErrUnavailable) {
		t.Fatalf("token moved away: got %v, want ErrUnavailable", err)
	}
	if err := os.Rename(away, tok.Tokens); err != nil {
		t.Fatal(err)
	}
	if _, err := InitToken(t.Context(), dir, "node-1", rand.Reader); err != nil {
		t.Fatalf("token brought back: %v", err)
	}
}

// TestRepair: SoftHSM killed in a login leaves token.object empty.
func TestRepair(t *testing.T) {
	util := need(t)
	tok, err := InitToken(t.Context(), t.TempDir(), "node-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(tok.Tokens, "*", tokenObject))
	if err != nil || len(objects) != 1 {
		t.Fatal(objects, err)
	}
	shown := func() bool {
		cmd := exec.Command(util, "--show-slots", "--module", tok.Module)
		cmd.Env = append(os.Environ(), tok.Env()...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Contains(string(out), "node-1")
	}
	if err := os.Truncate(objects[0], 0); err != nil {
		t.Fatal(err)
	}
	if shown() {
		t.Fatal("SoftHSM reads an empty token.object: Repair is no longer needed")
	}
	if err := tok.Repair(); err != nil || !shown() {
		t.Fatalf("repaired token is not shown: %v", err)
	}
	before, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Repair(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(objects[0]); err != nil || !bytes.Equal(after, before) {
		t.Fatal("a sound token was touched")
	}
}

func TestInitTokenAfterInterruption(t *testing.T) {
	need(t)
	dir := t.TempDir()
	// As a process leaves it that was killed while softhsm2-util ran.
	if err := os.MkdirAll(filepath.Join(dir, "tokens.new", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pin"), []byte("12"), 0o600); err != nil {
		t.Fatal(err)
	}
	tok, err := InitToken(t.Context(), dir, "node", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(tok.Tokens)
	if err != nil || len(entries) != 1 || entries[0].Name() == "half" {
		t.Fatalf("tokens: %v, %v; want the new one alone", entries, err)
	}
}

func TestInitTokenRefuses(t *testing.T) {
	for _, label := range []string{"", strings.Repeat("x", 33)} {
		if _, err := InitToken(t.Context(), t.TempDir(), label, rand.Reader); !errors.Is(err, hsm.ErrConfig) {
			t.Errorf("label %q: got %v, want ErrConfig", label, err)
		}
	}
}

func TestFindModuleMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libsofthsm2.so")
	t.Setenv(EnvModule, missing)
	_, _, err := FindModule()
	var e *hsm.Error
	if !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || !strings.Contains(e.Error(), missing) {
		t.Fatalf("got %v, want ErrUnavailable that names %s", err, missing)
	}
	if !strings.Contains(e.Hint(), "install") {
		t.Fatalf("hint %q does not say how to install", e.Hint())
	}
}
