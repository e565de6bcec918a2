package dkls23_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/vole"
)

// fieldsOf are the fields of a flavour's messages of two slots, from signer 2 to
// signer 1. Whatever is wrong in any slot ends the session.
func fieldsOf(c *cluster, flavour string, round int, private bool) []mpctest.Field {
	field := func(name string, n int, class mpc.Class) mpctest.Field {
		return mpctest.Field{Name: name, Len: n, Class: class}
	}
	other := c.keys[1].PublicShares[3].Encode()
	point := func(name string, class mpc.Class) mpctest.Field {
		return mpctest.Field{Name: name, Len: 33, Class: class, Or: mpc.Attributed, Value: other}
	}
	attachment := []mpctest.Field{field("length of the attachment", 4, mpc.Attributed), field("attachment", 17, mpc.Benign)}
	count := field("count", 4, mpc.Attributed)
	twice := func(f ...mpctest.Field) []mpctest.Field { return append(append([]mpctest.Field{count}, f...), f...) }
	switch {
	case round == 0:
		return mpctest.HeaderFields(append([]mpctest.Field{
			field("context", 32, mpc.Benign),
			field("request hash", 32, mpc.Benign),
			field("job", 32, mpc.Benign),
			field("nonce", 32, mpc.Benign),
			field("count of setup hashes", 4, mpc.Attributed),
			field("setup hash", 32, mpc.Benign),
		}, attachment...)...)
	case round == 1 && !private:
		return mpctest.EchoFields(append(twice(field("commitment", 32, mpc.Benign)), attachment...)...)
	case round == 1:
		return mpctest.HeaderFields(
			field("length", 4, mpc.Attributed),
			field("version of the VOLE message", 1, mpc.Attributed),
			field("VOLE message", vole.Message1Size(2)-1, mpc.Quarantine))
	case !private && flavour == "V1":
		return mpctest.EchoFields(append([]mpctest.Field{point("pk", mpc.Quarantine)}, attachment...)...)
	case !private:
		return mpctest.EchoFields(append(append(twice(
			point("R", mpc.Attributed),
			field("salt", 32, mpc.Attributed)),
			point("pk", mpc.Quarantine)), attachment...)...)
	}
	products := []mpctest.Field{point("gamma u", mpc.Quarantine), point("gamma v", mpc.Quarantine)}
	if flavour == "V1" {
		products = products[1:]
	}
	return mpctest.HeaderFields(append(append(products, twice(field("psi", 32, mpc.Unattributed))...),
		field("length", 4, mpc.Attributed),
		field("version of the VOLE message", 1, mpc.Attributed),
		mpctest.Field{Name: "VOLE message", Len: vole.Message2Size(2) - 1, Class: mpc.Quarantine, Or: mpc.Attributed})...)
}

// Every field of every message of sessions of many slots. What spoils only the sum
// is seen when the batch, or the presignature's signature, is combined.
func TestEveryFieldOfSessionsOfMany(t *testing.T) {
	c := shared(t, 3, 2)
	for _, flavour := range flavours {
		if raceEnabled && flavour != "V1" {
			continue
		}
		genuine := c.start(t, flavour, mpctest.IDs(2), 2)
		for round := range 3 {
			for _, private := range []bool{false, true} {
				m := genuine.Broadcast[round][2]
				if private {
					if round == 0 {
						continue
					}
					m = genuine.Private[round][2][1]
				}
				mpctest.Attack(t, fmt.Sprintf("%s R%d private=%v", flavour, round, private), m, fieldsOf(c, flavour, round, private), 2,
					func(t *testing.T, change func([]byte) []byte) error {
						return c.runManyChanged(t, flavour, round, private, change)
					})
			}
		}
	}
	final, err := c.start(t, "batch", mpctest.IDs(2), 3).Final[2].MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	other := c.keys[1].PublicShares[3].Encode()
	slot := []mpctest.Field{{Name: "R", Len: 33, Class: mpc.Benign, Value: other}, {Name: "w", Len: 32, Class: mpc.Unattributed}, {Name: "u", Len: 32, Class: mpc.Unattributed}}
	fields := append([]mpctest.Field{
		{Name: "version, protocol, round", Len: 3, Class: mpc.Benign},
		{Name: "session", Len: 32, Class: mpc.Benign},
		{Name: "epoch", Len: 8, Class: mpc.Benign},
		{Name: "from and to", Len: 4, Class: mpc.Benign},
		{Name: "echo", Len: 32, Class: mpc.Benign},
		{Name: "count", Len: 4, Class: mpc.Benign},
	}, append(slot, slot...)...)
	mpctest.Attack(t, "batch share", final, fields, 2, func(t *testing.T, change func([]byte) []byte) error {
		m := c.start(t, "batch", mpctest.IDs(2), 3)
		b, err := m.Final[2].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		f := new(dkls23.BatchShare)
		if err := f.UnmarshalBinary(change(b)); err != nil {
			if mpc.AsAbort(err) != nil {
				t.Errorf("%v is an abort: whoever combines is outside the session", err)
			}
			return session.Benign("decode", err)
		}
		m.Final[2] = f
		_, err = m.Combine()
		return err
	})
}

