package refmodel

import (
	"errors"
	"fmt"
	"math/big"
)

const (
	dstHash   = "coffer/mpc/v1/bot-h/secp256k1_XMD:SHA-256_SSWU_RO_"
	dstSample = "coffer/mpc/v1/bot-s/secp256k1_XMD:SHA-256_SSWU_RO_"
)

// OTInstance names one run of the base OT.
type OTInstance struct {
	PSID             []byte
	Sender, Receiver int
}

func (in OTInstance) id() []byte { return cat(in.PSID, u16(in.Sender), u16(in.Receiver)) }

// hash is H(i, c, P).
func (in OTInstance) hash(i, c int, pt Point) Point {
	return HashToCurve(pt.Bytes(), cat([]byte(dstHash), in.id(), u16(i), u8(c)))
}

// sample is S(i, u).
func (in OTInstance) sample(i int, u []byte) Point {
	return HashToCurve(u, cat([]byte(dstSample), in.id(), u16(i)))
}

// key is k_{i,c} of the shared point.
func (in OTInstance) key(i, c int, y Point, t [2]Point, shared Point) []byte {
	return RO("bot", 32, in.PSID, u16(in.Sender), u16(in.Receiver), u16(i), u8(c),
		y.Bytes(), t[0].Bytes(), t[1].Bytes(), shared.Bytes())[:16]
}

// OTSender is Bob between his two steps.
type OTSender struct {
	in OTInstance
	y  *big.Int
	Y  Point
}

// NewOTSender is Bob's first step.
func NewOTSender(in OTInstance, rnd *Stream) (*OTSender, []byte, error) {
	y := rnd.Scalar()
	if y.Sign() == 0 {
		return nil, nil, errors.New("y is zero")
	}
	s := &OTSender{in, y, Base(y)}
	return s, cat(u8(1), s.Y.Bytes()), nil
}

// OTReceive is Alice's step: message 2, Δ and her keys.
func OTReceive(in OTInstance, message1 []byte, rnd *Stream) (message2 []byte, out Seeds, err error) {
	if len(message1) != 34 || message1[0] != 1 {
		return nil, out, errors.New("not a base-OT message 1")
	}
	y, err := DecodePoint(message1[1:])
	if err != nil {
		return nil, out, err
	}
	out.Delta = rnd.Bytes(16)
	message2 = u8(1)
	for i := range rows {
		s := in.sample(i, rnd.Bytes(32))
		z := rnd.Scalar()
		c := bit(out.Delta, i)
		var t [2]Point
		t[1-c] = s
		t[c] = Base(z).Sub(in.hash(i, c, s))
		message2 = cat(message2, t[0].Bytes(), t[1].Bytes())
		out.K = append(out.K, in.key(i, c, y, t, y.Mul(z)))
	}
	return message2, out, nil
}

// Finish is Bob's second step: his keys.
func (s *OTSender) Finish(message2 []byte) (out Seeds, err error) {
	if len(message2) != 1+rows*2*33 || message2[0] != 1 {
		return out, errors.New("not a base-OT message 2")
	}
	for i := range rows {
		var t [2]Point
		for c := range t {
			at := 1 + 66*i + 33*c
			if t[c], err = DecodePoint(message2[at : at+33]); err != nil {
				return Seeds{}, fmt.Errorf("point %d of OT %d: %w", c, i, err)
			}
		}
		var k [2][]byte
		for c := range k {
			e := t[c].Add(s.in.hash(i, c, t[1-c]))
			if e.IsIdentity() {
				return Seeds{}, fmt.Errorf("the sum %d of OT %d is the identity", c, i)
			}
			k[c] = s.in.key(i, c, s.Y, t, e.Mul(s.y))
		}
		out.K0, out.K1 = append(out.K0, k[0]), append(out.K1, k[1])
	}
	return out, nil
}
