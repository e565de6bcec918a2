package source

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/policy"
)

func number(b bool) (a chain.Amount) {
	if b {
		a.SetOne()
	}
	return a
}

// supported refuses what CEL has and the tree has not, and gives used its type.
func (x *condition) supported(e ast.Expr, scope []string) {
	all := func(scope []string, list ...ast.Expr) {
		for _, s := range list {
			x.supported(s, scope)
		}
	}
	switch e.Kind() {
	case ast.LiteralKind:
		x.literal(e)
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			x.failAt(e, "has is not there: %s", absent["has"])
		}
		all(scope, e.AsSelect().Operand())
	case ast.CallKind:
		x.supportedCall(e)
		if e.AsCall().IsMemberFunction() {
			all(scope, e.AsCall().Target())
		}
		all(scope, e.AsCall().Args()...)
	case ast.ListKind:
		all(scope, e.AsList().Elements()...)
	case ast.MapKind:
		x.failAt(e, "a map: conditions have texts, numbers, amounts, money and lists")
	case ast.StructKind:
		x.failAt(e, "a structure: conditions have texts, numbers, amounts, money and lists")
	case ast.ComprehensionKind:
		k := e.AsComprehension()
		if slices.Contains(scope, k.IterVar()) || variables[k.IterVar()] != nil || x.numbers[k.IterVar()] != "" {
			x.failAt(e, "the variable %s has a meaning already; give it another name", k.IterVar())
		}
		if k.HasIterVar2() {
			x.failAt(e, "a quantifier has one variable")
		}
		if len(scope) == policy.MaxNesting {
			x.failAt(e, "quantifiers are nested more than %d deep", policy.MaxNesting)
			return
		}
		all(scope, k.IterRange())
		all(append(slices.Clone(scope), k.IterVar()), x.operands(e)...)
	}
}

func (x *condition) literal(e ast.Expr) {
	switch v := e.AsLiteral().(type) {
	case types.Double:
		x.failAt(e, "a fraction: numbers are whole; amounts are written as amount(\"0.5 ETH\")")
	case types.Bytes:
		x.failAt(e, "bytes: conditions have texts, numbers, amounts and money")
	case types.Null:
		x.failAt(e, "null: every field is always there; ask message.present for a message")
	case types.Uint:
		x.failAt(e, "the suffix u: write the number as it is, %d", uint64(v))
	case types.Int:
		if v < 0 {
			x.failAt(e, "a negative number: numbers are 0 or more")
		}
	}
}

func (x *condition) supportedCall(e ast.Expr) {
	c := e.AsCall()
	switch c.FunctionName() {
	case operators.Negate:
		x.failAt(e, "a minus sign: numbers are 0 or more")
	case operators.Index:
		x.failAt(e, "an index: ask lists with all and exists, and a call's arguments with uint(\"name\"), address, text and flag")
	case "used":
		if len(c.Args()) == 1 && !c.IsMemberFunction() {
			if name, ok := x.string(c.Args()[0]); ok {
				x.typeUsed(e, name)
			}
		}
	}
}

// typeUsed gives a call of used the name of its overload by the limit's type.
func (x *condition) typeUsed(e ast.Expr, name string) {
	l, ok := x.limit(name)
	if !ok {
		x.failAt(e.AsCall().Args()[0], "unknown limit %q%s", name, suggestOr(name, x.limitNames(), "; the policy has no limits"))
		return
	}
	f := ast.NewExprFactory()
	e.SetKindCase(f.NewCall(e.ID(), usedAs[l.Measure], e.AsCall().Args()...))
}

// usedAs are the names under which the checker knows used.
var usedAs = map[policy.Measure]string{policy.MeasureAmount: "used@amount", policy.MeasureMoney: "used@money", policy.MeasureCount: "used@count"}

func suggestOr(got string, names []string, none string) string {
	if s := form.Suggest(got, names); s != "" {
		return s
	}
	if len(names) == 0 {
		return none
	}
	const most = 12
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "…")
	}
	return "; there are " + strings.Join(names, ", ")
}

