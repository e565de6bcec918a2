package vaultlink

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Bounds of what one message may hold. Any message is at most wire.MaxMessage.
const (
	MaxName       = 256     // of a record
	MaxValue      = 1 << 20 // of a record
	MaxEntry      = 1 << 20 // of the log
	MaxFrame      = 1 << 20 // between vaults
	MaxBody       = 3 << 20 // of a command or a reply
	MaxCheckpoint = 4 << 10
	MaxItems      = 8192 // records or entries in one message
	MaxText       = 1024
)

// Message is one of the types of this file.
type Message interface{ encode(w *wire.Writer) }

// Record is a named value on the node's disk.
type Record struct {
	Name   string
	Value  []byte
	Delete bool // Value is empty; only in a Persist
}

// Hello is the vault's first message: who is here. An enrolling vault belongs to
// no cluster yet and sends zeros.
type Hello struct {
	Vault   uint16
	Cluster [32]byte
}

// Load brings a part of what the node has on disk: records in ascending order of
// their names over all parts, log entries from index 0, and with the last part
// the newest checkpoint.
type Load struct {
	Records    []Record
	Entries    [][]byte
	Last       bool
	Checkpoint []byte
}

// Persist asks for one durable change: all of it or nothing. Seq counts from 1
// on each connection. Index is the log's size before Entries.
type Persist struct {
	Seq        uint64
	Writes     []Record
	Index      uint64
	Entries    [][]byte
	Checkpoint []byte // empty: the newest stays
}

// Persisted says that the change is durable.
type Persisted struct{ Seq uint64 }

// Frame is a sealed frame between vaults. From the vault, Peer is where it goes;
// from the node it is 0, because where it came from is not known.
type Frame struct {
	Peer  uint16
	Bytes []byte
}

// Command is an encoded cluster.Command under the node's number for it.
type Command struct {
	ID   uint64
	Body []byte
}

// Reply is an encoded cluster.Reply to the command of that number.
type Reply struct {
	ID   uint64
	Body []byte
}

// Bye is the last message of a side that ends the connection on purpose.
type Bye struct {
	Done bool   // nothing is wrong: the work is finished
	Text string // why, for the operator
}

const messageVersion = 1

const (
	kindHello     = 1
	kindLoad      = 2
	kindPersist   = 3
	kindPersisted = 4
	kindFrame     = 5
	kindCommand   = 6
	kindReply     = 7
	kindBye       = 8
)

func start(w *wire.Writer, kind uint8) *wire.Writer { return w.Uint8(messageVersion).Uint8(kind) }

func (m *Hello) encode(w *wire.Writer) {
	start(w, kindHello).Uint16(m.Vault).Fixed(m.Cluster[:])
}

func (m *Load) encode(w *wire.Writer) {
	start(w, kindLoad).Count(len(m.Records))
	for _, r := range m.Records {
		w.String(r.Name).Var(r.Value)
	}
	writeAll(w, m.Entries)
	w.Bool(m.Last).Var(m.Checkpoint)
}

func (m *Persist) encode(w *wire.Writer) {
	start(w, kindPersist).Uint64(m.Seq).Count(len(m.Writes))
	for _, r := range m.Writes {
		w.String(r.Name).Bool(r.Delete).Var(r.Value)
	}
	writeAll(w.Uint64(m.Index), m.Entries)
	w.Var(m.Checkpoint)
}

func (m *Persisted) encode(w *wire.Writer) { start(w, kindPersisted).Uint64(m.Seq) }
func (m *Frame) encode(w *wire.Writer)     { start(w, kindFrame).Uint16(m.Peer).Var(m.Bytes) }
func (m *Command) encode(w *wire.Writer)   { start(w, kindCommand).Uint64(m.ID).Var(m.Body) }
func (m *Reply) encode(w *wire.Writer)     { start(w, kindReply).Uint64(m.ID).Var(m.Body) }
func (m *Bye) encode(w *wire.Writer)       { start(w, kindBye).Bool(m.Done).String(m.Text) }

func writeAll(w *wire.Writer, items [][]byte) {
	w.Count(len(items))
	for _, b := range items {
		w.Var(b)
	}
}

