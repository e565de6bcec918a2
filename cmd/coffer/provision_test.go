package main_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/keyfile"
)

// hsmVerb runs `coffer hsm VERB --config FILE …` with something on standard input.
func hsmVerb(t *testing.T, file, stdin, verb string, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.Command(buildProgram(t), append([]string{"hsm", verb, "--config", file}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func helperFile(t *testing.T, dir, uri, env string) string {
	t.Helper()
	path := filepath.Join(dir, "hsm.toml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf("[hsm]\ndevice = %q\nsocket = \"hsm.sock\"\n%s", uri, env)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHSMPIN changes a token's PIN: the next opening has the new one, and the old
// one is nowhere.
func TestHSMPIN(t *testing.T) {
	if _, _, err := softhsm.FindModule(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	dir := t.TempDir()
	token, err := softhsm.InitToken(t.Context(), filepath.Join(dir, "t"), "pins", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := helperFile(t, dir, token.URI(), fmt.Sprintf("[hsm.env]\n%s = %q\n", softhsm.EnvConf, token.Conf))
	for _, c := range []struct{ stdin, verb, want string }{
		{"", "provision", "device  SoftHSM project"},
		{"\n", "pin", "want a PIN of 1 to 255 bytes"},
		{"1\n", "pin", "new PIN of 1 bytes"},
		{"98765432\n", "pin", "have the new PIN"},
		{"98765432\n", "pin", "the new PIN is the old one"},
		{"", "provision", "device  SoftHSM project"},
	} {
		out, err := hsmVerb(t, file, c.stdin, c.verb)
		if !strings.Contains(out, c.want) {
			t.Fatalf("%s with %q: %v: %s, want %q", c.verb, c.stdin, err, out, c.want)
		}
	}
	if b, err := os.ReadFile(token.PINFile); err != nil || strings.TrimSpace(string(b)) != "98765432" {
		t.Errorf("the PIN file holds %q, %v", b, err)
	}
}

// TestHSMProvision installs the approvers of a TPM, by its authority and by nobody else.
func TestHSMProvision(t *testing.T) {
	if _, _, err := swtpm.Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(scratch, "p") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	tpm, err := swtpm.Start(t.Context(), filepath.Join(dir, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer tpm.Stop()
	public := map[string]string{}
	for _, name := range []string{"authority", "stranger", "ann", "ben"} {
		k, err := keyfile.NewP256(rand.Reader, name)
		if err == nil {
			err = k.Write(filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
		public[name] = k.Public().String()
		k.Destroy()
	}
	file := helperFile(t, dir, tpm.URI(filepath.Join(dir, "keys"))+"&authority="+public["authority"], "")
	set := []string{"--approver", public["ann"], "--approver", public["ben"], "--need", "2"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{set, "--approver and --authority: the authority signs who approves"},
		{append([]string{"--authority", filepath.Join(dir, "stranger")}, set...), "couldn't install the approver set"},
		{append([]string{"--authority", filepath.Join(dir, "authority")}, set...), "any 2 of 2 keys, generation 2"},
		{append([]string{"--authority", filepath.Join(dir, "authority")}, set[:2]...), "any 1 of 1 keys, generation 3"},
		{append([]string{"--authority", filepath.Join(dir, "authority")}, "--approver", "p256:x"), "--approver: "},
		{nil, "device  IBM (software TPM)"},
	} {
		if out, err := hsmVerb(t, file, "", "provision", c.args...); !strings.Contains(out, c.want) {
			t.Errorf("%v: %v: %s, want %q", c.args, err, out, c.want)
		}
	}
	soft := helperFile(t, t.TempDir(), "soft:"+filepath.Join(dir, "s"), "")
	if out, _ := hsmVerb(t, soft, "", "provision", append([]string{"--authority", filepath.Join(dir, "authority")}, set...)...); !strings.Contains(out, "this device has no approvers") {
		t.Errorf("a software HSM: %s", out)
	}
}
