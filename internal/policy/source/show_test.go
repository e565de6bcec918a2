package source

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// same checks that a document survives both forms.
func same(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *policy.Document) {
	t.Helper()
	for _, text := range [][]byte{YAML(d), JSON(d)} {
		again, err := Compile(text, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again.Root() != d.Root() {
			t.Fatalf("another root after\n%s\nwhich gives\n%s", text, YAML(again))
		}
	}
}

func TestShow(t *testing.T) {
	d := MustCompile(sample)
	same(t, d)
	text := string(YAML(d))
	for _, want := range []string{
		"  DAI: {id: eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F, decimals: 18}\n",
		"  - {name: daily, max: 10 ETH, per: [wallet, initiator], window: 24h}\n",
		"  Europe/Zurich: 2030\n",
		"      && fee <= amount(\"0.05 ETH\")\n",
		"      && wallet == \"treasury\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
}

// A zone that another version of the tz database compiled is shown step by step.
func TestShowForeignZone(t *testing.T) {
	d := MustCompile(sample)
	d.Zones[0].Steps[1].Offset += 900
	text := string(YAML(d))
	if !strings.Contains(text, "{from: \"2020-03-29T01:00:00Z\", offset: 8100}") {
		t.Errorf("the steps are not shown:\n%s", text)
	}
	same(t, d)
}

func TestRoundTrip(t *testing.T) {
	base := MustCompile(sample)
	rapid.Check(t, func(t *rapid.T) {
		d := *base
		g := &generator{t: t}
		d.Guards = []policy.Guard{{Name: "g", When: g.expr(policy.TypeBool, 4)}}
		d.Rules = []policy.Rule{{Name: "r", When: g.expr(policy.TypeBool, 4), Then: g.verdict(), BreakGlass: false}}
		d.Invariants = []policy.Invariant{{Name: "i", When: g.expr(policy.TypeBool, 3), AtLeast: policy.Floor{Approvals: uint8(1 + g.n(16)), InitiatorExcluded: g.n(2) == 1}}}
		d.Limits = slices.Clone(d.Limits)
		d.Limits[0].Max.SetUint64(rapid.Uint64().Draw(t, "max"))
		d.Limits[1].Max.SetUint64(rapid.Uint64().Draw(t, "money"))
		d.Limits[2].Window.Length = 1 + rapid.Uint64Range(0, 1000000).Draw(t, "window")
		d.Prices.Tolerance = uint16(g.n(10001))
		decoded, err := policy.DecodeDocument(d.Encode())
		if err != nil {
			t.Fatalf("the generator makes what is no document: %v", err)
		}
		same(t, decoded)
	})
}

// generator makes random trees that the document allows.
type generator struct {
	t     *rapid.T
	bound []policy.Op
}

func (g *generator) n(most int) int { return rapid.IntRange(0, most-1).Draw(g.t, "n") }

func (g *generator) number() (a chain.Amount) {
	for i := range a {
		if i == 0 || g.n(4) == 0 {
			a[i] = rapid.Uint64().Draw(g.t, "word")
		}
	}
	return a
}

func (g *generator) verdict() policy.Verdict {
	switch g.n(3) {
	case 0:
		return policy.Verdict{Effect: policy.Allow}
	case 1:
		return policy.Verdict{Effect: policy.Deny}
	}
	return policy.Verdict{Effect: policy.Require, Require: []policy.Requirement{{Group: "on", Count: 2}, {Group: "treasurers", Count: 16}}, InitiatorExcluded: g.n(2) == 0}
}

const (
	ethID    = "eip155:1/slip44:60"
	daiID    = "eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F"
	someone  = "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D"
	walletID = "00000000000000000000000000000000000000000000000000000000000000aa"
)

func leaf(op policy.Op) policy.Expr { return policy.Expr{Op: op} }

func (g *generator) expr(t policy.Type, depth int) policy.Expr {
	switch t {
	case policy.TypeBool:
		return g.condition(depth)
	case policy.TypeUint:
		return g.uint(depth)
	case policy.TypeAmount:
		return g.quantity(depth, policy.TypeAmount)
	default:
		return g.quantity(depth, policy.TypeMoney)
	}
}

func (g *generator) condition(depth int) policy.Expr {
	if depth == 0 {
		switch g.n(5) {
		case 0:
			return policy.Expr{Op: policy.OpBool, Num: number(g.n(2) == 0)}
		case 1:
			return leaf(policy.OpOnlyTransfers)
		case 2:
			return policy.Expr{Op: policy.OpWithin, Text: "daily"}
		case 3:
			return policy.Expr{Op: policy.OpDuring, Text: "Europe/Zurich", Num: policy.Hours{Days: uint8(1 + g.n(127)), From: uint16(g.n(700)), To: uint16(701 + g.n(740))}.Num()}
		}
		return policy.Expr{Op: policy.OpBefore, Num: *new(chain.Amount).SetUint64(uint64(g.n(253402300799)))}
	}
	switch g.n(9) {
	case 0, 1:
		op := policy.OpAnd + policy.Op(g.n(2))
		e := policy.Expr{Op: op}
		for range 2 + g.n(2) {
			s := g.condition(depth - 1)
			if s.Op == op { // brackets within a chain mean nothing and are not kept
				s = policy.Expr{Op: policy.OpNot, Args: []policy.Expr{s}}
			}
			e.Args = append(e.Args, s)
		}
		return e
	case 2:
		return policy.Expr{Op: policy.OpNot, Args: []policy.Expr{g.condition(depth - 1)}}
	case 3:
		return policy.Expr{Op: policy.OpIf, Args: []policy.Expr{g.condition(depth - 1), g.condition(depth - 1), g.condition(depth - 1)}}
	case 4:
		return g.quantified([]policy.Op{policy.OpAll, policy.OpExists, policy.OpExistsOne}[g.n(3)], depth)
	case 5:
		return g.texts()
	default:
		t := []policy.Type{policy.TypeUint, policy.TypeAmount, policy.TypeMoney, policy.TypeBool}[g.n(4)]
		op := policy.OpEq + policy.Op(g.n(6))
		if t == policy.TypeBool {
			op = policy.OpEq + policy.Op(g.n(2))
		}
		return policy.Expr{Op: op, Args: []policy.Expr{g.expr(t, depth-1), g.expr(t, depth-1)}}
	}
}

func (g *generator) quantified(op policy.Op, depth int) policy.Expr {
	list := policy.OpTransfers + policy.Op(g.n(5))
	e := policy.Expr{Op: op, Args: []policy.Expr{leaf(list)}}
	if len(g.bound) == policy.MaxNesting || op == policy.OpCount && g.n(2) == 0 {
		return policy.Expr{Op: policy.OpEq, Args: []policy.Expr{{Op: policy.OpCount, Args: e.Args}, {Op: policy.OpUint}}}
	}
	g.bound = append(g.bound, list)
	e.Args = append(e.Args, g.condition(depth-1))
	g.bound = g.bound[:len(g.bound)-1]
	if op == policy.OpCount {
		return policy.Expr{Op: policy.OpEq, Args: []policy.Expr{e, {Op: policy.OpUint}}}
	}
	return e
}

// texts makes conditions on texts, of what is bound where something is.
func (g *generator) texts() policy.Expr {
	text := func(s string) policy.Expr { return policy.Expr{Op: policy.OpText, Text: s} }
	eq := func(a, b policy.Expr) policy.Expr { return policy.Expr{Op: policy.OpEq, Args: []policy.Expr{a, b}} }
	if len(g.bound) > 0 {
		depth := g.n(len(g.bound))
		field := func(name string) policy.Expr { return policy.Expr{Op: policy.OpField, Text: name, Depth: uint8(depth)} }
		switch g.bound[len(g.bound)-1-depth] {
		case policy.OpTransfers:
			return eq(field("asset"), text(daiID))
		case policy.OpAllowances:
			return field("unlimited")
		case policy.OpCalls:
			return []policy.Expr{
				{Op: policy.OpIn, Args: []policy.Expr{field("method")}, Set: []string{"0x12345678", "f(address,uint256)"}},
				{Op: policy.OpArgFlag, Text: "exact", Depth: uint8(depth)},
				eq(policy.Expr{Op: policy.OpArgText, Text: "m[0].x", Depth: uint8(depth)}, text(`a "quoted" \ text: #é`)),
				{Op: policy.OpLabelled, Text: "known", Args: []policy.Expr{{Op: policy.OpArgAddress, Text: "to", Depth: uint8(depth)}}},
			}[g.n(4)]
		case policy.OpApprovers:
			return policy.Expr{Op: policy.OpInGroup, Text: "true", Args: []policy.Expr{{Op: policy.OpItem, Depth: uint8(depth)}}}
		}
	}
	return []policy.Expr{
		eq(leaf(policy.OpWallet), text(walletID)),
		eq(text(strings.Repeat("0", 64)), leaf(policy.OpWallet)),
		{Op: policy.OpIn, Args: []policy.Expr{leaf(policy.OpChain)}, Set: []string{"eip155:1", "eip155:5"}},
		{Op: policy.OpNe, Args: []policy.Expr{{Op: policy.OpRiskOutcome, Text: "screening"}, text("hold")}},
		{Op: policy.OpLabelled, Text: "known", Args: []policy.Expr{leaf(policy.OpSender)}},
		{Op: policy.OpEq, Args: []policy.Expr{leaf(policy.OpMessageContract), text(someone)}},
		{Op: policy.OpHasRole, Text: "x", Args: []policy.Expr{leaf(policy.OpInitiator)}},
		leaf(policy.OpMessagePresent),
	}[g.n(8)]
}

func (g *generator) uint(depth int) policy.Expr {
	if depth == 0 {
		return []policy.Expr{
			{Op: policy.OpUint, Num: g.number()}, {Op: policy.OpUsed, Text: "often"}, {Op: policy.OpRiskScore, Text: "screening"},
			{Op: policy.OpMessageUint, Text: "value"}, {Op: policy.OpCount, Args: []policy.Expr{leaf(policy.OpApprovers)}},
		}[g.n(5)]
	}
	op := policy.OpAdd + policy.Op(g.n(5))
	return policy.Expr{Op: op, Args: []policy.Expr{g.uint(depth - 1), g.uint(depth - 1)}}
}

// quantity makes amounts of ETH, or money.
func (g *generator) quantity(depth int, t policy.Type) policy.Expr {
	switch {
	case depth == 0 && t == policy.TypeMoney:
		return []policy.Expr{{Op: policy.OpMoney, Num: g.number()}, {Op: policy.OpValue}, {Op: policy.OpUsed, Text: "monthly"}}[g.n(3)]
	case depth == 0:
		return []policy.Expr{{Op: policy.OpAmount, Num: g.number(), Asset: ethID}, {Op: policy.OpTotal, Asset: ethID}, leaf(policy.OpFee), {Op: policy.OpUsed, Text: "daily"}}[g.n(4)]
	}
	switch g.n(4) {
	case 0:
		return policy.Expr{Op: policy.OpMul, Args: []policy.Expr{g.uint(depth - 1), g.quantity(depth-1, t)}}
	case 1:
		return policy.Expr{Op: policy.OpIf, Args: []policy.Expr{g.condition(0), g.quantity(depth-1, t), g.quantity(depth-1, t)}}
	}
	return policy.Expr{Op: policy.OpAdd + policy.Op(g.n(2)), Args: []policy.Expr{g.quantity(depth-1, t), g.quantity(depth-1, t)}}
}

// Brackets mean nothing in a chain: both writings are one tree. What policy.Format
// writes, in explanations, is the same CEL: read again it gives the same tree.
func TestChainsAreFlat(t *testing.T) {
	in := func(when string) *policy.Document {
		return MustCompile("assets: {ETH: {id: " + ethID + ", decimals: 18}}\nrules: [{name: a, then: allow, when: '" + when + "'}]")
	}
	flat := in(`onlyTransfers && message.present && chain == "eip155:1" && sender == "` + someone + `"`)
	for _, when := range []string{
		`onlyTransfers && (message.present && (chain == "eip155:1" && sender == "` + someone + `"))`,
		`(onlyTransfers && message.present) && (chain == "eip155:1" && sender == "` + someone + `")`,
	} {
		if d := in(when); d.Root() != flat.Root() {
			t.Errorf("%s is another policy:\n%s", when, YAML(d))
		}
	}
	for _, when := range []string{
		"!(!onlyTransfers)", "!(onlyTransfers && (fee > amount(\"1 ETH\") || !message.present))",
		"(onlyTransfers ? 1 : 2) - (3 - 2) == 1 % (2 * 3)", "(onlyTransfers == message.present) == true",
		"creations.all(n, n.code == \"0x" + strings.Repeat("ab", 32) + "\" && calls.exists(c, c.value == n.value))",
	} {
		d := in(when)
		for what, text := range map[string]string{"policy.Format": d.Format(&d.Rules[0].When), "Format": Format(d, &d.Rules[0].When)} {
			if again := in(text); again.Root() != d.Root() {
				t.Errorf("%s of %s reads back as another policy: %s", what, when, text)
			}
		}
	}
}
