package transport

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/wire"
)

// codec is one type's encoder and decoder.
type codec struct {
	name   string
	decode func([]byte) (interface{ enc() []byte }, error)
}

type encoded func() []byte

func (e encoded) enc() []byte { return e() }

func of[T any](name string, decode func([]byte) (*T, error), encode func(*T) []byte) codec {
	return codec{name, func(b []byte) (interface{ enc() []byte }, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return encoded(func() []byte { return encode(v) }), nil
	}}
}

func codecs() []codec {
	return []codec{
		of("call", decodeCall, (*call).encode),
		of("ack", decodeAck, (*ack).encode),
		of("answer", decodeAnswer, (*answer).encode),
		of("read", DecodeRead, (*Read).Encode),
		of("read result", DecodeReadResult, (*ReadResult).Encode),
		of("node status", DecodeNodeStatus, (*NodeStatus).Encode),
		of("log part", DecodeLogPart, (*LogPart).Encode),
	}
}

func samples() [][]byte {
	id := callID{1, 15: 2}
	return [][]byte{
		(&call{ID: id, Body: []byte("c")}).encode(), (&call{ID: id, Again: true}).encode(),
		(&ack{ID: id, State: ackAccepted}).encode(), (&ack{ID: id, State: ackUnknown, Text: "why"}).encode(),
		(&answer{ID: id, Body: []byte("r")}).encode(),
		(&Read{Kind: ReadStatus}).Encode(), (&Read{Kind: ReadLog, Offset: 1 << 33}).Encode(), (&Read{Kind: ReadCosigned}).Encode(),
		(&ReadResult{Body: []byte("b")}).Encode(), (&ReadResult{Failed: "no"}).Encode(),
		(&NodeStatus{Vault: 1, Connected: true, Started: 2, LogSize: 3, Changes: 4, FramesIn: 5, FramesOut: 6, Dropped: 7, Commands: 8, DiskFree: 9, Detail: "x"}).Encode(),
		(&LogPart{Total: 9, Checkpoint: []byte("cp"), Bytes: []byte("123")}).Encode(),
	}
}

func TestMessagesAreStrict(t *testing.T) {
	for _, c := range codecs() {
		n := 0
		for _, b := range samples() {
			v, err := c.decode(b)
			if err != nil {
				continue
			}
			n++
			if !bytes.Equal(v.enc(), b) {
				t.Errorf("%s: %x encodes to %x", c.name, b, v.enc())
			}
			if _, err := c.decode(append(bytes.Clone(b), 0)); err == nil {
				t.Errorf("%s: accepted with a byte after its end", c.name)
			}
			if _, err := c.decode(b[:len(b)-1]); err == nil {
				t.Errorf("%s: accepted without its last byte", c.name)
			}
		}
		if n == 0 {
			t.Errorf("%s: no sample decodes", c.name)
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"question with a body", second(decodeCall((&call{Again: true, Body: []byte("x")}).encode())), "want none"},
		{"empty command", second(decodeCall((&call{}).encode())), "command: empty"},
		{"state 0", second(decodeAck((&ack{}).encode())), "unknown value 0, want 1 to 3"},
		{"state 4", second(decodeAck((&ack{State: 4}).encode())), "unknown value 4"},
		{"escape in ack", second(decodeAck((&ack{State: ackRefused, Text: "\x1b]"}).encode())), "control characters"},
		{"read 4", second(DecodeRead((&Read{Kind: 4}).Encode())), "unknown read 4"},
		{"status with offset", second(DecodeRead((&Read{Kind: ReadStatus, Offset: 1}).Encode())), "want 0"},
		{"cosigned with offset", second(DecodeRead((&Read{Kind: ReadCosigned, Offset: 1}).Encode())), "want 0"},
		{"failure with a body", second(DecodeReadResult((&ReadResult{Failed: "x", Body: []byte("y")}).Encode())), "want none"},
		{"long log part", second(DecodeLogPart((&LogPart{Bytes: make([]byte, MaxLogPart+1)}).Encode())), "bytes"},
		{"oversized", second(decodeAnswer((&answer{Body: make([]byte, wire.MaxMessage)}).encode())), "above the bound"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestNodeStatusRoundTrip(t *testing.T) {
	want := &NodeStatus{Vault: 3, Started: 1, LogSize: 2, Changes: 3, FramesIn: 4, FramesOut: 5, Dropped: 6, Commands: 7, DiskFree: 8, Detail: "the vault is away"}
	got, err := DecodeNodeStatus(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func fuzz(f *testing.F, name string) {
	for _, b := range samples() {
		f.Add(b)
	}
	for _, c := range codecs() {
		if c.name == name {
			f.Fuzz(func(t *testing.T, b []byte) {
				if v, err := c.decode(b); err == nil && !bytes.Equal(v.enc(), b) {
					t.Fatalf("%s: %x encodes to %x", name, b, v.enc())
				}
			})
		}
	}
}

func FuzzDecodeCall(f *testing.F)       { fuzz(f, "call") }
func FuzzDecodeAck(f *testing.F)        { fuzz(f, "ack") }
func FuzzDecodeAnswer(f *testing.F)     { fuzz(f, "answer") }
func FuzzDecodeRead(f *testing.F)       { fuzz(f, "read") }
func FuzzDecodeReadResult(f *testing.F) { fuzz(f, "read result") }
func FuzzDecodeNodeStatus(f *testing.F) { fuzz(f, "node status") }
func FuzzDecodeLogPart(f *testing.F)    { fuzz(f, "log part") }

// The example of docs/spec/transport.md.
func TestSpecExample(t *testing.T) {
	var id callID
	for i := range id {
		id[i] = byte(i)
	}
	const idHex = "000102030405060708090a0b0c0d0e0f"
	command := (&cluster.Command{Kind: cluster.CommandStatus}).Encode()
	for want, b := range map[string][]byte{
		"01" + idHex + "00" + "00000026" + fmt.Sprintf("%x", command): (&call{ID: id, Body: command}).encode(),
		"01" + idHex + "01" + "00000000":                              (&ack{ID: id, State: ackAccepted}).encode(),
		"01" + idHex + "00000001" + "ff":                              (&answer{ID: id, Body: []byte{0xff}}).encode(),
	} {
		if got := fmt.Sprintf("%x", b); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := subjectsOf([32]byte{0xc0, 0xff, 0xee, 31: 1}).of(2, leafCommand); got != "coffer.c0ffee00.vault.2.command" {
		t.Error(got)
	}
}
