package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// model is the abstraction of all inputs: every input of the vaults is a model of
// its clauses (docs/spec/analysis.md has the argument), so that what has no model
// does not happen. Some models are no input; what is told as an example is decided
// again by the policies themselves.
type model struct {
	*circuit
	roster *identity.Roster // who signs

	texts      map[string]*text
	textList   []*text
	classCache map[string][]class
	numbers    map[string]*number
	numberList []*number
	chainIDs   []string // mentioned, sorted
	chain      *text
	wallet     *text
	sender     *text
	initiator  *text
	now        *number // unix s

	lists    [5]itemList // by list operator
	quants   map[string]*quantifier
	quantQ   []*quantifier // in the order of their making; instantiated up to done
	truths   map[string]truth
	opaques  []*opaque
	flags    map[string]lit
	flagList []string
	limits   []*limitUse
	limitBy  map[string]*limitUse
	totals   []*total
	totalBy  map[string]*total
	senders  []*senderOf
	values   []*valued
	valueBy  map[string]*valued
	views    []*view
	zones    map[string]*zone
	zoneList []*zone
	demands  []*wanted
}

// truth is the value of a condition: that it is true, and that it is false. It is
// neither while something is missing, or when it cannot be computed.
type truth struct{ is, isNot lit }

func certain(l lit) truth { return truth{l, l.not()} }

func (t truth) not() truth { return truth{t.isNot, t.is} }

// opaque is a condition outside the fragment: it may have any value.
type opaque struct {
	words string
	truth truth
}

func newModel(roster *identity.Roster, budget int64, docs ...*policy.Document) *model {
	m := &model{
		circuit: newCircuit(budget), roster: roster,
		texts: make(map[string]*text), classCache: make(map[string][]class), numbers: make(map[string]*number),
		quants: make(map[string]*quantifier), truths: make(map[string]truth), flags: make(map[string]lit),
		limitBy: make(map[string]*limitUse), totalBy: make(map[string]*total), zones: make(map[string]*zone),
		valueBy: make(map[string]*valued),
	}
	for i, op := range []policy.Op{policy.OpTransfers, policy.OpAllowances, policy.OpCalls, policy.OpCreations, policy.OpApprovers} {
		m.lists[i] = itemList{op: op}
	}
	for _, d := range docs {
		m.chainIDs = append(m.chainIDs, mentioned(d)...)
	}
	slices.Sort(m.chainIDs)
	m.chainIDs = slices.Compact(m.chainIDs)
	m.chain = m.text("chain", chains)
	for _, id := range m.chainIDs {
		m.in(m.chain, []string{id})
	}
	m.in(m.chain, m.chainIDs)
	m.wallet = m.text("wallet", plain)
	m.sender = m.text("sender", onChain)
	m.initiator = m.text("initiator", enumerated, m.who(identity.Propose)...)
	m.now = m.number("now")
	return m
}

// who are the principals who may do this, sorted.
func (m *model) who(right identity.Right) []string {
	var out []string
	for i := range m.roster.Principals {
		if id := m.roster.Principals[i].ID; m.roster.May(id, right) {
			out = append(out, id)
		}
	}
	return out
}

// mentioned are the chains of a document.
func mentioned(d *policy.Document) []string {
	var out []string
	add := func(s string) {
		if id := chainOf(s); id != "" {
			out = append(out, id)
		} else if chain.CheckID(s) == nil {
			out = append(out, s)
		}
	}
	for _, a := range d.Assets {
		add(a.ID)
	}
	for _, e := range d.AddressBook {
		for _, a := range e.Addresses {
			add(a)
		}
	}
	var walk func(e *policy.Expr)
	walk = func(e *policy.Expr) {
		add(e.Text)
		add(e.Asset)
		for _, s := range e.Set {
			add(s)
		}
		for i := range e.Args {
			walk(&e.Args[i])
		}
	}
	for i := range d.Guards {
		walk(&d.Guards[i].When)
	}
	for i := range d.Rules {
		walk(&d.Rules[i].When)
	}
	for i := range d.Invariants {
		walk(&d.Invariants[i].When)
	}
	return out
}

// flag is a boolean attribute.
func (m *model) flag(name string) lit {
	l, ok := m.flags[name]
	if !ok {
		l = m.fresh()
		m.flags[name] = l
		m.flagList = append(m.flagList, name)
	}
	return l
}

// usually is a boolean attribute that is true in a plain example.
func (m *model) usually(name string) lit { return m.flag("no " + name).not() }

// itemList is one of the lists of effects, or the approvers. Its items are the
// witnesses of conditions: every input has, for every condition about the list,
// the item that makes it true or false, and the model keeps just those. Two
// witnesses may be the same item of the input.
type itemList struct {
	op    policy.Op
	items []*item
}

