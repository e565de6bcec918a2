package secp256k1

import (
	"errors"
	"sync"
)

const (
	tableWindow = 5
	tableDigits = 52
	tableOdd    = 1 << (tableWindow - 1)
)

// Table holds multiples of one point, so that ScalarTableMult is about three
// times as fast as ScalarMult. It takes 53 kB, and as long to make as ten
// multiplications.
type Table struct {
	// rows[i][j] is (2j+1) * 32^i times the point.
	rows [tableDigits][tableOdd]affinePoint
}

var errTableIdentity = errors.New("the identity has no table of multiples")

// NewTable makes the table of q. The identity is an error: nobody multiplies it.
func NewTable(q *Point) (*Table, error) {
	if q.IsIdentity() == 1 {
		return nil, errTableIdentity
	}
	t := new(Table)
	t.init(&q.v)
	return t, nil
}

// generatorTable is the table of G, made at its first use.
var generatorTable = sync.OnceValue(func() *Table {
	t := new(Table)
	t.init(&Generator().v)
	return t
})

// init fills t with the multiples of q, which is not the identity. The group
// has a prime order: none of them is.
func (t *Table) init(q *proj) {
	pts := make([]proj, tableDigits*tableOdd)
	g := *q
	for i := range tableDigits {
		var two proj
		two.double(&g)
		row := pts[i*tableOdd : (i+1)*tableOdd]
		row[0] = g
		for j := 1; j < tableOdd; j++ {
			row[j].add(&row[j-1], &two)
		}
		for range tableWindow {
			g.double(&g)
		}
	}
	// Divide by all Z with one inversion.
	prefix := make([]fe, len(pts))
	acc := feOne
	for i := range pts {
		prefix[i] = acc
		acc.mul(&acc, &pts[i].z)
	}
	acc.invert(&acc)
	for i := len(pts) - 1; i >= 0; i-- {
		var zi fe
		zi.mul(&acc, &prefix[i])
		acc.mul(&acc, &pts[i].z)
		e := &t.rows[i/tableOdd][i%tableOdd]
		e.x.mul(&pts[i].x, &zi)
		e.y.mul(&pts[i].y, &zi)
	}
}

// lookup sets p to the multiple of the odd digit 2v - 31 in row i, which is
// public. It reads the whole row.
func (t *Table) lookup(p *affinePoint, i int, v uint64) {
	neg := v>>4 - 1 // all ones for v < 16
	idx := (v ^ neg) & 15
	*p = affinePoint{}
	row := &t.rows[i]
	for j := range row {
		m := zeroMask(idx ^ uint64(j))
		e := &row[j]
		p.x[0] |= m & e.x[0]
		p.x[1] |= m & e.x[1]
		p.x[2] |= m & e.x[2]
		p.x[3] |= m & e.x[3]
		p.y[0] |= m & e.y[0]
		p.y[1] |= m & e.y[1]
		p.y[2] |= m & e.y[2]
		p.y[3] |= m & e.y[3]
	}
	p.y.condNeg(&p.y, neg)
}

// scalarHalf is 1/2 and tableOffset is (2^260 - 1)/2, mod q.
var (
	scalarHalf  = Scalar{[4]uint64{0xdfe92f46681b20a1, 0x5d576e7357a4501d, 0xffffffffffffffff, 0x7fffffffffffffff}}
	tableOffset = Scalar{[4]uint64{0xe1563adfe6691698, 0x87e0873ddd5f4e3f, 0x9, 0x8000000000000000}}
)

// ScalarBaseMult sets p = k*G in constant time.
func (p *Point) ScalarBaseMult(k *Scalar) *Point {
	return p.ScalarTableMult(k, generatorTable())
}

// ScalarTableMult sets p = k*q, q being the point of the table, in constant
// time.
func (p *Point) ScalarTableMult(k *Scalar, t *Table) *Point {
	// With u = (k + 2^260 - 1)/2 mod q, k is the sum of (2u_i - 1) 2^i over the
	// 260 bits u_i of u: every digit of 5 bits is odd, none is zero.
	var u Scalar
	u.Mul(k, &scalarHalf)
	u.Add(&u, &tableOffset)
	var e affinePoint
	t.lookup(&e, tableDigits-1, u.bits5((tableDigits-1)*tableWindow))
	acc := proj{x: e.x, y: e.y, z: feOne}
	for i := tableDigits - 2; i >= 0; i-- {
		t.lookup(&e, i, u.bits5(uint(i*tableWindow)))
		acc.addAffine(&acc, &e)
	}
	p.v = acc
	return p
}

// bits5 returns the 5 bits of s from bit i on; i is public.
func (s *Scalar) bits5(i uint) uint64 {
	w, b := i/64, i%64
	v := s.n[w] >> b
	if b > 59 && w < 3 {
		v |= s.n[w+1] << (64 - b)
	}
	return v & 31
}
