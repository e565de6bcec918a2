package policy

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

const (
	eth   = "eip155:1/slip44:60"
	dai   = "eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F"
	alpha = "eip155:1:0x27b1fdb04752bbc536007a920d24acb045561c26"
	known = "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D"
)

func num(n uint64) chain.Amount { return *new(chain.Amount).SetUint64(n) }

func op(o Op, args ...Expr) Expr        { return Expr{Op: o, Args: args} }
func text(s string) Expr                { return Expr{Op: OpText, Text: s} }
func number(n uint64) Expr              { return Expr{Op: OpUint, Num: num(n)} }
func yes() Expr                         { return Expr{Op: OpBool, Num: num(1)} }
func no() Expr                          { return Expr{Op: OpBool} }
func field(name string, depth int) Expr { return Expr{Op: OpField, Text: name, Depth: uint8(depth)} }
func named(o Op, s string, args ...Expr) Expr {
	return Expr{Op: o, Text: s, Args: args}
}
func amountOf(n uint64, asset string) Expr { return Expr{Op: OpAmount, Num: num(n), Asset: asset} }
func ofAsset(o Op, asset string) Expr      { return Expr{Op: o, Asset: asset} }
func money(n uint64) Expr                  { return Expr{Op: OpMoney, Num: num(n)} }

// everything is a document that uses every part and every operator.
func everything() *Document {
	utc := Zone{Name: "UTC", Steps: []Step{{0, 0}}, Until: 4102444800}
	zurich := Zone{Name: "Europe/Zurich", Steps: []Step{{0, 3600}, {1774746000, 7200}, {1792890000, 3600}, {1806195600, 7200}}, Until: 1824940800}
	d := &Document{
		Currency:    "USD",
		Prices:      PriceRule{Sources: []string{"desk", "feed"}, Agree: 2, Tolerance: 200, MaxAge: 600_000},
		Assets:      []Asset{{"DAI", dai, 18}, {"ETH", eth, 18}},
		Wallets:     []NamedWallet{{"hot", [32]byte{1}}, {"vault", [32]byte{2}}},
		AddressBook: []Entry{{"blocked", []string{alpha}}, {"known", []string{known}}},
		Methods:     []chain.Method{{Signature: "pause()"}, {Contract: known, Signature: "swap(address token,uint256 amount)"}},
		Zones:       []Zone{zurich, utc},
		Limits: []Limit{
			{Name: "daily", Measure: MeasureAmount, Asset: eth, Per: []Scope{PerWallet, PerDestination}, Window: Window{Kind: Rolling, Length: 86_400_000}, Max: num(5)},
			{Name: "monthly", Measure: MeasureMoney, Window: Window{Kind: Calendar, Unit: Month, Zone: "Europe/Zurich"}, Max: num(1_000_000)},
			{Name: "rate", Measure: MeasureCount, Per: []Scope{PerInitiator}, Window: Window{Kind: Rolling, Length: 3_600_000}, Max: num(10)},
		},
	}
	d.Guards = []Guard{
		{"known-bad", op(OpOr,
			op(OpExists, op(OpTransfers), named(OpLabelled, "blocked", field("to", 0))),
			op(OpExists, op(OpAllowances), op(OpOr, field("unlimited", 0), named(OpLabelled, "blocked", field("spender", 0)))))},
		{"calls", op(OpNot, op(OpAll, op(OpCalls), op(OpAnd,
			Expr{Op: OpIn, Args: []Expr{field("method", 0)}, Set: []string{"pause()", "swap(address,uint256)"}},
			op(OpLt, named(OpArgUint, "amount"), number(7)), op(OpEq, named(OpArgAddress, "token"), text(known)),
			op(OpNe, named(OpArgText, "name"), text("x")), named(OpArgFlag, "final"),
			op(OpExistsOne, op(OpTransfers), op(OpEq, field("to", 0), field("to", 1))))))},
		{"creation", op(OpGt, op(OpCount, op(OpCreations)), number(0))},
		{"message", op(OpAnd, op(OpMessagePresent), op(OpNe, op(OpMessageType), text("Permit")), op(OpEq, op(OpMessageName), op(OpMessageVersion)),
			op(OpEq, op(OpMessageContract), named(OpMessageAddress, "spender")), op(OpEq, named(OpMessageText, "x"), text("y")),
			named(OpMessageFlag, "z"), op(OpGt, named(OpMessageUint, "v"), number(3)))},
	}
	d.Rules = []Rule{
		{Name: "small", When: op(OpAnd,
			op(OpOnlyTransfers), named(OpWithin, "daily"), op(OpLe, ofAsset(OpTotal, eth), amountOf(2, eth)),
			op(OpLt, op(OpValue), money(9)), op(OpEq, named(OpRiskOutcome, "screening"), text("pass")), op(OpLt, named(OpRiskScore, "screening"), number(500)),
			Expr{Op: OpDuring, Text: "Europe/Zurich", Num: Hours{31, 480, 1080}.Num()}, Expr{Op: OpBefore, Num: num(1800000000)}, Expr{Op: OpAfter, Num: num(1700000000)},
			op(OpLe, op(OpFee), amountOf(3, eth)), op(OpGe, ofAsset(OpReceived, dai), amountOf(0, dai)),
			op(OpEq, op(OpChain), text("eip155:1")), op(OpNe, op(OpSender), text(alpha)),
			Expr{Op: OpIn, Args: []Expr{op(OpWallet)}, Set: []string{"01" + strings.Repeat("00", 31)}}),
			Then: Verdict{Effect: Allow}},
		{Name: "big", When: op(OpAnd,
			named(OpInGroup, "traders", op(OpInitiator)), named(OpHasRole, "proposer", op(OpInitiator)),
			op(OpGe, op(OpCount, op(OpApprovers), named(OpInGroup, "traders", op(OpItem))), number(1)),
			op(OpIf, yes(), op(OpLe, named(OpUsed, "monthly"), op(OpMul, op(OpAdd, money(1), money(2)), number(2))), no()),
			op(OpEq, op(OpMod, op(OpSub, number(5), number(2)), number(2)), op(OpDiv, named(OpUsed, "rate"), number(3))),
			op(OpAll, op(OpTransfers), op(OpGt, field("value", 0), money(0)))),
			Then: Verdict{Effect: Require, Require: []Requirement{{"compliance", 1}, {"treasurers", 2}}, InitiatorExcluded: true}, BreakGlass: true},
		{Name: "rest", When: yes(), Then: Verdict{Effect: Deny}},
	}
	d.Invariants = []Invariant{
		{"no-lone-sender", op(OpGt, ofAsset(OpTotal, eth), amountOf(10, eth)), Floor{Approvals: 1, InitiatorExcluded: true, Group: "treasurers"}},
		{"never", named(OpHasRole, "viewer", op(OpInitiator)), Floor{Deny: true}},
	}
	return d
}

