package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain/evm"
)

// Error codes of nodes that cannot simulate, or not this (EIP-1474): nothing is said
// about the intent.
const (
	codeNoMethod  = -32601
	codeNotTaken  = -32602 // anvil, of every creation: it builds a transaction with a recipient
	codeNotServed = -32004
)

// cannot says whether the node has no eth_simulateV1, or none for this question.
func cannot(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == codeNoMethod || e.Code == codeNotTaken || e.Code == codeNotServed)
}

// frame is a call as callTracer tells it, with those that it made.
type frame struct {
	Type         string         `json:"type"`
	From         address        `json:"from"`
	To           *address       `json:"to"` // nil of a creation that failed
	Value        *quantity      `json:"value"`
	Error        string         `json:"error"`
	RevertReason string         `json:"revertReason"`
	Calls        []frame        `json:"calls"`
	Logs         []simulatedLog `json:"logs"`
}

// trace asks a node that does not simulate, or not this, to run the intent under its
// tracer of calls (debug_traceCall, callTracer with logs).
func (c *Client) trace(ctx context.Context, from evm.Address, in *evm.Intent) (*Simulation, error) {
	how := map[string]any{"tracer": "callTracer", "tracerConfig": map[string]any{"withLog": true}}
	var top frame
	if err := c.Do(ctx, &top, "debug_traceCall", message(from, in), "latest", how); err != nil {
		return nil, err
	}
	want := "CALL"
	if in.To == nil {
		want = "CREATE"
	}
	if top.Type != want || evm.Address(top.From) != from {
		return nil, fmt.Errorf("the node traced a %.20q of %s, want a %s of %s", top.Type, evm.Address(top.From), want, from)
	}
	out := new(Simulation)
	if top.Error != "" {
		if out.Failed = top.Error; top.RevertReason != "" {
			out.Failed += ": " + top.RevertReason
		}
		return out, nil
	}
	return out, top.moves(evm.ChainName(c.chainID), out)
}

// moves adds what a call and those that it made move. Those that failed moved nothing.
func (f *frame) moves(name string, s *Simulation) error {
	if f.Error != "" {
		return nil
	}
	switch f.Type {
	case "CALL", "CREATE", "CREATE2", "SELFDESTRUCT":
		if f.Value == nil || f.Value.IsZero() {
			break
		}
		if f.To == nil {
			return fmt.Errorf("the node traced a %s with value to nobody", f.Type)
		}
		s.Moves = append(s.Moves, Move{
			Kind: MoveTransfer, Asset: evm.NativeAsset(name), Amount: f.Value.Int,
			From: evm.Account(name, evm.Address(f.From)), To: evm.Account(name, evm.Address(*f.To)),
		})
	case "DELEGATECALL", "CALLCODE", "STATICCALL": // move no coin; a value is that of the caller's own call
	default:
		return fmt.Errorf("the node traced a call of type %.20q, which is unknown", f.Type)
	}
	for i := range f.Logs {
		s.Moves = append(s.Moves, f.Logs[i].moves(name)...)
	}
	for i := range f.Calls {
		if err := f.Calls[i].moves(name, s); err != nil {
			return err
		}
	}
	return nil
}
