package policy

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

// total2 is total("ETH") <= amount("2 ETH").
func total2(t testing.TB) Expr {
	return op(OpLe, ofAsset(OpTotal, eth), Expr{Op: OpAmount, Num: eths(t, "2"), Asset: eth})
}

func recipientsKnown() Expr {
	return op(OpAll, op(OpTransfers), named(OpLabelled, "known", field("to", 0)))
}

func passes() Expr { return op(OpEq, named(OpRiskOutcome, "screening"), text("pass")) }

func treasurers(n uint8) Verdict {
	return Verdict{Effect: Require, Require: []Requirement{{"treasurers", n}}, InitiatorExcluded: true}
}

// payments is the policy of the specification's example.
func payments(t testing.TB) *Document {
	d := testPolicy()
	d.Guards = []Guard{{"known-bad", op(OpExists, op(OpTransfers), named(OpLabelled, "blocked", field("to", 0)))}}
	d.Rules = []Rule{
		{Name: "small", When: op(OpAnd, op(OpOnlyTransfers), total2(t), passes()), Then: Verdict{Effect: Allow}},
		{Name: "strangers", When: op(OpNot, recipientsKnown()), Then: Verdict{Effect: Deny}},
		{Name: "large", When: named(OpInGroup, "traders", op(OpInitiator)), Then: treasurers(2)},
		{Name: "emergency", When: op(OpEq, op(OpInitiator), text("bob")), Then: Verdict{Effect: Allow}, BreakGlass: true},
	}
	return checked(t, d)
}

func TestDecisions(t *testing.T) {
	d, roster := payments(t), testRoster(t)
	for name, c := range map[string]struct {
		in     Input
		allow  bool
		code   string
		rule   string
		detail []string
		fix    []string
	}{
		"small": {send(t, known, "1", screened(request.Pass)), true, CodeAllow, "small", []string{"rule small allows it"}, nil},
		"blocked": {send(t, alpha, "1", screened(request.Pass)), false, CodeGuard, "known-bad",
			[]string{"guard known-bad denies", "recipient 0x27b1fdb04752bbc536007a920d24acb045561c26 (blocked) is labelled blocked"}, []string{"a recipient that is not labelled blocked"}},
		"no verdict": {send(t, known, "1"), false, CodeRisk, "small", []string{"rule small waits: there is no verdict of risk engine screening yet"}, []string{"a verdict of risk engine screening"}},
		"large": {send(t, known, "5", screened(request.Pass), approved("bob")), false, CodeApprovals, "large",
			[]string{"rule small does not match: amount of ETH sent 5 ETH is above 2 ETH", "rule large needs 2 approvals from treasurers, 1 given (bob)"},
			[]string{"an amount of ETH sent of at most 2 ETH, or 1 more approval from treasurers (carol or dave)"}},
		"large and approved": {send(t, known, "5", screened(request.Pass), approved("bob", "carol")), true, CodeAllow, "large",
			[]string{"rule large needs 2 approvals from treasurers, 2 given (bob, carol)"}, nil},
		"stranger": {send(t, stranger, "5", screened(request.Pass)), false, CodeRule, "strangers",
			[]string{"rule strangers denies: recipient 0xde709f2102306220921060314715629080e2fb77 is not labelled known"}, []string{"a recipient labelled known"}},
		"somebody says no": {send(t, known, "5", screened(request.Pass), approved("bob", "dave"), denied("carol")), false, CodeDenied, "large",
			[]string{"carol of treasurers denied"}, []string{"a new request that carol does not deny"}},
		"emergency": {send(t, known, "5", by("bob"), screened(request.Pass)), true, CodeAllow, "emergency", nil, nil},
		"nobody's rule": {send(t, known, "5", by("erin"), screened(request.Pass)), false, CodeDefault, "",
			[]string{"what no rule allows is denied", "initiator erin is not in group traders"}, []string{"an amount of ETH sent of at most 2 ETH", "an initiator from group traders (alice or bot), with 2 approvals from treasurers"}},
		"held": {send(t, known, "1", by("erin"), screened(request.Hold, "velocity")), false, CodeRisk, "small",
			[]string{"rule small waits: risk engine screening says hold (velocity)"}, nil},
		"initiator cannot approve": {send(t, known, "5", by("alice"), screened(request.Pass), approved("alice", "bob")), false, CodeApprovals, "large",
			[]string{"not counted: alice proposed it"}, nil},
		"another chain":  {send(t, known, "1", func(in *Input) { in.Effects.Chain = "eip155:5" }), false, CodeEffects, effectsGuard, []string{"chain is eip155:5, the request says eip155:1"}, nil},
		"another sender": {send(t, known, "1", func(in *Input) { in.Effects.Sender = known }), false, CodeEffects, effectsGuard, []string{"sender is " + known}, nil},
		"a higher fee":   {send(t, known, "1", func(in *Input) { in.Effects.MaxFee = eths(t, "1") }), false, CodeEffects, effectsGuard, []string{"maximum fee is 1000000000000000000"}, nil},
		"undecoded":      {send(t, known, "1", screened(request.Pass), func(in *Input) { in.Effects.Undecoded = "method 0x12345678" }), false, CodeUndecoded, undecodedGuard, []string{"could not be understood: method 0x12345678"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := d.Evaluate(roster, c.in)
			if got.Allow != c.allow || got.Code != c.code || got.Rule != c.rule {
				t.Errorf("decided %t %s by %q, want %t %s by %q: %s", got.Allow, got.Code, got.Rule, c.allow, c.code, c.rule, got.Detail)
			}
			if pending := c.code == CodeRisk || c.code == CodeApprovals; got.Pending != pending {
				t.Errorf("pending is %t", got.Pending)
			}
			if got.BreakGlass != (c.rule == "emergency") {
				t.Errorf("break-glass is %t", got.BreakGlass)
			}
			wantText(t, "detail", got.Detail, c.detail...)
			wantText(t, "fix", got.Fix, c.fix...)
			if !got.Allow && got.Refusal().Code != got.Code {
				t.Errorf("refuses with %v", got.Refusal())
			}
		})
	}
}

