package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

// A small universe: random conditions over a few constants, and random inputs that
// stand around those constants.

const (
	sender1 = "eip155:1:0x9999999999999999999999999999999999999999"
	swap    = "swap(address,uint256)"
)

var (
	accounts = []string{known1, known2, bad1, sender1, "eip155:1:0x4444444444444444444444444444444444444444"}
	assets   = []string{eth, usdc, "eip155:1/erc20:0x4444444444444444444444444444444444444444"}
	amounts  = []uint64{0, 1, 4, 5, 6, 9, 10, 11, 100, 1 << 62}
	people   = []string{"alice", "bob", "carol"}
	methods  = []string{"transfer(address,uint256)", swap, "other()"}
)

// gen draws: from rapid what is analysed, from a plain generator what it is tried on.
type gen struct{ draw func(n int) int }

func drawn(t *rapid.T) gen {
	return gen{func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }}
}

func (g gen) n(most int) int             { return g.draw(most + 1) }
func (g gen) pick(list ...string) string { return list[g.draw(len(list))] }
func (g gen) amount() uint64             { return amounts[g.draw(9)] }
func (g gen) order() policy.Op {
	return []policy.Op{policy.OpEq, policy.OpNe, policy.OpLt, policy.OpLe, policy.OpGt, policy.OpGe}[g.draw(6)]
}
func (g gen) list() policy.Op {
	return []policy.Op{policy.OpTransfers, policy.OpTransfers, policy.OpTransfers, policy.OpAllowances, policy.OpCalls, policy.OpCreations, policy.OpApprovers}[g.draw(7)]
}

// condition draws a condition; list is what is quantified over around it, or 0.
func (g gen) condition(depth int, list policy.Op) ex {
	if depth > 0 {
		switch g.n(7) {
		case 0, 1:
			return and(g.condition(depth-1, list), g.condition(depth-1, list))
		case 2:
			return or(g.condition(depth-1, list), g.condition(depth-1, list))
		case 3:
			return not(g.condition(depth-1, list))
		case 4:
			if g.n(3) == 0 {
				return ex{Op: policy.OpIf, Args: []ex{g.condition(depth-1, list), g.condition(depth-1, list), g.condition(depth-1, list)}}
			}
		}
	}
	if list != 0 && g.n(5) > 0 {
		return g.itemAtom(list)
	}
	if list == 0 && g.n(2) == 0 {
		over := g.list()
		switch g.n(6) {
		case 0:
			return infix(g.order(), size(over), num(uint64(g.n(3))))
		case 1:
			return infix(g.order(), quant(policy.OpCount, over, g.condition(depth-1, over)), num(uint64(g.n(2))))
		case 2:
			return quant(policy.OpExistsOne, over, g.condition(depth-1, over))
		case 3, 4:
			return quant(policy.OpExists, over, g.condition(depth-1, over))
		}
		return quant(policy.OpAll, over, g.condition(depth-1, over))
	}
	return g.atom()
}

func (g gen) atom() ex {
	switch g.n(20) {
	case 0, 1, 2:
		return infix(g.order(), tot(g.pick(assets[:2]...)), amountOf(g.amount(), g.pick(eth, eth, usdc)))
	case 3:
		return infix(g.order(), ex{Op: policy.OpReceived, Asset: eth}, amountOf(g.amount(), eth))
	case 4:
		return infix(g.order(), leaf(policy.OpFee), amountOf(g.amount(), eth))
	case 5:
		return infix(g.order(), leaf(policy.OpValue), money(g.amount()))
	case 6:
		return infix(policy.OpEq, named(policy.OpRiskOutcome, "screening"), str(g.pick("pass", "hold", "deny")))
	case 7:
		return infix(g.order(), named(policy.OpRiskScore, "screening"), num(g.amount()))
	case 8:
		return during(g.pick("Mon-Fri 08:00-18:00 UTC", "Mon-Fri 09:00-12:00 UTC", "Fri 22:00-06:00 UTC"))
	case 9:
		return ex{Op: policy.OpBefore + policy.Op(g.n(1)), Num: *uint256.NewInt(uint64(1782900000 + 3600*g.n(3)))}
	case 10, 11:
		return named(policy.OpWithin, g.pick("daily", "few", "weekly", "each"))
	case 12:
		l := g.pick("daily", "weekly", "each")
		return infix(g.order(), named(policy.OpUsed, l), amountOf(g.amount(), eth))
	case 13:
		return inGroup(leaf(policy.OpInitiator), g.pick("traders", "treasurers", "admins"))
	case 14:
		return infix(policy.OpEq, leaf(policy.OpInitiator), str(g.pick("alice", "bob", "robot")))
	case 15:
		return onlyTr
	case 16:
		return labelled(leaf(policy.OpSender), "known")
	case 17:
		return infix(policy.OpEq, leaf(policy.OpChain), str(chain1))
	case 18:
		return leaf(policy.OpMessagePresent)
	case 19:
		return infix(g.order(), ex{Op: policy.OpAdd, Args: []ex{tot(eth), amountOf(1, eth)}}, amountOf(g.amount(), eth))
	}
	return infix(policy.OpEq, leaf(policy.OpMessageType), str(g.pick("Permit", "Order")))
}

