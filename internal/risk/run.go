package risk

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/transport"
)

// Run is the engine's process: it answers the coordinator until ctx ends. It
// waits for a broker that is not there yet, or not any more.
func Run(ctx context.Context, cfg *Config, log *slog.Logger) error {
	b, err := os.ReadFile(cfg.Risk.Genesis)
	if err != nil {
		return fmt.Errorf("couldn't read the genesis: %w", err)
	}
	g, err := governance.DecodeGenesis(b)
	if err != nil {
		return err
	}
	key, err := keyfile.Read(cfg.Risk.Key)
	if err != nil {
		return err
	}
	defer key.Destroy()
	engine, err := Load(g.Hash(), key, cfg)
	if err != nil {
		return err
	}
	client, err := transport.ConnectRisk(cfg.Broker, g.Hash(), func(b []byte) ([]byte, error) { return screen(ctx, engine, b, log) }, log)
	if err != nil {
		return err
	}
	log.Info("risk engine is ready", "engine", key.Principal)
	<-ctx.Done()
	client.Close()
	return nil
}

// Load makes the engine that a configuration describes.
func Load(cluster [32]byte, key *keyfile.Key, cfg *Config) (*Engine, error) {
	e, err := New(cluster, key, &cfg.Checks, cfg.Risk.Valid)
	if err != nil {
		return nil, err
	}
	if e.lists, err = newLists(cfg.Lists); err != nil {
		return nil, err
	}
	for i, c := range cfg.Providers {
		p, err := newProvider(c, cfg.Checks.Timeout)
		if err != nil {
			return nil, fmt.Errorf("providers[%d].%w", i, err)
		}
		e.providers = append(e.providers, p)
	}
	e.simulators = map[string]Simulator{}
	for name, node := range cfg.Simulate {
		id, err := evm.ParseChain(name)
		if err != nil {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		c, err := rpc.New(node, id)
		if err != nil {
			return nil, fmt.Errorf("simulate.%s: %w", name, err)
		}
		e.simulators[name] = c
	}
	return e, nil
}

func screen(ctx context.Context, e *Engine, question []byte, log *slog.Logger) ([]byte, error) {
	q, err := DecodeQuestion(question)
	if err != nil {
		return nil, err
	}
	v, err := e.Judge(ctx, q, time.Now())
	if err != nil {
		return nil, err
	}
	log.Info("judged request", "id", fmt.Sprintf("%x", v.Request[:8]), "outcome", v.Outcome.String(), "score", v.Score, "reasons", v.Reasons)
	return v.Encode(), nil
}

// Client asks the engine on behalf of the coordinator.
type Client struct{ Transport *transport.Coordinator }

// Screen asks for a verdict.
func (c *Client) Screen(ctx context.Context, q *Question) (*request.RiskVerdict, error) {
	b, err := c.Transport.Screen(ctx, q.Encode())
	if err != nil {
		return nil, err
	}
	return request.DecodeRiskVerdict(b)
}
