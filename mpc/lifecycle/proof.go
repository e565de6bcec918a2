package lifecycle

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const proofVersion = 1

// ProveShare proves that this party holds the secret share behind its public
// share. digest says what the proof is for, at least the certificate: a proof
// for one digest is none for another. It is Schnorr's proof, and its nonce is
// never the same for two digests even if rand fails to be random.
func ProveShare(share *dkg.KeyShare, digest [32]byte, rand io.Reader) ([]byte, error) {
	if share == nil || rand == nil {
		return nil, errors.New("lifecycle: a proof needs a share and a source of randomness")
	}
	var fresh [32]byte
	defer clear(fresh[:])
	if _, err := io.ReadFull(rand, fresh[:]); err != nil {
		return nil, fmt.Errorf("couldn't read randomness: %w", err)
	}
	curve := share.PublicKey.Curve()
	x := share.Share()
	defer x.Destroy()
	b := x.Encode()
	defer clear(b)
	// k = RO_q("life-ready-nonce", x, digest, fresh)
	k := transcript.ScalarOf(curve, transcript.TagLifeReadyNonce, b, digest[:], fresh[:])
	defer k.Destroy()
	commitment := curve.NewPoint().ScalarBaseMult(k)
	// z = k + e·x
	z := proofChallenge(share.PublicShares[share.ID], commitment, digest)
	z.Add(z.Mul(z, x), k)
	return wire.NewWriter(proofVersion).Fixed(commitment.Encode()).Fixed(z.Encode()).Bytes(), nil
}

// VerifyShareProof checks ProveShare's proof against the public share x of the
// party that made it.
func VerifyShareProof(x group.Point, digest [32]byte, proof []byte) error {
	if x == nil || x.IsIdentity() == 1 {
		return errors.New("public share is the identity: nothing is proven of it")
	}
	curve := x.Curve()
	r := wire.NewReader(proof, proofVersion)
	commitment := readPoint(r, curve, "commitment of the proof")
	z := readScalar(r, curve, "response of the proof")
	if err := r.Done(); err != nil {
		return fmt.Errorf("couldn't decode proof of a share: %w", err)
	}
	// z·G = K + e·X
	e := proofChallenge(x, commitment, digest)
	left := curve.NewPoint().DoubleScalarMultVartime(e.Negate(e), x, z)
	if left.Equal(commitment) != 1 {
		return errors.New("proof of knowledge of the share does not verify")
	}
	return nil
}

// proofChallenge is e = RO_q("life-ready", curve, X, K, digest).
func proofChallenge(x, commitment group.Point, digest [32]byte) group.Scalar {
	return transcript.ScalarOf(x.Curve(), transcript.TagLifeReady, []byte(x.Curve().Name()), x.Encode(), commitment.Encode(), digest[:])
}
