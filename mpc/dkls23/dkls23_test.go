package dkls23_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// cluster is a key with all pair setups, made once.
type cluster struct {
	keys   map[mpc.ID]*dkg.KeyShare
	setups mpctest.Setups
	cert   *dkg.Certificate
}

func newCluster(tb testing.TB, label string, n, threshold int) *cluster {
	tb.Helper()
	keys, cert, err := mpctest.Keys(label+"/dkg", mpctest.IDs(n), threshold)
	if err != nil {
		tb.Fatal(err)
	}
	setups, err := mpctest.Pairs(label+"/pair", mpctest.IDs(n))
	if err != nil {
		tb.Fatal(err)
	}
	return &cluster{keys, setups, cert}
}

var (
	clusterMu sync.Mutex // guards clusters
	clusters  = make(map[string]*cluster)
	runs      atomic.Uint64
)

// shared is a cluster that several tests use; each runs sessions of its own.
func shared(tb testing.TB, n, threshold int) *cluster {
	tb.Helper()
	clusterMu.Lock()
	defer clusterMu.Unlock()
	name := fmt.Sprintf("%d-of-%d", threshold, n)
	if clusters[name] == nil {
		clusters[name] = newCluster(tb, name, n, threshold)
	}
	return clusters[name]
}

func (c *cluster) sign(tb testing.TB, label string, signers []mpc.ID, edit func(*dkls23.Config)) *mpctest.Sign {
	tb.Helper()
	// A shared setup refuses a session id that it has served: no two runs may draw
	// the same nonces, not even with -count=2.
	s, err := mpctest.NewSign(fmt.Sprintf("%s #%d", label, runs.Add(1)), c.keys, c.setups, signers, edit)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// subsets returns all k-element subsets.
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

// mustSign runs a session to its end and checks the signature with decred.
func mustSign(t *testing.T, s *mpctest.Sign) *ecdsa.Signature {
	t.Helper()
	sig, err := s.Run()
	if err != nil {
		t.Fatal(err)
	}
	checkSignature(t, s, sig)
	return sig
}

func checkSignature(t *testing.T, s *mpctest.Sign, sig *ecdsa.Signature) {
	t.Helper()
	hash := s.Configs[s.Signers[0]].MessageHash
	if err := ecdsa.Verify(s.Child(), hash, sig); err != nil {
		t.Error(err)
	}
	if key, err := ecdsa.Recover(hash, sig); err != nil || key != s.Child() {
		t.Errorf("recovered key %x, %v, want %x", key, err, s.Child())
	}
}

func TestSignEverySubset(t *testing.T) {
	for _, c := range []struct{ n, t int }{{2, 2}, {3, 2}, {3, 3}, {5, 3}} {
		cl := shared(t, c.n, c.t)
		for i, signers := range subsets(mpctest.IDs(c.n), c.t) {
			if c.n == 5 && i%4 != 0 && (raceEnabled || testing.Short()) {
				continue
			}
			name := fmt.Sprintf("%d-of-%d %v", c.t, c.n, signers)
			mustSign(t, cl.sign(t, name, signers, nil))
			mustSign(t, cl.sign(t, name+" child", signers, func(cfg *dkls23.Config) {
				cfg.Tweak = secp256k1.NewScalar().SetUint64(uint64(77 + i))
				cfg.MessageHash = [32]byte{31: byte(i + 1)}
			}))
		}
	}
}

// lagrange is the weight of id over signers 1 and 2.
func lagrange(id mpc.ID) (*secp256k1.Scalar, error) {
	l, err := sharing.Lagrange(group.Secp256k1(), mpctest.IDs(2), id)
	if err != nil {
		return nil, err
	}
	return group.Secp256k1Scalar(l), nil
}