func TestIncompleteInputs(t *testing.T) {
	d, roster := payments(t), testRoster(t)
	for name, in := range map[string]Input{
		"nothing": {}, "no effects": send(t, known, "1", func(in *Input) { in.Effects = nil }),
		"no request": send(t, known, "1", func(in *Input) { in.Request = nil }), "nobody": send(t, known, "1", func(in *Input) { in.Verified = nil }),
	} {
		if got := d.Evaluate(roster, in); got.Allow || got.Code != CodeInput {
			t.Errorf("%s: decided %+v", name, got)
		}
		d.Explain(roster, in)
	}
	in := send(t, known, "1")
	if got := d.Evaluate(nil, in); got.Code != CodeInput {
		t.Errorf("without a roster: %+v", got)
	}
	if got := (*Document)(nil).Evaluate(roster, in); got.Code != CodeInput {
		t.Errorf("without a policy: %+v", got)
	}
	if got := new(Document).Evaluate(roster, in); got.Allow || got.Code != CodeDefault || got.Pending {
		t.Errorf("an empty policy decided %+v", got)
	}
}

// A document that was never checked, with conditions that have no type, denies.
func TestUncheckedDocumentsDeny(t *testing.T) {
	roster, in := testRoster(t), send(t, known, "1")
	for name, e := range map[string]Expr{
		"nothing": {}, "unknown operator": {Op: 250}, "no operands": {Op: OpAnd}, "a number": number(1), "unbound": field("to", 0),
		"no label": named(OpLabelled, "nowhere", op(OpSender)), "no limit": named(OpWithin, "nowhere"), "list": op(OpTransfers),
		"not a list": op(OpAll, yes(), yes()), "no zone": {Op: OpDuring, Text: "Mars", Num: Hours{127, 0, 1440}.Num()}, "unknown asset": op(OpEq, ofAsset(OpTotal, "x"), ofAsset(OpTotal, "x")),
	} {
		for _, guard := range []bool{false, true} {
			d := &Document{Rules: []Rule{{Name: "it", When: e, Then: Verdict{Effect: Allow}}}}
			if guard {
				d.Guards, d.Rules[0].When = []Guard{{"guard", e}}, yes()
			}
			if got := d.Evaluate(roster, in); got.Allow || got.Code != CodeError {
				t.Errorf("%s: decided %+v", name, got)
			}
		}
	}
}

