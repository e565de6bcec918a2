package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

var (
	addresses = []string{wallet, acme, stranger, thief, tokenAddr}
	people    = []string{"alice", "bob", "carol", "dave", "erin"}
	groups    = []string{"admins", "compliance", "traders", "treasurers"}
	parties   = append([]string{"label:blocked", "label:known"}, addresses...)
)

func subset(t *rapid.T, label string, from []string, least int) []string {
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(from), least, len(from), rapid.ID[string]).Draw(t, label)
	slices.Sort(list)
	return list
}

func genAmount(t *rapid.T, label string) chain.Amount {
	var a chain.Amount
	if rapid.Bool().Draw(t, label+" small") {
		a.SetUint64(rapid.Uint64Range(0, 8).Draw(t, label))
	} else {
		a.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, label))
	}
	return a
}

func genLimits(t *rapid.T, from ...string) []Limit {
	var out []Limit
	for _, id := range subset(t, "assets", from, 1) {
		out = append(out, Limit{id, genAmount(t, "limit")})
	}
	return out
}

// genCondition makes any condition that Check accepts.
func genCondition(t *rapid.T, depth int) Condition {
	ops := operators
	if depth >= 4 {
		ops = ops[3:] // leaves
	}
	c := Condition{Op: rapid.SampledFrom(ops).Draw(t, "op").op}
	switch c.Op {
	case All, Any:
		for range rapid.IntRange(1, 3).Draw(t, "operands") {
			c.Sub = append(c.Sub, genCondition(t, depth+1))
		}
	case Not:
		c.Sub = []Condition{genCondition(t, depth+1)}
	case Chain:
		c.Set = subset(t, "chains", []string{"eip155:1", "eip155:5"}, 1)
	case Wallet:
		c.Set = subset(t, "wallets", []string{strings.Repeat("00", 32), strings.Repeat("ab", 32)}, 1)
	case Sender:
		c.Set = subset(t, "senders", addresses, 1)
	case Initiator:
		c.Set = subset(t, "initiators", append([]string{"group:traders", "group:treasurers", "bot"}, people...), 1)
	case EveryAsset, AnyAsset:
		c.Set = subset(t, "assets", []string{dai, eth}, 1)
	case EveryRecipient, AnyRecipient, EverySpender, AnySpender, EveryContract, AnyContract:
		c.Set = subset(t, "parties", parties, 1)
	case EveryMethod, AnyMethod:
		c.Set = subset(t, "methods", []string{"approve(address,uint256)", "transfer(address,uint256)"}, 1)
	case Contains:
		c.Set = subset(t, "contents", contents, 1)
	case MaxFeeAtMost:
		c.Limits = genLimits(t, eth)
	case AmountAtMost, AmountAtLeast, AllowanceAtMost:
		c.Limits = genLimits(t, dai, eth)
	case RiskIs:
		c.Set = []string{"screening"}
		outcomes := [][]request.Outcome{{request.Pass}, {request.Hold}, {request.Deny}, {request.Pass, request.Hold}}
		c.Outcomes = slices.Clone(rapid.SampledFrom(outcomes).Draw(t, "outcomes"))
	}
	return c
}

func genVerdict(t *rapid.T) Verdict {
	v := Verdict{Effect: rapid.SampledFrom([]Effect{Allow, Deny, Require, Require}).Draw(t, "effect")}
	if v.Effect == Require {
		v.InitiatorExcluded = rapid.Bool().Draw(t, "excluded")
		for _, g := range subset(t, "groups", groups, 1) {
			v.Require = append(v.Require, Requirement{g, rapid.Uint8Range(1, 2).Draw(t, "count")})
		}
		if v.Require[0].Group == "traders" || len(v.Require) > 1 {
			for i := range v.Require { // only alice among the traders is a person
				v.Require[i].Count = 1
			}
		}
	}
	return v
}

