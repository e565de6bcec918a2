package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

const sample = `
currency: USD
prices: {sources: [kraken, coinbase], agree: 2, tolerance: 1%, maxAge: 60s}
assets:
  ETH: {id: "eip155:1/slip44:60", decimals: 18}
  DAI: {id: "eip155:1/erc20:0x6b175474e89094c44da98b954eedeac495271d0f", decimals: 18}
wallets:
  treasury: "00000000000000000000000000000000000000000000000000000000000000aa"
addressBook:
  known: ["eip155:1:0x8617e340b3d01fa5f11f306f4090fd50e238070d"]
methods:
  - swap(address token,uint256 amount)
  - {contract: "eip155:1:0x8617e340b3d01fa5f11f306f4090fd50e238070d", signature: "deposit(uint256 amount)"}
zones: {Europe/Zurich: 2030, UTC: 2050}
limits:
  - {name: daily, max: 10 ETH, per: [wallet, initiator], window: 24h}
  - {name: monthly, max: "100,000 USD", window: {calendar: month, zone: Europe/Zurich}}
  - {name: often, max: 20 requests, window: 7d}
guards:
  - name: known-bad
    when: |
      transfers.exists(t, !t.to.labelled("known"))
        || value() > money("1,000,000 USD")
rules:
  - name: small
    when: >-
      onlyTransfers && total("ETH") <= amount("1.5 ETH")
      && fee <= amount("0.05 ETH") && within("daily") && used("monthly") * 2 < money("5 USD")
      && during("Mon-Fri 08:00-18:00 Europe/Zurich") && risk("screening").outcome == "pass"
    then: allow
  - name: swap
    when: calls.all(c, c.method == "swap(address token, uint256 amount)" && c.uint("amount") <= units("5 DAI") && c.uint("x") < 100000000000000000000000) && calls.filter(c, c.to.labelled("known")).size() == 1 && wallet == "treasury" && !(initiator in ["bob", "alice"])
    then: {require: {treasurers: 2}, initiatorExcluded: true}
    breakGlass: true
invariants:
  - name: nobody-alone
    when: 'total("ETH") > amount("10 ETH") && approvers.exists(a, a.inGroup("treasurers"))'
    atLeast: {approvals: 2}
`

// facts is the sample without guards, rules and invariants.
var facts = sample[:strings.Index(sample, "guards:")]

func TestCompile(t *testing.T) {
	d, err := Compile([]byte(sample), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Guards) != 1 || len(d.Rules) != 2 || len(d.Invariants) != 1 || len(d.Limits) != 3 || len(d.Zones) != 2 {
		t.Fatalf("parts are missing: %+v", d)
	}
	and := d.Rules[0].When
	if and.Op != policy.OpAnd || len(and.Args) != 7 {
		t.Fatalf("a chain of && is one operator: %s with %d operands", and.Op, len(and.Args))
	}
	if n := and.Args[1].Args[1].Num; n.Dec() != "1500000000000000000" {
		t.Errorf("1.5 ETH are %s", n.Dec())
	}
	if n := d.Limits[1].Max; n.Dec() != "100000000000" {
		t.Errorf("100,000 USD are %s", n.Dec())
	}
	swap := d.Rules[1].When.Args[0].Args[1]
	if got := swap.Args[0].Args[1].Text; got != "swap(address,uint256)" {
		t.Errorf("the method is %s", got)
	}
	if got := swap.Args[2].Args[1].Num; got.Dec() != "100000000000000000000000" {
		t.Errorf("a number above 64 bits is %s", got.Dec())
	}
	if got := d.Rules[1].When.Args[2].Args[1].Text; got != walletID {
		t.Errorf("wallet treasury is %s", got)
	}
	if p := d.Prices; p.Tolerance != 100 || p.MaxAge != 60000 || p.Agree != 2 {
		t.Errorf("prices %+v", p)
	}
	if !d.Rules[1].BreakGlass || d.Rules[0].BreakGlass {
		t.Error("break-glass is another rule")
	}
}

