package vault

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// What fewer than the ledger quorum of the old parties have is passed on: each thing
// that an attempt's name served for, in the words of whoever has it, once.
func TestToRestate(t *testing.T) {
	m, none := moving("ada", testETH, 1, 5), moving("ada", testETH, 1, 0)
	const now = 1_000_000
	plan := &handover.Plan{Key: [32]byte{7}, Old: []mpc.ID{1, 2, 3, 4, 5}}
	for name, c := range map[string]struct {
		tell func(x *requestIndex)
		want []uint64 // amounts that are passed on
	}{
		"one has it":           {func(x *requestIndex) { x.add(1, reserving(1, 1, now, m, 1, 2)) }, []uint64{5}},
		"a stranger has it":    {func(x *requestIndex) { x.add(9, reserving(1, 1, now, m, 8, 9)) }, []uint64{5}},
		"this vault signs":     {func(x *requestIndex) { x.add(1, reserving(1, 1, now, m, 1, 5)) }, []uint64{5}},
		"one less than enough": {func(x *requestIndex) { has(x, reserving(1, 1, now, m, 1, 2), 1, 2, 3, 9) }, []uint64{5}},
		"enough have it":       {func(x *requestIndex) { has(x, reserving(1, 1, now, m, 1, 2), 1, 2, 3, 4) }, nil},
		"enough, by hearsay": {func(x *requestIndex) {
			x.add(9, reserving(1, 1, now, m, 8, 9))
			e := reserving(1, 1, now+1, m, 8, 9)
			e.Kind = eventRestate
			has(x, e, 1, 2, 3, 4)
		}, nil},
		"this vault has it": {func(x *requestIndex) { x.add(5, reserving(1, 1, now, m, 1, 5)) }, nil},
		"others of another sum": {func(x *requestIndex) {
			x.add(1, reserving(1, 1, now, m, 1, 2))
			has(x, reserving(1, 1, now, none, 1, 2), 2, 3, 4, 9)
		}, []uint64{5}},
		"its name was reused": {func(x *requestIndex) {
			x.add(1, reserving(1, 1, now, m, 1, 2))
			x.add(5, reserving(1, 2, now, none, 4, 5))
		}, []uint64{5}},
		"of another key":         {func(x *requestIndex) { e := reserving(1, 1, now, m, 1, 2); e.Key[0]++; x.add(1, e) }, nil},
		"released by who signed": {func(x *requestIndex) { given(x, 1, 2) }, nil},
		"released by one":        {func(x *requestIndex) { given(x, 1) }, []uint64{5}},
	} {
		x := newRequestIndex(5)
		c.tell(x)
		v := &Vault{index: x, now: now, cfg: Config{ID: 5}}
		es := v.toRestate(plan, 4)
		var got []uint64
		for _, e := range es {
			y := newRequestIndex(5)
			y.add(5, e)
			if n := usedOf(t, y, ethQuery); e.Kind == eventRestate && n > 0 || len(c.want) == 0 {
				got = append(got, n)
			}
		}
		if len(got) != len(c.want) || len(got) == 1 && got[0] != c.want[0] {
			t.Errorf("%s: %v is passed on, want %v", name, got, c.want)
		}
		for _, e := range es {
			x.add(5, e)
		}
		if again := v.toRestate(plan, 4); len(again) != 0 {
			t.Errorf("%s: passed on twice", name)
		}
	}
	// The newest time of those who took part, and until the longest window is over.
	x := newRequestIndex(5)
	x.add(1, reserving(1, 1, now, m, 1, 2))
	x.add(2, reserving(1, 1, now+7, m, 1, 2))
	for _, at := range []uint64{now, now + 7 + restatedFor, now + 8 + restatedFor} {
		v := &Vault{index: x, now: at, cfg: Config{ID: 5}}
		es := v.toRestate(plan, 4)
		if (len(es) == 1) != (at < now+8+restatedFor) || len(es) == 1 && es[0].Time != now+7 {
			t.Errorf("after %d ms: %+v", at-now, es)
		}
	}
}

func has(x *requestIndex, e *event, parties ...mpc.ID) {
	for _, id := range parties {
		x.add(id, e)
	}
}

func given(x *requestIndex, by ...mpc.ID) {
	e := reserving(1, 1, 1_000_000, moving("ada", testETH, 1, 5), 1, 2)
	has(x, e, 1, 2)
	for _, id := range by {
		x.add(id, &event{Kind: eventRelease, Attempt: e.Attempt})
	}
}

// Hearsay counts, and is no word about the attempt: who passes something on may have
// reserved another thing under that name, and releases it.
func TestHearsayCounts(t *testing.T) {
	x := newRequestIndex(1)
	e := reserving(1, 1, 1000, moving("ada", testETH, 1, 5), 2, 3)
	x.add(4, reserving(1, 2, 1000, moving("ada", testETH, 1, 0), 4, 5))
	e.Kind = eventRestate
	x.add(4, e)
	x.add(4, &event{Kind: eventRelease, Attempt: e.Attempt})
	if got := usedOf(t, x, ethQuery); got != 5 {
		t.Errorf("%d counts, want 5", got)
	}
	if got := usedOf(t, settled{x, 1000}, ethQuery); got != 5 {
		t.Errorf("%d is settled, want 5", got)
	}
	if x.conflicting(e.Request, [32]byte{9}, []string{"other"}) == nil {
		t.Error("another version of the request may be signed")
	}
	for i, id := range []mpc.ID{2, 3} {
		x.add(id, &event{Kind: eventRelease, Attempt: e.Attempt})
		if got := usedOf(t, x, ethQuery); got != uint64(5*(1-i)) {
			t.Errorf("after %d releases of those who sign %d counts", i+1, got)
		}
	}
}
