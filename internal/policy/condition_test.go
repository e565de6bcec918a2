package policy

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/request"
)

// TestConditions holds each operator against inputs on both sides of it, with the
// fact that it states.
func TestConditions(t *testing.T) {
	max := new(chain.Amount).SetAllOne()
	for _, c := range []struct {
		condition string
		in        Input
		want      Truth
		detail    string
		fix       string
	}{
		{`{"chain": ["eip155:1"]}`, send(t, acme, "1"), True, "chain is eip155:1", "another chain than eip155:1"},
		{`{"chain": ["eip155:5"]}`, send(t, acme, "1"), False, "chain eip155:1 is not eip155:5", "chain eip155:5"},
		{`{"wallet": ["` + strings.Repeat("00", 32) + `"]}`, send(t, acme, "1"), True, "wallet is 0000", ""},
		{`{"wallet": ["` + strings.Repeat("01", 32) + `"]}`, send(t, acme, "1"), False, "is not 0101", ""},
		{`{"sender": ["` + wallet + `"]}`, send(t, acme, "1"), True, "sender is 0x5290", ""},
		{`{"sender": ["` + acme + `"]}`, send(t, acme, "1"), False, "sender 0x52908400098527886E0F7030069857D2E4169EE7 is not 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known)", ""},
		{`{"initiator": ["group:traders"]}`, send(t, acme, "1"), True, "initiator alice is in group traders", "an initiator outside group traders"},
		{`{"initiator": ["alice"]}`, send(t, acme, "1"), True, "initiator is alice", ""},
		{`{"initiator": ["bob", "group:compliance"]}`, send(t, acme, "1"), False, "initiator alice is not bob or in group compliance", "an initiator from bob or group compliance (carol or erin)"},

		{`{"everyAsset": ["ETH"]}`, send(t, acme, "1"), True, "asset ETH is listed", ""},
		{`{"everyAsset": ["ETH"]}`, send(t, acme, "1", also(acme, dai, *max)), False, "asset DAI is not ETH", "only an asset that is ETH"},
		{`{"everyAsset": ["ETH"]}`, send(t, "", ""), False, "nothing is transferred", ""},
		{`{"anyAsset": ["DAI"]}`, send(t, acme, "1", also(acme, dai, *max)), True, "asset DAI is listed", ""},
		{`{"anyAsset": ["DAI"]}`, send(t, acme, "1"), False, "asset ETH is not DAI", ""},
		{`{"anyAsset": ["DAI"]}`, send(t, "", ""), False, "nothing is transferred", ""},

		{`{"everyRecipient": ["label:known"]}`, send(t, acme, "1"), True, "is in label known", ""},
		{`{"everyRecipient": ["label:known"]}`, send(t, acme, "1", also(thief, eth, eths(t, "1"))), False, "(blocked) is not in label known", "only a recipient that is in label known"},
		{`{"everyRecipient": ["label:known", "` + stranger + `"]}`, send(t, stranger, "1"), True, "is listed", ""},
		{`{"everyRecipient": ["label:known"]}`, send(t, "", ""), False, "nothing is transferred", "a transaction with a recipient that is in label known"},
		{`{"anyRecipient": ["label:blocked"]}`, send(t, acme, "1", also(thief, eth, eths(t, "1"))), True, "(blocked) is in label blocked", ""},
		{`{"anyRecipient": ["label:blocked"]}`, send(t, acme, "1"), False, "is not in label blocked", ""},
		{`{"anyRecipient": ["label:blocked"]}`, send(t, "", ""), False, "nothing is transferred", ""},

		{`{"everySpender": ["label:known"]}`, send(t, "", "", allowance(acme, *max)), True, "spender 0x8617", ""},
		{`{"everySpender": ["label:known"]}`, send(t, "", "", allowance(acme, *max), allowance(thief, *max)), False, "is not in label known", ""},
		{`{"everySpender": ["label:known"]}`, send(t, acme, "1"), False, "there is no token allowance", ""},
		{`{"anySpender": ["label:blocked"]}`, send(t, "", "", allowance(acme, *max), allowance(thief, *max)), True, "is in label blocked", ""},
		{`{"anySpender": ["label:blocked"]}`, send(t, acme, "1"), False, "there is no token allowance", ""},

		{`{"everyContract": ["` + tokenAddr + `"]}`, send(t, "", "", call(tokenAddr, "x()")), True, "contract 0x6B17", ""},
		{`{"everyContract": ["` + tokenAddr + `"]}`, send(t, "", "", call(tokenAddr, "x()"), call(thief, "x()")), False, "contract 0x27b1", ""},
		{`{"everyContract": ["` + tokenAddr + `"]}`, send(t, acme, "1"), False, "no contract is called", ""},
		{`{"anyContract": ["label:blocked"]}`, send(t, "", "", call(tokenAddr, "x()"), call(thief, "x()")), True, "is in label blocked", ""},
		{`{"anyContract": ["label:blocked"]}`, send(t, acme, "1"), False, "no contract is called", ""},
		{`{"everyMethod": ["x()"]}`, send(t, "", "", call(tokenAddr, "x()")), True, "method x() is listed", ""},
		{`{"everyMethod": ["x()"]}`, send(t, "", "", call(tokenAddr, "x()"), call(tokenAddr, "y()")), False, "method y() is not x()", ""},
		{`{"everyMethod": ["x()"]}`, send(t, acme, "1"), False, "no contract is called", ""},
		{`{"anyMethod": ["y()"]}`, send(t, "", "", call(tokenAddr, "x()"), call(tokenAddr, "y()")), True, "method y() is listed", ""},
		{`{"anyMethod": ["y()"]}`, send(t, acme, "1"), False, "no contract is called", ""},

		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "2"), True, "amount 2 ETH to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) is at most 2 ETH", "an amount above 2 ETH"},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "2.000000000000000001"), False, "amount 2.000000000000000001 ETH to", "an amount of at most 2 ETH"},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "1.5", also(stranger, eth, eths(t, "1"))), False, "amount 2.5 ETH in 2 transfers is above 2 ETH", ""},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "1", also(acme, dai, eths(t, "1"))), False, "amount 1 DAI to 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known) has no limit here, only ETH has", ""},
		{`{"amountAtMost": ["3 DAI", "2 ETH"]}`, send(t, acme, "1", also(acme, dai, eths(t, "3"))), True, "is at most 3 DAI", ""},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, "", ""), False, "nothing is transferred", ""},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "1", also(acme, eth, *max)), False, "amount of more than 256 bits", ""},
		{`{"amountAtMost": ["2 ETH"]}`, send(t, acme, "1", also(acme, eth, *max), also(acme, eth, eths(t, "1"))), False, "amount of more than 256 bits", ""},
		{`{"amountAtLeast": ["2 ETH"]}`, send(t, acme, "2"), True, "is at least 2 ETH", "an amount below 2 ETH"},
		{`{"amountAtLeast": ["2 ETH"]}`, send(t, acme, "1.9"), False, "is below 2 ETH", "an amount of at least 2 ETH"},
		{`{"amountAtLeast": ["2 ETH"]}`, send(t, acme, "1", also(stranger, eth, eths(t, "1"))), True, "amount 2 ETH in 2 transfers is at least 2 ETH", ""},
		{`{"amountAtLeast": ["2 ETH"]}`, send(t, acme, "1", also(acme, eth, *max)), True, "amount of more than 256 bits", ""},
		{`{"amountAtLeast": ["2 DAI"]}`, send(t, acme, "9"), False, "nothing of DAI is transferred", ""},
		{`{"amountAtLeast": ["0 ETH"]}`, send(t, "", ""), False, "nothing of ETH is transferred", ""},
		{`{"allowanceAtMost": ["5 DAI"]}`, send(t, "", "", allowance(acme, eths(t, "5"))), True, "allowance of 5 DAI for", ""},
		{`{"allowanceAtMost": ["5 DAI"]}`, send(t, "", "", allowance(acme, *max)), False, "is above 5 DAI", "an allowance of at most 5 DAI"},
		{`{"allowanceAtMost": ["5 ETH"]}`, send(t, "", "", allowance(acme, eths(t, "1"))), False, "has no limit here, only ETH has", ""},
		{`{"allowanceAtMost": ["5 DAI"]}`, send(t, acme, "1"), False, "there is no token allowance", ""},
		{`{"maxFeeAtMost": ["0.01 ETH"]}`, send(t, acme, "1"), True, "maximum fee 0.01 ETH is at most 0.01 ETH", ""},
		{`{"maxFeeAtMost": ["0.009 ETH"]}`, send(t, acme, "1"), False, "maximum fee 0.01 ETH is above 0.009 ETH", "a maximum fee of at most 0.009 ETH"},

		{`{"contains": ["transfers"]}`, send(t, acme, "1"), True, "the transaction has transfers", ""},
		{`{"contains": ["allowances", "calls"]}`, send(t, "", "", allowance(acme, *max)), False, "the transaction has no calls", ""},
		{`{"contains": ["allowances", "calls"]}`, send(t, "", "", allowance(acme, *max), call(tokenAddr, "x()")), True, "has allowances and calls", ""},
		{`{"onlyTransfers": true}`, send(t, acme, "1"), True, "it only transfers", ""},
		{`{"onlyTransfers": true}`, send(t, "", "", also(acme, dai, eths(t, "1")), call(tokenAddr, "transfer(address,uint256)")), True, "it only transfers", ""},
		{`{"onlyTransfers": true}`, send(t, acme, "1", call(tokenAddr, "transfer(address,uint256)")), False, "it calls transfer(address,uint256) of 0x6B17", ""},
		{`{"onlyTransfers": true}`, send(t, "", "", also(acme, dai, eths(t, "1")), call(tokenAddr, "transferFrom(address,address,uint256)")), True, "it only transfers", ""},
		{`{"onlyTransfers": true}`, send(t, "", "", also(acme, dai, eths(t, "1")), call(tokenAddr, "burn(uint256)")), False, "it calls burn(uint256) of 0x6B17", ""},
		{`{"onlyTransfers": true}`, send(t, "", "", also(acme, dai, eths(t, "1")), call("", "transfer(address,uint256)")), False, "it calls transfer(address,uint256) of (none)", ""},
		{`{"onlyTransfers": true}`, send(t, acme, "1", call(acme, "deposit()")), False, "it calls deposit() of 0x8617", ""},
		{`{"onlyTransfers": true}`, send(t, acme, "1", allowance(thief, *max)), False, "it lets 0x27b1fdb04752bbc536007a920d24acb045561c26 (blocked) spend", ""},
		{`{"onlyTransfers": true}`, send(t, acme, "1", func(in *Input) { in.Effects.Transfers[0].From = stranger }), False, "it moves assets of 0xde70", ""},
		{`{"onlyTransfers": true}`, send(t, "", ""), False, "nothing is transferred", ""},

		{`{"risk": {"engine": "screening", "outcome": ["pass", "hold"]}}`, send(t, acme, "1", screened(request.Hold)), True, "says hold", "another verdict of risk engine screening than pass or hold"},
		{`{"risk": {"engine": "screening", "outcome": ["pass"]}}`, send(t, acme, "1", screened(request.Deny)), False, "says deny", "the verdict pass of risk engine screening"},
		{`{"risk": {"engine": "screening", "outcome": ["pass"]}}`, send(t, acme, "1"), Waiting, "there is no verdict", "the verdict pass of risk engine screening"},
	} {
		e := &evaluation{doc: when(t, c.condition), roster: testRoster(t), in: c.in}
		n := e.node(&e.doc.Rules[0].When)
		if n.Value != c.want {
			t.Errorf("%s is %v, want %v: %s", c.condition, n.Value, c.want, n.Detail)
		}
		wantText(t, c.condition, n.Detail, c.detail)
		wantText(t, c.condition+" fix", n.Fix, c.fix)
		if n.Detail == "" || n.Fix == "" {
			t.Errorf("%s explains nothing: %q, %q", c.condition, n.Detail, n.Fix)
		}
		if n := e.node(&Condition{Op: Not, Sub: []Condition{e.doc.Rules[0].When}}); n.Value != map[Truth]Truth{True: False, False: True, Waiting: Waiting}[c.want] {
			t.Errorf("not %s is %v", c.condition, n.Value)
		}
	}
}