// Every error stands at its place, says what is wrong and what is meant.
func TestConditionErrors(t *testing.T) {
	for _, c := range []struct{ condition, mark, want string }{
		{`total("ETHH") <= amount("1 ETH")`, `"ETHH"`, `unknown asset "ETHH"; did you mean "ETH"?`},
		{`totl("ETH") <= amount("1 ETH")`, `totl`, `unknown function totl; did you mean "total"?`},
		{`onlyTransfer && true`, `onlyTransfer`, `unknown name onlyTransfer; did you mean "onlyTransfers"?`},
		{`value == money("1 USD")`, `value`, "value is a function: write value()"},
		{`ETH <= 5`, `ETH`, `an asset is text, "ETH"`},
		{`transfers.all(t, t.amout > amount("1 ETH"))`, `amout`, `unknown field amout of a transfer; did you mean "amount"?`},
		{`calls.exists(c, c.payload == 1)`, `payload`, `there are depth, from, method, to, value, uint(…), address(…), text(…), flag(…)`},
		{`message.presnt`, `presnt`, `unknown field presnt of a message; did you mean "present"?`},
		{`fee <= 1`, `<=`, `<= does not take an amount and a number; write an amount as amount("2 ETH")`},
		{`fee <= amount("1.0000000000000000001 ETH")`, `"1.000`, "19 decimals, ETH has at most 18"},
		{`value() > money("10,00 USD")`, `"10,00`, "commas part thousands"},
		{`value() > money("0.0000001 USD")`, `"0.0`, "7 decimals, USD has at most 6"},
		{`fee <= amount("5")`, `"5"`, "names no unit"},
		{`fee <= amount("5 USD")`, `"5 USD"`, `USD is the currency and no asset; write money("5 USD")`},
		{`fee <= amount("5 eth") and true`, `and`, "write && for and"},
		{`chain = "eip155:1"`, `=`, "a single =; compare with =="},
		{`chain == "eip155:1" & true`, `&`, "a single &"},
		{`true && (`, ``, "ends too early"},
		{`chain == "eip155:1`, `"`, "a text that does not end"},
		{`true # why`, `#`, "comments begin with //"},
		{`true $ false`, `$`, "unexpected character"},
		{`transfers[0].to == "a"`, `[`, "an index"},
		{`has(message.type)`, `has`, "ask message.present"},
		{`-1 < 2`, `-`, "a negative number"},
		{`risk("x").score - -transfers.size() < 2`, `-t`, "a minus sign"},
		{`1.5 < 2`, `1.5`, "a fraction"},
		{`5u < 6`, `5u`, "write the number as it is, 5"},
		{`null == 1`, `null`, "null"},
		{`b"a" == "a"`, `b"`, "bytes"},
		{`{"a": 1}.size() == 1`, `{`, "a map"},
		{`transfers.map(t, t.to).size() == 1`, `map`, "map is not there"},
		{`chain.startsWith("eip")`, `startsWith`, "there are no patterns"},
		{`chain.matches("eip.*")`, `matches`, "there are no patterns"},
		{`dyn(1) == 1`, `dyn`, "every value has one type"},
		{`timestamp("2020-01-01T00:00:00Z") == 1`, `timestamp`, "during, before and after"},
		{`initiator.inGroup("x y")`, `"x y"`, `name "x y"`},
		{`sender.inGroup("x")`, `sender`, "this is not a principal"},
		{`initiator.labelled("known")`, `initiator`, "this is not an account"},
		{`sender.labelled("knwon")`, `"knwon"`, `unknown label "knwon"; did you mean "known"?`},
		{`within("dialy")`, `"dialy"`, `unknown limit "dialy"; did you mean "daily"?`},
		{`used("dialy") > amount("1 ETH")`, `"dialy"`, `unknown limit "dialy"; did you mean "daily"?`},
		{`used("daily") <= 5`, `<=`, "<= does not take an amount and a number"},
		{`transfers.all(t, t.to == "known")`, `"known"`, `for the label write …labelled("known")`},
		{`sender == "0x8617E340B3D01FA5F11F306F4090FD50E238070D"`, `"0x`, "eip155:1:0x8617"},
		{`sender == "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070d"`, `"eip`, "checksum"},
		{`total("DAI") > amount("1 ETH")`, `>`, "mixes amounts of DAI and ETH"},
		{`amount("1 DAI") + fee + amount("1 ETH") > fee`, `+ amount("1 ETH")`, "mixes amounts"},
		{`initiator`, `initiator`, "a condition is true or false, this is text"},
		{`calls.all(c, c.uint(c.method) > 0)`, `.method`, `want text in quotes: c.uint("amount")`},
		{`true ? transfers.size() : 1`, `?`, "a condition is true or false, this is a number"},
		{`amount(5) > fee`, `amount`, `amount does not take a number; write it as amount("2 ETH")`},
		{`"a" in chain`, `in`, "in takes text and a list of texts"},
		{`chain in []`, `[`, "an empty list"},
		{`chain in ["eip155:1", "eip155:1"]`, `"eip155:1"]`, "twice"},
		{`initiator in approvers`, `approvers`, "in wants a list that is written out"},
		{`during("Mon-Fri 08:00-18:00 Europe/Zuric")`, `"Mon`, `did you mean "Europe/Zurich"?`},
		{`during("Mun 08:00-18:00 UTC")`, `"Mun`, "is no day"},
		{`after("2020")`, `"2020"`, "2027-01-01T00:00:00Z"},
		{`transfers.exists(t, t == t)`, `==`, "== does not take"},
		{`sender == initiator`, `==`, "never equal"},
		{`transfers.all(chain, true)`, `all`, "has a meaning already"},
		{`transfers.all(t, calls.all(t, true))`, `all(t, true`, "has a meaning already"},
		{`transfers.filter(t, true) == transfers`, `==`, "== does not take"},
		{`(transfers + transfers).size() > 1`, `+`, "want one of the lists"},
		{`calls.exists(c, c.method == "swap")`, `"swap"`, "there are swap(address,uint256)"},
		{`risk("x").outcome == "passed"`, `"passed"`, `did you mean "pass"?`},
		{`risk("x")`, `risk`, "this is a risk verdict"},
		{`onlyTransfers && total("ETH")`, `total`, `want a condition here, this is an amount; compare it, such as total("ETH") <= amount("2 ETH")`},
		{`onlyTransfers && chain`, `chain`, `this is text; compare it, such as chain == "eip155:1"`},
		{`wallet == "tresury"`, `"tresury"`, `did you mean "treasury"?`},
		{`115792089237316195423570985008687907853269984665640564039457584007913129639936 == 1`, `1157`, "above 256 bits"},
		{`transfers.all(t, calls.all(c, approvers.all(a, true)))`, `all(a`, "quantifiers are nested more than 2 deep"},
		{``, ``, "an empty condition"},
	} {
		text := facts + "rules:\n- name: a\n  then: allow\n  when: |\n    " + c.condition + "\n"
		_, err := Compile([]byte(text), nil)
		var list Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		found := false
		for _, e := range list {
			found = found || strings.Contains(e.Text, c.want)
		}
		line := strings.Count(facts, "\n") + 5
		column := 5 + len([]rune(c.condition[:max(strings.Index(c.condition, c.mark), 0)]))
		if c.mark == "" {
			column = list[0].Column
			line = list[0].Line
		}
		if e := list[0]; !found || e.Line != line || e.Column != column || !strings.HasPrefix(e.Path, "rules[0] (a).when") {
			t.Errorf("%s: %v, want line %d, column %d: %s", c.condition, err, line, column, c.want)
		}
	}
}

