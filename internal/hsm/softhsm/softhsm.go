// Package softhsm makes tokens of SoftHSM, the software PKCS#11 device that
// Coffer's demo, development cluster and tests run on.
//
// Each token has a directory and a configuration file of its own, so that the
// vaults of one machine share nothing but the library, and "the token is gone"
// can be tried by moving a directory. A token made here is for development: its
// PINs lie beside it, and while it is made they are on a command line, where
// other users of the machine could see them.
package softhsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
)

// EnvModule overrides where the library is looked for.
const EnvModule = "COFFER_SOFTHSM"

// EnvConf is SoftHSM's own variable, which a process that uses a token must have.
const EnvConf = "SOFTHSM2_CONF"

// Places are where distributions put the library.
func Places() []string {
	return []string{
		"/usr/lib/softhsm/libsofthsm2.so",
		"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/lib64/softhsm/libsofthsm2.so",
		"/usr/lib/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so",
		"/opt/homebrew/lib/softhsm/libsofthsm2.so",
	}
}

// FindModule returns the path of the library and that of softhsm2-util. The error
// names the places looked at, and its hint the command that installs SoftHSM.
func FindModule() (module, util string, err error) {
	places := Places()
	if p := os.Getenv(EnvModule); p != "" {
		places = []string{p}
	}
	for _, p := range places {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			module = p
			break
		}
	}
	if module == "" {
		return "", "", hsm.Errorf(hsm.ErrUnavailable, InstallCommand(),
			"SoftHSM is not installed: no library at %s", strings.Join(places, ", "))
	}
	if util, err = exec.LookPath("softhsm2-util"); err != nil {
		return "", "", hsm.Errorf(hsm.ErrUnavailable, InstallCommand(),
			"SoftHSM's library is at %s, but its softhsm2-util is not installed: %w", module, err)
	}
	return module, util, nil
}

// InstallCommand is the one command that installs SoftHSM on this machine.
func InstallCommand() string {
	for _, m := range []struct{ tool, command string }{
		{"apt-get", "apt-get install -y --no-install-recommends softhsm2"},
		{"dnf", "dnf install -y softhsm"},
		{"apk", "apk add softhsm"},
		{"pacman", "pacman -S --noconfirm softhsm"},
		{"brew", "brew install softhsm"},
	} {
		if _, err := exec.LookPath(m.tool); err == nil {
			return m.command
		}
	}
	return "install the package softhsm2 (https://www.softhsm.org)"
}

// Token is a token that InitToken made.
type Token struct {
	Label   string
	Module  string // the library
	Conf    string // SoftHSM's configuration, which names Tokens
	Tokens  string // what to move away to take the token out
	PINFile string
}

// URI names the token for package device.
func (t Token) URI() string {
	return pkcs11uri.URI{Token: t.Label, Module: t.Module, PIN: t.PINFile}.String()
}

// Env is what a process needs in its environment to use the token.
func (t Token) Env() []string { return []string{EnvConf + "=" + t.Conf} }

// maxLabel is the size of a label in PKCS#11.
const maxLabel = 32

