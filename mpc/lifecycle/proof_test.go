package lifecycle_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

func TestShareProof(t *testing.T) {
	for _, suite := range mpc.Suites() {
		k := newKey(t, suite, "proof", mpctest.IDs(3), 2)
		digest := k.cert.Digest()
		proof, err := lifecycle.ProveShare(k.shares[2], digest, mpctest.Reader("proof"))
		if err != nil {
			t.Fatal(err)
		}
		x := k.cert.PublicShares[2]
		if err := lifecycle.VerifyShareProof(x, digest, proof); err != nil {
			t.Fatal(err)
		}
		other := digest
		other[31] ^= 1
		if lifecycle.VerifyShareProof(x, other, proof) == nil {
			t.Error("a proof serves another digest")
		}
		if lifecycle.VerifyShareProof(k.cert.PublicShares[1], digest, proof) == nil {
			t.Error("a proof serves another share")
		}
		if lifecycle.VerifyShareProof(nil, digest, proof) == nil || lifecycle.VerifyShareProof(x.Curve().NewPoint(), digest, proof) == nil {
			t.Error("something is proven of no public share")
		}
		for at := range proof {
			if lifecycle.VerifyShareProof(x, digest, mpctest.Flip(proof, at)) == nil {
				t.Errorf("proof with byte %d changed verifies", at)
			}
		}
		for n := range proof {
			if lifecycle.VerifyShareProof(x, digest, proof[:n]) == nil {
				t.Errorf("proof of %d bytes verifies", n)
			}
		}
		if lifecycle.VerifyShareProof(x, digest, append(slices.Clone(proof), 0)) == nil {
			t.Error("a byte more is accepted")
		}
	}
}

// The identity as X: any z would prove it with K = z·G.
func TestPitfall12_ProofOfTheIdentity(t *testing.T) {
	for _, curve := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		z := curve.NewScalar().SetUint64(5)
		proof := append([]byte{1}, curve.NewPoint().ScalarBaseMult(z).Encode()...)
		if lifecycle.VerifyShareProof(curve.NewPoint(), [32]byte{1}, append(proof, z.Encode()...)) == nil {
			t.Errorf("%s: the identity is proven", curve.Name())
		}
	}
}

// A source that repeats itself gives another nonce for another digest and for
// another share: two proofs with one nonce would reveal the share.
func TestPitfall42_ProofNonceIsHedged(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "proof", mpctest.IDs(3), 2)
	nonce := func(id mpc.ID, digest byte, label string) string {
		proof, err := lifecycle.ProveShare(k.shares[id], [32]byte{digest}, mpctest.Reader("%s", label))
		if err != nil {
			t.Fatal(err)
		}
		return string(proof[1:34])
	}
	seen := map[string]bool{}
	for _, n := range []string{nonce(1, 1, "a"), nonce(1, 2, "a"), nonce(2, 1, "a"), nonce(1, 1, "b")} {
		if seen[n] {
			t.Error("a nonce came twice")
		}
		seen[n] = true
	}
	if !seen[nonce(1, 1, "a")] {
		t.Error("the nonce depends on something else than share, digest and randomness")
	}
	if _, err := lifecycle.ProveShare(k.shares[1], [32]byte{}, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a short read is accepted")
	}
	if _, err := lifecycle.ProveShare(nil, [32]byte{}, mpctest.Reader("a")); err == nil {
		t.Error("no share: accepted")
	}
	if _, err := lifecycle.ProveShare(k.shares[1], [32]byte{}, nil); err == nil {
		t.Error("no randomness: accepted")
	}
}
