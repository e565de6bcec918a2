package analysis

import (
	"slices"
)

// lit is a boolean variable or its negation: variable<<1, +1 when negated.
type lit int32

// The constants: variable 0 is true.
const (
	yes lit = 0
	no  lit = 1
)

func (l lit) not() lit      { return l ^ 1 }
func (l lit) variable() int { return int(l >> 1) }
func (l lit) negated() bool { return l&1 == 1 }

// answer is what a search ended with.
type answer uint8

const (
	exhausted answer = iota // the budget is spent: nothing is known
	unsat
	sat
)

// solver decides whether clauses can all hold: conflict-driven clause learning with
// watched literals, in integers only, so that every machine takes the same steps.
// A variable that nothing forces is false, unless prefer says otherwise.
type solver struct {
	clauses [][]lit
	watches [][]watch // by literal: the clauses to look at when it becomes false
	value   []int8    // by literal: 1 true, -1 false, 0 open
	level   []int32   // by variable
	reason  []int32   // by variable: the clause that forced it, or -1
	phase   []bool    // by variable: its last value
	liked   []bool    // by variable: its value at first
	trail   []lit
	limits  []int // where each level starts in the trail
	head    int   // of the trail: what is not propagated yet
	order   heap
	bump    uint64
	seen    []bool // scratch of analyse
	broken  bool   // the clauses contradict each other
	steps   int64  // what is left of the budget
}

type watch struct {
	clause  int32
	blocker lit // another literal of it: true means that the clause holds
}

func newSolver(budget int64) *solver {
	s := &solver{bump: 1, steps: budget}
	s.order.activity = nil
	s.fresh()
	s.clause(yes)
	return s
}

// fresh is a new variable.
func (s *solver) fresh() lit {
	v := len(s.level)
	s.watches = append(s.watches, nil, nil)
	s.value = append(s.value, 0, 0)
	s.level = append(s.level, 0)
	s.reason = append(s.reason, -1)
	s.phase = append(s.phase, false)
	s.liked = append(s.liked, false)
	s.seen = append(s.seen, false)
	s.order.add(v)
	return lit(v << 1)
}

// clause demands that one of the literals is true.
func (s *solver) clause(lits ...lit) {
	s.back(0)
	s.steps -= int64(len(lits))
	if s.broken {
		return
	}
	c := slices.Clone(lits)
	slices.Sort(c)
	c = slices.Compact(c)
	kept := c[:0]
	for i, l := range c {
		if s.value[l] > 0 || i > 0 && c[i-1] == l.not() && l.negated() {
			return // holds always
		}
		if s.value[l] == 0 {
			kept = append(kept, l)
		}
	}
	switch len(kept) {
	case 0:
		s.broken = true
	case 1:
		s.set(kept[0], -1)
		s.broken = s.propagate() >= 0
	default:
		s.attach(kept)
	}
}

func (s *solver) attach(c []lit) int32 {
	i := int32(len(s.clauses))
	s.clauses = append(s.clauses, c)
	s.watches[c[0]] = append(s.watches[c[0]], watch{i, c[1]})
	s.watches[c[1]] = append(s.watches[c[1]], watch{i, c[0]})
	return i
}

func (s *solver) set(l lit, reason int32) {
	s.value[l], s.value[l.not()] = 1, -1
	v := l.variable()
	s.level[v], s.reason[v], s.phase[v] = int32(len(s.limits)), reason, !l.negated()
	s.trail = append(s.trail, l)
}

// back undoes everything above a level.
func (s *solver) back(level int) {
	if len(s.limits) <= level {
		return
	}
	for i := len(s.trail) - 1; i >= s.limits[level]; i-- {
		l := s.trail[i]
		s.value[l], s.value[l.not()] = 0, 0
		s.order.insert(l.variable())
	}
	s.trail = s.trail[:s.limits[level]]
	s.limits = s.limits[:level]
	s.head = len(s.trail)
}

// propagate draws the conclusions of the trail. It returns the clause that cannot
// hold any more, or -1.
func (s *solver) propagate() int32 {
	for s.head < len(s.trail) {
		l := s.trail[s.head].not() // has become false
		s.head++
		list := s.watches[l]
		kept := list[:0]
		for n, w := range list {
			s.steps--
			if s.value[w.blocker] > 0 {
				kept = append(kept, w)
				continue
			}
			c := s.clauses[w.clause]
			if c[0] == l {
				c[0], c[1] = c[1], c[0]
			}
			if s.value[c[0]] > 0 {
				kept = append(kept, watch{w.clause, c[0]})
				continue
			}
			if s.rewatch(w.clause, c) {
				continue
			}
			kept = append(kept, watch{w.clause, c[0]})
			if s.value[c[0]] < 0 {
				s.watches[l] = append(kept, list[n+1:]...)
				s.head = len(s.trail)
				return w.clause
			}
			s.set(c[0], w.clause)
		}
		s.watches[l] = kept
	}
	return -1
}

// rewatch finds another literal than the false c[1] to watch.
func (s *solver) rewatch(i int32, c []lit) bool {
	for k := 2; k < len(c); k++ {
		if s.value[c[k]] >= 0 {
			c[1], c[k] = c[k], c[1]
			s.watches[c[1]] = append(s.watches[c[1]], watch{i, c[0]})
			return true
		}
	}
	return false
}

