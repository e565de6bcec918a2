package risk

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/request"
)

// The tests of this file run code of their own on a real node.

var wallet = evm.Address{9}

// code is EVM code from parts: hex digits, numbers, which are pushed, and addresses,
// which are pushed too.
func code(t *testing.T, parts ...any) []byte {
	t.Helper()
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b...)
		case int:
			out = append(out, 0x60, byte(p))
		case evm.Address:
			out = append(append(out, 0x73), p[:]...)
		case []byte: // a word
			out = append(append(out, 0x7f), p...)
		}
	}
	return out
}

func topic(event string) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write([]byte(event))
	return h.Sum(nil)
}

// Opcodes, with the arguments below them on the stack.
const (
	mstore, log3, log4, callTo, pop, ret, revert = "52", "a3", "a4", "f1", "50", "f3", "fd"
	callValue, caller, gas                       = "34", "33", "5a"
)

// transferred emits a token's Transfer of a small amount.
func transferred(t *testing.T, amount int, from, to evm.Address) []byte {
	return code(t, amount, 0, mstore, to, from, topic("Transfer(address,address,uint256)"), 32, 0, log3)
}

// onward pays what came in on to somebody.
func onward(t *testing.T, to evm.Address) []byte {
	return code(t, 0, 0, 0, 0, callValue, to, gas, callTo, pop)
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func newNode(t *testing.T) (*devnode.Node, *Engine) {
	t.Helper()
	n := devnode.ForTest(t, 31337, devnode.Options{})
	if err := n.SetBalance(t.Context(), wallet, eth(t, "5 ETH")); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, nil)
	e.simulators = map[string]Simulator{chainID: n.Client}
	return n, e
}