// The place of an error inside a condition, however YAML writes it.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct{ when, mark string }{
		"plain":          {"  when: true && foo", "foo"},
		"plain, folded":  {"  when: true &&\n     true\n\n     && foo", "foo"},
		"single quotes":  {"  when: 'chain == ''eip155:1'' && foo'", "foo"},
		"double quotes":  {`  when: "chain == \"eip155:1\" &&\u0020foo"`, "foo"},
		"escaped line":   {"  when: \"true &&\\n  \\\n    \\t  foo\"", "foo"},
		"literal":        {"  when: |\n      true\n        && true\n\n      && foo // comment", "foo"},
		"literal, keep":  {"  when: |2+\n       true\n     && foo\n\n", "foo"},
		"folded":         {"  when: >-\n      true\n      && true\n\n      && foo", "foo"},
		"not ASCII":      {"  when: 'message.text(\"é\") == \"ü😀\" && foo'", "foo"},
		"carriage feeds": {"  when: |\r\n    true\r\n    && foo", "foo"},
		"JSON":           {`  "when": "risk(\"a\").outcome == \"pass\" && foo"`, "foo"},
		"flow":           {"  when: {}", "{}"},
	} {
		text := facts + "rules:\n-\n  name: a\n  then: allow\n" + c.when + "\n"
		_, err := Compile([]byte(text), nil)
		var list Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		before, _, _ := strings.Cut(text, c.mark)
		before = strings.ReplaceAll(before, "\r", "")
		line := strings.Count(before, "\n") + 1
		column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
		if list[0].Line != line || list[0].Column != column {
			t.Errorf("%s: %v, want line %d, column %d", name, err, line, column)
		}
	}
}

