package handover

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

// moved runs a handover without faults and returns the world and its plan.
func moved(t testing.TB, shape int) (*world, *Plan) {
	t.Helper()
	s := shapes[shape]
	w := newWorld(nil, s.old, s.oldT, s.newer, s.newT)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	return w, w.plans[0]
}

func TestCommitCertificate(t *testing.T) {
	w, p := moved(t, 1)
	commit := func() *Bundle {
		b, err := DecodeBundle(w.parties[5].m.Commit().Encode())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := commit().VerifyCommit(testVerifier()); err != nil {
		t.Fatal(err)
	}
	drop := func(b *Bundle, k Kind, keep int) {
		var kept []Vote
		for _, v := range b.Votes {
			if v.Kind == k {
				if keep--; keep < 0 {
					continue
				}
			}
			kept = append(kept, v)
		}
		b.Votes = kept
	}
	for _, c := range []struct {
		name, want string
		spoil      func(b *Bundle)
	}{
		{"a PREPARED is missing", "4 PREPARED, want 5", func(b *Bundle) { drop(b, Prepared, 4) }},
		{"a READY is missing", "4 READY, want 5", func(b *Bundle) { drop(b, Ready, 4) }},
		{"n−t CLOSED", "1 CLOSED, want 2", func(b *Bundle) { drop(b, Closed, 1) }},
		{"one vote twice", "twice", func(b *Bundle) { b.Votes = append(b.Votes[:1:1], b.Votes...) }},
		{"another certificate", "epoch 2", func(b *Bundle) { b.Body = []byte("x") }},
		{"no proof", "READY of participant 1", func(b *Bundle) {
			for i := range b.Votes {
				if v := &b.Votes[i]; v.Kind == Ready && v.From == 1 {
					v.Proof = []byte("none")
					v.Signature = testSign(Ready, 1, v.Digest(p.ID()))
				}
			}
		}},
		{"another's signature", "identity", func(b *Bundle) { b.Votes[0].Signature = b.Votes[1].Signature }},
		{"votes of another plan", "0 PREPARED", func(b *Bundle) { b.Plan.Attempt[0]++; b.Body = testBody(&b.Plan) }},
		{"CLOSED of newcomers", "0 CLOSED", func(b *Bundle) {
			drop(b, Closed, 0)
			for _, id := range []mpc.ID{4, 5} {
				v := Vote{Kind: Closed, From: id, Certificate: b.Votes[0].Certificate}
				v.Signature = testSign(Closed, id, v.Digest(p.ID()))
				b.Votes = append(b.Votes, v)
			}
			b.Votes = drop2(b.Votes)
		}},
		{"no plan", "participants", func(b *Bundle) { b.Plan.New = nil }},
	} {
		b := commit()
		c.spoil(b)
		if err := b.VerifyCommit(testVerifier()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// drop2 leaves out ACTIVE, so that what is added last stays sorted.
func drop2(vs []Vote) []Vote {
	var out []Vote
	for _, v := range vs {
		if v.Kind != Active {
			out = append(out, v)
		}
	}
	return out
}

// waiting is a handover in which party 1 waits for the votes of 2 and 3.
func waiting(t *testing.T) (*Machine, *Plan) {
	t.Helper()
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{1, 2, 3}, NewThreshold: 2}
	m, err := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, true); err != nil {
		t.Fatal(err)
	}
	out, err := m.Sealed(p.ID(), testBody(p), testProof(p.ID(), 1))
	if err != nil || len(out.Sign) != 1 || !out.Save {
		t.Fatalf("%+v %v", out, err)
	}
	sign(t, m, out)
	return m, p
}

func sign(t *testing.T, m *Machine, out Effects) {
	t.Helper()
	for len(out.Sign) > 0 {
		r := out.Sign[0]
		more, err := m.Signed(r.Plan, r.Kind, testSign(r.Kind, m.self, r.Digest))
		if err != nil {
			t.Fatal(err)
		}
		out = Effects{Sign: append(out.Sign[1:], more.Sign...)}
	}
}

func votes(p *Plan, k Kind, ids ...mpc.ID) *Bundle {
	b := &Bundle{Plan: *p, Body: testBody(p)}
	for _, id := range ids {
		v := Vote{Kind: k, From: id}
		if k != Abort {
			v.Certificate, _ = testVerifier().Certificate(p, b.Body)
		}
		if k == Ready {
			v.Proof = testProof(p.ID(), id)
		}
		v.Signature = testSign(k, id, v.Digest(p.ID()))
		b.Votes = append(b.Votes, v)
	}
	return b
}

func mine(m *Machine, p *Plan, k Kind) bool { return m.find(p.ID()).mine[k] }

// READY waits for every PREPARED, CLOSED for every READY, the next epoch for
// n−t+1 CLOSED; a vote counts once, however often it comes.
func TestVotesWaitForEachOther(t *testing.T) {
	m, p := waiting(t)
	m.Deliver(2, votes(p, Prepared, 2))
	m.Deliver(2, votes(p, Prepared, 2))
	if mine(m, p, Ready) {
		t.Fatal("READY before every PREPARED")
	}
	sign(t, m, m.Deliver(2, votes(p, Prepared, 3)))
	if !mine(m, p, Ready) || mine(m, p, Closed) || !m.MaySign(1) {
		t.Fatal("every PREPARED is there")
	}
	sign(t, m, m.Deliver(2, votes(p, Ready, 2)))
	if mine(m, p, Closed) {
		t.Fatal("CLOSED before every READY")
	}
	sign(t, m, m.Deliver(2, votes(p, Ready, 3)))
	if !mine(m, p, Closed) || m.MaySign(1) || m.MaySign(2) {
		t.Fatal("every READY is there")
	}
	// Who has closed holds every READY: an ABORT is a lie, and frees nobody.
	out := m.Deliver(2, votes(p, Abort, 2))
	if len(out.Blame) != 1 || out.Blame[0].Party != 2 || len(out.Blame[0].Evidence) != 2 || m.MaySign(1) {
		t.Fatalf("ABORT after READY: %+v", out)
	}
	if _, err := m.Abandon(p.ID()); err == nil {
		t.Error("abandoned by the admins after CLOSED")
	}
	if _, err := m.GiveUp(p.ID()); err == nil {
		t.Error("given up after READY")
	}
	next := *p
	next.Attempt[0]++
	if _, err := m.Join(&next, true); err == nil || !strings.Contains(err.Error(), "bound") {
		t.Errorf("deals for another attempt after CLOSED, on a liar's word: %v", err)
	}
	out = m.Deliver(3, votes(p, Closed, 3))
	if out.Committed == nil || !m.MaySign(2) || m.MaySign(1) || len(out.Erase) > 0 {
		t.Fatalf("commit: %+v", out)
	}
	sign(t, m, out)
	m.Deliver(2, votes(p, Active, 2))
	if out = m.Deliver(2, votes(p, Active, 3)); len(out.Erase) != 1 || out.Erase[0] != 1 {
		t.Fatalf("erasure: %+v", out)
	}
}

// One ABORT frees who has not closed; a commit certificate overrides it.
func TestAbort(t *testing.T) {
	m, p := waiting(t)
	next := *p
	next.Attempt[0] = 9
	if _, err := m.Join(&next, true); err == nil || !strings.Contains(err.Error(), "bound") {
		t.Fatalf("a second dealing: %v", err)
	}
	m.Deliver(2, votes(p, Abort, 3))
	m.Deliver(2, votes(p, Prepared, 2, 3))
	if mine(m, p, Ready) {
		t.Fatal("READY after another's ABORT")
	}
	if _, err := m.Join(&next, true); err != nil {
		t.Fatal(err)
	}
	// Party 3 lied: it has signed READY, and this party's disk forgot its own.
	m, p = waiting(t)
	sign(t, m, m.Deliver(2, votes(p, Prepared, 2, 3)))
	m.Deliver(2, votes(p, Abort, 3))
	if out := m.Deliver(2, votes(p, Ready, 2, 3)); len(out.Blame) != 1 || out.Blame[0].Party != 3 || mine(m, p, Closed) {
		t.Fatalf("READY after ABORT: %+v", out)
	}
	if out := m.Deliver(2, votes(p, Closed, 2, 3)); out.Committed == nil || !m.MaySign(2) {
		t.Fatalf("the commit certificate does not override the ABORT: %+v", out)
	}
}

// Who aborts is never READY; its share is discarded; attempts are used once.
func TestGiveUp(t *testing.T) {
	m, p := waiting(t)
	out, err := m.GiveUp(p.ID())
	if err != nil || len(out.Discard) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	sign(t, m, out)
	sign(t, m, m.Deliver(2, votes(p, Prepared, 2, 3)))
	if mine(m, p, Ready) {
		t.Error("READY after its own ABORT")
	}
	if _, err := m.Sealed(p.ID(), testBody(p), testProof(p.ID(), 1)); err == nil {
		t.Error("a share of an aborted plan was taken")
	}
	if !m.MaySign(1) {
		t.Error("the old epoch does not work on")
	}
}

// A disk that lost this party's votes votes no more: it could contradict itself.
func TestForgottenVote(t *testing.T) {
	m, p := waiting(t)
	m.Deliver(2, votes(p, Ready, 1))
	sign(t, m, m.Deliver(2, votes(p, Prepared, 2, 3)))
	if mine(m, p, Ready) {
		t.Error("voted again")
	}
	if _, err := m.GiveUp(p.ID()); err == nil {
		t.Error("signed ABORT after a READY that it has forgotten")
	}
}

func TestWrongProofIsBlamed(t *testing.T) {
	m, p := waiting(t)
	m.Deliver(2, votes(p, Prepared, 2, 3))
	b := votes(p, Ready, 2)
	b.Votes[0].Proof = testProof(p.ID(), 3)
	b.Votes[0].Signature = testSign(Ready, 2, b.Votes[0].Digest(p.ID()))
	if out := m.Deliver(2, b); len(out.Blame) != 1 || out.Blame[0].Party != 2 {
		t.Errorf("%+v", out)
	}
	b.Votes[0].Signature[0] ^= 1
	if out := m.Deliver(2, b); len(out.Blame) != 0 || out.Save {
		t.Errorf("blamed for what it did not sign: %+v", out)
	}
}

func TestTwoCertificatesAreBlamed(t *testing.T) {
	m, p := waiting(t)
	m.Deliver(2, votes(p, Ready, 2))
	b := votes(p, Ready, 2)
	b.Votes[0].Certificate[0] ^= 1
	b.Votes[0].Signature = testSign(Ready, 2, b.Votes[0].Digest(p.ID()))
	if out := m.Deliver(3, b); len(out.Blame) != 1 || out.Blame[0].Party != 2 {
		t.Errorf("%+v", out)
	}
}

func TestJoinRefuses(t *testing.T) {
	good := Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{1, 4}, NewThreshold: 2}
	for _, c := range []struct {
		name string
		deal bool
		edit func(*Plan)
	}{
		{"another key", false, func(p *Plan) { p.Key[0]++ }},
		{"another epoch", false, func(p *Plan) { p.From = 2 }},
		{"another certificate", false, func(p *Plan) { p.Previous[0]++ }},
		{"another threshold", false, func(p *Plan) { p.OldThreshold, p.Dealers = 3, p.Old }},
		{"other old parties", false, func(p *Plan) { p.Old = []mpc.ID{1, 2, 5} }},
		{"no part in it", false, func(p *Plan) { p.Old, p.New = []mpc.ID{2, 3, 4}, []mpc.ID{2, 3}; p.Dealers = []mpc.ID{2, 3} }},
		{"deals though it is no dealer", true, func(p *Plan) { p.Dealers = []mpc.ID{2, 3} }},
		{"t−1 dealers", false, func(p *Plan) { p.Dealers = []mpc.ID{1} }},
		{"dealer from outside", false, func(p *Plan) { p.Dealers = []mpc.ID{1, 9} }},
		{"one dealer twice", false, func(p *Plan) { p.Dealers = []mpc.ID{1, 1} }},
		{"party 0", false, func(p *Plan) { p.New = []mpc.ID{0, 1} }},
		{"threshold 1", false, func(p *Plan) { p.NewThreshold = 1 }},
		{"threshold above n", false, func(p *Plan) { p.NewThreshold = 3 }},
		{"epoch 0", false, func(p *Plan) { p.From = 0 }},
	} {
		m, _ := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
		p := good
		c.edit(&p)
		if _, err := m.Join(&p, c.deal); err == nil {
			t.Errorf("%s: joined", c.name)
		}
	}
	m, _ := New(4, testKey, nil, testVerifier())
	p := good
	if _, err := m.Join(&p, false); err != nil || m.MaySign(1) {
		t.Errorf("a newcomer: %v", err)
	}
	// One who lost its share gets a new one, but does not deal.
	m, _ = New(1, testKey, nil, testVerifier())
	if _, err := m.Join(&good, true); err == nil {
		t.Error("a party without a share deals")
	}
}

func TestSignedOnlyWhatWasDecided(t *testing.T) {
	m, p := waiting(t)
	if _, err := m.Signed(p.ID(), Closed, testSign(Closed, 1, [32]byte{})); err == nil {
		t.Error("CLOSED was signed, which this party has not decided")
	}
	m, _ = New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	out, _ := m.Join(p, true)
	if len(out.Sign)+len(out.Send) > 0 || !out.Save {
		t.Errorf("joining: %+v", out)
	}
	out, _ = m.Sealed(p.ID(), testBody(p), testProof(p.ID(), 1))
	if _, err := m.Signed(p.ID(), Prepared, testSign(Prepared, 2, out.Sign[0].Digest)); err == nil {
		t.Error("another's signature was taken for its own")
	}
}

func TestEncodings(t *testing.T) {
	w, p := moved(t, 1)
	b := w.parties[1].m.Commit().Encode()
	if len(p.Encode()) != 1+32+8+32+4+6+2+4+4+4+10+2+32+16 {
		t.Errorf("plan of %d bytes", len(p.Encode()))
	}
	state := w.parties[1].m.Encode()
	for name, c := range map[string]struct {
		b     []byte
		again func([]byte) ([]byte, error)
	}{
		"plan":   {p.Encode(), reencodePlan},
		"bundle": {b, reencodeBundle},
		"state":  {state, reencodeState},
	} {
		for n := range c.b {
			if _, err := c.again(c.b[:n]); err == nil {
				t.Fatalf("%s: accepted when cut to %d bytes", name, n)
			}
			bad := bytes.Clone(c.b)
			bad[n] ^= 1
			if got, err := c.again(bad); err == nil && !bytes.Equal(got, bad) {
				t.Fatalf("%s: byte %d: decodes, but encodes to other bytes", name, n)
			}
		}
		if _, err := c.again(append(bytes.Clone(c.b), 0)); err == nil {
			t.Errorf("%s: accepted with a byte after its end", name)
		}
	}
}

func reencodePlan(b []byte) ([]byte, error) {
	p, err := DecodePlan(b)
	if err != nil {
		return nil, err
	}
	return p.Encode(), nil
}

func reencodeBundle(b []byte) ([]byte, error) {
	x, err := DecodeBundle(b)
	if err != nil {
		return nil, err
	}
	return x.Encode(), nil
}

func reencodeState(b []byte) ([]byte, error) {
	m, err := Load(b, testVerifier())
	if err != nil {
		return nil, err
	}
	return m.Encode(), nil
}

func fuzz(f *testing.F, seed []byte, again func([]byte) ([]byte, error)) {
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := again(b); err == nil && !bytes.Equal(got, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, got)
		}
	})
}