func (g gen) itemAtom(list policy.Op) ex {
	account := func(f string) ex {
		switch g.n(3) {
		case 0:
			return labelled(field(f), g.pick("known", "bad"))
		case 1:
			return infix(policy.OpEq, field(f), leaf(policy.OpSender))
		case 2:
			return infix(policy.OpNe, leaf(policy.OpSender), field(f))
		}
		return in(field(f), slices.Compact([]string{g.pick(accounts[:2]...), bad1})...)
	}
	switch list {
	case policy.OpTransfers, policy.OpAllowances:
		ends := []string{"from", "to"}
		if list == policy.OpAllowances {
			ends = []string{"owner", "spender"}
		}
		switch g.n(5) {
		case 0, 1:
			return account(g.pick(ends...))
		case 2:
			return infix(policy.OpEq, field("asset"), str(g.pick(assets[:2]...)))
		case 3:
			if list == policy.OpTransfers {
				return infix(g.order(), field("value"), money(g.amount()))
			}
			return field("unlimited")
		}
		return infix(g.order(), field("amount"), amountOf(g.amount(), g.pick(eth, usdc)))
	case policy.OpCalls:
		switch g.n(5) {
		case 0:
			return account("to")
		case 1:
			return infix(policy.OpEq, field("method"), str(g.pick(methods...)))
		case 2:
			return infix(g.order(), named(policy.OpArgUint, "amount"), num(g.amount()))
		case 3:
			return infix(policy.OpEq, named(policy.OpArgAddress, "token"), str(g.pick(known1, bad1)))
		case 4:
			return infix(g.order(), field("depth"), num(uint64(g.n(2))))
		}
		return infix(g.order(), field("value"), amountOf(g.amount(), eth))
	case policy.OpCreations:
		if g.n(2) == 0 {
			return infix(policy.OpEq, field("code"), str(g.pick("0x"+strings.Repeat("01", 32), "0x"+strings.Repeat("ab", 32))))
		}
		return infix(g.order(), field("value"), amountOf(g.amount(), eth))
	}
	who := ex{Op: policy.OpItem}
	if g.n(1) == 0 {
		return inGroup(who, g.pick("traders", "treasurers"))
	}
	return infix(policy.OpEq, who, str(g.pick(people...)))
}

func (g gen) verdict() policy.Verdict {
	switch g.n(4) {
	case 0:
		return allow
	case 1:
		return deny
	case 2:
		return require(g.n(1) == 0, policy.Requirement{Group: "traders", Count: 1}, policy.Requirement{Group: "treasurers", Count: 1})
	}
	return require(g.n(1) == 0, policy.Requirement{Group: "treasurers", Count: uint8(1 + g.n(1))})
}

func (g gen) document() *policy.Document {
	d := base()
	d.Limits = append(d.Limits,
		policy.Limit{Name: "each", Measure: policy.MeasureAmount, Asset: eth, Per: []policy.Scope{policy.PerDestination}, Window: policy.Window{Kind: policy.Rolling, Length: 86_400_000}, Max: *uint256.NewInt(10)})
	d.Sort()
	d.Guards = nil
	for i := range g.n(1) {
		d.Guards = append(d.Guards, policy.Guard{Name: fmt.Sprint("g", i), When: g.condition(2, 0)})
	}
	for i := range 1 + g.n(3) {
		d.Rules = append(d.Rules, policy.Rule{Name: fmt.Sprint("r", i), When: g.condition(3, 0), Then: g.verdict()})
	}
	return d
}

