package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/device"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/machine"
)

// trialTimeout bounds what a device of a vendor's may take to answer once; a
// library that hangs is told of, and does not hang the doctor.
const trialTimeout = 30 * time.Second

// examineDevices looks for what could be a vault's device here. What is software is
// tried, with a token that is made for it and removed.
func examineDevices(ctx context.Context, fs *findings) {
	const about = "devices"
	fs.add(about, "software", machine.OK, "keys in files, for development: whoever reads them has them", "")
	for _, d := range []struct {
		name string
		find func() (string, error)
		try  func(ctx context.Context, dir, found string) (says string, err error)
	}{
		{"SoftHSM", findSoftHSM, trySoftHSM},
		{"TPM", findTPM, nil},
		{"TPM emulator", findEmulator, tryEmulator},
		{"openCryptoki", findLibrary("libopencryptoki.so", "apt-get install -y --no-install-recommends opencryptoki"), tryOpenCryptoki},
	} {
		found, err := d.find()
		if err != nil {
			fs.add(about, d.name, machine.Missing, err.Error(), hintOf(err))
			continue
		}
		if d.try != nil {
			says, err := inScratch(func(dir string) (string, error) { return d.try(ctx, dir, found) })
			if err != nil {
				fs.add(about, d.name, machine.Warn, found+": "+err.Error(), hintOf(err))
				continue
			}
			found += says
		}
		fs.add(about, d.name, machine.OK, found, "")
	}
	if found, err := findLibrary("libsoftokn3.so", "")(); err == nil {
		fs.add(about, "NSS", machine.Warn, found+": it gives its keys away, as Coffer's tests show", "no vault on it")
	}
}

// inScratch runs something in a folder that is removed after it.
func inScratch(do func(dir string) (string, error)) (says string, err error) {
	dir, err := os.MkdirTemp("", "coffer-doctor-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return do(dir)
}

func findSoftHSM() (string, error) {
	module, _, err := softhsm.FindModule()
	return module, err
}

func trySoftHSM(ctx context.Context, dir, _ string) (says string, err error) {
	t, err := softhsm.InitToken(ctx, filepath.Join(dir, "t"), "coffer-doctor", rand.Reader)
	if err != nil {
		return "", err
	}
	return tryDevice(ctx, t.URI(), t.Env())
}

// findTPM looks for a TPM of this machine. It is not tried: what is made on it is
// made for good.
func findTPM() (string, error) {
	const path = "/dev/tpmrm0"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", errors.New("this machine has none, or hides it: there is no " + path)
	case err != nil:
		return "", withHint(err, "the user of the HSM helper must be in the group that owns %s (tss)", path)
	}
	return path + "; coffer doctor --device 'tpm:" + path + "?dir=DIR' looks at it", f.Close()
}

func findEmulator() (string, error) {
	path, _, err := swtpm.Find()
	return path, err
}

func tryEmulator(ctx context.Context, dir, _ string) (says string, err error) {
	t, err := swtpm.Start(ctx, filepath.Join(dir, "t"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	return tryDevice(ctx, t.URI(filepath.Join(dir, "keys")), nil)
}

// findLibrary looks for a PKCS#11 library where distributions put it.
func findLibrary(name, install string) func() (string, error) {
	return func() (string, error) {
		for _, pattern := range []string{"/usr/lib/*/pkcs11/", "/usr/lib/*/", "/usr/lib/*/nss/", "/usr/lib64/", "/usr/lib64/pkcs11/", "/usr/lib/", "/usr/lib/pkcs11/"} {
			if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
				return found[0], nil
			}
		}
		return "", withHint(errors.New("not installed: no "+name), "%s", install)
	}
}

// tryOpenCryptoki asks it for a token that it has not: then it says which it has.
func tryOpenCryptoki(ctx context.Context, dir, module string) (says string, err error) {
	pin := filepath.Join(dir, "pin")
	if err := os.WriteFile(pin, []byte("none\n"), 0o600); err != nil {
		return "", err
	}
	uri := pkcs11uri.URI{Token: "coffer-doctor-none", Module: module, PIN: pin}
	_, err = tryDevice(ctx, uri.String(), nil)
	if err == nil {
		return "", errors.New("it shows a token that is not there")
	}
	if _, shows, ok := strings.Cut(err.Error(), " shows "); ok {
		if shows == "none" {
			return "", withHint(errors.New("it has no token"), "is its daemon, pkcsslotd, running? tools/devices.sh starts it and makes tokens for tests")
		}
		return "; its tokens: " + shows, nil
	}
	return "", withHint(err, "is its daemon, pkcsslotd, running? tools/devices.sh starts it and makes tokens for tests")
}

// tryDevice has a child of this process provision and open a device: a library
// that crashes takes the child along.
func tryDevice(ctx context.Context, uri string, env []string) (says string, err error) {
	self, err := selfPath()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "doctor", "--device", uri, "--provision", "--json")
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failed := cmd.Run()
	var fs findings
	if err := json.Unmarshal(stdout.Bytes(), &fs); err != nil || len(fs) == 0 {
		if ctx.Err() != nil {
			return "", fmt.Errorf("its library did not answer within %v", trialTimeout)
		}
		return "", fmt.Errorf("its library took the process down: %w: %s", failed, lastLineOf(stderr.String()))
	}
	for _, f := range fs {
		if !f.OK {
			return "", withHint(errors.New(f.Says), "%s", f.Hint)
		}
	}
	return "; a token was made, used and removed", nil
}

func lastLineOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// examineDevice opens one device and says what it is and what it does.
func examineDevice(ctx context.Context, uri string, provision bool, fs *findings) {
	const about = "device"
	if provision {
		if err := device.Provision(ctx, uri); err != nil {
			fs.try(about, "provisioned", "", err)
			return
		}
	}
	d, err := device.Open(ctx, uri)
	if err != nil {
		fs.try(about, "opened", "", err)
		return
	}
	defer d.Close()
	i := d.Info()
	fs.add(about, "opened", machine.OK, fmt.Sprintf("%s %s, firmware %s, serial %s, label %q", i.Vendor, i.Model, i.Firmware, i.Serial, i.Label), "")
	fs.add(about, "suites", machine.OK, strings.Join(i.Suites, ", "), "")
	grades(fs, about, i)
	costs, err := hsm.Measure(ctx, d, measured)
	fs.try(about, "costs", costs.String()+fmt.Sprintf(" (median of %d)", measured), err)
}

// measured is how often each operation is measured.
const measured = 9

// grades says who keeps each property.
func grades(fs *findings, about string, i hsm.Info) {
	for _, g := range []struct {
		what   string
		grade  hsm.Grade
		kept   string
		broken string
	}{
		{"boundary", i.Boundary, "keys do not leave the device", "it gives its keys away, or keeps them in files"},
		{"rollback", i.Rollback, "an old state of the device is recognised", "its state can be put back; peers' witnessed heads are what stops that"},
		{"per use", i.PerUse, "it asks for authorisation at every use of a cold key", "nobody is asked before a key is used: no cold wallets on this device"},
	} {
		switch g.grade {
		case hsm.GradeNone:
			fs.add(about, g.what, machine.Warn, "none: "+g.broken, "")
		default:
			fs.add(about, g.what, machine.OK, fmt.Sprintf("%v: %s", g.grade, g.kept), "")
		}
	}
}