func FuzzDecodePlan(f *testing.F) { _, p := moved(f, 0); fuzz(f, p.Encode(), reencodePlan) }

func FuzzDecodeBundle(f *testing.F) {
	w, _ := moved(f, 0)
	fuzz(f, w.parties[1].m.Commit().Encode(), reencodeBundle)
}

func FuzzDecodeState(f *testing.F) {
	w, _ := moved(f, 0)
	fuzz(f, w.parties[1].m.Encode(), reencodeState)
}

// FuzzDeliver: no bundle makes a waiting party panic, or sign in the next epoch.
func FuzzDeliver(f *testing.F) {
	w, _ := moved(f, 0)
	f.Add(w.parties[1].m.Commit().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeBundle(b)
		if err != nil {
			return
		}
		m, p := waiting(t)
		m.Deliver(2, x)
		if m.MaySign(2) && x.VerifyCommit(testVerifier()) != nil {
			t.Errorf("in the next epoch of %x without a commit certificate", p.ID())
		}
	})
}

// A party that leaves takes the certificate that all new parties have signed, and
// none before: one who lies about it would keep it from closing.
func TestLeaverTakesTheSignedCertificate(t *testing.T) {
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{4, 5}, NewThreshold: 2}
	m, err := New(3, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, false); err != nil {
		t.Fatal(err)
	}
	both := func(edit func(b *Bundle)) *Bundle {
		b := votes(p, Prepared, 4, 5)
		b.Votes = append(b.Votes, votes(p, Ready, 4, 5).Votes...)
		edit(b)
		return b
	}
	for name, edit := range map[string]func(b *Bundle){
		"a PREPARED is missing": func(b *Bundle) { b.Votes = b.Votes[1:] },
		"a READY is missing":    func(b *Bundle) { b.Votes = b.Votes[:3] },
		"one PREPARED twice":    func(b *Bundle) { b.Votes[1] = b.Votes[0] },
		"a forged PREPARED":     func(b *Bundle) { b.Votes[1].Signature = testSign(Prepared, 4, b.Votes[1].Certificate) },
		"another certificate":   func(b *Bundle) { b.Body = []byte("x") },
	} {
		m.Deliver(4, both(edit))
		if len(m.find(p.ID()).body) > 0 {
			t.Fatalf("%s: took the certificate", name)
		}
	}
	sign(t, m, m.Deliver(4, both(func(*Bundle) {})))
	if !mine(m, p, Closed) || m.MaySign(1) {
		t.Error("did not close the epoch")
	}
}
