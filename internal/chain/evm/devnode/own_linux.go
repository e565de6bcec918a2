package devnode

import (
	"os/exec"
	"syscall"
)

// own makes the kernel end the child when this process ends, and keeps the
// terminal's Ctrl-C from it, so that the owner can stop things in order.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
