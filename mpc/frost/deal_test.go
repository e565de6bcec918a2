package frost_test

import (
	"crypto/sha256"
	"testing"

	"filippo.io/edwards25519"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// deal shares a known secret 2 of 3, at an epoch, as an import would.
func deal(t testing.TB, suite mpc.Suite, secret group.Scalar, epoch uint64) map[mpc.ID]*dkg.KeyShare {
	t.Helper()
	ids := mpctest.IDs(3)
	p, err := sharing.NewPolynomialWith(secret.Curve(), mpctest.Reader("deal"), secret, 2)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[mpc.ID]*dkg.KeyShare)
	for _, id := range ids {
		k, cert, err := dkg.Assemble(dkg.Parts{
			Suite: suite, Purpose: "dealt", SID: [32]byte{1}, Origin: dkg.Imported, Epoch: epoch, Self: id, Threshold: 2,
			Parties: ids, Feldman: p.Commit(), Share: p.Eval(id),
		})
		if err != nil {
			t.Fatal(err)
		}
		digest := cert.Digest()
		for _, j := range ids {
			if err := cert.AddSignature(j, mpctest.SignDigest("identity", j, digest)); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Activate(cert, mpctest.Verify("identity")); err != nil {
			t.Fatal(err)
		}
		out[id] = k
	}
	return out
}

func dealt(t testing.TB, suite mpc.Suite, secret uint64) map[mpc.ID]*dkg.KeyShare {
	return deal(t, suite, curveOf(t, suite).NewScalar().SetUint64(secret), dkg.FirstEpoch)
}

func minus(t testing.TB, suite mpc.Suite, k uint64) group.Scalar {
	s := curveOf(t, suite).NewScalar().SetUint64(k)
	return s.Negate(s)
}

// offCommitments is where the commitments stand in an R0.
const offCommitments = mpctest.OffBody + 32 + 4

// mixed is a point of edwards25519 plus one of small order.
func mixed(t testing.TB, point, torsion []byte) []byte {
	t.Helper()
	p, err := new(edwards25519.Point).SetBytes(point)
	if err != nil {
		t.Fatal(err)
	}
	q, err := new(edwards25519.Point).SetBytes(torsion)
	if err != nil {
		t.Fatal(err)
	}
	return p.Add(p, q).Bytes()
}

// specifiedJob is docs/spec/frost.md, job, for terms without a tweak and with one
// job that takes the key as it is.
func specifiedJob(t testing.TB, p *frost.Public, x *frost.Terms) [32]byte {
	t.Helper()
	h, m, q := specifiedContext(p, x), sha256.Sum256(x.Jobs[0].Message), p.PublicKey.Encode()
	if p.Suite == mpc.FROSTSecp256k1TR {
		q[0] = 2
	}
	return transcript.Sum("frost-job", h[:], x.RequestHash[:], []byte{0, 0}, m[:], make([]byte, 32), x.Jobs[0].Path, make([]byte, 33), q)
}

func specifiedContext(p *frost.Public, x *frost.Terms) [32]byte {
	ctx := session.Context{
		Suite: p.Suite, Protocol: 32, KeyID: p.KeyID[:], Epoch: p.Epoch, PublicKey: p.PublicKey.Encode(), FeldmanHash: p.FeldmanHash[:],
		RosterHash: p.RosterHash, N: len(p.Parties), T: p.Threshold, Set: x.Signers, Purpose: p.Purpose,
	}
	return ctx.Hash()
}
