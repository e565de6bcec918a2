package evm

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// Selectors: the first four bytes of keccak256 of the method's signature. A test
// derives them.
var (
	selectorTransfer     = [4]byte{0xa9, 0x05, 0x9c, 0xbb}
	selectorTransferFrom = [4]byte{0x23, 0xb8, 0x72, 0xdd}
	selectorApprove      = [4]byte{0x09, 0x5e, 0xa7, 0xb3}
)

// The methods that are understood.
const (
	methodTransfer     = "transfer(address,uint256)"
	methodTransferFrom = "transferFrom(address,address,uint256)"
	methodApprove      = "approve(address,uint256)"
)

// effects says what an intent does when sender sends it.
func effects(name string, sender Address, in *Intent, maxFee chain.Amount) *chain.Effects {
	e := &chain.Effects{Chain: name, Sender: Account(name, sender), MaxFee: maxFee}
	if in.To == nil {
		e.Calls = []chain.Call{{From: e.Sender, Value: in.Value}}
		e.Undecoded = "creates a contract"
		return e
	}
	to := Account(name, *in.To)
	// The value moves whatever the data means, and a plain transfer of 0 still has
	// a recipient for policy to look at.
	if len(in.Data) == 0 || !in.Value.IsZero() {
		e.Transfers = append(e.Transfers, chain.Transfer{From: e.Sender, To: to, Asset: NativeAsset(name), Amount: in.Value})
	}
	if len(in.Data) == 0 {
		return e
	}
	call := chain.Call{From: e.Sender, To: to, Value: in.Value}
	call.Method, e.Undecoded = decodeCall(e, name, sender, in)
	e.Calls = []chain.Call{call}
	return e
}

// decodeCall adds the token effects of a call and returns its method, and the
// reason when it was not understood.
func decodeCall(e *chain.Effects, name string, sender Address, in *Intent) (method, undecoded string) {
	if len(in.Data) < 4 {
		return fmt.Sprintf("%#x", in.Data), fmt.Sprintf("data of %d bytes is too short for a method", len(in.Data))
	}
	asset := TokenAsset(name, *in.To)
	args := in.Data[4:]
	switch selector := [4]byte(in.Data); selector {
	case selectorTransfer:
		who, amount, reason := abiCall(args, 1)
		if reason != "" {
			return methodTransfer, methodTransfer + ": " + reason
		}
		e.Transfers = append(e.Transfers, chain.Transfer{
			From: e.Sender, To: Account(name, who[0]), Asset: asset, Amount: amount,
		})
		return methodTransfer, ""
	case selectorTransferFrom:
		who, amount, reason := abiCall(args, 2)
		if reason != "" {
			return methodTransferFrom, methodTransferFrom + ": " + reason
		}
		e.Transfers = append(e.Transfers, chain.Transfer{
			From: Account(name, who[0]), To: Account(name, who[1]), Asset: asset, Amount: amount,
		})
		return methodTransferFrom, ""
	case selectorApprove:
		who, amount, reason := abiCall(args, 1)
		if reason != "" {
			return methodApprove, methodApprove + ": " + reason
		}
		e.Approvals = append(e.Approvals, chain.Approval{
			Owner: e.Sender, Spender: Account(name, who[0]), Asset: asset, Amount: amount,
		})
		return methodApprove, ""
	default:
		method = fmt.Sprintf("%#x", selector[:])
		return method, fmt.Sprintf("method %s is not one of %s, %s, %s", method, methodTransfer, methodTransferFrom, methodApprove)
	}
}

// abiCall reads n addresses and an amount. Exactly these words and zero padding:
// contracts differ in what they make of anything else, so that two readers would
// see two transactions.
func abiCall(args []byte, n int) (who []Address, amount chain.Amount, reason string) {
	if want := 32 * (n + 1); len(args) != want {
		return nil, amount, fmt.Sprintf("%d bytes of arguments, want %d", len(args), want)
	}
	for i := range n {
		word := args[32*i : 32*i+32]
		if [12]byte(word) != [12]byte{} {
			return nil, amount, fmt.Sprintf("argument %d is not an address: its padding is not zero", i+1)
		}
		who = append(who, Address(word[12:]))
	}
	amount.SetBytes32(args[32*n:])
	return who, amount, ""
}
