package policy

import (
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
)

// program is a Document made ready to evaluate: its trees with every name resolved
// to a place in a table.
type program struct {
	doc     *Document // it is the program of exactly this one
	guards  []node
	rules   []node
	labels  map[string]labelSet // by address
	groups  []string            // that the initiator is asked about
	roles   []string
	engines []string
	// Conditions without free variables that occur more than once are evaluated
	// once, and so are those of columns: each has a slot.
	slots   int
	columns []column
}

// labelSet says which labels of the address book hold an address.
type labelSet [(MaxLabels + 63) / 64]uint64

func (s *labelSet) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

// node is one operator of a tree.
type node struct {
	op    Op
	typ   Type
	list  Type      // of the variable that is read, or the list that is quantified over
	field itemField // of the variable
	depth uint8
	slot  int // of program.slots, or -1
	index int // of the label, group, role, engine, asset, limit or zone
	args  []node
	quick []int32 // of && and ||: the slots that args have
	order []int32 // of && and ||: args, the cheapest first
	num   chain.Amount
	hours Hours
	text  string
	asset string
	set   []string
	expr  *Expr // what it was made from
}

// itemField is a field of an item of a list.
type itemField uint8

const (
	fieldFrom itemField = iota + 1
	fieldTo
	fieldAsset
	fieldAmount
	fieldValue
	fieldOwner
	fieldSpender
	fieldUnlimited
	fieldMethod
	fieldDepth
	fieldCode
)

var fieldNumbers = map[string]itemField{
	"from": fieldFrom, "to": fieldTo, "asset": fieldAsset, "amount": fieldAmount, "value": fieldValue,
	"owner": fieldOwner, "spender": fieldSpender, "unlimited": fieldUnlimited, "method": fieldMethod, "depth": fieldDepth, "code": fieldCode,
}

// Compile makes the document ready, so that evaluations need not do it each time.
// After it the document must not be changed; a copy of it is not compiled.
func (d *Document) Compile() { d.compiled = d.compile() }

// Compiled is a copy that is compiled, or d itself when it is. The copy shares
// everything with d; neither must be changed after it.
func (d *Document) Compiled() *Document {
	if d == nil || d.compiled != nil && d.compiled.doc == d {
		return d
	}
	out := *d
	out.Compile()
	return &out
}

// program returns the compiled form.
func (d *Document) program() *program {
	if p := d.compiled; p != nil && p.doc == d {
		return p
	}
	return d.compile()
}

func (d *Document) compile() *program {
	p := &program{doc: d, labels: make(map[string]labelSet)}
	for i := range d.AddressBook[:min(len(d.AddressBook), MaxLabels)] {
		for _, a := range d.AddressBook[i].Addresses {
			s := p.labels[a]
			s[i/64] |= 1 << (i % 64)
			p.labels[a] = s
		}
	}
	p.guards, p.rules = make([]node, len(d.Guards)), make([]node, len(d.Rules))
	for i := range d.Guards {
		p.guards[i] = p.tree(&d.Guards[i].When)
	}
	for i := range d.Rules {
		p.rules[i] = p.tree(&d.Rules[i].When)
	}
	all := &shared{same: make(map[string][]*node)}
	for _, list := range [][]node{p.guards, p.rules} {
		for i := range list {
			all.add(&list[i])
		}
	}
	p.columnize(all.first())
	p.assign(all)
	for _, list := range [][]node{p.guards, p.rules} {
		for i := range list {
			list[i].arrange()
		}
	}
	return p
}

// tree resolves a condition. One that does not type-check, of a document that was
// never checked, becomes a node that evaluates to an error.
func (p *program) tree(e *Expr) node {
	c := typing{doc: p.doc, bound: make([]Type, 0, MaxNesting), types: make(map[*Expr]Type)}
	if t, _, err := c.node(e, 1); err != nil || t != TypeBool {
		return node{expr: e, slot: -1}
	}
	return p.node(e, c.types, nil)
}

