package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/request"
)

// Format writes an expression as people write it, in CEL. Reading it back with the
// same document gives the same tree. Variables bound outside of e are written x.
func (d *Document) Format(e *Expr) string {
	f := formatter{doc: d}
	f.write(e, precIf)
	return f.b.String()
}

// The precedences of CEL, the loosest first.
const (
	precIf = iota
	precOr
	precAnd
	precRelation
	precSum
	precProduct
	precUnary
	precMember
)

var precedences = map[Op]int{
	OpIf: precIf, OpOr: precOr, OpAnd: precAnd,
	OpEq: precRelation, OpNe: precRelation, OpLt: precRelation, OpLe: precRelation, OpGt: precRelation, OpGe: precRelation, OpIn: precRelation,
	OpAdd: precSum, OpSub: precSum, OpMul: precProduct, OpDiv: precProduct, OpMod: precProduct, OpNot: precUnary,
}

func precedence(o Op) int {
	if p, ok := precedences[o]; ok {
		return p
	}
	return precMember
}

type formatter struct {
	doc   *Document
	b     strings.Builder
	bound []string // the variables' names, outermost first
}

// write writes e where at least precedence is needed.
func (f *formatter) write(e *Expr, need int) {
	p := precedence(e.Op)
	if p < need {
		f.b.WriteByte('(')
		defer f.b.WriteByte(')')
	}
	switch {
	case p == precMember:
		f.member(e)
	case e.Op == OpNot && len(e.Args) == 1:
		f.b.WriteByte('!')
		f.write(&e.Args[0], precMember) // CEL drops the second of !!
	case e.Op == OpIf && len(e.Args) == 3:
		f.write(&e.Args[0], precOr)
		f.b.WriteString(" ? ")
		f.write(&e.Args[1], precOr)
		f.b.WriteString(" : ")
		f.write(&e.Args[2], precIf)
	case e.Op == OpIn && len(e.Args) == 1:
		f.write(&e.Args[0], precSum)
		f.b.WriteString(" in [")
		for i, s := range e.Set {
			if i > 0 {
				f.b.WriteString(", ")
			}
			f.b.WriteString(strconv.Quote(f.literal(&e.Args[0], s)))
		}
		f.b.WriteByte(']')
	default:
		f.infix(e, p)
	}
}

func (f *formatter) infix(e *Expr, p int) {
	for i := range e.Args {
		arg := &e.Args[i]
		if i > 0 {
			f.b.WriteString(" " + e.Op.String() + " ")
		}
		if (e.Op == OpEq || e.Op == OpNe) && arg.Op == OpText && len(e.Args) == 2 {
			f.b.WriteString(strconv.Quote(f.literal(&e.Args[1-i], arg.Text)))
			continue
		}
		need := p + 1
		if i == 0 && e.Op != OpAnd && e.Op != OpOr && p != precRelation {
			need = p
		}
		f.write(arg, need)
	}
}

// literal is a text as people write it beside what it is compared with: an asset's
// symbol, a wallet's name.
func (f *formatter) literal(beside *Expr, s string) string {
	switch {
	case beside.Op == OpField && beside.Text == "asset":
		if a, ok := f.doc.asset(s); ok {
			return a.Symbol
		}
	case beside.Op == OpWallet:
		return f.doc.walletName(s)
	}
	return s
}

// walletName is the name that people gave a wallet, or its id.
func (d *Document) walletName(id string) string {
	for i := range d.Wallets {
		if hex.EncodeToString(d.Wallets[i].ID[:]) == id {
			return d.Wallets[i].Name
		}
	}
	return id
}

func (f *formatter) symbol(asset string) string {
	if a, ok := f.doc.asset(asset); ok {
		return a.Symbol
	}
	return asset
}

func (f *formatter) member(e *Expr) {
	q := strconv.Quote(e.Text)
	switch e.Op {
	case OpBool:
		f.b.WriteString(strconv.FormatBool(!e.Num.IsZero()))
	case OpUint:
		f.b.WriteString(e.Num.Dec())
	case OpText:
		f.b.WriteString(q)
	case OpAmount:
		f.call("amount", f.doc.Amount(e.Asset, e.Num))
	case OpMoney:
		f.call("money", f.doc.Money(e.Num))
	case OpTotal, OpReceived:
		f.call(e.Op.String(), f.symbol(e.Asset))
	case OpValue:
		f.b.WriteString("value()")
	case OpMessageUint, OpMessageAddress, OpMessageText, OpMessageFlag, OpWithin, OpUsed:
		f.call(e.Op.String(), e.Text)
	case OpAll, OpExists, OpExistsOne, OpCount:
		f.quantifier(e)
	case OpItem:
		f.b.WriteString(f.variable(e))
	case OpField:
		f.b.WriteString(f.variable(e) + "." + e.Text)
	case OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		f.b.WriteString(f.variable(e) + "." + e.Op.String() + "(" + q + ")")
	case OpInGroup, OpHasRole, OpLabelled:
		if len(e.Args) == 1 {
			f.write(&e.Args[0], precMember)
		}
		f.b.WriteString("." + e.Op.String() + "(" + q + ")")
	case OpRiskOutcome:
		f.b.WriteString("risk(" + q + ").outcome")
	case OpRiskScore:
		f.b.WriteString("risk(" + q + ").score")
	case OpDuring:
		h, _ := HoursOf(&e.Num)
		f.call("during", h.String()+" "+e.Text)
	case OpBefore, OpAfter:
		f.call(e.Op.String(), unixText(&e.Num))
	default:
		f.b.WriteString(e.Op.String())
	}
}

func (f *formatter) call(name, arg string) {
	f.b.WriteString(name + "(" + strconv.Quote(arg) + ")")
}

// unixText writes unix seconds as RFC 3339.
func unixText(n *chain.Amount) string { return request.Instant(n.Uint64() * 1000) }

var variableNames = map[Op]string{OpTransfers: "t", OpAllowances: "a", OpCalls: "c", OpCreations: "n", OpApprovers: "p"}

func (f *formatter) quantifier(e *Expr) {
	if len(e.Args) == 0 {
		f.b.WriteString(e.Op.String())
		return
	}
	f.b.WriteString(e.Args[0].Op.String())
	name := variableNames[e.Args[0].Op]
	for n := 2; slices.Contains(f.bound, name); n++ {
		name = fmt.Sprintf("%s%d", variableNames[e.Args[0].Op], n)
	}
	method := e.Op.String()
	if e.Op == OpCount {
		method = "filter"
	}
	if len(e.Args) == 2 {
		f.b.WriteString("." + method + "(" + name + ", ")
		f.bound = append(f.bound, name)
		f.write(&e.Args[1], precIf)
		f.bound = f.bound[:len(f.bound)-1]
		f.b.WriteByte(')')
	}
	if e.Op == OpCount {
		f.b.WriteString(".size()")
	}
}

func (f *formatter) variable(e *Expr) string {
	if i := len(f.bound) - 1 - int(e.Depth); i >= 0 {
		return f.bound[i]
	}
	return "x"
}
