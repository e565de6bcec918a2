package secp256k1

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"
)

// RFC 9380, appendix J.8.1.
const rfc9380DST = "QUUX-V01-CS02-with-secp256k1_XMD:SHA-256_SSWU_RO_"

var rfc9380 = []struct{ msg, u0, u1, q0x, q0y, q1x, q1y, px, py string }{
	{
		"",
		"6b0f9910dd2ba71c78f2ee9f04d73b5f4c5f7fc773a701abea1e573cab002fb3",
		"1ae6c212e08fe1a5937f6202f929a2cc8ef4ee5b9782db68b0d5799fd8f09e16",
		"74519ef88b32b425a095e4ebcc84d81b64e9e2c2675340a720bb1a1857b99f1e",
		"c174fa322ab7c192e11748beed45b508e9fdb1ce046dee9c2cd3a2a86b410936",
		"44548adb1b399263ded3510554d28b4bead34b8cf9a37b4bd0bd2ba4db87ae63",
		"96eb8e2faf05e368efe5957c6167001760233e6dd2487516b46ae725c4cce0c6",
		"c1cae290e291aee617ebaef1be6d73861479c48b841eaba9b7b5852ddfeb1346",
		"64fa678e07ae116126f08b022a94af6de15985c996c3a91b64c406a960e51067",
	},
	{
		"abc",
		"128aab5d3679a1f7601e3bdf94ced1f43e491f544767e18a4873f397b08a2b61",
		"5897b65da3b595a813d0fdcc75c895dc531be76a03518b044daaa0f2e4689e00",
		"07dd9432d426845fb19857d1b3a91722436604ccbbbadad8523b8fc38a5322d7",
		"604588ef5138cffe3277bbd590b8550bcbe0e523bbaf1bed4014a467122eb33f",
		"e9ef9794d15d4e77dde751e06c182782046b8dac05f8491eb88764fc65321f78",
		"cb07ce53670d5314bf236ee2c871455c562dd76314aa41f012919fe8e7f717b3",
		"3377e01eab42db296b512293120c6cee72b6ecf9f9205760bd9ff11fb3cb2c4b",
		"7f95890f33efebd1044d382a01b1bee0900fb6116f94688d487c6c7b9c8371f6",
	},
	{
		"abcdef0123456789",
		"ea67a7c02f2cd5d8b87715c169d055a22520f74daeb080e6180958380e2f98b9",
		"7434d0d1a500d38380d1f9615c021857ac8d546925f5f2355319d823a478da18",
		"576d43ab0260275adf11af990d130a5752704f79478628761720808862544b5d",
		"643c4a7fb68ae6cff55edd66b809087434bbaff0c07f3f9ec4d49bb3c16623c3",
		"f89d6d261a5e00fe5cf45e827b507643e67c2a947a20fd9ad71039f8b0e29ff8",
		"b33855e0cc34a9176ead91c6c3acb1aacb1ce936d563bc1cee1dcffc806caf57",
		"bac54083f293f1fe08e4a70137260aa90783a5cb84d3f35848b324d0674b0e3a",
		"4436476085d4c3c4508b60fcf4389c40176adce756b398bdee27bca19758d828",
	},
	{
		"q128_" + strings.Repeat("q", 128),
		"eda89a5024fac0a8207a87e8cc4e85aa3bce10745d501a30deb87341b05bcdf5",
		"dfe78cd116818fc2c16f3837fedbe2639fab012c407eac9dfe9245bf650ac51d",
		"9c91513ccfe9520c9c645588dff5f9b4e92eaf6ad4ab6f1cd720d192eb58247a",
		"c7371dcd0134412f221e386f8d68f49e7fa36f9037676e163d4a063fbf8a1fb8",
		"10fee3284d7be6bd5912503b972fc52bf4761f47141a0015f1c6ae36848d869b",
		"0b163d9b4bf21887364332be3eff3c870fa053cf508732900fc69a6eb0e1b672",
		"e2167bc785333a37aa562f021f1e881defb853839babf52a7f72b102e41890e9",
		"f2401dd95cc35867ffed4f367cd564763719fbc6a53e969fb8496a1e6685d873",
	},
	{
		"a512_" + strings.Repeat("a", 512),
		"8d862e7e7e23d7843fe16d811d46d7e6480127a6b78838c277bca17df6900e9f",
		"68071d2530f040f081ba818d3c7188a94c900586761e9115efa47ae9bd847938",
		"b32b0ab55977b936f1e93fdc68cec775e13245e161dbfe556bbb1f72799b4181",
		"2f5317098360b722f132d7156a94822641b615c91f8663be69169870a12af9e8",
		"148f98780f19388b9fa93e7dc567b5a673e5fca7079cd9cdafd71982ec4c5e12",
		"3989645d83a433bc0c001f3dac29af861f33a6fd1e04f4b36873f5bff497298a",
		"e3c8d35aaaf0b9b647e88a0a0a7ee5d5bed5ad38238152e4e6fd8c1f8cb7c998",
		"8446eeb6181bf12f56a9d24e262221cc2f0c4725c7e3803024b5888ee5823aa6",
	},
}

