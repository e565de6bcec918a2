package dkg_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/sharing"
)

func TestKeyGeneration(t *testing.T) {
	for _, suite := range mpc.Suites() {
		for _, c := range []struct {
			parties   []mpc.ID
			threshold int
		}{
			{[]mpc.ID{1, 2}, 2},
			{[]mpc.ID{1, 2, 3}, 2},
			{[]mpc.ID{1, 2, 3}, 3},
			{[]mpc.ID{3, 500, 4000, 40000, 65535}, 3},
			{[]mpc.ID{65531, 65532, 65533, 65534, 65535}, 4},
		} {
			t.Run(fmt.Sprintf("%s/%d of %v", suite, c.threshold, c.parties), func(t *testing.T) {
				shares, cert, err := mpctest.KeysOf(suite, "dkg", c.parties, c.threshold)
				if err != nil {
					t.Fatal(err)
				}
				checkKey(t, shares, cert, c.threshold)
				for _, id := range c.parties {
					b := shares[id].Encode()
					k, err := dkg.DecodeKeyShare(b)
					if err != nil || k.Suite != suite || !bytes.Equal(k.Encode(), b) {
						t.Errorf("share of %d does not survive its encoding: %v", id, err)
					}
				}
				again, err := dkg.DecodeCertificate(cert.Encode())
				if err != nil || again.Suite != suite || again.Digest() != cert.Digest() || !bytes.Equal(again.Encode(), cert.Encode()) {
					t.Errorf("certificate does not survive its encoding: %v", err)
				}
			})
		}
	}
}

// checkKey demands that every t shares interpolate to the key, and that all
// parties hold one view.
func checkKey(t *testing.T, shares map[mpc.ID]*dkg.KeyShare, cert *dkg.Certificate, threshold int) {
	t.Helper()
	first, curve := shares[cert.Parties[0]], cert.PublicKey().Curve()
	for _, set := range subsets(cert.Parties, threshold) {
		sum := curve.NewScalar()
		for _, id := range set {
			l, err := sharing.Lagrange(curve, set, id)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(sum, l.Mul(l, shares[id].Share()))
		}
		if curve.NewPoint().ScalarBaseMult(sum).Equal(cert.PublicKey()) != 1 {
			t.Errorf("shares of %v are not of the public key", set)
		}
	}
	for _, id := range cert.Parties {
		k := shares[id]
		if k.KeyID != first.KeyID || k.ChainCode() != first.ChainCode() || k.FeldmanHash != first.FeldmanHash || k.CertificateHash != cert.Digest() {
			t.Errorf("party %d holds another key than party %d", id, first.ID)
		}
		if curve.NewPoint().ScalarBaseMult(k.Share()).Equal(cert.PublicShares[id]) != 1 {
			t.Errorf("share of party %d does not match its public share", id)
		}
		for _, j := range cert.Parties {
			if !cert.Suite.ZeroShares() || j == id {
				if _, err := k.ZeroSeed(j); err == nil {
					t.Errorf("party %d of a key of suite %s has a zero-share seed with %d", id, cert.Suite, j)
				}
			} else if seed(t, k, j) != seed(t, shares[j], id) || seed(t, k, j) == [32]byte{} {
				t.Errorf("parties %d and %d hold different zero-share seeds", id, j)
			}
		}
		if !k.Active() {
			t.Errorf("share of party %d is pending after activation", id)
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

// BenchmarkDKG is the CPU of all parties, encoding and every check included;
// pair setups are in mpc/pair.
func BenchmarkDKG(b *testing.B) {
	for _, suite := range mpc.Suites() {
		for _, c := range []struct{ n, t int }{{3, 2}, {5, 3}} {
			b.Run(fmt.Sprintf("%s/%dof%d", suite, c.t, c.n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := mpctest.KeysOf(suite, "bench", mpctest.IDs(c.n), c.t); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
