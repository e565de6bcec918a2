package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Errors of commands and reads.
var (
	// ErrUnreachable: the node is not connected to the broker, or does not answer.
	ErrUnreachable = errors.New("its node is not reachable")
	// ErrRefused: the node answered that the vault does not get the command.
	ErrRefused = errors.New("its node refused")
	// ErrLost: the node does not know the command any more. The vault may have
	// acted on it; what it did stands in its log.
	ErrLost = errors.New("its node lost the command")
)

// askAgain is how often an open command is asked for. A longer time delays the
// news that a node was restarted under a command.
const askAgain = 2 * time.Second

// callTimeout is how long a node has for its acknowledgement of a command, which
// it gives before the vault has even read it. When it fires, the call or the
// acknowledgement got lost with a connection, and the coordinator asks again.
const callTimeout = time.Second

// maxMissed is how often in a row a node may be away when it is asked for an
// open command. Fewer would give commands up over a short loss of the broker.
const maxMissed = 3

// Coordinator is the coordinator's client.
type Coordinator struct {
	*client
	rand io.Reader

	mu      sync.Mutex // guards the fields below
	waiting map[callID]waiter
}

type waiter struct {
	vault uint16
	reply chan []byte // of capacity 1
}

// ConnectCoordinator keeps a connection to the broker. event, when not nil, is
// called with each node's news by one goroutine. Ids of commands are drawn from
// rand.
func ConnectCoordinator(cfg ClientConfig, cluster [32]byte, rand io.Reader, event func(*NodeStatus), log *slog.Logger) (*Coordinator, error) {
	c, err := connect(cfg, cluster, coordinatorUser, log)
	if err != nil {
		return nil, err
	}
	co := &Coordinator{client: c, rand: rand, waiting: map[callID]waiter{}}
	handlers := map[string]nats.MsgHandler{leafReply: co.answered}
	if event != nil {
		handlers[leafEvent] = func(m *nats.Msg) {
			st, err := DecodeNodeStatus(m.Data)
			if err == nil && co.sender(m.Subject) != st.Vault {
				err = fmt.Errorf("it speaks for vault %d", st.Vault)
			}
			if err != nil {
				log.Warn("dropped an event that is none", "subject", m.Subject, "err", err)
				return
			}
			event(st)
		}
	}
	for leaf, handle := range handlers {
		if err := c.subscribe(c.s.all(leaf), handle); err != nil {
			c.close()
			return nil, err
		}
	}
	return co, nil
}

// Close ends the connection; no handler runs after it. Commands under way end
// with their contexts.
func (c *Coordinator) Close() { c.close() }

// sender is the vault whose subject it is. The broker lets only its node publish
// there.
func (c *Coordinator) sender(subject string) uint16 {
	rest, ok := strings.CutPrefix(subject, string(c.s)+".vault.")
	id, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(id, 10, 16)
	if !ok || err != nil {
		return 0
	}
	return uint16(n)
}

func (c *Coordinator) answered(m *nats.Msg) {
	a, err := decodeAnswer(m.Data)
	if err != nil {
		c.log.Warn("dropped a reply that is none", "subject", m.Subject, "err", err)
		return
	}
	c.mu.Lock()
	w, ok := c.waiting[a.ID]
	ok = ok && w.vault == c.sender(m.Subject)
	c.mu.Unlock()
	if !ok {
		return // repeated, late, or in another vault's name
	}
	select {
	case w.reply <- a.Body:
	default:
	}
}

