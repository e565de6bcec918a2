package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// Constructors of conditions.

type ex = policy.Expr

const (
	eth    = "eip155:1/slip44:60"
	usdc   = "eip155:1/erc20:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
	chain1 = "eip155:1"
	known1 = "eip155:1:0x1111111111111111111111111111111111111111"
	known2 = "eip155:1:0x2222222222222222222222222222222222222222"
	bad1   = "eip155:1:0x6666666666666666666666666666666666666666"
)

func and(a ...ex) ex { return chained(policy.OpAnd, a) }
func or(a ...ex) ex  { return chained(policy.OpOr, a) }

// chained has the operands of operands by the same operator in their place, as
// documents must.
func chained(op policy.Op, a []ex) ex {
	out := ex{Op: op}
	for _, e := range a {
		if e.Op == op {
			out.Args = append(out.Args, e.Args...)
		} else {
			out.Args = append(out.Args, e)
		}
	}
	return out
}

func not(a ex) ex { return ex{Op: policy.OpNot, Args: []ex{a}} }
func boolean(b bool) ex {
	e := ex{Op: policy.OpBool}
	if b {
		e.Num.SetOne()
	}
	return e
}
func leaf(op policy.Op) ex               { return ex{Op: op} }
func named(op policy.Op, text string) ex { return ex{Op: op, Text: text} }
func infix(op policy.Op, a, b ex) ex     { return ex{Op: op, Args: []ex{a, b}} }
func str(s string) ex                    { return ex{Op: policy.OpText, Text: s} }
func field(name string) ex               { return ex{Op: policy.OpField, Text: name} }
func tot(asset string) ex                { return ex{Op: policy.OpTotal, Asset: asset} }
func amountOf(n uint64, asset string) ex {
	return ex{Op: policy.OpAmount, Asset: asset, Num: *uint256.NewInt(n)}
}
func num(n uint64) ex   { return ex{Op: policy.OpUint, Num: *uint256.NewInt(n)} }
func money(n uint64) ex { return ex{Op: policy.OpMoney, Num: *uint256.NewInt(n)} }
func quant(op, list policy.Op, body ex) ex {
	return ex{Op: op, Args: []ex{{Op: list}, body}}
}
func size(list policy.Op) ex { return ex{Op: policy.OpCount, Args: []ex{{Op: list}}} }
func in(a ex, set ...string) ex {
	slices.Sort(set)
	return ex{Op: policy.OpIn, Args: []ex{a}, Set: set}
}
func labelled(a ex, label string) ex { return ex{Op: policy.OpLabelled, Args: []ex{a}, Text: label} }
func inGroup(a ex, group string) ex  { return ex{Op: policy.OpInGroup, Args: []ex{a}, Text: group} }

func require(excluded bool, list ...policy.Requirement) policy.Verdict {
	return policy.Verdict{Effect: policy.Require, Require: list, InitiatorExcluded: excluded}
}

var (
	allow = policy.Verdict{Effect: policy.Allow}
	deny  = policy.Verdict{Effect: policy.Deny}

	allKnown  = quant(policy.OpAll, policy.OpTransfers, labelled(field("to"), "known"))
	anyBad    = quant(policy.OpExists, policy.OpTransfers, labelled(field("to"), "bad"))
	onlyTr    = leaf(policy.OpOnlyTransfers)
	riskPass  = infix(policy.OpEq, named(policy.OpRiskOutcome, "screening"), str("pass"))
	atMostETH = func(n uint64) ex { return infix(policy.OpLe, tot(eth), amountOf(n, eth)) }
)

func base(rules ...policy.Rule) *policy.Document {
	d := &policy.Document{
		Currency: "USD", Prices: policy.PriceRule{Sources: []string{"ticker"}, Agree: 1, MaxAge: 60_000},
		Assets:      []policy.Asset{{Symbol: "USDC", ID: usdc, Decimals: 6}, {Symbol: "ETH", ID: eth, Decimals: 18}},
		AddressBook: []policy.Entry{{Label: "bad", Addresses: []string{bad1}}, {Label: "known", Addresses: []string{known1, known2}}},
		Zones:       []policy.Zone{{Name: "UTC", Steps: []policy.Step{{From: 0}}, Until: 4102444800}},
		Limits: []policy.Limit{
			{Name: "daily", Measure: policy.MeasureAmount, Asset: eth, Window: policy.Window{Kind: policy.Rolling, Length: 86_400_000}, Max: *uint256.NewInt(100)},
			{Name: "weekly", Measure: policy.MeasureAmount, Asset: eth, Window: policy.Window{Kind: policy.Rolling, Length: 7 * 86_400_000}, Max: *uint256.NewInt(100)},
			{Name: "few", Measure: policy.MeasureCount, Window: policy.Window{Kind: policy.Rolling, Length: 3_600_000}, Per: []policy.Scope{policy.PerInitiator}, Max: *uint256.NewInt(5)},
		},
		Guards: []policy.Guard{{Name: "known-bad", When: anyBad}},
		Rules:  rules,
	}
	d.Sort()
	return d
}

