package dkls23_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pair"
)

// What is in form and does not fit: counts, kinds, ranges, and messages where
// there are none.

var aboveQ = bytes.Repeat([]byte{0xff}, 32)

// Every configuration of a session of many slots is checked before it starts.
func TestManyConfigs(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	for name, edit := range map[string]func(*dkls23.BatchConfig){
		"no items":        func(cfg *dkls23.BatchConfig) { cfg.Items = nil },
		"too many items":  func(cfg *dkls23.BatchConfig) { cfg.Items = mpctest.Items(dkls23.MaxBatch + 1) },
		"message 0":       func(cfg *dkls23.BatchConfig) { cfg.Items[1].MessageHash = [32]byte{} },
		"long path":       func(cfg *dkls23.BatchConfig) { cfg.Items[1].Path = make([]byte, dkls23.MaxPath+1) },
		"no key":          func(cfg *dkls23.BatchConfig) { cfg.Key = nil },
		"not a signer":    func(cfg *dkls23.BatchConfig) { cfg.Signers = []mpc.ID{2, 3} },
		"purpose missing": func(cfg *dkls23.BatchConfig) { cfg.Purpose = "" },
	} {
		cfg := mpctest.BatchConfig(c.keys[1], ids, c.setups[1], mpctest.Items(2))
		edit(&cfg)
		if _, err := dkls23.NewBatch(cfg, mpctest.Reader("configs")); err == nil {
			t.Errorf("batch, %s: accepted", name)
		}
	}
	for name, edit := range map[string]func(*dkls23.PresignConfig){
		"none":         func(cfg *dkls23.PresignConfig) { cfg.Count = 0 },
		"fewer":        func(cfg *dkls23.PresignConfig) { cfg.Count = -1 },
		"too many":     func(cfg *dkls23.PresignConfig) { cfg.Count = dkls23.MaxBatch + 1 },
		"no expiry":    func(cfg *dkls23.PresignConfig) { cfg.Expires = time.Time{} },
		"kind":         func(cfg *dkls23.PresignConfig) { cfg.Kind = 3 },
		"no key":       func(cfg *dkls23.PresignConfig) { cfg.Key = nil },
		"not a signer": func(cfg *dkls23.PresignConfig) { cfg.Signers = []mpc.ID{2, 3} },
	} {
		cfg := mpctest.PresignConfig(c.keys[1], ids, c.setups[1], dkls23.Full, 2)
		edit(&cfg)
		if _, err := presigning(cfg); err == nil {
			t.Errorf("presigning, %s: accepted", name)
		}
	}
	for name, edit := range map[string]func(*dkls23.Config){
		"long path":    func(cfg *dkls23.Config) { cfg.Path = make([]byte, dkls23.MaxPath+1) },
		"not a signer": func(cfg *dkls23.Config) { cfg.Signers = []mpc.ID{2, 3} },
	} {
		cfg := mpctest.SignConfig(c.keys[1], ids, c.setups[1])
		edit(&cfg)
		if _, err := dkls23.New(cfg, mpctest.Reader("configs")); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// presigning turns the panic of a count that was not checked into a pass.
func presigning(cfg dkls23.PresignConfig) (p *dkls23.Presigning, err error) {
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	return dkls23.NewPresigning(cfg, mpctest.Reader("configs"))
}

// Two slots of a session share neither ζ nor χ, and their names differ, as those
// of two sessions do.
func TestPitfall26_BatchSlotsAreDistinct(t *testing.T) {
	c := shared(t, 3, 2)
	m := c.start(t, "batch", mpctest.IDs(2), 1)
	b := m.Batch[1]
	if b.SlotID(0) == b.SlotID(1) {
		t.Error("two slots have the same id")
	}
	if b.Chi(2, 0).Equal(b.Chi(2, 1)) == 1 {
		t.Error("two slots have the same χ")
	}
	seen := make(map[[32]byte]bool)
	for range 2 {
		p := c.presign(t, "slots", mpctest.IDs(2), dkls23.Full, 3, nil)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for _, x := range p.Presigs[1] {
			if seen[x.ID()] {
				t.Error("two presignatures have one name")
			}
			seen[x.ID()] = true
		}
	}
}

// A difference of R0 ends round 1 and is nobody's fault, whichever it is; a list of
// setups of another length is its author's.
func TestRound0Differs(t *testing.T) {
	c := shared(t, 3, 2)
	for name, at := range map[string]int{"context": 47, "request": 79, "job": 111} {
		s := c.sign(t, "r0", mpctest.IDs(2), nil)
		rounds(t, s, 0)
		in := mpctest.Except(s.Broadcast[0], 1)
		in[2] = mpctest.Flip(in[2], at)
		_, _, err := s.Sessions[1].Round1(in, nil)
		mpctest.WantAbort(t, err, mpc.Benign)
		mpctest.WantStep(t, err, dkls23.Step1)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	const count = 47 + 4*32
	for n := range 4 {
		s := c.sign(t, "r0", mpctest.IDs(2), nil)
		rounds(t, s, 0)
		in := mpctest.Except(s.Broadcast[0], 1)
		b := bytes.Clone(in[2][:count])
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, make([]byte, 32*n)...)
		in[2] = append(b, in[2][count+4+32:]...)
		if n == 1 {
			continue // the right number, and another hash: TestSetupHashes
		}
		_, _, err := s.Sessions[1].Round1(in, nil)
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
	}
}

// Who follows another path signs something else.
func TestPitfall31_DifferentPath(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "path", mpctest.IDs(2), func(cfg *dkls23.Config) {
		cfg.Path = []byte{byte(cfg.Key.ID)}
	})
	rounds(t, s, 0)
	if err := s.Round(1); err == nil {
		t.Fatal("signers with different paths go on")
	}
	mpctest.WantAbort(t, s.Errors[1], mpc.Benign)
	mpctest.WantAbort(t, s.Errors[2], mpc.Benign)
}

// A pair setup that is destroyed between two rounds ends the session, and is
// nobody's fault.
func TestSetupDestroyedMeanwhile(t *testing.T) {
	c := shared(t, 3, 2)
	var setup *pair.Setup
	s := c.sign(t, "destroyed", mpctest.IDs(2), func(cfg *dkls23.Config) {
		if cfg.Key.ID == 1 {
			x := *cfg.Setups[2]
			bob, alice := *x.Bob, *x.Alice
			x.Bob, x.Alice = &bob, &alice
			setup = &x
			cfg.Setups = map[mpc.ID]*pair.Setup{2: setup}
		}
	})
	rounds(t, s, 1)
	setup.Destroy()
	mpctest.WantAbort(t, round2(s, 1, nil), mpc.Benign)
}

// Lists by slot have an item for every slot: one more or one fewer is its
// author's fault, in every message.
func TestManyCounts(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	one := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, n := range []int{0, 1, 3} {
		// R1: header, echo, count, commitments of 32 bytes, attachment.
		m := c.start(t, "batch", ids, 1)
		in := m.Broadcast[1][2]
		rest := in[79+4+64:]
		m.Broadcast[1][2] = append(append(append(bytes.Clone(in[:79]), one(uint32(n))...), make([]byte, 32*n)...), rest...)
		_, _, err := m.Sessions[1].Round2(mpctest.Except(m.Broadcast[1], 1), mpctest.Inbound(m.Private[1], 1), nil)
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		// R2: the list of R, salt; and that of ψ, behind Γ^u and Γ^v.
		for _, private := range []bool{false, true} {
			m = c.start(t, "batch", ids, 2)
			at, size := 79, 33+32
			in = m.Broadcast[2][2]
			if private {
				at, size, in = 47+66, 32, m.Private[2][2][1]
			}
			item := in[at+4 : at+4+size]
			changed := append(append(bytes.Clone(in[:at]), one(uint32(n))...), bytes.Repeat(item, n)...)
			changed = append(changed, in[at+4+2*size:]...)
			if private {
				m.Private[2][2][1] = changed
			} else {
				m.Broadcast[2][2] = changed
			}
			_ = m.Round(3)
			mpctest.WantAbort(t, m.Errors[1], mpc.Attributed, 2)
		}
	}
}

// Scalars above q are nobody's.
func TestScalarsAreBelowQ(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "psi", mpctest.IDs(2), nil)
	err := runMutated(t, s, 2, true, func(b []byte) []byte { return mpctest.Put(b, 47+66, aboveQ) })
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
	s = c.sign(t, "final", mpctest.IDs(2), nil)
	rounds(t, s, 3)
	b, err := s.Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{112, 144} {
		if new(dkls23.FinalShare).UnmarshalBinary(mpctest.Put(b, at, aboveQ)) == nil {
			t.Errorf("a scalar above q at %d of a final share decodes", at)
		}
	}
}

