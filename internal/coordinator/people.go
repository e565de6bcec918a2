package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// Propose takes a new request. The same request twice is one request; created
// says whether it is new. What the vaults would not even look at is refused here
// and nothing of it is kept; what policy denies is taken, for the vaults to say.
func (c *Coordinator) Propose(ctx context.Context, b *request.Bundle) (r *Record, created bool, err error) {
	if len(b.Approvals) > 0 || len(b.Verdicts) > 0 || len(b.Prices) > 0 {
		return nil, false, refusal.Newf("bundle.approvals", "a bundle with the request and its initiator's signature only", "a proposal brings no approvals or verdicts along")
	}
	if _, err := c.Governance().Roster.CheckBundle(b, c.cluster, c.now()); err != nil {
		return nil, false, err
	}
	if err := c.checkRequest(b.Request); err != nil {
		return nil, false, err
	}
	r, created, err = c.store.insert(ctx, b, firstMove)
	if err != nil {
		return nil, false, err
	}
	if created {
		c.mu.Lock()
		c.tried[r.ID] = newTried() // there was no attempt yet
		c.mu.Unlock()
		c.moved(r)
		c.run(r.ID)
	}
	return r, created, nil
}

// checkRequest tells people early what would come to nothing.
func (c *Coordinator) checkRequest(q *request.Request) error {
	codec, err := family.Of(q.Chain)
	if err == nil {
		err = family.CheckChain(q.Chain)
	}
	if err != nil {
		return refusal.Newf("request.chain", "a chain that this cluster can read, such as eip155:1", "chain: %v", err)
	}
	if _, ok := c.chains[q.Chain]; !ok && !handed(q.Chain) && !isMessage(q) {
		return refusal.Newf("request.chain", "one of "+c.chainList(), "chain: no node of %s is configured", q.Chain)
	}
	w, err := c.walletByID(q.Wallet)
	if err != nil {
		return err
	}
	if err := family.CheckAccount(q.Sender); err != nil {
		return refusal.Newf("request.sender", "", "sender: %v", err)
	}
	sender, err := w.Address(q.Chain)
	if err != nil {
		return err
	}
	if sender != q.Sender {
		return refusal.Newf("request.sender", sender, "sender: %s is not the address of wallet %s", q.Sender, w.Name)
	}
	if _, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, c.Governance().Policy.Methods); err != nil {
		return refusal.Newf("request.intent", "the canonical intent of docs/spec/"+codec.Namespace()+".md", "intent: %v", err)
	}
	return nil
}

func (c *Coordinator) chainList() string {
	s := ""
	for i, ch := range c.opts.Chains {
		if i > 0 {
			s += ", "
		}
		s += ch.ID
	}
	return s
}

// Approve takes one person's yes or no, and sees at once what follows from it.
func (c *Coordinator) Approve(ctx context.Context, a *request.Approval) (*Record, error) {
	changed, l := false, c.view(ctx)
	r, err := c.store.update(ctx, a.Request, func(r *Record) (*move, error) {
		m, err := c.approve(r, a, l)
		changed = m != nil
		return m, err
	})
	if err != nil {
		return nil, err
	}
	if changed {
		c.moved(r)
		c.run(r.ID)
	}
	return r, nil
}

