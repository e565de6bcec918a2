package chain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/wire"
)

func example() *Effects {
	return &Effects{
		Chain: "eip155:1", Sender: "eip155:1:0xA",
		Transfers: []Transfer{{From: "a", To: "b", Asset: "c", Amount: *uint256.NewInt(1)}},
		Approvals: []Approval{{Owner: "o", Spender: "s", Asset: "t", Amount: *uint256.NewInt(2)}},
		Calls:     []Call{{To: "k", Method: "0x12345678", Value: *uint256.NewInt(3)}},
		MaxFee:    *uint256.NewInt(4), Undecoded: "because",
	}
}

// TestEffectsEncoding pins the bytes of docs/spec/effects.md.
func TestEffectsEncoding(t *testing.T) {
	amount := func(last string) string { return strings.Repeat("00", 31) + last }
	text := func(s string) string { return "000000" + hex.EncodeToString(append([]byte{byte(len(s))}, s...)) }
	want := "01" + text("eip155:1") + text("eip155:1:0xA") +
		"00000001" + text("a") + text("b") + text("c") + amount("01") +
		"00000001" + text("o") + text("s") + text("t") + amount("02") +
		"00000001" + text("k") + text("0x12345678") + amount("03") +
		amount("04") + text("because")
	b := example().Encode()
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("encoding\n%s, want\n%s", got, want)
	}
	got, err := DecodeEffects(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), got); d != "" {
		t.Fatal(d)
	}
}

func TestDecodeEffectsRefuses(t *testing.T) {
	good := example().Encode()
	for n := range good {
		if _, err := DecodeEffects(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(good))
		}
	}
	if _, err := DecodeEffects(append(bytes.Clone(good), 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Errorf("a trailing byte: %v, want ErrTrailing", err)
	}
	many := example()
	many.Transfers = make([]Transfer, maxItems+1)
	if _, err := DecodeEffects(many.Encode()); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("%d transfers: %v, want ErrTooLong", len(many.Transfers), err)
	}
	long := example()
	long.Undecoded = strings.Repeat("x", maxText+1)
	if _, err := DecodeEffects(long.Encode()); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("a reason of %d bytes: %v, want ErrTooLong", len(long.Undecoded), err)
	}
	for _, bad := range []string{"\x1b[2J", "a\nb", "ünknown", "\x00"} {
		e := example()
		e.Calls[0].Method = bad
		if _, err := DecodeEffects(e.Encode()); err == nil || !strings.Contains(err.Error(), "method: byte") {
			t.Errorf("method %q: %v, want an error that names the byte", bad, err)
		}
	}
}

func FuzzDecodeEffects(f *testing.F) {
	f.Add(example().Encode())
	f.Add(new(Effects).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEffects(b)
		if err == nil && !bytes.Equal(e.Encode(), b) {
			t.Fatalf("accepted %x, which encodes as %x", b, e.Encode())
		}
	})
}
