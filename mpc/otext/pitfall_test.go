package otext

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// χ depends on every byte of U, and so the check fails when one is flipped, in
// rows that Alice uses (Δ_i = 1) and in those that she does not.
func TestPitfall13_ChiCoversAllOfU(t *testing.T) {
	rand := stream(13)
	s, r := dealt(rand)
	dsid := [32]byte{13}
	_, m, err := Receive(rand, s, dsid, 1)
	if err != nil {
		t.Fatal(err)
	}
	base := newHash(&dsid, m)
	for i := range pprf.Trees {
		for k := range m.row(i) {
			m.row(i)[k] ^= 1
			if slices.Equal(newHash(&dsid, m), base) {
				t.Fatalf("row %d, byte %d: χ is the same", i, k)
			}
			if k == i%rowSize(1) || i == 3 {
				if _, err := Send(r, dsid, m); !errors.Is(err, ErrCheck) {
					t.Errorf("row %d, byte %d: got %v, want ErrCheck", i, k, err)
				}
			}
			m.row(i)[k] ^= 1
		}
	}
	if _, err := Send(r, dsid, m); err != nil {
		t.Fatal(err)
	}
	other := [32]byte{14}
	if slices.Equal(newHash(&other, m), base) {
		t.Error("χ does not depend on dsid")
	}
}

