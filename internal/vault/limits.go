package vault

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/vault/planted"
)

// Spending limits (docs/spec/ledger.md). A vault decides by the policy twice: with the
// union of the ledgers as it knows it, before it reserves anything; and once every
// member's R1 has brought its ledger, with the union that no other session can have
// escaped.

// Refusals that rest on the ledgers, not on the request.
const (
	codeContended = "limit.contended" // other attempts that may come to nothing leave no room
	codeScope     = "limit.scope"     // the key's ledger quorum is too small for a limit over several keys
	codeClock     = "clock.jumped"    // this vault cannot say what is in a window
	codeMovement  = "limit.movement"  // what the request moves cannot be written down
)

func (v *Vault) input(s *signSession, l policy.Ledger) policy.Input {
	return policy.Input{Request: s.bundle.Request, Effects: s.prepared.Effects, Verified: s.verified, Now: s.decidedAt, Ledger: l}
}

// evaluate asks the policy of the session, and keeps what it answers.
func (v *Vault) evaluate(s *signSession) *refusal.Refusal {
	d := s.gov.Policy.Evaluate(s.gov.Roster, v.input(s, v.index))
	s.limits = limitUses(d.Limits)
	if !d.Allow && !(planted.Bug == planted.Approval && d.Pending) {
		return v.contended(s, &d)
	}
	s.rule, s.detail, s.breakGlass = d.Rule, d.Detail, d.BreakGlass
	return v.countable(s, d.Limits)
}

// contended is the refusal of a decision. If it would pass without the attempts that
// run right now, that is what it says: the next attempt may find room.
func (v *Vault) contended(s *signSession, d *policy.Decision) *refusal.Refusal {
	if len(d.Limits) > 0 {
		if e := s.gov.Policy.Evaluate(s.gov.Roster, v.input(s, settled{v.index, v.now})); e.Allow {
			return refusal.New(codeContended, "", "other requests that are being signed leave no room in a limit: "+d.Detail, "another attempt, when those have come to an end")
		}
	}
	return d.Refusal()
}

// countable checks that the limits which decided hold exactly with this key and clock.
func (v *Vault) countable(s *signSession, uses []policy.LimitUse) *refusal.Refusal {
	for i := range uses {
		l, ok := s.gov.Policy.Limit(uses[i].Name)
		if !ok {
			continue
		}
		if v.jumped.to != 0 {
			return refusal.New(codeClock, "", fmt.Sprintf("limit %s: the clock of vault %d jumped by %d s, so that it cannot say what is in the window", l.Name, v.cfg.ID, (v.jumped.to-v.jumped.from)/1000),
				"the vault's operator sets the clock and starts the vault anew")
		}
		if q, n, f := s.key.quorum(), len(s.gov.Vaults), s.key.faults(); !slices.Contains(l.Per, policy.PerWallet) && 2*q <= n+f {
			return refusal.New(codeScope, "", fmt.Sprintf("limit %s counts over all wallets, and this one's key has %d of the cluster's %d vaults in its ledger: two wallets' vaults could be strangers, and spend it twice", l.Name, q, n),
				fmt.Sprintf("a key with %d vaults or more, or a limit per wallet", (n+f)/2+1))
		}
	}
	return nil
}

// recordMovement writes down what the request moves, for the reservation.
func (v *Vault) recordMovement(s *signSession) *refusal.Refusal {
	in := v.input(s, nil)
	m, err := s.gov.Policy.Movement(&in)
	if err == nil {
		if s.movement = m.Encode(); len(s.movement) <= policy.MaxMovement {
			return nil
		}
		err = fmt.Errorf("%d bytes, at most %d", len(s.movement), policy.MaxMovement)
	}
	return refusal.New(codeMovement, "", "what this request moves cannot be counted: "+err.Error(), "")
}

// decideLimits is the last word, on the union after all R1.
func (v *Vault) decideLimits(s *signSession) *refusal.Refusal {
	if len(s.gov.Policy.Limits) == 0 {
		return nil
	}
	r := v.evaluate(s)
	if r != nil && r.Code != codeContended && r.Code != codeClock {
		// It passed when this vault began: others were faster.
		r = refusal.New(codeContended, "", r.Detail, r.Fix)
	}
	return r
}

func limitUses(uses []policy.LimitUse) (out []audit.LimitUse) {
	for i := range uses {
		out = append(out, audit.LimitUse{Name: uses[i].Name, Used: uses[i].Used, Max: uses[i].Max})
	}
	slices.SortFunc(out, func(a, b audit.LimitUse) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// jump is a step of this vault's clock that nobody has answered for.
type jump struct{ from, to uint64 }

// maxJump is how far the clock may go on between two steps while the vault runs. The
// shell steps it every second.
const maxJump = 60_000

// stepClock takes in the shell's clock. It never goes back; after a jump this vault
// counts nothing by it until its operator has started it anew.
func (v *Vault) stepClock(now uint64) {
	if v.phase == phaseRunning && v.stepped && now > v.now+maxJump {
		v.jumped = jump{v.now, now}
		v.note("the clock jumped: requests that a limit decides about are refused until this vault is started anew", "from", v.now, "to", now)
	}
	v.stepped = v.phase == phaseRunning
	v.now = max(v.now, now)
	v.index.now = v.now
}
