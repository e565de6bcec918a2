package frost_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

func FuzzDecodeShare(f *testing.F) {
	for _, suite := range suites {
		s := start(f, "fuzz", keys(f, suite, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
		until(f, s)
		f.Add(s.Broadcast[1][1])
		f.Add(s.Broadcast[0][1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, suite := range suites {
			x, err := frost.DecodeShare(suite, b)
			if err == nil && !bytes.Equal(x.Encode(), b) {
				t.Errorf("%x encodes as %x", b, x.Encode())
			}
		}
	})
}

func FuzzDecodeCommitment(f *testing.F) {
	for _, suite := range suites {
		n, err := frost.NewNonce(keys(f, suite, 3, 2)[1], nil, mpctest.Reader("fuzz"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(n.Commitment().Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, suite := range suites {
			c, err := frost.DecodeCommitment(suite, 1, b)
			if err == nil && (!bytes.Equal(c.Bytes(), b) || c.ID() != 1) {
				t.Errorf("%x encodes as %x", b, c.Bytes())
			}
		}
	})
}

// FuzzDeliver gives a signer a message of its peer in every round.
func FuzzDeliver(f *testing.F) {
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	terms.Exchanges = 1
	for i, suite := range suites {
		s := start(f, "deliver", keys(f, suite, 3, 2), terms, nil)
		until(f, s)
		for r := range s.Broadcast {
			f.Add(uint8(i), uint8(r), s.Broadcast[r][2])
		}
	}
	f.Fuzz(func(t *testing.T, which, round uint8, b []byte) {
		suite := suites[int(which)%len(suites)]
		r := int(round) % 3
		s := start(t, "deliver", keys(t, suite, 3, 2), terms, nil)
		for i := range s.Broadcast {
			err := s.Round(i)
			if err != nil {
				if i != r+1 || mpc.AsAbort(s.Errors[1]) == nil {
					t.Fatalf("round %d: %v", i, err)
				}
				return
			}
			if i == r {
				s.Seen[i][1] = map[mpc.ID][]byte{2: b}
			}
		}
		out, err := s.Sessions[1].Combine(s.Inbox(s.Last(), 1))
		switch {
		case err != nil && mpc.AsAbort(err) == nil:
			t.Errorf("combine: %v", err)
		case err == nil && (s.Public().Verify(terms.Jobs[0], out[0]) != nil || !bytes.Equal(b, s.Broadcast[r][2])):
			t.Errorf("released %x for round %d: %x", out, r, b)
		}
	})
}
