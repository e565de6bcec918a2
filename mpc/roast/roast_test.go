package roast_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/roast"
)

var suites = []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR}

func terms(suite mpc.Suite) roast.Terms {
	t := roast.Terms{AttemptID: [16]byte{7}, RequestHash: [32]byte{8}, Job: frost.Job{Message: []byte("message")}}
	if suite == mpc.FROSTSecp256k1TR {
		t.Job.Taproot = frost.KeyPath()
	}
	return t
}

var made sync.Map // name → keys

// keys are made once; tests must not destroy them.
func keys(t testing.TB, suite mpc.Suite, n, threshold int) map[mpc.ID]*dkg.KeyShare {
	t.Helper()
	name := fmt.Sprint(suite, n, threshold)
	if k, ok := made.Load(name); ok {
		return k.(map[mpc.ID]*dkg.KeyShare)
	}
	k, _, err := mpctest.KeysOf(suite, "roast", mpctest.IDs(n), threshold)
	if err != nil {
		t.Fatal(err)
	}
	made.Store(name, k)
	return k
}

// world is a coordinator, its signers, and the messages on their way.
type world struct {
	t       testing.TB
	c       *roast.Coordinator
	signers map[mpc.ID]*roast.Signer
	bad     map[mpc.ID]string // how a signer misbehaves
	mail    []letter
	rng     *rand.Rand
	answers map[mpc.ID]int
}

type letter struct {
	from mpc.ID // 0: a request
	to   mpc.ID
	b    []byte
}

// The ways in which a signer fails. "late" answers two sessions well and then
// falls silent.
var faults = []string{"silent", "offers and is silent", "late", "wrong share", "wrong package", "wrong number", "no point", "torsion", "garbage", "garbage when ready", "author", "terms", "unasked", "no commitment"}

func newWorld(t testing.TB, suite mpc.Suite, k map[mpc.ID]*dkg.KeyShare, bad map[mpc.ID]string, seed uint64) *world {
	t.Helper()
	w := &world{t: t, signers: make(map[mpc.ID]*roast.Signer), bad: bad, rng: rand.New(rand.NewPCG(seed, 2)), answers: make(map[mpc.ID]int)}
	var err error
	if w.c, err = roast.NewCoordinator(frost.PublicOf(k[1]), terms(suite)); err != nil {
		t.Fatal(err)
	}
	for id, key := range k {
		x := terms(suite)
		if bad[id] == "terms" {
			x.Job.Message = []byte("else")
		}
		s, err := roast.NewSigner(key, key.Purpose, x, mpctest.Reader("roast/%d/%d", seed, id))
		if err != nil {
			t.Fatal(err)
		}
		w.signers[id] = s
	}
	for _, id := range mpctest.IDs(len(k)) {
		b, err := w.signers[id].Offer()
		if err != nil {
			t.Fatal(err)
		}
		w.send(id, b)
	}
	return w
}

// send puts a signer's message on its way, as the signer would have it.
func (w *world) send(id mpc.ID, b []byte) {
	answer := b[mpctest.OffRound] == 2
	z, next := mpctest.OffBody+4, mpctest.OffBody+4+32+4
	if answer {
		w.answers[id]++
	}
	switch fault := w.bad[id]; {
	case fault == "silent", fault == "offers and is silent" && answer, fault == "late" && w.answers[id] > 2:
		return
	case fault == "garbage":
		b = []byte{1, 2, 3}
	case fault == "author":
		b = mpctest.From(b, id%2+1, 0)
		if id == id%2+1 {
			b = mpctest.From(b, 3, 0)
		}
	case fault == "wrong share" && answer:
		b = mpctest.Flip(b, z+15)
	case fault == "wrong package" && answer:
		b = mpctest.Flip(b, mpctest.OffSession)
	case fault == "wrong number" && answer:
		b = mpctest.Flip(b, mpctest.OffBody+3)
	case fault == "no point" && answer && len(b) > next:
		b = mpctest.Put(b, next, bytes.Repeat([]byte{0xff}, 32))
	case fault == "torsion":
		if !answer {
			next = mpctest.OffBody + 32 + 4
		}
		if len(b) > next {
			b = mpctest.Put(b, next, make([]byte, 32))
		}
	case fault == "no commitment" && !answer:
		b = append(b[:mpctest.OffBody+32:mpctest.OffBody+32], 0, 0, 0, 0)
	case fault == "unasked" && !answer:
		w.mail = append(w.mail, letter{from: id, b: b})
		b = mpctest.Put(b, mpctest.OffRound, []byte{2})
	case fault == "garbage when ready":
		w.mail = append(w.mail, letter{from: id, b: b})
		b = []byte("garbage")
	}
	w.mail = append(w.mail, letter{from: id, b: b})
}

