package devicetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
)

// PIN is the user PIN of all devices here.
const PIN = "12345670"

// Device is a token for one test.
type Device struct {
	URI pkcs11uri.URI
	// Env is what a process needs to use the token. This one has it.
	Env []string
	// State is the directory in which the token is, empty where it is not known.
	State string
	// Kill ends what the token runs on, nil where that is a library only.
	Kill func() error
}

// Missing ends the test because of a device that is not there: with a failure in CI.
func Missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("in CI every device must be there (tools/devices.sh): %v", err)
	}
	t.Skipf("no device: %v", err)
}

// library returns the first of the paths that is there.
func library(names ...string) (string, error) {
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/softhsm"} {
		for _, name := range names {
			p := filepath.Join(dir, name)
			if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
				return p, nil
			}
		}
	}
	return "", fmt.Errorf("library %s is not installed", strings.Join(names, " or "))
}

func pinFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(PIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func setenv(t testing.TB, env ...string) {
	t.Helper()
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
}

func run(t testing.TB, stdin string, name string, args ...string) error {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// SoftHSM is a fresh token of SoftHSM in a directory of its own. A process reads
// SoftHSM's configuration once, when the library is initialised: open one at a time.
func SoftHSM(t testing.TB) Device {
	t.Helper()
	module, util, err := softhsm.FindModule()
	if err != nil {
		Missing(t, err)
	}
	dir := t.TempDir()
	tokens, conf := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	text := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens)
	if err := errors.Join(os.Mkdir(tokens, 0o700), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	env := softhsm.EnvConf + "=" + conf
	setenv(t, env)
	if err := run(t, "", util, "--module", module, "--init-token", "--free", "--label", "node", "--so-pin", "12345678", "--pin", PIN); err != nil {
		t.Fatal(err)
	}
	return Device{URI: pkcs11uri.URI{Token: "node", Module: module, PIN: pinFile(t)}, Env: []string{env}, State: tokens}
}

// NSS is a fresh database of NSS, which exports private keys whatever they say of
// themselves: it must be graded as leaking.
func NSS(t testing.TB) Device {
	t.Helper()
	module, err := library("libsoftokn3.so", "nss/libsoftokn3.so")
	if err == nil {
		_, err = exec.LookPath("certutil")
	}
	if err != nil {
		Missing(t, err)
	}
	dir, pin := t.TempDir(), pinFile(t)
	if err := run(t, "", "certutil", "-N", "-d", "sql:"+dir, "-f", pin); err != nil {
		t.Fatal(err)
	}
	slot := uint(2) // 1 has no keys of its own
	return Device{State: dir, URI: pkcs11uri.URI{
		Slot: &slot, Module: module, PIN: pin,
		Init: "configdir='sql:" + dir + "' certPrefix='' keyPrefix='' secmod='secmod.db' flags= ",
	}}
}

// objects counts, so that tests of one process do not meet on a token that they share.
var objects atomic.Uint64

// slots are those that tools/devices.sh configures, each with a token of its own.
var slots = []uint{3, 4, 5, 6}

// OpenCryptoki is a token of openCryptoki's software device that no other process uses
// at the time. Its keys are named after this process; the test removes them.
func OpenCryptoki(t testing.TB) Device {
	t.Helper()
	module, err := library("pkcs11/libopencryptoki.so", "opencryptoki/libopencryptoki.so")
	if err != nil {
		Missing(t, err)
	}
	if out, err := exec.Command("pkcsconf", "-s").CombinedOutput(); err != nil {
		Missing(t, fmt.Errorf("openCryptoki's daemon does not answer (run tools/devices.sh as root): %w: %s", err, bytes.TrimSpace(out)))
	}
	slot, err := lockSlot(t)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pkcsconf", "-t", "-c", strconv.Itoa(int(slot))).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("USER_PIN_INITIALIZED")) {
		Missing(t, fmt.Errorf("openCryptoki's slot %d has no token (run tools/devices.sh as root): %w: %s", slot, err, bytes.TrimSpace(out)))
	}
	return Device{URI: pkcs11uri.URI{
		Slot: &slot, Module: module, PIN: pinFile(t), Object: fmt.Sprintf("test-%d-%d", os.Getpid(), objects.Add(1)),
	}}
}

// lockSlot finds a slot that no other test process has, and holds it to the test's end.
func lockSlot(t testing.TB) (uint, error) {
	deadline := time.Now().Add(2 * time.Minute) // a conformance run takes seconds
	for {
		for _, slot := range slots {
			f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("coffer-opencryptoki-%d.lock", slot)), os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				return 0, err
			}
			if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
				t.Cleanup(func() { f.Close() })
				return slot, nil
			}
			f.Close()
		}
		if time.Now().After(deadline) {
			return 0, errors.New("other tests hold all of openCryptoki's slots for two minutes")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TPM2PKCS11 is a token of tpm2-pkcs11 on a TPM emulator, with a resource manager on a
// message bus of its own.
func TPM2PKCS11(t testing.TB) Device {
	t.Helper()
	module, err := library("pkcs11/libtpm2_pkcs11.so", "libtpm2_pkcs11.so.1")
	for _, tool := range []string{"tpm2_ptool", "tpm2-abrmd", "dbus-daemon"} {
		if err == nil {
			_, err = exec.LookPath(tool)
		}
	}
	emulator, setup, ferr := swtpm.Find()
	if err == nil {
		err = ferr
	}
	if err != nil {
		Missing(t, err)
	}
	dir, err := os.MkdirTemp("", "tpm") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	state, store, socket := filepath.Join(dir, "state"), filepath.Join(dir, "store"), filepath.Join(dir, "s")
	if err := errors.Join(os.Mkdir(state, 0o700), os.Mkdir(store, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := run(t, "", setup, "--tpm2", "--tpmstate", state, "--overwrite"); err != nil {
		t.Fatal(err)
	}
	tpm := start(t, dir, emulator, "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket,
		"--ctrl", "type=unixio,path="+socket+".ctrl", "--flags", "not-need-init,startup-clear")
	await(t, func() error { _, err := os.Stat(socket + ".ctrl"); return err })
	bus := "DBUS_SESSION_BUS_ADDRESS=" + startBus(t)
	env := []string{bus, "TPM2_PKCS11_STORE=" + store, "TPM2_PKCS11_TCTI=tabrmd:bus_type=session", "TPM2TOOLS_TCTI=tabrmd:bus_type=session",
		"TSS2_LOG=all+NONE", "TPM2_PKCS11_LOG_LEVEL=0"} // it tells every refusal on stderr
	setenv(t, env...)
	start(t, dir, "tpm2-abrmd", "--allow-root", "--session", "--flush-all", "--tcti", "swtpm:path="+socket)
	await(t, func() error { return run(t, "", "tpm2_getcap", "properties-fixed") })
	if err := errors.Join(
		run(t, "", "tpm2_ptool", "init", "--path", store),
		run(t, "", "tpm2_ptool", "addtoken", "--pid=1", "--label=node", "--sopin=12345678", "--userpin="+PIN, "--path", store)); err != nil {
		t.Fatal(err)
	}
	return Device{Env: env, URI: pkcs11uri.URI{Token: "node", Module: module, PIN: pinFile(t)}, State: store, Kill: tpm.Process.Kill}
}

// start starts a program that ends with the test.
func start(t testing.TB, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, filepath.Base(name)+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// startBus starts a message bus and returns its address.
func startBus(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the message bus said no address: %v", err)
	}
	return strings.TrimSpace(address)
}

// await polls until f succeeds.
func await(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the device did not start: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
