package dkls23_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// cheat runs rounds 0 to 2 with signer 2 dishonest in round 2, and round 3 of
// signer 1, whose error it returns.
func cheat(t *testing.T, label string, change func(int, *dkls23.Secrets), patch func(broadcast []byte) []byte) error {
	t.Helper()
	c := shared(t, 3, 2)
	s := c.sign(t, label, mpctest.IDs(2), nil)
	rounds(t, s, 1)
	s.Broadcast[2], s.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
	var err error
	if s.Broadcast[2][1], s.Private[2][1], err = s.Sessions[1].Round2(mpctest.Except(s.Broadcast[1], 1), mpctest.Inbound(s.Private[1], 1), nil); err != nil {
		t.Fatal(err)
	}
	if s.Broadcast[2][2], s.Private[2][2], err = s.Sessions[2].CheatRound2(mpctest.Except(s.Broadcast[1], 2), mpctest.Inbound(s.Private[1], 2), change); err != nil {
		t.Fatal(err)
	}
	if patch != nil {
		s.Broadcast[2][2] = patch(s.Broadcast[2][2])
	}
	return round3(s, 1, nil)
}

var one = secp256k1.NewScalar().SetUint64(1)

func TestPitfall20_GammaU(t *testing.T) {
	// Multiplies by r' ≠ r; R, its commitment and everything else are right.
	err := cheat(t, "p20", func(_ int, s *dkls23.Secrets) { s.R.Add(s.R, one) }, nil)
	mpctest.WantAbort(t, err, mpc.Quarantine, 2)
	mpctest.WantStep(t, err, dkls23.Step3Gamma)
}

func TestPitfall21_GammaV(t *testing.T) {
	// Multiplies by sk' ≠ sk; pk is right, so that the sum of the pkⱼ is too.
	err := cheat(t, "p21", func(_ int, s *dkls23.Secrets) { s.SK.Add(s.SK, one) }, nil)
	mpctest.WantAbort(t, err, mpc.Quarantine, 2)
	mpctest.WantStep(t, err, dkls23.Step3Gamma)
}

func TestPitfall22_SumOfPublicShares(t *testing.T) {
	g := secp256k1.Generator()
	t.Run("one signer shifts sk and pk", func(t *testing.T) {
		err := cheat(t, "p22a", func(_ int, s *dkls23.Secrets) { s.SK.Add(s.SK, one); s.Public.Add(s.Public, g) }, nil)
		mpctest.WantAbort(t, err, mpc.Unattributed)
		mpctest.WantStep(t, err, dkls23.Step3)
	})
	t.Run("two signers shift pk oppositely", func(t *testing.T) {
		c := shared(t, 3, 3)
		s := c.sign(t, "p22b", mpctest.IDs(3), nil)
		rounds(t, s, 2)
		for id, by := range map[mpc.ID]*secp256k1.Point{2: g, 3: secp256k1.NewPoint().Negate(g)} {
			b, at := s.Broadcast[2][id], mpctest.OffEchoBody+33+32
			p := secp256k1.NewPoint()
			if err := p.SetBytes(b[at : at+33]); err != nil {
				t.Fatal(err)
			}
			shifted := p.Add(p, by).Bytes()
			s.Broadcast[2][id] = mpctest.Put(b, at, shifted[:])
		}
		mpctest.WantAbort(t, round3(s, 1, nil), mpc.Quarantine, 2)
	})
	// The sum is the untweaked key: a signer that puts ε into its sk is caught,
	// and an honest run with a tweak is not.
	t.Run("tweak inside sk", func(t *testing.T) {
		c := shared(t, 3, 2)
		eps := secp256k1.NewScalar().SetUint64(99)
		tweaked := func(cfg *dkls23.Config) { cfg.Tweak = eps }
		mustSign(t, c.sign(t, "p22c", mpctest.IDs(2), tweaked))
		s := c.sign(t, "p22d", mpctest.IDs(2), tweaked)
		rounds(t, s, 1)
		s.Broadcast[2], s.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
		for id, session := range s.Sessions {
			change := func(int, *dkls23.Secrets) {}
			if id == 2 {
				change = func(_ int, x *dkls23.Secrets) { x.SK.Add(x.SK, eps); x.Public.ScalarBaseMult(x.SK) }
			}
			var err error
			if s.Broadcast[2][id], s.Private[2][id], err = session.CheatRound2(mpctest.Except(s.Broadcast[1], id), mpctest.Inbound(s.Private[1], id), change); err != nil {
				t.Fatal(err)
			}
		}
		err := round3(s, 1, nil)
		mpctest.WantAbort(t, err, mpc.Unattributed)
		mpctest.WantStep(t, err, dkls23.Step3)
	})
}

