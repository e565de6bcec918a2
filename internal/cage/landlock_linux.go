package cage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	fsFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	fsRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fsWrite = fsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
	fsABI1 = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1 // all rights of the first version
)

func (a Access) bits() uint64 {
	switch a {
	case Execute:
		return fsRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	case Write:
		return fsWrite
	case Sockets:
		return unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	case Device:
		return fsRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return fsRead
}

// landlockABI is what this kernel offers; 0: nothing.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// ruleset is all that a version can forbid, with the size that it knows.
func ruleset(abi int, network, scoped bool) (attr unix.LandlockRulesetAttr, size uintptr) {
	attr.Handled_access_fs, size = fsABI1, 8
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		size = 16
		if !network {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		size = 24
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
		if scoped {
			attr.Scoped |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		}
	}
	return attr, size
}

// landlock binds the calling thread, which must be locked to its goroutine, and
// everything that it starts: of the file system only the paths are left. Paths that
// are not there are left out.
func landlock(paths []Path, network, scoped bool) (abi int, err error) {
	if abi = landlockABI(); abi == 0 {
		return 0, errors.New("this kernel has no Landlock (or it is not in its lsm= list)")
	}
	attr, size := ruleset(abi, network, scoped)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return abi, fmt.Errorf("couldn't make a Landlock ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	for _, p := range paths {
		if err := allowPath(int(fd), p, attr.Handled_access_fs); err != nil {
			return abi, err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return abi, fmt.Errorf("couldn't give up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return abi, fmt.Errorf("couldn't enter the Landlock domain: %w", errno)
	}
	return abi, nil
}

func allowPath(ruleset int, p Path, handled uint64) error {
	f, err := os.OpenFile(p.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't allow a path: %w", err)
	}
	defer func() { _ = f.Close() }() // only looked up
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("couldn't allow a path: %w", err)
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: p.Access.bits() & handled, Parent_fd: int32(f.Fd())}
	if !info.IsDir() {
		attr.Allowed_access &= fsFile // the kernel refuses a directory's rights on a file
	}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("couldn't allow path %s: %w", p.Path, errno)
	}
	return nil
}
