package price

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
)

// Source signs quotes.
type Source struct {
	key      *keyfile.Key
	currency string
	valid    time.Duration
	every    time.Duration
	assets   []feed

	mu     sync.Mutex // guards what follows
	newest *request.PriceQuote
}

// feed is where the price of one asset comes from.
type feed struct {
	asset string
	ask   func(ctx context.Context) (string, error) // a decimal number
}

// Quote is a signed quote, at most cfg.Every old. Every asset must have a price: half
// a quote would let a policy hold what another source could have answered.
func (s *Source) Quote(ctx context.Context, now time.Time) (*request.PriceQuote, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := uint64(now.UnixMilli())
	if s.newest != nil && s.newest.Time <= ms && ms-s.newest.Time < uint64(s.every.Milliseconds()) {
		return s.newest, nil
	}
	q := &request.PriceQuote{Source: s.key.Principal, Currency: s.currency, Time: ms, Expires: ms + uint64(s.valid.Milliseconds()), Key: s.key.Public()}
	for _, f := range s.assets {
		text, err := f.ask(ctx)
		if err != nil {
			return nil, fmt.Errorf("couldn't get the price of %s: %w", f.asset, err)
		}
		p, err := ParsePrice(text)
		if err != nil {
			return nil, fmt.Errorf("couldn't get the price of %s: %w", f.asset, err)
		}
		q.Prices = append(q.Prices, request.AssetPrice{Asset: f.asset, Price: p})
	}
	slices.SortFunc(q.Prices, func(a, b request.AssetPrice) int { return cmp.Compare(a.Asset, b.Asset) })
	q.Signature = s.key.Sign(q.Statement())
	if _, err := request.DecodePriceQuote(q.Encode()); err != nil {
		return nil, err
	}
	s.newest = q
	return q, nil
}

// ParsePrice reads a decimal number with at most request.PriceDecimals decimals,
// exactly: "2500", "0.000000012". More digits that are zeros are let pass; others are
// refused, since rounding would be a guess about which way is safe.
func ParsePrice(s string) (p chain.Amount, err error) {
	whole, frac, dot := strings.Cut(s, ".")
	digits := func(x string) bool {
		return x != "" && strings.Trim(x, "0123456789") == ""
	}
	if len(s) > 80 || !digits(whole) || dot && !digits(frac) {
		return p, fmt.Errorf("%.80q is no price: want a decimal number such as 2500.25", s)
	}
	if frac = strings.TrimRight(frac, "0"); len(frac) > request.PriceDecimals {
		return p, fmt.Errorf("%.80q has %d decimals, at most %d", s, len(frac), request.PriceDecimals)
	}
	if err := p.SetFromDecimal(strings.TrimLeft(whole+frac+strings.Repeat("0", request.PriceDecimals-len(frac)), "0")); err != nil {
		return p, fmt.Errorf("%.80q is no price above 0 that fits: %w", s, err)
	}
	return p, nil
}
