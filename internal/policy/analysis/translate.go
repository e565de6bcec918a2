package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
)

// view reads the conditions of one document, under the roster that is in force
// with it, into a model.
type view struct {
	*model
	doc    *policy.Document
	roster *identity.Roster
	worth  string   // how money is valued: equal names, equal values
	assets []string // that have a value
}

func (m *model) view(doc *policy.Document, roster *identity.Roster) *view {
	v := &view{model: m, doc: doc, roster: roster, worth: fmt.Sprintf(" in %s at %v", doc.Currency, doc.Prices)}
	decimals := make(map[string]uint8)
	for _, a := range doc.Assets {
		v.assets = append(v.assets, a.ID)
		decimals[a.ID] = a.Decimals
	}
	for n, o := range m.views {
		for _, a := range o.doc.Assets {
			if d, both := decimals[a.ID]; both && d != a.Decimals {
				v.worth = fmt.Sprintf("%s for document %d", v.worth, n+1) // another unit
			}
		}
	}
	m.views = append(m.views, v)
	return v
}

// valuedFlag is whether something has a value. What has one under fewer assets has
// the same one under more.
func (v *view) valuedFlag(name string) lit {
	l := v.usually(v.valuedName(name))
	for _, o := range v.views {
		if o != v && o.worth == v.worth && o.valuedName(name) != v.valuedName(name) {
			other := v.usually(o.valuedName(name))
			if subset(v.assets, o.assets) {
				v.clause(l.not(), other)
			}
			if subset(o.assets, v.assets) {
				v.clause(other.not(), l)
			}
		}
	}
	return l
}

func (v *view) valuedName(name string) string {
	return fmt.Sprintf("%s priced%s of %v", name, v.worth, v.assets)
}

// subset reports whether all of a are in b; both are sorted.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { _, in := slices.BinarySearch(b, s); return !in })
}

// truth is the value of a condition. bound are the items of the quantifiers around
// it, the innermost last.
func (v *view) truth(e *policy.Expr, bound []*item) truth {
	v.steps--
	switch e.Op {
	case policy.OpBool:
		if e.Num.IsZero() {
			return certain(no)
		}
		return certain(yes)
	case policy.OpAnd, policy.OpOr:
		return v.connective(e, bound)
	case policy.OpNot:
		return v.truth(&e.Args[0], bound).not()
	case policy.OpIf:
		c, a, b := v.truth(&e.Args[0], bound), v.truth(&e.Args[1], bound), v.truth(&e.Args[2], bound)
		return truth{
			v.or(v.and(c.is, a.is), v.and(c.isNot, b.is)),
			v.or(v.and(c.is, a.isNot), v.and(c.isNot, b.isNot)),
		}
	case policy.OpEq, policy.OpNe, policy.OpLt, policy.OpLe, policy.OpGt, policy.OpGe:
		return v.comparison(e, bound)
	case policy.OpIn:
		return v.member(e, &e.Args[0], bound, e.Set)
	case policy.OpLabelled:
		return v.member(e, &e.Args[0], bound, v.label(e.Text))
	case policy.OpInGroup:
		return v.member(e, &e.Args[0], bound, v.roster.Members(e.Text))
	case policy.OpHasRole:
		return v.member(e, &e.Args[0], bound, v.holders(e.Text))
	case policy.OpAll, policy.OpExists, policy.OpExistsOne:
		return v.quantified(e, bound)
	case policy.OpOnlyTransfers:
		return v.onlyTransfers()
	case policy.OpMessagePresent:
		return certain(v.flag("message"))
	case policy.OpField:
		if e.Text == "unlimited" {
			limit := chain.Amount{1<<64 - 1, 1<<32 - 1} // chain.Approval.Unlimited
			return certain(v.below(v.itemNumber(v.item(e, bound), "amount"), limit).not())
		}
	case policy.OpMessageFlag:
		return v.optional("message.flag "+e.Text, v.flag("message"))
	case policy.OpArgFlag:
		return v.optional(v.item(e, bound).name+" flag "+e.Text, yes)
	case policy.OpBefore, policy.OpAfter:
		t := certain(v.below(v.now, e.Num))
		if e.Op == policy.OpAfter {
			return t.not()
		}
		return t
	case policy.OpDuring:
		return v.during(e)
	case policy.OpWithin:
		if u := v.limitUse(e.Text); u != nil {
			at := v.atMost(u.used, u.limit.Max)
			return truth{v.and(u.valid, at), v.and(u.valid, at.not())}
		}
	}
	return v.outside(e, bound)
}

