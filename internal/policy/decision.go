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
	Now      uint64
}

// Decision is the answer, with its reason in people's units.
type Decision struct {
	Allow   bool
	Pending bool   // not yet: only approvals or a risk verdict are missing
	Code    string // one of the codes below
	Rule    string // the guard or rule that decided; empty when none did
	Detail  string // why, with the values
	Fix     string // what would pass
	// Missing is what people still have to approve, when Pending.
	Missing []Missing
}

// Missing is a number of approvals and who could give them.
type Missing struct {
	Requirement          // how many are still missing
	From        []string // principals whose approval would count
}

// The codes of a Decision.
const (
	CodeAllow     = "policy.allow"
	CodeInput     = "policy.input"     // the caller handed over nothing to decide about
	CodeEffects   = "policy.effects"   // what was decoded is not what was requested
	CodeUndecoded = "policy.undecoded" // not everything was understood
	CodeGuard     = "policy.guard"
	CodeRule      = "policy.rule"      // a rule says deny
	CodeDefault   = "policy.default"   // no rule matches
	CodeDenied    = "policy.denied"    // somebody whose approval counts said no
	CodeApprovals = "policy.approvals" // pending: approvals
	CodeRisk      = "policy.risk"      // pending: a risk verdict
)

// Refusal is the decision as an error; nil when it allows.
func (d *Decision) Refusal() *refusal.Refusal {
	if d.Allow {
		return nil
	}
	return refusal.New(d.Code, d.Rule, d.Detail, d.Fix)
}
