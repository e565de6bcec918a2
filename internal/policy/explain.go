package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// Node is a condition with its value and the reason for it.
type Node struct {
	Condition string `json:"condition"`     // as people write it
	Value     Truth  `json:"value"`         //
	Detail    string `json:"detail"`        // the facts that make it so
	Fix       string `json:"fix,omitempty"` // what would turn it
	Sub       []Node `json:"sub,omitempty"`
	failing   int    // how many things would have to change
	choice    bool   // Fix offers several ways
	cause     string // the code of what waits or failed
}

const (
	// maxExplanation bounds the text of one node, in bytes.
	maxExplanation = 1024
	// maxExplained bounds how many operators one answer explains.
	maxExplained = 20000
	// maxShown is how many items of a list are explained.
	maxShown = 8
)

func (n *Node) errorCode() string {
	if n.cause == CodeStale || n.cause == CodeDisagree {
		return n.cause
	}
	return CodeError
}

func (n *Node) waitCode() string {
	if n.cause == CodePrice {
		return n.cause
	}
	return CodeRisk
}

func (n *Node) set(value Truth, detail, fix string) {
	n.Value, n.Detail, n.Fix = value, wire.CleanText(detail, maxExplanation), wire.CleanText(fix, maxExplanation)
}

// explain evaluates a condition with the reason. Every operand is looked at, so
// that the explanation is complete.
func (e *evaluation) explain(n *node) Node {
	x := Node{failing: 1}
	if e.explained++; e.explained > maxExplained {
		x.set(e.boolean(n), "(not explained: this answer is too long)", "")
		return x
	}
	if e.nested == 0 {
		x.Condition = wire.CleanText(e.doc.Format(n.expr), maxExplanation)
	}
	switch n.op {
	case OpAnd, OpOr:
		e.explainJunction(n, &x)
	case OpNot:
		s := e.explain(&n.args[0])
		x.Detail, x.Fix, x.failing, x.choice, x.cause = s.Detail, s.Fix, s.failing, s.choice, s.cause
		x.Value = not(s.Value)
	case OpAll, OpExists, OpExistsOne:
		e.explainQuantifier(n, &x)
	case OpIf:
		e.explainIf(n, &x)
	default:
		e.explainLeaf(n, &x)
	}
	return x
}

func (e *evaluation) explainJunction(n *node, x *Node) {
	strong, weak := False, True
	if n.op == OpOr {
		strong, weak = True, False
	}
	var sub []Node
	for i := range n.args {
		sub = append(sub, e.explain(&n.args[i]))
	}
	x.join(sub, strong, weak)
	if e.nested == 0 {
		x.Sub = sub
	}
}

// join gives x the value strong when an operand has it, else Waiting when one
// waits, else Failed when one failed, else weak: && is (False, True), || is (True,
// False).
func (x *Node) join(sub []Node, strong, weak Truth) {
	x.Value = weak
	for i := range sub {
		if sub[i].Value == strong {
			x.Value = strong
			break
		}
		x.Value = weaker(x.Value, sub[i].Value)
	}
	var reasons, turns []Node
	for _, s := range sub {
		if s.Value == x.Value {
			reasons = append(reasons, s)
		}
		if s.Value == x.Value || s.Value == Waiting && strong == False {
			turns = append(turns, s)
		}
	}
	x.failing = 0
	// One operand suffices to turn a value that all share, and to settle an || that
	// waits; else all that stand in the way must turn.
	switch {
	case len(reasons) == 0: // never
	case x.Value == weak || x.Value == Waiting && strong == True:
		x.turnOne(reasons)
	default:
		x.turnAll(turns)
	}
	var details []string
	for _, s := range reasons {
		details = append(details, s.Detail)
		if x.cause == "" {
			x.cause = s.cause
		}
	}
	x.Detail = wire.CleanText(join(details, " and "), maxExplanation)
	x.Fix = wire.CleanText(x.Fix, maxExplanation)
}

// turnOne says what turns x when one of the nodes must turn: one of the nearest.
func (x *Node) turnOne(nodes []Node) {
	x.failing = nodes[0].failing
	for _, s := range nodes {
		x.failing = min(x.failing, s.failing)
	}
	var fixes []string
	for _, s := range nodes {
		if s.failing == x.failing {
			fixes = append(fixes, s.Fix)
		}
	}
	x.Fix = join(fixes, " or ")
	x.choice = len(fixes) > 1 || nodes[0].choice
}

// turnAll says what turns x when all of the nodes must turn.
func (x *Node) turnAll(nodes []Node) {
	var fixes []string
	for _, s := range nodes {
		if s.choice && len(nodes) > 1 {
			s.Fix = "(" + s.Fix + ")"
		}
		fixes = append(fixes, s.Fix)
		x.failing += s.failing
		x.choice = s.choice && len(nodes) == 1
	}
	x.Fix = join(fixes, " and ")
}

// join joins the first few different parts.
func join(parts []string, by string) string {
	const most = 6
	var out []string
	for _, p := range parts {
		if p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("%d more", len(out)-most))
	}
	return strings.Join(out, by)
}

