package wire_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	domain      = regexp.MustCompile(`^coffer/[a-z0-9-]+/v[0-9]+$`)
	documented  = regexp.MustCompile("`(coffer/[a-z0-9-]+/v[0-9]+)`")
	sourceRoots = []string{"internal", "client", "cmd"}
)

// TestDomainsAreRegistered compares the domains in the code with the tables of
// docs/spec/wire.md: two uses of one domain could be exchanged for each other, so
// each is written down once and means one thing.
func TestDomainsAreRegistered(t *testing.T) {
	page, err := os.ReadFile("../../docs/spec/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page2, ok := strings.Cut(string(page), "\n## Domains\n")
	if !ok {
		t.Fatal("docs/spec/wire.md has no section Domains")
	}
	var registered []string
	for _, m := range documented.FindAllStringSubmatch(page2, -1) {
		if slices.Contains(registered, m[1]) {
			t.Errorf("%s stands twice in docs/spec/wire.md", m[1])
		}
		registered = append(registered, m[1])
	}
	used := make(map[string]string)
	for _, root := range sourceRoots {
		for d, at := range domains(t, filepath.Join("../..", root)) {
			used[d] = at
		}
	}
	for d, at := range used {
		if !slices.Contains(registered, d) {
			t.Errorf("%s: the domain %s is not in docs/spec/wire.md", at, d)
		}
	}
	for _, d := range registered {
		if used[d] == "" {
			t.Errorf("docs/spec/wire.md registers %s, which nothing uses", d)
		}
	}
	if len(used) < 10 {
		t.Errorf("only %d domains found in the code: the search is broken", len(used))
	}
}

// domains finds the string literals that are domains, tests aside.
func domains(t *testing.T, root string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && domain.MatchString(s) {
					found[s] = fset.Position(lit.Pos()).String()
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
