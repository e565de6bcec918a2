package rpc

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// ChainID asks the node which chain it is on. Every other call has checked it.
func (c *Client) ChainID(ctx context.Context) (uint64, error) {
	return c.number(ctx, "chain id", "eth_chainId")
}

// BlockNumber is the number of the newest block.
func (c *Client) BlockNumber(ctx context.Context) (uint64, error) {
	return c.number(ctx, "block number", "eth_blockNumber")
}

// LatestNonce is the number of transactions of an account in blocks: the next
// nonce that the chain itself waits for.
func (c *Client) LatestNonce(ctx context.Context, account evm.Address) (uint64, error) {
	return c.number(ctx, "nonce", "eth_getTransactionCount", account.String(), "latest")
}

// PendingNonce counts the transactions that this node's pool holds, too. Another
// node may hold others: above a gap a transaction waits silently.
func (c *Client) PendingNonce(ctx context.Context, account evm.Address) (uint64, error) {
	return c.number(ctx, "nonce", "eth_getTransactionCount", account.String(), "pending")
}

func (c *Client) number(ctx context.Context, what, method string, params ...any) (uint64, error) {
	var q quantity
	if err := c.Do(ctx, &q, method, params...); err != nil {
		return 0, err
	}
	return q.uint64(what)
}

// Balance is what an account has of the native coin, in the newest block.
func (c *Client) Balance(ctx context.Context, account evm.Address) (chain.Amount, error) {
	var q quantity
	err := c.Do(ctx, &q, "eth_getBalance", account.String(), "latest")
	return q.Int, err
}

// Code is the contract at an address; empty when there is none.
func (c *Client) Code(ctx context.Context, at evm.Address) ([]byte, error) {
	var code data
	err := c.Do(ctx, &code, "eth_getCode", at.String(), "latest")
	return code, err
}

// Call runs an intent in the newest block without sending it, and returns what
// the contract returns.
func (c *Client) Call(ctx context.Context, from evm.Address, in *evm.Intent) ([]byte, error) {
	var out data
	err := c.Do(ctx, &out, "eth_call", message(from, in), "latest")
	return out, err
}

// EstimateGas runs an intent and returns the gas that it took plus a fifth: what
// it needs may grow until it is mined. An intent that would fail is an *Error
// with the node's reason.
func (c *Client) EstimateGas(ctx context.Context, from evm.Address, in *evm.Intent) (uint64, error) {
	gas, err := c.number(ctx, "gas", "eth_estimateGas", message(from, in))
	if err != nil {
		return 0, err
	}
	if gas > 1<<60 {
		return 0, fmt.Errorf("the node estimates %d gas, which no block holds", gas)
	}
	return gas + (gas+4)/5, nil
}

func message(from evm.Address, in *evm.Intent) map[string]string {
	m := map[string]string{"from": from.String(), "value": in.Value.Hex(), "data": hexBytes(in.Data)}
	if in.To != nil {
		m["to"] = in.To.String()
	}
	return m
}

// TokenBalance is what an account has of an ERC-20 token.
func (c *Client) TokenBalance(ctx context.Context, token, account evm.Address) (chain.Amount, error) {
	// balanceOf(address)
	query := append([]byte{0x70, 0xa0, 0x82, 0x31}, make([]byte, 12)...)
	out, err := c.Call(ctx, account, &evm.Intent{To: &token, Data: append(query, account[:]...)})
	var a chain.Amount
	if err == nil && len(out) != 32 {
		err = fmt.Errorf("%s answers balanceOf with %d bytes, want 32: is it a token?", token, len(out))
	}
	if err != nil {
		return a, err
	}
	a.SetBytes32(out)
	return a, nil
}
