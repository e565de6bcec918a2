package policy

import (
	"os"
	"strings"
	"testing"
)

// TestParseJSONErrors: each error names line, field and what is expected.
func TestParseJSONErrors(t *testing.T) {
	rule := func(when string) string {
		return head + `  "rules": [{"name": "r", "when": ` + when + `, "then": "allow"}]}`
	}
	then := func(then string) string {
		return head + `  "rules": [{"name": "r", "when": {"chain": ["eip155:1"]}, "then": ` + then + `}]}`
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"line 1: not JSON: unexpected end"}},
		{"cut", head, []string{"line 10: not JSON: unexpected end"}},
		{"a comma too many", "{\n\"rules\": [],\n}", []string{"line 3: not JSON: invalid character '}'"}},
		{"two values", "{}\n{}", []string{"line 2: not JSON: invalid character '{' after top-level value"}},
		{"not UTF-8", "{\n\"\xff\": 1}", []string{"line 2: not UTF-8"}},
		{"a list", "[]", []string{`line 1: this is a list, want an object with "assets"`}},
		{"nothing in it", "{}", []string{`line 1: the field "assets" is missing`, `line 1: the field "rules" is missing`}},
		{"unknown field", head + `  "ruels": [], "rules": []}`, []string{`line 10: ruels: unknown field`, `did you mean "rules"?`}},
		{"twice", head + "  \"rules\": [],\n \"rules\": []}", []string{"line 11: rules: this field stands here twice"}},
		{"no name", head + `  "rules": [{"when": {"chain": ["eip155:1"]}, "then": "allow"}]}`, []string{`line 10: rules[0]: the field "name" is missing`}},
		{"bad name", head + `  "rules": [{"name": "Big One", "when": {"chain": ["eip155:1"]}, "then": "allow"}]}`, []string{`rules[0].name: name "Big One": want 1 to 63 characters of a-z`}},
		{"name taken", head + `  "guards": [{"name": "r", "when": {"chain": ["eip155:5"]}}],` + "\n" + `  "rules": [{"name": "r", "when": {"chain": ["eip155:1"]}, "then": "allow"}]}`, []string{`line 11: rules[0].name: the name "r" is taken`}},
		{"name built in", head + `  "rules": [{"name": "undecoded", "when": {"chain": ["eip155:1"]}, "then": "allow"}]}`, []string{`the name "undecoded" is taken by another guard or rule, or built in`}},
		{"operator", rule(`{"everyRecipent": ["label:known"]}`), []string{`line 10: rules[0].when.everyRecipent: unknown operator`, `did you mean "everyRecipient"?`}},
		{"two operators", rule(`{"chain": ["eip155:1"], "initiator": ["alice"]}`), []string{"rules[0].when: 2 fields, want exactly one, the operator"}},
		{"no operator", rule(`{}`), []string{"rules[0].when: 0 fields, want exactly one"}},
		{"a string", rule(`"always"`), []string{"rules[0].when: this is a string, want an object with one field, the operator"}},
		{"all of nothing", rule(`{"all": []}`), []string{"rules[0].when.all: want at least one condition"}},
		{"an empty set", rule(`{"chain": []}`), []string{"rules[0].when.chain: want at least one value"}},
		{"not a list", rule(`{"chain": "eip155:1"}`), []string{"rules[0].when.chain: this is a string, want a list of strings"}},
		{"not strings", rule(`{"chain": [1]}`), []string{"rules[0].when.chain[0]: this is a number, want a string"}},
		{"null", rule(`{"chain": null}`), []string{"rules[0].when.chain: this is null, want a list"}},
		{"bad chain", rule(`{"chain": ["ethereum"]}`), []string{`chain "ethereum": want a CAIP-2 id such as eip155:1`}},
		{"bad chain id", rule(`{"chain": ["eip155:01"]}`), []string{`want eip155 and a decimal chain id`}},
		{"chain twice", rule(`{"chain": ["eip155:1", "eip155:1"]}`), []string{"rules[0].when.chain[1]: eip155:1 is listed twice"}},
		{"unknown label", rule(`{"everyRecipient": ["label:knwon"]}`), []string{`there is no label "knwon" in the address book; did you mean "known"?`}},
		{"a name for an address", rule(`{"everyRecipient": ["acme"]}`), []string{`"acme": want label:NAME of the address book, or a CAIP-10 account`}},
		{"wrong checksum", rule(`{"everyRecipient": ["eip155:1:0x52908400098527886E0F7030069857D2E4169Ee7"]}`), []string{"rules[0].when.everyRecipient[0]", "wrong checksum", "0x52908400098527886E0F7030069857D2E4169EE7"}},
		{"unknown asset", rule(`{"everyAsset": ["DOGE"]}`), []string{`asset "DOGE" is not one of this policy's assets`}},
		{"bad wallet", rule(`{"wallet": ["main"]}`), []string{`wallet "main": want the 64 hex digits`}},
		{"bad content", rule(`{"contains": ["transfer"]}`), []string{`"transfer": want one of allowances, calls, transfers; did you mean "transfers"?`}},
		{"bad method", rule(`{"anyMethod": ["approve(address, uint256)"]}`), []string{"want a signature without spaces"}},
		{"onlyTransfers false", rule(`{"onlyTransfers": false}`), []string{`rules[0].when.onlyTransfers: want true; write {"not": {"onlyTransfers": true}}`}},
		{"no unit", rule(`{"amountAtMost": ["2"]}`), []string{"rules[0].when.amountAtMost[0]", "it names no unit, want one of DAI, ETH"}},
		{"unknown unit", rule(`{"amountAtMost": ["2 BTC"]}`), []string{`unknown unit "BTC", want one of DAI, ETH`}},
		{"negative", rule(`{"amountAtMost": ["-2 ETH"]}`), []string{"it is negative, want 0 or more"}},
		{"decimals", rule(`{"amountAtMost": ["0.0000000000000000001 ETH"]}`), []string{"19 decimals, ETH has at most 18"}},
		{"256 bits", rule(`{"amountAtMost": ["` + strings.Repeat("9", 70) + ` ETH"]}`), []string{"above 256 bits"}},
		{"a number for an amount", rule(`{"amountAtMost": [2]}`), []string{"rules[0].when.amountAtMost[0]: this is a number, want an amount such as 2 ETH"}},
		{"no amounts", rule(`{"amountAtMost": []}`), []string{"rules[0].when.amountAtMost: want at least one amount"}},
		{"two limits", rule(`{"amountAtMost": ["2 ETH", "3 ETH"]}`), []string{"rules[0].when.amountAtMost[1]: there is a limit of this asset already"}},
		{"fee in a token", rule(`{"maxFeeAtMost": ["2 DAI"]}`), []string{"rule r: maxFeeAtMost: fees are paid in the native asset of a chain"}},
		{"engine", rule(`{"risk": {"engine": "screening"}}`), []string{`rules[0].when.risk: the field "outcome" is missing`}},
		{"outcome", rule(`{"risk": {"engine": "screening", "outcome": ["ok"]}}`), []string{`rules[0].when.risk.outcome[0]: "ok" is not one of "pass", "hold", "deny"`}},
		{"no outcome", rule(`{"risk": {"engine": "screening", "outcome": []}}`), []string{"rule r: risk: 0 outcomes, want 1 or 2"}},
		{"every outcome", rule(`{"risk": {"engine": "screening", "outcome": ["pass", "hold", "deny"]}}`), []string{"rule r: risk: 3 outcomes, want 1 or 2"}},
		{"deep", rule(strings.Repeat(`{"not": `, 16) + yes + strings.Repeat("}", 16)), []string{"conditions are nested deeper than 16 levels"}},
		{"very deep", rule(strings.Repeat(`{"not": `, 80) + yes + strings.Repeat("}", 80)), []string{"nested deeper than"}},
		{"many", rule(`{"all": [` + strings.Repeat(yes+", ", 1024) + yes + `]}`), []string{"more than 16 levels or 1024 operators"}},
		{"verdict", then(`"alow"`), []string{`rules[0].then: "alow" is not one of "allow", "deny"; did you mean "allow"?`}},
		{"no verdict", head + `  "rules": [{"name": "r", "when": {"chain": ["eip155:1"]}}]}`, []string{`line 10: rules[0]: the field "then" is missing`}},
		{"require 0", then(`{"require": {"treasurers": 0}}`), []string{"rules[0].then.require.treasurers: 0, want a whole number from 1 to 16"}},
		{"require 1.5", then(`{"require": {"treasurers": 1.5}}`), []string{"rules[0].then.require.treasurers: 1.5, want a whole number"}},
		{"require text", then(`{"require": {"treasurers": "2"}}`), []string{"rules[0].then.require.treasurers: this is a string, want a whole number"}},
		{"require nobody", then(`{"require": {}}`), []string{"rule r: 0 groups must approve, want 1 to 8"}},
		{"excluded", then(`{"require": {"treasurers": 2}, "initiatorExcluded": "yes"}`), []string{"rules[0].then.initiatorExcluded: this is a string, want true or false"}},
		{"symbol", `{"assets": [{"symbol": "E TH", "id": "eip155:1/slip44:60", "decimals": 18}], "rules": []}`, []string{`assets[0].symbol: symbol "E TH": want 1 to 16 letters`}},
		{"asset id", `{"assets": [{"symbol": "ETH", "id": "eth", "decimals": 18}], "rules": []}`, []string{`assets[0].id: asset "eth": want a CAIP-19 asset`}},
		{"decimals", `{"assets": [{"symbol": "ETH", "id": "eip155:1/slip44:60", "decimals": 78}], "rules": []}`, []string{"assets[0].decimals: 78, want a whole number from 0 to 77"}},
		{"symbol twice", "{\"assets\": [{\"symbol\": \"ETH\", \"id\": \"eip155:1/slip44:60\", \"decimals\": 18},\n{\"symbol\": \"eth\", \"id\": \"eip155:5/slip44:60\", \"decimals\": 18}], \"rules\": []}", []string{"line 2: assets[1].symbol: there is an asset with the symbol ETH already"}},
		{"asset twice", `{"assets": [{"symbol": "ETH", "id": "eip155:1/slip44:60", "decimals": 18}, {"symbol": "ETC", "id": "eip155:1/slip44:60", "decimals": 18}], "rules": []}`, []string{"assets[1].id: this is the asset ETH already"}},
		{"address twice", `{"assets": [], "addressBook": {"a": ["` + acme + `", "` + strings.ToLower(acme) + `"]}, "rules": []}`, []string{"addressBook.a[1]: " + acme + " is listed twice"}},
		{"bad address", `{"assets": [], "addressBook": {"a": ["0x52908400098527886E0F7030069857D2E4169EE7"]}, "rules": []}`, []string{"addressBook.a[0]", "want a CAIP-10 account"}},
		{"bad label", `{"assets": [], "addressBook": {"A": []}, "rules": []}`, []string{`address book, label "A"`, "want 1 to 63 characters"}},
	} {
		_, err := ParseJSON([]byte(c.text))
		if err == nil {
			t.Errorf("%s: parsed", c.name)
			continue
		}
		wantText(t, c.name, err.Error(), c.want...)
	}
}

