package baseot

import (
	"crypto/rand"
	"errors"
	"testing"
)

// A sender answers one message: with two, whoever sends them learns how keys of
// the same y differ. His y is gone afterwards, also when the message was bad.
func TestSenderAnswersOnce(t *testing.T) {
	for name, spoil := range map[string]func(*Message2){
		"good": func(*Message2) {},
		"bad":  func(m *Message2) { m.T[0][0] = [pointSize]byte{} },
	} {
		s, m1, err := Start(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		_, m2, err := Receive(rand.Reader, testInstance, m1)
		if err != nil {
			t.Fatal(err)
		}
		first := *m2
		spoil(&first)
		y := s.y
		if _, err := s.Finish(testInstance, &first); (err != nil) != (name == "bad") {
			t.Errorf("%s message: %v", name, err)
		}
		if s.y != nil || y.IsZero() != 1 {
			t.Errorf("%s message: y is left", name)
		}
		if _, err := s.Finish(testInstance, m2); !errors.Is(err, errUsed) {
			t.Errorf("%s message, then a second: got %v, want errUsed", name, err)
		}
	}
}
