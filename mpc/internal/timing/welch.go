package main

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// limit is the |t| from which a dependence on the secret counts as shown. dudect
// calls 4.5 suspicious and 10 certain; this runs on machines that others use.
const limit = 10

// percentiles are the thresholds above which samples are dropped, each a test of
// its own: interrupts hide what a few nanoseconds would show.
var percentiles = []float64{0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1}

// maxRuns is how often a subject is measured before it is called a leak. What
// leaks leaks in every run; noise does not.
const maxRuns = 6

// subject is a function of a secret whose time must not depend on it.
type subject struct {
	name    string
	secret  string // what differs between the classes
	samples int    // a run
	// open makes the subject's inputs. prepare is called before each sample, out
	// of the measurement, with the class (0: fixed, 1: random) and which of the
	// class's inputs is next; run is measured.
	open func() (prepare func(class, variant int), run func(), err error)
}

// variants is how many inputs each class has. Each is a copy of its own, so that
// caches do not tell the fixed class apart.
const variants = 64

// sample measures run n times, the classes in random order.
func sample(n int, order *rand.Rand, prepare func(class, variant int), run func()) (times [2][]float64) {
	for c := range times {
		times[c] = make([]float64, 0, n)
	}
	for i := range n {
		if i%512 == 0 {
			runtime.GC() // the collector is off while we measure
		}
		class, variant := order.IntN(2), order.IntN(variants)
		prepare(class, variant)
		start := time.Now()
		run()
		times[class] = append(times[class], float64(time.Since(start)))
	}
	return times
}

// statistic is the t of greatest magnitude over all percentiles.
func statistic(times [2][]float64) float64 {
	all := slices.Sorted(slices.Values(slices.Concat(times[0], times[1])))
	worst := 0.0
	for _, p := range percentiles {
		cut := all[min(len(all)-1, int(p*float64(len(all))))]
		if t := welch(times, cut); math.Abs(t) > math.Abs(worst) {
			worst = t
		}
	}
	return worst
}

// welch is Welch's t of the samples up to cut; 0 when a class has too few.
func welch(times [2][]float64, cut float64) float64 {
	var n, mean, m2 [2]float64
	for c := range times {
		for _, x := range times[c] {
			if x > cut {
				continue
			}
			n[c]++
			d := x - mean[c]
			mean[c] += d / n[c]
			m2[c] += d * (x - mean[c])
		}
		if n[c] < 30 {
			return 0
		}
	}
	v := m2[0]/(n[0]-1)/n[0] + m2[1]/(n[1]-1)/n[1]
	d := mean[0] - mean[1]
	switch {
	case v > 0:
		return d / math.Sqrt(v)
	case d == 0:
		return 0
	}
	return math.Copysign(math.Inf(1), d)
}

// least is the t of least magnitude of several runs; it stops at the first run
// that shows nothing.
func least(s *subject, scale float64, seed uint64) (t float64, runs int, err error) {
	prepare, run, err := s.open()
	if err != nil {
		return 0, 0, err
	}
	n := max(200, int(scale*float64(s.samples)))
	order := rand.New(rand.NewPCG(seed, 1))
	sample(n/20+variants, order, prepare, run) // tables and caches are warm
	for runs = 1; ; runs++ {
		x := statistic(sample(n, order, prepare, run))
		if runs == 1 || math.Abs(x) < math.Abs(t) {
			t = x
		}
		if math.Abs(t) < 4.5 || runs == maxRuns {
			return t, runs, nil
		}
	}
}
