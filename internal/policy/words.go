package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
)

// show writes an account, an asset or any other value for people: an asset of the
// document by its symbol, an account on the request's chain by its address. An
// address is never shortened: two that look alike when shortened are the oldest
// trick there is.
func (e *evaluation) show(s string) string {
	if a, ok := e.doc.asset(s); ok {
		return a.Symbol
	}
	if s == "" {
		return "(none)"
	}
	address, ok := strings.CutPrefix(s, e.in.Request.Chain+":")
	if !ok {
		return s
	}
	for i := range e.doc.AddressBook {
		if slices.Contains(e.doc.AddressBook[i].Addresses, s) {
			return fmt.Sprintf("%s (%s)", address, e.doc.AddressBook[i].Label)
		}
	}
	return address
}

// showText writes a text that stands beside or is the value of n.
func (e *evaluation) showText(n *node, s string) string {
	if n.op == OpWallet {
		return e.doc.walletName(s)
	}
	return e.show(s)
}

// shown writes the value of an expression.
func (e *evaluation) shown(n *node) string {
	switch n.typ {
	case TypeBool:
		return e.boolean(n).String()
	case TypeText:
		s, ok := e.text(n)
		if ok != True {
			return "unknown"
		}
		return e.showText(n, s)
	}
	var q quantity
	if e.number(n, &q) != True {
		return "unknown"
	}
	return e.quantity(n.typ, &q)
}

func (e *evaluation) quantity(t Type, q *quantity) string {
	switch t {
	case TypeAmount:
		return e.doc.Amount(q.asset, q.num)
	case TypeMoney:
		return e.doc.Money(q.num)
	}
	return q.num.Dec()
}

// subject names what an expression is about.
func (e *evaluation) subject(n *node) string {
	switch n.op {
	case OpChain, OpWallet, OpSender, OpInitiator:
		return n.op.String()
	case OpFee:
		return "maximum fee"
	case OpTotal:
		return "amount of " + e.show(n.asset) + " sent"
	case OpReceived:
		return "amount of " + e.show(n.asset) + " received"
	case OpValue:
		return "value sent"
	case OpMessageType, OpMessageName, OpMessageVersion, OpMessageContract:
		return strings.ReplaceAll(n.op.String(), ".", "'s ")
	case OpMessageUint, OpMessageAddress, OpMessageText, OpMessageFlag:
		return "message's " + n.text
	case OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		return "argument " + n.text
	case OpRiskOutcome:
		return "verdict of risk engine " + n.text
	case OpRiskScore:
		return "score of risk engine " + n.text
	case OpUsed:
		return "use of limit " + n.text
	case OpItem:
		return "approver"
	case OpField:
		return fieldSubject(n)
	case OpCount:
		if len(n.args) == 1 {
			return "number of " + n.args[0].op.String()
		}
	}
	return e.doc.Format(n.expr)
}

func fieldSubject(n *node) string {
	switch {
	case n.list == TypeTransfers && n.field == fieldTo:
		return "recipient"
	case n.list == TypeTransfers && n.field == fieldFrom:
		return "source"
	case n.list == TypeAllowances && n.field == fieldAmount:
		return "allowance"
	case n.list == TypeCalls && n.field == fieldTo:
		return "contract"
	case n.list == TypeCalls && n.field == fieldFrom:
		return "caller"
	case n.list == TypeCalls && n.field == fieldValue:
		return "value sent along"
	case n.list == TypeCreations && n.field == fieldCode:
		return "hash of the code"
	}
	return n.text
}

// reason is why something has no value.
type reason struct{ detail, fix, code string }

// why finds what waits or failed under n, which has no value: its first operand
// without one, else n itself.
func (e *evaluation) why(n *node) reason {
	if n.op == OpCount && len(n.args) == 2 {
		return e.whyItem(n)
	}
	all, want := n.args, e.state(n)
	if n.op == OpIf && e.boolean(&n.args[0]) == True {
		all = n.args[1:2]
	} else if n.op == OpIf && e.boolean(&n.args[0]) == False {
		all = n.args[2:]
	}
	for i := range all {
		if !n.op.isQuantifier() && e.state(&all[i]) == want {
			if all[i].typ == TypeBool {
				x := e.explain(&all[i])
				return reason{x.Detail, x.Fix, x.cause}
			}
			return e.why(&all[i])
		}
	}
	return e.whyLeaf(n)
}

// whyItem finds the item whose condition has no value.
func (e *evaluation) whyItem(n *node) (out reason) {
	want := e.state(n)
	e.each(n, func(_ int, t Truth) bool {
		if t != want {
			return false
		}
		x := e.explain(&n.args[1])
		out = reason{x.Detail, x.Fix, x.cause}
		return true
	})
	return out
}

