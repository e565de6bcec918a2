//go:build linux

package cage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arguments that make this test binary another process.
const (
	helperProbe = "helper-probe" // DIR FILE: confines itself as a helper, then tries things
	plainCore   = "child-probe"  // for Start: under Landlock, without a filter
)

// firstThread is a child whose main function stays on the process's first thread.
const firstThread = "first-thread"

func init() {
	if len(os.Args) > 1 && os.Args[1] == firstThread {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == firstThread {
		done := make(chan int, 1)
		first := unix.Gettid() == unix.Getpid()
		onOtherThread(func() { fmt.Println(first, unix.Gettid() == unix.Getpid()); done <- 0 })
		<-done
		os.Exit(0)
	}
	if len(os.Args) > 3 && os.Args[1] == helperProbe {
		os.Exit(probeHelper(os.Args[2], os.Args[3]))
	}
	if len(os.Args) > 3 && os.Args[1] == plainCore {
		probeLandlock(os.Args[2], os.Args[3])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func say(name string, err error) {
	if err == nil {
		fmt.Println("done:", name)
		return
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errors.New(unix.ErrnoName(errno))
	}
	fmt.Printf("failed: %s: %v\n", name, err)
}

func raw(n uintptr, a ...uintptr) error {
	var v [6]uintptr
	copy(v[:], a)
	if _, _, errno := unix.RawSyscall6(n, v[0], v[1], v[2], v[3], v[4], v[5]); errno != 0 {
		return errno
	}
	return nil
}

func socket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

func write(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }

func probeHelper(dir, outside string) int {
	var r Report
	network := os.Getenv("PROBE_NETWORK") != ""
	if !Reexeced(&r) {
		paths := []Path{{dir, Write}, {"/dev/null", Device}, {filepath.Join(filepath.Dir(outside), "sockets"), Sockets}}
		fmt.Println("error:", Reexec(os.Args, os.Environ(), paths, network))
		return 1
	}
	if err := Close(&r); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	LockMemory(&r)
	Helper(network, &r)
	fmt.Println(r.Texts())
	parent := uintptr(os.Getppid())
	clone3 := [11]uint64{4: uint64(unix.SIGCHLD)}
	// What a device needs works.
	say("write its state", write(filepath.Join(dir, "state")))
	say("read its state", read(filepath.Join(dir, "state")))
	say("remove its state", os.Remove(filepath.Join(dir, "state")))
	say("unix socket", socket(unix.AF_UNIX))
	ln, err := net.Listen("unix", filepath.Join(filepath.Dir(outside), "sockets", "s"))
	say("serve a socket", err)
	if err == nil {
		say("remove its socket", ln.Close())
	}
	HelperFiles(&r)
	fmt.Println(r.Texts())
	// What none needs does not.
	say("change a file's mode", unix.Chmod(outside, 0o666))
	say("change a file's owner", unix.Lchown(outside, 1234, 1234))
	say("change a file's mode without following", raw(unix.SYS_FCHMODAT2, ^uintptr(99), cstring(outside), 0o666, unix.AT_SYMLINK_NOFOLLOW))
	say("set an attribute of a file", unix.Setxattr(outside, "user.x", []byte("x"), 0))
	suid, err := os.OpenFile(filepath.Join(dir, "suid"), os.O_CREATE|os.O_WRONLY, 0o700)
	if err == nil {
		say("keep its state from others", unix.Fchmod(int(suid.Fd()), 0o600))
		say("make a program that runs as its user", unix.Fchmod(int(suid.Fd()), 0o4755))
	}
	_, err = unix.Open(filepath.Join(dir, "suid2"), unix.O_CREAT|unix.O_WRONLY, 0o4755)
	say("create a program that runs as its user", err)
	say("limit another process", raw(unix.SYS_PRLIMIT64, parent, unix.RLIMIT_NOFILE, 0, 0))
	say("signal a thread of the parent", raw(unix.SYS_TKILL, parent, 0))
	say("read another file", read(outside))
	say("write another file", write(outside))
	say("read beside its socket", read(filepath.Join(filepath.Dir(outside), "sockets", "secret")))
	say("write beside its socket", write(filepath.Join(filepath.Dir(outside), "sockets", "new")))
	say("list the root", func() error { _, err := os.ReadDir("/"); return err }())
	say("read the parent's memory map", read(fmt.Sprintf("/proc/%d/maps", parent)))
	say("read its own memory", read("/proc/self/mem"))
	say("run a program", raw(unix.SYS_EXECVE, cstring("/bin/true"), 0, 0))
	say("run a program with execveat", raw(unix.SYS_EXECVEAT, ^uintptr(99), cstring("/bin/true"), 0, 0, 0))
	say("clone a process", raw(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0))
	say("clone a process with clone3", raw(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&clone3)), unsafe.Sizeof(clone3)))
	say("TCP", socket(unix.AF_INET))
	say("TCP over IPv6", socket(unix.AF_INET6))
	say("netlink", socket(unix.AF_NETLINK))
	say("packets", socket(unix.AF_PACKET))
	say("vsock", socket(unix.AF_VSOCK))
	say("trace the parent", raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH, parent))
	say("read the parent's memory", raw(unix.SYS_PROCESS_VM_READV, parent, 0, 0, 0, 0, 0))
	say("signal the parent", raw(unix.SYS_KILL, parent, 0))
	say("open itself to debuggers", raw(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1))
	for name, n := range map[string]uintptr{"bpf": unix.SYS_BPF, "module": unix.SYS_INIT_MODULE, "io_uring": unix.SYS_IO_URING_SETUP, "perf": unix.SYS_PERF_EVENT_OPEN, "userfaultfd": unix.SYS_USERFAULTFD, "unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "mount": unix.SYS_MOUNT, "chroot": unix.SYS_CHROOT, "setresuid": unix.SYS_SETRESUID, "keyctl": unix.SYS_KEYCTL, "kexec": unix.SYS_KEXEC_LOAD, "reboot": unix.SYS_REBOOT, "mknod": unix.SYS_MKNODAT, "open by handle": unix.SYS_OPEN_BY_HANDLE_AT} {
		say(name, raw(n))
	}
	return 0
}

