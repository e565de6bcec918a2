package pair

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A branch on a secret is found where the secret is, under the name that it has
// there: each is planted behind the line that makes it.
func TestLintFindsBranchesInPlace(t *testing.T) {
	for _, c := range []struct{ file, after, cond string }{
		{"../baseot/baseot.go", "r.sampled[i] = r.h.oblivious(uint16(i), &u)", "u[0] == 1"},
		{"../baseot/baseot.go", "others := secp256k1.EncodePoints(r.sampled[:])", "others[0][0] == 2"},
		{"../baseot/baseot.go", "chosen := secp256k1.EncodePoints(r.chosen[:])", "chosen[0][0] == 2"},
		{"../baseot/baseot.go", "p := secp256k1.EncodePoints(r.product[:])", "p[0][0] == 2"},
		{"../baseot/baseot.go", "p := secp256k1.EncodePoints(products)", "p[0][0] == 2"},
		{"../baseot/group.go", "h0, h1 := h.point(i, 0, p), h.point(i, 1, p)", "c == 1"},
		{"../pprf/pprf.go", "level := grow(h, i, seeds, m)", "level[0][0] == 1"},
		{"../pprf/pprf.go", "children := h.node(i, d, p, &parents[p])", "children[0] == 1"},
		{"../pprf/pprf.go", "level, off := climb(h, i, seeds, m)", "off[1] == 1"},
		{"../pprf/pprf.go", "values := checkValues(h, i, &level, &off, &m.T[i])", "values[0][0] == 1"},
		{"../pprf/pprf.go", "r := h.node(i, forOutput, x, &level[x])", "r[0] == 1"},
		{"../pprf/pprf.go", "t := h.node(i, forCheck, x, &level[x])", "t[0] == 1"},
		{"../pprf/pprf.go", "c := bitMask(seeds, base(i, d))", "c == 1"},
		{"../pprf/pprf.go", "have := seeds.K[base(i, d)]", "have[0] == 1"},
		{"../pprf/pprf.go", "mask := bitMask(seeds, Depth*i+b)", "mask == 1"},
		{"../otext/otext.go", "g.fold()", "g.leaf[0][0] == 1"},
		{"../otext/otext.go", "t[depth*i+b].setBytes(g.leaf[1<<b], n)", "t[depth*i+b][0] == 1"},
		{"../otext/otext.go", "x.setBytes(xb, n)", "x[0] == 1"},
		{"../otext/otext.go", "transpose(out.T, t)", "out.T[0][0] == 1"},
		{"../otext/otext.go", "hashes := h.ofAll(out.T, t)", "hashes[0].lo == 1"},
		{"../otext/otext.go", "delta := -(uint64(seeds.Delta[r/8]>>(r%8)) & 1) // all ones or zero", "delta == 0"},
		{"../otext/otext.go", "q[r].setBytes(g.leaf[1<<b], m.n)", "q[r][0] == 1"},
		{"../otext/otext.go", "transpose(out.Q, q)", "out.Q[0][0] == 1"},
		{"../otext/otext.go", "b = hashes[r].appendTo(b)", "b[0] == 1"},
		{"../otext/prg.go", "s0, s1 := binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])", "s0 == 1"},
		{"../otext/prg.go", "block.Encrypt(p, p)", "p[0] == 1"},
		{"../otext/hash.go", "combinations(&table[g], cols[first+min(4*g, n):first+min(4*g+4, n)])", "table[g][1].lo == 1"},
		{"../otext/hash.go", "pick(&sums[c], &table, lo[c])", "sums[c].lo == 1"},
		{"../otext/hash.go", "v = gfFromBytes(cols[k][:])", "v.lo == 1"},
		{"../otext/hash.go", "l, h := sum.lo, sum.hi", "l == 1"},
		{"../otext/hash.go", "r := w.reduce()", "r.lo == 1"},
		{"../otext/row.go", "transpose64(&t)", "t[0] == 1"},
		{"../vole/vole.go", "term.Select(&g[j], zero, choice(out.Beta, k*xi+j))", "term.IsZero() == 1"},
		{"../vole/vole.go", "beta := choice(out.Beta, j)", "beta == 1"},
		{"../vole/vole.go", "pads.expand(&v, uint32(j), &out.T[j]) // γ_j", "v[0].IsZero() == 1"},
		{"../vole/vole.go", "v[s].Add(&v[s], a.Select(&a, &zero, beta))", "v[s].IsZero() == 1"},
		{"../vole/vole.go", "v[s].Add(&v[s], a.Select(&a, &zero, beta))", "a.IsZero() == 1"},
		{"../vole/vole.go", "x := q.Q[j]", "x[0] == 1"},
		{"../vole/vole.go", "pads.expand(&zero, uint32(j), &x)", "zero[0].IsZero() == 1"},
		{"../vole/vole.go", "pads.expand(&one, uint32(j), &x) // α¹", "one[0].IsZero() == 1"},
		{"../vole/vole.go", "in[i][w].Set(a[i][w])", "in[i][w].IsZero() == 1"},
		{"../vole/vole.go", "in[i][w].Set(a[i][w])", "a[i][w].IsZero() == 1"},
		{"../vole/vole.go", "theta.combine(&m, k, &alpha[0][j], &alpha[1][j], &alpha[ell+k][j])", "m.IsZero() == 1"},
		{"../vole/vole.go", "c := alpha.products()", "c[0][0].IsZero() == 1"},
		{"../vole/pad.go", "h := sha256.Sum256(p.in[:])", "h[0] == 1"},
		{"../vole/pad.go", "p.block.Encrypt(q, q)", "q[0] == 1"},
		{"../vole/pad.go", "m0, m1 := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])", "m0 == 1"},
		{"../vole/pad.go", "w := (*[48]byte)(p.out[48*s:])", "w[0] == 1"},
	} {
		src, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		before, after, ok := strings.Cut(string(src), c.after+"\n")
		if !ok {
			t.Errorf("%s has no line %q any more", c.file, c.after)
			continue
		}
		planted := before + c.after + "\nif " + c.cond + " { panic(0) }\n" + after
		if n := len(lintSource(t, filepath.Base(c.file), planted)); n == 0 {
			t.Errorf("%s: \"if %s\" after %q was not found", c.file, c.cond, c.after)
		}
	}
}
