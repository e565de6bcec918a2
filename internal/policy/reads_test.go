package policy

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// TestReads: each field is read from its own place.
func TestReads(t *testing.T) {
	const dai20 = "eip155:1:0x6B175474E89094C44Da98b954EedeAC495271d0F"
	creation := send(t, "", "", func(in *Input) {
		in.Effects.Creates = []chain.Creation{{Value: num(5), CodeHash: [32]byte{0xab}}, {Value: num(6), CodeHash: [32]byte{0xcd}}}
	})
	allowance := send(t, "", "", func(in *Input) {
		in.Effects.Approvals = []chain.Approval{{Owner: known, Spender: alpha, Asset: dai, Amount: num(7)}}
	})
	moved := func(method string) Input {
		return send(t, "", "", also(known, dai, num(1)), calls(dai20, method))
	}
	code := func(first string) Expr {
		return op(OpExists, op(OpCreations), op(OpEq, field("code", 0), text("0x"+first+strings.Repeat("00", 31))))
	}
	worth := func(n uint64) Expr {
		return op(OpExists, op(OpCreations), op(OpEq, field("value", 0), amountOf(n, eth)))
	}
	labelled := func(of, label string) Expr {
		return op(OpAll, op(OpAllowances), named(OpLabelled, label, field(of, 0)))
	}
	both := func(a, b Expr) Expr { return op(OpAnd, a, b) }
	for name, c := range map[string]struct {
		in   Input
		e    Expr
		want string
	}{
		"first code":         {creation, code("ab"), CodeAllow},
		"second code":        {creation, code("cd"), CodeAllow},
		"both codes":         {creation, both(code("ab"), code("cd")), CodeAllow},
		"another code":       {creation, code("ef"), CodeDefault},
		"first value":        {creation, worth(5), CodeAllow},
		"second value":       {creation, worth(6), CodeAllow},
		"another value":      {creation, worth(7), CodeDefault},
		"owner's label":      {allowance, labelled("owner", "known"), CodeAllow},
		"spender's label":    {allowance, labelled("spender", "blocked"), CodeAllow},
		"both labels":        {allowance, both(labelled("owner", "known"), labelled("spender", "blocked")), CodeAllow},
		"not the owner's":    {allowance, labelled("owner", "blocked"), CodeDefault},
		"not the spender's":  {allowance, labelled("spender", "known"), CodeDefault},
		"allowance's amount": {allowance, op(OpAll, op(OpAllowances), op(OpEq, field("amount", 0), amountOf(7, dai))), CodeAllow},
		"transfer":           {moved("transfer(address,uint256)"), op(OpOnlyTransfers), CodeAllow},
		"transferFrom":       {moved("transferFrom(address,address,uint256)"), op(OpOnlyTransfers), CodeAllow},
		"approve":            {moved("approve(address,uint256)"), op(OpOnlyTransfers), CodeDefault},
		"sent and received":  {send(t, known, "1"), op(OpEq, ofAsset(OpReceived, eth), amountOf(0, eth)), CodeAllow},
	} {
		if got := when(t, c.e).Evaluate(testRoster(t), c.in); got.Code != c.want {
			t.Errorf("%s: decided %+v, want %s", name, got, c.want)
		}
	}
}

// TestHoursCover: the first minute is in, the last is not, and a night belongs to the
// day on which it began.
func TestHoursCover(t *testing.T) {
	day, night := Hours{Days: 1, From: 480, To: 1080}, Hours{Days: 1, From: 1320, To: 360} // Mondays
	for _, c := range []struct {
		h       Hours
		weekday int
		minute  uint16
		want    bool
	}{
		{day, 0, 479, false}, {day, 0, 480, true}, {day, 0, 1079, true}, {day, 0, 1080, false}, {day, 1, 500, false}, {day, 6, 500, false},
		{night, 0, 1319, false}, {night, 0, 1320, true}, {night, 0, 1439, true}, {night, 1, 0, true}, {night, 1, 359, true}, {night, 1, 360, false},
		{night, 0, 0, false}, {night, 1, 1320, false}, {night, 6, 1400, false},
	} {
		if got := c.h.covers(c.weekday, c.minute); got != c.want {
			t.Errorf("%s covers minute %d of day %d: %v", c.h, c.minute, c.weekday, got)
		}
	}
}