func TestPitfall23_NonceCommitment(t *testing.T) {
	t.Run("another R, consistently", func(t *testing.T) {
		err := cheat(t, "p23a", func(_ int, s *dkls23.Secrets) { s.R.Add(s.R, one); s.Point.ScalarBaseMult(s.R) }, nil)
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		mpctest.WantStep(t, err, dkls23.Step3Open)
	})
	t.Run("another salt", func(t *testing.T) {
		err := cheat(t, "p23b", func(int, *dkls23.Secrets) {}, func(b []byte) []byte { return mpctest.Flip(b, mpctest.OffEchoBody+33) })
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		mpctest.WantStep(t, err, dkls23.Step3Open)
	})
	t.Run("salts swapped", func(t *testing.T) {
		c := shared(t, 3, 3)
		s := c.sign(t, "p23c", mpctest.IDs(3), nil)
		rounds(t, s, 2)
		at := mpctest.OffEchoBody + 33
		b2, b3 := s.Broadcast[2][2], s.Broadcast[2][3]
		s.Broadcast[2][2], s.Broadcast[2][3] = mpctest.Put(b2, at, b3[at:at+32]), mpctest.Put(b3, at, b2[at:at+32])
		err := round3(s, 1, nil)
		mpctest.WantAbort(t, err, mpc.Attributed, 2, 3)
		mpctest.WantStep(t, err, dkls23.Step3Open)
	})
}

