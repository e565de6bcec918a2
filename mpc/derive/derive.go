package derive

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// ErrNoChild says that a step has no child at its index: take the next index. It
// happens with a probability below 2⁻¹²⁷ over secp256k1, 2⁻²⁵¹ over Ed25519.
var ErrNoChild = errors.New("there is no child at this index, take the next")

// Child is a derived key.
type Child struct {
	// Tweak is ε: the private key of the child is that of the key plus ε.
	Tweak     group.Scalar
	PublicKey group.Point

	chainCode *[32]byte
}

// ChainCode returns the chain code of the child, which hosts must not see.
func (c *Child) ChainCode() [32]byte { return *c.chainCode }

// Format shows the public key, whatever the verb.
func (c Child) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "derive.Child(%x)", c.PublicKey.Encode())
}

// Key derives a child of a key share's key. It does not read the share.
func Key(k *dkg.KeyShare, path Path) (*Child, error) {
	return Derive(k.PublicKey, k.ChainCode(), path)
}

// Derive goes a path from a public key and its chain code.
func Derive(public group.Point, chainCode [32]byte, path Path) (*Child, error) {
	if err := path.Check(); err != nil {
		return nil, err
	}
	if public.IsIdentity() == 1 {
		return nil, errors.New("public key is the identity")
	}
	c := public.Curve()
	child := &Child{Tweak: c.NewScalar(), PublicKey: c.NewPoint().Set(public), chainCode: &chainCode}
	for k, i := range path {
		eps, code, err := step(child.PublicKey, child.chainCode, i)
		if err == nil {
			err = child.add(eps)
		}
		if err != nil {
			return nil, fmt.Errorf("step %d of the path, index %d: %w", k+1, i, err)
		}
		*child.chainCode = code
	}
	return child, nil
}

// add moves the key by εG.
func (c *Child) add(eps group.Scalar) error {
	c.Tweak.Add(c.Tweak, eps)
	c.PublicKey.Add(c.PublicKey, c.PublicKey.Curve().NewPoint().ScalarBaseMult(eps))
	if c.PublicKey.IsIdentity() == 1 {
		return ErrNoChild
	}
	return nil
}

// step returns what is added to the parent's key, and the child's chain code.
func step(parent group.Point, code *[32]byte, i uint32) (group.Scalar, [32]byte, error) {
	if parent.Curve() == group.Ed25519() {
		eps, next := stepEd25519(parent, code, i)
		return eps, next, nil
	}
	return stepBIP32(parent, code, i)
}

// stepBIP32 is CKDpub of BIP-32: I = HMAC-SHA512(c, serP(K) ‖ ser32(i)), ε is the
// left half, the child's chain code the right.
func stepBIP32(parent group.Point, code *[32]byte, i uint32) (group.Scalar, [32]byte, error) {
	h := hmac.New(sha512.New, code[:])
	h.Write(parent.Encode())
	h.Write(binary.BigEndian.AppendUint32(nil, i))
	return splitBIP32(h.Sum(nil))
}

func splitBIP32(out []byte) (eps group.Scalar, code [32]byte, err error) {
	eps = group.Secp256k1().NewScalar()
	if err := eps.Decode(out[:32]); err != nil {
		return nil, code, ErrNoChild
	}
	return eps, [32]byte(out[32:]), nil
}

// stepEd25519 is RO("derive", c, A, u32 i; 96): ε is the first 64 bytes mod ℓ, the
// child's chain code the last 32.
func stepEd25519(parent group.Point, code *[32]byte, i uint32) (eps group.Scalar, next [32]byte) {
	var out [96]byte
	transcript.Fill(out[:], transcript.TagDerive, code[:], parent.Encode(), binary.BigEndian.AppendUint32(nil, i))
	return group.Ed25519().NewScalar().SetUniform(out[:64]), [32]byte(out[64:])
}
