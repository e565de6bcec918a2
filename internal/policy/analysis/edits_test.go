package analysis_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/analysis"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/signature"
)

// treasury is a policy such as a treasury has.
const treasury = `
currency: USD
prices: {sources: [desk, feed], agree: 2, tolerance: 1%, maxAge: 60s}
assets:
  DAI: {id: eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F, decimals: 18}
  ETH: {id: eip155:1/slip44:60, decimals: 18}
zones: {Europe/Zurich: 2035}
addressBook:
  blocked: [eip155:1:0x000000000000000000000000000000000000dEaD]
  known: [eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D]
limits:
  - {name: daily, max: 10 ETH, per: [wallet], window: 24h}
  - {name: monthly, max: "250,000 USD", window: {calendar: month, zone: Europe/Zurich}}
guards:
  - {name: bad, when: 'transfers.exists(t, t.to.labelled("blocked"))'}
rules:
  - name: small
    when: onlyTransfers && transfers.all(t, t.to.labelled("known")) && total("ETH") <= amount("1 ETH") && total("DAI") <= amount("1,000 DAI") && within("daily") && risk("screening").outcome == "pass"
    then: allow
  - name: hours
    when: during("Mon-Fri 08:00-18:00 Europe/Zurich") && onlyTransfers && value() <= money("10,000 USD") && within("monthly") && initiator.inGroup("traders")
    then: {require: {treasurers: 1}, initiatorExcluded: true}
  - name: large
    when: onlyTransfers && total("ETH") <= amount("100 ETH")
    then: {require: {treasurers: 2}, initiatorExcluded: true}
`

func treasuryRoster(t *testing.T) *identity.Roster {
	t.Helper()
	ro := &identity.Roster{AdminQuorum: 2, Groups: []identity.Group{
		{Name: "admins", Members: []string{"alice", "bob", "carol"}}, {Name: "traders", Members: []string{"alice"}}, {Name: "treasurers", Members: []string{"bob", "carol", "dave"}}}}
	kinds := map[string]identity.Kind{"screening": identity.Risk, "desk": identity.Source, "feed": identity.Source}
	for _, id := range []string{"alice", "bob", "carol", "dave", "desk", "feed", "screening"} {
		kind := kinds[id]
		if kind == 0 {
			kind = identity.Person
		}
		seed := sha256.Sum256([]byte(id))
		key := signature.PublicKey{Algorithm: signature.Ed25519, Key: string(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))}
		ro.Principals = append(ro.Principals, identity.Principal{ID: id, Kind: kind, Credentials: []signature.PublicKey{key}})
	}
	ro.Sort()
	return ro
}

// TestCommonEdits: the widenings that people make most are found, with an example.
// Taking one back need not tighten: what a rule does not match any more, a later one
// may let pass without the verdict that it waited for.
func TestCommonEdits(t *testing.T) {
	ro := treasuryRoster(t)
	for _, c := range []struct{ name, from, to string }{
		{"amount of a rule", `amount("1 ETH")`, `amount("2 ETH")`},
		{"money of a rule", `money("10,000 USD")`, `money("20,000 USD")`},
		{"limit's maximum", `max: 10 ETH`, `max: 20 ETH`},
		{"money limit's maximum", `"250,000 USD", window`, `"300,000 USD", window`},
		{"label grew", `known: [eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D]`, `known: [eip155:1:0x52908400098527886E0F7030069857D2E4169EE7, eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D]`},
		{"blocked shrank", `[eip155:1:0x000000000000000000000000000000000000dEaD]`, `[]`},
		{"threshold lowered", `{treasurers: 2}`, `{treasurers: 1}`},
		{"initiator counts", `{require: {treasurers: 2}, initiatorExcluded: true}`, `{require: {treasurers: 2}}`},
		{"group changed", `initiator.inGroup("traders")`, `initiator.inGroup("treasurers")`},
		{"hours widened", `Mon-Fri 08:00-18:00`, `Mon-Sat 08:00-18:00`},
		{"evening added", `08:00-18:00`, `08:00-20:00`},
		{"condition dropped", ` && within("monthly")`, ``},
		{"verdict dropped", ` && risk("screening").outcome == "pass"`, ``},
		{"rule added", "  - name: large", "  - name: dai\n    when: onlyTransfers && total(\"DAI\") <= amount(\"5 DAI\")\n    then: allow\n  - name: large"},
		{"tolerance", `tolerance: 1%`, `tolerance: 2%`},
		{"age of prices", `maxAge: 60s`, `maxAge: 120s`},
		{"sources agree", `agree: 2`, `agree: 1`},
		{"limit's window", `window: 24h`, `window: 12h`},
		{"limit per", `per: [wallet], window`, `per: [wallet, destination], window`},
		{"zone renewed", `Europe/Zurich: 2035`, `Europe/Zurich: 2036`},
	} {
		text := strings.Replace(treasury, c.from, c.to, 1)
		if text == treasury {
			t.Fatalf("%s: nothing changed", c.name)
		}
		old, wide := compiled(t, treasury), compiled(t, text)
		there, back := analysis.Classify(old, wide, ro, ro), analysis.Classify(wide, old, ro, ro)
		want, wantBack := analysis.Loosening, analysis.Class(0)
		switch c.name {
		case "tolerance", "age of prices", "sources agree", "limit per":
			want = analysis.Unknown // prices and how a limit parts its counters are not in the fragment
		case "blocked shrank", "threshold lowered", "initiator counts":
			wantBack = analysis.Tightening
		}
		if there.Class != want || want == analysis.Loosening && there.Example == nil {
			t.Errorf("%s: %s (%s), want %s with an example", c.name, there.Class, there.Reason, want)
		}
		if wantBack != 0 && back.Class != wantBack {
			t.Errorf("%s, taken back: %s (%s), want %s", c.name, back.Class, back.Reason, wantBack)
		}
	}
}

// TestNarrowingOfTheGuide: what docs/policy.md says of narrowing a rule. With the risk
// verdict in the rule it loosens; with the verdict in a guard it tightens.
func TestNarrowingOfTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml policy\n(.*?)```")
	_, after, found := strings.Cut(string(guide), "## Narrowing a rule can loosen the policy")
	if !found {
		t.Fatal("the guide does not speak of narrowing")
	}
	ro := treasuryRoster(t)
	for _, c := range []struct {
		name, text, from, to string
		want                 analysis.Class
	}{
		{"in the rule", block.FindStringSubmatch(string(guide))[1], `&& total("ETH") <= amount("1.5 ETH")`, `&& total("ETH") <= amount("1.5 ETH") && total("ETH") <= amount("1 ETH")`, analysis.Loosening},
		{"in a guard", block.FindStringSubmatch(after)[1], `amount("1 ETH")`, `amount("0.5 ETH")`, analysis.Tightening},
	} {
		text := strings.Replace(c.text, c.from, c.to, 1)
		if text == c.text {
			t.Fatalf("%s: nothing changed", c.name)
		}
		if got := analysis.Classify(compiled(t, c.text), compiled(t, text), ro, ro); got.Class != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got.Class, got.Reason, c.want)
		}
	}
}

func compiled(t *testing.T, text string) *policy.Document {
	t.Helper()
	d, err := source.Compile([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
