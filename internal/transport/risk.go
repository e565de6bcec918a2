package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/cofferhq/coffer/internal/wire"
)

// Risk is the client of the risk engine.
type Risk struct{ *client }

// ConnectRisk keeps a connection to the broker for the risk engine. It does not
// wait for the broker. screen answers one question after the other; an answer
// that takes longer than ackTimeout comes too late, and the coordinator holds
// the request as if there were no engine.
func ConnectRisk(cfg ClientConfig, cluster [32]byte, screen func(question []byte) ([]byte, error), log *slog.Logger) (*Risk, error) {
	c, err := connect(cfg, cluster, riskUser, log)
	if err != nil {
		return nil, err
	}
	err = c.subscribe(c.s.risk(), func(m *nats.Msg) {
		b, err := screen(m.Data)
		r := &ReadResult{Body: b}
		if err != nil {
			log.Warn("couldn't answer the coordinator's question", "err", err)
			r = &ReadResult{Failed: wire.CleanText("it failed: "+err.Error(), maxText)}
		}
		if m.Reply == "" {
			return
		}
		if err := m.Respond(r.Encode()); err != nil {
			log.Warn("couldn't answer the coordinator", "err", err)
		}
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return &Risk{c}, nil
}

// Close ends the connection; screen does not run after it.
func (r *Risk) Close() { r.close() }

// Screen asks the risk engine. What is in question and answer is the business of
// the engine and the coordinator.
func (c *Coordinator) Screen(ctx context.Context, question []byte) ([]byte, error) {
	b, err := c.request(ctx, c.s.risk(), question, ackTimeout)
	if errors.Is(err, ErrUnreachable) {
		return nil, fmt.Errorf("couldn't ask the risk engine: %w", errNoEngine)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the risk engine: %w", err)
	}
	r, err := DecodeReadResult(b)
	if err == nil && r.Failed != "" {
		err = errors.New(r.Failed)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the risk engine: %w", err)
	}
	return r.Body, nil
}

var errNoEngine = errors.New("it is not connected, or does not answer")