// Command sends an encoded cluster.Command to a vault and waits for the encoded
// cluster.Reply, for minutes if need be. It is given to the vault at most once:
// an error means that it was never given (ErrUnreachable or ErrRefused when
// nothing else is wrapped), or that it isn't known what became of it (ErrLost, a
// context's error).
func (c *Coordinator) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	call := &call{Body: body}
	if len(body) > maxBody {
		return nil, fmt.Errorf("couldn't send command to vault %d: %d bytes, at most %d", vault, len(body), maxBody)
	}
	if _, err := io.ReadFull(c.rand, call.ID[:]); err != nil {
		return nil, fmt.Errorf("couldn't draw the id of a command: %w", err)
	}
	w := waiter{vault, make(chan []byte, 1)}
	c.mu.Lock()
	c.waiting[call.ID] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, call.ID)
		c.mu.Unlock()
	}()
	for missed := 0; ; {
		pause := askAgain
		switch err := c.ask(ctx, vault, call); {
		case err == nil:
			missed = 0
		case call.Again && errors.Is(err, ErrUnreachable):
			if c.nc.IsConnected() {
				missed++
			}
			if missed == maxMissed {
				return nil, fmt.Errorf("couldn't command vault %d: %w: %w", vault, ErrLost, err)
			}
		case errors.Is(err, errTimeout): // it may have come; only the node knows
			pause = 0
		default:
			return nil, fmt.Errorf("couldn't command vault %d: %w", vault, err)
		}
		call.Again, call.Body = true, nil
		select {
		case reply := <-w.reply:
			return reply, nil
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("no reply of vault %d: %w", vault, ctx.Err())
		}
	}
}

// ask sends a call and reads its acknowledgement.
func (c *Coordinator) ask(ctx context.Context, vault uint16, call *call) error {
	b, err := c.request(ctx, c.s.of(vault, leafCommand), call.encode(), callTimeout)
	if err != nil {
		return err
	}
	a, err := decodeAck(b)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case a.ID != call.ID:
		return fmt.Errorf("%w: it acknowledged another command", ErrRefused)
	case a.State == ackUnknown:
		return fmt.Errorf("%w: %s", ErrLost, a.Text)
	case a.State == ackRefused:
		return fmt.Errorf("%w: %s", ErrRefused, a.Text)
	}
	return nil
}

// errTimeout is an ErrUnreachable in which the request may have arrived.
var errTimeout = fmt.Errorf("%w: no answer", ErrUnreachable)

func (c *Coordinator) request(ctx context.Context, subject string, b []byte, timeout time.Duration) ([]byte, error) {
	if !c.nc.IsConnected() {
		return nil, fmt.Errorf("%w: the coordinator itself is not connected to the broker", ErrUnreachable)
	}
	rctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m, err := c.nc.RequestWithContext(rctx, subject, b)
	switch {
	case err == nil:
		return m.Data, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return nil, errTimeout
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Status asks a node how it is.
func (c *Coordinator) Status(ctx context.Context, vault uint16) (*NodeStatus, error) {
	b, err := c.read(ctx, vault, &Read{Kind: ReadStatus})
	if err != nil {
		return nil, err
	}
	st, err := DecodeNodeStatus(b)
	if err == nil && st.Vault != vault {
		err = fmt.Errorf("it speaks for vault %d", st.Vault)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read from the node of vault %d: %w", vault, err)
	}
	return st, nil
}

// Log asks a node for a part of its log's file.
func (c *Coordinator) Log(ctx context.Context, vault uint16, offset uint64) (*LogPart, error) {
	b, err := c.read(ctx, vault, &Read{Kind: ReadLog, Offset: offset})
	if err != nil {
		return nil, err
	}
	p, err := DecodeLogPart(b)
	if err == nil && (p.Total < offset || uint64(len(p.Bytes)) > p.Total-offset || len(p.Bytes) == 0 && p.Total > offset) {
		err = fmt.Errorf("%d bytes at offset %d of %d", len(p.Bytes), offset, p.Total)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read from the node of vault %d: %w", vault, err)
	}
	return p, nil
}

// Cosigned asks a node for the newest checkpoint of its log that others have cosigned
// (audit.CosignedCheckpoint). It verifies nothing.
func (c *Coordinator) Cosigned(ctx context.Context, vault uint16) ([]byte, error) {
	return c.read(ctx, vault, &Read{Kind: ReadCosigned})
}

func (c *Coordinator) read(ctx context.Context, vault uint16, q *Read) ([]byte, error) {
	b, err := c.request(ctx, c.s.of(vault, leafNode), q.Encode(), ackTimeout)
	if err != nil {
		return nil, fmt.Errorf("couldn't read from the node of vault %d: %w", vault, err)
	}
	r, err := DecodeReadResult(b)
	if err == nil && r.Failed != "" {
		err = errors.New(r.Failed)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read from the node of vault %d: %w", vault, err)
	}
	return r.Body, nil
}
