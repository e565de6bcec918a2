package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Truth is the value of a condition. Waiting is for what a risk verdict that is
// not there yet will settle: a rule must not be passed over, nor a guard passed,
// because somebody withheld a verdict.
type Truth uint8

// The three values.
const (
	False   Truth = 0
	True    Truth = 1
	Waiting Truth = 2
)

func (t Truth) String() string {
	switch t {
	case True:
		return "yes"
	case Waiting:
		return "waiting"
	}
	return "no"
}

// MarshalText writes yes, no or waiting.
func (t Truth) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Node is a condition with its value and the reason for it.
type Node struct {
	Condition string `json:"condition"`     // as the document has it
	Value     Truth  `json:"value"`         //
	Detail    string `json:"detail"`        // the facts that make it so
	Fix       string `json:"fix,omitempty"` // what would turn it
	Sub       []Node `json:"sub,omitempty"`
	failing   int    // how many things would have to change
	choice    bool   // Fix offers several ways
}

// maxExplanation bounds the text of one node, in bytes.
const maxExplanation = 1024

// evaluation is one run of a document over one input.
type evaluation struct {
	doc    *Document
	roster *identity.Roster
	in     Input
	// holdWaits makes a risk verdict "hold" worth the same as none.
	holdWaits bool
}

// node evaluates a condition. Every operand is evaluated, so that the explanation
// is complete; the document's bounds bound the work.
func (e *evaluation) node(c *Condition) Node {
	n := Node{Condition: e.doc.words(c), failing: 1}
	switch c.Op {
	case All, Any, Not:
		return e.composite(c)
	case Chain:
		n.set(e.oneOf("chain", e.in.Request.Chain, c.Set))
	case Wallet:
		n.set(e.oneOf("wallet", hex.EncodeToString(e.in.Request.Wallet[:]), c.Set))
	case Sender:
		n.set(e.oneOf("sender", e.in.Request.Sender, c.Set))
	case Initiator:
		n.set(e.initiator(c.Set))
	case EveryAsset, AnyAsset:
		n.set(e.quantified(c, assets(e.in.Effects), "asset", "nothing is transferred"))
	case EveryRecipient, AnyRecipient:
		n.set(e.quantified(c, recipients(e.in.Effects), "recipient", "nothing is transferred"))
	case EverySpender, AnySpender:
		n.set(e.quantified(c, spenders(e.in.Effects), "spender", "there is no token allowance"))
	case EveryContract, AnyContract:
		n.set(e.quantified(c, contracts(e.in.Effects), "contract", "no contract is called"))
	case EveryMethod, AnyMethod:
		n.set(e.quantified(c, methods(e.in.Effects), "method", "no contract is called"))
	case AmountAtMost, AmountAtLeast:
		n.set(e.amounts(c))
	case AllowanceAtMost:
		n.set(e.allowances(c.Limits))
	case MaxFeeAtMost:
		n.set(e.maxFee(c.Limits))
	case Contains:
		n.set(e.contains(c.Set))
	case OnlyTransfers:
		n.set(e.onlyTransfers())
	case RiskIs:
		n.set(e.risk(c))
	default: // a document that was never checked: nothing matches
		n.set(False, "unknown operator", "")
	}
	return n
}

func (n *Node) set(value Truth, detail, fix string) {
	n.Value, n.Detail, n.Fix = value, wire.CleanText(detail, maxExplanation), wire.CleanText(fix, maxExplanation)
}

// composite evaluates all, any and not.
func (e *evaluation) composite(c *Condition) Node {
	n := Node{Condition: c.Op.String()}
	for i := range c.Sub {
		n.Sub = append(n.Sub, e.node(&c.Sub[i]))
	}
	switch {
	case len(n.Sub) == 0: // never of a checked document; not vacuously true
		n.Detail, n.failing = "it has no operands", 1
	case c.Op == Not:
		s := n.Sub[0]
		n.Value, n.Detail, n.Fix, n.failing, n.choice = s.Value, s.Detail, s.Fix, s.failing, s.choice
		switch s.Value {
		case True:
			n.Value = False
		case False:
			n.Value = True
		}
	case c.Op == All:
		n.join(False, True)
	default:
		n.join(True, False)
	}
	return n
}