// string is the text of a literal.
func (x *condition) string(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// literalArg is the only argument of a function, which must be written out.
func (x *condition) literalArg(e ast.Expr) (string, ast.Expr, bool) {
	arg := e.AsCall().Args()[0]
	s, ok := x.string(arg)
	if !ok {
		x.failAt(arg, "want text in quotes: %s", usage[strings.TrimSuffix(e.AsCall().FunctionName(), "@")])
	}
	return s, arg, ok
}

func (x *condition) typeOf(e ast.Expr) string {
	t := x.ast.GetType(e.ID())
	if t == nil {
		return ""
	}
	return t.TypeName()
}

// operands are the parts of a macro's expansion that the person wrote: the
// condition, and for what cannot be told apart the whole step.
func (x *condition) operands(e ast.Expr) []ast.Expr {
	if _, p, ok := quantifier(e.AsComprehension()); ok {
		return []ast.Expr{p}
	}
	return []ast.Expr{e.AsComprehension().LoopStep()}
}

// quantifier tells a macro's expansion apart: its operator, or 0 for filter, and
// its condition.
func quantifier(k ast.ComprehensionExpr) (policy.Op, ast.Expr, bool) {
	step := k.LoopStep()
	if step.Kind() != ast.CallKind {
		return 0, nil, false
	}
	c := step.AsCall()
	switch {
	case c.FunctionName() == operators.LogicalAnd && len(c.Args()) == 2:
		return policy.OpAll, c.Args()[1], true
	case c.FunctionName() == operators.LogicalOr && len(c.Args()) == 2:
		return policy.OpExists, c.Args()[1], true
	case c.FunctionName() == operators.Conditional && len(c.Args()) == 3:
		if k.AccuInit().Kind() == ast.ListKind {
			return 0, c.Args()[0], true
		}
		return policy.OpExistsOne, c.Args()[0], true
	}
	return 0, nil, false
}

// bound is a variable of a quantifier.
type bound struct {
	name string
	list policy.Op
}

// expr translates a checked expression.
func (x *condition) expr(e ast.Expr, scope []bound) policy.Expr {
	switch e.Kind() {
	case ast.LiteralKind:
		return x.constant(e)
	case ast.IdentKind:
		return x.ident(e, scope)
	case ast.SelectKind:
		return x.selection(e, scope)
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			return x.member(e, scope)
		}
		return x.call(e, scope)
	case ast.ComprehensionKind:
		op, p, ok := quantifier(e.AsComprehension())
		if !ok || op == 0 {
			x.failAt(e, "a filtered list can only be counted: list.filter(x, condition).size()")
			return policy.Expr{}
		}
		return x.quantified(op, e.AsComprehension(), p, scope)
	case ast.ListKind:
		x.failAt(e, "a list stands only on the right of in")
		return policy.Expr{}
	}
	x.failAt(e, "conditions have no such thing")
	return policy.Expr{}
}

func (x *condition) constant(e ast.Expr) policy.Expr {
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return policy.Expr{Op: policy.OpBool, Num: number(bool(v))}
	case types.Int:
		out := policy.Expr{Op: policy.OpUint}
		out.Num.SetUint64(uint64(v))
		return out
	case types.String:
		x.checkText(e, string(v))
		return policy.Expr{Op: policy.OpText, Text: string(v)}
	}
	x.failAt(e, "conditions have no such value")
	return policy.Expr{}
}

var simple = map[string]policy.Op{
	"chain": policy.OpChain, "wallet": policy.OpWallet, "sender": policy.OpSender, "initiator": policy.OpInitiator,
	"onlyTransfers": policy.OpOnlyTransfers, "fee": policy.OpFee,
}

var lists = map[string]policy.Op{
	"transfers": policy.OpTransfers, "allowances": policy.OpAllowances, "calls": policy.OpCalls,
	"creations": policy.OpCreations, "approvers": policy.OpApprovers,
}

