package dkls23_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// manyMessages are genuine messages of a session of two slots, by round; private
// ones too.
func manyMessages(t testing.TB, flavour string) (broadcast [3][]byte, private [3][]byte) {
	m := shared(t, 3, 2).start(t, flavour, mpctest.IDs(2), 2)
	for r := range 3 {
		broadcast[r] = m.Broadcast[r][1]
		if r > 0 {
			private[r] = m.Private[r][1][2]
		}
	}
	return broadcast, private
}

// Everything that decodes as a message of a session of two slots encodes to the
// same bytes.
func FuzzDecodeMany(f *testing.F) {
	for _, flavour := range flavours {
		broadcast, private := manyMessages(f, flavour)
		for r := range 3 {
			f.Add(uint8(r), false, broadcast[r])
			f.Add(uint8(r), false, append(bytes.Clone(broadcast[r]), 0))
			if r > 0 {
				f.Add(uint8(r), true, private[r])
				f.Add(uint8(r), true, private[r][:len(private[r])-1])
			}
		}
	}
	f.Fuzz(func(t *testing.T, round uint8, private bool, b []byte) {
		if round > 2 || round == 0 && private {
			return
		}
		again, err := dkls23.Reencode(round, private, 2, b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
		_, _ = dkls23.Attachment0(b)
		_, _ = dkls23.Attachment1(b)
		_, _ = dkls23.Attachment2(b)
		_, _ = dkls23.AttachmentA(b)
	})
}

func FuzzDecodeBatchShare(f *testing.F) {
	b, err := shared(f, 3, 2).start(f, "batch", mpctest.IDs(2), 3).Final[1].MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var share dkls23.BatchShare
		if share.UnmarshalBinary(b) != nil {
			return
		}
		if again, err := share.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

// onlineMessages are a run's, of two signers.
func onlineMessages(t testing.TB, kind dkls23.Kind) (a, private, share []byte) {
	c := shared(t, 3, 2)
	o := c.online(t, "messages", mpctest.IDs(2), c.presignatures(t, "messages", mpctest.IDs(2), kind), nil)
	if _, err := o.Run(); err != nil {
		t.Fatal(err)
	}
	share, err := o.Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return o.A[1], o.Private[1][2], share
}

func FuzzDecodeOnline(f *testing.F) {
	for _, kind := range kinds {
		a, private, share := onlineMessages(f, kind)
		f.Add(uint8(kind), false, a)
		f.Add(uint8(kind), true, private)
		f.Add(uint8(kind), false, share)
	}
	f.Fuzz(func(t *testing.T, kind uint8, private bool, b []byte) {
		again, err := dkls23.ReencodeA(dkls23.Kind(kind), private, b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("A decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
		_, _ = dkls23.AttachmentA(b)
		var share dkls23.OnlineShare
		if share.UnmarshalBinary(b) != nil {
			return
		}
		if again, err := share.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("B decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

// One message to signer 1 is patched or cut on its way: no panic, nobody but its
// author is blamed, and a signature that comes out is one.
func FuzzManyRounds(f *testing.F) {
	c := shared(f, 3, 2)
	for k := range uint8(3) {
		f.Add(k, uint8(0), false, uint32(143), []byte{1}, uint16(0))
		f.Add(k, uint8(1), false, uint32(79), []byte{0, 0, 0, 1}, uint16(0))
		f.Add(k, uint8(2), false, uint32(79), []byte{0xff, 0xff, 0xff, 0xff}, uint16(0))
		f.Add(k, uint8(2), true, uint32(47), []byte{0, 0, 0, 3}, uint16(1))
	}
	f.Fuzz(func(t *testing.T, flavour, round uint8, private bool, at uint32, patch []byte, cut uint16) {
		round %= 3
		blamesOnly2(t, c.runManyChanged(t, flavours[flavour%3], int(round), private && round > 0, patched(at, patch, cut)))
	})
}

func patched(at uint32, patch []byte, cut uint16) func([]byte) []byte {
	return func(b []byte) []byte {
		b = append(bytes.Clone(b), make([]byte, min(64, max(0, int(at)+len(patch)-len(b))))...)
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		return b[:max(0, len(b)-int(cut))]
	}
}

func blamesOnly2(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	a := mpc.AsAbort(err)
	if a == nil || len(a.Culprits) > 1 || len(a.Culprits) == 1 && a.Culprits[0] != 2 {
		t.Errorf("got %v, want an abort that blames signer 2 or nobody", err)
	}
}

// The same online, of three signers: A, its private part, and the echo.
func FuzzOnlineRounds(f *testing.F) {
	c := shared(f, 3, 3)
	ids := mpctest.IDs(3)
	presigs := make(map[dkls23.Kind]map[mpc.ID]*dkls23.Presignature)
	for _, kind := range kinds {
		presigs[kind] = c.presignatures(f, "fuzz", ids, kind)
		for what := range uint8(3) {
			f.Add(uint8(kind), what, uint32(47), []byte{1}, uint16(0))
			f.Add(uint8(kind), what, uint32(79), []byte{2, 3}, uint16(1))
		}
	}
	f.Fuzz(func(t *testing.T, k, what uint8, at uint32, patch []byte, cut uint16) {
		kind := kinds[k%2]
		clones := make(map[mpc.ID]*dkls23.Presignature)
		for id, p := range presigs[kind] {
			clones[id] = p.Clone()
		}
		o := c.online(t, "fuzz", ids, clones, nil)
		if err := o.Round(0); err != nil {
			t.Fatal(err)
		}
		a, private, change := mpctest.Except(o.A, 1), mpctest.Inbound(o.Private, 1), patched(at, patch, cut)
		switch {
		case what%3 == 0:
			a[2] = change(a[2])
		case what%3 == 1 && kind == dkls23.Delayed:
			private[2] = change(private[2])
		}
		o.Echoes = make(map[mpc.ID][]byte)
		for _, id := range ids[1:] {
			var err error
			if o.Echoes[id], err = o.Sessions[id].Round1(mpctest.Except(o.A, id), mpctest.Inbound(o.Private, id)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.Sessions[1].Round1(a, private); err != nil {
			blamesOnly2(t, err)
			return
		}
		if what%3 == 2 {
			o.Echoes[2] = change(o.Echoes[2])
		}
		_, err := o.Sessions[1].Round2(o.Echoes)
		blamesOnly2(t, err)
	})
}

// Genuine messages survive; with a byte more, a byte less or another version none
// does, but an A that is longer has a longer attachment.
func TestPitfall38_ManyCanonicalEncodings(t *testing.T) {
	check := func(name string, b []byte, open bool, reencode func([]byte) ([]byte, error)) {
		again, err := reencode(b)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: genuine message does not survive: %v", name, err)
		}
		for _, bad := range [][]byte{append(bytes.Clone(b), 0), b[:len(b)-1], mpctest.Flip(b, 0), nil} {
			again, err := reencode(bad)
			if err == nil && !(open && bytes.Equal(again, bad)) {
				t.Errorf("%s: %d bytes of a message of %d decode", name, len(bad), len(b))
			}
		}
	}
	for _, flavour := range flavours {
		broadcast, private := manyMessages(t, flavour)
		for r := range 3 {
			check(fmt.Sprintf("%s R%d", flavour, r), broadcast[r], false, func(b []byte) ([]byte, error) { return dkls23.Reencode(uint8(r), false, 2, b) })
			if r == 0 {
				continue
			}
			check(fmt.Sprintf("%s R%d private", flavour, r), private[r], false, func(b []byte) ([]byte, error) { return dkls23.Reencode(uint8(r), true, 2, b) })
			for _, n := range []int{1, 3} {
				if _, err := dkls23.Reencode(uint8(r), true, n, private[r]); err == nil {
					t.Errorf("%s: private R%d of two slots decodes as of %d", flavour, r, n)
				}
			}
		}
		for r, peek := range []func([]byte) ([]byte, error){dkls23.Attachment0, dkls23.Attachment1, dkls23.Attachment2} {
			if got, err := peek(broadcast[r]); err != nil || string(got) != fmt.Sprintf("attachment %d of 1", r) {
				t.Errorf("%s: attachment %q, %v", flavour, got, err)
			}
			for _, other := range []byte{0, 1, 3, 15, 19, 20, 255} {
				if _, err := peek(mpctest.Put(broadcast[r], mpctest.OffProtocol, []byte{other})); err == nil {
					t.Errorf("%s: a message of protocol %d has an attachment", flavour, other)
				}
			}
			if r > 0 {
				none := append(bytes.Clone(broadcast[r][:mpctest.OffEchoBody]), make([]byte, 8)...)
				if _, err := peek(none); err == nil {
					t.Errorf("%s: R%d of no slots has an attachment", flavour, r)
				}
			}
			if _, err := peek(broadcast[(r+1)%3]); err == nil {
				t.Errorf("%s: a message of round %d is read as of round %d", flavour, (r+1)%3, r)
			}
		}
	}
	for _, kind := range kinds {
		a, private, share := onlineMessages(t, kind)
		check(fmt.Sprint(kind, " A"), a, true, func(b []byte) ([]byte, error) { return dkls23.ReencodeA(kind, false, b) })
		if kind == dkls23.Delayed {
			check("V1 A private", private, false, func(b []byte) ([]byte, error) { return dkls23.ReencodeA(kind, true, b) })
		}
		reencode := func(b []byte) ([]byte, error) {
			var f dkls23.OnlineShare
			if err := f.UnmarshalBinary(b); err != nil {
				return nil, err
			}
			return f.MarshalBinary()
		}
		check(fmt.Sprint(kind, " B"), share, false, reencode)
		for name, bad := range map[string][]byte{
			"w = q": mpctest.Put(share, mpctest.OffBody, order[:]), "u = q": mpctest.Put(share, mpctest.OffBody+32, order[:]),
			"round 1": mpctest.Put(share, mpctest.OffRound, []byte{1}), "from 0": mpctest.From(share, 0, 0), "to 1": mpctest.From(share, 2, 1),
			"protocol 2": mpctest.Put(share, mpctest.OffProtocol, []byte{2}),
		} {
			if _, err := reencode(bad); err == nil {
				t.Errorf("%v B with %s decodes", kind, name)
			}
		}
		if got, err := dkls23.AttachmentA(a); err != nil || string(got) != "attachment A of 1" {
			t.Errorf("%v: attachment %q, %v", kind, got, err)
		}
		for name, bad := range map[string][]byte{"B": share, "round 1": mpctest.Put(a, mpctest.OffRound, []byte{1}), "private": mpctest.From(a, 1, 2), "short": a[:100], "another protocol": mpctest.Put(a, mpctest.OffProtocol, []byte{2})} {
			if _, err := dkls23.AttachmentA(bad); err == nil {
				t.Errorf("%v: %s is read as A", kind, name)
			}
		}
	}
	b, err := shared(t, 3, 2).start(t, "batch", mpctest.IDs(2), 3).Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	reencode := func(b []byte) ([]byte, error) {
		var f dkls23.BatchShare
		if err := f.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		return f.MarshalBinary()
	}
	check("batch share", b, false, reencode)
	at := mpctest.OffEchoBody + 4 + 97 // of the second slot
	for name, bad := range map[string][]byte{
		"R = O": mpctest.Put(b, at, make([]byte, 33)), "w = q": mpctest.Put(b, at+33, order[:]), "u = q": mpctest.Put(b, at+65, order[:]),
		"none": mpctest.Put(b[:mpctest.OffEchoBody+4], mpctest.OffEchoBody, make([]byte, 4)), "from 0": mpctest.From(b, 0, 0), "to 1": mpctest.From(b, 2, 1),
		"round 2": mpctest.Put(b, mpctest.OffRound, []byte{2}), "protocol 2": mpctest.Put(b, mpctest.OffProtocol, []byte{2}),
	} {
		if _, err := reencode(bad); err == nil {
			t.Errorf("batch share with %s decodes", name)
		}
	}
}
