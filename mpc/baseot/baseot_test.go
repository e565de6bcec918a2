package baseot

import (
	"crypto/rand"
	"testing"
)

var testInstance = Instance{PSID: [32]byte{1, 2, 3}, Sender: 2, Receiver: 1}

func run(t testing.TB, inst Instance) (*SenderOutput, *ReceiverOutput) {
	t.Helper()
	s, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, m2, err := Receive(rand.Reader, inst, m1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Finish(inst, m2)
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

// Alice has exactly the seed that her bit chose.
func TestCorrect(t *testing.T) {
	s, r := run(t, testInstance)
	for i := range N {
		chosen, other := s.K0[i], s.K1[i]
		if r.Delta[i/8]>>(i%8)&1 == 1 {
			chosen, other = other, chosen
		}
		if r.K[i] != chosen {
			t.Errorf("OT %d: Alice's seed is not the chosen one", i)
		}
		if r.K[i] == other {
			t.Errorf("OT %d: both seeds are equal", i)
		}
	}
}

func BenchmarkBaseOT(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		run(b, testInstance)
	}
}
