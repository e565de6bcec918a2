package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/wire"
)

// Type checks the static types of an expression and everything that it names in
// the document, and returns its type. bound are the lists whose items the
// surrounding quantifiers bind, the innermost first; none for a whole condition.
func (d *Document) Type(e *Expr, bound ...Type) (Type, error) {
	c := typing{doc: d, bound: make([]Type, 0, MaxNesting+1)}
	for i := len(bound) - 1; i >= 0; i-- {
		c.bound = append(c.bound, bound[i])
	}
	t, _, err := c.node(e, 1)
	return t, err
}

// kind says what a Text names, so that no literal is compared that it can never
// equal, such as an address in another spelling than the codec writes.
type kind uint8

const (
	kindAny kind = iota // literals, and values of arguments
	kindChain
	kindWallet
	kindAccount
	kindAsset
	kindPrincipal
	kindMethod
	kindOutcome
	kindCode
)

func (k kind) String() string {
	return [...]string{"a text", "a chain", "a wallet", "an account", "an asset", "a principal", "a method", "an outcome", "the hash of a creation's code"}[k]
}

// typing is one check of one tree.
type typing struct {
	doc    *Document
	bound  []Type // outermost first
	nodes  int
	nested int
	cost   int            // nodes to visit, those under quantifiers counted maxItems times
	types  map[*Expr]Type // filled when not nil
}

// wrong says what is wrong with an operator.
func wrong(e *Expr, format string, args ...any) error {
	return fmt.Errorf("%s: %s", e.Op, fmt.Sprintf(format, args...))
}

// pathCost is how many steps finding an argument by its path counts for, or what a
// transfer is worth. A total counts as the items that it adds up.
const pathCost = 16

// node returns the type of e, and of a Text what it names.
func (c *typing) node(e *Expr, depth int) (Type, kind, error) {
	t, k, err := c.check(e, depth)
	if err == nil && c.types != nil {
		c.types[e] = t
	}
	return t, k, err
}

func (c *typing) check(e *Expr, depth int) (Type, kind, error) {
	c.nodes++
	if depth > MaxDepth || c.nodes > MaxNodes {
		return 0, 0, fmt.Errorf("the condition has more than %d levels or %d operators: make several rules of it, and name addresses by labels", MaxDepth, MaxNodes)
	}
	weight := 1
	for range c.nested {
		weight *= maxItems
	}
	switch {
	case e.Op.hasPath(), e.Op == OpField && e.Text == "value":
		weight *= pathCost
	case e.Op == OpTotal, e.Op == OpReceived:
		weight *= maxItems
	}
	c.cost += weight
	info, ok := ops[e.Op]
	if !ok {
		return 0, 0, fmt.Errorf("unknown operator %d", e.Op)
	}
	if len(e.Args) < info.min || len(e.Args) > info.max {
		return 0, 0, wrong(e, "%d operands, want %d to %d", len(e.Args), info.min, info.max)
	}
	if u := info.uses; u&usesText == 0 && e.Text != "" || u&usesSet == 0 && len(e.Set) > 0 || u&usesNum == 0 && !e.Num.IsZero() ||
		u&usesAsset == 0 && e.Asset != "" || u&usesDepth == 0 && e.Depth != 0 {
		return 0, 0, wrong(e, "holds a field that this operator does not use")
	}
	if err := wire.CheckText(e.Text, maxItem); err != nil {
		return 0, 0, wrong(e, "%v", err)
	}
	switch {
	case e.Op.isQuantifier():
		return c.quantifier(e, depth)
	case e.Op.isList():
		return 0, 0, wrong(e, "a list is no value: use .all, .exists, .exists_one, .filter(…).size() or .size()")
	case len(e.Args) == 0:
		return c.leaf(e)
	}
	return c.operator(e, depth)
}

func (c *typing) quantifier(e *Expr, depth int) (Type, kind, error) {
	list := &e.Args[0]
	if !list.Op.isList() || len(list.Args) > 0 || list.Text != "" || len(list.Set) > 0 || !list.Num.IsZero() || list.Asset != "" || list.Depth != 0 {
		return 0, 0, wrong(e, "the first operand is %s, want a list: transfers, allowances, calls, creations or approvers", list.Op)
	}
	c.nodes++
	t := TypeTransfers + Type(list.Op-OpTransfers)
	if len(e.Args) == 2 {
		if c.nested == MaxNesting {
			return 0, 0, wrong(e, "quantifiers are nested more than %d deep", MaxNesting)
		}
		c.nested++
		c.bound = append(c.bound, t)
		if err := c.want(e, &e.Args[1], TypeBool, depth+1); err != nil {
			return 0, 0, err
		}
		c.bound = c.bound[:len(c.bound)-1]
		c.nested--
	}
	if e.Op == OpCount {
		return TypeUint, 0, nil
	}
	return TypeBool, 0, nil
}

