package policy

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

// gen draws expressions of a type. Small pools make equal values common.
type gen struct {
	t     *rapid.T
	bound []Type
	depth int
}

func (g *gen) pick(label string, list ...string) string {
	return rapid.SampledFrom(list).Draw(g.t, label)
}

var (
	poolAccounts = []string{wallet, known, stranger, alpha}
	poolPeople   = []string{"alice", "bob", "carol", "bot"}
	poolPaths    = []string{"amount", "to", "name", "final"}
	poolMethods  = []string{"transfer(address,uint256)", "swap(address,uint256)", "pause()"}
)

func poolNumber(t *rapid.T) chain.Amount {
	switch rapid.IntRange(0, 9).Draw(t, "size") {
	case 0:
		return *new(chain.Amount).SetAllOne()
	case 1:
		return *new(chain.Amount).Rsh(new(chain.Amount).SetAllOne(), 1)
	case 2:
		return num(1_000_000_000_000_000_000)
	}
	return num(rapid.Uint64Range(0, 6).Draw(t, "n"))
}

func (g *gen) args(n int, types ...Type) []Expr {
	var out []Expr
	for i := range n {
		out = append(out, g.of(types[min(i, len(types)-1)]))
	}
	return out
}

// of draws an expression of a type.
func (g *gen) of(want Type) Expr {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth < 5 && rapid.IntRange(0, 4).Draw(g.t, "deeper") > 0 {
		if e, ok := g.composite(want); ok {
			return e
		}
	}
	return g.leaf(want)
}

func (g *gen) composite(want Type) (Expr, bool) {
	draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "op") }
	if draw(12) == 0 {
		return op(OpIf, g.args(3, TypeBool, want)...), true
	}
	switch want {
	case TypeBool:
		switch draw(8) {
		case 0, 1:
			return chained([]Op{OpAnd, OpOr}[draw(2)], g.args(2+draw(2), TypeBool)...), true
		case 2:
			return op(OpNot, g.of(TypeBool)), true
		case 3, 4:
			t := []Type{TypeBool, TypeUint, TypeAmount, TypeMoney}[draw(4)]
			o := OpEq + Op(draw(6))
			if t == TypeBool {
				o = OpEq + Op(draw(2))
			}
			return op(o, g.args(2, t)...), true
		}
		return g.quantifier(OpAll + Op(draw(3))), true
	case TypeUint:
		switch draw(4) {
		case 0:
			return g.quantifier(OpCount), true
		case 1:
			return op(OpDiv, g.args(2, []Type{TypeAmount, TypeMoney}[draw(2)])...), true
		}
		return op(OpAdd+Op(draw(5)), g.args(2, TypeUint)...), true
	case TypeAmount, TypeMoney:
		switch draw(4) {
		case 0:
			return op([]Op{OpMul, OpDiv}[draw(2)], g.args(2, want, TypeUint)...), true
		case 1:
			return op(OpMul, g.args(2, TypeUint, want)...), true
		}
		return op([]Op{OpAdd, OpSub, OpMod}[draw(3)], g.args(2, want)...), true
	}
	return Expr{}, false
}

func (g *gen) quantifier(o Op) Expr {
	list := rapid.IntRange(0, 4).Draw(g.t, "list")
	e := op(o, op(OpTransfers+Op(list)))
	switch {
	case len(g.bound) < MaxNesting:
	case o == OpCount:
		return number(1)
	default:
		return yes()
	}
	if o == OpCount && rapid.Bool().Draw(g.t, "size") {
		return e
	}
	g.bound = append(g.bound, TypeTransfers+Type(list))
	e.Args = append(e.Args, g.of(TypeBool))
	g.bound = g.bound[:len(g.bound)-1]
	return e
}

