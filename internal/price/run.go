package price

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

// Run is the source's process: it answers the coordinator until ctx ends. It waits
// for a broker that is not there yet, or not any more.
func Run(ctx context.Context, cfg *Config, log *slog.Logger) error {
	b, err := os.ReadFile(cfg.Price.Genesis)
	if err != nil {
		return fmt.Errorf("couldn't read the genesis: %w", err)
	}
	g, err := governance.DecodeGenesis(b)
	if err != nil {
		return err
	}
	key, err := keyfile.Read(cfg.Price.Key)
	if err != nil {
		return err
	}
	defer key.Destroy()
	source, err := New(key, cfg)
	if err != nil {
		return err
	}
	client, err := transport.ConnectPrice(cfg.Broker, g.Hash(), key.Principal, func() ([]byte, error) {
		q, err := source.Quote(ctx, time.Now())
		if err != nil {
			return nil, err
		}
		return q.Encode(), nil
	}, log)
	if err != nil {
		return err
	}
	log.Info("price source is ready", "source", key.Principal, "currency", cfg.Price.Currency, "assets", len(cfg.Assets))
	<-ctx.Done()
	client.Close()
	return nil
}

// Client asks sources on behalf of the coordinator.
type Client struct{ Transport *transport.Coordinator }

// Quote asks one source.
func (c *Client) Quote(ctx context.Context, source string) (*request.PriceQuote, error) {
	b, err := c.Transport.Quote(ctx, source)
	if err != nil {
		return nil, err
	}
	return request.DecodePriceQuote(b)
}
