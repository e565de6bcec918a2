package vaultshell

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/node"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/internal/vaultlink"
	"github.com/cofferhq/coffer/mpc"
)

// p50 runs f and reports the median, which a busy disk spoils less than the
// mean.
func p50(b *testing.B, f func()) {
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		f()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
}

// pinger sends a frame to the other vault and is told when it comes back; the
// other one, an echo, sends every frame back.
type pinger struct {
	peer uint16
	echo bool
	back chan struct{}
}

func (p *pinger) Enrolment() ([]byte, bool) { return nil, false }

func (p *pinger) Step(in vault.Input) (r vault.Ready, err error) {
	r.Stopped = in.Stop
	switch {
	case in.Command != nil: // the benchmark's push
		r.Messages = []vault.Message{{To: p.peer, Frame: in.Command.Body}}
	case in.Frame != nil && p.echo:
		r.Messages = []vault.Message{{To: p.peer, Frame: in.Frame}}
	case in.Frame != nil:
		select {
		case p.back <- struct{}{}:
		default: // the benchmark is over
		}
		r.Messages = []vault.Message{{To: p.peer, Frame: in.Frame}}
	}
	return r, nil
}

// BenchmarkFrame is a frame from a vault over its node, the broker and the other
// node to the other vault, and back.
func BenchmarkFrame(b *testing.B) {
	for _, size := range []int{200, 54 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchFrame(b, size) })
	}
}

func benchFrame(b *testing.B, size int) {
	quiet := slog.New(slog.DiscardHandler)
	dir := shortDir(b)
	scfg := transport.ServerConfig{Listen: "127.0.0.1:0", Nodes: map[string]string{}}
	seeds := map[string]string{}
	for _, u := range []string{"coordinator", "1", "2"} {
		sd, public, err := transport.NewUser(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		seeds[u] = filepath.Join(dir, u)
		if err := os.WriteFile(seeds[u], sd, 0o600); err != nil {
			b.Fatal(err)
		}
		if scfg.Nodes[u] = public; u == "coordinator" {
			delete(scfg.Nodes, u)
			scfg.Coordinator = public
		}
	}
	id := [32]byte{5}
	broker, err := transport.StartServer(scfg, id, quiet)
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	ping := &pinger{peer: 2, back: make(chan struct{}, 1)}
	for i, m := range []*pinger{ping, {peer: 1, echo: true}} {
		n := strconv.Itoa(i + 1)
		ln, err := vaultlink.Listen(filepath.Join(dir, "s"+n))
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			defer ln.Close()
			_ = serve(ctx, ln, quiet, func(link *vaultlink.Conn, _ vault.Loaded) (*shell, vault.Ready, error) {
				return &shell{log: quiet, vault: m, link: link, now: clock}, vault.Ready{}, nil
			}, &vaultlink.Hello{Vault: uint16(i + 1), Cluster: id})
		})
		cfg := &node.Config{Broker: transport.ClientConfig{URL: broker.URL(), Credentials: "file:" + seeds[n]}}
		cfg.Node.Dir, cfg.Node.Socket = filepath.Join(dir, "d"+n), filepath.Join(dir, "s"+n)
		wg.Go(func() { _ = node.Run(ctx, cfg, quiet) })
	}
	co, err := transport.ConnectCoordinator(transport.ClientConfig{URL: broker.URL(), Credentials: "file:" + seeds["coordinator"]}, id, rand.Reader, nil, quiet)
	if err != nil {
		b.Fatal(err)
	}
	defer co.Close()
	// Both vaults are there when a pushed frame comes back; then it circles on.
	f := make([]byte, size)
	for {
		go func() { _, _ = co.Command(ctx, 1, f) }()
		select {
		case <-ping.back:
		case <-time.After(200 * time.Millisecond):
			continue
		}
		break
	}
	p50(b, func() { <-ping.back })
}

// BenchmarkSign is a signature by two of three real vaults, without coordinator:
// command in, share out, signature verified.
func BenchmarkSign(b *testing.B) {
	s := startSite(b, 3, nil)
	s.ready(1, 2, 3)
	s.keygen()
	before := s.counts()
	n := 0
	pairs := [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}}
	p50(b, func() { s.sign(pairs[n%3]...); n++ })
	after := s.counts()
	b.ReportMetric(float64(after.Changes-before.Changes)/float64(2*n), "persists/party")
	b.ReportMetric(float64(after.FramesOut-before.FramesOut)/float64(2*n), "frames/party")
}

// counts sums what the nodes did.
func (s *site) counts() (sum transport.NodeStatus) {
	s.t.Helper()
	for _, id := range s.world.IDs {
		st, err := s.co.Status(s.t.Context(), uint16(id))
		if err != nil {
			s.t.Fatal(err)
		}
		sum.Changes += st.Changes
		sum.FramesOut += st.FramesOut
	}
	return sum
}
