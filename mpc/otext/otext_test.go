package otext

import (
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/mpc/pprf"
)

func bit(b []byte, n int) int { return int(b[n/8]>>(n%8)) & 1 }

// dealt returns trees as a trusted dealer would make them: Δ, then every leaf.
func dealt(rand io.Reader) (*pprf.Full, *pprf.Punctured) {
	s, r := new(pprf.Full), new(pprf.Punctured)
	read := func(b []byte) {
		if _, err := io.ReadFull(rand, b); err != nil {
			panic(err)
		}
	}
	read(r.Delta[:])
	for i := range s.Leaf {
		for x := range s.Leaf[i] {
			read(s.Leaf[i][x][:])
		}
		for z := 1; z < pprf.Leaves; z++ {
			r.Leaf[i][z] = s.Leaf[i][z^block(r, i)]
		}
	}
	return s, r
}

// block is Δ_i.
func block(r *pprf.Punctured, i int) int { return int(r.Delta[i/2]>>(4*(i%2))) & 15 }

func stream(seed uint64) io.Reader {
	var b [32]byte
	b[0], b[1] = byte(seed), byte(seed>>8)
	return mrand.NewChaCha8(b)
}

// t_j = q_j ⊕ β_j·Δ, for one signature and for batches whose last block is full,
// short and halved.
func TestCorrelation(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, MaxBatch} {
		seed := uint64(n)
		rand := stream(seed)
		s, r := dealt(rand)
		dsid := [32]byte{byte(seed)}
		bob, m, err := Receive(rand, s, dsid, n)
		if err != nil {
			t.Fatal(err)
		}
		alice, err := Send(r, dsid, m)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := m.AppendBinary(nil)
		if back, err := DecodeMessage(b, n); err != nil || back.N() != n {
			t.Fatalf("batch of %d: %v", n, err)
		}
		if len(alice.Q) != n*Columns || len(bob.T) != n*Columns || len(bob.Beta) != n*Columns/8 {
			t.Fatalf("batch of %d: %d, %d columns", n, len(alice.Q), len(bob.T))
		}
		ones := 0
		for j := range n * Columns {
			want := alice.Q[j]
			if bit(bob.Beta, j) == 1 {
				ones++
				for k := range want {
					want[k] ^= r.Delta[k]
				}
			}
			if bob.T[j] != want {
				t.Fatalf("column %d: t_j is not q_j xor β_j·Δ", j)
			}
		}
		if ones < n*Columns/4 || ones > 3*n*Columns/4 {
			t.Fatalf("%d of %d choices are one", ones, n*Columns)
		}
		if _, err := Send(r, [32]byte{99}, m); !errors.Is(err, ErrCheck) {
			t.Fatalf("another dsid: got %v, want ErrCheck", err)
		}
	}
}

func bigOf(a gf) *big.Int {
	x := new(big.Int).SetUint64(a.hi)
	return x.Add(x.Lsh(x, 64), new(big.Int).SetUint64(a.lo))
}

// slowMul multiplies bit by bit and reduces by long division.
func slowMul(a, b gf) *big.Int {
	p, x, y := new(big.Int), bigOf(a), bigOf(b)
	for i := range 128 {
		if y.Bit(i) == 1 {
			p.Xor(p, new(big.Int).Lsh(x, uint(i)))
		}
	}
	f := new(big.Int).SetUint64(0x87)
	f.SetBit(f, 128, 1)
	for i := 254; i >= 128; i-- {
		if p.Bit(i) == 1 {
			p.Xor(p, new(big.Int).Lsh(f, uint(i-128)))
		}
	}
	return p
}

func TestFieldMultiplication(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, a, b gf) {
		f := newFactor(a)
		var w wide
		w.mulAdd(&f, b)
		if got, want := bigOf(w.reduce()), slowMul(a, b); got.Cmp(want) != 0 {
			t.Fatalf("%x * %x = %x, want %x", bigOf(a), bigOf(b), got, want)
		}
	}
	all := ^uint64(0)
	for _, a := range []gf{{}, {1, 0}, {0, 1 << 63}, {all, all}, {all, 0}, {0, all}, {class0, class3}} {
		for _, b := range []gf{{}, {1, 0}, {2, 0}, {0, 1 << 63}, {all, all}, {class1, class2}} {
			check(t, a, b)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.Custom(func(t *rapid.T) gf { return gf{rapid.Uint64().Draw(t, "lo"), rapid.Uint64().Draw(t, "hi")} })
		check(t, g.Draw(t, "a"), g.Draw(t, "b"))
	})
}

// ofAll, from columns, against of, row by row.
func TestHashOfAllRows(t *testing.T) {
	rand := mrand.New(mrand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 3, 4, 5} {
		m, h := newRows(n), make(hash, blocks(n))
		b := make([]byte, rowSize(n))
		for i := range m {
			for k := range b {
				b[k] = byte(rand.Uint32())
			}
			m[i].setBytes(b, n)
		}
		for i := range h {
			h[i] = gf{rand.Uint64(), rand.Uint64()}
		}
		cols := make([]Column, n*Columns)
		transpose(cols, m)
		for r, v := range h.ofAll(cols, m) {
			if v != h.of(m[r]) {
				t.Fatalf("batch of %d, row %d: %x, want %x", n, r, v, h.of(m[r]))
			}
		}
	}
}

func TestTranspose(t *testing.T) {
	rand := mrand.New(mrand.NewPCG(1, 2))
	rows := newRows(3)
	for i := range rows {
		for w := range rows[i] {
			rows[i][w] = rand.Uint64()
		}
	}
	cols := make([]Column, 3*Columns)
	transpose(cols, rows)
	for i := range rows {
		for j := range cols {
			if got, want := bit(cols[j][:], i), int(rows[i][j/64]>>(j%64))&1; got != want {
				t.Fatalf("column %d, row %d: %d, want %d", j, i, got, want)
			}
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	rand := stream(1)
	s, _ := dealt(rand)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Receive(rand, s, [32]byte{1}, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	rand := stream(1)
	s, r := dealt(rand)
	_, m, _ := Receive(rand, s, [32]byte{1}, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Send(r, [32]byte{1}, m); err != nil {
			b.Fatal(err)
		}
	}
}
