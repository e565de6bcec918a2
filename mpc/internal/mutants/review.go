package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pitfalls is the list of PROTOCOLS §7: number, pitfall, a remark, and tests that
// guard it without bearing its number.
//
//go:embed pitfalls.txt
var pitfallList []byte

// reviewPage holds two tables that -review writes: the pitfalls with their tests
// and the checks with their mutants.
const reviewPage = "docs/crypto-review.md"

// pitfall is one of them.
type pitfall struct {
	number       int
	name, remark string
	also         []string // tests without the number
}

func parsePitfalls(list []byte) ([]pitfall, error) {
	var out []pitfall
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 4 {
			return nil, fmt.Errorf("%q: want number | pitfall | remark | tests", line)
		}
		n, err := strconv.Atoi(strings.TrimSpace(f[0]))
		if err != nil || n != len(out)+1 {
			return nil, fmt.Errorf("%q: want number %d", line, len(out)+1)
		}
		out = append(out, pitfall{n, strings.TrimSpace(f[1]), strings.TrimSpace(f[2]), strings.Fields(f[3])})
	}
	return out, nil
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOf finds every test of the tree: names by file.
func testsOf(root string) (map[string][]string, error) {
	out := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllSubmatch(src, -1) {
			file := filepath.ToSlash(rel)
			out[file] = append(out[file], string(m[1]))
		}
		return nil
	})
	return out, err
}

// pitfallTable is the table of the 52 pitfalls with the tests there are.
func pitfallTable(list []pitfall, found map[string][]string) string {
	var b strings.Builder
	b.WriteString("| # | Pitfall | Tests, by file | Remark |\n|---|---|---|---|\n")
	for _, p := range list {
		prefix := fmt.Sprintf("TestPitfall%02d_", p.number)
		var cells []string
		for _, file := range slices.Sorted(maps.Keys(found)) {
			var names []string
			for _, name := range found[file] {
				if strings.HasPrefix(name, prefix) || slices.Contains(p.also, name) {
					names = append(names, "`"+name+"`")
				}
			}
			if names != nil {
				cells = append(cells, file+" "+strings.Join(names, ", "))
			}
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", p.number, p.name, strings.Join(cells, "; "), p.remark)
	}
	return b.String()
}

// checkTable is the table of the checks with their mutants.
func checkTable(all []mutant) string {
	var b strings.Builder
	b.WriteString("| Mutant | Check | Guarded by |\n|---|---|---|\n")
	for _, m := range all {
		var names []string
		for _, t := range m.tests {
			names = append(names, fmt.Sprintf("%s `%s`", strings.TrimPrefix(t.pkg, "mpc/"), strings.Join(t.names, "`, `")))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.id, m.check, strings.Join(names, "; "))
	}
	return b.String()
}

// writeReview writes both tables into the page, between their marks.
func writeReview(root string, all []mutant) error {
	list, err := parsePitfalls(pitfallList)
	if err != nil {
		return err
	}
	found, err := testsOf(root)
	if err != nil {
		return err
	}
	at := filepath.Join(root, filepath.FromSlash(reviewPage))
	page, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	for name, table := range map[string]string{"pitfalls": pitfallTable(list, found), "checks": checkTable(all)} {
		if page, err = between(page, name, table); err != nil {
			return err
		}
	}
	return os.WriteFile(at, page, 0o644)
}

// between replaces what stands between the marks of a table.
func between(page []byte, name, table string) ([]byte, error) {
	from, to := []byte("<!-- table: "+name+" -->\n"), []byte("<!-- end of table: "+name+" -->\n")
	head, rest, ok := bytes.Cut(page, from)
	_, tail, ok2 := bytes.Cut(rest, to)
	if !ok || !ok2 {
		return nil, errors.New(reviewPage + " lacks the marks of the table " + name)
	}
	return slices.Concat(head, from, []byte(table), to, tail), nil
}
