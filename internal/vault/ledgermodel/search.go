package ledgermodel

import "hash/maphash"

// Result is what a search found.
type Result struct {
	States  int
	Spent   int // the most that was ever spent
	Full    bool
	Granted bool // some session came to its end
}

// Search visits every state that can be reached, up to a number of them; it stops when
// more than the limit is spent. Two states are one if a 64-bit hash says so.
func (m *Model) Search(most int) Result {
	seed := maphash.MakeSeed()
	seen := newSet(1 << 16)
	var key []byte
	visit := func(s *State) bool {
		key = m.Key(s, key)
		return seen.add(maphash.Bytes(seed, key) | 1)
	}
	var r Result
	stack := []State{{}}
	visit(&stack[0])
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if r.States++; r.States > most {
			return r
		}
		if n := m.Spent(&s); n > r.Spent {
			if r.Spent = n; n > m.Limit && m.Corrupt == 0 {
				return r
			}
		}
		m.Next(&s, func(n *State) {
			if visit(n) {
				stack = append(stack, *n)
			}
		})
	}
	r.Full, r.Granted = true, r.Spent > 0
	return r
}

// Walk is one random run, in which vaults seldom give up and seldom begin while something
// runs; pick returns a number below
// n.
func (m *Model) Walk(pick func(n int) int) (spent int) {
	var s State
	var on, off []State
	for {
		on, off = on[:0], off[:0]
		given := s.turns()
		m.Next(&s, func(n *State) {
			if n.turns() > given {
				off = append(off, *n)
			} else {
				on = append(on, *n)
			}
		})
		switch {
		case len(on)+len(off) == 0:
			return m.Spent(&s)
		case len(on) > 0 && (len(off) == 0 || pick(8) > 0):
			s = on[pick(len(on))]
		default:
			s = off[pick(len(off))]
		}
		if spent = m.Spent(&s); spent > m.Limit {
			return spent
		}
	}
}

// turns counts what seldom happens.
func (s *State) turns() (n int) {
	n = int(s.crashes)
	for v := range s.phase {
		for _, p := range s.phase[v] {
			if p != idle {
				n++
			}
			if p == over || p == never {
				n++
			}
		}
	}
	return n
}

// set holds hashes, none of which is 0.
type set struct {
	slots []uint64
	count int
}

func newSet(n int) *set { return &set{slots: make([]uint64, n)} }

func (x *set) add(h uint64) bool {
	if 2*x.count >= len(x.slots) {
		old := x.slots
		x.slots, x.count = make([]uint64, 2*len(old)), 0
		for _, h := range old {
			if h != 0 {
				x.add(h)
			}
		}
	}
	for i := h >> 1; ; i++ {
		at := &x.slots[i&uint64(len(x.slots)-1)]
		if *at == h {
			return false
		}
		if *at == 0 {
			*at = h
			x.count++
			return true
		}
	}
}
