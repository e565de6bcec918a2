package baseot

import (
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/gtank/ristretto255"
)

// elementSize is the length of an encoded ristretto255 element.
const elementSize = 32

// dstPrefix begins every DST of the hash to the group; the instance, the index
// and the choice follow.
const dstPrefix = "coffer/mpc/v1/bot-h/ristretto255_XMD:SHA-512_R255MAP_RO_"

var (
	errElement  = errors.New("not the canonical encoding of a ristretto255 element")
	errIdentity = errors.New("the identity element is refused")
)

// decodeElement refuses what is not canonical, and the identity.
func decodeElement(b *[elementSize]byte) (*ristretto255.Element, error) {
	e := ristretto255.NewElement()
	if err := e.Decode(b[:]); err != nil {
		return nil, errElement
	}
	if isIdentity(e) {
		return nil, errIdentity
	}
	return e, nil
}

func isIdentity(e *ristretto255.Element) bool {
	return e.Equal(ristretto255.NewElement()) == 1
}

func encode(e *ristretto255.Element) (b [elementSize]byte) {
	e.Encode(b[:0])
	return b
}

// drawScalar reads 64 bytes, little-endian, mod l.
func drawScalar(rand io.Reader) (*ristretto255.Scalar, error) {
	var wide [64]byte
	defer clear(wide[:])
	if _, err := io.ReadFull(rand, wide[:]); err != nil {
		return nil, fmt.Errorf("couldn't read randomness for a scalar: %w", err)
	}
	return ristretto255.NewScalar().FromUniformBytes(wide[:]), nil
}

// drawElement maps 64 fresh bytes to the group: nobody learns the logarithm of
// the result, not even the one who drew it.
func drawElement(rand io.Reader) (*ristretto255.Element, error) {
	var wide [64]byte
	defer clear(wide[:])
	if _, err := io.ReadFull(rand, wide[:]); err != nil {
		return nil, fmt.Errorf("couldn't read randomness for an element: %w", err)
	}
	return ristretto255.NewElement().FromUniformBytes(wide[:]), nil
}

// hasher is H(i, c, ·) of one instance. It counts its evaluations, so that a
// test can see that the count is the same for every choice.
type hasher struct {
	dst    []byte // the prefix and the instance; room for index and choice
	xmd    expander
	counts [2]int
}

// expander keeps the buffer of expand_message_xmd off the heap of every call.
type expander struct{ buf [512]byte }

func newHasher(inst *Instance) *hasher {
	dst := make([]byte, 0, 128)
	dst = append(dst, dstPrefix...)
	dst = append(dst, inst.bytes()...)
	return &hasher{dst: dst}
}

// uniform returns the 64 bytes that MAP takes to H(i, c, p).
func (h *hasher) uniform(i uint16, c uint8, p *[elementSize]byte) [64]byte {
	h.counts[c]++ // c is a constant at both callers, never a secret
	dst := append(h.dst, byte(i>>8), byte(i), c)
	return h.xmd.expand(p[:], dst)
}

// point returns H(i, c, p) for a public choice c.
func (h *hasher) point(i uint16, c uint8, p *[elementSize]byte) *ristretto255.Element {
	u := h.uniform(i, c, p)
	return ristretto255.NewElement().FromUniformBytes(u[:])
}

// pointSecret returns H(i, c, p) for a secret choice c, 0 or 1: both hashes are
// always computed and one is taken by mask.
func (h *hasher) pointSecret(i uint16, c int, p *[elementSize]byte) *ristretto255.Element {
	u := h.uniform(i, 0, p)
	u1 := h.uniform(i, 1, p)
	subtle.ConstantTimeCopy(c, u[:], u1[:])
	e := ristretto255.NewElement().FromUniformBytes(u[:])
	clear(u[:])
	clear(u1[:])
	return e
}

// expand is expand_message_xmd of RFC 9380 §5.3.1 with SHA-512 and an output of
// 64 bytes, that is ell = 1: b_1 alone.
func (s *expander) expand(msg, dst []byte) [64]byte {
	if len(dst) > 255 {
		panic("baseot: DST above 255 bytes") // its length is a constant of this package
	}
	// b_0 = H(Z_pad ‖ msg ‖ I2OSP(64, 2) ‖ I2OSP(0, 1) ‖ DST_prime)
	b := s.buf[:0]
	b = append(b, make([]byte, sha512.BlockSize)...)
	b = append(b, msg...)
	b = append(b, 0, 64, 0)
	b = append(b, dst...)
	b = append(b, byte(len(dst)))
	b0 := sha512.Sum512(b)
	// b_1 = H(b_0 ‖ I2OSP(1, 1) ‖ DST_prime)
	b = append(s.buf[:0], b0[:]...)
	b = append(b, 1)
	b = append(b, dst...)
	b = append(b, byte(len(dst)))
	return sha512.Sum512(b)
}
