package pkcs11

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/signature"
)

var statement = signature.Statement{Domain: "coffer/test", Body: []byte("body")}

// want fails the test unless err is of the kind, says the words and has a hint.
func want(t *testing.T, err error, kind hsm.Kind, say string) {
	t.Helper()
	var e *hsm.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(err.Error(), say) {
		t.Fatalf("got %v, want %v that says %q", err, kind, say)
	}
	if e.Hint() == "" {
		t.Errorf("%v: no hint", err)
	}
}

func TestProvisionIsIdempotent(t *testing.T) {
	u := newToken(t)
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrNotProvisioned, "no key")
	if err := Provision(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	before := publicKeys(openDevice(t, u))
	if err := Provision(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if after := publicKeys(openDevice(t, u)); len(before) != 4 || !maps.Equal(before, after) {
		t.Fatal("provisioning again changed keys")
	}
}

// publicKeys are the public halves, by name.
func publicKeys(d *Device) map[string]string {
	out := make(map[string]string)
	for name, k := range d.known {
		out[name] = string(k.public)
	}
	return out
}

// TestTwoVaultsOnOneToken: another object in the URI is another set of keys.
func TestTwoVaultsOnOneToken(t *testing.T) {
	u := newProvisioned(t)
	other := u
	other.Object = "other vault"
	_, err := Open(t.Context(), other)
	want(t, err, hsm.ErrNotProvisioned, `"other vault-`)
	if err := Provision(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	a, b := openDevice(t, u), openDevice(t, other)
	if publicKeys(a)["seal"] == publicKeys(b)["seal"] {
		t.Fatal("two vaults share a seal key")
	}
}

// TestHalfPair removes one half of a pair, as a kill between the two or a clumsy
// hand does.
func TestHalfPair(t *testing.T) {
	u := newProvisioned(t)
	identity := publicKeys(openDevice(t, u))["identity"]
	remove(t, openDevice(t, u), p11.CKO_PRIVATE_KEY, "decision")
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrNotProvisioned, "coffer-decision")
	if err := Provision(t.Context(), u); err != nil {
		t.Fatalf("public half alone: %v", err)
	}
	if publicKeys(openDevice(t, u))["identity"] != identity {
		t.Fatal("another key was touched")
	}
	remove(t, openDevice(t, u), p11.CKO_PUBLIC_KEY, "decision")
	want(t, Provision(t.Context(), u), hsm.ErrNotProvisioned, "without its public key")
	want(t, Provision(t.Context(), u), hsm.ErrNotProvisioned, "without its public key") // and it left it alone
}

// TestKeysGone removes a key from a token in use: the vault's own words for it are
// not "provision me".
func TestKeysGone(t *testing.T) {
	d := openDevice(t, newProvisioned(t))
	remove(t, d, p11.CKO_PRIVATE_KEY, "seal")
	restart(t, d)
	_, err := d.Sign(t.Context(), hsm.RoleIdentity, statement, nil)
	want(t, err, hsm.ErrUnavailable, "no longer shows its keys")
}

func restart(t *testing.T, d *Device) {
	t.Helper()
	d.mod.mu.RLock()
	gen := d.mod.gen
	d.mod.mu.RUnlock()
	if err := d.mod.restart(gen); err != nil {
		t.Fatal(err)
	}
}

// TestTwoKeysOfOneName: which of them is the vault's cannot be known.
func TestTwoKeysOfOneName(t *testing.T) {
	u := newProvisioned(t)
	d := openDevice(t, u)
	inSession(t, d, func(h p11.SessionHandle) {
		if err := generate(d.mod, h, label(d.object, "identity"), plan{kind: kindEC}); err != nil {
			t.Fatal(err)
		}
	})
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrConfig, `more than one key "coffer-identity"`)
	want(t, Provision(t.Context(), u), hsm.ErrConfig, `more than one key "coffer-identity"`)
}

func TestPad(t *testing.T) {
	for _, n := range []int{1, 31, 32} {
		value := bytes.Repeat([]byte{7}, n)
		got, err := pad(value)
		if err != nil || len(got) != 32 || !bytes.HasSuffix(got, value) || bytes.Count(got, []byte{0}) != 32-n {
			t.Errorf("%d bytes: got %x, %v", n, got, err)
		}
	}
	for _, n := range []int{0, 33} {
		if _, err := pad(make([]byte, n)); !errors.Is(err, hsm.ErrDevice) {
			t.Errorf("%d bytes: got %v, want ErrDevice", n, err)
		}
	}
}

