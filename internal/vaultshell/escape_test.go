package vaultshell

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is one way out of the cage.
type escape struct {
	name string
	try  func() (r uintptr, errno unix.Errno)
}

func call(n uintptr, args ...uintptr) func() (uintptr, unix.Errno) {
	var a [6]uintptr
	copy(a[:], args)
	return func() (uintptr, unix.Errno) {
		r, _, errno := unix.RawSyscall6(n, a[0], a[1], a[2], a[3], a[4], a[5])
		return r, errno
	}
}

func cstring(s string) uintptr {
	b, _ := unix.BytePtrFromString(s)
	pinned = append(pinned, b)
	return uintptr(unsafe.Pointer(b))
}

// pinned keeps what an attempt's arguments point to.
var pinned []any

func pin[T any](v *T) uintptr {
	pinned = append(pinned, v)
	return uintptr(unsafe.Pointer(v))
}

// forked ends a child that should not be there.
func forked(f func() (uintptr, unix.Errno)) func() (uintptr, unix.Errno) {
	return func() (uintptr, unix.Errno) {
		r, errno := f()
		if errno == 0 && r == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return r, errno
	}
}

// escapes are attempts at everything that a vault has no business with.
func escapes() []escape {
	at := ^uintptr(99) // AT_FDCWD
	self, parent := uintptr(os.Getpid()), uintptr(launcherPID)
	var there int64
	vec := [2]unix.Iovec{}
	vec[0].Base, vec[0].Len = (*byte)(unsafe.Pointer(&there)), 8
	remote := unix.RemoteIovec{Base: pin(&there), Len: 8}
	addr := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	argv := [2]uintptr{cstring("/bin/true"), 0}
	clone3 := [11]uint64{}
	clone3[4] = uint64(unix.SIGCHLD)
	return []escape{
		{"open /etc/passwd", call(unix.SYS_OPENAT, at, cstring("/etc/passwd"), unix.O_RDONLY)},
		{"open its own program", call(unix.SYS_OPENAT, at, cstring("/proc/self/exe"), unix.O_RDONLY)},
		{"open /proc/self/mem", call(unix.SYS_OPENAT, at, cstring("/proc/self/mem"), unix.O_RDWR)},
		{"open with openat2", call(unix.SYS_OPENAT2, at, cstring("/etc/passwd"), pin(&[3]uint64{}), 24)},
		{"open by handle", call(unix.SYS_OPEN_BY_HANDLE_AT, at, pin(&[32]byte{}), 0)},
		{"make a file", call(unix.SYS_OPENAT, at, cstring("/tmp/escaped"), unix.O_CREAT|unix.O_WRONLY, 0o600)},
		{"make a nameless file", call(unix.SYS_MEMFD_CREATE, cstring("x"), 0)},
		{"remove a file", call(unix.SYS_UNLINKAT, at, cstring("/tmp/none"), 0)},
		{"rename a file", call(unix.SYS_RENAMEAT2, at, cstring("/tmp/none"), at, cstring("/tmp/none2"))},
		{"make a directory", call(unix.SYS_MKDIRAT, at, cstring("/tmp/escaped"), 0o700)},
		{"look at a file", call(unix.SYS_STATX, at, cstring("/etc/passwd"), 0, 0, 0)},
		{"socket, unix", call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM)},
		{"socket, TCP", call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM)},
		{"socket, raw", call(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW)},
		{"socket, netlink", call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW)},
		{"pair of sockets", call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, pin(&[2]int32{}))},
		{"connect", call(unix.SYS_CONNECT, fdControl, pin(&addr), unsafe.Sizeof(addr))},
		{"bind", call(unix.SYS_BIND, fdControl, pin(&addr), 2)},
		{"run a program", call(unix.SYS_EXECVE, cstring("/bin/true"), pin(&argv), 0)},
		{"run a program with execveat", call(unix.SYS_EXECVEAT, at, cstring("/bin/true"), pin(&argv), 0, 0)},
		{"clone a process", forked(call(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0))},
		{"clone a process that shares memory", forked(call(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_FILES, 0, 0, 0, 0))},
		{"clone a process with clone3", forked(call(unix.SYS_CLONE3, pin(&clone3), unsafe.Sizeof(clone3)))},
		{"trace the launcher", call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, parent)},
		{"be traced", call(unix.SYS_PTRACE, unix.PTRACE_TRACEME)},
		{"read the launcher's memory", call(unix.SYS_PROCESS_VM_READV, parent, pin(&vec), 1, pin(&remote), 1, 0)},
		{"read its own memory as a stranger", call(unix.SYS_PROCESS_VM_READV, self, pin(&vec), 1, pin(&remote), 1, 0)},
		{"write memory as a stranger", call(unix.SYS_PROCESS_VM_WRITEV, self, pin(&vec), 1, pin(&remote), 1, 0)},
		{"signal the launcher", call(unix.SYS_KILL, parent, 0)},
		{"signal the launcher's thread", call(unix.SYS_TGKILL, parent, parent, 0)},
		{"take the launcher's files", call(unix.SYS_PIDFD_OPEN, parent, 0)},
		{"map code", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)},
		{"map a file as code", call(unix.SYS_MMAP, 0, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE, fdControl, 0)},
		{"make memory code", call(unix.SYS_MPROTECT, 0, 4096, unix.PROT_READ|unix.PROT_EXEC)},
		{"open itself to debuggers", call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)},
		{"outlive the launcher", call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0)},
		{"have core dumps", call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, pin(&unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}), 0)},
		{"unlock its memory", call(unix.SYS_MUNLOCKALL)},
		{"become root", call(unix.SYS_SETRESUID, 0, 0, 0)},
		{"make a namespace", call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"enter a namespace", call(unix.SYS_SETNS, fdControl, 0)},
		{"mount", call(unix.SYS_MOUNT, cstring("none"), cstring("/tmp"), cstring("tmpfs"), 0, 0)},
		{"load a filter", call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)},
		{"load a program into the kernel", call(unix.SYS_BPF, 0, 0, 0)},
		{"load a kernel module", call(unix.SYS_INIT_MODULE, 0, 0, 0)},
		{"io_uring", call(unix.SYS_IO_URING_SETUP, 1, pin(&[30]uint32{}))},
		{"userfaultfd", call(unix.SYS_USERFAULTFD, 0)},
		{"perf", call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0)},
		{"control a device", call(unix.SYS_IOCTL, 2, unix.TIOCSTI, cstring("x"))},
		{"add a key", call(unix.SYS_KEYCTL, 0, 0, 0)},
		{"shared memory", call(unix.SYS_SHMGET, 0, 4096, 0o1600)},
		{"lock a descriptor's owner", call(unix.SYS_FCNTL, 2, unix.F_SETOWN, self)},
	}
}

