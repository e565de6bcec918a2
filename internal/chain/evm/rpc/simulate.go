package rpc

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// Simulation is what a node says that an intent would do now. It is the node's
// word: evidence for a check, never authority.
type Simulation struct {
	Failed string // why it would fail; empty when it would not
	Moves  []Move // in their order
}

// Move is an asset that an event of the simulation says was moved or lent.
type Move struct {
	Kind     MoveKind
	Asset    string // CAIP-19: the native coin, or the contract as a token
	From, To string // CAIP-10: owner and spender of an allowance
	Amount   chain.Amount
}

// MoveKind says what an event tells.
type MoveKind uint8

// The kinds.
const (
	MoveTransfer  MoveKind = 1
	MoveAllowance MoveKind = 2
	MoveItem      MoveKind = 3 // of a collection (ERC-721): Amount is the item's number
	MoveForAll    MoveKind = 4 // ApprovalForAll: Amount is 1 when it is given, 0 when taken back
	MoveLentItem  MoveKind = 5 // allowance for one item of a collection: Amount is the item's number
)

type simulatedBlock struct {
	Calls []struct {
		Status quantity       `json:"status"`
		Logs   []simulatedLog `json:"logs"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	} `json:"calls"`
}

// Simulate runs an intent on the node's newest block without sending it
// (eth_simulateV1, with transfers of native coin reported). A node that has no such
// method, or takes no creation there, as anvil, is asked to trace it instead. An intent
// that would fail is no error: it is in the answer.
func (c *Client) Simulate(ctx context.Context, from evm.Address, in *evm.Intent) (*Simulation, error) {
	s, err := c.simulate(ctx, from, in)
	if !cannot(err) {
		return s, err
	}
	s, traced := c.trace(ctx, from, in)
	if traced != nil {
		return nil, fmt.Errorf("the node can neither simulate nor trace it: %w; %w", err, traced)
	}
	return s, nil
}

func (c *Client) simulate(ctx context.Context, from evm.Address, in *evm.Intent) (*Simulation, error) {
	question := map[string]any{
		"blockStateCalls": []any{map[string]any{"calls": []any{message(from, in)}}},
		"traceTransfers":  true,
		"validation":      false,
	}
	var blocks []simulatedBlock
	if err := c.Do(ctx, &blocks, "eth_simulateV1", question, "latest"); err != nil {
		return nil, err
	}
	if len(blocks) != 1 || len(blocks[0].Calls) != 1 {
		return nil, fmt.Errorf("the node simulated %d blocks, want one with one call", len(blocks))
	}
	call := &blocks[0].Calls[0]
	out := new(Simulation)
	if call.Status.IsZero() {
		out.Failed = "it reverts"
		if call.Error != nil && call.Error.Message != "" {
			out.Failed = call.Error.Message
		}
		return out, nil
	}
	for i := range call.Logs {
		out.Moves = append(out.Moves, call.Logs[i].moves(evm.ChainName(c.chainID))...)
	}
	return out, nil
}
