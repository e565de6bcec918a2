package pair

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/vole"
)

const version = 1

// headerSize is the length of version, step, from and to; from message 2 on the
// psid follows.
const headerSize = 6

// header is how every message begins.
type header struct {
	step     uint8
	from, to mpc.ID
	psid     [32]byte // zero in message 1
}

// decodeHeader reads the header of a message that cut made; what follows it is
// the step's own.
func decodeHeader(b []byte) (h header, err error) {
	r := wire.NewReader(b, version)
	h.step = r.Uint8("step")
	h.from = mpc.ID(r.Uint16("from"))
	h.to = mpc.ID(r.Uint16("to"))
	if h.step > 1 {
		r.Into("psid", h.psid[:])
	}
	if err := r.Err(); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	return h, nil
}

// cut splits off the first message: its step says how long it is.
func cut(b []byte) (msg, rest []byte, err error) {
	if len(b) < headerSize {
		return nil, nil, fmt.Errorf("message of %d bytes is shorter than a header", len(b))
	}
	step := b[1]
	if step < 1 || step > steps {
		return nil, nil, fmt.Errorf("step %d, want 1 to %d", step, steps)
	}
	n := messageSizes[step-1]
	if len(b) < n {
		return nil, nil, fmt.Errorf("message %d has %d bytes, want %d", step, len(b), n)
	}
	return b[:n], b[n:], nil
}

const (
	bodyAt   = headerSize + 32 // where the body of messages 2 to 5 begins
	testSize = 1               // signatures in the self-test
)

// messageSizes are the only lengths that messages 1 to 5 have.
var messageSizes = [steps]int{
	headerSize + 32 + baseot.Message1Size,
	bodyAt + baseot.Message2Size,
	bodyAt + pprf.MessageSize + vole.Message1Size(testSize),
	bodyAt + vole.Message2Size(testSize) + 4*secp256k1.ScalarSize,
	bodyAt + 32,
}

func (s *Session) header(step uint8) *wire.Writer {
	w := wire.NewWriter(version).Uint8(step)
	return w.Uint16(uint16(s.cfg.Self)).Uint16(uint16(s.cfg.Peer))
}

// frame is header, psid and body: messages 2 to 5.
func (s *Session) frame(step uint8, body []byte) []byte {
	return s.header(step).Fixed(s.psid[:]).Fixed(body).Bytes()
}

// decodeBody decodes the body of messages 2 to 5, whose header was checked.
func decodeBody(b []byte, into interface{ UnmarshalBinary([]byte) error }) error {
	return into.UnmarshalBinary(b[bodyAt:])
}

// message1 is the nonce and the base-OT key.
type message1 struct {
	Nonce [32]byte
	OT    baseot.Message1
}

func (m *message1) encode(w *wire.Writer) []byte {
	y, _ := m.OT.MarshalBinary()
	return w.Fixed(m.Nonce[:]).Fixed(y).Bytes()
}

// decode reads a message 1 whose header, and so its size, was checked.
func (m *message1) decode(b []byte) error {
	copy(m.Nonce[:], b[headerSize:])
	return m.OT.UnmarshalBinary(b[headerSize+32:])
}

// message3 is Bob's trees and the VOLE's first message.
type message3 struct {
	Trees pprf.Message
	VOLE  *vole.Message1
}

func (m *message3) encode() []byte {
	b, _ := m.Trees.MarshalBinary()
	v, _ := m.VOLE.MarshalBinary()
	return append(b, v...)
}

// UnmarshalBinary decodes strictly.
func (m *message3) UnmarshalBinary(b []byte) error {
	n := pprf.MessageSize
	if len(b) != n+vole.Message1Size(testSize) {
		return fmt.Errorf("message 3 has a body of %d bytes, want %d", len(b), n+vole.Message1Size(testSize))
	}
	if err := m.Trees.UnmarshalBinary(b[:n]); err != nil {
		return err
	}
	var err error
	m.VOLE, err = vole.DecodeMessage1(b[n:], testSize)
	return err
}

// message4 is the VOLE's second message, and Alice's inputs and shares of the
// self-test in clear.
type message4 struct {
	VOLE *vole.Message2
	A, C [2][32]byte
}

func (m *message4) encode() []byte {
	b, _ := m.VOLE.MarshalBinary()
	for _, x := range [][32]byte{m.A[0], m.A[1], m.C[0], m.C[1]} {
		b = append(b, x[:]...)
	}
	return b
}

// UnmarshalBinary decodes strictly, scalars included.
func (m *message4) UnmarshalBinary(b []byte) error {
	n := vole.Message2Size(testSize)
	if len(b) != n+4*secp256k1.ScalarSize {
		return fmt.Errorf("self-test message has %d bytes, want %d", len(b), n+4*secp256k1.ScalarSize)
	}
	var err error
	if m.VOLE, err = vole.DecodeMessage2(b[:n], testSize); err != nil {
		return err
	}
	b = b[n:]
	var s secp256k1.Scalar
	for i, dst := range []*[32]byte{&m.A[0], &m.A[1], &m.C[0], &m.C[1]} {
		if err := s.SetBytes(b[:32]); err != nil {
			return fmt.Errorf("self-test scalar %d: %w", i, err)
		}
		b = b[copy(dst[:], b[:32]):]
	}
	return nil
}

// message5 is the hash of the transcript.
type message5 struct{ Hash [32]byte }

// UnmarshalBinary takes exactly 32 bytes.
func (m *message5) UnmarshalBinary(b []byte) error {
	if len(b) != len(m.Hash) {
		return fmt.Errorf("confirmation has %d bytes, want %d", len(b), len(m.Hash))
	}
	copy(m.Hash[:], b)
	return nil
}