func (c *typing) want(e, arg *Expr, want Type, depth int) error {
	t, _, err := c.node(arg, depth)
	if err != nil {
		return err
	}
	if t != want {
		return wrong(e, "%s is of type %s, want %s", arg.Op, t, want)
	}
	return nil
}

// operator types what has operands and binds nothing.
func (c *typing) operator(e *Expr, depth int) (Type, kind, error) {
	switch e.Op {
	case OpAnd, OpOr, OpNot:
		for i := range e.Args {
			if e.Args[i].Op == e.Op && e.Op != OpNot {
				return 0, 0, wrong(e, "an operand is %s too: want its operands in its place, so that a condition has one form", e.Op)
			}
			if err := c.want(e, &e.Args[i], TypeBool, depth+1); err != nil {
				return 0, 0, err
			}
		}
		return TypeBool, 0, nil
	case OpIf:
		return c.choice(e, depth)
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		return c.comparison(e, depth)
	case OpIn, OpInGroup, OpHasRole, OpLabelled:
		return c.membership(e, depth)
	}
	return c.arithmetic(e, depth)
}

func (c *typing) choice(e *Expr, depth int) (Type, kind, error) {
	if err := c.want(e, &e.Args[0], TypeBool, depth+1); err != nil {
		return 0, 0, err
	}
	a, ka, err := c.node(&e.Args[1], depth+1)
	if err != nil {
		return 0, 0, err
	}
	b, kb, err := c.node(&e.Args[2], depth+1)
	if err != nil {
		return 0, 0, err
	}
	if a != b {
		return 0, 0, wrong(e, "the branches are of type %s and %s, want one type", a, b)
	}
	if ka != kb {
		ka = kindAny
	}
	return a, ka, nil
}

func (c *typing) comparison(e *Expr, depth int) (Type, kind, error) {
	x, y := &e.Args[0], &e.Args[1]
	a, ka, err := c.node(x, depth+1)
	if err != nil {
		return 0, 0, err
	}
	b, kb, err := c.node(y, depth+1)
	if err != nil {
		return 0, 0, err
	}
	if a != b {
		return 0, 0, wrong(e, "compares %s with %s, want one type", a, b)
	}
	if e.Op != OpEq && e.Op != OpNe && (a == TypeBool || a == TypeText) {
		return 0, 0, wrong(e, "orders %s, which has no order: want numbers, amounts or money", a)
	}
	if a != TypeText {
		return TypeBool, 0, nil
	}
	switch {
	case y.Op == OpText:
		err = c.doc.checkLiteral(ka, y.Text)
	case x.Op == OpText:
		err = c.doc.checkLiteral(kb, x.Text)
	case ka != kb && ka != kindAny && kb != kindAny:
		err = fmt.Errorf("compares %s with %s: never equal", ka, kb)
	}
	if err != nil {
		return 0, 0, wrong(e, "%v", err)
	}
	return TypeBool, 0, nil
}

func (c *typing) membership(e *Expr, depth int) (Type, kind, error) {
	t, k, err := c.node(&e.Args[0], depth+1)
	if err != nil {
		return 0, 0, err
	}
	if t != TypeText {
		return 0, 0, wrong(e, "%s is of type %s, want text", e.Args[0].Op, t)
	}
	switch e.Op {
	case OpIn:
		err = c.doc.checkSet(k, e.Set)
	case OpLabelled:
		if k != kindAccount && k != kindAny {
			err = fmt.Errorf("%s is %s, want an account", e.Args[0].Op, k)
		} else {
			err = c.doc.checkLabel(e.Text)
		}
	default:
		if k != kindPrincipal {
			err = fmt.Errorf("%s is %s, want a principal: initiator or an item of approvers", e.Args[0].Op, k)
		} else {
			err = wire.CheckName(e.Text)
		}
	}
	if err != nil {
		return 0, 0, wrong(e, "%v", err)
	}
	return TypeBool, 0, nil
}

func isQuantity(t Type) bool { return t == TypeAmount || t == TypeMoney }

