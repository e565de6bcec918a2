package evm

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
)

func TestSelectors(t *testing.T) {
	for method, selector := range map[string][4]byte{
		methodTransfer: selectorTransfer, methodTransferFrom: selectorTransferFrom, methodApprove: selectorApprove,
	} {
		if sum := keccak256([]byte(method)); [4]byte(sum[:4]) != selector {
			t.Errorf("selector of %s is %x, want %x", method, sum[:4], selector)
		}
	}
}

var (
	tokenHex, aliceHex, bobHex = eip55[4], eip55[5], eip55[6]
)

func transferFrom(from, to Address, v chain.Amount) []byte {
	data := append(selectorTransferFrom[:], make([]byte, 12)...)
	return append(append(data, from[:]...), callData([4]byte{}, to, v)[4:]...)
}

func TestEffects(t *testing.T) {
	token, alice, bob := address(t, tokenHex), address(t, aliceHex), address(t, bobHex)
	me, eth, erc20 := sender(t), "eip155:1/slip44:60", "eip155:1/erc20:"+tokenHex
	t1, a1, b1 := "eip155:1:"+tokenHex, "eip155:1:"+aliceHex, "eip155:1:"+bobHex
	huge := chain.Amount{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	good := NewERC20Transfer(token, alice, amount(5)).Data
	padded := bytes.Clone(good)
	padded[4] = 1
	undecoded := func(data []byte, method, reason string) *chain.Effects {
		return &chain.Effects{Calls: []chain.Call{{From: me, To: t1, Method: method}}, Undecoded: reason}
	}
	for name, c := range map[string]struct {
		in   *Intent
		want *chain.Effects
	}{
		"native": {NewTransfer(alice, huge), &chain.Effects{
			Transfers: []chain.Transfer{{From: me, To: a1, Asset: eth, Amount: huge}},
		}},
		"native of nothing still has a recipient": {NewTransfer(alice, amount(0)), &chain.Effects{
			Transfers: []chain.Transfer{{From: me, To: a1, Asset: eth}},
		}},
		"token transfer": {NewERC20Transfer(token, alice, huge), &chain.Effects{
			Transfers: []chain.Transfer{{From: me, To: a1, Asset: erc20, Amount: huge}},
			Calls:     []chain.Call{{From: me, To: t1, Method: methodTransfer}},
		}},
		"token transferFrom": {&Intent{To: &token, Data: transferFrom(alice, bob, amount(7))}, &chain.Effects{
			Transfers: []chain.Transfer{{From: a1, To: b1, Asset: erc20, Amount: amount(7)}},
			Calls:     []chain.Call{{From: me, To: t1, Method: methodTransferFrom}},
		}},
		"token approve": {NewERC20Approve(token, bob, amount(8)), &chain.Effects{
			Approvals: []chain.Approval{{Owner: me, Spender: b1, Asset: erc20, Amount: amount(8)}},
			Calls:     []chain.Call{{From: me, To: t1, Method: methodApprove}},
		}},
		"value sent along": {&Intent{To: &token, Value: amount(3), Data: good}, &chain.Effects{
			Transfers: []chain.Transfer{
				{From: me, To: t1, Asset: eth, Amount: amount(3)},
				{From: me, To: a1, Asset: erc20, Amount: amount(5)},
			},
			Calls: []chain.Call{{From: me, To: t1, Method: methodTransfer, Value: amount(3)}},
		}},
		"value with an unknown method": {&Intent{To: &token, Value: amount(3), Data: []byte{0xd0, 0xe3, 0x0d, 0xb0}}, &chain.Effects{
			Transfers: []chain.Transfer{{From: me, To: t1, Asset: eth, Amount: amount(3)}},
			Calls:     []chain.Call{{From: me, To: t1, Method: "0xd0e30db0", Value: amount(3)}},
			Undecoded: "method 0xd0e30db0 is not one of transfer(address,uint256), transferFrom(address,address,uint256), approve(address,uint256)",
		}},
		"creation": {&Intent{Value: amount(3), Data: good}, &chain.Effects{
			Calls: []chain.Call{{From: me, Value: amount(3)}}, Undecoded: "creates a contract",
		}},
		"too short for a method": {&Intent{To: &token, Data: good[:3]},
			undecoded(nil, "0xa9059c", "data of 3 bytes is too short for a method")},
		"method alone": {&Intent{To: &token, Data: good[:4]},
			undecoded(nil, methodTransfer, methodTransfer+": 0 bytes of arguments, want 64")},
		"a byte short": {&Intent{To: &token, Data: good[:67]},
			undecoded(nil, methodTransfer, methodTransfer+": 63 bytes of arguments, want 64")},
		"a byte long": {&Intent{To: &token, Data: append(bytes.Clone(good), 0)},
			undecoded(nil, methodTransfer, methodTransfer+": 65 bytes of arguments, want 64")},
		"dirty padding": {&Intent{To: &token, Data: padded},
			undecoded(nil, methodTransfer, methodTransfer+": argument 1 is not an address: its padding is not zero")},
		"approve a byte long": {&Intent{To: &token, Data: append(NewERC20Approve(token, bob, amount(8)).Data, 0)},
			undecoded(nil, methodApprove, methodApprove+": 65 bytes of arguments, want 64")},
		"transferFrom without amount": {&Intent{To: &token, Data: transferFrom(alice, bob, amount(7))[:68]},
			undecoded(nil, methodTransferFrom, methodTransferFrom+": 64 bytes of arguments, want 96")},
		"transferFrom, dirty second address": {&Intent{To: &token, Data: func() []byte {
			d := transferFrom(alice, bob, amount(7))
			d[36] = 0x80
			return d
		}()}, undecoded(nil, methodTransferFrom, methodTransferFrom+": argument 2 is not an address: its padding is not zero")},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Chain, c.want.Sender, c.want.MaxFee = mainnet, me, amount(9)
			got, err := Codec{}.Intent(mainnet, me, c.in.Encode(), amount(9), nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Fatal(d)
			}
			checkEffects(t, me, c.in.Encode(), c.in)
		})
	}
}

