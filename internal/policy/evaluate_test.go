package policy

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

const payments = `
  "guards": [{"name": "known-bad", "when": {"anyRecipient": ["label:blocked"]}}],
  "rules": [
    {"name": "small-payments", "when": {"amountAtMost": ["2 ETH"]}, "then": "allow"},
    {"name": "large-payments", "when": {"all": [{"amountAtMost": ["100 ETH"]}, {"everyRecipient": ["label:known"]}]},
     "then": {"require": {"treasurers": 2}, "initiatorExcluded": true}}
  ]`

// TestDecisions is the product: verdict, reason and what would pass, word by word.
func TestDecisions(t *testing.T) {
	for _, c := range []struct {
		name   string
		rest   string
		in     Input
		allow  bool
		pend   bool
		code   string
		rule   string
		detail string
		fix    string
	}{
		{
			"small", payments, send(t, stranger, "0.5"), true, false, CodeAllow, "small-payments",
			"rule small-payments allows: amount 0.5 ETH to 0xde709f2102306220921060314715629080e2fb77 is at most 2 ETH", "",
		}, {
			"exactly the limit", payments, send(t, stranger, "2"), true, false, CodeAllow, "small-payments",
			"rule small-payments allows: amount 2 ETH to 0xde709f2102306220921060314715629080e2fb77 is at most 2 ETH", "",
		}, {
			"one approval of two", payments, send(t, acme, "5", approved("bob")), false, true, CodeApprovals, "large-payments",
			"rule small-payments does not match: amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is above 2 ETH; rule large-payments needs 2 approvals from treasurers, 1 given (bob)",
			"an amount of at most 2 ETH, or 1 more approval from treasurers (carol or dave)",
		}, {
			"no approval", payments, send(t, acme, "5"), false, true, CodeApprovals, "large-payments",
			"rule small-payments does not match: amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is above 2 ETH; rule large-payments needs 2 approvals from treasurers, none given",
			"an amount of at most 2 ETH, or 2 approvals from treasurers (bob, carol or dave)",
		}, {
			"two approvals", payments, send(t, acme, "5", approved("bob", "dave")), true, false, CodeAllow, "large-payments",
			"rule large-payments needs 2 approvals from treasurers, 2 given (bob, dave): amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is at most 100 ETH and recipient 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is in label known", "",
		}, {
			"the initiator's own approval", payments, send(t, acme, "5", by("bob"), approved("bob", "dave")), false, true, CodeApprovals, "large-payments",
			"rule small-payments does not match: amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is above 2 ETH; rule large-payments needs 2 approvals from treasurers, 1 given (dave), not counted: bob proposed it",
			"an amount of at most 2 ETH, or 1 more approval from treasurers (carol)",
		}, {
			"an outsider's approval", payments, send(t, acme, "5", approved("bob", "erin")), false, true, CodeApprovals, "large-payments",
			"rule small-payments does not match: amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is above 2 ETH; rule large-payments needs 2 approvals from treasurers, 1 given (bob), not counted: erin is not in treasurers",
			"an amount of at most 2 ETH, or 1 more approval from treasurers (carol or dave)",
		}, {
			"a treasurer says no", payments, send(t, acme, "5", approved("bob", "dave"), denied("carol")), false, false, CodeDenied, "large-payments",
			"rule small-payments does not match: amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is above 2 ETH; rule large-payments: carol of treasurers denied this request",
			"an amount of at most 2 ETH, or a new request that carol does not deny",
		}, {
			"an outsider says no", payments, send(t, acme, "5", approved("bob", "dave"), denied("erin")), true, false, CodeAllow, "large-payments",
			"rule large-payments needs 2 approvals from treasurers, 2 given (bob, dave): amount 5 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is at most 100 ETH and recipient 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is in label known", "",
		}, {
			"nothing matches", payments, send(t, stranger, "5"), false, false, CodeDefault, "",
			"rule small-payments does not match: amount 5 ETH to 0xde709f2102306220921060314715629080e2fb77 is above 2 ETH; rule large-payments does not match: recipient 0xde709f2102306220921060314715629080e2fb77 is not in label known; what no rule allows is denied",
			"an amount of at most 2 ETH, or only a recipient that is in label known, with 2 approvals from treasurers, not counting the initiator's own",
		}, {
			"a guard before a rule that would allow", payments, send(t, thief, "0.1", approved("bob", "dave")), false, false, CodeGuard, "known-bad",
			"guard known-bad denies: recipient 0x27b1fdb04752bbc536007a920d24acb045561c26 (blocked) is in label blocked",
			"a recipient that is not in label blocked",
		}, {
			"a deny rule before an allow rule",
			`"rules": [{"name": "stop", "when": {"anyAsset": ["ETH"]}, "then": "deny"}, {"name": "go", "when": {"chain": ["eip155:1"]}, "then": "allow"}]`,
			send(t, acme, "1"), false, false, CodeRule, "stop",
			"rule stop denies: asset ETH is listed", "an asset that is not ETH",
		}, {
			"no rules", `"rules": []`, send(t, acme, "1"), false, false, CodeDefault, "",
			"there is no rule, and what no rule allows is denied", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := testPolicy(t, c.rest).Evaluate(testRoster(t), c.in)
			if got.Allow != c.allow || got.Pending != c.pend || got.Code != c.code || got.Rule != c.rule {
				t.Errorf("got allow %v, pending %v, code %s, rule %q; want %v, %v, %s, %q", got.Allow, got.Pending, got.Code, got.Rule, c.allow, c.pend, c.code, c.rule)
			}
			if got.Detail != c.detail {
				t.Errorf("detail\n got  %s\n want %s", got.Detail, c.detail)
			}
			if got.Fix != c.fix {
				t.Errorf("fix\n got  %s\n want %s", got.Fix, c.fix)
			}
			if r := got.Refusal(); (r == nil) != c.allow {
				t.Errorf("refusal %v of a decision with allow %v", r, c.allow)
			}
		})
	}
}