func (x *condition) ident(e ast.Expr, scope []bound) policy.Expr {
	name := e.AsIdent()
	for depth := range scope {
		if b := scope[len(scope)-1-depth]; b.name == name {
			if b.list == policy.OpApprovers {
				return policy.Expr{Op: policy.OpItem, Depth: uint8(depth)}
			}
			x.failAt(e, "%s is a whole item; compare its fields", name)
			return policy.Expr{}
		}
	}
	if s, ok := x.numbers[name]; ok {
		out := policy.Expr{Op: policy.OpUint}
		if err := out.Num.SetFromDecimal(strings.TrimLeft(s, "0")); err != nil && strings.Trim(s, "0") != "" {
			x.failAt(e, "the number is above 256 bits")
		}
		return out
	}
	if op, ok := simple[name]; ok {
		return policy.Expr{Op: op}
	}
	if lists[name] != 0 {
		x.failAt(e, "ask the list with %s.all(x, condition), exists, exists_one, filter or size", name)
	} else {
		x.failAt(e, "%s stands only before a point, as in %s.present", name, name)
	}
	return policy.Expr{}
}

var messageFields = map[string]policy.Op{
	"present": policy.OpMessagePresent, "type": policy.OpMessageType, "name": policy.OpMessageName,
	"version": policy.OpMessageVersion, "contract": policy.OpMessageContract,
}

func (x *condition) selection(e ast.Expr, scope []bound) policy.Expr {
	operand, field := e.AsSelect().Operand(), e.AsSelect().FieldName()
	switch operand.Kind() {
	case ast.IdentKind:
		if depth, ok := depthOf(scope, operand.AsIdent()); ok {
			return policy.Expr{Op: policy.OpField, Text: field, Depth: depth}
		}
		if operand.AsIdent() == "message" {
			return policy.Expr{Op: messageFields[field]}
		}
	case ast.CallKind:
		if c := operand.AsCall(); c.FunctionName() == "risk" {
			name, arg, ok := x.literalArg(operand)
			if ok {
				x.checkEngine(arg, name)
			}
			if field == "score" {
				return policy.Expr{Op: policy.OpRiskScore, Text: name}
			}
			return policy.Expr{Op: policy.OpRiskOutcome, Text: name}
		}
	}
	x.failAt(e, "the field %s of a computed value", field)
	return policy.Expr{}
}

func depthOf(scope []bound, name string) (uint8, bool) {
	for depth := range scope {
		if scope[len(scope)-1-depth].name == name {
			return uint8(depth), true
		}
	}
	return 0, false
}

// quantified translates list.all(x, p) and its like.
func (x *condition) quantified(op policy.Op, k ast.ComprehensionExpr, p ast.Expr, scope []bound) policy.Expr {
	list, ok := x.list(k.IterRange())
	if !ok {
		return policy.Expr{}
	}
	inner := append(slices.Clone(scope), bound{k.IterVar(), list})
	return policy.Expr{Op: op, Args: []policy.Expr{{Op: list}, x.expr(p, inner)}}
}

func (x *condition) list(e ast.Expr) (policy.Op, bool) {
	if e.Kind() == ast.IdentKind && lists[e.AsIdent()] != 0 {
		return lists[e.AsIdent()], true
	}
	x.failAt(e, "want one of the lists transfers, allowances, calls, creations, approvers")
	return 0, false
}

// count translates list.size() and list.filter(x, p).size().
func (x *condition) count(e, list ast.Expr, scope []bound) policy.Expr {
	if list.Kind() == ast.ComprehensionKind {
		if op, p, ok := quantifier(list.AsComprehension()); ok && op == 0 {
			return x.quantified(policy.OpCount, list.AsComprehension(), p, scope)
		}
	}
	op, ok := x.list(list)
	if !ok {
		return policy.Expr{}
	}
	return policy.Expr{Op: policy.OpCount, Args: []policy.Expr{{Op: op}}}
}

