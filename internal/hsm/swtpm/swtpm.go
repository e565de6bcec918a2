// Package swtpm runs the TPM emulator swtpm, on which Coffer's demo, development
// cluster and tests have a TPM where the machine has none.
//
// Each emulator has a directory and a socket of its own and belongs to the one who
// started it, who stops it. It is a TPM in all but one thing: its state is files, so
// whoever copies them has a second TPM, and whoever puts old ones back has rolled its
// counters back. Package tpm grades it accordingly. It must not hold a key that
// guards value.
package swtpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
)

// InstallCommand installs the emulator on Debian.
const InstallCommand = "apt-get install -y --no-install-recommends swtpm swtpm-tools"

const (
	// startTime bounds the wait for the emulator's socket. What takes longer has
	// failed in a way that its log tells.
	startTime = 10 * time.Second
	// stopTime is what a stopped emulator gets before it is killed.
	stopTime = 5 * time.Second
	pollTime = 5 * time.Millisecond
	// maxPath is the longest path of a unix socket on Linux.
	maxPath = 107
)

// Find looks for the emulator and for the tool that makes its state.
func Find() (emulator, setup string, err error) {
	for _, p := range []struct {
		name string
		at   *string
	}{{"swtpm", &emulator}, {"swtpm_setup", &setup}} {
		if *p.at, err = exec.LookPath(p.name); err != nil {
			return "", "", hsm.Errorf(hsm.ErrUnavailable, InstallCommand, "the TPM emulator is not installed: %w", err)
		}
	}
	return emulator, setup, nil
}

// TPM is a running emulator.
type TPM struct {
	Dir    string // what a thief would copy
	Socket string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// URI names the emulator for package device, with the keys' directory dir.
func (t *TPM) URI(dir string) string { return "tpm:unix:" + t.Socket + "?dir=" + dir }

func pidFile(dir string) string { return filepath.Join(dir, "pid") }

// Start makes the emulator's state in dir unless it is there, and starts it on the
// socket dir/s. An emulator that a killed program left behind on the same directory
// is stopped first. The context bounds the start, not the life.
func Start(ctx context.Context, dir string) (*TPM, error) {
	emulator, setup, err := Find()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't start the TPM emulator: %w", err)
	}
	t := &TPM{Dir: dir, Socket: filepath.Join(dir, "s"), done: make(chan struct{})}
	if len(t.Socket) > maxPath {
		return nil, hsm.Errorf(hsm.ErrConfig, "use a shorter directory", "socket path of %d bytes, at most %d: %s", len(t.Socket), maxPath, t.Socket)
	}
	if err := t.prepare(ctx, setup); err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't make a TPM emulator in %s: %w", dir, err)
	}
	if err := t.run(ctx, emulator); err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "read "+filepath.Join(dir, "log"), "couldn't start the TPM emulator in %s: %w", dir, err)
	}
	return t, nil
}

func (t *TPM) state() string { return filepath.Join(t.Dir, "state") }

// prepare makes the state whole or not at all: its directory gets its name last.
func (t *TPM) prepare(ctx context.Context, setup string) error {
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(t.state()); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	work := t.state() + ".new"
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700)); err != nil {
		return err
	}
	// The PCR banks are named, since a default that differs would change every quote.
	cmd := exec.CommandContext(ctx, setup, "--tpm2", "--tpmstate", work, "--pcr-banks", "sha256", "--overwrite")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("swtpm_setup: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.Rename(work, t.state())
}

func (t *TPM) run(ctx context.Context, emulator string) error {
	if err := stopLeftover(t.Dir); err != nil {
		return err
	}
	for _, old := range []string{t.Socket, t.Socket + "c"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(t.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	t.cmd = exec.Command(emulator, "socket", "--tpm2", "--tpmstate", "dir="+t.state()+",mode=0600",
		"--server", "type=unixio,path="+t.Socket+",mode=0600",
		"--ctrl", "type=unixio,path="+t.Socket+"c,mode=0600",
		"--flags", "not-need-init,startup-clear", "--log", "level=1")
	t.cmd.Stdout, t.cmd.Stderr = log, log
	t.cmd.Dir = t.Dir
	// A Ctrl-C at the terminal goes to its owner, who stops it in order.
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	go func() {
		t.cmd.Wait() // how it ended is no news: it is stopped by a signal
		close(t.done)
	}()
	err = os.WriteFile(pidFile(t.Dir), []byte(strconv.Itoa(t.cmd.Process.Pid)), 0o600)
	if err == nil {
		err = t.await(ctx)
	}
	if err != nil {
		return errors.Join(err, t.Stop())
	}
	return nil
}

// await waits until the emulator takes connections.
func (t *TPM) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		c, err := net.Dial("unix", t.Socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-t.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no socket: %w: %w", ctx.Err(), err)
		case <-time.After(pollTime):
		}
	}
}

// Stop ends the emulator and waits for its end. It may be called twice.
func (t *TPM) Stop() error {
	if err := t.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-t.done:
		return nil
	case <-time.After(stopTime):
		return t.Kill()
	}
}

// Kill ends it as a power cut would.
func (t *TPM) Kill() error {
	if err := t.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-t.done
	return nil
}

// Done is closed when the emulator has ended, for whatever reason.
func (t *TPM) Done() <-chan struct{} { return t.done }

func (t *TPM) signal(s os.Signal) error {
	if err := t.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("couldn't stop the TPM emulator: %w", err)
	}
	return nil
}

// stopLeftover stops the emulator that the pid file names, if it still is one on
// this directory: process ids are given anew.
func stopLeftover(dir string) error {
	text, err := os.ReadFile(pidFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || convErr != nil || pid <= 1 {
		return err // an unreadable pid names nobody
	}
	ours := func() bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && bytes.Contains(line, []byte("swtpm")) && bytes.Contains(line, []byte(filepath.Join(dir, "state")))
	}
	for start := time.Now(); ours(); time.Sleep(pollTime) {
		s := syscall.SIGTERM
		if time.Since(start) > stopTime {
			s = syscall.SIGKILL
		}
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("couldn't stop the emulator that process %d is: %w", pid, err)
		}
	}
	return nil
}