func TestBuiltinGuards(t *testing.T) {
	d := testPolicy(t, `"rules": [{"name": "all", "when": {"chain": ["eip155:1", "eip155:5"]}, "then": "allow"}]`)
	roster := testRoster(t)
	if got := d.Evaluate(roster, send(t, acme, "1")); !got.Allow {
		t.Fatalf("the control is refused: %s", got.Detail)
	}
	for _, c := range []struct {
		name   string
		change func(*Input)
		code   string
		detail string
	}{
		{"undecoded", func(in *Input) { in.Effects.Undecoded = "method 0x12345678 is unknown" }, CodeUndecoded, "could not be understood: method 0x12345678 is unknown"},
		{"another chain", func(in *Input) { in.Effects.Chain = "eip155:5" }, CodeEffects, "chain is eip155:5, the request says eip155:1"},
		{"another sender", func(in *Input) { in.Effects.Sender = stranger }, CodeEffects, "sender is " + stranger},
		{"a higher fee", func(in *Input) { in.Effects.MaxFee = eths(t, "0.02") }, CodeEffects, "maximum fee is 20000000000000000, the request says at most 10000000000000000"},
		{"no request", func(in *Input) { in.Request = nil }, CodeInput, "to decide with"},
		{"no effects", func(in *Input) { in.Effects = nil }, CodeInput, "to decide with"},
		{"no signatures", func(in *Input) { in.Verified = nil }, CodeInput, "to decide with"},
	} {
		in := send(t, acme, "1", c.change)
		got := d.Evaluate(roster, in)
		if got.Allow || got.Pending || got.Code != c.code {
			t.Errorf("%s: %+v", c.name, got)
		}
		wantText(t, c.name, got.Detail, c.detail)
	}
	if got := d.Evaluate(nil, send(t, acme, "1")); got.Allow || got.Code != CodeInput {
		t.Errorf("no roster: %+v", got)
	}
	if got := (*Document)(nil).Evaluate(roster, send(t, acme, "1")); got.Allow || got.Code != CodeInput {
		t.Errorf("no policy: %+v", got)
	}
}