// join gives n the value strong when an operand has it, else Waiting when one
// waits, else weak: all is (False, True), any is (True, False).
func (n *Node) join(strong, weak Truth) {
	n.Value = weak
	for _, s := range n.Sub {
		if s.Value == strong {
			n.Value = strong
			break
		}
		if s.Value == Waiting {
			n.Value = Waiting
		}
	}
	var reasons, turns []Node
	for _, s := range n.Sub {
		if s.Value == n.Value {
			reasons = append(reasons, s)
		}
		if s.Value == n.Value || s.Value == Waiting && strong == False {
			turns = append(turns, s)
		}
	}
	// One operand suffices to turn a value that all share, and to settle an any
	// that waits; else all that stand in the way must turn.
	if n.Value == weak || n.Value == Waiting && strong == True {
		n.turnOne(reasons)
	} else {
		n.turnAll(turns)
	}
	var details []string
	for _, s := range reasons {
		details = append(details, s.Detail)
	}
	n.Detail = wire.CleanText(join(details, " and "), maxExplanation)
	n.Fix = wire.CleanText(n.Fix, maxExplanation)
}

// turnOne says what turns n when one of the nodes must turn: one of the nearest.
func (n *Node) turnOne(nodes []Node) {
	n.failing = nodes[0].failing
	for _, s := range nodes {
		n.failing = min(n.failing, s.failing)
	}
	var fixes []string
	for _, s := range nodes {
		if s.failing == n.failing {
			fixes = append(fixes, s.Fix)
		}
	}
	n.Fix = join(fixes, " or ")
	n.choice = len(fixes) > 1 || nodes[0].choice
}

