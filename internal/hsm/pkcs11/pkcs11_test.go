package pkcs11

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
)

// These make this test binary a process of its own: SoftHSM reads its
// configuration once a process, and some tests kill the process.
const (
	childURI  = "COFFER_TEST_PKCS11_URI"
	childTask = "COFFER_TEST_PKCS11_TASK" // exercise, provision, advance, open
	longRSA   = "COFFER_TEST_RSA3072"     // RSA keys of the product's size
)

func TestMain(m *testing.M) {
	if os.Getenv(longRSA) == "" {
		rsaBits = []uint{2048} // a second less for each token
	}
	if uri := os.Getenv(childURI); uri != "" {
		if err := child(context.Background(), uri, os.Getenv(childTask)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func child(ctx context.Context, uri, task string) error {
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return err
	}
	if task == "provision" {
		fmt.Println("begin")
		return Provision(ctx, u)
	}
	d, err := Open(ctx, u)
	if err != nil || task == "open" {
		return err
	}
	if task == "ratchet" {
		return ratchetOnce(ctx, d)
	}
	if task == "advance" {
		fmt.Println("begin")
		for err == nil {
			_, err = d.Advance(ctx)
		}
		return err
	}
	return hsmtest.Exercise(ctx, d, os.Stdout)
}

// ratchetOnce goes one epoch further, and erases what is older.
func ratchetOnce(ctx context.Context, d *Device) error {
	before, err := d.SealEpoch(ctx)
	if err != nil {
		return err
	}
	blob, err := d.Seal(ctx, hsm.ClassState, before, []byte("share"), nil)
	if err != nil {
		return err
	}
	next, err := d.Advance(ctx)
	if err != nil {
		return err
	}
	if next != before+1 {
		return fmt.Errorf("advanced from %d to %d", before, next)
	}
	if got, err := d.Unseal(ctx, blob, nil, nil); err != nil || string(got) != "share" {
		return fmt.Errorf("sealed before: %q, %w", got, err)
	}
	if err := d.Erase(ctx, next); err != nil {
		return err
	}
	if _, err := d.Unseal(ctx, blob, nil, nil); !errors.Is(err, hsm.ErrUnseal) {
		return fmt.Errorf("erased: %w", err)
	}
	return nil
}

// shared is the token directory of this process's SoftHSM: all tokens of the tests
// that stay in this process are in it, under labels of their own.
var shared struct {
	dir  string
	conf string
	err  error // why there is no SoftHSM
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "coffer-pkcs11-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	first, err := softhsm.InitToken(context.Background(), dir, "first", rand.Reader)
	shared.conf, shared.err = first.Conf, err
	if err == nil {
		if err := os.Setenv(softhsm.EnvConf, first.Conf); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// need skips a test where there is no SoftHSM, and fails it in CI or where there
// is one that does not work.
func need(t testing.TB) {
	t.Helper()
	if _, _, err := softhsm.FindModule(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
}

const testPIN = "9876543210"

var labels sync.Mutex
var labelCount int

// newLabel returns a label that no token has.
func newLabel() string {
	labels.Lock()
	defer labels.Unlock()
	labelCount++
	return fmt.Sprintf("token-%d", labelCount)
}

// newToken makes an empty token in the shared directory.
func newToken(t testing.TB) pkcs11uri.URI {
	t.Helper()
	return newTokenNamed(t, newLabel())
}

func newTokenNamed(t testing.TB, label string) pkcs11uri.URI {
	t.Helper()
	need(t)
	module, util, err := softhsm.FindModule()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(util, "--module", module, "--init-token", "--free",
		"--label", label, "--so-pin", "12345678", "--pin", testPIN).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte(testPIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return pkcs11uri.URI{Token: label, Module: module, PIN: pin}
}

func newProvisioned(t testing.TB) pkcs11uri.URI {
	t.Helper()
	u := newToken(t)
	if err := Provision(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	return u
}

func opener(u pkcs11uri.URI) func(context.Context) (hsm.HSM, error) {
	return func(ctx context.Context) (hsm.HSM, error) { return Open(ctx, u) }
}

func openDevice(t testing.TB, u pkcs11uri.URI) *Device {
	t.Helper()
	d, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// inSession runs f in a session of its own, in which tokens can be changed. The lock
// ends with it even when f fails the test.
func inSession(t *testing.T, d *Device, f func(h p11.SessionHandle)) {
	t.Helper()
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	h, _, err := d.logIn(p11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer d.mod.ctx.CloseSession(h)
	f(h)
}

// remove removes one half of one of a vault's keys.
func remove(t *testing.T, d *Device, class uint, name string) {
	t.Helper()
	inSession(t, d, func(h p11.SessionHandle) {
		found, err := find(d.mod, h, class, label(d.object, name))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if err := d.mod.ctx.DestroyObject(h, found[0]); err != nil {
			t.Fatal(err)
		}
	})
}

func childCommand(u pkcs11uri.URI, task string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURI+"="+u.String(), childTask+"="+task)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func BenchmarkSign(b *testing.B)   { hsmtest.BenchSign(b, openDevice(b, newProvisioned(b))) }
func BenchmarkUnseal(b *testing.B) { hsmtest.BenchUnseal(b, openDevice(b, newProvisioned(b))) }
