package pair

import (
	"fmt"
	"io"
	mrand "math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/vole"
)

func stream(seed uint64) io.Reader {
	var b [32]byte
	b[0], b[1] = byte(seed), byte(seed>>8)
	return mrand.NewChaCha8(b)
}

// both returns the two sides' configurations.
func both() (Config, Config) {
	a := Config{Self: 1, Peer: 3, Context: [32]byte{7}, SelfNonce: [32]byte{1}, PeerNonce: [32]byte{2}}
	b := Config{Self: 3, Peer: 1, Context: [32]byte{7}, SelfNonce: [32]byte{2}, PeerNonce: [32]byte{1}}
	return a, b
}

// link runs two sessions. alter, if not nil, changes what side from sends at a
// step.
type link struct {
	s     [2]*Session
	inbox [2][][]byte
	alter func(from, step int, msg []byte) []byte
}

func newLink(t testing.TB, seed uint64) *link {
	t.Helper()
	a, b := both()
	l := new(link)
	for i, cfg := range []Config{a, b} {
		s, first, err := New(cfg, stream(seed*2+uint64(i)))
		if err != nil {
			t.Fatal(err)
		}
		l.s[i] = s
		l.inbox[1-i] = append(l.inbox[1-i], first)
	}
	return l
}

// run delivers until both are done or one fails; the error carries who failed.
func (l *link) run() error {
	done := [2]bool{}
	for len(l.inbox[0])+len(l.inbox[1]) > 0 {
		for i := range l.s {
			if len(l.inbox[i]) == 0 {
				continue
			}
			msg := l.inbox[i][0]
			l.inbox[i] = l.inbox[i][1:]
			if l.alter != nil {
				msg = l.alter(1-i, int(msg[1]), append([]byte(nil), msg...))
			}
			out, ok, err := l.s[i].Deliver(msg)
			if err != nil {
				return fmt.Errorf("side %d: %w", i, err)
			}
			done[i] = ok
			for len(out) > 0 {
				var m []byte
				if m, out, err = cut(out); err != nil {
					return err
				}
				l.inbox[1-i] = append(l.inbox[1-i], m)
			}
		}
	}
	if done != [2]bool{true, true} {
		return fmt.Errorf("not complete: %v", done)
	}
	return nil
}

func (l *link) setups(t testing.TB) [2]*Setup {
	t.Helper()
	var out [2]*Setup
	for i, s := range l.s {
		var err error
		if out[i], err = s.Setup(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Setup(); err == nil {
			t.Fatal("the result was given twice")
		}
	}
	return out
}

// The result carries VOLEs in both directions, and the hashes are equal.
func TestSetup(t *testing.T) {
	l := newLink(t, 1)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	s := l.setups(t)
	if s[0].Hash != s[1].Hash {
		t.Fatal("the hashes differ")
	}
	for bob := range 2 {
		rand := stream(50)
		r, m1, err := vole.Receive(rand, s[bob].Bob, [32]byte{9}, 1)
		if err != nil {
			t.Fatal(err)
		}
		a := [2]*secp256k1.Scalar{secp256k1.NewScalar().SetUint64(5), secp256k1.NewScalar().SetUint64(6)}
		c, m2, err := vole.Send(rand, s[1-bob].Alice, [32]byte{9}, m1, [][2]*secp256k1.Scalar{a})
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.Finish(m2)
		if err != nil {
			t.Fatal(err)
		}
		for w := range a {
			sum := secp256k1.NewScalar().Add(&c[0][w], &d[0][w])
			if sum.Equal(secp256k1.NewScalar().Mul(a[w], r.Chi(0))) != 1 {
				t.Fatalf("c_%d + d_%d is not a_%d·χ", w, w, w)
			}
		}
	}
}

func BenchmarkPairSetup(b *testing.B) {
	b.ReportAllocs()
	seed := uint64(0)
	for b.Loop() {
		seed++
		if err := newLink(b, seed).run(); err != nil {
			b.Fatal(err)
		}
	}
}
