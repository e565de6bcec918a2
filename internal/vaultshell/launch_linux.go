package vaultshell

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// stopTimeout is how long the vault has to end after a signal; then it is killed.
// `coffer dev` gives the launcher a little more.
const stopTimeout = 4 * time.Second

// startMessage is what the launcher tells the vault first. There is no secret in it.
type startMessage struct {
	Config   *Config
	Node     int // uid of the node
	Helper   int // uid of the helper
	Launcher int // its process
	Software [32]byte
	Report   cage.Report // what was applied so far
}

// keptEnv are the variables that the vault's process gets: those of the Go runtime.
var keptEnv = []string{"GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK"}

// launch starts the vault in a confined process and serves it until it ends.
func launch(ctx context.Context, cfg *Config, log *slog.Logger) error {
	return launchAs(ctx, cagedVault, cfg, log)
}

func launchAs(ctx context.Context, program string, cfg *Config, log *slog.Logger) error {
	genesis, err := readGenesis(cfg)
	if err != nil {
		return err
	}
	var own cage.Report
	if err := cage.Close(&own); err != nil { // who owns the launcher can feed the vault
		return err
	}
	w, err := openWorld(cfg, genesis)
	if err != nil {
		return err
	}
	defer w.listener.Close()
	software, err := hashFile(cage.SelfPath)
	if err != nil {
		return err
	}
	l := &launcher{log: log, world: w}
	if err := l.start(program, cfg, software); err != nil {
		return err
	}
	defer func() { _ = l.conn.Close() }()
	return l.serve(ctx)
}

// hashFile is the SHA-256 of a file.
func hashFile(path string) (sum [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, fmt.Errorf("couldn't hash this program: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, fmt.Errorf("couldn't hash this program: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}

// launcher is the process around the confined one. It has no secrets.
type launcher struct {
	log   *slog.Logger
	world world
	conn  *net.UnixConn
	child *cage.Child
}

// start starts the child with its three descriptors: control, listener, genesis.
func (l *launcher) start(program string, cfg *Config, software [32]byte) error {
	own, theirs, err := controlPair()
	if err != nil {
		return err
	}
	l.conn = own
	defer func() { _ = theirs.Close() }()
	listener, err := l.world.listener.File()
	if err != nil {
		return fmt.Errorf("couldn't hand the socket over: %w", err)
	}
	defer func() { _ = listener.Close() }()
	genesis, err := memoryFile(l.world.genesis)
	if err != nil {
		return err
	}
	defer func() { _ = genesis.Close() }()
	o := cage.Options{Name: "coffer-vault", Args: []string{program, cfg.Vault.Name}, Env: childEnv(), Files: []*os.File{theirs, listener, genesis}, Out: os.Stderr}
	if cfg.Vault.User != "" {
		u, err := cage.LookupUser(cfg.Vault.User)
		if err != nil {
			return fmt.Errorf("vault.user: %w", err)
		}
		o.User = &u
	}
	m := startMessage{Config: cfg, Helper: l.world.helper.UID, Launcher: os.Getpid(), Software: software}
	if m.Node, _, err = cfg.peers(); err != nil {
		return err
	}
	if l.child, m.Report, err = cage.Start(o); err != nil {
		return err
	}
	b, err := json.Marshal(&m)
	if err == nil {
		_, err = l.conn.Write(append([]byte{controlStart}, b...))
	}
	if err != nil {
		_ = l.child.Signal(syscall.SIGKILL)
		<-l.child.Done()
		return fmt.Errorf("couldn't tell the vault its configuration: %w", err)
	}
	return nil
}

// childEnv also names the number of processors: the vault could not ask.
func childEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); slices.Contains(keptEnv, name) {
			env = append(env, kv)
		}
	}
	return append(env, fmt.Sprint("GOMAXPROCS=", maxProcs()))
}

func controlPair() (own *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't make a pair of sockets: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "launcher")
	defer func() { _ = f.Close() }() // FileConn has a copy
	c, err := net.FileConn(f)
	if err != nil {
		_ = unix.Close(fds[1])
		return nil, nil, fmt.Errorf("couldn't make a pair of sockets: %w", err)
	}
	return c.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "vault"), nil
}

// memoryFile is an open file without a name.
func memoryFile(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("genesis", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("couldn't hand the genesis over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "genesis")
	if _, err := f.WriteAt(b, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("couldn't hand the genesis over: %w", err)
	}
	return f, nil
}

// serve answers the vault until it ends, and passes the order to stop on.
func (l *launcher) serve(ctx context.Context) error {
	last := make(chan error, 1)
	go func() { last <- l.answer(ctx) }()
	select {
	case <-l.child.Done():
	case <-ctx.Done():
		l.stop()
	}
	return l.verdict(ctx, <-last)
}

// stop has the vault end by itself, or kills it.
func (l *launcher) stop() {
	if err := l.child.Signal(syscall.SIGTERM); err != nil {
		l.log.Warn("couldn't tell the vault to stop", "err", err)
	}
	select {
	case <-l.child.Done():
	case <-time.After(stopTimeout):
		l.log.Error("the vault did not stop and is killed", "after", stopTimeout)
		_ = l.child.Signal(syscall.SIGKILL)
		<-l.child.Done()
	}
}

// verdict is how the vault ended, in its own last words if it had any.
func (l *launcher) verdict(ctx context.Context, last error) error {
	state := l.child.State()
	switch {
	case last != nil:
		return last
	case ctx.Err() != nil:
		return ctx.Err()
	case state.Success():
		return nil
	}
	return fmt.Errorf("the vault's process ended without a word: %s", state)
}

// answer serves the vault's questions until its end is closed.
func (l *launcher) answer(ctx context.Context) (last error) {
	for {
		b, file, err := readControl(l.conn)
		if err != nil {
			return last // the child has ended
		}
		if file != nil {
			_ = file.Close() // the launcher takes none
		}
		switch b[0] {
		case controlDial:
			l.dial(ctx, l.world.helper)
		case controlNext:
			l.dial(ctx, l.world.next)
		case controlRotation:
			l.reply(controlRefused, l.world.writeRotation(b[1:]))
		case controlCard:
			l.reply(controlRefused, l.world.writeCard(b[1:]))
		case controlEnd:
			last = errors.New(string(b[1:]))
		default:
			l.reply(controlRefused, fmt.Errorf("unknown question %q", b[0]))
		}
	}
}

// dial hands a connection to the helper over.
func (l *launcher) dial(ctx context.Context, helper remote.Endpoint) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout/2)
	defer cancel()
	conn, err := helper.Connection(ctx)
	switch {
	case errors.Is(err, hsm.ErrConfig):
		l.reply(controlRefused, err)
		return
	case err != nil:
		l.reply(controlUnavailable, err)
		return
	}
	defer func() { _ = conn.Close() }() // the vault has a copy
	f, err := conn.File()
	if err != nil {
		l.reply(controlUnavailable, err)
		return
	}
	defer func() { _ = f.Close() }()
	if _, _, err := l.conn.WriteMsgUnix([]byte{controlDone}, syscall.UnixRights(int(f.Fd())), nil); err != nil {
		l.log.Debug("couldn't hand a connection over", "err", err)
	}
}

// reply says done, or why not.
func (l *launcher) reply(failure byte, err error) {
	b := []byte{controlDone}
	if err != nil {
		b = append([]byte{failure}, cut(err.Error(), vaultlink.MaxText)...)
	}
	if _, err := l.conn.Write(b); err != nil {
		l.log.Debug("couldn't answer the vault", "err", err)
	}
}
