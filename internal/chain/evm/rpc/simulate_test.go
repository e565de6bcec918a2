package rpc

import (
	"testing"

	"golang.org/x/crypto/sha3"
)

// TestTopics derives the events' topics from their signatures.
func TestTopics(t *testing.T) {
	for event, want := range map[string]string{
		"Transfer(address,address,uint256)": topicTransfer, "Approval(address,address,uint256)": topicApproval,
		"ApprovalForAll(address,address,bool)": topicApprovalForAll,
	} {
		h := sha3.NewLegacyKeccak256()
		h.Write([]byte(event))
		if got := hexBytes(h.Sum(nil)); got != want {
			t.Errorf("%s: %s, the code has %s", event, got, want)
		}
	}
}

// TestEventsThatTellNothing: what is no event of a token is passed over.
func TestEventsThatTellNothing(t *testing.T) {
	topic := func(b byte) data { d := make(data, 32); d[31] = b; return d }
	transfer := new(data)
	if err := transfer.UnmarshalJSON([]byte(`"` + topicTransfer + `"`)); err != nil {
		t.Fatal(err)
	}
	dirty := topic(1)
	dirty[0] = 1
	for name, l := range map[string]simulatedLog{
		"no topics":     {},
		"one account":   {Topics: []data{*transfer, topic(1)}, Data: topic(9)},
		"short topic":   {Topics: []data{{1}, topic(1), topic(2)}, Data: topic(9)},
		"dirty account": {Topics: []data{*transfer, dirty, topic(2)}, Data: topic(9)},
		"short amount":  {Topics: []data{*transfer, topic(1), topic(2)}, Data: data{1}},
		"another event": {Topics: []data{topic(7), topic(1), topic(2)}, Data: topic(9)},
	} {
		if m, ok := l.move("eip155:1"); ok {
			t.Errorf("%s: %+v", name, m)
		}
	}
	good := simulatedLog{Topics: []data{*transfer, topic(1), topic(2)}, Data: topic(9)}
	if m, ok := good.move("eip155:1"); !ok || m.Kind != MoveTransfer || m.Amount.Uint64() != 9 {
		t.Errorf("%+v, %v", m, ok)
	}
}
