package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/example"
)

// KeyFile is where a person's key lies, below the directory that is COFFER_HOME
// for the client's verbs.
func (c *Cluster) KeyFile(name string) string { return c.path("keys", name+".key") }

// person makes somebody's key, or reads the one that is there.
func (c *Cluster) person(name string) (*client.Signer, error) {
	path := c.KeyFile(name)
	if _, err := os.Stat(path); err == nil {
		return client.LoadSigner(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return client.NewSigner(name, path)
}

// Person is the signer of one of the example's people.
func (c *Cluster) Person(name string) *client.Signer { return c.people[name] }

// startServices starts the coordinator with its broker, and the risk engine, and
// returns when the API answers.
func (c *Cluster) startServices(ctx context.Context) error {
	if err := c.configureServices(); err != nil {
		return err
	}
	if err := c.StartCoordinator(ctx); err != nil {
		return err
	}
	return c.StartRisk()
}

// StartCoordinator starts the coordinator and waits for its API.
func (c *Cluster) StartCoordinator(ctx context.Context) (err error) {
	c.Coordinator, err = start("coordinator", c.Dir, c.path("coordinator.log"), nil, c.Binary, "coordinator", "--config", c.path("coordinator.toml"))
	if err != nil {
		return err
	}
	return waitFor(ctx, "the coordinator's API", coordinatorTimeout, []*Process{c.Coordinator}, func() error {
		cl, err := c.Client()
		if err != nil {
			return err
		}
		_, err = cl.Cluster(ctx)
		return err
	})
}

// StartRisk starts the risk engine, which connects by itself.
func (c *Cluster) StartRisk() (err error) {
	c.Risk, err = start("risk engine", c.Dir, c.path("risk.log"), nil, c.Binary, "risk", "--config", c.path("risk.toml"))
	return err
}

// Client talks to the coordinator's API.
func (c *Cluster) Client() (*client.Client, error) {
	token, err := client.ReadToken(c.path("api.token"))
	if err != nil {
		return nil, err
	}
	return client.New(c.API, token)
}

func (c *Cluster) configureServices() error {
	coordinator, err := brokerKey(c.path("coordinator.seed"))
	if err != nil {
		return err
	}
	engine, err := brokerKey(c.path("risk.seed"))
	if err != nil {
		return err
	}
	address := strings.TrimPrefix(c.Broker, "nats://")
	var nodes strings.Builder
	for _, p := range c.Parties {
		fmt.Fprintf(&nodes, "%d = %q\n", p.ID, p.broker)
	}
	files := map[string]string{
		"coordinator.toml": fmt.Sprintf(`[coordinator]
genesis = %q
database = %q
credentials = %q
risk = %q

[api]
listen = %q
token_file = %q

[broker]
listen = %q
coordinator = %q
risk = %q

[broker.nodes]
%s
[[chains]]
chain = %q
rpc = %q
`, c.path("genesis"), c.path("coordinator.db"), "file:"+c.path("coordinator.seed"), example.Engine,
			strings.TrimPrefix(c.API, "http://"), c.path("api.token"), address, coordinator, engine, nodes.String(), evm.ChainName(c.Chain), c.NodeURL),
		"risk.toml": fmt.Sprintf(`[risk]
genesis = %q
key = %q

[broker]
url = %q
credentials = %q
%s`, c.path("genesis"), c.KeyFile(example.Engine), c.Broker, "file:"+c.path("risk.seed"), c.simulate()),
		"client.toml": fmt.Sprintf("api = %q\ntoken_file = %q\n", c.API, c.path("api.token")),
	}
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("couldn't write configuration: %w", err)
		}
	}
	return nil
}

// simulate has the risk engine try requests on the chain's node; a node of somebody's own
// may not know how to.
func (c *Cluster) simulate() string {
	if c.Anvil == nil {
		return ""
	}
	return fmt.Sprintf("\n[simulate]\n%q = %q\n", evm.ChainName(c.Chain), c.NodeURL)
}

// WaitReady returns when every vault answers and is paired with every other.
func (c *Cluster) WaitReady(ctx context.Context) error { return c.WaitVaults(ctx, c.Parties...) }

// WaitVaults is WaitReady for some of the vaults among themselves.
func (c *Cluster) WaitVaults(ctx context.Context, parties ...*Party) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	watched := []*Process{c.Coordinator}
	for _, p := range parties {
		watched = append(watched, p.processes()...)
	}
	return waitFor(ctx, "vaults", pairTimeout, watched, func() error {
		vaults, err := cl.Vaults(ctx)
		if err != nil {
			return err
		}
		return paired(vaults, parties)
	})
}

func paired(vaults []client.Vault, parties []*Party) error {
	wanted := map[int]bool{}
	for _, p := range parties {
		wanted[int(p.ID)] = true
	}
	for _, v := range vaults {
		if !wanted[v.ID] {
			continue
		}
		if !v.Reachable {
			return fmt.Errorf("%s does not answer: %s", v.Name, v.Error)
		}
		ready := 0
		for _, p := range v.Peers {
			if wanted[p.Vault] && p.Ready {
				ready++
			}
		}
		if ready != len(wanted)-1 {
			return fmt.Errorf("%s is paired with %d of %d others", v.Name, ready, len(wanted)-1)
		}
	}
	if len(vaults) < len(parties) {
		return errors.New("the coordinator knows too few vaults")
	}
	return nil
}
