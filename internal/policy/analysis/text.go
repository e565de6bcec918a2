package analysis

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// domain is what a text variable ranges over.
type domain uint8

const (
	plain      domain = iota // any text
	chains                   // any chain
	onChain                  // accounts and assets of the request's chain
	onChainOr                // the same, or empty
	enumerated               // the texts of its list and no other
)

// text is a variable over texts: an attribute of the request or of an item. What
// conditions ask about it is only whether it is in finite sets, so that texts that
// are in the same sets are one class, and the classes are the values.
type text struct {
	name    string
	domain  domain
	list    []string // enumerated, sorted
	sets    []*set
	bySet   map[string]*set
	classes []class // after settle
}

// set is a set that is asked about, and whether the variable is in it.
type set struct {
	key  string
	list []string // sorted
	in   lit
}

// class are the texts that no condition tells apart.
type class struct {
	is    lit
	chain string   // the chain that its texts are on; "" any
	named []string // its texts that are mentioned, and the empty one; none: a text that no condition mentions
	empty bool     // only the empty text
	other bool     // neither named nor empty
}

func (m *model) text(name string, d domain, list ...string) *text {
	if t, ok := m.texts[name]; ok {
		return t
	}
	t := &text{name: name, domain: d, list: list, bySet: make(map[string]*set)}
	m.texts[name] = t
	m.textList = append(m.textList, t)
	return t
}

// in is whether the variable is one of the list, which is sorted.
func (m *model) in(t *text, list []string) lit {
	if t.domain == enumerated {
		list = slices.DeleteFunc(slices.Clone(list), func(s string) bool {
			_, ok := slices.BinarySearch(t.list, s)
			return !ok
		})
		if len(list) == len(t.list) {
			return yes
		}
	}
	if len(list) == 0 {
		return no
	}
	key := strings.Join(list, "\x00")
	if s, ok := t.bySet[key]; ok {
		return s.in
	}
	s := &set{key, list, m.fresh()}
	if t.domain == chains || strings.HasSuffix(t.name, ".asset") {
		m.prefer(s.in) // what people know makes a plain example
	}
	t.bySet[key] = s
	t.sets = append(t.sets, s)
	return s.in
}

// settle gives the variable its classes. From then on nothing new may be asked.
func (m *model) settleText(t *text) {
	for _, c := range m.classesOf(t) {
		c.is = m.fresh()
		t.classes = append(t.classes, c)
	}
	is := make([]lit, len(t.classes))
	in := make([][]lit, len(t.sets))
	for i := range t.classes {
		c := &t.classes[i]
		is[i] = c.is
		for k, s := range t.sets {
			if len(c.named) > 0 {
				if _, member := slices.BinarySearch(s.list, c.named[0]); member {
					in[k] = append(in[k], c.is)
					m.clause(c.is.not(), s.in)
				}
			}
		}
		if c.chain != "" && t.domain != chains {
			m.clause(c.is.not(), m.onChain(c.chain))
		}
	}
	m.oneOf(is)
	// In the set is a text of one of the set's classes; so that one of another class
	// is not in it.
	for k, s := range t.sets {
		m.clause(append(in[k], s.in.not())...)
	}
}

// classesOf sorts the mentioned texts by the sets that they are in; the classes
// that make the plainest example come last.
func (m *model) classesOf(t *text) []class {
	key := string(rune('0' + t.domain))
	for _, s := range t.sets {
		key += "\x01" + s.key
	}
	key += "\x02" + strings.Join(t.list, "\x00")
	if known, ok := m.classCache[key]; ok {
		return known
	}
	values := slices.Clone(t.list)
	if t.domain != enumerated {
		for _, s := range t.sets {
			values = append(values, s.list...)
		}
		slices.Sort(values)
		values = slices.Compact(values)
	}
	var out []class
	at := make(map[string]int)
	for _, v := range values {
		m.steps -= int64(len(t.sets))
		signature := make([]byte, len(t.sets))
		for i, s := range t.sets {
			if _, member := slices.BinarySearch(s.list, v); member {
				signature[i] = 1
			}
		}
		c := class{named: []string{v}}
		switch t.domain {
		case onChain, onChainOr:
			if c.chain = chainOf(v); c.chain == "" {
				continue // an attribute of the request's chain is never that
			}
		case chains:
			c.chain = v
		}
		k := c.chain + "\x00" + string(signature)
		if i, ok := at[k]; ok {
			out[i].named = append(out[i].named, v)
			continue
		}
		at[k] = len(out)
		out = append(out, c)
	}
	switch t.domain {
	case plain:
		out = append(out, class{other: true})
	case chains:
		out = slices.Insert(out, 0, class{other: true, chain: elsewhere})
	case onChain, onChainOr:
		out = slices.Insert(out, 0, class{other: true, chain: elsewhere})
		for _, id := range m.chainIDs {
			out = append(out, class{other: true, chain: id})
		}
		if t.domain == onChainOr {
			out = slices.Insert(out, 0, class{empty: true, named: []string{""}}) // a set may have it
		}
	}
	m.classCache[key] = out
	return out
}

// elsewhere stands for a chain that no condition mentions.
const elsewhere = "elsewhere"

// onChain is whether the request is on the chain.
func (m *model) onChain(id string) lit {
	if id == elsewhere {
		return m.in(m.chain, m.chainIDs).not()
	}
	return m.in(m.chain, []string{id})
}

// chainOf is the chain of an account or an asset; "" of neither.
func chainOf(s string) string {
	if id, _, err := chain.ParseAccount(s); err == nil {
		return id
	}
	if id, _, _, err := chain.ParseAsset(s); err == nil {
		return id
	}
	return ""
}

// equal makes two variables of settled classes the same text, where cond holds.
// Whoever calls it asked the same sets of both.
func (m *model) equal(cond []lit, a, b *text) {
	for _, s := range a.sets {
		if o, ok := b.bySet[s.key]; ok {
			m.same(cond, s.in, o.in)
		}
	}
}

// same makes two literals equal where cond holds.
func (m *model) same(cond []lit, a, b lit) {
	m.clause(append(negate(cond), a.not(), b)...)
	m.clause(append(negate(cond), a, b.not())...)
}

func negate(ls []lit) []lit {
	out := make([]lit, 0, len(ls)+2)
	for _, l := range ls {
		out = append(out, l.not())
	}
	return out
}

// sortedUnion is the members of both, sorted, each once.
func sortedUnion[T cmp.Ordered](a, b []T) []T {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
