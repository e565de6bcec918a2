package baseot

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

func FuzzDecodeMessage1(f *testing.F) {
	_, m, err := Start(stream("bob"))
	if err != nil {
		f.Fatal(err)
	}
	b, _ := m.MarshalBinary()
	f.Add(b)
	f.Add(make([]byte, Message1Size))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message1
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatalf("decoded %x, encoded %x", b, got)
		}
		if _, err := decodePoint(&m.Y); err != nil {
			t.Fatalf("accepted a point that does not decode: %v", err)
		}
	})
}

func FuzzDecodeMessage2(f *testing.F) {
	b, _ := new(Message2).MarshalBinary()
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message2
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

func TestStrictSizes(t *testing.T) {
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	b1, _ := m1.MarshalBinary()
	b2, _ := m2.MarshalBinary()
	if len(b1) != Message1Size || len(b2) != Message2Size {
		t.Fatalf("sizes %d and %d, want %d and %d", len(b1), len(b2), Message1Size, Message2Size)
	}
	for name, c := range map[string]struct {
		b    []byte
		into interface{ UnmarshalBinary([]byte) error }
	}{
		"1 empty":   {nil, new(Message1)},
		"1 short":   {b1[:len(b1)-1], new(Message1)},
		"1 long":    {append(bytes.Clone(b1), 0), new(Message1)},
		"1 version": {append([]byte{2}, b1[1:]...), new(Message1)},
		"2 empty":   {nil, new(Message2)},
		"2 short":   {b2[:len(b2)-1], new(Message2)},
		"2 long":    {append(bytes.Clone(b2), 0), new(Message2)},
		"2 version": {append([]byte{0}, b2[1:]...), new(Message2)},
	} {
		if c.into.UnmarshalBinary(c.b) == nil {
			t.Errorf("message %s was accepted", name)
		}
	}
}

// Outputs show themselves to no verb and no encoder.
func TestUnprintable(t *testing.T) {
	s, r := run(t, testInstance)
	type holder struct{ s, r any }
	sender, _, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{
		fmt.Sprint(s.K0[0][:4]), hex.EncodeToString(s.K0[0][:4]), fmt.Sprint(r.Delta[:4]), hex.EncodeToString(r.Delta[:4]),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, v := range []any{s, *s, r, *r, []any{s, r}, map[int]any{1: *s}, holder{s, r}, sender, *sender} {
			text := fmt.Sprintf(verb, v)
			for _, x := range secrets {
				if strings.Contains(text, x) {
					t.Errorf("%s of %T shows a secret", verb, v)
				}
			}
		}
	}
	for _, v := range []any{s, *s, r, *r} {
		if _, err := json.Marshal(v); err == nil {
			t.Errorf("%T was encoded as JSON", v)
		}
	}
}

// A reader that ends is an error at every draw, never a weak key.
func TestShortRandomness(t *testing.T) {
	if _, _, err := Start(io.LimitReader(rand.Reader, 47)); err == nil {
		t.Error("Start with 47 bytes of randomness")
	}
	if _, _, err := Start(bytes.NewReader(make([]byte, 48))); err == nil {
		t.Error("Start with y = 0")
	}
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, 15, 16, 47, 48, 16 + 80, 16 + 80*N - 1} {
		if _, _, err := Receive(io.LimitReader(rand.Reader, n), testInstance, m1); err == nil {
			t.Errorf("Receive with %d bytes of randomness", n)
		}
	}
}
