package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/secret"
)

// ClientConfig is the [broker] section of a node's configuration. The
// coordinator uses it for a broker that it does not embed.
type ClientConfig struct {
	URL         string    `toml:"url"`         // nats://HOST:PORT, or tls://HOST:PORT
	Credentials string    `toml:"credentials"` // secret URI of the user's seed, SU…
	TLS         TLSConfig `toml:"tls"`
}

// Check refuses a configuration that names no broker, or no seed of whose user.
func (c *ClientConfig) Check(whose string) error {
	switch {
	case c.URL == "":
		return errors.New("broker.url is empty: want nats://HOST:PORT")
	case c.Credentials == "":
		return fmt.Errorf("broker.credentials is empty: want file:PATH of the seed of %s's user", whose)
	}
	return nil
}

// Times of the client.
const (
	// ackTimeout is how long a node has for the answer to a request. A node that
	// takes longer is treated as one that is away.
	ackTimeout = 5 * time.Second
	// connectTimeout bounds one attempt to reach the broker; the next one follows.
	connectTimeout = 3 * time.Second
	// reconnectLongest bounds the wait between attempts: a longer one delays the
	// work after the broker is back.
	reconnectLongest = 2 * time.Second
	// closeTimeout is how long Close waits for what was sent to leave.
	closeTimeout = 2 * time.Second
)

// pendingBytes bounds what waits for a subscription's handler; more is dropped.
const pendingBytes = 64 << 20

// client is a connection that is kept up until close.
type client struct {
	nc     *nats.Conn
	s      subjects
	log    *slog.Logger
	lost   atomic.Uint64 // messages dropped because the handler was too slow
	closed chan struct{}

	gate    sync.RWMutex // held for reading by handlers; guards stopped
	stopped bool
}

// connect returns at once; the connection may come up later and be lost and come
// up again any number of times.
func connect(cfg ClientConfig, cluster [32]byte, user string, log *slog.Logger) (*client, error) {
	seed, err := config.Secret(cfg.Credentials)
	if err != nil {
		return nil, fmt.Errorf("broker credentials: %w", err)
	}
	defer secret.Wipe(seed)
	kp, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("broker credentials: want a user's seed (SU…): %w", err)
	}
	public, err := kp.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return nil, errors.New("broker credentials: want a user's seed (SU…), not another role's")
	}
	c := &client{s: subjectsOf(cluster), log: log, closed: make(chan struct{})}
	opts := []nats.Option{
		nats.Name("coffer " + user),
		nats.Nkey(public, kp.Sign),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // the broker may learn of this user later
		nats.Timeout(connectTimeout), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
		nats.CustomInboxPrefix(c.s.inbox(user)),
		nats.SkipHostLookup(),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("connected to broker", "url", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to broker again", "url", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // else this side closed
				log.Warn("lost the broker", "err", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("couldn't reach the broker", "err", err) }),
		nats.ErrorHandler(c.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	if cfg.TLS != (TLSConfig{}) {
		conf, err := cfg.TLS.client()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(conf))
	}
	if c.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		kp.Wipe()
		return nil, fmt.Errorf("couldn't use broker %q: %w", cfg.URL, err)
	}
	return c, nil
}

// reconnectDelay doubles from 50 ms, with a tenth of chance in it, so that nodes
// don't come back in step.
func reconnectDelay(attempt int) time.Duration {
	d := reconnectLongest
	if attempt < 6 {
		d = min(d, 50*time.Millisecond<<attempt)
	}
	return d + rand.N(d/10) //nolint:gosec // not a secret
}

func (c *client) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		n := c.lost.Add(1)
		c.log.Warn("messages come faster than they are taken; some were dropped", "times", n)
		return
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	c.log.Warn("broker refused", "subject", subject, "err", err)
}

func (c *client) subscribe(subject string, handle nats.MsgHandler) error {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		c.gate.RLock()
		defer c.gate.RUnlock()
		if !c.stopped {
			handle(m)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, pendingBytes)
	}
	if err != nil {
		return fmt.Errorf("couldn't subscribe to %s: %w", subject, err)
	}
	return nil
}

// close sends what is waiting and waits until no handler runs any more.
func (c *client) close() {
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(closeTimeout) // unsent messages are lost, as any may be
	}
	c.nc.Close()
	<-c.closed
	c.gate.Lock()
	c.stopped = true
	c.gate.Unlock()
}