// runManyChanged runs a session in which one message from 2 to 1 is changed on
// the way, and what comes of it, and returns the abort of signer 1 or of combine.
func (c *cluster) runManyChanged(t *testing.T, flavour string, round int, private bool, change func([]byte) []byte) error {
	t.Helper()
	m := c.start(t, flavour, mpctest.IDs(2), round)
	if private {
		m.Private[round][2][1] = change(m.Private[round][2][1])
	} else {
		m.Broadcast[round][2] = change(m.Broadcast[round][2])
	}
	for r := round + 1; r < 4; r++ {
		err := m.Round(r)
		if m.Errors[1] != nil {
			return m.Errors[1]
		}
		if err != nil {
			return err
		}
	}
	if flavour == "batch" {
		_, err := m.Combine()
		return err
	}
	var errs error
	for k := range 2 {
		// Signers whose presignatures have different names do not come together.
		o := c.online(t, "changed", m.Signers, slotOf(m, k), nil)
		for r := range 3 {
			if err := o.Round(r); err != nil {
				if o.Errors[1] != nil {
					return o.Errors[1]
				}
				return err
			}
		}
		sig, err := o.Combine()
		if err == nil {
			verify(t, c, nil, o.Configs[1].MessageHash, sig)
		} else {
			errs = err
		}
	}
	return errs
}

