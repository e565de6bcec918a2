package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

// Pricer asks a price source for a quote. price.Client implements it over the
// transport, tests in memory.
type Pricer interface {
	Quote(ctx context.Context, source string) (*request.PriceQuote, error)
}

const (
	priceTimeout = 3 * time.Second
	// priceEvery is how long a quote, or a source's silence, is good enough: a policy
	// that wants younger ones could hardly be met by people.
	priceEvery = 10 * time.Second
)

// prices are the sources' newest words.
type prices struct {
	mu     sync.Mutex // guards what follows
	quotes map[string]*request.PriceQuote
	asked  uint64 // unix ms
}

// passingPrices are what a policy says of prices that a later quote may change.
func passingPrices(code string) bool {
	return code == "policy.price" || code == "price.stale" || code == "price.disagree"
}

// priced is the bundle with fresh quotes of all sources that answer. Quotes are of no
// single request, so they are shown with it and not kept with it. One that no vault
// would take is left out: it would spoil the rest. A policy without money needs none.
func (c *Coordinator) priced(b *request.Bundle) *request.Bundle {
	gov := c.Governance()
	if c.opts.Pricer == nil || len(c.opts.Prices) == 0 || gov.Policy.Currency == "" {
		return b
	}
	quotes, ro := c.freshQuotes(), gov.Roster
	out := *b
	out.Prices = nil
	for _, name := range c.opts.Prices {
		q := quotes[name]
		if q == nil || !ro.May(name, identity.Quote) || ro.Verify(name, q.Key, q.Statement(), q.Signature) != nil || len(out.Prices) == request.MaxQuotes {
			continue
		}
		out.Prices = append(out.Prices, *q)
	}
	out.Sort()
	return &out
}

// freshQuotes asks all sources at once, at most every priceEvery.
func (c *Coordinator) freshQuotes() map[string]*request.PriceQuote {
	p := &c.prices
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := c.now(); p.quotes != nil && now >= p.asked && now-p.asked < uint64(priceEvery.Milliseconds()) {
		return p.quotes
	}
	ctx, cancel := context.WithTimeout(c.ctx, priceTimeout)
	defer cancel()
	got := make([]*request.PriceQuote, len(c.opts.Prices))
	var wg sync.WaitGroup
	for i, name := range c.opts.Prices {
		wg.Go(func() {
			q, err := c.opts.Pricer.Quote(ctx, name)
			switch {
			case err != nil:
				c.log.Warn("a price source does not quote", "source", name, "err", err)
			case q.Source != name:
				c.log.Warn("a price source quotes for another", "source", name, "for", q.Source)
			default:
				got[i] = q
			}
		})
	}
	wg.Wait()
	quotes := map[string]*request.PriceQuote{}
	for i, name := range c.opts.Prices {
		if got[i] != nil {
			quotes[name] = got[i]
		}
	}
	p.quotes, p.asked = quotes, c.now()
	return quotes
}
