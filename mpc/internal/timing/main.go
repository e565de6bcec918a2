// Command timing is a statistical test of constant time in the manner of dudect
// (eprint 2016/1123): one secret that is fixed against secrets that are random,
// in random order, Welch's t over the times, with the slowest samples cut off at
// several percentiles. `make timing` runs it.
//
// It finds a dependence that is larger than this machine's noise and says
// nothing about smaller ones, about caches that another process watches, or
// about another processor. A planted leak has to be found, in the same way, or
// the whole run counts for nothing. docs/crypto-review.md says what follows from
// it.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
)

func main() {
	scale := flag.Float64("scale", 1, "multiply every number of samples")
	only := flag.String("run", "", "only the subjects whose names match this expression, and the controls")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: -run: %v\n", err)
		os.Exit(2)
	}
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	chosen := slices.DeleteFunc(subjects(), func(s subject) bool { return !pattern.MatchString(s.name) })
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "error: no subject matches %q\n", *only)
		os.Exit(2)
	}
	if !report(os.Stdout, *scale, chosen, controls()) {
		os.Exit(1)
	}
}

// report measures everything, a line each, and says whether all is as it must be:
// no subject leaks, and every control does.
func report(w io.Writer, scale float64, subjects, controls []subject) bool {
	ok := true
	for _, s := range subjects {
		t, runs, err := least(&s, scale, rand.Uint64())
		switch {
		case err != nil:
			fmt.Fprintf(w, "timing: %s failed: %v\n", s.name, err)
			ok = false
		case math.Abs(t) >= limit:
			fmt.Fprintf(w, "timing: %s |t| ≥ %d LEAK (t = %.2f, secret: %s, the least of %d runs of %d)\n", s.name, limit, t, s.secret, runs, s.samples)
			ok = false
		default:
			fmt.Fprintf(w, "timing: %s |t| < %d ok (t = %.2f, secret: %s, runs: %d of %d)\n", s.name, limit, t, s.secret, runs, s.samples)
		}
	}
	for _, s := range controls {
		t, runs, err := least(&s, scale, rand.Uint64())
		if err == nil && math.Abs(t) >= limit {
			fmt.Fprintf(w, "timing: %s |t| ≥ %d found (t = %.2f, secret: %s, the least of %d runs of %d)\n", s.name, limit, t, s.secret, runs, s.samples)
			continue
		}
		fmt.Fprintf(w, "timing: %s NOT FOUND (t = %.2f, error %v): the measurement is blind, what it says above means nothing\n", s.name, t, err)
		ok = false
	}
	runtime.KeepAlive(sink)
	return ok
}
