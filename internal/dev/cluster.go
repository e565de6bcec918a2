package dev

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/example"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/signature"
)

// Vaults is how many a development cluster has; two of them sign.
const Vaults = 3

// ChainID is the development chain's.
const ChainID = 31337

// Options of a cluster.
type Options struct {
	Dir    string // everything is in it
	Binary string // coffer
	RPC    string // a node of one's own; empty: anvil is started
	Chain  uint64 // its chain id, with RPC
	Module string // a PKCS#11 module of one's own; empty: what Devices says
	PIN    string // file with its PIN

	// Devices are the kinds of the vaults' devices, in turn (softhsm, tpm, software);
	// none: every kind that this machine has.
	Devices []string

	Vaults int // how many parties; 0: Vaults

	// Logs has every node show its log as C2SP tiles, cosigned by an outside witness.
	Logs bool

	Known   []string      // addresses that the policy's address book knows
	Policy  []byte        // YAML or JSON, to start with; empty: the example's
	Cooling time.Duration // how long changes wait that are not proven to tighten

	Progress func(step string, took time.Duration)
	Say      func(string) // what the user should know
}

// Cluster is a running cluster.
type Cluster struct {
	Options
	Genesis     *governance.Genesis
	Parties     []*Party
	Coordinator *Process
	Risk        *Process
	Anvil       *devnode.Node // nil with RPC
	Node        *rpc.Client
	NodeURL     string
	Token       string   // address of the test token; empty with RPC
	API         string   // URL
	Broker      string   // URL
	LogURLs     []string // of the parties' logs, with Logs
	LogKeys     []string // of those logs, as C2SP clients take them
	Witness     *Process // nil without Logs
	WitnessKey  string

	people      map[string]*client.Signer
	witnessArgs []string
}

const (
	coordinatorTimeout = 20 * time.Second
	pairTimeout        = 60 * time.Second
)

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

func (c *Cluster) step(name string, f func() error) error {
	began := time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if c.Progress != nil {
		c.Progress(name, time.Since(began))
	}
	return nil
}

