package process

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/cofferhq/coffer/internal/api"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/transport"
)

// Config is the file of `coffer coordinator`.
type Config struct {
	Coordinator struct {
		Genesis     string   `toml:"genesis"`     // the cluster's genesis file
		Database    string   `toml:"database"`    // SQLite; made at the first start
		Credentials string   `toml:"credentials"` // secret URI of the coordinator's user of the broker, SU…
		Risk        string   `toml:"risk"`        // the engine's principal in the roster; empty: requests are not screened
		Prices      []string `toml:"prices"`      // the price sources' principals in the roster; empty: requests carry no prices
	} `toml:"coordinator"`
	API struct {
		Listen    string `toml:"listen"`     // loopback HOST:PORT; port 0 takes a free one
		TokenFile string `toml:"token_file"` // who knows its content may read; made at the first start
	} `toml:"api"`
	OIDC api.OIDC `toml:"oidc"` // whose identity tokens permit reading; empty: none
	// Broker is the embedded broker. With an empty listen there is none, and
	// External says where it is.
	Broker   transport.ServerConfig `toml:"broker"`
	External struct {
		URL string              `toml:"url"`
		TLS transport.TLSConfig `toml:"tls"`
	} `toml:"external_broker"`
	Chains []Chain `toml:"chains"`
}

// Chain is a chain and the node to reach it by.
type Chain struct {
	Chain         string `toml:"chain"`         // CAIP-2: eip155:1
	RPC           string `toml:"rpc"`           // http://HOST:PORT
	Confirmations uint64 `toml:"confirmations"` // blocks until a transaction is final, its own included; 0 is 1
}

// LoadConfig reads the file at path and the environment.
func LoadConfig(path string, environ []string) (*Config, error) {
	var c Config
	if err := config.Load(path, environ, &c); err != nil {
		return nil, err
	}
	return &c, c.Check()
}

// Check refuses what the coordinator could not start with.
func (c *Config) Check() error {
	for _, f := range []struct{ value, name, want string }{
		{c.Coordinator.Genesis, "coordinator.genesis", "the cluster's genesis file"},
		{c.Coordinator.Database, "coordinator.database", "a path for the coordinator's SQLite file"},
		{c.Coordinator.Credentials, "coordinator.credentials", "file:PATH of the seed of the coordinator's user of the broker"},
		{c.API.Listen, "api.listen", "a loopback address such as 127.0.0.1:8420"},
		{c.API.TokenFile, "api.token_file", "a path for the file with the token that permits reads"},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty: want %s", f.name, f.want)
		}
	}
	if err := c.OIDC.Check(); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.API.Listen)
	if err != nil {
		return fmt.Errorf("api.listen %q: want HOST:PORT", c.API.Listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("api.listen %q: want a loopback address such as 127.0.0.1:8420; put a proxy with TLS in front of it to reach it from elsewhere", c.API.Listen)
	}
	if (c.Broker.Listen == "") == (c.External.URL == "") {
		return errors.New("broker.listen, external_broker.url: want exactly one of them: the broker is embedded, or elsewhere")
	}
	return c.checkChains()
}

func (c *Config) checkChains() error {
	if len(c.Chains) == 0 {
		return errors.New("chains is empty: want at least one [[chains]] with chain and rpc")
	}
	seen := map[string]bool{}
	for i, x := range c.Chains {
		if _, err := evm.ParseChain(x.Chain); err != nil {
			return fmt.Errorf("chains[%d].chain: %w", i, err)
		}
		if seen[x.Chain] {
			return fmt.Errorf("chains[%d].chain: %s is there twice", i, x.Chain)
		}
		seen[x.Chain] = true
		if !strings.HasPrefix(x.RPC, "http://") && !strings.HasPrefix(x.RPC, "https://") {
			return fmt.Errorf("chains[%d].rpc %q: want http://HOST:PORT or https://…", i, x.RPC)
		}
	}
	return nil
}
