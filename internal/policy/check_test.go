package policy

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// sample is a document that uses every kind of field.
func sample(t testing.TB) *Document {
	t.Helper()
	text, err := os.ReadFile("testdata/form.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCheckRefuses: a document that did not come through ParseJSON, and its
// encoding, are held to the same.
func TestCheckRefuses(t *testing.T) {
	roster := testRoster(t)
	if err := sample(t).Check(roster); err != nil {
		t.Fatal(err)
	}
	leaf := func(c Condition) func(*Document) { return func(d *Document) { d.Rules[0].When = c } }
	for _, c := range []struct {
		name   string
		change func(*Document)
		want   string
	}{
		{"symbol", func(d *Document) { d.Assets[0].Symbol = "1INCH" }, `assets[0]: symbol "1INCH"`},
		{"symbol twice", func(d *Document) { d.Assets[0].Symbol = "eth" }, "two assets have the symbol"},
		{"asset id", func(d *Document) { d.Assets[0].ID = "dai" }, "want a CAIP-19 asset"},
		{"asset in lower case", func(d *Document) { d.Assets[0].ID = strings.ToLower(d.Assets[0].ID) }, "with its checksum"},
		{"asset's chain", func(d *Document) { d.Assets[0].ID = "eip155:01/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F" }, "decimal chain id"},
		{"native asset's chain", func(d *Document) { d.Assets[1].ID = "eip155:01/slip44:60" }, "decimal chain id"},
		{"decimals", func(d *Document) { d.Assets[0].Decimals = 78 }, "78 decimals, at most 77"},
		{"assets out of order", func(d *Document) { d.Assets[0], d.Assets[1] = d.Assets[1], d.Assets[0] }, "want different assets, sorted by id"},
		{"label", func(d *Document) { d.AddressBook[0].Label = "Bad" }, `label "Bad"`},
		{"labels out of order", func(d *Document) { d.AddressBook[0], d.AddressBook[1] = d.AddressBook[1], d.AddressBook[0] }, "want different labels, sorted"},
		{"address", func(d *Document) { d.AddressBook[1].Addresses[0] = "acme" }, "want a CAIP-10 account"},
		{"address in lower case", func(d *Document) { d.AddressBook[1].Addresses[0] = strings.ToLower(acme) }, "with its checksum"},
		{"address on Solana", func(d *Document) {
			d.AddressBook[1].Addresses[0] = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLt0"
		}, "no character of base58"},
		{"asset on Solana", func(d *Document) { d.Assets[1].ID = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/slip44:60" }, "slip44:501, no other of this chain"},
		{"another Solana", func(d *Document) { d.Assets[1].ID = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1/slip44:501" }, "does not name its cluster"},
		{"address twice", func(d *Document) {
			d.AddressBook[1].Addresses = append(d.AddressBook[1].Addresses, d.AddressBook[1].Addresses[0])
		}, "want different values, sorted"},
		{"257 assets", func(d *Document) { d.Assets = make([]Asset, MaxAssets+1) }, "257 assets, 2 labels, 1 guards and 3 rules, at most 256, 256, 64 and 256"},
		{"257 labels", func(d *Document) { d.AddressBook = make([]Entry, MaxLabels+1) }, "257 labels"},
		{"65 guards", func(d *Document) { d.Guards = make([]Guard, MaxGuards+1) }, "65 guards"},
		{"1025 addresses", func(d *Document) { d.AddressBook[0].Addresses = make([]string, MaxAddresses+1) }, "1025 addresses, at most 1024"},
		{"guard's condition", func(d *Document) { d.Guards[0].When = Condition{Op: All} }, "guard known-bad: all: is empty"},
		{"guard's name", func(d *Document) { d.Guards[0].Name = "" }, "guards[0]: name"},
		{"built-in name", func(d *Document) { d.Guards[0].Name = "effects-match-request" }, "or built in"},
		{"rule's name taken", func(d *Document) { d.Rules[1].Name = "known-bad" }, "is taken"},
		{"effect", func(d *Document) { d.Rules[0].Then.Effect = 4 }, "effect 4, want 1 (allow), 2 (deny) or 3 (require)"},
		{"allow with approvals", func(d *Document) { d.Rules[0].Then.Require = []Requirement{{"treasurers", 1}} }, "required and not required"},
		{"allow, initiator excluded", func(d *Document) { d.Rules[0].Then.InitiatorExcluded = true }, "required and not required"},
		{"require 9 groups", func(d *Document) { d.Rules[2].Then.Require = make([]Requirement, MaxRequirements+1) }, "9 groups must approve, want 1 to 8"},
		{"require nothing", func(d *Document) { d.Rules[2].Then.Require = nil }, "0 groups must approve"},
		{"require 0", func(d *Document) { d.Rules[2].Then.Require[0].Count = 0 }, "0 approvals from compliance, want 1 to 16"},
		{"require 17", func(d *Document) { d.Rules[2].Then.Require[0].Count = 17 }, "17 approvals"},
		{"require twice", func(d *Document) { d.Rules[2].Then.Require[1].Group = "compliance" }, "want different groups, sorted"},
		{"require a bad name", func(d *Document) { d.Rules[2].Then.Require[1].Group = "Z" }, "require: group: name"},
		{"operator", leaf(Condition{Op: 99}), "rule small-payments: unknown operator 99"},
		{"a stray set", leaf(Condition{Op: OnlyTransfers, Set: []string{"x"}}), "does not use"},
		{"a stray limit", leaf(Condition{Op: Chain, Set: []string{"eip155:1"}, Limits: []Limit{{Asset: eth}}}), "does not use"},
		{"a stray outcome", leaf(Condition{Op: Chain, Set: []string{"eip155:1"}, Outcomes: []request.Outcome{1}}), "does not use"},
		{"a stray operand", leaf(Condition{Op: OnlyTransfers, Sub: []Condition{{Op: OnlyTransfers}}}), "does not use"},
		{"empty all", leaf(Condition{Op: All}), "all: is empty"},
		{"not two", leaf(Condition{Op: Not, Sub: []Condition{{Op: OnlyTransfers}, {Op: OnlyTransfers}}}), "2 operands, want 1"},
		{"empty set", leaf(Condition{Op: Chain}), "chain: 0 values"},
		{"set out of order", leaf(Condition{Op: Chain, Set: []string{"eip155:5", "eip155:1"}}), "sorted"},
		{"chain", leaf(Condition{Op: Chain, Set: []string{"main"}}), "want a CAIP-2 id"},
		{"wallet", leaf(Condition{Op: Wallet, Set: []string{strings.Repeat("AB", 32)}}), "in lower case"},
		{"sender", leaf(Condition{Op: Sender, Set: []string{strings.ToLower(acme)}}), "checksum"},
		{"initiator's name", leaf(Condition{Op: Initiator, Set: []string{"Alice"}}), `name "Alice"`},
		{"asset not listed", leaf(Condition{Op: AnyAsset, Set: []string{"eip155:5/slip44:60"}}), "is not one of this policy's assets"},
		{"label not there", leaf(Condition{Op: AnyRecipient, Set: []string{"label:nobody"}}), `there is no label "nobody"`},
		{"party in lower case", leaf(Condition{Op: AnyContract, Set: []string{strings.ToLower(acme)}}), "checksum"},
		{"method", leaf(Condition{Op: AnyMethod, Set: []string{""}}), "want a signature without spaces"},
		{"long method", leaf(Condition{Op: AnyMethod, Set: []string{strings.Repeat("m", 257)}}), "want a signature without spaces"},
		{"method with a control character", leaf(Condition{Op: AnyMethod, Set: []string{"m()\x1b"}}), "m()"},
		{"257 values", leaf(Condition{Op: AnyMethod, Set: make([]string, MaxSet+1)}), "257 values, want 1 to 256"},
		{"257 limits", leaf(Condition{Op: AmountAtMost, Limits: make([]Limit, MaxSet+1)}), "257 limits, want 1 to 256"},
		{"outcome 0", leaf(Condition{Op: RiskIs, Set: []string{"screening"}, Outcomes: []request.Outcome{0}}), "outcome 0"},
		{"content", leaf(Condition{Op: Contains, Set: []string{"gifts"}}), "want one of allowances, calls, transfers"},
		{"no limit", leaf(Condition{Op: AmountAtMost}), "0 limits"},
		{"limit of an asset not listed", leaf(Condition{Op: AmountAtMost, Limits: []Limit{{Asset: "eip155:5/slip44:60"}}}), "is not one of this policy's assets"},
		{"limits out of order", leaf(Condition{Op: AmountAtMost, Limits: []Limit{{Asset: eth}, {Asset: dai}}}), "want one limit an asset, sorted"},
		{"fee in a token", leaf(Condition{Op: MaxFeeAtMost, Limits: []Limit{{Asset: dai}}}), "fees are paid in the native asset"},
		{"two engines", leaf(Condition{Op: RiskIs, Set: []string{"a", "b"}, Outcomes: []request.Outcome{1}}), "2 engines, want 1"},
		{"engine's name", leaf(Condition{Op: RiskIs, Set: []string{"A"}, Outcomes: []request.Outcome{1}}), "engine: name"},
		{"no outcome", leaf(Condition{Op: RiskIs, Set: []string{"screening"}}), "0 outcomes"},
		{"outcome 4", leaf(Condition{Op: RiskIs, Set: []string{"screening"}, Outcomes: []request.Outcome{4}}), "outcome 4"},
		{"outcomes out of order", leaf(Condition{Op: RiskIs, Set: []string{"screening"}, Outcomes: []request.Outcome{2, 1}}), "sorted"},
		{"deep", func(d *Document) {
			for range MaxDepth {
				d.Rules[0].When = Condition{Op: Not, Sub: []Condition{d.Rules[0].When}}
			}
		}, "more than 16 levels or 1024 operators"},
		{"many nodes", leaf(Condition{Op: All, Sub: many(MaxNodes)}), "more than 16 levels or 1024 operators"},
	} {
		d := sample(t)
		c.change(d)
		err := d.Check(roster)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check says %v, want %s", c.name, err, c.want)
		}
		if !errors.Is(err, &refusal.Refusal{Code: "policy.invalid"}) {
			t.Errorf("%s: %v is not a refusal policy.invalid", c.name, err)
		}
		// The encoding has no place for a field that is not used.
		stray := strings.HasPrefix(c.name, "a stray") || c.name == "allow with approvals" || c.name == "allow, initiator excluded"
		if _, err := DecodeDocument(d.Encode()); (err == nil) != stray {
			t.Errorf("%s: its encoding decodes: %v", c.name, err)
		}
	}
}

func many(n int) []Condition {
	list := make([]Condition, n)
	for i := range list {
		list[i] = Condition{Op: OnlyTransfers}
	}
	return list
}

// TestCheckAgainstRoster: well formed, but nobody could ever satisfy it.
func TestCheckAgainstRoster(t *testing.T) {
	roster := testRoster(t)
	for _, c := range []struct {
		name   string
		change func(*Document)
		want   string
	}{
		{"group", func(d *Document) { d.Rules[2].Then.Require[1].Group = "treasurer" }, `rule large-payments: require 2 of treasurer: there is no such group in the roster; did you mean "treasurers"?`},
		{"too many", func(d *Document) { d.Rules[2].Then.Require[1].Count = 4 }, "the group has 3 persons: it could never be met"},
		{"a service does not approve", func(d *Document) { d.Rules[2].Then.Require = []Requirement{{"traders", 2}} }, "the group has 1 persons"},
		{"initiator", func(d *Document) { d.Rules[2].When.Set[0] = "bobb" }, `initiator: "bobb" is not in the roster; did you mean "bob"?`},
		{"initiators' group", func(d *Document) { d.Rules[2].When.Set[1] = "group:trader" }, `there is no group "trader" in the roster`},
		{"engine", func(d *Document) { d.Rules[0].When.Sub[2].Set[0] = "screeming" }, `the engine "screeming" is not in the roster; did you mean "screening"?`},
		{"engine that is none", func(d *Document) { d.Rules[0].When.Sub[2].Set[0] = "alice" }, "alice is a person principal, want a risk engine"},
		{"in a guard", func(d *Document) {
			d.Guards[0].When = Condition{Op: Not, Sub: []Condition{{Op: Initiator, Set: []string{"nobody"}}}}
		}, `guard known-bad: initiator: "nobody"`},
	} {
		d := sample(t)
		c.change(d)
		if err := d.Check(roster); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if _, err := DecodeDocument(d.Encode()); err != nil {
			t.Errorf("%s: does not decode without a roster: %v", c.name, err)
		}
	}
}

// TestFeesOfTwoChains: one limit a chain, by whatever name of its coin.
func TestFeesOfTwoChains(t *testing.T) {
	d := &Document{Assets: []Asset{{"ETH", eth, 18}, {"ETX", "eip155:1/slip44:61", 18}, {"OPT", "eip155:10/slip44:60", 18}}}
	fee := func(assets ...string) Condition {
		c := Condition{Op: MaxFeeAtMost}
		for _, a := range assets {
			c.Limits = append(c.Limits, Limit{Asset: a})
		}
		return c
	}
	d.Rules = []Rule{{"r", fee(eth, "eip155:10/slip44:60"), Verdict{Effect: Allow}}}
	if err := d.Check(testRoster(t)); err != nil {
		t.Error(err)
	}
	d.Rules[0].When = fee(eth, "eip155:1/slip44:61")
	if err := d.Check(testRoster(t)); err == nil || !strings.Contains(err.Error(), "two limits of fees on eip155:1, want one") {
		t.Errorf("got %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	d := sample(t)
	set := make([]string, 0, MaxSet)
	for i := range MaxSet {
		set = append(set, strings.Repeat("a", 200)+string(rune('A'+i/26))+string(rune('A'+i%26)))
	}
	for i := range 12 {
		d.Rules = append(d.Rules, Rule{Name: "big-" + string(rune('a'+i)), When: Condition{Op: All, Sub: []Condition{{Op: AnyMethod, Set: set}}}, Then: Verdict{Effect: Deny}})
	}
	if err := d.Check(testRoster(t)); err == nil || !strings.Contains(err.Error(), "bytes, at most") {
		t.Errorf("got %v", err)
	}
	if _, err := DecodeDocument(d.Encode()); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
	d = sample(t)
	for i := range MaxRules {
		d.Rules = append(d.Rules, Rule{Name: "r" + strings.Repeat("a", i%60) + string(rune('a'+i/60)), When: Condition{Op: OnlyTransfers}, Then: Verdict{Effect: Deny}})
	}
	if err := d.Check(testRoster(t)); err == nil || !strings.Contains(err.Error(), "rules, at most") {
		t.Errorf("got %v", err)
	}
}

func TestParseAmount(t *testing.T) {
	d := sample(t)
	asset, a, err := d.ParseAmount("0.5 dai")
	if err != nil || asset != dai || a != *chain2(5e17) {
		t.Errorf("got %s, %s, %v", asset, a.Dec(), err)
	}
	if d.Amount(eth, *chain2(1)) != "0.000000000000000001 ETH" {
		t.Error(d.Amount(eth, *chain2(1)))
	}
	if _, _, err := d.ParseAmount("5 doge"); err == nil {
		t.Error("5 doge is an amount")
	}
	if _, _, err := d.ParseAmount(""); err == nil {
		t.Error("nothing is an amount")
	}
}

func chain2(n uint64) *chain.Amount { return new(chain.Amount).SetUint64(n) }

// TestDecodingIsBounded: a tree is given up where it gets too deep or too large, not
// after it was built.
func TestDecodingIsBounded(t *testing.T) {
	start := wire.NewWriter(1).Count(0).Count(0).Count(1).String("g").Bytes()
	deep := bytes.Clone(start)
	for range 20_000 {
		deep = append(deep, byte(Not), 0, 0, 0, 1)
	}
	wide := append(bytes.Clone(start), byte(All), 0, 0, 4, 0)
	wide = append(wide, bytes.Repeat([]byte{byte(OnlyTransfers)}, 1024)...)
	for name, b := range map[string][]byte{"deep": deep, "wide": wide} {
		if _, err := DecodeDocument(b); err == nil || err.Error() != "couldn't decode policy: condition: more than 16 levels or 1024 operators" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTruncated: no beginning of a document is a document.
func TestTruncated(t *testing.T) {
	b := sample(t).Encode()
	for n := range b {
		if _, err := DecodeDocument(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(b))
		}
	}
}

// FuzzDecodeDocument: what decodes, encodes to the same bytes, fits its JSON form,
// and can be evaluated.
func FuzzDecodeDocument(f *testing.F) {
	f.Add(sample(f).Encode())
	f.Add((&Document{}).Encode())
	f.Add([]byte{1, 0, 0, 0, 1})
	roster := testRoster(f)
	in := send(f, acme, "1")
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDocument(b)
		if err != nil {
			return
		}
		if string(d.Encode()) != string(b) {
			t.Fatalf("encodes to %x", d.Encode())
		}
		back, err := ParseJSON(d.JSON())
		if err != nil {
			t.Fatalf("%v\n%s", err, d.JSON())
		}
		if back.Root() != d.Root() {
			t.Fatalf("the JSON form changed it\n%s", d.JSON())
		}
		_ = d.Check(roster)
		d.Evaluate(roster, in)
	})
}

// FuzzParseJSON: what a person writes either becomes a document that decodes, or an
// error.
func FuzzParseJSON(f *testing.F) {
	f.Add(sample(f).JSON())
	f.Add([]byte(head))
	f.Add([]byte(`{"assets":[],"rules":[{"name":"a","when":{"not":{"onlyTransfers":true}},"then":"deny"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseJSON(b)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		back, err := DecodeDocument(d.Encode())
		if err != nil {
			t.Fatalf("parsed, but does not decode: %v", err)
		}
		if back.Root() != d.Root() {
			t.Fatal("the encoding changed it")
		}
	})
}
