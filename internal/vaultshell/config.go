package vaultshell

import (
	"errors"
	"fmt"
	"os"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/wire"
)

// Config is the file of `coffer vault`.
type Config struct {
	Vault struct {
		ID      uint16 `toml:"id"`      // this party's number, 1 to 65535
		Name    string `toml:"name"`    // this party's name
		Socket  string `toml:"socket"`  // on which this vault listens for its node
		Genesis string `toml:"genesis"` // the cluster's genesis file
		Enrol   bool   `toml:"enrol"`   // make keys and card, and stop
		Rotate  bool   `toml:"rotate"`  // make the disk ready for another device, and stop
		Card    string `toml:"card"`    // enrol, rotate: where the card is written

		User     string `toml:"user"`      // of the confined process; empty: the one who starts it. Another takes root
		NodeUser string `toml:"node-user"` // who runs the node; empty: the one who starts this
		Strict   bool   `toml:"strict"`    // do not start where a part of the isolation cannot be applied
	} `toml:"vault"`
	HSM struct {
		Socket string `toml:"socket"` // of the HSM's helper
		User   string `toml:"user"`   // who runs the helper; empty: the one who starts this
		Next   string `toml:"next"`   // rotate: of the helper of the device to which the vault moves; of the same user
	} `toml:"hsm"`
}

// LoadConfig reads the file at path and the environment.
func LoadConfig(path string, environ []string) (*Config, error) {
	var c Config
	if err := config.Load(path, environ, &c); err != nil {
		return nil, err
	}
	return &c, c.Check()
}

// peers are the users at the other ends of the vault's sockets.
func (c *Config) peers() (node, helper int, err error) {
	if node, err = cage.PeerUID("vault.node-user", c.Vault.NodeUser, os.Geteuid()); err != nil {
		return 0, 0, err
	}
	helper, err = cage.PeerUID("hsm.user", c.HSM.User, os.Geteuid())
	return node, helper, err
}

// Check refuses what the vault could not start with.
func (c *Config) Check() error {
	if c.Vault.ID == 0 {
		return errors.New("vault.id is 0: want this party's number, 1 to 65535")
	}
	if err := wire.CheckName(c.Vault.Name); err != nil {
		return fmt.Errorf("vault.name: %w", err)
	}
	switch {
	case c.Vault.Socket == "":
		return errors.New("vault.socket is empty: want a path for the socket to the node")
	case c.HSM.Socket == "":
		return errors.New("hsm.socket is empty: want the path of the HSM helper's socket (coffer hsm)")
	case c.Vault.Enrol && c.Vault.Rotate:
		return errors.New("vault.enrol and vault.rotate: a new vault has no device to leave; want one of them")
	case c.Vault.Rotate && c.HSM.Next == "":
		return errors.New("hsm.next is empty: want the path of the new device's helper's socket (a second coffer hsm)")
	case c.Vault.Rotate && c.HSM.Next == c.HSM.Socket:
		return errors.New("hsm.next and hsm.socket are one socket: want two devices, each with its helper")
	case c.Vault.Rotate && c.Vault.Card == "":
		return errors.New("vault.card is empty: want a path for the new card")
	case c.Vault.Enrol && c.Vault.Card == "":
		return errors.New("vault.card is empty: want a path for the card that enrolment makes")
	case !c.Vault.Enrol && c.Vault.Genesis == "":
		return errors.New("vault.genesis is empty: want the cluster's genesis file, or vault.enrol = true for a new vault")
	}
	return nil
}