// An error denies at a guard and at a rule that is reached; what is before or
// absorbs it decides.
func TestErrorsFailClosed(t *testing.T) {
	roster := testRoster(t)
	bad := op(OpEq, op(OpDiv, number(1), number(0)), number(1))
	allow, deny := Verdict{Effect: Allow}, Verdict{Effect: Deny}
	for name, c := range map[string]struct {
		guards []Expr
		rules  []Rule
		code   string
	}{
		"guard":                  {[]Expr{bad}, []Rule{{Name: "a", When: yes(), Then: allow}}, CodeError},
		"guard after a match":    {[]Expr{yes(), bad}, nil, CodeGuard},
		"guard before a match":   {[]Expr{bad, yes()}, nil, CodeGuard},
		"guard beside waiting":   {[]Expr{passes(), bad}, nil, CodeError},
		"waiting guard":          {[]Expr{passes()}, []Rule{{Name: "a", When: yes(), Then: allow}}, CodeRisk},
		"absorbed by false":      {[]Expr{op(OpAnd, bad, no())}, []Rule{{Name: "a", When: yes(), Then: allow}}, CodeAllow},
		"absorbed by true":       {nil, []Rule{{Name: "a", When: op(OpOr, bad, yes()), Then: allow}}, CodeAllow},
		"not absorbed":           {nil, []Rule{{Name: "a", When: op(OpOr, bad, no()), Then: allow}}, CodeError},
		"rule":                   {nil, []Rule{{Name: "a", When: bad, Then: allow}, {Name: "b", When: yes(), Then: allow}}, CodeError},
		"denying rule":           {nil, []Rule{{Name: "a", When: bad, Then: deny}, {Name: "b", When: yes(), Then: allow}}, CodeError},
		"rule behind a match":    {nil, []Rule{{Name: "a", When: yes(), Then: allow}, {Name: "b", When: bad, Then: deny}}, CodeAllow},
		"waiting rule":           {nil, []Rule{{Name: "a", When: passes(), Then: deny}, {Name: "b", When: yes(), Then: allow}}, CodeRisk},
		"waiting before error":   {nil, []Rule{{Name: "a", When: op(OpAnd, bad, passes()), Then: allow}}, CodeRisk},
		"strict: error is first": {nil, []Rule{{Name: "a", When: op(OpEq, op(OpIf, passes(), number(1), number(2)), op(OpDiv, number(1), number(0))), Then: allow}}, CodeError},
	} {
		d := testPolicy()
		for i, e := range c.guards {
			d.Guards = append(d.Guards, Guard{string(rune('g' + i)), e})
		}
		d.Rules = c.rules
		got := checked(t, d).Evaluate(roster, send(t, known, "1"))
		if got.Code != c.code || got.Allow != (c.code == CodeAllow) {
			t.Errorf("%s: decided %+v, want %s", name, got, c.code)
		}
		if got.Code == CodeError {
			wantText(t, name, got.Detail, "1 / 0 divides by zero")
		}
	}
}

