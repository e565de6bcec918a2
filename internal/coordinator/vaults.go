package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
)

// VaultStatus is a vault's own word, or why there is none.
type VaultStatus struct {
	Vault  governance.Vault
	Status *cluster.Status
	Err    error
}

// freshFor is how long a vault's word is good enough for choosing signers. When
// it is out of date an attempt fails, and the next one asks again.
const freshFor = 3 * time.Second

// roll is what the vaults last said of themselves, so that not every signature
// begins with a question to all of them.
type roll struct {
	c *Coordinator

	mu     sync.Mutex // guards what follows
	last   []VaultStatus
	at     time.Time
	asking chan struct{} // closed when the answers are there
	stale  bool          // something changed while the question was under way
}

func newRoll(c *Coordinator) *roll { return &roll{c: c} }

func (l *roll) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.stale = nil, true
}

// get returns the newest answers, or asks all vaults. Everybody who comes while
// they are asked gets the same answers.
func (l *roll) get(ctx context.Context) []VaultStatus {
	for {
		l.mu.Lock()
		if l.last != nil && time.Since(l.at) < freshFor {
			defer l.mu.Unlock()
			return l.last
		}
		if l.asking == nil {
			break
		}
		asking := l.asking
		l.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return nil
		}
	}
	done := make(chan struct{})
	l.asking, l.stale = done, false
	l.mu.Unlock()
	answers := l.c.Statuses(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asking = nil
	if !l.stale && ctx.Err() == nil {
		l.last, l.at = answers, time.Now()
	}
	close(done)
	return answers
}

// Statuses asks every vault at once.
func (c *Coordinator) Statuses(ctx context.Context) []VaultStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	vaults := c.Governance().Vaults
	out := make([]VaultStatus, len(vaults))
	var wg sync.WaitGroup
	for i, v := range vaults {
		out[i].Vault = v
		wg.Add(1)
		go func() {
			defer wg.Done()
			out[i].Status, out[i].Err = c.status(ctx, v.ID)
		}()
	}
	wg.Wait()
	return out
}

func (c *Coordinator) status(ctx context.Context, vault uint16) (*cluster.Status, error) {
	r, err := c.command(ctx, vault, &cluster.Command{Kind: cluster.CommandStatus})
	if err != nil {
		return nil, err
	}
	if r.Outcome != cluster.OutcomeDone {
		return nil, fmt.Errorf("vault %d: %s", vault, r.Detail)
	}
	s, err := cluster.DecodeStatus(r.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("vault %d: %w", vault, err)
	case s.Vault != vault:
		return nil, fmt.Errorf("vault %d: it says that it is vault %d", vault, s.Vault)
	case s.Cluster != c.cluster:
		return nil, fmt.Errorf("vault %d: it is of cluster %x, or still starting", vault, s.Cluster[:8])
	}
	return s, nil
}

// answered turns a reply that is not done into an error.
func answered(vault uint16, r *cluster.Reply, err error) error {
	switch {
	case err != nil:
		return err
	case r.Outcome == cluster.OutcomeDone:
		return nil
	case r.Outcome == cluster.OutcomeRefused:
		f, err := refusal.Decode(r.Refusal)
		if err != nil {
			return fmt.Errorf("vault %d refuses and says not why", vault)
		}
		return fmt.Errorf("vault %d refuses: %w", vault, f)
	}
	return fmt.Errorf("vault %d: %s", vault, r.Detail)
}

// catchUp sends a vault the changes of policy and roster that it missed.
func (c *Coordinator) catchUp(vault uint16, from uint64) error {
	ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
	defer cancel()
	all, err := c.store.changes(ctx)
	if err != nil {
		return err
	}
	for _, ch := range all {
		if !ch.Applied || ch.Signed.Change.Seq <= from {
			continue
		}
		cmd := &cluster.Command{Kind: cluster.CommandChange, Body: ch.Signed.Encode(), Unsigned: c.adoptions(ctx, vault, ch.Signed.Change.Seq)}
		r, err := c.command(ctx, vault, cmd)
		if err := answered(vault, r, err); err != nil {
			return fmt.Errorf("change %d: %w", ch.Signed.Change.Seq, err)
		}
	}
	return nil
}

