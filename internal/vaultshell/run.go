package vaultshell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/internal/vaultlink"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Times of the start.
const (
	// loadTimeout is how long the node has for each part of what it has on disk.
	loadTimeout = 30 * time.Second
	// helperRetry is the wait between two tries to reach the HSM's helper.
	helperRetry = 100 * time.Millisecond
)

// maxLoad bounds what a vault takes from its node at the start. The log is kept
// in memory; a node that sends more than this has failed.
const maxLoad = 4 << 30

// maxGenesis bounds the genesis file.
const maxGenesis = 1 << 20

// Run is the process `coffer vault`: it runs until ctx ends, which is no error,
// or the vault cannot go on. An enrolling vault returns nil when its card is
// written. The vault itself runs in a confined child of this process.
func Run(ctx context.Context, cfg *Config, log *slog.Logger) error {
	if err := CheckProcessor(); err != nil {
		return err
	}
	err := launch(ctx, cfg, log)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// world is what a vault has of the system around it.
type world struct {
	genesis   []byte // nil: the vault enrols
	listener  *vaultlink.Listener
	helper    remote.Endpoint
	next      remote.Endpoint // rotate: of the device to which the vault moves
	writeCard func(card []byte) error
	// writeRotation writes the card with the old device's word beside it.
	writeRotation func(b []byte) error
	software      [32]byte
	isolation     []string
}

// run is a vault in this process, confined by nothing: for tests, and for systems
// without a cage.
func run(ctx context.Context, cfg *Config, log *slog.Logger) error {
	genesis, err := readGenesis(cfg)
	if err != nil {
		return err
	}
	w, err := openWorld(cfg, genesis)
	if err != nil {
		return err
	}
	defer w.listener.Close()
	return runIn(ctx, cfg, w, log)
}

// openWorld takes everything from the system itself.
func openWorld(cfg *Config, genesis []byte) (w world, err error) {
	node, helper, err := cfg.peers()
	if err != nil {
		return world{}, err
	}
	w = world{genesis: genesis, helper: remote.Endpoint{Path: cfg.HSM.Socket, UID: helper}, isolation: []string{"process: not confined"}}
	w.next = remote.Endpoint{Path: cfg.HSM.Next, UID: helper}
	w.writeCard = func(card []byte) error { return writeCard(cfg.Vault.Card, card) }
	w.writeRotation = func(b []byte) error { return writeCard(cfg.Vault.Card+RotationSuffix, b) }
	if w.listener, err = vaultlink.ListenFor(cfg.Vault.Socket, node); err != nil {
		return world{}, err
	}
	return w, nil
}

func runIn(ctx context.Context, cfg *Config, w world, log *slog.Logger) error {
	vc, err := vaultConfig(cfg, w)
	if err != nil {
		return err
	}
	device, err := dialHelper(ctx, w.helper, log)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	return runOn(ctx, cfg, vc, w, device, log)
}

// runOn runs the vault on an open device.
func runOn(ctx context.Context, cfg *Config, vc vault.Config, w world, device hsm.HSM, log *slog.Logger) (err error) {
	vc.Info = device.Info()
	if vc.Identity, err = device.Public(ctx, hsm.RoleIdentity); err != nil {
		return fmt.Errorf("couldn't read the device's identity key: %w", err)
	}
	if vc.Decision, err = device.Public(ctx, hsm.RoleDecision); err != nil {
		return fmt.Errorf("couldn't read the device's decision key: %w", err)
	}
	if a, ok := device.(attesting); ok && vc.Genesis == nil {
		in, err := introduce(ctx, a, vc.Identity, vc.Decision)
		if err != nil {
			return err
		}
		vc.Approval, vc.ApprovalArea, vc.Evidence = in.approval, in.area, in.evidence
	}
	log.Info("device ready", "device", vc.Info.String())
	var next hsm.HSM
	if cfg.Vault.Rotate {
		d, err := openNext(ctx, w.next, &vc, log)
		if err != nil {
			return fmt.Errorf("the new device: %w", err)
		}
		defer func() { _ = d.Close() }()
		next = d
	}
	return serve(ctx, w.listener, log, func(link *vaultlink.Conn, loaded vault.Loaded) (*shell, vault.Ready, error) {
		v, ready, err := vault.New(vc, rand.Reader, clock(), loaded)
		if err != nil {
			return nil, vault.Ready{}, fmt.Errorf("the vault cannot start: %w", err)
		}
		return &shell{
			log: log, vault: v, link: link, device: device, now: clock,
			next: next, enrolls: vc.Genesis == nil || vc.Next != nil, onRotation: w.writeRotation,
			onCard: w.writeCard,
		}, ready, nil
	}, hello(vc))
}

// RotationSuffix is what the file with the old device's word has after the card's
// name.
const RotationSuffix = ".rotation"

// openNext opens the device to which the vault moves.
func openNext(ctx context.Context, at remote.Endpoint, vc *vault.Config, log *slog.Logger) (*remote.Client, error) {
	d, err := dialHelper(ctx, at, log)
	if err != nil {
		return nil, err
	}
	n := &vault.NextDevice{Info: d.Info()}
	if n.Identity, err = d.Public(ctx, hsm.RoleIdentity); err == nil {
		n.Decision, err = d.Public(ctx, hsm.RoleDecision)
	}
	if err == nil && n.Identity == vc.Identity {
		err = hsm.Errorf(hsm.ErrConfig, "", "it is the device that the vault has: want another")
	}
	if err == nil {
		var in introduced
		in, err = introduce(ctx, d, n.Identity, n.Decision)
		n.Approval, n.ApprovalArea, n.Evidence = in.approval, in.area, in.evidence
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	log.Info("new device ready", "device", n.Info.String())
	vc.Next = n
	return d, nil
}

func clock() uint64 { return uint64(time.Now().UnixMilli()) }

func hello(vc vault.Config) *vaultlink.Hello {
	h := &vaultlink.Hello{Vault: uint16(vc.ID)}
	if vc.Genesis != nil {
		h.Cluster = vc.Genesis.Hash()
	}
	return h
}

// readGenesis checks the configuration and reads the genesis that it names, nil for
// a vault that enrols.
func readGenesis(cfg *Config) ([]byte, error) {
	if err := cfg.Check(); err != nil || cfg.Vault.Enrol {
		return nil, err
	}
	f, err := os.Open(cfg.Vault.Genesis)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the genesis: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxGenesis+1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the genesis: %w", err)
	}
	if len(b) > maxGenesis {
		return nil, fmt.Errorf("couldn't read the genesis: %s has more than %d bytes", cfg.Vault.Genesis, maxGenesis)
	}
	if _, err := governance.DecodeGenesis(b); err != nil {
		return nil, fmt.Errorf("couldn't read the genesis %s: %w", cfg.Vault.Genesis, err)
	}
	return b, nil
}

func vaultConfig(cfg *Config, w world) (vault.Config, error) {
	vc := vault.Config{ID: mpc.ID(cfg.Vault.ID), Name: cfg.Vault.Name, Codecs: family.Codecs(), Software: w.software, Isolation: w.isolation}
	if w.genesis == nil {
		return vc, nil
	}
	var err error
	if vc.Genesis, err = governance.DecodeGenesis(w.genesis); err != nil {
		return vc, fmt.Errorf("couldn't read the genesis %s: %w", cfg.Vault.Genesis, err)
	}
	return vc, nil
}

// dialHelper waits for a helper that is not there yet. Any other failure, such
// as a refused PIN, is the operator's to mend.
func dialHelper(ctx context.Context, at remote.Endpoint, log *slog.Logger) (*remote.Client, error) {
	for told := false; ; told = true {
		device, err := remote.DialEndpoint(ctx, at)
		if err == nil {
			return device, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, hsm.ErrUnavailable) {
			return nil, fmt.Errorf("couldn't use the HSM: %w", err)
		}
		if !told {
			log.Info("waiting for the HSM's helper", "socket", at.Path, "err", err)
		}
		select {
		case <-time.After(helperRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// opener makes the vault on what the node had on disk.
type opener func(*vaultlink.Conn, vault.Loaded) (*shell, vault.Ready, error)

// serve waits for the node and runs the vault on its connection. A connection
// that does not bring a node's messages is closed, and the next one waited for.
func serve(ctx context.Context, ln *vaultlink.Listener, log *slog.Logger, open opener, h *vaultlink.Hello) error {
	for {
		link, err := ln.Accept(ctx)
		if errors.Is(err, vaultlink.ErrPeer) {
			log.Warn("refused a connection", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		loaded, err := load(ctx, link, h)
		if err != nil {
			log.Warn("refused a connection", "err", err)
			bye(link, false, err.Error())
			link.Close()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		return serveNode(ctx, ln, link, log, open, loaded)
	}
}

// serveNode runs the vault to its end and turns other nodes away meanwhile.
func serveNode(ctx context.Context, ln *vaultlink.Listener, link *vaultlink.Conn, log *slog.Logger, open opener, loaded vault.Loaded) error {
	defer link.Close()
	sh, first, err := open(link, loaded)
	if err != nil {
		bye(link, false, err.Error())
		return err
	}
	log.Info("node connected", "records", len(loaded.Records), "log_entries", len(loaded.Entries))
	guardCtx, stop := context.WithCancel(ctx)
	turned := make(chan struct{})
	go func() { defer close(turned); turnAway(guardCtx, ln, log) }()
	defer func() { stop(); <-turned }()

	index := uint64(len(loaded.Entries))
	loaded = vault.Loaded{} // the vault has what it needs of it
	err = sh.run(ctx, first, index)
	if errors.Is(err, errEnrolled) {
		log.Info("enrolled")
		return nil
	}
	return err
}

// turnAway answers whoever connects while the node is there.
func turnAway(ctx context.Context, ln *vaultlink.Listener, log *slog.Logger) {
	for {
		link, err := ln.Accept(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Warn("refused a connection", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
				return
			}
			continue
		}
		log.Warn("refused a second node")
		bye(link, false, "another node is connected to this vault")
		link.Close()
	}
}

// acceptPause is the wait after a failed accept, which would else be repeated at
// full speed.
const acceptPause = 100 * time.Millisecond

// bye tells the node why the connection ends; it may be gone already.
func bye(link *vaultlink.Conn, done bool, text string) {
	_ = link.Send(&vaultlink.Bye{Done: done, Text: wire.CleanText(text, vaultlink.MaxText)})
}

// load says hello and takes what the node has on disk.
func load(ctx context.Context, link *vaultlink.Conn, h *vaultlink.Hello) (vault.Loaded, error) {
	stop := context.AfterFunc(ctx, func() { link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var out vault.Loaded
	if err := link.Send(h); err != nil {
		return out, err
	}
	for size := 0; ; {
		link.SetReadDeadline(time.Now().Add(loadTimeout))
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		m, err := link.Receive()
		if err != nil {
			return out, fmt.Errorf("couldn't read what the node has on disk: %w", err)
		}
		part, ok := m.(*vaultlink.Load)
		if !ok {
			if b, isBye := m.(*vaultlink.Bye); isBye {
				return out, fmt.Errorf("the node stopped: %s", b.Text)
			}
			return out, fmt.Errorf("the node sent a %s message, want load", vaultlink.Name(m))
		}
		for _, r := range part.Records {
			if n := len(out.Records); n > 0 && out.Records[n-1].Name >= r.Name {
				return out, fmt.Errorf("the node sent record %q after %q: names must ascend", r.Name, out.Records[n-1].Name)
			}
			out.Records = append(out.Records, vault.Record{Name: r.Name, Value: r.Value})
			size += len(r.Name) + len(r.Value)
		}
		for _, e := range part.Entries {
			size += len(e)
		}
		out.Entries = append(out.Entries, part.Entries...)
		if size > maxLoad {
			return out, fmt.Errorf("the node sent more than %d bytes", maxLoad)
		}
		if part.Last {
			out.Checkpoint = part.Checkpoint
			link.SetReadDeadline(time.Time{})
			return out, nil
		}
	}
}

// writeCard writes the card durably and as a whole. It holds no secret.
func writeCard(path string, card []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".card-*")
	if err != nil {
		return fmt.Errorf("couldn't write the card: %w", err)
	}
	_, err = f.Write(card)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("couldn't write the card: %w", err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("couldn't write the card: %w", err), os.Remove(f.Name()))
	}
	return nil
}