// item is an item that the input may have.
type item struct {
	list    policy.Op
	name    string
	present lit
	numbers map[string]*number
}

func (m *model) listOf(op policy.Op) *itemList { return &m.lists[op-policy.OpTransfers] }

func (m *model) witness(op policy.Op) *item {
	l := m.listOf(op)
	i := &item{list: op, name: fmt.Sprintf("%s.%d", op, len(l.items)), present: m.fresh(), numbers: make(map[string]*number)}
	l.items = append(l.items, i)
	return i
}

// itemText is a text attribute of an item.
func (m *model) itemText(i *item, field string) *text {
	name := i.name + "." + field
	switch {
	case i.list == policy.OpApprovers:
		return m.text(name, enumerated, m.who(identity.Approve)...)
	case field == "method", field == "code":
		return m.text(name, plain)
	case field == "to" && i.list == policy.OpTransfers:
		return m.text(name, onChainOr)
	}
	return m.text(name, onChain)
}

func (m *model) itemNumber(i *item, field string) *number {
	n, ok := i.numbers[field]
	if !ok {
		n = m.number(i.name + "." + field)
		i.numbers[field] = n
	}
	return n
}

// senderOf is that an account of an item is the sender.
type senderOf struct {
	t  *text
	is lit
}

func (m *model) isSender(t *text) lit {
	if t == m.sender {
		return yes
	}
	key := t.name + " is the sender"
	if l, ok := m.flags[key]; ok {
		return l
	}
	l := m.flag(key)
	if strings.HasSuffix(t.name, ".from") || strings.HasSuffix(t.name, ".owner") {
		m.prefer(l)
	}
	m.senders = append(m.senders, &senderOf{t, l})
	return l
}

// quantifier is a condition on a list that nothing outside of it is bound in.
type quantifier struct {
	op    policy.Op // OpExists, OpAll or OpCount
	list  policy.Op
	body  func(*item) truth
	truth truth // of exists and all
	by    *item // the witness of exists and all
	most  *number
	valid lit // of a count: it can be computed

	witnesses  []*item // of a count: as many different ones as there are, up to maxCount
	single     *item   // of a count: the only one, if there is one
	everything bool    // of a count: of all transfers
	values     []truth // by item
	done       int     // how many items of the list it was applied to
}

// exists is whether some item has the property, by a name of the property's own.
func (m *model) exists(list policy.Op, key string, body func(*item) truth) truth {
	key = fmt.Sprintf("%s exists %s", list, key)
	if q, ok := m.quants[key]; ok {
		return q.truth
	}
	q := &quantifier{op: policy.OpExists, list: list, body: body, truth: m.unknownTruth()}
	m.addQuantifier(key, q)
	q.by = m.witness(list)
	return q.truth
}

// count is the number of items that have the property, when it can be computed.
func (m *model) count(list policy.Op, key string, body func(*item) truth) (*number, lit) {
	key = fmt.Sprintf("%s count %s", list, key)
	if q, ok := m.quants[key]; ok {
		return q.most, q.valid
	}
	q := &quantifier{op: policy.OpCount, list: list, body: body, most: m.number(key), valid: yes}
	if body != nil {
		q.valid = m.fresh()
	} else {
		q.body, q.everything = func(*item) truth { return certain(yes) }, list == policy.OpTransfers
	}
	m.addQuantifier(key, q)
	return q.most, q.valid
}

func (m *model) addQuantifier(key string, q *quantifier) {
	m.quants[key] = q
	m.quantQ = append(m.quantQ, q)
}

func (m *model) unknownTruth() truth {
	t := truth{m.fresh(), m.fresh()}
	m.clause(t.is.not(), t.isNot.not())
	return t
}

// unknown is the value of a condition that the analysis does not understand. Equal
// conditions are equal.
func (m *model) unknown(key, words string) truth {
	t, ok := m.truths["?"+key]
	if !ok {
		t = m.unknownTruth()
		m.truths["?"+key] = t
		m.opaques = append(m.opaques, &opaque{words, t})
	}
	return t
}

// limitUse is what a limit has counted, with this request.
type limitUse struct {
	limit policy.Limit
	used  *number
	valid lit
}

// total is the sum of one asset's transfers out of the sender, or into it.
type total struct {
	asset string
	in    bool
	sum   *number
	valid lit
}

// valued is the value of all that leaves the sender, under one rule of prices.
type valued struct {
	key   string
	sum   *number
	valid lit
}

// zone is the local time of a zone: a minute of the week.
type zone struct {
	zone   *policy.Zone
	minute *text
	valid  lit
}

// minutesOfWeek are texts, so that hours of a week are sets of them.
var minutesOfWeek = func() []string {
	out := make([]string, 7*1440)
	for i := range out {
		out[i] = fmt.Sprintf("%05d", i)
	}
	return out
}()
