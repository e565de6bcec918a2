package pair

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/vole"
)

// What is no message at all is the peer's fault, and the session ends: whatever
// comes later gets the same answer.
func TestFormIsAttributed(t *testing.T) {
	good := newLink(t, 70).inbox[0][0]
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"one byte":            good[:1],
		"shorter than header": good[:headerSize-1],
		"header alone":        good[:headerSize],
		"one byte short":      good[:len(good)-1],
		"one byte more":       append(bytes.Clone(good), 1),
		"version 2":           change(0, 2),
		"step 0":              change(1, 0),
		"step 6":              change(1, 6),
		"step 255":            change(1, 255),
	} {
		s := newLink(t, 70).s[0]
		_, _, err := s.Deliver(b)
		wantAbort(t, name, err, mpc.Attributed, 3)
		if _, _, again := s.Deliver(good); again != err {
			t.Errorf("%s: a later message got %v, want %v", name, again, err)
		}
		if _, err := s.Setup(); err == nil {
			t.Errorf("%s: a failed session has a result", name)
		}
	}
}

// There is no result before the peer has confirmed.
func TestNoResultBeforeTheEnd(t *testing.T) {
	l := newLink(t, 71)
	l.alter = func(from, step int, msg []byte) []byte {
		if _, err := l.s[1-from].Setup(); err == nil {
			t.Errorf("a result before message %d was taken", step)
		}
		return msg
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
}

// The scalars of the self-test are below q, whichever it is.
func TestMessage4Range(t *testing.T) {
	good := make([]byte, vole.Message2Size(testSize)+4*32) // all scalars are 0
	good[0] = version
	if err := new(message4).UnmarshalBinary(good); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		b := bytes.Clone(good)
		at := len(b) - 32*(4-i)
		copy(b[at:], bytes.Repeat([]byte{0xff}, 32))
		if new(message4).UnmarshalBinary(b) == nil {
			t.Errorf("scalar %d above q decodes", i)
		}
	}
	if new(message4).UnmarshalBinary(append(good, 0)) == nil || new(message4).UnmarshalBinary(good[:len(good)-1]) == nil {
		t.Error("a message of the wrong size decodes")
	}
}
