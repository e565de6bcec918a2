package policy

import (
	"slices"
	"sort"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// Most rules of a long policy ask the same things: is the amount at most this, is
// the chain that. A column is all conditions that compare one fact with constants.
// Its fact is computed once an evaluation, and where it stands among the constants
// says at once which of the conditions hold: each has a slot, those of a column side
// by side. An && with a slot that is false is false, an || with one that is true is
// true, whatever their other operands are; so a rule costs little more than a look
// at its slots unless it nearly matches.

// column is the conditions on one fact by one operator.
type column struct {
	fact  *node
	op    Op     // the fact stands on its left
	asset string // of the constants
	first int    // slot
	size  int
	nums  []chain.Amount   // of numbers: the constants, ascending; one for each slot
	texts map[string][]int // of texts: the slots, counted from first, that name it
}

// minColumn is the least number of conditions that are worth a column.
const minColumn = 2

// isFact reports whether n is a number or text that is the same wherever it stands,
// and costs little: neither ledger nor prices are asked.
func isFact(n *node) bool {
	switch n.op {
	case OpChain, OpWallet, OpSender, OpInitiator, OpFee, OpTotal, OpReceived, OpRiskOutcome, OpRiskScore,
		OpMessageType, OpMessageName, OpMessageVersion, OpMessageContract, OpMessageUint, OpMessageAddress, OpMessageText:
		return true
	case OpCount:
		return len(n.args) == 1
	}
	return false
}

// constraint is a condition that compares a fact with a constant.
type constraint struct {
	fact, constant *node // the constant is nil for in
	op             Op
}

func constraintOf(n *node) (constraint, bool) {
	switch n.op {
	case OpIn:
		return constraint{&n.args[0], nil, n.op}, isFact(&n.args[0])
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		x, y, o := &n.args[0], &n.args[1], n.op
		if literal(x) {
			x, y, o = y, x, mirrored(o)
		}
		return constraint{x, y, o}, literal(y) && isFact(x)
	}
	return constraint{}, false
}

// key is the same for conditions of one column.
func (c *constraint) key() string {
	asset := ""
	if c.constant != nil {
		asset = c.constant.asset
	}
	return strings.Join([]string{string(rune(c.op)), asset, string(c.fact.expr.Encode())}, "\x00")
}

// columnize makes the columns of the conditions, each of which stands there once,
// and gives slots to all that are in one. Others are left without.
func (p *program) columnize(conditions []*node) {
	groups := make(map[string][]*node)
	var keys []string
	for _, n := range conditions {
		if c, ok := constraintOf(n); ok {
			k := c.key()
			if groups[k] == nil {
				keys = append(keys, k)
			}
			groups[k] = append(groups[k], n)
		}
	}
	for _, k := range keys {
		if list := groups[k]; len(list) >= minColumn {
			p.columns = append(p.columns, p.column(list))
		}
	}
}

func (p *program) column(list []*node) column {
	c, _ := constraintOf(list[0])
	out := column{fact: c.fact, op: c.op, first: p.slots, size: len(list)}
	number := func(n *node) *chain.Amount { c, _ := constraintOf(n); return &c.constant.num }
	if c.fact.typ == TypeText {
		out.texts = make(map[string][]int)
	} else {
		out.asset = c.constant.asset
		slices.SortFunc(list, func(a, b *node) int { return number(a).Cmp(number(b)) })
	}
	for i, n := range list {
		n.slot = p.slots
		p.slots++
		switch {
		case out.texts == nil:
			out.nums = append(out.nums, *number(n))
		case n.op == OpIn:
			for _, s := range n.set {
				out.texts[s] = append(out.texts[s], i)
			}
		default:
			c, _ := constraintOf(n)
			out.texts[c.constant.text] = append(out.texts[c.constant.text], i)
		}
	}
	return out
}

// fill computes all conditions of a column.
func (c *column) fill(e *evaluation) {
	slots := e.slots[c.first : c.first+c.size]
	if c.texts != nil {
		s, ok := e.text(c.fact)
		if ok != True {
			fillWith(slots, ok)
			return
		}
		fillWith(slots, truth(c.op == OpNe))
		for _, i := range c.texts[s] {
			slots[i] = truth(c.op != OpNe)
		}
		return
	}
	var q quantity
	ok := e.number(c.fact, &q)
	if ok == True && q.asset != c.asset {
		ok = Failed
	}
	if ok != True {
		fillWith(slots, ok)
		return
	}
	from, to := c.holding(&q.num)
	fillWith(slots, truth(c.op == OpNe))
	fillWith(slots[from:to], truth(c.op != OpNe))
}

// holding is the range of the constants of which the operator is true; for != that
// of which it is false.
func (c *column) holding(v *chain.Amount) (from, to int) {
	n := len(c.nums)
	equal := sort.Search(n, func(i int) bool { return !c.nums[i].Lt(v) }) // the first that is not below v
	above := sort.Search(n, func(i int) bool { return c.nums[i].Gt(v) })  // the first above v
	switch c.op {
	case OpLt:
		return above, n
	case OpLe:
		return equal, n
	case OpGt:
		return 0, equal
	case OpGe:
		return 0, above
	}
	return equal, above
}

func fillWith(slots []Truth, t Truth) {
	for i := range slots {
		slots[i] = t
	}
}

// The operands of && and || are evaluated in the order of what they cost: which of
// them is looked at first changes nothing about the value (docs/spec/policy.md).
const (
	costLook  = 1   // a fact
	costFind  = 4   // something that has to be searched for
	costPrice = 64  // prices
	costLimit = 256 // the ledger
	costItems = 8   // times the condition: a list
)

func (n *node) cost() int {
	sum := costLook
	switch n.op {
	case OpInGroup, OpHasRole, OpLabelled, OpArgUint, OpArgAddress, OpArgText, OpArgFlag, OpDuring, OpRiskOutcome, OpRiskScore:
		sum = costFind
	case OpValue:
		sum = costPrice
	case OpField:
		if n.field == fieldValue && n.list == TypeTransfers {
			sum = costPrice
		}
	case OpWithin, OpUsed:
		sum = costLimit
	}
	for i := range n.args {
		c := n.args[i].cost()
		if n.op.isQuantifier() {
			c *= costItems
		}
		sum += c
	}
	return sum
}
