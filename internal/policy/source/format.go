package source

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/policy"
)

// formatter writes trees as CEL that Compile turns into the same trees.
type formatter struct {
	doc  *policy.Document
	vars []string // bound ones, the innermost last
	lim  int      // width of a line; 0: all on one
}

// Format writes a condition as CEL on one line.
func Format(d *policy.Document, e *policy.Expr) string {
	f := formatter{doc: d}
	return f.text(e, "")
}

// The strength with which operators bind, as in CEL: less binds more.
const (
	bindPrimary = iota
	bindUnary
	bindMul
	bindAdd
	bindRelation
	bindAnd
	bindOr
	bindIf
)

var infix = map[policy.Op]struct {
	symbol string
	bind   int
}{
	policy.OpAnd: {"&&", bindAnd}, policy.OpOr: {"||", bindOr},
	policy.OpEq: {"==", bindRelation}, policy.OpNe: {"!=", bindRelation}, policy.OpLt: {"<", bindRelation},
	policy.OpLe: {"<=", bindRelation}, policy.OpGt: {">", bindRelation}, policy.OpGe: {">=", bindRelation},
	policy.OpAdd: {"+", bindAdd}, policy.OpSub: {"-", bindAdd},
	policy.OpMul: {"*", bindMul}, policy.OpDiv: {"/", bindMul}, policy.OpMod: {"%", bindMul},
}

func bind(e *policy.Expr) int {
	switch e.Op {
	case policy.OpIf:
		return bindIf
	case policy.OpIn:
		return bindRelation
	case policy.OpNot:
		return bindUnary
	}
	return infix[e.Op].bind
}

// operand writes e so that it binds at least as strongly as most.
func (f *formatter) operand(e *policy.Expr, most int, indent string) string {
	if bind(e) > most {
		if s := f.flat(e); f.lim == 0 || len(indent)+len(s) <= f.lim {
			return "(" + s + ")"
		}
		inner := indent + "  "
		return "(\n" + inner + f.text(e, inner) + "\n" + indent + ")"
	}
	return f.text(e, indent)
}

// flat writes e on one line.
func (f *formatter) flat(e *policy.Expr) string {
	lim := f.lim
	f.lim = 0
	s := f.text(e, "")
	f.lim = lim
	return s
}

func (f *formatter) text(e *policy.Expr, indent string) string {
	if f.lim > 0 && (e.Op == policy.OpAnd || e.Op == policy.OpOr) {
		if s := f.flat(e); len(indent)+len(s) > f.lim {
			return f.broken(e, indent)
		}
	}
	switch e.Op {
	case policy.OpAnd, policy.OpOr:
		return f.joined(e, " "+infix[e.Op].symbol+" ", indent)
	case policy.OpNot:
		return "!" + f.operand(&e.Args[0], bindPrimary, indent) // CEL drops the second of !!
	case policy.OpIf:
		return fmt.Sprintf("%s ? %s : %s", f.operand(&e.Args[0], bindOr, indent), f.operand(&e.Args[1], bindOr, indent), f.operand(&e.Args[2], bindIf, indent))
	case policy.OpIn:
		kind := kindOf(&e.Args[0])
		var items []string
		for _, s := range e.Set {
			items = append(items, quote(f.shown(kind, s)))
		}
		return f.operand(&e.Args[0], bindAdd, indent) + " in [" + strings.Join(items, ", ") + "]"
	case policy.OpAll, policy.OpExists, policy.OpExistsOne, policy.OpCount:
		return f.quantifier(e, indent)
	case policy.OpInGroup, policy.OpHasRole, policy.OpLabelled:
		return fmt.Sprintf("%s.%s(%s)", f.operand(&e.Args[0], bindPrimary, indent), e.Op, quote(e.Text))
	}
	if op, ok := infix[e.Op]; ok {
		return f.binary(e, op.symbol, op.bind, indent)
	}
	return f.leaf(e)
}

func (f *formatter) joined(e *policy.Expr, by, indent string) string {
	var parts []string
	for i := range e.Args {
		parts = append(parts, f.operand(&e.Args[i], infix[e.Op].bind-1, indent))
	}
	return strings.Join(parts, by)
}

// broken writes each operand on a line of its own.
func (f *formatter) broken(e *policy.Expr, indent string) string {
	return f.joined(e, "\n"+indent+infix[e.Op].symbol+" ", indent)
}

func (f *formatter) binary(e *policy.Expr, symbol string, bind int, indent string) string {
	left, right := bind, bind-1
	if bind == bindRelation {
		left = bind - 1
	}
	l, r := e.Args[0], e.Args[1]
	if r.Op == policy.OpText {
		r.Text = f.shown(kindOf(&l), r.Text)
	} else if l.Op == policy.OpText {
		l.Text = f.shown(kindOf(&r), l.Text)
	}
	return f.operand(&l, left, indent) + " " + symbol + " " + f.operand(&r, right, indent)
}

