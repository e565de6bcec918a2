package identity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Verified is what is left of a bundle after every signature was checked: who
// wants what. Everything in it is sorted, every principal appears once.
type Verified struct {
	Initiator string
	Approvers []string     // said yes, and it counts now
	Denials   []string     // said no
	Risk      []RiskResult // the engines whose verdict counts now
	Prices    []Price      // the sources whose quote counts now
	Ignored   []Ignored    // signed, but does not count now
}

// RiskResult is one engine's verdict.
type RiskResult struct {
	Engine  string
	Outcome request.Outcome
	Score   uint16
	Reasons []string
}

// Price is one source's quote: what one whole unit of each asset is worth, in
// 10^-15 of the currency (request.PriceDecimals).
type Price struct {
	Source   string
	Currency string
	Time     uint64               // when the source said so, unix ms; policy bounds its age
	Assets   []request.AssetPrice // sorted by asset
}

// Ignored is a signature that is good but does not count, and why.
type Ignored struct{ Principal, Why string }

// RiskOf returns an engine's verdict.
func (v *Verified) RiskOf(engine string) (*RiskResult, bool) {
	i, ok := slices.BinarySearchFunc(v.Risk, engine, func(r RiskResult, e string) int { return cmp.Compare(r.Engine, e) })
	if !ok {
		return nil, false
	}
	return &v.Risk[i], true
}