func (c *typing) arithmetic(e *Expr, depth int) (Type, kind, error) {
	a, _, err := c.node(&e.Args[0], depth+1)
	if err != nil {
		return 0, 0, err
	}
	b, _, err := c.node(&e.Args[1], depth+1)
	if err != nil {
		return 0, 0, err
	}
	number := func(t Type) bool { return t == TypeUint || isQuantity(t) }
	if number(a) && number(b) {
		switch e.Op {
		case OpAdd, OpSub:
			if a == b {
				return a, 0, nil
			}
		case OpMul:
			switch {
			case b == TypeUint:
				return a, 0, nil
			case a == TypeUint:
				return b, 0, nil
			}
		case OpDiv:
			switch {
			case b == TypeUint:
				return a, 0, nil
			case a == b:
				return TypeUint, 0, nil
			}
		case OpMod:
			if a == b {
				return a, 0, nil
			}
		}
	}
	return 0, 0, wrong(e, "has no meaning for %s and %s", a, b)
}

// leaf types what has no operands.
func (c *typing) leaf(e *Expr) (Type, kind, error) {
	switch e.Op {
	case OpBool:
		if !e.Num.IsUint64() || e.Num.Uint64() > 1 {
			return 0, 0, wrong(e, "%s, want 0 (false) or 1 (true)", e.Num.Dec())
		}
		return TypeBool, 0, nil
	case OpUint:
		return TypeUint, 0, nil
	case OpText:
		return TypeText, 0, nil
	case OpAmount, OpTotal, OpReceived:
		if err := c.doc.checkKnown(e.Asset); err != nil {
			return 0, 0, wrong(e, "%v", err)
		}
		return TypeAmount, 0, nil
	case OpMoney, OpValue:
		return c.money(e, TypeMoney)
	case OpChain:
		return TypeText, kindChain, nil
	case OpWallet:
		return TypeText, kindWallet, nil
	case OpSender:
		return TypeText, kindAccount, nil
	case OpInitiator:
		return TypeText, kindPrincipal, nil
	case OpOnlyTransfers:
		return TypeBool, 0, nil
	case OpFee:
		return TypeAmount, 0, nil
	case OpField, OpItem, OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		return c.variable(e)
	case OpRiskOutcome, OpRiskScore:
		if err := wire.CheckName(e.Text); err != nil {
			return 0, 0, wrong(e, "engine: %v", err)
		}
		if e.Op == OpRiskScore {
			return TypeUint, 0, nil
		}
		return TypeText, kindOutcome, nil
	case OpDuring, OpBefore, OpAfter:
		return TypeBool, 0, c.doc.checkTime(e)
	case OpWithin, OpUsed:
		return c.limit(e)
	}
	return c.message(e)
}

func (c *typing) money(e *Expr, t Type) (Type, kind, error) {
	if c.doc.Currency == "" {
		return 0, 0, wrong(e, "the policy has no currency: say which, and which price sources count")
	}
	return t, 0, nil
}

func (c *typing) message(e *Expr) (Type, kind, error) {
	if e.Op.hasPath() {
		if err := checkPath(e.Text); err != nil {
			return 0, 0, wrong(e, "%v", err)
		}
	}
	switch e.Op {
	case OpMessagePresent, OpMessageFlag:
		return TypeBool, 0, nil
	case OpMessageType, OpMessageName, OpMessageVersion, OpMessageText:
		return TypeText, 0, nil
	case OpMessageContract, OpMessageAddress:
		return TypeText, kindAccount, nil
	case OpMessageUint:
		return TypeUint, 0, nil
	}
	return 0, 0, fmt.Errorf("unknown operator %d", e.Op)
}

// hasPath reports whether Text is the path of a decoded argument.
func (o Op) hasPath() bool {
	return OpMessageUint <= o && o <= OpMessageFlag || OpArgUint <= o && o <= OpArgFlag
}

func checkPath(path string) error {
	if path == "" || len(path) > 128 {
		return fmt.Errorf("argument %q: want a path of 1 to 128 bytes such as amount, params.tokenIn or 0", wire.CleanText(path, 80))
	}
	for i := range len(path) {
		if path[i] <= 0x20 || path[i] > 0x7e {
			return fmt.Errorf("argument %q: want printable ASCII without spaces", wire.CleanText(path, 80))
		}
	}
	return nil
}

// variable types what reads a bound variable.
func (c *typing) variable(e *Expr) (Type, kind, error) {
	if int(e.Depth) >= len(c.bound) {
		return 0, 0, wrong(e, "reads the variable of quantifier %d outwards, there are %d around it", e.Depth, len(c.bound))
	}
	list := c.bound[len(c.bound)-1-int(e.Depth)]
	switch e.Op {
	case OpItem:
		if list != TypeApprovers {
			return 0, 0, wrong(e, "an item of a %s is no value: read one of its fields", list)
		}
		return TypeText, kindPrincipal, nil
	case OpField:
		t, ok := list.Fields()[e.Text]
		if !ok {
			return 0, 0, wrong(e, "items of a %s have no field %q%s", list, wire.CleanText(e.Text, 80), form.Suggest(e.Text, fieldNames(list)))
		}
		if t == TypeMoney {
			return c.money(e, t)
		}
		return t, fieldKind(e.Text), nil
	}
	if list != TypeCalls {
		return 0, 0, wrong(e, "items of a %s have no arguments, calls have", list)
	}
	if err := checkPath(e.Text); err != nil {
		return 0, 0, wrong(e, "%v", err)
	}
	switch e.Op {
	case OpArgUint:
		return TypeUint, 0, nil
	case OpArgAddress:
		return TypeText, kindAccount, nil
	case OpArgText:
		return TypeText, 0, nil
	}
	return TypeBool, 0, nil
}