// variable draws a read of a bound variable, if there is one of the type.
func (g *gen) variable(want Type) (Expr, bool) {
	if len(g.bound) == 0 || rapid.IntRange(0, 2).Draw(g.t, "variable") == 0 {
		return Expr{}, false
	}
	depth := rapid.IntRange(0, len(g.bound)-1).Draw(g.t, "bound")
	list := g.bound[len(g.bound)-1-depth]
	var names []string
	for name, t := range list.Fields() {
		if t == want {
			names = append(names, name)
		}
	}
	switch {
	case list == TypeApprovers && want == TypeText:
		return Expr{Op: OpItem, Depth: uint8(depth)}, true
	case list == TypeCalls && want != TypeText && rapid.Bool().Draw(g.t, "argument") && (want == TypeUint || want == TypeBool):
		o := OpArgUint
		if want == TypeBool {
			o = OpArgFlag
		}
		return Expr{Op: o, Text: g.pick("path", poolPaths...), Depth: uint8(depth)}, true
	case len(names) == 0 || want == TypeText:
		return Expr{}, false
	}
	for i := range names { // maps have no order
		for j := range i {
			if names[i] < names[j] {
				names[i], names[j] = names[j], names[i]
			}
		}
	}
	return field(g.pick("field", names...), depth), true
}

func (g *gen) leaf(want Type) Expr {
	if e, ok := g.variable(want); ok {
		return e
	}
	draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "leaf") }
	asset := g.pick("asset", eth, dai)
	switch want {
	case TypeBool:
		return g.leafBool(draw(16))
	case TypeUint:
		switch draw(5) {
		case 0:
			return named(OpRiskScore, "screening")
		case 1:
			return named(OpUsed, "rate")
		case 2:
			return named(OpMessageUint, g.pick("path", poolPaths...))
		}
		return Expr{Op: OpUint, Num: poolNumber(g.t)}
	case TypeAmount:
		switch draw(6) {
		case 0:
			return ofAsset(OpTotal, asset)
		case 1:
			return ofAsset(OpReceived, asset)
		case 2:
			return named(OpUsed, g.pick("limit", "daily", "plain"))
		case 3:
			return op(OpFee)
		}
		return Expr{Op: OpAmount, Num: poolNumber(g.t), Asset: asset}
	}
	switch draw(3) {
	case 0:
		return op(OpValue)
	case 1:
		return named(OpUsed, g.pick("limit", "monthly", "spread"))
	}
	return Expr{Op: OpMoney, Num: poolNumber(g.t)}
}

func (g *gen) leafBool(n int) Expr {
	account := func() Expr {
		if len(g.bound) > 0 {
			switch g.bound[len(g.bound)-1] {
			case TypeTransfers:
				return field(g.pick("account", "from", "to"), 0)
			case TypeAllowances:
				return field(g.pick("account", "owner", "spender"), 0)
			case TypeCalls:
				if rapid.Bool().Draw(g.t, "argument") {
					return named(OpArgAddress, g.pick("path", poolPaths...))
				}
				return field(g.pick("account", "from", "to"), 0)
			}
		}
		return op(g.pick2(OpSender, OpMessageContract))
	}
	who := op(OpInitiator)
	for i := range g.bound {
		if g.bound[len(g.bound)-1-i] == TypeApprovers {
			who = Expr{Op: OpItem, Depth: uint8(i)}
		}
	}
	switch n {
	case 0:
		return named(OpWithin, g.pick("limit", "daily", "monthly", "plain", "rate", "spread"))
	case 1:
		return op(OpOnlyTransfers)
	case 2:
		return named(OpLabelled, g.pick("label", "known", "blocked"), account())
	case 3:
		return Expr{Op: OpIn, Args: []Expr{account()}, Set: []string{wallet, known}}
	case 4:
		return named(OpInGroup, g.pick("group", "traders", "treasurers"), who)
	case 5:
		return named(OpHasRole, g.pick("role", "proposer", "viewer"), who)
	case 6:
		return op(OpEq, who, text(g.pick("who", poolPeople...)))
	case 7:
		return op(OpNe, named(OpRiskOutcome, "screening"), text(g.pick("outcome", "pass", "hold", "deny")))
	case 8:
		h := Hours{uint8(rapid.IntRange(1, 127).Draw(g.t, "days")), uint16(rapid.IntRange(0, 1439).Draw(g.t, "from")), uint16(rapid.IntRange(1, 1440).Draw(g.t, "to"))}
		if h.From == h.To {
			h.To++
		}
		return Expr{Op: OpDuring, Text: g.pick("zone", "Europe/Zurich", "UTC"), Num: h.Num()}
	case 9:
		return Expr{Op: g.pick2(OpBefore, OpAfter), Num: num(testNow/1000 + rapid.Uint64Range(0, 2).Draw(g.t, "s"))}
	case 10:
		return op(OpMessagePresent)
	case 11:
		return op(OpEq, op(OpMessageType), text("Permit"))
	case 12:
		return op(OpEq, op(OpChain), text("eip155:1"))
	case 13:
		return named(OpMessageFlag, g.pick("path", poolPaths...))
	case 14:
		return op(OpEq, account(), text(g.pick("account", poolAccounts...)))
	}
	return Expr{Op: OpBool, Num: num(rapid.Uint64Range(0, 1).Draw(g.t, "bool"))}
}

