package cage

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// x32Bit marks calls of the x32 ABI, which share the architecture.
	x32Bit = 0x40000000
)

// oldCalls are those that newer architectures no longer have.
var oldCalls = map[string]uintptr{
	"fork": unix.SYS_FORK, "vfork": unix.SYS_VFORK,
	"iopl": unix.SYS_IOPL, "ioperm": unix.SYS_IOPERM, "modify_ldt": unix.SYS_MODIFY_LDT,
	"uselib": unix.SYS_USELIB, "create_module": unix.SYS_CREATE_MODULE, "_sysctl": unix.SYS__SYSCTL,
}
