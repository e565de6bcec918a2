package vaultshell

import (
	"bytes"
	"context"
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

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// counter is a small deterministic machine that asks for everything that a vault
// asks for. Its commands are words:
//
//	put K   write K, log it, replace the checkpoint, tell vault 2, reply
//	get     reply with the number of puts
//	sign    ask the device for a signature of the number of puts; write, and
//	        reply once it is there
//	twice   ask the device; when the answer is there, ask again; then reply
//	big N   write N bytes, reply
//	wake N  ask for a tick in N milliseconds, reply when it comes
//	fail    cannot go on
//
// A frame is sent back to vault 3.
type counter struct {
	puts   int
	next   uint64
	asked  map[uint64]uint64 // device command → command
	again  map[uint64]bool   // commands that ask twice
	ticks  int
	wakes  uint64 // when it wants to wake
	waits  uint64 // the command that waits for it
	card   []byte
	device int // device results seen
}

func (c *counter) Enrolment() ([]byte, bool) { return c.card, c.card != nil }

// ask is a device command for a command.
func (c *counter) ask(command uint64, text string) []vault.DeviceCommand {
	c.next++
	c.asked[c.next] = command
	return []vault.DeviceCommand{{ID: c.next, Kind: vault.DeviceSign, Role: hsm.RoleDecision, Statement: signature.Statement{Domain: "coffer/test/v1", Body: []byte(text)}}}
}

func (c *counter) Step(in vault.Input) (vault.Ready, error) {
	if in.Stop {
		return vault.Ready{Stopped: true}, nil
	}
	var r vault.Ready
	switch {
	case in.Frame != nil:
		r.Messages = []vault.Message{{To: 3, Frame: in.Frame}}
	case in.Device != nil:
		c.device++
		id, ok := c.asked[in.Device.ID]
		if !ok {
			return r, fmt.Errorf("device result %d answers nothing", in.Device.ID)
		}
		delete(c.asked, in.Device.ID)
		if c.again[id] {
			c.again[id] = false
			r.Device = c.ask(id, "again")
			return r, nil
		}
		text := fmt.Sprintf("signed with %d bytes", len(in.Device.Signature.Bytes))
		if in.Device.Err != "" {
			text = "device: " + in.Device.Err
		}
		r.Replies = []vault.Reply{{ID: id, Body: []byte(text)}}
	case in.Command != nil:
		word, arg, _ := strings.Cut(string(in.Command.Body), " ")
		reply := func(format string, args ...any) {
			r.Replies = append(r.Replies, vault.Reply{ID: in.Command.ID, Body: fmt.Appendf(nil, format, args...)})
		}
		switch word {
		case "put":
			c.puts++
			r.Writes = []vault.Record{{Name: arg, Value: []byte{1}}, {Name: "old-" + arg}}
			r.Entries = [][]byte{[]byte(arg)}
			r.Checkpoint = fmt.Appendf(nil, "size %d", c.puts)
			r.Messages = []vault.Message{{To: 2, Frame: []byte("have " + arg)}}
			r.Notes = []vault.Note{{Text: "put", Args: []any{"name", arg}}}
			reply("put %s", arg)
		case "get":
			reply("%d", c.puts)
		case "sign":
			r.Device = c.ask(in.Command.ID, arg)
			r.Writes = []vault.Record{{Name: "asked", Value: []byte(arg)}}
		case "twice":
			c.again = map[uint64]bool{in.Command.ID: true}
			r.Device = c.ask(in.Command.ID, arg)
		case "big":
			var n int
			_, _ = fmt.Sscan(arg, &n)
			r.Writes = []vault.Record{{Name: "big", Value: make([]byte, n)}}
			reply("big")
		case "wake":
			var n uint64
			_, _ = fmt.Sscan(arg, &n)
			c.wakes, c.waits = in.Now+n, in.Command.ID
		case "fail":
			return r, errors.New("the disk was changed")
		}
	default:
		c.ticks++
		if c.wakes > 0 && in.Now >= c.wakes {
			r.Replies = []vault.Reply{{ID: c.waits, Body: fmt.Appendf(nil, "%d ms late", in.Now-c.wakes)}}
			c.wakes = 0
		}
	}
	r.Wake = c.wakes
	return r, nil
}

// gate is a real software HSM whose operations can be held up or broken.
type gate struct {
	hsm.HSM
	mu      sync.Mutex // guards broken
	broken  error
	started chan struct{} // one for each Sign
	pass    chan struct{} // nil: no wait
}

func (g *gate) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	select {
	case g.started <- struct{}{}:
	default:
	}
	if g.pass != nil {
		select {
		case <-g.pass:
		case <-ctx.Done():
			return signature.Signature{}, ctx.Err()
		}
	}
	g.mu.Lock()
	err := g.broken
	g.mu.Unlock()
	if err != nil {
		return signature.Signature{}, err
	}
	return g.HSM.Sign(ctx, role, st, ap)
}

