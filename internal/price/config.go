package price

import (
	"errors"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/transport"
)

// Config is the file of `coffer price`.
type Config struct {
	Price struct {
		Genesis  string        `toml:"genesis"`  // the cluster's genesis file
		Key      string        `toml:"key"`      // path of the source's key file (coffer user create)
		Currency string        `toml:"currency"` // "USD"
		Valid    time.Duration `toml:"valid"`    // how long a quote counts
		Every    time.Duration `toml:"every"`    // feeds are asked at most so often
		File     string        `toml:"file"`     // JSON: {"CAIP-19": "2500.25"}, read at every quote
		Timeout  time.Duration `toml:"timeout"`  // of one question over HTTP
	} `toml:"price"`
	Broker transport.ClientConfig `toml:"broker"`
	Assets []Asset                `toml:"assets"`
}

// Asset is one asset and where its price comes from: url and field, or the file.
type Asset struct {
	Asset string `toml:"asset"` // CAIP-19
	URL   string `toml:"url"`   // answers JSON; https, or http on this machine; empty: the file
	Field string `toml:"field"` // where the price stands in it: "data.amount"
}

// Default is what a configuration file starts from.
func Default() *Config {
	c := new(Config)
	c.Price.Currency, c.Price.Valid, c.Price.Every, c.Price.Timeout = "USD", 2*time.Minute, 10*time.Second, 4*time.Second
	return c
}

// LoadConfig reads the file at path and the environment.
func LoadConfig(path string, environ []string) (*Config, error) {
	c := Default()
	if err := config.Load(path, environ, c); err != nil {
		return nil, err
	}
	return c, c.Check()
}

// Check refuses what the source could not run with.
func (c *Config) Check() error {
	p := &c.Price
	switch {
	case p.Genesis == "":
		return errors.New("price.genesis is empty: want the cluster's genesis file")
	case p.Key == "":
		return errors.New("price.key is empty: want the path of the source's key file")
	case p.Valid < 10*time.Second || p.Valid.Milliseconds() > request.MaxQuoteLifetime:
		return fmt.Errorf("price.valid is %v: want 10s to 24h", p.Valid)
	case p.Every < 0 || p.Every >= p.Valid:
		return fmt.Errorf("price.every is %v: want less than price.valid, %v", p.Every, p.Valid)
	case p.Timeout <= 0 || p.Timeout > time.Minute:
		return fmt.Errorf("price.timeout is %v: want up to 1m", p.Timeout)
	}
	if err := c.Broker.Check("the source"); err != nil {
		return err
	}
	return c.checkAssets()
}

func (c *Config) checkAssets() error {
	if err := request.CheckCurrency(c.Price.Currency); err != nil {
		return fmt.Errorf("price.currency: %w", err)
	}
	if len(c.Assets) == 0 || len(c.Assets) > request.MaxQuotedAssets {
		return fmt.Errorf("assets: %d, want 1 to %d [[assets]]", len(c.Assets), request.MaxQuotedAssets)
	}
	seen := map[string]bool{}
	for i, a := range c.Assets {
		if _, _, _, err := chain.ParseAsset(a.Asset); err != nil {
			return fmt.Errorf("assets[%d].asset: %w", i, err)
		}
		if seen[a.Asset] {
			return fmt.Errorf("assets[%d].asset: %s stands here twice", i, a.Asset)
		}
		seen[a.Asset] = true
		switch {
		case a.URL == "" && c.Price.File == "":
			return fmt.Errorf("assets[%d]: no url, and no price.file: want one of them", i)
		case a.URL == "" && a.Field != "", a.URL != "" && a.Field == "":
			return fmt.Errorf("assets[%d]: want url and field together", i)
		case a.URL != "":
			if err := config.CheckService(a.URL); err != nil {
				return fmt.Errorf("assets[%d].url: %w", i, err)
			}
		}
	}
	return nil
}

// New makes the source that a configuration describes.
func New(key *keyfile.Key, c *Config) (*Source, error) {
	s := &Source{key: key, currency: c.Price.Currency, valid: c.Price.Valid, every: c.Price.Every}
	if err := c.checkAssets(); err != nil {
		return nil, err
	}
	client := newClient(c.Price.Timeout)
	for _, a := range c.Assets {
		f := feed{asset: a.Asset}
		if a.URL != "" {
			f.ask = client.field(a.URL, a.Field)
		} else {
			f.ask = fromFile(c.Price.File, a.Asset)
		}
		s.assets = append(s.assets, f)
	}
	return s, nil
}