func (e *evaluation) explainIf(n *node, x *Node) {
	branch, ok := e.branch(n)
	c := e.explain(&n.args[0])
	if ok != True {
		*x = Node{Condition: x.Condition, Value: ok, Detail: c.Detail, Fix: c.Fix, failing: 1, cause: c.cause}
		return
	}
	s := e.explain(branch)
	x.set(s.Value, s.Detail+" ("+c.Detail+")", s.Fix)
	x.failing, x.choice, x.cause = s.failing, s.choice, s.cause
}

var itemWords = map[Type]string{
	TypeTransfers: "transfer", TypeAllowances: "token allowance", TypeCalls: "call", TypeCreations: "contract creation", TypeApprovers: "approver",
}

// explainQuantifier explains the items that make a quantifier's value.
func (e *evaluation) explainQuantifier(n *node, x *Node) {
	word := itemWords[n.list]
	x.Value = e.boolean(n)
	if e.size(n.list) == 0 {
		x.set(x.Value, "there is no "+word, "a transaction with a "+word)
		return
	}
	if e.nested >= MaxNesting {
		return
	}
	var items []Node
	e.nested++
	for i := range e.size(n.list) {
		e.bound[e.nested-1] = i
		if len(items) < maxShown || e.boolean(&n.args[1]) == x.Value {
			items = append(items, e.explain(&n.args[1]))
		}
	}
	e.nested--
	switch n.op {
	case OpAll:
		x.join(items, False, True)
	case OpExists:
		x.join(items, True, False)
	default:
		value := x.Value
		x.join(items, True, False)
		x.set(value, fmt.Sprintf("of %d, not exactly one: %s", e.size(n.list), x.Detail), "exactly one "+word+" like that")
		if value == True {
			x.set(value, "exactly one "+word+": "+x.Detail, "none, or more than one "+word+" like that")
		}
	}
	x.failing = max(1, min(x.failing, len(items)))
	if len(items) > 1 {
		x.Detail = wire.CleanText(fmt.Sprintf("of %d %ss: %s", e.size(n.list), word, x.Detail), maxExplanation)
	}
}

// explainLeaf explains what is not made of conditions.
func (e *evaluation) explainLeaf(n *node, x *Node) {
	value := e.boolean(n)
	if value == Failed || value == Waiting {
		why := e.why(n)
		x.set(value, why.detail, why.fix)
		x.cause = why.code
		return
	}
	detail, fix := e.fact(n, value == True)
	x.set(value, detail, fix)
}

// fact says what makes a condition true or false, and what would turn it.
func (e *evaluation) fact(n *node, holds bool) (detail, fix string) {
	pick := func(yes, no string) string {
		if holds {
			return yes
		}
		return no
	}
	switch n.op {
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		return e.comparison(n, holds)
	case OpIn:
		return e.membership(n, holds)
	case OpBool:
		return pick("always", "never"), pick("nothing: it holds always", "nothing: it never holds")
	case OpOnlyTransfers:
		return e.onlyTransfersFact(holds)
	case OpMessagePresent:
		return pick("it is a message", "it is no message"), pick("a transaction", "a message")
	case OpInGroup, OpHasRole:
		return e.principalFact(n, holds)
	case OpLabelled:
		what, s := e.subject(&n.args[0]), e.shown(&n.args[0])
		return fmt.Sprintf("%s %s is %s", what, s, pick("labelled "+n.text, "not labelled "+n.text)),
			fmt.Sprintf("%s %s", article(what), pick("that is not labelled "+n.text, "labelled "+n.text))
	case OpField:
		a := e.approval(n)
		what := fmt.Sprintf("allowance for %s", e.show(a.Spender))
		return what + pick(" is unlimited: ", " is limited: ") + e.doc.Amount(a.Asset, a.Amount), pick("a limited allowance", "an unlimited allowance")
	case OpArgFlag, OpMessageFlag:
		return fmt.Sprintf("%s is %s", e.subject(n), pick("true", "false")), fmt.Sprintf("%s that is %s", e.subject(n), pick("false", "true"))
	case OpDuring:
		return fmt.Sprintf("it is %s, %s %s %s", instant(int64(e.now())), pick("within", "outside"), n.hours, n.text),
			pick("a time outside ", "a time within ") + n.hours.String() + " " + n.text
	case OpBefore, OpAfter:
		return fmt.Sprintf("it is %s, %s %s", instant(int64(e.now())), pick(n.op.String(), pick2(n.op)), unixText(&n.num)),
			fmt.Sprintf("a time %s %s", pick(pick2(n.op), n.op.String()), unixText(&n.num))
	case OpWithin:
		return e.limitFact(n.index, holds)
	}
	return "unknown operator", ""
}

// pick2 is the opposite of before or after.
func pick2(o Op) string {
	if o == OpBefore {
		return "not before"
	}
	return "before"
}

