package remote

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// ownerOf is the user that owns a file.
func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// checkPeer refuses the process of another user than this at the other end.
func checkPeer(c *net.UnixConn, uid int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("couldn't learn who is at the other end: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return fmt.Errorf("couldn't learn who is at the other end: %w", err)
	}
	return checkUID(int(cred.Uid), uid)
}
