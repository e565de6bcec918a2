package cage

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in the kernel's seccomp_data; arguments are read by their low half, on
// little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// rule is what a filter does with one system call. Without conditions it always
// holds; with them, only when all do.
type rule struct {
	number uintptr
	action uint32
	when   []condition
}

// condition holds when argument arg, masked, is (or, with not, is not) one of the
// values.
type condition struct {
	arg    int
	mask   uint32
	values []uint32
	not    bool
}

const allow = unix.SECCOMP_RET_ALLOW

func fail(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// program assembles a filter. A call of another architecture ends the process: its
// numbers mean other things.
func program(rules []rule, otherwise uint32) []unix.SockFilter {
	const load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	out := []unix.SockFilter{
		stmt(load, offArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		stmt(unix.BPF_RET, unix.SECCOMP_RET_KILL_PROCESS),
		stmt(load, offNumber),
	}
	if x32Bit != 0 {
		out = append(out, jump(unix.BPF_JGE, x32Bit, 0, 1), stmt(unix.BPF_RET, unix.SECCOMP_RET_KILL_PROCESS))
	}
	for _, r := range rules {
		body := []unix.SockFilter{}
		for _, c := range r.when {
			body = append(body, c.check()...)
		}
		body = append(body, stmt(unix.BPF_RET, r.action))
		// A condition that does not hold jumps to the reload at the end of the body.
		for i := range body {
			if body[i].Jf == no {
				body[i].Jf = uint8(len(body) - i - 1)
			}
			if body[i].Jt == no {
				body[i].Jt = uint8(len(body) - i - 1)
			}
		}
		if len(r.when) > 0 {
			body = append(body, stmt(load, offNumber))
		}
		out = append(out, jump(unix.BPF_JEQ, uint32(r.number), 0, uint8(len(body))))
		out = append(out, body...)
	}
	return append(out, stmt(unix.BPF_RET, otherwise))
}

// no marks the jump of a condition that does not hold, until it is known how far.
const no = 255

func (c condition) check() []unix.SockFilter {
	out := []unix.SockFilter{stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offArgs+8*uint32(c.arg))}
	if c.mask != 0 {
		out = append(out, stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, c.mask))
	}
	for i, v := range c.values {
		rest := uint8(len(c.values) - 1 - i)
		switch {
		case c.not:
			out = append(out, jump(unix.BPF_JEQ, v, no, 0))
		case rest == 0:
			out = append(out, jump(unix.BPF_JEQ, v, 0, no))
		default:
			out = append(out, jump(unix.BPF_JEQ, v, rest, 0))
		}
	}
	return out
}

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

// seccomp binds all threads of this process for good.
func seccomp(filter []unix.SockFilter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("couldn't give up new privileges: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return errors.New("this kernel has no seccomp filters")
	case errno != 0:
		return fmt.Errorf("couldn't apply the seccomp filter: %w", errno)
	case tid != 0:
		return fmt.Errorf("couldn't apply the seccomp filter: thread %d does not take it", tid)
	}
	return nil
}