// Leaves with a known value, for the tables of all, any and not.
const (
	yes    = `{"chain": ["eip155:1"]}`
	no     = `{"chain": ["eip155:5"]}`
	alsoNo = `{"amountAtMost": ["0.5 ETH"]}`
	wait   = `{"risk": {"engine": "screening", "outcome": ["pass"]}}`

	waitHold = `{"risk": {"engine": "screening", "outcome": ["hold"]}}`
)

func TestConnectives(t *testing.T) {
	for _, c := range []struct {
		condition string
		want      Truth
		fix       string
	}{
		{`{"all": [` + yes + `, ` + yes + `]}`, True, "another chain than eip155:1"},
		{`{"all": [` + yes + `, ` + no + `]}`, False, "chain eip155:5"},
		{`{"all": [` + no + `, ` + alsoNo + `, ` + yes + `]}`, False, "chain eip155:5 and an amount of at most 0.5 ETH"},
		{`{"all": [` + yes + `, ` + wait + `]}`, Waiting, "the verdict pass of risk engine screening"},
		{`{"all": [` + no + `, ` + wait + `]}`, False, "chain eip155:5 and the verdict pass of risk engine screening"},
		{`{"any": [` + no + `, ` + yes + `]}`, True, "another chain than eip155:1"},
		{`{"any": [` + no + `, ` + alsoNo + `]}`, False, "chain eip155:5 or an amount of at most 0.5 ETH"},
		{`{"any": [` + no + `, ` + wait + `]}`, Waiting, "the verdict pass of risk engine screening"},
		{`{"any": [` + yes + `, ` + wait + `]}`, True, "another chain than eip155:1"},
		{`{"all": [` + wait + `, {"any": [` + no + `, ` + alsoNo + `]}]}`, False, "the verdict pass of risk engine screening and (chain eip155:5 or an amount of at most 0.5 ETH)"},
		{`{"any": [{"all": [` + no + `, ` + alsoNo + `]}, ` + no + `]}`, False, "chain eip155:5"},
		{`{"all": [` + yes + `, {"any": [` + no + `, ` + alsoNo + `]}]}`, False, "chain eip155:5 or an amount of at most 0.5 ETH"},
		{`{"any": [` + no + `, ` + wait + `, ` + waitHold + `]}`, Waiting, "the verdict pass of risk engine screening or the verdict hold of risk engine screening"},
		{`{"all": [` + yes + `, ` + wait + `, ` + waitHold + `]}`, Waiting, "the verdict pass of risk engine screening and the verdict hold of risk engine screening"},
		{`{"any": [` + no + `, ` + no + `]}`, False, "chain eip155:5"},
		{`{"not": {"all": [` + yes + `, ` + no + `]}}`, True, "chain eip155:5"},
	} {
		e := &evaluation{doc: when(t, c.condition), roster: testRoster(t), in: send(t, acme, "1")}
		n := e.node(&e.doc.Rules[0].When)
		if n.Value != c.want || n.Fix != c.fix {
			t.Errorf("%s\n got  %v, %q\n want %v, %q", c.condition, n.Value, n.Fix, c.want, c.fix)
		}
	}
}

