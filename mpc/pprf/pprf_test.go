package pprf

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/transcript"
)

var testInstance = baseot.Instance{PSID: [32]byte{1, 2, 3}, Sender: 2, Receiver: 300}

func stream(seed uint64) io.Reader {
	var b [32]byte
	b[0], b[1] = byte(seed), byte(seed>>8)
	return mrand.NewChaCha8(b)
}

// dealt returns base OTs as a trusted dealer would make them.
func dealt(rand io.Reader) (*baseot.SenderOutput, *baseot.ReceiverOutput) {
	s, r := new(baseot.SenderOutput), new(baseot.ReceiverOutput)
	read := func(b []byte) {
		if _, err := io.ReadFull(rand, b); err != nil {
			panic(err)
		}
	}
	read(r.Delta[:])
	for i := range s.K0 {
		read(s.K0[i][:])
		read(s.K1[i][:])
		r.K[i] = s.K0[i]
		if r.Delta[i/8]>>(i%8)&1 == 1 {
			r.K[i] = s.K1[i]
		}
	}
	return s, r
}

// block is Δ_i.
func block(delta *[16]byte, i int) int { return int(delta[i/2]>>(4*(i%2))) & 15 }

// agree fails unless Alice has every leaf but the one at Δ_i, which is zero.
func agree(t *testing.T, bob *Full, alice *Punctured) {
	t.Helper()
	for i := range Trees {
		for z := range Leaves {
			want := bob.Leaf[i][z^block(&alice.Delta, i)]
			if z == 0 {
				want = seed{}
			}
			if alice.Leaf[i][z] != want {
				t.Fatalf("tree %d, leaf %d: got %x, want %x", i, z, alice.Leaf[i][z], want)
			}
		}
	}
}

// Alice has all leaves but one, over the wire, whatever Δ is.
func TestPuncture(t *testing.T) {
	for n := range uint64(10) {
		s, r := dealt(stream(n))
		if n < 2 { // Δ of zeroes, of ones
			for i := range s.K0 {
				r.K[i] = [][16]byte{s.K0[i], s.K1[i]}[n]
			}
			for i := range r.Delta {
				r.Delta[i] = -byte(n)
			}
		}
		bob, m := Expand(testInstance, s)
		b, _ := m.MarshalBinary()
		if len(b) != MessageSize {
			t.Fatalf("message of %d bytes, want %d", len(b), MessageSize)
		}
		in := new(Message)
		if err := in.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		alice, err := Puncture(testInstance, r, in)
		if err != nil {
			t.Fatal(err)
		}
		if alice.Delta != r.Delta {
			t.Fatal("another Δ")
		}
		agree(t, bob, alice)
		seen := map[seed]bool{}
		for i := range bob.Leaf {
			for x := range bob.Leaf[i] {
				seen[bob.Leaf[i][x]] = true
			}
		}
		if len(seen) != Trees*Leaves {
			t.Fatalf("%d different leaves, want %d", len(seen), Trees*Leaves)
		}
	}
}

// The trees are those of docs/spec/ot-extension.md, computed here from its text.
func TestTreesOfTheSpecification(t *testing.T) {
	s, _ := dealt(stream(20))
	bob, m := Expand(testInstance, s)
	inst := [][]byte{testInstance.PSID[:], {0, 2}, {1, 44}}
	key := transcript.Sum(transcript.TagGGM, inst...)
	node := func(i, use, index int, n []byte) []byte {
		h := sha256.Sum256(append(append(key[:len(key):len(key)], byte(i), byte(use), byte(index)), n...))
		return h[:]
	}
	var checks []byte
	for i := range Trees {
		level := [][]byte{s.K1[4*i+3][:], s.K0[4*i+3][:]}
		for d := 2; d <= 4; d++ {
			var next [][]byte
			sum := [2][16]byte{s.K1[4*i+4-d], s.K0[4*i+4-d]}
			for p, n := range level {
				h := node(i, d, p, n)
				next = append(next, h[:16], h[16:])
				subtle.XORBytes(sum[0][:], sum[0][:], h[:16])
				subtle.XORBytes(sum[1][:], sum[1][:], h[16:])
			}
			if m.C[i][d-2] != sum {
				t.Fatalf("tree %d, level %d: C is not as specified", i, d)
			}
			level = next
		}
		var sum [32]byte
		for x, n := range level {
			if !bytes.Equal(bob.Leaf[i][x][:], node(i, 5, x, n)[:16]) {
				t.Fatalf("tree %d, leaf %d is not as specified", i, x)
			}
			v := node(i, 6, x, n)
			subtle.XORBytes(sum[:], sum[:], v)
			checks = append(checks, v...)
		}
		if m.T[i] != sum {
			t.Fatalf("tree %d: T is not as specified", i)
		}
	}
	h := sha256.Sum256(checks)
	if m.S != transcript.Sum(transcript.TagGGMCheck, append(inst, h[:])...) {
		t.Error("S is not as specified")
	}
}

