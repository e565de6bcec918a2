package rpc_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
)

const chainID, chainName = 31337, "eip155:31337"

func amount(v uint64) chain.Amount { return *uint256.NewInt(v) }

// wallet is an account that signs what the codec prepared, as the vaults would.
type wallet struct {
	t     *testing.T
	node  *devnode.Node
	key   *secp256k1.PrivateKey
	addr  evm.Address
	fees  rpc.Fees
	codec evm.Codec
}

func newWallet(t *testing.T, node *devnode.Node, secret byte) *wallet {
	key := secp256k1.PrivKeyFromBytes(bytes.Repeat([]byte{secret}, 32))
	addr, err := evm.AddressOf(key.PubKey().SerializeCompressed())
	if err != nil {
		t.Fatal(err)
	}
	if err := node.SetBalance(t.Context(), addr, amount(1e18)); err != nil {
		t.Fatal(err)
	}
	fees, err := node.FeeSuggestion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &wallet{t: t, node: node, key: key, addr: addr, fees: fees}
}

// sign takes an intent through the codec to a raw transaction.
func (w *wallet) sign(in *evm.Intent, nonce, gas uint64) (raw []byte, txid string) {
	w.t.Helper()
	unsigned, err := rpc.Build(chainID, nonce, gas, w.fees, in).Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	sender := evm.Account(chainName, w.addr)
	p, err := w.codec.Prepare(chainName, sender, in.Encode(), amount(1e17), unsigned, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := ecdsa.SignCompact(w.key, p.Digests[0][:], false)
	raw, txid, err = w.codec.Assemble(sender, p.Canonical, []chain.Signature{
		{R: [32]byte(c[1:33]), S: [32]byte(c[33:]), RecoveryID: c[0] - 27},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return raw, txid
}

// send signs and broadcasts with the node's nonce and estimate, and returns the
// receipt of the mined transaction.
func (w *wallet) send(in *evm.Intent) *rpc.Receipt {
	w.t.Helper()
	ctx := w.t.Context()
	nonce, err := w.node.PendingNonce(ctx, w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	gas, err := w.node.EstimateGas(ctx, w.addr, in)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, txid := w.sign(in, nonce, gas)
	if got, err := w.node.SendRaw(ctx, raw); err != nil || got != txid {
		w.t.Fatalf("sent as %s, %v, want %s", got, err, txid)
	}
	receipt := w.receipt(txid)
	if !receipt.OK {
		w.t.Fatalf("receipt %+v", receipt)
	}
	return receipt
}

// receipt waits: anvil mines at once, but answers before it has.
func (w *wallet) receipt(txid string) *rpc.Receipt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	r, err := w.node.WaitReceipt(ctx, txid, 5*time.Millisecond)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *wallet) balance(a evm.Address) chain.Amount {
	w.t.Helper()
	b, err := w.node.Balance(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func TestNativeTransfer(t *testing.T) {
	for name, opt := range map[string]devnode.Options{"type 2": {}, "type 0, before London": {Hardfork: "berlin"}} {
		t.Run(name, func(t *testing.T) {
			node := devnode.ForTest(t, chainID, opt)
			w := newWallet(t, node, 0x46)
			if legacy := opt.Hardfork != ""; legacy != (w.fees.Type == evm.TypeLegacy) {
				t.Fatalf("fees of type %d", w.fees.Type)
			}
			to := evm.Address{19: 1, 0: 0xee}
			receipt := w.send(evm.NewTransfer(to, amount(12345)))
			if got := w.balance(to); got != amount(12345) {
				t.Errorf("recipient has %s wei, want 12345", got.Dec())
			}
			tx, err := node.Transaction(t.Context(), receipt.TxID)
			if err != nil {
				t.Fatal(err)
			}
			if tx.From != w.addr || tx.To == nil || *tx.To != to || tx.Value != amount(12345) || tx.Nonce != 0 || tx.Block == nil || *tx.Block != receipt.Block {
				t.Errorf("the node tells %+v", tx)
			}
			left, fee := amount(1e18-12345), receipt.Fee()
			left.Sub(&left, &fee)
			if got := w.balance(w.addr); got != left || fee.IsZero() {
				t.Errorf("sender has %s wei, want %s after a fee of %s", got.Dec(), left.Dec(), fee.Dec())
			}
			for what, get := range map[string]func(context.Context, evm.Address) (uint64, error){"latest": node.LatestNonce, "pending": node.PendingNonce} {
				if n, err := get(t.Context(), w.addr); err != nil || n != 1 {
					t.Errorf("%s nonce %d, %v, want 1", what, n, err)
				}
			}
		})
	}
}

// TestToken: what the codec reads in a token's calls is what a token does.
func TestToken(t *testing.T) {
	node := devnode.ForTest(t, chainID, devnode.Options{})
	owner, spender := newWallet(t, node, 0x46), newWallet(t, node, 0x47)
	ctx := t.Context()
	token, err := node.DeployToken(ctx, owner.addr, amount(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	if code, err := node.Code(ctx, token); err != nil || len(code) == 0 {
		t.Fatalf("no code at the token: %v", err)
	}
	read := func(data string) string {
		t.Helper()
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		out, err := node.Call(ctx, owner.addr, &evm.Intent{To: &token, Data: b})
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(out)
	}
	word := func(a evm.Address) string { return strings.Repeat("00", 12) + hex.EncodeToString(a[:]) }
	number := func(v uint64) string { a := amount(v); b := a.Bytes32(); return hex.EncodeToString(b[:]) }
	holds := func(step string, who evm.Address, want uint64) {
		t.Helper()
		if got, err := node.TokenBalance(ctx, token, who); err != nil || got != amount(want) {
			t.Errorf("%s: %s has %s, %v, want %d", step, who, got.Dec(), err, want)
		}
	}
	if read("313ce567") != number(devnode.TokenDecimals) || read("18160ddd") != number(1_000_000) {
		t.Error("decimals or total supply are wrong")
	}
	if want := number(32) + number(4) + hex.EncodeToString([]byte(devnode.TokenSymbol)) + strings.Repeat("00", 28); read("95d89b41") != want {
		t.Errorf("symbol %s, want %s", read("95d89b41"), want)
	}

	to := evm.Address{0: 0xee, 19: 5}
	owner.send(evm.NewERC20Transfer(token, to, amount(300)))
	holds("transfer", to, 300)
	holds("transfer", owner.addr, 999_700)

	owner.send(evm.NewERC20Approve(token, spender.addr, amount(200)))
	allowance := "dd62ed3e" + word(owner.addr) + word(spender.addr)
	if got := read(allowance); got != number(200) {
		t.Errorf("allowance %s, want 200", got)
	}
	take := func(v uint64) *evm.Intent {
		in := evm.NewERC20Transfer(token, to, amount(v))
		data, err := hex.DecodeString("23b872dd" + word(owner.addr))
		if err != nil {
			t.Fatal(err)
		}
		in.Data = append(data, in.Data[4:]...)
		return in
	}
	spender.send(take(150))
	holds("transferFrom", to, 450)
	holds("transferFrom", owner.addr, 999_550)
	holds("transferFrom", spender.addr, 0)
	if got := read(allowance); got != number(50) {
		t.Errorf("allowance after 150 were taken is %s, want 50", got)
	}

	owner.send(evm.NewERC20Transfer(token, owner.addr, amount(999_550)))
	holds("to oneself", owner.addr, 999_550)

	// The node says why an intent would fail, before anybody signs it.
	paying := evm.NewERC20Transfer(token, to, amount(1))
	paying.Value = amount(1)
	dirty := evm.NewERC20Transfer(token, to, amount(1))
	dirty.Data[4] = 1
	short := evm.NewERC20Transfer(token, to, amount(1))
	short.Data = short.Data[:67]
	for name, c := range map[string]struct {
		from evm.Address
		in   *evm.Intent
	}{
		"more than the balance":   {owner.addr, evm.NewERC20Transfer(token, to, amount(999_551))},
		"more than the allowance": {spender.addr, take(51)},
		"value sent along":        {owner.addr, paying},
		"dirty padding":           {owner.addr, dirty},
		"short arguments":         {owner.addr, short},
		"unknown method":          {owner.addr, &evm.Intent{To: &token, Data: []byte{1, 2, 3, 4}}},
	} {
		var refused *rpc.Error
		if gas, err := node.EstimateGas(ctx, c.from, c.in); !errors.As(err, &refused) || !strings.Contains(err.Error(), "revert") {
			t.Errorf("%s: %d gas, %v, want the node's refusal", name, gas, err)
		}
	}
	// And a transaction that reverts is mined: the receipt must say so.
	raw, txid := owner.sign(paying, 3, 100_000)
	if _, err := node.SendRaw(ctx, raw); err != nil {
		t.Fatal(err)
	}
	if r := owner.receipt(txid); r.OK {
		t.Errorf("receipt of a reverted transaction: %+v", r)
	}
}

func TestSendRawAgain(t *testing.T) {
	node := devnode.ForTest(t, chainID, devnode.Options{NoMining: true})
	w := newWallet(t, node, 0x46)
	ctx, to := t.Context(), evm.Address{0: 0xee}
	raw, txid := w.sign(evm.NewTransfer(to, amount(1)), 0, 21000)
	for i := range 2 {
		if got, err := node.SendRaw(ctx, raw); err != nil || got != txid {
			t.Fatalf("time %d: %s, %v", i+1, got, err)
		}
	}
	if tx, err := node.Transaction(ctx, txid); err != nil || tx.Block != nil {
		t.Fatalf("pending transaction: %+v, %v", tx, err)
	}
	if _, err := node.Receipt(ctx, txid); !errors.Is(err, rpc.ErrNotFound) {
		t.Errorf("receipt of a pending transaction: %v, want ErrNotFound", err)
	}
	if n, err := node.LatestNonce(ctx, w.addr); err != nil || n != 0 {
		t.Errorf("latest nonce %d, %v, want 0", n, err)
	}
	if n, err := node.PendingNonce(ctx, w.addr); err != nil || n != 1 {
		t.Errorf("pending nonce %d, %v, want 1", n, err)
	}
	// A replacement offers a tenth more of both.
	old := w.fees
	now, err := node.FeeSuggestion(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := w.sign(evm.NewTransfer(to, amount(2)), 0, 21000)
	if _, err := node.SendRaw(ctx, other); err == nil {
		t.Error("a replacement at the same price was taken")
	}
	if w.fees, err = old.Replacement(now); err != nil {
		t.Fatal(err)
	}
	replacement, newID := w.sign(evm.NewTransfer(to, amount(1)), 0, 21000)
	if _, err := node.SendRaw(ctx, replacement); err != nil {
		t.Fatalf("the replacement: %v", err)
	}
	if err := node.Mine(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if r := w.receipt(newID); !r.OK {
		t.Fatalf("receipt of the replacement: %+v", r)
	}
	// Mined already: nodes then say that the nonce is too low.
	if got, err := node.SendRaw(ctx, replacement); err != nil || got != newID {
		t.Errorf("sent after it was mined: %s, %v", got, err)
	}
	// And the replaced one is an error, since it can never happen.
	var refused *rpc.Error
	if got, err := node.SendRaw(ctx, raw); !errors.As(err, &refused) {
		t.Errorf("the replaced transaction: %s, %v, want the node's refusal", got, err)
	}
	if got, err := node.SendRaw(ctx, []byte{1, 2, 3}); !errors.As(err, &refused) {
		t.Errorf("garbage: %s, %v, want the node's refusal", got, err)
	}
}

func TestNotFound(t *testing.T) {
	node := devnode.ForTest(t, chainID, devnode.Options{})
	id := "0x" + strings.Repeat("12", 32)
	if tx, err := node.Transaction(t.Context(), id); !errors.Is(err, rpc.ErrNotFound) {
		t.Errorf("%+v, %v", tx, err)
	}
	if r, err := node.Receipt(t.Context(), id); !errors.Is(err, rpc.ErrNotFound) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := node.TokenBalance(t.Context(), evm.Address{1}, evm.Address{2}); err == nil || !strings.Contains(err.Error(), "is it a token?") {
		t.Errorf("balance at an address without code: %v", err)
	}
}

// TestWrongChain: nothing but the chain id is asked of a node on another chain.
func TestWrongChain(t *testing.T) {
	node := devnode.ForTest(t, chainID, devnode.Options{})
	c, err := rpc.New(node.URL, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var wrong *rpc.WrongChainError
		if _, err := c.BlockNumber(t.Context()); !errors.As(err, &wrong) || wrong.Got != chainID || wrong.Want != 1 {
			t.Fatalf("%v, want the wrong chain", err)
		}
	}
	w := newWallet(t, node, 0x46)
	raw, txid := w.sign(evm.NewTransfer(evm.Address{19: 1}, amount(1)), 0, 21000)
	if _, err := c.SendRaw(t.Context(), raw); err == nil {
		t.Error("a transaction was sent to the wrong chain")
	}
	if tx, err := node.Transaction(t.Context(), txid); !errors.Is(err, rpc.ErrNotFound) {
		t.Errorf("the node has %+v, %v", tx, err)
	}
}
