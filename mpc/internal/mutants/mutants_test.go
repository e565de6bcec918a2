package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

// Every mutant of the list can be made: its text stands in its file, once, and its
// tests are in their packages. Who moves a check mends its mutant.
func TestListFitsTheTree(t *testing.T) {
	all, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Errorf("%d mutants: the list is not all there", len(all))
	}
	there := make(map[string]bool)
	for _, p := range byPackage(all) {
		files, err := filepath.Glob(filepath.Join(root, p.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range p.names {
				if strings.Contains(string(src), "\nfunc "+name+"(") {
					there[p.pkg+" "+name] = true
				}
			}
		}
	}
	for _, m := range all {
		if _, err := m.apply(root); err != nil {
			t.Errorf("mutant %s (line %d): %v", m.id, m.line, err)
		}
		for _, p := range m.tests {
			for _, name := range p.names {
				if !there[p.pkg+" "+name] {
					t.Errorf("mutant %s (line %d): %s has no test %s", m.id, m.line, p.pkg, name)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	all, err := parse([]byte("# a remark\nfile a/b.go\n\nmutant one: a check\ntest a TestA TestB\n-x\n-\ty\n+z\n\nmutant two: another\ntest a TestA\ntest b FuzzC\n-w\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].id != "one" || all[0].check != "a check" || all[0].file != "a/b.go" || all[0].old != "x\n\ty" || all[0].new != "z" || all[1].new != "" || all[1].line != 10 {
		t.Errorf("parsed as %+v", all)
	}
	if p := byPackage(all); len(p) != 2 || p[0].pattern() != "^(TestA|TestB)$" || p[1].pkg != "b" {
		t.Errorf("packages are %+v", p)
	}
	for name, bad := range map[string]string{
		"no file":         "mutant a: b\ntest a TestA\n-x\n",
		"no test":         "file f\n\nmutant a: b\n-x\n+y\n",
		"no text":         "file f\n\nmutant a: b\ntest a TestA\n",
		"no check":        "file f\n\nmutant a\ntest a TestA\n-x\n",
		"no change":       "file f\n\nmutant a: b\ntest a TestA\n-x\n+x\n",
		"twice":           "file f\n\nmutant a: b\ntest a TestA\n-x\n\nmutant a: b\ntest a TestA\n-y\n",
		"id":              "file f\n\nmutant A_b: b\ntest a TestA\n-x\n",
		"package only":    "file f\n\nmutant a: b\ntest a\n-x\n",
		"not a test":      "file f\n\nmutant a: b\ntest a BenchmarkX\n-x\n",
		"no empty line":   "file f\n\nmutant a: b\ntest a TestA\n-x\nmutant c: d\n",
		"text outside":    "file f\n-x\n",
		"unknown keyword": "files f\n",
	} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

// planted is a module with one check, guarded by TestGuard and by nothing else.
var planted = map[string]string{
	"go.mod": "module planted\n\ngo 1.26\n",
	"p/p.go": "package p\n\nfunc Odd(x int) bool {\n\tif x < 0 {\n\t\treturn false\n\t}\n\treturn x%2 != 0\n}\n",
	"p/p_test.go": `package p

import "testing"

func TestGuard(t *testing.T) {
	if Odd(-1) || Odd(-3) || !Odd(3) {
		t.Error("wrong")
	}
}

func TestBlind(t *testing.T) {
	if !Odd(3) {
		t.Error("wrong")
	}
}

func TestSkipped(t *testing.T) { t.Skip("not today") }

func TestWrong(t *testing.T) { t.Error("always") }
`,
}

func TestRunner(t *testing.T) {
	dir := t.TempDir()
	for name, text := range planted {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := &runner{root: dir, tmp: t.TempDir()}
	for name, ok := range map[string]bool{"TestGuard": true, "TestBlind": true, "TestSkipped": false, "TestWrong": false, "TestMissing": false} {
		if err := r.baseline(tests{"p", []string{name}}); (err == nil) != ok {
			t.Errorf("baseline of %s: %v", name, err)
		}
	}
	guard := []tests{{"p", []string{"TestGuard"}}}
	for _, c := range []struct {
		name   string
		m      mutant
		killed bool
		failed bool
	}{
		{"killed", mutant{old: "x < 0", new: "x < 0 && false", tests: guard}, true, false},
		{"killed by a panic", mutant{old: "return x%2 != 0", new: "panic(\"no\")", tests: guard}, true, false},
		{"killed by the second", mutant{old: "x < 0", new: "x < 0 && false", tests: append([]tests{{"p", []string{"TestBlind"}}}, guard...)}, true, false},
		{"survives", mutant{old: "x < 0", new: "x < 0 && false", tests: []tests{{"p", []string{"TestBlind"}}}}, false, false},
		{"does not compile", mutant{old: "x < 0", new: "y < 0", tests: guard}, false, true},
		{"text is missing", mutant{old: "x < 1", new: "", tests: guard}, false, true},
		{"text stands twice", mutant{old: "return", new: "", tests: guard}, false, true},
	} {
		c.m.id, c.m.file = "m", "p/p.go"
		if o := r.try(&c.m); o.killed != c.killed || (o.err != nil) != c.failed {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
	if src, err := os.ReadFile(filepath.Join(dir, "p/p.go")); err != nil || string(src) != planted["p/p.go"] {
		t.Error("the tree was changed")
	}
}

// A test that does not end has shown nothing.
func TestJudge(t *testing.T) {
	for out, want := range map[string]outcome{
		"--- FAIL: TestA (0.01s)\n    --- FAIL: TestA/b (0.00s)\nFAIL\n": {killed: true, by: "TestA"},
		"panic: runtime error: index out of range\n":                     {killed: true, by: "a panic"},
	} {
		if got := judge(out); got != want {
			t.Errorf("%q: %+v, want %+v", out, got, want)
		}
	}
	for _, out := range []string{"panic: test timed out after 4m0s\n--- FAIL: TestA\n", "FAIL\tp [build failed]\n", "FAIL\tp [setup failed]\n", "something else\n"} {
		if got := judge(out); got.killed || got.err == nil {
			t.Errorf("%q: %+v, want an error", out, got)
		}
	}
}
