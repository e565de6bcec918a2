package dkls23_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/vole"
)

// The messages of signer 2 to signer 1 in a session of two, field by field. The
// fields of a point may become another point or none, those of a scalar another.
func layouts(c *cluster) []layout {
	field := func(name string, n int, class mpc.Class) mpctest.Field {
		return mpctest.Field{Name: name, Len: n, Class: class}
	}
	other := [33]byte(c.keys[1].PublicShares[3].Encode())
	point := func(name string, class mpc.Class) mpctest.Field {
		return mpctest.Field{Name: name, Len: 33, Class: class, Or: mpc.Attributed, Value: other[:]}
	}
	attachment := func(class mpc.Class) []mpctest.Field {
		return []mpctest.Field{field("length of the attachment", 4, mpc.Attributed), field("attachment", 17, class)}
	}
	const cells = 416 * 4 * 32
	return []layout{
		{0, false, mpctest.HeaderFields(append([]mpctest.Field{
			field("context", 32, mpc.Benign),
			field("request hash", 32, mpc.Benign),
			field("job", 32, mpc.Benign),
			field("nonce", 32, mpc.Benign), // the sids differ
			field("count of setup hashes", 4, mpc.Attributed),
			field("setup hash", 32, mpc.Benign),
		}, attachment(mpc.Benign)...)...)}, // the echoes differ
		{1, false, mpctest.EchoFields(append([]mpctest.Field{
			field("commitment", 32, mpc.Benign), // the echoes of round 1 differ
		}, attachment(mpc.Benign)...)...)},
		{1, true, mpctest.HeaderFields(
			field("length", 4, mpc.Attributed),
			field("version of the VOLE message", 1, mpc.Attributed),
			field("U", vole.Message1Size(1)-1-16-32, mpc.Quarantine),
			field("X", 16, mpc.Quarantine),
			field("TH", 32, mpc.Quarantine),
		)},
		{2, false, mpctest.EchoFields(append([]mpctest.Field{
			point("R", mpc.Attributed),
			field("salt", 32, mpc.Attributed),
			point("pk", mpc.Quarantine),
		}, attachment(mpc.Benign)...)...)}, // h₂, at combine
		{2, true, mpctest.HeaderFields(
			point("gamma u", mpc.Quarantine),
			point("gamma v", mpc.Quarantine),
			field("psi", 32, mpc.Unattributed), // not checked on its own: it spoils the sum
			field("length", 4, mpc.Attributed),
			field("version of the VOLE message", 1, mpc.Attributed),
			mpctest.Field{Name: "cells", Len: cells, Class: mpc.Quarantine, Or: mpc.Attributed},
			mpctest.Field{Name: "eta", Len: 64, Class: mpc.Quarantine, Or: mpc.Attributed},
			field("mu", 32, mpc.Quarantine),
		)},
	}
}

type layout struct {
	round   int
	private bool
	fields  []mpctest.Field
}

// Every field of every message: the session ends with an abort of the class that
// the field asks for, blames nobody but the author, never panics and never releases
// a signature that is not one.
func TestEveryFieldOfEveryMessage(t *testing.T) {
	c := shared(t, 3, 2)
	genuine := c.sign(t, "genuine", mpctest.IDs(2), nil)
	rounds(t, genuine, 3)
	for _, l := range layouts(c) {
		m := genuine.Broadcast[l.round][2]
		if l.private {
			m = genuine.Private[l.round][2][1]
		}
		mpctest.Attack(t, fmt.Sprintf("R%d private=%v", l.round, l.private), m, l.fields, 2, func(t *testing.T, change func([]byte) []byte) error {
			return runMutated(t, c.sign(t, "mutation", mpctest.IDs(2), nil), l.round, l.private, change)
		})
	}
	final, err := genuine.Final[2].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	other := [33]byte(c.keys[1].PublicShares[3].Encode())
	mpctest.Attack(t, "final share", final, []mpctest.Field{
		{Name: "version, protocol, round", Len: 3, Class: mpc.Benign},
		{Name: "session", Len: 32, Class: mpc.Benign},
		{Name: "epoch", Len: 8, Class: mpc.Benign},
		{Name: "from and to", Len: 4, Class: mpc.Benign},
		{Name: "echo", Len: 32, Class: mpc.Benign},
		{Name: "R", Len: 33, Class: mpc.Benign, Value: other[:]},
		{Name: "w", Len: 32, Class: mpc.Unattributed},
		{Name: "u", Len: 32, Class: mpc.Unattributed},
	}, 2, func(t *testing.T, change func([]byte) []byte) error {
		s := c.sign(t, "mutation", mpctest.IDs(2), nil)
		err := runMutated(t, s, 3, false, change)
		if mpc.AsAbort(err) == nil && err != nil {
			// Not in form: whoever combines drops it as if it had never come.
			return session.Benign("decode", err)
		}
		return err
	})
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
				return err
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