func (g *gen) pick2(a, b Op) Op {
	if rapid.Bool().Draw(g.t, "which") {
		return a
	}
	return b
}

func genArgs(t *rapid.T) []chain.Arg {
	var out []chain.Arg
	for _, path := range poolPaths {
		switch kind := chain.ArgKind(rapid.IntRange(0, 5).Draw(t, "kind")); kind {
		case 0:
		case chain.ArgUint:
			out = append(out, chain.Arg{Path: path, Kind: kind, Uint: poolNumber(t)})
		case chain.ArgFlag:
			out = append(out, chain.Arg{Path: path, Kind: kind, Uint: num(rapid.Uint64Range(0, 1).Draw(t, "flag"))})
		default:
			out = append(out, chain.Arg{Path: path, Kind: kind, Text: rapid.SampledFrom(poolAccounts).Draw(t, "arg")})
		}
	}
	return out
}

func genInput(t *rapid.T) Input {
	account := func() string { return rapid.SampledFrom(poolAccounts).Draw(t, "account") }
	asset := func() string {
		return rapid.SampledFrom([]string{eth, dai, "eip155:1/erc20:0x52908400098527886E0F7030069857D2E4169EE7"}).Draw(t, "asset")
	}
	count := func(what string) int { return rapid.IntRange(0, 3).Draw(t, what) }
	f := &chain.Effects{Chain: testChain, Sender: wallet}
	for range count("transfers") {
		f.Transfers = append(f.Transfers, chain.Transfer{From: rapid.SampledFrom([]string{wallet, wallet, wallet, known}).Draw(t, "from"), To: account(), Asset: asset(), Amount: poolNumber(t)})
		if rapid.IntRange(0, 15).Draw(t, "creates") == 0 {
			f.Transfers[len(f.Transfers)-1].To = "" // where a contract is created
		}
	}
	for range rapid.IntRange(0, 1).Draw(t, "allowances") {
		f.Approvals = append(f.Approvals, chain.Approval{Owner: wallet, Spender: account(), Asset: asset(), Amount: poolNumber(t)})
	}
	for range count("calls") {
		f.Calls = append(f.Calls, chain.Call{From: wallet, To: rapid.SampledFrom([]string{swapper, known}).Draw(t, "to"), Method: rapid.SampledFrom(poolMethods).Draw(t, "method"), Value: poolNumber(t), Args: genArgs(t)})
	}
	if rapid.IntRange(0, 5).Draw(t, "creation") == 0 {
		f.Creates = []chain.Creation{{Value: poolNumber(t)}}
	}
	if rapid.IntRange(0, 3).Draw(t, "message") == 0 {
		f.Message = &chain.Message{Type: "Permit", Name: "n", Version: "1", Contract: account(), Fields: genArgs(t)}
	}
	in := Input{
		Request:  &request.Request{Chain: testChain, Sender: wallet, MaxFee: poolNumber(t), Initiator: "alice", Wallet: [32]byte{byte(count("wallet"))}},
		Effects:  f,
		Verified: &identity.Verified{Initiator: rapid.SampledFrom(poolPeople).Draw(t, "initiator")},
		Now:      testNow + rapid.Uint64Range(0, 14*86_400_000).Draw(t, "now"),
	}
	in.Verified.Approvers = rapid.SampledFrom([][]string{nil, {"bob"}, {"bob", "carol"}, {"alice", "bob", "carol"}}).Draw(t, "approvers")
	if o := request.Outcome(count("outcome")); o != 0 {
		in.Verified.Risk = []identity.RiskResult{{Engine: "screening", Outcome: o, Score: uint16(count("score"))}}
	}
	if rapid.IntRange(0, 15).Draw(t, "late") == 0 {
		in.Now = rapid.SampledFrom([]uint64{2_000_000_000_000, 4_200_000_000_000}).Draw(t, "future") // no longer in one zone, in both
	}
	genPrices(t, &in)
	if rapid.IntRange(0, 15).Draw(t, "ledger") > 0 {
		genLedger(t, &in)
	}
	return in
}

