package dkg_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// A context that differs is benign, and that before anybody is blamed for the
// form of a D0 (docs/spec/dkg.md, round 0).
func TestRound0DifferencesComeBeforeBlame(t *testing.T) {
	for _, differs := range []bool{false, true} {
		d := start(t, 0)
		in := mpctest.Except(d.Broadcast[0], 1)
		in[2] = in[2][:len(in[2])-1]
		if differs {
			in[3] = mpctest.Flip(in[3], mpctest.OffBody)
		}
		_, err := d.Sessions[1].Round1(in)
		if differs {
			mpctest.WantAbort(t, err, mpc.Benign)
		} else {
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
	}
}
