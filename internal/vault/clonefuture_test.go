package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

// approveAt is approve with the time of the person's own clock.
func (k *keyed) approveAt(b *request.Bundle, who string, x *passkeytest.Authenticator, time uint64) {
	a := request.Approval{Request: b.Request.ID(), Principal: who, Approve: true, Time: time, Expires: max(b.Request.Expires, time+1), Key: x.Public()}
	a.Signature = x.Sign(a.Statement())
	b.Approvals = append(b.Approvals, a)
	b.Sort()
}

// TestPasskeyAheadOfTime: an approval from a clock that is hours ahead does not count,
// and is not remembered: else the person's next one would be taken for a copy's.
func TestPasskeyAheadOfTime(t *testing.T) {
	k := startKeyed(t)
	early := k.payment()
	k.approveAt(early, "bob", k.bob, k.Now+request.MaxSkew+signature.CounterSlack+1000)
	k.approve(early, "carol", k.carol)
	for id, r := range k.run(early, 1, 2) {
		if r == nil || r.Outcome != cluster.OutcomeRefused || strings.Contains(show(r), "identity.cloned") {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
	b := k.payment()
	k.approve(b, "bob", k.bob)
	k.approve(b, "carol", k.carol)
	k.done(b, 1, 2)
	if n := len(k.clones(1)) + len(k.clones(2)); n != 0 {
		t.Errorf("%d clones in the logs of a bob who has one key", n)
	}
	// A little ahead is only a clock that is a little off, and is remembered.
	near := k.payment()
	k.approveAt(near, "bob", k.bob, k.Now+request.MaxSkew/2)
	k.approve(near, "carol", k.carol)
	k.done(near, 1, 2)
}
