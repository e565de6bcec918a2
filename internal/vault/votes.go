package vault

import (
	"errors"

	"github.com/cofferhq/coffer/mpc/handover"
)

// The votes of a handover (docs/spec/handover.md): what comes of them, who is told, and
// what is repeated until it has arrived.

// onVotes takes a bundle of votes. Who holds a share of the epoch that it is about
// joins a plan that is as its order says; whoever else takes part was told by a
// command.
func (v *Vault) onVotes(p *peer, b []byte) {
	x, err := handover.DecodeBundle(b)
	if err != nil || !v.gate.voting || v.mayVote() != nil {
		return // it comes again, as long as something is open
	}
	if m := v.machineOf(x); m != nil {
		v.carryOut(x.Plan.Key, m, m.Deliver(p.id, x))
	}
}

// machineOf finds the machine that a bundle is about, which joins its plan if that is
// as ordered; nil: there is none.
func (v *Vault) machineOf(x *handover.Bundle) *handover.Machine {
	v.dropRetired(x)
	kid := x.Plan.Key
	m := v.machines[kid]
	if m == nil {
		if v.keys[kid] == nil {
			return nil
		}
		var err error
		if m, err = v.machine(kid); err != nil {
			return nil
		}
	}
	if !m.Knows(x.Plan.ID()) {
		o, ok := v.gov.FindOrder(x.Plan.Order)
		if ok && checkPlan(&x.Plan, o) == nil && v.keys[kid] != nil && v.mayLeave(&x.Plan) == nil {
			if out, err := m.Join(&x.Plan, false); err == nil {
				v.restate(&x.Plan)
				v.carryOut(kid, m, out)
			}
		}
	}
	return m
}

// tellEpochs: a peer with which a channel opens may have missed that a key went on.
func (v *Vault) tellEpochs(p *peer) {
	for _, kid := range sortedHashes(v.machines) {
		c := v.machines[kid].Commit()
		if c != nil && (containsID(c.Plan.Old, p.id) || containsID(c.Plan.New, p.id)) {
			v.sendSealed(p, &inner{Kind: innerVotes, Private: c.Encode()})
		}
	}
}

// voteEvery repeats votes that may have got lost.
const voteEvery = 500

func (v *Vault) tickHandovers() {
	for _, a := range sortedAttempts(v.handovers) {
		if s := v.handovers[a]; s != nil && v.now-s.started > v.patienceWith(s) {
			v.abortHandover(s, benign("handover", errors.New("a vault stayed silent: "+s.waitingFor())))
		}
	}
	if v.now-v.asked < voteEvery {
		return
	}
	v.asked = v.now
	if !v.gate.voting || v.mayVote() != nil {
		return
	}
	for _, kid := range sortedHashes(v.machines) {
		v.carryOut(kid, v.machines[kid], v.machines[kid].Tick())
	}
	v.tickImports()
	again := v.unsigned
	v.unsigned = nil
	for _, u := range again {
		if m := v.machines[u.key]; m != nil {
			v.signVote(u.key, m, u.r)
		}
	}
}

// resumeHandovers goes on after a start with what was decided before it.
func (v *Vault) resumeHandovers() {
	for _, kid := range sortedHashes(v.machines) {
		v.carryOut(kid, v.machines[kid], v.machines[kid].Restart())
	}
}
