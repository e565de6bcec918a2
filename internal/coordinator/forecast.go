package coordinator

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
)

// Forecast says what a change would do if it were adopted now, which it also returns
// (unix milliseconds). The error is a *refusal.Refusal.
func (c *Coordinator) Forecast(ch *governance.Change) (f *governance.Forecast, now uint64, err error) {
	now = c.now()
	f, err = c.Governance().Forecast(ch, now)
	return f, now, err
}

// trail is how much later than by its own clock the coordinator takes a change for in
// force, in milliseconds: the vaults adopted it when it reached them, so that for them
// it is due a little later, and who asks them too early is denied for good.
const trail = 1_000

// activate goes over to what has come in force since. The caller holds c.mu.
func (c *Coordinator) activate() {
	next := c.gov.At(c.now() - trail)
	if next == c.gov {
		return
	}
	for i := range next.Fates {
		if f := &next.Fates[i]; c.gov.Fates[i].Status != f.Status {
			c.log.Info("governance: a change's time has come", "change", f.Text())
		}
	}
	c.gov = next
	for _, ch := range c.wake {
		poke(ch)
	}
	poke(c.orders)
	poke(c.errand)
}

// untilDue is how long the courier may sleep so that it wakes when a change is due.
func (c *Coordinator) untilDue(most time.Duration) time.Duration {
	due := c.Governance().NextDue()
	if due == 0 {
		return most
	}
	due += trail
	left := time.Duration(due-min(due, c.now())) * time.Millisecond
	return max(min(most, left), time.Millisecond)
}

// lateAfter is the age of a change, in milliseconds, from which on a vault that lacks it
// is brought the others' proofs of when they adopted it.
const lateAfter = 5_000

// adoptions are the other vaults' proofs of when they adopted a change that had to
// wait, or a leaver's withdrawal, for one that hears of it late; nil if there are too few, or none is needed. The
// vault believes them, not the coordinator.
func (c *Coordinator) adoptions(ctx context.Context, late uint16, seq uint64) []byte {
	gov := c.Governance()
	f, ok := gov.Fate(seq)
	if !ok || f.Due == f.Adopted && !f.Leaver || c.now() < f.Adopted+lateAfter {
		return nil
	}
	if (f.Status == governance.Withdrawn || f.Status == governance.Superseded) && f.Due <= c.now()+lateAfter {
		return nil // by the proofs its time would have come, before what ended it gets there
	}
	if all, err := c.store.changes(ctx); err != nil || cutsOff(gov, f, all) {
		return nil
	}
	var others []uint16
	for i := range gov.Vaults {
		if id := gov.Vaults[i].ID; id != late {
			others = append(others, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout/2)
	defer cancel()
	answers := c.askAll(ctx, others, &cluster.Command{Kind: cluster.CommandAdoption, Body: cluster.Adoption(seq)})
	var proofs []audit.AdoptionProof
	for range others {
		a := <-answers
		if a.err != nil || a.reply.Outcome != cluster.OutcomeDone {
			continue
		}
		if p, err := audit.DecodeAdoptions(a.reply.Body); err == nil {
			proofs = append(proofs, p...)
		}
	}
	slices.SortFunc(proofs, func(a, b audit.AdoptionProof) int { return cmp.Compare(a.Checkpoint.Vault, b.Checkpoint.Vault) })
	if _, err := governance.AdoptedAt(gov, seq, f.Hash, proofs); err != nil {
		c.log.Debug("no proof of when a change was adopted", "change", seq, "err", err)
		return nil
	}
	return audit.EncodeAdoptions(proofs)
}
