package secp256k1

import (
	"crypto/sha256"
	"errors"
)

// The curve E': y^2 = x^3 + A'x + B', 3-isogenous to secp256k1, and the
// constants of RFC 9380, section 8.7 and appendix E.1.
var (
	ssA  = fe{0x447c01a444533, 0x63cb6f0e5d405, 0xf5d272e953d3, 0x1adca08a5558f, 0x3f8731abdd66}
	ssB  = fe{l0: 1771}
	ssC2 = fe{0x729c8303c4a59, 0xa74789dd286, 0xf842afeec184f, 0x13e57ad13fb38, 0x31fdf3027240} // sqrt(-Z) = sqrt(11)

	isoXNum = [4]fe{
		{0x8e38daaaaa8c7, 0x38e38e38e38e3, 0xe38e38e38e38e, 0x8e38e38e38e38, 0x8e38e38e38e3},
		{0xf1044f17c6581, 0xfc0bf63b92dff, 0x7fd44c5d595d2, 0x21d5b9f315cea, 0x7d3d4c80bc3},
		{0xbd0b53d9dd262, 0x44037c40314ec, 0xa25caece45061, 0x34e6e2a413dec, 0x534c328d23f2},
		{0x8e38daaaaa88c, 0x38e38e38e38e3, 0xe38e38e38e38e, 0x8e38e38e38e38, 0x8e38e38e38e3},
	}
	isoXDen = [3]fe{
		{0x6b745781eb49b, 0x9542f8487d9fe, 0x7b640dd86cd40, 0x918a9ca34ccbb, 0xd35771193d94},
		{0xa56612a8c6d14, 0x641f5e41bbc52, 0xb54225406d36b, 0xdc1df7c4b2d51, 0xedadc6f64383},
		{l0: 1},
	}
	isoYNum = [4]fe{
		{0xf684b8e38e23c, 0xda12f684bda12, 0x684bda12f684b, 0xa12f684bda12f, 0x4bda12f684bd},
		{0xc90fc201d71a3, 0x46d686da6fdff, 0x2a0a6d5647ab0, 0x7c0fa9d0a54b1, 0xc75e0c32d5cb},
		{0x5e85a9ecee931, 0xa201be2018a76, 0x512e576722830, 0x1a73715209ef6, 0x29a6194691f9},
		{0xda12f38e38d84, 0x684bda12f684b, 0xa12f684bda12f, 0x84bda12f684bd, 0x2f684bda12f6},
	}
	isoYDen = [4]fe{
		{0xffffefffff93b, 0xfffffffffffff, 0xfffffffffffff, 0xfffffffffffff, 0xffffffffffff},
		{0x425d2685c2573, 0xbfc8e8d978dfb, 0x722c2989467c1, 0xb49fd5e9e6632, 0x7a06534bb8bd},
		{0xf8192bfd2a76f, 0x162f0d6299a7b, 0x8fe337e0a3d21, 0xca2cf3a70c3fa, 0x6484aa716545},
		{l0: 1},
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
	var a, b proj
	mapToCurve(&a, &u[0])
	mapToCurve(&b, &u[1])
	p := new(Point)
	p.v.add(&a, &b)
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

// mapToCurve sets p to the image of u under the simplified SWU map to E'
// (RFC 9380, appendix F.2, with the division left out: x = n/d) and the isogeny.
func mapToCurve(p *proj, u *fe) {
	var t1, t2, n1, n2, d, gx, gd, y1, y, s fe
	// t1 = Z u^2, Z = -11
	t1.sqr(u)
	t1.mulSmall(&t1, 11)
	t1.sub(&feZero, &t1, 12)
	t1.carry()
	t2.sqr(&t1)
	t2.add(&t2, &t1) // Z^2 u^4 + Z u^2, 2
	// n1 = B (t2 + 1), d = -A t2, or Z A if t2 = 0.
	n1 = t2
	n1.l0++
	n1.mul(&n1, &ssB)
	s.mulSmall(&ssA, 11)
	s.sub(&feZero, &s, 12)
	s.carry() // Z A
	d.mul(&ssA, &t2)
	d.sub(&feZero, &d, 2)
	d.sel(&s, &d, t2.isZeroMask())
	// gx/gd = n1^3/d^3 + A n1/d + B
	gx.sqr(&n1)
	s.sqr(&d)
	t2.mul(&ssA, &s)
	gx.add(&gx, &t2)
	gx.mul(&gx, &n1)
	gd.mul(&s, &d)
	t2.mul(&ssB, &gd)
	gx.add(&gx, &t2)

	n2.mul(&t1, &n1) // the other candidate, x2 = Z u^2 x1
	square := sqrtRatio(&y1, &gx, &gd)
	y.mul(&t1, u)
	y.mul(&y, &y1)
	n1.sel(&n1, &n2, square)
	y.sel(&y1, &y, square)
	// The sign of y is that of u.
	s.sub(&feZero, &y, 2)
	y.sel(&s, &y, -(u.isOdd() ^ y.isOdd()))
	isogeny(p, &n1, &d, &y)
}

// sqrtRatio sets y = sqrt(u/v) and returns all ones if u/v is a square, else
// y = sqrt(Z u/v) and zero (RFC 9380, appendix F.2.1.2, p = 3 mod 4).
func sqrtRatio(y, u, v *fe) uint64 {
	var t1, t2, y1, y2 fe
	t1.sqr(v)
	t2.mul(u, v)
	t1.mul(&t1, &t2) // u v^3
	y1.powP34(&t1)
	y1.mul(&y1, &t2)
	y2.mul(&y1, &ssC2)
	t1.sqr(&y1)
	t1.mul(&t1, v)
	t1.sub(&t1, u, 3)
	square := t1.isZeroMask()
	y.sel(&y1, &y2, square)
	return square
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
		z.add(z, &t) // 4
	}
	cubic(&xn, &isoXNum)
	cubic(&yn, &isoYNum)
	cubic(&yd, &isoYDen)
	xd.mul(&isoXDen[0], &d3)
	t.mul(&isoXDen[1], &nd2)
	xd.add(&xd, &t)
	xd.add(&xd, &n2d) // 3
	yn.mul(&yn, y)
	p.x.mul(&xn, &yd)
	p.y.mul(&yn, &xd)
	p.z.mul(&xd, &yd)
	identity := proj{y: feOne}
	p.sel(&identity, p, p.z.isZeroMask())
}
