package pair

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// secretNames are fields and variables that hold secrets wherever they appear in
// these packages.
var secretNames = []string{
	"Delta", "delta", "Beta", "beta", "K", "K0", "K1", "Q", "alpha",
	"Leaf", "level", "off", "above", "have", "parents", "missing", "values",
	"y", "z", "xb", "chi", "one", "hashes", "bob", "alice",
}

// secretParams are functions whose named parameters are secret.
var secretParams = map[string][]string{
	"pointSecret": {"c"},
	"split":       {"x"}, "clmulLow": {"x", "y"}, "clmul": {"x"}, "mulAdd": {"v"}, "reduce": {"w"},
	"of": {"v"}, "setBytes": {"b"}, "bytes": {"v"}, "xor": {"v", "a"}, "xorMasked": {"v", "a", "m"},
	"transpose": {"cols", "rows"}, "transpose64": {"t"},
	"choice": {"beta"}, "combine": {"v"}, "add": {"m"}, "set": {"v"}, "products": {"c"},
	"columnsOf": {"out"}, "cells": {"q", "seeds", "in"}, "seal": {"alpha", "in"},
	"node": {"node"}, "masked": {"dst", "a", "mask"}, "align": {"leaf"}, "fold": {"g"},
	"combinations": {"t", "cols"}, "pick": {"sum", "table"}, "turn": {"in"}, "sumOf": {"hashes"},
	"checkValues": {"level", "off", "sum"},
}

// secretLocals are variables that are secret in one function, by package and name,
// though their names mean something public elsewhere.
var secretLocals = map[string][]string{
	"baseot.draw": {"u"}, "baseot.makePairs": {"others", "chosen", "p"}, "baseot.makeKeys": {"p"},
	"baseot.Finish": {"p", "products"}, "baseot.key": {"p", "h", "k"},
	"pprf.Expand": {"t", "r", "checks"}, "pprf.Puncture": {"r", "checks"}, "pprf.checkValues": {"t"},
	"otext.Receive": {"g", "t", "x", "out"}, "otext.Send": {"g", "q", "out"}, "otext.sumOf": {"b"},
	"otext.expand": {"seed", "s0", "s1", "buf", "p"}, "otext.transpose": {"t"},
	"otext.of": {"w", "r"}, "otext.ofAll": {"cols", "m", "table", "sums", "out"}, "otext.turn": {"a", "b", "out"},
	"vole.Receive": {"term"}, "vole.columnsOf": {"v", "a"}, "vole.Send": {"q", "in", "c"}, "vole.cells": {"zero"},
	"vole.seal": {"m", "eta"}, "vole.newInputs": {"in", "a"}, "vole.products": {"out"},
	"vole.expand": {"dst", "x", "h", "s0", "s1", "m0", "m1", "q", "w"},
}

// secretCalls are functions whose result is secret.
var secretCalls = []string{"choice", "bitMask"}

// publicNames end the taint: verdicts, errors and what goes on the wire.
var publicNames = []string{"err", "ok", "m", "m1", "m2", "out", "th", "mu", "t", "want", "s", "h", "inst", "i", "j", "k", "w", "n"}

// sanitizers turn secrets into what may be branched on: a verdict that the peer
// learns anyhow, a length, and whether an element that is sent or was received is
// the identity.
var sanitizers = []string{"ConstantTimeCompare", "len", "cap", "isIdentity"}

// finding is a place where a secret meets a branch, an index or a division.
type finding struct {
	pos  token.Position
	what string
}

type linter struct {
	fset     *token.FileSet
	tainted  map[string]bool
	params   map[string]bool // tainted even where the name is public elsewhere
	findings []finding
}

// lintFunc walks one function until no more names become secret.
func lintFunc(fset *token.FileSet, pkg string, fn *ast.FuncDecl) []finding {
	l := &linter{fset: fset, tainted: map[string]bool{}, params: map[string]bool{}}
	for _, n := range secretNames {
		l.tainted[n] = true
	}
	for _, n := range slices.Concat(secretParams[fn.Name.Name], secretLocals[pkg+"."+fn.Name.Name]) {
		l.tainted[n], l.params[n] = true, true
	}
	for before := -1; before != len(l.tainted); {
		before = len(l.tainted)
		ast.Inspect(fn.Body, func(n ast.Node) bool { l.propagate(n); return true })
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool { l.sink(n); return true })
	return l.findings
}

// propagate taints what is assigned from a secret.
func (l *linter) propagate(n ast.Node) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, r := range n.Rhs {
			if !l.secret(r) {
				continue
			}
			for _, e := range n.Lhs {
				l.taint(e)
			}
		}
	case *ast.RangeStmt:
		if l.secret(n.X) && n.Value != nil {
			l.taint(n.Value)
		}
	case *ast.CallExpr:
		// subtle.ConstantTimeCopy(v, x, y) and copy(x, y) write x.
		name := callee(n)
		if (name == "ConstantTimeCopy" && len(n.Args) == 3 && (l.secret(n.Args[0]) || l.secret(n.Args[2]))) ||
			(name == "copy" && l.secret(n.Args[1])) {
			l.taint(n.Args[len(n.Args)-2])
		}
	}
}

func (l *linter) taint(e ast.Expr) {
	switch e := e.(type) {
	case *ast.Ident:
		if !slices.Contains(publicNames, e.Name) && e.Name != "_" {
			l.tainted[e.Name] = true
		}
	case *ast.IndexExpr:
		l.taint(e.X)
	case *ast.SliceExpr:
		l.taint(e.X)
	}
}