// connective is && and ||: what one operand settles the others cannot spoil.
func (v *view) connective(e *policy.Expr, bound []*item) truth {
	is, isNot := make([]lit, len(e.Args)), make([]lit, len(e.Args))
	for i := range e.Args {
		t := v.truth(&e.Args[i], bound)
		is[i], isNot[i] = t.is, t.isNot
	}
	if e.Op == policy.OpAnd {
		return truth{v.and(is...), v.or(isNot...)}
	}
	return truth{v.or(is...), v.and(isNot...)}
}

// optional is a flag that may be missing.
func (v *view) optional(name string, there lit) truth {
	has, value := v.and(there, v.usually("has "+name)), v.flag(name)
	return truth{v.and(has, value), v.and(has, value.not())}
}

func (v *view) item(e *policy.Expr, bound []*item) *item { return bound[len(bound)-1-int(e.Depth)] }

// outside is a condition that the fragment does not have.
func (v *view) outside(e *policy.Expr, bound []*item) truth {
	return v.unknown(v.key(e, bound), v.format(e))
}

// label is the addresses of a label, sorted.
func (v *view) label(name string) []string {
	for i := range v.doc.AddressBook {
		if v.doc.AddressBook[i].Label == name {
			return v.doc.AddressBook[i].Addresses
		}
	}
	return nil
}

// holders are the principals with a role, sorted.
func (v *view) holders(role string) []string {
	var out []string
	for i := range v.roster.Principals {
		if id := v.roster.Principals[i].ID; v.roster.HasRole(id, role) {
			out = append(out, id)
		}
	}
	return out
}

// textOf reads a text: a variable and whether it is there, or a literal.
func (v *view) textOf(e *policy.Expr, bound []*item) (t *text, there lit, literal string, ok bool) {
	switch e.Op {
	case policy.OpText:
		return nil, yes, e.Text, true
	case policy.OpChain:
		return v.chain, yes, "", true
	case policy.OpWallet:
		return v.wallet, yes, "", true
	case policy.OpSender:
		return v.sender, yes, "", true
	case policy.OpInitiator:
		return v.initiator, yes, "", true
	case policy.OpItem:
		return v.itemText(v.item(e, bound), ""), yes, "", true
	case policy.OpField:
		return v.itemText(v.item(e, bound), e.Text), yes, "", true
	case policy.OpArgAddress, policy.OpArgText:
		name := fmt.Sprintf("%s %s %s", v.item(e, bound).name, e.Op, e.Text)
		return v.text(name, plain), v.usually("has " + name), "", true
	case policy.OpMessageType, policy.OpMessageName, policy.OpMessageVersion, policy.OpMessageContract:
		return v.text(e.Op.String(), plain), v.flag("message"), "", true
	case policy.OpMessageAddress, policy.OpMessageText:
		name := e.Op.String() + " " + e.Text
		return v.text(name, plain), v.and(v.flag("message"), v.usually("has "+name)), "", true
	case policy.OpRiskOutcome:
		return v.text("risk "+e.Text, enumerated, "deny", "hold", "pass"), v.usually("verdict of " + e.Text), "", true
	}
	return nil, 0, "", false
}

// member is whether a text is in a set, which is sorted.
func (v *view) member(whole, e *policy.Expr, bound []*item, list []string) truth {
	t, there, literal, ok := v.textOf(e, bound)
	switch {
	case !ok:
		return v.outside(whole, bound)
	case t == nil:
		_, in := slices.BinarySearch(list, literal)
		if in {
			return certain(yes)
		}
		return certain(no)
	}
	in := v.in(t, list)
	return truth{v.and(there, in), v.and(there, in.not())}
}