// TestRisk: a verdict that is not there stops at its rule. If it were passed over,
// whoever withholds it would choose the rule.
func TestRisk(t *testing.T) {
	const rest = `"rules": [
	  {"name": "screened", "when": {"risk": {"engine": "screening", "outcome": ["pass"]}}, "then": "allow"},
	  {"name": "flagged", "when": {"risk": {"engine": "screening", "outcome": ["hold"]}}, "then": {"require": {"compliance": 1}}},
	  {"name": "rest", "when": {"chain": ["eip155:1"]}, "then": "deny"}]`
	const passOnly = `"rules": [{"name": "screened", "when": {"risk": {"engine": "screening", "outcome": ["pass"]}}, "then": "allow"}]`
	const guard = `"guards": [{"name": "clean", "when": {"not": {"risk": {"engine": "screening", "outcome": ["pass"]}}}}],
	  "rules": [{"name": "all", "when": {"chain": ["eip155:1"]}, "then": "allow"}]`
	for _, c := range []struct {
		name, rest    string
		in            Input
		allow, pend   bool
		rule, details string
	}{
		{"pass", rest, send(t, acme, "1", screened(request.Pass)), true, false, "screened", "risk engine screening says pass"},
		{"missing stops", rest, send(t, acme, "1"), false, true, "screened", "rule screened waits: there is no verdict of risk engine screening yet"},
		{"hold goes to its rule", rest, send(t, acme, "1", screened(request.Hold, "new recipient")), false, true, "flagged", "needs 1 approval from compliance"},
		{"deny goes on", rest, send(t, acme, "1", screened(request.Deny)), false, false, "rest", "rule rest denies"},
		{"hold waits when no rule takes it", passOnly, send(t, acme, "1", screened(request.Hold, "new recipient")), false, true, "screened", "risk engine screening says hold (new recipient)"},
		{"deny does not wait", passOnly, send(t, acme, "1", screened(request.Deny, "stolen")), false, false, "", "risk engine screening says deny (stolen)"},
		{"a guard that needs pass: pass", guard, send(t, acme, "1", screened(request.Pass)), true, false, "all", ""},
		{"a guard that needs pass: missing", guard, send(t, acme, "1"), false, true, "clean", "guard clean cannot be passed yet"},
		{"a guard that needs pass: deny", guard, send(t, acme, "1", screened(request.Deny)), false, false, "clean", "guard clean denies: risk engine screening says deny"},
	} {
		got := testPolicy(t, c.rest).Evaluate(testRoster(t), c.in)
		if got.Allow != c.allow || got.Pending != c.pend || got.Rule != c.rule {
			t.Errorf("%s: got %+v", c.name, got)
		}
		wantText(t, c.name, got.Detail, c.details)
	}
}

// TestExpiredVerdictIsNamed: the verdict is there, but it does not count.
func TestExpiredVerdictIsNamed(t *testing.T) {
	d := when(t, `{"risk": {"engine": "screening", "outcome": ["pass"]}}`)
	in := send(t, acme, "1", func(in *Input) {
		in.Verified.Ignored = []identity.Ignored{{Principal: "screening", Why: "the risk verdict expired at 1970-01-01T00:00:00Z"}}
	})
	got := d.Evaluate(testRoster(t), in)
	if got.Allow || !got.Pending {
		t.Errorf("got %+v", got)
	}
	wantText(t, "detail", got.Detail, "there is no verdict of risk engine screening yet (the risk verdict expired at 1970-01-01T00:00:00Z)")
}

// TestExpiredApprovalIsNamed: neither counted nor forgotten.
func TestExpiredApprovalIsNamed(t *testing.T) {
	in := send(t, acme, "5", approved("bob"), func(in *Input) {
		in.Verified.Ignored = []identity.Ignored{
			{Principal: "dave", Why: "the approval expired at 1970-01-01T00:00:00Z"},
			{Principal: "screening", Why: "the risk verdict expired at 1970-01-01T00:00:00Z"},
		}
	})
	got := testPolicy(t, payments).Evaluate(testRoster(t), in)
	if !got.Pending {
		t.Errorf("got %+v", got)
	}
	if want := "1 given (bob), not counted: dave: the approval expired at 1970-01-01T00:00:00Z"; !strings.HasSuffix(got.Detail, want) {
		t.Errorf("detail %s, want it to end in %s", got.Detail, want)
	}
}

