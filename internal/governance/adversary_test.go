package governance

import (
	"testing"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
)

// loosened gives dave a second key, so that the roster waits.
func loosened(r *identity.Roster) {
	for i := range r.Principals {
		if r.Principals[i].ID == "dave" {
			r.Principals[i].Credentials = append(r.Principals[i].Credentials, edPublic("dave2"))
		}
	}
}

// Carol's removal waits; carol freezes meanwhile. A vault that was off all the time and is
// shown from when the removal waits elsewhere has no carol any more when the freeze comes:
// it would be cut off for good. So it has to hear of the removal without the proofs, which
// waits there until the freeze has come, and all of it is in force one cooling-off time later.
func TestAttackLateVaultIsCutOffByWhatLeaversDidInTime(t *testing.T) {
	was := coolingAt(t, "2")
	removal := signedBy(next(was, KindRoster, without(t, "carol", loosened)), both...)
	ahead, err := was.Apply(removal, t0)
	if err != nil {
		t.Fatal(err)
	}
	freeze := next(ahead, KindFreeze, (&Freeze{Reason: "stop"}).Encode())
	freeze.Change.Author = "carol"
	freeze = signedBy(freeze, "carol")
	if ahead, err = ahead.Apply(freeze, t0+day/2); err != nil {
		t.Fatal(err)
	}
	back := t0 + 2*day
	proven, err := was.Apply(removal, t0) // as by the proofs
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proven.Apply(freeze, back); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
		t.Errorf("with the proofs: %v", err)
	}
	late, err := was.Apply(removal, back)
	if err != nil {
		t.Fatal(err)
	}
	if late, err = late.Apply(freeze, back); err != nil {
		t.Fatalf("without them: %v", err)
	}
	if end := back + day; late.Head != ahead.Head || late.At(end).InForce() != ahead.At(end).InForce() {
		t.Errorf("the late vault does not come to the same")
	}
}
