package vault

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// A vault whose card is not in force stands outside (docs/spec/repair.md): it tells
// its status and takes changes, and says and signs nothing else. So starts a vault
// that was enrolled anew, on an empty disk or under another device, until the change
// that names its card reaches it; and so ends one whose card is replaced while it
// runs.

// retired refuses the start under a card that the admins have replaced: whoever has
// the old device speaks for nobody.
func (v *Vault) retired(st *governance.State) error {
	cards := st.Cards(uint16(v.cfg.ID))
	for i := range len(cards) - 1 {
		if c := &cards[i].Vault; c.Identity == v.cfg.Identity && c.Decision == v.cfg.Decision && c.Log == v.logPublic() {
			return v.inForce(st)
		}
	}
	return nil
}

// standOutside takes this vault out of all work, or keeps it out.
func (v *Vault) standOutside(why error) {
	v.outside = true
	v.hello, v.helloFrame = nil, nil
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		v.closePair(p)
		v.dropEarly(id)
		p.hello, p.send, p.receive, p.confirmed = nil, nil, nil, false
	}
	v.endSessions(func([]mpc.ID) bool { return true }, why)
	if len(v.waiters) > 0 {
		v.checkpointFailed(why)
	}
	v.note("this vault takes part in nothing: its card is not in force", "why", why.Error())
}

// comeInside enters service under the card that a change has just put in force.
func (v *Vault) comeInside() {
	v.outside = false
	v.boot = max(v.boot, v.gov.MinBoot(uint16(v.cfg.ID)))
	v.gate = v.newGate()
	if err := v.enterService(); err != nil {
		v.standOutside(err)
		return
	}
	v.note("this vault's card is in force", "boot", v.boot)
}

// freshCard is the card in force of a vault that began a new log with it, and the
// change that put it in force; ok is false if there is none.
func (v *Vault) freshCard(id mpc.ID) (card *governance.Card, ok bool) {
	cards := v.gov.Cards(uint16(id))
	n := len(cards)
	if n < 2 || cards[n-1].Vault.Log == cards[n-2].Vault.Log {
		return nil, false
	}
	return &cards[n-1], true
}

// verifyOwn checks a checkpoint of this vault, under any card that it had.
func (v *Vault) verifyOwn(cp *audit.SignedCheckpoint) error {
	own := audit.Keys{Cluster: v.clusterID(), Vault: uint16(v.cfg.ID), Decision: v.cfg.Decision, Log: v.logPublic()}
	err := cp.Verify(own)
	for _, c := range v.gov.Cards(uint16(v.cfg.ID)) {
		if err == nil {
			return nil
		}
		own.Decision, own.Log = c.Vault.Decision, c.Vault.Log
		err = cp.Verify(own)
	}
	if err != nil {
		return fmt.Errorf("the newest checkpoint on the node's disk: %w", err)
	}
	return nil
}

// dropRetired takes out of a bundle the votes of devices that were replaced before
// the plan was ordered: they are a thief's, perhaps. What an old device said of a
// plan that was ordered in its time stays said.
func (v *Vault) dropRetired(x *handover.Bundle) {
	o, ok := v.gov.FindOrder(x.Plan.Order)
	if !ok {
		return
	}
	plan := x.Plan.ID()
	x.Votes = slices.DeleteFunc(x.Votes, func(vote handover.Vote) bool {
		cards := v.gov.Cards(uint16(vote.From))
		s, err := signature.Decode(vote.Signature)
		if len(cards) < 2 || err != nil {
			return false // the machine judges
		}
		for i := range cards {
			served := i == len(cards)-1 || cards[i+1].From > o.Seq
			if served && signature.Verify(cards[i].Vault.Identity, VoteStatement(vote.Kind, vote.Digest(plan)), s) == nil {
				return false
			}
		}
		return true
	})
}
