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
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/machine"
)

// trialTimeout bounds what a device of a vendor's may take to answer once; a
// library that hangs is told of, and does not hang the doctor.
const trialTimeout = 30 * time.Second

// examineDevices looks for what could be a vault's device here. SoftHSM, which is
// a library and no more, is tried with a token that is made for it and removed.
func examineDevices(ctx context.Context, fs *findings) {
	const about = "devices"
	fs.add(about, "software", machine.OK, "keys in files, for development: whoever reads them has them", "")
	if module, _, err := softhsm.FindModule(); err != nil {
		fs.add(about, "SoftHSM", machine.Missing, err.Error(), hintOf(err))
	} else {
		says, err := trySoftHSM(ctx)
		fs.try(about, "SoftHSM", module+says, err)
	}
}

// trySoftHSM makes a token, has a child open it, and removes it.
func trySoftHSM(ctx context.Context) (says string, err error) {
	dir, err := os.MkdirTemp("", "coffer-doctor-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := softhsm.InitToken(ctx, filepath.Join(dir, "t"), "coffer-doctor", rand.Reader)
	if err != nil {
		return "", err
	}
	return tryDevice(ctx, t.URI(), t.Env())
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
}

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
