package solana

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

const intentVersion = 1

// Bounds of an intent.
const (
	MaxTransfers = 60
	MaxMemo      = 200
)

// Intent is what people sign of a transaction: who gets how much, in this order,
// and the memo that the chain shows to everybody. Blockhash, nonce and budget are
// chosen at signing, under the request's maximum fee.
type Intent struct {
	Transfers []Transfer
	Memo      string // printable ASCII; empty: none
}

// Transfer pays lamports, a thousand millionth of a SOL each.
type Transfer struct {
	To       Address
	Lamports uint64
}

// Encode is the canonical encoding (docs/spec/solana.md).
func (in *Intent) Encode() []byte {
	w := wire.NewWriter(intentVersion).Count(len(in.Transfers))
	for i := range in.Transfers {
		w.Fixed(in.Transfers[i].To[:]).Uint64(in.Transfers[i].Lamports)
	}
	return w.String(in.Memo).Bytes()
}

// DecodeIntent is the inverse of Encode.
func DecodeIntent(b []byte) (*Intent, error) {
	r := wire.NewReader(b, intentVersion)
	in := new(Intent)
	for range r.Count("transfers", MaxTransfers, 40) {
		var t Transfer
		r.Into("to", t.To[:])
		t.Lamports = r.Uint64("lamports")
		in.Transfers = append(in.Transfers, t)
	}
	in.Memo = r.String("memo", MaxMemo)
	err := r.Done()
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode intent: %w", err)
	}
	return in, nil
}

func (in *Intent) check() error {
	if n := len(in.Transfers); n == 0 || n > MaxTransfers {
		return fmt.Errorf("%d transfers, want 1 to %d", n, MaxTransfers)
	}
	for i := range in.Transfers {
		switch to := in.Transfers[i].To; to {
		case SystemProgram, ComputeBudgetProgram, MemoProgram, RecentBlockhashes:
			return fmt.Errorf("transfer %d goes to %v, from which nothing comes back", i+1, to)
		}
	}
	if len(in.Memo) > MaxMemo {
		return fmt.Errorf("memo of %d characters, at most %d", len(in.Memo), MaxMemo)
	}
	for i := range len(in.Memo) {
		if c := in.Memo[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return fmt.Errorf("memo: byte %#02x at %d, want printable ASCII without \" and \\", c, i)
		}
	}
	return nil
}

// effects says what an intent does when sender sends it.
func (in *Intent) effects(sender Address, maxFee chain.Amount) *chain.Effects {
	e := &chain.Effects{Chain: Mainnet, Sender: Account(sender), MaxFee: maxFee}
	for _, t := range in.Transfers {
		x := chain.Transfer{From: e.Sender, To: Account(t.To), Asset: NativeAsset}
		x.Amount.SetUint64(t.Lamports)
		e.Transfers = append(e.Transfers, x)
	}
	if in.Memo != "" {
		e.Calls = []chain.Call{{To: Account(MemoProgram), Method: `memo("` + in.Memo + `")`}}
	}
	return e
}

// NewTransfer pays lamports to one address.
func NewTransfer(to Address, lamports uint64) *Intent {
	return &Intent{Transfers: []Transfer{{to, lamports}}}
}

// FromUnsigned reads what another tool made: a message, or a transaction whose
// one signature is still empty. It returns the message and what it means.
func FromUnsigned(raw []byte) (message []byte, tx *Transaction, err error) {
	// A message never begins so: it has at least one read-only account, a program.
	if len(raw) > 65 && raw[0] == 1 && raw[2] == 0 {
		for _, c := range raw[1:65] {
			if c != 0 {
				return nil, nil, errors.New("the transaction is signed already, want it unsigned")
			}
		}
		raw = raw[65:]
	}
	m, err := DecodeMessage(raw)
	if err != nil {
		return nil, nil, err
	}
	tx, err = m.Read()
	return raw, tx, err
}
