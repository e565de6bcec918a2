package verify

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// TestDoes: what was signed, in a line.
func TestDoes(t *testing.T) {
	token := testChain + "/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"
	send := func(n uint64) chain.Transfer {
		return chain.Transfer{Asset: testETH, From: "a", To: "b", Amount: ether(n)}
	}
	for want, e := range map[string]*chain.Effects{
		"3 ETH to b": {Transfers: []chain.Transfer{send(3)}},
		"5 smallest units of " + token + " to the contract that it creates; a new contract": {
			Transfers: []chain.Transfer{{Asset: token, From: "a", Amount: chain.Amount{5}}}, Creates: []chain.Creation{{}},
		},
		"2 ETH to c from d": {Transfers: []chain.Transfer{{Asset: testETH, From: "d", To: "c", Amount: ether(2)}}, Calls: []chain.Call{{Method: "f()", To: "c"}}},
		"c may spend any amount of " + token + " of a; d may spend 1 ETH of a": {Approvals: []chain.Approval{
			{Asset: token, Owner: "a", Spender: "c", Amount: chain.Amount{0, 1 << 40}}, {Asset: testETH, Owner: "a", Spender: "d", Amount: ether(1)},
		}},
		"a call of f() of c":                             {Calls: []chain.Call{{Method: "f()", To: "c"}}},
		"a message Order for x":                          {Message: &chain.Message{Type: "Order", Contract: "x"}},
		"1 ETH to b; 2 ETH to b; 3 ETH to b; and 2 more": {Transfers: []chain.Transfer{send(1), send(2), send(3), send(4), send(5)}},
	} {
		e.Sender = "a"
		if got := does(testPolicy(1), e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, ids := range map[string][]uint16{"": nil, "1": {1}, "1 and 2": {1, 2}, "1, 2 and 3": {1, 2, 3}} {
		if got := listed(ids); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestReportTellsAll: what an outsider reads of each transaction and refusal, in the order
// in which it happened.
func TestReportTellsAll(t *testing.T) {
	text := reportText(t, func() *Report { w := newWorld(t).history(); return w.verify(w.copies()) }())
	at := 0
	for _, want := range []string{
		"checked: 1 change of policy, people or vaults, 1 wallet key, 3 signed transactions; in all logs together 6 decisions to allow and 3 to refuse\n",
		": 1 ETH to " + testChain + ":0x1100", "UTC, by wallet \"treasury\" on " + testChain + ": request ", ", allowed by rule \"small\", decided by vaults 1 and 2\n",
		": 3 ETH to ", "allowed by rule \"large\", decided by vaults 2 and 3\n", ": 5 ETH to ", "decided by vaults 1 and 3\n",
		"refused  request ", ", by vault 1 (entry ", "(policy.default)\n", "verified: every signature and every decision stands\n",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("no %q after byte %d of\n%s", want, at, text)
		}
		at += i + len(want)
	}
}
