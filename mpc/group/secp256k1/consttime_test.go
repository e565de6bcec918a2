package secp256k1

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// publicConditions lists every branch, loop, computed index, computed slice and
// comparison of this package outside the functions named Vartime, as
// "function: source". Each was looked at: it depends on lengths, on loop
// counters and on whether an encoding is valid, never on the value of a scalar
// or a coordinate. A new one fails TestConstantTimeConditions until somebody
// has looked at it too.
var publicConditions = map[string]bool{
	"EncodePoints: for i >= 0":                         true,
	"EncodePoints: index out[i]":                       true,
	"EncodePoints: index prefix[i]":                    true,
	"EncodePoints: index ps[i]":                        true,
	"EncodePoints: range ps":                           true,
	"HashToCurve: if len(dst) == 0":                    true,
	"HashToCurve: index u[i]":                          true,
	"HashToCurve: range u":                             true,
	"HashToCurve: slice uniform[48*i:]":                true,
	"InnerProduct: if len(a) != len(b)":                true,
	"InnerProduct: index a[i]":                         true,
	"InnerProduct: index b[i]":                         true,
	"InnerProduct: range a":                            true,
	"Invert: for i < len(odd)":                         true,
	"Invert: index odd[i-1]":                           true,
	"Invert: index odd[i]":                             true,
	"Invert: index odd[w.odd]":                         true,
	"Invert: range invertTail":                         true,
	"MultiScalarMult: for i >= 0":                      true,
	"MultiScalarMult: if len(ks) != len(qs)":           true,
	"MultiScalarMult: index ks[j]":                     true,
	"MultiScalarMult: index ms[j]":                     true,
	"MultiScalarMult: index qs[j]":                     true,
	"MultiScalarMult: range ms":                        true,
	"MultiScalarMult: range varWindow":                 true,
	"NewTable: if q.IsIdentity() == 1":                 true,
	"PutBytes: index b[ScalarSize-1]":                  true,
	"ScalarMult: for i >= 0":                           true,
	"ScalarMult: range varWindow":                      true,
	"ScalarTableMult: for i >= 0":                      true,
	"Select: index a.n[i]":                             true,
	"Select: index b.n[i]":                             true,
	"Select: index s.n[i]":                             true,
	"Select: range s.n":                                true,
	"SetBytes: if b[0] != 2 && b[0] != 3":              true,
	"SetBytes: if len(b) != PointSize":                 true,
	"SetBytes: if len(b) != ScalarSize":                true,
	"SetBytes: if subQ(&w, 0) != 0":                    true,
	"SetBytes: if x.setBytes((*[32]byte)(b[1:])) == 0": true,
	"SetBytes: if y.sqrt(&t) == 0":                     true,
	"SetRandom: if err != nil":                         true,
	"add: index m.d1[i]":                               true,
	"add: index m.d2[i]":                               true,
	"bits5: i % 64":                                    true,
	"bits5: i / 64":                                    true,
	"bits5: if b > 59 && w < 3":                        true,
	"bits5: index s.n[w+1]":                            true,
	"bits5: index s.n[w]":                              true,
	"compress: index b[1+i]":                           true,
	"compress: index xb[i]":                            true,
	"compress: range xb":                               true,
	"digits: index d[16+i]":                            true,
	"digits: index d[i]":                               true,
	"digits: range 16":                                 true,
	"expandMessage: if len(dst) > 255":                 true,
	"expandMessage: index b0[j]":                       true,
	"expandMessage: index bi[j]":                       true,
	"expandMessage: range 3":                           true,
	"expandMessage: range bi":                          true,
	"expandMessage: slice out[32*i:]":                  true,
	"init: for i < len(t)":                             true,
	"init: for i < varTable":                           true,
	"init: for i >= 0":                                 true,
	"init: for j < tableOdd":                           true,
	"init: i % tableOdd":                               true,
	"init: i / 2":                                      true,
	"init: i / tableOdd":                               true,
	"init: if i+1 < varTable":                          true,
	"init: index m.t1[i]":                              true,
	"init: index m.t2[i]":                              true,
	"init: index prefix[i]":                            true,
	"init: index pts[i]":                               true,
	"init: index row[j-1]":                             true,
	"init: index row[j]":                               true,
	"init: index t.rows[i/tableOdd]":                   true,
	"init: index t.rows[i/tableOdd][i%tableOdd]":       true,
	"init: index t[i+1]":                               true,
	"init: index t[i-1]":                               true,
	"init: index t[i/2]":                               true,
	"init: index t[i]":                                 true,
	"init: range m.t1":                                 true,
	"init: range pts":                                  true,
	"init: range tableDigits":                          true,
	"init: range tableWindow":                          true,
	"init: slice pts[i*tableOdd : (i+1)*tableOdd]":     true,
	"invert: index r[x223]":                            true,
	"lookup: index row[j]":                             true,
	"lookup: index t.rows[i]":                          true,
	"lookup: index t[i]":                               true,
	"lookup: range row":                                true,
	"lookup: range t":                                  true,
	"mapToCurve: index m[i]":                           true,
	"mapToCurve: index p[i]":                           true,
	"mapToCurve: index power[i]":                       true,
	"mapToCurve: index u[i]":                           true,
	"mapToCurve: range m":                              true,
	"powP34: index q[x223]":                            true,
	"powP34: index r[x223]":                            true,
	"run2: index q[s.dst]":                             true,
	"run2: index q[s.mul]":                             true,
	"run2: index q[s.src]":                             true,
	"run2: index r[s.dst]":                             true,
	"run2: index r[s.mul]":                             true,
	"run2: index r[s.src]":                             true,
	"run2: range s.squares":                            true,
	"run2: range steps":                                true,
	"run: index r[s.dst]":                              true,
	"run: index r[s.mul]":                              true,
	"run: index r[s.src]":                              true,
	"run: range steps":                                 true,
	"sqrN: for i < n":                                  true,
	"sqrt: index r[rArg]":                              true,
	"sqrt: index r[x223]":                              true,
	"squareN: for i < n":                               true,
	"top: index m.d1[varDigits-1]":                     true,
	"top: index m.d2[varDigits-1]":                     true,
}