// secret reports whether an expression mentions a secret outside a sanitizer.
func (l *linter) secret(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if slices.Contains(sanitizers, callee(n)) {
				return false
			}
			found = found || slices.Contains(secretCalls, callee(n))
		case *ast.BinaryExpr:
			// A comparison with nil asks whether a pointer is there.
			if id, ok := n.Y.(*ast.Ident); ok && id.Name == "nil" {
				return false
			}
		case *ast.SelectorExpr:
			if l.tainted[n.Sel.Name] && !l.params[n.Sel.Name] {
				found = true
			}
			ast.Inspect(n.X, func(x ast.Node) bool {
				if e, ok := x.(ast.Expr); ok && x != n.X {
					found = found || l.secret(e)
				}
				return true
			})
			if id, ok := n.X.(*ast.Ident); ok && l.tainted[id.Name] {
				found = true
			}
			return false
		case *ast.Ident:
			if l.tainted[n.Name] {
				found = true
			}
		}
		return true
	})
	return found
}

func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// sink reports secrets where time or memory access would depend on them.
func (l *linter) sink(n ast.Node) {
	report := func(e ast.Expr, what string) {
		if e != nil && l.secret(e) {
			l.findings = append(l.findings, finding{l.fset.Position(e.Pos()), what})
		}
	}
	switch n := n.(type) {
	case *ast.IfStmt:
		report(n.Cond, "if")
	case *ast.ForStmt:
		report(n.Cond, "for")
	case *ast.SwitchStmt:
		report(n.Tag, "switch")
	case *ast.CaseClause:
		for _, e := range n.List {
			report(e, "case")
		}
	case *ast.IndexExpr:
		report(n.Index, "index")
	case *ast.SliceExpr:
		report(n.Low, "slice bound")
		report(n.High, "slice bound")
	case *ast.BinaryExpr:
		switch n.Op {
		case token.LAND, token.LOR:
			report(n.X, n.Op.String())
			report(n.Y, n.Op.String())
		case token.QUO, token.REM:
			report(n.X, "division")
			report(n.Y, "division")
		}
	case *ast.CallExpr:
		if name := callee(n); name == "Equal" || name == "Compare" {
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "bytes" {
					for _, e := range n.Args {
						report(e, "bytes."+name)
					}
				}
			}
		}
	}
}

// allowed are the findings that a person has looked at, with the reason.
var allowed = map[string]string{}

func lintSource(t *testing.T, name string, src any) []finding {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []finding
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			out = append(out, lintFunc(fset, f.Name.Name, fn)...)
		}
	}
	for _, i := range f.Imports {
		if p := strings.Trim(i.Path.Value, `"`); p == "math/big" || p == "reflect" || p == "bytes" {
			out = append(out, finding{fset.Position(i.Pos()), "import of " + p})
		}
	}
	return out
}

// No branch, index, slice bound or division depends on β, Δ, a choice bit, a seed
// or a pad, in the five packages.
func TestPitfall40_NoSecretDependentBranch(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range []string{"../baseot", "../pprf", "../otext", "../vole", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			n++
			for _, f := range lintSource(t, name, nil) {
				key := fmt.Sprintf("%s %s", filepath.Base(f.pos.Filename), f.what)
				seen[key] = true
				if allowed[key] == "" {
					t.Errorf("%s: %s depends on a secret", f.pos, f.what)
				}
			}
		}
		if n < 3 {
			t.Errorf("%s: only %d files were looked at", dir, n)
		}
	}
	for key := range allowed {
		if !seen[key] {
			t.Errorf("allowed %q is no longer there", key)
		}
	}
}

// The lint finds what it is for.
func TestLintFindsPlantedBranches(t *testing.T) {
	for name, body := range map[string]string{
		"if on a bit":       `c := int(o.Delta[i/8]>>(i%8)) & 1; if c == 1 { f() }`,
		"index by a choice": `x := beta & 1; return table[x]`,
		"through two":       `a := o.K0[i]; b := a[0]; switch b { case 1: f() }`,
		"and":               `return f() && o.Beta[0] == 1`,
		"loop":              `for n := 0; n < int(beta); n++ { f() }`,
		"slice":             `return buf[:delta]`,
		"division":          `return chi / 3`,
		"range":             `for _, v := range o.K1 { if v == 0 { f() } }`,
		"masked copy":       `subtle.ConstantTimeCopy(beta, u, x); if u[0] == 1 { f() }`,
		"bytes.Equal":       `return bytes.Equal(alpha, buf)`,
		"choice":            `c, t := r.choice(i), &m2.T[i]; if c == 1 { t = nil }`,
	} {
		src := "package p\nfunc g(o *out, i int) int {\n" + body + "\nreturn 0 }"
		if len(lintSource(t, "planted.go", src)) == 0 {
			t.Errorf("%s was not found", name)
		}
	}
	clean := `package p
func g(o *out, i int) error {
	d := -(uint64(o.Delta[i/8]>>(i%8)) & 1)
	x &= d
	if subtle.ConstantTimeCompare(o.K0[i][:], a) != 1 { return errCheck }
	if o.y == nil { return errUsed }
	return nil
}`
	if f := lintSource(t, "clean.go", clean); len(f) != 0 {
		t.Errorf("clean code was reported: %v", f)
	}
}
