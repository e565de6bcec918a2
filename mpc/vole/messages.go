package vole

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
)

const version = 1

const cellsSize = xi * slots * secp256k1.ScalarSize

// Sizes of the encoded messages.
const (
	Message1Size = 1 + otext.MessageSize
	Message2Size = 1 + cellsSize + rho*secp256k1.ScalarSize + 32
)

// Message1 is Bob's: the OT-extension message.
type Message1 otext.Message

// Message2 is Alice's: Ã (416 rows of four scalars), η and μ, encoded.
type Message2 struct {
	A   [cellsSize]byte
	Eta [rho][secp256k1.ScalarSize]byte
	Mu  [32]byte
}

// cell is the encoding of Ã_{j,s}.
func (m *Message2) cell(j, s int) []byte {
	i := (j*slots + s) * secp256k1.ScalarSize
	return m.A[i : i+secp256k1.ScalarSize]
}

// MarshalBinary encodes m. It never fails.
func (m *Message1) MarshalBinary() ([]byte, error) {
	b := make([]byte, 1, Message1Size)
	b[0] = version
	return (*otext.Message)(m).AppendBinary(b)
}

// UnmarshalBinary decodes strictly.
func (m *Message1) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, version)
	body := r.Fixed("U, X, TH", otext.MessageSize)
	if err := r.Done(); err != nil {
		return fmt.Errorf("VOLE message 1: %w", err)
	}
	return (*otext.Message)(m).UnmarshalBinary(body)
}

// MarshalBinary encodes m. It never fails.
func (m *Message2) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, Message2Size)
	b = append(b, version)
	b = append(b, m.A[:]...)
	for k := range m.Eta {
		b = append(b, m.Eta[k][:]...)
	}
	return append(b, m.Mu[:]...), nil
}

// UnmarshalBinary decodes strictly: the exact size, every scalar below q.
func (m *Message2) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, version)
	var t Message2
	r.Into("cells", t.A[:])
	for k := range t.Eta {
		r.Into("eta", t.Eta[k][:])
	}
	r.Into("mu", t.Mu[:])
	if err := r.Done(); err != nil {
		return fmt.Errorf("VOLE message 2: %w", err)
	}
	var s secp256k1.Scalar
	for i := range xi * slots {
		if err := s.SetBytes(t.cell(i/slots, i%slots)); err != nil {
			return fmt.Errorf("VOLE message 2: cell %d,%d: %w", i/slots, i%slots, err)
		}
	}
	for k := range t.Eta {
		if err := s.SetBytes(t.Eta[k][:]); err != nil {
			return fmt.Errorf("VOLE message 2: eta %d: %w", k, err)
		}
	}
	*m = t
	return nil
}
