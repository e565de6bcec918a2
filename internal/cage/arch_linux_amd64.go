package cage

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// x32Bit marks calls of the x32 ABI, which share the architecture.
	x32Bit = 0x40000000
)

// oldCalls are those that newer architectures no longer have.
var oldCalls = map[string]uintptr{
	"mknod": unix.SYS_MKNOD, "fork": unix.SYS_FORK, "vfork": unix.SYS_VFORK,
	"iopl": unix.SYS_IOPL, "ioperm": unix.SYS_IOPERM, "modify_ldt": unix.SYS_MODIFY_LDT,
	"uselib": unix.SYS_USELIB, "create_module": unix.SYS_CREATE_MODULE, "_sysctl": unix.SYS__SYSCTL,
}

// oldModeCalls change the modes of files by path, and oldModeArgs say which argument is
// the mode of what they make.
var (
	oldModeCalls = []uintptr{unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN}
	oldModeArgs  = map[uintptr]int{unix.SYS_OPEN: 2, unix.SYS_CREAT: 1}
)