// turnAll says what turns n when all of the nodes must turn.
func (n *Node) turnAll(nodes []Node) {
	var fixes []string
	for _, s := range nodes {
		if s.choice && len(nodes) > 1 {
			s.Fix = "(" + s.Fix + ")"
		}
		fixes = append(fixes, s.Fix)
		n.failing += s.failing
		n.choice = s.choice && len(nodes) == 1
	}
	n.Fix = join(fixes, " and ")
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

func (e *evaluation) oneOf(what, value string, set []string) (Truth, string, string) {
	list := e.list(set)
	if slices.Contains(set, value) {
		return True, fmt.Sprintf("%s is %s", what, e.show(value)), fmt.Sprintf("another %s than %s", what, list)
	}
	return False, fmt.Sprintf("%s %s is not %s", what, e.show(value), list), fmt.Sprintf("%s %s", what, list)
}

func (e *evaluation) initiator(set []string) (Truth, string, string) {
	who := e.in.Verified.Initiator
	for _, s := range set {
		if g, ok := strings.CutPrefix(s, "group:"); ok && e.roster.InGroup(who, g) {
			return True, fmt.Sprintf("initiator %s is in group %s", who, g), "an initiator outside group " + g
		}
		if s == who {
			return True, "initiator is " + who, "another initiator than " + who
		}
	}
	var names []string
	for _, s := range set {
		if g, ok := strings.CutPrefix(s, "group:"); ok {
			names = append(names, fmt.Sprintf("group %s (%s)", g, orList(e.roster.Members(g))))
		} else {
			names = append(names, s)
		}
	}
	return False, fmt.Sprintf("initiator %s is not %s", who, e.list(set)), "an initiator from " + orList(names)
}

func assets(f *chain.Effects) (list []string) {
	for i := range f.Transfers {
		list = append(list, f.Transfers[i].Asset)
	}
	return list
}

func recipients(f *chain.Effects) (list []string) {
	for i := range f.Transfers {
		list = append(list, f.Transfers[i].To)
	}
	return list
}

func spenders(f *chain.Effects) (list []string) {
	for i := range f.Approvals {
		list = append(list, f.Approvals[i].Spender)
	}
	return list
}

func contracts(f *chain.Effects) (list []string) {
	for i := range f.Calls {
		list = append(list, f.Calls[i].To)
	}
	return list
}

func methods(f *chain.Effects) (list []string) {
	for i := range f.Calls {
		list = append(list, f.Calls[i].Method)
	}
	return list
}

// member finds value in a set of values and labels; it returns the words for where
// it was found.
func (e *evaluation) member(value string, set []string) (string, bool) {
	if slices.Contains(set, value) {
		return "listed", true
	}
	for _, s := range set {
		if label, ok := strings.CutPrefix(s, "label:"); ok {
			if entry, ok := e.doc.entry(label); ok && slices.Contains(entry.Addresses, value) {
				return "in label " + label, true
			}
		}
	}
	return "", false
}

// quantified evaluates every… and any… over values. Nothing to look at is false.
func (e *evaluation) quantified(c *Condition, values []string, what, none string) (Truth, string, string) {
	list := e.list(c.Set)
	every := strings.HasPrefix(c.Op.String(), "every")
	if len(values) == 0 {
		return False, none, fmt.Sprintf("a transaction with %s that is %s", article(what), list)
	}
	var in, out []string
	for _, v := range values {
		if where, ok := e.member(v, c.Set); ok {
			in = append(in, fmt.Sprintf("%s %s is %s", what, e.show(v), where))
		} else {
			out = append(out, fmt.Sprintf("%s %s is not %s", what, e.show(v), list))
		}
	}
	outside := fmt.Sprintf("%s that is not %s", article(what), list)
	if every {
		if len(out) > 0 {
			return False, join(out, " and "), fmt.Sprintf("only %s that is %s", article(what), list)
		}
		return True, join(in, " and "), outside
	}
	if len(in) > 0 {
		return True, join(in, " and "), outside
	}
	return False, join(out, " and "), fmt.Sprintf("%s that is %s", article(what), list)
}

func (e *evaluation) contains(set []string) (Truth, string, string) {
	f := e.in.Effects
	var missing, there []string
	for _, s := range set {
		n := map[string]int{"transfers": len(f.Transfers), "allowances": len(f.Approvals), "calls": len(f.Calls)}[s]
		if n == 0 {
			missing = append(missing, s)
		} else {
			there = append(there, s)
		}
	}
	if len(missing) > 0 {
		return False, "the transaction has no " + orList(missing), "a transaction with " + join(missing, " and ")
	}
	return True, "the transaction has " + join(there, " and "), "a transaction without " + orList(there)
}

// onlyTransfers looks for anything but the sender's own assets moving. A token's
// transfer is a call too; it is accounted for by the transfer that it makes.
func (e *evaluation) onlyTransfers() (Truth, string, string) {
	const fix = "a transaction that only transfers the wallet's own assets"
	f := e.in.Effects
	if len(f.Transfers) == 0 {
		return False, "nothing is transferred", fix
	}
	var other []string
	if len(f.Creates) > 0 {
		other = append(other, "it creates a contract")
	}
	if f.Message != nil {
		other = append(other, "it is a message to "+e.show(f.Message.Contract))
	}
	for i := range f.Approvals {
		other = append(other, fmt.Sprintf("it lets %s spend %s", e.show(f.Approvals[i].Spender), e.doc.Amount(f.Approvals[i].Asset, f.Approvals[i].Amount)))
	}
	for i := range f.Transfers {
		if f.Transfers[i].From != f.Sender {
			other = append(other, "it moves assets of "+e.show(f.Transfers[i].From))
		}
	}
	for i := range f.Calls {
		if !transferCall(f, &f.Calls[i]) {
			other = append(other, fmt.Sprintf("it calls %s of %s", f.Calls[i].Method, e.show(f.Calls[i].To)))
		}
	}
	if len(other) > 0 {
		return False, join(other, " and "), fix
	}
	return True, "it only transfers", "a transaction that does more than transfer"
}

func transferCall(f *chain.Effects, c *chain.Call) bool {
	if c.Method != "transfer(address,uint256)" && c.Method != "transferFrom(address,address,uint256)" {
		return false
	}
	id, address, err := chain.ParseAccount(c.To)
	return err == nil && slices.Contains(assets(f), id+"/erc20:"+address)
}

func (e *evaluation) risk(c *Condition) (Truth, string, string) {
	if len(c.Set) == 0 {
		return False, "no risk engine is named", ""
	}
	engine := c.Set[0]
	var want []string
	for _, o := range c.Outcomes {
		want = append(want, o.String())
	}
	fix := fmt.Sprintf("the verdict %s of risk engine %s", orList(want), engine)
	v, ok := e.in.Verified.RiskOf(engine)
	if !ok {
		return Waiting, "there is no verdict of risk engine " + engine + " yet" + e.ignored(engine), fix
	}
	fact := fmt.Sprintf("risk engine %s says %s", engine, v.Outcome)
	if len(v.Reasons) > 0 {
		fact += " (" + join(v.Reasons, "; ") + ")"
	}
	if v.Outcome == request.Hold && e.holdWaits {
		return Waiting, fact, fix
	}
	if slices.Contains(c.Outcomes, v.Outcome) {
		return True, fact, fmt.Sprintf("another verdict of risk engine %s than %s", engine, orList(want))
	}
	return False, fact, fix
}

// ignored tells about a signature of who that is good but does not count.
func (e *evaluation) ignored(who string) string {
	for _, x := range e.in.Verified.Ignored {
		if x.Principal == who {
			return " (" + x.Why + ")"
		}
	}
	return ""
}
