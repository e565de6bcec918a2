package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

// drive takes a request from state to state until nothing more is to be done
// without people. There is one goroutine a request.
func (c *Coordinator) drive(id [32]byte, wake <-chan struct{}) {
	defer c.park(id)
	for tries := 0; c.ctx.Err() == nil; {
		r, err := c.store.get(c.ctx, id)
		if err != nil {
			c.log.Error("couldn't read request", "error", err)
			return
		}
		if r.State.Final() {
			return
		}
		st, err := c.step(r, wake)
		switch {
		case errors.Is(err, errParked):
			if !c.sleepUntil(r, wake) {
				return
			}
			tries = 0
		case err != nil:
			if c.ctx.Err() != nil {
				return
			}
			c.reason(r, st, err)
			c.backoff(tries, wake)
			tries++
		default:
			tries = 0
		}
	}
}

// park ends the goroutine of a request. A wake-up that came in the meantime
// starts it again.
func (c *Coordinator) park(id [32]byte) {
	c.mu.Lock()
	ch := c.wake[id]
	delete(c.wake, id)
	c.mu.Unlock()
	select {
	case <-ch:
		c.run(id)
	default:
	}
}

// errParked: the request waits for people.
var errParked = errors.New("waits for people")

// sleepUntil waits for an event or the request's expiry.
func (c *Coordinator) sleepUntil(r *Record, wake <-chan struct{}) bool {
	left := time.Until(time.UnixMilli(int64(r.Bundle.Request.Expires))) + time.Millisecond
	t := time.NewTimer(max(left, 0))
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	case <-c.ctx.Done():
		return false
	}
	return true
}

// reason stores why a request does not move.
func (c *Coordinator) reason(r *Record, st State, err error) {
	if st != r.State {
		return
	}
	if err := c.store.move(c.ctx, r.ID, st, st, err.Error(), patch{}); err == nil {
		c.tell(r.ID)
	} else if !errors.Is(err, ErrConflict) {
		c.log.Error("couldn't store why a request waits", "error", err)
	}
}

// to makes a transition and tells those who wait for it.
func (c *Coordinator) to(r *Record, st State, reason string, p patch) error {
	if err := c.store.move(c.ctx, r.ID, r.State, st, reason, p); err != nil {
		return err
	}
	c.log.Info("request", "id", fmt.Sprintf("%x", r.ID[:8]), "state", st, "reason", reason)
	if st == Denied || st == Expired || st == Cancelled {
		if err := c.store.releaseNonce(c.ctx, r.ID); err != nil {
			c.log.Error("couldn't release nonce", "error", err)
		}
	}
	c.tell(r.ID)
	return nil
}

// step does what the request's state asks for. It returns the state that the
// error, if any, is about.
func (c *Coordinator) step(r *Record, wake <-chan struct{}) (State, error) {
	beforeSigned := r.State == Draft || r.State == Screening || r.State == AwaitingApproval || r.State == Signing
	if beforeSigned && now() >= r.Bundle.Request.Expires {
		return r.State, c.to(r, Expired, "expired at "+request.Instant(r.Bundle.Request.Expires)+" before it was signed", patch{})
	}
	switch r.State {
	case Draft:
		return r.State, c.to(r, Screening, "asking the risk engine", patch{})
	case Screening:
		return r.State, c.screen(r)
	case AwaitingApproval:
		return r.State, c.await(r)
	case Signing:
		return r.State, c.sign(r)
	case Signed:
		return r.State, c.send(r)
	case Broadcast:
		return r.State, c.follow(r, wake)
	}
	return r.State, fmt.Errorf("unknown state %q", r.State)
}

// screen gets the risk engine's verdict. Without one the request is held.
func (c *Coordinator) screen(r *Record) error {
	if c.opts.Screener == nil {
		return c.to(r, AwaitingApproval, "no risk engine is configured", patch{})
	}
	ctx, cancel := context.WithTimeout(c.ctx, screenTimeout)
	defer cancel()
	v, err := c.opts.Screener.Screen(ctx, r.Bundle)
	if err != nil {
		return fmt.Errorf("held: the risk engine does not answer: %w", err)
	}
	b, err := c.withVerdict(r, v)
	if err != nil {
		return fmt.Errorf("held: the risk engine's answer is of no use: %w", err)
	}
	reason := fmt.Sprintf("risk engine %s says %v, score %d", v.Engine, v.Outcome, v.Score)
	for _, why := range v.Reasons {
		reason += "; " + why
	}
	if v.Outcome == request.Hold {
		return errors.New("held: " + reason)
	}
	return c.to(r, AwaitingApproval, reason, patch{Bundle: b})
}