func TestAGuardThatDeniesWinsOverOneThatWaits(t *testing.T) {
	d := testPolicy(t, `"guards": [
	  {"name": "clean", "when": {"risk": {"engine": "screening", "outcome": ["deny"]}}},
	  {"name": "known-bad", "when": {"anyRecipient": ["label:blocked"]}}], "rules": []`)
	if got := d.Evaluate(testRoster(t), send(t, thief, "1")); got.Rule != "known-bad" || got.Pending {
		t.Errorf("got %+v", got)
	}
}

// TestEveryoneCountsOnce: carol is in both groups and cannot stand for both.
func TestEveryoneCountsOnce(t *testing.T) {
	d := testPolicy(t, `"rules": [{"name": "both", "when": {"chain": ["eip155:1"]}, "then": {"require": {"treasurers": 1, "compliance": 1}}}]`)
	roster := testRoster(t)
	for _, c := range []struct {
		who   []string
		allow bool
		fix   string
	}{
		{[]string{"carol"}, false, "1 approval from treasurers (bob or dave)"},
		{[]string{"bob", "carol"}, true, ""},
		{[]string{"carol", "erin"}, true, ""}, // carol must stand for treasurers, though compliance comes first
		{[]string{"bob", "dave"}, false, "1 approval from compliance (carol or erin)"},
		{[]string{"carol", "carol"}, false, "1 approval from treasurers (bob or dave)"},
	} {
		got := d.Evaluate(roster, send(t, acme, "1", approved(c.who...)))
		if got.Allow != c.allow || got.Fix != c.fix {
			t.Errorf("approved by %v: allow %v, fix %q; want %v, %q (%s)", c.who, got.Allow, got.Fix, c.allow, c.fix, got.Detail)
		}
	}
}

// TestUnmeetable: what can never pass does not wait for ever.
func TestUnmeetable(t *testing.T) {
	d := testPolicy(t, `"rules": [{"name": "two", "when": {"chain": ["eip155:1"]}, "then": {"require": {"compliance": 2}, "initiatorExcluded": true}}]`)
	got := d.Evaluate(testRoster(t), send(t, acme, "1", by("erin")))
	if got.Allow || got.Pending || got.Code != CodeUnmeetable {
		t.Errorf("got %+v", got)
	}
	if got := d.Evaluate(testRoster(t), send(t, acme, "1", by("alice"))); !got.Pending {
		t.Errorf("with enough others: %+v", got)
	}
}

func TestMissingIsForPrograms(t *testing.T) {
	d := testPolicy(t, payments)
	got := d.Evaluate(testRoster(t), send(t, acme, "5", approved("bob")))
	if len(got.Missing) != 1 || got.Missing[0].Group != "treasurers" || got.Missing[0].Count != 1 || len(got.Missing[0].From) != 2 {
		t.Errorf("missing %+v", got.Missing)
	}
	d = testPolicy(t, `"rules": [{"name": "r", "when": {"risk": {"engine": "screening", "outcome": ["pass"]}}, "then": {"require": {"treasurers": 2}}}]`)
	if got := d.Evaluate(testRoster(t), send(t, acme, "5")); got.Code != CodeRisk || len(got.Missing) != 1 || got.Missing[0].Count != 2 {
		t.Errorf("while the verdict is missing: %+v", got)
	}
}