// Every byte of T and S is checked; a byte of C is checked where Alice uses it,
// and changes nothing where she does not. So a wrong C tests one bit of Δ.
func TestPitfall14_AllOfTheTreeCheck(t *testing.T) {
	s, r := dealt(stream(30))
	bob, m := Expand(testInstance, s)
	for i := range Trees {
		for k := range m.T[i] {
			x := *m
			x.T[i][k] ^= 1 << (k % 8)
			if _, err := Puncture(testInstance, r, &x); !errors.Is(err, ErrCheck) {
				t.Errorf("T of tree %d, byte %d: got %v, want ErrCheck", i, k, err)
			}
		}
		for d := range Depth - 1 {
			for b := range 2 {
				x := *m
				x.C[i][d][b][(i+d)%seedSize] ^= 0x40
				alice, err := Puncture(testInstance, r, &x)
				used := b != block(&r.Delta, i)>>(Depth-2-d)&1
				if used != errors.Is(err, ErrCheck) {
					t.Errorf("C of tree %d, level %d, side %d, used %v: got %v", i, d+2, b, used, err)
				}
				if !used {
					agree(t, bob, alice)
				}
			}
		}
	}
	for k := range m.S {
		x := *m
		x.S[k] ^= 1 << (k % 8)
		if _, err := Puncture(testInstance, r, &x); !errors.Is(err, ErrCheck) {
			t.Errorf("byte %d of S: got %v, want ErrCheck", k, err)
		}
	}
}

// A failed check gives no leaves.
func TestFailureGivesNothing(t *testing.T) {
	s, r := dealt(stream(35))
	_, m := Expand(testInstance, s)
	m.S[0] ^= 1
	if out, err := Puncture(testInstance, r, m); out != nil || !errors.Is(err, ErrCheck) {
		t.Errorf("got leaves, and %v", err)
	}
}

// guess is a Bob who bets that Δ_i is g: he sends a T that gives Alice a wrong
// check value, and hashes the S that she will find if he is right.
func guess(s *baseot.SenderOutput, m *Message, i, g int) *Message {
	x := *m
	x.T[i][0] ^= 1
	h := newHasher(testInstance)
	var checks []byte
	for tree := range Trees {
		var unused Message
		level := grow(h, tree, s, &unused)
		for leaf := range level {
			v := h.node(tree, forCheck, leaf, &level[leaf])
			if tree == i && leaf == g {
				v[0] ^= 1
			}
			checks = append(checks, v[:]...)
		}
	}
	x.S = h.sum(checks)
	return &x
}

// A Bob who guesses one block of Δ passes exactly if he is right, once in sixteen
// times; that is all that a wrong message tells him.
func TestPitfall14_TreeGuessRate(t *testing.T) {
	rand := stream(31)
	const runs = 320
	passed := 0
	for n := range runs {
		s, r := dealt(rand)
		_, m := Expand(testInstance, s)
		i, g := n%Trees, n/Trees%Leaves
		_, err := Puncture(testInstance, r, guess(s, m, i, g))
		if right := block(&r.Delta, i) == g; right != (err == nil) {
			t.Fatalf("run %d: guess right is %v, Puncture gave %v", n, right, err)
		}
		if err == nil {
			passed++
		}
	}
	if passed < 4 || passed > 45 {
		t.Errorf("%d of %d passed, want about %d", passed, runs, runs/Leaves)
	}
}

