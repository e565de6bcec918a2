package refmodel

import "math/big"

// RFC 9380, suite secp256k1_XMD:SHA-256_SSWU_RO_: the curve E' : y² = x³ + A'x
// + B' that is 3-isogenous to secp256k1 (§8.7), and the isogeny (appendix E.1).
var (
	swA = hexInt("3f8731abdd661adca08a5558f0f5d272e953d363cb6f0e5d405447c01a444533")
	swB = big.NewInt(1771)
	swZ = fint(-11)

	isoXNum = []*big.Int{
		hexInt("8e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38daaaaa8c7"),
		hexInt("07d3d4c80bc321d5b9f315cea7fd44c5d595d2fc0bf63b92dfff1044f17c6581"),
		hexInt("534c328d23f234e6e2a413deca25caece4506144037c40314ecbd0b53d9dd262"),
		hexInt("8e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38daaaaa88c"),
	}
	isoXDen = []*big.Int{
		hexInt("d35771193d94918a9ca34ccbb7b640dd86cd409542f8487d9fe6b745781eb49b"),
		hexInt("edadc6f64383dc1df7c4b2d51b54225406d36b641f5e41bbc52a56612a8c6d14"),
		big.NewInt(1),
	}
	isoYNum = []*big.Int{
		hexInt("4bda12f684bda12f684bda12f684bda12f684bda12f684bda12f684b8e38e23c"),
		hexInt("c75e0c32d5cb7c0fa9d0a54b12a0a6d5647ab046d686da6fdffc90fc201d71a3"),
		hexInt("29a6194691f91a73715209ef6512e576722830a201be2018a765e85a9ecee931"),
		hexInt("2f684bda12f684bda12f684bda12f684bda12f684bda12f684bda12f38e38d84"),
	}
	isoYDen = []*big.Int{
		hexInt("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffff93b"),
		hexInt("7a06534bb8bdb49fd5e9e6632722c2989467c1bfc8e8d978dfb425d2685c2573"),
		hexInt("6484aa716545ca2cf3a70c3fa8fe337e0a3d21162f0d6299a7bf8192bfd2a76f"),
		big.NewInt(1),
	}
)

// expandMessage is expand_message_xmd with SHA-256 (§5.3.1).
func expandMessage(msg, dst []byte, length int) []byte {
	if len(dst) > 255 {
		dst = H256([]byte("H2C-OVERSIZE-DST-"), dst)
	}
	prime := cat(dst, u8(len(dst)))
	b0 := H256(make([]byte, 64), msg, u16(length), u8(0), prime)
	bi := H256(b0, u8(1), prime)
	out := bi
	for i := 2; len(out) < length; i++ {
		bi = H256(xor(b0, bi), u8(i), prime)
		out = cat(out, bi)
	}
	return out[:length]
}

// HashToCurve is hash_to_curve (§3).
func HashToCurve(msg, dst []byte) Point {
	b := expandMessage(msg, dst, 96)
	u0 := fmod(new(big.Int).SetBytes(b[:48]))
	u1 := fmod(new(big.Int).SetBytes(b[48:]))
	return isogeny(sswu(u0)).Add(isogeny(sswu(u1)))
}

// sswu is map_to_curve_simple_swu (§6.6.2) to E'.
func sswu(u *big.Int) (x, y *big.Int) {
	eq := func(x *big.Int) *big.Int {
		return fadd(fadd(fmul(fmul(x, x), x), fmul(swA, x)), swB)
	}
	zu2 := fmul(swZ, fmul(u, u))
	d := fadd(fmul(zu2, zu2), zu2)
	if d.Sign() == 0 {
		x = fmul(swB, finv(fmul(swZ, swA)))
	} else {
		x = fmul(fmul(fneg(swB), finv(swA)), fadd(big.NewInt(1), finv(d)))
	}
	if y = fsqrt(eq(x)); y == nil {
		x = fmul(zu2, x)
		y = fsqrt(eq(x))
	}
	if u.Bit(0) != y.Bit(0) {
		y = fneg(y)
	}
	return x, y
}

// isogeny maps a point of E' to secp256k1; the kernel goes to O.
func isogeny(x, y *big.Int) Point {
	poly := func(k []*big.Int) *big.Int {
		sum := new(big.Int)
		for i := len(k) - 1; i >= 0; i-- {
			sum = fadd(fmul(sum, x), k[i])
		}
		return sum
	}
	xd, yd := poly(isoXDen), poly(isoYDen)
	if xd.Sign() == 0 || yd.Sign() == 0 {
		return Point{}
	}
	return Point{fmul(poly(isoXNum), finv(xd)), fmul(y, fmul(poly(isoYNum), finv(yd)))}
}
