package remote

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

const (
	// maxCalls bounds the calls under way; more wait for their turn.
	maxCalls = 16
	// callTimeout bounds one call. When it fires the call fails with
	// ErrUnavailable: the device hangs, and a signing session would wait for ever.
	callTimeout = 30 * time.Second
)

// Client is the device behind a socket. When the helper goes away calls fail with
// hsm.ErrUnavailable; when it is back they work again, provided that it serves the
// same keys.
type Client struct {
	path  string
	id    identity
	seal  *ecdh.PublicKey
	slots chan struct{}

	mu     sync.Mutex // guards what follows
	idle   []net.Conn
	closed bool
}

var (
	_ hsm.HSM       = (*Client)(nil)
	_ hsm.Exchanger = (*Client)(nil)
)

// Dial connects to the helper and learns its device's keys, which the client then
// holds it to.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{path: path, slots: make(chan struct{}, maxCalls)}
	conn, id, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.id = id
	if c.seal, err = ecdh.P256().NewPublicKey(id.seal); err != nil {
		conn.Close()
		return nil, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the seal key: %w", err)
	}
	c.idle = []net.Conn{conn}
	return c, nil
}

func (c *Client) gone(err error) *hsm.Error {
	return hsm.Errorf(hsm.ErrUnavailable, "start the helper again (coffer hsm); nothing was lost",
		"the HSM helper at %s does not answer: %w", c.path, err)
}

// connect opens a connection and asks who is there.
func (c *Client) connect(ctx context.Context) (net.Conn, identity, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, identity{}, c.gone(err)
	}
	if err := checkPeer(conn.(*net.UnixConn)); err != nil {
		conn.Close()
		return nil, identity{}, hsm.Errorf(hsm.ErrConfig, "", "refused the socket %s: %w", c.path, err)
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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return reply{}, c.gone(err)
	}
	// readFrame sets a deadline of its own after the first byte, so a call that
	// is cancelled in mid-frame ends within frameTimeout.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := writeFrame(conn, q.encode()); err != nil {
		return reply{}, c.gone(errors.Join(context.Cause(ctx), err))
	}
	frame, err := readFrame(conn, maxReply)
	if err != nil {
		return reply{}, c.gone(errors.Join(context.Cause(ctx), err))
	}
	defer secret.Wipe(frame)
	p, err := decodeReply(frame)
	if err != nil {
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "", "the HSM helper at %s: %w", c.path, err)
	}
	if p.kind == 0 && p.op != q.op {
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "", "the HSM helper at %s answered operation %d, asked was %d", c.path, p.op, q.op)
	}
	return p, nil
}

// call makes one request. A pooled connection may have died with an earlier
// helper, so a failure on one is tried once more on a fresh connection: every
// request may be repeated.
func (c *Client) call(ctx context.Context, q request) (reply, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return reply{}, c.gone(ctx.Err())
	}
	conn, err := c.pooled()
	if err != nil {
		return reply{}, err
	}
	if conn != nil {
		p, err := c.use(ctx, conn, q)
		if err == nil {
			return p, p.err()
		}
		if ctx.Err() != nil {
			return reply{}, err
		}
	}
	conn, id, err := c.connect(ctx)
	if err != nil {
		return reply{}, err
	}
	if !bytes.Equal(id.seal, c.id.seal) || !slices.Equal(id.keys, c.id.keys) {
		conn.Close()
		return reply{}, hsm.Errorf(hsm.ErrUnavailable, "give the helper back its device, or restart the vault to take the new one",
			"the HSM helper at %s now serves another device: serial %q, was %q", c.path, id.info.Serial, c.id.info.Serial)
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.closed {
		conn.Close()
	} else {
		c.idle = append(c.idle, conn)
	}
	return p, err
}

// pooled takes an idle connection, or nil when there is none.
func (c *Client) pooled() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "the connection to the HSM helper at %s is closed", c.path)
	}
	n := len(c.idle)
	if n == 0 {
		return nil, nil
	}
	conn := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return conn, nil
}

func (c *Client) ready(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return hsm.Errorf(hsm.ErrUnavailable, "", "the connection to the HSM helper at %s is closed", c.path)
	}
	if err := ctx.Err(); err != nil {
		return c.gone(err)
	}
	return nil
}

// Info is what the helper said when it was dialed.
func (c *Client) Info() hsm.Info { return c.id.info }

// Public returns the key that the helper named when it was dialed.
func (c *Client) Public(ctx context.Context, role hsm.Role) (signature.PublicKey, error) {
	if err := c.ready(ctx); err != nil {
		return signature.PublicKey{}, err
	}
	if err := role.Check(); err != nil {
		return signature.PublicKey{}, err
	}
	return c.id.keys[slices.Index(hsm.Roles(), role)], nil
}

// Sign has the helper sign, and checks what it signed.
func (c *Client) Sign(ctx context.Context, role hsm.Role, st signature.Statement) (signature.Signature, error) {
	key, err := c.Public(ctx, role)
	if err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	p, err := c.call(ctx, request{op: opSign, role: role, st: st})
	if err != nil {
		return signature.Signature{}, err
	}
	if err := signature.Verify(key, st, p.sig); err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "the HSM's signature as %v is wrong: %w", role, err)
	}
	return p.sig, nil
}

// SealKey returns the public half of the seal key.
func (c *Client) SealKey(ctx context.Context) (*ecdh.PublicKey, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	return c.seal, nil
}

// Exchange has the helper do one Diffie-Hellman.
func (c *Client) Exchange(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	p, err := c.call(ctx, request{op: opExchange, peer: peer.Bytes()})
	return p.shared, err
}

// Seal seals here: only unsealing takes the device.
func (c *Client) Seal(ctx context.Context, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	return hsm.SealTo(c.seal, epoch, plaintext, aad)
}

// Unseal opens a blob with one exchange at the device.
func (c *Client) Unseal(ctx context.Context, blob, aad []byte) ([]byte, error) {
	return hsm.OpenWith(ctx, c, blob, aad)
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