// Every field of every online message.
func TestEveryFieldOnline(t *testing.T) {
	for _, n := range []int{2, 3} {
		c := shared(t, 3, n)
		for _, kind := range kinds {
			presigs := c.presignatures(t, "fields", mpctest.IDs(n), kind)
			start := func(t *testing.T, r int) *mpctest.Online {
				clones := make(map[mpc.ID]*dkls23.Presignature)
				for id, p := range presigs {
					clones[id] = p.Clone()
				}
				o := c.online(t, "fields", mpctest.IDs(n), clones, nil)
				for k := range r + 1 {
					if err := o.Round(k); err != nil {
						t.Fatal(err)
					}
				}
				return o
			}
			// Only signer 1 sees the change; the others go on from what was sent.
			finish := func(o *mpctest.Online, a, private, echoes map[mpc.ID][]byte) error {
				if echoes == nil {
					echo, err := o.Sessions[1].Round1(a, private)
					if err != nil {
						return err
					}
					o.Echoes = make(map[mpc.ID][]byte)
					for _, id := range o.Signers[1:] {
						e, err := o.Sessions[id].Round1(mpctest.Except(o.A, id), mpctest.Inbound(o.Private, id))
						if err != nil {
							return err
						}
						if e != nil {
							o.Echoes[id] = e
						}
					}
					if echo != nil {
						o.Echoes[1] = echo
					}
					echoes = mpctest.Except(o.Echoes, 1)
				}
				o.Final = make(map[mpc.ID]*dkls23.OnlineShare)
				var err error
				if o.Final[1], err = o.Sessions[1].Round2(echoes); err != nil {
					return err
				}
				for _, id := range o.Signers[1:] {
					if o.Final[id], err = o.Sessions[id].Round2(mpctest.Except(o.Echoes, id)); err != nil {
						return err
					}
				}
				_, err = o.Combine()
				return err
			}
			other := c.keys[1].PublicShares[3].Encode()
			// With two signers a change is seen by what it changes; with three, whatever
			// is in form is seen by the echo first.
			seen := func(class mpc.Class) mpc.Class {
				if n == 3 {
					return mpc.Benign
				}
				return class
			}
			fields := []mpctest.Field{{Name: "job", Len: 32, Class: mpc.Benign}}
			if kind == dkls23.Delayed {
				fields = append(fields,
					mpctest.Field{Name: "R", Len: 33, Class: seen(mpc.Attributed), Or: mpc.Attributed, Value: other},
					mpctest.Field{Name: "salt", Len: 32, Class: seen(mpc.Attributed)})
			} else {
				fields = append(fields, mpctest.Field{Name: "nonce", Len: 32, Class: mpc.Benign})
			}
			fields = mpctest.HeaderFields(append(fields, mpctest.Field{Name: "attachment", Len: len("attachment A of 2"), Class: mpc.Benign})...)
			name := fmt.Sprintf("%v of %d ", kind, n)
			genuine := start(t, 2)
			mpctest.Attack(t, name+"A", genuine.A[2], fields, 2, func(t *testing.T, change func([]byte) []byte) error {
				o := start(t, 0)
				a := mpctest.Except(o.A, 1)
				a[2] = change(a[2])
				return finish(o, a, mpctest.Inbound(o.Private, 1), nil)
			})
			if kind == dkls23.Delayed {
				mpctest.Attack(t, name+"A private", genuine.Private[2][1], mpctest.HeaderFields(
					mpctest.Field{Name: "gamma u", Len: 33, Class: mpc.Quarantine, Or: mpc.Attributed, Value: other},
				), 2, func(t *testing.T, change func([]byte) []byte) error {
					o := start(t, 0)
					private := mpctest.Inbound(o.Private, 1)
					private[2] = change(private[2])
					return finish(o, mpctest.Except(o.A, 1), private, nil)
				})
			}
			if n == 3 {
				mpctest.Attack(t, name+"echo", genuine.Echoes[2], mpctest.HeaderFields(), 2, func(t *testing.T, change func([]byte) []byte) error {
					o := start(t, 1)
					echoes := mpctest.Except(o.Echoes, 1)
					echoes[2] = change(echoes[2])
					return finish(o, nil, nil, echoes)
				})
			}
			b, err := genuine.Final[2].MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			mpctest.Attack(t, name+"B", b, []mpctest.Field{
				{Name: "version, protocol, round", Len: 3, Class: mpc.Benign},
				{Name: "session", Len: 32, Class: mpc.Benign},
				{Name: "epoch", Len: 8, Class: mpc.Benign},
				{Name: "from and to", Len: 4, Class: mpc.Benign},
				{Name: "w", Len: 32, Class: mpc.Unattributed},
				{Name: "u", Len: 32, Class: mpc.Unattributed},
			}, 2, func(t *testing.T, change func([]byte) []byte) error {
				o := start(t, 2)
				f := new(dkls23.OnlineShare)
				if err := f.UnmarshalBinary(change(b)); err != nil {
					return session.Benign("decode", err)
				}
				good, err := o.Final[2].MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				if err := f.UnmarshalBinary(change(good)); err != nil {
					return session.Benign("decode", err)
				}
				o.Final[2] = f
				_, err = o.Combine()
				return err
			})
			// More than there should be.
			o := start(t, 0)
			a := mpctest.Except(o.A, 1)
			if kind == dkls23.Full {
				_, err := o.Sessions[1].Round1(a, map[mpc.ID][]byte{2: o.A[2], 3: o.A[2]})
				mpctest.WantAbort(t, err, mpc.Benign)
			} else {
				private := mpctest.Inbound(o.Private, 1)
				private[2] = append(bytes.Clone(private[2]), 0)
				_, err := o.Sessions[1].Round1(a, private)
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
			}
			if n == 2 {
				o = start(t, 1)
				_, err := o.Sessions[1].Round2(map[mpc.ID][]byte{2: o.A[2]})
				mpctest.WantAbort(t, err, mpc.Benign)
			} else {
				o = start(t, 1)
				echoes := mpctest.Except(o.Echoes, 1)
				echoes[2] = append(bytes.Clone(echoes[2]), 0)
				_, err := o.Sessions[1].Round2(echoes)
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
				o = start(t, 1)
				_, err = o.Sessions[1].Round2(nil)
				mpctest.WantAbort(t, err, mpc.Benign)
			}
		}
	}
}
