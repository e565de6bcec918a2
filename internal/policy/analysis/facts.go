package analysis

import (
	"fmt"
	"slices"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
)

// isNative is whether the asset is what fees of the request's chain are paid in.
// Of a chain that nothing mentions it may be any asset that is not of a chain that
// something mentions; and where a family has one for all its chains, any.
func (m *model) isNative(asset string) lit {
	cases := []lit{m.and(m.onChain(elsewhere), m.flag("native elsewhere: "+asset))}
	for _, id := range m.chainIDs {
		if native, _ := family.Native(id); native == asset {
			cases = append(cases, m.onChain(id))
		}
	}
	return m.or(cases...)
}

// total is the sum of an asset's transfers out of the sender, or into it.
func (m *model) total(asset string, in bool) *total {
	key := fmt.Sprintf("%s %t", asset, in)
	if t, ok := m.totalBy[key]; ok {
		return t
	}
	name := "total " + asset
	if in {
		name = "received " + asset
	}
	t := &total{asset: asset, in: in, sum: m.number(name), valid: m.usually(name + " fits")}
	m.totalBy[key] = t
	m.totals = append(m.totals, t)
	some := m.exists(policy.OpTransfers, "+"+name, func(i *item) truth {
		return certain(m.and(m.moves(i, t), m.positive(m.itemNumber(i, "amount"))))
	})
	m.prefer(some.is)
	m.clause(t.valid.not(), m.positive(t.sum).not(), some.is)
	m.clause(t.valid.not(), m.positive(t.sum), some.isNot)
	return t
}

// moves is whether an item counts for a total.
func (m *model) moves(i *item, t *total) lit {
	end := "from"
	if t.in {
		end = "to"
	}
	return m.and(m.isSender(m.itemText(i, end)), m.in(m.itemText(i, "asset"), []string{t.asset}))
}

// onlyTransfers is taken apart into what it says.
func (m *model) onlyTransfers() truth {
	if t, ok := m.truths["onlyTransfers"]; ok {
		return t
	}
	anything := func(*item) truth { return certain(yes) }
	own := m.exists(policy.OpTransfers, "of the sender", func(i *item) truth { return certain(m.isSender(m.itemText(i, "from"))) })
	foreign := m.exists(policy.OpTransfers, "not of the sender", func(i *item) truth { return certain(m.isSender(m.itemText(i, "from")).not()) })
	allowance := m.exists(policy.OpAllowances, "", anything)
	creation := m.exists(policy.OpCreations, "", anything)
	call := m.exists(policy.OpCalls, "that is no transfer", func(i *item) truth { return certain(m.isTransfer(i).not()) })
	t := certain(m.and(own.is, foreign.isNot, allowance.isNot, creation.isNot, call.isNot, m.flag("message").not()))
	m.truths["onlyTransfers"] = t
	return t
}

// isTransfer is whether a call is a token's transfer.
func (m *model) isTransfer(i *item) lit {
	name := i.name + " is a transfer"
	if l, ok := m.flags[name]; ok {
		return l
	}
	l := m.flag(name)
	m.clause(l.not(), m.in(m.itemText(i, "method"), []string{"transfer(address,uint256)", "transferFrom(address,address,uint256)"}))
	return l
}

// limitKey names what a limit counts; its maximum is not part of it.
func (v *view) limitKey(l *policy.Limit) string {
	key := fmt.Sprintf("%d %s %v %v", l.Measure, l.Asset, l.Per, l.Window)
	if l.Window.Kind == policy.Calendar {
		key += v.zoneKey(l.Window.Zone)
	}
	if l.Measure == policy.MeasureMoney {
		key += v.worth
	}
	return key
}

// limitUse is what a limit has counted, with this request; nil when there is no
// such limit.
func (v *view) limitUse(name string) *limitUse {
	l, ok := v.doc.Limit(name)
	if !ok {
		return nil
	}
	key, name := v.limitKey(l), "used "+v.limitKey(l)
	if l.Measure == policy.MeasureMoney { // it takes the value of all that was moved, which depends on the assets
		key = v.valuedName(name)
	}
	shared, ok := v.limitBy[key]
	if !ok {
		shared = &limitUse{limit: *l, used: v.number(name)}
		if l.Measure == policy.MeasureMoney {
			shared.valid = v.valuedFlag(name)
		} else {
			shared.valid = v.usually(name + " known")
		}
		if l.Window.Kind == policy.Calendar {
			v.clause(shared.valid.not(), v.zone(l.Window.Zone).valid)
		}
		if l.Measure == policy.MeasureAmount {
			v.total(l.Asset, false)
		}
		v.limitBy[key] = shared
		v.limits = append(v.limits, shared)
	}
	own := *shared
	own.limit = *l
	return &own
}

func (v *view) findZone(name string) *policy.Zone {
	for i := range v.doc.Zones {
		if v.doc.Zones[i].Name == name {
			return &v.doc.Zones[i]
		}
	}
	return &policy.Zone{Name: name}
}

func (v *view) zoneKey(name string) string { return fmt.Sprint(*v.findZone(name)) }

// maxUnix is the last second that policy knows; later times count as it.
const maxUnix = 253402300799

// zone is the local time of a zone, while it is known.
func (v *view) zone(name string) *zone {
	key := v.zoneKey(name)
	if z, ok := v.zones[key]; ok {
		return z
	}
	z := &zone{zone: v.findZone(name), valid: no}
	for _, o := range v.zoneList {
		// One minute for many zones takes that each agrees with each: one that is known for
		// a moment agrees with two that do not agree.
		if !slices.ContainsFunc(v.zoneList, func(p *zone) bool { return p.minute == o.minute && !agree(p.zone, z.zone) }) {
			z.minute = o.minute
		}
	}
	if z.minute == nil {
		z.minute = v.text("minute "+key, enumerated, minutesOfWeek...)
	}
	if len(z.zone.Steps) > 0 && z.zone.Steps[0].From <= maxUnix && z.zone.Until > 0 {
		z.valid = yes
		if from := z.zone.Steps[0].From; from > 0 {
			z.valid = v.below(v.now, *uint256.NewInt(uint64(from))).not()
		}
		if z.zone.Until <= maxUnix {
			z.valid = v.and(z.valid, v.below(v.now, *uint256.NewInt(uint64(z.zone.Until))))
		}
	}
	v.zones[key] = z
	v.zoneList = append(v.zoneList, z)
	return z
}

// agree reports whether two zones have one local time wherever both are known.
func agree(a, b *policy.Zone) bool {
	if len(a.Steps) > len(b.Steps) {
		a, b = b, a
	}
	n := len(a.Steps)
	return n > 0 && slices.Equal(a.Steps, b.Steps[:n]) && (len(b.Steps) == n || b.Steps[n].From >= a.Until)
}

func (v *view) during(e *policy.Expr) truth {
	h, err := policy.HoursOf(&e.Num)
	if err != nil {
		return truth{no, no}
	}
	z := v.zone(e.Text)
	in := v.in(z.minute, minutesOf(h))
	return truth{v.and(z.valid, in), v.and(z.valid, in.not())}
}

// minutesOf are the minutes of the week in the hours, sorted.
func minutesOf(h policy.Hours) []string {
	var out []string
	end := int(h.To)
	if h.To <= h.From {
		end += 1440
	}
	for day := range 7 {
		if h.Days>>day&1 == 0 {
			continue
		}
		for minute := int(h.From); minute < end; minute++ {
			out = append(out, minutesOfWeek[(day*1440+minute)%len(minutesOfWeek)])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