func cstring(s string) uintptr {
	b, _ := unix.BytePtrFromString(s)
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(b))
}

var kept []*byte

func probeDirs(t *testing.T) (dir, outside string) {
	t.Helper()
	base := t.TempDir()
	dir, outside = filepath.Join(base, "state"), filepath.Join(base, "outside")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(filepath.Join(base, "sockets"), 0o700), write(outside), write(filepath.Join(base, "sockets", "secret"))); err != nil {
		t.Fatal(err)
	}
	return dir, outside
}

// TestHelper shows from inside what is left to a process that loads foreign code.
func TestHelper(t *testing.T) {
	if landlockABI() < 6 {
		t.Skip("this kernel's Landlock is too old to be tried in full")
	}
	may := []string{"write its state", "read its state", "remove its state", "unix socket", "serve a socket", "remove its socket", "keep its state from others"}
	for _, network := range []bool{false, true} {
		dir, outside := probeDirs(t)
		cmd := exec.Command(os.Args[0], helperProbe, dir, outside)
		cmd.Env = os.Environ()
		want := may
		if network {
			cmd.Env = append(cmd.Env, "PROBE_NETWORK=1")
			want = append(want[:len(want):len(want)], "TCP", "TCP over IPv6")
		}
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		failed := 0
		for _, line := range strings.Split(string(b), "\n") {
			switch name, isDone := strings.CutPrefix(line, "done: "); {
			case isDone && !contains(want, name):
				t.Errorf("network %v: the helper may %s", network, name)
			case strings.HasPrefix(line, "failed: "):
				name, how, _ := strings.Cut(strings.TrimPrefix(line, "failed: "), ": ")
				failed++
				if contains(want, name) {
					t.Errorf("network %v: the helper may not %s: %s", network, name, how)
				}
				if how != "EPERM" && how != "EACCES" && !strings.HasSuffix(name, "clone3") {
					t.Errorf("%s failed with %s, which is not a refusal", name, how)
				}
			}
		}
		if min := 40 - len(want); failed < min {
			t.Errorf("%d attempts failed, want %d at least:\n%s", failed, min, b)
		}
		t.Logf("%s", b)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// By Landlock's rules a process may signal and trace whoever shares its domain, and a
// process is named by its first thread: that one must not be the launcher's.
func TestFirstThreadIsSpared(t *testing.T) {
	b, err := exec.Command(os.Args[0], firstThread).CombinedOutput()
	if err != nil || string(b) != "true false\n" {
		t.Errorf("on the first thread, run on the first thread: %s%v", b, err)
	}
}

// probeLandlock is what Start leaves before any filter.
func probeLandlock(outside, port string) {
	say("read a file", read(outside))
	say("write a file", write(outside))
	say("make a file", write(outside+".new"))
	say("list the root", func() error { _, err := os.ReadDir("/"); return err }())
	say("run a program", raw(unix.SYS_EXECVE, cstring("/bin/true"), 0, 0))
	_, err := net.Dial("tcp", "127.0.0.1:"+port)
	say("connect", err)
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // Landlock knows plain TCP only; the namespace and the filter take the rest
	_, err = lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	say("listen", err)
	say("signal its parent", raw(unix.SYS_KILL, uintptr(os.Getppid()), 0))
	say("trace its parent", raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(os.Getppid())))
	say("read its own program", read("/proc/self/exe"))
}

// TestLandlockAlone shows what holds even without the seccomp filter.
func TestLandlockAlone(t *testing.T) {
	if landlockABI() < 6 {
		t.Skip("this kernel's Landlock is too old to be tried in full")
	}
	_, outside := probeDirs(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, report, err := Start(Options{Name: os.Args[0], Args: []string{plainCore, outside, port}, Out: w})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	b := make([]byte, 64<<10)
	n := 0
	for {
		m, err := r.Read(b[n:])
		if n += m; err != nil {
			break
		}
	}
	<-c.Done()
	out := string(b[:n])
	if strings.Count(out, "failed: ") != 9 || strings.Count(out, "done: ") != 1 || !strings.Contains(out, "done: read its own program") {
		t.Errorf("%s\n%v", out, report.Texts())
	}
	if report.Missing() != "" {
		t.Errorf("missing: %s", report.Missing())
	}
}

// The environment alone makes no confined process.
func TestReexecedIsNotBelieved(t *testing.T) {
	t.Setenv(landlockEnv, "abi 7")
	var r Report
	if Reexeced(&r) {
		t.Error("an ordinary process passes for a confined one")
	}
}
