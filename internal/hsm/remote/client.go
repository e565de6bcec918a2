package remote

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

const (
	// maxCalls bounds the calls under way; more wait for their turn.
	maxCalls = 16
	// callTimeout bounds one call. When it fires the call fails with
	// ErrUnavailable: the device hangs, and a signing session would wait for ever.
	callTimeout = 30 * time.Second
	// coldTimeout is it for what may wait for the operator at the helper.
	coldTimeout = MaxWait + callTimeout
)

// Client is the device behind a socket. When the helper goes away calls fail with
// hsm.ErrUnavailable; when it is back they work again, provided that it serves the
// same keys.
type Client struct {
	at    Endpoint
	id    identity
	slots chan struct{}

	mu     sync.Mutex // guards what follows
	idle   []net.Conn
	seal   map[sealName]hsm.SealKey // what was asked for before
	closed bool
}

type sealName struct {
	class hsm.Class
	epoch uint64
}

var (
	_ hsm.HSM      = (*Client)(nil)
	_ hsm.Sealer   = (*Client)(nil)
	_ hsm.Ratchet  = (*Client)(nil)
	_ hsm.Counter  = (*Client)(nil)
	_ hsm.Attester = (*Client)(nil)
)

// Endpoint is where a helper is.
type Endpoint struct {
	Path string // of its socket
	UID  int    // of the user that it runs as; another one is refused
	// Connect makes a connection, for a process that may not do that itself; nil:
	// the path is dialed. Errors of kind hsm.ErrConfig are the operator's to mend.
	Connect func(context.Context) (*net.UnixConn, error)
}

// Dial connects to a helper of this user and learns its device's keys, which the
// client then holds it to.
func Dial(ctx context.Context, path string) (*Client, error) {
	return DialEndpoint(ctx, Endpoint{Path: path, UID: os.Geteuid()})
}

// Connection dials the path and refuses another user at the other end.
func (e Endpoint) Connection(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", e.Path)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.UnixConn)
	if err := checkPeer(c, e.UID); err != nil {
		_ = c.Close()
		return nil, hsm.Errorf(hsm.ErrConfig, "", "refused the socket %s: %w", e.Path, err)
	}
	return c, nil
}

// DialEndpoint is Dial for a helper that runs as another user, or to which
// somebody else connects.
func DialEndpoint(ctx context.Context, at Endpoint) (*Client, error) {
	if at.Connect == nil {
		at.Connect = at.Connection
	}
	c := &Client{at: at, slots: make(chan struct{}, maxCalls), seal: make(map[sealName]hsm.SealKey)}
	conn, id, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.id = id
	c.idle = []net.Conn{conn}
	return c, nil
}

func (c *Client) gone(err error) *hsm.Error {
	return hsm.Errorf(hsm.ErrUnavailable, "start the helper again (coffer hsm); nothing was lost",
		"the HSM helper at %s does not answer: %w", c.at.Path, err)
}

// connect opens a connection and asks who is there.
func (c *Client) connect(ctx context.Context) (net.Conn, identity, error) {
	conn, err := c.at.Connect(ctx)
	if errors.Is(err, hsm.ErrConfig) {
		return nil, identity{}, err
	}
	if err != nil {
		return nil, identity{}, c.gone(err)
	}
	p, err := c.roundTrip(ctx, conn, request{op: opHello})
	if err == nil {
		err = p.err()
	}
	if err != nil {
		conn.Close()
		return nil, identity{}, err
	}
	return conn, p.id, nil
}

// roundTrip sends one request and reads its reply, which may be the device's
// error. An error of its own means that the connection is of no further use.
func (c *Client) roundTrip(ctx context.Context, conn net.Conn, q request) (reply, error) {
	wait := callTimeout
	if q.op == opSign || q.op == opUnwrap {
		wait = coldTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return reply{}, c.gone(err)
	}
	// readFrame sets a deadline of its own after the first byte, so a call that
	// is cancelled in mid-frame ends within frameTimeout.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	body := q.encode()
	err := writeFrame(conn, body)
	secret.Wipe(body) // it may hold a data key
	if err != nil {
		return reply{}, c.gone(errors.Join(context.Cause(ctx), err))
	}
	frame, err := readFrame(conn, maxReply)
	if err != nil {
		return reply{}, c.gone(errors.Join(context.Cause(ctx), err))
	}
	defer secret.Wipe(frame)
	p, err := decodeReply(frame)
	if err != nil {
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "", "the HSM helper at %s: %w", c.at.Path, err)
	}
	if p.kind == 0 && p.op != q.op {
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "", "the HSM helper at %s answered operation %d, asked was %d", c.at.Path, p.op, q.op)
	}
	return p, nil
}

// call makes one request. A pooled connection may have died with an earlier
// helper, so a failure on one is tried once more on a fresh connection. What may not
// be repeated begins with a fresh one.
func (c *Client) call(ctx context.Context, q request) (reply, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return reply{}, c.gone(ctx.Err())
	}
	if err := c.ready(ctx); err != nil {
		return reply{}, err
	}
	if conn := c.pooled(); conn != nil && q.op.repeatable() {
		p, err := c.use(ctx, conn, q)
		if err == nil {
			return p, p.err()
		}
		if ctx.Err() != nil {
			return reply{}, err
		}
	} else if conn != nil {
		c.keep(conn)
	}
	conn, id, err := c.connect(ctx)
	if err != nil {
		return reply{}, err
	}
	if id.keys != c.id.keys || id.approval != c.id.approval {
		conn.Close()
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "give the helper back its device, or restart the vault to take the new one",
			"the HSM helper at %s now serves another device: serial %q, was %q", c.at.Path, id.info.Serial, c.id.info.Serial)
	}
	p, err := c.use(ctx, conn, q)
	if err == nil {
		err = p.err()
	}
	return p, err
}

// use makes one request on a connection and keeps it if it is still good.
func (c *Client) use(ctx context.Context, conn net.Conn, q request) (reply, error) {
	p, err := c.roundTrip(ctx, conn, q)
	if err != nil {
		conn.Close()
	} else {
		c.keep(conn)
	}
	return p, err
}

// keep gives a connection back.
func (c *Client) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}

// pooled takes an idle connection, or nil when there is none.
func (c *Client) pooled() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	conn := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return conn
}

func (c *Client) ready(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return hsm.Errorf(hsm.ErrUnavailable, "", "the connection to the HSM helper at %s is closed", c.at.Path)
	}
	if err := ctx.Err(); err != nil {
		return c.gone(err)
	}
	return nil
}

// Close closes the connections. A call under way ends its own.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, conn := range c.idle {
		errs = append(errs, conn.Close())
	}
	c.idle = nil
	return errors.Join(errs...)
}
