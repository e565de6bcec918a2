package pair

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/pprf"
)

// One vault with many peers, and with one peer again: every Δ is another.
func TestPitfall07_OneDeltaPerPeerAndRun(t *testing.T) {
	seen := map[[16]byte]string{}
	runs := map[[32]byte]string{}
	for _, peer := range []mpc.ID{2, 3, 3} {
		a := Config{Self: 1, Peer: peer, SelfNonce: [32]byte{1}, PeerNonce: [32]byte{2}}
		b := Config{Self: peer, Peer: 1, SelfNonce: [32]byte{2}, PeerNonce: [32]byte{1}}
		l := new(link)
		for i, cfg := range []Config{a, b} {
			s, first, err := New(cfg, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			l.s[i] = s
			l.inbox[1-i] = [][]byte{first}
		}
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.setups(t) {
			name := fmt.Sprintf("%d with %d", s.Self, s.Peer)
			if other, ok := seen[s.Alice.Delta]; ok {
				t.Errorf("Δ of %s is that of %s", name, other)
			}
			seen[s.Alice.Delta] = name
			if other, ok := runs[s.Hash]; ok && s.Self == 1 {
				t.Errorf("the hash of %s is that of %s", name, other)
			}
			runs[s.Hash] = name
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d correlations in 3 runs, want 6", len(seen))
	}
}

// With all randomness equal, another context, boot nonce or id gives other seeds
// and another hash.
func TestPitfall09_RunBindsContextAndBoot(t *testing.T) {
	run := func(change func(a, b *Config)) *Setup {
		a, b := both()
		change(&a, &b)
		l := new(link)
		for i, cfg := range []Config{a, b} {
			s, first, err := New(cfg, stream(uint64(40+i)))
			if err != nil {
				t.Fatal(err)
			}
			l.s[i] = s
			l.inbox[1-i] = [][]byte{first}
		}
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		return l.setups(t)[0]
	}
	base := run(func(_, _ *Config) {})
	if again := run(func(_, _ *Config) {}); again.Hash != base.Hash || *again.Bob != *base.Bob {
		t.Fatal("the run is not deterministic: this test shows nothing")
	}
	for name, change := range map[string]func(a, b *Config){
		"context":      func(a, b *Config) { a.Context[31] ^= 1; b.Context = a.Context },
		"boot of low":  func(a, b *Config) { a.SelfNonce[31] ^= 1; b.PeerNonce = a.SelfNonce },
		"boot of high": func(a, b *Config) { b.SelfNonce[31] ^= 1; a.PeerNonce = b.SelfNonce },
		"id":           func(a, b *Config) { b.Self, a.Peer = 4, 4 },
	} {
		other := run(change)
		if other.Hash == base.Hash {
			t.Errorf("another %s: the hash is the same", name)
		}
		for i := range base.Bob.Leaf {
			for x := range base.Bob.Leaf[i] {
				if other.Bob.Leaf[i][x] == base.Bob.Leaf[i][x] || x > 0 && other.Alice.Leaf[i][x] == base.Alice.Leaf[i][x] {
					t.Errorf("another %s: leaf %d of tree %d is the same", name, x, i)
				}
			}
		}
	}
}

// psid takes every part of the run by itself, whatever else binds it later.
func TestPitfall09_PSIDBindsEverything(t *testing.T) {
	base := func() (*Session, *message1) {
		a, _ := both()
		s, _, err := New(a, stream(60))
		if err != nil {
			t.Fatal(err)
		}
		return s, &message1{Nonce: [32]byte{5}, OT: baseot.Message1{Y: [33]byte{6}}}
	}
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*Session, *message1){
		"nothing":    func(*Session, *message1) {},
		"context":    func(s *Session, _ *message1) { s.cfg.Context[0] ^= 1 },
		"self":       func(s *Session, _ *message1) { s.cfg.Self = 2 },
		"peer":       func(s *Session, _ *message1) { s.cfg.Peer = 4 },
		"both ids":   func(s *Session, _ *message1) { s.cfg.Self, s.cfg.Peer = s.cfg.Peer, s.cfg.Self },
		"self boot":  func(s *Session, _ *message1) { s.cfg.SelfNonce[0] ^= 1 },
		"peer boot":  func(s *Session, _ *message1) { s.cfg.PeerNonce[0] ^= 1 },
		"self nonce": func(s *Session, _ *message1) { s.nonce[0] ^= 1 },
		"peer nonce": func(_ *Session, m *message1) { m.Nonce[0] ^= 1 },
		"peer Y":     func(_ *Session, m *message1) { m.OT.Y[0] ^= 1 },
	} {
		s, m := base()
		change(s, m)
		psid := s.newPSID(m)
		if other, ok := seen[psid]; ok {
			t.Errorf("%s and %s have one psid", name, other)
		}
		seen[psid] = name
	}
}

// wantAbort checks class and culprits of an error.
func wantAbort(t *testing.T, name string, err error, class mpc.Class, culprits ...mpc.ID) {
	t.Helper()
	a := mpc.AsAbort(err)
	if a == nil || a.Class != class || !slices.Equal(a.Culprits, culprits) {
		t.Errorf("%s: got %v, want %v of %v", name, err, class, culprits)
	}
}

// A broken self-test is benign, bans nobody and leaves nothing behind.
func TestFailedSelfTestIsBenign(t *testing.T) {
	sizes := messageSizes
	for name, c := range map[string]struct{ step, at int }{
		"T, first element": {2, -1}, // swapped below: two valid points
		"T of the trees":   {3, bodyAt + pprf.MessageSize - 32 - 1},
		"S of the trees":   {3, bodyAt + pprf.MessageSize - 1},
		"U":                {3, bodyAt + pprf.MessageSize + 1},
		"TH":               {3, sizes[2] - 1},
		"Ã":                {4, bodyAt + 1 + 31},
		"μ":                {4, sizes[3] - 4*32 - 1},
		"hash":             {5, sizes[4] - 1},
		"nonce of low":     {1, headerSize},
		"Y of another key": {1, -2},
		"T, all exchanged": {2, -3},
	} {
		l := newLink(t, 5)
		l.alter = func(from, step int, msg []byte) []byte {
			if from != 0 || step != c.step {
				return msg
			}
			switch c.at {
			case -1:
				swapPairs(msg, 0, 1)
			case -2:
				s, m, err := baseot.Start(rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				s.Destroy()
				b, _ := m.MarshalBinary()
				copy(msg[headerSize+32:], b)
			case -3:
				for i := range baseot.N {
					swapInPair(msg, i)
				}
			default:
				msg[c.at] ^= 1
			}
			return msg
		}
		err := l.run()
		if c.step == 1 {
			// Both sides have another psid: each drops the other's messages as of
			// another run, and nothing completes.
			if err == nil {
				t.Errorf("%s: the setup was completed", name)
			}
			continue
		}
		wantAbort(t, name, err, mpc.Benign)
		checkDead(t, name, l, err)
	}
}

// A peer whose shares of the self-test are wrong, and who stands by them, is
// caught by the product itself.
func TestSelfTestChecksTheProduct(t *testing.T) {
	for n := 0; n < 4; n += 3 { // the last of c, the first of a
		l := newLink(t, 17)
		l.alter = func(from, step int, msg []byte) []byte {
			if from == 0 && step == 4 {
				msg[len(msg)-1-32*n] ^= 1
				l.s[0].sent[3] = digestOf(msg)
			}
			return msg
		}
		name := fmt.Sprintf("scalar %d from the end", n)
		wantAbort(t, name, l.run(), mpc.Benign)
		if l.s[1].dead == nil || l.s[1].step != 4 {
			t.Errorf("%s: the receiver went on to step %d", name, l.s[1].step)
		}
	}
}

// checkDead checks that the side that failed has wiped its secrets and repeats
// its error.
func checkDead(t *testing.T, name string, l *link, err error) {
	t.Helper()
	for _, s := range l.s {
		if s.dead == nil {
			continue
		}
		if s.seeds != nil || s.bob != nil || s.alice != nil || s.vole != nil {
			t.Errorf("%s: the dead session holds seeds", name)
		}
		if _, e := s.Setup(); !errors.Is(e, s.dead) {
			t.Errorf("%s: Setup of a dead session: %v", name, e)
		}
		if _, _, e := s.Deliver([]byte{1}); e == nil || !errors.Is(err, e) {
			t.Errorf("%s: Deliver to a dead session: %v, want %v", name, e, err)
		}
	}
}

// element is where T_{i,c} stands in message 2.
func element(i, c int) int { return bodyAt + 1 + (2*i+c)*33 }

func swapPairs(msg []byte, i, k int) {
	a := bytes.Clone(msg[element(i, 0):element(i+1, 0)])
	copy(msg[element(i, 0):], msg[element(k, 0):element(k+1, 0)])
	copy(msg[element(k, 0):], a)
}

func swapInPair(msg []byte, i int) {
	a := bytes.Clone(msg[element(i, 0):element(i, 1)])
	copy(msg[element(i, 0):], msg[element(i, 1):element(i+1, 0)])
	copy(msg[element(i, 1):], a)
}

// Every field that is a point or a scalar refuses what is not one; the peer is
// named.
func TestPitfall12_MalformedFieldsAreAttributed(t *testing.T) {
	for name, c := range map[string]struct {
		step, at int
		value    byte // 32 of it
	}{
		"Y identity":       {1, messageSizes[0] - 33, 0},
		"Y not canonical":  {1, messageSizes[0] - 33, 0xff},
		"T identity":       {2, element(0, 0), 0},
		"T not canonical":  {2, element(127, 1), 0xff},
		"Ã above q":        {4, bodyAt + 1, 0xff},
		"a above q":        {4, messageSizes[3] - 4*32, 0xff},
		"c above q":        {4, messageSizes[3] - 32, 0xff},
		"base OT version":  {1, headerSize + 32, 9},
		"trees' version":   {3, bodyAt, 9},
		"VOLE version 1":   {3, bodyAt + pprf.MessageSize, 9},
		"VOLE version 2":   {4, bodyAt, 9},
		"base OT version2": {2, bodyAt, 9},
	} {
		l := newLink(t, 6)
		l.alter = func(from, step int, msg []byte) []byte {
			if from == 1 && step == c.step {
				n := 32
				if c.value == 9 {
					n = 1
				}
				copy(msg[c.at:], bytes.Repeat([]byte{c.value}, n))
			}
			return msg
		}
		wantAbort(t, name, l.run(), mpc.Attributed, 3)
	}
}

// A message that comes back to its sender, or to another vault, is refused.
func TestPitfall27_ReflectedMessage(t *testing.T) {
	a, b := both()
	s, first, err := New(a, stream(1))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Deliver(first)
	wantAbort(t, "own message", err, mpc.Attributed, 3)

	s, _, err = New(a, stream(1))
	if err != nil {
		t.Fatal(err)
	}
	b.Self = 2
	_, first, err = New(b, stream(2))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Deliver(first)
	wantAbort(t, "message of vault 2", err, mpc.Attributed, 3)

	b.Self, b.Peer = 3, 2
	if s, _, err = New(a, stream(1)); err != nil {
		t.Fatal(err)
	}
	if _, first, err = New(b, stream(2)); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Deliver(first)
	wantAbort(t, "message to vault 2", err, mpc.Attributed, 3)

	a.PeerNonce = a.SelfNonce
	if _, _, err := New(a, stream(1)); err == nil {
		t.Error("both boot nonces may be equal")
	}
}

func TestConfig(t *testing.T) {
	good, _ := both()
	for name, change := range map[string]func(*Config){
		"self 0": func(c *Config) { c.Self = 0 },
		"peer 0": func(c *Config) { c.Peer = 0 },
		"alone":  func(c *Config) { c.Peer = c.Self },
	} {
		c := good
		change(&c)
		if _, _, err := New(c, rand.Reader); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, n := range []int{0, 31, 32, 95} {
		if _, _, err := New(good, bytes.NewReader(make([]byte, n))); err == nil {
			t.Errorf("New with %d bytes of randomness", n)
		}
	}
}

// Repeats, messages that overtake, and several in one delivery change nothing.
func TestRepeatedAndReordered(t *testing.T) {
	var want [2]*Setup
	{
		l := newLink(t, 7)
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		want = l.setups(t)
	}
	check := func(name string, l *link) {
		t.Helper()
		got := l.setups(t)
		for i := range got {
			if got[i].Hash != want[i].Hash || *got[i].Bob != *want[i].Bob || *got[i].Alice != *want[i].Alice {
				t.Errorf("%s: side %d has another result", name, i)
			}
		}
	}
	deliver := func(l *link, to int, msg []byte) []byte {
		t.Helper()
		out, _, err := l.s[to].Deliver(msg)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}

	l := newLink(t, 7)
	l.alter = func(from, step int, msg []byte) []byte {
		return append(bytes.Clone(msg), msg...) // every message twice, in one delivery
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	check("twice", l)

	// Side 1 answers at once; its message 2 overtakes its message 1.
	l = newLink(t, 7)
	m1 := [2][]byte{l.inbox[1][0], l.inbox[0][0]}
	m2 := deliver(l, 1, m1[0])
	if out := deliver(l, 0, m2); len(out) != 0 {
		t.Fatalf("an early message was answered with %d bytes", len(out))
	}
	deliver(l, 0, m2) // again, while held
	l.inbox = [2][][]byte{}
	out := deliver(l, 0, m1[1])
	if want := messageSizes[1] + messageSizes[2]; len(out) != want {
		t.Fatalf("answered with %d bytes, want messages 2 and 3, %d", len(out), want)
	}
	l.inbox[1] = [][]byte{out}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	check("overtaken", l)
}

// Messages of another run are ignored; a peer that begins anew is not blamed.
func TestStaleAndRestarted(t *testing.T) {
	old := newLink(t, 8)
	var stale [][]byte
	old.alter = func(from, step int, msg []byte) []byte {
		if from == 1 && step > 1 {
			stale = append(stale, bytes.Clone(msg))
		}
		return msg
	}
	if err := old.run(); err != nil {
		t.Fatal(err)
	}
	l := newLink(t, 9)
	l.alter = func(from, step int, msg []byte) []byte {
		if from != 1 || step == 1 {
			return msg
		}
		out := bytes.Clone(msg)
		for _, m := range stale {
			out = append(out, m...)
		}
		return out
	}
	if err := l.run(); err != nil {
		t.Errorf("stale messages broke the run: %v", err)
	}

	// A stale early message does not take the place of a true one.
	l = newLink(t, 18)
	send := func(to int, msg []byte) []byte {
		out, _, err := l.s[to].Deliver(msg)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	m2 := send(1, l.inbox[1][0])
	m3 := send(1, send(0, l.inbox[0][0]))
	send(0, stale[1])
	send(0, m3)
	if got, want := len(send(0, m2)), messageSizes[2]+messageSizes[3]; got != want {
		t.Errorf("answered with %d bytes, want messages 3 and 4, %d", got, want)
	}

	// A second, different message 1.
	l = newLink(t, 10)
	if _, _, err := l.s[0].Deliver(l.inbox[0][0]); err != nil {
		t.Fatal(err)
	}
	again := newLink(t, 11)
	_, _, err := l.s[0].Deliver(again.inbox[0][0])
	wantAbort(t, "restarted peer", err, mpc.Benign)

	// Two different messages of one step and run.
	l = newLink(t, 12)
	l.alter = func(from, step int, msg []byte) []byte {
		if from == 1 && step == 3 {
			other := bytes.Clone(msg)
			other[len(other)-1] ^= 1
			return append(msg, other...)
		}
		return msg
	}
	wantAbort(t, "two messages 3", l.run(), mpc.Attributed, 3)

	// Two steps ahead within the run.
	l = newLink(t, 13)
	l.alter = func(from, step int, msg []byte) []byte {
		if from == 1 && step == 2 {
			msg = slices.Concat(l.s[1].header(4).Fixed(l.s[1].psid[:]).Bytes(), make([]byte, messageSizes[3]-bodyAt))
		}
		return msg
	}
	wantAbort(t, "message 4 for 2", l.run(), mpc.Attributed, 3)
}

// A dsid serves once; a destroyed setup serves nothing.
func TestClaim(t *testing.T) {
	l := newLink(t, 14)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	s := l.setups(t)[0]
	if err := s.Claim([32]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Claim([32]byte{2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Claim([32]byte{1}); !errors.Is(err, ErrServed) {
		t.Errorf("second use: got %v, want ErrServed", err)
	}
	bob, alice := s.Bob, s.Alice
	s.Destroy()
	if *bob != (pprf.Full{}) || *alice != (pprf.Punctured{}) {
		t.Error("Destroy left seeds behind")
	}
	if s.Claim([32]byte{3}) == nil {
		t.Error("a destroyed setup serves")
	}
	s.Destroy()
}

func TestUnprintable(t *testing.T) {
	l := newLink(t, 15)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	s := l.setups(t)[0]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{s, *s, []*Setup{s}, map[int]Setup{1: *s}, l.s[0], *l.s[0]} {
			if text := fmt.Sprintf(verb, v); len(text) > 80 || !bytes.Contains([]byte(text), []byte("(1 with 3)")) {
				t.Errorf("%s of %T is %q", verb, v, text)
			}
		}
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("a setup was encoded as JSON")
	}
}

// Any bytes: no panic, and an error is an Abort that bans nobody.
func FuzzDecodeDeliver(f *testing.F) {
	l := newLink(f, 16)
	l.alter = func(_, _ int, msg []byte) []byte {
		if len(msg) < 10000 {
			f.Add(msg)
		}
		return msg
	}
	if err := l.run(); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	a, _ := both()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := New(a, stream(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Deliver(b); err != nil {
			if a := mpc.AsAbort(err); a == nil || a.Class == mpc.Quarantine {
				t.Fatalf("got %v, want a benign or attributed abort", err)
			}
		}
	})
}

// The self-test's message is canonical: what decodes, encodes to itself.
func FuzzDecodeMessage4(f *testing.F) {
	f.Add(append([]byte{1}, make([]byte, messageSizes[3]-bodyAt-1)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message4
		if m.UnmarshalBinary(b) == nil && !bytes.Equal(m.encode(), b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}
