package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
)

// course is how the governance went in one log: by its changes, in the order of their
// numbers, each from the time at which the vault says that it adopted it; and by the
// clock of its entries, when what waited came in force.
type course struct {
	state *governance.State
	times map[uint64]uint64 // proven for a change that comes next (ChangeBackdated), by number
}

// errEarly and errOther say that a log's word about a change is not what the rules
// make of it.
var errOther = errors.New("the rules say otherwise")

// change adopts a change that stands in the log at a time.
func (c *course) change(s *governance.SignedChange, at uint64) error {
	if t, ok := c.times[s.Change.Seq]; ok {
		at = min(at, t)
	}
	next, err := c.state.Apply(s, at)
	if err == nil {
		c.state = next
	}
	return err
}

// entry goes on by what the log says became of a change, at the time of the entry.
func (c *course) entry(g *audit.Governance, at uint64, proven func(*audit.Governance, *governance.State) error) error {
	if g.Event == audit.ChangeRefused {
		return nil
	}
	if g.Event == audit.ChangeBackdated {
		return c.backdated(g, at, proven)
	}
	next := c.state.At(at)
	f, ok := next.Fate(g.Seq)
	if !ok || f.Hash != g.Change {
		return fmt.Errorf("%w: it tells of change %d, %x, which the log does not hold", errOther, g.Seq, g.Change[:8])
	}
	switch {
	case g.Event == audit.ChangeWaits && f.Due > f.Adopted && f.Adopted == g.Time,
		g.Event == audit.ChangeInForce && f.Status == governance.InForce && f.Since == g.Time && f.Due > f.Adopted,
		g.Event == audit.ChangeDropped && f.Status == governance.Dropped && f.Since == g.Time:
		c.state = next
		return nil
	}
	return fmt.Errorf("%w: it says that change %d %s from %d, and change %s", errOther, g.Seq, g.Event, g.Time, f.Text())
}

func (c *course) backdated(g *audit.Governance, at uint64, proven func(*audit.Governance, *governance.State) error) error {
	if g.Time > at {
		return fmt.Errorf("%w: change %d was adopted at %d, after this entry", errOther, g.Seq, g.Time)
	}
	if err := proven(g, c.state); err != nil {
		return err
	}
	if g.Seq == c.state.Seq+1 {
		if c.times == nil {
			c.times = map[uint64]uint64{}
		}
		c.times[g.Seq] = g.Time
		return nil
	}
	next, err := c.state.Backdate(g.Seq, g.Time)
	if err == nil {
		c.state = next.At(at)
	}
	return err
}

// adopted checks the proofs of an entry that says when others adopted a change.
func (v *verifier) adopted(g *audit.Governance, st *governance.State) error {
	at, err := governance.AdoptedAt(st, g.Seq, g.Change, g.Proofs)
	if err == nil && at != g.Time {
		err = fmt.Errorf("%w: its proofs are of time %d, it says %d", errOther, at, g.Time)
	}
	return err
}

// governs finds the governance that is in force when all of a copy's entries are told.
func (v *verifier) governs(c Copy) *governance.State {
	way, last := &course{state: v.start}, uint64(0)
	for _, b := range c.Entries {
		e, err := audit.DecodeEntry(b)
		if err != nil {
			continue
		}
		last = max(last, e.Time)
		switch e.Kind {
		case audit.KindChange:
			if s, err := governance.DecodeSignedChange(e.Body); err == nil {
				_ = way.change(s, e.Time) // replay reports what does not apply
			}
		case audit.KindGovernance:
			if g, err := audit.DecodeGovernance(e.Body); err == nil {
				_ = way.entry(g, e.Time, v.adopted)
			}
		}
	}
	return way.state.At(last)
}

func (v *verifier) replayChange(l *vaultLog, i uint64, e *audit.Entry) error {
	c, err := governance.DecodeSignedChange(e.Body)
	if err != nil {
		return err
	}
	if err := l.way.change(c, e.Time); err != nil {
		v.entryFault(l, i, ChangeBad, "the vault applied a change that it had to refuse: %v", err)
		return nil
	}
	v.goOn(l, i, e.Time)
	next := l.state()
	if seen, ok := v.changes[next.Seq]; !ok {
		v.changes[next.Seq] = changeSeen{next.Head, l.id}
		v.report.Counts.Changes++
	} else if seen.hash != next.Head {
		v.entryFault(l, i, ChangeForked, "change %d is another one than in the log of vault %d: the admins signed two", next.Seq, seen.vault)
	}
	return nil
}

// replayGovernance checks what a vault says became of a change that waited.
func (v *verifier) replayGovernance(l *vaultLog, i uint64, e *audit.Entry) error {
	g, err := audit.DecodeGovernance(e.Body)
	if err != nil {
		return err
	}
	if err := l.way.entry(g, e.Time, v.adopted); err != nil {
		v.entryFault(l, i, ChangeTime, "%v", err)
		return nil
	}
	v.goOn(l, i, e.Time)
	return nil
}

// goOn enters the state that an entry led to.
func (v *verifier) goOn(l *vaultLog, i, at uint64) {
	next, before := l.way.state, l.state()
	if next == before {
		return
	}
	for j := range next.VaultOrders {
		o := &next.VaultOrders[j]
		if !slices.ContainsFunc(before.VaultOrders, func(x governance.VaultChange) bool { return x.Seq == o.Seq }) {
			v.replayOrder(l, i, o)
		}
	}
	l.history, l.since = append(l.history, next), append(l.since, at)
}

// stateOf finds the governance under which d was made. A decision that was begun
// before a change may stand after it in the log; one begun after may not name
// the old state, and none a state that was over or still waited.
func (l *vaultLog) stateOf(d *audit.Decision) (*governance.State, string) {
	newest := l.state()
	if d.GovernanceSeq > newest.Seq {
		return nil, fmt.Sprintf("it is made under change %d, the log has reached change %d", d.GovernanceSeq, newest.Seq)
	}
	var at *governance.State // the newest of that number
	for i := len(l.history) - 1; i >= 0; i-- {
		st := l.history[i]
		if st.Seq != d.GovernanceSeq {
			continue
		}
		if i+1 < len(l.history) && d.Time > l.since[i+1] {
			if at == nil {
				return nil, fmt.Sprintf("it is made under change %d, after change %d had come into force", d.GovernanceSeq, l.history[i+1].Seq)
			}
			break
		}
		if at == nil || fits(st, d) {
			at = st
		}
		if fits(at, d) {
			break
		}
	}
	switch {
	case at == nil:
		return nil, fmt.Sprintf("it is made under change %d, which this log does not hold", d.GovernanceSeq)
	case d.GovernanceHead != at.Head:
		return nil, fmt.Sprintf("change %d is %x, the decision names %x", at.Seq, at.Head[:8], d.GovernanceHead[:8])
	case d.PolicyRoot != at.Policy.Root():
		return nil, fmt.Sprintf("it names a policy that was not in force at change %d", at.Seq)
	case d.RosterRoot != at.Roster.Root():
		return nil, fmt.Sprintf("it names a roster that was not in force at change %d", at.Seq)
	}
	if due := at.At(d.Time); due != at {
		f, _ := due.Fate(at.Pending[0].Change.Seq)
		return nil, fmt.Sprintf("it is made without change %d, whose time had come at %d: %s", f.Seq, f.Due, f.Status)
	}
	return at, ""
}

func fits(st *governance.State, d *audit.Decision) bool {
	return st.Head == d.GovernanceHead && st.Policy.Root() == d.PolicyRoot && st.Roster.Root() == d.RosterRoot
}
