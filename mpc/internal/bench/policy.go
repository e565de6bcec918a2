package main

import (
	"fmt"
	"math"
	"runtime"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

const (
	benchETH    = "eip155:1/slip44:60"
	benchSender = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"
	benchTo     = "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D"
	benchLimits = 10
)

// policies prints the rows of one evaluation: a payment that only the last rule
// allows, after all the others were asked and did not match.
func policies(line func(string, float64)) error {
	for _, rules := range []int{20, 200} {
		d, roster, in, err := policyCase(rules)
		if err != nil {
			return err
		}
		if out := d.Evaluate(roster, in); !out.Allow || len(out.Limits) != benchLimits || out.Rule != fmt.Sprintf("rule-%d", rules-1) {
			return fmt.Errorf("policy of %d rules: %+v, want the last rule to allow with %d limits", rules, out, benchLimits)
		}
		evaluate := func() { d.Evaluate(roster, in) }
		ns := measure(2000, evaluate)
		fmt.Printf("bench: policy-eval-%drules-us %.2f us\n", rules, ns/1000)
		line(fmt.Sprintf("policy-eval-%drules", rules), ns)
		fmt.Printf("bench: policy-eval-%drules-allocs %.0f allocs\n", rules, allocations(evaluate))
	}
	if err := unshared(line, "200distinct", benchDistinct); err != nil {
		return err
	}
	return unshared(line, "200deep", benchDeep)
}

// unshared prints the row of 200 rules that share no condition but the limits: those
// that differ in what can be seen at once, and those where only the recipients of the
// transfers decide, which is the most that so many rules cost.
func unshared(line func(string, float64), name string, rule func(int, bool) policy.Expr) error {
	const rules = 200
	d, roster, in, err := policyOf(rules, rule)
	if err != nil {
		return err
	}
	if out := d.Evaluate(roster, in); !out.Allow || len(out.Limits) != benchLimits || out.Rule != fmt.Sprintf("rule-%d", rules-1) {
		return fmt.Errorf("policy of %d different rules: %+v, want the last rule to allow with %d limits", rules, out, benchLimits)
	}
	evaluate := func() { d.Evaluate(roster, in) }
	ns := measure(2000, evaluate)
	fmt.Printf("bench: policy-eval-%s-us %.2f us\n", name, ns/1000)
	line("policy-eval-"+name, ns)
	fmt.Printf("bench: policy-eval-%s-allocs %.0f allocs\n", name, allocations(evaluate))
	return nil
}

// allocations is the least number of allocations of f.
func allocations(f func()) float64 {
	best := math.Inf(1)
	for range runs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		best = min(best, float64(after.Mallocs-before.Mallocs))
	}
	return best
}

func benchExpr(o policy.Op, args ...policy.Expr) policy.Expr { return policy.Expr{Op: o, Args: args} }

func benchText(o policy.Op, text string, args ...policy.Expr) policy.Expr {
	return policy.Expr{Op: o, Text: text, Args: args}
}

func benchAmount(n uint64) chain.Amount { return *new(chain.Amount).SetUint64(n) }

// benchRule is a condition such as people write, and that holds for all but the
// amount unless last; the last asks for all limits.
func benchRule(i int, last bool) policy.Expr {
	most := benchAmount(uint64(i))
	if last {
		most = benchAmount(1e18)
	}
	e := benchExpr(policy.OpAnd,
		benchExpr(policy.OpEq, benchExpr(policy.OpChain), benchText(policy.OpText, "eip155:1")),
		benchExpr(policy.OpOnlyTransfers),
		benchText(policy.OpInGroup, "traders", benchExpr(policy.OpInitiator)),
		benchExpr(policy.OpAll, benchExpr(policy.OpTransfers), benchText(policy.OpLabelled, "known", benchText(policy.OpField, "to"))),
		benchExpr(policy.OpEq, benchText(policy.OpRiskOutcome, "screening"), benchText(policy.OpText, "pass")),
		benchText(policy.OpWithin, fmt.Sprintf("limit-%d", i%benchLimits)),
		policy.Expr{Op: policy.OpDuring, Text: "UTC", Num: policy.Hours{Days: 127, To: 1440}.Num()},
		benchExpr(policy.OpLe, policy.Expr{Op: policy.OpTotal, Asset: benchETH}, policy.Expr{Op: policy.OpAmount, Num: most, Asset: benchETH}),
	)
	for j := range benchLimits {
		if last && j != i%benchLimits {
			e.Args = append(e.Args, benchText(policy.OpWithin, fmt.Sprintf("limit-%d", j)))
		}
	}
	return e
}