// genDocument makes a document that Check accepts.
func genDocument(t *rapid.T) *Document {
	d := &Document{
		Assets: []Asset{{"DAI", dai, 18}, {"ETH", eth, 18}},
		AddressBook: []Entry{
			{"blocked", subset(t, "blocked", addresses, 0)},
			{"known", subset(t, "known", addresses, 0)},
		},
	}
	for i := range d.AddressBook {
		if len(d.AddressBook[i].Addresses) == 0 {
			d.AddressBook[i].Addresses = nil
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "guards") {
		d.Guards = append(d.Guards, Guard{fmt.Sprintf("guard-%d", i), genCondition(t, 1)})
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
		d.Rules = append(d.Rules, Rule{fmt.Sprintf("rule-%d", i), genCondition(t, 1), genVerdict(t)})
	}
	return d
}

func genInput(t *rapid.T) Input {
	account := rapid.SampledFrom(addresses)
	asset := rapid.SampledFrom([]string{dai, eth, "eip155:1/erc20:0xde709f2102306220921060314715629080e2fb77"})
	who := rapid.SampledFrom(append([]string{"bot"}, people...)).Draw(t, "initiator")
	id := rapid.SampledFrom([]string{"eip155:1", "eip155:1", "eip155:5"}).Draw(t, "chain")
	fee := genAmount(t, "fee")
	in := Input{
		Request:  &request.Request{Chain: id, Sender: wallet, MaxFee: fee, Initiator: who},
		Effects:  &chain.Effects{Chain: id, Sender: wallet, MaxFee: fee},
		Verified: &identity.Verified{Initiator: who},
	}
	for range rapid.IntRange(0, 2).Draw(t, "transfers") {
		in.Effects.Transfers = append(in.Effects.Transfers, chain.Transfer{
			From: rapid.SampledFrom([]string{wallet, wallet, stranger}).Draw(t, "from"), To: account.Draw(t, "to"), Asset: asset.Draw(t, "asset"), Amount: genAmount(t, "amount"),
		})
	}
	for range rapid.IntRange(0, 1).Draw(t, "allowances") {
		in.Effects.Approvals = append(in.Effects.Approvals, chain.Approval{Owner: wallet, Spender: account.Draw(t, "spender"), Asset: asset.Draw(t, "asset"), Amount: genAmount(t, "amount")})
	}
	for range rapid.IntRange(0, 1).Draw(t, "calls") {
		in.Effects.Calls = append(in.Effects.Calls, chain.Call{To: account.Draw(t, "contract"), Method: rapid.SampledFrom([]string{"", "0x12345678", "transfer(address,uint256)", "approve(address,uint256)"}).Draw(t, "method")})
	}
	in.Verified.Approvers = subset(t, "approvers", people, 0)
	if rapid.IntRange(0, 3).Draw(t, "denied") == 0 {
		in.Verified.Denials = subset(t, "denials", people, 0)
	}
	if o := rapid.IntRange(0, 3).Draw(t, "risk"); o > 0 {
		in.Verified.Risk = []identity.RiskResult{{Engine: "screening", Outcome: request.Outcome(o)}}
	}
	return in
}

func TestEncodings(t *testing.T) {
	roster := testRoster(t)
	rapid.Check(t, func(t *rapid.T) {
		d := genDocument(t)
		if err := d.Check(roster); err != nil {
			t.Fatal(err)
		}
		back, err := DecodeDocument(d.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Fatalf("the encoding changed it: %s", diff)
		}
		if back, err = ParseJSON(d.JSON()); err != nil {
			t.Fatalf("%v\n%s", err, d.JSON())
		}
		if back.Root() != d.Root() {
			t.Fatalf("the JSON form changed it: %s\n%s", cmp.Diff(d, back), d.JSON())
		}
	})
}

// TestEvaluationLaws: what holds for every document and every input.
func TestEvaluationLaws(t *testing.T) {
	roster := testRoster(t)
	rapid.Check(t, func(t *rapid.T) {
		d, in := genDocument(t), genInput(t)
		got := d.Evaluate(roster, in)
		if diff := cmp.Diff(got, d.Evaluate(roster, in)); diff != "" {
			t.Fatalf("two evaluations differ: %s", diff)
		}
		if got.Allow && got.Pending || got.Code == "" || got.Detail == "" || got.Allow != (got.Code == CodeAllow) {
			t.Fatalf("not a decision: %+v", got)
		}
		x := d.Explain(roster, in)
		for _, g := range x.Guards {
			if g.Value == True && (got.Allow || got.Pending || got.Code != CodeGuard) {
				t.Fatalf("guard %s matches, and yet %+v", g.Name, got)
			}
			if g.Value == Waiting && got.Allow {
				t.Fatalf("guard %s waits, and yet %+v", g.Name, got)
			}
		}
		if got.Code == CodeGuard || got.Code == CodeRisk && strings.HasPrefix(got.Rule, "guard") {
			return
		}
		first := slices.IndexFunc(x.Rules, func(r Trace) bool { return r.Value != False })
		switch {
		case first < 0:
			held := len(in.Verified.Risk) == 1 && in.Verified.Risk[0].Outcome == request.Hold
			if got.Allow || got.Pending && !held || !got.Pending && got.Code != CodeDefault {
				t.Fatalf("no rule matches, and yet %+v", got)
			}
			return
		case got.Rule != x.Rules[first].Name:
			t.Fatalf("rule %s is the first that does not fail, %s decided", x.Rules[first].Name, got.Rule)
		case x.Rules[first].Value == Waiting && (got.Allow || !got.Pending):
			t.Fatalf("rule %s waits, and yet %+v", got.Rule, got)
		}
		// What stands behind the rule that decides does not matter.
		shorter := *d
		shorter.Rules = d.Rules[:first+1]
		if diff := cmp.Diff(got, shorter.Evaluate(roster, in)); diff != "" {
			t.Fatalf("the rules behind the deciding one matter: %s", diff)
		}
	})
}

// TestApprovalLaws: approvals only ever help, the initiator's own does not when it
// is excluded, and a person's second one never does.
func TestApprovalLaws(t *testing.T) {
	roster := testRoster(t)
	rapid.Check(t, func(t *rapid.T) {
		v := genVerdict(t)
		v.Effect = Require
		if v.Require == nil {
			v.Require = []Requirement{{"treasurers", 2}}
		}
		doc := &Document{Rules: []Rule{{"r", Condition{Op: Chain, Set: []string{"eip155:1"}}, v}}}
		in := genInput(t)
		in.Request.Chain, in.Effects.Chain, in.Verified.Denials = "eip155:1", "eip155:1", nil
		got := doc.Evaluate(roster, in)
		if want := enough(roster, v, in.Verified); got.Allow != want {
			t.Fatalf("%+v approved by %v, initiator %s: allow %v, want %v", v, in.Verified.Approvers, in.Verified.Initiator, got.Allow, want)
		}
		again := in
		twice := *in.Verified
		twice.Approvers = append(slices.Clone(twice.Approvers), twice.Approvers...)
		again.Verified = &twice
		if doc.Evaluate(roster, again).Allow != got.Allow {
			t.Fatal("approving twice changes the decision")
		}
		// Doing what Missing says makes it pass.
		told := *in.Verified
		told.Approvers = slices.Clone(told.Approvers)
		next := in
		next.Verified = &told
		for d := got; d.Pending; {
			m := d.Missing[0]
			if int(m.Count) > len(m.From) || slices.Contains(told.Approvers, m.From[0]) {
				t.Fatalf("%d approvals from %v, approved by %v", m.Count, m.From, told.Approvers)
			}
			told.Approvers = append(told.Approvers, m.From[0])
			if d = doc.Evaluate(roster, next); !d.Allow && !d.Pending {
				t.Fatalf("approvals by %v that were asked for gave %+v", told.Approvers, d)
			}
		}
		if v.InitiatorExcluded {
			told := *in.Verified
			told.Approvers = append(slices.Clone(told.Approvers), told.Initiator)
			in.Verified = &told
			if doc.Evaluate(roster, in).Allow != got.Allow {
				t.Fatal("the initiator's own approval changes the decision")
			}
		}
	})
}

// enough tries every way to give people places, one place a person.
func enough(roster *identity.Roster, v Verdict, verified *identity.Verified) bool {
	need := make(map[string]int)
	for _, q := range v.Require {
		need[q.Group] = int(q.Count)
	}
	var try func(left []string) bool
	try = func(left []string) bool {
		done := true
		for _, n := range need {
			done = done && n <= 0
		}
		if done {
			return true
		}
		if len(left) == 0 {
			return false
		}
		who := left[0]
		if !v.InitiatorExcluded || who != verified.Initiator {
			for _, q := range v.Require {
				if roster.InGroup(who, q.Group) {
					need[q.Group]--
					if try(left[1:]) {
						return true
					}
					need[q.Group]++
				}
			}
		}
		return try(left[1:])
	}
	return try(verified.Approvers)
}

// TestEvaluateIsTotal: not even a document that no check has seen panics or allows
// by accident what it does not mean.
func TestEvaluateIsTotal(t *testing.T) {
	roster := testRoster(t)
	rapid.Check(t, func(t *rapid.T) {
		d := genDocument(t)
		for i := range d.Rules {
			wild(t, &d.Rules[i].When)
			d.Rules[i].Then.Effect = Effect(rapid.Uint8Range(0, 4).Draw(t, "effect"))
		}
		in := genInput(t)
		if got := d.Evaluate(roster, in); got.Allow {
			r := d.Rules[slices.IndexFunc(d.Rules, func(r Rule) bool { return r.Name == got.Rule })]
			if r.Then.Effect != Allow && r.Then.Effect != Require || r.Then.Effect == Require && len(r.Then.Require) == 0 {
				t.Fatalf("%+v allowed by %+v", got, r)
			}
		}
		d.Explain(roster, in)
	})
}

func wild(t *rapid.T, c *Condition) {
	switch rapid.IntRange(0, 6).Draw(t, "damage") {
	case 0:
		c.Op = Op(rapid.Byte().Draw(t, "op"))
	case 1:
		c.Set, c.Limits = nil, nil
	case 2:
		c.Sub = nil
	case 3:
		c.Set = append(c.Set, "label:nowhere", "group:nobody", "", "\x00")
	}
	for i := range c.Sub {
		wild(t, &c.Sub[i])
	}
}