// X and TH are checked in every byte.
func TestPitfall14_AllOfTheCheck(t *testing.T) {
	rand := stream(15)
	s, r := dealt(rand)
	_, m, err := Receive(rand, s, [32]byte{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(m.X) + len(m.TH) {
		x := *m
		if n < len(m.X) {
			x.X[n] ^= 1 << (n % 8)
		} else {
			x.TH[n-len(m.X)] ^= 1 << (n % 8)
		}
		if _, err := Send(r, [32]byte{}, &x); !errors.Is(err, ErrCheck) {
			t.Errorf("byte %d: got %v, want ErrCheck", n, err)
		}
	}
}

// unit is the row of one signature whose bit j, counted over columns and tail,
// is set.
func unit(j int) row {
	b := make([]byte, rowSize(1))
	b[j/8] = 1 << (j % 8)
	e := newRow(1)
	e.setBytes(b, 1)
	return e
}

// cheat is a Bob who uses x ⊕ e in some trees and guesses what Δ_i is there. He
// makes the best message for his guesses.
func cheat(rand io.Reader, seeds *pprf.Full, dsid [32]byte, guesses map[int]int, e row) *Message {
	xb, eb := make([]byte, rowSize(1)), make([]byte, rowSize(1))
	if _, err := io.ReadFull(rand, xb); err != nil {
		panic(err)
	}
	e.bytes(eb, 1)
	m := &Message{n: 1, U: make([]byte, pprf.Trees*rowSize(1))}
	t := newRows(1)
	g := newPRG(&dsid, 1)
	for i := range pprf.Trees {
		g.tree(i)
		for x := range pprf.Leaves {
			g.expand(x, &seeds.Leaf[i][x])
		}
		g.fold()
		subtle.XORBytes(m.row(i), xb, g.leaf[0])
		if _, ok := guesses[i]; ok {
			subtle.XORBytes(m.row(i), m.row(i), eb)
		}
		for b := range depth {
			t[depth*i+b].setBytes(g.leaf[1<<b], 1)
		}
	}
	h, x := newHash(&dsid, m), newRow(1)
	x.setBytes(xb, 1)
	h.of(x).appendTo(m.X[:0])
	var hashes []byte
	for r := range t {
		v := h.of(t[r])
		if guess, ok := guesses[r/depth]; ok && guess>>(r%depth)&1 == 1 {
			// Alice's h(Q_r) ⊕ X will be h(T_r) ⊕ h(e).
			w := h.of(e)
			v.lo ^= w.lo
			v.hi ^= w.hi
		}
		hashes = v.appendTo(hashes)
	}
	m.TH = transcript.Sum(transcript.TagT, dsid[:], hashes)
	return m
}

// A cheat in one tree passes exactly if the guess of Δ_i, all four bits, is right:
// once in sixteen times, which is why a failure must end the pair.
func TestPitfall14_RankOneCheat(t *testing.T) {
	rand := stream(14)
	e := unit(5)
	const runs = 480
	passed := 0
	for n := range runs {
		s, r := dealt(rand)
		i, guess, dsid := n%pprf.Trees, n/pprf.Trees%pprf.Leaves, [32]byte{byte(n), byte(n >> 8)}
		if n%5 == 0 {
			guess ^= block(r, i) &^ 1 // half right: three bits, and the last by chance
		}
		m := cheat(rand, s, dsid, map[int]int{i: guess}, e)
		_, err := Send(r, dsid, m)
		if right := block(r, i) == guess; right != (err == nil) {
			t.Fatalf("run %d: guess right is %v, Send gave %v", n, right, err)
		}
		if err == nil {
			passed++
		} else if !errors.Is(err, ErrCheck) {
			t.Fatalf("run %d: got %v, want ErrCheck", n, err)
		}
	}
	if passed < 8 || passed > 60 {
		t.Errorf("%d of %d passed, want about %d", passed, runs, runs/16)
	}
}

// A cheat in c trees passes only if all c guesses are right: rate 2^−c where Bob
// knows all but one bit of each.
func TestPitfall14_MultiRowCheatRate(t *testing.T) {
	rand := stream(16)
	const runs = 100
	for c := 2; c <= 4; c++ {
		e := unit(64*c + 60) // any column
		passed := 0
		for n := range runs {
			s, r := dealt(rand)
			guesses, right := map[int]int{}, true
			for k := range c {
				i := 7*k + 3
				guesses[i] = block(r, i)&^(1<<k) | (k % 2 << k) // bit k is a guess
				right = right && block(r, i) == guesses[i]
			}
			dsid := [32]byte{byte(n), byte(c)}
			_, err := Send(r, dsid, cheat(rand, s, dsid, guesses, e))
			if right != (err == nil) {
				t.Fatalf("%d trees, run %d: all guesses right is %v, Send gave %v", c, n, right, err)
			}
			if err == nil {
				passed++
			}
		}
		want := runs / math.Pow(2, float64(c))
		if d := math.Abs(float64(passed) - want); d > 4.5*math.Sqrt(want) {
			t.Errorf("%d trees: %d of %d passed, want about %.0f", c, passed, runs, want)
		}
	}
}

// A cheat in the last, short block and in the tail is seen too: h has no blind
// spot. Every single column is tried.
func TestPitfall14_EveryColumnIsChecked(t *testing.T) {
	rand := stream(17)
	s, r := dealt(rand)
	tree := -1
	for i := range pprf.Trees {
		if block(r, i) != 0 {
			tree = i
			break
		}
	}
	u := &Message{n: 1, U: make([]byte, pprf.Trees*rowSize(1))}
	if _, err := io.ReadFull(rand, u.U); err != nil {
		t.Fatal(err)
	}
	h := newHash(&[32]byte{}, u)
	seen := map[gf]int{}
	for j := range Columns + Tail {
		e := unit(j)
		v := h.of(e)
		if other, ok := seen[v]; ok || v == (gf{}) {
			t.Fatalf("column %d: h(e) = %x, as of column %d", j, v, other)
		}
		seen[v] = j
		if j%16 != 5 && j < Columns+Tail-4 {
			continue
		}
		dsid := [32]byte{byte(j), byte(j >> 8)}
		if _, err := Send(r, dsid, cheat(rand, s, dsid, map[int]int{tree: 0}, e)); !errors.Is(err, ErrCheck) {
			t.Fatalf("column %d: got %v, want ErrCheck", j, err)
		}
	}
}

// The same choices twice: the tail is fresh, so that X says nothing of them.
func TestPitfall17_FreshTail(t *testing.T) {
	s, r := dealt(stream(18))
	beta := bytes.Repeat([]byte{0xa5}, Columns/8)
	var x [2][16]byte
	for k := range x {
		tail := stream(uint64(100 + k))
		out, m, err := Receive(io.MultiReader(bytes.NewReader(beta), tail), s, [32]byte{17}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Beta[:], beta) {
			t.Fatal("the choices are not the first draw")
		}
		if _, err := Send(r, [32]byte{17}, m); err != nil {
			t.Fatal(err)
		}
		x[k] = m.X
	}
	if x[0] == x[1] {
		t.Error("same choices, same X: the tail was used twice")
	}
	if _, _, err := Receive(bytes.NewReader(beta), s, [32]byte{17}, 1); err == nil {
		t.Error("Receive without randomness for the tail")
	}
}

// TH takes dsid and every hash by itself.
func TestTHTakesDSIDAndEveryHash(t *testing.T) {
	sum := func(dsid [32]byte, row int) [32]byte {
		var h [Rows]gf
		if row >= 0 {
			h[row].hi = 1
		}
		return sumOf(&dsid, &h)
	}
	seen := map[[32]byte]int{sum([32]byte{2}, -1): -2}
	for row := -1; row < Rows; row++ {
		v := sum([32]byte{1}, row)
		if other, ok := seen[v]; ok {
			t.Errorf("TH of a change in row %d is that of %d", row, other)
		}
		seen[v] = row
	}
}

// A batch has 1 to 128 signatures, and a message the length of its batch.
func TestBatchSizes(t *testing.T) {
	s, _ := dealt(stream(20))
	for _, n := range []int{-1, 0, MaxBatch + 1} {
		if _, _, err := Receive(stream(20), s, [32]byte{}, n); err == nil {
			t.Errorf("Receive for a batch of %d", n)
		}
		if _, err := DecodeMessage(make([]byte, MessageSize(max(n, 0))), n); err == nil {
			t.Errorf("a message was decoded for a batch of %d", n)
		}
	}
	for _, n := range []int{1, 2, MaxBatch} {
		for d := -1; d <= 1; d++ {
			if _, err := DecodeMessage(make([]byte, MessageSize(n)+d), n); (err == nil) != (d == 0) {
				t.Errorf("batch of %d, %d bytes off: %v", n, d, err)
			}
		}
	}
}

// A failed check gives no columns.
func TestFailureGivesNothing(t *testing.T) {
	s, r := dealt(stream(21))
	_, m, err := Receive(stream(21), s, [32]byte{21}, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.X[0] ^= 1
	if out, err := Send(r, [32]byte{21}, m); out != nil || !errors.Is(err, ErrCheck) {
		t.Errorf("got columns, and %v", err)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(make([]byte, MessageSize(1)), 1)
	f.Add(make([]byte, MessageSize(3)), 3)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m, err := DecodeMessage(b, n)
		if err != nil {
			return
		}
		if got, _ := m.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}