func fieldKind(field string) kind {
	switch field {
	case "asset":
		return kindAsset
	case "method":
		return kindMethod
	case "code":
		return kindCode
	}
	return kindAccount // from, to, owner, spender; of numbers it says nothing
}

func (c *typing) limit(e *Expr) (Type, kind, error) {
	l, ok := c.doc.Limit(e.Text)
	if !ok {
		return 0, 0, wrong(e, "there is no limit %q%s", wire.CleanText(e.Text, 80), form.Suggest(e.Text, names(c.doc.Limits, func(l *Limit) string { return l.Name })))
	}
	if e.Op == OpWithin {
		return TypeBool, 0, nil
	}
	return l.Type(), 0, nil
}

// Type is the type of what a limit measures.
func (l *Limit) Type() Type {
	switch l.Measure {
	case MeasureAmount:
		return TypeAmount
	case MeasureMoney:
		return TypeMoney
	}
	return TypeUint
}

// checkSet checks the literals of an in.
func (d *Document) checkSet(k kind, set []string) error {
	if len(set) == 0 || len(set) > MaxSet {
		return fmt.Errorf("%d values, want 1 to %d", len(set), MaxSet)
	}
	for i, s := range set {
		if i > 0 && set[i-1] >= s {
			return fmt.Errorf("%q comes after %q: want different values, sorted", s, set[i-1])
		}
		if err := d.checkLiteral(k, s); err != nil {
			return err
		}
	}
	return nil
}

// checkLiteral checks a text that is compared with something that names a k: a
// spelling that no codec writes would never match.
func (d *Document) checkLiteral(k kind, s string) error {
	if err := wire.CheckText(s, maxItem); err != nil {
		return err
	}
	switch k {
	case kindChain:
		return family.CheckChain(s)
	case kindWallet:
		if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || strings.ToLower(s) != s {
			return fmt.Errorf("wallet %q: want the 64 hex digits of its key id, in lower case", wire.CleanText(s, 80))
		}
	case kindAccount:
		if s == "" { // where a contract is created
			return nil
		}
		if _, _, err := chain.ParseAccount(s); err != nil {
			return err
		}
		return family.CheckAccount(s)
	case kindAsset:
		return d.checkKnown(s)
	case kindPrincipal:
		return wire.CheckName(s)
	case kindMethod:
		if s == "" || strings.ContainsAny(s, " ") {
			return fmt.Errorf("method %q: want a signature without spaces such as approve(address,uint256)", wire.CleanText(s, 80))
		}
	case kindCode:
		if b, err := hex.DecodeString(strings.TrimPrefix(s, "0x")); err != nil || len(b) != 32 || !strings.HasPrefix(s, "0x") || strings.ToLower(s) != s {
			return fmt.Errorf("code hash %q: want 0x and 64 hex digits in lower case, the Keccak-256 of the creation's init code", wire.CleanText(s, 80))
		}
	case kindOutcome:
		if s != "pass" && s != "hold" && s != "deny" {
			return fmt.Errorf("outcome %q: want pass, hold or deny%s", wire.CleanText(s, 80), form.Suggest(s, []string{"pass", "hold", "deny"}))
		}
	}
	return nil
}

// checkKnown checks that conditions name only assets that the document explains.
func (d *Document) checkKnown(id string) error {
	if _, ok := d.asset(id); !ok {
		return fmt.Errorf("asset %q is not one of this policy's assets", wire.CleanText(id, 200))
	}
	return nil
}

func (d *Document) checkLabel(label string) error {
	if _, ok := d.entry(label); !ok {
		return fmt.Errorf("there is no label %q in the address book%s", wire.CleanText(label, 80),
			form.Suggest(label, names(d.AddressBook, func(e *Entry) string { return e.Label })))
	}
	return nil
}

func names[T any](list []T, name func(*T) string) []string {
	var out []string
	for i := range list {
		out = append(out, name(&list[i]))
	}
	return out
}

func fieldNames(list Type) []string {
	var out []string
	for name := range list.Fields() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
