package machine

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Look asks this machine.
func Look() *Facts {
	f := &Facts{Root: unix.Geteuid() == 0}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		f.Release = unix.ByteSliceToString(name.Release[:])
	}
	f.LandlockABI, f.LandlockErr = landlockABI()
	f.SeccompErr = seccomp()
	f.Memlock, f.MemlockErr = memlock()
	f.IPCLock = capable(unix.CAP_IPC_LOCK)
	f.Swaps, _ = os.ReadFile("/proc/swaps") // none: no swap
	f.CorePattern = text("/proc/sys/kernel/core_pattern")
	f.Ptrace = text("/proc/sys/kernel/yama/ptrace_scope")
	f.ClockOK, f.ClockErr = clock()
	return f
}

func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(abi), nil
}

// Of the seccomp system call, which x/sys/unix does not wrap.
const (
	seccompGetActionAvail = 2
	seccompRetErrno       = 0x00050000
	seccompRetKillProcess = 0x80000000
	clockUnsynchronised   = 0x40 // STA_UNSYNC
	clockError            = 5    // TIME_ERROR
)

func seccomp() error {
	for _, action := range []uint32{seccompRetErrno, seccompRetKillProcess} {
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, seccompGetActionAvail, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
			return errno
		}
	}
	return nil
}

func memlock() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return 0, err
	}
	if limit.Cur == unix.RLIM_INFINITY {
		return Unlimited, nil
	}
	return limit.Cur, nil
}

// capable says whether this process has a capability in effect.
func capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func clock() (bool, error) {
	var t unix.Timex // all zero: nothing is changed
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != clockError && t.Status&clockUnsynchronised == 0, nil
}
