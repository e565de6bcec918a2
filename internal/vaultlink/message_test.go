package vaultlink

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/wire"
)

// samples holds every message, full and empty.
func samples() []Message {
	return []Message{
		&Hello{Vault: 1},
		&Hello{Vault: 65535, Cluster: [32]byte{1, 31: 2}},
		&Load{},
		&Load{Records: []Record{{Name: "a", Value: []byte("x")}, {Name: "b"}}, Entries: [][]byte{{1}, {2, 3}}},
		&Load{Last: true, Checkpoint: []byte("cp")},
		&Persist{},
		&Persist{Seq: 7, Writes: []Record{{Name: "z", Value: []byte("1")}, {Name: "a", Delete: true}, {Name: "z"}},
			Index: 1 << 40, Entries: [][]byte{{0}}, Checkpoint: []byte("cp")},
		&Persisted{Seq: 1<<64 - 1},
		&Frame{Bytes: []byte("f")},
		&Frame{Peer: 3},
		&Command{ID: 9, Body: []byte("c")},
		&Reply{ID: 9, Body: []byte("r")},
		&Bye{},
		&Bye{Done: true, Text: "the card is written"},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range samples() {
		b := Encode(m)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", Name(m), err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", Name(m), diff)
		}
		for n := range b {
			if _, err := Decode(b[:n]); err == nil {
				t.Errorf("%s: accepted when cut to %d of %d bytes", Name(m), n, len(b))
			}
		}
		if _, err := Decode(append(b, 0)); err == nil {
			t.Errorf("%s: accepted with a byte after its end", Name(m))
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	head := func(kind uint8) *wire.Writer { return wire.NewWriter(messageVersion).Uint8(kind) }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "version"},
		{"version", []byte{2, kindHello}, "version 2, want 1"},
		{"kind 0", head(0).Bytes(), "unknown message 0, want 1 to 8"},
		{"kind 9", head(9).Bytes(), "unknown message 9"},
		{"vault 0", Encode(&Hello{}), "id 0, want 1 to 65535"},
		{"early checkpoint", Encode(&Load{Checkpoint: []byte("x")}), "last part only"},
		{"descending names", Encode(&Load{Records: []Record{{Name: "b"}, {Name: "a"}}}), "must ascend"},
		{"same name", Encode(&Load{Records: []Record{{Name: "b"}, {Name: "b"}}}), "must ascend"},
		{"no name", Encode(&Load{Records: []Record{{}}}), "record name: empty"},
		{"long name", Encode(&Load{Records: []Record{{Name: strings.Repeat("n", MaxName+1)}}}), "record name"},
		{"long value", Encode(&Load{Records: []Record{{Name: "n", Value: make([]byte, MaxValue+1)}}}), "record value"},
		{"delete with value", Encode(&Persist{Writes: []Record{{Name: "n", Value: []byte("v"), Delete: true}}}), "deleted with a value"},
		{"empty entry", Encode(&Persist{Entries: [][]byte{nil}}), "entry: empty"},
		{"long entry", Encode(&Persist{Entries: [][]byte{make([]byte, MaxEntry+1)}}), "entry"},
		{"long checkpoint", Encode(&Persist{Checkpoint: make([]byte, MaxCheckpoint+1)}), "checkpoint"},
		{"long frame", Encode(&Frame{Bytes: make([]byte, MaxFrame+1)}), "frame"},
		{"long command", Encode(&Command{Body: make([]byte, MaxBody+1)}), "command"},
		{"long reply", Encode(&Reply{Body: make([]byte, MaxBody+1)}), "reply"},
		{"long bye", Encode(&Bye{Text: strings.Repeat("x", MaxText+1)}), "text"},
		{"terminal escape", Encode(&Bye{Text: "\x1b[2J"}), "control characters"},
		{"huge count", head(kindLoad).Uint32(1 << 31).Bytes(), "records"},
		{"count above the bytes", head(kindLoad).Uint32(5).Bytes(), "do not fit"},
		{"oversized", append(head(kindFrame).Bytes(), make([]byte, wire.MaxMessage)...), "above the bound"},
	} {
		if m, err := Decode(c.b); err == nil {
			t.Errorf("%s: decoded as %s", c.name, Name(m))
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q does not say %q", c.name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		f.Add(Encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(m), b) {
			t.Fatalf("%s: decoded %x, which encodes to %x", Name(m), b, Encode(m))
		}
	})
}

// The example of docs/spec/vaultlink.md.
func TestSpecExample(t *testing.T) {
	hello := &Hello{Vault: 1, Cluster: [32]byte{0xc0, 0xff, 0xee, 31: 1}}
	if got := fmt.Sprintf("%x", Encode(hello)); got != "01010001"+"c0ffee00"+strings.Repeat("00", 27)+"01" {
		t.Error(got)
	}
	if got := fmt.Sprintf("%x", Encode(&Load{Last: true})); got != "0102"+"0000000000000000"+"01"+"00000000" {
		t.Error(got)
	}
}
