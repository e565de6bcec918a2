package vaultshell

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spy tries to get at another process. It first gives up CAP_SYS_PTRACE, which it
// has when it is root's.
func spy(pid string) {
	runtime.LockOSThread() // what follows is about one thread
	if err := dropPtrace(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	say := func(what string, err error) {
		if err == nil {
			fmt.Println("got:", what)
		} else {
			fmt.Println("refused:", what, err)
		}
	}
	dir := "/proc/" + pid + "/"
	base, err := mapped(dir + "maps")
	say("maps", err)
	say("mem", readAt(dir+"mem", base))
	_, err = os.ReadFile(dir + "environ")
	if b, e := os.ReadFile(dir + "environ"); e == nil && len(b) == 0 {
		err = errors.New("empty")
	}
	say("environ", err)
	_, err = os.ReadDir(dir + "fd")
	say("fd", err)
	_, err = os.Readlink(dir + "exe")
	say("exe", err)
	say("process_vm_readv", readv(n, base))
	say("pidfd_getfd", stealFile(n))
	if err := unix.PtraceAttach(n); err != nil {
		say("ptrace", err)
		return
	}
	say("ptrace", nil)
	var ws unix.WaitStatus
	_, _ = unix.Wait4(n, &ws, unix.WALL, nil)
	_ = unix.PtraceDetach(n)
}

func dropPtrace() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	const bit = uint32(1) << unix.CAP_SYS_PTRACE
	data[0].Effective &^= bit
	data[0].Permitted &^= bit
	return unix.Capset(&hdr, &data[0])
}

// mapped is an address that can be read in every Go program: its code.
func mapped(path string) (uintptr, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0x400000, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('-')
	if err != nil {
		return 0x400000, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(line, "-"), 16, 64)
	return uintptr(n), err
}

func readAt(path string, base uintptr) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(make([]byte, 64), int64(base))
	return err
}

func readv(pid int, base uintptr) error {
	b := make([]byte, 64)
	local := []unix.Iovec{{Base: (*byte)(unsafe.Pointer(&b[0])), Len: 64}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: base, Len: 64}}, 0)
	return err
}

func stealFile(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.PidfdGetfd(fd, 2, 0)
	return err
}

// spyOnProcess runs the spy as a user and returns what it got and what not.
func spyOnProcess(t *testing.T, uid, pid int) (got, refused int, out string) {
	t.Helper()
	cmd := exec.Command(publicCopy(t, uid), spyOn, strconv.Itoa(pid))
	cmd.Dir = "/"
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("spy: %v\n%s", err, b)
	}
	out = string(b)
	return strings.Count(out, "got: "), strings.Count(out, "refused: "), out
}

// publicCopy is this test binary where another user can run it.
func publicCopy(t testing.TB, uid int) string {
	t.Helper()
	if uid == os.Geteuid() {
		return os.Args[0]
	}
	dir := shortDir(t)
	path := filepath.Join(dir, "program")
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNobodyLooksIn shows from outside that the memory of a running vault cannot be
// had: not by its own user, not by another one, not by root without
// CAP_SYS_PTRACE. The same spy gets everything of an ordinary process.
func TestNobodyLooksIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming other users takes root")
	}
	const own, other = 61234, 61235
	for _, c := range []struct {
		name            string
		vault, spy, all int
		most            int // that may be had of the vault
	}{
		{"the vault's own user", own, own, 8, 0},
		{"root without CAP_SYS_PTRACE", 0, 0, 8, 3}, // map, environment, list of files: for CAP_PERFMON and CAP_DAC_OVERRIDE
		{"another user", own, other, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			control := exec.Command(publicCopy(t, c.vault), plain, "x")
			if c.vault != 0 {
				control.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.vault), Gid: uint32(c.vault)}}
			}
			out, err := control.StdoutPipe()
			if err == nil {
				err = control.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = control.Process.Kill(); _ = control.Wait() }()
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if got, _, out := spyOnProcess(t, c.spy, control.Process.Pid); got != c.all {
				t.Fatalf("of an ordinary process the spy got %d, want %d: the test shows nothing\n%s", got, c.all, out)
			}
			cfg := soloConfig(t)
			if c.vault != 0 {
				cfg.Vault.User = strconv.Itoa(c.vault)
			}
			v := startProcess(t, cfg)
			pid := v.child()
			if owner := uidOf(t, pid); owner != c.vault {
				t.Fatalf("the vault runs as user %d, want %d", owner, c.vault)
			}
			got, refused, text := spyOnProcess(t, c.spy, pid)
			if got > c.most || got+refused != 8 || !memorySafe(text) {
				t.Errorf("of the vault the spy got %d, and was refused %d of 8:\n%s", got, refused, text)
			}
			// The launcher feeds the vault, and is closed too.
			got, refused, text = spyOnProcess(t, c.spy, v.cmd.Process.Pid)
			if got > c.most || got+refused != 8 || !memorySafe(text) {
				t.Errorf("of the launcher the spy got %d, and was refused %d of 8:\n%s", got, refused, text)
			}
		})
	}
}

// memorySafe says that no way to the memory itself, or to its sockets, was open.
func memorySafe(out string) bool {
	for _, way := range []string{"mem", "process_vm_readv", "pidfd_getfd", "ptrace"} {
		if !strings.Contains(out, "refused: "+way+" ") {
			return false
		}
	}
	return true
}

func uidOf(t *testing.T, pid int) int {
	t.Helper()
	return statusField(t, pid, "Uid:")
}

// statusField is the first number of a line in /proc/PID/status.
func statusField(t *testing.T, pid int, name string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(line)
			}
			return n
		}
	}
	t.Fatalf("no %s in\n%s", name, b)
	return 0
}

// TestNoCoreDump kills a vault as a crash would. An ordinary process leaves its
// memory on the disk then.
func TestNoCoreDump(t *testing.T) {
	dir := t.TempDir()
	control := exec.Command("/bin/sh", "-c", "ulimit -c unlimited; kill -ABRT $$")
	control.Dir = dir
	_ = control.Run() // it dies by the signal
	if ws := control.ProcessState.Sys().(syscall.WaitStatus); !ws.CoreDump() {
		t.Skip("this machine writes no core dumps at all")
	}
	cfg := soloConfig(t)
	v := startProcess(t, cfg)
	pid := v.child()
	if n := statusField(t, pid, "VmLck:"); n == 0 && !strings.Contains(v.out.String(), "NOT ISOLATED IN FULL") {
		t.Errorf("memory is not locked, and nobody is told:\n%s", v.out)
	}
	// ABRT is what the Go runtime sends itself after a crash; SEGV is a bug in C.
	if err := unix.Kill(pid, unix.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-v.done
	if strings.Contains(v.out.String(), "core dumped") || !strings.Contains(v.out.String(), "ended without a word") {
		t.Errorf("the launcher says:\n%s", v.out)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) == 0 {
		t.Errorf("the ordinary process left nothing in %s: the test shows nothing", dir)
	}
	if n := v.cmd.ProcessState.ExitCode(); n != 1 {
		t.Errorf("the launcher ended with %d, want 1", n)
	}
}
