package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decoders are the names under which bytes of others enter a package, and rounds
// those under which messages of others do. Their like anywhere in mpc/ needs a
// fuzz target.
var (
	decoders = regexp.MustCompile(`^(Decode|Unmarshal|Attachment|Verify[A-Z]\w*Evidence|VerifyEvidence|SetBytes|SetCanonical|Parse|Open$|Restore)`)
	rounds   = regexp.MustCompile(`^(Deliver|Round[1-9]|Finish|Combine|Aggregate|Receive|Handle|Take[A-Z])`)
)

// exempt are functions that bear such a name and take nothing of anybody else's,
// each with its reason.
var exempt = map[string]string{}

// bytesOf says whether a parameter's type holds bytes from outside: []byte, or a
// map or slice of them, or of pointers to what a decoder made.
func bytesOf(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ArrayType:
		id, ok := e.Elt.(*ast.Ident)
		return ok && id.Name == "byte" && e.Len == nil || bytesOf(e.Elt)
	case *ast.MapType:
		return bytesOf(e.Value)
	case *ast.Ellipsis:
		return bytesOf(e.Elt)
	}
	return false
}

// pkgSource is the parsed source of one package directory.
type pkgSource struct {
	entries []string            // exported functions that take bytes, as Name or Type.Name
	uses    map[string][]string // by function of the tests: the names it mentions
}

// parseDir tells entries and tests apart.
func parseDir(t *testing.T, dir string) pkgSource { return parseSource(t, dir, "_test.go") }

// parseHelpers takes every function for one of the tests.
func parseHelpers(t *testing.T, dir string) pkgSource { return parseSource(t, dir, ".go") }

func parseSource(t *testing.T, dir, tests string) pkgSource {
	t.Helper()
	src := pkgSource{uses: make(map[string][]string)}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if strings.HasSuffix(path, tests) {
				src.uses[fn.Name.Name] = append(src.uses[fn.Name.Name], names(fn)...)
				continue
			}
			if entry := entryOf(fn); entry != "" {
				src.entries = append(src.entries, entry)
			}
		}
	}
	return src
}

// names are the identifiers that a function mentions.
func names(fn *ast.FuncDecl) (out []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			out = append(out, id.Name)
		}
		return true
	})
	return out
}

// entryOf names a function through which bytes of others come in, or "".
func entryOf(fn *ast.FuncDecl) string {
	name := fn.Name.Name
	if !ast.IsExported(name) || !decoders.MatchString(name) && !rounds.MatchString(name) {
		return ""
	}
	if !slices.ContainsFunc(fn.Type.Params.List, func(f *ast.Field) bool { return bytesOf(f.Type) }) {
		return ""
	}
	if fn.Recv == nil {
		return name
	}
	recv := fn.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	id, ok := recv.(*ast.Ident)
	if !ok {
		return ""
	}
	return id.Name + "." + name
}

// fuzzed are the names that the fuzz targets reach through functions of the tests.
func (s *pkgSource) fuzzed() map[string]bool {
	seen := make(map[string]bool)
	var walk func(name string)
	walk = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, used := range s.uses[name] {
			walk(used)
		}
	}
	for name := range s.uses {
		if strings.HasPrefix(name, "Fuzz") {
			walk(name)
		}
	}
	return seen
}

// missing lists the entries that no fuzz target reaches: of a method, its name,
// and for a decoder of an exported type that type too.
func (s *pkgSource) missing() (out []string) {
	reached := s.fuzzed()
	for _, entry := range s.entries {
		typ, name, method := strings.Cut(entry, ".")
		if !method {
			typ, name = "", entry
		}
		if !reached[name] || typ != "" && ast.IsExported(typ) && decoders.MatchString(name) && !reached[typ] && !reached["New"+typ] {
			out = append(out, entry)
		}
	}
	return out
}

// Every decoder and every round of mpc/ has a fuzz target that reaches it.
func TestEverythingThatTakesBytesIsFuzzed(t *testing.T) {
	dirs := make(map[string]bool)
	err := filepath.WalkDir(filepath.Join(root, "mpc"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.Contains(path, "testdata") {
			dirs[filepath.Dir(path)] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Fuzz targets run whole protocols through the helpers of mpctest.
	helpers := parseHelpers(t, filepath.Join(root, "mpc/internal/mpctest"))
	entries, used := 0, make(map[string]bool)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		pkg, _ := filepath.Rel(root, dir)
		if slices.Contains([]string{"mpc/internal/mpctest", "mpc/internal/bench", "mpc/internal/timing", "mpc/internal/mutants"}, pkg) {
			continue
		}
		src := parseDir(t, dir)
		for name, used := range helpers.uses {
			src.uses[name] = append(src.uses[name], used...)
		}
		entries += len(src.entries)
		for _, entry := range src.missing() {
			name := fmt.Sprintf("%s: %s", pkg, entry)
			if exempt[name] == "" {
				t.Errorf("%s takes bytes of others and no fuzz target reaches it", name)
			}
			used[name] = true
		}
	}
	for name := range exempt {
		if !used[name] && exempt[name] != "being written" {
			t.Errorf("%s is exempt without need", name)
		}
	}
	if entries < 25 {
		t.Errorf("only %d entries found: the search is broken", entries)
	}
}

// The search finds a decoder and a round without fuzz target, and is content with
// those that have one.
func TestFuzzSearch(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.go":      "package p\nfunc DecodeA(b []byte) {}\nfunc DecodeB(b []byte) {}\nfunc (m *M) UnmarshalBinary(b []byte) error { return nil }\nfunc (s *S) Round1(in map[int][]byte) {}\nfunc (s *S) Round2(in map[int][]byte) {}\nfunc (s *S) Round0(b []byte) {}\nfunc DecodeNothing(n int) {}\nfunc decodeC(b []byte) {}\n",
		"p_test.go": "package p\nfunc FuzzA(f *F) { help() }\nfunc help() { DecodeA(nil); s.Round1(nil); x.UnmarshalBinary(nil) }\nfunc TestB(t *T) { DecodeB(nil); s.Round2(nil) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src := parseDir(t, dir)
	if got, want := src.missing(), []string{"DecodeB", "M.UnmarshalBinary", "S.Round2"}; !slices.Equal(got, want) {
		t.Errorf("without fuzz target: %v, want %v", got, want)
	}
}