// launcherPID is this probe's launcher: getppid is not allowed inside.
var launcherPID int

// probe enters the cage with the vault's own code and tries to get out of it.
func probe() int {
	launcherPID = os.Getppid()
	c, _, _, err := enter(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	tries := escapes()
	for _, e := range tries {
		r, errno := e.try()
		if errno == unix.EPERM || errno == unix.ENOSYS && strings.Contains(e.name, "clone3") {
			fmt.Fprintf(os.Stderr, "refused: %s: %s\n", e.name, unix.ErrnoName(errno))
		} else {
			fmt.Fprintf(os.Stderr, "ESCAPED: %s: %d, %s\n", e.name, r, unix.ErrnoName(errno))
		}
	}
	// On other threads than the one that applied the filter, and on new ones.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			runtime.LockOSThread() // the thread ends with its goroutine
			if _, errno := tries[0].try(); errno != unix.EPERM {
				fmt.Fprintln(os.Stderr, "ESCAPED: open on another thread:", errno)
			}
			time.Sleep(5 * time.Millisecond)
		})
	}
	wg.Wait()
	fmt.Fprintf(os.Stderr, "tried %d\n", len(tries))
	fmt.Fprintln(os.Stderr, "works:", works())
	_ = c.conn.Close()
	return 0
}

// works says whether the runtime still gets what it needs: memory, collections,
// timers, random bytes.
func works() string {
	var kept [][]byte
	for range 64 {
		b := make([]byte, 1<<20)
		if _, err := io.ReadFull(rand.Reader, b[:4096]); err != nil {
			return err.Error()
		}
		kept = append(kept, b)
	}
	runtime.GC()
	t := time.NewTimer(2 * time.Millisecond)
	<-t.C
	if bytes.Equal(kept[0][:4096], kept[63][:4096]) {
		return "random bytes repeat"
	}
	return "yes"
}

// TestNoWayOut shows from inside that a process which is confined by the vault's
// own code opens, connects, runs, traces and reads nothing.
func TestNoWayOut(t *testing.T) {
	for _, user := range []string{"", "61234"} {
		t.Run("user "+user, func(t *testing.T) {
			if user != "" && os.Geteuid() != 0 {
				t.Skip("another user takes root")
			}
			cfg := soloConfig(t)
			cfg.Vault.User = user
			p := startAs(t, launchProbe, cfg, nil)
			<-p.done
			out := p.out.String()
			if strings.Contains(out, "ESCAPED") || !strings.Contains(out, fmt.Sprintf("tried %d\n", len(escapes()))) {
				t.Fatalf("the cage has a hole:\n%s", out)
			}
			if n := strings.Count(out, "refused: "); n != len(escapes()) {
				t.Fatalf("%d attempts refused, want %d:\n%s", n, len(escapes()), out)
			}
			if !strings.Contains(out, "works: yes") {
				t.Fatalf("the runtime does not work inside:\n%s", out)
			}
			if p.cmd.ProcessState.ExitCode() != 0 {
				t.Fatalf("exit %v:\n%s", p.cmd.ProcessState, out)
			}
		})
	}
}
