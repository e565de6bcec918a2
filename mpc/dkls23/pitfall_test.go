package dkls23_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pair"
)

// rounds runs the session's rounds up to and with r, all honest.
func rounds(t testing.TB, s *mpctest.Sign, r int) {
	t.Helper()
	for k := range r + 1 {
		if err := s.Round(k); err != nil {
			t.Fatal(err)
		}
	}
}

// round2 and round3 run the last rounds of one signer on what lies in s, with
// some broadcasts replaced.
func round2(s *mpctest.Sign, id mpc.ID, replace map[mpc.ID][]byte) error {
	_, _, err := s.Sessions[id].Round2(replaced(s.Broadcast[1], id, replace), mpctest.Inbound(s.Private[1], id), nil)
	return err
}

func round3(s *mpctest.Sign, id mpc.ID, replace map[mpc.ID][]byte) error {
	_, err := s.Sessions[id].Round3(replaced(s.Broadcast[2], id, replace), mpctest.Inbound(s.Private[2], id))
	return err
}

func replaced(m map[mpc.ID][]byte, id mpc.ID, replace map[mpc.ID][]byte) map[mpc.ID][]byte {
	out := mpctest.Except(m, id)
	for from, b := range replace {
		out[from] = b
	}
	return out
}

// A corrupt signer 1 shows 2 and 3 different messages and spoils the OT message
// or the VOLE answer to 2 besides. 2 must see the split view first: nobody is
// quarantined, and neither honest party blames the other.
func TestPitfall03_BanBySplitView(t *testing.T) {
	c := shared(t, 3, 3)
	ids := mpctest.IDs(3)
	t.Run("nonce of R0", func(t *testing.T) {
		s := c.sign(t, "p03a", ids, nil)
		rounds(t, s, 0)
		split := mpctest.Flip(s.Broadcast[0][1], mpctest.OffBody+96)
		for _, id := range ids {
			in := mpctest.Except(s.Broadcast[0], id)
			if id == 3 {
				in[1] = split
			}
			var err error
			s.Broadcast[1], s.Private[1] = orEmpty(s.Broadcast[1]), orEmptyPrivate(s.Private[1])
			s.Broadcast[1][id], s.Private[1][id], err = s.Sessions[id].Round1(in, nil)
			if err != nil {
				t.Fatal(err)
			}
		}
		mpctest.WantAbort(t, round2(s, 2, nil), mpc.Benign)
		mpctest.WantAbort(t, round2(s, 3, nil), mpc.Benign)
	})
	t.Run("attachment of R0, with a spoilt OT message", func(t *testing.T) {
		s := c.sign(t, "p03b", ids, nil)
		rounds(t, s, 0)
		last := len(s.Broadcast[0][1]) - 1
		split := mpctest.Flip(s.Broadcast[0][1], last)
		s.Broadcast[1], s.Private[1] = orEmpty(nil), orEmptyPrivate(nil)
		for _, id := range ids {
			in := mpctest.Except(s.Broadcast[0], id)
			if id == 3 {
				in[1] = split
			}
			var err error
			if s.Broadcast[1][id], s.Private[1][id], err = s.Sessions[id].Round1(in, nil); err != nil {
				t.Fatal(err)
			}
		}
		spoil(s.Private[1][1][2])
		spoil(s.Private[1][3][2]) // even an honest peer's message that went bad
		mpctest.WantAbort(t, round2(s, 2, nil), mpc.Benign)
		mpctest.WantAbort(t, round2(s, 3, nil), mpc.Benign)
	})
	t.Run("commitment of R1, with a spoilt VOLE answer and opening", func(t *testing.T) {
		s := c.sign(t, "p03c", ids, nil)
		rounds(t, s, 1)
		split := mpctest.Flip(s.Broadcast[1][1], mpctest.OffEchoBody)
		s.Broadcast[2], s.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
		for _, id := range ids {
			in := mpctest.Except(s.Broadcast[1], id)
			if id == 3 {
				in[1] = split
			}
			var err error
			if s.Broadcast[2][id], s.Private[2][id], err = s.Sessions[id].Round2(in, mpctest.Inbound(s.Private[1], id), nil); err != nil {
				t.Fatal(err)
			}
		}
		spoil(s.Private[2][1][2])
		mpctest.WantAbort(t, round3(s, 2, nil), mpc.Benign)
		mpctest.WantAbort(t, round3(s, 3, nil), mpc.Benign)
	})
	t.Run("attachment of R2", func(t *testing.T) {
		s := c.sign(t, "p03d", ids, nil)
		rounds(t, s, 2)
		split := mpctest.Flip(s.Broadcast[2][1], len(s.Broadcast[2][1])-1)
		for _, id := range ids {
			in := mpctest.Except(s.Broadcast[2], id)
			if id == 3 {
				in[1] = split
			}
			var err error
			if s.Final[id], err = s.Sessions[id].Round3(in, mpctest.Inbound(s.Private[2], id)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.Combine()
		mpctest.WantAbort(t, err, mpc.Benign)
	})
}

func orEmpty(m map[mpc.ID][]byte) map[mpc.ID][]byte {
	if m == nil {
		m = make(map[mpc.ID][]byte)
	}
	return m
}

func orEmptyPrivate(m map[mpc.ID]map[mpc.ID][]byte) map[mpc.ID]map[mpc.ID][]byte {
	if m == nil {
		m = make(map[mpc.ID]map[mpc.ID][]byte)
	}
	return m
}

// spoil changes the last byte of a private message in place: TH in R1, μ in R2.
func spoil(b []byte) { b[len(b)-1] ^= 1 }

func TestPitfall04_ReplayAndWrongEpochAreBenign(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	old := c.sign(t, "p04 old", ids, nil)
	rounds(t, old, 2)
	fresh := func(r int) *mpctest.Sign {
		s := c.sign(t, "p04", ids, nil)
		rounds(t, s, r)
		return s
	}
	epoch := func(b []byte) []byte { return mpctest.Flip(b, mpctest.OffEpoch+7) }

	s := fresh(1)
	mpctest.WantAbort(t, round2(s, 1, map[mpc.ID][]byte{2: old.Broadcast[1][2]}), mpc.Benign)
	s = fresh(1)
	s.Private[1][2][1] = old.Private[1][2][1]
	mpctest.WantAbort(t, round2(s, 1, nil), mpc.Benign)
	s = fresh(2)
	mpctest.WantAbort(t, round3(s, 1, map[mpc.ID][]byte{2: old.Broadcast[2][2]}), mpc.Benign)
	s = fresh(2)
	s.Private[2][2][1] = old.Private[2][2][1]
	mpctest.WantAbort(t, round3(s, 1, nil), mpc.Benign)
	// A message of an earlier round in place of this round's.
	s = fresh(2)
	mpctest.WantAbort(t, round3(s, 1, map[mpc.ID][]byte{2: s.Broadcast[1][2]}), mpc.Benign)
	s = fresh(2)
	s.Private[2][2][1] = s.Private[1][2][1]
	mpctest.WantAbort(t, round3(s, 1, nil), mpc.Benign)
	// Another epoch, and a spoilt body with it: the epoch decides.
	s = fresh(1)
	s.Private[1][2][1] = epoch(s.Private[1][2][1])
	spoil(s.Private[1][2][1])
	mpctest.WantAbort(t, round2(s, 1, nil), mpc.Benign)
	s = fresh(2)
	mpctest.WantAbort(t, round3(s, 1, map[mpc.ID][]byte{2: epoch(s.Broadcast[2][2])}), mpc.Benign)
	s = fresh(0)
	_, _, err := s.Sessions[1].Round1(map[mpc.ID][]byte{2: epoch(s.Broadcast[0][2])}, nil)
	mpctest.WantAbort(t, err, mpc.Benign)
	// A peer whose share is of another epoch: contexts differ in R0.
	keys := map[mpc.ID]*dkg.KeyShare{1: c.keys[1], 2: edited(t, c.keys[2], func(k *dkg.KeyShare) { k.Epoch = 2 })}
	s, err = mpctest.NewSign("p04 epoch", keys, c.setups, ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	rounds(t, s, 0)
	mpctest.WantAbort(t, s.Round(1), mpc.Benign)
}

// edited returns a copy of a share, changed.
func edited(t *testing.T, k *dkg.KeyShare, change func(*dkg.KeyShare)) *dkg.KeyShare {
	t.Helper()
	c, err := dkg.DecodeKeyShare(k.Encode())
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	return c
}

func TestPitfall06_SessionIDReuse(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	label := fmt.Sprintf("p06 #%d", runs.Add(1))
	again := func() *mpctest.Sign {
		s, err := mpctest.NewSign(label, c.keys, c.setups, ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		rounds(t, s, 0)
		return s
	}
	first := again()
	if err := first.Round(1); err != nil {
		t.Fatal(err)
	}
	// Both signers draw the same nonces again, so the sid repeats.
	second := again()
	err := second.Round(1)
	mpctest.WantAbort(t, err, mpc.Benign)
	if !errors.Is(err, pair.ErrServed) {
		t.Errorf("got %v, want the refusal of a dsid that was served", err)
	}
	// One signer alone cannot bring that about.
	third := again()
	cfg := third.Configs[1]
	if third.Sessions[1], err = dkls23.New(cfg, mpctest.Reader("%s other", label)); err != nil {
		t.Fatal(err)
	}
	if third.Broadcast[0][1], err = third.Sessions[1].Round0(nil); err != nil {
		t.Fatal(err)
	}
	if err := third.Round(1); err != nil {
		t.Fatal(err)
	}
	if third.Sessions[2].SID() == first.Sessions[2].SID() {
		t.Error("sid repeats although one signer drew a fresh nonce")
	}
}

// With all nonces equal, the session id tells what is signed.
func TestPitfall06_SessionIDNamesTheJob(t *testing.T) {
	c := shared(t, 3, 2)
	label := fmt.Sprintf("p06 job #%d", runs.Add(1))
	seen := make(map[[32]byte]string)
	for name, edit := range map[string]func(*dkls23.Config){
		"nothing":      func(*dkls23.Config) {},
		"request":      func(cfg *dkls23.Config) { cfg.RequestHash[31] ^= 1 },
		"message hash": func(cfg *dkls23.Config) { cfg.MessageHash[31] ^= 1 },
		"tweak":        func(cfg *dkls23.Config) { cfg.Tweak = one },
		"purpose":      func(cfg *dkls23.Config) { purpose(cfg, "another") },
		"attempt":      func(cfg *dkls23.Config) { cfg.AttemptID[15] ^= 1 },
	} {
		s, err := mpctest.NewSign(label, c.keys, c.setups, mpctest.IDs(2), edit)
		if err != nil {
			t.Fatal(err)
		}
		rounds(t, s, 1)
		sid := s.Sessions[1].SID()
		if other, ok := seen[sid]; ok {
			t.Errorf("another %s: the sid is that of another %s", name, other)
		}
		seen[sid] = name
	}
}

func TestPitfall12_InvalidPoints(t *testing.T) {
	c := shared(t, 3, 2)
	for name, bad := range mpctest.BadPoints() {
		for field, at := range map[string]struct {
			offset  int
			private bool
		}{
			"R":       {mpctest.OffEchoBody, false},
			"pk":      {mpctest.OffEchoBody + 33 + 32, false},
			"gamma u": {mpctest.OffBody, true},
			"gamma v": {mpctest.OffBody + 33, true},
		} {
			t.Run(field+"/"+name, func(t *testing.T) {
				s := c.sign(t, "p12", mpctest.IDs(2), nil)
				rounds(t, s, 2)
				if at.private {
					s.Private[2][2][1] = mpctest.Put(s.Private[2][2][1], at.offset, bad)
				} else {
					s.Broadcast[2][2] = mpctest.Put(s.Broadcast[2][2], at.offset, bad)
				}
				err := round3(s, 1, nil)
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
				mpctest.WantStep(t, err, dkls23.Step3)
			})
		}
		var f dkls23.FinalShare
		b, err := (&dkls23.FinalShare{From: 1, R: secp256k1.Generator().Bytes()}).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.UnmarshalBinary(mpctest.Put(b, mpctest.OffEchoBody, bad)); err == nil {
			t.Errorf("final share with R %s decodes", name)
		}
	}
}

func TestPitfall27_ReflectedMessages(t *testing.T) {
	c := shared(t, 3, 2)
	fresh := func(r int) *mpctest.Sign {
		s := c.sign(t, "p27", mpctest.IDs(2), nil)
		rounds(t, s, r)
		return s
	}
	// As they are: they are not addressed to their author.
	s := fresh(1)
	s.Private[1][2][1] = s.Private[1][1][2]
	mpctest.WantAbort(t, round2(s, 1, nil), mpc.Benign)
	s = fresh(1)
	mpctest.WantAbort(t, round2(s, 1, map[mpc.ID][]byte{2: s.Broadcast[1][1]}), mpc.Attributed, 2)
	// With a header of the peer's own: the direction is in the dsid.
	s = fresh(1)
	s.Private[1][2][1] = mpctest.From(s.Private[1][1][2], 2, 1)
	err := round2(s, 1, nil)
	mpctest.WantAbort(t, err, mpc.Quarantine, 2)
	mpctest.WantStep(t, err, dkls23.Step2TH)
	s = fresh(2)
	s.Private[2][2][1] = mpctest.From(s.Private[2][1][2], 2, 1)
	err = round3(s, 1, nil)
	mpctest.WantAbort(t, err, mpc.Quarantine, 2)
	mpctest.WantStep(t, err, dkls23.Step3Mu)
}

// purpose makes the signer believe in a key for another purpose.
func purpose(cfg *dkls23.Config, p string) {
	k := *cfg.Key
	k.Purpose = p
	cfg.Key, cfg.Purpose = &k, p
}

// A key serves the suite and the purpose that it was made for.
func TestPitfall51_KeyOfAnotherSuiteOrPurpose(t *testing.T) {
	c := shared(t, 3, 2)
	for _, suite := range append(mpc.Suites(), "") {
		k := *c.keys[1]
		k.Suite = suite
		cfg := mpctest.SignConfig(&k, mpctest.IDs(2), c.setups[1])
		if _, err := dkls23.New(cfg, mpctest.Reader("p51")); (err == nil) != (suite == mpc.DKLS23Secp256k1) {
			t.Errorf("key of suite %q: %v", suite, err)
		}
	}
	for _, suite := range []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1TR} {
		keys, _, err := mpctest.KeysOf(suite, "p51", mpctest.IDs(3), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dkls23.New(mpctest.SignConfig(keys[1], mpctest.IDs(2), c.setups[1]), mpctest.Reader("p51")); err == nil || !strings.Contains(err.Error(), string(suite)) {
			t.Errorf("a key made for %s: %v", suite, err)
		}
	}
	for _, p := range []string{"", "presign", "ecdsa2"} {
		cfg := mpctest.SignConfig(c.keys[1], mpctest.IDs(2), c.setups[1])
		cfg.Purpose = p
		if _, err := dkls23.New(cfg, mpctest.Reader("p51")); err == nil {
			t.Errorf("a session for purpose %q with a key for %q is accepted", p, c.keys[1].Purpose)
		}
	}
}

func TestPitfall31_DifferentMessageOrTweak(t *testing.T) {
	c := shared(t, 3, 2)
	for _, d := range []struct {
		name, text string
		edit       func(*dkls23.Config)
	}{
		{"message hash", "the message hash or the tweak differs", func(cfg *dkls23.Config) { cfg.MessageHash[31] ^= 1 }},
		{"tweak", "the message hash or the tweak differs", func(cfg *dkls23.Config) { cfg.Tweak = one }},
		{"request", "the request differs", func(cfg *dkls23.Config) { cfg.RequestHash[0] ^= 1 }},
		{"purpose", "the context", func(cfg *dkls23.Config) { purpose(cfg, "presign") }},
		{"attempt", "is of session", func(cfg *dkls23.Config) { cfg.AttemptID[0] ^= 1 }},
	} {
		t.Run(d.name, func(t *testing.T) {
			s := c.sign(t, "p31", mpctest.IDs(2), func(cfg *dkls23.Config) {
				if cfg.Key.ID == 2 {
					d.edit(cfg)
				}
			})
			rounds(t, s, 0)
			if err := s.Round(1); err == nil {
				t.Fatal("round 1 ran although the signers sign different things")
			}
			for id, err := range s.Errors {
				mpctest.WantAbort(t, err, mpc.Benign)
				mpctest.WantStep(t, err, dkls23.Step1)
				if !strings.Contains(err.Error(), d.text) {
					t.Errorf("signer %d: %v, want it to say %q", id, err, d.text)
				}
				if s.Broadcast[1][id] != nil || s.Private[1][id] != nil {
					t.Errorf("signer %d sent something of R1", id)
				}
			}
		})
	}
}

func TestPitfall33_IDs(t *testing.T) {
	c := shared(t, 3, 2)
	for name, signers := range map[string][]mpc.ID{
		"zero":       {0, 1},
		"duplicate":  {1, 1},
		"descending": {2, 1},
		"stranger":   {1, 9},
	} {
		if _, err := dkls23.New(mpctest.SignConfig(c.keys[1], signers, c.setups[1]), mpctest.Reader("p33")); err == nil {
			t.Errorf("%s: signers %v are accepted", name, signers)
		}
	}
	// Not even with a pair setup.
	cfg := mpctest.SignConfig(c.keys[1], []mpc.ID{1, 9}, map[mpc.ID]*pair.Setup{9: {Self: 1, Peer: 9}})
	if _, err := dkls23.New(cfg, mpctest.Reader("p33")); err == nil {
		t.Error("a signer that holds no share is accepted")
	}
	// On the wire: a zero author, and another one.
	for _, from := range []mpc.ID{0, 1, 3} {
		s := c.sign(t, "p33", mpctest.IDs(2), nil)
		rounds(t, s, 0)
		_, _, err := s.Sessions[1].Round1(map[mpc.ID][]byte{2: mpctest.From(s.Broadcast[0][2], from, 0)}, nil)
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
	}
	b, err := (&dkls23.FinalShare{From: 0, R: secp256k1.Generator().Bytes()}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if new(dkls23.FinalShare).UnmarshalBinary(b) == nil {
		t.Error("final share of participant 0 decodes")
	}
}

func TestPitfall41_LagrangeOverTheWrongSet(t *testing.T) {
	c := shared(t, 5, 3)
	for name, signers := range map[string][]mpc.ID{
		"one missing":  {1, 2},
		"one too many": {1, 2, 3, 4},
		"without self": {2, 3, 4},
		"nobody":       nil,
	} {
		if _, err := dkls23.New(mpctest.SignConfig(c.keys[1], signers, c.setups[1]), mpctest.Reader("p41")); err == nil {
			t.Errorf("%s: signers %v are accepted", name, signers)
		}
	}
	// Signers with different views of S: the contexts differ before any secret is
	// used.
	a := c.sign(t, "p41", []mpc.ID{1, 2, 3}, nil)
	b := c.sign(t, "p41", []mpc.ID{1, 2, 4}, nil)
	rounds(t, a, 0)
	rounds(t, b, 0)
	_, _, err := a.Sessions[1].Round1(map[mpc.ID][]byte{2: b.Broadcast[0][2], 3: a.Broadcast[0][3]}, nil)
	mpctest.WantAbort(t, err, mpc.Benign)
	// A message of a party outside S, or one too few.
	s := c.sign(t, "p41", []mpc.ID{1, 2, 3}, nil)
	rounds(t, s, 0)
	in := mpctest.Except(s.Broadcast[0], 1)
	in[4] = mpctest.From(s.Broadcast[0][2], 4, 0)
	_, _, err = s.Sessions[1].Round1(in, nil)
	mpctest.WantAbort(t, err, mpc.Benign)
	s = c.sign(t, "p41", []mpc.ID{1, 2, 3}, nil)
	rounds(t, s, 0)
	_, _, err = s.Sessions[1].Round1(map[mpc.ID][]byte{2: s.Broadcast[0][2]}, nil)
	mpctest.WantAbort(t, err, mpc.Benign)
}

// A setup list of the wrong length, and setups that differ.
func TestSetupHashes(t *testing.T) {
	c := shared(t, 3, 3)
	start := func() (*mpctest.Sign, map[mpc.ID][]byte) {
		s := c.sign(t, "setups", mpctest.IDs(3), nil)
		rounds(t, s, 0)
		return s, mpctest.Except(s.Broadcast[0], 1)
	}
	list := mpctest.OffBody + 4*32
	for name, at := range map[string]int{"with 1": list + 4, "between 2 and 3": list + 4 + 32} {
		t.Run(name, func(t *testing.T) {
			s, in := start()
			in[2] = mpctest.Flip(in[2], at)
			_, _, err := s.Sessions[1].Round1(in, nil)
			mpctest.WantAbort(t, err, mpc.Benign)
		})
	}
}