// benchDistinct is the same, in words that no other rule uses.
func benchDistinct(i int, last bool) policy.Expr {
	e := benchRule(i, last)
	e.Args[0] = policy.Expr{Op: policy.OpIn, Args: []policy.Expr{{Op: policy.OpChain}}, Set: []string{"eip155:1", fmt.Sprintf("eip155:%d", i+2)}}
	e.Args[1] = benchExpr(policy.OpLe, policy.Expr{Op: policy.OpCount, Args: []policy.Expr{{Op: policy.OpTransfers}}}, policy.Expr{Op: policy.OpUint, Num: benchAmount(uint64(2 + i))})
	e.Args[2] = benchText(policy.OpInGroup, fmt.Sprintf("traders-%d", i), benchExpr(policy.OpInitiator))
	e.Args[3] = benchExpr(policy.OpAll, benchExpr(policy.OpTransfers), benchText(policy.OpLabelled, fmt.Sprintf("known-%d", i), benchText(policy.OpField, "to")))
	e.Args[4] = benchExpr(policy.OpLe, benchText(policy.OpRiskScore, "screening"), policy.Expr{Op: policy.OpUint, Num: benchAmount(uint64(500 + i))})
	e.Args[6] = policy.Expr{Op: policy.OpDuring, Text: "UTC", Num: policy.Hours{Days: 127, To: uint16(1440 - i)}.Num()}
	return e
}

// benchDeep is the same, but it is each transfer's amount that is too high unless
// last, not the sum.
func benchDeep(i int, last bool) policy.Expr {
	e, most := benchDistinct(i, last), uint64(i)
	if last {
		most = 1e18
	}
	e.Args[7].Args[1].Num = benchAmount(1e18 - uint64(i))
	e.Args[3].Args[1] = benchExpr(policy.OpAnd, e.Args[3].Args[1],
		benchExpr(policy.OpLe, benchText(policy.OpField, "amount"), policy.Expr{Op: policy.OpAmount, Num: benchAmount(most), Asset: benchETH}))
	return e
}

func policyCase(rules int) (*policy.Document, *identity.Roster, policy.Input, error) {
	return policyOf(rules, benchRule)
}

func policyOf(rules int, rule func(int, bool) policy.Expr) (*policy.Document, *identity.Roster, policy.Input, error) {
	const now = 1784102400_000
	d := &policy.Document{
		Assets:      []policy.Asset{{Symbol: "ETH", ID: benchETH, Decimals: 18}},
		AddressBook: []policy.Entry{{Label: "blocked", Addresses: []string{benchSender}}, {Label: "known", Addresses: []string{benchTo}}},
		Zones:       []policy.Zone{{Name: "UTC", Steps: []policy.Step{{}}, Until: 4102444800}},
		Guards: []policy.Guard{{Name: "blocked", When: benchExpr(policy.OpExists, benchExpr(policy.OpTransfers),
			benchText(policy.OpLabelled, "blocked", benchText(policy.OpField, "to")))}},
	}
	for i := range rules {
		d.AddressBook = append(d.AddressBook, policy.Entry{Label: fmt.Sprintf("known-%d", i), Addresses: []string{benchTo}})
	}
	d.Sort()
	for i := range benchLimits {
		d.Limits = append(d.Limits, policy.Limit{
			Name: fmt.Sprintf("limit-%d", i), Measure: policy.MeasureAmount, Asset: benchETH, Per: []policy.Scope{policy.PerWallet},
			Window: policy.Window{Kind: policy.Rolling, Length: uint64(i+1) * 86_400_000}, Max: benchAmount(5e18),
		})
	}
	for i := range rules {
		d.Rules = append(d.Rules, policy.Rule{Name: fmt.Sprintf("rule-%d", i), When: rule(i, i == rules-1), Then: policy.Verdict{Effect: policy.Allow}})
	}
	d, err := policy.DecodeDocument(d.Encode())
	if err != nil {
		return nil, nil, policy.Input{}, err
	}
	d.Compile()
	roster := &identity.Roster{Groups: []identity.Group{{Name: "traders", Members: []string{"alice"}}}}
	for i := range rules {
		roster.Groups = append(roster.Groups, identity.Group{Name: fmt.Sprintf("traders-%d", i), Members: []string{"alice"}})
	}
	roster.Sort()
	in := policy.Input{
		Request: &request.Request{Chain: "eip155:1", Sender: benchSender, Initiator: "alice", Wallet: [32]byte{1}},
		Effects: &chain.Effects{Chain: "eip155:1", Sender: benchSender, Transfers: []chain.Transfer{
			{From: benchSender, To: benchTo, Asset: benchETH, Amount: benchAmount(1e17)},
			{From: benchSender, To: benchTo, Asset: benchETH, Amount: benchAmount(1e17)},
		}},
		Verified: &identity.Verified{Initiator: "alice", Risk: []identity.RiskResult{{Engine: "screening", Outcome: request.Pass}}},
		Now:      now,
		Ledger: policy.MemoryLedger{{Request: [32]byte{9}, Wallet: [32]byte{1}, Time: now - 1000, Movement: &policy.Movement{
			Initiator: "bob", Chain: "eip155:1", Moves: []policy.Move{{Asset: benchETH, To: benchTo, Amount: benchAmount(1e18)}},
		}}},
	}
	return d, roster, in, nil
}
