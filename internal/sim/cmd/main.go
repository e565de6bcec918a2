// Command cmd runs the simulation: make sim SEEDS=1-1000, make sim SEED=7. Its worlds
// are signing, limits, governance and money; -world names one of them. Of money, which is
// as long as the others together, every fourth seed runs unless it is named.
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

var worlds = sim.Worlds[:0:0]

func main() {
	seeds := flag.String("seeds", "1-100", "range of seeds, FIRST-LAST")
	seed := flag.Uint64("seed", 0, "replay one seed and print its trace")
	every := map[string]uint64{"money": 4}
	first1 := flag.Bool("first", false, "stop at the first violation")
	world := flag.String("world", "", "only this of the worlds; empty: all of them")
	flag.Parse()
	for _, w := range sim.Worlds {
		if *world == "" || *world == w.Name {
			worlds = append(worlds, w)
		}
	}
	if len(worlds) == 0 {
		fmt.Fprintf(os.Stderr, "error: there is no world %q\n", *world)
		os.Exit(2)
	}
	if *seed != 0 {
		os.Exit(replay(*seed))
	}
	first, last, err := parseRange(*seeds)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\nhint:  -seeds 1-1000\n", err)
		os.Exit(2)
	}
	if *world != "" {
		every = nil
	}
	os.Exit(many(first, last, *first1, every))
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
	bad := 0
	for _, w := range worlds {
		r, err := sim.Replay(w.Run, seed, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: %s: %v\n", w.Name, err)
			return 1
		}
		fmt.Printf("sim: %s, seed %d, %d events, %d signatures, trace %x, %d violations\n", w.Name, seed, r.Events, r.Signatures, r.Trace[:16], len(r.Violations))
		bad += len(r.Violations)
	}
	return min(1, bad)
}

func many(first, last uint64, stopAtFirst bool, every map[string]uint64) int {
	type run struct {
		seed  uint64
		world int
	}
	next := make(chan run)
	found := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(next)
		for s := first; s <= last; s++ {
			for w := range worlds {
				if n := every[worlds[w].Name]; n > 0 && s%n != 0 {
					continue
				}
				select {
				case next <- run{s, w}:
				case <-found:
					return
				}
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
			for n := range next {
				w, s := worlds[n.world], n.seed
				r, err := w.Run(s, nil)
				mu.Lock()
				if n.world == 0 {
					seeds++
				}
				if err != nil {
					failed++
					fmt.Printf("%s, seed %d: %v\n", w.Name, s, err)
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
					total.CameBack += r.CameBack
					total.Overspent += r.Overspent
					total.Suspected += r.Suspected
					total.Forks += r.Forks
					total.Frozen += r.Frozen
					violations += len(r.Violations)
					if stopAtFirst && len(r.Violations) > 0 {
						once.Do(func() { close(found) })
					}
					for _, v := range r.Violations {
						fmt.Printf("%s, seed %d: %s\n", w.Name, s, v)
					}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	fmt.Printf("sim: %d events, %d crashes, %d signatures, %d refusals, %d epochs of keys, %d liars caught, %d wrong shares found, %d disks put back, %d vaults resumed\n", total.Events, total.Crashes, total.Signatures, total.Refusals, total.Epochs, total.Halted, total.Lies, total.Restores, total.Resumed)
	fmt.Printf("sim: %d allowances came back, %d runs overspent by a liar beyond the keys' faults (%d of them suspected only), %d forks proven, %d refusals by freezes\n", total.CameBack, total.Overspent, total.Suspected, total.Forks, total.Frozen)
	fmt.Printf("sim: %d seeds, %d violations\n", seeds, violations+failed)
	return min(1, violations+failed)
}
