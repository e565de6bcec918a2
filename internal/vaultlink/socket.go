package vaultlink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Listener is the vault's end of the socket.
type Listener struct {
	ln   *net.UnixListener
	lock *os.File // nil: the launcher holds it
	path string
	uid  int // whose connections are taken
}

// maxPath is what a unix socket's address holds on Linux, with its final zero.
const maxPath = 107

// Listen makes the socket, for this user only. A socket that a killed vault left
// behind is replaced; one that a living vault holds is an error.
func Listen(path string) (*Listener, error) { return ListenFor(path, os.Geteuid()) }

// ListenFor is Listen for a node that runs as another user, who then owns the
// socket. To give it away takes root, unless it is for root.
func ListenFor(path string, uid int) (*Listener, error) {
	if len(path) == 0 || len(path) > maxPath {
		return nil, fmt.Errorf("socket path %q has %d bytes, want 1 to %d", path, len(path), maxPath)
	}
	// The lock, and not a trial connection, tells a living vault from a dead
	// one's socket: a connection would be taken for the node.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the lock of socket %s: %w", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another vault listens on %s: every vault needs a socket of its own", path)
	}
	ln, err := listen(path, uid)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Listener{ln, lock, path, uid}, nil
}

// File is the listening socket, to be inherited by a process that calls Inherit.
func (l *Listener) File() (*os.File, error) { return l.ln.File() }

// Inherit is the other end of File. Socket and lock stay with the process that
// made them.
func Inherit(f *os.File, path string, uid int) (*Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("couldn't take over the socket %s: %w", path, err)
	}
	unix, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("couldn't take over the socket %s: it is a %s socket", path, ln.Addr().Network())
	}
	return &Listener{unix, nil, path, uid}, nil
}

func listen(path string, uid int) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("couldn't listen on %s: it is there and is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("couldn't remove the stale socket %s: %w", path, err)
		}
	}
	// Between bind and chmod the file has the mode of the umask, which the shell
	// sets to 077; the peer's uid is checked in any case.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("couldn't listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("couldn't make socket %s private: %w", path, err)
	}
	if uid != os.Geteuid() && uid != 0 { // root opens it in any case
		if err := os.Chown(path, uid, -1); err != nil {
			_ = ln.Close()
			return nil, fmt.Errorf("couldn't give socket %s to user %d: %w", path, uid, err)
		}
	}
	return ln, nil
}

// ErrPeer says that a connection came from another user. The listener goes on.
var ErrPeer = errors.New("connection from another user")

// Accept waits for a connection of the node's user. Cancelling ctx ends it with the
// context's error.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.ln.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	nc, err := l.ln.AcceptUnix()
	if ctx.Err() != nil {
		if err == nil {
			_ = nc.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't accept on %s: %w", l.path, err)
	}
	if err := checkPeer(nc, l.uid); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return NewConn(nc), nil
}

// Close removes the socket. The lock file stays: removing it would let two
// vaults hold locks on two files of one name.
func (l *Listener) Close() {
	_ = l.ln.Close() // unlinks the socket
	if l.lock != nil {
		_ = l.lock.Close()
	}
}

// Dial connects to a vault of this user.
func Dial(ctx context.Context, path string) (*Conn, error) { return DialUser(ctx, path, os.Geteuid()) }

// DialUser connects to a vault that another user started.
func DialUser(ctx context.Context, path string, uid int) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("couldn't connect to the vault: %w", err)
	}
	if err := checkPeer(nc.(*net.UnixConn), uid); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return NewConn(nc), nil
}

// checkPeer compares the uid of the process at the other end with the one that is
// to be there.
func checkPeer(nc *net.UnixConn, uid int) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return fmt.Errorf("couldn't look at the peer of the socket: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return fmt.Errorf("couldn't look at the peer of the socket: %w", err)
	}
	if credErr != nil {
		return fmt.Errorf("couldn't ask for the peer's uid: %w", credErr)
	}
	return checkUID(int(cred.Uid), uid)
}

func checkUID(peer, want int) error {
	if peer != want {
		return fmt.Errorf("%w: uid %d, want %d", ErrPeer, peer, want)
	}
	return nil
}
