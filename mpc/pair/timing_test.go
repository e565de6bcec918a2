package pair_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/vole"
)

// The benchmarks of this file are a statistical test of constant time in the
// manner of dudect (eprint 2016/1123): one secret that is fixed against secrets
// that are random, in random order, Welch's t over the samples. They report t;
// |t| above 4.5 with some ten thousand samples means that time depends on the
// secret. They are benchmarks since a loaded machine proves nothing either way:
//
//	go test -run '^$' -bench Timing -benchtime 20000x ./mpc/pair

// variants is how many inputs each class has; each holds the class's secret, and
// all else is fresh, so that caches do not tell the classes apart.
const variants = 32

// welch measures run(class, variant) and reports t.
func welch(b *testing.B, prepare func(class, variant int), run func()) {
	b.Helper()
	order := rand.New(rand.NewPCG(1, 2))
	var times [2][]float64
	for b.Loop() {
		class, variant := order.IntN(2), order.IntN(variants)
		prepare(class, variant)
		start := time.Now()
		run()
		times[class] = append(times[class], float64(time.Since(start)))
	}
	// What interrupts cost is cut off, at one threshold for both classes.
	all := slices.Sorted(slices.Values(slices.Concat(times[0], times[1])))
	cut := all[len(all)*9/10]
	var n, mean, variance [2]float64
	for c := range times {
		kept := slices.DeleteFunc(times[c], func(x float64) bool { return x > cut })
		n[c] = float64(len(kept))
		for _, x := range kept {
			mean[c] += x / n[c]
		}
		for _, x := range kept {
			variance[c] += (x - mean[c]) * (x - mean[c]) / (n[c] - 1)
		}
	}
	b.ReportMetric((mean[0]-mean[1])/math.Sqrt(variance[0]/n[0]+variance[1]/n[1]), "t")
}

// source is a reproducible reader; its bytes are no secret of anybody.
func source(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// secretOf is the fixed secret of class 0 or a random one.
func secretOf(class int, r *rand.ChaCha8, b []byte) {
	clear(b)
	if class == 1 {
		_, _ = r.Read(b)
	}
}

// Δ of the base OT: the choice between two points, 128 times.
func BenchmarkTimingBaseOTChoice(b *testing.B) {
	_, m1, err := baseot.Start(source(1))
	if err != nil {
		b.Fatal(err)
	}
	var stream [2][variants][]byte
	for class := range stream {
		for v := range stream[class] {
			s := make([]byte, 16+baseot.N*80)
			r := source(uint64(100*class + v + 2))
			_, _ = r.Read(s)
			secretOf(class, r, s[:16])
			stream[class][v] = s
		}
	}
	in := make([]byte, len(stream[0][0]))
	welch(b, func(class, v int) { copy(in, stream[class][v]) }, func() {
		if _, _, err := baseot.Receive(bytes.NewReader(in), baseot.Instance{Sender: 1, Receiver: 2}, m1); err != nil {
			b.Fatal(err)
		}
	})
}

// deal makes the outputs of base OTs.
func deal(r *rand.ChaCha8, class int) (*baseot.SenderOutput, *baseot.ReceiverOutput) {
	bob, alice := new(baseot.SenderOutput), new(baseot.ReceiverOutput)
	secretOf(class, r, alice.Delta[:])
	for i := range baseot.N {
		_, _ = r.Read(bob.K0[i][:])
		_, _ = r.Read(bob.K1[i][:])
		alice.K[i] = bob.K0[i]
		if alice.Delta[i/8]>>(i%8)&1 == 1 {
			alice.K[i] = bob.K1[i]
		}
	}
	return bob, alice
}

// Δ in the OT extension.
func BenchmarkTimingExtensionDelta(b *testing.B) {
	dsid := [32]byte{1}
	var seeds [2][variants]*baseot.ReceiverOutput
	var messages [2][variants]*otext.Message
	for class := range seeds {
		for v := range seeds[class] {
			r := source(uint64(100*class + v))
			bob, alice := deal(r, class)
			_, m, err := otext.Receive(r, bob, dsid)
			if err != nil {
				b.Fatal(err)
			}
			seeds[class][v], messages[class][v] = alice, m
		}
	}
	var in baseot.ReceiverOutput
	var m otext.Message
	welch(b, func(class, v int) { in, m = *seeds[class][v], *messages[class][v] }, func() {
		if _, err := otext.Send(&in, dsid, &m); err != nil {
			b.Fatal(err)
		}
	})
}

// β in the VOLE.
func BenchmarkTimingVOLEBeta(b *testing.B) {
	one := secp256k1.NewScalar().SetUint64(1)
	a := [2]*secp256k1.Scalar{one, one}
	r := source(7)
	bob, alice := deal(r, 1)
	var receiver *vole.Receiver
	var m2 *vole.Message2
	n := uint64(0)
	welch(b, func(class, _ int) {
		n++
		var dsid [32]byte
		binary.BigEndian.PutUint64(dsid[:], n)
		x := make([]byte, 68) // β and the tail
		_, _ = r.Read(x)
		secretOf(class, r, x[:52])
		var m1 *vole.Message1
		var err error
		if receiver, m1, err = vole.Receive(bytes.NewReader(x), bob, dsid); err != nil {
			b.Fatal(err)
		}
		if _, m2, err = vole.Send(r, alice, dsid, m1, a); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if _, err := receiver.Finish(m2); err != nil {
			b.Fatal(err)
		}
	})
}

// Scalars of the group.
func BenchmarkTimingScalar(b *testing.B) {
	var ks [2][variants]*secp256k1.Scalar
	for class := range ks {
		for v := range ks[class] {
			ks[class][v] = secp256k1.NewScalar().SetUint64(1)
			if class == 1 {
				if err := ks[class][v].SetRandom(source(uint64(v))); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	k, p := secp256k1.NewScalar(), secp256k1.NewPoint()
	g := secp256k1.NewPoint().Double(secp256k1.Generator())
	pick := func(class, v int) { k.Set(ks[class][v]) }
	b.Run("base", func(b *testing.B) { welch(b, pick, func() { p.ScalarBaseMult(k) }) })
	b.Run("point", func(b *testing.B) { welch(b, pick, func() { p.ScalarMult(k, g) }) })
	b.Run("invert", func(b *testing.B) { welch(b, pick, func() { secp256k1.NewScalar().Invert(k) }) })
}

// The measure finds what it is for: a branch on the secret.
func BenchmarkTimingControl(b *testing.B) {
	secret, sink := 0, uint64(0)
	welch(b, func(class, _ int) { secret = class }, func() {
		for i := range uint64(2000 + 200*secret) {
			sink += i * sink
		}
	})
	if sink == 1 {
		b.Fatal("never")
	}
}
