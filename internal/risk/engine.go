package risk

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	told := map[string]bool{"": true, effects.Sender: true}
	if err := e.known(f, parties(effects), told, now); err != nil {
		return nil, err
	}
	history, past := e.past(codec, effects, q, q.History)
	e.recipients(f, effects, past)
	e.lookalike(f, effects, past)
	e.amounts(f, effects, past)
	open, pending := e.past(codec, effects, q, e.pressing(q.Open, ms))
	e.velocity(f, effects, append(open, history...), append(pending, past...), ms)
	e.fees(f, r)
	e.shape(f, effects)
	// Last, those that take time.
	reached, err := e.simulate(ctx, f, effects, r.Intent)
	if err != nil {
		return nil, err
	}
	if err := e.known(f, reached, told, now); err != nil {
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

// parties are all accounts that the effects name: who gives, gets or may take, contracts,
// and whoever stands among the arguments of calls and the fields of messages.
func parties(x *chain.Effects) []string {
	var out []string
	for i := range x.Transfers {
		out = append(out, x.Transfers[i].From, x.Transfers[i].To)
	}
	for i := range x.Approvals {
		out = append(out, x.Approvals[i].Owner, x.Approvals[i].Spender)
	}
	for i := range x.Calls {
		out = append(append(out, x.Calls[i].To), named(x.Calls[i].Args)...)
	}
	if x.Message != nil {
		out = append(append(out, x.Message.Contract), named(x.Message.Fields)...)
	}
	return out
}

// named are the accounts among arguments.
func named(args []chain.Arg) []string {
	var out []string
	for i := range args {
		if args[i].Kind == chain.ArgAddress {
			out = append(out, args[i].Text)
		}
	}
	return out
}

// known looks for bad accounts, in whatever role, but for those that it was told of.
func (e *Engine) known(f *findings, accounts []string, told map[string]bool, now time.Time) error {
	var all []string
	for _, a := range accounts {
		if !told[a] {
			told[a] = true
			all = append(all, a)
		}
	}
	bad, err := e.lists.find(all, now)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	for _, a := range e.checks.Bad {
		own[anywhere(a)] = true
	}
	for _, p := range all {
		if why, ok := bad[p]; ok {
			f.add(e.checks.BadWeight, "%s is on the list of known bad accounts of %s", p, why)
		} else if own[anywhere(p)] {
			f.add(e.checks.BadWeight, "%s is on the list of known bad accounts", p)
		}
	}
	return nil
}

// past decodes what this wallet did, or is about to do, on this chain. What does not decode taught
// nothing.
func (e *Engine) past(codec chain.Codec, x *chain.Effects, q *Question, all []Past) (own []Past, out []*chain.Effects) {
	for i := range all {
		r := all[i].Request
		if r.Cluster != e.cluster || r.Sender != x.Sender {
			continue
		}
		if p, err := codec.Intent(r.Chain, r.Sender, r.Intent, r.MaxFee, q.Methods); err == nil {
			own, out = append(own, all[i]), append(out, p)
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
			if t := &p.Transfers[i]; t.From == x.Sender && !t.Amount.IsZero() {
				paid[t.To] = true
			}
		}
	}
	for i := range x.Transfers {
		if to := x.Transfers[i].To; to != "" && to != x.Sender && !paid[to] {
			paid[to] = true
			f.add(e.checks.NewRecipientWeight, "this wallet never paid %s before", to)
		}
	}
}

// amounts looks for much more of an asset than this wallet ever sent at once, in however
// many transfers, or ever let others take. A wallet without a past has no usual amount.
func (e *Engine) amounts(f *findings, x *chain.Effects, past []*chain.Effects) {
	if e.checks.UnusualWeight == 0 {
		return
	}
	usual := map[string]chain.Amount{}
	for _, p := range past {
		for asset, sum := range outgoing(p) {
			if most := usual[asset]; sum.Gt(&most) {
				usual[asset] = sum
			}
		}
	}
	now := outgoing(x)
	for _, asset := range slices.Sorted(maps.Keys(now)) {
		sum, most := now[asset], usual[asset]
		if most.IsZero() {
			continue
		}
		var limit, factor chain.Amount
		if _, over := limit.MulOverflow(&most, factor.SetUint64(uint64(e.checks.UnusualFactor))); !over && sum.Gt(&limit) {
			f.add(e.checks.UnusualWeight, "amount %s of %s is more than %d times the largest so far, %s", sum.Dec(), asset, e.checks.UnusualFactor, most.Dec())
		}
	}
}

// outgoing is how much of each asset moves to others than the sender, or may be taken
// by them: the larger of both, since an allowance is often for a transfer beside it.
// One without limit has a check of its own.
func outgoing(x *chain.Effects) map[string]chain.Amount {
	out, lent := map[string]chain.Amount{}, map[string]chain.Amount{}
	for i := range x.Transfers {
		if t := &x.Transfers[i]; t.To != x.Sender {
			sum := out[t.Asset]
			addUp(&sum, &t.Amount)
			out[t.Asset] = sum
		}
	}
	for i := range x.Approvals {
		if a := &x.Approvals[i]; !a.Unlimited() {
			sum := lent[a.Asset]
			addUp(&sum, &a.Amount)
			lent[a.Asset] = sum
		}
	}
	for asset, sum := range lent {
		if most := out[asset]; sum.Gt(&most) {
			out[asset] = sum
		}
	}
	return out
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
	given := map[[3]string]chain.Amount{} // to one spender, in however many steps
	for i := range x.Approvals {
		a := x.Approvals[i]
		k := [3]string{a.Owner, a.Spender, a.Asset}
		before := given[k]
		addUp(&a.Amount, &before)
		given[k] = a.Amount
		switch {
		case a.Unlimited():
			f.add(e.checks.UnlimitedWeight, "it lets %s spend the wallet's %s without limit", a.Spender, a.Asset)
		case !a.Amount.IsZero():
			f.add(e.checks.AllowanceWeight, "it lets %s spend %s of the wallet's %s", a.Spender, a.Amount.Dec(), a.Asset)
		}
	}
}
