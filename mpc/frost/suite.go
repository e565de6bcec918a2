package frost

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/schnorr"
)

// suite is a ciphersuite of RFC 9591 §6: the group and the five hash functions,
// each separated from the others by contextString, which is the suite's name.
type suite struct {
	name  mpc.Suite
	curve group.Curve
	// bip340 says that points R and Q are taken with an even y and signatures have
	// R.x only.
	bip340 bool
}

var suites = []*suite{
	{name: mpc.FROSTEd25519, curve: group.Ed25519()},
	{name: mpc.FROSTSecp256k1, curve: group.Secp256k1()},
	{name: mpc.FROSTSecp256k1TR, curve: group.Secp256k1(), bip340: true},
}

func suiteOf(name mpc.Suite) (*suite, error) {
	for _, s := range suites {
		if s.name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("suite %q is not one of FROST's, want %q, %q or %q: a key serves one scheme only", string(name), suites[0].name, suites[1].name, suites[2].name)
}

func (s *suite) edwards() bool { return s.name == mpc.FROSTEd25519 }

// scalar is H1 and H3, and H2 of secp256k1 without BIP-340: a hash with a tag,
// as a scalar.
//
//	Ed25519:   SHA-512(contextString ‖ tag ‖ m) mod ℓ, little-endian       (§6.1)
//	secp256k1: hash_to_field(m), expand_message_xmd with SHA-256,
//	           DST = contextString ‖ tag, L = 48                           (§6.5)
func (s *suite) scalar(tag string, m ...[]byte) group.Scalar {
	k := s.curve.NewScalar()
	if s.edwards() {
		h := s.sha512(string(s.name)+tag, m...)
		k.SetUniform(h[:])
		clear(h[:])
		return k
	}
	h := expandXMD(string(s.name)+tag, m...)
	k.SetUniform(h[:])
	clear(h[:])
	return k
}

// h1 gives the binding factors, h3 the nonces.
func (s *suite) h1(m ...[]byte) group.Scalar { return s.scalar("rho", m...) }
func (s *suite) h3(m ...[]byte) group.Scalar { return s.scalar("nonce", m...) }

// challenge is c = H2(R ‖ Q ‖ m). Ed25519's is that of RFC 8032, without a
// context; BIP-340's is its tagged hash of the x-coordinates.
func (s *suite) challenge(r, q, m []byte) group.Scalar {
	switch {
	case s.edwards():
		h := s.sha512("", r, q, m)
		return s.curve.NewScalar().SetUniform(h[:])
	case s.bip340:
		h := schnorr.TaggedHash("BIP0340/challenge", r[1:], q[1:], m)
		return s.reduce(h)
	}
	return s.scalar("chal", r, q, m)
}

// reduce takes 32 bytes, big-endian, mod n.
func (s *suite) reduce(h [32]byte) group.Scalar {
	wide := make([]byte, s.curve.UniformSize())
	copy(wide[len(wide)-32:], h[:])
	return s.curve.NewScalar().SetUniform(wide)
}

// h4 and h5 hash the message and the list of commitments.
func (s *suite) h4(m []byte) []byte { return s.hash("msg", m) }
func (s *suite) h5(m []byte) []byte { return s.hash("com", m) }

func (s *suite) hash(tag string, m []byte) []byte {
	if s.edwards() {
		h := s.sha512(string(s.name)+tag, m)
		return h[:]
	}
	h := sha256.New()
	h.Write([]byte(string(s.name) + tag))
	h.Write(m)
	return h.Sum(nil)
}

func (s *suite) sha512(prefix string, m ...[]byte) (out [64]byte) {
	h := sha512.New()
	h.Write([]byte(prefix))
	for _, b := range m {
		h.Write(b)
	}
	h.Sum(out[:0])
	return out
}

// expandXMD is expand_message_xmd of RFC 9380 §5.3.1 with SHA-256, for 48 bytes.
func expandXMD(dst string, m ...[]byte) (out [48]byte) {
	const size = byte(len(out))
	tail := append([]byte(dst), byte(len(dst)))
	// b₀ = H(Z_pad ‖ m ‖ I2OSP(48, 2) ‖ 0 ‖ DST′)
	h := sha256.New()
	h.Write(make([]byte, sha256.BlockSize))
	for _, b := range m {
		h.Write(b)
	}
	h.Write([]byte{0, size, 0})
	h.Write(tail)
	var b0, b1, b2 [32]byte
	h.Sum(b0[:0])
	// b₁ = H(b₀ ‖ 1 ‖ DST′), b₂ = H(b₀ ⊕ b₁ ‖ 2 ‖ DST′)
	h.Reset()
	h.Write(b0[:])
	h.Write([]byte{1})
	h.Write(tail)
	h.Sum(b1[:0])
	for i := range b0 {
		b0[i] ^= b1[i]
	}
	h.Reset()
	h.Write(b0[:])
	h.Write([]byte{2})
	h.Write(tail)
	h.Sum(b2[:0])
	copy(out[:], b1[:])
	copy(out[32:], b2[:])
	clear(b0[:])
	clear(b1[:])
	clear(b2[:])
	return out
}

// odd is the parity of y of a compressed point of secp256k1.
func odd(b []byte) bool { return b[0] == 3 }

// signature is the scheme's encoding of (R, z): R ‖ z, with BIP-340 R.x ‖ z.
func (s *suite) signature(r []byte, z group.Scalar) []byte {
	if s.bip340 {
		r = r[1:]
	}
	return append(append(make([]byte, 0, len(r)+32), r...), z.Encode()...)
}

// verify judges a signature under the key q by arithmetic that is not ours:
// crypto/ed25519 of the standard library, decred's for secp256k1.
func (s *suite) verify(q, m, sig []byte) error {
	switch {
	case s.edwards():
		if !ed25519.Verify(q, m, sig) {
			return schnorr.ErrInvalid
		}
		return nil
	case s.bip340:
		return schnorr.VerifyBIP340(q[1:], m, sig)
	}
	c := s.challenge(sig[:33], q, m)
	return schnorr.Verify(q, sig[:33], c.Encode(), sig[33:])
}
