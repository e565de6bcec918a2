package policy

import (
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// Input is what is decided about. The vault decoded and verified all of it itself.
type Input struct {
	Request  *request.Request
	Effects  *chain.Effects
	Verified *identity.Verified
	Now      uint64 // unix ms, by this vault's clock
	Ledger   Ledger // nil: a condition on a limit is an error
}

// Decision is the answer, with its reason in people's units.
type Decision struct {
	Allow   bool   `json:"allow"`
	Pending bool   `json:"pending"` // not yet: only approvals, a risk verdict or prices are missing
	Code    string `json:"code"`    // one of the codes below
	Rule    string `json:"rule"`    // the guard or rule that decided; empty when none did
	Detail  string `json:"detail"`  // why, with the values
	Fix     string `json:"fix"`     // what would pass
	// Missing is what people still have to approve, when Pending.
	Missing []Missing `json:"missing,omitempty"`
	// Limits are those that were looked at, as they stood.
	Limits     []LimitUse `json:"limits,omitempty"`
	BreakGlass bool       `json:"breakGlass,omitempty"` // the rule is one for emergencies
}

// Missing is a number of approvals, beyond those given, and who could give them.
type Missing struct {
	Requirement
	From []string `json:"from"` // principals whose approval would count
}

// The codes of a Decision.
const (
	CodeAllow      = "policy.allow"
	CodeInput      = "policy.input"     // the caller handed over nothing to decide about
	CodeEffects    = "policy.effects"   // what was decoded is not what was requested
	CodeUndecoded  = "policy.undecoded" // not everything was understood
	CodeGuard      = "policy.guard"
	CodeRule       = "policy.rule"       // a rule says deny
	CodeDefault    = "policy.default"    // no rule matches
	CodeDenied     = "policy.denied"     // somebody whose approval counts said no
	CodeUnmeetable = "policy.unmeetable" // not even everyone who is left could approve it
	CodeApprovals  = "policy.approvals"  // pending: approvals
	CodeRisk       = "policy.risk"       // pending: a risk verdict
	CodePrice      = "policy.price"      // pending: prices
	CodeError      = "policy.error"      // something could not be computed
	CodeStale      = "price.stale"       // prices are there, but too old
	CodeDisagree   = "price.disagree"    // prices are there, but too far apart
)

// Refusal is the decision as an error; nil when it allows.
func (d *Decision) Refusal() *refusal.Refusal {
	if d.Allow {
		return nil
	}
	return refusal.New(d.Code, d.Rule, d.Detail, d.Fix)
}
