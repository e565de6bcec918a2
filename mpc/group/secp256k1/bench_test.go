package secp256k1

import (
	"crypto/ed25519"
	"math/rand/v2"
	"strconv"
	"testing"
)

func randScalar() *Scalar {
	var b [48]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return NewScalar().SetWide(&b)
}

func BenchmarkStdEd25519Verify(b *testing.B) {
	pub, priv, _ := ed25519.GenerateKey(nil)
	msg := make([]byte, 32)
	sig := ed25519.Sign(priv, msg)
	for b.Loop() {
		if !ed25519.Verify(pub, msg, sig) {
			b.Fatal("signature refused")
		}
	}
}

func BenchmarkBaseMult(b *testing.B) {
	k, p := randScalar(), NewPoint()
	for b.Loop() {
		p.ScalarBaseMult(k)
	}
}

func BenchmarkVarMult(b *testing.B) {
	k := randScalar()
	q := NewPoint().ScalarBaseMult(randScalar())
	p := NewPoint()
	for b.Loop() {
		p.ScalarMult(k, q)
	}
}

func BenchmarkTableMult(b *testing.B) {
	t, err := NewTable(NewPoint().ScalarBaseMult(randScalar()))
	if err != nil {
		b.Fatal(err)
	}
	k, p := randScalar(), NewPoint()
	for b.Loop() {
		p.ScalarTableMult(k, t)
	}
}

func BenchmarkNewTable(b *testing.B) {
	q := NewPoint().ScalarBaseMult(randScalar())
	for b.Loop() {
		if _, err := NewTable(q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMultiScalarMultVartime(b *testing.B) {
	for _, n := range []int{1, 2, 4, 16} {
		ks, ps := make([]*Scalar, n), make([]*Point, n)
		for i := range ks {
			ks[i] = randScalar()
			ps[i] = NewPoint().ScalarBaseMult(randScalar())
		}
		p := NewPoint()
		b.Run(string(rune('0'+n/10))+string(rune('0'+n%10)), func(b *testing.B) {
			for b.Loop() {
				p.MultiScalarMultVartime(ks, ps)
			}
		})
	}
}

func BenchmarkMultiScalarMult(b *testing.B) {
	for _, n := range []int{1, 2, 4, 16, 64} {
		ks, ps := make([]*Scalar, n), make([]*Point, n)
		for i := range ks {
			ks[i] = randScalar()
			ps[i] = NewPoint().ScalarBaseMult(randScalar())
		}
		p := NewPoint()
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				p.MultiScalarMult(ks, ps)
			}
		})
	}
}

func BenchmarkScalarMul(b *testing.B) {
	x, y := randScalar(), randScalar()
	for b.Loop() {
		x.Mul(x, y)
	}
}

func BenchmarkInnerProduct416(b *testing.B) {
	x, y := make([]Scalar, 416), make([]Scalar, 416)
	for i := range x {
		x[i], y[i] = *randScalar(), *randScalar()
	}
	s := NewScalar()
	for b.Loop() {
		s.InnerProduct(x, y)
	}
}

func BenchmarkInvert(b *testing.B) {
	x := randScalar()
	for b.Loop() {
		x.Invert(x)
	}
}

func BenchmarkPointBytes(b *testing.B) {
	p := NewPoint().ScalarBaseMult(randScalar())
	for b.Loop() {
		p.Bytes()
	}
}

func BenchmarkPointSetBytes(b *testing.B) {
	enc := NewPoint().ScalarBaseMult(randScalar()).Bytes()
	p := NewPoint()
	for b.Loop() {
		if err := p.SetBytes(enc[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPointAdd(b *testing.B) {
	p, q := NewPoint().ScalarBaseMult(randScalar()), NewPoint().ScalarBaseMult(randScalar())
	for b.Loop() {
		p.Add(p, q)
	}
}

func BenchmarkHashToCurve(b *testing.B) {
	msg := make([]byte, 64)
	for b.Loop() {
		if _, err := HashToCurve([]byte(rfc9380DST), msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFieldMul(b *testing.B) {
	x, y := generatorX, generatorY
	for b.Loop() {
		x.mul(&x, &y)
	}
}

func BenchmarkFieldSqr(b *testing.B) {
	x := generatorX
	for b.Loop() {
		x.sqr(&x)
	}
}