// TestProvisionKilled kills processes that provision one token, at many moments,
// and goes on from what they left.
func TestProvisionKilled(t *testing.T) {
	need(t)
	tok, err := softhsm.InitToken(t.Context(), t.TempDir(), "killed", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := pkcs11uri.Parse(tok.URI())
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for i := range 12 {
		cmd := childCommand(u, "provision", tok.Env()...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil { // it has begun
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 500 * time.Microsecond) // a moment of its work, not a wait for it
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() != nil {
			killed++
		}
		if err := tok.Repair(); err != nil {
			t.Fatal(err)
		}
	}
	if killed == 0 {
		t.Fatal("no process was killed in time")
	}
	for _, task := range []string{"provision", "open"} {
		if out, err := childCommand(u, task, tok.Env()...).CombinedOutput(); err != nil {
			t.Fatalf("after %d kills, %s: %v: %s", killed, task, err, out)
		}
	}
}

// TestAdvanceKilled kills processes that ratchet: no epoch is half there, and what was
// sealed in the first still opens.
func TestAdvanceKilled(t *testing.T) {
	need(t)
	tok, err := softhsm.InitToken(t.Context(), t.TempDir(), "ratchet", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := pkcs11uri.Parse(tok.URI())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := childCommand(u, "provision", tok.Env()...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i := range 4 {
		cmd := childCommand(u, "advance", tok.Env()...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil { // it has begun
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 40 * time.Millisecond) // a moment of its work, not a wait for it
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if err := tok.Repair(); err != nil {
			t.Fatal(err)
		}
		if out, err := childCommand(u, "ratchet", tok.Env()...).CombinedOutput(); err != nil {
			t.Fatalf("after kill %d: %v: %s", i, err, out)
		}
	}
}

func TestWrongPINIsTriedOnce(t *testing.T) {
	u := newProvisioned(t)
	if err := os.WriteFile(u.PIN, []byte("0000000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrPIN, "tried once")
	if strings.Contains(err.Error(), "0000000000") {
		t.Errorf("error shows the PIN: %v", err)
	}
	// Neither this process nor the next tries it again.
	_, err = Open(t.Context(), u)
	want(t, err, hsm.ErrPIN, "not tried again")
	want(t, Provision(t.Context(), u), hsm.ErrPIN, "not tried again")
	out, err := childCommand(u, "open").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not tried again") {
		t.Errorf("next process: %v: %s", err, out)
	}
	if fi, err := os.Stat(u.PIN + ".refused"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mark: %v, %v; want mode 0600", fi, err)
	}
	// Corrected, it is.
	if err := os.WriteFile(u.PIN, []byte(testPIN), 0o600); err != nil {
		t.Fatal(err)
	}
	openDevice(t, u)
	if _, err := os.Stat(u.PIN + ".refused"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark of the wrong PIN is still there: %v", err)
	}
}

// TestLoginCounts counts what a token would count.
func TestLoginCounts(t *testing.T) {
	path := writeFile(t, "1234")
	tok := token{info: p11.TokenInfo{Label: "node", SerialNumber: "1"}}
	other := token{info: p11.TokenInfo{Label: "node", SerialNumber: "2"}}
	logins := func(p *pin, tok token, answer error, times int) (tried int) {
		for range times {
			err := p.login(tok, func(string) error { tried++; return answer }, func() uint { return 0 })
			if (err == nil) != (tried > 0 && answer == nil) {
				t.Fatalf("after %d tries: %v", tried, err)
			}
		}
		return tried
	}
	read := func() *pin {
		p, err := readPIN(path)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	wrong := p11.Error(p11.CKR_PIN_INCORRECT)
	if n := logins(read(), tok, wrong, 5); n != 1 {
		t.Errorf("wrong PIN, five calls: tried %d times, want 1", n)
	}
	if n := logins(read(), tok, nil, 5); n != 0 {
		t.Errorf("the same PIN in the next process: tried %d times, want 0", n)
	}
	if n := logins(read(), other, nil, 1); n != 1 {
		t.Errorf("the same PIN at another token: tried %d times, want 1", n)
	}
	if err := os.WriteFile(path, []byte("5678"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := logins(read(), tok, nil, 1); n != 1 {
		t.Errorf("another PIN: tried %d times, want 1", n)
	}
}

// TestWrongPINOnReconnect: the PIN was good, the token lost its sessions and has
// another PIN now.
func TestWrongPINOnReconnect(t *testing.T) {
	u := newProvisioned(t)
	d := openDevice(t, u)
	inSession(t, d, func(h p11.SessionHandle) {
		if err := d.mod.ctx.SetPIN(h, testPIN, "1111111111"); err != nil {
			t.Fatal(err)
		}
	})
	restart(t, d)
	_, first := d.Sign(t.Context(), hsm.RoleIdentity, statement, nil)
	want(t, first, hsm.ErrPIN, "tried once")
	_, second := d.Sign(t.Context(), hsm.RoleIdentity, statement, nil)
	if second != first {
		t.Errorf("second call: %v, want what was remembered of the first: %v", second, first)
	}
}

func TestLockedToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		flags  uint
		answer error
		tried  bool
		kind   hsm.Kind
		say    string
	}{
		{"locked before", p11.CKF_USER_PIN_LOCKED, nil, false, hsm.ErrLocked, "locked"},
		{"last try", p11.CKF_USER_PIN_FINAL_TRY | p11.CKF_USER_PIN_COUNT_LOW, nil, false, hsm.ErrPIN, "was not tried"},
		{"locked by then", 0, p11.Error(p11.CKR_PIN_LOCKED), true, hsm.ErrLocked, "locked"},
		{"no PIN set", 0, p11.Error(p11.CKR_USER_PIN_NOT_INITIALIZED), true, hsm.ErrConfig, "no user PIN"},
		{"removed", 0, p11.Error(p11.CKR_DEVICE_REMOVED), true, hsm.ErrUnavailable, "gone"},
		{"wrong", 0, p11.Error(p11.CKR_PIN_INCORRECT), true, hsm.ErrPIN, "one try is left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := readPIN(path)
			if err != nil {
				t.Fatal(err)
			}
			tried := false
			err = p.login(token{info: p11.TokenInfo{Label: "node", SerialNumber: "1", Flags: tc.flags}},
				func(string) error { tried = true; return tc.answer },
				func() uint { return p11.CKF_USER_PIN_FINAL_TRY })
			if tried != tc.tried {
				t.Errorf("PIN tried: %v, want %v", tried, tc.tried)
			}
			want(t, err, tc.kind, tc.say)
		})
	}
}

func TestPINFile(t *testing.T) {
	for _, tc := range []struct {
		name, contents string
		mode           os.FileMode
		say            string
	}{
		{"readable by others", "sesame\n", 0o644, "mode 0644, want 0600"},
		{"readable by the group", "sesame\n", 0o640, "mode 0640, want 0600"},
		{"empty", "", 0o600, "one line"},
		{"blank", "\n", 0o600, "one line"},
		{"two lines", "sesame\nsesame\n", 0o600, "one line"},
		{"long", strings.Repeat("1", 300), 0o600, "at most"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pin")
			if err := os.WriteFile(path, []byte(tc.contents), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := readPIN(path)
			if !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "sesame") {
				t.Fatalf("got %v, want ErrConfig that says %q and not the PIN", err, tc.say)
			}
		})
	}
	if _, err := readPIN("/nonexistent/pin"); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("missing: got %v, want ErrConfig", err)
	}
	if _, err := readPIN(t.TempDir()); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("directory: got %v, want ErrConfig", err)
	}
	if p, err := readPIN(writeFile(t, "sesame\r\n")); err != nil || string(p.value.Reveal()) != "sesame" {
		t.Errorf("CRLF: %v", err)
	}
}

func writeFile(t *testing.T, contents string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestModuleRefusals(t *testing.T) {
	u := newProvisioned(t)
	libc, err := exec.Command("sh", "-c", "ldconfig -p | sed -n 's|.* => \\(/.*/libc\\.so\\.6\\)$|\\1|p' | head -n 1").Output()
	if err != nil || len(bytes.TrimSpace(libc)) == 0 {
		t.Fatalf("found no libc: %q, %v", libc, err)
	}
	real, err := os.ReadFile(u.Module)
	if err != nil {
		t.Fatal(err)
	}
	writable := writeFile(t, string(real))
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, say string }{
		{"missing", "/nonexistent/lib.so", "/nonexistent/lib.so"},
		{"directory", t.TempDir(), "not a file"},
		{"text", writeFile(t, "hello"), "not a shared library"},
		{"empty", writeFile(t, ""), "not a shared library"},
		{"program", os.Args[0], "not a PKCS#11 module"},
		{"another library", string(bytes.TrimSpace(libc)), "no C_GetFunctionList"},
		{"cut", writeFile(t, string(real[:len(real)/3])), "not a shared library"},
		{"writable by all", writable, "written by everybody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := u
			bad.Module = tc.path
			_, err := Open(t.Context(), bad)
			if !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), tc.say) {
				t.Fatalf("got %v, want ErrConfig that says %q", err, tc.say)
			}
		})
	}
}

