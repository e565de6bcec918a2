package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/cofferhq/coffer/internal/wire"
)

// ServerConfig is the [broker] section of the coordinator's configuration.
type ServerConfig struct {
	Listen      string            `toml:"listen"`      // HOST:PORT; port 0 takes a free one
	Coordinator string            `toml:"coordinator"` // public key of the coordinator's user, U…
	Risk        string            `toml:"risk"`        // the same of the risk engine; empty: there is none
	Prices      map[string]string `toml:"prices"`      // price source's principal → public key of its user
	Nodes       map[string]string `toml:"nodes"`       // vault id → public key of its node's user
	TLS         TLSConfig         `toml:"tls"`
}

// TLSConfig names PEM files. A server needs certificate and key; with ca it asks
// its clients for certificates. A client needs ca, and a certificate if the
// server asks for one.
type TLSConfig struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	CA          string `toml:"ca"`
}

// NewUser makes a user of the broker: the seed, which is its secret, and the
// public key for the server's configuration.
func NewUser(rand io.Reader) (seed []byte, public string, err error) {
	var raw [32]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return nil, "", fmt.Errorf("couldn't draw a broker key: %w", err)
	}
	kp, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, raw[:])
	if err != nil {
		return nil, "", fmt.Errorf("couldn't make a broker key: %w", err)
	}
	if public, err = kp.PublicKey(); err != nil {
		return nil, "", fmt.Errorf("couldn't make a broker key: %w", err)
	}
	seed, err = kp.Seed()
	return seed, public, err
}

// Server is the embedded broker.
type Server struct{ ns *server.Server }

// Timeouts and bounds of the broker.
const (
	startTimeout  = 10 * time.Second // no free port, usually: the start is given up
	writeDeadline = 10 * time.Second // a client that reads nothing for so long is cut off
	authTimeout   = 5                // seconds; a connection that doesn't sign on is cut off
	pingInterval  = 5 * time.Second  // two missed: the peer is gone
	maxPending    = 64 << 20         // bytes that may wait for one client
	maxConns      = 64               // one for each vault's node and the coordinator, and room
)

// StartServer starts the broker for one cluster.
func StartServer(cfg ServerConfig, cluster [32]byte, log *slog.Logger) (*Server, error) {
	opts, err := serverOptions(cfg, cluster)
	if err != nil {
		return nil, fmt.Errorf("couldn't configure the broker: %w", err)
	}
	return startServer(opts, log)
}

func startServer(opts *server.Options, log *slog.Logger) (*Server, error) {
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("couldn't configure the broker: %w", err)
	}
	ns.SetLoggerV2(&serverLog{log}, false, false, false)
	// A port that is taken is only a line in the NATS server's log, and a wait of
	// startTimeout: trying it first gives the reason at once.
	if opts.Port != server.RANDOM_PORT {
		probe, err := net.Listen("tcp", net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)))
		if err != nil {
			return nil, fmt.Errorf("couldn't start the broker: %w", err)
		}
		_ = probe.Close()
	}
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		ns.Shutdown()
		return nil, fmt.Errorf("couldn't start the broker on %s: not ready after %v", opts.Host, startTimeout)
	}
	return &Server{ns}, nil
}

// URL is where the broker listens.
func (s *Server) URL() string { return s.ns.ClientURL() }

// Close stops the broker and waits for it.
func (s *Server) Close() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}

func serverOptions(cfg ServerConfig, cluster [32]byte) (*server.Options, error) {
	host, portText, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %q: want HOST:PORT", cfg.Listen)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen %q: port %q, want 0 to 65535", cfg.Listen, portText)
	}
	opts := &server.Options{
		Host: host, Port: int(port), ServerName: "coffer",
		NoSigs: true, MaxPayload: MaxPayload, MaxPending: maxPending, MaxConn: maxConns,
		WriteDeadline: writeDeadline, AuthTimeout: authTimeout, PingInterval: pingInterval, MaxPingsOut: 2,
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if cfg.TLS == (TLSConfig{}) {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("listen %q: without [broker.tls] only a loopback address is allowed, such as 127.0.0.1:4222", cfg.Listen)
		}
	} else if opts.TLSConfig, err = cfg.TLS.server(); err != nil {
		return nil, err
	} else {
		opts.TLS, opts.TLSTimeout = true, authTimeout
		opts.TLSVerify = opts.TLSConfig.ClientAuth == tls.RequireAndVerifyClientCert
	}
	opts.Nkeys, err = users(cfg, subjectsOf(cluster))
	return opts, err
}

