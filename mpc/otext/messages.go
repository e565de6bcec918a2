package otext

import (
	"fmt"

	"github.com/cofferhq/coffer/mpc/pprf"
)

// MessageSize is the length of an encoded Message for n signatures. The message
// travels inside message 1 of package vole, which carries the version.
func MessageSize(n int) int { return pprf.Trees*rowSize(n) + 16 + 32 }

// CheckBatch refuses a number of signatures outside 1 … MaxBatch.
func CheckBatch(n int) error {
	if n < 1 || n > MaxBatch {
		return fmt.Errorf("batch of %d signatures, want 1 to %d", n, MaxBatch)
	}
	return nil
}

// Message is Bob's one message for n signatures: U (32 rows), X = h(x), TH.
type Message struct {
	n  int
	U  []byte // the rows, one after another
	X  [16]byte
	TH [32]byte
}

// N is the number of signatures.
func (m *Message) N() int { return m.n }

// row is U_i.
func (m *Message) row(i int) []byte {
	k := rowSize(m.n)
	return m.U[i*k : (i+1)*k]
}

// AppendBinary appends U ‖ X ‖ TH. It never fails.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, m.U...)
	b = append(b, m.X[:]...)
	return append(b, m.TH[:]...), nil
}

// DecodeMessage takes exactly MessageSize(n) bytes; every such string is one
// message. It keeps b.
func DecodeMessage(b []byte, n int) (*Message, error) {
	if err := CheckBatch(n); err != nil {
		return nil, err
	}
	if len(b) != MessageSize(n) {
		return nil, fmt.Errorf("OT extension message has %d bytes, want %d for a batch of %d", len(b), MessageSize(n), n)
	}
	k := pprf.Trees * rowSize(n)
	m := &Message{n: n, U: b[:k:k]}
	copy(m.X[:], b[k:])
	copy(m.TH[:], b[k+16:])
	return m, nil
}
