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
	// once: each has a slot.
	slots map[string]int
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
	quick []int32 // the slots of args, of && and ||
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
	p.slots = make(map[string]int)
	seen := make(map[string]*node)
	for _, list := range [][]node{p.guards, p.rules} {
		for i := range list {
			p.share(&list[i], seen)
		}
	}
	for _, list := range [][]node{p.guards, p.rules} {
		for i := range list {
			list[i].gather()
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

// share gives the same slot to equal conditions without free variables; it returns
// how many quantifiers outside of n its variables reach.
func (p *program) share(n *node, seen map[string]*node) int {
	free := 0
	switch n.op {
	case OpField, OpItem, OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		free = int(n.depth) + 1
	}
	for i := range n.args {
		f := p.share(&n.args[i], seen)
		if n.op.isQuantifier() && i == 1 {
			f--
		}
		free = max(free, f)
	}
	if free > 0 || n.typ != TypeBool || n.op == OpBool {
		return free
	}
	key := string(n.expr.Encode())
	first, ok := seen[key]
	if !ok {
		seen[key] = n
		return 0
	}
	if first.slot < 0 {
		first.slot = len(p.slots)
		p.slots[key] = first.slot
	}
	n.slot = first.slot
	return 0
}

// gather puts the slots of the operands of && and || side by side.
func (n *node) gather() {
	if n.op == OpAnd || n.op == OpOr {
		n.quick = make([]int32, len(n.args))
		for i := range n.args {
			n.quick[i] = int32(n.args[i].slot)
		}
	}
	for i := range n.args {
		n.args[i].gather()
	}
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
