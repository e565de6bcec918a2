package policy

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// Truth is the value of a condition. Waiting is for what a risk verdict or a price
// that is not there yet will settle: a rule must not be passed over, nor a guard
// passed, because somebody withheld one. Failed is for what cannot be computed.
type Truth uint8

// The four values.
const (
	False   Truth = 0
	True    Truth = 1
	Waiting Truth = 2
	Failed  Truth = 3
)

func (t Truth) String() string {
	switch t {
	case True:
		return "yes"
	case Waiting:
		return "waiting"
	case Failed:
		return "error"
	}
	return "no"
}

// MarshalText writes yes, no, waiting or error.
func (t Truth) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

// quantity is the value of a number: of Uint, Amount (with its asset) or Money.
type quantity struct {
	num   chain.Amount
	asset string // of an Amount
}

// both is whether two operands of a strict operator are there: True when so.
// What can never be computed outweighs what is missing.
func both(a, b Truth) Truth {
	switch {
	case a == Failed || b == Failed:
		return Failed
	case a == Waiting || b == Waiting:
		return Waiting
	}
	return True
}

// boolean evaluates a condition.
func (e *evaluation) boolean(n *node) Truth {
	if n.slot < 0 {
		return e.fresh(n)
	}
	t := &e.slots[n.slot]
	if *t == pending {
		*t = e.fresh(n)
	}
	return *t
}

// fresh evaluates a condition that was not evaluated before.
func (e *evaluation) fresh(n *node) Truth {
	switch n.op {
	case OpAnd:
		return e.junction(n, False)
	case OpOr:
		return e.junction(n, True)
	case OpNot:
		return not(e.boolean(&n.args[0]))
	case OpIf:
		branch, ok := e.branch(n)
		if ok != True {
			return ok
		}
		return e.boolean(branch)
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		return e.compare(n)
	case OpIn:
		s, ok := e.text(&n.args[0])
		if ok != True {
			return ok
		}
		return truth(contains(n.set, s))
	case OpBool:
		return truth(!n.num.IsZero())
	case OpOnlyTransfers:
		return truth(e.onlyTransfers())
	case OpMessagePresent:
		return truth(e.in.Effects.Message != nil)
	case OpAll, OpExists, OpExistsOne:
		return e.quantifier(n)
	case OpInGroup, OpHasRole:
		return e.principal(n)
	case OpLabelled:
		return e.labelled(n)
	case OpField:
		if a := e.approval(n); a != nil && n.field == fieldUnlimited {
			return truth(a.Unlimited())
		}
	case OpArgFlag, OpMessageFlag:
		if a := e.argument(n); a != nil {
			return truth(!a.Uint.IsZero())
		}
	case OpDuring:
		return e.during(n)
	case OpBefore:
		return truth(e.now() < n.num.Uint64())
	case OpAfter:
		return truth(e.now() >= n.num.Uint64())
	case OpWithin:
		l := e.limit(n.index)
		if l.ok != True {
			return l.ok
		}
		return truth(l.within)
	}
	return Failed
}

func not(t Truth) Truth {
	switch t {
	case True:
		return False
	case False:
		return True
	}
	return t
}

// junction is && (strong False) or || (strong True): one strong operand decides,
// else one that waits may still, else an error is one. So the order does not matter:
// first what is known already, then the cheapest.
func (e *evaluation) junction(n *node, strong Truth) Truth {
	for _, slot := range n.quick {
		if e.slots[slot] == strong {
			return strong
		}
	}
	out := not(strong)
	for _, i := range n.order {
		t := e.boolean(&n.args[i])
		if t == strong {
			return strong
		}
		out = weaker(out, t)
	}
	return out
}

// weaker joins the value so far with one that is not strong.
func weaker(out, t Truth) Truth {
	if t == Waiting || t == Failed && out != Waiting {
		return t
	}
	return out
}

// branch is the operand that ?: chooses.
func (e *evaluation) branch(n *node) (*node, Truth) {
	switch t := e.boolean(&n.args[0]); t {
	case True:
		return &n.args[1], True
	case False:
		return &n.args[2], True
	default:
		return nil, t
	}
}

func (e *evaluation) compare(n *node) Truth {
	x, y := &n.args[0], &n.args[1]
	switch x.typ {
	case TypeBool:
		a, b := e.boolean(x), e.boolean(y)
		if ok := both(a, b); ok != True {
			return ok
		}
		return truth((a == b) == (n.op == OpEq))
	case TypeText:
		a, okA := e.text(x)
		b, okB := e.text(y)
		if ok := both(okA, okB); ok != True {
			return ok
		}
		return truth((a == b) == (n.op == OpEq))
	}
	if a, b := e.peek(x), e.peek(y); a != nil && b != nil {
		if x.asset != y.asset {
			return Failed
		}
		return truth(holds(n.op, a.Cmp(b)))
	}
	var a, b quantity
	if ok := both(e.number(x, &a), e.number(y, &b)); ok != True {
		return ok
	}
	if a.asset != b.asset {
		return Failed
	}
	return truth(holds(n.op, a.num.Cmp(&b.num)))
}

// peek returns the number of a literal or a total that is known already, of the
// node's own asset, without copying it; nil of everything else.
func (e *evaluation) peek(n *node) *chain.Amount {
	switch n.op {
	case OpUint, OpMoney, OpAmount:
		return &n.num
	case OpTotal, OpReceived:
		at := n.index
		if n.op == OpReceived {
			at += len(e.doc.Assets)
		}
		if s := &e.totals[at]; s.known && s.ok == True {
			return &s.sum
		}
	}
	return nil
}

