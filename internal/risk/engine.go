package risk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Engine judges requests of one cluster.
type Engine struct {
	cluster           [32]byte
	key               *keyfile.Key
	checks            Checks
	feeMost, feeLeast chain.Amount
	valid             time.Duration

	lists      *lists
	providers  []*provider
	simulators map[string]Simulator // by chain
}

// New makes an engine that signs with key.
func New(cluster [32]byte, key *keyfile.Key, checks *Checks, valid time.Duration) (*Engine, error) {
	if err := checks.Check(); err != nil {
		return nil, err
	}
	e := &Engine{cluster: cluster, key: key, checks: *checks, valid: valid}
	if checks.FeeWeight > 0 {
		var err error
		if e.feeMost, err = amount.Parse(checks.FeeMost, amount.Ether...); err != nil {
			return nil, err
		}
		if e.feeLeast, err = amount.Parse(checks.FeeLeast, amount.Ether...); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Judge looks at a request and signs what it thinks of it.
func (e *Engine) Judge(ctx context.Context, q *Question, now time.Time) (*request.RiskVerdict, error) {
	r := q.Bundle.Request
	if r.Cluster != e.cluster {
		return nil, fmt.Errorf("the request is for cluster %x, this engine serves %x", r.Cluster[:8], e.cluster[:8])
	}
	codec, err := family.Of(r.Chain)
	if err != nil {
		return nil, err
	}
	effects, err := codec.Intent(r.Chain, r.Sender, r.Intent, r.MaxFee, q.Methods)
	if err != nil {
		return nil, err
	}
	ms := uint64(now.UnixMilli())
	if ms >= r.Expires {
		return nil, errors.New("the request has expired")
	}
	f := &findings{}
	if err := e.known(f, effects, now); err != nil {
		return nil, err
	}
	history, past := e.past(codec, effects, q)
	e.recipients(f, effects, past)
	e.lookalike(f, effects, past)
	e.amounts(f, effects, past)
	e.velocity(f, effects, history, past, ms)
	e.fees(f, r)
	e.shape(f, effects)
	// Last, those that take time.
	if err := e.simulate(ctx, f, effects, r.Intent); err != nil {
		return nil, err
	}
	if err := e.ask(ctx, f, r.ID(), effects, now); err != nil {
		return nil, err
	}
	v := &request.RiskVerdict{
		Request: r.ID(), Engine: e.key.Principal, Outcome: e.outcome(f.score), Score: uint16(f.score), Reasons: f.reasons,
		Time: ms, Expires: min(r.Expires, ms+uint64(e.valid.Milliseconds())), Key: e.key.Public(),
	}
	v.Signature = e.key.Sign(v.Statement())
	return v, nil
}

func (e *Engine) outcome(score int) request.Outcome {
	switch {
	case score >= e.checks.Deny:
		return request.Deny
	case score >= e.checks.Hold:
		return request.Hold
	}
	return request.Pass
}

// findings add up to a score.
type findings struct {
	score   int
	reasons []string
}

func (f *findings) add(weight int, format string, args ...any) {
	if weight == 0 {
		return
	}
	f.score = min(f.score+weight, maxScore)
	if len(f.reasons) < request.MaxReasons {
		f.reasons = append(f.reasons, wire.CleanText(fmt.Sprintf(format, args...)+fmt.Sprintf(" (+%d)", weight), request.MaxReason))
	}
}

// parties are all accounts that the effects reach.
func parties(x *chain.Effects) []string {
	var out []string
	add := func(s string) {
		if s != "" && s != x.Sender && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for i := range x.Transfers {
		add(x.Transfers[i].From)
		add(x.Transfers[i].To)
	}
	for i := range x.Approvals {
		add(x.Approvals[i].Spender)
	}
	for i := range x.Calls {
		add(x.Calls[i].To)
	}
	return out
}

// known looks for bad accounts, in whatever role.
func (e *Engine) known(f *findings, x *chain.Effects, now time.Time) error {
	all := parties(x)
	bad, err := e.lists.find(all, now)
	if err != nil {
		return err
	}
	for _, p := range all {
		if why, ok := bad[p]; ok {
			f.add(e.checks.BadWeight, "%s is on the list of known bad accounts of %s", p, why)
		} else if slices.Contains(e.checks.Bad, p) {
			f.add(e.checks.BadWeight, "%s is on the list of known bad accounts", p)
		}
	}
	return nil
}

// past decodes what this wallet did on this chain. What does not decode taught
// nothing.
func (e *Engine) past(codec chain.Codec, x *chain.Effects, q *Question) (own []Past, out []*chain.Effects) {
	for i := range q.History {
		r := q.History[i].Request
		if r.Cluster != e.cluster || r.Sender != x.Sender {
			continue
		}
		if p, err := codec.Intent(r.Chain, r.Sender, r.Intent, r.MaxFee, q.Methods); err == nil {
			own, out = append(own, q.History[i]), append(out, p)
		}
	}
	return own, out
}

// recipients looks for somebody whom this wallet never paid before. A token's
// contract is not a recipient.
func (e *Engine) recipients(f *findings, x *chain.Effects, past []*chain.Effects) {
	paid := map[string]bool{}
	for _, p := range past {
		for i := range p.Transfers {
			paid[p.Transfers[i].To] = true
		}
	}
	for i := range x.Transfers {
		if to := x.Transfers[i].To; to != "" && to != x.Sender && !paid[to] {
			paid[to] = true
			f.add(e.checks.NewRecipientWeight, "this wallet never paid %s before", to)
		}
	}
}

// amounts looks for much more of an asset than this wallet ever sent at once. A
// wallet without a past has no usual amount.
func (e *Engine) amounts(f *findings, x *chain.Effects, past []*chain.Effects) {
	if e.checks.UnusualWeight == 0 {
		return
	}
	usual := map[string]chain.Amount{}
	for _, p := range past {
		for i := range p.Transfers {
			t := &p.Transfers[i]
			if most, ok := usual[t.Asset]; !ok || t.Amount.Gt(&most) {
				usual[t.Asset] = t.Amount
			}
		}
	}
	for i := range x.Transfers {
		t := &x.Transfers[i]
		most, ok := usual[t.Asset]
		if !ok {
			continue
		}
		var limit, factor chain.Amount
		if _, over := limit.MulOverflow(&most, factor.SetUint64(uint64(e.checks.UnusualFactor))); !over && t.Amount.Gt(&limit) {
			f.add(e.checks.UnusualWeight, "amount %s of %s is more than %d times the largest so far, %s", t.Amount.Dec(), t.Asset, e.checks.UnusualFactor, most.Dec())
		}
	}
}

// fees looks at the most that fees may be, where they are paid in ether.
func (e *Engine) fees(f *findings, r *request.Request) {
	if e.checks.FeeWeight == 0 || !strings.HasPrefix(r.Chain, evm.Namespace+":") {
		return
	}
	most, least := e.feeMost, e.feeLeast
	switch {
	case r.MaxFee.Gt(&most):
		f.add(e.checks.FeeWeight, "maximum fee %s is above %s", amount.Format(r.MaxFee, amount.ETH), e.checks.FeeMost)
	case r.MaxFee.Lt(&least):
		f.add(e.checks.FeeWeight, "maximum fee %s is below %s", amount.Format(r.MaxFee, amount.Wei), e.checks.FeeLeast)
	}
}

// shape looks at what kind of transaction it is.
func (e *Engine) shape(f *findings, x *chain.Effects) {
	if x.Undecoded != "" {
		f.add(e.checks.UndecodedWeight, "it could not be understood: %s", x.Undecoded)
	}
	for i := range x.Approvals {
		if a := &x.Approvals[i]; a.Unlimited() {
			f.add(e.checks.UnlimitedWeight, "it lets %s spend the wallet's %s without limit", a.Spender, a.Asset)
		} else {
			f.add(e.checks.AllowanceWeight, "it lets %s spend %s of the wallet's %s", a.Spender, a.Amount.Dec(), a.Asset)
		}
	}
}