func (c *Coordinator) approve(r *Record, a *request.Approval, l *view) (*move, error) {
	others := slices.Clone(r.Bundle.Approvals)
	if i := slices.IndexFunc(others, func(o request.Approval) bool { return o.Principal == a.Principal }); i >= 0 {
		old := others[i]
		switch {
		case bytes.Equal(old.Encode(), a.Encode()):
			return nil, nil // it came before
		case old.Approve && c.now() >= old.Expires:
			others = slices.Delete(others, i, i+1) // a yes that lapsed may be given again
		default:
			return nil, refusal.Newf("approval.duplicate", "one answer a person", "approval: %s has answered this request already, at %s; an answer is given once, with whatever key",
				a.Principal, request.Instant(old.Time))
		}
	}
	if !r.State.unsigned() {
		return nil, fmt.Errorf("%w: the request is %s: an answer changes nothing any more", ErrConflict, r.State)
	}
	with := *r.Bundle
	with.Approvals = append(others, *a)
	with.Sort()
	v, err := c.Governance().Roster.CheckBundle(&with, c.cluster, c.now())
	if err != nil {
		return nil, err
	}
	for _, i := range v.Ignored {
		if i.Principal == a.Principal {
			return nil, refusal.Newf("approval.expired", "an approval that counts now", "approval: %s", i.Why)
		}
	}
	r.Bundle = &with
	m := &move{To: r.State, Reason: r.Reason, Bundle: &with}
	if r.State == AwaitingApproval {
		if m, err = c.next(r, l, ""); err != nil {
			return nil, err
		}
		m.Bundle = &with
	}
	verb := "approved"
	if !a.Approve {
		verb = "denied"
	}
	if m.To == AwaitingApproval || m.To == Signing && r.State == AwaitingApproval {
		m.Reason = fmt.Sprintf("%s by %s; %s", verb, a.Principal, m.Reason)
	}
	return m, nil
}

// Cancel takes a request back, until the vaults are asked.
func (c *Coordinator) Cancel(ctx context.Context, x *request.Cancellation) (*Record, error) {
	as, err := c.store.attempts(ctx, x.Request)
	if err != nil {
		return nil, err
	}
	changed := false
	r, err := c.store.update(ctx, x.Request, func(r *Record) (*move, error) {
		if err := c.Governance().Roster.CheckCancellation(x, r.Bundle.Request); err != nil {
			return nil, err
		}
		switch {
		case r.State == Cancelled:
			return nil, nil
		case !r.State.unsigned():
			return nil, fmt.Errorf("%w: the request is %s and cannot be taken back", ErrConflict, r.State)
		case len(as) > 0 || c.asked(r):
			return nil, fmt.Errorf("%w: the vaults were asked to sign it: it cannot be taken back, only expire at %s", ErrConflict, request.Instant(r.Bundle.Request.Expires))
		}
		changed = true
		return &move{To: Cancelled, Reason: "cancelled by " + x.Principal}, nil
	})
	if err != nil {
		return nil, err
	}
	if changed {
		c.moved(r)
		c.run(r.ID)
	}
	return r, nil
}

// Request returns a request.
func (c *Coordinator) Request(ctx context.Context, id [32]byte) (*Record, error) {
	return c.store.get(ctx, id)
}

// Standing is where a request stands, and how many steps brought it there.
func (c *Coordinator) Standing(ctx context.Context, id [32]byte) (st State, reason string, steps int, err error) {
	return c.store.standing(ctx, id)
}

// Find looks a request up by the first bytes of its id; an ambiguous prefix is
// an error.
func (c *Coordinator) Find(ctx context.Context, prefix []byte) (*Record, error) {
	from, to := prefixRange(prefix)
	rs, err := c.store.find(ctx, from, to)
	switch {
	case err != nil:
		return nil, err
	case len(rs) == 0:
		return nil, fmt.Errorf("request %x: %w", prefix, ErrNotFound)
	case len(rs) > 1:
		return nil, fmt.Errorf("%w: more than one request begins with %x", ErrConflict, prefix)
	}
	return rs[0], nil
}

// List returns the newest requests, of one state or ("") of all.
func (c *Coordinator) List(ctx context.Context, st State, limit int) ([]*Record, error) {
	return c.store.list(ctx, st, limit)
}

// History returns a request's transitions and attempts.
func (c *Coordinator) History(ctx context.Context, id [32]byte) ([]Transition, []*Attempt, error) {
	ts, err := c.store.history(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	as, err := c.store.attempts(ctx, id)
	return ts, as, err
}
