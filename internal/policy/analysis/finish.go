package analysis

import (
	"slices"
	"strings"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// maxDifferent bounds how many different items of one list the model follows. What
// counts more is not tied to the items.
const maxDifferent = 4

// finish states what binds the variables to each other. Nothing can be read into
// the model afterwards. It reports whether the budget sufficed.
func (m *model) finish() bool {
	for changed := true; changed && m.steps > 0; {
		changed = false
		for n := 0; n < len(m.quantQ); n++ { // grows: conditions within conditions
			changed = m.apply(m.quantQ[n]) || changed
		}
	}
	if m.steps <= 0 {
		return false
	}
	m.linkItems()
	m.linkSenders()
	m.linkInitiators()
	for _, t := range m.textList {
		m.settleText(t)
	}
	for _, n := range m.numberList {
		m.settleNumber(n)
	}
	m.linkSettled()
	return m.steps > 0
}

// apply states a quantifier over the items that it was not stated over yet, and
// reports whether there were any.
func (m *model) apply(q *quantifier) bool {
	if q.op == policy.OpCount {
		m.different(q)
	}
	list := m.listOf(q.list)
	changed := q.done < len(list.items)
	for ; q.done < len(list.items) && m.steps > 0; q.done++ {
		i := list.items[q.done]
		t := q.body(i)
		q.values = append(q.values, t)
		if q.op == policy.OpExists {
			m.clause(i.present.not(), t.is.not(), q.truth.is)
			m.clause(i.present.not(), t.isNot, q.truth.isNot.not())
			if i == q.by {
				m.clause(q.truth.isNot, i.present)
				m.clause(q.truth.isNot, t.isNot.not())
				m.clause(q.truth.is.not(), t.is)
			}
			continue
		}
		m.clause(q.valid.not(), i.present.not(), t.is, t.isNot)
		m.clause(q.valid.not(), m.positive(q.most), i.present.not(), t.is.not())
		if k := slices.Index(q.witnesses, i); k >= 0 {
			less := m.atMost(q.most, *uint256.NewInt(uint64(k)))
			m.clause(q.valid.not(), less, i.present)
			m.clause(q.valid.not(), less, t.is)
		}
	}
	return changed
}

// different gives a count its witnesses: as many as the largest number that it is
// compared with, and one more.
func (m *model) different(q *quantifier) {
	want := 0
	for _, b := range q.most.bounds {
		if b.max.IsUint64() && b.max.Uint64() < maxDifferent {
			want = max(want, int(b.max.Uint64())+1)
		}
	}
	for len(q.witnesses) < want {
		q.witnesses = append(q.witnesses, m.witness(q.list))
	}
	if want > 1 && q.single == nil {
		q.single = q.witnesses[0]
	}
}

// linkItems asks for the variables that linkSettled speaks of, before they settle.
func (m *model) linkItems() {
	for _, i := range m.listOf(policy.OpTransfers).items {
		for _, t := range m.totals {
			m.moves(i, t)
			m.itemNumber(i, "amount")
		}
		for _, x := range m.values {
			m.isSender(m.itemText(i, "from"))
			m.itemNumber(i, "value"+x.key)
		}
	}
}

// linkSenders: what is the sender is in the same sets.
func (m *model) linkSenders() {
	for n := 0; n < len(m.senders); n++ {
		for _, s := range m.senders[n].t.sets {
			m.in(m.sender, s.list)
		}
	}
	for _, s := range m.senders {
		for _, shared := range m.sender.sets {
			m.in(s.t, shared.list)
		}
	}
}

// linkSettled states what holds between settled variables.
func (m *model) linkSettled() {
	for _, s := range m.senders {
		m.equal([]lit{s.is}, s.t, m.sender)
		for _, c := range s.t.classes {
			for _, o := range m.sender.classes {
				if len(c.named) == 1 && slices.Equal(c.named, o.named) {
					m.clause(s.is, c.is.not(), o.is.not()) // both this very account
				}
			}
			if c.empty {
				m.clause(s.is.not(), c.is.not())
			}
		}
	}
	for _, t := range m.totals {
		for _, i := range m.listOf(policy.OpTransfers).items {
			m.atMostAll([]lit{t.valid, i.present, m.moves(i, t)}, m.itemNumber(i, "amount"), t.sum)
		}
	}
	for _, x := range m.values {
		for _, i := range m.listOf(policy.OpTransfers).items {
			m.atMostAll([]lit{x.valid, i.present, m.isSender(m.itemText(i, "from"))}, m.itemNumber(i, "value"+x.key), x.sum)
		}
	}
	for _, u := range m.limits {
		m.settleLimit(u)
	}
	for _, q := range m.quantQ {
		if q.single != nil {
			m.onlyOne(q)
		}
	}
	m.settleDemands()
}

// settleLimit: what is counted is at least what this request moves, and at least
// what a limit counts that sees less.
func (m *model) settleLimit(u *limitUse) {
	for _, o := range m.limits {
		if o != u && o.limit.Measure == u.limit.Measure && o.limit.Asset == u.limit.Asset &&
			slices.Equal(o.limit.Per, u.limit.Per) && o.limit.Window.Kind == policy.Rolling && u.limit.Window.Kind == policy.Rolling &&
			o.limit.Window.Length <= u.limit.Window.Length && u.limit.Measure != policy.MeasureMoney {
			m.clause(u.valid.not(), o.valid) // what fits in the longer window does in the shorter
			m.atMostAll([]lit{u.valid, o.valid}, o.used, u.used)
		}
	}
	each := slices.Contains(u.limit.Per, policy.PerDestination)
	if u.limit.Measure != policy.MeasureAmount {
		return
	}
	t := m.totalBy[u.limit.Asset+" false"]
	if !each {
		m.clause(u.valid.not(), t.valid)
		m.atMostAll([]lit{u.valid, t.valid}, t.sum, u.used)
	}
	for _, i := range m.listOf(policy.OpTransfers).items {
		m.atMostAll([]lit{u.valid, t.valid, i.present, m.moves(i, t)}, m.itemNumber(i, "amount"), u.used)
	}
}

// onlyOne: when a count is at most one, all witnesses that it counts are one item,
// and so alike.
func (m *model) onlyOne(q *quantifier) {
	one := m.countAtMostOne(q)
	if one == yes {
		return
	}
	s := q.single
	for _, t := range m.totals {
		if q.everything {
			m.clause(one.not(), t.valid) // one amount fits
			m.atMostAll([]lit{one, t.valid, m.positive(t.sum)}, t.sum, m.itemNumber(s, "amount"))
		}
	}
	for k, i := range m.listOf(q.list).items {
		if i == s {
			continue
		}
		t := q.values[k]
		cond := []lit{one, q.valid, i.present, t.is}
		m.clause(append(negate(cond), s.present)...)
		for _, a := range m.textList {
			if b, ok := m.texts[twin(a.name, i, s)]; ok {
				m.equal(cond, a, b)
			}
		}
		for _, a := range m.numberList {
			if b, ok := m.numbers[twin(a.name, i, s)]; ok {
				m.atMostAll(cond, a, b)
				m.atMostAll(cond, b, a)
			}
		}
		for _, name := range m.flagList {
			if l, ok := m.flags[twin(name, i, s)]; ok {
				m.same(cond, m.flags[name], l)
			}
		}
	}
}

func (m *model) countAtMostOne(q *quantifier) lit {
	for _, b := range q.most.bounds {
		if b.max == (chain.Amount{1}) {
			return b.is
		}
	}
	return yes
}

// twin is the name of what belongs to item b as name belongs to item a; "" when it
// does not belong to a.
func twin(name string, a, b *item) string {
	at := strings.Index(name, a.name)
	if end := at + len(a.name); at >= 0 && (end == len(name) || name[end] == '.' || name[end] == ' ') {
		return name[:at] + b.name + name[end:]
	}
	return ""
}