func TestTokenSelection(t *testing.T) {
	u := newToken(t)
	newTokenNamed(t, u.Token)
	_, err := Open(t.Context(), u)
	want(t, err, hsm.ErrConfig, "2 tokens match")
	if n := strings.Count(err.Error(), "serial"); n != 2 {
		t.Errorf("%d tokens named, want the two that match: %v", n, err)
	}
	missing := newProvisioned(t)
	missing.Token = "nobody"
	_, err = Open(t.Context(), missing)
	want(t, err, hsm.ErrUnavailable, `no token matches pkcs11:token=nobody`)
	want(t, Provision(t.Context(), missing), hsm.ErrUnavailable, "no token matches")
	wrongSerial := newProvisioned(t)
	wrongSerial.Serial = "ffff"
	_, err = Open(t.Context(), wrongSerial)
	want(t, err, hsm.ErrUnavailable, "no token matches")
	both := newProvisioned(t)
	both.Serial = openDevice(t, both).Info().Serial
	openDevice(t, both)
}

func TestClean(t *testing.T) {
	if got := clean("\x1b[31mnode\x00\xff 1\x7f   "); got != "[31mnode 1" {
		t.Errorf("got %q", got)
	}
}

// TestNoToken: a SoftHSM with an empty directory, or none, in a process of its own.
func TestNoToken(t *testing.T) {
	need(t)
	u := pkcs11uri.URI{Token: "x", PIN: writeFile(t, "1234")}
	var err error
	if u.Module, _, err = softhsm.FindModule(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, conf, say string }{
		{"empty directory", "directories.tokendir = " + t.TempDir() + "\n", "shows none"},
		{"missing directory", "directories.tokendir = /nonexistent\n", "couldn't initialise"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := childCommand(u, "open", softhsm.EnvConf+"="+writeFile(t, tc.conf)).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), tc.say) {
				t.Fatalf("%v: %s; want exit 1 and %q", err, out, tc.say)
			}
		})
	}
}

