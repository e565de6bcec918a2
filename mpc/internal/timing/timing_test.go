package main

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// t of two small samples, worked out by hand: means 2 and 5, variances 1 and 1.
func TestWelch(t *testing.T) {
	var low, high []float64
	for range 20 {
		low = append(low, 1, 2, 3)
		high = append(high, 4, 5, 6)
	}
	// s² = 40/59 each, n = 60: t = −3 / √(2·40/59/60)
	want := -3 / math.Sqrt(2*40.0/59/60)
	if got := welch([2][]float64{low, high}, 6); math.Abs(got-want) > 1e-9 {
		t.Errorf("t = %v, want %v", got, want)
	}
	if got := welch([2][]float64{low, high}, 3); got != 0 {
		t.Errorf("t of a class without samples is %v, want 0", got)
	}
	same := make([]float64, 50)
	if got := welch([2][]float64{same, same}, 1); got != 0 {
		t.Errorf("t of equal constants is %v, want 0", got)
	}
}

// A shift of half a percent is found under rare and huge outliers; none is made up.
func TestStatistic(t *testing.T) {
	noise := func(shift float64) []float64 {
		r := rand.New(rand.NewPCG(uint64(shift), 2))
		out := make([]float64, 20000)
		for i := range out {
			out[i] = 1000 + 10*r.NormFloat64() + shift
			if r.IntN(50) == 0 {
				out[i] += 1e6 * r.Float64()
			}
		}
		return out
	}
	if x := statistic([2][]float64{noise(0), noise(5)}); math.Abs(x) < limit {
		t.Errorf("t = %.2f for a shift of 5 in 1000, want at least %d", x, limit)
	}
	if x := statistic([2][]float64{noise(0), noise(1e-9)}); math.Abs(x) >= limit {
		t.Errorf("t = %.2f for no shift", x)
	}
}

// spin is a subject that does work, more of it for class 1 when it leaks.
func spin(name string, more int) subject {
	return subject{name: name, samples: 400, open: func() (func(int, int), func(), error) {
		class, x := 0, uint64(1)
		return func(c, _ int) { class = c }, func() {
			for range 2000 + more*class {
				x = x*6364136223846793005 + 1
			}
			sink += int(x & 1)
		}, nil
	}}
}

// The report fails when a subject leaks, when a control is not found, and when
// something cannot run.
func TestReport(t *testing.T) {
	still, leak := spin("still", 0), spin("leak", 20000)
	broken := subject{name: "broken", samples: 1, open: func() (func(int, int), func(), error) {
		return nil, nil, errors.New("no inputs")
	}}
	for _, c := range []struct {
		name               string
		subjects, controls []subject
		ok                 bool
		want               string
	}{
		{"all well", []subject{still}, []subject{leak}, true, "timing: still |t| < 10 ok"},
		{"control found", nil, []subject{leak}, true, "timing: leak |t| ≥ 10 found"},
		{"leak", []subject{leak}, nil, false, "timing: leak |t| ≥ 10 LEAK"},
		{"blind", nil, []subject{still}, false, "timing: still NOT FOUND"},
		{"subject broken", []subject{broken}, nil, false, "timing: broken failed: no inputs"},
		{"control broken", nil, []subject{broken}, false, "timing: broken NOT FOUND"},
	} {
		var out strings.Builder
		if ok := report(&out, 1, c.subjects, c.controls); ok != c.ok || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v, want %v and %q:\n%s", c.name, ok, c.ok, c.want, out.String())
		}
	}
}

// Every subject and control has inputs for all its variants and runs; names are
// used once.
func TestSubjectsRun(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range append(subjects(), controls()...) {
		if seen[s.name] || s.name == "" || strings.ContainsAny(s.name, " \n") {
			t.Errorf("name %q is empty, spaced or used twice", s.name)
		}
		seen[s.name] = true
		prepare, run, err := s.open()
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		for class := range 2 {
			prepare(class, variants-1)
			run()
		}
	}
	if len(seen) < 15 {
		t.Errorf("%d subjects and controls, want at least 15", len(seen))
	}
	if !seen["planted-leak"] {
		t.Error("no planted leak")
	}
	if report(io.Discard, 1, nil, nil) != true {
		t.Error("nothing to report is not well")
	}
}