// mapBoth is the image of u, wherever in the pair u stands.
func mapBoth(u *fe) proj {
	var p, q [2]proj
	mapToCurve(&p, &[2]fe{*u, {3}})
	mapToCurve(&q, &[2]fe{{4}, *u})
	if p[0] != q[1] {
		panic("the two halves of a pair are not mapped alike")
	}
	return p[0]
}

func TestHashToCurveRFC9380(t *testing.T) {
	for _, v := range rfc9380 {
		uniform := expandMessage([]byte(rfc9380DST), []byte(v.msg))
		for i, want := range []struct{ u, x, y string }{{v.u0, v.q0x, v.q0y}, {v.u1, v.q1x, v.q1y}} {
			var u fe
			u.setWide((*[48]byte)(uniform[48*i:]))
			if b := u.bytes(); hex.EncodeToString(b[:]) != want.u {
				t.Errorf("%.16q: u[%d] = %x, want %s", v.msg, i, b, want.u)
			}
			q := Point{mapBoth(&u)}
			if b := q.BytesUncompressed(); hex.EncodeToString(b[1:]) != want.x+want.y {
				t.Errorf("%.16q: Q%d = %x, want %s %s", v.msg, i, b[1:], want.x, want.y)
			}
		}
		p, err := HashToCurve([]byte(rfc9380DST), []byte(v.msg))
		if err != nil {
			t.Fatal(err)
		}
		if b := p.BytesUncompressed(); hex.EncodeToString(b[1:]) != v.px+v.py {
			t.Errorf("%.16q: P = %x, want %s %s", v.msg, b[1:], v.px, v.py)
		}
	}
}

// hashToCurveBig is RFC 9380 in math/big, written from sections 5, 6.6.2 and
// 8.7 with divisions and branches as they stand there.
func hashToCurveBig(dst, msg []byte) (x, y *big.Int) {
	h := func(parts ...[]byte) []byte {
		s := sha256.Sum256(bytes.Join(parts, nil))
		return s[:]
	}
	if len(dst) > 255 {
		dst = h([]byte("H2C-OVERSIZE-DST-"), dst)
	}
	dstPrime := append(append([]byte{}, dst...), byte(len(dst)))
	b0 := h(make([]byte, 64), msg, []byte{0, 96, 0}, dstPrime)
	var out, bi []byte
	bi = make([]byte, 32)
	for i := byte(1); i <= 3; i++ {
		x := make([]byte, 32)
		for j := range x {
			x[j] = b0[j] ^ bi[j]
		}
		bi = h(x, []byte{i}, dstPrime)
		out = append(out, bi...)
	}
	x0, y0 := mapBig(new(big.Int).SetBytes(out[:48]))
	x1, y1 := mapBig(new(big.Int).SetBytes(out[48:]))
	var p, q, r secp256k1.JacobianPoint
	set := func(p *secp256k1.JacobianPoint, x, y *big.Int) {
		xb, yb := bytes32(x), bytes32(y)
		p.X.SetBytes(&xb)
		p.Y.SetBytes(&yb)
		p.Z.SetInt(1)
	}
	set(&p, x0, y0)
	set(&q, x1, y1)
	secp256k1.AddNonConst(&p, &q, &r)
	r.ToAffine()
	return new(big.Int).SetBytes(r.X.Bytes()[:]), new(big.Int).SetBytes(r.Y.Bytes()[:])
}

