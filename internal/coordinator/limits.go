package coordinator

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// maxCounted bounds how many requests the coordinator adds up for limits.
const maxCounted = 5000

// view is what limits count, as far as the coordinator knows it from requests of its
// own: a courtesy to people, so that a request over a limit waits for those who may
// allow it. The vaults' ledgers are what counts. It is read before a transaction of
// the store, in which nothing else can be read.
type view struct {
	ledger policy.Ledger
	limits bool // the policy has some
	err    error
}

// noLedger counts a request alone.
var noLedger = &view{ledger: policy.MemoryLedger{}}

// view reads what the limits in force count now.
func (c *Coordinator) view(ctx context.Context) *view {
	d := c.Governance().Policy
	if len(d.Limits) == 0 {
		return noLedger
	}
	l, err := c.ledger(ctx, d)
	return &view{ledger: l, limits: true, err: err}
}

// movements are what requests move under a policy, so that each is decoded once.
type movements struct {
	mu  sync.Mutex // guards what follows
	doc *policy.Document
	of  map[[32]byte]*policy.Movement
}

// counted is a request that counts, from its row.
type counted struct {
	id, wallet [32]byte
	updated    uint64
}

func (c *Coordinator) ledger(ctx context.Context, d *policy.Document) (policy.Ledger, error) {
	rows, err := collect(ctx, c.store, func(rows *sql.Rows) (x counted, err error) {
		var id, wallet []byte
		err = rows.Scan(&id, &wallet, &x.updated)
		copy(x.id[:], id)
		copy(x.wallet[:], wallet)
		return x, err
	}, `SELECT id, wallet, updated FROM requests WHERE state IN (?,?,?,?,?) AND updated >= ? ORDER BY updated DESC LIMIT ?`,
		Signing, Signed, Broadcast, Confirmed, Failed, c.oldest(d), maxCounted)
	if err != nil {
		return nil, err
	}
	out := make(policy.MemoryLedger, 0, len(rows))
	for _, x := range rows {
		m, err := c.movement(ctx, d, x.id)
		if err != nil {
			return nil, err
		}
		if m != nil {
			out = append(out, policy.LedgerEntry{Request: x.id, Wallet: x.wallet, Time: x.updated, Movement: m})
		}
	}
	return out, nil
}

// oldest is a time before which no limit counts, unix ms.
func (c *Coordinator) oldest(d *policy.Document) uint64 {
	var most uint64
	for i := range d.Limits {
		w := &d.Limits[i].Window
		if most = max(most, w.Length); w.Kind == policy.Calendar {
			most = uint64((368 * 24 * time.Hour).Milliseconds())
		}
	}
	now := c.now()
	return now - min(now, most+policy.Margin)
}

// movement is what a request moves; nil if it cannot be read.
func (c *Coordinator) movement(ctx context.Context, d *policy.Document, id [32]byte) (*policy.Movement, error) {
	k := &c.movements
	k.mu.Lock()
	if k.doc != d || len(k.of) > 2*maxCounted {
		k.doc, k.of = d, map[[32]byte]*policy.Movement{}
	}
	m, ok := k.of[id]
	k.mu.Unlock()
	if ok {
		return m, nil
	}
	r, err := c.store.get(ctx, id)
	if err != nil {
		return nil, err
	}
	m = movementOf(d, r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.doc == d {
		k.of[id] = m
	}
	return m, nil
}

func movementOf(d *policy.Document, r *Record) *policy.Movement {
	q := r.Bundle.Request
	codec, err := family.Of(q.Chain)
	if err != nil {
		return nil
	}
	e, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, d.Methods)
	if err != nil {
		return nil
	}
	m, err := d.Movement(&policy.Input{Request: q, Effects: e, Verified: &identity.Verified{Initiator: q.Initiator}})
	if err != nil {
		return nil
	}
	return m
}

// VaultUsage is how much of the limits one vault counts as used, or why it does not
// say.
type VaultUsage struct {
	Vault uint16
	Name  string
	Usage *cluster.Usage
	Err   error
}

// Usage asks every vault at once what its limits hold: theirs is the word that
// counts.
func (c *Coordinator) Usage(ctx context.Context) []VaultUsage {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	vaults := c.Governance().Vaults
	out := make([]VaultUsage, len(vaults))
	var wg sync.WaitGroup
	for i := range vaults {
		out[i].Vault, out[i].Name = vaults[i].ID, vaults[i].Name
		wg.Add(1)
		go func() {
			defer wg.Done()
			out[i].Usage, out[i].Err = c.usage(ctx, vaults[i].ID)
		}()
	}
	wg.Wait()
	return out
}

func (c *Coordinator) usage(ctx context.Context, vault uint16) (*cluster.Usage, error) {
	r, err := c.command(ctx, vault, &cluster.Command{Kind: cluster.CommandLimits})
	if err := answered(vault, r, err); err != nil {
		return nil, err
	}
	u, err := cluster.DecodeUsage(r.Body)
	if err != nil {
		return nil, fmt.Errorf("vault %d: %w", vault, err)
	}
	return u, nil
}
