package analysis

import (
	"testing"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// Changes that let something pass newly by what surrounds the rules, while the rules
// themselves say the same or nearly so. None may count as tightening.
func TestWideningsBehindTheRules(t *testing.T) {
	with := func(d *policy.Document, change func(d *policy.Document)) *policy.Document {
		change(d)
		d.Sort()
		return d
	}
	methods := func(list ...chain.Method) func(d *policy.Document) {
		return func(d *policy.Document) { d.Methods = list }
	}
	const (
		x1   = "eip155:1:0x1111111111111111111111111111111111111111"
		swap = "swap(address token,uint256 amount)"
		pay  = "transfer(address to,uint256 amount)"
		end  = "withdraw(uint256 amount)"
	)
	isX := infix(policy.OpEq, field("to"), str(x1))
	calls := func(method string, more ...ex) ex {
		return quant(policy.OpExists, policy.OpCalls, and(append(more, infix(policy.OpEq, field("method"), str(method)))...))
	}
	few := infix(policy.OpLe, size(policy.OpTransfers), num(1))
	worth := func(d *policy.Document) {
		d.Limits = append(d.Limits, policy.Limit{
			Name: "worth", Measure: policy.MeasureMoney, Window: policy.Window{Kind: policy.Rolling, Length: 86_400_000}, Max: *uint256.NewInt(100),
		})
	}
	onlyUSDC := func(d *policy.Document) {
		d.Assets = []policy.Asset{{Symbol: "USDC", ID: usdc, Decimals: 6}}
		d.Limits = nil
	}
	noLimits := func(d *policy.Document) { d.Limits = nil }
	message := and(leaf(policy.OpMessagePresent), infix(policy.OpEq, size(policy.OpCalls), num(0)))
	// Zones: "b" is UTC; "a" is UTC too, but known for a moment only; "c" is UTC for a
	// moment, and then twelve hours ahead.
	zones := func(d *policy.Document) {
		d.Zones = []policy.Zone{
			{Name: "A", Steps: []policy.Step{{From: 0}}, Until: 10},
			{Name: "UTC", Steps: []policy.Step{{From: 0}, {From: 50, Offset: 12 * 3600}}, Until: 4102444800},
		}
	}
	day := during("Mon-Fri 08:00-18:00 UTC")
	for _, c := range []struct {
		name     string
		old, new *policy.Document
	}{
		{
			"another zone under a name, by way of a third", base(rule("a", day, allow)),
			with(base(rule("a0", during("Mon-Fri 08:00-18:00 A"), deny), rule("a", day, allow)), zones),
		},
		{
			"an asset that gets a price, under a limit in money",
			with(with(base(rule("a", named(policy.OpWithin, "worth"), allow)), onlyUSDC), worth),
			with(with(base(rule("a", named(policy.OpWithin, "worth"), allow)), noLimits), worth),
		},
		{
			"a method declared more narrowly", with(base(), methods(chain.Method{Signature: swap})),
			with(base(rule("a", calls("swap(address,uint256)", isX), allow)), methods(chain.Method{Contract: x1, Signature: swap})),
		},
		{
			"a built-in method that is no longer declared", with(base(), methods(chain.Method{Signature: pay})),
			base(rule("a", and(onlyTr, calls("transfer(address,uint256)", boolean(true))), allow)),
		},
		{
			"other names of what is built in", with(base(rule("a", boolean(true), allow)), methods(chain.Method{Signature: pay})), base(rule("a", boolean(true), allow)),
		},
		{
			"a declaration goes that hid the transfers", with(base(rule("a", boolean(true), allow)), methods(chain.Method{Signature: "many_msg_babbage(bytes1 a)"})),
			base(rule("a", boolean(true), allow)),
		},
		{
			"a method of tokens that is read otherwise of one contract",
			with(base(rule("a", few, allow)), methods(chain.Method{Signature: end})),
			with(base(rule("a", few, allow)), methods(chain.Method{Signature: end}, chain.Method{Contract: x1, Signature: end})),
		},
		{
			"creations, which send to no address", base(), base(rule("a", quant(policy.OpExists, policy.OpTransfers, infix(policy.OpEq, field("to"), str(""))), allow)),
		},
		{
			"a message", base(rule("a", message, allow)),
			with(base(rule("a", message, allow)), methods(chain.Method{Signature: "message Order(address maker,uint256 amount)"})),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range []*policy.Document{c.old, c.new} {
				if err := d.Check(testRoster()); err != nil {
					t.Fatal(err)
				}
			}
			got := Classify(c.old, c.new, testRoster(), testRoster())
			if got.Class == Tightening {
				t.Errorf("%s: %s", got.Class, got.Reason)
			} else {
				t.Log(got.Class, got.Reason)
			}
		})
	}
}