func genPrices(t *rapid.T, in *Input) {
	for _, source := range []string{"desk", "feed", "third"} {
		p := identity.Price{Source: source, Currency: "USD", Time: in.Now - rapid.SampledFrom([]uint64{0, 600_000, 600_001}).Draw(t, "age")}
		for _, a := range []string{dai, eth} {
			price := num(rapid.SampledFrom([]uint64{100, 102, 103, 105}).Draw(t, "price"))
			price.Mul(&price, new(chain.Amount).Exp(ref(10), ref(13)))
			if rapid.IntRange(0, 15).Draw(t, "high") == 0 {
				price.SetAllOne()
			}
			p.Assets = append(p.Assets, request.AssetPrice{Asset: a, Price: price})
		}
		if rapid.IntRange(0, 3).Draw(t, "there") > 0 {
			in.Verified.Prices = append(in.Verified.Prices, p)
		}
	}
}

func genLedger(t *rapid.T, in *Input) {
	l := MemoryLedger{}
	for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
		m := &Movement{Initiator: rapid.SampledFrom(poolPeople).Draw(t, "initiator"), Chain: testChain, Currency: "USD"}
		m.Moves, _ = sortMoves([]Move{{rapid.SampledFrom([]string{eth, dai}).Draw(t, "asset"), rapid.SampledFrom(poolAccounts).Draw(t, "to"), poolNumber(t), poolNumber(t)}})
		if m.Currency = rapid.SampledFrom([]string{"USD", "USD", "EUR", ""}).Draw(t, "currency"); m.Currency == "" {
			m.Moves[0].Money.Clear()
		}
		l = append(l, LedgerEntry{
			Request: [32]byte{byte(i + 1)}, Wallet: [32]byte{byte(rapid.IntRange(0, 3).Draw(t, "wallet"))},
			Time: in.Now - rapid.SampledFrom([]uint64{0, 3_600_000, 3_660_000, 3_660_001, 86_400_000, 86_460_000, 86_460_001, 30 * 86_400_000}).Draw(t, "ago"), Movement: m,
		})
	}
	in.Ledger = l
}

// genPolicy is the head of every drawn policy.
func genPolicy() *Document {
	d := testPolicy()
	d.Limits = append(d.Limits,
		Limit{Name: "plain", Measure: MeasureAmount, Asset: dai, Window: Window{Kind: Calendar, Unit: Week, Zone: "Europe/Zurich"}, Max: num(7)},
		Limit{Name: "spread", Measure: MeasureMoney, Per: []Scope{PerAsset, PerInitiator, PerDestination}, Window: Window{Kind: Calendar, Unit: Day, Zone: "UTC"}, Max: num(9)})
	d.Prices.Sources = []string{"desk", "feed", "third"}
	d.Sort()
	return d
}