// What is wrong outside of conditions.
func TestSectionErrors(t *testing.T) {
	const rules = "\nrules: []\n"
	for _, c := range []struct{ text, want string }{
		{"rulez: []\nrules: []", `line 1, column 1: rulez: unknown field, want one of currency, prices, assets, wallets, addressBook, methods, zones, limits, guards, rules, invariants; did you mean "rules"?`},
		{"zones: {UTC: 2030}", "the field rules is missing"},
		{"currency: USD" + rules, "a currency needs prices"},
		{"prices: {sources: [a], agree: 1, tolerance: 1%, maxAge: 1m}" + rules, "there is no currency"},
		{"currency: USD\nprices: {sources: [a], agree: 2, tolerance: 1%, maxAge: 1m}" + rules, "line 2, column 31: prices.agree: 2 sources must agree, of 1"},
		{"currency: USD\nprices: {sources: [a], agree: 1, tolerance: 0.001%, maxAge: 1m}" + rules, "want a percentage"},
		{"currency: USD\nprices: {sources: [a], agree: 1, tolerance: 1%, maxAge: 2d}" + rules, "2d, at most 1 days"},
		{"assets: {ETH: {id: ether, decimals: 18}}" + rules, "line 1, column 20: assets.ETH.id"},
		{"assets: {ETH: {id: eip155:1/slip44:60, decimals: 78}}" + rules, "78, want a whole number from 0 to 77"},
		{"assets: {ETH: {id: eip155:1/slip44:60, decimals: 0x12}}" + rules, "0x12, want a whole number"},
		{"assets: {ETH: {id: eip155:1/slip44:60, decimals: 18}, eth: {id: eip155:2/slip44:60, decimals: 18}}" + rules, "there is an asset with the symbol ETH already"},
		{"assets: {ETH: {id: eip155:1/slip44:60, decimals: 18, foo: 1}}" + rules, "unknown field"},
		{"wallets: {a: 12}" + rules, "this is a number, want a wallet id"},
		{"addressBook: {known: [0x8617E340B3D01FA5F11F306F4090FD50E238070D]}" + rules, "want a CAIP-10 account"},
		{"methods: [swap]" + rules, `want the types in parentheses`},
		{"zones: {Europe/Zuerich: 2030}" + rules, `line 1, column 9: zones.Europe/Zuerich: the tz database has no zone "Europe/Zuerich"; did you mean "Europe/Zurich"?`},
		{"zones: {UTC: 1999}" + rules, "want a whole number from 2021 to 2099"},
		{"limits: [{name: a, max: 5 ETH, window: 1h}]" + rules, `unknown asset "ETH"`},
		{"limits: [{name: a, max: 5 requests, window: 400d}]" + rules, "400d, at most 366 days"},
		{"limits: [{name: a, max: 5 requests, window: {calendar: day, zone: UTC}}]" + rules, "the section zones has no \"UTC\"; add it, zones: {UTC: 2035}"},
		{"limits: [{name: a, max: 5 requests, per: [walet], window: 1d}]" + rules, `did you mean "wallet"?`},
		{"limits: [{name: a, max: 1.5 requests, window: 1d}]" + rules, "want a whole number of requests"},
		{"rules: [{name: a, when: true, then: alow}]", `"alow" is not one of allow, deny; did you mean "allow"?`},
		{"rules: [{name: a, when: true, then: {require: {b: 17}}}]", "17, want a whole number from 1 to 16"},
		{"rules: [{name: a, when: true, then: deny, breakGlass: true}]", "a break-glass rule allows something"},
		{"rules: [{name: a, when: true, then: deny}, {name: a, when: true, then: deny}]", "rules[1] (a).name: the name \"a\" is taken"},
		{"rules: [{name: undecoded, when: true, then: deny}]", "built in"},
		{"rules: []\ninvariants: [{name: a, when: true, atLeast: {approvals: 0}}]", "0, want a whole number from 1 to 16"},
		{"rules: []\ninvariants: [{name: a, when: true, atLeast: allow}]", `"allow" is not one of deny`},
		{"rules: [{name: a, when: 5, then: deny}]", "this is a number, want a condition"},
	} {
		_, err := Compile([]byte(c.text), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

// Input that no person writes, and input that means two things.
func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"10 MB":            {strings.Repeat("# policy\n", 10<<20/9), "bytes, at most 4194304"},
		"deep lists":       {strings.Repeat("[", 100000), "nested deeper than"},
		"deep blocks":      {deepBlocks(2000), "nested deeper than"},
		"deep condition":   {"rules: [{name: a, then: deny, when: '" + strings.Repeat("(", 20000) + "'}]", "rules[0] (a).when"},
		"deep negation":    {"rules: [{name: a, then: deny, when: '" + strings.Repeat("!(", 500) + "true" + strings.Repeat(")", 500) + "'}]", "rules[0] (a).when"},
		"long condition":   {"rules: [{name: a, then: deny, when: '" + strings.Repeat("true && ", 10000) + "true'}]", "at most 32768"},
		"many operands":    {"rules: [{name: a, then: deny, when: '" + strings.Repeat("true && ", 300) + "true'}]", "operands, want 2 to 256"},
		"anchor":           {"currency: &x USD\nrules: []", "line 1, column 11: currency: an anchor (&x)"},
		"alias":            {"currency: USD\nassets: *x\nrules: []", "unknown anchor"},
		"alias of anchor":  {"assets: &x {}\nrules: *x", "an alias (*x)"},
		"merge key":        {"<<: {rules: []}", "a merge key"},
		"tag":              {"currency: !!str USD\nrules: []", "a tag (!!str)"},
		"twice":            {"rules: []\nrules: []", "line 2, column 1: rules: this field stands here twice"},
		"twice in JSON":    {`{"rules": [], "rules": []}`, "stands here twice"},
		"documents":        {"rules: []\n---\nrules: []", "line 2, column 1: a second document"},
		"empty":            {"", "the file is empty"},
		"comment only":     {"# nothing\n", "the file is empty"},
		"null":             {"null", "this is nothing, want a mapping"},
		"list":             {"[]", "this is a list, want a mapping"},
		"not UTF-8":        {"rules: []\n# \xff", "line 2, column 3: not UTF-8 text"},
		"half JSON":        {`{"rules": [`, "neither YAML nor JSON"},
		"tab":              {"rules:\n\t- name: a", "line 2, column 1: neither YAML nor JSON: a tab before the first word; YAML indents with spaces"},
		"many rules":       {"rules:\n" + manyRules(), "line 2, column 3: rules: 257 of them, at most 256; join rules of one verdict"},
		"list as a key":    {"[a]: b\nrules: []", "a field's name is a list"},
		"old Mac":          {"rules: []\r# x", ""},
		"control in text":  {"rules: [{name: a, then: deny, when: \"message.type == \\\"a\\x07\\\"\"}]", "U+0007"},
		"reversed writing": {"rules: [{name: a, then: deny, when: 'message.type == \"\u202e\"'}]", "U+202E"},
	} {
		_, err := Compile([]byte(c.text), nil)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %.300v, want %s", name, err, c.want)
		}
	}
}

