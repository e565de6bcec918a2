package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Level says how bad a finding is.
type Level string

const (
	// OK is as a vault wants it.
	OK Level = "ok"
	// Warn weakens a vault, which runs nevertheless and says so.
	Warn Level = "warn"
	// Missing is not there and need not be.
	Missing Level = "none"
	// Fail keeps a vault from running.
	Fail Level = "fail"
)

// Finding is one thing looked at.
type Finding struct {
	What  string
	Level Level
	Says  string
	Hint  string // what to do about it, where something should be done
}

// Facts are what the kernel says. An error in place of a fact is a fact too.
type Facts struct {
	Release     string // of the kernel
	Root        bool   // this process is root's
	LandlockABI int    // 0: none
	LandlockErr error
	SeccompErr  error  // nil: a filter can end a process
	Memlock     uint64 // bytes; Unlimited: no limit
	IPCLock     bool   // this process may lock beyond the limit
	MemlockErr  error
	Swaps       []byte // /proc/swaps
	CorePattern string // /proc/sys/kernel/core_pattern
	Ptrace      string // /proc/sys/kernel/yama/ptrace_scope, empty without Yama
	ClockOK     bool   // somebody keeps the clock
	ClockErr    error
}

// Unlimited is Memlock without a limit.
const Unlimited = ^uint64(0)

// What a Landlock version brings that a vault uses.
const (
	landlockFiles   = 1
	landlockTruncat = 3
	landlockNet     = 4
	landlockScope   = 6
)

// Findings judges the facts.
func (f *Facts) Findings() []Finding {
	return []Finding{f.landlock(), f.seccomp(), f.user(), f.memory(), f.swap(), f.cores(), f.ptrace(), f.clock()}
}

func (f *Facts) landlock() Finding {
	x := Finding{What: "Landlock", Level: OK}
	switch {
	case f.LandlockABI == 0:
		x.Level, x.Says = Warn, fmt.Sprintf("not in this kernel (%v): vault and HSM helper are not confined to their files", f.LandlockErr)
		x.Hint = "Linux 5.13 or later, with landlock in the lsm= list (cat /sys/kernel/security/lsm)"
	case f.LandlockABI < landlockScope:
		x.Level = Warn
		x.Says = fmt.Sprintf("ABI %d: %s", f.LandlockABI, f.lacks())
		x.Hint = "a newer kernel: 6.12 has all of it"
	default:
		x.Says = fmt.Sprintf("ABI %d: files, TCP, signals and abstract sockets can be closed to a process", f.LandlockABI)
	}
	return x
}

func (f *Facts) lacks() string {
	lacks := []string{"signals and abstract sockets"}
	if f.LandlockABI < landlockNet {
		lacks = append([]string{"TCP"}, lacks...)
	}
	if f.LandlockABI < landlockTruncat {
		lacks = append([]string{"truncation"}, lacks...)
	}
	return "files only partly closed; not closed: " + strings.Join(lacks, ", ")
}

func (f *Facts) seccomp() Finding {
	if f.SeccompErr != nil {
		return Finding{"seccomp", Warn, fmt.Sprintf("not available (%v): the vault may make every system call", f.SeccompErr), "a kernel with CONFIG_SECCOMP_FILTER; a container runtime may withhold it"}
	}
	return Finding{What: "seccomp", Level: OK, Says: "a filter of system calls can be installed"}
}

func (f *Facts) user() Finding {
	if !f.Root {
		return Finding{"own user", Warn, "not root here: a vault started so has this user's id, and so has whatever else this user runs", "run each vault and its helper as users of their own (docs/three-hosts.md)"}
	}
	return Finding{What: "own user", Level: OK, Says: "root: a vault can be given a user id of its own"}
}

func (f *Facts) memory() Finding {
	switch {
	case f.MemlockErr != nil:
		return Finding{"locked memory", Warn, f.MemlockErr.Error(), ""}
	case f.Memlock == Unlimited || f.IPCLock:
		return Finding{What: "locked memory", Level: OK, Says: "a vault can keep all its memory out of swap"}
	}
	return Finding{"locked memory", Warn, fmt.Sprintf("the memlock limit is %d KiB, want unlimited: key material could reach the swap", f.Memlock>>10),
		"ulimit -l unlimited, or LimitMEMLOCK=infinity in the vault's systemd unit"}
}

func (f *Facts) swap() Finding {
	areas := swapAreas(f.Swaps)
	switch {
	case len(areas) == 0:
		return Finding{What: "swap", Level: OK, Says: "off"}
	case f.memory().Level == OK:
		return Finding{What: "swap", Level: OK, Says: fmt.Sprintf("on (%s), and the vault's memory is locked", strings.Join(areas, ", "))}
	}
	return Finding{"swap", Warn, fmt.Sprintf("on (%s), and memory cannot be locked", strings.Join(areas, ", ")), "swapoff -a, or the memlock right"}
}

// swapAreas reads /proc/swaps: a heading, then an area a line.
func swapAreas(b []byte) (out []string) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for first := true; lines.Scan(); first = false {
		if fields := strings.Fields(lines.Text()); !first && len(fields) > 0 {
			out = append(out, fields[0])
		}
	}
	return out
}

func (f *Facts) cores() Finding {
	pattern := strings.TrimSpace(f.CorePattern)
	if program, piped := strings.CutPrefix(pattern, "|"); piped {
		program, _, _ = strings.Cut(program, " ")
		return Finding{"core dumps", Warn, "are handed to " + program + ", whatever a process's limit is; vault and helper make themselves undumpable, other programs on this host do not",
			"sysctl kernel.core_pattern=core"}
	}
	return Finding{What: "core dumps", Level: OK, Says: fmt.Sprintf("go to a file %q, which the vault's own limit of 0 prevents", pattern)}
}

func (f *Facts) ptrace() Finding {
	scope, err := strconv.Atoi(strings.TrimSpace(f.Ptrace))
	switch {
	case err != nil:
		return Finding{"debuggers", Warn, "this kernel has no Yama: processes of one user may debug each other; the vault closes itself to that", "a kernel with CONFIG_SECURITY_YAMA"}
	case scope == 0:
		return Finding{"debuggers", Warn, "processes of one user may debug each other (ptrace_scope 0); the vault closes itself to that, from its start on", "sysctl kernel.yama.ptrace_scope=1"}
	}
	return Finding{What: "debuggers", Level: OK, Says: fmt.Sprintf("a process may not debug a stranger of the same user (ptrace_scope %d)", scope)}
}

func (f *Facts) clock() Finding {
	switch {
	case f.ClockErr != nil:
		return Finding{"clock", Warn, "couldn't be asked: " + f.ClockErr.Error(), ""}
	case !f.ClockOK:
		return Finding{"clock", Warn, "nobody keeps it: a vault refuses peers whose clock differs by more than 30 s", "run chrony or systemd-timesyncd"}
	}
	return Finding{What: "clock", Level: OK, Says: "is kept in step"}
}