// node resolves one operator. bound are the lists of the quantifiers around it,
// the outermost first.
func (p *program) node(e *Expr, types map[*Expr]Type, bound []Type) node {
	n := node{op: e.Op, typ: types[e], depth: e.Depth, num: e.Num, text: e.Text, asset: e.Asset, set: e.Set, expr: e, index: -1, slot: -1}
	p.resolve(&n, bound)
	for i := range e.Args {
		if i == 0 && e.Op.isQuantifier() {
			n.list = TypeTransfers + Type(e.Args[0].Op-OpTransfers)
			n.args = append(n.args, node{op: e.Args[0].Op, expr: &e.Args[0], slot: -1})
			bound = append(slices.Clone(bound), n.list)
			continue
		}
		n.args = append(n.args, p.node(&e.Args[i], types, bound))
	}
	return n
}

// shared is the conditions without free variables, equal ones together.
type shared struct {
	keys []string // in the order of the document
	same map[string][]*node
}

// add adds n and what is in it; it returns how many quantifiers outside of n its
// variables reach.
func (s *shared) add(n *node) int {
	free := 0
	switch n.op {
	case OpField, OpItem, OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		free = int(n.depth) + 1
	}
	for i := range n.args {
		f := s.add(&n.args[i])
		if n.op.isQuantifier() && i == 1 {
			f--
		}
		free = max(free, f)
	}
	if free > 0 || n.typ != TypeBool || n.op == OpBool {
		return free
	}
	key := string(n.expr.Encode())
	if s.same[key] == nil {
		s.keys = append(s.keys, key)
	}
	s.same[key] = append(s.same[key], n)
	return 0
}

// first is one of each.
func (s *shared) first() []*node {
	out := make([]*node, len(s.keys))
	for i, k := range s.keys {
		out[i] = s.same[k][0]
	}
	return out
}

// assign gives one slot to all conditions that are equal.
func (p *program) assign(all *shared) {
	for _, k := range all.keys {
		list := all.same[k]
		if list[0].slot < 0 && len(list) > 1 {
			list[0].slot = p.slots
			p.slots++
		}
		for _, n := range list {
			n.slot = list[0].slot
		}
	}
}

// arrange prepares every && and ||.
func (n *node) arrange() {
	for i := range n.args {
		n.args[i].arrange()
	}
	if n.op != OpAnd && n.op != OpOr {
		return
	}
	costs := make([]int, len(n.args))
	for i := range n.args {
		if slot := n.args[i].slot; slot >= 0 {
			n.quick = append(n.quick, int32(slot))
		}
		n.order = append(n.order, int32(i))
		costs[i] = n.args[i].cost()
	}
	slices.SortStableFunc(n.order, func(a, b int32) int { return costs[a] - costs[b] })
}

func (p *program) resolve(n *node, bound []Type) {
	d := p.doc
	switch n.op {
	case OpField, OpItem, OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		n.list = bound[len(bound)-1-int(n.depth)]
		n.field = fieldNumbers[n.text]
	case OpLabelled:
		n.index = slices.IndexFunc(d.AddressBook, func(e Entry) bool { return e.Label == n.text })
	case OpInGroup:
		n.index = intern(&p.groups, n.text)
	case OpHasRole:
		n.index = intern(&p.roles, n.text)
	case OpRiskOutcome, OpRiskScore:
		n.index = intern(&p.engines, n.text)
	case OpTotal, OpReceived:
		n.index = d.assetIndex(n.asset)
	case OpWithin, OpUsed:
		n.index = slices.IndexFunc(d.Limits, func(l Limit) bool { return l.Name == n.text })
	case OpDuring:
		n.index = slices.IndexFunc(d.Zones, func(z Zone) bool { return z.Name == n.text })
		n.hours, _ = HoursOf(&n.num)
	}
}

func (d *Document) assetIndex(id string) int {
	return slices.IndexFunc(d.Assets, func(a Asset) bool { return a.ID == id })
}

func intern(list *[]string, s string) int {
	if i := slices.Index(*list, s); i >= 0 {
		return i
	}
	*list = append(*list, s)
	return len(*list) - 1
}
