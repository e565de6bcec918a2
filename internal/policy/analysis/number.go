package analysis

import (
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// number is a variable over 256-bit numbers. Conditions compare it with constants
// only, so that what matters is between which of them it is.
type number struct {
	name   string
	bounds []bound // after settle sorted
	byMax  map[chain.Amount]int
}

// bound is whether the number is at most max.
type bound struct {
	max chain.Amount
	is  lit
}

var largest = chain.Amount{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func (m *model) number(name string) *number {
	if n, ok := m.numbers[name]; ok {
		return n
	}
	n := &number{name: name, byMax: make(map[chain.Amount]int)}
	m.numbers[name] = n
	m.numberList = append(m.numberList, n)
	return n
}

// atMost is whether the number is at most max.
func (m *model) atMost(n *number, max chain.Amount) lit {
	if max == largest {
		return yes
	}
	if i, ok := n.byMax[max]; ok {
		return n.bounds[i].is
	}
	is := m.fresh().not() // small numbers make plain examples, but who sends nothing?
	if max.IsZero() && (strings.HasSuffix(n.name, ".amount") || strings.HasPrefix(n.name, "total ")) {
		is = is.not()
	}
	n.byMax[max] = len(n.bounds)
	n.bounds = append(n.bounds, bound{max, is})
	return is
}

// below is whether the number is less than c.
func (m *model) below(n *number, c chain.Amount) lit {
	if c.IsZero() {
		return no
	}
	var less chain.Amount
	less.SubUint64(&c, 1)
	return m.atMost(n, less)
}

// positive is whether it is more than zero.
func (m *model) positive(n *number) lit { return m.atMost(n, chain.Amount{}).not() }

// settleNumber orders the bounds.
func (m *model) settleNumber(n *number) {
	slices.SortFunc(n.bounds, func(a, b bound) int { return a.max.Cmp(&b.max) })
	for i := range n.bounds {
		if i > 0 {
			m.clause(n.bounds[i-1].is.not(), n.bounds[i].is)
		}
	}
	for i := range n.bounds {
		n.byMax[n.bounds[i].max] = i
	}
}

// atMostAll makes small ≤ big where cond holds; both settled. For every bound of
// big: big ≤ c → small ≤ c' with the nearest c' ≥ c that small has, and for every
// bound of small: small > c → big > the nearest c' ≤ c.
func (m *model) atMostAll(cond []lit, small, big *number) {
	for _, b := range big.bounds {
		for _, s := range small.bounds {
			if s.max.Cmp(&b.max) >= 0 {
				m.clause(append(negate(cond), b.is.not(), s.is)...)
				break
			}
		}
	}
}

// between are the bounds of the number in the model.
func (m *model) between(n *number) (low, high chain.Amount) {
	high = largest
	for _, b := range n.bounds {
		if m.holds(b.is) {
			high = b.max
			return low, high
		}
		low.AddUint64(&b.max, 1)
	}
	return low, high
}
