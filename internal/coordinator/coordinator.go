package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
)

// Vaults carries commands to vaults. The transport implements it, and the
// simulation's world in tests.
type Vaults interface {
	Command(ctx context.Context, vault uint16, body []byte) ([]byte, error)
}

// Screener asks the risk engine.
type Screener interface {
	Screen(ctx context.Context, b *request.Bundle) (*request.RiskVerdict, error)
}

// Chain is a chain that the coordinator can send to.
type Chain struct {
	ID            string // CAIP-2
	Node          *rpc.Client
	Confirmations uint64 // blocks on top of the transaction's, counting its own; at least 1
}

// Timeouts. When one fires, the step it belongs to is tried again.
const (
	screenTimeout  = 5 * time.Second
	statusTimeout  = 2 * time.Second
	attemptTimeout = 25 * time.Second // longer than a vault keeps a session
	keygenTimeout  = 60 * time.Second
	chainTimeout   = 10 * time.Second
)

// Options of a Coordinator.
type Options struct {
	Genesis  *governance.Genesis
	Database string // path of the SQLite file
	Vaults   Vaults
	Screener Screener // nil: there is no risk engine, requests are not screened
	Chains   []Chain
	Random   io.Reader
	Log      *slog.Logger
}

// Coordinator runs every request of a cluster.
type Coordinator struct {
	opts    Options
	cluster [32]byte
	store   *store
	codec   evm.Codec
	chains  map[string]Chain
	log     *slog.Logger

	ctx    context.Context // ends with Close; the requests' goroutines live under it
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	gov      *governance.State
	wake     map[[32]byte]chan struct{}          // of running requests
	watchers map[[32]byte]map[chan struct{}]bool // of those who wait for a change
	turn     int                                 // rotates the signers
	suspect  map[[32]byte]map[uint16]bool        // vaults not to be asked again for a request
	spent    map[[32]byte]map[string]bool        // sets of signers not to be tried again for a request
}

// New opens the database and carries on with everything that is unfinished.
func New(opts Options) (*Coordinator, error) {
	gov, err := governance.Start(opts.Genesis)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	st, err := openStore(opts.Database)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		opts: opts, cluster: gov.Cluster, store: st, chains: map[string]Chain{}, log: opts.Log, gov: gov,
		wake: map[[32]byte]chan struct{}{}, watchers: map[[32]byte]map[chan struct{}]bool{},
		suspect: map[[32]byte]map[uint16]bool{}, spent: map[[32]byte]map[string]bool{},
	}
	for _, ch := range opts.Chains {
		if ch.Confirmations == 0 {
			ch.Confirmations = 1
		}
		c.chains[ch.ID] = ch
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.resume(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Coordinator) resume() error {
	changes, err := c.store.changes(c.ctx)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		if !ch.Applied {
			continue
		}
		if c.gov, err = c.gov.Apply(ch.Signed); err != nil {
			return fmt.Errorf("the database holds a change that does not apply: %w", err)
		}
	}
	open, err := c.store.unfinished(c.ctx)
	if err != nil {
		return err
	}
	for _, r := range open {
		c.run(r.ID)
	}
	return nil
}

// Close stops all work; what is unfinished goes on at the next start.
func (c *Coordinator) Close() {
	c.cancel()
	c.wg.Wait()
	if err := c.store.close(); err != nil {
		c.log.Error("couldn't close the database", "error", err)
	}
}

// Cluster is the genesis hash.
func (c *Coordinator) Cluster() [32]byte { return c.cluster }

// Governance is the state of policy and roster as the coordinator knows it.
func (c *Coordinator) Governance() *governance.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gov
}

// run starts the goroutine of a request, or wakes it.
func (c *Coordinator) run(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, running := c.wake[id]; running {
		select {
		case ch <- struct{}{}:
		default: // it is awake already
		}
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

// VaultStatus is a vault's own word, or why there is none.
type VaultStatus struct {
	Vault  governance.Vault
	Status *cluster.Status
	Err    error
}

// Statuses asks every vault at once.
func (c *Coordinator) Statuses(ctx context.Context) []VaultStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	out := make([]VaultStatus, len(c.opts.Genesis.Enrolments))
	var wg sync.WaitGroup
	for i, e := range c.opts.Genesis.Enrolments {
		out[i].Vault = e.Vault
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := c.command(ctx, e.Vault.ID, &cluster.Command{Kind: cluster.CommandStatus})
			if err == nil && r.Outcome != cluster.OutcomeDone {
				err = errors.New(r.Detail)
			}
			if err == nil {
				out[i].Status, err = cluster.DecodeStatus(r.Body)
			}
			out[i].Err = err
		}()
	}
	wg.Wait()
	return out
}

func (c *Coordinator) vaultIDs() []uint16 {
	var ids []uint16
	for _, e := range c.opts.Genesis.Enrolments {
		ids = append(ids, e.Vault.ID)
	}
	return ids
}

// backoff waits a little longer each time; a wake-up or the end of the
// coordinator ends it.
func (c *Coordinator) backoff(n int, wake <-chan struct{}) {
	d := min(30*time.Second, 200*time.Millisecond<<min(n, 8))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-c.ctx.Done():
	}
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
