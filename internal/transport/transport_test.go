package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/cofferhq/coffer/internal/transport/transporttest"
)

var testCluster = [32]byte{0xab, 0xcd, 0xef, 0x01, 31: 1}

// harness is a broker with users for the coordinator, n nodes and an operator
// who may do everything, as whoever owns the broker's machine can.
type harness struct {
	t      testing.TB
	cfg    ServerConfig
	seeds  map[string]string // user → path of its seed
	admin  nkeys.KeyPair
	server *Server
	url    string
}

func newCluster(t testing.TB, n int) *harness {
	t.Helper()
	c := &harness{t: t, cfg: ServerConfig{Listen: "127.0.0.1:0", Nodes: map[string]string{}}, seeds: map[string]string{}}
	dir := t.TempDir()
	user := func(name string) string {
		seed, public, err := NewUser(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.seeds[name] = filepath.Join(dir, name+".seed")
		if err := os.WriteFile(c.seeds[name], append(seed, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		return public
	}
	c.cfg.Coordinator, c.cfg.Risk = user("coordinator"), user("risk")
	c.cfg.Prices = map[string]string{"ticker.one": user("price"), "ticker2": user("price2")}
	for i := 1; i <= n; i++ {
		c.cfg.Nodes[strconv.Itoa(i)] = user(strconv.Itoa(i))
	}
	var err error
	if c.admin, err = nkeys.CreateUser(); err != nil {
		t.Fatal(err)
	}
	c.start()
	t.Cleanup(func() { c.server.Close() })
	return c
}

// start starts the broker, a second time on the port of the first.
func (c *harness) start() {
	c.t.Helper()
	opts, err := serverOptions(c.cfg, testCluster)
	if err != nil {
		c.t.Fatal(err)
	}
	public, _ := c.admin.PublicKey()
	opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: public})
	if c.server, err = startServer(opts, quiet()); err != nil {
		c.t.Fatal(err)
	}
	c.url = c.server.URL()
	c.cfg.Listen = strings.TrimPrefix(c.url, "nats://")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (c *harness) client(user, url string) ClientConfig {
	return ClientConfig{URL: url, Credentials: "file:" + c.seeds[user]}
}

func (c *harness) coordinator(url string, event func(*NodeStatus)) *Coordinator {
	c.t.Helper()
	co, err := ConnectCoordinator(c.client("coordinator", url), testCluster, rand.Reader, event, quiet())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(co.Close)
	wait(c.t, "the coordinator to connect", co.nc.IsConnected)
	return co
}

func (c *harness) node(id uint16, url string, h Handlers) *Node {
	c.t.Helper()
	n, err := ConnectNode(c.client(strconv.Itoa(int(id)), url), testCluster, id, h, quiet())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(n.Close)
	wait(c.t, "the node to connect", n.nc.IsConnected)
	if err := n.nc.Flush(); err != nil { // its subscriptions are known
		c.t.Fatal(err)
	}
	return n
}

// as is a connection with a user's credential and nothing of our client's care.
func (c *harness) as(kp nkeys.KeyPair) (*nats.Conn, chan error) {
	c.t.Helper()
	errs := make(chan error, 100)
	public, _ := kp.PublicKey()
	nc, err := nats.Connect(c.url, nats.Nkey(public, kp.Sign), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc, errs
}

func (c *harness) key(user string) nkeys.KeyPair {
	c.t.Helper()
	seed, err := os.ReadFile(c.seeds[user])
	if err != nil {
		c.t.Fatal(err)
	}
	kp, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		c.t.Fatal(err)
	}
	return kp
}

// wait polls, since the event is in another library's goroutine.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// collector is a node's handlers that keep what comes.
type collector struct {
	mu       sync.Mutex
	frames   []string
	commands []string
	replies  []func([]byte)
	refuse   error
	hold     bool // reply later
}

func (k *collector) handlers() Handlers {
	return Handlers{
		Frame: func(b []byte) { k.mu.Lock(); k.frames = append(k.frames, string(b)); k.mu.Unlock() },
		Command: func(body []byte, reply func([]byte)) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.refuse != nil {
				return k.refuse
			}
			k.commands = append(k.commands, string(body))
			k.replies = append(k.replies, reply)
			if !k.hold {
				reply([]byte("done: " + string(body)))
			}
			return nil
		},
		Read: func(q *Read) *ReadResult {
			if q.Kind == ReadLog && q.Offset > 0 { // nonsense of three kinds
				p := []*LogPart{{Total: 0}, {Total: 9}, {Total: 4, Bytes: make([]byte, 5)}}[q.Offset-1]
				return &ReadResult{Body: p.Encode()}
			}
			if q.Kind == ReadLog {
				return &ReadResult{Failed: "no log here"}
			}
			return &ReadResult{Body: (&NodeStatus{Vault: 1, LogSize: 7}).Encode()}
		},
	}
}

func (k *collector) gotFrames() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.frames...)
}

