package request

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Bounds of a PriceQuote.
const (
	MaxQuotedAssets = 64
	MaxAssetID      = 256 // bytes of a CAIP-19 id
	MaxCurrency     = 8   // bytes
	// MaxQuoteLifetime bounds Expires − Time: nobody can sign a price for next year.
	MaxQuoteLifetime = 24 * 3600 * 1000
	// PriceDecimals is how many decimals of the currency a price has. A price is for
	// one whole unit of the asset (one ETH, not one wei), in 10^-15 of the currency,
	// so that the price of an asset worth a millionth of a cent still has digits.
	PriceDecimals = 15
)

// PriceQuote is what a price source says that assets are worth. It has no authority
// of its own: policy says which sources count, how many must agree, and how old
// their word may be.
type PriceQuote struct {
	Source    string // the source's principal
	Currency  string // "USD": 3 to 8 characters of A-Z and 0-9
	Prices    []AssetPrice
	Time      uint64
	Expires   uint64
	Key       signature.PublicKey
	Signature signature.Signature
}

// AssetPrice is the price of one whole unit of an asset, in 10^-15 of the currency.
type AssetPrice struct {
	Asset string // CAIP-19
	Price chain.Amount
}

const quoteVersion = 1

func (p *PriceQuote) body(w *wire.Writer) *wire.Writer {
	w.String(p.Source).String(p.Currency).Count(len(p.Prices))
	for i := range p.Prices {
		w.String(p.Prices[i].Asset)
		chain.WriteAmount(w, &p.Prices[i].Price)
	}
	return w.Uint64(p.Time).Uint64(p.Expires)
}

// Statement is what the source signs.
func (p *PriceQuote) Statement() signature.Statement {
	return signature.Statement{Domain: "coffer/price/v1", Body: p.body(wire.NewWriter(statementVersion)).Bytes()}
}

// Encode is the canonical encoding.
func (p *PriceQuote) Encode() []byte {
	w := p.body(wire.NewWriter(quoteVersion))
	signature.WriteKey(w, p.Key)
	signature.WriteSignature(w, p.Signature)
	return w.Bytes()
}

// DecodePriceQuote is the inverse of Encode.
func DecodePriceQuote(b []byte) (*PriceQuote, error) {
	r := wire.NewReader(b, quoteVersion)
	p := &PriceQuote{Source: r.Name("source"), Currency: r.String("currency", MaxCurrency)}
	for range r.Count("prices", MaxQuotedAssets, 36) {
		p.Prices = append(p.Prices, AssetPrice{r.String("asset", MaxAssetID), chain.ReadAmount(r, "price")})
	}
	p.Time, p.Expires = r.Uint64("time"), r.Uint64("expires")
	if r.Err() == nil {
		if err := p.check(); err != nil {
			r.Fail(err)
		}
	}
	p.Key, p.Signature = signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode price quote: %w", err)
	}
	return p, nil
}

// check is everything that can be said without knowing the source.
func (p *PriceQuote) check() error {
	if err := CheckCurrency(p.Currency); err != nil {
		return fmt.Errorf("currency: %w", err)
	}
	if len(p.Prices) == 0 {
		return fmt.Errorf("prices: none, want 1 to %d", MaxQuotedAssets)
	}
	for i := range p.Prices {
		a := &p.Prices[i]
		if _, _, _, err := chain.ParseAsset(a.Asset); err != nil {
			return fmt.Errorf("prices[%d]: %w", i, err)
		}
		if i > 0 && p.Prices[i-1].Asset >= a.Asset {
			return fmt.Errorf("prices[%d]: %s comes after %s, want different assets, sorted", i, a.Asset, p.Prices[i-1].Asset)
		}
		if a.Price.IsZero() {
			return fmt.Errorf("prices[%d]: %s costs nothing, want a price above 0, or no word about it", i, a.Asset)
		}
	}
	switch {
	case p.Expires <= p.Time:
		return fmt.Errorf("expires: %s is not after time %s", Instant(p.Expires), Instant(p.Time))
	case p.Expires-p.Time > MaxQuoteLifetime:
		return fmt.Errorf("expires: %s is more than a day after time %s", Instant(p.Expires), Instant(p.Time))
	}
	return nil
}

// CheckCurrency says whether s can name a currency.
func CheckCurrency(s string) error {
	ok := len(s) >= 3 && len(s) <= MaxCurrency
	for i := 0; ok && i < len(s); i++ {
		ok = 'A' <= s[i] && s[i] <= 'Z' || '0' <= s[i] && s[i] <= '9'
	}
	if !ok {
		return fmt.Errorf("%q, want 3 to %d characters of A-Z and 0-9, such as USD", wire.CleanText(s, 32), MaxCurrency)
	}
	return nil
}

// Price returns what one whole unit of the asset is worth.
func (p *PriceQuote) Price(asset string) (chain.Amount, bool) {
	for i := range p.Prices {
		if p.Prices[i].Asset == asset {
			return p.Prices[i].Price, true
		}
	}
	return chain.Amount{}, false
}
