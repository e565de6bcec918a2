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
		Calls: []Call{
			{From: "f", To: "k", Method: "0x12345678", Value: *uint256.NewInt(3)},
			{From: "k", To: "l", Method: "m()", Depth: 1, Args: []Arg{
				{Path: "p", Type: "uint256", Kind: ArgUint, Uint: *uint256.NewInt(5)},
				{Path: "q", Type: "bool", Kind: ArgFlag, Uint: *uint256.NewInt(1)},
				{Path: "r[0]", Type: "address", Kind: ArgAddress, Text: "A"},
			}},
		},
		Creates: []Creation{{Value: *uint256.NewInt(6), CodeHash: [32]byte{31: 7}}},
		Message: &Message{Type: "T", Name: "N", Version: "1", Contract: "C", Fields: []Arg{
			{Path: "x", Type: "string", Kind: ArgText, Text: "y"}, {Path: "z", Type: "bytes", Kind: ArgBytes, Text: "0x"},
		}},
		MaxFee: *uint256.NewInt(4), Undecoded: "because",
	}
}

// TestEffectsEncoding pins the bytes of docs/spec/effects.md.
func TestEffectsEncoding(t *testing.T) {
	amount := func(last string) string { return strings.Repeat("00", 31) + last }
	text := func(s string) string { return "000000" + hex.EncodeToString(append([]byte{byte(len(s))}, s...)) }
	want := "02" + text("eip155:1") + text("eip155:1:0xA") +
		"00000001" + text("a") + text("b") + text("c") + amount("01") +
		"00000001" + text("o") + text("s") + text("t") + amount("02") +
		"00000002" + text("f") + text("k") + text("0x12345678") + amount("03") + "00" + "00000000" +
		text("k") + text("l") + text("m()") + amount("00") + "01" + "00000003" +
		text("p") + text("uint256") + "01" + amount("05") + text("q") + text("bool") + "04" + amount("01") + text("r[0]") + text("address") + "02" + text("A") +
		"00000001" + amount("06") + amount("07") +
		"01" + text("T") + text("N") + text("1") + text("C") +
		"00000002" + text("x") + text("string") + "03" + text("y") + text("z") + text("bytes") + "05" + text("0x") +
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
	plain := example()
	plain.Message = nil
	if got, err = DecodeEffects(plain.Encode()); err != nil || got.Message != nil {
		t.Fatalf("without a message: %v, %v", got, err)
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
	old := bytes.Clone(good)
	old[0] = 1
	if _, err := DecodeEffects(old); err == nil {
		t.Error("version 1 was accepted")
	}
	for name, c := range map[string]struct {
		change func(e *Effects)
		want   error
	}{
		"transfers": {func(e *Effects) { e.Transfers = make([]Transfer, MaxItems+1) }, wire.ErrTooLong},
		"approvals": {func(e *Effects) { e.Approvals = make([]Approval, MaxItems+1) }, wire.ErrTooLong},
		"calls":     {func(e *Effects) { e.Calls = make([]Call, MaxItems+1) }, wire.ErrTooLong},
		"creations": {func(e *Effects) { e.Creates = make([]Creation, MaxItems+1) }, wire.ErrTooLong},
		"arguments": {func(e *Effects) { e.Calls[0].Args = many(MaxArgs + 1) }, wire.ErrTooLong},
		"fields":    {func(e *Effects) { e.Message.Fields = many(MaxArgs + 1) }, wire.ErrTooLong},
		"arguments together": {func(e *Effects) {
			e.Calls[0].Args, e.Calls[1].Args = many(MaxArgs), many(MaxArgs)
			e.Calls = append(e.Calls, Call{Args: many(1)})
		}, wire.ErrTooLong},
		"a long reason": {func(e *Effects) { e.Undecoded = strings.Repeat("x", maxText+1) }, wire.ErrTooLong},
	} {
		e := example()
		c.change(e)
		if _, err := DecodeEffects(e.Encode()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, bad := range []string{"\x1b[2J", "a\nb", "ünknown", "\x00"} {
		e := example()
		e.Calls[0].Method = bad
		if _, err := DecodeEffects(e.Encode()); err == nil || !strings.Contains(err.Error(), "method: byte") {
			t.Errorf("method %q: %v, want an error that names the byte", bad, err)
		}
	}
}

func many(n int) []Arg {
	args := make([]Arg, n)
	for i := range args {
		args[i].Kind = ArgText
	}
	return args
}

// TestDecodeEffectsRefusesDisorder: an order of calls that no transaction has,
// and values that have two encodings or none.
func TestDecodeEffectsRefusesDisorder(t *testing.T) {
	for want, change := range map[string]func(e *Effects){
		"depth: 1, want at most 0": func(e *Effects) { e.Calls = e.Calls[1:] },
		"depth: 2, want at most 1": func(e *Effects) { e.Calls[1].Depth = 2 },
		"depth: 9, want at most 8": func(e *Effects) {
			for d := range MaxDepth + 2 {
				e.Calls = append(e.Calls, Call{Depth: uint8(d)})
			}
		},
		"kind: 0":         func(e *Effects) { e.Calls[1].Args[0].Kind = 0 },
		"kind: 6":         func(e *Effects) { e.Message.Fields[0].Kind = 6 },
		"flag: 2, want 0": func(e *Effects) { e.Calls[1].Args[1].Uint = *uint256.NewInt(2) },
	} {
		e := example()
		change(e)
		if _, err := DecodeEffects(e.Encode()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestUnlimited(t *testing.T) {
	for hex, want := range map[string]bool{
		"0x0": false, "0xfffffffffffffffffffffffe": false,
		"0xffffffffffffffffffffffff": true, "0x1000000000000000000000000": true,
		"0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": true,
	} {
		if a := (&Approval{Amount: *uint256.MustFromHex(hex)}); a.Unlimited() != want {
			t.Errorf("%s: unlimited is %t", hex, !want)
		}
	}
}

func TestArgKinds(t *testing.T) {
	for k := ArgKind(0); k < 7; k++ {
		if (k.String() == "unknown kind") != (k == 0 || k == 6) {
			t.Errorf("kind %d is %s", k, k)
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
