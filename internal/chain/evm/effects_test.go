package evm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
)

const methodTransferFrom = "transferFrom(address,address,uint256)"

var selectorTransferFrom = tokens[methodTransferFrom].selector

func transferFrom(from, to Address, v chain.Amount) []byte {
	data := append(selectorTransferFrom[:], make([]byte, 12)...)
	return append(append(data, from[:]...), callData([4]byte{}, to, v)[4:]...)
}

// brief writes effects as lines, with names for the accounts of these tests.
func brief(e *chain.Effects) string {
	var s []string
	add := func(format string, args ...any) { s = append(s, fmt.Sprintf(format, args...)) }
	for _, x := range e.Transfers {
		add("%s -> %s: %s %s", x.From, x.To, x.Amount.Dec(), x.Asset)
	}
	for _, x := range e.Approvals {
		add("%s lets %s spend %s %s", x.Owner, x.Spender, x.Amount.Dec(), x.Asset)
	}
	for _, x := range e.Calls {
		args := ""
		for _, a := range x.Args {
			args += " " + a.Path + "=" + valueOf(&a)
		}
		add("%d %s calls %s %s value %s%s", x.Depth, x.From, x.Method, x.To, x.Value.Dec(), args)
	}
	for _, x := range e.Creates {
		add("creates %x value %s", x.CodeHash[:4], x.Value.Dec())
	}
	if e.Undecoded != "" {
		add("undecoded: %s", e.Undecoded)
	}
	out := strings.Join(s, "\n")
	for name, a := range map[string]string{
		"me": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "TKN": tokenHex, "alice": aliceHex, "bob": bobHex, "wallet": walletHex, "PERMIT2": Permit2.String(), "nobody": Address{}.String(),
	} {
		out = strings.ReplaceAll(out, mainnet+":"+a, name)
		out = strings.ReplaceAll(out, a, name)
	}
	out = strings.ReplaceAll(out, mainnet+"/slip44:60", "wei")
	return strings.ReplaceAll(out, mainnet+"/", "")
}

func valueOf(a *chain.Arg) string {
	switch a.Kind {
	case chain.ArgUint, chain.ArgFlag:
		return a.Uint.Dec()
	}
	return a.Text
}

var (
	tokenHex, aliceHex, bobHex, walletHex = eip55[4], eip55[5], eip55[6], eip55[7]
)