// InitToken makes a token in dir, with PINs read from random. A token that is
// there already is left as it is; one that was interrupted is made anew.
func InitToken(ctx context.Context, dir, label string, random io.Reader) (Token, error) {
	if label == "" || len(label) > maxLabel {
		return Token{}, hsm.Errorf(hsm.ErrConfig, "", "token label %q: want 1 to %d bytes", label, maxLabel)
	}
	module, util, err := FindModule()
	if err != nil {
		return Token{}, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return Token{}, fmt.Errorf("couldn't make a token: %w", err)
	}
	t := Token{
		Label:   label,
		Module:  module,
		Conf:    filepath.Join(dir, "softhsm2.conf"),
		Tokens:  filepath.Join(dir, "tokens"),
		PINFile: filepath.Join(dir, "pin"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Token{}, fmt.Errorf("couldn't make a token: %w", err)
	}
	if err := t.make(ctx, dir, util, random); err != nil {
		return Token{}, fmt.Errorf("couldn't make token %q in %s: %w", label, dir, err)
	}
	return t, nil
}

// make works in a directory beside the final one, whose rename makes the token:
// it is there whole or not at all. A mark tells a token that was taken away from
// one that never was, so that it isn't quietly replaced by a new one.
func (t Token) make(ctx context.Context, dir, util string, random io.Reader) error {
	mark := filepath.Join(dir, "made")
	there, err := exists(t.Tokens)
	if err != nil {
		return err
	}
	made, err := exists(mark)
	if err != nil {
		return err
	}
	if made && !there {
		return hsm.Errorf(hsm.ErrUnavailable, "bring it back, or remove "+dir+" to begin anew",
			"it was made before and its directory %s is gone", t.Tokens)
	}
	if !there {
		if err := t.initialise(ctx, dir, util, random); err != nil {
			return err
		}
	}
	if err := os.WriteFile(t.Conf, conf(t.Tokens), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	return t.Repair()
}

const (
	tokenObject = "token.object"
	tokenBackup = "token.backup" // SoftHSM looks at *.object only
)

// Repair brings a token back that a kill has spoilt, and must be called before a
// helper is started on it. SoftHSM 2.6 empties and rewrites the file token.object
// at every login; a process that dies between the two leaves a token that is no
// token any more, with the keys still beside it. The file changes in nothing that
// matters while the PINs stay, so the one of the beginning serves.
func (t Token) Repair() error {
	entries, err := os.ReadDir(t.Tokens)
	if err != nil {
		return fmt.Errorf("couldn't look for damage to the token: %w", err)
	}
	for _, e := range entries {
		if err := repair(filepath.Join(t.Tokens, e.Name())); err != nil {
			return fmt.Errorf("couldn't repair the token: %w", err)
		}
	}
	return nil
}

func repair(dir string) error {
	object, backup := filepath.Join(dir, tokenObject), filepath.Join(dir, tokenBackup)
	now, err := os.ReadFile(object)
	if err != nil {
		return err
	}
	good, err := os.ReadFile(backup)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(now) != 0:
		return replace(backup, now)
	case err != nil:
		return err
	case len(now) < len(good):
		return replace(object, good)
	}
	return nil
}

// replace writes a file whole or not at all.
func replace(path string, contents []byte) error {
	if err := os.WriteFile(path+".new", contents, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (t Token) initialise(ctx context.Context, dir, util string, random io.Reader) error {
	pin, err := makePIN(t.PINFile, random)
	if err != nil {
		return err
	}
	soPIN, err := makePIN(filepath.Join(dir, "so-pin"), random)
	if err != nil {
		return err
	}
	work, workConf := t.Tokens+".new", t.Conf+".new"
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700)); err != nil {
		return err
	}
	if err := os.WriteFile(workConf, conf(work), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, util, "--module", t.Module, "--init-token", "--free",
		"--label", t.Label, "--so-pin", soPIN, "--pin", pin)
	cmd.Env = append(os.Environ(), EnvConf+"="+workConf)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("softhsm2-util: %w: %s", err, bytes.TrimSpace(out))
	}
	return errors.Join(os.Rename(work, t.Tokens), os.Remove(workConf))
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func conf(tokens string) []byte {
	return fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens)
}

// makePIN writes a new PIN of 16 digits to a file and returns it.
func makePIN(path string, random io.Reader) (string, error) {
	pin := make([]byte, 16)
	if _, err := io.ReadFull(random, pin); err != nil {
		return "", fmt.Errorf("couldn't read random bytes: %w", err)
	}
	for i, c := range pin {
		pin[i] = '0' + c%10 // the slight bias does not matter in 16 digits
	}
	if err := os.WriteFile(path, append(pin, '\n'), 0o600); err != nil {
		return "", err
	}
	return string(pin), nil
}