func TestRoundTrip(t *testing.T) {
	d := everything()
	got, err := DecodeDocument(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, d) {
		t.Errorf("decoded another document:\n%+v\nwant\n%+v", got, d)
	}
	sorted := everything()
	sorted.Sort()
	if !reflect.DeepEqual(sorted, d) {
		t.Error("Sort changes what is sorted")
	}
	used := make(map[Op]bool)
	var walk func(e *Expr)
	walk = func(e *Expr) {
		used[e.Op] = true
		for i := range e.Args {
			walk(&e.Args[i])
		}
	}
	for i := range d.Guards {
		walk(&d.Guards[i].When)
	}
	for i := range d.Rules {
		walk(&d.Rules[i].When)
	}
	for i := range d.Invariants {
		walk(&d.Invariants[i].When)
	}
	for o := range ops {
		if !used[o] {
			t.Errorf("everything() does not use %s (%d)", o, o)
		}
	}
}

func FuzzDecodeDocument(f *testing.F) {
	f.Add(everything().Encode())
	f.Add(new(Document).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDocument(b)
		if err == nil && !bytes.Equal(d.Encode(), b) {
			t.Errorf("%x decodes and encodes to %x", b, d.Encode())
		}
	})
}

func FuzzDecodeMovement(f *testing.F) {
	f.Add((&Movement{Initiator: "bob", Chain: "eip155:1", Currency: "USD", Moves: []Move{{dai, known, num(3), num(4)}, {eth, known, num(1), num(2)}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMovement(b)
		if err == nil && !bytes.Equal(m.Encode(), b) {
			t.Errorf("%x decodes and encodes to %x", b, m.Encode())
		}
	})
}