func (c *Coordinator) withVerdict(r *Record, v *request.RiskVerdict) (*request.Bundle, error) {
	// Approvals may have come while the engine thought.
	fresh, err := c.store.get(c.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	b := fresh.Bundle
	b.Verdicts = slices.DeleteFunc(b.Verdicts, func(o request.RiskVerdict) bool { return o.Engine == v.Engine })
	b.Verdicts = append(b.Verdicts, *v)
	b.Sort()
	if _, err := c.Governance().Roster.CheckBundle(b, c.cluster, now()); err != nil {
		return nil, err
	}
	return b, nil
}

// Explain evaluates a request as the vaults will, as a courtesy to people.
func (c *Coordinator) Explain(r *Record) (policy.Decision, *chain.Effects, error) {
	q := r.Bundle.Request
	gov := c.Governance()
	v, err := gov.Roster.CheckBundle(r.Bundle, c.cluster, now())
	if err != nil {
		return policy.Decision{}, nil, err
	}
	e, err := c.codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee)
	if err != nil {
		return policy.Decision{}, nil, err
	}
	return gov.Policy.Evaluate(gov.Roster, policy.Input{Request: q, Effects: e, Verified: v, Now: now()}), e, nil
}

// await sees whether enough people approved. What policy denies goes to the
// vaults all the same: their signed refusal is what counts.
func (c *Coordinator) await(r *Record) error {
	d, _, err := c.Explain(r)
	switch {
	case err != nil:
		return c.to(r, Signing, "the vaults decide: "+err.Error(), patch{})
	case d.Allow:
		return c.to(r, Signing, "allowed by rule "+d.Rule, patch{})
	case !d.Pending:
		return c.to(r, Signing, "policy denies; asking the vaults for their signed refusal: "+d.Detail, patch{})
	case d.Code == policy.CodeRisk:
		return c.to(r, Screening, "the risk engine's verdict is missing or out of date", patch{})
	}
	c.reason(r, AwaitingApproval, errors.New(d.Detail))
	return errParked
}

// send broadcasts. It may be repeated: the chain knows a transaction by its hash.
func (c *Coordinator) send(r *Record) error {
	ch, ok := c.chains[r.Bundle.Request.Chain]
	if !ok {
		return fmt.Errorf("no node of chain %s is configured", r.Bundle.Request.Chain)
	}
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	if _, err := ch.Node.SendRaw(ctx, r.Raw); err != nil {
		if refused := rpcRefused(err); refused != nil {
			return c.to(r, Rejected, "the chain's node refuses the transaction: "+refused.Message, patch{})
		}
		return err
	}
	return c.to(r, Broadcast, "sent as "+r.TxID, patch{})
}

// followEvery is how often a transaction is looked for; the first looks come
// sooner, since a development node mines at once.
const followEvery = 2 * time.Second

// follow waits until the transaction has its confirmations.
func (c *Coordinator) follow(r *Record, wake <-chan struct{}) error {
	ch, ok := c.chains[r.Bundle.Request.Chain]
	if !ok {
		return fmt.Errorf("no node of chain %s is configured", r.Bundle.Request.Chain)
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, followEvery) {
		rec, blocks, err := c.mined(ch, r.TxID)
		if err != nil {
			return err
		}
		if rec != nil && blocks >= ch.Confirmations {
			fee := rec.Fee()
			p := patch{Receipt: &Receipt{Block: rec.Block, GasUsed: rec.GasUsed, FeeWei: fee.Dec(), Success: rec.OK}}
			if !rec.OK {
				return c.to(r, Failed, fmt.Sprintf("mined in block %d and reverted; the fee is paid", rec.Block), p)
			}
			return c.to(r, Confirmed, fmt.Sprintf("in block %d, %d confirmations", rec.Block, blocks), p)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-wake:
		case <-c.ctx.Done():
		}
		t.Stop()
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
	}
}
