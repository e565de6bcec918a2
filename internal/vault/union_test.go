package vault

import "testing"

// A final share counts whatever was said before it: who released first has two copies
// of its ledger.
func TestFinalAfterReleaseCounts(t *testing.T) {
	x := newRequestIndex(3)
	e := reserving(1, 1, 1000, moving("ada", testETH, 1, 5), 1, 2)
	x.add(1, e)
	x.add(2, e)
	x.add(1, &event{Kind: eventRelease, Attempt: e.Attempt})
	x.add(2, &event{Kind: eventRelease, Attempt: e.Attempt})
	if got := usedOf(t, x, ethQuery); got != 0 {
		t.Fatalf("%d counts after both releases", got)
	}
	x.add(2, &event{Kind: eventFinal, Attempt: e.Attempt})
	if got := usedOf(t, x, ethQuery); got != 5 {
		t.Errorf("a share may have left, and %d counts, want 5", got)
	}
}

// What a member has reserved for something else under an attempt's name does not
// change when the attempt counts.
func TestEntryTimeIsOfOneReservation(t *testing.T) {
	x := newRequestIndex(3)
	x.add(1, reserving(1, 1, 100_000, moving("ada", testETH, 1, 5), 1, 2))
	x.add(2, reserving(1, 1, 900_000, moving("ada", testETH, 1, 5), 2, 4))
	p := x.of([16]byte{1}, 1)
	if got := x.timeOf(p); got != 100_000 {
		t.Errorf("it counts from %d, want 100000", got)
	}
}
