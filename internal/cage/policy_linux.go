package cage

import (
	"os"

	"golang.org/x/sys/unix"
)

// vaultCalls are what the Go runtime and a vault's work need once every socket is
// there; docs/spec/isolation.md says what each is for. None opens, makes, runs or
// looks at anything: what the process has is what it will have, except for sockets
// that it accepts or is handed.
var vaultCalls = []uintptr{
	// The work: sockets that are there, the clock, random bytes.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_RECVMSG, unix.SYS_SENDMSG,
	unix.SYS_ACCEPT4, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SHUTDOWN,
	unix.SYS_CLOSE, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL,
	unix.SYS_GETRANDOM, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	// The runtime: threads, their stacks and signals, memory.
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_BRK,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// vaultRules allow vaultCalls, and what is harmless with some arguments only.
// Everything else fails with EPERM.
func vaultRules(pid int) []rule {
	var rules []rule
	for _, n := range vaultCalls {
		rules = append(rules, rule{number: n, action: allow})
	}
	noCode := []condition{{arg: 2, mask: unix.PROT_EXEC, values: []uint32{0}}}
	return append(rules,
		// Memory, but no code.
		rule{number: unix.SYS_MMAP, action: allow, when: noCode},
		rule{number: unix.SYS_MPROTECT, action: allow, when: noCode},
		// Threads, but no processes. What clone3 is asked for stands in memory, where
		// a filter cannot look; the C library falls back to clone.
		rule{number: unix.SYS_CLONE, action: allow, when: []condition{{arg: 0, mask: unix.CLONE_THREAD, values: []uint32{unix.CLONE_THREAD}}}},
		rule{number: unix.SYS_CLONE3, action: fail(unix.ENOSYS)},
		// Signals to its own threads: preemption of goroutines.
		rule{number: unix.SYS_TGKILL, action: allow, when: []condition{{arg: 0, values: []uint32{uint32(pid)}}}},
		// What net.FileConn asks of a socket that the launcher handed over.
		rule{number: unix.SYS_FCNTL, action: allow, when: []condition{{arg: 1, values: []uint32{unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC}}}},
	)
}

// helperCalls are forbidden to the helper, whose library is foreign code: nobody
// knows in full what it needs, so this is a list of what it certainly does not.
var helperCalls = []uintptr{
	// Other processes and other programs.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE,
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PERF_EVENT_OPEN,
	unix.SYS_TKILL, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
	// The kernel.
	unix.SYS_BPF, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_FANOTIFY_INIT, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_VHANGUP,
	// Namespaces, mounts and ways around Landlock.
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_MKNODAT, unix.SYS_PERSONALITY,
	// Becoming somebody else.
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
	unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
}

// helperRules fail helperCalls with EPERM, and what only some arguments make
// dangerous. Everything else is allowed.
func helperRules(network bool, pid int) []rule {
	var rules []rule
	for _, n := range helperCalls {
		rules = append(rules, rule{number: n, action: fail(unix.EPERM)})
	}
	for _, n := range oldCalls {
		rules = append(rules, rule{number: n, action: fail(unix.EPERM)})
	}
	families := []uint32{unix.AF_UNIX}
	if network {
		families = append(families, unix.AF_INET, unix.AF_INET6)
	}
	// A list of values under not demands that none of them matches.
	return append(rules,
		rule{number: unix.SYS_SOCKET, action: fail(unix.EPERM), when: []condition{{arg: 0, values: families, not: true}}},
		rule{number: unix.SYS_CLONE, action: fail(unix.EPERM), when: []condition{{arg: 0, mask: unix.CLONE_THREAD, values: []uint32{0}}}},
		rule{number: unix.SYS_CLONE3, action: fail(unix.ENOSYS)},
		// Signals and limits are for itself. Landlock knows of signals from its sixth
		// version on, and of limits not at all.
		rule{number: unix.SYS_KILL, action: fail(unix.EPERM), when: []condition{{arg: 0, values: []uint32{uint32(pid)}, not: true}}},
		rule{number: unix.SYS_TGKILL, action: fail(unix.EPERM), when: []condition{{arg: 0, values: []uint32{uint32(pid)}, not: true}}},
		rule{number: unix.SYS_PRLIMIT64, action: fail(unix.EPERM), when: []condition{{arg: 0, values: []uint32{0, uint32(pid)}, not: true}}},
		// PR_SET_DUMPABLE would open it to debuggers again.
		rule{number: unix.SYS_PRCTL, action: fail(unix.EPERM), when: []condition{{arg: 0, values: []uint32{unix.PR_SET_DUMPABLE, unix.PR_SET_PTRACER}}}},
	)
}

// modeCalls change who may use a file, by its path: Landlock does not know them, and
// root's helper could open every file of the machine to others. It calls them itself
// while it makes its sockets, and never again.
var modeCalls = []uintptr{
	unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWNAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_SETXATTRAT, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_REMOVEXATTRAT,
	unix.SYS_FILE_SETATTR,
}

// fileRules fail modeCalls, and with the others what would make a program that runs as
// this user, whoever starts it. What is open may be given other modes: it lies in the
// device's paths.
func fileRules() []rule {
	var rules []rule
	for _, n := range modeCalls {
		rules = append(rules, rule{number: n, action: fail(unix.EPERM)})
	}
	for _, n := range oldModeCalls {
		rules = append(rules, rule{number: n, action: fail(unix.EPERM)})
	}
	become := func(n uintptr, mode int) rule {
		return rule{number: n, action: fail(unix.EPERM), when: []condition{{arg: mode, mask: unix.S_ISUID | unix.S_ISGID, values: []uint32{0}, not: true}}}
	}
	rules = append(rules, become(unix.SYS_FCHMOD, 1), become(unix.SYS_OPENAT, 3),
		// Its mode stands in memory, where a filter cannot look.
		rule{number: unix.SYS_OPENAT2, action: fail(unix.ENOSYS)})
	for n, mode := range oldModeArgs {
		rules = append(rules, become(n, mode))
	}
	return rules
}

// HelperFiles binds a helper that has made its sockets, before it loads the library.
func HelperFiles(r *Report) {
	if err := seccomp(program(fileRules(), allow)); err != nil {
		r.weak("modes of files", "may be changed: %v", err)
		return
	}
	r.ok("modes of files", "stay as they are")
}

// Vault binds the vault's process to what is on its list. It is called when all
// sockets are there, and cannot be taken back.
func Vault(r *Report) {
	rules := vaultRules(os.Getpid())
	if err := seccomp(program(rules, fail(unix.EPERM))); err != nil {
		r.weak("seccomp", "off: %v", err)
		return
	}
	r.ok("seccomp", "on, %d calls allowed", len(rules)-1) // clone3 is not
}

// Helper binds the process that loads a vendor's library.
func Helper(network bool, r *Report) {
	rules := helperRules(network, os.Getpid())
	if err := seccomp(program(rules, allow)); err != nil {
		r.weak("seccomp", "off: %v", err)
		return
	}
	r.ok("seccomp", "on, %d calls forbidden", len(rules))
	if os.Geteuid() == 0 {
		r.weak("user", "root, who reaches every unix socket of this host: give the helper a user of its own")
	}
}