// check compares the effects of an intent with lines of brief.
func check(t *testing.T, in *Intent, methods []chain.Method, want ...string) {
	t.Helper()
	e, err := Codec{}.Intent(mainnet, sender(t), in.Encode(), amount(9), methods)
	if err != nil {
		t.Fatal(err)
	}
	if e.Chain != mainnet || e.Sender != sender(t) || e.MaxFee != amount(9) {
		t.Errorf("%s %s %s", e.Chain, e.Sender, e.MaxFee.Dec())
	}
	if got := brief(e); got != strings.Join(want, "\n") {
		t.Errorf("effects\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	checkEffects(t, in, methods)
}

const huge = "115792089237316195423570985008687907853269984665640564039457584007913129639935"

func TestEffects(t *testing.T) {
	token, alice, bob := address(t, tokenHex), address(t, aliceHex), address(t, bobHex)
	most := *new(chain.Amount).SetAllOne()
	good := NewERC20Transfer(token, alice, amount(5)).Data
	padded := bytes.Clone(good)
	padded[4] = 1
	for name, c := range map[string]struct {
		in   *Intent
		want []string
	}{
		"native": {NewTransfer(alice, most), []string{"me -> alice: " + huge + " wei"}},
		"native of nothing still has a recipient": {NewTransfer(alice, amount(0)), []string{"me -> alice: 0 wei"}},
		"token transfer": {NewERC20Transfer(token, alice, most), []string{
			"me -> alice: " + huge + " erc20:TKN",
			"0 me calls transfer(address,uint256) TKN value 0 to=alice amount=" + huge,
		}},
		"token transferFrom": {&Intent{To: &token, Data: transferFrom(alice, bob, amount(7))}, []string{
			"alice -> bob: 7 erc20:TKN",
			"0 me calls transferFrom(address,address,uint256) TKN value 0 from=alice to=bob amount=7",
		}},
		"token approve": {NewERC20Approve(token, bob, amount(8)), []string{
			"me lets bob spend 8 erc20:TKN",
			"0 me calls approve(address,uint256) TKN value 0 spender=bob amount=8",
		}},
		"value sent along": {&Intent{To: &token, Value: amount(3), Data: good}, []string{
			"me -> TKN: 3 wei", "me -> alice: 5 erc20:TKN",
			"0 me calls transfer(address,uint256) TKN value 3 to=alice amount=5",
		}},
		"value with an unknown method": {&Intent{To: &token, Value: amount(3), Data: []byte{1, 2, 3, 4}}, []string{
			"me -> TKN: 3 wei", "0 me calls 0x01020304 TKN value 3",
			"undecoded: method 0x01020304 is not built in, and the policy does not declare it for this contract",
		}},
		"creation":                    {&Intent{Data: good}, []string{fmt.Sprintf("creates %x value 0", first(keccak256(good)))}},
		"creation of nothing":         {&Intent{}, []string{"creates c5d24601 value 0"}}, // the hash of nothing
		"creation with value":         {&Intent{Value: amount(3)}, []string{"me -> : 3 wei", "creates c5d24601 value 3"}},
		"too short for a method":      {&Intent{To: &token, Data: good[:3]}, []string{"0 me calls 0xa9059c TKN value 0", "undecoded: data of 3 bytes is too short for a method"}},
		"method alone":                {&Intent{To: &token, Data: good[:4]}, unread(methodTransfer, "0 bytes of arguments, want 64")},
		"a byte short":                {&Intent{To: &token, Data: good[:67]}, unread(methodTransfer, "63 bytes of arguments, want 64")},
		"a byte long":                 {&Intent{To: &token, Data: append(bytes.Clone(good), 0)}, unread(methodTransfer, "65 bytes of arguments, want 64")},
		"dirty padding":               {&Intent{To: &token, Data: padded}, unread(methodTransfer, "argument to is not an address: its padding is not 0x0")},
		"approve a byte long":         {&Intent{To: &token, Data: append(NewERC20Approve(token, bob, amount(8)).Data, 0)}, unread(methodApprove, "65 bytes of arguments, want 64")},
		"transferFrom without amount": {&Intent{To: &token, Data: transferFrom(alice, bob, amount(7))[:68]}, unread(methodTransferFrom, "64 bytes of arguments, want 96")},
		"transferFrom, dirty second address": {&Intent{To: &token, Data: func() []byte {
			d := transferFrom(alice, bob, amount(7))
			d[36] = 0x80
			return d
		}()}, unread(methodTransferFrom, "argument to is not an address: its padding is not 0x0")},
	} {
		t.Run(name, func(t *testing.T) { check(t, c.in, nil, c.want...) })
	}
}

func first(sum [32]byte) []byte { return sum[:4] }

// unread are the effects of a call of the token whose arguments are not those.
func unread(method, reason string) []string {
	return []string{"0 me calls " + method + " TKN value 0", "undecoded: " + method + ": " + reason}
}

// checkEffects holds for every intent: the effects have an encoding, and value
// and data leave no effect untold.
func checkEffects(t *testing.T, in *Intent, methods []chain.Method) {
	t.Helper()
	from := sender(t)
	e, err := Codec{}.Intent(mainnet, from, in.Encode(), amount(1), methods)
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
	if len(e.Transfers)+len(e.Approvals)+len(e.Calls)+len(e.Creates) == 0 {
		t.Fatal("it does nothing")
	}
	if in.To != nil && (len(in.Data) > 0) != (len(e.Calls) > 0) {
		t.Fatalf("%d calls for %d bytes of data", len(e.Calls), len(in.Data))
	}
	if (in.To == nil) != (len(e.Creates) > 0) {
		t.Fatalf("%d contracts are created", len(e.Creates))
	}
	if in.Value.IsZero() {
		return
	}
	to := ""
	if in.To != nil {
		to = Account(mainnet, *in.To)
	}
	if len(e.Transfers) == 0 || e.Transfers[0] != (chain.Transfer{From: from, To: to, Asset: NativeAsset(mainnet), Amount: in.Value}) {
		t.Fatalf("the value is not among the transfers: %+v", e.Transfers)
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