// Start sets a cluster up in its directory, or starts the one that is there, and
// returns when its vaults are ready to sign. What it started before an error is
// stopped again.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Vaults == 0 {
		o.Vaults = Vaults
	}
	c := &Cluster{Options: o}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	// The processes run in directories of their own.
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	if c.Binary, err = filepath.Abs(c.Binary); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the cluster's directory: %w", err)
	}
	for _, name := range c.Devices {
		if _, err := kindOf(name); err != nil {
			return nil, err
		}
	}
	if err := c.ports(); err != nil {
		return nil, err
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"an Ethereum node", c.startChain},
		{fmt.Sprintf("%d vaults, each with a token of its own", o.Vaults), c.startDevices},
		{"genesis: vaults, people, policy", c.found},
		{"risk engine and coordinator", c.startServices},
		{witnessStep, c.startWitness},
		{"vaults joined and paired with each other", c.startVaults},
	}
	for _, s := range steps {
		if s.name == witnessStep && !c.Logs {
			continue
		}
		if err := c.step(s.name, func() error { return s.do(ctx) }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ports are kept in the directory, since configuration files name them.
func (c *Cluster) ports() error {
	api, err := c.port("api.port")
	if err != nil {
		return err
	}
	broker, err := c.port("broker.port")
	if err != nil {
		return err
	}
	c.API, c.Broker = "http://127.0.0.1:"+api, "nats://127.0.0.1:"+broker
	return nil
}

func (c *Cluster) port(name string) (string, error) {
	if b, err := os.ReadFile(c.path(name)); err == nil {
		return string(b), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("couldn't find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return "", fmt.Errorf("couldn't find a free port: %w", err)
	}
	return port, os.WriteFile(c.path(name), []byte(port), 0o600)
}

func (c *Cluster) startChain(ctx context.Context) error {
	if c.RPC != "" {
		n, err := rpc.New(c.RPC, c.Chain)
		if err != nil {
			return err
		}
		if _, err := n.ChainID(ctx); err != nil {
			return err
		}
		c.Node, c.NodeURL = n, c.RPC
		return nil
	}
	n, err := devnode.Start(ctx, ChainID, devnode.Options{State: c.path("chain.json")})
	if err != nil {
		return err
	}
	c.Chain, c.Anvil, c.Node, c.NodeURL = ChainID, n, n.Client, n.URL
	return nil
}

// startDevices makes the parties, with tokens, and serves them.
func (c *Cluster) startDevices(ctx context.Context) error {
	for i := 1; i <= c.Vaults; i++ {
		p := &Party{ID: uint16(i), Name: fmt.Sprintf("vault-%d", i), Dir: c.path(fmt.Sprintf("v%d", i)), bin: c.Binary, url: c.Broker}
		if err := os.MkdirAll(p.Dir, 0o700); err != nil {
			return err
		}
		c.Parties = append(c.Parties, p)
	}
	return c.each(func(p *Party) error {
		if err := c.Device(ctx, p); err != nil {
			return err
		}
		if err := p.Write(c.path("genesis")); err != nil {
			return err
		}
		return p.StartHSM(ctx)
	})
}

// each does something for all parties at once.
func (c *Cluster) each(do func(*Party) error) error {
	errs := make([]error, len(c.Parties))
	var wg sync.WaitGroup
	for i, p := range c.Parties {
		wg.Go(func() { errs[i] = do(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// found makes the genesis, unless it is there.
func (c *Cluster) found(ctx context.Context) error {
	if err := c.loadPeople(); err != nil {
		return err
	}
	if b, err := os.ReadFile(c.path("genesis")); err == nil {
		if c.Genesis, err = governance.DecodeGenesis(b); err != nil {
			return err
		}
		return c.checkGenesis()
	}
	keys, err := map[string]signature.PublicKey{}, error(nil)
	for name, k := range c.people {
		if keys[name], err = signature.ParseText(k.PublicKey()); err != nil {
			return err
		}
	}
	roster, err := example.Roster(keys)
	if err != nil {
		return err
	}
	doc, err := c.firstPolicy(roster)
	if err != nil {
		return err
	}
	g := &governance.Genesis{Name: "dev", Created: uint64(time.Now().UnixMilli()), Roster: roster, Policy: doc, Cooling: uint64(c.Cooling.Milliseconds())}
	g.Enrolments = make([]governance.Enrolment, len(c.Parties))
	err = c.each(func(p *Party) error {
		e, err := p.enrol(ctx)
		if err == nil {
			g.Enrolments[p.ID-1] = *e
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return err
	}
	h := g.Hash()
	c.Genesis = g
	return errors.Join(
		os.WriteFile(c.path("roster.json"), append(roster.JSON(), '\n'), 0o644),
		os.WriteFile(c.path("policy.yaml"), source.YAML(doc), 0o644),
		os.WriteFile(c.path("genesis.hash"), []byte(hex.EncodeToString(h[:])+"\n"), 0o644),
		os.WriteFile(c.path("genesis"), g.Encode(), 0o644))
}

func (c *Cluster) firstPolicy(roster *identity.Roster) (*policy.Document, error) {
	if len(c.Policy) > 0 {
		return source.Compile(c.Policy, roster)
	}
	return example.Policy(example.Parameters{ChainID: c.Chain, Known: c.Known})
}

// Reenrol gives a party that lost its disk and its device new ones, and has the vault
// make a new card. Helper and card are there then; the vault does not run.
func (c *Cluster) Reenrol(ctx context.Context, p *Party) error {
	if err := c.Device(ctx, p); err != nil {
		return err
	}
	if err := p.Write(c.path("genesis")); err != nil {
		return err
	}
	if err := p.StartHSM(ctx); err != nil {
		return err
	}
	_, err := p.enrol(ctx)
	return err
}

// checkGenesis refuses a directory that was made for another chain.
func (c *Cluster) checkGenesis() error {
	want := evm.NativeAsset(evm.ChainName(c.Chain))
	for _, a := range c.Genesis.Policy.Assets {
		if a.ID == want {
			return nil
		}
	}
	return fmt.Errorf("%s was made for another chain than %d: take another directory", c.Dir, c.Chain)
}

// loadPeople makes the keys of the example's people, or reads them.
func (c *Cluster) loadPeople() error {
	c.people = map[string]*client.Signer{}
	for _, name := range example.Principals() {
		k, err := c.person(name)
		if err != nil {
			return err
		}
		c.people[name] = k
	}
	return nil
}

// startVaults starts what does not run yet, and waits until every pair of vaults
// has made its setup.
func (c *Cluster) startVaults(ctx context.Context) error {
	for _, p := range c.Parties {
		if err := p.StartVault(); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// Processes are all that run.
func (c *Cluster) Processes() []*Process {
	var out []*Process
	for _, p := range c.Parties {
		out = append(out, p.processes()...)
	}
	for _, p := range []*Process{c.Risk, c.Coordinator, c.Witness} {
		if p != nil {
			out = append(out, p)
		}
	}
	return slices.DeleteFunc(out, func(p *Process) bool { return p == nil })
}

// Stop ends everything that Start started.
func (c *Cluster) Stop() {
	for _, p := range []*Process{c.Coordinator, c.Risk, c.Witness} {
		if p != nil && p.Running() {
			p.Stop()
		}
	}
	for _, p := range c.Parties {
		p.Stop()
		p.unplug()
	}
	if c.Anvil != nil {
		c.Anvil.Stop()
	}
}