// TestTokenRemoved moves the token's directory away while eight goroutines use it:
// calls fail with a clear error, and when it is back everything works.
func TestTokenRemoved(t *testing.T) {
	need(t)
	dir := t.TempDir()
	removable := newLabel()
	tok, err := softhsm.InitToken(t.Context(), dir, removable, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// The token lies in a directory of its own inside the shared one.
	entries, err := os.ReadDir(tok.Tokens)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	inserted := filepath.Join(shared.dir, "tokens", entries[0].Name())
	away := filepath.Join(tok.Tokens, entries[0].Name())
	if err := os.Rename(away, inserted); err != nil {
		t.Fatal(err)
	}
	u := pkcs11uri.URI{Token: removable, Module: tok.Module, PIN: tok.PINFile}
	if err := Provision(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	d := openDevice(t, u)
	blob, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	bystander := openDevice(t, newProvisioned(t))

	for round := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var wg sync.WaitGroup
		started := make(chan struct{}, 8)
		errs := make(chan error, 8)
		for range 8 {
			wg.Go(func() {
				_, err := d.Sign(ctx, hsm.RoleDecision, statement, nil)
				started <- struct{}{}
				for err == nil && ctx.Err() == nil {
					if _, err = d.Sign(ctx, hsm.RoleDecision, statement, nil); err == nil {
						_, err = d.Unseal(ctx, blob, nil, nil)
					}
				}
				errs <- err
			})
		}
		for range 8 {
			<-started
		}
		if err := os.Rename(inserted, away); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		cancel()
		for range 8 {
			want(t, <-errs, hsm.ErrUnavailable, removable)
		}
		if _, err := bystander.Sign(t.Context(), hsm.RoleIdentity, statement, nil); err != nil {
			t.Fatalf("another token of the module: %v", err)
		}
		if err := os.Rename(away, inserted); err != nil {
			t.Fatal(err)
		}
		got, err := d.Unseal(t.Context(), blob, nil, nil)
		if err != nil || string(got) != "share" {
			t.Fatalf("round %d, token is back: %q, %v", round, got, err)
		}
		if _, err := d.Sign(t.Context(), hsm.RoleIdentity, statement, nil); err != nil {
			t.Fatalf("round %d, token is back: %v", round, err)
		}
	}
}

// TestSwappedToken puts another token with the same label and PIN in the place.
func TestSwappedToken(t *testing.T) {
	u := newProvisioned(t)
	d := openDevice(t, u)
	serial := d.Info().Serial
	// SoftHSM names a token's directory after its serial.
	var mine string
	entries, err := os.ReadDir(filepath.Join(shared.dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(strings.ReplaceAll(e.Name(), "-", ""), serial) {
			mine = filepath.Join(shared.dir, "tokens", e.Name())
		}
	}
	if mine == "" {
		t.Fatalf("no directory of token %s in %v", serial, entries)
	}
	if err := os.Rename(mine, filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	twin := newTokenNamed(t, u.Token)
	if err := Provision(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	_, err = d.Sign(t.Context(), hsm.RoleIdentity, statement, nil)
	want(t, err, hsm.ErrUnavailable, "now holds another")
}