// change returns a document that differs a little.
func (g gen) change(d *policy.Document) *policy.Document {
	b, err := policy.DecodeDocument(d.Encode())
	if err != nil {
		panic(err)
	}
	r := &b.Rules[g.n(len(b.Rules)-1)]
	switch g.n(8) {
	case 0:
		r.When = and(r.When, g.condition(2, 0))
	case 1:
		r.When = or(r.When, g.condition(2, 0))
	case 2:
		b.Guards = append(b.Guards, policy.Guard{Name: "more", When: g.condition(2, 0)})
	case 3:
		r.Then = g.verdict()
	case 4:
		b.Limits[g.n(3)].Max = *uint256.NewInt(g.amount())
	case 5:
		b.AddressBook[g.n(1)].Addresses = []string{known1}
	case 6:
		r.When = nudge(g, r.When)
	case 7:
		i := g.n(len(b.Rules) - 1)
		b.Rules = slices.Delete(b.Rules, i, i+1)
	case 8:
		slices.Reverse(b.Rules)
	}
	return b
}

// nudge changes one constant somewhere.
func nudge(g gen, e ex) ex {
	if e.Op == policy.OpAmount || e.Op == policy.OpMoney {
		e.Num = *uint256.NewInt(g.amount())
	}
	if n := len(e.Args); n > 0 {
		e.Args = slices.Clone(e.Args)
		i := g.n(n - 1)
		e.Args[i] = nudge(g, e.Args[i])
	}
	return e
}

// input draws an input around the constants.
func (g gen) input() policy.Input {
	s := sender1
	if g.n(4) == 0 {
		s = g.pick(accounts...)
	}
	f := &chain.Effects{Chain: chain1, Sender: s}
	account := func() string {
		if g.n(1) == 0 {
			return s
		}
		return g.pick(accounts...)
	}
	num := func() chain.Amount {
		if g.n(20) == 0 {
			return largest
		}
		return *uint256.NewInt(amounts[g.draw(len(amounts))])
	}
	for range g.n(3) {
		f.Transfers = append(f.Transfers, chain.Transfer{From: account(), To: g.pick(accounts...), Asset: g.pick(eth, eth, usdc, assets[2]), Amount: num()})
	}
	for range max(g.n(5)-3, 0) {
		a := num()
		if g.n(1) == 0 {
			a = largest
		}
		f.Approvals = append(f.Approvals, chain.Approval{Owner: account(), Spender: g.pick(accounts...), Asset: g.pick(assets...), Amount: a})
	}
	for range max(g.n(5)-3, 0) {
		c := chain.Call{From: s, To: g.pick(accounts...), Method: g.pick(methods...), Value: num(), Depth: uint8(g.n(2))}
		if g.n(1) == 0 {
			c.Args = []chain.Arg{{Path: "token", Type: "address", Kind: chain.ArgAddress, Text: g.pick(accounts...)}, {Path: "amount", Type: "uint256", Kind: chain.ArgUint, Uint: num()}}
		}
		f.Calls = append(f.Calls, c)
	}
	if g.n(9) == 0 {
		f.Creates = append(f.Creates, chain.Creation{Value: num()})
	}
	if g.n(9) == 0 {
		f.Message = &chain.Message{Type: g.pick("Permit", "Order", "Mail"), Contract: g.pick(accounts...)}
	}
	v := &identity.Verified{Initiator: g.pick("alice", "bob", "carol", "robot")}
	for _, p := range people {
		if g.n(1) == 0 {
			v.Approvers = append(v.Approvers, p)
		}
	}
	if n := g.n(5); n > 0 {
		v.Risk = []identity.RiskResult{{Engine: "screening", Outcome: []request.Outcome{request.Pass, request.Pass, request.Pass, request.Hold, request.Deny}[n-1], Score: uint16(g.amount())}}
	}
	now := uint64(1782900000+3600*g.n(3)-1+g.n(1)+86400*g.n(6)) * 1000
	if g.n(3) > 0 {
		v.Prices = []identity.Price{{Source: "ticker", Currency: "USD", Time: now, Assets: []request.AssetPrice{
			{Asset: usdc, Price: *uint256.NewInt(1e15)}, {Asset: eth, Price: *new(chain.Amount).Mul(uint256.NewInt(1e15), uint256.NewInt(1e12))},
		}}}
	}
	l := policy.MemoryLedger{}
	for i := range g.n(2) {
		l = append(l, policy.LedgerEntry{
			Request: [32]byte{byte(i + 1)}, Time: now - uint64([]int{60, 7200, 90_000, 300_000}[g.draw(4)])*1000,
			Movement: &policy.Movement{Initiator: v.Initiator, Chain: chain1, Moves: []policy.Move{{Asset: eth, To: g.pick(accounts...), Amount: *uint256.NewInt(g.amount())}}},
		})
	}
	fee := *uint256.NewInt(g.amount())
	q := &request.Request{Chain: chain1, Sender: s, MaxFee: fee, Initiator: v.Initiator, Created: now, Expires: now + 1, Intent: []byte{1}}
	f.MaxFee = fee
	return policy.Input{Request: q, Effects: f, Verified: v, Now: now, Ledger: l}
}

