package transport

import (
	"container/list"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/cofferhq/coffer/internal/wire"
)

// Handlers is what a node does with what arrives. Each is called by one
// goroutine at a time and must not block: frames and commands each wait behind
// the one before. The bytes belong to the callee.
type Handlers struct {
	Frame func(frame []byte)
	// Command starts a command, whose reply it hands to reply, once, from any
	// goroutine. An error says why the vault does not get it.
	Command func(body []byte, reply func(body []byte)) error
	Read    func(q *Read) *ReadResult
}

// Node is the client of a vault's node.
type Node struct {
	*client
	vault uint16
	h     Handlers

	mu    sync.Mutex // guards the fields below
	calls map[callID]*list.Element
	order *list.List // of *callRecord, oldest first
	kept  int        // bytes of replies
}

// callRecord remembers a call, so that a repeated one is not started twice and a
// lost reply can be sent again.
type callRecord struct {
	id    callID
	done  bool
	reply []byte
}

// What a node remembers of calls. A call that was forgotten while the
// coordinator still asks for it ends as lost.
const (
	maxCalls      = 1024
	maxReplyBytes = 32 << 20
)

// ConnectNode keeps a connection to the broker for the node of a vault. It does
// not wait for the broker.
func ConnectNode(cfg ClientConfig, cluster [32]byte, vault uint16, h Handlers, log *slog.Logger) (*Node, error) {
	c, err := connect(cfg, cluster, fmt.Sprintf("node-%d", vault), log)
	if err != nil {
		return nil, err
	}
	n := &Node{client: c, vault: vault, h: h, calls: map[callID]*list.Element{}, order: list.New()}
	for leaf, handle := range map[string]nats.MsgHandler{
		leafFrame:   func(m *nats.Msg) { h.Frame(m.Data) },
		leafCommand: n.command,
		leafNode:    n.read,
	} {
		if err := c.subscribe(c.s.of(vault, leaf), handle); err != nil {
			c.close()
			return nil, err
		}
	}
	return n, nil
}

// Close ends the connection; no handler runs after it.
func (n *Node) Close() { n.close() }

// SendFrame sends a sealed frame to another vault. It may get lost.
func (n *Node) SendFrame(to uint16, frame []byte) error {
	if to == 0 || to == n.vault {
		return fmt.Errorf("couldn't send frame: to vault %d from vault %d", to, n.vault)
	}
	if err := n.nc.Publish(n.s.of(to, leafFrame), frame); err != nil {
		return fmt.Errorf("couldn't send frame to vault %d: %w", to, err)
	}
	return nil
}

// SendEvent tells the coordinator what changed.
func (n *Node) SendEvent(st *NodeStatus) error {
	if err := n.nc.Publish(n.s.of(n.vault, leafEvent), st.Encode()); err != nil {
		return fmt.Errorf("couldn't send event: %w", err)
	}
	return nil
}

func (n *Node) command(m *nats.Msg) {
	c, err := decodeCall(m.Data)
	if err != nil {
		n.log.Warn("dropped a command that is none", "err", err)
		n.respond(m, (&ack{State: ackRefused, Text: wire.CleanText(err.Error(), maxText)}).encode())
		return
	}
	a := &ack{ID: c.ID, State: ackAccepted}
	rec, known := n.remember(c)
	switch {
	case !known && c.Again:
		a.State, a.Text = ackUnknown, "the node does not know this command: it never came, or the node was started since"
	case !known:
		if err := n.h.Command(c.Body, func(body []byte) { n.reply(rec, body) }); err != nil {
			n.forget(c.ID)
			a.State, a.Text = ackRefused, wire.CleanText(err.Error(), maxText)
		}
	}
	n.respond(m, a.encode())
	if known {
		n.mu.Lock()
		done, reply := rec.done, rec.reply
		n.mu.Unlock()
		if done {
			n.publishReply(c.ID, reply)
		}
	}
}

// remember returns the record of a call, a new one unless it is a question.
func (n *Node) remember(c *call) (rec *callRecord, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.calls[c.ID]; ok {
		return e.Value.(*callRecord), true
	}
	if c.Again {
		return nil, false
	}
	rec = &callRecord{id: c.ID}
	n.calls[c.ID] = n.order.PushBack(rec)
	n.shrink()
	return rec, false
}

// shrink forgets the oldest calls above the bounds. n.mu is held.
func (n *Node) shrink() {
	for n.order.Len() > maxCalls || n.kept > maxReplyBytes && n.order.Len() > 1 {
		old := n.order.Remove(n.order.Front()).(*callRecord)
		delete(n.calls, old.id)
		n.kept -= len(old.reply)
	}
}

func (n *Node) forget(id callID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.calls[id]; ok {
		n.kept -= len(n.order.Remove(e).(*callRecord).reply)
		delete(n.calls, id)
	}
}

func (n *Node) reply(rec *callRecord, body []byte) {
	n.mu.Lock()
	if rec.done {
		n.mu.Unlock()
		return
	}
	rec.done = true
	if _, ok := n.calls[rec.id]; ok {
		rec.reply = body
		n.kept += len(body)
		n.shrink()
	}
	n.mu.Unlock()
	n.publishReply(rec.id, body)
}

func (n *Node) publishReply(id callID, body []byte) {
	if err := n.nc.Publish(n.s.of(n.vault, leafReply), (&answer{id, body}).encode()); err != nil {
		n.log.Warn("couldn't send a reply; the coordinator will ask again", "err", err)
	}
}

func (n *Node) read(m *nats.Msg) {
	q, err := DecodeRead(m.Data)
	if err != nil {
		n.log.Warn("dropped a read that is none", "err", err)
		n.respond(m, (&ReadResult{Failed: wire.CleanText(err.Error(), maxText)}).Encode())
		return
	}
	n.respond(m, n.h.Read(q).Encode())
}

func (n *Node) respond(m *nats.Msg, b []byte) {
	if m.Reply == "" {
		return
	}
	if err := m.Respond(b); err != nil {
		n.log.Warn("couldn't answer a request", "err", err)
	}
}
