package lifecycle_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// A source of randomness that ends, at whatever byte, ends the session without
// blame, and nothing was said with what it did not give.
func TestShortRandomness(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "short", mpctest.IDs(3), 2)
	plan := k.refresh()
	const whole = 32 + 48 + 32 + 2*64 // nonce, a₁, salt, two seeds with their salts
	for n := 0; n <= whole; n += 8 {
		l, err := mpctest.NewLife("short", plan)
		if err != nil {
			t.Fatal(err)
		}
		if l.Sessions[1], err = lifecycle.New(plan.Config(1), io.LimitReader(mpctest.Reader("short/1"), int64(n))); err != nil {
			t.Fatal(err)
		}
		err = l.Round(0)
		if err == nil {
			err = l.Round(1)
		}
		if n == whole {
			if err != nil {
				t.Errorf("%d bytes are enough, got %v", n, err)
			}
			continue
		}
		mpctest.WantAbort(t, err, mpc.Benign)
		if !l.Sessions[1].Wiped() {
			t.Errorf("after %d bytes secrets are left", n)
		}
	}
	repair := k.repair(2, 1, 3)
	for _, n := range []int{0, 31, 32, 79} {
		p, err := mpctest.NewRepair("short", repair)
		if err != nil {
			t.Fatal(err)
		}
		if p.Sessions[1], err = lifecycle.NewRepair(repair.Config(1), io.LimitReader(mpctest.Reader("short/1"), int64(n))); err != nil {
			t.Fatal(err)
		}
		if err = p.Round(0); err == nil {
			err = p.Round(1)
		}
		mpctest.WantAbort(t, err, mpc.Benign)
	}
	x := k.shares[1].Share()
	for _, n := range []int64{0, 47, 48, 79} {
		_, _, err := lifecycle.Import(importConfig(mpc.DKLS23Secp256k1, mpctest.IDs(3), 2), x, [32]byte{}, io.LimitReader(mpctest.Reader("short"), n))
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("import with %d bytes: %v", n, err)
		}
	}
}

// A session key that signs nothing ends the session at its own party.
func TestOwnSessionKeyFails(t *testing.T) {
	k := newKey(t, mpc.FROSTEd25519, "mute", mpctest.IDs(3), 2)
	for calls, round := range []int{1, 3} { // the vector, then the first share
		plan := k.refresh()
		l, err := mpctest.NewLife("mute", plan)
		if err != nil {
			t.Fatal(err)
		}
		cfg, left := plan.Config(1), calls
		sign := cfg.Sign
		cfg.Sign = func(digest [32]byte) []byte {
			if left--; left < 0 {
				return nil
			}
			return sign(digest)
		}
		if l.Sessions[1], err = lifecycle.New(cfg, mpctest.Reader("mute/1")); err != nil {
			t.Fatal(err)
		}
		for r := range round {
			if err := l.Round(r); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = l.Step(round, 1)
		mpctest.WantAbort(t, err, mpc.Benign)
	}
	for calls, round := range []int{1, 2, 3} { // parts, a part, the sum
		plan := k.repair(2, 1, 3)
		p, err := mpctest.NewRepair("mute", plan)
		if err != nil {
			t.Fatal(err)
		}
		cfg, left := plan.Config(1), calls
		sign := cfg.Sign
		cfg.Sign = func(digest [32]byte) []byte {
			if left--; left < 0 {
				return nil
			}
			return sign(digest)
		}
		if p.Sessions[1], err = lifecycle.NewRepair(cfg, mpctest.Reader("mute/1")); err != nil {
			t.Fatal(err)
		}
		for r := range round {
			if err := p.Round(r); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = p.Step(round, 1)
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

// A silent helper, rounds out of order, and who takes part.
func TestRepairInOrder(t *testing.T) {
	k := newKey(t, mpc.FROSTEd25519, "order", mpctest.IDs(3), 2)
	p := startRepair(t, k.repair(2, 1, 3), 1)
	if got := p.Sessions[1].Participants(); !slices.Equal(got, ids(1, 2, 3)) {
		t.Errorf("participants %v", got)
	}
	if got := start(t, "order", k.reshare(ids(2, 3), ids(3, 9), 2), 0).Sessions[9].Participants(); !slices.Equal(got, ids(2, 3, 9)) {
		t.Errorf("participants %v", got)
	}
	if _, err := p.Sessions[1].Round0(); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 0 twice: %v", err)
	}
	if _, err := p.Sessions[1].Round3(nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 3 before round 2: %v", err)
	}
	delete(p.Broadcast[1], 3)
	_, _, first := p.Step(2, 1)
	mpctest.WantAbort(t, first, mpc.Benign)
	mpctest.WantStep(t, first, "repair round 2")
	if _, err := p.Sessions[1].Round1(nil); err != first {
		t.Errorf("after %v: %v", first, err)
	}
	for _, d := range p.Sessions[1].Parts() {
		if d.IsZero() != 1 {
			t.Error("an aborted helper keeps its parts")
		}
	}
	q := startRepair(t, k.repair(2, 1, 3), 3)
	delete(q.Private[1], 3)
	_, err := q.Finish()
	mpctest.WantAbort(t, err, mpc.Benign)
	mpctest.WantStep(t, err, "repair finish")
	q = startRepair(t, k.repair(2, 1, 3), 1)
	q.Sessions[2].Destroy()
	if _, _, err := q.Step(2, 2); err == nil {
		t.Error("a destroyed repair goes on")
	}
}
