package cage

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SelfPath is this process's own program, whatever happened to its file since.
const SelfPath = "/proc/self/exe"

// Child is a confined process. It is killed when this process ends.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Options of Start.
type Options struct {
	Name  string     // argument 0
	Args  []string   // the others
	Env   []string   // all of the child's environment
	User  *User      // nil: this process's
	Files []*os.File // from descriptor 3 on
	Out   *os.File   // descriptors 1 and 2
}

// Start runs this program anew as a confined process. The thread that starts it
// enters an empty network, gives up privileges and enters a Landlock domain that
// leaves this program and its libraries; the child inherits all that. The kernel
// ties the child's death to that thread, which therefore waits for it.
func Start(o Options) (*Child, Report, error) {
	code, err := programFiles()
	if err != nil {
		return nil, nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't open %s: %w", os.DevNull, err)
	}
	defer func() { _ = null.Close() }()
	c := &Child{cmd: exec.Command(SelfPath), done: make(chan struct{})}
	c.cmd.Args = append([]string{o.Name}, o.Args...)
	c.cmd.Env, c.cmd.ExtraFiles, c.cmd.Dir = o.Env, o.Files, "/"
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = null, o.Out, o.Out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	change := o.User != nil && o.User.UID != os.Geteuid()
	if change {
		c.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.User.UID), Gid: uint32(o.User.GID), Groups: []uint32{}}
	}
	lock := raiseMemlock()
	c.cmd.SysProcAttr.AmbientCaps = lock
	var report Report
	started := make(chan error)
	go onOtherThread(func() {
		err := confineThread(code, change, lock, &report)
		if err == nil {
			err = c.cmd.Start()
		}
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.done)
		}
	})
	if err := <-started; err != nil {
		if change {
			return nil, nil, fmt.Errorf("couldn't start the confined process as user %s: %w", o.User.Name, err)
		}
		return nil, nil, fmt.Errorf("couldn't start the confined process: %w", err)
	}
	return c, report, nil
}

// onOtherThread runs f on a thread that is bound to it for good and ends with it. It
// is never the process's first one: others name the process by that, and what may
// signal and trace it, by Landlock's rules, is what shares its domain.
func onOtherThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	// While this goroutine holds the first thread, the next one gets another.
	bound := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(bound)
		f()
	}()
	<-bound
	runtime.UnlockOSThread()
}

func confineThread(code []Path, change bool, keep []uintptr, r *Report) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
		r.ok("network", "no sockets (a network namespace of its own takes root: %v)", err)
	} else {
		r.ok("network", "no sockets, and a namespace without network")
	}
	if change {
		// The child loses these with the change of the user. This thread needs CAP_KILL
		// to the end: it is the one in whose name the kernel kills the child.
		keep = append([]uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL}, keep...)
	}
	if err := dropCapabilities(keep...); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("couldn't give up new privileges: %w", err)
	}
	if abi, err := landlock(code, false, true); err != nil {
		r.weak("landlock", "off: %v", err)
	} else if abi < 3 {
		r.weak("landlock", "abi %d: files may be cut", abi)
	} else {
		r.ok("landlock", "abi %d, no file but the program and its libraries", abi)
	}
	return nil
}

// programFiles are this program and the libraries that it is linked with: the
// files that are mapped as code.
func programFiles() ([]Path, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("couldn't find this program's libraries: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	paths := []Path{{SelfPath, Execute}, {"/etc/ld.so.cache", Read}}
	seen := map[string]bool{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 6 || !strings.Contains(fields[1], "x") || !strings.HasPrefix(fields[5], "/") || seen[fields[5]] {
			continue
		}
		seen[fields[5]] = true
		paths = append(paths, Path{fields[5], Execute})
	}
	return paths, s.Err()
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// State is how it ended, after Done.
func (c *Child) State() *os.ProcessState { return c.cmd.ProcessState }

// PID is its id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Signal sends it a signal; one that has ended gets none.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Orphan ends this process when parent is no longer its parent, and has the kernel
// end it when that happens later.
func Orphan(parent int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("couldn't tie this process to its launcher: %w", err)
	}
	if os.Getppid() != parent {
		return fmt.Errorf("the launcher, process %d, is gone", parent)
	}
	return nil
}

// Reexec replaces this process by the same program in a Landlock domain that leaves
// only paths, without the capabilities that a device's library has no use for. It
// returns only when that fails. The environment tells the program that it was done.
func Reexec(args, env []string, paths []Path, network bool) error {
	code, err := programFiles()
	if err != nil {
		return err
	}
	raiseMemlock()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good
		// What root's helper needs to reach a device of another user's, to give its
		// socket away and to lock its memory.
		err := dropCapabilities(unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_IPC_OWNER, unix.CAP_IPC_LOCK)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		}
		if err != nil {
			failed <- err
			return
		}
		state := ""
		if abi, err := landlock(append(code, paths...), network, false); err != nil {
			state = err.Error()
		} else {
			state = fmt.Sprint("abi ", abi)
		}
		failed <- syscall.Exec(SelfPath, args, append(env, landlockEnv+"="+state))
	}()
	return fmt.Errorf("couldn't start the program anew: %w", <-failed)
}

const landlockEnv = "COFFER_CAGE_LANDLOCK"

// Reexeced says that this program was started by Reexec. The word of the
// environment is not enough: no new privileges, and where Landlock is on, the root
// of the file system cannot be listed.
func Reexeced(r *Report) bool {
	state, ok := os.LookupEnv(landlockEnv)
	if nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); !ok || err != nil || nnp != 1 {
		return false
	}
	if !strings.HasPrefix(state, "abi ") {
		r.weak("landlock", "off: %s", state)
		return true
	}
	if f, err := os.Open("/"); err == nil {
		_ = f.Close()
		return false
	}
	r.ok("landlock", "%s, only the device's paths", state)
	return true
}
