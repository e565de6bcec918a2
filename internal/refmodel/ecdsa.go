package refmodel

import "math/big"

// half is ⌊q/2⌋.
var half = new(big.Int).Rsh(q, 1)

// VerifyECDSA verifies (r, s) for a message hash of 32 bytes (SEC 1 §4.1.4)
// and asks for low s.
func VerifyECDSA(pk Point, hash []byte, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(q) >= 0 || s.Cmp(half) > 0 {
		return false
	}
	w := inv(s)
	at := Base(mul(wide(hash), w)).Add(pk.Mul(mul(r, w)))
	return !at.IsIdentity() && mod(at.X).Cmp(r) == 0
}

// RecoverECDSA is the public key of a signature (SEC 1 §4.1.6), or O.
func RecoverECDSA(hash []byte, r, s *big.Int, recid int) Point {
	x := new(big.Int).Set(r)
	if recid&2 != 0 {
		x.Add(x, q)
	}
	if x.Cmp(p) >= 0 {
		return Point{}
	}
	at, err := DecodePoint(cat(u8(2+recid&1), enc(x)))
	if err != nil {
		return Point{}
	}
	w := inv(r)
	return at.Mul(mul(s, w)).Sub(Base(mul(wide(hash), w)))
}
