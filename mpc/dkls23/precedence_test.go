package dkls23_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// offSetups is where the list of setup hashes of an R0 starts.
const offSetups = mpctest.OffBody + 4*32

// setups returns an R0 of a 3-of-3 session with n setup hashes, those that it
// has and then zeros.
func setups(r0 []byte, n int) []byte {
	list, rest := r0[offSetups+4:][:2*32], r0[offSetups+4+2*32:]
	list = append(bytes.Clone(list), make([]byte, max(0, n-2)*32)...)[:n*32]
	out := binary.BigEndian.AppendUint32(bytes.Clone(r0[:offSetups]), uint32(n))
	return append(append(out, list...), rest...)
}

// What differs is benign before anybody is blamed for the form of an R0, its
// list of setup hashes included (docs/spec/dkls23.md, round 0).
func TestRound0DifferencesComeBeforeBlame(t *testing.T) {
	c := shared(t, 3, 3)
	length := func(n int) func([]byte) []byte { return func(b []byte) []byte { return setups(b, n) } }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { return mpctest.Flip(b, at) } }
	both := func(f, g func([]byte) []byte) func([]byte) []byte {
		return func(b []byte) []byte { return g(f(b)) }
	}
	same := func(b []byte) []byte { return b }
	for name, v := range map[string]struct {
		two, three func([]byte) []byte
		culprits   []mpc.ID // none: benign
	}{
		"short list":                           {length(1), same, []mpc.ID{2}},
		"no list":                              {length(0), same, []mpc.ID{2}},
		"long list":                            {length(3), same, []mpc.ID{2}},
		"as long as may be":                    {length(15), same, []mpc.ID{2}},
		"longer than may be":                   {length(16), same, []mpc.ID{2}},
		"both lists":                           {length(1), length(3), []mpc.ID{2, 3}},
		"list, message not in form":            {length(1), cut, []mpc.ID{2, 3}},
		"list, ctx of another":                 {length(1), flip(mpctest.OffBody), nil},
		"list, request of another":             {length(1), flip(mpctest.OffBody + 32), nil},
		"list, job of another":                 {length(1), flip(mpctest.OffBody + 2*32), nil},
		"list, own ctx":                        {both(length(1), flip(mpctest.OffBody)), same, nil},
		"list, setup of the other two":         {length(1), flip(offSetups + 4), nil},
		"list, its own setup hash":             {both(flip(offSetups+4), length(1)), same, []mpc.ID{2}},
		"list, setup that the other has of it": {length(1), flip(offSetups + 4 + 32), []mpc.ID{2}},
		"not in form, ctx of another":          {cut, flip(mpctest.OffBody), nil},
		"not in form, setup of the other two":  {cut, flip(offSetups + 4), nil},
		"not in form, own ctx":                 {both(cut, flip(mpctest.OffBody)), same, []mpc.ID{2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.sign(t, "precedence", mpctest.IDs(3), nil)
			rounds(t, s, 0)
			in := map[mpc.ID][]byte{2: v.two(s.Broadcast[0][2]), 3: v.three(s.Broadcast[0][3])}
			_, _, err := s.Sessions[1].Round1(in, nil)
			class := mpc.Benign
			if v.culprits != nil {
				class = mpc.Attributed
			}
			mpctest.WantAbort(t, err, class, v.culprits...)
			mpctest.WantStep(t, err, dkls23.Step1)
		})
	}
}

// A final share that is not in form is an error of whoever brought it, not an
// abort: it is decoded outside any session (docs/spec/dkls23.md, combine).
func TestFinalShareForm(t *testing.T) {
	s := finals(t, "form")
	good, err := s.Final[1].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := new(dkls23.FinalShare).UnmarshalBinary(good); err != nil {
		t.Fatal(err)
	}
	const offW = mpctest.OffEchoBody + 33
	for name, b := range map[string][]byte{
		"nothing":     nil,
		"version 2":   mpctest.Put(good, mpctest.OffVersion, []byte{2}),
		"protocol 1":  mpctest.Put(good, mpctest.OffProtocol, []byte{1}),
		"round 2":     mpctest.Put(good, mpctest.OffRound, []byte{2}),
		"from 0":      mpctest.From(good, 0, 0),
		"to a signer": mpctest.From(good, 1, 2),
		"R = O":       mpctest.Put(good, mpctest.OffEchoBody, make([]byte, 33)),
		"w = q":       mpctest.Put(good, offW, order[:]),
		"u = q":       mpctest.Put(good, offW+32, order[:]),
		"cut":         good[:len(good)-1],
		"left over":   append(slices.Clone(good), 0),
	} {
		f := dkls23.FinalShare{From: 9}
		if err := f.UnmarshalBinary(b); err == nil || mpc.AsAbort(err) != nil {
			t.Errorf("%s: %v, want an error that is no abort", name, err)
		}
		if f.From != 9 {
			t.Errorf("%s: a share that is refused leaves something behind", name)
		}
	}
}

// The authors are exactly the signers that the caller names.
func TestCombineAuthorsAreTheSigners(t *testing.T) {
	s := finals(t, "authors")
	one, two := s.Final[1], s.Final[2]
	three := changed(two, func(f *dkls23.FinalShare) { f.From = 3 })
	cfg := s.Configs[1]
	combine := func(signers []mpc.ID, shares ...*dkls23.FinalShare) error {
		_, err := dkls23.Combine(group.Secp256k1Point(cfg.Key.PublicKey), signers, cfg.MessageHash, nil, shares)
		return err
	}
	if err := combine([]mpc.ID{1, 2}, two, one); err != nil {
		t.Errorf("the order of the shares matters: %v", err)
	}
	for name, err := range map[string]error{
		"nobody":             combine(nil),
		"no signers":         combine(nil, one, two),
		"another signer":     combine([]mpc.ID{1, 3}, one, two),
		"one signer more":    combine([]mpc.ID{1, 2, 3}, one, two),
		"one signer fewer":   combine([]mpc.ID{1}, one, two),
		"one share more":     combine([]mpc.ID{1, 2}, one, two, three),
		"a share twice":      combine([]mpc.ID{1, 2}, one, two, two),
		"for another's":      combine([]mpc.ID{1, 2}, one, one),
		"a signer twice":     combine([]mpc.ID{1, 1}, one, one),
		"signers in reverse": combine([]mpc.ID{2, 1}, one, two),
		"signer 0":           combine([]mpc.ID{0, 2}, changed(one, func(f *dkls23.FinalShare) { f.From = 0 }), two),
	} {
		t.Run(name, func(t *testing.T) {
			mpctest.WantAbort(t, err, mpc.Benign)
			mpctest.WantStep(t, err, dkls23.StepCombineName)
		})
	}
	// The threshold is not an input: too few of them give no signature.
	mpctest.WantAbort(t, combine([]mpc.ID{1}, one), mpc.Unattributed)
	// Nor is a wrong argument an abort.
	tweak := secp256k1.NewScalar().Negate(secp256k1.NewScalar().SetUint64(1))
	_, err := dkls23.Combine(secp256k1.Generator(), []mpc.ID{1, 2}, cfg.MessageHash, tweak, []*dkls23.FinalShare{one, two})
	if err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("pk + εG = O: %v, want an error that is no abort", err)
	}
}
