package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/audit/tiles"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/internal/witness"
)

// The log, shown to others (docs/spec/tiles.md). The node collects for it what the
// other vaults cosigned, which its own vault has, and asks outside witnesses.

const (
	publishEvery  = time.Second
	witnessWithin = 5 * time.Second
	// cosignedWithin is how long the vault has for its answer to a read; others wait.
	cosignedWithin = time.Second
	// maxWitnesses are asked, beside whom the other vaults' cosignatures have room.
	maxWitnesses = 32
	// shownFor is how long what was collected answers reads.
	shownFor = publishEvery + 2*witnessWithin
)

type publisher struct {
	node      *node
	ask       func(context.Context, *cluster.Command) ([]byte, error) // the vault
	dir       string                                                  // of the log
	listener  net.Listener
	witnesses []*witness.Client
	view      *tiles.View
	told      map[string]string // the last error, by witness
	outside   map[uint64][]audit.Cosignature

	mu    sync.Mutex // guards what follows
	shown *audit.CosignedCheckpoint
	at    time.Time // when the vault said so
}

// newest is the checkpoint that is shown now; nil: none, or none that is as new as it
// should be.
func (p *publisher) newest(now time.Time) *audit.CosignedCheckpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown == nil || p.at.Add(shownFor).Before(now) {
		return nil
	}
	return p.shown
}

func (c *Config) checkWitnesses() (out []*witness.Client, err error) {
	for _, w := range c.Node.Witnesses {
		x, err := witness.ParseClient(w)
		if err != nil {
			return nil, fmt.Errorf("node.witnesses: %w", err)
		}
		if slices.ContainsFunc(out, func(o *witness.Client) bool { return o.Key.Name == x.Key.Name }) || strings.HasPrefix(x.Key.Name, "coffer/") {
			return nil, fmt.Errorf("node.witnesses: %q: want a name that no other witness and no vault has", x.Key.Name)
		}
		out = append(out, x)
	}
	if len(out) > maxWitnesses {
		return nil, fmt.Errorf("node.witnesses: %d, want at most %d", len(out), maxWitnesses)
	}
	if len(out) > 0 && c.Node.Tiles == "" {
		return nil, errors.New("node.witnesses: witnesses are asked for the log that is shown: want node.tiles, the address to show it on")
	}
	return out, nil
}

// publish serves the log until ctx ends.
func (n *node) publish(ctx context.Context) (*publisher, error) {
	if n.cfg.Node.Tiles == "" {
		return nil, nil
	}
	ws, err := n.cfg.checkWitnesses()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", n.cfg.Node.Tiles)
	if err != nil {
		return nil, fmt.Errorf("node.tiles: %w", err)
	}
	p := &publisher{node: n, ask: n.askVault, dir: filepath.Join(n.cfg.Node.Dir, logDir), listener: l, witnesses: ws, told: map[string]string{}, outside: map[uint64][]audit.Cosignature{}}
	go p.run(ctx)
	return p, nil
}

func (p *publisher) run(ctx context.Context) {
	defer p.listener.Close()
	for p.view == nil {
		if _, err := os.Stat(filepath.Join(p.dir, logfile.EntriesFile)); err == nil {
			if p.view, err = tiles.Open(p.dir); err != nil {
				p.complain("log", err)
			}
		}
		if p.view == nil && !sleep(ctx, publishEvery) {
			return
		}
	}
	defer p.view.Close()
	srv := &http.Server{Handler: tiles.Handler(p.view), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	go func() {
		for sleep(ctx, publishEvery) {
			p.complain("cosignatures", p.collect(ctx))
		}
	}()
	p.node.log.Info("serving the log", "url", "http://"+p.listener.Addr().String())
	if err := srv.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		p.complain("server", err)
	}
}

// complain logs an error once, until it changes.
func (p *publisher) complain(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if p.told[what] != text && text != "" {
		p.node.log.Warn("the log is not shown as it should be", "what", what, "err", text)
	}
	p.told[what] = text
}

// collect brings the view up to date.
func (p *publisher) collect(ctx context.Context) error {
	if err := p.view.Refresh(); err != nil {
		return err
	}
	body, err := p.ask(ctx, &cluster.Command{Kind: cluster.CommandCosigned})
	if err != nil || body == nil {
		return err
	}
	c, err := audit.DecodeCosignedCheckpoint(body)
	if err != nil {
		return err
	}
	known := p.view.Cosigners()
	for _, w := range p.witnesses {
		known = append(known, w.Key)
	}
	size := c.Checkpoint.Size
	if _, asked := p.outside[size]; !asked && len(p.witnesses) > 0 {
		p.outside = map[uint64][]audit.Cosignature{size: p.submit(ctx, &c.Checkpoint)}
	}
	c.Cosignatures = append(c.Cosignatures, p.outside[size]...)
	audit.SortCosignatures(c.Cosignatures)
	if _, err = p.view.Take(c, known); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown, p.at = c, time.Now()
	return nil
}

// cosigned answers a read: what is shown, with outside witnesses' cosignatures, or,
// where none are asked, what the vault says now.
func (n *node) cosigned() *transport.ReadResult {
	if p := n.publisher; p != nil && len(p.witnesses) > 0 {
		if c := p.newest(time.Now()); c != nil {
			return &transport.ReadResult{Body: c.Encode()}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), cosignedWithin)
	defer cancel()
	b, err := n.askVault(ctx, &cluster.Command{Kind: cluster.CommandCosigned})
	switch {
	case err != nil:
		return &transport.ReadResult{Failed: wire.CleanText(err.Error(), 512)}
	case b == nil:
		return &transport.ReadResult{Failed: "the vault is away, or has signed no checkpoint since it started"}
	}
	return &transport.ReadResult{Body: b}
}

// submit asks every witness for its cosignature; one that fails is asked again with
// the next checkpoint.
func (p *publisher) submit(ctx context.Context, cp *audit.SignedCheckpoint) (out []audit.Cosignature) {
	note, err := p.view.NoteOf(cp)
	if err != nil {
		p.complain("checkpoint", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, witnessWithin)
	defer cancel()
	for _, w := range p.witnesses {
		c, err := w.Cosign(ctx, cp.Text(), note, cp.Size, p.view.Proof)
		p.complain(w.Key.Name, err)
		if err == nil {
			out = append(out, *c)
		}
	}
	return out
}

// askVault puts a command of this node's own to the vault. A vault that is not there
// has no answer.
func (n *node) askVault(ctx context.Context, c *cluster.Command) ([]byte, error) {
	answer := make(chan []byte, 1)
	if err := n.onCommand(c.Encode(), func(b []byte) { answer <- b }); err != nil {
		return nil, nil
	}
	select {
	case b := <-answer:
		r, err := cluster.DecodeReply(b)
		if err != nil || r.Outcome != cluster.OutcomeDone {
			return nil, err
		}
		return r.Body, nil
	case <-time.After(witnessWithin):
		return nil, errors.New("the vault does not answer")
	case <-ctx.Done():
		return nil, nil
	}
}
