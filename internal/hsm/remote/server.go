package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

// maxConns bounds the connections served at once. A client uses at most
// maxCalls of them.
const maxConns = 64

// acceptPause is the wait after a failed accept (no file descriptors left):
// shorter would spin, longer delays the recovery.
const acceptPause = 100 * time.Millisecond

// Device is what a server serves. The optional interfaces of package hsm are served
// too, where the device has them.
type Device interface {
	hsm.HSM
	hsm.Sealer
}

// Server serves a device to the processes of one user.
type Server struct {
	Device Device
	Log    *slog.Logger
	// Operator is asked when the device wants authorisation that a request does not
	// carry. Nil: nobody is there.
	Operator hsm.Approver
}

// MaxWait is the longest that a request may wait for the operator.
const MaxWait = 120 * time.Second

// Listener is a unix socket that only its owner can open, and the lock that
// keeps a second server off it.
type Listener struct {
	*net.UnixListener
	lock *os.File
	uid  int // whose connections are taken

	once sync.Once
	err  error // of the first Close
}

// maxPath is the longest path of a unix socket on Linux; on other systems the
// kernel says so itself.
const maxPath = 107

// Listen makes the socket for this process's user, replacing one that a killed
// server left behind.
func Listen(path string) (*Listener, error) { return ListenFor(path, os.Geteuid()) }

// ListenFor is Listen for a vault that another user starts, who then owns the
// socket. To give it away takes root, unless it is for root.
func ListenFor(path string, uid int) (*Listener, error) {
	if len(path) > maxPath {
		return nil, hsm.Errorf(hsm.ErrConfig, "use a shorter directory",
			"socket path of %d bytes, at most %d: %s", len(path), maxPath, path)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't lock the socket: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, hsm.Errorf(hsm.ErrConfig, "stop the other helper, or give this one another socket",
			"another process serves %s", path)
	}
	l, err := listenLocked(path, uid)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, lock: lock, uid: uid}, nil
}

func listenLocked(path string, uid int) (*net.UnixListener, error) {
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't make the socket: %w", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "%s is not a socket; it was left alone", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't replace the old socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't make the socket: %w", err)
	}
	// Between the two calls a stranger could connect; Serve turns him away.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't protect the socket: %w", err)
	}
	if uid != os.Geteuid() && uid != 0 { // root opens it in any case
		if err := os.Chown(path, uid, -1); err != nil {
			l.Close()
			return nil, hsm.Errorf(hsm.ErrConfig, "run the helper as root, or as the vault's user", "couldn't give the socket to user %d: %w", uid, err)
		}
	}
	return l, nil
}

// Close removes the socket and lets go of the lock. When it returns, both are done,
// whoever called it first.
func (l *Listener) Close() error {
	l.once.Do(func() { l.err = errors.Join(l.UnixListener.Close(), l.lock.Close()) })
	return l.err
}

// Serve answers until ctx ends, then waits for the requests under way. It closes
// the listener, not the device.
func (s *Server) Serve(ctx context.Context, l *Listener) error {
	return serveLoop(ctx, l, s.Log, checkPeer, s.serveConn)
}

// serveLoop gives each connection of a peer that passes a goroutine.
func serveLoop(ctx context.Context, l *Listener, log *slog.Logger, check func(*net.UnixConn, int) error, serve func(context.Context, net.Conn)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, maxConns)
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("couldn't accept: %w", err)
		case err != nil:
			log.Error("couldn't accept a connection", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if err := check(c, l.uid); err != nil {
			log.Warn("refused a connection", "err", err)
			c.Close()
			continue
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				serve(ctx, c)
			})
		default:
			log.Warn("refused a connection", "err", "too many", "max", maxConns)
			busy := hsm.Errorf(hsm.ErrUnavailable, "", "the helper serves %d connections already", maxConns)
			// A short write into an empty socket buffer does not block.
			_ = writeFrame(c, errorReply(opHello, busy).encode())
			c.Close()
		}
	}
}

// serveConn answers one request after the other. The first malformed one ends
// the connection, after an answer that says what was wrong.
func (s *Server) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for ctx.Err() == nil {
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			return
		}
		if ctx.Err() != nil { // it ended between the two, and the deadline is gone
			return
		}
		frame, err := readFrame(c, maxRequest)
		if errors.Is(err, errFrame) {
			s.refuse(c, err)
			return
		}
		if err != nil { // the peer left, or was too slow
			s.Log.Debug("connection ended", "err", err)
			return
		}
		q, err := decodeRequest(frame)
		if err != nil {
			s.refuse(c, err)
			return
		}
		p := s.answer(ctx, q)
		secret.Wipe(frame) // it may hold a data key
		body := p.encode()
		secret.Wipe(q.data)
		secret.Wipe(p.data)
		err = writeFrame(c, body)
		secret.Wipe(body)
		if err != nil {
			s.Log.Debug("connection ended", "err", err)
			return
		}
	}
}

func (s *Server) refuse(c net.Conn, err error) {
	s.Log.Warn("refused a request", "err", err)
	bad := hsm.Errorf(hsm.ErrInput, "", "refused: %w", err)
	if err := writeFrame(c, errorReply(opHello, bad).encode()); err != nil {
		s.Log.Debug("connection ended", "err", err)
	}
}
