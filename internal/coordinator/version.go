package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/request"
)

// plainGas is what a transfer without call data takes.
const plainGas = 21000

// version is the transaction that the vaults are asked to sign: one that is stored
// already, or how to build one with a nonce.
type version struct {
	stored []byte
	first  uint64 // the nonce that the chain waits for
	latest bool   // what is stored by the time that the attempt begins
	loose  bool   // no nonce is kept for it: policy denies it anyway
	build  func(nonce uint64) ([]byte, error)
}

// version decides on the transaction of the next attempt. Retries use the one that
// is stored, so that a request has one version unless its fees must change. What
// policy denies anyway takes no nonce: it is put together only so that the vaults
// have something to refuse.
func (c *Coordinator) version(r *Record, denied, again bool) (*version, error) {
	if isMessage(r.Bundle.Request) {
		return messageVersion(r.Bundle.Request)
	}
	if c.offline(r) {
		return c.brought(r, denied)
	}
	if r.Unsigned != nil && (!again || denied) {
		return &version{stored: r.Unsigned}, nil
	}
	m, err := c.quoted(r, again)
	if err != nil {
		return nil, err
	}
	if m.fails != nil {
		if !denied {
			return nil, fmt.Errorf("waiting: the chain's node expects the transaction to fail: %s", m.fails.Message)
		}
		m.gas = plainGas
	}
	if r.Unsigned != nil {
		if good, err := c.stillGood(r, m); err != nil || good {
			return &version{stored: r.Unsigned}, err
		}
	}
	fees, err := m.fees.Within(m.gas, r.Bundle.Request.MaxFee)
	if err != nil {
		return nil, err
	}
	if !denied {
		if err := m.affords(fees); err != nil {
			return nil, err
		}
	}
	return &version{first: m.nonce, loose: denied, build: func(nonce uint64) ([]byte, error) {
		return rpc.Build(m.chain, nonce, m.gas, fees, m.intent).Encode()
	}}, nil
}

// stillGood says whether the stored version can still be mined: it has its nonce,
// nobody used that, and the chain has not become dearer than it offers.
func (c *Coordinator) stillGood(r *Record, m *market) (bool, error) {
	tx, _, err := sentBy(r)
	if err != nil {
		return false, err
	}
	nonce, reserved, err := c.store.nonceOf(c.ctx, r.ID)
	if err != nil {
		return false, err
	}
	if reserved && nonce < m.nonce {
		// Somebody used the nonce that was kept for this request.
		return false, c.store.releaseNonce(c.ctx, r.ID)
	}
	return reserved && nonce == tx.Nonce && !tx.FeeCap.Lt(&m.fees.BaseFee), nil
}

// sentBy decodes a request's transaction.
func sentBy(r *Record) (*evm.Transaction, evm.Address, error) {
	tx, err := evm.DecodeUnsigned(r.Unsigned)
	if err != nil {
		return nil, evm.Address{}, err
	}
	_, from, err := evm.ParseAccount(r.Bundle.Request.Sender)
	return tx, from, err
}

// market is what the chain's node says about sending a request now.
type market struct {
	chain   uint64
	intent  *evm.Intent
	nonce   uint64
	gas     uint64
	fails   *rpc.Error // why the node expects the transaction to fail
	fees    rpc.Fees
	balance chain.Amount
}

// affords says whether the wallet has what the transaction may cost. Signed
// without that, it would be refused, and its approvals lost.
func (m *market) affords(fees rpc.Fees) error {
	var cost, gas chain.Amount
	_, over := cost.MulOverflow(gas.SetUint64(m.gas), &fees.FeeCap)
	if !over {
		_, over = cost.AddOverflow(&cost, &m.intent.Value)
	}
	if over || m.balance.Lt(&cost) {
		return fmt.Errorf("waiting: the wallet has %s, the transaction may cost up to %s", amount.Format(m.balance, amount.ETH), amount.Format(cost, amount.ETH))
	}
	return nil
}

// quote is a market that is being asked for.
type quote struct {
	done chan struct{} // closed when the rest is there
	m    *market
	err  error
	at   time.Time
}

// quoteFor is how long an answer of the chain's node is good.
const quoteFor = 2 * time.Second

// askAhead asks the node while the risk engine thinks. A nonce that somebody takes
// meanwhile is no matter: what this coordinator hands out it knows.
func (c *Coordinator) askAhead(r *Record) {
	q := &quote{done: make(chan struct{}), at: time.Now()}
	want := r.Bundle.Request // r goes on meanwhile
	c.mu.Lock()
	c.quotes[r.ID] = q
	c.mu.Unlock()
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer close(q.done)
		q.m, q.err = c.market(want)
	}()
}

// quoted is what the node said a moment ago, once, or says now.
func (c *Coordinator) quoted(r *Record, again bool) (*market, error) {
	c.mu.Lock()
	q := c.quotes[r.ID]
	delete(c.quotes, r.ID)
	c.mu.Unlock()
	if q != nil && !again && time.Since(q.at) < quoteFor {
		<-q.done
		if q.err == nil {
			return q.m, nil
		}
	}
	return c.market(r.Bundle.Request)
}

// market asks the node everything at once.
func (c *Coordinator) market(q *request.Request) (*market, error) {
	ch, err := c.chain(q)
	if err != nil {
		return nil, err
	}
	m := new(market)
	if m.intent, err = evm.DecodeIntent(q.Intent); err != nil {
		return nil, err
	}
	if m.chain, err = evm.ParseChain(q.Chain); err != nil {
		return nil, err
	}
	_, sender, err := evm.ParseAccount(q.Sender)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i, ask := range []func() error{
		func() (err error) { m.nonce, err = ch.Node.PendingNonce(ctx, sender); return err },
		func() (err error) { m.gas, err = ch.Node.EstimateGas(ctx, sender, m.intent); return err },
		func() (err error) { m.fees, err = ch.Node.FeeSuggestion(ctx); return err },
		func() (err error) { m.balance, err = ch.Node.Balance(ctx, sender); return err },
	} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = ask()
		}()
	}
	wg.Wait()
	if m.fails = refusedByNode(errs[1]); m.fails != nil {
		errs[1] = nil
	}
	return m, errors.Join(errs...)
}

func refusedByNode(err error) *rpc.Error {
	var e *rpc.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
