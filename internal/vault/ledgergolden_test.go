package vault

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Golden vectors, put together here by hand from docs/spec/ledger.md and channel.md:
// a ledger's events and its heads, and R0's envelope.
func TestGoldenLedger(t *testing.T) {
	fill := func(b string, n int) string { return strings.Repeat(b, n) }
	movement := (&policy.Movement{Initiator: "ada", Chain: "eip155:1"}).Encode()
	reserve := &event{
		Kind: eventReserve, Time: 0x0102030405060708, Attempt: [16]byte(bytes.Repeat([]byte{0x11}, 16)), Request: [32]byte(bytes.Repeat([]byte{0x22}, 32)),
		Key: [32]byte(bytes.Repeat([]byte{0x33}, 32)), Parties: []mpc.ID{1, 3}, Policy: [32]byte(bytes.Repeat([]byte{0x44}, 32)),
		Digest: [32]byte(bytes.Repeat([]byte{0x55}, 32)), Slots: []string{"n/7"}, Expires: 9, Witnesses: []mpc.ID{2}, Faults: 1, Movement: movement,
	}
	want := "02" + "01" + "0102030405060708" + fill("11", 16) + fill("22", 32) + fill("33", 32) +
		"00000002" + "0001" + "0003" + fill("44", 32) + fill("55", 32) + "00000001" + "00000003" + "6e2f37" +
		"0000000000000009" + "00000001" + "0002" + "0001" +
		"0000001c" + "01" + "00000003" + "616461" + "00000008" + "6569703135353a31" + "00000000" + "00000000"
	if got := hex.EncodeToString(reserve.encode()); got != want {
		t.Errorf("reserve\n %s, want\n %s", got, want)
	}
	for kind, name := range map[eventKind]string{eventRelease: "02", eventFinal: "03"} {
		e := &event{Kind: kind, Time: 5, Attempt: reserve.Attempt}
		if got := hex.EncodeToString(e.encode()); got != "02"+name+"0000000000000005"+fill("11", 16) {
			t.Errorf("kind %d: %s", kind, got)
		}
	}
	restate := *reserve
	restate.Kind = eventRestate
	if got := hex.EncodeToString(restate.encode()); got != "0204"+want[4:] {
		t.Errorf("restate: %s", got)
	}
	l := &ledger{party: 3}
	var head [32]byte
	for i := range 2 {
		head = wire.Hash("coffer/ledger/v1", []byte{1, 0, 3, 0, 0, 0, 0, 0, 0, 0, byte(i)}, head[:], reserve.encode())
		if got := l.append(reserve.encode()); got.Hash != head || got.Seq != uint64(i)+1 {
			t.Errorf("head %d is %x, want %x", i+1, got.Hash, head)
		}
	}
	const golden = "6cc2ad1388c983ac02413c2a59cb88fcfdabdd4411303b9d760cccd27e68aa1f"
	if got := hex.EncodeToString(head[:]); got != golden {
		t.Errorf("the head after two events is %s, want %s", got, golden)
	}
}

func TestGoldenEnvelope(t *testing.T) {
	b := func(c byte) (out [32]byte) { return [32]byte(bytes.Repeat([]byte{c}, 32)) }
	fill := func(b string) string { return strings.Repeat(b, 32) }
	e := &envelope{
		Attempt: [16]byte(bytes.Repeat([]byte{0x11}, 16)), Clock: 7, Request: b(0x22), Digest: b(0x33), Key: b(0x44), Epoch: 5, Signers: []mpc.ID{1, 3},
		Witnesses: []mpc.ID{2}, Movement: b(0x55), GovernanceSeq: 6, GovernanceHead: b(0x66), PolicyRoot: b(0x77), RosterRoot: b(0x88), InForce: b(0x99),
		Heads: []ledgerHead{{Party: 1}, {Party: 3, Seq: 8, Hash: b(0xaa)}}, Checkpoint: []byte{0xbb, 0xcc},
	}
	want := "02" + strings.Repeat("11", 16) + "0000000000000007" + fill("22") + fill("33") + fill("44") + "00000005" +
		"00000002" + "0001" + "0003" + "00000001" + "0002" + fill("55") + "0000000000000006" + fill("66") + fill("77") + fill("88") + fill("99") +
		"00000002" + "0001" + "0000000000000000" + fill("00") + "0003" + "0000000000000008" + fill("aa") + "00000002" + "bbcc"
	if got := hex.EncodeToString(e.encode()); got != want {
		t.Errorf("envelope\n %s, want\n %s", got, want)
	}
}
