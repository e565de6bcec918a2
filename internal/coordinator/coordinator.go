package coordinator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/risk"
)

// Vaults carries commands to vaults. The transport implements it, and the
// simulation's world in tests.
type Vaults interface {
	Command(ctx context.Context, vault uint16, body []byte) ([]byte, error)
}

// Screener asks the risk engine. risk.Client implements it over the transport,
// and tests do with the engine itself.
type Screener interface {
	Screen(ctx context.Context, q *risk.Question) (*request.RiskVerdict, error)
}

// Chain is a chain that the coordinator can send to.
type Chain struct {
	ID            string // CAIP-2
	Node          *rpc.Client
	Confirmations uint64 // blocks until a transaction is final, its own included; at least 1
}

// Timeouts. When one fires, the step it belongs to is tried again.
const (
	screenTimeout  = 5 * time.Second
	statusTimeout  = 2 * time.Second
	attemptTimeout = 25 * time.Second // longer than a vault keeps a session
	commandTimeout = 10 * time.Second // every other command
	keygenTimeout  = 60 * time.Second
	chainTimeout   = 10 * time.Second
)

// Options of a Coordinator.
type Options struct {
	Genesis  *governance.Genesis
	Database string // path of the SQLite file
	Vaults   Vaults
	Screener Screener // nil: there is no risk engine, requests are not screened
	Pricer   Pricer   // asks the price sources
	Prices   []string // their principals; none: requests carry no prices
	Chains   []Chain
	Random   io.Reader
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger
}

// Coordinator runs every request of a cluster.
type Coordinator struct {
	opts    Options
	cluster [32]byte
	store   *store
	chains  map[string]Chain
	log     *slog.Logger
	peers   *roll
	prices  prices

	movements movements

	ctx    context.Context // ends with Close; the requests' goroutines live under it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	errand chan struct{} // wakes the courier
	orders chan struct{} // wakes the keeper

	governing sync.Mutex // held while a change is taken; never with a transaction open
	keygens   sync.Mutex // held while a key is made: one at a time

	mu       sync.Mutex // guards what follows, and nothing slow happens under it
	gov      *governance.State
	wallets  map[[32]byte]*Wallet
	wake     map[[32]byte]chan struct{}          // of running requests
	watchers map[[32]byte]map[chan struct{}]bool // of those who wait for a change
	turn     int                                 // rotates the signers
	pasts    map[[32]byte][]risk.Past            // by wallet, newest first
	quotes   map[[32]byte]*quote                 // what chains' nodes were asked ahead
	tried    map[[32]byte]*tried                 // what not to try again for a request
	carried  map[[32]byte]*Progress              // orders about keys, by the hash of their change
}

// New opens the database and carries on with everything that is unfinished.
func New(opts Options) (*Coordinator, error) {
	gov, err := governance.Start(opts.Genesis)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Coordinator{
		opts: opts, cluster: gov.Cluster, chains: map[string]Chain{}, log: opts.Log, gov: gov, errand: make(chan struct{}, 1), orders: make(chan struct{}, 1), carried: map[[32]byte]*Progress{},
		wallets: map[[32]byte]*Wallet{}, wake: map[[32]byte]chan struct{}{}, watchers: map[[32]byte]map[chan struct{}]bool{}, tried: map[[32]byte]*tried{}, pasts: map[[32]byte][]risk.Past{}, quotes: map[[32]byte]*quote{},
	}
	if c.store, err = openStore(opts.Database, gov.Cluster, c.now); err != nil {
		return nil, err
	}
	for _, ch := range opts.Chains {
		ch.Confirmations = max(ch.Confirmations, 1)
		c.chains[ch.ID] = ch
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.peers = newRoll(c)
	if err := c.resume(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Coordinator) now() uint64 { return uint64(c.opts.Now().UnixMilli()) }

func (c *Coordinator) resume() error {
	changes, err := c.store.changes(c.ctx)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		if !ch.Applied {
			continue
		}
		if c.gov, err = c.gov.Apply(ch.Signed, ch.Time); err != nil {
			return fmt.Errorf("the database holds a change that does not apply: %w", err)
		}
	}
	ws, err := c.store.wallets(c.ctx)
	if err != nil {
		return err
	}
	for _, w := range ws {
		c.wallets[w.ID] = w
	}
	open, err := c.store.unfinished(c.ctx)
	if err != nil {
		return err
	}
	for _, r := range open {
		c.run(r.ID)
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.courier()
	}()
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.keeper()
	}()
	c.send()
	return nil
}

// Close stops all work; what is unfinished goes on at the next start.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.cancel() // under mu, so that nothing begins after it
	c.mu.Unlock()
	c.wg.Wait()
	if err := c.store.close(); err != nil {
		c.log.Error("couldn't close the database", "err", err)
	}
}

// begin enters work that Close waits for, unless it was called.
func (c *Coordinator) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.wg.Add(1)
	return true
}

// Cluster is the genesis hash.
func (c *Coordinator) Cluster() [32]byte { return c.cluster }

// Genesis is what the cluster began with.
func (c *Coordinator) Genesis() *governance.Genesis { return c.opts.Genesis }

// Chains lists the chains that there is a node of.
func (c *Coordinator) Chains() []Chain { return slices.Clone(c.opts.Chains) }

// Governance is what is in force now, as the coordinator knows it.
func (c *Coordinator) Governance() *governance.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.activate()
	return c.gov
}

// run starts the goroutine of a request, or wakes it.
func (c *Coordinator) run(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, running := c.wake[id]; running {
		poke(ch)
		return
	}
	if c.ctx.Err() != nil {
		return
	}
	ch := make(chan struct{}, 1)
	c.wake[id] = ch
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.drive(id, ch)
	}()
}

// poke wakes the reader of ch, unless that is due already.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Wake has every unfinished request look again at what it waits for.
func (c *Coordinator) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.wake {
		poke(ch)
	}
}

// VaultsChanged says that a vault came or went. Requests that wait for vaults
// look again.
func (c *Coordinator) VaultsChanged() {
	c.peers.forget()
	c.Wake()
	c.send()
	poke(c.orders)
}

// Changed returns a channel that is closed at the next change of a request, and
// a function that gives it back.
func (c *Coordinator) Changed(id [32]byte) (<-chan struct{}, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan struct{})
	if c.watchers[id] == nil {
		c.watchers[id] = map[chan struct{}]bool{}
	}
	c.watchers[id][ch] = true
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers[id], ch)
		if len(c.watchers[id]) == 0 {
			delete(c.watchers, id)
		}
	}
}

func (c *Coordinator) tell(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.watchers[id] {
		close(ch)
	}
	delete(c.watchers, id)
}

// command sends one command to one vault.
func (c *Coordinator) command(ctx context.Context, vault uint16, cmd *cluster.Command) (*cluster.Reply, error) {
	b, err := c.opts.Vaults.Command(ctx, vault, cmd.Encode())
	if err != nil {
		return nil, fmt.Errorf("vault %d: %w", vault, err)
	}
	r, err := cluster.DecodeReply(b)
	if err != nil {
		return nil, fmt.Errorf("vault %d: %w", vault, err)
	}
	if r.Vault != vault {
		return nil, fmt.Errorf("vault %d: the answer is vault %d's", vault, r.Vault)
	}
	return r, nil
}

func joinErrors(errs []error) string {
	var s []string
	for _, e := range errs {
		if e != nil && !slices.Contains(s, e.Error()) {
			s = append(s, e.Error())
		}
	}
	return strings.Join(s, "; ")
}