// send has the courier look for something to bring.
func (c *Coordinator) send() { poke(c.errand) }

// The courier's waits between two tries, the longest also between two looks at vaults
// that may have lost what they had.
const courierFirst, courierLongest = 250 * time.Millisecond, 15 * time.Second

// courier brings vaults what they must have and could not take yet: receipts,
// and changes of policy and roster. What is due stands in the database.
func (c *Coordinator) courier() {
	wait := courierLongest
	for {
		t := time.NewTimer(c.untilDue(wait))
		select {
		case <-c.errand:
			wait = courierFirst
		case <-t.C:
			wait = min(2*wait, courierLongest)
		case <-c.ctx.Done():
		}
		t.Stop()
		if c.ctx.Err() != nil {
			return
		}
		delivered, some := c.deliver()
		for !delivered && some {
			delivered, some = c.deliver()
		}
		updated := c.updateVaults()
		if delivered && updated {
			wait = courierLongest // nothing is due; a vault that starts on an older disk, or an empty one, calls nobody
		}
	}
}

// maxDelivery is how many receipts a vault gets at once; a vault that was away for
// long has the others after them.
const maxDelivery = 64

// deliver brings receipts to the signers, for their logs. It says whether nothing is
// due any more, and whether anything was taken.
func (c *Coordinator) deliver() (all, some bool) {
	due := map[uint16][]*Delivery{}
	for _, v := range c.Governance().Vaults {
		ds, err := c.store.deliveries(c.ctx, v.ID, maxDelivery)
		if err != nil {
			if c.ctx.Err() == nil {
				c.log.Error("couldn't read what is due to vaults", "err", err)
			}
			return false, false
		}
		if len(ds) > 0 {
			due[v.ID] = ds
		}
	}
	var mu sync.Mutex // guards done and left
	var done []*Delivery
	left := false
	var wg sync.WaitGroup
	for vault, ds := range due {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ok, err := c.deliverTo(vault, ds)
			if err != nil && c.ctx.Err() == nil {
				c.log.Warn("couldn't deliver receipts", "vault", vault, "due", len(ds)-len(ok), "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			done = append(done, ok...)
			left = left || err != nil || len(ds) == maxDelivery
		}()
	}
	wg.Wait()
	if len(done) == 0 {
		return !left, false
	}
	if err := c.store.delivered(c.ctx, done); err != nil {
		if c.ctx.Err() == nil {
			c.log.Error("couldn't note what was delivered", "err", err)
		}
		return false, false
	}
	return !left, true
}

func (c *Coordinator) deliverTo(vault uint16, ds []*Delivery) (done []*Delivery, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
	defer cancel()
	for _, d := range ds {
		r, err := c.command(ctx, vault, &cluster.Command{Kind: cluster.CommandReceipt, Body: d.Receipt})
		if err != nil {
			return done, err
		}
		if err := answered(vault, r, nil); err != nil {
			if r.Outcome != cluster.OutcomeRefused {
				return done, err
			}
			// It will say the same tomorrow.
			c.log.Warn("vault refuses a receipt", "vault", vault, "err", err)
		}
		done = append(done, d)
	}
	return done, nil
}

// updateVaults brings lagging vaults up to date and says whether all are.
func (c *Coordinator) updateVaults() (all bool) {
	seq := c.Governance().Seq
	if seq == 0 {
		return true
	}
	all = true
	for _, s := range c.Statuses(c.ctx) {
		err := s.Err
		if err == nil && s.Status.GovernanceSeq < seq {
			if err = c.catchUp(s.Vault.ID, s.Status.GovernanceSeq); err == nil {
				c.log.Info("brought vault up to date", "vault", s.Vault.ID, "seq", seq)
				c.peers.forget()
			}
		}
		if err != nil && c.ctx.Err() == nil {
			c.log.Debug("couldn't bring vault up to date", "vault", s.Vault.ID, "err", err)
			all = false
		}
	}
	return all
}
