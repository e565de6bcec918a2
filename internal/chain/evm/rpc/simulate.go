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
)

// The first topics of the events, keccak256 of their signatures; a test derives
// them.
const (
	topicTransfer       = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
	topicApproval       = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"
	topicApprovalForAll = "0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31"
)

// nativeMover is the address under which eth_simulateV1 reports native coin.
var nativeMover = evm.Address{0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee}

type simulatedLog struct {
	Address address `json:"address"`
	Topics  []data  `json:"topics"`
	Data    data    `json:"data"`
}

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
// (eth_simulateV1, with transfers of native coin reported). An intent that would
// fail is no error: it is in the answer.
func (c *Client) Simulate(ctx context.Context, from evm.Address, in *evm.Intent) (*Simulation, error) {
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
		if m, ok := call.Logs[i].move(evm.ChainName(c.chainID)); ok {
			out.Moves = append(out.Moves, m)
		}
	}
	return out, nil
}

// move reads an event; false when it tells of no asset.
func (l *simulatedLog) move(name string) (Move, bool) {
	if len(l.Topics) < 3 || len(l.Topics[0]) != 32 {
		return Move{}, false
	}
	a, okA := l.account(name, 1)
	b, okB := l.account(name, 2)
	if !okA || !okB {
		return Move{}, false
	}
	m := Move{Asset: evm.TokenAsset(name, evm.Address(l.Address)), From: a, To: b}
	if evm.Address(l.Address) == nativeMover {
		m.Asset = evm.NativeAsset(name)
	}
	value := l.Data
	switch kind := hexBytes(l.Topics[0]); {
	case kind == topicTransfer && len(l.Topics) == 4:
		m.Kind, value = MoveItem, l.Topics[3]
	case kind == topicTransfer:
		m.Kind = MoveTransfer
	case kind == topicApproval && len(l.Topics) == 3:
		m.Kind = MoveAllowance
	case kind == topicApprovalForAll:
		m.Kind = MoveForAll
	default:
		return Move{}, false
	}
	if len(value) != 32 {
		return Move{}, false
	}
	m.Amount.SetBytes32(value)
	return m, true
}

func (l *simulatedLog) account(name string, i int) (string, bool) {
	t := l.Topics[i]
	if len(t) != 32 || [12]byte(t) != [12]byte{} {
		return "", false
	}
	return evm.Account(name, evm.Address(t[12:])), true
}
