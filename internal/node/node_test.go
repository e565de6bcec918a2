package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// site is a broker with a coordinator, and the socket of a vault that the test
// plays.
type site struct {
	t      testing.TB
	cfg    *Config
	broker *transport.Server
	scfg   transport.ServerConfig
	seeds  map[string]string
	ln     *vaultlink.Listener
	events chan *transport.NodeStatus
	co     *transport.Coordinator
}

func newSite(t testing.TB) *site {
	t.Helper()
	short, err := os.MkdirTemp("", "nd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	s := &site{t: t, scfg: transport.ServerConfig{Listen: "127.0.0.1:0", Nodes: map[string]string{}}, seeds: map[string]string{}, events: make(chan *transport.NodeStatus, 100)}
	for _, name := range []string{"coordinator", "1", "2"} {
		seed, public, err := transport.NewUser(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.seeds[name] = filepath.Join(short, name)
		if err := os.WriteFile(s.seeds[name], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "coordinator" {
			s.scfg.Coordinator = public
		} else {
			s.scfg.Nodes[name] = public
		}
	}
	s.startBroker()
	t.Cleanup(func() { s.broker.Close() })
	s.cfg = &Config{Broker: s.client("1")}
	s.cfg.Node.Dir, s.cfg.Node.Socket = filepath.Join(short, "node"), filepath.Join(short, "s")
	s.listen()
	t.Cleanup(func() { s.ln.Close() })
	s.co, err = transport.ConnectCoordinator(s.client("coordinator"), testCluster, rand.Reader, func(st *transport.NodeStatus) { s.events <- st }, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.co.Close)
	return s
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (s *site) client(user string) transport.ClientConfig {
	return transport.ClientConfig{URL: "nats://" + s.scfg.Listen, Credentials: "file:" + s.seeds[user]}
}

func (s *site) startBroker() {
	s.t.Helper()
	var err error
	if s.broker, err = transport.StartServer(s.scfg, testCluster, quiet()); err != nil {
		s.t.Fatal(err)
	}
	s.scfg.Listen = strings.TrimPrefix(s.broker.URL(), "nats://")
}

func (s *site) listen() {
	s.t.Helper()
	var err error
	if s.ln, err = vaultlink.Listen(s.cfg.Node.Socket); err != nil {
		s.t.Fatal(err)
	}
}

// start runs the node.
func (s *site) start() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	// A node that finds no good vault tries again soon here.
	go func() { end <- run(ctx, s.cfg, quiet(), time.Millisecond) }()
	var err error
	done := false
	stop = func() error {
		if !done {
			cancel()
			err, done = <-end, true
		}
		return err
	}
	s.t.Cleanup(func() { _ = stop() })
	return stop
}

// ended waits for a Run that ends by itself.
func ended(t *testing.T, stop func() error, s *site) error {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for { // the lock is free once Run has returned
		st, err := openStore(s.cfg.Node.Dir)
		if err == nil {
			_ = st.close()
			return stop()
		}
		if time.Now().After(deadline) {
			t.Fatal("the node goes on")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// vault is the test as the vault on one connection.
type vault struct {
	t testing.TB
	*vaultlink.Conn
	loaded []*vaultlink.Load
}

// accept waits for the node and plays the vault's greeting.
func (s *site) accept(h *vaultlink.Hello) *vault {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	c, err := s.ln.Accept(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	v := &vault{t: s.t, Conn: c}
	v.send(h)
	for {
		m := receive[*vaultlink.Load](v)
		v.loaded = append(v.loaded, m)
		if m.Last {
			return v
		}
	}
}

func (v *vault) send(m vaultlink.Message) {
	v.t.Helper()
	if err := v.Send(m); err != nil {
		v.t.Fatal(err)
	}
}

func receive[M vaultlink.Message](v *vault) M {
	v.t.Helper()
	v.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, err := v.Receive()
	if err != nil {
		v.t.Fatalf("no message: %v", err)
	}
	typed, ok := m.(M)
	if !ok {
		v.t.Fatalf("got %s %+v, want %T", vaultlink.Name(m), m, typed)
	}
	return typed
}

var testHello = &vaultlink.Hello{Vault: 1, Cluster: testCluster}

// up waits until the node tells the coordinator that its vault is there.
func (s *site) news(connected bool) *transport.NodeStatus {
	s.t.Helper()
	for {
		select {
		case st := <-s.events:
			if st.Connected == connected {
				return st
			}
		case <-time.After(20 * time.Second):
			s.t.Fatal("no news of the node")
		}
	}
}

func TestRelay(t *testing.T) {
	s := newSite(t)
	stop := s.start()
	v := s.accept(testHello)
	s.news(true)

	frames := make(chan string, 10)
	two, err := transport.ConnectNode(s.client("2"), testCluster, 2, transport.Handlers{
		Frame:   func(b []byte) { frames <- string(b) },
		Command: func([]byte, func([]byte)) error { return errors.New("no vault") },
		Read:    func(*transport.Read) *transport.ReadResult { return &transport.ReadResult{Failed: "no"} },
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	for { // until both subscriptions are known to the broker
		v.send(&vaultlink.Frame{Peer: 2, Bytes: []byte("to 2")})
		select {
		case f := <-frames:
			if f != "to 2" {
				t.Fatalf("frame %q", f)
			}
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	// Frames that cannot be sent, or are too large for the vault, are dropped and
	// harm nothing.
	v.send(&vaultlink.Frame{Peer: 1, Bytes: []byte("to itself")})
	v.send(&vaultlink.Frame{Peer: 0, Bytes: []byte("to nobody")})
	v.send(&vaultlink.Frame{Peer: 999, Bytes: []byte("to a stranger")})
	for _, f := range [][]byte{make([]byte, vaultlink.MaxFrame+1), nil, []byte("to 1")} {
		if err := two.SendFrame(1, f); err != nil {
			t.Fatal(err)
		}
	}
	if f := receive[*vaultlink.Frame](v); string(f.Bytes) != "to 1" || f.Peer != 0 {
		t.Fatalf("frame of %d bytes from %d", len(f.Bytes), f.Peer)
	}

	v.send(withSeq(change(0), 1))
	receive[*vaultlink.Persisted](v)

	got := make(chan string, 1)
	go func() {
		b, err := s.co.Command(t.Context(), 1, []byte("the command"))
		got <- fmt.Sprint(string(b), err)
	}()
	c := receive[*vaultlink.Command](v)
	if string(c.Body) != "the command" {
		t.Fatalf("command %q", c.Body)
	}
	v.send(&vaultlink.Reply{ID: c.ID + 1, Body: []byte("to nothing")})
	v.send(&vaultlink.Reply{ID: c.ID, Body: []byte("the reply")})
	v.send(&vaultlink.Reply{ID: c.ID, Body: []byte("again")})
	if r := <-got; r != "the reply<nil>" {
		t.Fatalf("reply %q", r)
	}

	st, err := s.co.Status(t.Context(), 1)
	if err != nil || st.Vault != 1 || !st.Connected || st.LogSize != 1 || st.Changes != 1 || st.FramesIn != 1 || st.Dropped != 2 || st.Commands != 1 || st.DiskFree == 0 || st.Started == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	part, err := s.co.Log(t.Context(), 1, 0)
	file, readErr := os.ReadFile(filepath.Join(s.cfg.Node.Dir, logDir, logfile.EntriesFile))
	if err != nil || readErr != nil || string(part.Bytes) != string(file) || string(part.Checkpoint) != "checkpoint 0" || part.Total != uint64(len(file)) {
		t.Fatalf("%+v, %v, %v", part, err, readErr)
	}
	if _, err := s.co.Log(t.Context(), 1, 1<<40); err == nil || !strings.Contains(err.Error(), "offset") {
		t.Fatalf("beyond the end: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// The vault dies with a command open, and comes back.
func TestVaultRestarts(t *testing.T) {
	s := newSite(t)
	s.ln.Close() // the vault is late
	s.start()
	time.Sleep(2 * dialFirst) // the node has tried in vain
	s.listen()
	v := s.accept(testHello)
	s.news(true)
	v.send(withSeq(change(0), 1))
	receive[*vaultlink.Persisted](v)
	got := make(chan []byte, 1)
	go func() {
		b, err := s.co.Command(t.Context(), 1, []byte("c"))
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	receive[*vaultlink.Command](v)
	v.Close()
	r, err := cluster.DecodeReply(<-got)
	if err != nil || r.Vault != 1 || r.Outcome != cluster.OutcomeFailed || !strings.Contains(r.Detail, "stopped before it had answered") {
		t.Fatalf("%+v, %v", r, err)
	}
	if st := s.news(false); st.Detail != "the vault is not running" {
		t.Fatalf("%+v", st)
	}
	s.ln.Close()
	if _, err := s.co.Command(t.Context(), 1, []byte("c")); !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "the vault is not running") {
		t.Fatalf("a command without a vault: %v", err)
	}
	s.listen()
	v = s.accept(testHello)
	s.news(true)
	if len(v.loaded) != 1 || len(v.loaded[0].Entries) != 1 || string(v.loaded[0].Checkpoint) != "checkpoint 0" {
		t.Fatalf("loaded %+v", v.loaded)
	}
	v.send(withSeq(change(1), 1)) // numbers begin anew
	receive[*vaultlink.Persisted](v)
}

// withSeq renumbers a change, since the numbers of a connection begin at 1.
func withSeq(p *vaultlink.Persist, seq uint64) *vaultlink.Persist { p.Seq = seq; return p }

// Whatever comes from the vault's socket that is not a vault's: the connection
// ends, and the node tries again.
func TestGarbageFromVault(t *testing.T) {
	s := newSite(t)
	stop := s.start()
	hello := vaultlink.Encode(testHello)
	frame := func(b []byte) string { return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)) }
	greeted := frame(hello)
	for _, junk := range []string{
		"", "\x00\x00", "\xff\xff\xff\xff", "HTTP/1.1 200 OK\r\n\r\n", frame(hello[:5]), frame([]byte{1, 99}),
		frame(vaultlink.Encode(&vaultlink.Persist{Seq: 1})), frame(vaultlink.Encode(&vaultlink.Bye{Text: "another node is connected to this vault"})),
		greeted + "\xff\xff\xff\xff", greeted + frame([]byte{1, 99}), greeted + frame(vaultlink.Encode(&vaultlink.Persisted{Seq: 1})),
		greeted + frame(vaultlink.Encode(&vaultlink.Persist{Seq: 2})), greeted + greeted, greeted + frame(vaultlink.Encode(&vaultlink.Bye{Text: "the token is locked"})),
		greeted + frame(vaultlink.Encode(withSeq(change(0), 1)))[:40],
	} {
		c := s.acceptRaw()
		_, _ = c.Write([]byte(junk))
		_ = c.Close()
	}
	v := s.accept(testHello)
	if l := v.loaded[0]; len(v.loaded) != 1 || len(l.Records)+len(l.Entries) != 0 {
		t.Fatalf("half of a change was stored: %+v", l)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// acceptRaw accepts a connection without the protocol.
func (s *site) acceptRaw() net.Conn {
	s.t.Helper()
	s.ln.Close()
	ln, err := net.Listen("unix", s.cfg.Node.Socket)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	_ = ln.Close()
	s.listen()
	return c
}

// What a new connection cannot mend ends the node, and the vault is told.
func TestNodeStops(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *site) *vault
		want string
	}{
		{"a gap", func(s *site) *vault {
			v := s.accept(testHello)
			v.send(withSeq(change(7), 1))
			return v
		}, "the vault's log has 7 entries, the disk's 0"},
		{"another vault", func(s *site) *vault {
			v := s.accept(testHello)
			v.Close()
			ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
			defer cancel()
			conn, err := s.ln.Accept(ctx)
			if err != nil {
				s.t.Fatal(err)
			}
			v = &vault{t: s.t, Conn: conn}
			v.send(&vaultlink.Hello{Vault: 2, Cluster: testCluster})
			return v
		}, "belongs to vault 1, but vault 2 is at the socket"},
		{"no credentials", func(s *site) *vault {
			if err := os.Remove(s.seeds["1"]); err != nil {
				s.t.Fatal(err)
			}
			return s.accept(testHello)
		}, "broker credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			stop := s.start()
			v := c.do(s)
			if bye := receive[*vaultlink.Bye](v); bye.Done || !strings.Contains(bye.Text, c.want) {
				t.Fatalf("the vault is told %+v, want %q", bye, c.want)
			}
			if err := ended(t, stop, s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the node ended with %v, want %q", err, c.want)
			}
		})
	}
}

// A vault that counts wrongly is cut off, and may come again.
func TestChangeOutOfTurn(t *testing.T) {
	s := newSite(t)
	s.start()
	for _, seq := range []uint64{0, 2} {
		v := s.accept(testHello)
		v.send(withSeq(change(0), seq))
		if bye := receive[*vaultlink.Bye](v); !strings.Contains(bye.Text, fmt.Sprintf("change %d came, want 1", seq)) {
			t.Fatalf("the vault is told %+v", bye)
		}
		v.Close()
	}
	v := s.accept(testHello)
	if len(v.loaded[0].Entries) != 0 {
		t.Fatal("a change out of turn was stored")
	}
	v.send(withSeq(change(0), 1))
	receive[*vaultlink.Persisted](v)
}

// Commands have bounds: their size, and how many the vault may leave open.
func TestCommandBounds(t *testing.T) {
	s := newSite(t)
	s.start()
	s.accept(testHello)
	s.news(true)
	if _, err := s.co.Command(t.Context(), 1, make([]byte, vaultlink.MaxBody+1)); !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "at most 3145728") {
		t.Fatalf("an oversized command: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	for range maxOpen {
		open.Go(func() { _, _ = s.co.Command(ctx, 1, []byte("never answered")) })
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st, err := s.co.Status(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if st.Commands == maxOpen {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", st)
		}
	}
	if _, err := s.co.Command(t.Context(), 1, []byte("one more")); !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "512 commands wait") {
		t.Fatalf("one more: %v", err)
	}
}

func TestEnrolmentEnds(t *testing.T) {
	s := newSite(t)
	stop := s.start()
	v := s.accept(&vaultlink.Hello{Vault: 1})
	v.send(&vaultlink.Frame{Peer: 2, Bytes: []byte("too early")})
	v.send(&vaultlink.Persist{Seq: 1, Writes: []vaultlink.Record{{Name: "root", Value: []byte{1}}}})
	receive[*vaultlink.Persisted](v)
	v.send(&vaultlink.Bye{Done: true, Text: "the card is written"})
	if err := ended(t, stop, s); err != nil {
		t.Fatal(err)
	}
}

// The broker goes away and comes back; changes are made durable meanwhile.
func TestBrokerRestarts(t *testing.T) {
	s := newSite(t)
	s.start()
	v := s.accept(testHello)
	s.news(true)
	s.broker.Close()
	v.send(withSeq(change(0), 1))
	receive[*vaultlink.Persisted](v)
	v.send(&vaultlink.Frame{Peer: 2, Bytes: []byte("into the void")})
	v.send(withSeq(change(1), 2))
	receive[*vaultlink.Persisted](v)
	s.startBroker()
	deadline := time.Now().Add(20 * time.Second)
	for {
		st, err := s.co.Status(t.Context(), 1)
		if err == nil {
			if st.Changes != 2 {
				t.Fatalf("%+v", st)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A vault that reads nothing costs frames, and neither memory nor commands that
// were taken.
func TestVaultDoesNotRead(t *testing.T) {
	s := newSite(t)
	s.start()
	v := s.accept(testHello)
	s.news(true)
	two, err := transport.ConnectNode(s.client("2"), testCluster, 2, transport.Handlers{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	big := make([]byte, vaultlink.MaxFrame)
	for i := 0; ; i++ {
		if err := two.SendFrame(1, big); err != nil {
			t.Fatal(err)
		}
		st, err := s.co.Status(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if st.Dropped > 0 {
			break
		}
		if i > 10*maxUnread/len(big) {
			t.Fatalf("nothing was dropped: %+v", st)
		}
	}
	if _, err := s.co.Command(t.Context(), 1, []byte("c")); !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "does not keep up") {
		t.Fatalf("a command to a vault that is stuck: %v", err)
	}
	v.send(withSeq(change(0), 1)) // it reads again
	for {
		v.SetReadDeadline(time.Now().Add(20 * time.Second))
		m, err := v.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*vaultlink.Persisted); ok {
			return
		}
	}
}

func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.toml")
	text := "[node]\ndir = \"d\"\nsocket = \"s\"\n[broker]\nurl = \"nats://127.0.0.1:4222\"\ncredentials = \"file:c\"\n[broker.tls]\nca = \"ca.pem\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path, []string{"COFFER_NODE_DIR=e", "COFFER_BROKER_TLS_CA=other.pem"})
	if err != nil || c.Node.Dir != "e" || c.Node.Socket != "s" || c.Broker.URL != "nats://127.0.0.1:4222" || c.Broker.TLS.CA != "other.pem" {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, want := range map[string]string{
		"COFFER_NODE_DIR": "node.dir is empty", "COFFER_NODE_SOCKET": "node.socket is empty",
		"COFFER_BROKER_URL": "broker.url is empty", "COFFER_BROKER_CREDENTIALS": "broker.credentials is empty",
	} {
		if _, err := LoadConfig(path, []string{name + "="}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestNoGoroutineLeft(t *testing.T) {
	s := newSite(t)
	s.co.Close()
	time.Sleep(10 * time.Millisecond)
	before := runtime.NumGoroutine()
	for n := range uint64(3) {
		stop := s.start()
		v := s.accept(testHello)
		v.send(withSeq(change(n), 1))
		receive[*vaultlink.Persisted](v)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}