func manyRules() string {
	var b strings.Builder
	for i := range policy.MaxRules + 1 {
		fmt.Fprintf(&b, "  - {name: r%d, when: true, then: allow}\n", i)
	}
	return b.String()
}

// TestLocate: findings about names are shown with their lines.
func TestLocate(t *testing.T) {
	file := []byte("zones:\n  UTC: 2035\nguards:\n- {name: a, when: false}\nrules:\n- {name: b, when: true, then: allow}\n- {when: true, name: c, then: deny}\n")
	for place, want := range map[string][2]int{
		"guard a": {4, 10}, "rule b": {6, 10}, "rule c": {7, 22}, "zone UTC": {2, 3},
		"rule a": {0, 0}, "limit a": {0, 0}, "zone CET": {0, 0}, "policy ": {0, 0},
	} {
		kind, name, _ := strings.Cut(place, " ")
		if line, column := Locate(file, kind, name); [2]int{line, column} != want {
			t.Errorf("%s: line %d, column %d, want %v", place, line, column, want)
		}
	}
	if line, _ := Locate([]byte("rules: ["), "rule", "b"); line != 0 {
		t.Errorf("line %d of what is no file", line)
	}
}

func deepBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

// Errors are shown with the line, and not without end.
func TestExcerpt(t *testing.T) {
	_, err := Compile([]byte("rules:\n- {name: a, when: foo, then: allow}\n"), nil)
	var list Errors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	want := "    2 | - {name: a, when: foo, then: allow}\n                          ^"
	if got := list[0].Excerpt(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, err = Compile([]byte("rules: ["+strings.Repeat("x, ", 100)+"]"), nil)
	if !errors.As(err, &list) || len(list) != maxErrors {
		t.Errorf("%d errors, want %d", len(list), maxErrors)
	}
	if s := list[9].Excerpt(); len(s) > 300 {
		t.Errorf("an excerpt of %d bytes", len(s))
	}
}
