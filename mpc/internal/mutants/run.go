package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// limit bounds one mutant. Its tests take seconds; a mutant that makes them hang
// is an error, since nothing was seen to fail.
const limit = 4 * time.Minute

// outcome of the tests of one mutant.
type outcome struct {
	killed bool
	by     string // the first test that failed
	err    error  // nothing was learned
}

// runner runs the tests of mutants in a module.
type runner struct {
	root string // of the module
	tmp  string
}

var (
	failed  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	passed  = regexp.MustCompile(`(?m)^--- PASS: (\S+)`)
	noBuild = regexp.MustCompile(`(?m)\[(build|setup) failed\]`)
)

// gotest returns the output of go test and whether it succeeded.
func (r *runner) gotest(t tests, more ...string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+time.Minute)
	defer cancel()
	args := []string{"test", "-count=1", "-short", "-vet=off", "-timeout=" + limit.String(), "-run", t.pattern()}
	args = append(append(args, more...), "./"+t.pkg)
	if r.usesRapid(t.pkg) {
		args = append(args, "-rapid.nofailfile") // it would write into the tree
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return string(out), false, fmt.Errorf("couldn't run go test ./%s: %w\n%s", t.pkg, err, tail(out))
	}
	return string(out), err == nil, nil
}

// usesRapid says whether the package's tests know rapid's flags.
func (r *runner) usesRapid(pkg string) bool {
	files, _ := filepath.Glob(filepath.Join(r.root, pkg, "*_test.go")) // the pattern is well-formed
	for _, f := range files {
		if src, err := os.ReadFile(f); err == nil && bytes.Contains(src, []byte(`"pgregory.net/rapid"`)) {
			return true
		}
	}
	return false
}

// baseline demands that every test passes while nothing is changed: neither
// missing nor skipped.
func (r *runner) baseline(t tests) error {
	out, ok, err := r.gotest(t, "-v")
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the tests of %s fail without a mutant:\n%s", t.pkg, tail([]byte(out)))
	}
	ran := make(map[string]bool)
	for _, m := range passed.FindAllStringSubmatch(out, -1) {
		ran[m[1]] = true
	}
	for _, name := range t.names {
		if !ran[name] {
			return fmt.Errorf("%s of %s did not run to its end: no such test, or skipped", name, t.pkg)
		}
	}
	return nil
}

// try runs the tests of a mutant until one fails. The tree stays as it is: go
// test reads the changed file through an overlay.
func (r *runner) try(m *mutant) outcome {
	changed, err := m.apply(r.root)
	if err != nil {
		return outcome{err: err}
	}
	file := filepath.Join(r.tmp, m.id+".go")
	overlay := filepath.Join(r.tmp, m.id+".json")
	b, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(r.root, filepath.FromSlash(m.file)): file}})
	if err != nil {
		return outcome{err: err}
	}
	if err := errors.Join(os.WriteFile(file, changed, 0o600), os.WriteFile(overlay, b, 0o600)); err != nil {
		return outcome{err: err}
	}
	for _, t := range m.tests {
		out, ok, err := r.gotest(t, "-failfast", "-overlay="+overlay)
		if err != nil {
			return outcome{err: err}
		}
		if !ok {
			return judge(out)
		}
	}
	return outcome{}
}

// judge says what a failed go test means.
func judge(out string) outcome {
	first := failed.FindStringSubmatch(out)
	switch {
	case noBuild.MatchString(out):
		return outcome{err: fmt.Errorf("it does not compile:\n%s", tail([]byte(out)))}
	case strings.Contains(out, "panic: test timed out"):
		return outcome{err: fmt.Errorf("its tests did not end within %v", limit)}
	case first != nil:
		return outcome{killed: true, by: first[1]}
	case strings.Contains(out, "panic: "):
		return outcome{killed: true, by: "a panic"}
	}
	return outcome{err: fmt.Errorf("go test failed, but no test did:\n%s", tail([]byte(out)))}
}

// tail is the end of an output.
func tail(out []byte) string {
	if len(out) > 2000 {
		out = append([]byte("…"), out[len(out)-2000:]...)
	}
	return string(out)
}
