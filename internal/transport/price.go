package transport

import (
	"context"
	"fmt"
	"log/slog"

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
	subject := func(s subjects) string { return s.price(source) }
	c, err := serve(cfg, cluster, priceUser+"-"+source, subject, func([]byte) ([]byte, error) { return quote() }, "couldn't quote prices", log)
	if err != nil {
		return nil, err
	}
	return &Price{c}, nil
}

// Close ends the connection; quote does not run after it.
func (p *Price) Close() { p.close() }

// Quote asks a price source. The answer is a signed quote, which is the business of
// vaults and policy.
func (c *Coordinator) Quote(ctx context.Context, source string) ([]byte, error) {
	err := wire.CheckName(source)
	var b []byte
	if err == nil {
		b, err = c.service(ctx, c.s.price(source), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't ask the price source %s: %w", source, err)
	}
	return b, nil
}
