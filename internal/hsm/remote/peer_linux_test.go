package remote

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// strangerSocket makes this test binary a process that connects and reports what
// becomes of it.
const strangerSocket = "COFFER_TEST_STRANGER_SOCKET"

func stranger(path string) string {
	c, err := net.Dial("unix", path)
	if err != nil {
		return "dial: " + err.Error()
	}
	defer c.Close()
	// The server may have closed already: what counts is that no answer comes.
	_ = writeFrame(c, request{op: opHello}.encode())
	if _, err := readFrame(c, maxReply); errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return "turned away"
	} else if err != nil {
		return "read: " + err.Error()
	}
	return "served"
}

// TestStranger opens the socket's file to everybody, so that nothing but the check
// of the peer's user stands in the way.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	path := socketPath(t)
	serve(t, path, newDevice(t))
	for p, mode := range map[string]os.FileMode{path: 0o666, filepath.Dir(path): 0o755} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(path), "stranger")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(uid uint32) string {
		cmd := exec.Command(copied)
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), strangerSocket+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run(65534); got != "turned away" {
		t.Errorf("another user: %s, want turned away", got)
	}
	if got := run(0); got != "served" {
		t.Errorf("own user: %s, want served", got)
	}
}
