package request

import (
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

// TestPasskeyUses: each passkey's signature counts at the time that it fixes. An approval
// cannot be older than its request, so one that is dated earlier by a clock that lags
// counts as given at the request's creation: else the next signature of a good device
// would look like a copy's.
func TestPasskeyUses(t *testing.T) {
	key := signature.PublicKey{Algorithm: signature.WebAuthnP256}
	q := &Request{Initiator: "alice", Created: 1_000_000}
	b := &Bundle{Request: q, ProposeKey: key, Approvals: []Approval{
		{Request: q.ID(), Principal: "bob", Time: 1, Key: key},
		{Request: q.ID(), Principal: "carol", Time: 1_000_500, Key: key},
		{Request: q.ID(), Principal: "dave", Time: 1_000_600, Key: signature.PublicKey{Algorithm: signature.P256}},
	}}
	want := []struct {
		who  string
		time uint64
	}{{"alice", 1_000_000}, {"bob", 1_000_000}, {"carol", 1_000_500}}
	got := b.PasskeyUses()
	if len(got) != len(want) {
		t.Fatalf("%d uses, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i].Principal != w.who || got[i].Use.Time != w.time {
			t.Errorf("%s at %d, want %s at %d", got[i].Principal, got[i].Use.Time, w.who, w.time)
		}
	}
	if got[0].Use.Digest != ProposeStatement(q.ID()).Digest() || got[1].Use.Digest != b.Approvals[0].Statement().Digest() {
		t.Error("a use is over another statement")
	}
}