func softDevice(t testing.TB) hsm.HSM {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hsm")
	if err := soft.Provision(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	d, err := soft.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// harness is a shell with the test as its node.
type harness struct {
	t    testing.TB
	path string
	node *vaultlink.Conn
	dev  *gate
	vm   *counter
	logs *syncBuffer
	end  chan error
	stop context.CancelFunc
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// listen starts a shell that waits for its node.
func listen(t testing.TB, edit func(*shell, *vault.Ready)) *harness {
	t.Helper()
	h := &harness{
		t: t, path: filepath.Join(shortDir(t), "s"), dev: &gate{HSM: softDevice(t), started: make(chan struct{}, 1)},
		vm: &counter{asked: map[uint64]uint64{}}, logs: &syncBuffer{}, end: make(chan error, 1),
	}
	ln, err := vaultlink.Listen(h.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	log := slog.New(slog.NewTextHandler(h.logs, nil))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer ln.Close()
		h.end <- serve(ctx, ln, log, func(link *vaultlink.Conn, loaded vault.Loaded) (*shell, vault.Ready, error) {
			s := &shell{log: log, vault: h.vm, link: link, device: h.dev, now: clock}
			var first vault.Ready
			if edit != nil {
				edit(s, &first)
			}
			return s, first, nil
		}, &vaultlink.Hello{Vault: 7, Cluster: [32]byte{1}})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

// connect makes the test the node, which has nothing on disk.
func connect(t testing.TB, edit func(*shell, *vault.Ready)) *harness {
	t.Helper()
	h := listen(t, edit)
	h.dial()
	return h
}

func (h *harness) dial() {
	h.t.Helper()
	var err error
	if h.node, err = vaultlink.Dial(h.t.Context(), h.path); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.node.Close)
	if hello := next[*vaultlink.Hello](h); hello.Vault != 7 || hello.Cluster[0] != 1 {
		h.t.Fatalf("hello %+v", hello)
	}
	h.send(&vaultlink.Load{Last: true})
}

func (h *harness) send(m vaultlink.Message) {
	h.t.Helper()
	if err := h.node.Send(m); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) command(id uint64, text string) {
	h.t.Helper()
	h.send(&vaultlink.Command{ID: id, Body: []byte(text)})
}

// next is the shell's next message, which must be of this type.
func next[M vaultlink.Message](h *harness) M {
	h.t.Helper()
	h.node.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, err := h.node.Receive()
	if err != nil {
		h.t.Fatalf("no message: %v", err)
	}
	typed, ok := m.(M)
	if !ok {
		h.t.Fatalf("got %s %+v, want %T", vaultlink.Name(m), m, typed)
	}
	return typed
}

// silent demands that the shell sends nothing for a while.
func (h *harness) silent() {
	h.t.Helper()
	h.node.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if m, err := h.node.Receive(); err == nil {
		h.t.Fatalf("got %s %+v before its turn", vaultlink.Name(m), m)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		h.t.Fatal(err)
	}
}

// ended demands that the shell stops with an error that says want.
func (h *harness) ended(want string) {
	h.t.Helper()
	select {
	case err := <-h.end:
		if err == nil || !strings.Contains(err.Error(), want) {
			h.t.Fatalf("the shell ended with %v, want %q", err, want)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatal("the shell goes on")
	}
}

// Nothing leaves before the write that it rests on is durable.
func TestWriteBeforeMessage(t *testing.T) {
	h := connect(t, nil)
	h.command(1, "put a")
	p := next[*vaultlink.Persist](h)
	if p.Seq != 1 || p.Index != 0 || len(p.Entries) != 1 || string(p.Entries[0]) != "a" || string(p.Checkpoint) != "size 1" ||
		len(p.Writes) != 2 || p.Writes[0].Name != "a" || p.Writes[0].Delete || !p.Writes[1].Delete {
		t.Fatalf("change %+v", p)
	}
	h.silent()
	// What a later step says rests on the earlier one's write, even when it
	// writes nothing itself.
	h.command(2, "get")
	h.send(&vaultlink.Frame{Bytes: []byte("f")})
	h.silent()
	if strings.Contains(h.logs.String(), "msg=put") {
		t.Fatal("a note was told before its time")
	}
	h.send(&vaultlink.Persisted{Seq: 1})
	if f := next[*vaultlink.Frame](h); f.Peer != 2 || string(f.Bytes) != "have a" {
		t.Fatalf("frame %+v", f)
	}
	if r := next[*vaultlink.Reply](h); r.ID != 1 || string(r.Body) != "put a" {
		t.Fatalf("reply %+v", r)
	}
	if r := next[*vaultlink.Reply](h); r.ID != 2 || string(r.Body) != "1" {
		t.Fatalf("reply %+v", r)
	}
	if f := next[*vaultlink.Frame](h); f.Peer != 3 || string(f.Bytes) != "f" {
		t.Fatalf("frame %+v", f)
	}
	if !strings.Contains(h.logs.String(), "msg=put name=a") {
		t.Fatal("the note is missing")
	}
}

// While one change is on its way, later ones gather and go together, in order.
func TestGroupCommit(t *testing.T) {
	h := connect(t, nil)
	h.command(1, "put a")
	next[*vaultlink.Persist](h)
	for i, name := range []string{"b", "c", "d"} {
		h.command(uint64(i+2), "put "+name)
	}
	h.silent()
	h.send(&vaultlink.Persisted{Seq: 1})
	next[*vaultlink.Frame](h)
	next[*vaultlink.Reply](h)
	p := next[*vaultlink.Persist](h)
	if p.Seq != 2 || p.Index != 1 || string(bytes.Join(p.Entries, nil)) != "bcd" || string(p.Checkpoint) != "size 4" || len(p.Writes) != 6 {
		t.Fatalf("change %+v", p)
	}
	h.silent()
	h.send(&vaultlink.Persisted{Seq: 2})
	for id := uint64(2); id <= 4; id++ {
		next[*vaultlink.Frame](h)
		if r := next[*vaultlink.Reply](h); r.ID != id {
			t.Fatalf("reply %+v, want %d", r, id)
		}
	}
}

// A group that would not fit into one message is split between steps.
func TestGroupIsBounded(t *testing.T) {
	h := connect(t, nil)
	h.command(1, "put a")
	next[*vaultlink.Persist](h)
	const each, n = 900 << 10, 5
	for i := range n {
		h.command(uint64(i+2), fmt.Sprint("big ", each))
	}
	h.silent()
	h.send(&vaultlink.Persisted{Seq: 1})
	next[*vaultlink.Frame](h)
	next[*vaultlink.Reply](h)
	for seq, done := uint64(2), 0; done < n; seq++ {
		p := next[*vaultlink.Persist](h)
		if len(p.Writes) == 0 || len(p.Writes)*each > maxChange {
			t.Fatalf("change %d with %d records of %d bytes", seq, len(p.Writes), each)
		}
		h.send(&vaultlink.Persisted{Seq: seq})
		for range p.Writes {
			next[*vaultlink.Reply](h)
			done++
		}
	}
}

// The device works while the disk does, but its answer waits for the disk.
func TestDeviceBesideDisk(t *testing.T) {
	h := connect(t, func(s *shell, _ *vault.Ready) { s.device.(*gate).pass = make(chan struct{}) })
	h.command(1, "sign x")
	next[*vaultlink.Persist](h)
	<-h.dev.started // although nothing is durable yet
	close(h.dev.pass)
	h.command(2, "get") // the shell is alive, but this step waits too
	h.silent()
	h.send(&vaultlink.Persisted{Seq: 1})
	if r := next[*vaultlink.Reply](h); r.ID != 2 {
		t.Fatalf("reply %+v", r)
	}
	if r := next[*vaultlink.Reply](h); r.ID != 1 || string(r.Body) != "signed with 64 bytes" {
		t.Fatalf("reply %+v", r)
	}
}

// The vault sees a device's answer only when everything before the question is
// durable, even when the question itself wrote nothing.
func TestAnswerWaitsForEarlierWrites(t *testing.T) {
	h := connect(t, nil)
	h.command(1, "put a")
	next[*vaultlink.Persist](h)
	h.command(2, "twice")
	<-h.dev.started
	h.silent()
	select {
	case <-h.dev.started:
		t.Fatal("the vault had the answer, and asked again, before its earlier write was durable")
	default:
	}
	h.send(&vaultlink.Persisted{Seq: 1})
	next[*vaultlink.Frame](h)
	next[*vaultlink.Reply](h)
	<-h.dev.started
	if r := next[*vaultlink.Reply](h); r.ID != 2 {
		t.Fatalf("reply %+v", r)
	}
}

// A device that fails fails its commands; the vault goes on.
func TestDeviceFails(t *testing.T) {
	h := connect(t, nil)
	h.dev.mu.Lock()
	h.dev.broken = hsm.Errorf(hsm.ErrUnavailable, "", "the token was removed")
	h.dev.mu.Unlock()
	for id := uint64(1); id <= 3; id++ {
		h.command(id, "sign x")
		h.send(&vaultlink.Persisted{Seq: next[*vaultlink.Persist](h).Seq})
		want := "device: the token was removed"
		if id == 3 {
			want = "signed with 64 bytes"
		}
		if r := next[*vaultlink.Reply](h); string(r.Body) != want {
			t.Fatalf("reply %q, want %q", r.Body, want)
		}
		if id == 2 {
			h.dev.mu.Lock()
			h.dev.broken = nil
			h.dev.mu.Unlock()
		}
	}
}

// A device that hangs holds up nothing but its own commands, and not the stop.
func TestDeviceHangs(t *testing.T) {
	h := connect(t, func(s *shell, _ *vault.Ready) { s.device.(*gate).pass = make(chan struct{}) })
	const n = 2 * maxDevice
	for i := range n {
		h.command(uint64(i+1), "sign x")
	}
	h.command(99, "get")
	for {
		h.node.SetReadDeadline(time.Now().Add(20 * time.Second))
		m, err := h.node.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := m.(*vaultlink.Persist); ok {
			h.send(&vaultlink.Persisted{Seq: p.Seq})
		}
		if r, ok := m.(*vaultlink.Reply); ok && r.ID == 99 {
			break
		}
	}
	h.stop()
	h.ended("context canceled")
}

func TestFirstReadyAndTicks(t *testing.T) {
	h := connect(t, func(_ *shell, first *vault.Ready) { first.Writes = []vault.Record{{Name: "boot", Value: []byte{1}}} })
	if p := next[*vaultlink.Persist](h); p.Writes[0].Name != "boot" {
		t.Fatalf("change %+v", p)
	}
	h.send(&vaultlink.Persisted{Seq: 1})
	h.silent()
	for range 1000 {
		h.send(&vaultlink.Frame{}) // empty: not even a tick
	}
	start := time.Now()
	time.Sleep(3 * tickEvery) // the clock is the subject here
	h.command(1, "get")       // after all frames
	next[*vaultlink.Reply](h)
	h.stop()
	h.ended("context canceled")
	if most := 20 + int(time.Since(start)/tickEvery); h.vm.ticks < 2 || h.vm.ticks > most {
		t.Fatalf("%d ticks, want one every %v, at most %d", h.vm.ticks, tickEvery, most)
	}
}

// A vault that asks for a tick gets it then, not with the next usual one.
func TestWake(t *testing.T) {
	h := connect(t, nil)
	late := 0
	const rounds = 9
	for i := range rounds {
		h.command(uint64(i+1), "wake 5")
		var ms int
		if _, err := fmt.Sscanf(string(next[*vaultlink.Reply](h).Body), "%d ms late", &ms); err != nil {
			t.Fatal(err)
		}
		if ms > 50 {
			late++ // as every one would be that waits for the usual tick
		}
	}
	if late > rounds/2 {
		t.Errorf("%d of %d ticks came more than 50 ms late", late, rounds)
	}
	// What lies beyond the next usual tick needs no alarm.
	h.command(rounds+1, "wake 130")
	next[*vaultlink.Reply](h)
}

// Whatever the node does wrong ends the shell with the reason, which the node is
// told too.
func TestNodeMisbehaves(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(h *harness)
		want string
	}{
		{"goes away", func(h *harness) { h.node.Close() }, "lost the node"},
		{"says why", func(h *harness) { h.send(&vaultlink.Bye{Text: "the disk is full"}) }, "the disk is full"},
		{"persisted out of nowhere", func(h *harness) { h.send(&vaultlink.Persisted{Seq: 1}) }, "change 1 is durable, which is not under way"},
		{"persisted too far", func(h *harness) {
			h.command(1, "put a")
			next[*vaultlink.Persist](h)
			h.send(&vaultlink.Persisted{Seq: 2})
		}, "change 2 is durable, which is not under way"},
		{"persisted twice", func(h *harness) {
			h.command(1, "put a")
			next[*vaultlink.Persist](h)
			h.send(&vaultlink.Persisted{Seq: 1})
			h.send(&vaultlink.Persisted{Seq: 1})
		}, "not under way"},
		{"loads again", func(h *harness) { h.send(&vaultlink.Load{Last: true}) }, "sent a load message"},
		{"plays the vault", func(h *harness) { h.send(&vaultlink.Reply{ID: 1}) }, "sent a reply message"},
		{"makes the vault fail", func(h *harness) { h.command(1, "fail") }, "the vault cannot go on: the disk was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := connect(t, nil)
			c.do(h)
			h.ended(c.want)
			for {
				h.node.SetReadDeadline(time.Now().Add(20 * time.Second))
				m, err := h.node.Receive()
				if err != nil {
					if c.name != "goes away" {
						t.Fatalf("the node was not told: %v", err)
					}
					return
				}
				if b, ok := m.(*vaultlink.Bye); ok {
					if b.Done || !strings.Contains(b.Text, c.want) {
						t.Fatalf("the node was told %+v, want %q", b, c.want)
					}
					return
				}
			}
		})
	}
}

// Garbage on the socket, before and after the node is there.
func TestGarbageOnSocket(t *testing.T) {
	junk := []string{"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x02\x01\x63", "\xff\xff\xff\xff", "\x00\x00\x00\x10abc", strings.Repeat("\x00", 4096)}
	h := listen(t, nil)
	raw := func(s string) {
		t.Helper()
		c, err := net.Dial("unix", h.path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(s))
		_ = c.Close()
	}
	for _, s := range junk {
		raw(s)
	}
	// Messages that are well made but not a node's first ones.
	for _, m := range []vaultlink.Message{
		&vaultlink.Frame{Bytes: []byte("x")}, &vaultlink.Hello{Vault: 1}, &vaultlink.Bye{Text: "no"},
		&vaultlink.Load{Records: []vaultlink.Record{{Name: "b"}}},
	} {
		c, err := vaultlink.Dial(t.Context(), h.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Send(m)
		_ = c.Send(&vaultlink.Load{Records: []vaultlink.Record{{Name: "a"}}, Last: true}) // descends after b
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got, err := c.Receive(); err != nil || vaultlink.Name(got) != "hello" {
			t.Fatalf("%v, %v", got, err)
		}
		if got, err := c.Receive(); err != nil || vaultlink.Name(got) != "bye" {
			t.Fatalf("after %s: %v, %v", vaultlink.Name(m), got, err)
		}
		c.Close()
	}
	h.dial()
	h.command(1, "get")
	next[*vaultlink.Reply](h)
	for _, s := range junk {
		raw(s)
	}
	second, err := vaultlink.Dial(t.Context(), h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if m, err := second.Receive(); err != nil || m.(*vaultlink.Bye).Text != "another node is connected to this vault" {
		t.Fatalf("the second node is told %v, %v", m, err)
	}
	h.command(2, "get")
	next[*vaultlink.Reply](h)
	h.node.Close()
	h.ended("lost the node")
	if _, err := os.Lstat(h.path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket is left: %v", err)
	}
}

// Garbage from the node itself ends the shell: what came before it is lost or
// not, and only a new start tells.
func TestGarbageFromNode(t *testing.T) {
	for garbage, want := range map[string]string{
		"\x00\x00\x00\x02\x01\x63":         "unknown message 99",
		"\xff\xff\xff\xff":                 "message of 4294967295 bytes announced, at most 4194304",
		"\x00\x00\x00\x0b\x01\x05\x00\x01": "unexpected EOF", // half a frame
	} {
		h := listen(t, nil)
		nc, err := net.Dial("unix", h.path)
		if err != nil {
			t.Fatal(err)
		}
		h.node = vaultlink.NewConn(nc)
		t.Cleanup(h.node.Close)
		next[*vaultlink.Hello](h)
		h.send(&vaultlink.Load{Last: true})
		h.command(1, "get")
		next[*vaultlink.Reply](h)
		if _, err := nc.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if err := nc.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		h.ended(want)
	}
}

func TestEnrolment(t *testing.T) {
	card := filepath.Join(t.TempDir(), "card")
	h := connect(t, func(s *shell, first *vault.Ready) {
		s.enrolls = true
		s.onCard = func(b []byte) error { return writeCard(card, b) }
		s.vault.(*counter).card = []byte("the card")
		first.Writes = []vault.Record{{Name: "root", Value: []byte{1}}}
	})
	next[*vaultlink.Persist](h)
	h.silent()
	if _, err := os.Stat(card); err == nil {
		t.Fatal("the card was written before the keys were durable")
	}
	h.send(&vaultlink.Persisted{Seq: 1})
	if b := next[*vaultlink.Bye](h); !b.Done {
		t.Fatalf("bye %+v", b)
	}
	if err := <-h.end; err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(card); err != nil || string(b) != "the card" {
		t.Fatalf("card %q, %v", b, err)
	}
	if err := writeCard(filepath.Join(card, "x"), nil); err == nil || !strings.Contains(err.Error(), "couldn't write the card") {
		t.Fatalf("an impossible path: %v", err)
	}
}

// TestNoGoroutineLeft counts what a whole life of a shell leaves behind.
func TestNoGoroutineLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		h := connect(t, func(s *shell, _ *vault.Ready) { s.device.(*gate).pass = make(chan struct{}) })
		h.command(1, "sign x")
		next[*vaultlink.Persist](h)
		h.stop()
		h.ended("context canceled")
		h.node.Close()
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}