// state says whether an expression has a value: True, Waiting or Failed.
func (e *evaluation) state(n *node) Truth {
	var t Truth
	switch n.typ {
	case TypeBool:
		if t = e.boolean(n); t == False {
			t = True
		}
	case TypeText:
		_, t = e.text(n)
	default:
		t = e.number(n, new(quantity))
	}
	return t
}

func (e *evaluation) whyLeaf(n *node) reason {
	failed := func(format string, args ...any) reason { return reason{fmt.Sprintf(format, args...), "", CodeError} }
	switch n.op {
	case OpRiskOutcome, OpRiskScore:
		return e.whyRisk(n)
	case OpValue, OpField:
		return e.whyWorth(n)
	case OpWithin, OpUsed:
		return e.whyLimit(n)
	case OpAdd, OpSub, OpMul, OpDiv, OpMod, OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		return e.whyArithmetic(n)
	case OpTotal, OpReceived:
		return failed("the sum of %s is above 2^256-1", e.show(n.asset))
	case OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		method := "(none)"
		if c := e.call(n); c != nil {
			method = c.Method
		}
		return reason{fmt.Sprintf("the call of %s has no argument %q that is read with .%s", method, n.text, n.op), "a call with this argument", CodeError}
	case OpMessageType, OpMessageName, OpMessageVersion, OpMessageContract:
		return reason{"it is no message: it has no " + n.op.String(), "a message", CodeError}
	case OpMessageUint, OpMessageAddress, OpMessageText, OpMessageFlag:
		if e.in.Effects.Message == nil {
			return reason{"it is no message: it has no " + n.text, "a message", CodeError}
		}
		return reason{fmt.Sprintf("the message has no field %q that is read with %s", n.text, n.op), "a message with this field", CodeError}
	case OpDuring:
		if n.index >= 0 {
			if _, err := e.doc.Zones[n.index].offset(int64(min(e.now(), maxUnix))); err != nil {
				return failed("%v", err)
			}
		}
	}
	return failed("%s has no meaning here", e.doc.Format(n.expr))
}

func (e *evaluation) whyRisk(n *node) reason {
	engine := n.text
	fix := "a verdict of risk engine " + engine
	if v := e.verdict(n.index); v != nil {
		fact := fmt.Sprintf("risk engine %s says %s", engine, v.Outcome)
		if len(v.Reasons) > 0 {
			fact += " (" + join(v.Reasons, "; ") + ")"
		}
		return reason{fact, "another verdict of risk engine " + engine, CodeRisk}
	}
	return reason{"there is no verdict of risk engine " + engine + " yet" + e.ignored(engine), fix, CodeRisk}
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

func (e *evaluation) whyArithmetic(n *node) reason {
	x, y := &n.args[0], &n.args[1]
	var a, b quantity
	e.number(x, &a)
	e.number(y, &b)
	v, w := e.quantity(x.typ, &a), e.quantity(y.typ, &b)
	detail := fmt.Sprintf("%s %s %s is above 2^256-1", v, n.op, w)
	switch {
	case x.typ == TypeAmount && y.typ == TypeAmount && a.asset != b.asset:
		detail = fmt.Sprintf("%s and %s are amounts of different assets", v, w)
	case n.op == OpSub:
		detail = fmt.Sprintf("%s - %s is below zero", v, w)
	case n.op == OpDiv || n.op == OpMod:
		detail = fmt.Sprintf("%s %s %s divides by zero", v, n.op, w)
	}
	return reason{detail, "a request for which this can be computed", CodeError}
}

// whyWorth is why something has no value in money.
func (e *evaluation) whyWorth(n *node) reason {
	f := e.in.Effects
	if t := e.transfer(n); n.op == OpField && t != nil {
		return e.whyUnvalued(t.Asset, &t.Amount)
	}
	for _, want := range []Truth{Failed, Waiting} {
		for i := range f.Transfers {
			if t := &f.Transfers[i]; t.From == f.Sender {
				if _, ok := e.worth(t.Asset, &t.Amount); ok == want {
					return e.whyUnvalued(t.Asset, &t.Amount)
				}
			}
		}
	}
	return reason{"the sum of all values is above 2^256-1", "", CodeError}
}

func (e *evaluation) whyUnvalued(asset string, a *chain.Amount) reason {
	i := e.doc.assetIndex(asset)
	if i < 0 {
		return reason{asset + " is not one of this policy's assets, so it has no value", "a transfer of an asset that the policy knows", CodeError}
	}
	rule, p := &e.doc.Prices, e.price(i)
	fresh, stale := e.quotes(asset)
	symbol := e.doc.Assets[i].Symbol
	from := fmt.Sprintf("%d of %s", rule.Agree, orList(rule.Sources))
	switch {
	case p.ok == True:
		return reason{fmt.Sprintf("the value of %s is above 2^256-1", e.doc.Amount(asset, *a)), "", CodeError}
	case p.ok == Waiting:
		return reason{fmt.Sprintf("there are %d prices of %s in %s yet, want %s", len(fresh), symbol, e.doc.Currency, from), "a price of " + symbol + " from " + from, CodePrice}
	case p.code == CodeStale:
		return reason{fmt.Sprintf("%d prices of %s are older than %s, %d are fresh, want %s", stale, symbol, duration(rule.MaxAge), len(fresh), from), "fresh prices of " + symbol + " from " + from, CodeStale}
	}
	var list []string
	for _, x := range fresh {
		list = append(list, formatUnits(x, 15, e.doc.Currency))
	}
	return reason{
		fmt.Sprintf("the prices of %s are too far apart: %s, want %d within %s %% of each other", symbol, strings.Join(list, ", "), rule.Agree, percent(rule.Tolerance)),
		"prices of " + symbol + " that agree", CodeDisagree,
	}
}

// percent writes a number of 1/10000.
func percent(n uint16) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%02d", n/100, n%100), "0"), ".")
}

