package sharing_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// 2 ≤ t ≤ n ≤ 16, at every edge.
func TestCheckThreshold(t *testing.T) {
	for _, c := range []struct {
		t, n int
		ok   bool
	}{
		{2, 2, true}, {2, 3, true}, {16, 16, true}, {2, 16, true},
		{1, 3, false}, {0, 3, false}, {-1, 3, false}, {4, 3, false}, {2, 1, false}, {2, 17, false}, {17, 17, false}, {0, 0, false},
	} {
		if err := sharing.CheckThreshold(c.t, c.n); (err == nil) != c.ok {
			t.Errorf("%d of %d: %v", c.t, c.n, err)
		}
	}
}

// A weight is over a set in form: a member that stands twice, or 0, would make it
// that of another set, or divide by zero.
func TestPitfall41_LagrangeWantsASet(t *testing.T) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		for _, set := range [][]mpc.ID{nil, {0, 1}, {1, 1, 2}, {2, 1}, {1, 3, 2}} {
			for _, id := range []mpc.ID{0, 1, 2} {
				if w, err := sharing.Lagrange(c, set, id); err == nil {
					t.Errorf("%s: weight of %d in %v is %x", c.Name(), id, set, w.Encode())
				}
			}
		}
	}
}
