package dkls23_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/vole"
)

// region is a field of a message, and what a changed byte of it must lead to.
type region struct {
	name       string
	start, len int
	class      mpc.Class
}

func header(extra ...region) []region {
	return append([]region{
		{"version", mpctest.OffVersion, 1, mpc.Attributed},
		{"protocol", mpctest.OffProtocol, 1, mpc.Benign},
		{"round", mpctest.OffRound, 1, mpc.Benign},
		{"session", mpctest.OffSession, 32, mpc.Benign},
		{"epoch", mpctest.OffEpoch, 8, mpc.Benign},
		{"from", mpctest.OffFrom, 2, mpc.Attributed},
		{"to", mpctest.OffTo, 2, mpc.Benign},
	}, extra...)
}

// The messages of signer 2 to signer 1 in a session of two.
var layouts = []struct {
	round   int
	private bool
	regions []region
}{
	{0, false, header(
		region{"context", 47, 32, mpc.Benign},
		region{"request hash", 79, 32, mpc.Benign},
		region{"job", 111, 32, mpc.Benign},
		region{"nonce", 143, 32, mpc.Benign}, // the sids differ
		region{"count of setup hashes", 175, 4, mpc.Attributed},
		region{"setup hash", 179, 32, mpc.Benign},
		region{"length of the attachment", 211, 4, mpc.Attributed},
		region{"attachment", 215, 17, mpc.Benign}, // the echoes differ
	)},
	{1, false, header(
		region{"echo", 47, 32, mpc.Benign},
		region{"commitment", 79, 32, mpc.Benign}, // the echoes of round 1 differ
		region{"length of the attachment", 111, 4, mpc.Attributed},
		region{"attachment", 115, 17, mpc.Benign},
	)},
	{1, true, header(
		region{"length", 47, 4, mpc.Attributed},
		region{"version of the VOLE message", 51, 1, mpc.Attributed},
		region{"VOLE message", 52, vole.Message1Size(1) - 1, mpc.Quarantine},
	)},
	{2, false, header(
		region{"echo", 47, 32, mpc.Benign},
		region{"R", 79, 33, mpc.Attributed},
		region{"salt", 112, 32, mpc.Attributed},
		region{"length of the attachment", 177, 4, mpc.Attributed},
		region{"attachment", 181, 17, mpc.Benign}, // h₂, at combine
	)},
	{2, true, header(
		region{"length", 112 + 33, 4, mpc.Attributed},
		region{"version of the VOLE message", 149, 1, mpc.Attributed},
		region{"mu", 150 + vole.Message2Size(1) - 33, 32, mpc.Quarantine},
	)},
	// w and u are seen at combine, and in this session psi too: it is not checked
	// on its own, it only spoils the sum.
	{2, true, []region{{"psi", 47 + 66, 32, mpc.Unattributed}}},
	{3, false, []region{
		{"session", mpctest.OffSession, 32, mpc.Benign},
		{"epoch", mpctest.OffEpoch, 8, mpc.Benign},
		{"from", mpctest.OffFrom, 2, mpc.Benign},
		{"echo", 47, 32, mpc.Benign},
		{"w", 112, 32, mpc.Unattributed},
		{"u", 144, 32, mpc.Unattributed},
	}},
}

// Every region of every message, a byte changed at its start, middle and end:
// the session ends with an abort of the class that the region asks for, blames
// nobody but the author, never panics and never releases a signature that is
// not one.
func TestEveryRegionOfEveryMessage(t *testing.T) {
	c := shared(t, 3, 2)
	for _, l := range layouts {
		for _, r := range l.regions {
			for _, at := range slices.Compact([]int{r.start, r.start + r.len/2, r.start + r.len - 1}) {
				name := fmt.Sprintf("round %d private=%v/%s/%d", l.round, l.private, r.name, at)
				t.Run(name, func(t *testing.T) {
					s := c.sign(t, "mutation", mpctest.IDs(2), nil)
					err := runMutated(t, s, l.round, l.private, func(b []byte) []byte { return mpctest.Flip(b, at) })
					var culprits []mpc.ID
					if r.class == mpc.Attributed || r.class == mpc.Quarantine {
						culprits = []mpc.ID{2}
					}
					mpctest.WantAbort(t, err, r.class, culprits...)
				})
			}
		}
	}
}