var callArgs = map[string]policy.Op{"uint": policy.OpArgUint, "address": policy.OpArgAddress, "text": policy.OpArgText, "flag": policy.OpArgFlag}
var messageArgs = map[string]policy.Op{"uint": policy.OpMessageUint, "address": policy.OpMessageAddress, "text": policy.OpMessageText, "flag": policy.OpMessageFlag}

// member translates functions of something.
func (x *condition) member(e ast.Expr, scope []bound) policy.Expr {
	c := e.AsCall()
	if c.FunctionName() == "size" {
		return x.count(e, c.Target(), scope)
	}
	name, arg, ok := x.literalArg(e)
	if !ok {
		return policy.Expr{}
	}
	switch f := c.FunctionName(); f {
	case "inGroup":
		x.checkGroup(arg, name)
		return x.about(policy.OpInGroup, c.Target(), name, principals, "a principal: initiator or one of approvers", scope)
	case "hasRole":
		x.checkRole(arg, name)
		return x.about(policy.OpHasRole, c.Target(), name, principals, "a principal: initiator or one of approvers", scope)
	case "labelled":
		x.checkLabel(arg, name)
		return x.about(policy.OpLabelled, c.Target(), name, accounts, "an account: sender, the to of a transfer, the spender of an allowance…", scope)
	default:
		x.checkText(arg, name)
		if c.Target().Kind() == ast.IdentKind {
			if depth, ok := depthOf(scope, c.Target().AsIdent()); ok {
				return policy.Expr{Op: callArgs[f], Text: name, Depth: depth}
			}
			if c.Target().AsIdent() == "message" {
				return policy.Expr{Op: messageArgs[f], Text: name}
			}
		}
	}
	x.failAt(e, "%s of a computed value", c.FunctionName())
	return policy.Expr{}
}

func (x *condition) about(op policy.Op, target ast.Expr, name string, kind textKind, want string, scope []bound) policy.Expr {
	t := x.expr(target, scope)
	if !x.failed && x.textKind(&t, scope) != kind {
		x.failAt(target, "this is not %s", want)
	}
	return policy.Expr{Op: op, Args: []policy.Expr{t}, Text: name}
}

var binary = map[string]policy.Op{
	operators.Equals: policy.OpEq, operators.NotEquals: policy.OpNe, operators.Less: policy.OpLt, operators.LessEquals: policy.OpLe,
	operators.Greater: policy.OpGt, operators.GreaterEquals: policy.OpGe, operators.Add: policy.OpAdd, operators.Subtract: policy.OpSub,
	operators.Multiply: policy.OpMul, operators.Divide: policy.OpDiv, operators.Modulo: policy.OpMod,
}

// call translates operators and functions.
func (x *condition) call(e ast.Expr, scope []bound) policy.Expr {
	c := e.AsCall()
	switch f := c.FunctionName(); f {
	case operators.LogicalAnd, operators.LogicalOr:
		op := policy.OpAnd
		if f == operators.LogicalOr {
			op = policy.OpOr
		}
		out := policy.Expr{Op: op}
		for _, s := range flat(e, f) {
			out.Args = append(out.Args, x.expr(s, scope))
		}
		return out
	case operators.LogicalNot:
		return policy.Expr{Op: policy.OpNot, Args: []policy.Expr{x.expr(c.Args()[0], scope)}}
	case operators.Conditional:
		if strings.HasPrefix(x.typeOf(e), "list") {
			x.failAt(e, "a choice between lists: choose between conditions on them")
			return policy.Expr{}
		}
		return x.ordered(e, policy.OpIf, scope)
	case operators.In:
		return x.in_(e, scope)
	case "size":
		return x.count(e, c.Args()[0], scope)
	default:
		if op, ok := binary[f]; ok {
			if strings.HasPrefix(x.typeOf(e), "list") {
				x.failAt(e, "lists are not joined: ask each of them")
				return policy.Expr{}
			}
			out := x.ordered(e, op, scope)
			x.compared(e, &out, scope)
			return out
		}
		return x.function(e, scope)
	}
}