// Encode is the canonical encoding.
func Encode(m Message) []byte {
	var w wire.Writer
	m.encode(&w)
	return w.Bytes()
}

// Decode is the inverse of Encode.
func Decode(b []byte) (Message, error) {
	r := wire.NewReader(b, messageVersion)
	kind := r.Uint8("kind")
	m := read(r, kind)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode %s message: %w", kindName(kind), err)
	}
	return m, nil
}

func read(r *wire.Reader, kind uint8) Message {
	switch kind {
	case kindHello:
		m := &Hello{Vault: r.Uint16("vault")}
		r.Into("cluster", m.Cluster[:])
		if r.Err() == nil && m.Vault == 0 {
			r.Failf("vault: id 0, want 1 to 65535")
		}
		return m
	case kindLoad:
		m := &Load{Records: readRecords(r, false), Entries: readAll(r, "entry", MaxEntry)}
		m.Last = r.Bool("last")
		m.Checkpoint = r.Var("checkpoint", MaxCheckpoint)
		if r.Err() == nil && !m.Last && m.Checkpoint != nil {
			r.Failf("checkpoint: comes with the last part only")
		}
		return m
	case kindPersist:
		m := &Persist{Seq: r.Uint64("seq"), Writes: readRecords(r, true), Index: r.Uint64("index")}
		m.Entries = readAll(r, "entry", MaxEntry)
		m.Checkpoint = r.Var("checkpoint", MaxCheckpoint)
		return m
	case kindPersisted:
		return &Persisted{Seq: r.Uint64("seq")}
	case kindFrame:
		return &Frame{Peer: r.Uint16("peer"), Bytes: r.Var("frame", MaxFrame)}
	case kindCommand:
		return &Command{ID: r.Uint64("id"), Body: r.Var("command", MaxBody)}
	case kindReply:
		return &Reply{ID: r.Uint64("id"), Body: r.Var("reply", MaxBody)}
	case kindBye:
		return &Bye{Done: r.Bool("done"), Text: r.Text("text", MaxText)}
	}
	if r.Err() == nil {
		r.Failf("kind: unknown message %d, want %d to %d", kind, kindHello, kindBye)
	}
	return nil
}

// readRecords reads the records of a Persist, in any order, or of a Load,
// ascending by name and without deletions.
func readRecords(r *wire.Reader, persist bool) []Record {
	const least = 8 // two lengths
	n := r.Count("records", MaxItems, least)
	if n == 0 {
		return nil
	}
	recs := make([]Record, 0, n)
	for i := 0; i < n && r.Err() == nil; i++ {
		rec := Record{Name: r.String("record name", MaxName)}
		if persist {
			rec.Delete = r.Bool("delete")
		}
		rec.Value = r.Var("record value", MaxValue)
		switch {
		case r.Err() != nil:
		case rec.Name == "":
			r.Failf("record name: empty, want 1 to %d bytes", MaxName)
		case rec.Delete && rec.Value != nil:
			r.Failf("record %q: deleted with a value of %d bytes, want none", rec.Name, len(rec.Value))
		case !persist && i > 0 && recs[i-1].Name >= rec.Name:
			r.Failf("record %q after %q: names must ascend", rec.Name, recs[i-1].Name)
		}
		recs = append(recs, rec)
	}
	return recs
}

func readAll(r *wire.Reader, field string, limit int) [][]byte {
	n := r.Count(field, MaxItems, 4)
	if n == 0 {
		return nil
	}
	items := make([][]byte, 0, n)
	for range n {
		b := r.Var(field, limit)
		if r.Err() == nil && b == nil {
			r.Failf("%s: empty, want at least 1 byte", field)
		}
		if r.Err() != nil {
			return nil
		}
		items = append(items, b)
	}
	return items
}

func kindName(kind uint8) string {
	names := [...]string{"unknown", "hello", "load", "persist", "persisted", "frame", "command", "reply", "bye"}
	if int(kind) < len(names) {
		return names[kind]
	}
	return names[0]
}

// Name is the message's kind in words, for errors and logs.
func Name(m Message) string { return kindName(Encode(m)[1]) }