// checkEffects holds for every intent: the effects have an encoding, and value
// and data leave no effect untold.
func checkEffects(t *testing.T, from string, encoded []byte, in *Intent) {
	t.Helper()
	e, err := Codec{}.Intent(mainnet, from, encoded, amount(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := chain.DecodeEffects(e.Encode())
	if err != nil {
		t.Fatalf("effects have no encoding: %v", err)
	}
	if d := cmp.Diff(e, again); d != "" {
		t.Fatal(d)
	}
	if e.Undecoded == "" && len(e.Transfers)+len(e.Approvals) == 0 {
		t.Fatal("understood, and yet it does nothing")
	}
	if len(in.Data) > 0 && len(e.Calls) != 1 {
		t.Fatalf("%d calls for a transaction with data", len(e.Calls))
	}
	if in.To != nil && !in.Value.IsZero() {
		if len(e.Transfers) == 0 || e.Transfers[0].Amount != in.Value || e.Transfers[0].From != from ||
			e.Transfers[0].To != Account(mainnet, *in.To) || e.Transfers[0].Asset != NativeAsset(mainnet) {
			t.Fatalf("the value is not among the transfers: %+v", e.Transfers)
		}
	}
}

// TestAccessListIsUndecoded: the list is not in the intent, so nobody approved
// it, and what reads it may differ.
func TestAccessListIsUndecoded(t *testing.T) {
	in, tx := transfer(t)
	tx.AccessList = []AccessTuple{{Address: *tx.To}}
	unsigned, err := tx.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Codec{}.Prepare(mainnet, sender(t), in.Encode(), amount(210000), unsigned, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Effects.Undecoded, "access list") {
		t.Errorf("undecoded is %q, want it to name the access list", p.Effects.Undecoded)
	}
}

func TestPrepareRefusesInputs(t *testing.T) {
	in, tx := transfer(t)
	unsigned, err := tx.Encode()
	if err != nil {
		t.Fatal(err)
	}
	me := sender(t)
	for name, c := range map[string]struct {
		chain, sender string
		intent        []byte
		unsigned      []byte
		word          string
	}{
		"chain":               {"eip155:x", me, in.Encode(), unsigned, "chain \"eip155:x\""},
		"sender":              {mainnet, "0x12", in.Encode(), unsigned, "sender: account"},
		"sender elsewhere":    {mainnet, strings.Replace(me, ":1:", ":5:", 1), in.Encode(), unsigned, "want one on eip155:1"},
		"sender's checksum":   {mainnet, strings.ToLower(me), in.Encode(), unsigned, "want it with its checksum"},
		"intent":              {mainnet, me, in.Encode()[1:], unsigned, "couldn't decode intent"},
		"transaction":         {mainnet, me, in.Encode(), unsigned[1:], "couldn't decode unsigned transaction"},
		"another transaction": {"eip155:5", strings.Replace(me, ":1:", ":5:", 1), in.Encode(), unsigned, "chain is eip155:1, want eip155:5"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Codec{}.Prepare(c.chain, c.sender, c.intent, amount(210000), c.unsigned, nil)
			wantError(t, err, c.word)
			if name == "transaction" || name == "another transaction" {
				return
			}
			_, err = Codec{}.Intent(c.chain, c.sender, c.intent, amount(1), nil)
			wantError(t, err, c.word)
		})
	}
}

// TestPreparedEffectsHoldTheRealFee: the effects of the final transaction say
// what this one can cost, not what the request would allow.
func TestPreparedEffectsHoldTheRealFee(t *testing.T) {
	in, tx := transfer(t)
	unsigned, _ := tx.Encode()
	p, err := Codec{}.Prepare(mainnet, sender(t), in.Encode(), amount(1e18), unsigned, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Effects.MaxFee != amount(210000) {
		t.Errorf("max fee %s, want 210000", p.Effects.MaxFee.Dec())
	}
}

// TestSlots: the same account and nonce conflict, anything else does not.
func TestSlots(t *testing.T) {
	slot := func(nonce uint64, tip uint64, to Address) string {
		in, tx := transfer(t)
		in.To, tx.To, tx.Nonce, tx.TipCap = &to, &to, nonce, amount(tip)
		unsigned, _ := tx.Encode()
		p, err := Codec{}.Prepare(mainnet, sender(t), in.Encode(), amount(1e18), unsigned, nil)
		if err != nil || len(p.Slots) != 1 {
			t.Fatal(err, p)
		}
		return p.Slots[0]
	}
	var a, b Address
	binary.BigEndian.PutUint32(b[:], 1)
	if slot(7, 1, a) != slot(7, 2, b) {
		t.Error("one nonce gives two slots")
	}
	if slot(7, 1, a) == slot(8, 1, a) {
		t.Error("two nonces give one slot")
	}
}
