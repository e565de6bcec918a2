package analysis

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSolverAgainstEnumeration compares with trying every assignment, with and
// without assumptions, on one solver that is used again.
func TestSolverAgainstEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "variables")
		s := newSolver(1 << 30)
		var vars []lit
		for range n {
			vars = append(vars, s.fresh())
		}
		literal := rapid.Custom(func(t *rapid.T) lit {
			return vars[rapid.IntRange(0, n-1).Draw(t, "v")] ^ lit(rapid.IntRange(0, 1).Draw(t, "sign"))
		})
		clauses := rapid.SliceOfN(rapid.SliceOfN(literal, 1, 3), 0, 40).Draw(t, "clauses")
		for _, c := range clauses {
			s.clause(c...)
		}
		for range 3 {
			assume := rapid.SliceOfN(literal, 0, 3).Draw(t, "assume")
			want := false
			for m := range 1 << n {
				holds := func(l lit) bool { return m>>(l.variable()-1)&1 == 1 != l.negated() }
				ok := true
				for _, c := range clauses {
					some := false
					for _, l := range c {
						some = some || holds(l)
					}
					ok = ok && some
				}
				for _, l := range assume {
					ok = ok && holds(l)
				}
				want = want || ok
			}
			got := s.solve(assume...)
			if got == exhausted || (got == sat) != want {
				t.Fatalf("solve(%v) of %v: %v, satisfiable: %v", assume, clauses, got, want)
			}
			if got != sat {
				continue
			}
			for _, c := range append(clauses, nil) {
				some := c == nil
				for _, l := range c {
					some = some || s.holds(l)
				}
				if !some {
					t.Fatalf("the model breaks %v", c)
				}
			}
			for _, l := range assume {
				if !s.holds(l) {
					t.Fatalf("the model breaks the assumption %d", l)
				}
			}
		}
	})
}

// TestSolverHard proves that seven pigeons do not fit into six holes, and stops
// where the budget ends.
func TestSolverHard(t *testing.T) {
	build := func(budget int64) *circuit {
		c := newCircuit(budget)
		var at [7][6]lit
		for p := range at {
			for h := range at[p] {
				at[p][h] = c.fresh()
			}
			c.clause(at[p][:]...)
		}
		for h := range 6 {
			for p := range at {
				for q := range p {
					c.clause(at[p][h].not(), at[q][h].not())
				}
			}
		}
		return c
	}
	if got := build(1 << 40).solve(); got != unsat {
		t.Errorf("pigeons fit: %d", got)
	}
	if got := build(2000).solve(); got != exhausted {
		t.Errorf("with a small budget: %d", got)
	}
}

func TestCircuitOneOf(t *testing.T) {
	for n := range 12 {
		c := newCircuit(1 << 30)
		var ls []lit
		for range n + 1 {
			ls = append(ls, c.fresh())
		}
		c.oneOf(ls)
		for i, l := range ls {
			if c.solve(l) != sat {
				t.Fatalf("%d of %d cannot be the one", i, n+1)
			}
			for k := range i {
				if c.solve(l, ls[k]) != unsat {
					t.Fatalf("%d and %d of %d can both be", i, k, n+1)
				}
			}
		}
	}
}
