package transport

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// MaxPayload is what the broker carries at most: any wire message and its
// envelope.
const MaxPayload = wire.MaxMessage + 64<<10

// maxBody bounds a command, a reply and a part of a log in its envelope.
const maxBody = wire.MaxMessage - 1024

// envelopeVersion is the version of all types of this file.
const envelopeVersion = 1

// callID names one command on its way. It is drawn by the coordinator.
type callID [16]byte

// call is a command to a vault. Again asks for the state of a call that was sent
// before and must not be started a second time.
type call struct {
	ID    callID
	Again bool
	Body  []byte
}

func (c *call) encode() []byte {
	return wire.NewWriter(envelopeVersion).Fixed(c.ID[:]).Bool(c.Again).Var(c.Body).Bytes()
}

func decodeCall(b []byte) (*call, error) {
	r := wire.NewReader(b, envelopeVersion)
	c := &call{}
	r.Into("call id", c.ID[:])
	c.Again = r.Bool("again")
	c.Body = r.Var("command", maxBody)
	switch {
	case r.Err() != nil:
	case c.Again && c.Body != nil:
		r.Failf("command: %d bytes in a question about a call, want none", len(c.Body))
	case !c.Again && c.Body == nil:
		r.Failf("command: empty, want 1 to %d bytes", maxBody)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode call: %w", err)
	}
	return c, nil
}

// ackState says what a node did with a call.
type ackState uint8

const (
	ackAccepted ackState = 1 // the reply will come, or came, on the reply subject
	ackRefused  ackState = 2 // not given to the vault; Text says why
	ackUnknown  ackState = 3 // Again: this node never took that call, or was started since
)

// ack answers a call at once.
type ack struct {
	ID    callID
	State ackState
	Text  string
}

func (a *ack) encode() []byte {
	return wire.NewWriter(envelopeVersion).Fixed(a.ID[:]).Uint8(uint8(a.State)).String(a.Text).Bytes()
}

func decodeAck(b []byte) (*ack, error) {
	r := wire.NewReader(b, envelopeVersion)
	a := &ack{}
	r.Into("call id", a.ID[:])
	a.State = ackState(r.Uint8("state"))
	if r.Err() == nil && (a.State < ackAccepted || a.State > ackUnknown) {
		r.Failf("state: unknown value %d, want 1 to 3", a.State)
	}
	a.Text = r.Text("text", maxText)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode acknowledgement: %w", err)
	}
	return a, nil
}

// answer is the vault's reply to a call.
type answer struct {
	ID   callID
	Body []byte
}

func (a *answer) encode() []byte {
	return wire.NewWriter(envelopeVersion).Fixed(a.ID[:]).Var(a.Body).Bytes()
}

func decodeAnswer(b []byte) (*answer, error) {
	r := wire.NewReader(b, envelopeVersion)
	a := &answer{}
	r.Into("call id", a.ID[:])
	a.Body = r.Var("reply", maxBody)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode answer: %w", err)
	}
	return a, nil
}

const maxText = 1024

// ReadKind says what is read of a node.
type ReadKind uint8

// The reads.
const (
	ReadStatus   ReadKind = 1 // → NodeStatus
	ReadLog      ReadKind = 2 // Offset → LogPart
	ReadCosigned ReadKind = 3 // → audit.CosignedCheckpoint
)

// Read asks the node itself, not its vault.
type Read struct {
	Kind   ReadKind
	Offset uint64 // ReadLog: in the log's file
}

// Encode is the canonical encoding.
func (q *Read) Encode() []byte {
	return wire.NewWriter(envelopeVersion).Uint8(uint8(q.Kind)).Uint64(q.Offset).Bytes()
}

