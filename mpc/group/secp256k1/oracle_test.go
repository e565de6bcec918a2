package secp256k1

import (
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"
)

// The oracles: math/big for scalars and the field, decred for points.

func bigHex(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic("bad hex " + s)
	}
	return n
}

var (
	bigP   = bigHex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	bigQ   = bigHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	big256 = new(big.Int).Lsh(big.NewInt(1), 256)
)

// edges are the values around which carries and reductions change.
var edges = func() []*big.Int {
	one := big.NewInt(1)
	var es []*big.Int
	for _, b := range []*big.Int{new(big.Int), bigQ, bigP, big256, new(big.Int).Rsh(bigQ, 1), new(big.Int).Rsh(bigP, 1)} {
		for _, shift := range []uint{0, 64, 128, 192} {
			for d := int64(-2); d <= 2; d++ {
				v := new(big.Int).Lsh(big.NewInt(d), shift)
				v.Add(v, b)
				if v.Sign() >= 0 && v.Cmp(big256) < 0 {
					es = append(es, v)
				}
			}
		}
	}
	for _, n := range []uint{52, 63, 64, 65, 104, 127, 128, 129, 156, 191, 192, 193, 208, 255} {
		v := new(big.Int).Lsh(one, n)
		es = append(es, v, new(big.Int).Sub(v, one), new(big.Int).Sub(big256, v))
	}
	return es
}()

// genWord draws a number below 2^256, often an edge, or one with limbs of all
// ones or all zeroes.
func genWord() *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return edges[rapid.IntRange(0, len(edges)-1).Draw(t, "edge")]
		case 1:
			v := new(big.Int)
			for range 4 {
				limb := rapid.SampledFrom([]uint64{0, 1, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(0) - 1}).Draw(t, "limb")
				v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(limb))
			}
			return v
		default:
			b := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes")
			return new(big.Int).SetBytes(b)
		}
	})
}

func bytes32(v *big.Int) (b [32]byte) {
	v.FillBytes(b[:])
	return b
}

func scalarOf(v *big.Int) *Scalar {
	b := bytes32(new(big.Int).Mod(v, bigQ))
	s := NewScalar()
	if err := s.SetBytes(b[:]); err != nil {
		panic(err)
	}
	return s
}

func bigOf(s *Scalar) *big.Int {
	b := s.Bytes()
	return new(big.Int).SetBytes(b[:])
}

// oracleBase returns the compressed v*G by decred; zeroes for the identity.
func oracleBase(v *big.Int) (out [33]byte) {
	var k secp256k1.ModNScalar
	b := bytes32(new(big.Int).Mod(v, bigQ))
	k.SetBytes(&b)
	var r secp256k1.JacobianPoint
	secp256k1.ScalarBaseMultNonConst(&k, &r)
	return oracleEncode(&r)
}

func oracleEncode(r *secp256k1.JacobianPoint) (out [33]byte) {
	if r.Z.IsZero() || (r.X.IsZero() && r.Y.IsZero()) {
		return out
	}
	r.ToAffine()
	copy(out[:], secp256k1.NewPublicKey(&r.X, &r.Y).SerializeCompressed())
	return out
}
