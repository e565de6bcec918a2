package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/devicetest"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/signature"
)

// TestCagedDevices serves every device that this machine has from a confined
// helper: the foreign library works in there, signs and unseals.
func TestCagedDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("starts devices")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	pkcs11 := func(open func(testing.TB) devicetest.Device) func(*testing.T) (string, []string) {
		return func(t *testing.T) (string, []string) {
			d := open(t)
			return d.URI.String(), d.Env
		}
	}
	for name, open := range map[string]func(*testing.T) (uri string, env []string){
		"software":     func(t *testing.T) (string, []string) { return "soft:" + filepath.Join(t.TempDir(), "keys"), nil },
		"SoftHSM":      pkcs11(devicetest.SoftHSM),
		"openCryptoki": pkcs11(devicetest.OpenCryptoki),
		"NSS":          pkcs11(devicetest.NSS),
		"tpm2-pkcs11":  pkcs11(devicetest.TPM2PKCS11),
		"TPM":          emulatedTPM,
	} {
		t.Run(name, func(t *testing.T) {
			uri, env := open(t)
			dir, err := os.MkdirTemp("", "hc") // short, for the socket's sake
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			out := serveCaged(t, path, dir, uri, env)
			use(t, filepath.Join(dir, "s"), out)
			b, _ := os.ReadFile(out)
			// Root's helper says that it is one, and lacks nothing else.
			text := string(b)
			if os.Geteuid() == 0 {
				const root = `level=WARN msg="THIS HSM HELPER IS NOT ISOLATED IN FULL" process=hsm missing="user: root, who reaches every unix socket of this host: give the helper a user of its own"`
				if !strings.Contains(text, root) {
					t.Errorf("the helper does not say that it is root's:\n%s", text)
				}
				text = strings.Replace(text, root, "", 1)
			}
			if !strings.Contains(text, "msg=confined") || !strings.Contains(text, "landlock: abi") || !strings.Contains(text, "seccomp: on") || strings.Contains(text, "NOT") {
				t.Errorf("the helper says:\n%s", text)
			}
		})
	}
}

func emulatedTPM(t *testing.T) (string, []string) {
	if _, _, err := swtpm.Find(); err != nil {
		devicetest.Missing(t, err)
	}
	dir, err := os.MkdirTemp("", "tp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tpm, err := swtpm.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tpm.Stop() })
	return "tpm:unix:" + tpm.Socket + "?dir=" + filepath.Join(dir, "keys"), nil
}

// serveCaged starts `coffer hsm` and returns the file with what it says.
func serveCaged(t *testing.T, program, dir, uri string, env []string) (out string) {
	t.Helper()
	text := fmt.Sprintf("[hsm]\ndevice = %q\nsocket = %q\n[hsm.env]\n", uri, filepath.Join(dir, "s"))
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		text += fmt.Sprintf("%s = %q\n", k, v)
	}
	config := filepath.Join(dir, "hsm.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(dir, "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(program, "hsm", "--config", config)
	cmd.Stdout, cmd.Stderr, cmd.Dir = f, f, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return out
}

// use signs and unseals.
func use(t *testing.T, socket, out string) {
	t.Helper()
	var c *remote.Client
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if c, err = remote.Dial(t.Context(), socket); err == nil {
			break
		}
		if b, _ := os.ReadFile(out); time.Now().After(end) || strings.Contains(string(b), "error:") {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	defer c.Close()
	st := signature.Statement{Domain: "coffer/test/v1", Body: []byte("x")}
	key, err := c.Public(t.Context(), hsm.RoleDecision)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := c.Sign(t.Context(), hsm.RoleDecision, st, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(key, st, sig); err != nil {
		t.Fatal(err)
	}
	epoch := uint64(1)
	if e, err := c.SealEpoch(t.Context()); err == nil {
		epoch = e
	}
	blob, err := c.Seal(t.Context(), hsm.ClassState, epoch, []byte("share"), []byte("vault 1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Unseal(t.Context(), blob, []byte("vault 1"), nil); err != nil || string(got) != "share" {
		t.Fatalf("unsealed %q, %v", got, err)
	}
}
