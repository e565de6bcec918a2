package dkls23_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

func TestSign9of16(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("36 pair setups: without the race detector only")
	}
	keys, _, err := mpctest.Keys("9-of-16/dkg", mpctest.IDs(16), 9)
	if err != nil {
		t.Fatal(err)
	}
	signers := []mpc.ID{1, 3, 4, 6, 8, 9, 12, 15, 16}
	setups, err := mpctest.Pairs("9-of-16/pair", signers)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mpctest.NewSign("9-of-16/sign", keys, setups, signers, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, s)
}

// The rounds come once and in order; an abort is final, and the secrets are
// gone after it.
func TestSessionIsUsedOnce(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "once", mpctest.IDs(2), nil)
	p := s.Sessions[1]
	if _, err := p.Round3(nil, nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 3 first: %v, want a plain error", err)
	}
	rounds(t, s, 2)
	if _, _, err := p.Round2(nil, nil, nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 2 twice: %v, want a plain error", err)
	}
	if p.Wiped() {
		t.Error("secrets are gone before the end")
	}
	if err := s.Round(3); err != nil {
		t.Fatal(err)
	}
	if !p.Wiped() {
		t.Error("secrets are left after the final share")
	}
	if err := round3(s, 1, nil); err == nil {
		t.Error("a second final share is given")
	}

	s = c.sign(t, "once", mpctest.IDs(2), nil)
	rounds(t, s, 1)
	spoil(s.Private[1][2][1])
	first := round2(s, 1, nil)
	mpctest.WantAbort(t, first, mpc.Quarantine, 2)
	mpctest.WantStep(t, first, dkls23.Step2TH)
	_, again := s.Sessions[1].Round3(nil, nil)
	if !errors.Is(again, first) {
		t.Errorf("after the abort: %v, want the same abort", again)
	}
	if !s.Sessions[1].Wiped() {
		t.Error("secrets are left after an abort")
	}

	s = c.sign(t, "once", mpctest.IDs(2), nil)
	rounds(t, s, 1)
	s.Sessions[1].Destroy()
	if err := round2(s, 1, nil); err == nil {
		t.Error("a destroyed session goes on")
	}
}

func TestAttachments(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "attachments", mpctest.IDs(2), nil)
	rounds(t, s, 2)
	for r, peek := range []func([]byte) ([]byte, error){dkls23.Attachment0, dkls23.Attachment1, dkls23.Attachment2} {
		got, err := peek(s.Broadcast[r][2])
		if want := fmt.Sprintf("attachment %d of 2", r); err != nil || string(got) != want {
			t.Errorf("attachment %q, %v, want %q", got, err, want)
		}
		if _, err := peek(s.Broadcast[(r+1)%3][2]); err == nil {
			t.Errorf("a message of round %d is read as of round %d", (r+1)%3, r)
		}
		if _, err := peek(nil); err == nil {
			t.Error("nothing is read as a message")
		}
	}
	s = c.sign(t, "attachments", mpctest.IDs(2), nil)
	if _, err := s.Sessions[1].Round0(make([]byte, dkls23.MaxAttachment+1)); err == nil {
		t.Error("an attachment above the bound is accepted")
	}
	if _, err := s.Sessions[1].Round0(bytes.Repeat([]byte{7}, dkls23.MaxAttachment)); err != nil {
		t.Errorf("attachment of the greatest length: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	c := shared(t, 3, 2)
	for name, edit := range map[string]func(*dkls23.Config){
		"no key":          func(cfg *dkls23.Config) { cfg.Key = nil },
		"no setup":        func(cfg *dkls23.Config) { cfg.Setups = nil },
		"another's setup": func(cfg *dkls23.Config) { cfg.Setups = c.setups[2] },
		"setup with 3":    func(cfg *dkls23.Config) { cfg.Setups = mpctest.Setups{1: {2: c.setups[1][3]}}[1] },
		"no purpose":      func(cfg *dkls23.Config) { cfg.Purpose = "" },
		"pending share": func(cfg *dkls23.Config) {
			d, err := mpctest.NewDKG("pending", mpctest.IDs(3), 2)
			if err != nil {
				t.Fatal(err)
			}
			for r := range 4 {
				if err := d.Round(r); err != nil {
					t.Fatal(err)
				}
			}
			out, err := d.Finish(1)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Key = out.Share
		},
	} {
		cfg := mpctest.SignConfig(c.keys[1], mpctest.IDs(2), c.setups[1])
		edit(&cfg)
		if _, err := dkls23.New(cfg, mpctest.Reader("config")); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := dkls23.New(mpctest.SignConfig(c.keys[1], mpctest.IDs(2), c.setups[1]), nil); err == nil {
		t.Error("no randomness: accepted")
	}
}

// A source that fails ends the session; nobody is blamed, nothing is sent.
func TestRandomnessFails(t *testing.T) {
	c := shared(t, 3, 2)
	for _, n := range []int64{0, 31, 32, 70, 130, 161, 170, 200, 300} {
		s := c.sign(t, "randomness", mpctest.IDs(2), nil)
		cfg := s.Configs[1]
		p, err := dkls23.New(cfg, io.LimitReader(mpctest.Reader("short %d %d", n, runs.Add(1)), n))
		if err != nil {
			t.Fatal(err)
		}
		s.Sessions[1] = p
		for r := range 4 {
			if err = s.Round(r); err != nil {
				break
			}
		}
		if n < 300 && err == nil {
			t.Errorf("%d random bytes are enough", n)
		}
		if err != nil {
			mpctest.WantAbort(t, s.Errors[1], mpc.Benign)
		}
	}
}

// A share whose zero-share seed differs from the peer's (a restored backup, say)
// spoils the sum of the pkⱼ: no final share leaves.
func TestDifferentZeroSeeds(t *testing.T) {
	c := shared(t, 3, 2)
	b := c.keys[2].Encode()
	b[len(b)-64] ^= 1 // the seed with 1
	k, err := dkg.DecodeKeyShare(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mpctest.NewSign(fmt.Sprintf("zero seeds #%d", runs.Add(1)), map[mpc.ID]*dkg.KeyShare{1: c.keys[1], 2: k}, c.setups, mpctest.IDs(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	rounds(t, s, 2)
	if err := s.Round(3); err == nil {
		t.Fatal("final shares are given")
	}
	for _, err := range s.Errors {
		mpctest.WantAbort(t, err, mpc.Unattributed)
		mpctest.WantStep(t, err, dkls23.Step3)
	}
}

func TestSessionIsUnprintable(t *testing.T) {
	c := shared(t, 3, 2)
	s := c.sign(t, "print", mpctest.IDs(2), nil)
	rounds(t, s, 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if out := fmt.Sprintf(verb, s.Sessions[1]); out != "dkls23.Session(1 of [1 2])" {
			t.Errorf("%s shows %s", verb, out)
		}
	}
}
