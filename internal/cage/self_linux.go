package cage

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Close shuts this process to debuggers of its user, to core dumps and, for the
// files it makes, to other users. It comes before any secret.
func Close(r *Report) error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("couldn't turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("couldn't close this process to debuggers: %w", err)
	}
	r.ok("debuggers", "none without CAP_SYS_PTRACE; no core dumps")
	return nil
}

// LockMemory keeps what this process uses, now and later, out of swap. Under a
// limit it does not even begin: the first allocation beyond it would end the
// process.
func LockMemory(r *Report) {
	if err := lockMemory(); err != nil {
		r.weak("swap", "memory is not locked, key material may reach the swap (raise the memlock limit, or turn swap off): %v", err)
		return
	}
	r.ok("swap", "memory is locked")
}

func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if have, err := capability(unix.CAP_IPC_LOCK); err != nil || limit.Cur != unix.RLIM_INFINITY && !have {
		return fmt.Errorf("the memlock limit is %d bytes, want unlimited", limit.Cur)
	}
	// ONFAULT: Go reserves far more than it uses, and only what is used is to be
	// locked.
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}

// raiseMemlock lets what this process starts lock its memory: by the limit, or else
// by the capability that it returns for the child. LockMemory sees whether any of
// it helped.
func raiseMemlock() []uintptr {
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}) == nil {
		return nil
	}
	if have, err := capability(unix.CAP_IPC_LOCK); err != nil || !have {
		return nil
	}
	return []uintptr{unix.CAP_IPC_LOCK}
}

// dropCapabilities takes the calling thread's, and those that a program run by it
// could get. With keep these stay until the thread's program is replaced by another
// user's.
func dropCapabilities(keep ...uintptr) error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(keep, c) {
			continue
		}
		// EINVAL: the kernel is older and does not know it; EPERM: this thread has no
		// CAP_SETPCAP, and so nothing to drop or nobody to stop it.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL && err != unix.EPERM {
			return fmt.Errorf("couldn't drop capability %d: %w", c, err)
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) // EINVAL: none on old kernels
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("couldn't read the capabilities: %w", err)
	}
	var kept [2]unix.CapUserData
	for _, c := range keep {
		bit := uint32(1) << (c % 32)
		kept[c/32].Permitted |= data[c/32].Permitted & bit
		kept[c/32].Effective |= data[c/32].Effective & bit
	}
	if err := unix.Capset(&hdr, &kept[0]); err != nil {
		return fmt.Errorf("couldn't drop the capabilities: %w", err)
	}
	return nil
}

// capabilities are what this thread may use.
func capabilities() (uint64, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, fmt.Errorf("couldn't read the capabilities: %w", err)
	}
	return uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted), nil
}

func capability(c int) (bool, error) {
	all, err := capabilities()
	return all&(1<<c) != 0, err
}

// Privileges reports what this process could still become.
func Privileges(r *Report) {
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	all, capErr := capabilities()
	switch {
	case err != nil || nnp != 1:
		r.weak("privileges", "new ones may be gained (no_new_privs is off)")
	case capErr != nil || all&^(1<<unix.CAP_IPC_LOCK) != 0:
		r.weak("privileges", "no new ones, but this process has the capabilities %#x", all)
	case all != 0:
		r.ok("privileges", "none but to lock memory, and no new ones")
	default:
		r.ok("privileges", "none, and no new ones")
	}
	r.ok("user", "%d", os.Geteuid())
}
