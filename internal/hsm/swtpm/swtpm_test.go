package swtpm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func need(t *testing.T) {
	t.Helper()
	if _, _, err := Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// random asks the emulator for 8 random bytes.
func random(t *testing.T, s *TPM) []byte {
	t.Helper()
	c, err := net.Dial("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cmd, err := hex.DecodeString("80010000000c0000017b0008")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(cmd); err != nil {
		t.Fatal(err)
	}
	rsp := make([]byte, 20)
	if _, err := io.ReadFull(c, rsp); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(rsp, []byte{0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8}) {
		t.Fatalf("answer is %x", rsp)
	}
	return rsp[12:]
}

func TestLife(t *testing.T) {
	need(t)
	dir := shortDir(t)
	s, err := Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(random(t, s), random(t, s)) {
		t.Error("the same random bytes twice")
	}
	if fi, err := os.Stat(s.Socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", fi.Mode(), err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Kill(), s.Stop()); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
	before := stateFiles(t, dir)
	if s, err = Start(t.Context(), dir); err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	random(t, s)
	if after := stateFiles(t, dir); after != before {
		t.Errorf("state files were %s, are %s", before, after)
	}
	// The owner is killed, the emulator goes on, and a new owner comes.
	second, err := Start(t.Context(), dir)
	if err != nil {
		t.Fatalf("with one left over: %v", err)
	}
	<-s.Done()
	random(t, second)
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(second.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("after Stop the process is there: %v", err)
	}
}

func stateFiles(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestRefusals(t *testing.T) {
	need(t)
	if _, err := Start(t.Context(), filepath.Join(shortDir(t), strings.Repeat("x", 120))); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "socket path") {
		t.Errorf("long path: %v", err)
	}
	dir := shortDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "state", "tpm2-00.permall"), 0o700); err != nil { // as if spoilt
		t.Fatal(err)
	}
	var e *hsm.Error
	if _, err := Start(t.Context(), dir); !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || !strings.Contains(e.Hint(), "log") {
		t.Errorf("spoilt state: %v; want ErrUnavailable that names the log", err)
	}
	// A pid file that names another process must not have it stopped.
	other := shortDir(t)
	if err := os.WriteFile(pidFile(other), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var e *hsm.Error
	if _, err := Start(t.Context(), shortDir(t)); !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || e.Hint() != InstallCommand {
		t.Errorf("without swtpm: %v; want ErrUnavailable and how to install it", err)
	}
}
