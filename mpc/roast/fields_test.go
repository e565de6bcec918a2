package roast_test

import (
	"errors"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/roast"
)

// caught and harmless are how a changed message ends: its author is faulty, or
// nothing comes of the change.
func caught(id mpc.ID, err error) error {
	return &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{id}, Step: "test", Err: err}
}

var harmless = &mpc.Abort{Class: mpc.Benign, Step: "test", Err: errors.New("nothing comes of it")}

// asked is a world in which signers 1 and 2 have offered, and the request to both.
func asked(t *testing.T, offer func([]byte) []byte) (*world, *roast.Request) {
	t.Helper()
	w := newWorld(t, mpc.FROSTEd25519, keys(t, mpc.FROSTEd25519, 3, 2), nil, 0)
	var last *roast.Request
	for i, id := range mpctest.IDs(2) {
		b := w.mail[i].b
		if id == 2 && offer != nil {
			b = offer(b)
		}
		r, err := w.c.Deliver(id, b)
		if err != nil {
			t.Fatal(err)
		}
		if r != nil {
			last = r
		}
	}
	return w, last
}

// all are fields of which a changed byte makes its author faulty.
func all(names ...any) (out []mpctest.Field) {
	for i := 0; i < len(names); i += 2 {
		out = append(out, mpctest.Field{Name: names[i].(string), Len: names[i+1].(int), Class: mpc.Attributed})
	}
	return out
}

var headerOf = all("version", 1, "protocol", 1, "round", 1, "session", 32, "epoch", 8, "from", 2, "to", 2)

// Every field of an offer and of an answer: the coordinator calls the author faulty,
// or, where the change gives another commitment, asks in vain or not at all. Never
// is anybody else faulty, and what comes out is a signature.
func TestEveryFieldOfASignersMessages(t *testing.T) {
	either := mpctest.Field{Name: "commitment", Len: 64, Class: mpc.Attributed, Or: mpc.Benign}
	w, r := asked(t, nil)
	offer := w.mail[1].b
	mpctest.Attack(t, "offer", offer, append(headerOf[:len(headerOf):len(headerOf)], append(all("terms", 32, "length", 4), either)...), 2,
		func(t *testing.T, change func([]byte) []byte) error {
			w, r := asked(t, change)
			if f := w.c.Faulty(); f[2] != nil && len(f) == 1 {
				return caught(2, f[2])
			}
			if r == nil {
				t.Fatal("nobody is faulty, and nobody is asked")
			}
			if _, err := w.signers[2].Answer(r.Message); err == nil {
				return nil
			}
			return harmless
		})
	answer, err := w.signers[2].Answer(r.Message)
	if err != nil {
		t.Fatal(err)
	}
	fields := append(headerOf[:len(headerOf):len(headerOf)], append(all("number", 4, "z", 32, "length", 4), either)...)
	mpctest.Attack(t, "answer", answer, fields, 2, func(t *testing.T, change func([]byte) []byte) error {
		w, r := asked(t, nil)
		for id, b := range map[mpc.ID][]byte{1: nil, 2: nil} {
			var err error
			if b, err = w.signers[id].Answer(r.Message); err != nil {
				t.Fatal(err)
			}
			if id == 2 {
				b = change(b)
			}
			if _, err := w.c.Deliver(id, b); err != nil {
				t.Fatal(err)
			}
		}
		f := w.c.Faulty()
		if f[2] != nil && len(f) == 1 {
			return caught(2, f[2])
		}
		pub := frost.PublicOf(keys(t, mpc.FROSTEd25519, 3, 2)[1])
		if len(f) != 0 || pub.Verify(terms(mpc.FROSTEd25519).Job, w.c.Signature()) != nil {
			return nil
		}
		return harmless
	})
}

// Every field of a request: the signer refuses it and stands by, or it answers,
// once: the request that was meant gets nothing more under the same nonce.
func TestEveryFieldOfARequest(t *testing.T) {
	_, r := asked(t, nil)
	fields := append(mpctest.HeaderFields(), mpctest.Field{Name: "number", Len: 4, Class: mpc.Benign},
		mpctest.Field{Name: "count", Len: 4, Class: mpc.Benign})
	for range 2 {
		fields = append(fields, mpctest.Field{Name: "signer", Len: 2, Class: mpc.Benign},
			mpctest.Field{Name: "length", Len: 4, Class: mpc.Benign}, mpctest.Field{Name: "commitment", Len: 64, Class: mpc.Benign})
	}
	for i := range fields {
		fields[i].Class = mpc.Benign
	}
	mpctest.Attack(t, "request", r.Message, fields, 0, func(t *testing.T, change func([]byte) []byte) error {
		w, r := asked(t, nil)
		s := w.signers[2]
		_, first := s.Answer(change(r.Message))
		_, second := s.Answer(r.Message)
		if (first == nil) == (second == nil) {
			t.Errorf("the changed request: %v, the true one after it: %v; want one answer", first, second)
			return nil
		}
		return harmless
	})
}