// TestTighteningAgainstOracle: no input that is found by chance passes newly where
// the answer is tightening, and every example of a loosening is one.
func TestTighteningAgainstOracle(t *testing.T) {
	roster := testRoster()
	var tally [4]int
	rapid.Check(t, func(t *rapid.T) {
		g := drawn(t)
		old := g.document()
		next := g.change(old)
		for _, d := range []*policy.Document{old, next} {
			if err := d.Check(roster); err != nil {
				t.Skip(err)
			}
			d.Compile()
		}
		got := Classify(old, next, roster, roster)
		tally[got.Class]++
		switch got.Class {
		case Loosening:
			in := got.Example.Input.Policy()
			if a, b := next.Evaluate(roster, in), old.Evaluate(roster, in); !a.Allow || b.Allow {
				t.Fatalf("%s\nis no example: new %t, old %t", got.Reason, a.Allow, b.Allow)
			}
		case Tightening:
			random := rand.New(rand.NewPCG(1, 2))
			for range 250 {
				in := gen{random.IntN}.input()
				if a, b := next.Evaluate(roster, in), old.Evaluate(roster, in); a.Allow && !b.Allow {
					t.Fatalf("%s, but this passes newly: %+v\neffects %+v\nold: %s\nnew: %s", got.Reason, in.Verified, in.Effects, b.Detail, a.Detail)
				}
			}
		}
	})
	t.Logf("tightening %d, loosening %d, unknown %d", tally[Tightening], tally[Loosening], tally[Unknown])
}

// TestInvariantsAgainstOracle: where an invariant is proven, no input found by
// chance breaks it; and no input is decided by a rule that is said never to decide.
func TestInvariantsAgainstOracle(t *testing.T) {
	roster := testRoster()
	var tally [4]int
	rapid.Check(t, func(t *rapid.T) {
		g := drawn(t)
		d := g.document()
		floor := policy.Floor{Approvals: uint8(1 + g.n(1)), InitiatorExcluded: g.n(1) == 0, Group: g.pick("", "treasurers")}
		d.Invariants = []policy.Invariant{{Name: "i", When: g.condition(2, 0), AtLeast: floor}}
		if err := d.Check(roster); err != nil {
			t.Skip(err)
		}
		got := Invariants(d, roster)[0]
		tally[got.Outcome]++
		dead := make(map[string]string)
		for _, i := range Lint(d, roster) {
			if i.Kind == Shadowed || i.Kind == Unreachable || i.Kind == NeverTrue && strings.HasSuffix(i.Words, "never matches") {
				dead[strings.TrimPrefix(i.Place, "rule ")] = i.Words
			}
		}
		probe := &policy.Document{}
		*probe = *d
		probe.Guards, probe.Rules = nil, []policy.Rule{{Name: "i", When: d.Invariants[0].When, Then: allow}}
		demand := demand{excluded: floor.InitiatorExcluded, places: []places{{people, int(floor.Approvals)}}}
		random := rand.New(rand.NewPCG(3, 4))
		for range 120 {
			in := gen{random.IntN}.input()
			out := d.Evaluate(roster, in)
			decided := []string{policy.CodeAllow, policy.CodeApprovals, policy.CodeRule, policy.CodeUnmeetable, policy.CodeGuard}
			if words, ok := dead[out.Rule]; ok && slices.Contains(decided, out.Code) {
				t.Fatalf("rule %s %s, but it decides: %s", out.Rule, words, out.Detail)
			}
			if got.Outcome == Proven && out.Allow && probe.Evaluate(roster, in).Allow && !demand.satisfied(in.Verified.Approvers, in.Verified.Initiator) {
				t.Fatalf("%s, but this passes: %+v %+v", got.Reason, in.Verified, in.Effects)
			}
		}
	})
	t.Logf("proven %d, broken %d, unproven %d", tally[Proven], tally[Broken], tally[Unproven])
}
