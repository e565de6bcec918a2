package analysis

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// wanted is a verdict of a rule, and whether the approvals meet it.
type wanted struct {
	demand demand
	met    lit
	stated bool // by the document whose excess is looked for
}

// verdict is whether the approvals meet the verdict. stated verdicts are compared
// with those that are not.
func (v *view) verdict(then *policy.Verdict, stated bool) lit {
	return v.want(v.demandOf(then), stated)
}

// demandOf is a verdict over the people of the roster that may approve.
func (v *view) demandOf(then *policy.Verdict) demand {
	switch {
	case then.Effect == policy.Allow:
		return demand{}
	case then.Effect != policy.Require || len(then.Require) == 0:
		return demand{deny: true}
	}
	d := demand{excluded: then.InitiatorExcluded}
	for _, q := range then.Require {
		d.places = append(d.places, places{v.approvers(v.roster.Members(q.Group)), int(q.Count)})
	}
	return d
}

// floor is the weakest verdict that an invariant permits.
func (v *view) floor(f *policy.Floor) demand {
	d := demand{deny: f.Deny, excluded: f.InitiatorExcluded}
	if !f.Deny && f.Approvals > 0 {
		from := v.who(identity.Approve)
		if f.Group != "" {
			from = v.approvers(v.roster.Members(f.Group))
		}
		d.places = []places{{from, int(f.Approvals)}}
	}
	return d
}

// approvers are those of a list who may approve.
func (m *model) approvers(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return !m.roster.May(id, identity.Approve) })
}

func (m *model) want(d demand, stated bool) lit {
	switch {
	case d.deny:
		return no
	case len(d.places) == 0:
		return yes
	}
	for _, w := range m.demands {
		if w.stated == stated && same(&w.demand, &d) {
			return w.met
		}
	}
	w := &wanted{d, m.fresh(), stated}
	for _, o := range m.demands {
		if same(&o.demand, &d) && stated {
			m.clause(w.met.not(), o.met) // what meets a demand meets the same one
		} else if same(&o.demand, &d) {
			m.clause(o.met.not(), w.met)
		}
	}
	m.demands = append(m.demands, w)
	return w.met
}

func same(a, b *demand) bool { return fmt.Sprint(*a) == fmt.Sprint(*b) }

// linkInitiators lets the initiator's classes tell apart who counts where, when it
// matters.
func (m *model) linkInitiators() {
	if !slices.ContainsFunc(m.demands, func(w *wanted) bool { return w.demand.excluded }) {
		return
	}
	for _, w := range m.demands {
		for _, p := range w.demand.places {
			m.in(m.initiator, p.from)
		}
	}
}

// settleDemands states which verdicts imply which, for every class of initiators:
// people of one class count at the same places, so that one stands for all.
func (m *model) settleDemands() {
	deny := demand{deny: true}
	for _, w := range m.demands {
		if !w.stated {
			continue
		}
		for i := range m.initiator.classes {
			c := &m.initiator.classes[i]
			who := c.named[0]
			if _, ok := w.demand.beyond(&deny, who); !ok {
				m.clause(c.is.not(), w.met.not()) // nobody can meet it
				continue
			}
			if _, ok := (&demand{}).beyond(&w.demand, who); !ok {
				m.clause(c.is.not(), w.met)
			}
			for _, o := range m.demands {
				if o.stated {
					continue
				}
				m.steps -= int64(64 << len(o.demand.places))
				if _, ok := w.demand.beyond(&o.demand, who); !ok {
					m.clause(c.is.not(), w.met.not(), o.met)
				}
			}
		}
	}
}
