package risk

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

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
	engine, err := New(g.Hash(), key, &cfg.Checks, cfg.Risk.Valid)
	if err != nil {
		return err
	}
	client, err := transport.ConnectRisk(cfg.Broker, g.Hash(), func(b []byte) ([]byte, error) { return screen(engine, b, log) }, log)
	if err != nil {
		return err
	}
	log.Info("risk engine is ready", "engine", key.Principal)
	<-ctx.Done()
	client.Close()
	return nil
}

func screen(e *Engine, question []byte, log *slog.Logger) ([]byte, error) {
	q, err := DecodeQuestion(question)
	if err != nil {
		return nil, err
	}
	v, err := e.Judge(q, time.Now())
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