func TestEvaluateAgreesWithReference(t *testing.T) {
	roster := testRoster(t)
	agree := func(t *rapid.T) Truth {
		d := genPolicy()
		e := (&gen{t: t}).of(TypeBool)
		d.Rules = []Rule{{Name: "it", When: e, Then: Verdict{Effect: Allow}}}
		if err := d.checkForm(); err != nil {
			t.Fatalf("%s: %v", d.Format(&e), err)
		}
		in := genInput(t)
		r := &reference{d: d, ro: roster, in: in}
		want := r.eval(&e)
		expect := want.state
		if want.state == True {
			expect = truth(want.b)
		}
		d.Compile()
		run := newEvaluation(d, d.program(), roster, in)
		got := run.boolean(&d.program().rules[0])
		if got != expect {
			t.Fatalf("%s\n is %s, the reference says %s", d.Format(&e), got, expect)
		}
		if again := run.boolean(&d.program().rules[0]); again != got {
			t.Fatalf("%s\n is %s, and %s the second time", d.Format(&e), got, again)
		}
		x := newEvaluation(d, d.program(), roster, in).explain(&d.program().rules[0])
		if x.Value != got {
			t.Fatalf("%s\n is %s, the explanation says %s: %s", d.Format(&e), got, x.Value, x.Detail)
		}
		if x.Detail == "" {
			t.Fatalf("%s\n is %s for no reason", d.Format(&e), got)
		}
		if strings.Contains(x.Detail, "has no meaning here") || strings.Contains(x.Detail, "unknown") {
			t.Fatalf("%s\n is %s: %s", d.Format(&e), got, x.Detail)
		}
		return got
	}
	rapid.Check(t, func(t *rapid.T) { agree(t) })
	lookedAtAll(t, agree)
}

// lookedAtAll fails unless drawn conditions take all four values, so that the test
// does not look at too little. The draws are the same in every run.
func lookedAtAll(t *testing.T, draw func(*rapid.T) Truth) {
	t.Helper()
	conditions, seen := rapid.Custom(draw), map[Truth]int{}
	for seed := range 300 {
		seen[conditions.Example(seed)]++
	}
	if len(seen) != 4 {
		t.Errorf("conditions were %v, want all four values", seen)
	}
}

// Every decision is the same for a compiled document, one that is compiled at
// each evaluation, and one that was encoded and decoded; and none that is not an
// approval lacks a reason.
func TestDecisionsAreStable(t *testing.T) {
	roster := testRoster(t)
	rapid.Check(t, func(t *rapid.T) {
		d := genPolicy()
		g := &gen{t: t}
		d.Guards = []Guard{{"guard", chained(OpAnd, g.of(TypeBool), g.of(TypeBool))}}
		d.Rules = []Rule{
			{Name: "first", When: g.of(TypeBool), Then: Verdict{Effect: Require, Require: []Requirement{{"treasurers", 2}}}},
			{Name: "second", When: g.of(TypeBool), Then: Verdict{Effect: Allow}, BreakGlass: true},
		}
		in := genInput(t)
		in.Request.MaxFee = in.Effects.MaxFee
		plain := d.Evaluate(roster, in)
		again, err := DecodeDocument(d.Encode())
		if err != nil {
			t.Fatal(err)
		}
		again.Compile()
		if got := again.Evaluate(roster, in); !reflect.DeepEqual(got, plain) {
			t.Fatalf("decided %+v, and after a round trip %+v", plain, got)
		}
		if !plain.Allow && (plain.Detail == "" || plain.Code == "") || plain.Allow && plain.Pending {
			t.Fatalf("decided %+v", plain)
		}
		r := &reference{d: d, ro: roster, in: in}
		if g := r.eval(&d.Guards[0].When); plain.Allow && (g.state != True || g.b) {
			t.Fatalf("allowed although the guard is %v: %+v", g, plain)
		}
		x := again.Explain(roster, in)
		if !reflect.DeepEqual(x.Decision, plain) {
			t.Fatalf("explains another decision: %+v, not %+v", x.Decision, plain)
		}
	})
}

// chained has the operands of operands by the same operator in their place, as
// documents must.
func chained(o Op, args ...Expr) Expr {
	out := Expr{Op: o}
	for _, e := range args {
		if e.Op == o {
			out.Args = append(out.Args, e.Args...)
		} else {
			out.Args = append(out.Args, e)
		}
	}
	return out
}
