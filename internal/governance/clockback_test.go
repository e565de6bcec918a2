package governance

import (
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
)

// A vault whose clock was set back before it started anew adopts a change that waits: its
// log is an honest vault's, and who reads it comes to the same.
func TestAttackClockSetBackBeforeARestart(t *testing.T) {
	st := coolingAt(t, "2")
	c := Course{State: st}
	a := signedBy(next(st, KindFreeze, (&Freeze{Reason: "stop"}).Encode()), "alice")
	if err := c.Entry(&audit.Entry{Time: t0 + 1000, Kind: audit.KindChange, Body: a.Encode()}); err != nil {
		t.Fatal(err)
	}
	b := signedBy(next(c.State, KindPolicy, sendTo("1", t)), both...)
	if err := c.Entry(&audit.Entry{Time: t0, Kind: audit.KindChange, Body: b.Encode()}); err != nil {
		t.Fatal(err)
	}
	// as vault.noteAdoption writes it
	waits := func(seq, at uint64, s *SignedChange) error {
		body := (&audit.Governance{Event: audit.ChangeWaits, Seq: seq, Change: s.Change.Hash(), Time: at}).Encode()
		return c.Entry(&audit.Entry{Time: t0, Kind: audit.KindGovernance, Body: body})
	}
	for _, lie := range []uint64{t0 - 1, t0 + 1, t0 + 999} {
		if waits(2, lie, b) == nil {
			t.Errorf("it believes %d", lie)
		}
	}
	if err := waits(2, t0, b); err != nil {
		t.Errorf("verify calls an honest vault's log wrong: %v", err)
	}
	if f, _ := c.State.Fate(2); f.Adopted != t0+1000 || f.Due != t0+1000+day {
		t.Errorf("%+v", f)
	}
	if waits(1, t0, a) == nil {
		t.Error("a freeze never waits")
	}
}