func (k *collector) gotCommands() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.commands)
}

func TestFramesAndCommands(t *testing.T) {
	c := newCluster(t, 2)
	one, two := &collector{}, &collector{}
	n1 := c.node(1, c.url, one.handlers())
	c.node(2, c.url, two.handlers())
	events := make(chan *NodeStatus, 10)
	co := c.coordinator(c.url, func(st *NodeStatus) { events <- st })
	if err := co.nc.Flush(); err != nil {
		t.Fatal(err)
	}

	big := bytes.Repeat([]byte("x"), 1<<20)
	for _, f := range [][]byte{[]byte("hello"), nil, big} {
		if err := n1.SendFrame(2, f); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "frames", func() bool { return len(two.gotFrames()) == 3 })
	if got := two.gotFrames(); got[0] != "hello" || got[1] != "" || got[2] != string(big) {
		t.Fatal("frames were changed on the way")
	}
	for _, to := range []uint16{0, 1} {
		if err := n1.SendFrame(to, nil); err == nil {
			t.Errorf("a frame to vault %d from vault 1 was sent", to)
		}
	}

	reply, err := co.Command(t.Context(), 1, []byte("c"))
	if err != nil || string(reply) != "done: c" {
		t.Fatalf("%q, %v", reply, err)
	}
	if st, err := co.Status(t.Context(), 1); err != nil || st.LogSize != 7 {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := co.Status(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "speaks for vault 1") {
		t.Fatalf("a status in another's name: %v", err)
	}
	if _, err := co.Log(t.Context(), 1, 0); err == nil || !strings.Contains(err.Error(), "no log here") {
		t.Fatalf("a failed read: %v", err)
	}
	for offset := uint64(1); offset <= 3; offset++ {
		if p, err := co.Log(t.Context(), 1, offset); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("at offset %d of", offset)) {
			t.Fatalf("a part of a log that cannot be: %+v, %v", p, err)
		}
	}
	if err := n1.SendEvent(&NodeStatus{Vault: 1, Detail: "news"}); err != nil {
		t.Fatal(err)
	}
	if err := n1.SendEvent(&NodeStatus{Vault: 2, Detail: "lies"}); err != nil {
		t.Fatal(err)
	}
	if err := n1.SendEvent(&NodeStatus{Vault: 1, Detail: "more"}); err != nil {
		t.Fatal(err)
	}
	if a, b := <-events, <-events; a.Detail != "news" || b.Detail != "more" {
		t.Fatalf("events %+v %+v", a, b)
	}
}

func TestCommandErrors(t *testing.T) {
	c := newCluster(t, 2)
	k := &collector{refuse: errors.New("the vault is away")}
	c.node(1, c.url, k.handlers())
	co := c.coordinator(c.url, nil)
	if _, err := co.Command(t.Context(), 1, []byte("c")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the vault is away") {
		t.Errorf("refused: %v", err)
	}
	start := time.Now()
	if _, err := co.Command(t.Context(), 2, []byte("c")); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
		t.Errorf("no node: %v", err)
	}
	if d := time.Since(start); d > ackTimeout {
		t.Errorf("it took %v to see that there is no node", d)
	}
	if _, err := co.Status(t.Context(), 2); !errors.Is(err, ErrUnreachable) {
		t.Errorf("read without a node: %v", err)
	}
	if _, err := co.Command(t.Context(), 1, make([]byte, maxBody+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("oversized: %v", err)
	}
	k.mu.Lock()
	k.refuse, k.hold = nil, true
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := co.Command(ctx, 1, []byte("c")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no reply: %v", err)
	}
}