// duration writes milliseconds as people do: "24h", "7d", "10m".
func duration(ms uint64) string {
	d := time.Duration(ms) * time.Millisecond
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if strings.HasSuffix(s, zero) && len(s) > 2 && (s[len(s)-3] == 'm' || s[len(s)-3] == 'h') {
			s = strings.TrimSuffix(s, zero)
		}
	}
	return s
}

// Describe writes what a limit allows: "5 ETH in 24h per wallet".
func (d *Document) Describe(l *Limit) string {
	s := d.Measured(l, l.Max)
	switch {
	case l.Window.Kind == Rolling:
		s += " in " + duration(l.Window.Length)
	default:
		unit := map[Unit]string{Day: "day", Week: "week", Month: "month", Year: "year"}[l.Window.Unit]
		s += fmt.Sprintf(" a calendar %s in %s", unit, l.Window.Zone)
	}
	var per []string
	for _, p := range l.Per {
		per = append(per, p.String())
	}
	if len(per) > 0 {
		s += " per " + strings.Join(per, " and ")
	}
	return s
}

func (s Scope) String() string {
	switch s {
	case PerWallet:
		return "wallet"
	case PerAsset:
		return "asset"
	case PerInitiator:
		return "initiator"
	case PerDestination:
		return "destination"
	}
	return fmt.Sprintf("scope-%d", uint8(s))
}

// limitFact says where a limit stands and what room it has.
func (e *evaluation) limitFact(i int, holds bool) (detail, fix string) {
	l, s := &e.doc.Limits[i], e.limit(i)
	what := "limit " + l.Name
	switch {
	case s.asset != "" && l.Measure != MeasureAmount && s.to != "":
		what += fmt.Sprintf(" for %s to %s", e.show(s.asset), e.show(s.to))
	case s.asset != "" && l.Measure != MeasureAmount:
		what += " for " + e.show(s.asset)
	case s.to != "":
		what += " for " + e.show(s.to)
	}
	var before chain.Amount
	before.Sub(&s.used, &s.adds)
	with := fmt.Sprintf("%s: %s with this request (%s before it)", what, e.doc.Measured(l, s.used), e.doc.Measured(l, before))
	if holds {
		return fmt.Sprintf("%s is within %s", with, e.doc.Describe(l)), "more than " + what + " has room for"
	}
	detail = fmt.Sprintf("%s is above %s", with, e.doc.Describe(l))
	if !before.Lt(&l.Max) {
		return detail, "waiting until " + what + " has room again"
	}
	var room chain.Amount
	room.Sub(&l.Max, &before)
	return detail, fmt.Sprintf("at most %s now under %s", e.doc.Measured(l, room), what)
}

func (e *evaluation) whyLimit(n *node) reason {
	l, s := &e.doc.Limits[n.index], e.limit(n.index)
	if errors.Is(s.why, errValue) {
		r := e.whyWorth(&node{op: OpValue})
		r.detail = "limit " + l.Name + ": " + r.detail
		return r
	}
	return reason{fmt.Sprintf("limit %s cannot be counted: %v", l.Name, s.why), "", CodeError}
}

func article(noun string) string {
	if noun != "" && strings.ContainsRune("aeio", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// orList is "a, b or c", and cut when long.
func orList(list []string) string {
	const most = 8
	if n := len(list); n > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" or %d more", n-most)
	}
	switch n := len(list); n {
	case 0:
		return "nobody"
	case 1:
		return list[0]
	default:
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
}

// words writes what a rule does.
func (v *Verdict) words() string {
	switch v.Effect {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	var out []string
	for _, q := range v.Require {
		out = append(out, approvals(int(q.Count), "", q.Group))
	}
	s := "require " + strings.Join(out, " and ")
	if v.InitiatorExcluded {
		s += ", not counting the initiator's own"
	}
	return s
}

// approvals is "2 approvals from treasurers", "1 more approval from treasurers".
func approvals(n int, more, group string) string {
	s := "approvals"
	if n == 1 {
		s = "approval"
	}
	return fmt.Sprintf("%d %s%s from %s", n, more, s, group)
}
