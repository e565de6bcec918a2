package rpc

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// TestTopics derives the events' topics from their signatures.
func TestTopics(t *testing.T) {
	for event, want := range map[string]string{
		"Transfer(address,address,uint256)": topicTransfer, "Approval(address,address,uint256)": topicApproval,
		"ApprovalForAll(address,address,bool)":                    topicApprovalForAll,
		"TransferSingle(address,address,address,uint256,uint256)": topicSingle, "TransferBatch(address,address,address,uint256[],uint256[])": topicBatch,
		"Approval(address,address,address,uint160,uint48)": topicPermit2, "Permit(address,address,address,uint160,uint48,uint48)": topicPermit2Permit,
	} {
		h := sha3.NewLegacyKeccak256()
		h.Write([]byte(event))
		if got := hexBytes(h.Sum(nil)); got != want {
			t.Errorf("%s: %s, the code has %s", event, got, want)
		}
	}
}

func word(b byte) data { d := make(data, 32); d[31] = b; return d }

func topicOf(t *testing.T, text string) data {
	t.Helper()
	var d data
	if err := d.UnmarshalJSON([]byte(`"` + text + `"`)); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEvents: what tokens of every kind tell.
func TestEvents(t *testing.T) {
	const name = "eip155:1"
	coin := evm.Address{7}
	who := func(b byte) string { return evm.Account(name, evm.Address{19: b}) }
	n := func(v uint64) chain.Amount { return *uint256.NewInt(v) }
	token := evm.TokenAsset(name, coin)
	for what, c := range map[string]struct {
		from   evm.Address
		topic  string
		topics []data
		data   []data
		want   []Move
	}{
		"coin":           {nativeMover, topicTransfer, []data{word(1), word(2)}, []data{word(9)}, []Move{{MoveTransfer, evm.NativeAsset(name), who(1), who(2), n(9)}}},
		"token":          {coin, topicTransfer, []data{word(1), word(2)}, []data{word(9)}, []Move{{MoveTransfer, token, who(1), who(2), n(9)}}},
		"item":           {coin, topicTransfer, []data{word(1), word(2), word(3)}, nil, []Move{{MoveItem, token, who(1), who(2), n(3)}}},
		"allowance":      {coin, topicApproval, []data{word(1), word(2)}, []data{word(9)}, []Move{{MoveAllowance, token, who(1), who(2), n(9)}}},
		"lent item":      {coin, topicApproval, []data{word(1), word(2), word(3)}, nil, []Move{{MoveLentItem, token, who(1), who(2), n(3)}}},
		"all":            {coin, topicApprovalForAll, []data{word(1), word(2)}, []data{word(1)}, []Move{{MoveForAll, token, who(1), who(2), n(1)}}},
		"one of several": {coin, topicSingle, []data{word(8), word(1), word(2)}, []data{word(4), word(5)}, []Move{{MoveTransfer, evm.MultiAsset(name, coin, n(4)), who(1), who(2), n(5)}}},
		"several": {coin, topicBatch, []data{word(8), word(1), word(2)}, []data{word(64), word(160), word(2), word(4), word(5), word(2), word(6), word(7)}, []Move{
			{MoveTransfer, evm.MultiAsset(name, coin, n(4)), who(1), who(2), n(6)}, {MoveTransfer, evm.MultiAsset(name, coin, n(5)), who(1), who(2), n(7)},
		}},
		"permit2":         {evm.Permit2, topicPermit2, []data{word(1), word(7), word(2)}, []data{word(9), word(1)}, []Move{{MoveAllowance, evm.TokenAsset(name, evm.Address{19: 7}), who(1), who(2), n(9)}}},
		"permit2 by sign": {evm.Permit2, topicPermit2Permit, []data{word(1), word(7), word(2)}, []data{word(9), word(1), word(0)}, []Move{{MoveAllowance, evm.TokenAsset(name, evm.Address{19: 7}), who(1), who(2), n(9)}}},
		"not permit2":     {coin, topicPermit2, []data{word(1), word(7), word(2)}, []data{word(9), word(1)}, nil},
		"lists of two lengths": {
			coin, topicBatch, []data{word(8), word(1), word(2)}, []data{word(64), word(128), word(1), word(4), word(2), word(6), word(7)}, nil,
		},
		"lists beyond the end": {coin, topicBatch, []data{word(8), word(1), word(2)}, []data{word(64), word(96), word(1), word(1)}, nil},
		"a list that is huge":  {coin, topicBatch, []data{word(8), word(1), word(2)}, []data{word(64), word(64), slices.Repeat(data{0xff}, 32)}, nil},
		"a place that is huge": {coin, topicBatch, []data{word(8), word(1), word(2)}, []data{slices.Repeat(data{0xff}, 32), word(32)}, nil},
		"no lists":             {coin, topicBatch, []data{word(8), word(1), word(2)}, nil, nil},
	} {
		l := simulatedLog{Address: address(c.from), Topics: append([]data{topicOf(t, c.topic)}, c.topics...)}
		for _, d := range c.data {
			l.Data = append(l.Data, d...)
		}
		if diff := cmp.Diff(c.want, l.moves(name)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

// TestEventsThatTellNothing: what is no event of a token is passed over.
func TestEventsThatTellNothing(t *testing.T) {
	transfer, single, permit2 := topicOf(t, topicTransfer), topicOf(t, topicSingle), topicOf(t, topicPermit2)
	dirty := word(1)
	dirty[0] = 1
	for name, l := range map[string]simulatedLog{
		"no topics":     {},
		"one account":   {Topics: []data{transfer, word(1)}, Data: word(9)},
		"short topic":   {Topics: []data{{1}, word(1), word(2)}, Data: word(9)},
		"dirty account": {Topics: []data{transfer, dirty, word(2)}, Data: word(9)},
		"dirty, second": {Topics: []data{transfer, word(1), dirty}, Data: word(9)},
		"short account": {Topics: []data{transfer, {1}, word(2)}, Data: word(9)},
		"short amount":  {Topics: []data{transfer, word(1), word(2)}, Data: data{1}},
		"another event": {Topics: []data{word(7), word(1), word(2)}, Data: word(9)},
		"half a single": {Topics: []data{single, word(8), word(1), word(2)}, Data: word(9)},
		"dirty token":   {Address: address(evm.Permit2), Topics: []data{permit2, word(1), dirty, word(2)}, Data: word(9)},
		"half a permit": {Address: address(evm.Permit2), Topics: []data{permit2, word(1), word(7), word(2)}, Data: data{1}},
	} {
		if m := l.moves("eip155:1"); m != nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