// run delivers everything, in an order of its own, twice at times, until nothing
// is under way. Letters of one author keep their order.
func (w *world) run() {
	w.t.Helper()
	for len(w.mail) > 0 {
		i := w.rng.IntN(len(w.mail))
		m := w.mail[i]
		for j := range i {
			if w.mail[j].from == m.from && w.mail[j].to == m.to {
				i, m = j, w.mail[j]
				break
			}
		}
		w.mail = slices.Delete(w.mail, i, i+1)
		for range 1 + w.rng.IntN(2) {
			w.deliver(m)
		}
	}
}

func (w *world) deliver(m letter) {
	if m.to != 0 {
		b, err := w.signers[m.to].Answer(m.b)
		if err == nil {
			w.send(m.to, b)
		} else if w.bad[m.to] == "" {
			w.t.Errorf("honest signer %d refuses: %v", m.to, err)
		}
		return
	}
	r, err := w.c.Deliver(m.from, m.b)
	if err != nil {
		w.t.Fatal(err)
	}
	if r != nil {
		for _, id := range r.To {
			w.mail = append(w.mail, letter{to: id, b: r.Message})
		}
	}
}

// With any n − t signers failing in any way, the others sign, within n−t+1
// sessions, and no honest signer is called faulty.
func TestSignsWhileTHonestSignersAnswer(t *testing.T) {
	for _, suite := range suites {
		for _, c := range []struct{ n, t int }{{2, 2}, {3, 2}, {5, 3}, {7, 3}} {
			k := keys(t, suite, c.n, c.t)
			pub := frost.PublicOf(k[1])
			most := 0
			seeds := uint64(5)
			if suite == mpc.FROSTEd25519 {
				seeds = 30
			}
			for seed := range seeds {
				rng := rand.New(rand.NewPCG(seed, 1))
				bad := make(map[mpc.ID]string)
				for _, i := range rng.Perm(c.n)[:rng.IntN(c.n-c.t+1)] {
					bad[mpc.ID(i+1)] = faults[rng.IntN(len(faults))]
				}
				w := newWorld(t, suite, k, bad, seed)
				w.run()
				sig := w.c.Signature()
				if sig == nil {
					t.Fatalf("%s %d of %d, seed %d, %v: no signature; waiting for %v, faulty %v", suite, c.t, c.n, seed, bad, w.c.Waiting(), w.c.Faulty())
				}
				if err := pub.Verify(terms(suite).Job, sig); err != nil {
					t.Error(err)
				}
				most = max(most, w.c.Sessions())
				if w.c.Sessions() > roast.MaxSessions(c.n, c.t) {
					t.Errorf("seed %d: %d sessions, want at most %d", seed, w.c.Sessions(), roast.MaxSessions(c.n, c.t))
				}
				for id, err := range w.c.Faulty() {
					if bad[id] == "" {
						t.Errorf("seed %d: honest signer %d is called faulty: %v", seed, id, err)
					}
				}
			}
			if c.n-c.t > 1 && most < 2 && seeds > 5 {
				t.Errorf("%s %d of %d: never more than %d session", suite, c.t, c.n, most)
			}
		}
	}
}

