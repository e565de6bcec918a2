package rpc

import (
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// The first topics of the events, keccak256 of their signatures; a test derives
// them.
const (
	topicTransfer       = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
	topicApproval       = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"
	topicApprovalForAll = "0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31"
	topicSingle         = "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62"
	topicBatch          = "0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb"
	topicPermit2        = "0xda9fa7c1b00402c17d0161b249b1ab8bbec047c5a52207b9c112deffd817036b"
	topicPermit2Permit  = "0xc6a377bfc4eb120024a8ac08eef205be16b817020812c73223e81d1bdb9708ec"
)

// nativeMover is the address under which eth_simulateV1 reports native coin.
var nativeMover = evm.Address{0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee}

type simulatedLog struct {
	Address address `json:"address"`
	Topics  []data  `json:"topics"`
	Data    data    `json:"data"`
}

// moves reads an event: what it says that is moved or lent; nothing when it tells of
// no asset.
func (l *simulatedLog) moves(name string) []Move {
	if len(l.Topics) < 3 || len(l.Topics[0]) != 32 {
		return nil
	}
	token := evm.Address(l.Address)
	kind, n := hexBytes(l.Topics[0]), len(l.Topics)
	switch {
	case kind == topicTransfer && token == nativeMover:
		return l.one(name, MoveTransfer, evm.NativeAsset(name), 1, 2, l.Data)
	case kind == topicTransfer && n == 4:
		return l.one(name, MoveItem, evm.TokenAsset(name, token), 1, 2, l.Topics[3])
	case kind == topicTransfer:
		return l.one(name, MoveTransfer, evm.TokenAsset(name, token), 1, 2, l.Data)
	case kind == topicApproval && n == 4:
		return l.one(name, MoveLentItem, evm.TokenAsset(name, token), 1, 2, l.Topics[3])
	case kind == topicApproval:
		return l.one(name, MoveAllowance, evm.TokenAsset(name, token), 1, 2, l.Data)
	case kind == topicApprovalForAll:
		return l.one(name, MoveForAll, evm.TokenAsset(name, token), 1, 2, l.Data)
	case (kind == topicPermit2 || kind == topicPermit2Permit) && n == 4 && token == evm.Permit2 && len(l.Data) >= 32:
		lent, ok := accountOf(l.Topics[2])
		if !ok {
			return nil
		}
		return l.one(name, MoveAllowance, evm.TokenAsset(name, lent), 1, 3, l.Data[:32])
	case kind == topicSingle && n == 4 && len(l.Data) == 64:
		return l.one(name, MoveTransfer, evm.MultiAsset(name, token, number(l.Data)), 2, 3, l.Data[32:])
	case kind == topicBatch && n == 4:
		ids, values := list(l.Data, 0), list(l.Data, 1)
		if len(ids) != len(values) {
			return nil
		}
		var out []Move
		for i := range ids {
			out = append(out, l.one(name, MoveTransfer, evm.MultiAsset(name, token, number(ids[i])), 2, 3, values[i])...)
		}
		return out
	}
	return nil
}

// one is a move between the accounts of two topics.
func (l *simulatedLog) one(name string, kind MoveKind, asset string, from, to int, value []byte) []Move {
	a, okA := accountOf(l.Topics[from])
	b, okB := accountOf(l.Topics[to])
	if !okA || !okB || len(value) != 32 {
		return nil
	}
	return []Move{{Kind: kind, Asset: asset, From: evm.Account(name, a), To: evm.Account(name, b), Amount: number(value)}}
}

func accountOf(topic []byte) (a evm.Address, ok bool) {
	if len(topic) != 32 || [12]byte(topic) != [12]byte{} {
		return a, false
	}
	return evm.Address(topic[12:]), true
}

// number is the first word as a number.
func number(b []byte) (a chain.Amount) {
	a.SetBytes32(b[:32])
	return a
}

// list takes the words of the i-th of an event's lists, as the ABI lays them out.
func list(b []byte, i int) (words [][]byte) {
	at, ok := length(b, uint64(i)*32)
	if !ok {
		return nil
	}
	n, ok := length(b, at)
	if !ok || n > (uint64(len(b))-at)/32 {
		return nil
	}
	for j := range n {
		w := at + 32*(1+j)
		if w+32 > uint64(len(b)) {
			return nil
		}
		words = append(words, b[w:w+32])
	}
	return words
}

// length reads the word at a place, which says a place or a length within b.
func length(b []byte, at uint64) (uint64, bool) {
	if uint64(len(b)) < 32 || at > uint64(len(b))-32 {
		return 0, false
	}
	x := number(b[at:])
	if !x.IsUint64() || x.Uint64() > uint64(len(b)) {
		return 0, false
	}
	return x.Uint64(), true
}