// holds says whether a comparison holds, given the order of its operands.
func holds(o Op, order int) bool {
	switch o {
	case OpEq:
		return order == 0
	case OpNe:
		return order != 0
	case OpLt:
		return order < 0
	case OpLe:
		return order <= 0
	case OpGt:
		return order > 0
	}
	return order >= 0
}

// text evaluates a Text; True means that it is there.
func (e *evaluation) text(n *node) (string, Truth) {
	switch n.op {
	case OpText:
		return n.text, True
	case OpChain:
		return e.in.Effects.Chain, True
	case OpWallet:
		return e.wallet(), True
	case OpSender:
		return e.in.Effects.Sender, True
	case OpInitiator:
		return e.in.Verified.Initiator, True
	case OpIf:
		branch, ok := e.branch(n)
		if ok != True {
			return "", ok
		}
		return e.text(branch)
	case OpMessageType, OpMessageName, OpMessageVersion, OpMessageContract:
		if m := e.in.Effects.Message; m != nil {
			switch n.op {
			case OpMessageType:
				return m.Type, True
			case OpMessageName:
				return m.Name, True
			case OpMessageVersion:
				return m.Version, True
			}
			return m.Contract, True
		}
	case OpArgAddress, OpArgText, OpMessageAddress, OpMessageText:
		if a := e.argument(n); a != nil {
			return a.Text, True
		}
	case OpItem:
		if i := e.item(n); i < len(e.in.Verified.Approvers) {
			return e.in.Verified.Approvers[i], True
		}
	case OpField:
		return e.fieldText(n)
	case OpRiskOutcome:
		v := e.verdict(n.index)
		if v == nil || e.holdWaits && v.Outcome == riskHold {
			return "", Waiting
		}
		return v.Outcome.String(), True
	}
	return "", Failed
}

// number evaluates a Uint, an Amount or Money into out; True means that it is
// there.
func (e *evaluation) number(n *node, out *quantity) Truth {
	switch n.op {
	case OpUint, OpMoney:
		out.num = n.num
		return True
	case OpAmount:
		out.num, out.asset = n.num, n.asset
		return True
	case OpFee:
		out.num, out.asset = e.in.Request.MaxFee, e.native
		return True
	case OpAdd, OpSub, OpMul, OpDiv, OpMod:
		return e.arithmetic(n, out)
	case OpTotal, OpReceived:
		return e.total(n, out)
	case OpValue:
		out.num = e.value().num
		return e.value().ok
	case OpCount:
		return e.count(n, out)
	case OpIf:
		branch, ok := e.branch(n)
		if ok != True {
			return ok
		}
		return e.number(branch, out)
	case OpArgUint, OpMessageUint:
		if a := e.argument(n); a != nil {
			out.num = a.Uint
			return True
		}
	case OpField:
		return e.fieldNumber(n, out)
	case OpRiskScore:
		v := e.verdict(n.index)
		if v == nil {
			return Waiting
		}
		out.num.SetUint64(uint64(v.Score))
		return True
	case OpUsed:
		l := e.limit(n.index)
		out.num, out.asset = l.used, e.doc.Limits[n.index].Asset
		return l.ok
	}
	return Failed
}

// arithmetic computes in 256 bits: what does not fit, goes below zero, divides by
// zero or mixes assets fails.
func (e *evaluation) arithmetic(n *node, out *quantity) Truth {
	x, y := &n.args[0], &n.args[1]
	var a, b quantity
	if ok := both(e.number(x, &a), e.number(y, &b)); ok != True {
		return ok
	}
	if x.typ == TypeAmount && y.typ == TypeAmount && a.asset != b.asset {
		return Failed
	}
	var over bool
	switch n.op {
	case OpAdd:
		_, over = out.num.AddOverflow(&a.num, &b.num)
	case OpSub:
		_, over = out.num.SubOverflow(&a.num, &b.num)
	case OpMul:
		_, over = out.num.MulOverflow(&a.num, &b.num)
	case OpDiv:
		over = b.num.IsZero()
		out.num.Div(&a.num, &b.num)
	case OpMod:
		over = b.num.IsZero()
		out.num.Mod(&a.num, &b.num)
	}
	if over {
		return Failed
	}
	out.asset = ""
	if n.typ == TypeAmount {
		out.asset = a.asset + b.asset // of an amount and a number, one is empty
		if x.typ == y.typ {
			out.asset = a.asset
		}
	}
	return True
}

// Amount writes an amount of an asset for people: "0.1 ETH" when the document
// knows the asset, else its smallest units and its id.
func (d *Document) Amount(asset string, a chain.Amount) string {
	if known, ok := d.asset(asset); ok {
		return formatUnits(a, known.Decimals, known.Symbol)
	}
	return a.Dec() + " units of " + asset
}

// Money writes money for people: "12.5 USD".
func (d *Document) Money(a chain.Amount) string { return formatUnits(a, moneyDecimals, d.Currency) }

// Measured writes what a limit counts: an amount, money, or "3 requests".
func (d *Document) Measured(l *Limit, a chain.Amount) string {
	switch l.Measure {
	case MeasureAmount:
		return d.Amount(l.Asset, a)
	case MeasureMoney:
		return d.Money(a)
	}
	if a.IsUint64() && a.Uint64() == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%s requests", a.Dec())
}

// moneyDecimals: money counts millionths of the currency.
const moneyDecimals = 6
