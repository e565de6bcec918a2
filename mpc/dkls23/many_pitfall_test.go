package dkls23_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// The pitfalls of the single signature where they apply to sessions of many
// slots: batches, and presigning V1 and V2. flavours are the three.
var flavours = []string{"batch", "V1", "V2"}

// start makes a session of two slots of a flavour, and runs it up to round r.
func (c *cluster) start(t testing.TB, flavour string, signers []mpc.ID, r int) *mpctest.Many {
	t.Helper()
	var m *mpctest.Many
	switch flavour {
	case "batch":
		m = c.batch(t, flavour, signers, mpctest.Items(2), nil)
	case "V1":
		m = c.presign(t, flavour, signers, dkls23.Delayed, 2, nil)
	case "V2":
		m = c.presign(t, flavour, signers, dkls23.Full, 2, nil)
	default:
		t.Fatalf("flavour %s", flavour)
	}
	for k := range r + 1 {
		if err := m.Round(k); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// cheater can run a dishonest round 2.
type cheater interface {
	CheatRound2(r1, private map[mpc.ID][]byte, change func(int, *dkls23.Secrets)) ([]byte, map[mpc.ID][]byte, error)
}

// cheatMany runs a session with signer 2 dishonest in round 2 and returns the
// error of signer 1 in round 3, and the session.
func (c *cluster) cheatMany(t *testing.T, flavour string, look func(*mpctest.Many), change func(int, *dkls23.Secrets)) (*mpctest.Many, error) {
	t.Helper()
	m := c.start(t, flavour, mpctest.IDs(2), 1)
	if look != nil {
		look(m)
	}
	m.Broadcast[2], m.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
	for _, id := range m.Signers {
		var f func(int, *dkls23.Secrets)
		if id == 2 {
			f = change
		}
		var err error
		m.Broadcast[2][id], m.Private[2][id], err = m.Sessions[id].(cheater).CheatRound2(mpctest.Except(m.Broadcast[1], id), mpctest.Inbound(m.Private[1], id), f)
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = m.Round(3)
	return m, m.Errors[1]
}

// last changes the second slot of two.
func last(change func(*dkls23.Secrets)) func(int, *dkls23.Secrets) {
	return func(slot int, s *dkls23.Secrets) {
		if slot == 1 {
			change(s)
		}
	}
}

// A check that fails in the last slot only ends the session, with the class that
// it has in a single signature.
func TestManyCheatsInOneSlot(t *testing.T) {
	c := shared(t, 3, 2)
	g := secp256k1.Generator()
	for _, flavour := range flavours {
		for name, x := range map[string]struct {
			change   func(slot int, s *dkls23.Secrets)
			class    mpc.Class
			step     string
			culprits []mpc.ID
			online   string // V1 sees it here
		}{
			"pitfall 20, another r":  {last(func(s *dkls23.Secrets) { s.R.Add(s.R, one) }), mpc.Quarantine, dkls23.Step3Gamma, []mpc.ID{2}, dkls23.StepOnlineGamma},
			"pitfall 21, another sk": {last(func(s *dkls23.Secrets) { s.SK.Add(s.SK, one) }), mpc.Quarantine, dkls23.Step3Gamma, []mpc.ID{2}, ""},
			"pitfall 22, another sk and pk": {func(slot int, s *dkls23.Secrets) {
				s.SK.Add(s.SK, one)
				if slot == 0 { // pk is of the session
					s.Public.Add(s.Public, g)
				}
			}, mpc.Unattributed, dkls23.Step3, nil, ""},
			"pitfall 21, another sk and pk in one slot": {last(func(s *dkls23.Secrets) { s.SK.Add(s.SK, one); s.Public.Add(s.Public, g) }),
				mpc.Quarantine, dkls23.Step3Gamma, []mpc.ID{2}, ""},
			"pitfall 23, another r and R": {last(func(s *dkls23.Secrets) { s.R.Add(s.R, one); s.Point.ScalarBaseMult(s.R) }),
				mpc.Attributed, dkls23.Step3Open, []mpc.ID{2}, dkls23.StepOpen},
		} {
			t.Run(flavour+"/"+name, func(t *testing.T) {
				m, err := c.cheatMany(t, flavour, nil, x.change)
				step := x.step
				if flavour == "V1" && x.online != "" {
					if err != nil {
						t.Fatal(err)
					}
					// The first slot is good, the second is not.
					o := c.online(t, "cheat", m.Signers, slotOf(m, 0), nil)
					if _, err := o.Run(); err != nil {
						t.Fatal(err)
					}
					o = c.online(t, "cheat", m.Signers, slotOf(m, 1), nil)
					for r := range 3 {
						_ = o.Round(r)
					}
					err, step = o.Errors[1], x.online
					if !o.Sessions[1].Wiped() || o.Final[1] != nil {
						t.Error("secrets are left, or a share was given")
					}
				}
				mpctest.WantAbort(t, err, x.class, x.culprits...)
				mpctest.WantStep(t, err, step)
				if len(m.Presigs[1]) != 0 && flavour != "V1" {
					t.Error("presignatures are given")
				}
			})
		}
	}
}

// A split view of round r is seen before anything of round r+2 is judged: nobody
// is blamed. After round 2 it is seen in the name of the presignature, or when the
// batch is combined.
func TestPitfall03_ManySplitView(t *testing.T) {
	c := shared(t, 3, 3)
	ids := mpctest.IDs(3)
	for _, flavour := range flavours {
		for split := range 3 {
			t.Run(fmt.Sprintf("%s/round %d", flavour, split), func(t *testing.T) {
				m := c.start(t, flavour, ids, split)
				other := mpctest.Flip(m.Broadcast[split][1], len(m.Broadcast[split][1])-1)
				next := m.Broadcast[split]
				views := map[mpc.ID]map[mpc.ID][]byte{1: next, 2: next, 3: {1: other, 2: next[2], 3: next[3]}}
				if split < 2 {
					m.Broadcast[split+1], m.Private[split+1] = orEmpty(nil), orEmptyPrivate(nil)
				}
				for _, id := range ids {
					var err error
					switch s, in := m.Sessions[id], mpctest.Except(views[id], id); split {
					case 0:
						m.Broadcast[1][id], m.Private[1][id], err = s.Round1(in, nil)
					case 1:
						m.Broadcast[2][id], m.Private[2][id], err = s.Round2(in, mpctest.Inbound(m.Private[1], id), nil)
					case 2:
						m.Broadcast[2] = views[id]
						if b := m.Batch[id]; b != nil {
							m.Final[id], err = b.Round3(in, mpctest.Inbound(m.Private[2], id))
						} else {
							m.Presigs[id], err = m.Presign[id].Round3(in, mpctest.Inbound(m.Private[2], id))
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				switch {
				case split == 2 && flavour == "batch":
					_, err := m.Combine()
					mpctest.WantAbort(t, err, mpc.Benign)
				case split == 2:
					if m.Presigs[2][0].ID() == m.Presigs[3][0].ID() || m.Presigs[1][0].ID() != m.Presigs[2][0].ID() {
						t.Error("the names of the presignatures do not tell that signers saw different messages")
					}
				default:
					spoil(m.Private[split+1][1][2])
					_ = m.Round(split + 2)
					mpctest.WantAbort(t, m.Errors[2], mpc.Benign)
					mpctest.WantAbort(t, m.Errors[3], mpc.Benign)
				}
			})
		}
	}
}

// Online, a split view is seen by the echo before any opening or Γ^u is judged.
func TestPitfall03_OnlineSplitView(t *testing.T) {
	c := shared(t, 3, 3)
	ids := mpctest.IDs(3)
	for _, kind := range kinds {
		for name, at := range map[string]int{"nonce or salt": mpctest.OffBody + 65 + 31, "attachment": -1} {
			if kind == dkls23.Full && at > 0 {
				at = mpctest.OffBody + 32
			}
			o := c.online(t, "p03 online", ids, c.presignatures(t, "p03 online", ids, kind), nil)
			if err := o.Round(0); err != nil {
				t.Fatal(err)
			}
			if at < 0 {
				at = len(o.A[1]) - 1
			}
			if kind == dkls23.Delayed {
				o.Private[1][2] = mpctest.Put(o.Private[1][2], mpctest.OffBody, o.A[2][mpctest.OffBody+32:mpctest.OffBody+65]) // a wrong Γ^u besides
			}
			other := mpctest.Flip(o.A[1], at)
			o.Echoes = make(map[mpc.ID][]byte)
			for _, id := range ids {
				in := mpctest.Except(o.A, id)
				if id == 3 {
					in[1] = other
				}
				var err error
				if o.Echoes[id], err = o.Sessions[id].Round1(in, mpctest.Inbound(o.Private, id)); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.Round(2); err == nil {
				t.Fatalf("%v, %s: shares are given", kind, name)
			}
			for _, id := range ids[1:] {
				mpctest.WantAbort(t, o.Errors[id], mpc.Benign)
				mpctest.WantStep(t, o.Errors[id], dkls23.StepEcho)
			}
		}
	}
}

// Genuine messages of another place blame nobody.
func TestPitfall04_OnlineReplay(t *testing.T) {
	c := shared(t, 3, 3)
	ids := mpctest.IDs(3)
	for _, kind := range kinds {
		m := c.presign(t, "p04 online", ids, kind, 4, nil)
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		old := c.online(t, "p04 old", ids, slotOf(m, 0), nil)
		if _, err := old.Run(); err != nil {
			t.Fatal(err)
		}
		fresh := func(slot, r int) *mpctest.Online {
			o := c.online(t, "p04", ids, slotOf(m, slot), nil)
			for k := range r + 1 {
				if err := o.Round(k); err != nil {
					t.Fatal(err)
				}
			}
			return o
		}
		// A of another presignature; then the echo of another signature. The peers'
		// presignature has another name in the header: "different presignatures".
		o := fresh(1, 0)
		in := mpctest.Except(o.A, 1)
		if epoch := o.A[1][mpctest.OffEpoch : mpctest.OffEpoch+8]; !bytes.Equal(epoch, []byte{7: 1}) {
			t.Errorf("%v: A is of epoch %x, the key of 1", kind, epoch)
		}
		in[2] = old.A[2]
		_, err := o.Sessions[1].Round1(in, mpctest.Inbound(o.Private, 1))
		mpctest.WantAbort(t, err, mpc.Benign)
		mpctest.WantStep(t, err, dkls23.StepA)
		o = fresh(2, 1)
		echoes := mpctest.Except(o.Echoes, 1)
		echoes[3] = old.Echoes[3]
		_, err = o.Sessions[1].Round2(echoes)
		mpctest.WantAbort(t, err, mpc.Benign)
		mpctest.WantStep(t, err, dkls23.StepEcho)
		// Shares of two signatures.
		o = fresh(3, 2)
		o.Final[2] = old.Final[2]
		_, err = o.Combine()
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

// Different presignatures of one session: the name decides.
func TestPitfall28_DifferentPresignatures(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	for _, kind := range kinds {
		m := c.presign(t, "p28 names", ids, kind, 2, nil)
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		if m.Presigs[1][0].ID() == m.Presigs[1][1].ID() {
			t.Error("two presignatures of one name")
		}
		o := c.online(t, "p28 names", ids, map[mpc.ID]*dkls23.Presignature{1: m.Presigs[1][0], 2: m.Presigs[2][1]}, nil)
		if err := o.Round(0); err != nil {
			t.Fatal(err)
		}
		_ = o.Round(1)
		for _, id := range ids {
			mpctest.WantAbort(t, o.Errors[id], mpc.Benign)
			mpctest.WantStep(t, o.Errors[id], dkls23.StepA)
		}
	}
}

// A message of one kind or flavour is none of another, even of the same slots.
func TestPitfall04_ManyFlavoursDoNotMix(t *testing.T) {
	c := shared(t, 3, 2)
	for _, a := range flavours {
		for _, b := range flavours {
			if a == b {
				continue
			}
			x, y := c.start(t, a, mpctest.IDs(2), 0), c.start(t, b, mpctest.IDs(2), 0)
			_, _, err := x.Sessions[1].Round1(map[mpc.ID][]byte{2: y.Broadcast[0][2]}, nil)
			mpctest.WantAbort(t, err, mpc.Benign)
			// With this protocol's number and session, the context differs.
			m := mpctest.Put(y.Broadcast[0][2], 1, x.Broadcast[0][1][1:mpctest.OffFrom])
			_, _, err = x.Sessions[1].Round1(map[mpc.ID][]byte{2: m}, nil)
			if mpc.AsAbort(err) == nil {
				x = c.start(t, a, mpctest.IDs(2), 0)
				_, _, err = x.Sessions[1].Round1(map[mpc.ID][]byte{2: m}, nil)
			}
			mpctest.WantAbort(t, err, mpc.Benign)
		}
	}
}

// Invalid points in the last slot.
func TestPitfall12_ManyInvalidPoints(t *testing.T) {
	c := shared(t, 3, 2)
	for _, flavour := range flavours {
		type place struct {
			at      int
			private bool
		}
		fields := map[string]place{
			"R":       {mpctest.OffEchoBody + 4 + 33 + 32, false},
			"pk":      {mpctest.OffEchoBody + 4 + 2*(33+32), false},
			"gamma u": {mpctest.OffBody, true},
			"gamma v": {mpctest.OffBody + 33, true},
		}
		if flavour == "V1" {
			fields = map[string]place{"pk": {mpctest.OffEchoBody, false}, "gamma v": {mpctest.OffBody, true}}
		}
		for field, f := range fields {
			for name, bad := range mpctest.BadPoints() {
				m := c.start(t, flavour, mpctest.IDs(2), 2)
				if f.private {
					m.Private[2][2][1] = mpctest.Put(m.Private[2][2][1], f.at, bad)
				} else {
					m.Broadcast[2][2] = mpctest.Put(m.Broadcast[2][2], f.at, bad)
				}
				_ = m.Round(3)
				t.Run(flavour+"/"+field+"/"+name, func(t *testing.T) {
					mpctest.WantAbort(t, m.Errors[1], mpc.Attributed, 2)
					mpctest.WantStep(t, m.Errors[1], dkls23.Step3)
				})
				if raceEnabled || testing.Short() {
					break
				}
			}
		}
	}
	// V1 online: R and Γ^u.
	presigs := c.presignatures(t, "p12", mpctest.IDs(2), dkls23.Delayed)
	for name, bad := range mpctest.BadPoints() {
		for field, private := range map[string]bool{"R": false, "gamma u": true} {
			o := c.online(t, "p12", mpctest.IDs(2), map[mpc.ID]*dkls23.Presignature{1: presigs[1].Clone(), 2: presigs[2].Clone()}, nil)
			if err := o.Round(0); err != nil {
				t.Fatal(err)
			}
			if private {
				o.Private[2][1] = mpctest.Put(o.Private[2][1], mpctest.OffBody, bad)
			} else {
				o.A[2] = mpctest.Put(o.A[2], mpctest.OffBody+32, bad)
			}
			_ = o.Round(1)
			t.Run("online/"+field+"/"+name, func(t *testing.T) {
				mpctest.WantAbort(t, o.Errors[1], mpc.Attributed, 2)
				mpctest.WantStep(t, o.Errors[1], dkls23.StepA)
			})
		}
	}
}

func TestPitfall24_ManyCommitmentNamesItsSender(t *testing.T) {
	c := shared(t, 3, 2)
	for _, flavour := range []string{"batch", "V2"} {
		m := c.start(t, flavour, mpctest.IDs(2), 1)
		// Signer 2 mirrors the commitments of 1 and later what 1 opens.
		at, n := mpctest.OffEchoBody+4, 2*32
		m.Broadcast[1][2] = mpctest.Put(m.Broadcast[1][2], at, m.Broadcast[1][1][at:at+n])
		m.Broadcast[2], m.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
		for _, id := range m.Signers {
			var err error
			m.Broadcast[2][id], m.Private[2][id], err = m.Sessions[id].Round2(mpctest.Except(m.Broadcast[1], id), mpctest.Inbound(m.Private[1], id), nil)
			if err != nil {
				t.Fatal(err)
			}
		}
		m.Broadcast[2][2] = mpctest.Put(m.Broadcast[2][2], mpctest.OffEcho, m.Broadcast[2][1][mpctest.OffEcho:mpctest.OffEchoBody+4+65])
		_ = m.Round(3)
		mpctest.WantAbort(t, m.Errors[1], mpc.Attributed, 2)
		mpctest.WantStep(t, m.Errors[1], dkls23.Step3Open)
	}
	// V1 online: the opening of the other signer, and salts exchanged.
	for name, change := range map[string]func(a map[mpc.ID][]byte){
		"mirrored": func(a map[mpc.ID][]byte) {
			at := mpctest.OffBody + 32
			a[2] = mpctest.Put(a[2], at, a[1][at:at+65])
		},
		"its salt": func(a map[mpc.ID][]byte) {
			at := mpctest.OffBody + 65
			a[2] = mpctest.Put(a[2], at, a[1][at:at+32])
		},
	} {
		o := c.online(t, "p24", mpctest.IDs(2), c.presignatures(t, "p24", mpctest.IDs(2), dkls23.Delayed), nil)
		if err := o.Round(0); err != nil {
			t.Fatal(err)
		}
		change(o.A)
		if err := o.Round(1); err != nil {
			t.Fatal(err)
		}
		_, err := o.Sessions[1].Round2(nil)
		t.Run(name, func(t *testing.T) {
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
			mpctest.WantStep(t, err, dkls23.StepOpen)
		})
	}
}

func TestPitfall27_OnlineReflection(t *testing.T) {
	c := shared(t, 3, 2)
	for _, kind := range kinds {
		start := func() *mpctest.Online {
			o := c.online(t, "p27", mpctest.IDs(2), c.presignatures(t, "p27", mpctest.IDs(2), kind), nil)
			if err := o.Round(0); err != nil {
				t.Fatal(err)
			}
			return o
		}
		o := start()
		_, err := o.Sessions[1].Round1(map[mpc.ID][]byte{2: o.A[1]}, mpctest.Inbound(o.Private, 1))
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		if kind == dkls23.Full {
			continue
		}
		o = start()
		_, err = o.Sessions[1].Round1(mpctest.Except(o.A, 1), map[mpc.ID][]byte{2: o.Private[1][2]})
		mpctest.WantAbort(t, err, mpc.Benign)
		o = start()
		if _, err = o.Sessions[1].Round1(mpctest.Except(o.A, 1), map[mpc.ID][]byte{2: mpctest.From(o.Private[1][2], 2, 1)}); err != nil {
			t.Fatal(err)
		}
		_, err = o.Sessions[1].Round2(nil)
		mpctest.WantAbort(t, err, mpc.Quarantine, 2)
		mpctest.WantStep(t, err, dkls23.StepOnlineGamma)
	}
}