// What cannot be computed says what, with values in people's units.
func TestErrorsSayWhat(t *testing.T) {
	roster := testRoster(t)
	most := Expr{Op: OpAmount, Num: *new(chain.Amount).SetAllOne(), Asset: eth}
	most2 := Expr{Op: OpUint, Num: *new(chain.Amount).SetAllOne()}
	two := send(t, known, "1", also(stranger, eth, *new(chain.Amount).SetAllOne()))
	one := send(t, known, "1", calls(swapper, "swap(address,uint256)", chain.Arg{Path: "amount", Kind: chain.ArgText, Text: "-1"}))
	for name, c := range map[string]struct {
		in   Input
		e    Expr
		want string
	}{
		"sum":           {one, op(OpGt, op(OpAdd, most, ofAsset(OpTotal, eth)), most), "+ 1 ETH is above 2^256-1"},
		"product":       {one, op(OpGt, op(OpMul, most2, number(2)), number(1)), "* 2 is above 2^256-1"},
		"difference":    {one, op(OpGt, op(OpSub, ofAsset(OpTotal, eth), Expr{Op: OpAmount, Num: eths(t, "3"), Asset: eth}), amountOf(1, eth)), "1 ETH - 3 ETH is below zero"},
		"remainder":     {one, op(OpGt, op(OpMod, number(7), number(0)), number(1)), "7 % 0 divides by zero"},
		"of amounts":    {one, op(OpGt, op(OpDiv, amountOf(7, eth), amountOf(0, eth)), number(1)), "divides by zero"},
		"assets":        {one, op(OpLt, ofAsset(OpTotal, eth), Expr{Op: OpAmount, Num: eths(t, "5"), Asset: dai}), "1 ETH and 5 DAI are amounts of different assets"},
		"assets, sum":   {one, op(OpLt, op(OpAdd, ofAsset(OpTotal, eth), ofAsset(OpTotal, dai)), ofAsset(OpTotal, eth)), "1 ETH and 0 DAI are amounts of different assets"},
		"total":         {two, op(OpLt, ofAsset(OpTotal, eth), amountOf(1, eth)), "the sum of ETH is above 2^256-1"},
		"no argument":   {one, op(OpAll, op(OpCalls), op(OpLt, named(OpArgUint, "price"), number(1))), `the call of swap(address,uint256) has no argument "price" that is read with .uint`},
		"its kind":      {one, op(OpAll, op(OpCalls), op(OpLt, named(OpArgUint, "amount"), number(1))), `no argument "amount" that is read with .uint`},
		"no message":    {one, op(OpEq, op(OpMessageType), text("Permit")), "it is no message: it has no message.type"},
		"no field":      {send(t, "", "", func(in *Input) { in.Effects.Message = &chain.Message{Type: "Permit"} }), op(OpLt, named(OpMessageUint, "value"), number(1)), `the message has no field "value"`},
		"zone expired":  {send(t, known, "1", at(1824940800_000)), Expr{Op: OpDuring, Text: "Europe/Zurich", Num: Hours{127, 0, 1440}.Num()}, "zone Europe/Zurich is known only until 2027-10-31T"},
		"no value":      {send(t, known, "1", also(known, "eip155:1/erc20:0x52908400098527886E0F7030069857D2E4169EE7", num(1))), op(OpGt, op(OpValue), money(1)), "is not one of this policy's assets, so it has no value"},
		"no ledger":     {send(t, known, "1", ledger(nil)), named(OpWithin, "daily"), "limit daily cannot be counted: there is no ledger"},
		"calendar zone": {send(t, known, "1", at(1824940800_000), quoted("desk", 1000, 0), quoted("feed", 1000, 0)), named(OpWithin, "monthly"), "limit monthly cannot be counted: zone Europe/Zurich is known only until"},
	} {
		got := when(t, c.e).Evaluate(roster, c.in)
		if got.Allow || got.Pending || got.Code != CodeError {
			t.Errorf("%s: decided %+v", name, got)
		}
		wantText(t, name, got.Detail, c.want)
	}
}