func (e *evaluation) principalFact(n *node, holds bool) (detail, fix string) {
	who, _ := e.text(&n.args[0])
	what := e.subject(&n.args[0])
	if n.op == OpHasRole {
		if holds {
			return fmt.Sprintf("%s %s has role %s", what, who, n.text), fmt.Sprintf("%s without role %s", article(what), n.text)
		}
		return fmt.Sprintf("%s %s does not have role %s", what, who, n.text), fmt.Sprintf("%s with role %s", article(what), n.text)
	}
	if holds {
		return fmt.Sprintf("%s %s is in group %s", what, who, n.text), fmt.Sprintf("%s outside group %s", article(what), n.text)
	}
	return fmt.Sprintf("%s %s is not in group %s", what, who, n.text),
		fmt.Sprintf("%s from group %s (%s)", article(what), n.text, orList(e.roster.Members(n.text)))
}

// onlyTransfersFact looks for anything but the sender's own assets moving.
func (e *evaluation) onlyTransfersFact(holds bool) (detail, fix string) {
	if holds {
		return "it only transfers", "a transaction that does more than transfer"
	}
	f := e.in.Effects
	var other []string
	if len(f.Transfers) == 0 {
		other = append(other, "nothing is transferred")
	}
	if f.Message != nil {
		other = append(other, "it is a message")
	}
	for i := range f.Approvals {
		other = append(other, fmt.Sprintf("it lets %s spend %s", e.show(f.Approvals[i].Spender), e.doc.Amount(f.Approvals[i].Asset, f.Approvals[i].Amount)))
	}
	for i := range f.Transfers {
		if f.Transfers[i].From != f.Sender {
			other = append(other, "it moves assets of "+e.show(f.Transfers[i].From))
		}
	}
	if len(f.Creates) > 0 {
		other = append(other, "it creates a contract")
	}
	for i := range f.Calls {
		if !transferCall(f, &f.Calls[i]) {
			other = append(other, fmt.Sprintf("it calls %s of %s", f.Calls[i].Method, e.show(f.Calls[i].To)))
		}
	}
	return join(other, " and "), "a transaction that only transfers the wallet's own assets"
}

// membership explains an in.
func (e *evaluation) membership(n *node, holds bool) (detail, fix string) {
	x := &n.args[0]
	what := e.subject(x)
	var list []string
	for _, s := range n.set {
		list = append(list, e.showText(x, s))
	}
	if holds {
		return fmt.Sprintf("%s is %s", what, e.shown(x)), fmt.Sprintf("another %s than %s", what, orList(list))
	}
	return fmt.Sprintf("%s %s is not %s", what, e.shown(x), orList(list)), fmt.Sprintf("%s %s", what, orList(list))
}

// comparison explains ==, !=, <, <=, >, >=.
func (e *evaluation) comparison(n *node, holds bool) (detail, fix string) {
	x, y, o := &n.args[0], &n.args[1], n.op
	if literal(x) && !literal(y) { // "2 < x" is about x
		x, y, o = y, x, mirrored(o)
	}
	what, v, w := e.subject(x), e.shown(x), e.shown(y)
	if !literal(y) {
		w = fmt.Sprintf("%s (%s)", e.subject(y), w)
	}
	if x.typ == TypeBool {
		return fmt.Sprintf("%s is %s and %s is %s", what, v, e.subject(y), w), fmt.Sprintf("%s and %s %s", what, e.subject(y), relation(opposed(n.op, holds), true))
	}
	now, turned := o, opposed(o, true)
	if !holds {
		now, turned = turned, now
	}
	if now == OpEq {
		return fmt.Sprintf("%s is %s", what, w), fmt.Sprintf("another %s than %s", what, w)
	}
	if turned == OpEq {
		return fmt.Sprintf("%s %s is not %s", what, v, w), fmt.Sprintf("%s %s", what, w)
	}
	return fmt.Sprintf("%s %s is %s %s", what, v, relation(now, false), w), fmt.Sprintf("%s %s %s", article(what), relation(turned, true), w)
}

func literal(n *node) bool { return OpBool <= n.op && n.op <= OpMoney }

// mirrored is the operator for swapped operands.
func mirrored(o Op) Op {
	switch o {
	case OpLt:
		return OpGt
	case OpLe:
		return OpGe
	case OpGt:
		return OpLt
	case OpGe:
		return OpLe
	}
	return o
}

// opposed is the operator that holds when o does not; o itself when not turn.
func opposed(o Op, turn bool) Op {
	if !turn {
		return o
	}
	switch o {
	case OpEq:
		return OpNe
	case OpNe:
		return OpEq
	case OpLt:
		return OpGe
	case OpLe:
		return OpGt
	case OpGt:
		return OpLe
	}
	return OpLt
}

// relation writes a comparison: "above", or as a wish "of at most".
func relation(o Op, wish bool) string {
	switch o {
	case OpEq:
		return "equal"
	case OpNe:
		return "different"
	case OpLt:
		return "below"
	case OpGt:
		return "above"
	case OpLe:
		if wish {
			return "of at most"
		}
		return "at most"
	}
	if wish {
		return "of at least"
	}
	return "at least"
}