// analyse learns from a conflict: a clause that the others imply, whose first
// literal it forces at the level that is returned.
func (s *solver) analyse(conflict int32) (learnt []lit, level int) {
	learnt = []lit{0}
	open, at := 0, len(s.trail)-1
	c, skip := s.clauses[conflict], lit(-1)
	for {
		for _, l := range c {
			v := l.variable()
			if l == skip || s.seen[v] || s.level[v] == 0 {
				continue
			}
			s.steps--
			s.seen[v] = true
			s.raise(v)
			if int(s.level[v]) == len(s.limits) {
				open++
			} else {
				learnt = append(learnt, l)
			}
		}
		for !s.seen[s.trail[at].variable()] {
			at--
		}
		skip = s.trail[at]
		at--
		s.seen[skip.variable()] = false
		if open--; open == 0 {
			break
		}
		c = s.clauses[s.reason[skip.variable()]]
	}
	learnt[0] = skip.not()
	for _, l := range learnt[1:] {
		s.seen[l.variable()] = false
	}
	if len(learnt) > 1 { // the second literal is of the highest level left
		k := 1
		for i := range learnt {
			if i > 1 && s.level[learnt[i].variable()] > s.level[learnt[k].variable()] {
				k = i
			}
		}
		learnt[1], learnt[k] = learnt[k], learnt[1]
		level = int(s.level[learnt[1].variable()])
	}
	s.bump += s.bump>>4 + 1
	return learnt, level
}

// raise makes a variable that took part in a conflict more likely to be decided.
func (s *solver) raise(v int) {
	const most = 1 << 60
	if s.order.activity[v] += s.bump; s.order.activity[v] > most {
		for i := range s.order.activity {
			s.order.activity[i] >>= 40
		}
		s.bump = s.bump>>40 + 1
	}
	s.order.up(v)
}

// solve searches a model in which the assumptions hold. After sat, holds tells the
// model until the next clause or solve.
func (s *solver) solve(assume ...lit) answer {
	s.back(0)
	if s.broken {
		return unsat
	}
	for restart := 1; ; restart++ {
		if out, done := s.search(assume, 64*luby(restart)); done {
			return out
		}
		s.back(0)
	}
}

func (s *solver) search(assume []lit, conflicts int) (answer, bool) {
	for {
		if c := s.propagate(); c >= 0 {
			if len(s.limits) == 0 {
				s.broken = true
				return unsat, true
			}
			learnt, level := s.analyse(c)
			s.back(level)
			if len(learnt) == 1 {
				s.set(learnt[0], -1)
			} else {
				s.set(learnt[0], s.attach(learnt))
			}
			conflicts--
			continue
		}
		if s.steps <= 0 {
			return exhausted, true
		}
		if conflicts <= 0 {
			return exhausted, false
		}
		next, out, done := s.decide(assume)
		if done {
			return out, true
		}
		s.limits = append(s.limits, len(s.trail))
		if s.value[next] == 0 {
			s.set(next, -1)
		}
	}
}

// decide chooses what to try next: the assumptions first, each at a level of its own.
func (s *solver) decide(assume []lit) (next lit, out answer, done bool) {
	if len(s.limits) < len(assume) {
		next = assume[len(s.limits)]
		return next, unsat, s.value[next] < 0
	}
	for len(s.order.heap) > 0 {
		v := s.order.pop()
		if l := lit(v << 1); s.value[l] == 0 {
			if !s.phase[v] {
				l = l.not()
			}
			return l, 0, false
		}
	}
	return 0, sat, true
}

// holds tells the value of a literal in the model.
func (s *solver) holds(l lit) bool { return s.value[l] > 0 }

// prefer makes a literal true where nothing forces it.
func (s *solver) prefer(l lit) lit {
	s.liked[l.variable()], s.phase[l.variable()] = !l.negated(), !l.negated()
	return l
}

// forget returns to the preferences, so that the next model is as plain as the
// first.
func (s *solver) forget() { copy(s.phase, s.liked) }

// luby is 1, 1, 2, 1, 1, 2, 4, …
func luby(i int) int {
	for k := 1; ; k++ {
		if i == 1<<k-1 {
			return 1 << (k - 1)
		}
		if i < 1<<k-1 {
			return luby(i - (1<<(k-1) - 1))
		}
	}
}

// heap is the variables that are open, the most active first, then the oldest.
type heap struct {
	heap     []int
	place    []int // by variable: where it is in heap, or -1
	activity []uint64
}

func (h *heap) before(a, b int) bool {
	if h.activity[a] != h.activity[b] {
		return h.activity[a] > h.activity[b]
	}
	return a < b
}

func (h *heap) add(v int) {
	h.activity = append(h.activity, 0)
	h.place = append(h.place, -1)
	h.insert(v)
}

func (h *heap) insert(v int) {
	if h.place[v] < 0 {
		h.place[v] = len(h.heap)
		h.heap = append(h.heap, v)
		h.up(v)
	}
}

func (h *heap) up(v int) {
	i := h.place[v]
	if i < 0 {
		return
	}
	for i > 0 && h.before(v, h.heap[(i-1)/2]) {
		h.put(i, h.heap[(i-1)/2])
		i = (i - 1) / 2
	}
	h.put(i, v)
}

func (h *heap) put(i, v int) { h.heap[i], h.place[v] = v, i }

func (h *heap) pop() int {
	top, last := h.heap[0], h.heap[len(h.heap)-1]
	h.heap = h.heap[:len(h.heap)-1]
	h.place[top] = -1
	if top == last {
		return top
	}
	i := 0
	for {
		k := 2*i + 1
		if k >= len(h.heap) {
			break
		}
		if k+1 < len(h.heap) && h.before(h.heap[k+1], h.heap[k]) {
			k++
		}
		if !h.before(h.heap[k], last) {
			break
		}
		h.put(i, h.heap[k])
		i = k
	}
	h.put(i, last)
	return top
}