func rule(name string, when ex, then policy.Verdict) policy.Rule {
	return policy.Rule{Name: name, When: when, Then: then}
}

func during(text string) ex {
	h, zone, err := policy.ParseDuring(text)
	if err != nil {
		panic(err)
	}
	return ex{Op: policy.OpDuring, Text: zone, Num: h.Num()}
}

func TestClassifyPolicies(t *testing.T) {
	two := require(true, policy.Requirement{Group: "treasurers", Count: 2})
	one := require(true, policy.Requirement{Group: "treasurers", Count: 1})
	small := and(onlyTr, allKnown, atMostETH(10), riskPass)
	for _, c := range []struct {
		name     string
		old, new *policy.Document
		want     Class
		words    string
	}{
		{"nothing", base(rule("a", small, allow)), base(rule("a", small, allow)), Tightening, ""},
		{"a larger total", base(rule("a", small, allow)), base(rule("a", and(onlyTr, allKnown, atMostETH(12), riskPass), allow)), Loosening, "0.000000000000000011 ETH"},
		{"a smaller total", base(rule("a", small, allow)), base(rule("a", and(onlyTr, allKnown, atMostETH(9), riskPass), allow)), Tightening, ""},
		{"a condition less", base(rule("a", small, allow)), base(rule("a", and(onlyTr, allKnown, atMostETH(10)), allow)), Loosening, ""},
		{"a condition more", base(rule("a", small, allow)), base(rule("a", and(small, during("Mon-Fri 08:00-18:00 UTC")), allow)), Tightening, ""},
		{"shorter hours", base(rule("a", during("Mon-Fri 08:00-18:00 UTC"), allow)), base(rule("a", during("Tue-Fri 09:00-17:00 UTC"), allow)), Tightening, ""},
		{"other hours", base(rule("a", during("Mon-Fri 08:00-18:00 UTC"), allow)), base(rule("a", during("Mon-Fri 08:00-18:30 UTC"), allow)), Loosening, "18:"},
		{"fewer approvals", base(rule("a", small, two)), base(rule("a", small, one)), Loosening, "approved by alice"},
		{"more approvals", base(rule("a", small, one)), base(rule("a", small, two)), Tightening, ""},
		{"the initiator counts", base(rule("a", onlyTr, two)), base(rule("a", onlyTr, require(false, two.Require...))), Loosening, "alice"},
		{"approvals instead of allow", base(rule("a", small, allow)), base(rule("a", small, two)), Tightening, ""},
		{"a rule at the end", base(rule("a", small, allow)), base(rule("a", small, allow), rule("b", and(small, atMostETH(5)), allow)), Tightening, ""},
		{"a rule that matters", base(rule("a", small, allow)), base(rule("a", small, allow), rule("b", atMostETH(11), two)), Loosening, ""},
		{"a deny rule goes", base(rule("d", quant(policy.OpExists, policy.OpTransfers, infix(policy.OpEq, field("to"), str(known1))), deny), rule("a", small, allow)), base(rule("a", small, allow)), Loosening, known1},
		{"another order", base(rule("a", atMostETH(5), allow), rule("b", atMostETH(10), two)), base(rule("b", atMostETH(10), two), rule("a", atMostETH(5), allow)), Tightening, ""},
		{"an order that matters", base(rule("b", atMostETH(10), two), rule("a", atMostETH(12), one)), base(rule("a", atMostETH(12), one), rule("b", atMostETH(10), two)), Loosening, ""},
		{"items imply totals", base(rule("a", atMostETH(10), allow)), base(rule("a", and(infix(policy.OpEq, size(policy.OpTransfers), num(1)), quant(policy.OpAll, policy.OpTransfers, and(infix(policy.OpEq, field("asset"), str(eth)), infix(policy.OpLe, field("amount"), amountOf(10, eth))))), allow)), Tightening, ""},
		{"totals imply items", base(rule("a", quant(policy.OpAll, policy.OpTransfers, or(infix(policy.OpNe, field("from"), leaf(policy.OpSender)), infix(policy.OpNe, field("asset"), str(eth)), infix(policy.OpLe, field("amount"), amountOf(10, eth)))), allow)), base(rule("a", atMostETH(10), allow)), Tightening, ""},
		{"a limit replaces a total", base(rule("a", atMostETH(100), allow)), base(rule("a", named(policy.OpWithin, "daily"), allow)), Tightening, ""},
		{"a total replaces a limit", base(rule("a", named(policy.OpWithin, "daily"), allow)), base(rule("a", atMostETH(100), allow)), Loosening, "before"},
		{"a longer window", base(rule("a", named(policy.OpWithin, "daily"), allow)), base(rule("a", named(policy.OpWithin, "weekly"), allow)), Tightening, ""},
		{"a shorter window", base(rule("a", named(policy.OpWithin, "weekly"), allow)), base(rule("a", named(policy.OpWithin, "daily"), allow)), Loosening, "before"},
		{"a score that is missing", base(rule("a", or(infix(policy.OpLe, named(policy.OpRiskScore, "screening"), num(5)), infix(policy.OpGt, named(policy.OpRiskScore, "screening"), num(5))), allow)), base(rule("a", boolean(true), allow)), Loosening, ""},
		{"amounts of another asset", base(rule("a", quant(policy.OpAll, policy.OpTransfers, or(infix(policy.OpLe, field("amount"), amountOf(5, eth)), infix(policy.OpGt, field("amount"), amountOf(5, eth)))), allow)), base(rule("a", boolean(true), allow)), Loosening, "a transfer of"},
		{"sums that do not fit", base(rule("a", or(atMostETH(10), not(atMostETH(10))), allow)), base(rule("a", boolean(true), allow)), Unknown, ""},
		{"a count more", base(rule("a", named(policy.OpWithin, "daily"), allow)), base(rule("a", and(named(policy.OpWithin, "daily"), named(policy.OpWithin, "few")), allow)), Tightening, ""},
		{"an initiator's group", base(rule("a", inGroup(leaf(policy.OpInitiator), "treasurers"), allow)), base(rule("a", infix(policy.OpEq, leaf(policy.OpInitiator), str("bob")), allow)), Tightening, ""},
		{"another initiator", base(rule("a", inGroup(leaf(policy.OpInitiator), "treasurers"), allow)), base(rule("a", inGroup(leaf(policy.OpInitiator), "traders"), allow)), Loosening, "by robot"},
		{"money", base(rule("a", infix(policy.OpLe, leaf(policy.OpValue), money(5_000_000)), allow)), base(rule("a", infix(policy.OpLe, leaf(policy.OpValue), money(9_000_000)), allow)), Loosening, ""},
		{"less money", base(rule("a", infix(policy.OpLe, leaf(policy.OpValue), money(5_000_000)), allow)), base(rule("a", infix(policy.OpLe, leaf(policy.OpValue), money(4_000_000)), allow)), Tightening, ""},
		{"a fee", base(rule("a", infix(policy.OpLe, leaf(policy.OpFee), amountOf(5, eth)), allow)), base(rule("a", infix(policy.OpLe, leaf(policy.OpFee), amountOf(6, eth)), allow)), Loosening, "fee of at most 0.000000000000000006 ETH"},
		{"arithmetic that stays", base(rule("a", infix(policy.OpLe, ex{Op: policy.OpAdd, Args: []ex{tot(eth), tot(eth)}}, amountOf(5, eth)), allow)), base(rule("a", and(onlyTr, infix(policy.OpLe, ex{Op: policy.OpAdd, Args: []ex{tot(eth), tot(eth)}}, amountOf(5, eth))), allow)), Tightening, ""},
		{"arithmetic that changes", base(rule("a", infix(policy.OpLe, ex{Op: policy.OpAdd, Args: []ex{tot(eth), tot(eth)}}, amountOf(5, eth)), allow)), base(rule("a", infix(policy.OpLe, ex{Op: policy.OpAdd, Args: []ex{tot(eth), tot(eth)}}, amountOf(4, eth)), allow)), Unknown, "total"},
		{"an address in the book", base(rule("a", allKnown, allow)), func() *policy.Document {
			d := base(rule("a", allKnown, allow))
			d.AddressBook[1].Addresses = append(d.AddressBook[1].Addresses, "eip155:1:0x3333333333333333333333333333333333333333")
			return d
		}(), Loosening, "0x3333"},
		{"an address less", base(rule("a", allKnown, allow)), func() *policy.Document {
			d := base(rule("a", allKnown, allow))
			d.AddressBook[1].Addresses = d.AddressBook[1].Addresses[:1]
			return d
		}(), Tightening, ""},
		{"a bad address less", base(rule("a", onlyTr, allow)), func() *policy.Document {
			d := base(rule("a", onlyTr, allow))
			d.AddressBook[0].Addresses = nil
			return d
		}(), Loosening, bad1},
		{"a method", base(rule("a", boolean(true), allow)), func() *policy.Document {
			d := base(rule("a", boolean(true), allow))
			d.Methods = []chain.Method{{Signature: "swap(address token,uint256 amount)"}}
			return d
		}(), Loosening, "swap(address,uint256)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range []*policy.Document{c.old, c.new} {
				if err := d.Check(testRoster()); err != nil {
					t.Fatal(err)
				}
			}
			got := Classify(c.old, c.new, testRoster(), testRoster())
			if got.Class != c.want || !strings.Contains(got.Reason, c.words) {
				t.Errorf("%s: %s\nwant %s: …%s…", got.Class, got.Reason, c.want, c.words)
			} else {
				t.Log(got.Class, got.Reason)
			}
			if got.Class == Loosening {
				x := got.Example
				if d := c.new.Evaluate(testRoster(), x.Input.Policy()); !d.Allow {
					t.Errorf("the example does not pass: %s", d.Detail)
				}
			}
		})
	}
}
