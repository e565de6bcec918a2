package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/risk"
)

// drive takes a request from state to state until nothing more is to be done
// without people. There is one goroutine a request.
func (c *Coordinator) drive(id [32]byte, wake <-chan struct{}) {
	defer c.park(id)
	var r *Record // nil: to be read
	for tries := 0; c.ctx.Err() == nil; {
		if r == nil {
			var err error
			if r, err = c.store.get(c.ctx, id); err != nil {
				if c.ctx.Err() == nil {
					c.log.Error("couldn't read request", "err", err)
				}
				return
			}
		}
		if Ended(r.State, r.Reason) {
			c.forget(id)
			return
		}
		from := r.State
		err := c.step(r, wake)
		if err == nil && r.State != from {
			tries = 0 // r is as the database has it
			continue
		}
		switch {
		case c.ctx.Err() != nil:
			return
		case err == nil, errors.Is(err, ErrConflict):
			// It was changed meanwhile: cancelled, approved. Look again.
		case errors.Is(err, errWindow):
			c.sleep(r, heldMost, wake)
			tries = 0
		case errors.Is(err, errParked):
			c.sleep(r, maxSleep, wake)
			tries = 0
		default:
			c.reason(id, from, err)
			c.sleep(r, delay(err, tries), wake)
			tries++
		}
		r = nil
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

// errWindow: it waits for people, or for a limit's window to pass.
var errWindow = errors.New("waits for people or a limit")

// retry is an error with how long to wait at most before the step is tried
// again.
type retry struct {
	error
	most time.Duration
}

func (r *retry) Unwrap() error { return r.error }

// The waits between tries begin with retryFirst and double.
const (
	retryFirst  = 20 * time.Millisecond
	retryMost   = 15 * time.Second
	vaultsMost  = time.Second      // a vault that comes back is asked soon
	silentMost  = 2 * time.Second  // so is an engine
	heldMost    = 30 * time.Second // a request on hold is screened again, one over a limit looked at again
	maxSleep    = 24 * time.Hour
	followEvery = 2 * time.Second
)

func delay(err error, tries int) time.Duration {
	most := retryMost
	var r *retry
	if errors.As(err, &r) {
		most = r.most
	}
	return min(most, retryFirst<<min(tries, 12))
}

// sleep waits for d, a wake-up, or the request's expiry.
func (c *Coordinator) sleep(r *Record, d time.Duration, wake <-chan struct{}) {
	if r.State.unsigned() {
		left := time.Duration(int64(r.Bundle.Request.Expires)-int64(c.now())) * time.Millisecond
		d = min(d, max(left, 0)+time.Millisecond)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-c.ctx.Done():
	}
}

// reason stores why a request does not move.
func (c *Coordinator) reason(id [32]byte, st State, err error) {
	told := false
	_, e := c.store.update(c.ctx, id, func(r *Record) (*move, error) {
		if r.State != st || r.Reason == err.Error() {
			return nil, nil
		}
		told = true
		return &move{To: st, Reason: err.Error()}, nil
	})
	switch {
	case e != nil && c.ctx.Err() == nil:
		c.log.Error("couldn't store why a request waits", "err", e)
	case told:
		c.log.Info("request waits", "id", short(id), "state", string(st), "reason", err.Error())
		c.tell(id)
	}
}

// to makes a transition and tells those who wait for it. It fails with
// ErrConflict when the request is in another state by now.
func (c *Coordinator) to(r *Record, m move) error {
	next, err := c.store.update(c.ctx, r.ID, func(now *Record) (*move, error) {
		if now.State != r.State {
			return nil, fmt.Errorf("%w: the request is %s by now, not %s", ErrConflict, now.State, r.State)
		}
		return &m, nil
	})
	if err != nil {
		return err
	}
	c.moved(next)
	*r = *next
	return nil
}

func (c *Coordinator) moved(r *Record) {
	c.log.Info("request", "id", short(r.ID), "state", string(r.State), "reason", r.Reason)
	c.tell(r.ID)
}

func short(id [32]byte) string { return fmt.Sprintf("%x", id[:8]) }

// step does what the request's state asks for.
func (c *Coordinator) step(r *Record, wake <-chan struct{}) error {
	if r.State.unsigned() && c.now() >= r.Bundle.Request.Expires {
		return c.to(r, move{To: Expired, Reason: "expired at " + request.Instant(r.Bundle.Request.Expires) + " before it was signed"})
	}
	switch r.State {
	case Draft:
		return c.to(r, firstMove)
	case Screening:
		return c.screen(r)
	case AwaitingApproval:
		return c.await(r)
	case Signing:
		return c.sign(r)
	case Signed:
		if c.offline(r) {
			return errParked // whoever exports it sends it
		}
		return c.broadcast(r)
	case Broadcast:
		return c.follow(r, wake)
	}
	return fmt.Errorf("unknown state %q", r.State)
}

// firstMove is what a proposal begins with.
var firstMove = move{To: Screening, Reason: "asking the risk engine"}

// screen gets the risk engine's verdict. Without one the request is held; it
// never passes by default.
func (c *Coordinator) screen(r *Record) error {
	if c.opts.Screener == nil {
		return c.evaluate(r, nil)
	}
	if !isMessage(r.Bundle.Request) {
		c.askAhead(r)
	}
	ctx, cancel := context.WithTimeout(c.ctx, screenTimeout)
	defer cancel()
	history, err := c.past(ctx, r)
	if err != nil {
		return err
	}
	open, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	v, err := c.opts.Screener.Screen(ctx, &risk.Question{Bundle: r.Bundle, History: history, Open: open, Methods: c.Governance().Policy.Methods})
	if err != nil {
		return &retry{fmt.Errorf("held: the risk engine gives no verdict: %w", err), silentMost}
	}
	return c.evaluate(r, v)
}

// past is what the engine learns from: the wallet's newest confirmed requests. It
// is read once; after that confirmations are added as they come.
func (c *Coordinator) past(ctx context.Context, r *Record) ([]risk.Past, error) {
	wallet := r.Bundle.Request.Wallet
	c.mu.Lock()
	known, ok := c.pasts[wallet]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	rs, err := c.store.past(ctx, wallet, risk.MaxHistory)
	if err != nil {
		return nil, err
	}
	var out []risk.Past
	for _, p := range rs {
		out = append(out, risk.Past{Request: p.Bundle.Request, Time: p.Updated})
	}
	out = bounded(out)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.pasts[wallet]; ok {
		return known, nil
	}
	c.pasts[wallet] = out
	return out, nil
}

// open is what of the wallet was asked for before this request and is under way: a burst
// would be over before any of it is confirmed.
func (c *Coordinator) open(ctx context.Context, r *Record) ([]risk.Past, error) {
	rs, err := c.store.open(ctx, r, risk.MaxHistory)
	if err != nil {
		return nil, err
	}
	var out []risk.Past
	for _, p := range rs {
		out = append(out, risk.Past{Request: p.Bundle.Request, Time: p.Created})
	}
	return bounded(out), nil
}

// remember adds a confirmed request to the past. If that was not read yet, the
// database has it already.
func (c *Coordinator) remember(r *Record) {
	wallet := r.Bundle.Request.Wallet
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.pasts[wallet]; ok {
		c.pasts[wallet] = bounded(append([]risk.Past{{Request: r.Bundle.Request, Time: r.Updated}}, known...))
	}
}

// bounded cuts the past to what a question may hold.
func bounded(all []risk.Past) []risk.Past {
	size := 0
	for i := range all {
		if size += len(all[i].Request.Encode()); size > risk.MaxHistoryBytes || i == risk.MaxHistory {
			return all[:i:i]
		}
	}
	return all
}

// evaluate takes a verdict (nil: there is no engine) and sees what the policy
// makes of the request.
func (c *Coordinator) evaluate(r *Record, v *request.RiskVerdict) error {
	l := c.view(c.ctx)
	next, err := c.store.update(c.ctx, r.ID, func(now *Record) (*move, error) {
		if now.State != r.State {
			return nil, fmt.Errorf("%w: the request is %s by now", ErrConflict, now.State)
		}
		if v == nil {
			return c.next(now, l, "no risk engine is configured; ")
		}
		b := *now.Bundle // approvals may have come while the engine thought
		b.Verdicts = slices.DeleteFunc(slices.Clone(b.Verdicts), func(o request.RiskVerdict) bool { return o.Engine == v.Engine })
		b.Verdicts = append(b.Verdicts, *v)
		b.Sort()
		if _, err := c.Governance().Roster.CheckBundle(&b, c.cluster, c.now()); err != nil {
			return nil, fmt.Errorf("held: the risk engine's verdict is of no use: %w", err)
		}
		now.Bundle = &b
		m, err := c.next(now, l, "")
		if err != nil {
			return nil, err
		}
		m.Bundle = &b
		switch {
		case m.To == Screening:
			m.Reason = "held: " + verdictWords(v) + "; " + m.Reason
		case v.Outcome != request.Pass && !c.reads(v) && !m.Denies:
			m.To, m.Reason = Screening, "held: "+verdictWords(v)+"; the policy says nothing about such a verdict"
		default:
			m.Reason = verdictWords(v) + "; " + m.Reason
		}
		return m, nil
	})
	if err != nil {
		return err
	}
	if next.State == Screening {
		c.tell(r.ID)
		*r = *next
		return &retry{errors.New(next.Reason), heldMost}
	}
	c.moved(next)
	*r = *next
	return nil
}

func verdictWords(v *request.RiskVerdict) string {
	s := fmt.Sprintf("risk engine %s says %v, score %d", v.Engine, v.Outcome, v.Score)
	if len(v.Reasons) > 0 {
		s += " (" + strings.Join(v.Reasons, "; ") + ")"
	}
	return s
}

// reads says whether the policy speaks of such a verdict. One that it does not
// speak of holds the request: policy cannot have meant it to pass.
func (c *Coordinator) reads(v *request.RiskVerdict) bool {
	d := c.Governance().Policy
	for i := range d.Guards {
		if readsVerdict(&d.Guards[i].When, v) {
			return true
		}
	}
	for i := range d.Rules {
		if readsVerdict(&d.Rules[i].When, v) {
			return true
		}
	}
	return false
}

func readsVerdict(x *policy.Expr, v *request.RiskVerdict) bool {
	isEngine := func(e *policy.Expr) bool { return e.Op == policy.OpRiskOutcome && e.Text == v.Engine }
	asks := slices.ContainsFunc(x.Args, func(e policy.Expr) bool { return isEngine(&e) })
	switch {
	case x.Op == policy.OpRiskScore && x.Text == v.Engine, isEngine(x) && v.Outcome == request.Deny:
		return true
	case asks && x.Op == policy.OpIn && slices.Contains(x.Set, v.Outcome.String()):
		return true
	case asks && slices.ContainsFunc(x.Args, func(e policy.Expr) bool { return e.Op == policy.OpText && e.Text == v.Outcome.String() }):
		return true
	}
	return slices.ContainsFunc(x.Args, func(s policy.Expr) bool { return readsVerdict(&s, v) })
}

// next says where the policy sends an unsigned request. What it denies goes to
// the vaults all the same: their signed refusal is what counts.
func (c *Coordinator) next(r *Record, l *view, prefix string) (*move, error) {
	x, err := c.explainOver(r, l)
	if err != nil {
		return &move{To: Signing, Reason: prefix + "the vaults decide: " + err.Error()}, nil
	}
	d := x.Decision
	switch {
	case d.Allow && d.BreakGlass:
		return &move{To: Signing, Reason: prefix + "BREAK-GLASS: allowed by rule " + d.Rule + ", which is for emergencies"}, nil
	case d.Allow:
		return &move{To: Signing, Reason: prefix + "allowed by rule " + d.Rule}, nil
	case d.Pending && d.Code == policy.CodeRisk:
		return &move{To: Screening, Reason: prefix + d.Detail}, nil
	case passingPrices(d.Code):
		return &move{To: Screening, Reason: prefix + "held: " + d.Detail}, nil
	case d.Pending:
		return &move{To: AwaitingApproval, Reason: prefix + d.Detail + "; wanted: " + d.Fix}, nil
	}
	return &move{To: Signing, Denies: true, Reason: prefix + "policy denies it, asking the vaults for their signed refusal: " + d.Detail}, nil
}

// Explain evaluates a request as the vaults will, as a courtesy to people. Limits
// count what the coordinator knows of.
func (c *Coordinator) Explain(ctx context.Context, r *Record) (*policy.Explanation, error) {
	return c.explainOver(r, c.view(ctx))
}

// explainOver is Explain over what limits count.
func (c *Coordinator) explainOver(r *Record, l *view) (*policy.Explanation, error) {
	if l.err != nil {
		return nil, l.err
	}
	return c.explain(r, l.ledger)
}

func (c *Coordinator) explain(r *Record, l policy.Ledger) (*policy.Explanation, error) {
	q, gov := r.Bundle.Request, c.Governance()
	v, err := gov.Roster.CheckBundle(c.priced(r.Bundle), c.cluster, c.now())
	if err != nil {
		return nil, err
	}
	codec, err := family.Of(q.Chain)
	if err != nil {
		return nil, err
	}
	e, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, gov.Policy.Methods)
	if err != nil {
		return nil, err
	}
	x := gov.Policy.Explain(gov.Roster, policy.Input{Request: q, Effects: e, Verified: v, Now: c.now(), Ledger: l})
	return &x, nil
}

// await sees whether enough people approved: policy may have changed, a verdict
// may have lapsed.
func (c *Coordinator) await(r *Record) error {
	l := c.view(c.ctx)
	m, err := c.next(r, l, "")
	if err != nil {
		return err
	}
	if m.To == AwaitingApproval {
		if m.Reason != r.Reason && !strings.HasSuffix(r.Reason, m.Reason) {
			c.reason(r.ID, AwaitingApproval, errors.New(m.Reason))
		}
		if l.limits {
			return errWindow
		}
		return errParked
	}
	return c.to(r, *m)
}