// The number of allocations does not depend on the number of rules.
func TestAllocationsDoNotGrow(t *testing.T) {
	roster := testRoster(t)
	in := send(t, known, "1", screened(request.Pass))
	var counts []float64
	for _, rules := range []int{20, 200} {
		d := testPolicy()
		for i := range rules {
			e := op(OpAnd, op(OpOnlyTransfers), recipientsKnown(), passes(), named(OpWithin, "daily"), named(OpWithin, "rate"),
				op(OpLt, ofAsset(OpTotal, eth), amountOf(uint64(i), eth)))
			if i == rules-1 {
				e = op(OpAnd, recipientsKnown(), passes(), named(OpWithin, "daily"), named(OpWithin, "rate"))
			}
			d.Rules = append(d.Rules, Rule{Name: "r" + strings.Repeat("x", i%50) + string(rune('a'+i/50)), When: e, Then: Verdict{Effect: Allow}})
		}
		d.Limits[0].Max = eths(t, "5")
		d = checked(t, d)
		if got := d.Evaluate(roster, in); !got.Allow || len(got.Limits) != 2 {
			t.Fatalf("decided %+v", got)
		}
		counts = append(counts, testing.AllocsPerRun(50, func() { d.Evaluate(roster, in) }))
	}
	if counts[0] != counts[1] {
		t.Errorf("%v allocations with 20 and 200 rules, want as many", counts)
	}
}

// A verdict that is ignored says why.
func TestIgnoredVerdict(t *testing.T) {
	in := send(t, known, "1", func(in *Input) {
		in.Verified.Ignored = []identity.Ignored{{Principal: "screening", Why: "the verdict expired"}}
	})
	wantText(t, "detail", payments(t).Evaluate(testRoster(t), in).Detail, "no verdict of risk engine screening yet (the verdict expired)")
}

// Arguments of calls and fields of messages are read in their kind.
func TestArguments(t *testing.T) {
	args := []chain.Arg{{Path: "n", Kind: chain.ArgUint, Uint: num(7)}, {Path: "to", Kind: chain.ArgAddress, Text: known}, {Path: "s", Kind: chain.ArgText, Text: "x"},
		{Path: "on", Kind: chain.ArgFlag, Uint: num(1)}, {Path: "off", Kind: chain.ArgFlag}, {Path: "b", Kind: chain.ArgBytes, Text: "0x01"}}
	call := send(t, "", "", calls(swapper, "swap(address,uint256)", args...))
	message := send(t, "", "", func(in *Input) { in.Effects.Message = &chain.Message{Type: "Permit", Fields: args} })
	for _, c := range []struct {
		in   Input
		e    Expr
		want string
	}{
		{call, op(OpAll, op(OpCalls), named(OpArgFlag, "on")), CodeAllow}, {call, op(OpAll, op(OpCalls), named(OpArgFlag, "off")), CodeDefault},
		{call, op(OpAll, op(OpCalls), named(OpArgFlag, "n")), CodeError}, {message, named(OpMessageFlag, "on"), CodeAllow}, {message, named(OpMessageFlag, "off"), CodeDefault},
		{call, op(OpAll, op(OpCalls), op(OpEq, named(OpArgUint, "n"), number(7))), CodeAllow}, {message, op(OpEq, named(OpMessageUint, "n"), number(8)), CodeDefault},
		{call, op(OpAll, op(OpCalls), op(OpEq, named(OpArgAddress, "to"), text(known))), CodeAllow}, {call, op(OpAll, op(OpCalls), op(OpEq, named(OpArgAddress, "s"), text(known))), CodeError},
		{message, op(OpEq, named(OpMessageText, "s"), text("x")), CodeAllow}, {message, op(OpEq, named(OpMessageText, "b"), text("0x01")), CodeAllow}, {message, op(OpEq, named(OpMessageText, "to"), text("x")), CodeError},
	} {
		if got := when(t, c.e).Evaluate(testRoster(t), c.in); got.Code != c.want {
			t.Errorf("%s: decided %+v, want %s", testPolicy().Format(&c.e), got, c.want)
		}
	}
}
