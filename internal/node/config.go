package node

import (
	"errors"

	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/transport"
)

// Config is the file of `coffer node`.
type Config struct {
	Node struct {
		Dir    string `toml:"dir"`    // what the vault wants durable
		Socket string `toml:"socket"` // on which the vault listens
		// VaultUser started the vault (`coffer vault`); empty: this process's user.
		VaultUser string `toml:"vault-user"`
		// Tiles is the address on which the log is shown to C2SP clients; empty: it is not.
		Tiles string `toml:"tiles"`
		// Witnesses cosign the log's checkpoints: each "URL KEY".
		Witnesses []string `toml:"witnesses"`
	} `toml:"node"`
	Broker transport.ClientConfig `toml:"broker"`
}

// LoadConfig reads the file at path and the environment.
func LoadConfig(path string, environ []string) (*Config, error) {
	var c Config
	if err := config.Load(path, environ, &c); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *Config) check() error {
	switch {
	case c.Node.Dir == "":
		return errors.New("node.dir is empty: want the directory that keeps this vault's records and log")
	case c.Node.Socket == "":
		return errors.New("node.socket is empty: want the path on which the vault listens")
	case c.Broker.URL == "":
		return errors.New("broker.url is empty: want nats://HOST:PORT")
	case c.Broker.Credentials == "":
		return errors.New("broker.credentials is empty: want file:PATH of the seed of this node's user")
	}
	_, err := c.checkWitnesses()
	return err
}
