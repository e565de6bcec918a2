package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/cofferhq/coffer/internal/wire"
)

// Price is the client of a price source.
type Price struct{ *client }

// ConnectPrice keeps a connection to the broker for the price source of that name. It
// does not wait for the broker. quote answers one question after the other.
func ConnectPrice(cfg ClientConfig, cluster [32]byte, source string, quote func() ([]byte, error), log *slog.Logger) (*Price, error) {
	if err := wire.CheckName(source); err != nil {
		return nil, err
	}
	c, err := connect(cfg, cluster, priceUser+"-"+source, log)
	if err != nil {
		return nil, err
	}
	err = c.subscribe(c.s.price(source), func(m *nats.Msg) {
		b, err := quote()
		r := &ReadResult{Body: b}
		if err != nil {
			log.Warn("couldn't quote prices", "err", err)
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
	return &Price{c}, nil
}

// Close ends the connection; quote does not run after it.
func (p *Price) Close() { p.close() }

// Quote asks a price source. The answer is a signed quote, which is the business of
// vaults and policy.
func (c *Coordinator) Quote(ctx context.Context, source string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("couldn't ask the price source %s: %w", source, err)
	}
	if err := wire.CheckName(source); err != nil {
		return fail(err)
	}
	b, err := c.request(ctx, c.s.price(source), nil, ackTimeout)
	if errors.Is(err, ErrUnreachable) {
		return fail(errNoEngine)
	}
	if err != nil {
		return fail(err)
	}
	r, err := DecodeReadResult(b)
	if err == nil && r.Failed != "" {
		err = errors.New(r.Failed)
	}
	if err != nil {
		return fail(err)
	}
	return r.Body, nil
}