// runMutated runs a session in which one message from 2 to 1 is changed on the
// way, and returns the abort of signer 1 or of Combine.
func runMutated(t *testing.T, s *mpctest.Sign, round int, private bool, change func([]byte) []byte) error {
	t.Helper()
	for r := range 4 {
		err := s.Round(r)
		if s.Errors[1] != nil {
			if !s.Sessions[1].Wiped() {
				t.Error("secrets are left after an abort")
			}
			return s.Errors[1]
		}
		if err != nil {
			return err // signer 2 noticed
		}
		if r != round {
			continue
		}
		switch {
		case r == 3:
			b, err := s.Final[2].MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			f := new(dkls23.FinalShare)
			if err := f.UnmarshalBinary(change(b)); err != nil {
				t.Fatal(err)
			}
			s.Final[2] = f
		case private:
			s.Private[r][2][1] = change(s.Private[r][2][1])
		default:
			// Only signer 1 sees the change: signer 2 goes on from what it sent.
			s.Broadcast[r][2] = change(s.Broadcast[r][2])
		}
	}
	sig, err := s.Combine()
	if err == nil {
		checkSignature(t, s, sig)
	}
	return err
}

// Changes at every 97th byte of the long messages, and every truncation and
// extension at the ends: an abort or a valid signature, never a panic.
func TestPitfall37_NoPanicOnMalformedMessages(t *testing.T) {
	c := shared(t, 3, 2)
	stride := 397
	if raceEnabled || testing.Short() {
		stride = 4999
	}
	try := func(round int, private bool, change func([]byte) []byte) {
		s := c.sign(t, "p37", mpctest.IDs(2), nil)
		if err := runMutated(t, s, round, private, change); err != nil && mpc.AsAbort(err) == nil {
			t.Errorf("round %d: %v is no abort", round, err)
		}
	}
	for _, l := range []struct {
		round   int
		private bool
		size    int
	}{{0, false, 240}, {1, false, 140}, {1, true, 8804}, {2, false, 200}, {2, true, 53494}} {
		for _, n := range []int{0, 1, 46, 47, 78, 79, 100, l.size - 1} {
			try(l.round, l.private, func(b []byte) []byte { return b[:min(n, len(b))] })
		}
		try(l.round, l.private, func(b []byte) []byte { return append(slices.Clone(b), 0) })
		try(l.round, l.private, func([]byte) []byte { return nil })
		for at := 47; at < l.size; at += stride {
			try(l.round, l.private, func(b []byte) []byte {
				b = slices.Clone(b)
				b[min(at, len(b)-1)] = 0xff
				return b
			})
		}
	}
}

// The points of round 2 as other valid points, and pk: what byte changes rarely
// reach.
func TestOtherValidPoints(t *testing.T) {
	c := shared(t, 3, 2)
	g := c.keys[1].PublicShares[3].Bytes()
	for _, f := range []struct {
		name    string
		private bool
		at      int
		class   mpc.Class
	}{
		{"R", false, mpctest.OffEchoBody, mpc.Attributed},
		{"pk", false, mpctest.OffEchoBody + 65, mpc.Quarantine},
		{"gamma u", true, mpctest.OffBody, mpc.Quarantine},
		{"gamma v", true, mpctest.OffBody + 33, mpc.Quarantine},
	} {
		t.Run(f.name, func(t *testing.T) {
			s := c.sign(t, "other points", mpctest.IDs(2), nil)
			err := runMutated(t, s, 2, f.private, func(b []byte) []byte { return mpctest.Put(b, f.at, g[:]) })
			mpctest.WantAbort(t, err, f.class, 2)
		})
	}
}