func hexes(ss ...string) []*big.Int {
	var out []*big.Int
	for _, s := range ss {
		out = append(out, bigHex(s))
	}
	return out
}

// Coefficients of appendix E.1, the lowest first.
var (
	bigA, bigB = bigHex("3f8731abdd661adca08a5558f0f5d272e953d363cb6f0e5d405447c01a444533"), big.NewInt(1771)
	bigIso     = [4][]*big.Int{
		hexes("8e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38daaaaa8c7",
			"07d3d4c80bc321d5b9f315cea7fd44c5d595d2fc0bf63b92dfff1044f17c6581",
			"534c328d23f234e6e2a413deca25caece4506144037c40314ecbd0b53d9dd262",
			"8e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38e38daaaaa88c"),
		hexes("d35771193d94918a9ca34ccbb7b640dd86cd409542f8487d9fe6b745781eb49b",
			"edadc6f64383dc1df7c4b2d51b54225406d36b641f5e41bbc52a56612a8c6d14", "1"),
		hexes("4bda12f684bda12f684bda12f684bda12f684bda12f684bda12f684b8e38e23c",
			"c75e0c32d5cb7c0fa9d0a54b12a0a6d5647ab046d686da6fdffc90fc201d71a3",
			"29a6194691f91a73715209ef6512e576722830a201be2018a765e85a9ecee931",
			"2f684bda12f684bda12f684bda12f684bda12f684bda12f684bda12f38e38d84"),
		hexes("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffff93b",
			"7a06534bb8bdb49fd5e9e6632722c2989467c1bfc8e8d978dfb425d2685c2573",
			"6484aa716545ca2cf3a70c3fa8fe337e0a3d21162f0d6299a7bf8192bfd2a76f", "1"),
	}
)

// evalBig is a polynomial at x.
func evalBig(coeffs []*big.Int, x *big.Int) *big.Int {
	r := new(big.Int)
	for i := len(coeffs) - 1; i >= 0; i-- {
		r = modP(r.Mul(r, x).Add(r, coeffs[i]))
	}
	return r
}

// mapBig maps u to secp256k1; (0, 0) stands for the identity.
func mapBig(u *big.Int) (x, y *big.Int) {
	u = modP(u)
	n := func() *big.Int { return new(big.Int) }
	inv := func(v *big.Int) *big.Int {
		if v.Sign() == 0 {
			return n()
		}
		return n().ModInverse(v, bigP)
	}
	z := big.NewInt(-11)
	zu2 := modP(n().Mul(z, n().Mul(u, u)))
	tv := modP(n().Add(n().Mul(zu2, zu2), zu2))
	x1 := modP(n().Mul(n().Neg(bigB), inv(bigA)))
	if tv.Sign() == 0 {
		x1 = modP(n().Mul(bigB, inv(modP(n().Mul(z, bigA)))))
	} else {
		x1.Mul(x1, n().Add(big.NewInt(1), inv(tv)))
		x1 = modP(x1)
	}
	g := func(x *big.Int) *big.Int {
		return evalBig([]*big.Int{bigB, bigA, n(), big.NewInt(1)}, x)
	}
	x = x1
	y = n().ModSqrt(g(x1), bigP)
	if y == nil {
		x = modP(n().Mul(zu2, x1))
		y = n().ModSqrt(g(x), bigP)
	}
	if y.Bit(0) != u.Bit(0) {
		y = modP(n().Neg(y))
	}
	return isogenyBig(x, y)
}

