package evm

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

const intentVersion = 1

// Intent is what people sign of a transaction: where it goes, what value and
// what data go with it. Nonce, gas and fees are chosen at signing, under the
// request's maximum fee.
type Intent struct {
	To    *Address // nil creates a contract
	Value chain.Amount
	Data  []byte
}

// Encode is the canonical encoding (docs/spec/evm.md).
func (in *Intent) Encode() []byte {
	w := wire.NewWriter(intentVersion).Bool(in.To != nil)
	if in.To != nil {
		w.Fixed(in.To[:])
	}
	chain.WriteAmount(w, &in.Value)
	return w.Var(in.Data).Bytes()
}

// DecodeIntent is the inverse of Encode.
func DecodeIntent(b []byte) (*Intent, error) {
	r := wire.NewReader(b, intentVersion)
	in := new(Intent)
	if r.Bool("has recipient") {
		in.To = new(Address)
		r.Into("to", in.To[:])
	}
	in.Value = chain.ReadAmount(r, "value")
	in.Data = r.Var("data", MaxData)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode intent: %w", err)
	}
	return in, nil
}

// NewTransfer sends amount wei to an address.
func NewTransfer(to Address, amount chain.Amount) *Intent {
	return &Intent{To: &to, Value: amount}
}

// NewERC20Transfer sends amount of a token, in its smallest unit.
func NewERC20Transfer(token, to Address, amount chain.Amount) *Intent {
	return &Intent{To: &token, Data: callData(selectorTransfer, to, amount)}
}

// NewERC20Approve lets spender take up to amount of a token.
func NewERC20Approve(token, spender Address, amount chain.Amount) *Intent {
	return &Intent{To: &token, Data: callData(selectorApprove, spender, amount)}
}

func callData(selector [4]byte, who Address, amount chain.Amount) []byte {
	word := amount.Bytes32()
	data := append(selector[:], make([]byte, 12)...)
	return append(append(data, who[:]...), word[:]...)
}

// Draft is what FromUnsigned finds in a transaction that somebody built with
// another tool: the intent, and the rest as a hint, since the coordinator
// chooses nonce and fees anew at signing.
type Draft struct {
	Chain  string // CAIP-2
	Intent *Intent
	Nonce  uint64
	Gas    uint64
	TipCap chain.Amount
	FeeCap chain.Amount
	MaxFee chain.Amount // gas × fee cap: a sensible maximum fee of the request
}

// FromUnsigned reads a raw unsigned transaction into an intent. It refuses an
// access list, which an intent cannot hold: dropping it silently would propose
// something else than what was handed in.
func FromUnsigned(raw []byte) (*Draft, error) {
	tx, err := DecodeUnsigned(raw)
	if err != nil {
		return nil, err
	}
	if len(tx.AccessList) > 0 {
		return nil, fmt.Errorf("the transaction has an access list of %d entries, want it without", len(tx.AccessList))
	}
	fee, err := tx.MaxFee()
	if err != nil {
		return nil, err
	}
	return &Draft{
		Chain: ChainName(tx.ChainID), Intent: &Intent{To: tx.To, Value: tx.Value, Data: tx.Data},
		Nonce: tx.Nonce, Gas: tx.Gas, TipCap: tx.TipCap, FeeCap: tx.FeeCap, MaxFee: fee,
	}, nil
}
