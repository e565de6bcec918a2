package cage

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	x32Bit    = 0
)

var oldCalls = map[string]uintptr{}

var (
	oldModeCalls []uintptr
	oldModeArgs  map[uintptr]int
)
