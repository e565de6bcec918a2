package dkls23_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// seeds are genuine messages of round r, and some that are nearly so.
func seeds(f *testing.F, round int, private bool) {
	f.Helper()
	c := shared(f, 3, 2)
	s := c.sign(f, "fuzz", mpctest.IDs(2), nil)
	rounds(f, s, round)
	b := s.Broadcast[round][1]
	if private {
		b = s.Private[round][1][2]
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add(append(bytes.Clone(b), 0))
}

// canonical demands Encode(Decode(b)) == b of everything that decodes.
func canonical(t *testing.T, round uint8, private bool, b []byte) {
	t.Helper()
	again, err := dkls23.Reencode(round, private, 1, b)
	if err == nil && !bytes.Equal(again, b) {
		t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
	}
}

func FuzzDecodeR0(f *testing.F) {
	seeds(f, 0, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, 0, false, b)
		_, _ = dkls23.Attachment0(b)
	})
}

func FuzzDecodeR1(f *testing.F) {
	seeds(f, 1, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, 1, false, b)
		_, _ = dkls23.Attachment1(b)
	})
}

func FuzzDecodeR1Private(f *testing.F) {
	seeds(f, 1, true)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, 1, true, b) })
}

func FuzzDecodeR2(f *testing.F) {
	seeds(f, 2, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, 2, false, b)
		_, _ = dkls23.Attachment2(b)
	})
}

func FuzzDecodeR2Private(f *testing.F) {
	seeds(f, 2, true)
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, 2, true, b) })
}

func FuzzDecodeFinalShare(f *testing.F) {
	c := shared(f, 3, 2)
	s := c.sign(f, "fuzz", mpctest.IDs(2), nil)
	rounds(f, s, 3)
	b, err := s.Final[1].MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var share dkls23.FinalShare
		if share.UnmarshalBinary(b) != nil {
			return
		}
		again, err := share.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

// Every genuine message is canonical and none decodes with a byte more or less,
// so that nothing can be hidden in one.
func TestPitfall38_CanonicalEncodings(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "p38", mpctest.IDs(2), nil)
	rounds(t, s, 3)
	final, err := s.Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, b []byte, reencode func([]byte) ([]byte, error)) {
		again, err := reencode(b)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: genuine message does not survive: %v", name, err)
		}
		for _, bad := range [][]byte{append(bytes.Clone(b), 0), b[:len(b)-1], mpctest.Flip(b, 0)} {
			if _, err := reencode(bad); err == nil {
				t.Errorf("%s: %d bytes of a message of %d, first byte %d, decode", name, len(bad), len(b), bad[0])
			}
		}
	}
	message := func(round uint8, private bool) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return dkls23.Reencode(round, private, 1, b) }
	}
	check("R0", s.Broadcast[0][1], message(0, false))
	check("R1", s.Broadcast[1][1], message(1, false))
	check("R1 private", s.Private[1][1][2], message(1, true))
	check("R2", s.Broadcast[2][1], message(2, false))
	check("R2 private", s.Private[2][1][2], message(2, true))
	check("final share", final, func(b []byte) ([]byte, error) {
		var f dkls23.FinalShare
		if err := f.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		return f.MarshalBinary()
	})
	// Scalars ≥ q.
	for name, at := range map[string]int{"w": 112, "u": 144} {
		if new(dkls23.FinalShare).UnmarshalBinary(mpctest.Put(final, at, order[:])) == nil {
			t.Errorf("final share with %s = q decodes", name)
		}
	}
	if _, err := dkls23.Reencode(2, true, 1, mpctest.Put(s.Private[2][1][2], mpctest.OffBody+66, order[:])); err == nil {
		t.Error("psi = q decodes")
	}
}

// One message to signer 1 is patched, cut or lengthened on its way, at any round:
// no panic, nobody but its author is blamed, and a signature that comes out is one.
func FuzzRounds(f *testing.F) {
	c := shared(f, 3, 2)
	f.Add(uint8(0), false, uint32(143), []byte{1}, uint16(0))
	f.Add(uint8(1), false, uint32(79), []byte{1}, uint16(3))
	f.Add(uint8(1), true, uint32(52), []byte{0xff, 0xff}, uint16(0))
	f.Add(uint8(2), false, uint32(79), []byte{2}, uint16(0))
	f.Add(uint8(2), true, uint32(47), []byte{3}, uint16(0))
	f.Add(uint8(2), true, uint32(60000), []byte{3}, uint16(0))
	f.Fuzz(func(t *testing.T, round uint8, private bool, at uint32, patch []byte, cut uint16) {
		round %= 3
		err := runMutated(t, c.sign(t, "fuzz rounds", mpctest.IDs(2), nil), int(round), private && round > 0, func(b []byte) []byte {
			b = append(bytes.Clone(b), make([]byte, min(64, max(0, int(at)+len(patch)-len(b))))...)
			if int(at) < len(b) {
				copy(b[at:], patch)
			}
			return b[:max(0, len(b)-int(cut))]
		})
		if err == nil {
			return
		}
		a := mpc.AsAbort(err)
		if a == nil || len(a.Culprits) > 1 || len(a.Culprits) == 1 && a.Culprits[0] != 2 {
			t.Errorf("got %v, want an abort that blames signer 2 or nobody", err)
		}
	})
}
