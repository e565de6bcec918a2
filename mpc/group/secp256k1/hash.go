package secp256k1

import (
	"crypto/sha256"
	"errors"
)

// The curve E': y^2 = x^3 + A'x + B', 3-isogenous to secp256k1, and the
// constants of RFC 9380, section 8.7 and appendix E.1.
var (
	ssA  = fe{0x405447c01a444533, 0xe953d363cb6f0e5d, 0xa08a5558f0f5d272, 0x3f8731abdd661adc}
	ssB  = fe{1771}
	ssC2 = fe{0x286729c8303c4a59, 0xec184f00a74789dd, 0x7ad13fb38f842afe, 0x31fdf302724013e5} // sqrt(-Z) = sqrt(11)

	isoXNum = [4]fe{
		{0x8e38e38daaaaa8c7, 0x38e38e38e38e38e3, 0xe38e38e38e38e38e, 0x8e38e38e38e38e38},
		{0xdfff1044f17c6581, 0xd595d2fc0bf63b92, 0xb9f315cea7fd44c5, 0x07d3d4c80bc321d5},
		{0x4ecbd0b53d9dd262, 0xe4506144037c4031, 0xe2a413deca25caec, 0x534c328d23f234e6},
		{0x8e38e38daaaaa88c, 0x38e38e38e38e38e3, 0xe38e38e38e38e38e, 0x8e38e38e38e38e38},
	}
	isoXDen = [3]fe{
		{0x9fe6b745781eb49b, 0x86cd409542f8487d, 0x9ca34ccbb7b640dd, 0xd35771193d94918a},
		{0xc52a56612a8c6d14, 0x06d36b641f5e41bb, 0xf7c4b2d51b542254, 0xedadc6f64383dc1d},
		{1},
	}
	isoYNum = [4]fe{
		{0xa12f684b8e38e23c, 0x2f684bda12f684bd, 0x684bda12f684bda1, 0x4bda12f684bda12f},
		{0xdffc90fc201d71a3, 0x647ab046d686da6f, 0xa9d0a54b12a0a6d5, 0xc75e0c32d5cb7c0f},
		{0xa765e85a9ecee931, 0x722830a201be2018, 0x715209ef6512e576, 0x29a6194691f91a73},
		{0x84bda12f38e38d84, 0xbda12f684bda12f6, 0xa12f684bda12f684, 0x2f684bda12f684bd},
	}
	isoYDen = [4]fe{
		{0xfffffffefffff93b, 0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff},
		{0xdfb425d2685c2573, 0x9467c1bfc8e8d978, 0xd5e9e6632722c298, 0x7a06534bb8bdb49f},
		{0xa7bf8192bfd2a76f, 0x0a3d21162f0d6299, 0xf3a70c3fa8fe337e, 0x6484aa716545ca2c},
		{1},
	}
)

// HashToCurve is the suite secp256k1_XMD:SHA-256_SSWU_RO_ of RFC 9380: it maps
// msg to a point whose discrete logarithm nobody knows. Its time depends on the
// lengths of dst and msg only.
func HashToCurve(dst, msg []byte) (*Point, error) {
	if len(dst) == 0 {
		return nil, errors.New("hash to curve needs a domain separation tag, got none")
	}
	uniform := expandMessage(dst, msg)
	defer clear(uniform[:])
	var u [2]fe
	for i := range u {
		u[i].setWide((*[48]byte)(uniform[48*i:]))
	}
	var q [2]proj
	mapToCurve(&q, &u)
	p := new(Point)
	p.v.add(&q[0], &q[1])
	return p, nil
}

// expandMessage is expand_message_xmd of RFC 9380, section 5.3.1, with SHA-256
// and 96 bytes of output.
func expandMessage(dst, msg []byte) (out [96]byte) {
	if len(dst) > 255 {
		h := sha256.New()
		h.Write([]byte("H2C-OVERSIZE-DST-"))
		h.Write(dst)
		dst = h.Sum(nil)
	}
	dstLen := []byte{byte(len(dst))}
	var pad [sha256.BlockSize]byte
	h := sha256.New()
	h.Write(pad[:])
	h.Write(msg)
	h.Write([]byte{0, byte(len(out)), 0})
	h.Write(dst)
	h.Write(dstLen)
	var b0, bi [32]byte
	h.Sum(b0[:0])
	for i := range 3 {
		h.Reset()
		for j := range bi {
			bi[j] ^= b0[j]
		}
		h.Write(bi[:])
		h.Write([]byte{byte(i + 1)})
		h.Write(dst)
		h.Write(dstLen)
		h.Sum(bi[:0])
		copy(out[32*i:], bi[:])
	}
	return out
}

