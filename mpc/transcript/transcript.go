// Package transcript is the random oracle of the threshold protocols and the
// one registry of its tags.
//
//	RO(tag, x₁…xₙ; L) = cSHAKE256(u32 n ‖ Π (u64 |xᵢ| ‖ xᵢ), L, N = "", S = "coffer/mpc/v1/" ‖ tag)
//
// (SP 800-185, docs/spec/random-oracle.md.) Two calls with another tag, another
// count or other item borders never hash the same string. Items are public or
// secret; the time depends on their lengths only.
package transcript

import (
	"crypto/sha3"
	"encoding/binary"
	"io"

	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// Tag separates the uses of the random oracle. Every tag is declared in tags.go.
type Tag string

const customization = "coffer/mpc/v1/"

// XOF returns the oracle's output as a stream.
func XOF(tag Tag, items ...[]byte) io.Reader {
	h := sha3.NewCSHAKE256(nil, []byte(customization+string(tag)))
	var n [8]byte
	binary.BigEndian.PutUint32(n[:4], uint32(len(items)))
	h.Write(n[:4])
	for _, x := range items {
		binary.BigEndian.PutUint64(n[:], uint64(len(x)))
		h.Write(n[:])
		h.Write(x)
	}
	return h
}

// Sum returns 32 bytes of the oracle.
func Sum(tag Tag, items ...[]byte) [32]byte {
	var out [32]byte
	read(XOF(tag, items...), out[:])
	return out
}

// Fill fills out from the oracle: RO(tag, items…; len(out)).
func Fill(out []byte, tag Tag, items ...[]byte) { read(XOF(tag, items...), out) }

// Scalar returns 48 bytes of the oracle, big-endian, mod q: its distance from
// uniform is below 2⁻¹²⁸.
func Scalar(tag Tag, items ...[]byte) *secp256k1.Scalar {
	var wide [48]byte
	read(XOF(tag, items...), wide[:])
	s := secp256k1.NewScalar().SetWide(&wide)
	clear(wide[:])
	return s
}

// ScalarOf is Scalar on a curve of the caller's choice: UniformSize bytes of the
// oracle, as SetUniform takes them.
func ScalarOf(c group.Curve, tag Tag, items ...[]byte) group.Scalar {
	wide := make([]byte, c.UniformSize())
	read(XOF(tag, items...), wide)
	s := c.NewScalar().SetUniform(wide)
	clear(wide)
	return s
}

// Scalars returns n scalars from consecutive 48-byte blocks of one stream.
func Scalars(n int, tag Tag, items ...[]byte) []secp256k1.Scalar {
	out := make([]secp256k1.Scalar, n)
	r := XOF(tag, items...)
	var wide [48]byte
	for i := range out {
		read(r, wide[:])
		out[i].SetWide(&wide)
	}
	clear(wide[:])
	return out
}

// DST returns the beginning of a domain separation tag of RFC 9380 for the use
// that tag names; suite says which hash to which curve.
func DST(tag Tag, suite string) []byte { return []byte(customization + string(tag) + suite) }

// Uint16 and Uint64 are the item encodings of small numbers.
func Uint16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// Uint64 encodes v as eight bytes, big-endian.
func Uint64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func read(r io.Reader, b []byte) {
	if _, err := io.ReadFull(r, b); err != nil {
		panic("transcript: an XOF never ends: " + err.Error())
	}
}