// Each way of failing is told apart from honesty.
func TestFaultyAreNamed(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	for _, fault := range faults {
		found := false
		for seed := range uint64(8) {
			w := newWorld(t, mpc.FROSTEd25519, k, map[mpc.ID]string{2: fault}, seed)
			w.run()
			if w.c.Signature() == nil {
				t.Errorf("%s: no signature", fault)
			}
			found = found || w.c.Faulty()[2] != nil
		}
		silent := strings.Contains(fault, "silent") || fault == "late"
		if found == silent {
			t.Errorf("%s: found faulty is %v", fault, found)
		}
	}
	// One honest signer too few: no signature, and the silent are waited for.
	w := newWorld(t, mpc.FROSTEd25519, k, map[mpc.ID]string{2: "offers and is silent", 3: "wrong share"}, 1)
	w.run()
	if w.c.Signature() != nil || len(w.c.Faulty())+len(w.c.Waiting()) == 0 {
		t.Errorf("signature %x, faulty %v, waiting %v", w.c.Signature(), w.c.Faulty(), w.c.Waiting())
	}
}

// A coordinator that lies gets no share out of a signer but for its job, its
// newest commitment and t signers, and at most n−t+1 of them.
func TestSignerAgainstCoordinator(t *testing.T) {
	k := keys(t, mpc.FROSTSecp256k1TR, 3, 2)
	two := func() (a, b *roast.Signer, req []byte) {
		c, err := roast.NewCoordinator(frost.PublicOf(k[1]), terms(mpc.FROSTSecp256k1TR))
		if err != nil {
			t.Fatal(err)
		}
		var out [2]*roast.Signer
		for i := range out {
			id := mpc.ID(i + 1)
			if out[i], err = roast.NewSigner(k[id], k[id].Purpose, terms(mpc.FROSTSecp256k1TR), mpctest.Reader("lie/%d", id)); err != nil {
				t.Fatal(err)
			}
			offer, err := out[i].Offer()
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Deliver(id, offer)
			if err != nil {
				t.Fatal(err)
			}
			if r != nil {
				req = r.Message
			}
		}
		return out[0], out[1], req
	}
	_, _, req := two()
	for at := 0; at < len(req); at += 1 + at/60 {
		if at >= mpctest.OffBody && at < mpctest.OffBody+4 {
			continue // the number is the coordinator's own
		}
		s, _, _ := two()
		b, err := s.Answer(mpctest.Flip(req, at))
		if err == nil && at < len(req)-72 { // the other signer is the coordinator's choice
			t.Errorf("byte %d changed: answered %x", at, b)
		}
		if err != nil {
			if _, err := s.Answer(req); err != nil {
				t.Errorf("byte %d: a bad request takes the nonce: %v", at, err)
			}
		}
	}
	for cut := 0; cut < len(req); cut += 13 {
		s, _, _ := two()
		if _, err := s.Answer(req[:cut]); err == nil {
			t.Errorf("%d bytes: answered", cut)
		}
	}
	s, _, _ := two()
	first, err := s.Answer(req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Answer(req)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same request: %x, %v, want the same bytes", again, err)
	}
	other := mpctest.Flip(req, mpctest.OffBody+3)
	if _, err := s.Answer(other); err == nil {
		t.Error("an old commitment: answered")
	}
	// A coordinator that asks and asks.
	next := first
	for i := 2; i < 9; i++ {
		size := 33 * 2
		if len(next) < mpctest.OffBody+4+32+4+size {
			if i != roast.MaxSessions(3, 2)+1 {
				t.Errorf("%d sessions were answered, want %d", i-1, roast.MaxSessions(3, 2))
			}
			break
		}
		if i == 8 {
			t.Fatal("the signer answers without end")
		}
		r := mpctest.Put(req, mpctest.OffBody+8+2+4, next[len(next)-size:])
		if next, err = s.Answer(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Answer(other); !errors.Is(err, roast.ErrEnough) {
		t.Errorf("one session more: %v, want ErrEnough", err)
	}
	s.Destroy()
	if _, err := s.Answer(req); err == nil {
		t.Error("a destroyed signer answers")
	}
	if _, err := s.Offer(); err == nil {
		t.Error("a destroyed signer offers")
	}
}

func TestConfig(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	r := mpctest.Reader("config")
	ecdsa, _, err := mpctest.KeysOf(mpc.DKLS23Secp256k1, "roast", mpctest.IDs(2), 2)
	if err != nil {
		t.Fatal(err)
	}
	bad := terms(mpc.FROSTEd25519)
	bad.Job.Taproot = frost.KeyPath()
	errs := make(map[string]error)
	_, errs["no key"] = roast.NewSigner(nil, "x", terms(""), r)
	_, errs["purpose"] = roast.NewSigner(k[1], "x", terms(""), r)
	_, errs["no rand"] = roast.NewSigner(k[1], k[1].Purpose, terms(""), nil)
	_, errs["job"] = roast.NewSigner(k[1], k[1].Purpose, bad, r)
	_, errs["ecdsa"] = roast.NewSigner(ecdsa[1], ecdsa[1].Purpose, terms(""), r)
	_, errs["coordinator of ecdsa"] = roast.NewCoordinator(frost.PublicOf(ecdsa[1]), terms(""))
	_, errs["coordinator's job"] = roast.NewCoordinator(frost.PublicOf(k[1]), bad)
	c, err := roast.NewCoordinator(frost.PublicOf(k[1]), terms(""))
	if err != nil {
		t.Fatal(err)
	}
	_, errs["stranger"] = c.Deliver(9, nil)
	s, err := roast.NewSigner(k[1], k[1].Purpose, terms(""), r)
	if err != nil {
		t.Fatal(err)
	}
	_, errs["a request before the offer"] = s.Answer(nil)
	if _, err := s.Offer(); err != nil {
		t.Fatal(err)
	}
	_, errs["a second offer"] = s.Offer()
	for name, err := range errs {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.ID() != 1 || fmt.Sprintf("%+v", s) != "roast.Signer(1)" {
		t.Errorf("signer prints as %+v", s)
	}
}

// FuzzDeliver gives the coordinator a message of a signer, and a signer a
// request.
func FuzzDeliver(f *testing.F) {
	k := keys(f, mpc.FROSTEd25519, 3, 2)
	w := newWorld(f, mpc.FROSTEd25519, k, nil, 0)
	for _, m := range w.mail {
		f.Add(m.b)
	}
	r := w.mail
	w.deliver(r[0])
	w.deliver(r[1])
	for _, m := range w.mail[len(r):] {
		f.Add(m.b)
		b, err := w.signers[m.to].Answer(m.b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld(t, mpc.FROSTEd25519, k, nil, 0)
		genuine := slices.ContainsFunc(w.mail, func(m letter) bool { return m.from == 3 && bytes.Equal(m.b, b) })
		if _, err := w.c.Deliver(3, b); err != nil {
			t.Error(err)
		}
		if genuine != (w.c.Faulty()[3] == nil) {
			t.Errorf("genuine %v, fault %v: %x", genuine, w.c.Faulty()[3], b)
		}
		_, _ = w.signers[2].Answer(b)
		w.mail = w.mail[:2] // 1 and 2 sign without 3
		w.run()
		_ = w.c.Signature()
	})
}

// A request to more signers than t is refused: a session's size is part of the
// argument why it ends.
func TestRequestToMoreThanThreshold(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	w := newWorld(t, mpc.FROSTEd25519, k, nil, 0)
	req := []byte{1, 33, 1}
	req = append(req, w.mail[0].b[mpctest.OffSession:mpctest.OffFrom]...)
	req = append(req, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3)
	for i, m := range w.mail {
		req = append(req, 0, byte(i+1))
		req = append(req, m.b[mpctest.OffBody+32:]...)
	}
	if _, err := w.signers[1].Answer(req); err == nil || !strings.Contains(err.Error(), "request to 3 signers, want 2") {
		t.Errorf("%v", err)
	}
}

// What is wrong with a message is known when it comes, and not from what comes of
// it later.
func TestMessagesAreJudged(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	for want, c := range map[string]struct {
		fault  string
		change func(w *world) []byte // signer 2's message, in place of its offer
	}{
		"for something else":             {"terms", func(w *world) []byte { return w.mail[1].b }},
		"from participant 3":             {"", func(w *world) []byte { return mpctest.From(w.mail[1].b, 3, 0) }},
		"without a commitment":           {"no commitment", func(w *world) []byte { return w.mail[1].b }},
		"was not asked for":              {"", func(w *world) []byte { return answerOf(t, w) }},
		"commitment: message ends early": {"", func(w *world) []byte { return w.mail[1].b[:90] }},
		"binding nonce commitm":          {"", func(w *world) []byte { return mpctest.Put(w.mail[1].b, mpctest.OffBody+32+4+32, make([]byte, 32)) }},
	} {
		w := newWorld(t, mpc.FROSTEd25519, k, map[mpc.ID]string{2: c.fault}, 0)
		if r, err := w.c.Deliver(2, c.change(w)); r != nil || err != nil {
			t.Fatal(err)
		}
		if err := w.c.Faulty()[2]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a word that it is %q", err, want)
		}
	}
	w := newWorld(t, mpc.FROSTEd25519, k, nil, 0)
	w.deliver(w.mail[0])
	again := mpctest.Put(w.mail[0].b, mpctest.OffBody+32+4, w.mail[1].b[mpctest.OffBody+32+4:])
	w.deliver(letter{from: 1, b: again})
	if err := w.c.Faulty()[1]; err == nil || !strings.Contains(err.Error(), "a second offer") {
		t.Errorf("%v, want a word about a second offer", err)
	}
}

// answerOf is signer 2's answer in another run with the same terms.
func answerOf(t *testing.T, w *world) []byte {
	t.Helper()
	other := newWorld(t, mpc.FROSTEd25519, keys(t, mpc.FROSTEd25519, 3, 2), nil, 5)
	offers := other.mail[:2]
	for _, m := range offers {
		other.deliver(m)
	}
	b, err := other.signers[2].Answer(other.mail[len(other.mail)-1].b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A session under way: an answer with another author in it, who is waited for,
// and what a signer that is destroyed still says.
func TestSessionUnderWay(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	w := newWorld(t, mpc.FROSTEd25519, k, nil, 0)
	offers := w.mail
	w.mail = nil
	w.deliver(offers[0])
	w.deliver(offers[1])
	if got := w.c.Waiting(); !slices.Equal(got, []mpc.ID{1, 2}) {
		t.Errorf("waiting for %v, want 1 and 2", got)
	}
	req := w.mail[0].b
	one, err := w.signers[1].Answer(req)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.signers[2].Answer(req)
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(letter{from: 1, b: one})
	if got := w.c.Waiting(); !slices.Equal(got, []mpc.ID{2}) {
		t.Errorf("waiting for %v, want 2", got)
	}
	w.deliver(letter{from: 2, b: mpctest.From(two, 3, 0)})
	if err := w.c.Faulty()[2]; err == nil || !strings.Contains(err.Error(), "answer says that it is from participant 3") {
		t.Errorf("%v, want a word about the author", err)
	}
	if got := w.c.Waiting(); len(got) != 0 {
		t.Errorf("waiting for %v, want nobody", got)
	}
	w.signers[1].Destroy()
	if b, err := w.signers[1].Answer(req); err == nil {
		t.Errorf("a destroyed signer answers %x", b)
	}
	if w.signers[1].Next() != nil {
		t.Error("a destroyed signer keeps its nonce")
	}
}
