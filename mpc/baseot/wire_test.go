package baseot

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gtank/ristretto255"
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
		if _, err := decodeElement(&m.Y); err != nil {
			t.Fatalf("accepted an element that does not decode: %v", err)
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

// slowExpand is expand_message_xmd of RFC 9380 §5.3.1 with SHA-512 for any
// length.
func slowExpand(msg, dst []byte, n int) []byte {
	prime := append(bytes.Clone(dst), byte(len(dst)))
	in := append(make([]byte, 128), msg...)
	in = append(in, byte(n>>8), byte(n), 0)
	b0 := sha512.Sum512(append(in, prime...))
	var out []byte
	prev := make([]byte, 64)
	for i := 1; len(out) < n; i++ {
		x := make([]byte, 64)
		for k := range x {
			x[k] = b0[k] ^ prev[k]
		}
		b := sha512.Sum512(append(append(x, byte(i)), prime...))
		prev = b[:]
		out = append(out, prev...)
	}
	return out[:n]
}

// The slow form agrees with RFC 9380, appendix K.3, and ours with the slow form.
func TestExpandMessage(t *testing.T) {
	dst := []byte("QUUX-V01-CS02-with-expander-SHA512-256")
	for msg, want := range map[string]string{
		"":    "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba",
		"abc": "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc",
	} {
		if got := hex.EncodeToString(slowExpand([]byte(msg), dst, 32)); got != want {
			t.Errorf("expand(%q) = %s, want %s", msg, got, want)
		}
	}
	var x expander
	for _, n := range []int{0, 1, 32, 100} {
		msg := bytes.Repeat([]byte{7}, n)
		if got := x.expand(msg, dst); !bytes.Equal(got[:], slowExpand(msg, dst, 64)) {
			t.Errorf("message of %d bytes: wrong expansion", n)
		}
	}
}

// RFC 9496, appendix A.3.
func TestMapToGroup(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c14d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6",
			"3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"},
		{"f116b34b8f17ceb56e8732a60d913dd10cce47a6d53bee9204be8b44f6678b270102a56902e2488c46120e9276cfe54638286b9e4b3cdb470b542d46c2068d38",
			"f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b"},
	} {
		in, err := hex.DecodeString(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := encode(ristretto255.NewElement().FromUniformBytes(in)); hex.EncodeToString(got[:]) != c.out {
			t.Errorf("MAP(%s…) = %x, want %s", c.in[:16], got, c.out)
		}
	}
}

// A reader that ends is an error at every draw, never a weak key.
func TestShortRandomness(t *testing.T) {
	if _, _, err := Start(io.LimitReader(rand.Reader, 63)); err == nil {
		t.Error("Start with 63 bytes of randomness")
	}
	if _, _, err := Start(bytes.NewReader(make([]byte, 64))); err == nil {
		t.Error("Start with y = 0")
	}
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, 15, 16, 79, 80, 16 + 128, 16 + 128*N - 1} {
		if _, _, err := Receive(io.LimitReader(rand.Reader, n), testInstance, m1); err == nil {
			t.Errorf("Receive with %d bytes of randomness", n)
		}
	}
}
