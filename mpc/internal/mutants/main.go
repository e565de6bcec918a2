// Command mutants takes the consistency checks out of mpc/ one at a time and
// demands that a test fails for each (`make mutants`). mutants.txt lists them:
// the check, its text in the source, what it is replaced by, and the tests that
// guard it. docs/crypto-review.md shows the same list to readers.
//
// A mutant that does not compile, whose text is not found exactly once, or whose
// tests do not end is an error: it shows nothing. The tests have to pass without
// any mutant first. No file of the tree is changed.
//
// It shows that each listed check is guarded by a test, not that the list is
// complete, nor that the checks suffice.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed mutants.txt
var list []byte

func main() {
	only := flag.String("run", "", "only the mutants whose ids match this expression")
	workers := flag.Int("p", 2, "how many mutants at a time")
	review := flag.Bool("review", false, "write the tables of docs/crypto-review.md instead")
	verbose := flag.Bool("v", false, "print the killed ones too")
	flag.Parse()
	ok, err := run(*only, *workers, *review, *verbose)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: mutants: %v\n", err)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(only string, workers int, review, verbose bool) (bool, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	all, err := parse(list)
	if err != nil {
		return false, fmt.Errorf("mutants.txt: %w", err)
	}
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return false, fmt.Errorf("couldn't find the module: %w", err)
	}
	r := &runner{root: filepath.Dir(strings.TrimSpace(string(mod)))}
	if review {
		return true, writeReview(r.root, all)
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !pattern.MatchString(m.id) })
	if r.tmp, err = os.MkdirTemp("", "coffer-mutants"); err != nil {
		return false, err
	}
	defer os.RemoveAll(r.tmp)
	killed, errs := r.all(all, workers, verbose)
	fmt.Printf("mutants: %d of %d killed\n", killed, len(all))
	return killed == len(all) && errs == 0 && killed > 0, nil
}

// all runs the baselines and then the mutants, several at a time, and prints
// what is not as it must be.
func (r *runner) all(mutants []mutant, workers int, verbose bool) (killed, errs int) {
	var mu sync.Mutex // guards the counts and the output
	each(workers, byPackage(mutants), func(t tests) {
		if err := r.baseline(t); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs++
			fmt.Printf("mutants: ERROR %v\n", err)
		}
	})
	if errs > 0 {
		return 0, errs
	}
	each(workers, mutants, func(m mutant) {
		o := r.try(&m)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case o.err != nil:
			errs++
			fmt.Printf("mutants: ERROR %s (line %d): %v\n", m.id, m.line, o.err)
		case o.killed:
			killed++
			if verbose {
				fmt.Printf("mutants: killed %s by %s\n", m.id, o.by)
			}
		default:
			fmt.Printf("mutants: SURVIVED %s (line %d): %s\n", m.id, m.line, m.check)
		}
	})
	return killed, errs
}

// each calls f for every item, several at a time, and waits for all.
func each[T any](workers int, items []T, f func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range max(1, workers) {
		wg.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}