// TestCommandSurvives loses what can be lost: the reply on its way, the broker,
// and last the node. The vault gets the command once.
func TestCommandSurvives(t *testing.T) {
	t.Run("lost reply", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, 1)
		dropped := false
		p := transporttest.New(t, c.url, func(m transporttest.Message) []transporttest.Message {
			if strings.HasSuffix(m.Subject, "."+leafReply) && !dropped {
				dropped = true
				return nil
			}
			return []transporttest.Message{m}
		})
		k := &collector{}
		c.node(1, c.url, k.handlers())
		co := c.coordinator(p.URL, nil)
		reply, err := co.Command(t.Context(), 1, []byte("c"))
		if err != nil || string(reply) != "done: c" || k.gotCommands() != 1 || !dropped {
			t.Fatalf("%q, %v; %d commands at the vault", reply, err, k.gotCommands())
		}
	})
	t.Run("lost command and lost acknowledgement", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, 1)
		var mu sync.Mutex
		var drop string // suffix or part of the subject whose next message is lost
		p := transporttest.New(t, c.url, func(m transporttest.Message) []transporttest.Message {
			mu.Lock()
			defer mu.Unlock()
			if drop != "" && strings.Contains(m.Subject, drop) {
				drop = ""
				return nil
			}
			return []transporttest.Message{m}
		})
		k := &collector{}
		c.node(1, p.URL, k.handlers())
		co := c.coordinator(p.URL, nil)
		lose := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			drop = what
		}
		lose("." + leafCommand)
		if _, err := co.Command(t.Context(), 1, []byte("c")); !errors.Is(err, ErrLost) || k.gotCommands() != 0 {
			t.Errorf("lost command: %v; %d commands at the vault", err, k.gotCommands())
		}
		lose(".inbox.")
		if reply, err := co.Command(t.Context(), 1, []byte("c")); err != nil || string(reply) != "done: c" || k.gotCommands() != 1 {
			t.Errorf("lost acknowledgement: %q, %v; %d commands at the vault", reply, err, k.gotCommands())
		}
	})
	t.Run("another call's acknowledgement", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, 1)
		p := transporttest.New(t, c.url, func(m transporttest.Message) []transporttest.Message {
			if strings.Contains(m.Subject, ".inbox.") {
				m.Payload = bytes.Clone(m.Payload)
				m.Payload[1] ^= 1
			}
			return []transporttest.Message{m}
		})
		c.node(1, c.url, (&collector{hold: true}).handlers())
		if _, err := c.coordinator(p.URL, nil).Command(t.Context(), 1, []byte("c")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "acknowledged another command") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("broker restart", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, 1)
		k := &collector{hold: true}
		c.node(1, c.url, k.handlers())
		co := c.coordinator(c.url, nil)
		type result struct {
			reply []byte
			err   error
		}
		done := make(chan result)
		go func() {
			reply, err := co.Command(t.Context(), 1, []byte("c"))
			done <- result{reply, err}
		}()
		wait(t, "the command", func() bool { return k.gotCommands() == 1 })
		c.server.Close()
		wait(t, "the loss", func() bool { return !co.nc.IsConnected() })
		k.replies[0]([]byte("late")) // while there is no broker
		c.start()
		if r := <-done; r.err != nil || string(r.reply) != "late" || k.gotCommands() != 1 {
			t.Fatalf("%q, %v; %d commands at the vault", r.reply, r.err, k.gotCommands())
		}
	})
	t.Run("node restart", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, 1)
		k := &collector{hold: true}
		n := c.node(1, c.url, k.handlers())
		co := c.coordinator(c.url, nil)
		done := make(chan error)
		go func() {
			_, err := co.Command(t.Context(), 1, []byte("c"))
			done <- err
		}()
		wait(t, "the command", func() bool { return k.gotCommands() == 1 })
		n.Close()
		c.node(1, c.url, k.handlers())
		if err := <-done; !errors.Is(err, ErrLost) || k.gotCommands() != 1 {
			t.Fatalf("%v; %d commands at the vault", err, k.gotCommands())
		}
	})
}