func isogenyBig(x, y *big.Int) (*big.Int, *big.Int) {
	xd, yd := evalBig(bigIso[1], x), evalBig(bigIso[3], x)
	if xd.Sign() == 0 || yd.Sign() == 0 {
		return new(big.Int), new(big.Int)
	}
	rx := new(big.Int).Mul(evalBig(bigIso[0], x), xd.ModInverse(xd, bigP))
	ry := new(big.Int).Mul(evalBig(bigIso[2], x), yd.ModInverse(yd, bigP))
	return modP(rx), modP(ry.Mul(ry, y))
}

func affineBig(p *proj) (x, y *big.Int) {
	u := (&Point{*p}).BytesUncompressed()
	return new(big.Int).SetBytes(u[1:33]), new(big.Int).SetBytes(u[33:])
}

func TestHashToCurveAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dst := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "dst")
		msg := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "msg")
		p, err := HashToCurve(dst, msg)
		if err != nil {
			t.Fatal(err)
		}
		x, y := hashToCurveBig(dst, msg)
		if gx, gy := affineBig(&p.v); gx.Cmp(x) != 0 || gy.Cmp(y) != 0 {
			t.Fatalf("hash = %x %x, want %x %x", gx, gy, x, y)
		}
	})
	for _, n := range []int{254, 255, 256, 257, 300, 1000} {
		dst := bytes.Repeat([]byte{byte(n)}, n)
		p, err := HashToCurve(dst, []byte("m"))
		if err != nil {
			t.Fatal(err)
		}
		x, y := hashToCurveBig(dst, []byte("m"))
		if gx, gy := affineBig(&p.v); gx.Cmp(x) != 0 || gy.Cmp(y) != 0 {
			t.Errorf("hash with a tag of %d bytes = %x %x, want %x %x", n, gx, gy, x, y)
		}
	}
	if _, err := HashToCurve(nil, []byte("m")); err == nil {
		t.Error("an empty domain separation tag accepted")
	}
}

func TestMapToCurveAgainstBig(t *testing.T) {
	// The exceptional inputs: u = 0 and u^2 = -1/Z = 1/11.
	root := new(big.Int).ModSqrt(new(big.Int).ModInverse(big.NewInt(11), bigP), bigP)
	us := append([]*big.Int{new(big.Int), bigP, root, new(big.Int).Sub(bigP, root)}, edges...)
	check := func(t interface{ Fatalf(string, ...any) }, v *big.Int) {
		u := feOf(v)
		p := mapBoth(&u)
		gx, gy := affineBig(&p)
		if x, y := mapBig(v); gx.Cmp(x) != 0 || gy.Cmp(y) != 0 {
			t.Fatalf("map of %x = %x %x, want %x %x", v, gx, gy, x, y)
		}
	}
	for _, u := range us {
		check(t, u)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, genWord().Draw(t, "u")) })
}

// The kernel of the isogeny goes to the identity, whatever y is said to be.
func TestIsogenyKernel(t *testing.T) {
	// The roots of the denominator of x, and of that of y where they differ.
	var roots []*big.Int
	disc := new(big.Int).Mul(bigIso[1][1], bigIso[1][1])
	disc = modP(disc.Sub(disc, new(big.Int).Lsh(bigIso[1][0], 2)))
	half := new(big.Int).ModInverse(big.NewInt(2), bigP)
	if r := new(big.Int).ModSqrt(disc, bigP); r != nil {
		for _, r := range []*big.Int{r, new(big.Int).Neg(r)} {
			r.Sub(r, bigIso[1][1]).Mul(r, half)
			roots = append(roots, modP(r))
		}
	}
	if len(roots) == 0 {
		t.Fatal("x denominator has no root")
	}
	for _, x := range roots {
		for _, d := range []int64{1, 7} {
			n, den, y := feOf(modP(new(big.Int).Mul(x, big.NewInt(d)))), fe{uint64(d)}, fe{5}
			var p proj
			isogeny(&p, &n, &den, &y)
			if (&Point{p}).IsIdentity() != 1 {
				t.Errorf("x = %x doesn't go to the identity", x)
			}
			if p != (proj{y: feOne}) {
				t.Errorf("x = %x goes to %v, no proper identity", x, [3]fe{p.x, p.y, p.z})
			}
		}
	}
}