// constantTimeImports are the packages that may see a secret here.
var constantTimeImports = map[string]bool{
	"crypto/sha256": true, "encoding/binary": true, "errors": true, "fmt": true, "io": true, "math/bits": true, "sync": true,
}

// conditions returns what publicConditions must list of one function.
func conditions(fset *token.FileSet, name string, body ast.Node) []string {
	var out []string
	add := func(kind string, n ast.Node) {
		var b strings.Builder
		if err := printer.Fprint(&b, fset, n); err != nil {
			panic(err)
		}
		out = append(out, name+": "+kind+b.String())
	}
	listed := map[ast.Node]bool{} // comparisons that stand in a listed condition
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			add("if ", n.Cond)
			listed[n.Cond] = true
		case *ast.ForStmt:
			if n.Cond != nil {
				add("for ", n.Cond)
				listed[n.Cond] = true
			}
		case *ast.RangeStmt:
			add("range ", n.X)
		case *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.BranchStmt, *ast.GoStmt:
			add("", n)
		case *ast.BinaryExpr:
			if listed[n] {
				listed[n.X], listed[n.Y] = true, true
				break
			}
			switch n.Op {
			case token.LAND, token.LOR, token.QUO, token.REM, token.EQL, token.NEQ, token.LSS, token.GTR, token.LEQ, token.GEQ:
				add("", n)
			}
		case *ast.IndexExpr:
			if _, literal := n.Index.(*ast.BasicLit); !literal {
				add("index ", n)
			}
		case *ast.SliceExpr:
			for _, bound := range []ast.Expr{n.Low, n.High, n.Max} {
				if _, literal := bound.(*ast.BasicLit); bound != nil && !literal {
					add("slice ", n)
				}
			}
		}
		return true
	})
	return out
}

func TestConstantTimeConditions(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	seen := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); !constantTimeImports[path] {
				t.Errorf("%s imports %s", name, path)
			}
		}
		for _, d := range file.Decls {
			fn := "variable"
			if f, ok := d.(*ast.FuncDecl); ok {
				fn = f.Name.Name
			}
			if strings.HasSuffix(fn, "Vartime") {
				continue
			}
			for _, c := range conditions(fset, fn, d) {
				seen[c] = true
				if !publicConditions[c] {
					t.Errorf("not known to be public: %q", c)
				}
			}
		}
	}
	for c := range publicConditions {
		if !seen[c] {
			t.Errorf("listed, but no longer there: %q", c)
		}
	}
}
