package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	inFile = regexp.MustCompile(`([a-z0-9_/]+_test\.go)((?:,? \x60Test\w+\x60)+)`)
	named  = regexp.MustCompile(`\x60(Test\w+)\x60`)
	rowOf  = regexp.MustCompile(`^\| ([0-9]+) \|`)
	idOf   = regexp.MustCompile(`^\| \x60([a-z0-9-]+)\x60 \|`)
)

// The review says what is true: each of the 52 pitfalls has a test, each test it
// names exists in the file it names, and its checks are the mutants of the list.
func TestReview(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(reviewPage)))
	if err != nil {
		t.Fatal(err)
	}
	found, err := testsOf(root)
	if err != nil {
		t.Fatal(err)
	}
	everywhere := make(map[string]bool)
	for _, names := range found {
		for _, name := range names {
			everywhere[name] = true
		}
	}
	rows := make(map[int]int)
	ids := make(map[string]bool)
	for i, line := range strings.Split(string(b), "\n") {
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			if !everywhere[m[1]] {
				t.Errorf("line %d: there is no test %s", i+1, m[1])
			}
		}
		if m := idOf.FindStringSubmatch(line); m != nil {
			ids[m[1]] = true
		}
		m := rowOf.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		for _, f := range inFile.FindAllStringSubmatch(line, -1) {
			for _, name := range named.FindAllStringSubmatch(f[2], -1) {
				rows[n]++
				if !slices.Contains(found[f[1]], name[1]) {
					t.Errorf("line %d: pitfall %d: %s has no test %s; go run ./mpc/internal/mutants -review", i+1, n, f[1], name[1])
				}
			}
		}
	}
	for n := 1; n <= 52; n++ {
		if rows[n] == 0 {
			t.Errorf("pitfall %d has no test", n)
		}
	}
	all, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if !ids[m.id] {
			t.Errorf("the review does not show the mutant %s; go run ./mpc/internal/mutants -review", m.id)
		}
		delete(ids, m.id)
	}
	for id := range ids {
		t.Errorf("the review shows a check %s that is not in the list of mutants", id)
	}
}

func TestPitfallListIsWhole(t *testing.T) {
	all, err := parsePitfalls(pitfallList)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 52 {
		t.Errorf("%d pitfalls, want 52", len(all))
	}
	table := pitfallTable(all[2:3], map[string][]string{"a/b_test.go": {"TestPitfall03_X", "TestPitfall30_Y", "TestOrderOfWork"}, "c_test.go": {"TestZ"}})
	if !strings.Contains(table, "| 3 | ban by split view | a/b_test.go `TestPitfall03_X`, `TestOrderOfWork` |  |\n") {
		t.Errorf("the table is\n%s", table)
	}
	if _, err := between([]byte("no marks"), "checks", ""); err == nil {
		t.Error("a page without marks was written")
	}
}
