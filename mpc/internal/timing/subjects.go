package main

import (
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"filippo.io/edwards25519"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

func subjects() []subject {
	return slices.Concat(curveSubjects(), otSubjects(), frostSubjects(), comparisons())
}

// source is a reproducible reader; its bytes are nobody's secret.
func source(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// secretOf fills b: with zeroes in the fixed class, else at random.
func secretOf(class int, r *rand.ChaCha8, b []byte) {
	clear(b)
	if class == 1 {
		_, _ = r.Read(b)
	}
}

// scalars are the inputs of both classes: 1, and random ones.
func scalars(first uint64) (ks [2][variants]*secp256k1.Scalar, err error) {
	for class := range ks {
		for v := range ks[class] {
			k := secp256k1.NewScalar().SetUint64(1)
			if class == 1 {
				if err := k.SetRandom(source(first + uint64(v))); err != nil {
					return ks, err
				}
			}
			ks[class][v] = k
		}
	}
	return ks, nil
}

// onScalar is a subject of secp256k1 with a secret scalar.
func onScalar(name string, samples int, op func() (func(k *secp256k1.Scalar), error)) subject {
	return subject{name: name, secret: "scalar", samples: samples, open: func() (func(int, int), func(), error) {
		ks, err := scalars(1)
		if err != nil {
			return nil, nil, err
		}
		f, err := op()
		if err != nil {
			return nil, nil, err
		}
		k := secp256k1.NewScalar()
		return func(class, v int) { k.Set(ks[class][v]) }, func() { f(k) }, nil
	}}
}

// onEdwards is a subject of Ed25519 with a secret scalar.
func onEdwards(name string, samples int, f func(k *edwards25519.Scalar)) subject {
	return subject{name: name, secret: "scalar", samples: samples, open: func() (func(int, int), func(), error) {
		var ks [2][variants]*edwards25519.Scalar
		for class := range ks {
			for v := range ks[class] {
				var b [64]byte
				secretOf(class, source(uint64(v)), b[:])
				if class == 0 {
					b[0] = 1
				}
				k, err := edwards25519.NewScalar().SetUniformBytes(b[:])
				if err != nil {
					return nil, nil, err
				}
				ks[class][v] = k
			}
		}
		k := edwards25519.NewScalar()
		return func(class, v int) { k.Set(ks[class][v]) }, func() { f(k) }, nil
	}}
}

func curveSubjects() []subject {
	p := secp256k1.NewPoint()
	g := secp256k1.NewPoint().Double(secp256k1.Generator())
	var q edwards25519.Point
	eg := new(edwards25519.Point).Add(edwards25519.NewGeneratorPoint(), edwards25519.NewGeneratorPoint())
	return []subject{
		onScalar("secp256k1-base-mult", 20000, func() (func(*secp256k1.Scalar), error) {
			return func(k *secp256k1.Scalar) { p.ScalarBaseMult(k) }, nil
		}),
		onScalar("secp256k1-mult", 10000, func() (func(*secp256k1.Scalar), error) {
			return func(k *secp256k1.Scalar) { p.ScalarMult(k, g) }, nil
		}),
		onScalar("secp256k1-table-mult", 20000, func() (func(*secp256k1.Scalar), error) {
			t, err := secp256k1.NewTable(g)
			return func(k *secp256k1.Scalar) { p.ScalarTableMult(k, t) }, err
		}),
		onScalar("secp256k1-scalar-invert", 20000, func() (func(*secp256k1.Scalar), error) {
			inv := secp256k1.NewScalar()
			return func(k *secp256k1.Scalar) { inv.Invert(k) }, nil
		}),
		onScalar("secp256k1-scalar-mul", 20000, func() (func(*secp256k1.Scalar), error) {
			s := secp256k1.NewScalar()
			return func(k *secp256k1.Scalar) {
				s.SetUint64(3)
				for range 32 {
					s.Mul(s, k)
				}
			}, nil
		}),
		onEdwards("ed25519-base-mult", 20000, func(k *edwards25519.Scalar) { q.ScalarBaseMult(k) }),
		onEdwards("ed25519-mult", 10000, func(k *edwards25519.Scalar) { q.ScalarMult(k, eg) }),
		onEdwards("ed25519-scalar-invert", 10000, func(k *edwards25519.Scalar) { edwards25519.NewScalar().Invert(k) }),
	}
}

// batch is how often a comparison, which takes nanoseconds, is made in a sample.
const batch = 64

// compared is a subject that compares two secrets: equal ones in the fixed class,
// different ones in the other.
func compared(name string, samples int, equal func(a, b *[32]byte)) subject {
	return subject{name: name, secret: "whether and where two values differ", samples: samples, open: func() (func(int, int), func(), error) {
		var left, right [2][variants][32]byte
		for class := range left {
			for v := range left[class] {
				r := source(uint64(v))
				_, _ = r.Read(left[class][v][:])
				left[class][v][0] = 0 // below the order, as a scalar
				right[class][v] = left[class][v]
				if class == 1 {
					_, _ = r.Read(right[class][v][1:])
				}
			}
		}
		var a, b [32]byte
		return func(class, v int) { a, b = left[class][v], right[class][v] }, func() {
			for range batch {
				equal(&a, &b)
			}
		}, nil
	}}
}

var sink int

func comparisons() []subject {
	var s, t secp256k1.Scalar
	return []subject{
		compared("compare-bytes", 20000, func(a, b *[32]byte) { sink += subtle.ConstantTimeCompare(a[:], b[:]) }),
		compared("compare-scalars", 20000, func(a, b *[32]byte) {
			if s.SetBytes(a[:]) == nil && t.SetBytes(b[:]) == nil {
				sink += s.Equal(&t) + t.IsZero()
			}
		}),
		{name: "compare-points", secret: "whether two points are equal", samples: 10000, open: points},
	}
}

// points compares one point with itself, or with another.
func points() (func(int, int), func(), error) {
	ks, err := scalars(1)
	if err != nil {
		return nil, nil, err
	}
	fixed := secp256k1.NewPoint().ScalarMult(ks[1][0], secp256k1.Generator())
	var ps [2][variants]*secp256k1.Point
	for class := range ps {
		for v := range ps[class] {
			k := ks[1][v]
			if class == 0 {
				k = ks[1][0]
			}
			ps[class][v] = secp256k1.NewPoint().ScalarMult(k, secp256k1.Generator())
		}
	}
	p := secp256k1.NewPoint()
	return func(class, v int) { p.Set(ps[class][v]) }, func() {
		for range batch {
			sink += p.Equal(fixed) + p.IsIdentity()
		}
	}, nil
}
