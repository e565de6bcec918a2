package analysis

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawDemand(t *rapid.T, name string) demand {
	d := demand{excluded: rapid.Bool().Draw(t, name+" excluded"), deny: rapid.IntRange(0, 9).Draw(t, name+" deny") == 0}
	for range rapid.IntRange(0, 3).Draw(t, name+" groups") {
		p := places{count: rapid.IntRange(1, 3).Draw(t, "count")}
		for i := range 6 {
			if rapid.Bool().Draw(t, "in") {
				p.from = append(p.from, fmt.Sprint(i))
			}
		}
		d.places = append(d.places, p)
	}
	return d
}

// met tries every way to give people places.
func met(d *demand, people []string, initiator string, r, n int) bool {
	if d.deny {
		return false
	}
	if r == len(d.places) {
		return true
	}
	if n == d.places[r].count {
		return met(d, people, initiator, r+1, 0)
	}
	for i, who := range people {
		if slices.Contains(d.places[r].from, who) && (!d.excluded || who != initiator) {
			if met(d, slices.Concat(people[:i], people[i+1:]), initiator, r, n+1) {
				return true
			}
		}
	}
	return false
}

// TestBeyondAgainstEnumeration compares with every set of approvers.
func TestBeyondAgainstEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := drawDemand(t, "new"), drawDemand(t, "old")
		initiator := fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "initiator"))
		want := false
		for m := range 1 << 6 {
			var people []string
			for i := range 6 {
				if m>>i&1 == 1 {
					people = append(people, fmt.Sprint(i))
				}
			}
			a := met(&one, people, initiator, 0, 0)
			if got := one.satisfied(people, initiator); got != a {
				t.Fatalf("%v satisfied by %v (initiator %s): %t, want %t", one, people, initiator, got, a)
			}
			want = want || a && !met(&two, people, initiator, 0, 0)
		}
		who, got := one.beyond(&two, initiator)
		if got != want {
			t.Fatalf("%v beyond %v (initiator %s): %v %t, want %t", one, two, initiator, who, got, want)
		}
		if got && (!met(&one, who, initiator, 0, 0) || met(&two, who, initiator, 0, 0)) {
			t.Fatalf("%v beyond %v: %v is no example", one, two, who)
		}
	})
}