// Another setup, pair or direction has other trees, and its message does not fit.
func TestPitfall09_TreesBindInstance(t *testing.T) {
	s, r := dealt(stream(32))
	bob, m := Expand(testInstance, s)
	for name, change := range map[string]func(*baseot.Instance){
		"session":   func(i *baseot.Instance) { i.PSID[31] ^= 1 },
		"sender":    func(i *baseot.Instance) { i.Sender = 7 },
		"receiver":  func(i *baseot.Instance) { i.Receiver = 7 },
		"direction": func(i *baseot.Instance) { i.Sender, i.Receiver = i.Receiver, i.Sender },
	} {
		inst := testInstance
		change(&inst)
		if other, _ := Expand(inst, s); other.Leaf[0][0] == bob.Leaf[0][0] {
			t.Errorf("another %s: a leaf is the same", name)
		}
		if _, err := Puncture(inst, r, m); !errors.Is(err, ErrCheck) {
			t.Errorf("another %s: got %v, want ErrCheck", name, err)
		}
		// S by itself, whatever the trees bind.
		a, b := newHasher(testInstance), newHasher(inst)
		if a.sum(nil) == b.sum(nil) {
			t.Errorf("another %s: S is the same", name)
		}
	}
}

// A node's hash takes tree, use and index, and what is hashed.
func TestPitfall08_NodeBindsItsPlace(t *testing.T) {
	h := newHasher(testInstance)
	seen := map[[32]byte]string{}
	for tree := range 3 {
		for use := range 3 {
			for index := range 3 {
				for n := range byte(2) {
					v, name := h.node(tree, use, index, &seed{15: n}), fmt.Sprint(tree, use, index, n)
					if other, ok := seen[v]; ok {
						t.Errorf("node %s is node %s", name, other)
					}
					seen[v] = name
				}
			}
		}
	}
}

// Alice does as much for every Δ.
func TestPitfall10_EqualWorkPerDelta(t *testing.T) {
	s, r := dealt(stream(33))
	_, m := Expand(testInstance, s)
	var allocs [2]float64
	for k := range allocs {
		x := *r
		for i := range s.K0 {
			x.K[i] = [][16]byte{s.K0[i], s.K1[i]}[k]
		}
		for i := range x.Delta {
			x.Delta[i] = -byte(k)
		}
		allocs[k] = 1e9 // the least of several: the runtime adds a few of its own
		for range 5 {
			allocs[k] = min(allocs[k], testing.AllocsPerRun(1, func() {
				if _, err := Puncture(testInstance, &x, m); err != nil {
					t.Fatal(err)
				}
			}))
		}
	}
	if allocs[0] != allocs[1] {
		t.Errorf("allocations differ by Δ: %v", allocs)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	b, _ := new(Message).MarshalBinary()
	f.Add(b)
	f.Add(b[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

func TestStrictSizes(t *testing.T) {
	good, _ := new(Message).MarshalBinary()
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:len(good)-1], "long": append(bytes.Clone(good), 0), "version": append([]byte{2}, good[1:]...),
	} {
		if new(Message).UnmarshalBinary(b) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// Outputs show themselves to no verb and no encoder, and are wiped.
func TestUnprintableAndWiped(t *testing.T) {
	s, r := dealt(stream(34))
	bob, m := Expand(testInstance, s)
	alice, err := Puncture(testInstance, r, m)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{fmt.Sprint(bob.Leaf[0][1][:4]), fmt.Sprintf("%x", bob.Leaf[0][1][:4]), fmt.Sprint(alice.Delta[:4]), fmt.Sprintf("%x", alice.Delta[:4])}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{bob, *bob, alice, *alice, []any{bob}, map[int]any{1: *alice}} {
			for _, x := range secrets {
				if strings.Contains(fmt.Sprintf(verb, v), x) {
					t.Errorf("%s of %T shows a secret", verb, v)
				}
			}
		}
	}
	for _, v := range []any{bob, *bob, alice, *alice} {
		if _, err := json.Marshal(v); err == nil {
			t.Errorf("%T was encoded as JSON", v)
		}
	}
	bob.Destroy()
	alice.Destroy()
	if *bob != (Full{}) || *alice != (Punctured{}) {
		t.Error("Destroy left leaves behind")
	}
}

func BenchmarkExpand(b *testing.B) {
	s, _ := dealt(stream(1))
	for b.Loop() {
		Expand(testInstance, s)
	}
}

func BenchmarkPuncture(b *testing.B) {
	s, r := dealt(stream(1))
	_, m := Expand(testInstance, s)
	for b.Loop() {
		if _, err := Puncture(testInstance, r, m); err != nil {
			b.Fatal(err)
		}
	}
}
