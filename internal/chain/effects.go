// Package chain says what a chain is to the vault: how the bytes that get
// signed are decoded into Effects, what digest they have, and when two versions
// of one request can not both happen.
//
// One folder a family (evm). A codec is inside the vault's boundary: it decodes
// strictly, re-encodes what it decoded, and derives the digest from that
// re-encoding, never from bytes or a digest that it was handed. Talking to a
// chain's nodes is not done here: that is outside the boundary.
package chain

import (
	"fmt"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/wire"
)

// Amount is an unsigned 256-bit number of an asset's smallest unit. It is
// comparable; the zero value is 0.
type Amount = uint256.Int

// Effects is what a transaction does, as the vault decoded it: the only view of
// a transaction that policy, people and the log have. Addresses are CAIP-10
// accounts ("eip155:1:0x…", checksummed as the chain writes them), assets are
// CAIP-19 ("eip155:1/slip44:60", "eip155:1/erc20:0x…").
type Effects struct {
	Chain     string // CAIP-2
	Sender    string // CAIP-10
	Transfers []Transfer
	Approvals []Approval
	Calls     []Call
	MaxFee    Amount // the most that the sender can pay in fees, smallest unit of the native asset
	// Undecoded is empty when everything was understood, else the reason. Policy
	// denies undecoded effects by default.
	Undecoded string
}

// Transfer moves Amount of Asset.
type Transfer struct {
	From, To string // CAIP-10
	Asset    string // CAIP-19
	Amount   Amount
}

// Approval lets Spender take up to Amount of Asset from Owner, until changed.
type Approval struct {
	Owner, Spender string
	Asset          string
	Amount         Amount
}

// Call is a call of a contract, decoded or not: a token's transfer is both a
// Transfer, which says what it means, and a Call, which says how it is done.
// Native coin sent without data is only a Transfer.
type Call struct {
	To     string // CAIP-10; empty for contract creation
	Method string // "transfer(address,uint256)", or the selector "0x12345678" when unknown, or "" for contract creation
	Value  Amount // native value sent along
}

const effectsVersion = 1

// Bounds of one Effects.
const (
	maxText  = 256
	maxItems = 64
)

// Encode is the canonical encoding (docs/spec/effects.md).
func (e *Effects) Encode() []byte {
	w := wire.NewWriter(effectsVersion).String(e.Chain).String(e.Sender)
	w.Count(len(e.Transfers))
	for i := range e.Transfers {
		t := &e.Transfers[i]
		w.String(t.From).String(t.To).String(t.Asset)
		WriteAmount(w, &t.Amount)
	}
	w.Count(len(e.Approvals))
	for i := range e.Approvals {
		a := &e.Approvals[i]
		w.String(a.Owner).String(a.Spender).String(a.Asset)
		WriteAmount(w, &a.Amount)
	}
	w.Count(len(e.Calls))
	for i := range e.Calls {
		c := &e.Calls[i]
		w.String(c.To).String(c.Method)
		WriteAmount(w, &c.Value)
	}
	WriteAmount(w, &e.MaxFee)
	return w.String(e.Undecoded).Bytes()
}

// DecodeEffects is the inverse of Encode.
func DecodeEffects(b []byte) (*Effects, error) {
	r := wire.NewReader(b, effectsVersion)
	e := &Effects{Chain: readText(r, "chain"), Sender: readText(r, "sender")}
	for range r.Count("transfers", maxItems, 44) {
		e.Transfers = append(e.Transfers, Transfer{
			From: readText(r, "from"), To: readText(r, "to"),
			Asset: readText(r, "asset"), Amount: ReadAmount(r, "amount"),
		})
	}
	for range r.Count("approvals", maxItems, 44) {
		e.Approvals = append(e.Approvals, Approval{
			Owner: readText(r, "owner"), Spender: readText(r, "spender"),
			Asset: readText(r, "asset"), Amount: ReadAmount(r, "amount"),
		})
	}
	for range r.Count("calls", maxItems, 40) {
		e.Calls = append(e.Calls, Call{
			To: readText(r, "to"), Method: readText(r, "method"), Value: ReadAmount(r, "value"),
		})
	}
	e.MaxFee = ReadAmount(r, "max fee")
	e.Undecoded = readText(r, "undecoded")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode effects: %w", err)
	}
	return e, nil
}

// readText reads printable ASCII: these strings are compared byte by byte and
// shown on terminals, so that nothing in them may look like something else.
func readText(r *wire.Reader, field string) string {
	s := r.String(field, maxText)
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			r.Failf("%s: byte %#02x at %d, want printable ASCII", field, s[i], i)
			return ""
		}
	}
	return s
}

// WriteAmount appends 32 bytes, big-endian.
func WriteAmount(w *wire.Writer, a *Amount) {
	b := a.Bytes32()
	w.Fixed(b[:])
}

// ReadAmount reads 32 bytes, big-endian.
func ReadAmount(r *wire.Reader, field string) Amount {
	var b [32]byte
	r.Into(field, b[:])
	var a Amount
	a.SetBytes32(b[:])
	return a
}