func TestUnknownAssetIsShownInUnits(t *testing.T) {
	d := when(t, `{"amountAtMost": ["2 ETH"]}`)
	got := d.Evaluate(testRoster(t), send(t, "", "", also(acme, "eip155:1/erc20:0xde709f2102306220921060314715629080e2fb77", eths(t, "1"))))
	wantText(t, "detail", got.Detail, "amount 1000000000000000000 units of eip155:1/erc20:0xde709f2102306220921060314715629080e2fb77 to")
}

func TestMaxFeeOnAnotherChain(t *testing.T) {
	d := when(t, `{"maxFeeAtMost": ["1 ETH"]}`)
	in := send(t, "", "", func(in *Input) { in.Request.Chain, in.Effects.Chain = "eip155:5", "eip155:5" })
	got := d.Evaluate(testRoster(t), in)
	if got.Allow {
		t.Error("a limit of fees of one chain allows on another")
	}
	wantText(t, "detail", got.Detail, "there is no limit of fees on eip155:5 here, only of ETH")
}

// TestWords: a condition as the document has it, and values as people know them.
func TestWords(t *testing.T) {
	var many []string
	for _, c := range "abcdefghij" {
		many = append(many, `"`+string(c)+`()"`)
	}
	for condition, want := range map[string]string{
		`{"everyAsset": ["ETH", "DAI"]}`:                                 "everyAsset DAI, ETH",
		`{"onlyTransfers": true}`:                                        "onlyTransfers",
		`{"amountAtMost": ["1.5 ETH"]}`:                                  "amountAtMost 1.5 ETH",
		`{"risk": {"engine": "screening", "outcome": ["hold", "pass"]}}`: "risk screening, pass, hold",
		`{"anyMethod": [` + strings.Join(many, ", ") + `]}`:              "anyMethod a(), b(), c(), d(), e(), f(), g(), h(), and 2 more",
	} {
		d := when(t, condition)
		if got := d.words(&d.Rules[0].When); got != want {
			t.Errorf("%s is %q, want %q", condition, got, want)
		}
	}
	e := &evaluation{doc: when(t, yes), in: send(t, acme, "1")}
	for value, want := range map[string]string{
		eth: "ETH", "": "(none)", stranger: "0xde709f2102306220921060314715629080e2fb77", "x()": "x()",
		acme: "0x8617E340B3D01FA5F11F306F4090FD50E238070D (known)", "eip155:5:0x8617E340B3D01FA5F11F306F4090FD50E238070D": "eip155:5:0x8617E340B3D01FA5F11F306F4090FD50E238070D",
	} {
		if got := e.show(value); got != want {
			t.Errorf("%q is shown as %q, want %q", value, got, want)
		}
	}
}