// CheckBundle verifies every signature of b: that of the initiator, of every
// approval, of every verdict. One bad signature refuses the whole bundle, since
// whoever assembled it is not to be believed. What has expired is good but does
// not count. now is unix milliseconds. The error is a *refusal.Refusal.
func (ro *Roster) CheckBundle(b *request.Bundle, cluster [32]byte, now uint64) (*Verified, error) {
	q := b.Request
	if q != nil { // first what explains the rest: an old request's approvals are old too
		if err := checkRequest(q, cluster, now); err != nil {
			return nil, err
		}
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	id := q.ID()
	if err := ro.act("initiator", q.Initiator, Propose); err != nil {
		return nil, err
	}
	if err := ro.Verify(q.Initiator, b.ProposeKey, request.ProposeStatement(id), b.ProposeSignature); err != nil {
		return nil, within("initiator", err)
	}
	v := &Verified{Initiator: q.Initiator}
	for i := range b.Approvals {
		if err := ro.checkApproval(v, i, &b.Approvals[i], now); err != nil {
			return nil, err
		}
	}
	for i := range b.Verdicts {
		if err := ro.checkVerdict(v, i, &b.Verdicts[i], now); err != nil {
			return nil, err
		}
	}
	for i := range b.Prices {
		if err := ro.checkQuote(v, i, &b.Prices[i], now); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func checkRequest(q *request.Request, cluster [32]byte, now uint64) error {
	if q.Cluster != cluster {
		return refusal.Newf("request.cluster", fmt.Sprintf("a request for cluster %x", cluster[:8]), "the request is for cluster %x, this is cluster %x", q.Cluster[:8], cluster[:8])
	}
	if now >= q.Expires {
		return refusal.Newf("request.expired", "a new request", "the request expired at %s, it is %s", request.Instant(q.Expires), request.Instant(now))
	}
	if q.Created > now && q.Created-now > request.MaxSkew {
		return refusal.Newf("request.created", "a creation time that is not in the future", "created: %s is more than %d s ahead of this vault's clock, %s",
			request.Instant(q.Created), request.MaxSkew/1000, request.Instant(now))
	}
	return nil
}

// act checks that a principal exists and may do this: by kind, and by role where
// the roster has roles.
func (ro *Roster) act(field, id string, right Right) error {
	p, ok := ro.Principal(id)
	if !ok {
		return refusal.Newf("identity.principal", "one of "+ro.some(right), "%s: %q is not in the roster", field, wire.CleanText(id, 80))
	}
	switch {
	case kindRights(p.Kind)&right == 0:
		return refusal.Newf("identity.kind", "one of "+ro.some(right), "%s: %s is a %s principal and may not %s", field, id, p.Kind, right)
	case !ro.May(id, right):
		return refusal.Newf("identity.role", "one of "+ro.some(right), "%s: %s has %s, and may not %s", field, id, rolesOf(p), right)
	}
	return nil
}

func rolesOf(p *Principal) string {
	switch len(p.Roles) {
	case 0:
		return "no role"
	case 1:
		return "the role " + p.Roles[0]
	}
	return "the roles " + strings.Join(p.Roles, ", ")
}

// within prefixes a Refusal's detail with the field that it is about.
func within(field string, err error) error {
	r := refusal.As(err)
	return refusal.New(r.Code, r.Rule, field+": "+r.Detail, r.Fix)
}

func (ro *Roster) checkApproval(v *Verified, i int, a *request.Approval, now uint64) error {
	field := fmt.Sprintf("approvals[%d]", i)
	if err := ro.act(field, a.Principal, Approve); err != nil {
		return err
	}
	if err := ro.Verify(a.Principal, a.Key, a.Statement(), a.Signature); err != nil {
		return within(field, err)
	}
	switch why := lapsed(a.Time, a.Expires, now); {
	case !a.Approve: // a no has no expiry: its owner can only say yes anew
		v.Denials = append(v.Denials, a.Principal)
	case why != "":
		v.Ignored = append(v.Ignored, Ignored{a.Principal, "the approval " + why})
	default:
		v.Approvers = append(v.Approvers, a.Principal)
	}
	return nil
}

func (ro *Roster) checkVerdict(v *Verified, i int, r *request.RiskVerdict, now uint64) error {
	field := fmt.Sprintf("verdicts[%d]", i)
	if err := ro.act(field, r.Engine, Judge); err != nil {
		return err
	}
	if err := ro.Verify(r.Engine, r.Key, r.Statement(), r.Signature); err != nil {
		return within(field, err)
	}
	if why := lapsed(r.Time, r.Expires, now); why != "" {
		v.Ignored = append(v.Ignored, Ignored{r.Engine, "the risk verdict " + why})
		return nil
	}
	v.Risk = append(v.Risk, RiskResult{r.Engine, r.Outcome, r.Score, r.Reasons})
	return nil
}

func (ro *Roster) checkQuote(v *Verified, i int, p *request.PriceQuote, now uint64) error {
	field := fmt.Sprintf("prices[%d]", i)
	if err := ro.act(field, p.Source, Quote); err != nil {
		return err
	}
	if err := ro.Verify(p.Source, p.Key, p.Statement(), p.Signature); err != nil {
		return within(field, err)
	}
	if why := lapsed(p.Time, p.Expires, now); why != "" {
		v.Ignored = append(v.Ignored, Ignored{p.Source, "the price quote " + why})
		return nil
	}
	v.Prices = append(v.Prices, Price{p.Source, p.Currency, p.Time, p.Prices})
	return nil
}

// lapsed says why something signed at time and good until expires does not count
// now; it returns "" when it does.
func lapsed(time, expires, now uint64) string {
	switch {
	case now >= expires:
		return fmt.Sprintf("expired at %s", request.Instant(expires))
	case time > now && time-now > request.MaxSkew:
		return fmt.Sprintf("is dated %s, more than %d s ahead of this vault's clock", request.Instant(time), request.MaxSkew/1000)
	}
	return ""
}

// CheckCancellation checks that c takes back q and comes from someone who may:
// its initiator or an admin. The error is a *refusal.Refusal.
func (ro *Roster) CheckCancellation(c *request.Cancellation, q *request.Request) error {
	if id := q.ID(); c.Request != id {
		return refusal.Newf("cancellation.request", "a cancellation of this request", "it cancels request %x, not this one, %x", c.Request, id)
	}
	if c.Principal != q.Initiator && !ro.InGroup(c.Principal, Admins) {
		return refusal.Newf("cancellation.principal", "a cancellation by "+q.Initiator+" or an admin",
			"%s did not propose this request and is no admin", wire.CleanText(c.Principal, 80))
	}
	return ro.Verify(c.Principal, c.Key, c.Statement(), c.Signature)
}