// mapToCurve sets both p to the images of the u under the simplified SWU map to
// E' (RFC 9380, appendix F.2, with the division left out: x = n/d) and the
// isogeny.
func mapToCurve(p *[2]proj, u *[2]fe) {
	var m [2]swu
	var power [2]fe
	for i := range m {
		m[i].candidates(&u[i])
		power[i] = m[i].uv3
	}
	powP34(&power)
	for i := range m {
		m[i].choose(&p[i], &u[i], &power[i])
	}
}

// swu is the state of one map around its exponentiation. The two candidates for
// x are n1/d and n2/d, and gx/gd is the right side of E' at the first.
type swu struct {
	zu2, n1, n2, d, gx, gd fe
	uv, uv3                fe // gx*gd, gx*gd^3
}

func (m *swu) candidates(u *fe) {
	var t, s fe
	// zu2 = Z u^2, Z = -11
	m.zu2.sqr(u)
	m.zu2.mulSmall(&m.zu2, 11)
	m.zu2.neg(&m.zu2)
	t.sqr(&m.zu2)
	t.add(&t, &m.zu2) // Z^2 u^4 + Z u^2
	// n1 = B (t + 1), d = -A t, or Z A if t = 0.
	m.n1.add(&t, &feOne)
	m.n1.mul(&m.n1, &ssB)
	s.mulSmall(&ssA, 11)
	s.neg(&s) // Z A
	m.d.mul(&ssA, &t)
	m.d.neg(&m.d)
	m.d.sel(&s, &m.d, t.isZeroMask())
	m.n2.mul(&m.zu2, &m.n1) // x2 = Z u^2 x1
	// gx/gd = n1^3/d^3 + A n1/d + B
	m.gx.sqr(&m.n1)
	s.sqr(&m.d)
	t.mul(&ssA, &s)
	m.gx.add(&m.gx, &t)
	m.gx.mul(&m.gx, &m.n1)
	m.gd.mul(&s, &m.d)
	t.mul(&ssB, &m.gd)
	m.gx.add(&m.gx, &t)
	m.uv.mul(&m.gx, &m.gd)
	s.sqr(&m.gd)
	m.uv3.mul(&m.uv, &s)
}

// choose takes the candidate that is on E', with the y of the sign of u; power
// is uv3^((p-3)/4). The square root is that of appendix F.2.1.2, p = 3 mod 4.
func (m *swu) choose(p *proj, u, power *fe) {
	var y, y1, y2, t fe
	y1.mul(power, &m.uv)
	t.sqr(&y1)
	t.mul(&t, &m.gd)
	t.sub(&t, &m.gx)
	square := t.isZeroMask() // y1^2 = gx/gd
	// If not, sqrt(Z gx/gd) is y1 * sqrt(-Z), and y = Z u^3 times that.
	y2.mul(&y1, &ssC2)
	y2.mul(&y2, &m.zu2)
	y2.mul(&y2, u)
	y.sel(&y1, &y2, square)
	y.condNeg(&y, -(u.isOdd() ^ y.isOdd()))
	var n fe
	n.sel(&m.n1, &m.n2, square)
	isogeny(p, &n, &m.d, &y)
}

// isogeny maps the point (n/d, y) of E' to secp256k1. A point of the kernel
// gives the identity.
func isogeny(p *proj, n, d, y *fe) {
	var n2, n3, d2, d3, nd2, n2d, xn, xd, yn, yd, t fe
	n2.sqr(n)
	n3.mul(&n2, n)
	d2.sqr(d)
	d3.mul(&d2, d)
	nd2.mul(n, &d2)
	n2d.mul(&n2, d)
	cubic := func(z *fe, k *[4]fe) {
		z.mul(&k[0], &d3)
		t.mul(&k[1], &nd2)
		z.add(z, &t)
		t.mul(&k[2], &n2d)
		z.add(z, &t)
		t.mul(&k[3], &n3)
		z.add(z, &t)
	}
	cubic(&xn, &isoXNum)
	cubic(&yn, &isoYNum)
	cubic(&yd, &isoYDen)
	xd.mul(&isoXDen[0], &d3)
	t.mul(&isoXDen[1], &nd2)
	xd.add(&xd, &t)
	xd.add(&xd, &n2d)
	yn.mul(&yn, y)
	p.x.mul(&xn, &yd)
	p.y.mul(&yn, &xd)
	p.z.mul(&xd, &yd)
	identity := proj{y: feOne}
	p.sel(&identity, p, p.z.isZeroMask())
}