func TestNodeStartsBeforeTheBroker(t *testing.T) {
	c := newCluster(t, 2)
	c.server.Close()
	two := &collector{}
	var nodes []*Node
	for id, h := range map[uint16]Handlers{1: (&collector{}).handlers(), 2: two.handlers()} {
		n, err := ConnectNode(c.client(strconv.Itoa(int(id)), c.url), testCluster, id, h, quiet())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		nodes = append(nodes, n)
	}
	c.start()
	for _, n := range nodes {
		wait(t, "the connection", n.nc.IsConnected)
	}
	from := nodes[0]
	if from.vault == 2 {
		from = nodes[1]
	}
	wait(t, "a frame", func() bool { // a subscription may come after the first ones
		if err := from.SendFrame(2, []byte("x")); err != nil {
			t.Fatal(err)
		}
		return len(two.gotFrames()) > 0
	})
}

func TestNodeRemembersOnlySoMuch(t *testing.T) {
	c := newCluster(t, 1)
	k := &collector{}
	n := c.node(1, c.url, k.handlers())
	for i := range 3 * maxCalls {
		var id callID
		copy(id[:], fmt.Sprint(i))
		n.command(&nats.Msg{Data: (&call{ID: id, Body: []byte("c")}).encode()})
	}
	body := make([]byte, maxReplyBytes/4)
	k.hold = true
	for i := range 8 {
		n.command(&nats.Msg{Data: (&call{ID: callID{1: byte(i + 1)}, Body: []byte{1}}).encode()})
		k.replies[len(k.replies)-1](body)
		k.replies[len(k.replies)-1](body) // a second reply is nothing
	}
	if n.order.Len() > maxCalls || len(n.calls) != n.order.Len() || n.kept > maxReplyBytes || n.kept < maxReplyBytes/2 {
		t.Fatalf("%d calls in the list, %d in the map, %d bytes", n.order.Len(), len(n.calls), n.kept)
	}
}

