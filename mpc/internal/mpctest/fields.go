package mpctest

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"filippo.io/edwards25519"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
)

// Offsets of the header's fields (docs/spec/session.md).
const (
	OffVersion  = 0
	OffProtocol = 1
	OffRound    = 2
	OffSession  = 3
	OffEpoch    = 35
	OffFrom     = 43
	OffTo       = 45
	OffBody     = 47 // R0, D0, private messages of signing
	OffEcho     = 47
	OffEchoBody = 79 // what follows the echo
)

// Flip returns b with one bit of byte i changed.
func Flip(b []byte, i int) []byte {
	c := slices.Clone(b)
	c[i] ^= 1
	return c
}

// Put returns b with the bytes from i on replaced.
func Put(b []byte, i int, with []byte) []byte {
	c := slices.Clone(b)
	copy(c[i:], with)
	return c
}

// From returns a message with another author and recipient in its header.
func From(b []byte, from, to mpc.ID) []byte {
	var h [4]byte
	binary.BigEndian.PutUint16(h[:], uint16(from))
	binary.BigEndian.PutUint16(h[2:], uint16(to))
	return Put(b, OffFrom, h[:])
}

// WantAbort demands an abort of a class, with exactly these culprits.
func WantAbort(t testing.TB, err error, class mpc.Class, culprits ...mpc.ID) {
	t.Helper()
	a := mpc.AsAbort(err)
	if a == nil {
		t.Errorf("got %v, want a %s abort", err, class)
		return
	}
	if a.Class != class || !slices.Equal(a.Culprits, culprits) {
		t.Errorf("got %v, want a %s abort with culprits %v", err, class, culprits)
	}
}

// WantStep demands the step at which an abort happened.
func WantStep(t testing.TB, err error, step string) {
	t.Helper()
	if a := mpc.AsAbort(err); a == nil || a.Step != step {
		t.Errorf("got %v, want an abort at %q", err, step)
	}
}

// BadPointsOf are encodings of the length of a curve's points that are none.
func BadPointsOf(c group.Curve) map[string][]byte {
	if c == group.Secp256k1() {
		return BadPoints()
	}
	bytes32 := func(first, middle, last byte) []byte {
		b := make([]byte, 32)
		for i := range b {
			b[i] = middle
		}
		b[0], b[31] = first, last
		return b
	}
	t8, _ := hex.DecodeString("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a") // order 8
	mixed, err := edwards25519.NewIdentityPoint().SetBytes(t8)
	if err != nil {
		panic(err)
	}
	return map[string][]byte{
		"identity":                    bytes32(1, 0, 0),
		"identity with a sign":        bytes32(1, 0, 0x80),
		"identity, y = p + 1":         bytes32(0xee, 0xff, 0x7f),
		"order 2":                     bytes32(0xec, 0xff, 0x7f),
		"order 4":                     bytes32(0, 0, 0),
		"order 4, y = p":              bytes32(0xed, 0xff, 0x7f),
		"order 8":                     t8,
		"generator plus a small part": mixed.Add(mixed, edwards25519.NewGeneratorPoint()).Bytes(),
		"y = p + 3":                   bytes32(0xf0, 0xff, 0x7f),
		"off the curve":               bytes32(2, 0, 0),
		"all ones":                    bytes32(0xff, 0xff, 0xff),
	}
}

// BadPoints are 33 bytes that are no point: each must be refused wherever a
// point is expected.
func BadPoints() map[string][]byte {
	point := func(prefix byte, x string) []byte {
		b := make([]byte, 33)
		b[0] = prefix
		copy(b[1:], x)
		return b
	}
	p := "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xfc\x2f"
	gx := "\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
	five := string(append(make([]byte, 31), 5)) // 5³ + 7 is not a square mod p
	return map[string][]byte{
		"identity as zeros":          make([]byte, 33),
		"identity, prefix 02":        point(2, ""),
		"x = p":                      point(2, p),
		"x = p + 1, the point x = 1": point(2, p[:31]+"\x30"),
		"off the curve":              point(2, five),
		"prefix 00":                  point(0, gx),
		"prefix 04":                  point(4, gx),
		"prefix 06":                  point(6, gx),
		"prefix 82":                  point(0x82, gx),
	}
}
