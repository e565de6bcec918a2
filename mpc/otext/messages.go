package otext

import "fmt"

// MessageSize is the length of an encoded Message. The message travels inside
// message 1 of package vole, which carries the version.
const MessageSize = Rows*rowSize + 16 + 32

// Message is Bob's one message: U, X = h(x), TH.
type Message struct {
	U  [Rows][rowSize]byte
	X  [16]byte
	TH [32]byte
}

// AppendBinary appends U ‖ X ‖ TH. It never fails.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	for i := range m.U {
		b = append(b, m.U[i][:]...)
	}
	b = append(b, m.X[:]...)
	return append(b, m.TH[:]...), nil
}

// UnmarshalBinary takes exactly MessageSize bytes; every such string is one
// message.
func (m *Message) UnmarshalBinary(b []byte) error {
	if len(b) != MessageSize {
		return fmt.Errorf("OT extension message has %d bytes, want %d", len(b), MessageSize)
	}
	for i := range m.U {
		b = b[copy(m.U[i][:], b):]
	}
	b = b[copy(m.X[:], b):]
	copy(m.TH[:], b)
	return nil
}