// users gives each user the subjects of its role and no other.
func users(cfg ServerConfig, s subjects) ([]*server.NkeyUser, error) {
	seen := map[string]string{}
	user := func(name, public string, p *server.Permissions) (*server.NkeyUser, error) {
		if !nkeys.IsValidPublicUserKey(public) {
			return nil, fmt.Errorf("%s: key %q, want a public user key (U…)", name, public)
		}
		if other, dup := seen[public]; dup {
			return nil, fmt.Errorf("%s: has the key of %s; every user needs its own", name, other)
		}
		seen[public] = name
		return &server.NkeyUser{Nkey: public, Permissions: p}, nil
	}
	coordinator, err := user("coordinator", cfg.Coordinator, &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{s.all(leafCommand), s.all(leafNode), s.risk(), s.prices()}},
		Subscribe: &server.SubjectPermission{Allow: []string{s.all(leafReply), s.all(leafEvent), s.inboxes(coordinatorUser)}},
	})
	if err != nil {
		return nil, err
	}
	out := []*server.NkeyUser{coordinator}
	// One answer to each request that arrives, soon.
	answers := &server.ResponsePermission{MaxMsgs: 1, Expires: ackTimeout}
	if cfg.Risk != "" {
		risk, err := user("risk", cfg.Risk, &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: []string{">"}},
			Subscribe: &server.SubjectPermission{Allow: []string{s.risk()}},
			Response:  answers,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, risk)
	}
	subject := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Prices)) {
		if err := wire.CheckName(name); err != nil {
			return nil, fmt.Errorf("prices: %w", err)
		}
		if other, taken := subject[s.price(name)]; taken {
			return nil, fmt.Errorf("prices: the names %s and %s differ in dots and dashes only", other, name)
		}
		subject[s.price(name)] = name
		price, err := user("price source "+name, cfg.Prices[name], &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: []string{">"}},
			Subscribe: &server.SubjectPermission{Allow: []string{s.price(name)}},
			Response:  answers,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, price)
	}
	ids := make(map[uint16]string, len(cfg.Nodes))
	for text, public := range cfg.Nodes {
		id, err := strconv.ParseUint(text, 10, 16)
		if err != nil || id == 0 || strconv.FormatUint(id, 10) != text {
			return nil, fmt.Errorf("nodes: vault id %q, want 1 to 65535", text)
		}
		ids[uint16(id)] = public
	}
	for id, public := range ids {
		var frames []string
		for other := range ids {
			if other != id {
				frames = append(frames, s.of(other, leafFrame))
			}
		}
		node, err := user(fmt.Sprintf("node of vault %d", id), public, &server.Permissions{
			Publish: &server.SubjectPermission{Allow: append(frames, s.of(id, leafReply), s.of(id, leafEvent))},
			Subscribe: &server.SubjectPermission{Allow: []string{
				s.of(id, leafFrame), s.of(id, leafCommand), s.of(id, leafNode),
			}},
			Response: answers,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, node)
	}
	return out, nil
}

func (c TLSConfig) server() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: couldn't load certificate %q and key %q: %w", c.Certificate, c.Key, err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	if c.CA != "" {
		if out.ClientCAs, err = c.pool(); err != nil {
			return nil, err
		}
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, nil
}

func (c TLSConfig) client() (*tls.Config, error) {
	pool, err := c.pool()
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	if c.Certificate != "" || c.Key != "" {
		cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("tls: couldn't load certificate %q and key %q: %w", c.Certificate, c.Key, err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

func (c TLSConfig) pool() (*x509.CertPool, error) {
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls: couldn't read ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("tls: ca " + c.CA + " holds no PEM certificate")
	}
	return pool, nil
}

// serverLog hands the broker's lines on. They hold what clients sent, so they
// are values, never the message.
type serverLog struct{ log *slog.Logger }

func (l *serverLog) line(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "broker", "line", fmt.Sprintf(format, v...))
}

func (l *serverLog) Noticef(f string, v ...any) { l.line(slog.LevelDebug, f, v) }
func (l *serverLog) Warnf(f string, v ...any)   { l.line(slog.LevelWarn, f, v) }
func (l *serverLog) Errorf(f string, v ...any)  { l.line(slog.LevelWarn, f, v) }
func (l *serverLog) Fatalf(f string, v ...any)  { l.line(slog.LevelError, f, v) }
func (l *serverLog) Debugf(string, ...any)      {}
func (l *serverLog) Tracef(string, ...any)      {}