// TestJoin: empty parts and repetitions are left out, and what is more than six.
func TestJoin(t *testing.T) {
	for _, c := range []struct {
		parts []string
		want  string
	}{
		{nil, ""}, {[]string{"", "a", ""}, "a"}, {[]string{"a", "b", "a"}, "a, b"},
		{strings.Split("abcdef", ""), "a, b, c, d, e, f"}, {strings.Split("abcdefgh", ""), "a, b, c, d, e, f, 2 more"},
	} {
		if got := join(c.parts, ", "); got != c.want {
			t.Errorf("join(%q) = %q, want %q", c.parts, got, c.want)
		}
	}
	for n, want := range map[int]string{0: "nobody", 1: "a", 2: "a or b", 3: "a, b or c", 10: "a, b, c, d, e, f, g, h or 2 more"} {
		if got := orList(strings.Split("abcdefghij", "")[:n]); got != want {
			t.Errorf("orList of %d is %q, want %q", n, got, want)
		}
	}
}

// TestLongExplanationsAreCut: a document may hold a thousand operators.
func TestLongExplanationsAreCut(t *testing.T) {
	var parts []string
	for range 200 {
		parts = append(parts, `{"all": [`+alsoNo+`, `+no+`]}`)
	}
	d := when(t, `{"any": [`+strings.Join(parts, ", ")+`]}`)
	got := d.Evaluate(testRoster(t), send(t, acme, "1"))
	if got.Allow || len(got.Detail) > 4096 || len(got.Fix) > 2048 {
		t.Errorf("allow %v, %d bytes of detail, %d of fix", got.Allow, len(got.Detail), len(got.Fix))
	}
}
