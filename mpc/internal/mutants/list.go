package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutant is one check, taken out of the code.
type mutant struct {
	id    string
	check string // what the check demands
	file  string
	old   string // occurs exactly once in file
	new   string
	tests []tests // of which at least one must fail
	line  int     // in the list
}

// tests are tests of one package, by their exact names.
type tests struct {
	pkg   string
	names []string
}

// pattern is the -run expression.
func (t tests) pattern() string { return "^(" + strings.Join(t.names, "|") + ")$" }

var (
	idForm   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	testForm = regexp.MustCompile(`^(Test|Fuzz)[A-Za-z0-9_]+$`)
)

// listReader reads the list; its form is told at the list's head.
type listReader struct {
	all     []mutant
	seen    map[string]bool
	file    string
	current mutant
}

func parse(list []byte) ([]mutant, error) {
	p := &listReader{seen: make(map[string]bool)}
	for i, line := range strings.Split(string(list)+"\n", "\n") {
		if err := p.take(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return p.all, nil
}

func (p *listReader) take(at int, line string) error {
	key, rest, _ := strings.Cut(line, " ")
	m := &p.current
	switch {
	case line == "":
		return p.finish()
	case strings.HasPrefix(line, "#"):
		return nil
	case key == "file" && m.id == "":
		p.file = rest
	case key == "mutant" && m.id == "":
		id, check, _ := strings.Cut(rest, ": ")
		*m = mutant{id: id, check: check, line: at, file: p.file}
	case key == "test" && m.id != "":
		words := strings.Fields(rest)
		if len(words) < 2 {
			return errors.New("want: test PACKAGE NAME…")
		}
		for _, name := range words[1:] {
			if !testForm.MatchString(name) {
				return fmt.Errorf("%q is not the name of a test", name)
			}
		}
		m.tests = append(m.tests, tests{words[0], words[1:]})
	case strings.HasPrefix(line, "-") && m.id != "":
		m.old = join(m.old, line[1:])
	case strings.HasPrefix(line, "+") && m.id != "":
		m.new = join(m.new, line[1:])
	default:
		return fmt.Errorf("%q does not belong here", line)
	}
	return nil
}

// finish ends a mutant.
func (p *listReader) finish() error {
	m := p.current
	if m.id == "" {
		return nil
	}
	switch {
	case p.seen[m.id]:
		return fmt.Errorf("mutant %s stands twice", m.id)
	case !idForm.MatchString(m.id):
		return fmt.Errorf("mutant %q: want words of a-z and 0-9 joined by -", m.id)
	case m.check == "" || m.file == "" || m.old == "" || len(m.tests) == 0:
		return fmt.Errorf("mutant %s lacks its check, file, text or tests", m.id)
	case m.old == m.new:
		return fmt.Errorf("mutant %s changes nothing", m.id)
	}
	p.seen[m.id] = true
	p.all = append(p.all, m)
	p.current = mutant{}
	return nil
}

func join(text, line string) string {
	if text == "" {
		return line
	}
	return text + "\n" + line
}

// apply returns the file with the check taken out.
func (m *mutant) apply(root string) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(src, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("its text occurs %d times in %s, want once:\n%s", n, m.file, m.old)
	}
	return bytes.Replace(src, []byte(m.old), []byte(m.new), 1), nil
}

// byPackage unites the tests of all mutants.
func byPackage(all []mutant) []tests {
	var out []tests
	for _, m := range all {
		for _, t := range m.tests {
			i := slices.IndexFunc(out, func(o tests) bool { return o.pkg == t.pkg })
			if i < 0 {
				out = append(out, tests{pkg: t.pkg})
				i = len(out) - 1
			}
			for _, name := range t.names {
				if !slices.Contains(out[i].names, name) {
					out[i].names = append(out[i].names, name)
				}
			}
		}
	}
	return out
}