func TestExplain(t *testing.T) {
	d := testPolicy(t, payments)
	x := d.Explain(testRoster(t), send(t, acme, "5", approved("bob")))
	if len(x.Guards) != 1 || len(x.Rules) != 2 {
		t.Fatalf("%d guards and %d rules", len(x.Guards), len(x.Rules))
	}
	if g := x.Guards[0]; g.Value != False || g.Decides || g.Then != "deny" {
		t.Errorf("guard %+v", g)
	}
	large := x.Rules[1]
	if large.Value != True || !large.Decides || x.Rules[0].Decides || large.Then != "require 2 approvals from treasurers, not counting the initiator's own" {
		t.Errorf("rule %+v", large)
	}
	if len(large.When.Sub) != 2 || large.When.Sub[0].Condition != "amountAtMost 100 ETH" || large.When.Sub[1].Condition != "everyRecipient label:known" {
		t.Errorf("conditions %+v", large.When.Sub)
	}
	roster, in := testRoster(t), send(t, acme, "1")
	for name, x := range map[string]Explanation{
		"roster": d.Explain(nil, in), "policy": (*Document)(nil).Explain(roster, in), "input": d.Explain(roster, Input{}),
	} {
		if x.Decision.Code != CodeInput || x.Rules != nil {
			t.Errorf("without a %s: %+v", name, x)
		}
	}
}

// TestFixes: the ways that are offered are the nearest ones, and they do not lead
// into another denial.
func TestFixes(t *testing.T) {
	rule := func(name, when, then string) string {
		return `{"name": "` + name + `", "when": ` + when + `, "then": ` + then + `}`
	}
	const below1, below2, below3, below4 = `{"amountAtMost": ["1 ETH"]}`, `{"amountAtMost": ["2 ETH"]}`, `{"amountAtMost": ["3 ETH"]}`, `{"amountAtMost": ["4 ETH"]}`
	for _, c := range []struct {
		name  string
		rules []string
		fix   string
	}{
		{"the rule that denies is no way out", []string{rule("stop", below1, `"deny"`), rule("go", below2, `"allow"`)}, "an amount of at most 2 ETH"},
		{"nothing but denials", []string{rule("stop", below1, `"deny"`)}, ""},
		{"the nearer rule", []string{
			rule("far", `{"all": [`+below1+`, {"everyRecipient": ["label:blocked"]}]}`, `"allow"`), rule("near", below2, `"allow"`),
		}, "an amount of at most 2 ETH"},
		{"the nearer rule first", []string{
			rule("near", below2, `"allow"`), rule("far", `{"all": [`+below1+`, {"everyRecipient": ["label:blocked"]}]}`, `"allow"`),
		}, "an amount of at most 2 ETH"},
		{"three of four", []string{rule("a", below1, `"allow"`), rule("b", below2, `"allow"`), rule("c", below3, `"allow"`), rule("d", below4, `"allow"`)},
			"an amount of at most 1 ETH, or an amount of at most 2 ETH, or an amount of at most 3 ETH"},
		{"an earlier rule that asks for approvals is no shortcut", []string{rule("a", below1, `{"require": {"treasurers": 1}}`), rule("b", yes, `{"require": {"compliance": 1}}`)},
			"1 approval from compliance (carol or erin)"},
		{"an earlier rule that denies is no shortcut", []string{rule("a", below1, `"deny"`), rule("b", yes, `{"require": {"compliance": 1}}`)},
			"1 approval from compliance (carol or erin)"},
		{"an earlier rule that is far away is no shortcut", []string{rule("a", `{"all": [`+below1+`, `+no+`]}`, `"allow"`), rule("b", yes, `{"require": {"compliance": 1}}`)},
			"1 approval from compliance (carol or erin)"},
	} {
		d := testPolicy(t, `"rules": [`+strings.Join(c.rules, ", ")+`]`)
		if got := d.Evaluate(testRoster(t), send(t, acme, "5")); got.Allow || got.Fix != c.fix {
			t.Errorf("%s\n got  %s\n want %s", c.name, got.Fix, c.fix)
		}
	}
	var rules []string
	for i := range 20 {
		rules = append(rules, rule("r"+strings.Repeat("x", i+1), no, `"allow"`))
	}
	got := testPolicy(t, `"rules": [`+strings.Join(rules, ", ")+`]`).Evaluate(testRoster(t), send(t, acme, "5"))
	wantText(t, "detail", got.Detail, "rule rxxxxxxxxxxxx does not match: chain eip155:1 is not eip155:5; 8 more rules do not match; what no rule allows is denied")
}