// flat are the operands of a chain of && or ||, whose brackets mean nothing.
func flat(e ast.Expr, f string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != f {
		return []ast.Expr{e}
	}
	var out []ast.Expr
	for _, a := range e.AsCall().Args() {
		out = append(out, flat(a, f)...)
	}
	return out
}

func (x *condition) ordered(e ast.Expr, op policy.Op, scope []bound) policy.Expr {
	out := policy.Expr{Op: op}
	for _, a := range e.AsCall().Args() {
		out.Args = append(out.Args, x.expr(a, scope))
	}
	return out
}

// in_ translates a in ["b", "c"].
func (x *condition) in_(e ast.Expr, scope []bound) policy.Expr {
	c := e.AsCall()
	out := policy.Expr{Op: policy.OpIn, Args: []policy.Expr{x.expr(c.Args()[0], scope)}}
	right := c.Args()[1]
	if right.Kind() != ast.ListKind {
		x.failAt(right, "in wants a list that is written out; write approvers.exists(a, a == …) to look into a list")
		return out
	}
	kind := x.textKind(&out.Args[0], scope)
	for _, item := range right.AsList().Elements() {
		s, ok := x.string(item)
		if !ok {
			x.failAt(item, "want text in quotes")
			continue
		}
		s = x.resolve(item, kind, s)
		if slices.Contains(out.Set, s) {
			x.failAt(item, "%q stands in this list twice", s)
		}
		out.Set = append(out.Set, s)
	}
	if len(out.Set) == 0 {
		x.failAt(right, "an empty list: nothing is in it")
	}
	if len(out.Set) > policy.MaxSet {
		x.failAt(right, "%d items, at most %d; put addresses into a label of the address book", len(out.Set), policy.MaxSet)
	}
	slices.Sort(out.Set)
	return out
}

// function translates the functions of nothing.
func (x *condition) function(e ast.Expr, scope []bound) policy.Expr {
	c := e.AsCall()
	if c.FunctionName() == "value" {
		if x.doc.Currency == "" {
			x.failAt(e, "value() needs the policy's currency and prices")
		}
		return policy.Expr{Op: policy.OpValue}
	}
	s, arg, ok := x.literalArg(e)
	if !ok {
		return policy.Expr{}
	}
	switch f := c.FunctionName(); f {
	case "amount", "units":
		asset, n := x.amount(arg, s)
		if f == "units" {
			return policy.Expr{Op: policy.OpUint, Num: n}
		}
		return policy.Expr{Op: policy.OpAmount, Num: n, Asset: asset}
	case "money":
		return policy.Expr{Op: policy.OpMoney, Num: x.money(arg, s)}
	case "total":
		return policy.Expr{Op: policy.OpTotal, Asset: x.resolve(arg, assetIDs, s)}
	case "received":
		return policy.Expr{Op: policy.OpReceived, Asset: x.resolve(arg, assetIDs, s)}
	case "during":
		return x.during(arg, s)
	case "before":
		return policy.Expr{Op: policy.OpBefore, Num: x.time(arg, s)}
	case "after":
		return policy.Expr{Op: policy.OpAfter, Num: x.time(arg, s)}
	case "within":
		x.checkLimit(arg, s)
		return policy.Expr{Op: policy.OpWithin, Text: s}
	case "used@amount", "used@money", "used@count":
		return policy.Expr{Op: policy.OpUsed, Text: s}
	case "risk":
		x.failAt(e, "a risk verdict has an outcome and a score: risk(%q).outcome == \"pass\"", s)
	default:
		x.failAt(e, "%s", fmt.Sprintf("the function %s is not there", f))
	}
	return policy.Expr{}
}
