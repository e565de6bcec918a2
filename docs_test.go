package coffer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelNamesRealTests: each claim of THREAT_MODEL.md names what shows it, and
// that is there.
func TestThreatModelNamesRealTests(t *testing.T) {
	page, err := os.ReadFile("THREAT_MODEL.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
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
	all := tests.String()
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)(…?)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 40 {
		t.Fatalf("%d tests are named: the search is broken", len(named))
	}
	for _, m := range named {
		end := "("
		if m[2] != "" {
			end = ""
		}
		if !strings.Contains(all, "\nfunc "+m[1]+end) {
			t.Errorf("THREAT_MODEL.md names %s, which is no test", m[1]+m[2])
		}
	}
}

// skip passes an error on, and leaves a folder out when there is none.
func skip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}