// Signer 2 copies signer 1's commitment and later its opening.
func TestPitfall24_CommitmentNamesItsSender(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "p24", mpctest.IDs(2), nil)
	rounds(t, s, 1)
	mirrored := mpctest.Put(s.Broadcast[1][2], mpctest.OffEchoBody, s.Broadcast[1][1][mpctest.OffEchoBody:mpctest.OffEchoBody+32])
	s.Broadcast[2], s.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
	var err error
	s.Broadcast[2][1], s.Private[2][1], err = s.Sessions[1].Round2(map[mpc.ID][]byte{2: mirrored}, mpctest.Inbound(s.Private[1], 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Broadcast[2][2], s.Private[2][2], err = s.Sessions[2].Round2(map[mpc.ID][]byte{1: s.Broadcast[1][1]}, mpctest.Inbound(s.Private[1], 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Echo of round 1 as 1 saw it, R and salt of 1.
	b := mpctest.Put(s.Broadcast[2][2], mpctest.OffEcho, s.Broadcast[2][1][mpctest.OffEcho:mpctest.OffEchoBody+33+32])
	err = round3(s, 1, map[mpc.ID][]byte{2: b})
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
	mpctest.WantStep(t, err, dkls23.Step3Open)
}

// The signers' nonces cancel: no commitment forbids it, and nothing may come of
// it.
func TestPitfall36_NoncesThatCancel(t *testing.T) {
	c := shared(t, 3, 2)
	r := secp256k1.NewScalar().SetUint64(36)
	run := func(r1, r2 *secp256k1.Scalar) error {
		s := c.sign(t, "p36", mpctest.IDs(2), nil)
		for id, k := range map[mpc.ID]*secp256k1.Scalar{1: r1, 2: r2} {
			// A signer draws its nonce of R0 (32 bytes), then r (48 bytes).
			rest := mpctest.Reader("p36 #%d/%d", runs.Add(1), id)
			b := k.Bytes()
			wide := append(make([]byte, 16), b[:]...)
			var err error
			if s.Sessions[id], err = dkls23.New(s.Configs[id], io.MultiReader(io.LimitReader(rest, 32), bytes.NewReader(wide), rest)); err != nil {
				t.Fatal(err)
			}
		}
		rounds(t, s, 2)
		return round3(s, 1, nil)
	}
	if err := run(r, r); err != nil {
		t.Fatalf("equal nonces: %v, want a final share", err)
	}
	err := run(r, secp256k1.NewScalar().Negate(r))
	mpctest.WantAbort(t, err, mpc.Unattributed)
	mpctest.WantStep(t, err, dkls23.Step3)
}

// publicShare is pkᵢ of a session that has run round 2.
func publicShare(t *testing.T, s *mpctest.Sign, id mpc.ID) *secp256k1.Point {
	t.Helper()
	p, at := secp256k1.NewPoint(), mpctest.OffEchoBody+33+32
	if err := p.SetBytes(s.Broadcast[2][id][at : at+33]); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPitfall25_ZeroSharesAreOfTheSession(t *testing.T) {
	c := shared(t, 3, 2)
	run := func(signers ...mpc.ID) *mpctest.Sign {
		s := c.sign(t, "p25", signers, nil)
		rounds(t, s, 2)
		return s
	}
	a, b, other := run(1, 2), run(1, 2), run(1, 3)
	if publicShare(t, a, 1).Equal(publicShare(t, b, 1)) == 1 {
		t.Error("pk of signer 1 is the same in two sessions")
	}
	if a.Sessions[1].ZeroShare().Equal(other.Sessions[1].ZeroShare()) == 1 {
		t.Error("zero share of signer 1 is the same with another set")
	}
	sum := secp256k1.NewPoint().Add(publicShare(t, a, 1), publicShare(t, a, 2))
	if sum.Equal(group.Secp256k1Point(c.keys[1].PublicKey)) != 1 {
		t.Error("public shares of one session do not add up to the key")
	}
	for name, mixed := range map[string]*secp256k1.Point{
		"two sessions": secp256k1.NewPoint().Add(publicShare(t, a, 1), publicShare(t, b, 2)),
		"two sets":     secp256k1.NewPoint().Add(publicShare(t, a, 1), publicShare(t, other, 3)),
	} {
		if mixed.Equal(group.Secp256k1Point(c.keys[1].PublicKey)) == 1 {
			t.Errorf("public shares of %s add up to the key", name)
		}
	}
	zeta := secp256k1.NewScalar().Add(a.Sessions[1].ZeroShare(), a.Sessions[2].ZeroShare())
	if zeta.IsZero() != 1 {
		t.Error("zero shares of a session do not add up to zero")
	}
}

func TestPitfall26_SlotsAreDistinct(t *testing.T) {
	c := shared(t, 3, 3)
	s := c.sign(t, "p26 dsid", mpctest.IDs(3), nil)
	rounds(t, s, 1)
	seen := make(map[[32]byte]string)
	for _, bob := range mpctest.IDs(3) {
		for _, alice := range mpctest.IDs(3) {
			for slot := range uint64(16) {
				if bob == alice {
					continue
				}
				id := s.Sessions[bob].DSID(bob, alice, slot)
				if id != s.Sessions[alice].DSID(bob, alice, slot) {
					t.Errorf("signers %d and %d hold different dsids", bob, alice)
				}
				name := fmt.Sprintf("%d→%d slot %d", bob, alice, slot)
				if seen[id] != "" {
					t.Errorf("dsid of %s is that of %s", name, seen[id])
				}
				seen[id] = name
			}
		}
	}
}

// Two signatures under one φ reveal the key to anybody who sees the final
// shares. The attack is shown to work when φ is forced to repeat, and to fail on
// honest sessions.
func TestPitfall26_ReuseOfPhiRecoversTheKey(t *testing.T) {
	c := shared(t, 3, 2)
	ids := mpctest.IDs(2)
	hash := func(k byte) func(*dkls23.Config) {
		return func(cfg *dkls23.Config) { cfg.MessageHash = [32]byte{31: k} }
	}
	run := func(k byte, phi map[mpc.ID]*secp256k1.Scalar) *mpctest.Sign {
		s := c.sign(t, "p26", ids, hash(k))
		rounds(t, s, 1)
		s.Broadcast[2], s.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
		for _, id := range ids {
			var err error
			s.Broadcast[2][id], s.Private[2][id], err = s.Sessions[id].CheatRound2(mpctest.Except(s.Broadcast[1], id), mpctest.Inbound(s.Private[1], id), func(_ int, x *dkls23.Secrets) {
				if phi != nil {
					x.Phi.Set(phi[id])
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Round(3); err != nil {
			t.Fatal(err)
		}
		sig, err := s.Combine()
		if err != nil {
			t.Fatal(err)
		}
		checkSignature(t, s, sig)
		return s
	}
	// w = φ·(h + r·sk) in both, so sk = (w₁h₂ − w₂h₁)/(w₂r₁ − w₁r₂).
	attack := func(a, b *mpctest.Sign) *secp256k1.Point {
		mul := func(x, y *secp256k1.Scalar) *secp256k1.Scalar { return secp256k1.NewScalar().Mul(x, y) }
		w1, r1, h1 := known(a)
		w2, r2, h2 := known(b)
		num := secp256k1.NewScalar().Sub(mul(w1, h2), mul(w2, h1))
		den := secp256k1.NewScalar().Sub(mul(w2, r1), mul(w1, r2))
		return secp256k1.NewPoint().ScalarBaseMult(num.Mul(num, den.Invert(den)))
	}
	phi := map[mpc.ID]*secp256k1.Scalar{1: secp256k1.NewScalar().SetUint64(11), 2: secp256k1.NewScalar().SetUint64(22)}
	if attack(run(1, phi), run(2, phi)).Equal(group.Secp256k1Point(c.keys[1].PublicKey)) != 1 {
		t.Error("the attack does not recover the key from a repeated φ: it proves nothing")
	}
	if attack(run(1, nil), run(2, nil)).Equal(group.Secp256k1Point(c.keys[1].PublicKey)) == 1 {
		t.Error("two honest signatures reveal the key")
	}
}

// known is what the final shares show: Σw, r, h.
func known(s *mpctest.Sign) (w, r, h *secp256k1.Scalar) {
	w = secp256k1.NewScalar()
	for _, f := range s.Final {
		w.Add(w, &f.W)
	}
	x := [32]byte(s.Final[1].R[1:])
	hash := s.Configs[1].MessageHash
	return w, secp256k1.NewScalar().SetReduced(&x), secp256k1.NewScalar().SetReduced(&hash)
}
