package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/api"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/price"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/transport"
)

// Addresses say where the process listens.
type Addresses struct {
	API    string // http://HOST:PORT
	Broker string // nats://HOST:PORT
}

// Times of the API's server.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second // a body; long polls write later
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 3 * time.Second // requests under way have so long to end
)

// Run is the coordinator's process. It calls ready, when not nil, once it serves,
// and returns when ctx ends (nil) or the API fails.
func Run(ctx context.Context, cfg *Config, log *slog.Logger, ready func(Addresses)) (err error) {
	g, err := readGenesis(cfg.Coordinator.Genesis)
	if err != nil {
		return err
	}
	token, err := readToken(cfg.API.TokenFile)
	if err != nil {
		return err
	}
	chains, err := openChains(cfg.Chains)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		return fmt.Errorf("couldn't listen for the API: %w", err)
	}
	defer listener.Close()

	broker, stopBroker, err := startBroker(cfg, g.Hash(), log)
	if err != nil {
		return err
	}
	defer stopBroker()
	where := Addresses{API: "http://" + listener.Addr().String(), Broker: broker.URL}

	changed := make(chan struct{}, 1)
	vaults, err := transport.ConnectCoordinator(broker, g.Hash(), rand.Reader, func(*transport.NodeStatus) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}, log)
	if err != nil {
		return err
	}
	defer vaults.Close()

	opts := coordinator.Options{Genesis: g, Database: cfg.Coordinator.Database, Vaults: vaults, Chains: chains, Log: log}
	if cfg.Coordinator.Risk != "" {
		opts.Screener = &risk.Client{Transport: vaults}
	}
	if len(cfg.Coordinator.Prices) > 0 {
		opts.Pricer, opts.Prices = &price.Client{Transport: vaults}, cfg.Coordinator.Prices
	}
	co, err := coordinator.New(opts)
	if err != nil {
		return err
	}
	defer co.Close()
	return serve(ctx, listener, api.New(api.Options{Coordinator: co, Logs: vaults, Token: token, OIDC: cfg.OIDC, Version: Version, Log: log}), func() {
		log.Info("coordinator serves", "api", where.API, "broker", where.Broker, "cluster", hex.EncodeToString(hash8(g)))
		if ready != nil {
			ready(where)
		}
	}, func(ctx context.Context) {
		for {
			select {
			case <-changed:
				co.VaultsChanged()
			case <-ctx.Done():
				return
			}
		}
	})
}

// startBroker starts the embedded broker, unless another one is configured, and
// returns how to sign on.
func startBroker(cfg *Config, cluster [32]byte, log *slog.Logger) (c transport.ClientConfig, stop func(), err error) {
	c = transport.ClientConfig{URL: cfg.External.URL, TLS: cfg.External.TLS, Credentials: cfg.Coordinator.Credentials}
	if cfg.Broker.Listen == "" {
		return c, func() {}, nil
	}
	server, err := transport.StartServer(cfg.Broker, cluster, log)
	if err != nil {
		return c, nil, err
	}
	if c.URL, c.TLS = server.URL(), cfg.Broker.TLS; c.TLS.CA == "" {
		// Clients need no certificates; its own broker is known by that file.
		c.TLS = transport.TLSConfig{CA: cfg.Broker.TLS.Certificate}
	}
	return c, server.Close, nil
}

// Version is the API's, in its OpenAPI description.
const Version = "0.1.0"

func hash8(g *governance.Genesis) []byte {
	h := g.Hash()
	return h[:8]
}

// serve runs the HTTP server and news until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler, ready func(), news func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: api.MaxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends long polls
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		news(ctx)
	}()
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	ready()
	var err error
	select {
	case err = <-failed:
		cancel()
	case <-ctx.Done():
		stop, done := context.WithTimeout(context.Background(), stopTimeout)
		defer done()
		if e := srv.Shutdown(stop); e != nil {
			_ = srv.Close()
		}
		<-failed
	}
	<-told
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the API failed: %w", err)
	}
	return nil
}

func readGenesis(path string) (*governance.Genesis, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the genesis: %w", err)
	}
	return governance.DecodeGenesis(b)
}

// readToken reads the token of reads, or makes one.
func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return "", err
		}
		token := hex.EncodeToString(raw)
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("couldn't write the API's token: %w", err)
		}
		return token, nil
	}
	if err != nil {
		return "", fmt.Errorf("couldn't read the API's token: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("couldn't read the API's token: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("the API's token %s has mode %04o: other users may read it, want 0600", path, perm)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 32 {
		return "", fmt.Errorf("the API's token %s has %d characters, want 32 or more; without the file one is made", path, len(token))
	}
	return token, nil
}

func openChains(cfg []Chain) ([]coordinator.Chain, error) {
	var out []coordinator.Chain
	for i, x := range cfg {
		id, err := evm.ParseChain(x.Chain)
		if err != nil {
			return nil, fmt.Errorf("chains[%d].chain: %w", i, err)
		}
		node, err := rpc.New(x.RPC, id)
		if err != nil {
			return nil, fmt.Errorf("chains[%d].rpc: %w", i, err)
		}
		out = append(out, coordinator.Chain{ID: x.Chain, Node: node, Confirmations: x.Confirmations})
	}
	return out, nil
}
