package pprf

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

const version = 1

// MessageSize is the length of an encoded Message.
const MessageSize = 1 + Trees*(2*(Depth-1)*seedSize+checkSize) + 32

// Message is Bob's one message.
type Message struct {
	C [Trees][Depth - 1][2]seed // masked sums of the levels 2 … 4
	T [Trees][checkSize]byte    // sum of the check values of a tree
	S [32]byte                  // hash of all check values
}

// MarshalBinary encodes m. It never fails.
func (m *Message) MarshalBinary() ([]byte, error) {
	w := wire.NewWriter(version)
	for i := range m.C {
		for d := range m.C[i] {
			w.Fixed(m.C[i][d][0][:]).Fixed(m.C[i][d][1][:])
		}
	}
	for i := range m.T {
		w.Fixed(m.T[i][:])
	}
	return w.Fixed(m.S[:]).Bytes(), nil
}

// UnmarshalBinary takes exactly MessageSize bytes.
func (m *Message) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, version)
	var t Message
	for i := range t.C {
		for d := range t.C[i] {
			r.Into("C", t.C[i][d][0][:])
			r.Into("C", t.C[i][d][1][:])
		}
	}
	for i := range t.T {
		r.Into("T", t.T[i][:])
	}
	r.Into("S", t.S[:])
	if err := r.Done(); err != nil {
		return fmt.Errorf("punctured trees' message: %w", err)
	}
	*m = t
	return nil
}
