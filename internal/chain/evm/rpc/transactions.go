package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// ErrNotFound says that the node knows no such transaction, or no receipt of it
// yet.
var ErrNotFound = errors.New("the node does not know it")

// Transaction is a transaction as the node tells it.
type Transaction struct {
	TxID  string
	From  evm.Address // as the node recovered it
	To    *evm.Address
	Nonce uint64
	Value chain.Amount
	Data  []byte
	Block *uint64 // nil while it is pending
}

// Receipt says what became of a mined transaction.
type Receipt struct {
	TxID              string
	OK                bool // false: it was mined and reverted; the fee is paid all the same
	Block             uint64
	BlockHash         string
	GasUsed           uint64
	EffectiveGasPrice chain.Amount
	Contract          *evm.Address // the contract that it created
}

// Fee is what was paid for gas. A rollup's data fee is not in it.
func (r *Receipt) Fee() chain.Amount {
	var gas, fee chain.Amount
	fee.Mul(gas.SetUint64(r.GasUsed), &r.EffectiveGasPrice)
	return fee
}

// SendRaw broadcasts a signed transaction and returns its id. It may be called
// again: a transaction that the node knows already, pending or mined, is success.
// The node may still drop it later, silently, so that the caller follows it with
// Transaction and Receipt.
func (c *Client) SendRaw(ctx context.Context, raw []byte) (txid string, err error) {
	h := sha3.NewLegacyKeccak256()
	h.Write(raw)
	txid = hexBytes(h.Sum(nil))
	var answer string
	err = c.Do(ctx, &answer, "eth_sendRawTransaction", hexBytes(raw))
	var refused *Error
	switch {
	case err == nil && !strings.EqualFold(answer, txid):
		return "", fmt.Errorf("the node names the transaction %.80q, want %s", answer, txid)
	case errors.As(err, &refused):
		// Nodes say "already known", "nonce too low" and more when they have this
		// very transaction; asking is surer than reading their words.
		if _, lookup := c.Transaction(ctx, txid); lookup != nil {
			return "", err
		}
	case err != nil:
		return "", err
	}
	return txid, nil
}

// Transaction looks a transaction up by its id; ErrNotFound when the node does
// not have it.
func (c *Client) Transaction(ctx context.Context, txid string) (*Transaction, error) {
	var t *struct {
		Hash  string    `json:"hash"`
		From  address   `json:"from"`
		To    *address  `json:"to"`
		Nonce quantity  `json:"nonce"`
		Value quantity  `json:"value"`
		Input data      `json:"input"`
		Block *quantity `json:"blockNumber"`
	}
	if err := c.Do(ctx, &t, "eth_getTransactionByHash", txid); err != nil {
		return nil, err
	}
	if t == nil {
		return nil, fmt.Errorf("transaction %s: %w", txid, ErrNotFound)
	}
	if !strings.EqualFold(t.Hash, txid) {
		return nil, fmt.Errorf("the node answers with transaction %.80q, want %s", t.Hash, txid)
	}
	nonce, err := t.Nonce.uint64("nonce")
	if err != nil {
		return nil, err
	}
	out := &Transaction{TxID: txid, From: evm.Address(t.From), To: (*evm.Address)(t.To), Nonce: nonce, Value: t.Value.Int, Data: t.Input}
	if t.Block != nil {
		n, err := t.Block.uint64("block number")
		if err != nil {
			return nil, err
		}
		out.Block = &n
	}
	return out, nil
}

// Receipt returns the receipt of a mined transaction, ErrNotFound before that.
func (c *Client) Receipt(ctx context.Context, txid string) (*Receipt, error) {
	var t *struct {
		Hash      string    `json:"transactionHash"`
		Status    *quantity `json:"status"`
		Block     *quantity `json:"blockNumber"`
		BlockHash string    `json:"blockHash"`
		GasUsed   *quantity `json:"gasUsed"`
		Price     quantity  `json:"effectiveGasPrice"`
		Contract  *address  `json:"contractAddress"`
	}
	if err := c.Do(ctx, &t, "eth_getTransactionReceipt", txid); err != nil {
		return nil, err
	}
	if t == nil || (t.Block == nil && t.Status == nil) {
		return nil, fmt.Errorf("receipt of %s: %w", txid, ErrNotFound)
	}
	if !strings.EqualFold(t.Hash, txid) {
		return nil, fmt.Errorf("the node answers with the receipt of %.80q, want %s", t.Hash, txid)
	}
	if t.Status == nil || t.Block == nil || t.GasUsed == nil {
		return nil, fmt.Errorf("the receipt of %s lacks its status, block or gas", txid)
	}
	block, err := t.Block.uint64("block number")
	if err != nil {
		return nil, err
	}
	gas, err := t.GasUsed.uint64("gas")
	if err != nil {
		return nil, err
	}
	one := new(quantity).SetUint64(1)
	return &Receipt{
		TxID: txid, OK: t.Status.Int == *one, Block: block, BlockHash: t.BlockHash, GasUsed: gas,
		EffectiveGasPrice: t.Price.Int, Contract: (*evm.Address)(t.Contract),
	}, nil
}

// WaitReceipt asks for the receipt again and again until it is there, ctx ends,
// or the node fails.
func (c *Client) WaitReceipt(ctx context.Context, txid string, every time.Duration) (*Receipt, error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		r, err := c.Receipt(ctx, txid)
		if !errors.Is(err, ErrNotFound) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("receipt of %s: not there yet: %w", txid, ctx.Err())
		case <-ticker.C:
		}
	}
}
