// Command cmd runs the simulation: make sim SEEDS=1-1000, make sim SEED=7.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/cofferhq/coffer/internal/sim"
)

func main() {
	seeds := flag.String("seeds", "1-100", "range of seeds, FIRST-LAST")
	seed := flag.Uint64("seed", 0, "replay one seed and print its trace")
	first1 := flag.Bool("first", false, "stop at the first violation")
	flag.Parse()
	if *seed != 0 {
		os.Exit(replay(*seed))
	}
	first, last, err := parseRange(*seeds)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\nhint:  -seeds 1-1000\n", err)
		os.Exit(2)
	}
	os.Exit(many(first, last, *first1))
}

func parseRange(s string) (first, last uint64, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		b = a
	}
	if first, err = strconv.ParseUint(a, 10, 32); err == nil {
		last, err = strconv.ParseUint(b, 10, 32)
	}
	if err != nil || first == 0 || last < first {
		return 0, 0, fmt.Errorf("seeds %q: want FIRST-LAST, from 1 up", s)
	}
	return first, last, nil
}

func replay(seed uint64) int {
	r, err := sim.Replay(seed, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	fmt.Printf("sim: seed %d, %d events, %d signatures, trace %x, %d violations\n", seed, r.Events, r.Signatures, r.Trace[:16], len(r.Violations))
	return min(1, len(r.Violations))
}

func many(first, last uint64, stopAtFirst bool) int {
	next := make(chan uint64)
	found := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(next)
		for s := first; s <= last; s++ {
			select {
			case next <- s:
			case <-found:
				return
			}
		}
	}()
	var mu sync.Mutex // guards what follows
	var total sim.Result
	var seeds uint64
	violations, failed := 0, 0
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for s := range next {
				r, err := sim.Simulate(s, nil)
				mu.Lock()
				seeds++
				if err != nil {
					failed++
					fmt.Printf("seed %d: %v\n", s, err)
				} else {
					total.Events += r.Events
					total.Signatures += r.Signatures
					total.Refusals += r.Refusals
					total.Crashes += r.Crashes
					total.Halted += r.Halted
					total.Epochs += r.Epochs
					total.Lies += r.Lies
					total.Restores += r.Restores
					total.Resumed += r.Resumed
					violations += len(r.Violations)
					if stopAtFirst && len(r.Violations) > 0 {
						once.Do(func() { close(found) })
					}
					for _, v := range r.Violations {
						fmt.Printf("seed %d: %s\n", s, v)
					}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	fmt.Printf("sim: %d events, %d crashes, %d signatures, %d refusals, %d epochs of keys, %d liars caught, %d wrong shares found, %d disks put back, %d vaults resumed\n", total.Events, total.Crashes, total.Signatures, total.Refusals, total.Epochs, total.Halted, total.Lies, total.Restores, total.Resumed)
	fmt.Printf("sim: %d seeds, %d violations\n", seeds, violations+failed)
	return min(1, violations+failed)
}
