package baseot

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// pointSize is the length of an encoded point.
const pointSize = 33

// hashSuite ends the domain separation tags of this package: the suite of
// RFC 9380.
const hashSuite = "/secp256k1_XMD:SHA-256_SSWU_RO_"

var (
	errPoint    = errors.New("not a point of secp256k1 in compressed form")
	errIdentity = errors.New("the identity is refused")
)

// decodePoint refuses what is not canonical, and the identity, which has no
// encoding.
func decodePoint(b *[pointSize]byte) (*secp256k1.Point, error) {
	p := secp256k1.NewPoint()
	if err := p.SetBytes(b[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errPoint, err)
	}
	return p, nil
}

func isIdentity(p *secp256k1.Point) bool { return p.IsIdentity() == 1 }

func drawScalar(rand io.Reader) (*secp256k1.Scalar, error) {
	s := secp256k1.NewScalar()
	if err := s.SetRandom(rand); err != nil {
		return nil, err
	}
	return s, nil
}

// hasher is the hash to the group of one instance: H(i, c, ·) and S(i, ·). It
// counts its evaluations of H, so that a test can see that the count is the same
// for every choice.
type hasher struct {
	choice, sample []byte // the DSTs without index and choice
	counts         [2]int
}

func newHasher(inst *Instance) *hasher {
	dst := func(tag transcript.Tag) []byte {
		b := transcript.DST(tag, hashSuite)
		return append(b, inst.bytes()...)
	}
	return &hasher{choice: dst(transcript.TagBaseOTH), sample: dst(transcript.TagBaseOTS)}
}

// point returns H(i, c, p) for a public choice c.
func (h *hasher) point(i uint16, c uint8, p *[pointSize]byte) *secp256k1.Point {
	h.counts[c]++
	return hashToCurve(append(h.choice[:len(h.choice):len(h.choice)], byte(i>>8), byte(i), c), p[:])
}

// pointSecret returns H(i, c, p) for a secret choice c, 0 or 1: both hashes are
// always computed and one is taken by mask.
func (h *hasher) pointSecret(i uint16, c int, p *[pointSize]byte) *secp256k1.Point {
	h0, h1 := h.point(i, 0, p), h.point(i, 1, p)
	return h0.Select(h1, h0, c)
}

// oblivious maps fresh bytes to a point: nobody learns its logarithm, not even
// the one who drew them.
func (h *hasher) oblivious(i uint16, u *[32]byte) *secp256k1.Point {
	return hashToCurve(append(h.sample[:len(h.sample):len(h.sample)], byte(i>>8), byte(i)), u[:])
}

func hashToCurve(dst, msg []byte) *secp256k1.Point {
	p, err := secp256k1.HashToCurve(dst, msg)
	if err != nil {
		panic("baseot: " + err.Error()) // only an empty DST is an error, and ours are constants
	}
	return p
}
