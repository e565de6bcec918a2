package pair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/pprf"
)

// The self-test's dsid is of one run and one direction.
func TestPitfall27_SelfTestDirection(t *testing.T) {
	a, _ := both()
	s, _, err := New(a, stream(61))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[32]byte]string{}
	for _, psid := range []byte{1, 2} {
		for _, ids := range [][2]mpc.ID{{1, 2}, {2, 1}, {1, 3}, {3, 1}} {
			s.psid = [32]byte{psid}
			d, name := s.testDSID(ids[0], ids[1]), fmt.Sprintf("run %d, %v", psid, ids)
			if seen[d] != "" {
				t.Errorf("dsid of %s is that of %s", name, seen[d])
			}
			seen[d] = name
		}
	}
}

// The setup's hash, which every signing session compares, covers psid and each of
// the messages 1 to 4 of either side by itself.
func TestPitfall09_SetupHashCoversEveryMessage(t *testing.T) {
	a, _ := both()
	s, _, err := New(a, stream(62))
	if err != nil {
		t.Fatal(err)
	}
	base := s.transcriptHash()
	check := func(name string, b *byte) {
		*b ^= 1
		if s.transcriptHash() == base {
			t.Errorf("the hash does not cover %s", name)
		}
		*b ^= 1
	}
	check("psid", &s.psid[31])
	for i := range steps - 1 {
		check(fmt.Sprintf("our message %d", i+1), &s.sent[i][31])
		check(fmt.Sprintf("the peer's message %d", i+1), &s.got[i][31])
	}
	if s.transcriptHash() != base {
		t.Fatal("the test left a change behind")
	}
	s.sent, s.got = s.got, s.sent
	if s.transcriptHash() == base {
		t.Error("the hash does not tell the sides apart")
	}
}

// A session that ends early wipes the seeds and Δ that it holds, not only its
// references to them.
func TestDestroyWipesTheSeeds(t *testing.T) {
	l := newLink(t, 63)
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	s := l.s[0]
	bob, alice := s.bob, s.alice
	if *bob == (pprf.Full{}) || *alice == (pprf.Punctured{}) {
		t.Fatal("there is nothing to wipe")
	}
	s.Destroy()
	if *bob != (pprf.Full{}) || *alice != (pprf.Punctured{}) {
		t.Error("Destroy left seeds behind")
	}
	if _, err := s.Setup(); err == nil {
		t.Error("a destroyed session has a result")
	}
}

// The seeds of the base OT are gone as soon as the trees are made of them.
func TestSeedsOfTheBaseOTAreWiped(t *testing.T) {
	l := newLink(t, 64)
	var seeds *baseot.ReceiverOutput
	l.alter = func(from, step int, msg []byte) []byte {
		if from == 1 && step == 3 {
			seeds = l.s[0].seeds
			if seeds == nil || *seeds == (baseot.ReceiverOutput{}) {
				t.Fatal("there is nothing to wipe")
			}
		}
		return msg
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	if *seeds != (baseot.ReceiverOutput{}) || l.s[0].seeds != nil {
		t.Error("Alice's seeds are left")
	}
}

// What a setup remembers is bounded.
func TestClaimIsBounded(t *testing.T) {
	s := &Setup{Bob: new(pprf.Full), Alice: new(pprf.Punctured)}
	var dsid [32]byte
	for n := range uint32(MaxUses) {
		binary.BigEndian.PutUint32(dsid[:], n)
		if err := s.Claim(dsid); err != nil {
			t.Fatal(n, err)
		}
	}
	binary.BigEndian.PutUint32(dsid[:], MaxUses)
	if err := s.Claim(dsid); !errors.Is(err, ErrExhausted) {
		t.Errorf("use %d: got %v, want ErrExhausted", MaxUses+1, err)
	}
	binary.BigEndian.PutUint32(dsid[:], 0)
	if err := s.Claim(dsid); !errors.Is(err, ErrServed) {
		t.Errorf("a repetition in a setup that is used up: got %v, want ErrServed", err)
	}
}