// The final share of a batch is strict.
func TestBatchShareForm(t *testing.T) {
	c := shared(t, 3, 2)
	m := c.start(t, "batch", mpctest.IDs(2), 3)
	good, err := m.Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	const slots = 79 + 4
	none := append(bytes.Clone(good[:79]), 0, 0, 0, 0)
	for name, b := range map[string][]byte{
		"version":       mpctest.Flip(good, 0),
		"protocol":      mpctest.Put(good, 1, []byte{2}),
		"round":         mpctest.Put(good, 2, []byte{2}),
		"author 0":      mpctest.Put(good, mpctest.OffFrom, []byte{0, 0}),
		"recipient":     mpctest.Put(good, mpctest.OffTo, []byte{0, 2}),
		"no signatures": none,
		"one more":      mpctest.Put(good, 79, []byte{0, 0, 0, 3}),
		"R = O":         mpctest.Put(good, slots, make([]byte, 33)),
		"w above q":     mpctest.Put(good, slots+33, aboveQ),
		"u above q":     mpctest.Put(good, slots+65, aboveQ),
		"second u":      mpctest.Put(good, slots+97+65, aboveQ),
		"a byte more":   append(bytes.Clone(good), 0),
		"a byte fewer":  good[:len(good)-1],
	} {
		if new(dkls23.BatchShare).UnmarshalBinary(b) == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	fewer := *m.Final[2]
	fewer.Slots = fewer.Slots[:1]
	_, err = dkls23.CombineBatch(group.Secp256k1Point(c.keys[1].PublicKey), m.Signers, m.Items, []*dkls23.BatchShare{m.Final[1], &fewer})
	mpctest.WantAbort(t, err, mpc.Benign)
	more := *m.Final[2]
	more.Slots = append(append([]dkls23.SlotShare(nil), more.Slots...), more.Slots[0])
	_, err = dkls23.CombineBatch(group.Secp256k1Point(c.keys[1].PublicKey), m.Signers, m.Items, []*dkls23.BatchShare{m.Final[1], &more})
	mpctest.WantAbort(t, err, mpc.Benign)
}

// Online messages where there are none, and final shares that do not belong
// together.
func TestOnlineForm(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	open := func(kind dkls23.Kind, r int) *mpctest.Online {
		o := c.online(t, "form", ids, c.presignatures(t, "form", ids, kind), nil)
		for k := range r + 1 {
			if err := o.Round(k); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	o := open(dkls23.Full, 0)
	_, err := o.Sessions[1].Round1(mpctest.Except(o.A, 1), map[mpc.ID][]byte{2: o.A[2]})
	mpctest.WantAbort(t, err, mpc.Benign)
	o = open(dkls23.Full, 1)
	_, err = o.Sessions[1].Round2(map[mpc.ID][]byte{2: o.A[2]})
	mpctest.WantAbort(t, err, mpc.Benign)

	v1, v2, other := open(dkls23.Delayed, 2), open(dkls23.Full, 2), open(dkls23.Full, 2)
	combine := func(shares ...*dkls23.OnlineShare) error {
		cfg := v2.Configs[1]
		_, err := dkls23.CombineOnline(group.Secp256k1Point(cfg.Key.PublicKey), ids, v2.Sessions[1].R(), cfg.MessageHash, cfg.Tweak, shares)
		return err
	}
	if err := combine(v2.Final[1], v2.Final[2]); err != nil {
		t.Fatal(err)
	}
	disguised := *v1.Final[2]
	disguised.ID = v2.Final[1].ID
	elsewhere := *v2.Final[2]
	elsewhere.Epoch++
	for name, shares := range map[string][]*dkls23.OnlineShare{
		"another kind":      {v2.Final[1], &disguised},
		"another signature": {v2.Final[1], other.Final[2]},
		"another epoch":     {v2.Final[1], &elsewhere},
		"one twice":         {v2.Final[1], v2.Final[1]},
		"one alone":         {v2.Final[1]},
		"none":              nil,
	} {
		if a := mpc.AsAbort(combine(shares...)); a == nil || a.Class != mpc.Benign {
			t.Errorf("%s: %v, want a benign abort", name, a)
		}
	}

	// An echo is its header and nothing more.
	c = shared(t, 3, 3)
	ids = mpctest.IDs(3)
	o = open(dkls23.Full, 1)
	echoes := mpctest.Except(o.Echoes, 1)
	echoes[3] = append(bytes.Clone(echoes[3]), 0)
	_, err = o.Sessions[1].Round2(echoes)
	mpctest.WantAbort(t, err, mpc.Attributed, 3)
	// The echo is over the A of every signer, the second's too.
	o = open(dkls23.Full, 0)
	in := mpctest.Except(o.A, 1)
	o.Echoes = make(map[mpc.ID][]byte)
	in[2] = mpctest.Flip(in[2], mpctest.OffBody+32)
	if o.Echoes[1], err = o.Sessions[1].Round1(in, nil); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[1:] {
		if o.Echoes[id], err = o.Sessions[id].Round1(mpctest.Except(o.A, id), nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = o.Round(2)
	for _, id := range ids {
		mpctest.WantAbort(t, o.Errors[id], mpc.Benign)
	}
}
