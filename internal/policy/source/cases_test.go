package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

const policyOfCases = `
currency: USD
prices: {sources: [kraken, coinbase], agree: 2, tolerance: 1%, maxAge: 60s}
assets:
  ETH: {id: eip155:1/slip44:60, decimals: 18}
  DAI: {id: eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F, decimals: 18}
wallets: {treasury: "00000000000000000000000000000000000000000000000000000000000000aa"}
addressBook:
  known: [eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D]
  router: [eip155:1:0x27b1fdb04752bbc536007a920d24acb045561c26]
methods: ["swap(address to,uint256 amount)"]
zones: {Europe/Zurich: 2030}
limits:
  - {name: daily, max: 10 ETH, per: [wallet], window: 24h}
  - {name: money, max: "50,000 USD", window: {calendar: month, zone: Europe/Zurich}}
guards:
  - name: unlimited
    when: allowances.exists(a, a.unlimited)
rules:
  - name: small
    when: |
      onlyTransfers && transfers.all(t, t.to.labelled("known")) && within("daily") && within("money")
        && risk("screening").outcome == "pass" && fee <= amount("0.05 ETH")
    then: allow
  - name: audited
    when: creations.size() == 1 && creations.all(n, n.code == "0xaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaBaB") && calls.size() + transfers.size() == 0
    then: allow
  - name: swap
    when: |
      calls.all(c, c.method == "swap(address,uint256)" && c.to.labelled("router")
        && c.address("to") == sender && c.uint("amount") <= units("5 DAI")) && calls.size() == 1
    then: {require: {treasurers: 2}, initiatorExcluded: true}
  - name: permit
    when: message.present && message.type == "Permit" && message.uint("value") <= units("100 DAI")
    then: {require: {treasurers: 1}}
`

const cases = `
people: {alice: [traders], bob: [treasurers], carol: [treasurers], bot: {kind: service, groups: [traders]}}
defaults:
  chain: eip155:1
  wallet: treasury
  sender: "0x52908400098527886E0F7030069857D2E4169EE7"
  by: alice
  at: 2026-06-01T10:00:00Z
  fee: 0.01 ETH
  risk: {screening: pass}
  prices: {ETH: "3,000 USD", DAI: 1 USD}
cases:
  - name: a small payment
    transfers: [{to: known, amount: 1 ETH}]
    expect: {verdict: allow, rule: small}
  - name: tokens count, too
    transfers: [{to: known, amount: 100 DAI}]
    expect: allow
  - name: the day's limit
    transfers: [{to: known, amount: 2 ETH}]
    past:
      - {at: -23h, transfers: [{to: known, amount: 8.5 ETH}]}
    expect: {verdict: deny, rule: none, detail: daily}
  - name: the day's limit of yesterday
    transfers: [{to: known, amount: 2 ETH}]
    past:
      - {at: -25h, transfers: [{to: known, amount: 8.5 ETH}]}
    expect: allow
  - name: no verdict yet
    transfers: [{to: known, amount: 1 ETH}]
    risk: {}
    expect: {verdict: wait, code: policy.risk}
  - name: stale prices
    transfers: [{to: known, amount: 1 ETH}]
    prices: [{source: kraken, at: -2m, ETH: 3000 USD}, {source: coinbase, at: -1s, ETH: 3000 USD}]
    expect: {verdict: deny, code: price.stale}
  - name: unlimited allowance
    allowances: [{spender: router, amount: unlimited DAI}]
    expect: {verdict: deny, rule: unlimited}
  - name: swap, one approval missing
    calls: [{to: router, method: "swap(address to, uint256 amount)", args: {to: "0x52908400098527886E0F7030069857D2E4169EE7", amount: 5 DAI}}]
    approvedBy: [bob]
    expect: {verdict: wait, rule: swap, missing: carol}
  - name: permit
    message: {type: Permit, name: Dai, version: "1", contract: "0x6B175474E89094C44Da98b954EedeAC495271d0F", fields: {spender: router, value: 100 DAI, nonce: 1}}
    approvedBy: [bob]
    expect: {verdict: allow, rule: permit}
  - name: the audited code
    creations: [{value: 0 ETH, code: "0xabababababababababababababababababababababababababababababababab"}]
    expect: {verdict: allow, rule: audited}
  - name: other code
    creations: [{value: 0 ETH, code: "0xacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac"}]
    expect: {verdict: deny, rule: none}
  - name: not understood
    undecoded: a method that nobody declared
    expect: {verdict: deny, code: policy.undecoded}
`

func TestCases(t *testing.T) {
	d := MustCompile(policyOfCases)
	cs, err := ParseCases([]byte(cases), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cs.List) != 12 {
		t.Fatalf("%d cases", len(cs.List))
	}
	for _, o := range cs.Run(d) {
		if !o.Passes {
			t.Errorf("line %d, %s:\n%s\n%s\nwould pass: %s", o.Line, o.Name, strings.Join(o.Wrong, "\n"), o.Result.Detail, o.Result.Fix)
		}
	}
}

// A case that expects something else fails and says how.
func TestCaseFails(t *testing.T) {
	d := MustCompile(policyOfCases)
	wrong := strings.Replace(cases, "expect: {verdict: allow, rule: small}", "expect: {verdict: deny, rule: swap, code: policy.rule, detail: xyz, missing: nobody}", 1)
	cs, err := ParseCases([]byte(wrong), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := cs.Run(d)[0]
	got := strings.Join(o.Wrong, "\n")
	for _, want := range []string{"- decision deny, by swap\n+ decision allow, by small", "- code policy.rule\n+ code policy.allow", "- detail …xyz…", "- missing …nobody…"} {
		if o.Passes || !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
}

func TestCasesRefuse(t *testing.T) {
	d := MustCompile(policyOfCases)
	for _, c := range []struct{ old, new, want string }{
		{"by: alice", "by: alicia", `the roster has no principal "alicia"; did you mean "alice"?`},
		{"approvedBy: [bob]", "approvedBy: [bot]", `the roster has no person "bot"`},
		{"to: known, amount: 1 ETH", "to: knwon, amount: 1 ETH", `did you mean "known"?`},
		{"amount: 1 ETH", "amount: 1 BTC", `unknown asset "BTC"`},
		{"wallet: treasury", "wallet: tresury", `did you mean "treasury"?`},
		{"screening: pass", "screning: pass", `the roster has no risk engine "screning"; did you mean "screening"?`},
		{"{verdict: allow, rule: small}", "permit", `"permit" is not one of allow, deny, wait`},
		{"at: -23h", "at: -23x", "want a time"},
		{"name: permit", "name: not understood", "another case has this name"},
		{"    expect: allow\n", "    expekt: allow\n", `did you mean "expect"?`},
		{"fee: 0.01 ETH", "fee: 0.01 DAI", "fees are paid in ETH"},
		{"people: {", "peeple: {", `did you mean "people"?`},
		{"ETH: \"3,000 USD\"", "ETH: 3000 EUR", `unknown unit "EUR"`},
	} {
		_, err := ParseCases([]byte(strings.Replace(cases, c.old, c.new, 1)), d, nil)
		var list Errors
		if !errors.As(err, &list) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.new, err, c.want)
		}
	}
}

var _ policy.Ledger = policy.MemoryLedger(nil)