func (v *view) comparison(e *policy.Expr, bound []*item) truth {
	if e.Op == policy.OpEq || e.Op == policy.OpNe {
		if t, ok := v.equality(e, bound); ok {
			if e.Op == policy.OpNe {
				return t.not()
			}
			return t
		}
	}
	a, b := v.quantity(&e.Args[0], bound), v.quantity(&e.Args[1], bound)
	op := e.Op
	if a != nil && a.number == nil {
		a, b = b, a
		op = map[policy.Op]policy.Op{policy.OpLt: policy.OpGt, policy.OpLe: policy.OpGe, policy.OpGt: policy.OpLt, policy.OpGe: policy.OpLe}[op]
		if op == 0 {
			op = e.Op
		}
	}
	if a == nil || b == nil || b.number != nil {
		return v.outside(e, bound)
	}
	valid := v.and(a.valid, v.sameAsset(a, b))
	if valid == no {
		return truth{no, no}
	}
	if a.number == nil { // two constants
		return v.constant(valid, op, a.constant.Cmp(&b.constant))
	}
	var holds lit
	switch c := b.constant; op {
	case policy.OpEq:
		holds = v.and(v.atMost(a.number, c), v.below(a.number, c).not())
	case policy.OpNe:
		holds = v.and(v.atMost(a.number, c), v.below(a.number, c).not()).not()
	case policy.OpLt:
		holds = v.below(a.number, c)
	case policy.OpLe:
		holds = v.atMost(a.number, c)
	case policy.OpGt:
		holds = v.atMost(a.number, c).not()
	case policy.OpGe:
		holds = v.below(a.number, c).not()
	}
	return truth{v.and(valid, holds), v.and(valid, holds.not())}
}

func (v *view) constant(valid lit, op policy.Op, order int) truth {
	holds := no
	if op == policy.OpEq && order == 0 || op == policy.OpNe && order != 0 || op == policy.OpLt && order < 0 ||
		op == policy.OpLe && order <= 0 || op == policy.OpGt && order > 0 || op == policy.OpGe && order >= 0 {
		holds = yes
	}
	return truth{v.and(valid, holds), v.and(valid, holds.not())}
}

// equality is == of texts and of conditions.
func (v *view) equality(e *policy.Expr, bound []*item) (truth, bool) {
	x, y := &e.Args[0], &e.Args[1]
	if isBool(x) && isBool(y) {
		a, b := v.truth(x, bound), v.truth(y, bound)
		return truth{
			v.or(v.and(a.is, b.is), v.and(a.isNot, b.isNot)),
			v.or(v.and(a.is, b.isNot), v.and(a.isNot, b.is)),
		}, true
	}
	a, thereA, litA, okA := v.textOf(x, bound)
	b, thereB, litB, okB := v.textOf(y, bound)
	if !okA || !okB {
		return truth{}, false
	}
	if a == nil {
		a, thereA, litA, b, thereB, litB = b, thereB, litB, a, thereA, litA
	}
	there := v.and(thereA, thereB)
	switch {
	case a == nil && litA == litB:
		return certain(yes), true
	case a == nil:
		return certain(no), true
	case b == nil:
		in := v.in(a, []string{litB})
		return truth{v.and(there, in), v.and(there, in.not())}, true
	case a == b:
		return truth{there, no}, true
	case b == v.sender && a.domain != plain:
		in := v.isSender(a)
		return truth{in, in.not()}, true
	case a == v.sender && b.domain != plain:
		in := v.isSender(b)
		return truth{in, in.not()}, true
	}
	return truth{}, false
}

// isBool reports whether an operand is a condition. Of ?: it looks at a branch.
func isBool(e *policy.Expr) bool {
	switch e.Op {
	case policy.OpIf:
		return isBool(&e.Args[1])
	case policy.OpField:
		return e.Text == "unlimited"
	case policy.OpAnd, policy.OpOr, policy.OpNot, policy.OpEq, policy.OpNe, policy.OpLt, policy.OpLe, policy.OpGt, policy.OpGe, policy.OpIn,
		policy.OpBool, policy.OpOnlyTransfers, policy.OpMessagePresent, policy.OpMessageFlag, policy.OpAll, policy.OpExists, policy.OpExistsOne,
		policy.OpArgFlag, policy.OpInGroup, policy.OpHasRole, policy.OpLabelled, policy.OpDuring, policy.OpBefore, policy.OpAfter, policy.OpWithin:
		return true
	}
	return false
}

// amount is a number with what it is a number of.
type amount struct {
	number   *number // nil: the constant
	constant chain.Amount
	valid    lit
	asset    string // of amounts: the asset; "" none
	assetVar *text  // of amounts: the item's asset
	native   bool   // of amounts: the chain's native asset
}

