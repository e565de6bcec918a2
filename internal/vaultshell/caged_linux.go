package vaultshell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// cagedVault is the first argument of the confined process. It is no command:
// nobody but the launcher can start it.
const cagedVault = "caged-vault"

// Descriptors that the launcher leaves to the confined process.
const (
	fdControl  = 3
	fdListener = 4
	fdGenesis  = 5
)

func maxProcs() int { return runtime.GOMAXPROCS(0) }

// RunCaged runs the vault, if this is the confined process that a launcher started,
// and returns its exit code. Programs that call Run call it first of all.
func RunCaged() (code int, caged bool) {
	if len(os.Args) < 2 || os.Args[1] != cagedVault {
		return 0, false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("process", "vault")
	c, cfg, w, err := enter(log)
	if err == nil {
		err = runIn(ctx, cfg, w, log)
	}
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return 0, true
	case c == nil:
		fmt.Fprintln(os.Stderr, "error:", err)
	default:
		c.end(err)
	}
	return 1, true
}

// enter takes over what the launcher left and closes the door behind this process.
// When it returns, there is no file, no new socket, no other process for it.
func enter(log *slog.Logger) (c *control, cfg *Config, w world, err error) {
	var r cage.Report
	if err := cage.Close(&r); err != nil {
		return nil, nil, w, err
	}
	c, m, err := takeControl()
	if err != nil {
		return nil, nil, w, fmt.Errorf("couldn't take over from the launcher (coffer vault starts this process): %w", err)
	}
	if err := cage.Orphan(m.Launcher); err != nil {
		return nil, nil, w, err
	}
	cfg = m.Config
	w = world{helper: remote.Endpoint{Path: cfg.HSM.Socket, UID: m.Helper, Connect: c.connect}, writeCard: c.writeCard, writeRotation: c.writeRotation, software: m.Software}
	w.next = remote.Endpoint{Path: cfg.HSM.Next, UID: m.Helper, Connect: c.connectNext}
	if w.genesis, err = takeGenesis(); err != nil {
		return c, nil, w, err
	}
	f := os.NewFile(fdListener, "listener")
	w.listener, err = vaultlink.Inherit(f, cfg.Vault.Socket, m.Node)
	if err := errors.Join(err, f.Close()); err != nil {
		return c, nil, w, err
	}
	cage.SparingGC()
	_ = time.Now().Local() // reads the time zone while it may
	cage.LockMemory(&r)
	r = append(m.Report, r...)
	cage.Privileges(&r)
	cage.Vault(&r)
	return c, cfg, w, report(cfg, r, &w, log)
}

// report tells what holds this process, and loudly what does not.
func report(cfg *Config, r cage.Report, w *world, log *slog.Logger) error {
	w.isolation = r.Texts()
	log.Info("confined", "software", fmt.Sprintf("%x", w.software), "isolation", w.isolation)
	missing := r.Missing()
	switch {
	case missing == "":
		return nil
	case cfg.Vault.Strict:
		return fmt.Errorf("vault.strict: this machine does not isolate the vault in full: %s", missing)
	}
	log.Warn("THIS VAULT IS NOT ISOLATED IN FULL", "missing", missing)
	return nil
}

// takeControl takes the socket to the launcher and its first message.
func takeControl() (*control, *startMessage, error) {
	f := os.NewFile(fdControl, "launcher")
	conn, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("descriptor %d is a %s socket", fdControl, conn.LocalAddr().Network())
	}
	if err := u.SetReadDeadline(time.Now().Add(controlTimeout)); err != nil {
		return nil, nil, err
	}
	b, _, err := readControl(u)
	if err != nil {
		return nil, nil, err
	}
	m := &startMessage{}
	if b[0] != controlStart {
		return nil, nil, fmt.Errorf("first message %q, want %q", b[0], controlStart)
	}
	if err := json.Unmarshal(b[1:], m); err != nil || m.Config == nil {
		return nil, nil, fmt.Errorf("first message: %w", err)
	}
	return &control{conn: u}, m, nil
}

// takeGenesis reads the genesis; nil when there is none.
func takeGenesis() ([]byte, error) {
	f := os.NewFile(fdGenesis, "genesis")
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxGenesis))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("couldn't take over the genesis: %w", err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return b, nil
}