// TestSeveralErrorsAtOnce: somebody who writes a policy is told everything.
func TestSeveralErrorsAtOnce(t *testing.T) {
	_, err := ParseJSON([]byte(head + `  "rules": [
    {"name": "a", "when": {"chian": ["eip155:1"]}, "then": "allow"},
    {"name": "b", "when": {"chain": ["eip155:1"]}, "then": "maybe"}]}`))
	if err == nil {
		t.Fatal("parsed")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "line 11: rules[0].when.chian: ") || !strings.HasPrefix(lines[1], "line 12: rules[1].then: ") {
		t.Errorf("got %q", lines)
	}
}

// TestOneErrorAValue: a value of the wrong kind is told once, and nothing follows
// from it.
func TestOneErrorAValue(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"assets", `{"assets": [{"symbol": 1, "id": 2, "decimals": 3}, {"symbol": 1, "id": 2, "decimals": 3}], "rules": []}`,
			`line 1: assets[0].symbol: this is a number, want a symbol such as ETH
line 1: assets[0].id: this is a number, want a CAIP-19 asset
line 1: assets[1].symbol: this is a number, want a symbol such as ETH
line 1: assets[1].id: this is a number, want a CAIP-19 asset`},
		{"addresses", `{"assets": [], "addressBook": {"a": [1]}, "rules": []}`, "line 1: addressBook.a[0]: this is a number, want a CAIP-10 account such as eip155:1:0x…"},
		{"names", head + `"rules": [{"name": 1, "when": {"chain": ["eip155:1"]}, "then": "deny"}, {"name": 1, "when": {"chain": ["eip155:1"]}, "then": "deny"}]}`,
			"line 10: rules[0].name: this is a number, want a name\nline 10: rules[1].name: this is a number, want a name"},
		{"no operator", head + `"rules": [{"name": "r", "when": {}, "then": "deny"}]}`,
			`line 10: rules[0].when: 0 fields, want exactly one, the operator, such as {"everyRecipient": ["label:known"]}; combine several with all, any and not`},
		{"amounts", head + `"rules": [{"name": "r", "when": {"amountAtMost": [1, {}]}, "then": "deny"}]}`,
			"line 10: rules[0].when.amountAtMost[0]: this is a number, want an amount such as 2 ETH\nline 10: rules[0].when.amountAtMost[1]: this is an object, want an amount such as 2 ETH"},
		{"sets", head + `"rules": [{"name": "r", "when": {"anyRecipient": [1]}, "then": 1}]}`,
			`line 10: rules[0].when.anyRecipient[0]: this is a number, want a string
line 10: rules[0].then: want "allow", "deny" or an object such as {"require": {"treasurers": 2}}`},
	} {
		_, err := ParseJSON([]byte(c.text))
		if err == nil {
			t.Errorf("%s: parsed", c.name)
		} else if got := err.Error(); got != c.want {
			t.Errorf("%s\n got  %s\n want %s", c.name, got, c.want)
		}
	}
}

