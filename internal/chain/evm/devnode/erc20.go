package devnode

import (
	"context"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
)

// Token says what the test token calls itself.
const (
	TokenSymbol   = "TEST"
	TokenDecimals = 6
)

// token is a small ERC-20 in EVM assembly, written here so that no compiler is
// needed. It keeps what Solidity would keep where Solidity would:
//
//	balance of a:         keccak256(a ‖ 0)
//	allowance of o for s: keccak256(s ‖ keccak256(o ‖ 1))
//	total supply:         2
//
// It reverts without a reason: on value sent along, an unknown method, arguments
// that are missing, an address with dirty padding, and too small a balance or
// allowance. Comments show the stack after the line, its top on the right. A
// binary operation takes its first operand from the top.
const token = `
	CALLVALUE @fail JUMPI
	0 CALLDATALOAD 224 SHR              ; selector
	DUP1 0xa9059cbb EQ @transfer JUMPI
	DUP1 0x23b872dd EQ @transferFrom JUMPI
	DUP1 0x095ea7b3 EQ @approve JUMPI
	DUP1 0x70a08231 EQ @balanceOf JUMPI
	DUP1 0xdd62ed3e EQ @allowance JUMPI
	DUP1 0x18160ddd EQ @totalSupply JUMPI
	DUP1 0x313ce567 EQ @decimals JUMPI
	DUP1 0x95d89b41 EQ @symbol JUMPI
fail:
	0 0 REVERT

transfer: ; (address to, uint256 amount)
	68 CALLDATASIZE LT @fail JUMPI
	4 CALLDATALOAD 160 SHR @fail JUMPI
	@true CALLER 4 CALLDATALOAD 36 CALLDATALOAD
	@move JUMP

transferFrom: ; (address from, address to, uint256 amount)
	100 CALLDATASIZE LT @fail JUMPI
	4 CALLDATALOAD 160 SHR @fail JUMPI
	36 CALLDATALOAD 160 SHR @fail JUMPI
	4 CALLDATALOAD 0 MSTORE 1 32 MSTORE 64 0 SHA3 32 MSTORE
	CALLER 0 MSTORE 64 0 SHA3           ; slot of the allowance
	DUP1 SLOAD 68 CALLDATALOAD          ; slot allowed amount
	DUP1 DUP3 LT @fail JUMPI            ; allowed < amount
	SWAP1 SUB                           ; slot allowed−amount
	SWAP1 SSTORE
	@true 4 CALLDATALOAD 36 CALLDATALOAD 68 CALLDATALOAD
	@move JUMP

move: ; return from to amount → ; moves and tells it
	DUP3 0 MSTORE 0 32 MSTORE 64 0 SHA3 ; … amount slot
	DUP1 SLOAD                          ; … amount slot balance
	DUP3 DUP2 LT @fail JUMPI            ; balance < amount
	DUP3 SWAP1 SUB                      ; … amount slot balance−amount
	SWAP1 SSTORE                        ; … amount
	DUP2 0 MSTORE 64 0 SHA3             ; … amount slot
	DUP1 SLOAD DUP3 ADD                 ; … amount slot balance+amount; at most the supply
	SWAP1 SSTORE                        ; return from to amount
	0 MSTORE SWAP1                      ; return to from
	0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef ; Transfer(address,address,uint256)
	32 0 LOG3 JUMP

approve: ; (address spender, uint256 amount)
	68 CALLDATASIZE LT @fail JUMPI
	4 CALLDATALOAD 160 SHR @fail JUMPI
	CALLER 0 MSTORE 1 32 MSTORE 64 0 SHA3 32 MSTORE
	4 CALLDATALOAD 0 MSTORE 64 0 SHA3   ; slot
	36 CALLDATALOAD SWAP1 SSTORE
	36 CALLDATALOAD 0 MSTORE
	4 CALLDATALOAD CALLER
	0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925 ; Approval(address,address,uint256)
	32 0 LOG3
true:
	1
word: ; value → ; returns it
	0 MSTORE 32 0 RETURN

balanceOf: ; (address owner)
	4 CALLDATALOAD 0 MSTORE 0 32 MSTORE 64 0 SHA3 SLOAD @word JUMP

allowance: ; (address owner, address spender)
	4 CALLDATALOAD 0 MSTORE 1 32 MSTORE 64 0 SHA3 32 MSTORE
	36 CALLDATALOAD 0 MSTORE 64 0 SHA3 SLOAD @word JUMP

totalSupply:
	2 SLOAD @word JUMP

decimals:
	6 @word JUMP

symbol: ; the string "TEST"
	32 0 MSTORE 4 32 MSTORE 0x54455354 224 SHL 64 MSTORE 96 0 RETURN
`

// constructor runs once: it gives the supply to the holder and returns the code
// of the token, which follows it.
const constructor = `
	%[1]s 2 SSTORE
	%[2]s 0 MSTORE 0 32 MSTORE %[1]s 64 0 SHA3 SSTORE
	%[3]d DUP1 @end 0 CODECOPY 0 RETURN
`

// tokenCode is the code that creates the token.
func tokenCode(holder evm.Address, supply chain.Amount) ([]byte, error) {
	code, err := assemble(token)
	if err != nil {
		return nil, fmt.Errorf("couldn't assemble the token: %w", err)
	}
	init, err := assemble(fmt.Sprintf(constructor, supply.Hex(), holder, len(code)))
	if err != nil {
		return nil, fmt.Errorf("couldn't assemble the token's constructor: %w", err)
	}
	return append(init, code...), nil
}

// DeployToken creates an ERC-20 token (symbol TEST, 6 decimals) and gives all of
// it to the holder. The node's own account pays.
func (n *Node) DeployToken(ctx context.Context, holder evm.Address, supply chain.Amount) (evm.Address, error) {
	code, err := tokenCode(holder, supply)
	if err != nil {
		return evm.Address{}, err
	}
	receipt, err := n.sendAsNode(ctx, &evm.Intent{Data: code})
	if err != nil {
		return evm.Address{}, fmt.Errorf("couldn't deploy the token: %w", err)
	}
	if receipt.Contract == nil {
		return evm.Address{}, fmt.Errorf("couldn't deploy the token: transaction %s created no contract", receipt.TxID)
	}
	return *receipt.Contract, nil
}

// receiptInterval is how often a receipt is asked for: anvil mines at once, but
// answers before it has.
const receiptInterval = 5 * time.Millisecond

// sendAsNode sends an intent from the account whose key anvil holds.
func (n *Node) sendAsNode(ctx context.Context, in *evm.Intent) (*rpc.Receipt, error) {
	var accounts []string
	if err := n.Do(ctx, &accounts, "eth_accounts"); err != nil {
		return nil, err
	}
	if len(accounts) == 0 {
		return nil, fmt.Errorf("the node has no account of its own")
	}
	message := map[string]string{"from": accounts[0], "value": in.Value.Hex(), "data": fmt.Sprintf("%#x", in.Data)}
	if in.To != nil {
		message["to"] = in.To.String()
	}
	var txid string
	if err := n.Do(ctx, &txid, "eth_sendTransaction", message); err != nil {
		return nil, err
	}
	if n.opt.NoMining {
		if err := n.Mine(ctx, 1); err != nil {
			return nil, err
		}
	}
	receipt, err := n.WaitReceipt(ctx, txid, receiptInterval)
	if err == nil && !receipt.OK {
		err = fmt.Errorf("transaction %s was reverted", txid)
	}
	return receipt, err
}
