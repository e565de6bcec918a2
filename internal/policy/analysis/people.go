package analysis

import (
	"slices"
)

// demand is a verdict over concrete people: who may fill which places. The zero
// value demands nothing and so allows.
type demand struct {
	deny     bool
	places   []places
	excluded bool // the initiator's own approval does not count
}

// places are Count approvals from the people of From.
type places struct {
	from  []string // sorted
	count int
}

// satisfied reports whether the approvals of people meet d.
func (d *demand) satisfied(people []string, initiator string) bool {
	if d.deny {
		return false
	}
	a := d.assign(people, initiator)
	return a.filled == a.total
}

// beyond finds approvals that meet d and not old; false when whoever meets d meets
// old too. By Hall's theorem old is not met when for some of its requirements,
// taken together, fewer people approved than they ask for; so for every choice of
// them it looks for the approvals that meet d with the fewest of those people.
func (d *demand) beyond(old *demand, initiator string) ([]string, bool) {
	if d.deny {
		return nil, false
	}
	people := d.people()
	if old.deny {
		a := d.assign(people, initiator)
		return a.chosen(), a.filled == a.total
	}
	for choice := 1; choice < 1<<len(old.places); choice++ {
		counts := func(who string) bool {
			if old.excluded && who == initiator {
				return false
			}
			for i, p := range old.places {
				if _, in := slices.BinarySearch(p.from, who); in && choice>>i&1 == 1 {
					return true
				}
			}
			return false
		}
		need := 0
		for i, p := range old.places {
			if choice>>i&1 == 1 {
				need += p.count
			}
		}
		var order []string // those who do not count first
		for _, want := range []bool{false, true} {
			for _, who := range people {
				if counts(who) == want {
					order = append(order, who)
				}
			}
		}
		a := d.assign(order, initiator)
		if a.filled < a.total {
			return nil, false // nobody can meet d
		}
		chosen := a.chosen()
		for _, who := range chosen {
			if counts(who) {
				need--
			}
		}
		if need > 0 {
			return chosen, true
		}
	}
	return nil, false
}

// people is everybody whose approval could count.
func (d *demand) people() []string {
	var all []string
	for _, p := range d.places {
		all = append(all, p.from...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// assignment gives each of the people at most one place.
type assignment struct {
	people        []string
	may           [][]int // by person: the requirements that they may fill
	room          []int   // by requirement
	holds         [][]int // by requirement: the persons who fill it
	filled, total int
}

// assign fills as many places as possible. Who comes first has the right of way:
// nobody who has a place loses it to somebody later (the sets of people who can all
// have places are a matroid, so that this is the best basis for any order).
func (d *demand) assign(people []string, initiator string) *assignment {
	a := &assignment{people: people, may: make([][]int, len(people)), holds: make([][]int, len(d.places))}
	for _, p := range d.places {
		a.room = append(a.room, p.count)
		a.total += p.count
	}
	for i, who := range people {
		if d.excluded && who == initiator {
			continue
		}
		for r, p := range d.places {
			if _, in := slices.BinarySearch(p.from, who); in {
				a.may[i] = append(a.may[i], r)
			}
		}
	}
	for i := range people {
		if a.filled == a.total {
			break
		}
		if a.place(i, make([]bool, len(d.places))) {
			a.filled++
		}
	}
	return a
}

// place finds a place for a person, moving others to other places if need be.
func (a *assignment) place(person int, tried []bool) bool {
	for _, r := range a.may[person] {
		if tried[r] {
			continue
		}
		tried[r] = true
		if len(a.holds[r]) < a.room[r] {
			a.holds[r] = append(a.holds[r], person)
			return true
		}
		for k, other := range a.holds[r] {
			if a.place(other, tried) {
				a.holds[r][k] = person
				return true
			}
		}
	}
	return false
}

// chosen are those who have a place, sorted.
func (a *assignment) chosen() []string {
	var out []string
	for _, held := range a.holds {
		for _, i := range held {
			out = append(out, a.people[i])
		}
	}
	slices.Sort(out)
	return out
}