// TestLowerCaseAddressesGetTheirChecksum: else a blocked address in another
// spelling would block nothing.
func TestLowerCaseAddressesGetTheirChecksum(t *testing.T) {
	text := strings.ReplaceAll(head, thief, "eip155:1:0x8617e340b3d01fa5f11f306f4090fd50e238070d") + `"guards": [{"name": "g", "when": {"anyRecipient": ["label:blocked"]}}], "rules": []}`
	d, err := ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Evaluate(testRoster(t), send(t, acme, "1")); got.Rule != "g" {
		t.Errorf("got %+v", got)
	}
}

// TestSpecExample: the page shows a real policy.
func TestSpecExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/spec/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/form.json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```json\n"+string(want)+"```") {
		t.Error("the example in docs/spec/policy.md is not testdata/form.json")
	}
}

// TestSpelling: only an EVM address has a checksum to be given.
func TestSpelling(t *testing.T) {
	const foreign = "foo:bar:0x8617e340b3d01fa5f11f306f4090fd50e238070d"
	d, err := ParseJSON([]byte(`{"assets": [{"symbol": "DAI", "id": "` + strings.ToLower(dai) + `", "decimals": 18}],
		"addressBook": {"a": ["` + foreign + `"]}, "rules": [{"name": "r", "when": {"anyAsset": ["` + strings.ToLower(dai) + `"]}, "then": "deny"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Assets[0].ID != dai || d.Rules[0].When.Set[0] != dai || d.AddressBook[0].Addresses[0] != foreign {
		t.Errorf("got %+v", d)
	}
	wantText(t, "JSON", string(d.JSON()), `{"anyAsset": ["DAI"]}`)
}

// TestJSONForm compares with a file that people read in docs/spec/policy.md.
func TestJSONForm(t *testing.T) {
	want, err := os.ReadFile("testdata/form.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.JSON(); string(got) != string(want) {
		t.Errorf("written as\n%s", got)
	}
	if err := d.Check(testRoster(t)); err != nil {
		t.Error(err)
	}
}
