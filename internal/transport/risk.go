package transport

import (
	"context"
	"fmt"
	"log/slog"
)

// Risk is the client of the risk engine.
type Risk struct{ *client }

// ConnectRisk keeps a connection to the broker for the risk engine. It does not
// wait for the broker. screen answers one question after the other; an answer
// that takes longer than ackTimeout comes too late, and the coordinator holds
// the request as if there were no engine.
func ConnectRisk(cfg ClientConfig, cluster [32]byte, screen func(question []byte) ([]byte, error), log *slog.Logger) (*Risk, error) {
	c, err := serve(cfg, cluster, riskUser, subjects.risk, screen, "couldn't answer the coordinator's question", log)
	if err != nil {
		return nil, err
	}
	return &Risk{c}, nil
}

// Close ends the connection; screen does not run after it.
func (r *Risk) Close() { r.close() }

// Screen asks the risk engine. What is in question and answer is the business of
// the engine and the coordinator.
func (c *Coordinator) Screen(ctx context.Context, question []byte) ([]byte, error) {
	b, err := c.service(ctx, c.s.risk(), question)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the risk engine: %w", err)
	}
	return b, nil
}
