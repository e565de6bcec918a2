package verify

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
)

// governs finds the governance that is in force when all of a copy's entries are told.
func (v *verifier) governs(c copied) *governance.State {
	way, last := &governance.Course{State: v.start}, uint64(0)
	for _, x := range c.changes {
		if e, err := audit.DecodeEntry(x.bytes); err == nil {
			_ = way.Entry(e) // replay reports what is wrong
			v.limited = v.limited || len(way.State.Policy.Limits) > 0
			last = max(last, e.Time)
		}
	}
	st := way.State.At(last)
	v.limited = v.limited || len(v.start.Policy.Limits) > 0 || len(st.Policy.Limits) > 0
	return st
}

func (v *verifier) replayChange(l *vaultLog, i uint64, e *audit.Entry) error {
	if _, err := governance.DecodeSignedChange(e.Body); err != nil {
		return err
	}
	if err := l.way.Entry(e); err != nil {
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
	if _, err := audit.DecodeGovernance(e.Body); err != nil {
		return err
	}
	if err := l.way.Entry(e); err != nil {
		v.entryFault(l, i, ChangeTime, "%v", err)
		return nil
	}
	v.goOn(l, i, e.Time)
	return nil
}

// checkDue: a vault that runs puts in force what is due before it does anything else, and
// says so. What it does by then without that, it does under a governance that was over.
func (v *verifier) checkDue(l *vaultLog, i, at uint64, what string) {
	if st := l.state(); st.NextDue() > 0 && st.NextDue() <= at {
		v.entryFault(l, i, ChangeTime, "it %s at %s, and the log does not say that change %d, which was due at %s, came in force", what, clock(at), st.Pending[0].Change.Seq, clock(st.NextDue()))
	}
}

// goOn enters the state that an entry led to.
func (v *verifier) goOn(l *vaultLog, i, at uint64) {
	next, before := l.way.State, l.state()
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
	case d.PolicyRoot != at.PolicyRoot():
		return nil, fmt.Sprintf("it names a policy that was not in force at change %d", at.Seq)
	case d.RosterRoot != at.RosterRoot():
		return nil, fmt.Sprintf("it names a roster that was not in force at change %d", at.Seq)
	}
	if due := at.At(d.Time); due != at {
		f, _ := due.Fate(at.Pending[0].Change.Seq)
		return nil, fmt.Sprintf("it is made without change %d, whose time had come at %d: %s", f.Seq, f.Due, f.Status)
	}
	return at, ""
}

func fits(st *governance.State, d *audit.Decision) bool {
	return st.Head == d.GovernanceHead && st.PolicyRoot() == d.PolicyRoot && st.RosterRoot() == d.RosterRoot
}