// shown is a value as people write it where the kind is known.
func (f *formatter) shown(kind textKind, s string) string {
	switch kind {
	case assetIDs:
		return f.symbol(s)
	case wallets:
		for i := range f.doc.Wallets {
			if hex.EncodeToString(f.doc.Wallets[i].ID[:]) == s {
				return f.doc.Wallets[i].Name
			}
		}
	}
	return s
}

func (f *formatter) symbol(id string) string {
	for i := range f.doc.Assets {
		if f.doc.Assets[i].ID == id {
			return f.doc.Assets[i].Symbol
		}
	}
	return id
}

var listNames = map[policy.Op][2]string{
	policy.OpTransfers: {"transfers", "t"}, policy.OpAllowances: {"allowances", "a"}, policy.OpCalls: {"calls", "c"},
	policy.OpCreations: {"creations", "n"}, policy.OpApprovers: {"approvers", "p"},
}

func (f *formatter) quantifier(e *policy.Expr, indent string) string {
	list := listNames[e.Args[0].Op]
	if len(e.Args) < 2 {
		return list[0] + ".size()"
	}
	name := list[1]
	if n := len(f.vars); slices.Contains(f.vars, name) {
		name += strconv.Itoa(n + 1)
	}
	f.vars = append(f.vars, name)
	macro, after := e.Op.String(), ""
	if e.Op == policy.OpCount {
		macro, after = "filter", ".size()"
	}
	s := f.flat(&e.Args[1])
	if f.lim > 0 && len(indent)+len(s)+30 > f.lim && (e.Args[1].Op == policy.OpAnd || e.Args[1].Op == policy.OpOr) {
		inner := indent + "  "
		s = "\n" + inner + f.text(&e.Args[1], inner) + "\n" + indent
	}
	f.vars = f.vars[:len(f.vars)-1]
	return fmt.Sprintf("%s.%s(%s,%s)%s", list[0], macro, name, spaced(s), after)
}

func spaced(s string) string {
	if strings.HasPrefix(s, "\n") {
		return s
	}
	return " " + s
}

func (f *formatter) bound(depth uint8) string {
	if i := len(f.vars) - 1 - int(depth); i >= 0 {
		return f.vars[i]
	}
	return "unbound"
}

func (f *formatter) leaf(e *policy.Expr) string {
	arg := func(name string) string { return fmt.Sprintf("%s(%s)", name, quote(e.Text)) }
	switch e.Op {
	case policy.OpBool:
		return strconv.FormatBool(!e.Num.IsZero())
	case policy.OpUint:
		return e.Num.Dec()
	case policy.OpText:
		return quote(e.Text)
	case policy.OpAmount:
		return "amount(" + quote(formatAmount(f.doc, e.Asset, e.Num)) + ")"
	case policy.OpMoney:
		return "money(" + quote(formatMoney(f.doc, e.Num)) + ")"
	case policy.OpTotal, policy.OpReceived:
		return fmt.Sprintf("%s(%s)", e.Op, quote(f.symbol(e.Asset)))
	case policy.OpValue:
		return "value()"
	case policy.OpField:
		return f.bound(e.Depth) + "." + e.Text
	case policy.OpItem:
		return f.bound(e.Depth)
	case policy.OpArgUint, policy.OpArgAddress, policy.OpArgText, policy.OpArgFlag:
		return f.bound(e.Depth) + "." + arg(e.Op.String())
	case policy.OpMessageUint, policy.OpMessageAddress, policy.OpMessageText, policy.OpMessageFlag, policy.OpWithin, policy.OpUsed:
		return arg(e.Op.String())
	case policy.OpRiskOutcome, policy.OpRiskScore:
		_, field, _ := strings.Cut(e.Op.String(), ".")
		return arg("risk") + "." + field
	case policy.OpDuring:
		hours, err := policy.HoursOf(&e.Num)
		if err != nil {
			return fmt.Sprintf("during(%s)", quote(err.Error())) // never of a checked document
		}
		return fmt.Sprintf("during(%s)", quote(hours.String()+" "+e.Text))
	case policy.OpBefore, policy.OpAfter:
		return fmt.Sprintf("%s(%s)", e.Op, quote(formatMoment(int64(e.Num.Uint64()))))
	}
	return e.Op.String()
}

// kindOf is what the values of e name.
func kindOf(e *policy.Expr) textKind { return (&condition{}).textKind(e, nil) }

// quote writes a CEL string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// formatAmount writes "10,000.5 DAI".
func formatAmount(d *policy.Document, asset string, n chain.Amount) string {
	for i := range d.Assets {
		if a := &d.Assets[i]; a.ID == asset {
			return group(amount.Format(n, amount.Unit{Symbol: a.Symbol, Decimals: a.Decimals}))
		}
	}
	return n.Dec() + " of " + asset
}

func formatMoney(d *policy.Document, n chain.Amount) string {
	return group(amount.Format(n, amount.Unit{Symbol: d.Currency, Decimals: 6}))
}

// group parts thousands with commas.
func group(s string) string {
	number, unit, _ := strings.Cut(s, " ")
	whole, fraction, point := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + fraction
	}
	return whole + " " + unit
}
