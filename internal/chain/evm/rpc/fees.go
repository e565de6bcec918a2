package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// Fees is what a transaction offers for a unit of gas.
type Fees struct {
	Type    uint8        // evm.TypeDynamicFee, or evm.TypeLegacy where blocks have no base fee
	BaseFee chain.Amount // of the newest block; 0 for type 0
	TipCap  chain.Amount
	FeeCap  chain.Amount
}

// FeeSuggestion asks the node for the base fee and the usual tip. The cap is
// twice the base fee plus the tip: a block's base fee is at most 9/8 of the one
// before, so that the transaction stays good for at least five full blocks.
func (c *Client) FeeSuggestion(ctx context.Context) (Fees, error) {
	var block struct {
		BaseFee *quantity `json:"baseFeePerGas"`
	}
	if err := c.Do(ctx, &block, "eth_getBlockByNumber", "latest", false); err != nil {
		return Fees{}, err
	}
	var price quantity
	if block.BaseFee == nil {
		if err := c.Do(ctx, &price, "eth_gasPrice"); err != nil {
			return Fees{}, err
		}
		return Fees{Type: evm.TypeLegacy, TipCap: price.Int, FeeCap: price.Int}, nil
	}
	if err := c.Do(ctx, &price, "eth_maxPriorityFeePerGas"); err != nil {
		return Fees{}, err
	}
	f := Fees{Type: evm.TypeDynamicFee, BaseFee: block.BaseFee.Int, TipCap: price.Int}
	_, over := f.FeeCap.AddOverflow(&f.BaseFee, &f.BaseFee)
	if !over {
		_, over = f.FeeCap.AddOverflow(&f.FeeCap, &f.TipCap)
	}
	if over {
		return Fees{}, errors.New("the node suggests fees above 256 bits")
	}
	return f, nil
}

// Within lowers the fee cap until gas × cap is at most maxFee, which people
// approved. It fails when the transaction would then not be mined in the next
// block: base fee and tip do not fit.
func (f Fees) Within(gas uint64, maxFee chain.Amount) (Fees, error) {
	var units, most, least chain.Amount
	if gas == 0 {
		return f, errors.New("gas 0, want the estimate of the transaction")
	}
	most.Div(&maxFee, units.SetUint64(gas))
	if !most.Lt(&f.FeeCap) {
		return f, nil
	}
	least.Add(&f.BaseFee, &f.TipCap)
	if f.Type == evm.TypeLegacy {
		least = f.FeeCap
	}
	if most.Lt(&least) {
		return f, fmt.Errorf("the chain asks %s wei for a unit of gas, %d units of %s wei are approved at most: it waits for cheaper gas, or approve a higher maximum fee in a new request",
			least.Dec(), gas, most.Dec())
	}
	f.FeeCap = most
	return f, nil
}

// Replacement is what a second version of a transaction must offer, so that
// nodes take it in place of the first: a tenth more of both, or what the chain
// asks now when that is more.
func (f Fees) Replacement(now Fees) (Fees, error) {
	tip, over1 := tenthMore(f.TipCap)
	feeCap, over2 := tenthMore(f.FeeCap)
	if over1 || over2 {
		return f, errors.New("a tenth more than the fees is above 256 bits")
	}
	f.BaseFee, f.TipCap, f.FeeCap = now.BaseFee, larger(tip, now.TipCap), larger(feeCap, now.FeeCap)
	return f, nil
}

// tenthMore is ⌈1.1·a⌉.
func tenthMore(a chain.Amount) (chain.Amount, bool) {
	var tenth, rest, ten chain.Amount
	tenth.DivMod(&a, ten.SetUint64(10), &rest)
	if !rest.IsZero() {
		tenth.AddUint64(&tenth, 1)
	}
	_, over := tenth.AddOverflow(&tenth, &a)
	return tenth, over
}

func larger(a, b chain.Amount) chain.Amount {
	if a.Lt(&b) {
		return b
	}
	return a
}

// Build makes the final unsigned transaction of an intent.
func Build(chainID, nonce, gas uint64, fees Fees, in *evm.Intent) *evm.Transaction {
	return &evm.Transaction{
		Type: fees.Type, ChainID: chainID, Nonce: nonce, TipCap: fees.TipCap, FeeCap: fees.FeeCap, Gas: gas,
		To: in.To, Value: in.Value, Data: in.Data,
	}
}