// quantity reads a number; nil when it is not in the fragment.
func (v *view) quantity(e *policy.Expr, bound []*item) *amount {
	switch e.Op {
	case policy.OpUint, policy.OpMoney:
		return &amount{constant: e.Num, valid: yes}
	case policy.OpAmount:
		return &amount{constant: e.Num, valid: yes, asset: e.Asset}
	case policy.OpFee:
		return &amount{number: v.number("fee"), valid: yes, native: true}
	case policy.OpTotal, policy.OpReceived:
		t := v.total(e.Asset, e.Op == policy.OpReceived)
		return &amount{number: t.sum, valid: t.valid, asset: e.Asset}
	case policy.OpValue:
		x := v.value()
		return &amount{number: x.sum, valid: x.valid}
	case policy.OpField:
		return v.field(e, v.item(e, bound))
	case policy.OpArgUint:
		name := v.item(e, bound).name + " uint " + e.Text
		return &amount{number: v.number(name), valid: v.usually("has " + name)}
	case policy.OpMessageUint:
		return &amount{number: v.number("message.uint " + e.Text), valid: v.and(v.flag("message"), v.usually("has message.uint "+e.Text))}
	case policy.OpRiskScore:
		return &amount{number: v.number("score " + e.Text), valid: v.usually("verdict of " + e.Text)}
	case policy.OpCount:
		return v.counted(e, bound)
	case policy.OpUsed:
		if u := v.limitUse(e.Text); u != nil {
			return &amount{number: u.used, valid: u.valid, asset: u.limit.Asset}
		}
	}
	return nil
}

func (v *view) field(e *policy.Expr, i *item) *amount {
	switch {
	case e.Text == "depth":
		return &amount{number: v.itemNumber(i, "depth"), valid: yes}
	case e.Text == "amount":
		return &amount{number: v.itemNumber(i, "amount"), valid: yes, assetVar: v.itemText(i, "asset")}
	case e.Text == "value" && i.list == policy.OpTransfers:
		return &amount{number: v.itemNumber(i, "value"+v.worth), valid: v.itemValued(i)}
	case e.Text == "value":
		return &amount{number: v.itemNumber(i, "value"), valid: yes, native: true}
	}
	return nil
}

// sameAsset is whether two amounts are of one asset; only then they compare.
func (v *view) sameAsset(a, b *amount) lit {
	switch {
	case a.assetVar != nil:
		return v.in(a.assetVar, []string{b.asset})
	case a.native && b.asset != "":
		return v.isNative(b.asset)
	case a.asset != b.asset:
		return no
	}
	return yes
}

// itemValued is whether a transfer has a value. It is zero just when the amount is.
func (v *view) itemValued(i *item) lit {
	known := v.flags["no "+v.valuedName(i.name)]
	l := v.valuedFlag(i.name)
	if known == 0 {
		worth, amount := v.positive(v.itemNumber(i, "value"+v.worth)), v.positive(v.itemNumber(i, "amount"))
		v.same([]lit{l}, worth, amount)
		v.clause(l, amount) // nothing is worth nothing, without a price
		v.clause(l.not(), amount.not(), v.in(v.itemText(i, "asset"), v.assets))
	}
	return l
}

// value is the value of all that leaves the sender.
func (v *view) value() *valued {
	key := v.valuedName("value")
	if x, ok := v.valueBy[key]; ok {
		return x
	}
	x := &valued{key: v.worth, sum: v.number("value" + v.worth), valid: v.valuedFlag("value")}
	v.valueBy[key] = x
	v.values = append(v.values, x)
	own := func(i *item) lit { return v.isSender(v.itemText(i, "from")) }
	some := v.exists(policy.OpTransfers, "+"+key, func(i *item) truth {
		return certain(v.and(own(i), v.positive(v.itemNumber(i, "amount"))))
	})
	v.clause(x.valid.not(), v.positive(x.sum).not(), some.is)
	v.clause(x.valid.not(), v.positive(x.sum), some.isNot)
	unpriced := v.exists(policy.OpTransfers, "?"+key, func(i *item) truth {
		return certain(v.and(own(i), v.itemValued(i).not()))
	})
	v.clause(x.valid.not(), unpriced.isNot)
	return x
}

