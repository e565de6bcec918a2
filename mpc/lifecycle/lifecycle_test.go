package lifecycle_test

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// key is a key with all its shares.
type key struct {
	shares map[mpc.ID]*dkg.KeyShare
	cert   *dkg.Certificate
}

func newKey(t testing.TB, suite mpc.Suite, label string, parties []mpc.ID, threshold int) key {
	t.Helper()
	shares, cert, err := mpctest.KeysOf(suite, label, parties, threshold)
	if err != nil {
		t.Fatal(err)
	}
	return key{shares, cert}
}

func (k key) refresh() *mpctest.LifePlan {
	return &mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: k.cert, Shares: k.shares}
}

func (k key) reshare(dealers, parties []mpc.ID, threshold int) *mpctest.LifePlan {
	return &mpctest.LifePlan{Kind: lifecycle.Reshare, Certificate: k.cert, Shares: k.shares, Dealers: dealers, Parties: parties, Threshold: threshold}
}

func run(t testing.TB, label string, plan *mpctest.LifePlan) key {
	t.Helper()
	shares, cert, err := mpctest.Redistribute(label, plan)
	if err != nil {
		t.Fatal(err)
	}
	return key{shares, cert}
}

// secret interpolates f(0) from shares.
func secret(t testing.TB, shares map[mpc.ID]*dkg.KeyShare, set []mpc.ID) group.Scalar {
	t.Helper()
	curve := shares[set[0]].Curve()
	sum := curve.NewScalar()
	for _, id := range set {
		l, err := sharing.Lagrange(curve, set, id)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(sum, l.Mul(l, shares[id].Share()))
	}
	return sum
}

func isKey(x group.Scalar, c *dkg.Certificate) bool {
	return x.Curve().NewPoint().ScalarBaseMult(x).Equal(c.PublicKey()) == 1
}

// check demands that every t new shares make the old key, and that all parties
// hold one view.
func (k key) check(t *testing.T, old key) {
	t.Helper()
	c := k.cert
	if c.PublicKey().Equal(old.cert.PublicKey()) != 1 || c.KeyID() != old.cert.KeyID() {
		t.Fatal("public key or key id has changed")
	}
	if c.Epoch != old.cert.Epoch+1 || c.Previous != old.cert.Digest() || c.Purpose != old.cert.Purpose || c.Suite != old.cert.Suite {
		t.Errorf("certificate of epoch %d after %x is no successor of epoch %d, %x", c.Epoch, c.Previous, old.cert.Epoch, old.cert.Digest())
	}
	for _, set := range subsets(c.Parties, c.Threshold) {
		if !isKey(secret(t, k.shares, set), c) {
			t.Errorf("new shares of %v are not of the public key", set)
		}
	}
	if isKey(secret(t, k.shares, c.Parties[:c.Threshold-1]), c) {
		t.Error("fewer than t shares make the key")
	}
	chain := old.shares[old.cert.Parties[0]].ChainCode()
	for _, id := range c.Parties {
		s := k.shares[id]
		if s == nil || !s.Active() || s.ID != id || s.ChainCode() != chain || s.Epoch != c.Epoch || s.CertificateHash != c.Digest() || s.FeldmanHash != c.Feldman.Hash() {
			t.Fatalf("participant %d holds something else than the certificate says", id)
		}
		if s.Curve().NewPoint().ScalarBaseMult(s.Share()).Equal(c.PublicShares[id]) != 1 {
			t.Errorf("share of participant %d does not match its public share", id)
		}
		if before := old.shares[id]; before != nil && before.Share().Equal(s.Share()) == 1 {
			t.Errorf("share of participant %d is the old one", id)
		}
		if again, err := dkg.DecodeKeyShare(s.Encode()); err != nil || !again.Active() {
			t.Errorf("share of participant %d does not survive its encoding: %v", id, err)
		}
		k.checkSeeds(t, old, id)
	}
}

func (k key) checkSeeds(t *testing.T, old key, id mpc.ID) {
	t.Helper()
	for _, j := range k.cert.Parties {
		if j == id {
			continue
		}
		a, err := k.shares[id].ZeroSeed(j)
		if !k.cert.Suite.ZeroShares() {
			if err == nil {
				t.Error("a suite without zero shares has a seed")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := k.shares[j].ZeroSeed(id)
		if err != nil || a != b || a == [32]byte{} {
			t.Errorf("participants %d and %d hold seeds %x and %x, %v", id, j, a, b, err)
		}
		if before := old.shares[id]; before != nil {
			if c, err := before.ZeroSeed(j); err == nil && c == a {
				t.Errorf("seed of %d and %d is the old one", id, j)
			}
		}
	}
}

func subsets(ids []mpc.ID, k int) [][]mpc.ID {
	if k == 0 {
		return [][]mpc.ID{nil}
	}
	var out [][]mpc.ID
	for i := range ids {
		for _, rest := range subsets(ids[i+1:], k-1) {
			out = append(out, append([]mpc.ID{ids[i]}, rest...))
		}
	}
	return out
}

func ids(list ...mpc.ID) []mpc.ID { return list }

func TestRefreshKeepsTheKey(t *testing.T) {
	for _, suite := range mpc.Suites() {
		for _, c := range []struct {
			parties   []mpc.ID
			threshold int
		}{
			{ids(1, 2), 2}, {ids(1, 2, 3), 2}, {ids(1, 2, 3), 3}, {ids(3, 500, 4000, 40000, 65535), 3},
		} {
			if race && c.threshold != 2 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d of %v", suite, c.threshold, c.parties), func(t *testing.T) {
				old := newKey(t, suite, "refresh", c.parties, c.threshold)
				next := run(t, "refresh 1", old.refresh())
				next.check(t, old)
				if next.cert.Origin != dkg.Refreshed {
					t.Errorf("origin %s", next.cert.Origin)
				}
				third := run(t, "refresh 2", next.refresh())
				third.check(t, next)
			})
		}
	}
}

// Every way from one of these parties to another.
func TestReshareKeepsTheKey(t *testing.T) {
	type set struct {
		parties   []mpc.ID
		threshold int
	}
	sets := []set{
		{ids(1, 2), 2}, {ids(1, 2, 3), 2}, {ids(1, 2, 3), 3}, {ids(2, 3, 4, 5), 2}, {ids(2, 3, 4, 5), 3},
		{ids(1, 2, 3, 4, 5), 3}, {ids(11, 12, 13), 2}, {ids(255, 256, 4000, 40000, 65535), 3},
	}
	for _, suite := range mpc.Suites() {
		for i, from := range sets {
			if i != 1 && (race || suite != mpc.DKLS23Secp256k1 && suite != mpc.FROSTEd25519) {
				continue // two suites share a curve with the first
			}
			old := newKey(t, suite, "reshare", from.parties, from.threshold)
			for _, to := range sets {
				dealers := from.parties[len(from.parties)-from.threshold:]
				t.Run(fmt.Sprintf("%s/%d of %v to %d of %v", suite, from.threshold, from.parties, to.threshold, to.parties), func(t *testing.T) {
					next := run(t, "reshare 1", old.reshare(dealers, to.parties, to.threshold))
					next.check(t, old)
					if next.cert.Origin != dkg.Reshared {
						t.Errorf("origin %s", next.cert.Origin)
					}
				})
			}
		}
	}
}