// TestPermissions tries every subject with every credential.
func TestPermissions(t *testing.T) {
	c := newCluster(t, 3)
	s := subjectsOf(testCluster)
	other := subjectsOf([32]byte{9})
	mayPublish := map[string][]string{
		"1":           {s.of(2, leafFrame), s.of(3, leafFrame), s.of(1, leafReply), s.of(1, leafEvent)},
		"coordinator": {s.risk(), s.price("ticker.one"), s.price("ticker2"), s.of(1, leafCommand), s.of(2, leafCommand), s.of(3, leafCommand), s.of(1, leafNode), s.of(2, leafNode), s.of(3, leafNode)},
	}
	maySubscribe := map[string][]string{
		"risk":        {s.risk()},
		"price":       {s.price("ticker.one")},
		"1":           {s.of(1, leafFrame), s.of(1, leafCommand), s.of(1, leafNode)},
		"coordinator": {s.all(leafReply), s.all(leafEvent), s.inboxes("coordinator"), s.of(1, leafReply), s.of(2, leafReply), s.of(3, leafReply), s.of(1, leafEvent), s.of(2, leafEvent), s.of(3, leafEvent)},
	}
	subjects := []string{
		s.price("ticker.one"), s.price("ticker2"), s.prices(),
		">", "*", s.risk(), string(s) + ".risk.other", string(s) + ".risk.>", "_INBOX.>", "$SYS.>", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", other.of(1, leafFrame), other.of(1, leafReply), other.all(leafFrame), string(s) + ".>",
		s.inboxes("coordinator"), s.inboxes("node-1"), s.inbox("coordinator") + ".x",
	}
	for _, leaf := range []string{leafFrame, leafCommand, leafNode, leafReply, leafEvent, "other"} {
		subjects = append(subjects, s.all(leaf))
		for id := uint16(1); id <= 3; id++ {
			subjects = append(subjects, s.of(id, leaf))
		}
	}
	for _, user := range []string{"1", "coordinator", "risk", "price"} {
		nc, errs := c.as(c.key(user))
		refused := func() bool {
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-errs:
				if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
					t.Fatalf("%s: %v", user, err)
				}
				return true
			case <-time.After(20 * time.Millisecond):
				return false
			}
		}
		for _, subj := range subjects {
			if !strings.ContainsAny(subj, "*>") {
				if err := nc.Publish(subj, []byte("x")); err != nil {
					t.Fatal(err)
				}
				if want := !contains(mayPublish[user], subj); refused() != want {
					t.Errorf("user %s publishes to %s: refused is not %v", user, subj, want)
				}
			}
			sub, err := nc.SubscribeSync(subj)
			if err != nil {
				t.Fatal(err)
			}
			// Inside a permitted wildcard a narrower subject is permitted too.
			want := !contains(maySubscribe[user], subj) && !(user == "coordinator" && (strings.HasSuffix(subj, ".reply") || strings.HasSuffix(subj, ".event") || strings.HasPrefix(subj, s.inbox("coordinator"))) && strings.HasPrefix(subj, string(s)))
			if refused() != want {
				t.Errorf("user %s subscribes to %s: refused is not %v", user, subj, want)
			}
			_ = sub.Unsubscribe()
		}
	}
	stranger, _ := nkeys.CreateUser()
	public, _ := stranger.PublicKey()
	for name, opt := range map[string]nats.Option{
		"no credential":        nats.Name("x"),
		"a password":           nats.UserInfo("coordinator", "coffer"),
		"a stranger's key":     nats.Nkey(public, stranger.Sign),
		"another's public key": nats.Nkey(c.cfg.Coordinator, stranger.Sign),
	} {
		if nc, err := nats.Connect(c.url, opt); err == nil {
			nc.Close()
			t.Errorf("connected with %s", name)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func TestRisk(t *testing.T) {
	c := newCluster(t, 1)
	co := c.coordinator(c.url, nil)
	if _, err := co.Screen(t.Context(), []byte("b")); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Fatalf("without an engine: %v", err)
	}
	r, err := ConnectRisk(c.client("risk", c.url), testCluster, func(b []byte) ([]byte, error) {
		if len(b) == 0 {
			return nil, errors.New("couldn't read \x1b the bundle")
		}
		return append([]byte("verdict on "), b...), nil
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wait(t, "the engine", r.nc.IsConnected)
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if v, err := co.Screen(t.Context(), []byte("b")); err != nil || string(v) != "verdict on b" {
		t.Fatalf("%q, %v", v, err)
	}
	if _, err := co.Screen(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "couldn't read \ufffd the bundle") {
		t.Fatalf("a failure: %v", err)
	}
}

func TestPrice(t *testing.T) {
	c := newCluster(t, 1)
	co := c.coordinator(c.url, nil)
	if _, err := co.Quote(t.Context(), "ticker.one"); err == nil || !strings.Contains(err.Error(), "couldn't ask the price source ticker.one: it is not connected") {
		t.Fatalf("without a source: %v", err)
	}
	var fail atomic.Bool
	p, err := ConnectPrice(c.client("price", c.url), testCluster, "ticker.one", func() ([]byte, error) {
		if fail.Load() {
			return nil, errors.New("no\x1b answer")
		}
		return []byte("quote"), nil
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	wait(t, "the source", p.nc.IsConnected)
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if q, err := co.Quote(t.Context(), "ticker.one"); err != nil || string(q) != "quote" {
		t.Fatalf("%q, %v", q, err)
	}
	fail.Store(true)
	if _, err := co.Quote(t.Context(), "ticker.one"); err == nil || !strings.Contains(err.Error(), "no\ufffd answer") {
		t.Fatalf("a failure: %v", err)
	}
	for _, name := range []string{"ticker2", "Ticker", "*", ""} {
		if _, err := co.Quote(t.Context(), name); err == nil {
			t.Errorf("%q quotes", name)
		}
	}
	if _, err := ConnectPrice(c.client("price", c.url), testCluster, ">", nil, quiet()); err == nil {
		t.Error("a source of any name connects")
	}
	cfg := c.cfg
	cfg.Prices = map[string]string{"a.b": cfg.Prices["ticker2"], "a-b": cfg.Prices["ticker.one"]}
	if _, err := serverOptions(cfg, testCluster); err == nil || !strings.Contains(err.Error(), "differ in dots and dashes only") {
		t.Errorf("%v", err)
	}
}

// TestReplyInAnothersName: a broker that redirects node 1's reply to a command
// for vault 2 does not answer it.
func TestReplyInAnothersName(t *testing.T) {
	c := newCluster(t, 2)
	k := &collector{hold: true}
	c.node(2, c.url, k.handlers())
	co := c.coordinator(c.url, nil)
	admin, _ := c.as(c.admin)
	sub, err := admin.SubscribeSync(co.s.of(2, leafCommand))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() {
		reply, _ := co.Command(t.Context(), 2, []byte("c"))
		done <- string(reply)
	}()
	m, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := decodeCall(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	forged := (&answer{seen.ID, []byte("forged")}).encode()
	for _, subject := range []string{co.s.of(1, leafReply), string(co.s) + ".vault.x.reply", string(co.s) + ".vault.70000.reply"} {
		if err := admin.Publish(subject, forged); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	wait(t, "the command", func() bool { return k.gotCommands() == 1 })
	k.replies[0]([]byte("true"))
	if got := <-done; got != "true" {
		t.Fatalf("the reply is %q", got)
	}
}

// TestGarbage sends what decodes to nothing to every subject and to the port
// itself; everybody goes on.
func TestGarbage(t *testing.T) {
	c := newCluster(t, 1)
	k := &collector{}
	c.node(1, c.url, k.handlers())
	co := c.coordinator(c.url, func(*NodeStatus) { t.Error("garbage was taken for an event") })
	admin, _ := c.as(c.admin)
	junk := [][]byte{nil, {0}, {1}, []byte("{}"), bytes.Repeat([]byte{0xff}, 100), make([]byte, MaxPayload), (&ack{}).encode()}
	for _, leaf := range []string{leafFrame, leafCommand, leafNode, leafReply, leafEvent} {
		for i, b := range junk {
			if err := admin.PublishRequest(co.s.of(1, leaf), "nowhere", b); err != nil {
				t.Fatalf("%s %d: %v", leaf, i, err)
			}
			if leaf == leafCommand || leaf == leafNode {
				m, err := admin.Request(co.s.of(1, leaf), b, 10*time.Second)
				if err != nil {
					t.Fatalf("%s %d: %v", leaf, i, err)
				}
				if leaf == leafNode {
					if r, err := DecodeReadResult(m.Data); err != nil || r.Failed == "" {
						t.Fatalf("%s %d: %+v, %v", leaf, i, r, err)
					}
				} else if a, err := decodeAck(m.Data); err != nil || a.State != ackRefused {
					t.Fatalf("%s %d: %+v, %v", leaf, i, a, err)
				}
			}
		}
	}
	if err := admin.Publish(co.s.of(1, leafFrame), make([]byte, MaxPayload+1)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Fatalf("an oversized message: %v", err)
	}
	for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "PUB coffer.x 4\r\nabcd\r\n", "\x16\x03\x01\x02\x00", strings.Repeat("A", 70000), "CONNECT {\"nkey\":1}\r\n"} {
		conn, err := net.Dial("tcp", c.cfg.Listen)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(b))
		_ = conn.Close()
	}
	reply, err := co.Command(t.Context(), 1, []byte("still here"))
	if err != nil || string(reply) != "done: still here" {
		t.Fatalf("after the garbage: %q, %v", reply, err)
	}
	if k.gotCommands() != 1 {
		t.Fatalf("%d commands reached the vault, want 1", k.gotCommands())
	}
}

func TestServerConfigRefused(t *testing.T) {
	_, a, err := NewUser(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := NewUser(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, c := range []struct {
		name string
		edit func(*ServerConfig)
		want string
	}{
		{"no port", func(c *ServerConfig) { c.Listen = "127.0.0.1" }, "want HOST:PORT"},
		{"bad port", func(c *ServerConfig) { c.Listen = "127.0.0.1:http" }, "want 0 to 65535"},
		{"taken port", func(c *ServerConfig) { c.Listen = taken.Addr().String() }, "in use"},
		{"open without tls", func(c *ServerConfig) { c.Listen = "0.0.0.0:0" }, "only a loopback address"},
		{"named without tls", func(c *ServerConfig) { c.Listen = "broker.example:4222" }, "only a loopback address"},
		{"no coordinator", func(c *ServerConfig) { c.Coordinator = "" }, "coordinator: key"},
		{"a seed", func(c *ServerConfig) { c.Coordinator = "SUAAAA" }, "coordinator: key"},
		{"vault 0", func(c *ServerConfig) { c.Nodes = map[string]string{"0": b} }, `vault id "0"`},
		{"vault 01", func(c *ServerConfig) { c.Nodes = map[string]string{"01": b} }, `vault id "01"`},
		{"vault name", func(c *ServerConfig) { c.Nodes = map[string]string{"alice": b} }, `vault id "alice"`},
		{"shared key", func(c *ServerConfig) { c.Nodes = map[string]string{"1": a} }, "every user needs its own"},
		{"no certificate", func(c *ServerConfig) { c.TLS.CA = "/nonexistent" }, "certificate"},
	} {
		cfg := ServerConfig{Listen: "127.0.0.1:0", Coordinator: a, Nodes: map[string]string{"1": b}}
		c.edit(&cfg)
		if srv, err := StartServer(cfg, testCluster, quiet()); err == nil {
			srv.Close()
			t.Errorf("%s: started", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q does not say %q", c.name, err, c.want)
		}
	}
}

func TestClientConfigRefused(t *testing.T) {
	account, _ := nkeys.CreateAccount()
	seed, _ := account.Seed()
	t.Setenv("COFFER_TEST_ACCOUNT", string(seed))
	t.Setenv("COFFER_TEST_JUNK", "hunter2")
	for _, c := range []struct {
		cfg  ClientConfig
		want string
	}{
		{ClientConfig{URL: "nats://127.0.0.1:1"}, "file:PATH or env:NAME"},
		{ClientConfig{URL: "nats://127.0.0.1:1", Credentials: "env:COFFER_TEST_JUNK"}, "want a user's seed"},
		{ClientConfig{URL: "nats://127.0.0.1:1", Credentials: "env:COFFER_TEST_ACCOUNT"}, "not another role's"},
	} {
		n, err := ConnectNode(c.cfg, testCluster, 1, Handlers{}, quiet())
		if err == nil {
			n.Close()
			t.Errorf("%+v: connected", c.cfg)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %q does not say %q, or shows the secret", err, c.want)
		}
	}
}

func TestReconnectDelay(t *testing.T) {
	for n, last := 0, time.Duration(0); n < 200; n++ {
		d := reconnectDelay(n)
		if d < 50*time.Millisecond || d > reconnectLongest*11/10 || n < 5 && d <= last {
			t.Fatalf("attempt %d waits %v after %v", n, d, last)
		}
		last = d
	}
}

// BenchmarkFrame is a frame from one node to another and back.
func BenchmarkFrame(b *testing.B) {
	for _, size := range []int{200, 54 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			c := newCluster(b, 2)
			back := make(chan struct{}, 1)
			h := (&collector{}).handlers()
			h.Frame = func([]byte) { back <- struct{}{} }
			n1 := c.node(1, c.url, h)
			echo := (&collector{}).handlers()
			var n2 *Node
			ready := make(chan struct{})
			echo.Frame = func(f []byte) { <-ready; _ = n2.SendFrame(1, f) }
			n2 = c.node(2, c.url, echo)
			close(ready)
			f := make([]byte, size)
			for b.Loop() {
				if err := n1.SendFrame(2, f); err != nil {
					b.Fatal(err)
				}
				<-back
			}
		})
	}
}
