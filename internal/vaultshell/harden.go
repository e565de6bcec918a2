package vaultshell

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// harden takes from this process what would let its memory or its files out:
// no core dump, no debugger of the same user, files for this user only, and, as
// far as the system allows, no page of it in swap.
func harden(log *slog.Logger) error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("couldn't turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("couldn't close this process to debuggers: %w", err)
	}
	if err := lockMemory(); err != nil {
		log.Warn("memory is not locked, so key material may reach the swap; raise the memlock limit (ulimit -l unlimited) or turn swap off", "err", err)
	}
	return nil
}

// lockMemory keeps what this process uses, now and later, out of swap. Under a
// limit it does not even begin: the first allocation beyond it would end the
// process.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && unix.Geteuid() != 0 {
		return fmt.Errorf("the memlock limit is %d bytes, want unlimited", limit.Cur)
	}
	// ONFAULT: Go reserves far more than it uses, and only what is used is to be
	// locked.
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}
