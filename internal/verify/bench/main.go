// Command bench measures logs (docs/benchmarks.md): how long the verification of a
// million entries takes, how many appends a second a disk takes in groups, and the
// fsync under them.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/internal/verify/logmaker"
)

func main() {
	whole := flag.Bool("whole", false, "make and verify the million entries, instead of two shorter logs from whose difference they follow")
	dir := flag.String("dir", "", "folder for the logs (default: a temporary one)")
	verbose := flag.Bool("v", false, "print more than the figures")
	flag.Parse()
	if err := run(*dir, *whole, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

const million = 1_000_000

// The logs that are measured unless a whole one is asked for: what an entry costs is
// their difference, so that what a verification costs by itself is not multiplied.
const (
	shorter = 40_000
	longer  = 120_000
)

func run(dir string, whole, verbose bool) error {
	tmp, err := os.MkdirTemp(dir, "coffer-log-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	m, err := logmaker.New()
	if err != nil {
		return err
	}
	if err := appends(m, tmp); err != nil {
		return err
	}
	var took float64
	if whole {
		took, err = verified(m, tmp, million, 1, verbose)
	} else {
		var a, b float64
		if a, err = verified(m, tmp, shorter, 2, verbose); err == nil {
			b, err = verified(m, tmp, longer, 2, verbose)
		}
		took = a + (b-a)/(longer-shorter)*(million-shorter)
	}
	if err != nil {
		return err
	}
	fmt.Printf("bench: log-verify-1m %.1f s\n", took)
	return nil
}

// verified makes a log and verifies it, in seconds: the least of some runs.
func verified(m *logmaker.Maker, dir string, entries, runs int, verbose bool) (float64, error) {
	log := filepath.Join(dir, fmt.Sprint(entries))
	defer os.RemoveAll(log)
	began := time.Now()
	if err := m.Write(log, entries); err != nil {
		return 0, err
	}
	made, least := time.Since(began), math.Inf(1)
	for range runs {
		began := time.Now()
		r := verify.Alone(m.Genesis(), log, family.Codecs())
		least = min(least, time.Since(began).Seconds())
		if !r.OK {
			return 0, fmt.Errorf("the log does not verify: %v", r.Faults[0])
		}
		if verbose {
			var u syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // 0 will tell
			fmt.Printf("made in %v, verified in %v: %+v; at most %d MB of memory; %d processors\n", made, time.Since(began), r.Counts, u.Maxrss/1024, runtime.GOMAXPROCS(0))
		}
	}
	return least, nil
}

// appends writes groups of entries, each durable before the next: into the tree, one
// write, one fsync.
func appends(m *logmaker.Maker, dir string) error {
	const groups = 256
	var all [][][]byte
	for n := range uint64(groups) {
		es, err := m.Entries(n)
		if err != nil {
			return err
		}
		all = append(all, es)
	}
	l, err := logfile.Create(filepath.Join(dir, "appended"), logfile.Header{Cluster: m.Genesis(), Vault: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	tree, entries := new(audit.Log), 0
	began := time.Now()
	for _, es := range all {
		for _, e := range es {
			tree.Append(e)
		}
		if err := l.Append(es); err != nil {
			return err
		}
		entries += len(es)
	}
	took := time.Since(began)
	p50, err := fsyncs(dir)
	if err != nil {
		return err
	}
	fmt.Printf("bench: log-append %.0f per_s\n", float64(entries)/took.Seconds())
	fmt.Printf("bench: fsync-p50 %.3f ms\n", p50.Seconds()*1000)
	return nil
}

// fsyncs is the median of appending 4 KiB to a file and making that durable.
func fsyncs(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var times []time.Duration
	b := make([]byte, 4096)
	for range 201 {
		began := time.Now()
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
