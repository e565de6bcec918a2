package vole

import (
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/pprf"
)

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

func scalar(t testing.TB, rand io.Reader) *secp256k1.Scalar {
	t.Helper()
	s := secp256k1.NewScalar()
	if err := s.SetRandom(rand); err != nil {
		t.Fatal(err)
	}
	return s
}

// holds reports whether c_w + d_w = a_w·χ for both w.
func holds(a [2]*secp256k1.Scalar, chi *secp256k1.Scalar, c, d [2]secp256k1.Scalar) bool {
	ok := 1
	for w := range a {
		l := secp256k1.NewScalar().Add(&c[w], &d[w])
		ok &= l.Equal(secp256k1.NewScalar().Mul(a[w], chi))
	}
	return ok == 1
}

// c_w + d_w = a_w·χ, over the wire.
func TestCorrect(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 7} {
		seed := uint64(n)
		rand := stream(seed)
		bobSeeds, aliceSeeds := dealt(rand)
		dsid := [32]byte{byte(seed)}
		bob, m1, err := Receive(rand, bobSeeds, dsid, n)
		if err != nil {
			t.Fatal(err)
		}
		b1, _ := m1.MarshalBinary()
		if len(b1) != Message1Size(n) {
			t.Fatalf("message 1 has %d bytes, want %d", len(b1), Message1Size(n))
		}
		in1, err := DecodeMessage1(b1, n)
		if err != nil {
			t.Fatal(err)
		}
		var a [][2]*secp256k1.Scalar
		for range n {
			a = append(a, [2]*secp256k1.Scalar{scalar(t, rand), scalar(t, rand)})
		}
		c, m2, err := Send(rand, aliceSeeds, dsid, in1, a)
		if err != nil {
			t.Fatal(err)
		}
		b2, _ := m2.MarshalBinary()
		if len(b2) != Message2Size(n) {
			t.Fatalf("message 2 has %d bytes, want %d", len(b2), Message2Size(n))
		}
		in2, err := DecodeMessage2(b2, n)
		if err != nil {
			t.Fatal(err)
		}
		d, err := bob.Finish(in2)
		if err != nil {
			t.Fatal(err)
		}
		for k := range n {
			if !holds(a[k], bob.Chi(k), c[k], d[k]) {
				t.Fatalf("signature %d of %d: c + d is not a·χ", k, n)
			}
			if bob.Chi(k).IsZero() == 1 || k > 0 && bob.Chi(k).Equal(bob.Chi(k-1)) == 1 {
				t.Fatalf("signature %d of %d: χ is zero or that of another", k, n)
			}
		}
		if _, err := bob.Finish(in2); !errors.Is(err, errFinished) {
			t.Fatalf("second Finish: got %v, want %v", err, errFinished)
		}
	}
}

func BenchmarkVOLE(b *testing.B) {
	rand := stream(1)
	bobSeeds, aliceSeeds := dealt(rand)
	dsid := [32]byte{1}
	a := [][2]*secp256k1.Scalar{{scalar(b, rand), scalar(b, rand)}}
	bob, m1, err := Receive(rand, bobSeeds, dsid, 1)
	if err != nil {
		b.Fatal(err)
	}
	_, m2, err := Send(rand, aliceSeeds, dsid, m1, a)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("receive", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Receive(rand, bobSeeds, dsid, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("send", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Send(rand, aliceSeeds, dsid, m1, a); err != nil {
				b.Fatal(err)
			}
		}
	})
	out := copyOf(bob.out)
	b.Run("finish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bob.out = copyOf(out)
			if _, err := bob.Finish(m2); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("both-%d", n), func(b *testing.B) { benchmarkBoth(b, n) })
	}
}

// benchmarkBoth is a batch of n with its encodings; ns/signature is of both sides.
func benchmarkBoth(b *testing.B, n int) {
	rand := stream(2)
	bobSeeds, aliceSeeds := dealt(rand)
	var a [][2]*secp256k1.Scalar
	for range n {
		a = append(a, [2]*secp256k1.Scalar{scalar(b, rand), scalar(b, rand)})
	}
	b.ReportAllocs()
	for b.Loop() {
		r, m1, _ := Receive(rand, bobSeeds, [32]byte{1}, n)
		_, m2, _ := Send(rand, aliceSeeds, [32]byte{1}, m1, a)
		if _, err := r.Finish(m2); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
}

func copyOf(o *otext.ReceiverOutput) *otext.ReceiverOutput {
	return &otext.ReceiverOutput{Beta: slices.Clone(o.Beta), T: slices.Clone(o.T)}
}