// quantified is all, exists and exists_one.
func (v *view) quantified(e *policy.Expr, bound []*item) truth {
	body := &e.Args[1]
	if free(body, 1) {
		return v.outside(e, bound)
	}
	list := e.Args[0].Op
	key := v.key(body, []*item{nil})
	prop := func(i *item) truth { return v.truth(body, []*item{i}) }
	switch e.Op {
	case policy.OpExists:
		return v.exists(list, key, prop)
	case policy.OpAll:
		return v.exists(list, "(! "+key+")", func(i *item) truth { return prop(i).not() }).not()
	}
	n, valid := v.count(list, key, prop)
	one := chain.Amount{1}
	is := v.and(v.atMost(n, one), v.positive(n))
	return truth{v.and(valid, is), v.and(valid, is.not())}
}

// counted is size() of a list or of what is filtered of it.
func (v *view) counted(e *policy.Expr, bound []*item) *amount {
	list := e.Args[0].Op
	if len(e.Args) == 1 {
		n, valid := v.count(list, "", nil)
		return &amount{number: n, valid: valid}
	}
	body := &e.Args[1]
	if free(body, 1) {
		return nil
	}
	n, valid := v.count(list, v.key(body, []*item{nil}), func(i *item) truth { return v.truth(body, []*item{i}) })
	return &amount{number: n, valid: valid}
}

// free reports whether e reads a variable that is bound depth or more quantifiers
// outside of it.
func free(e *policy.Expr, depth uint8) bool {
	switch e.Op {
	case policy.OpField, policy.OpItem, policy.OpArgUint, policy.OpArgAddress, policy.OpArgText, policy.OpArgFlag:
		return e.Depth >= depth
	case policy.OpAll, policy.OpExists, policy.OpExistsOne, policy.OpCount:
		for i := range e.Args {
			if i > 0 && free(&e.Args[i], depth+1) {
				return true
			}
		}
		return false
	}
	for i := range e.Args {
		if free(&e.Args[i], depth) {
			return true
		}
	}
	return false
}

// key names what a condition means: two conditions with one key have one value,
// whichever document they stand in. What a document defines stands in it by value.
func (v *view) key(e *policy.Expr, bound []*item) string {
	var b strings.Builder
	v.writeKey(&b, e, bound, 0)
	return b.String()
}

func (v *view) writeKey(b *strings.Builder, e *policy.Expr, bound []*item, depth int) {
	if e.Op == policy.OpNot {
		b.WriteString("(! ")
		v.writeKey(b, &e.Args[0], bound, depth)
		b.WriteString(")")
		return
	}
	fmt.Fprintf(b, "(%d", e.Op)
	switch e.Op {
	case policy.OpField, policy.OpItem, policy.OpArgUint, policy.OpArgAddress, policy.OpArgText, policy.OpArgFlag:
		if i := len(bound) - 1 - (int(e.Depth) - depth); int(e.Depth) >= depth && i >= 0 && bound[i] != nil {
			fmt.Fprintf(b, " %s %q", bound[i].name, e.Text)
		} else {
			fmt.Fprintf(b, " $%d %q", e.Depth, e.Text)
		}
		if e.Text == "value" {
			b.WriteString(v.worth + fmt.Sprint(v.assets))
		}
	case policy.OpLabelled:
		fmt.Fprintf(b, " %q", v.label(e.Text))
	case policy.OpInGroup:
		fmt.Fprintf(b, " %q", v.roster.Members(e.Text))
	case policy.OpHasRole:
		fmt.Fprintf(b, " %q", v.holders(e.Text))
	case policy.OpValue:
		b.WriteString(v.worth + fmt.Sprint(v.assets))
	case policy.OpWithin, policy.OpUsed:
		if l, ok := v.doc.Limit(e.Text); ok {
			b.WriteString(v.limitKey(l))
			fmt.Fprintf(b, " %s", l.Max.Hex())
			if l.Measure == policy.MeasureMoney {
				b.WriteString(fmt.Sprint(v.assets))
			}
		}
	case policy.OpDuring:
		fmt.Fprintf(b, " %s %s", v.zoneKey(e.Text), e.Num.Hex())
	default:
		fmt.Fprintf(b, " %q %q %s %q", e.Text, e.Set, e.Num.Hex(), e.Asset)
	}
	quantifier := e.Op == policy.OpAll || e.Op == policy.OpExists || e.Op == policy.OpExistsOne || e.Op == policy.OpCount
	for i := range e.Args {
		b.WriteByte(' ')
		if quantifier && i == 1 {
			v.writeKey(b, &e.Args[i], bound, depth+1)
		} else {
			v.writeKey(b, &e.Args[i], bound, depth)
		}
	}
	b.WriteByte(')')
}
