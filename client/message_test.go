package client_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/client"
)

const order = `{
  "types": {"Order": [{"name": "maker", "type": "address"}, {"name": "amounts", "type": "uint256[]"}, {"name": "open", "type": "bool"}]},
  "primaryType": "Order",
  "domain": {"name": "Market", "chainId": 31337, "verifyingContract": "0x6B175474E89094C44Da98b954EedeAC495271d0F"},
  "message": {"maker": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "amounts": ["7"], "open": true}
}`

// TestMessage: what is drafted from typed data is shown with all its fields, and
// costs nothing.
func TestMessage(t *testing.T) {
	d, err := client.NewMessage(cluster, wallet, []byte(order))
	if err != nil {
		t.Fatal(err)
	}
	alice := signer(t, "alice")
	p, err := alice.Propose(d)
	if err != nil {
		t.Fatal(err)
	}
	x, err := client.Decode(p.Request, cluster)
	if err != nil {
		t.Fatal(err)
	}
	want := &client.Message{Type: "Order", Name: "Market", Contract: "eip155:31337:0x6B175474E89094C44Da98b954EedeAC495271d0F", Fields: []client.Argument{
		{Path: "maker", Type: "address", Value: "eip155:31337:0x70997970C51812dc3A010C7d01b50e0d17dc79C8"},
		{Path: "amounts.length", Type: "uint256", Value: "1"}, {Path: "amounts[0]", Type: "uint256", Value: "7"}, {Path: "open", Type: "bool", Value: "true"},
	}}
	if diff := cmp.Diff(want, x.Effects.Message); diff != "" {
		t.Error(diff)
	}
	if x.Chain != "eip155:31337" || x.MaxFee.Units != "0" || len(x.Effects.Calls)+len(x.Effects.Transfers) > 0 {
		t.Errorf("%+v", x)
	}
	for _, bad := range []string{"", "{}", strings.Replace(order, "31337", "0", 1), strings.Replace(order, `"open": true`, `"open": 1`, 1)} {
		if _, err := client.NewMessage(cluster, wallet, []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "typed data: ") {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// TestCallsAndCreations: the rest of what effects hold reaches people.
func TestCallsAndCreations(t *testing.T) {
	d, err := client.NewCall(cluster, wallet, chain, to, "0 ETH", append([]byte{0xa2, 0x2c, 0xb4, 0x65}, append(make([]byte, 31+32), 1)...)) // setApprovalForAll(0, true)
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.Decoded()
	if err != nil {
		t.Fatal(err)
	}
	e := &x.Effects
	if len(e.Calls) != 1 || e.Calls[0].From != x.Sender || e.Calls[0].Depth != 0 || len(e.Calls[0].Arguments) != 2 || e.Calls[0].Arguments[1].Value != "true" || len(e.Allowances) != 1 || !e.Allowances[0].Unlimited {
		t.Errorf("%+v", e)
	}
	const creation = "0x02cf827a698080808080808460806040c0"
	if d, err = client.NewRaw(cluster, wallet, creation); err != nil {
		t.Fatal(err)
	}
	if x, err = d.Decoded(); err != nil {
		t.Fatal(err)
	}
	if e = &x.Effects; len(e.Creations) != 1 || len(e.Creations[0].CodeHash) != 66 || len(e.Calls) > 0 || e.Undecoded != "" {
		t.Errorf("%+v", e)
	}
}
