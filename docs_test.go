package coffer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPagesNameRealTests: each claim of THREAT_MODEL.md and of the runbooks names what
// shows it, and that is there.
func TestPagesNameRealTests(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != "." || e.Name() == "node_modules") {
			return skip(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			b, err := os.ReadFile(path)
			tests.Write(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/ops/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all, names, found := tests.String(), regexp.MustCompile("`(Test[A-Za-z0-9_]+)(…?)`"), 0
	for _, page := range append(pages, "THREAT_MODEL.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range names.FindAllStringSubmatch(string(b), -1) {
			end := "("
			if m[2] != "" {
				end = ""
			}
			if !strings.Contains(all, "\nfunc "+m[1]+end) {
				t.Errorf("%s names %s, which is no test", page, m[1]+m[2])
			}
			found++
		}
	}
	if found < 60 {
		t.Errorf("only %d names were found: the search is broken", found)
	}
}

// skip passes an error on, and leaves a folder out when there is none.
func skip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}