// DecodeRead is the inverse of Encode.
func DecodeRead(b []byte) (*Read, error) {
	r := wire.NewReader(b, envelopeVersion)
	q := &Read{Kind: ReadKind(r.Uint8("kind")), Offset: r.Uint64("offset")}
	if r.Err() == nil && (q.Kind < ReadStatus || q.Kind > ReadCosigned) {
		r.Failf("kind: unknown read %d, want 1 to 3", q.Kind)
	}
	if r.Err() == nil && q.Kind != ReadLog && q.Offset != 0 {
		r.Failf("offset: %d in a read of no file, want 0", q.Offset)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode read: %w", err)
	}
	return q, nil
}

// ReadResult answers a Read.
type ReadResult struct {
	Failed string // why there is no Body
	Body   []byte // NodeStatus, LogPart or audit.CosignedCheckpoint
}

// Encode is the canonical encoding.
func (p *ReadResult) Encode() []byte {
	return wire.NewWriter(envelopeVersion).String(p.Failed).Var(p.Body).Bytes()
}

// DecodeReadResult is the inverse of Encode.
func DecodeReadResult(b []byte) (*ReadResult, error) {
	r := wire.NewReader(b, envelopeVersion)
	p := &ReadResult{Failed: r.Text("failed", maxText), Body: r.Var("body", maxBody)}
	if r.Err() == nil && p.Failed != "" && p.Body != nil {
		r.Failf("body: %d bytes beside a failure, want none", len(p.Body))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode result of a read: %w", err)
	}
	return p, nil
}

// NodeStatus is what a node says of itself. It is a claim for operators.
type NodeStatus struct {
	Vault     uint16
	Connected bool   // the vault is at the socket
	Started   uint64 // unix milliseconds
	LogSize   uint64 // durable entries
	Changes   uint64 // made durable since the start
	FramesIn  uint64 // given to the vault
	FramesOut uint64
	Dropped   uint64 // frames that came too fast, or while the vault was away
	Commands  uint64
	DiskFree  uint64 // bytes
	Detail    string // what is wrong, in words
}

// Encode is the canonical encoding.
func (s *NodeStatus) Encode() []byte {
	w := wire.NewWriter(envelopeVersion).Uint16(s.Vault).Bool(s.Connected)
	for _, n := range s.numbers() {
		w.Uint64(*n)
	}
	return w.String(s.Detail).Bytes()
}

func (s *NodeStatus) numbers() []*uint64 {
	return []*uint64{&s.Started, &s.LogSize, &s.Changes, &s.FramesIn, &s.FramesOut, &s.Dropped, &s.Commands, &s.DiskFree}
}

// DecodeNodeStatus is the inverse of Encode.
func DecodeNodeStatus(b []byte) (*NodeStatus, error) {
	r := wire.NewReader(b, envelopeVersion)
	s := &NodeStatus{Vault: r.Uint16("vault"), Connected: r.Bool("connected")}
	for _, n := range s.numbers() {
		*n = r.Uint64("number")
	}
	s.Detail = r.Text("detail", maxText)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode node status: %w", err)
	}
	return s, nil
}

// MaxLogPart is how many bytes of a log's file come at once.
const MaxLogPart = 1 << 20

// LogPart is a piece of the log's file and the newest checkpoint, which was
// taken before the piece: whoever reads on to Total has every entry that the
// first part's checkpoint covers.
type LogPart struct {
	Total      uint64 // length of the file
	Checkpoint []byte
	Bytes      []byte
}

// Encode is the canonical encoding.
func (p *LogPart) Encode() []byte {
	return wire.NewWriter(envelopeVersion).Uint64(p.Total).Var(p.Checkpoint).Var(p.Bytes).Bytes()
}

// DecodeLogPart is the inverse of Encode.
func DecodeLogPart(b []byte) (*LogPart, error) {
	r := wire.NewReader(b, envelopeVersion)
	p := &LogPart{Total: r.Uint64("total"), Checkpoint: r.Var("checkpoint", 64<<10), Bytes: r.Var("bytes", MaxLogPart)}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode part of a log: %w", err)
	}
	return p, nil
}