// TestCreationOnNode: anvil's eth_simulateV1 takes no creation; its tracer does.
func TestCreationOnNode(t *testing.T) {
	n, e := newNode(t)
	empty := code(t, 1, 0, ret) // leaves a contract of one byte
	for name, c := range map[string]struct {
		init []byte
		want string // in the simulation's reason
		bad  bool
	}{
		"a contract":              {init: empty},
		"it keeps the value":      {init: join(code(t, callValue, pop), empty)},
		"it pays it on":           {init: join(onward(t, friend), empty)},
		"it pays it to the thief": {init: join(onward(t, thief), empty), bad: true},
		"it takes a token":        {init: join(transferred(t, 5, wallet, stranger), empty), want: "5 of"},
		"it reverts":              {init: code(t, 0, 0, revert), want: "it fails: execution reverted"},
		"it makes another one":    {init: join(code(t, 0, 0, callValue, "f0", pop), empty)},
	} {
		in := &evm.Intent{Value: eth(t, "5 wei"), Data: c.init}
		v := judge(t, e, ask(t, in, "0.01 ETH"))
		if got := reason(v, "simulated"); got != (c.want != "") || c.want != "" && !reason(v, c.want) || reason(v, "known bad") != c.bad {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
	s, err := n.Client.Simulate(t.Context(), wallet, &evm.Intent{Value: eth(t, "5 wei"), Data: join(onward(t, friend), empty)})
	if err != nil || len(s.Moves) != 2 || s.Moves[0].From != sender || s.Moves[1].From != s.Moves[0].To || s.Moves[1].To != evm.Account(chainID, friend) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := e.Judge(t.Context(), ask(t, &evm.Intent{Value: eth(t, "6 ETH"), Data: empty}, "0.01 ETH"), now); err == nil || !strings.Contains(strings.ToLower(err.Error()), "insufficient funds") {
		t.Errorf("more than the wallet has: %v", err)
	}
}

// TestTokensOnNode: what the node tells of calls that do more than they say.
func TestTokensOnNode(t *testing.T) {
	n, e := newNode(t)
	at := evm.Address{0x77}
	word := func(v int) []byte { return append(make([]byte, 31), byte(v)) }
	single := func(id, amount int) []byte {
		return code(t, id, 0, mstore, amount, 32, mstore, stranger, wallet, at, topic("TransferSingle(address,address,address,uint256,uint256)"), 64, 0, log4)
	}
	item := func(id int, to evm.Address) []byte {
		return code(t, id, to, wallet, topic("Transfer(address,address,uint256)"), 0, 0, log4)
	}
	pay := evm.NewERC20Transfer(at, friend, eth(t, "100 wei"))
	wrap := &evm.Intent{To: &at, Value: eth(t, "7 wei"), Data: topic("deposit()")[:4]}
	unwrap := &evm.Intent{To: &at, Data: join(topic("withdraw(uint256)")[:4], word(7))}
	nft := &evm.Intent{To: &at, Data: join(topic("safeTransferFrom(address,address,uint256)")[:4], make([]byte, 12), wallet[:], make([]byte, 12), friend[:], word(3))}
	for name, c := range map[string]struct {
		in   *evm.Intent
		code []byte
		want string
	}{
		"as decoded":                    {pay, transferred(t, 100, wallet, friend), ""},
		"the fee is within":             {pay, join(transferred(t, 95, wallet, friend), transferred(t, 5, wallet, stranger)), "5 of"},
		"the fee is on top":             {pay, join(transferred(t, 100, wallet, friend), transferred(t, 5, wallet, at)), "5 of"},
		"the recipient pays the fee":    {pay, join(transferred(t, 100, wallet, friend), transferred(t, 5, friend, at)), ""},
		"it reverts":                    {pay, code(t, 0, 0, revert), "it fails"},
		"wrapped":                       {wrap, transferred(t, 7, evm.Address{}, wallet), ""},
		"wrapped, and the coin goes on": {wrap, join(onward(t, stranger), transferred(t, 7, evm.Address{}, wallet)), ""},
		"unwrapped":                     {unwrap, join(transferred(t, 7, wallet, at), code(t, 0, 0, 0, 0, 7, wallet, gas, callTo, pop)), ""},
		"more is unwrapped":             {unwrap, transferred(t, 8, wallet, at), "8 of"},
		"an item":                       {nft, item(3, friend), ""},
		"two items":                     {nft, join(item(3, friend), item(4, friend)), "goes to"},
		"the item goes elsewhere":       {nft, item(3, stranger), "item 3"},
		"of another kind, besides":      {pay, join(transferred(t, 100, wallet, friend), single(2, 1)), "erc1155"},
	} {
		if err := n.SetBalance(t.Context(), at, eth(t, "1 ETH")); err != nil {
			t.Fatal(err)
		}
		if err := n.Do(t.Context(), nil, "anvil_setCode", at.String(), "0x"+hex.EncodeToString(c.code)); err != nil {
			t.Fatal(err)
		}
		v := judge(t, e, ask(t, c.in, "0.01 ETH", c.in))
		if got := reason(v, "simulated"); got != (c.want != "") || c.want != "" && !reason(v, c.want) || got && v.Outcome != request.Hold {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
}

// TestSurplus is what TestSimulation leaves out: what is told apart by its number, and
// allowances of every kind.
func TestSurplus(t *testing.T) {
	coin, multi := evm.TokenAsset(chainID, token), func(id string) string { return evm.MultiAsset(chainID, token, eth(t, id+" wei")) }
	to, zero := evm.Account(chainID, friend), evm.Account(chainID, evm.Address{})
	moved := func(kind rpc.MoveKind, asset, to, n string) rpc.Move {
		return rpc.Move{Kind: kind, Asset: asset, From: sender, To: to, Amount: eth(t, n+" wei")}
	}
	method := func(signature string, words ...any) *evm.Intent {
		data := topic(signature)[:4]
		for _, w := range words {
			switch w := w.(type) {
			case evm.Address:
				data = append(append(data, make([]byte, 12)...), w[:]...)
			case int:
				data = append(append(data, make([]byte, 31)...), byte(w))
			}
		}
		return &evm.Intent{To: &token, Data: data}
	}
	approve := method("approve(address,uint256)", friend, 5)
	all, none := method("setApprovalForAll(address,bool)", friend, 1), method("setApprovalForAll(address,bool)", friend, 0)
	from := method("transferFrom(address,address,uint256)", wallet, friend, 5)
	others := method("transferFrom(address,address,uint256)", stranger, friend, 5)
	permit := method("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", stranger, friend, 5, 0, 27, 1, 1)
	item := method("safeTransferFrom(address,address,uint256)", wallet, friend, 7)
	one := method("safeTransferFrom(address,address,uint256,uint256,bytes)", wallet, friend, 7, 3, 160, 0)
	for name, c := range map[string]struct {
		in   *evm.Intent
		move rpc.Move
		want bool
	}{
		"approve is of an item":             {approve, moved(rpc.MoveLentItem, coin, to, "5"), false},
		"approve is of another item":        {approve, moved(rpc.MoveLentItem, coin, to, "6"), true},
		"item 0 is lent":                    {from, moved(rpc.MoveLentItem, coin, to, "0"), true},
		"an item is lent to nobody":         {from, moved(rpc.MoveLentItem, coin, zero, "5"), false},
		"approve gives all":                 {approve, moved(rpc.MoveForAll, coin, to, "1"), true},
		"all, as decoded":                   {all, moved(rpc.MoveForAll, coin, to, "1"), false},
		"none, as decoded":                  {none, moved(rpc.MoveForAll, coin, to, "0"), false},
		"none, but all":                     {none, moved(rpc.MoveForAll, coin, to, "1"), true},
		"transferFrom of an item":           {from, moved(rpc.MoveItem, coin, to, "5"), false},
		"transferFrom of another item":      {from, moved(rpc.MoveItem, coin, to, "6"), true},
		"one of several, as decoded":        {one, moved(rpc.MoveTransfer, multi("7"), to, "3"), false},
		"one of several, more":              {one, moved(rpc.MoveTransfer, multi("7"), to, "4"), true},
		"one of several, another":           {one, moved(rpc.MoveTransfer, multi("8"), to, "3"), true},
		"to itself":                         {from, moved(rpc.MoveTransfer, coin, sender, "9"), false},
		"another's was decoded":             {others, moved(rpc.MoveTransfer, coin, to, "5"), true},
		"another's item was decoded":        {others, moved(rpc.MoveItem, coin, to, "5"), true},
		"another's allowance was decoded":   {permit, moved(rpc.MoveAllowance, coin, to, "5"), true},
		"another's item was lent":           {permit, moved(rpc.MoveLentItem, coin, to, "5"), true},
		"an item, as decoded":               {item, moved(rpc.MoveItem, coin, to, "7"), false},
		"an item, to another":               {item, moved(rpc.MoveItem, coin, evm.Account(chainID, stranger), "7"), true},
		"a kind that is not known":          {approve, moved(99, coin, to, "1"), true},
		"nothing is decoded, and none goes": {approve, moved(rpc.MoveTransfer, coin, to, "0"), false},
	} {
		e := newEngine(t, nil)
		e.simulators = map[string]Simulator{chainID: told{s: &rpc.Simulation{Moves: []rpc.Move{c.move}}}}
		v := judge(t, e, ask(t, c.in, "0.01 ETH", c.in))
		if reason(v, "more than was decoded") != c.want || reason(v, "understood") {
			t.Errorf("%s: %v, %q", name, v.Outcome, fmt.Sprint(v.Reasons))
		}
	}
}
