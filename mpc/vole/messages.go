package vole

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
)

const version = 1

// cellsSize is the length of Ã of one signature.
const cellsSize = xi * slots * secp256k1.ScalarSize

// Message1Size is the length of an encoded Message1 for n signatures.
func Message1Size(n int) int { return 1 + otext.MessageSize(n) }

// Message2Size is the length of an encoded Message2 for n signatures.
func Message2Size(n int) int { return 1 + n*(cellsSize+rho*secp256k1.ScalarSize) + 32 }

// Message1 is Bob's: the OT-extension message.
type Message1 otext.Message

// Message2 is Alice's for n signatures: Ã (n·416 rows of four scalars), η and μ,
// encoded.
type Message2 struct {
	n   int
	raw []byte // the whole encoding; A is part of it
	A   []byte
	Eta [][rho][secp256k1.ScalarSize]byte
	Mu  [32]byte
}

// newMessage2 is the message that raw, of Message2Size(n) bytes, encodes.
func newMessage2(n int, raw []byte) *Message2 {
	return &Message2{n: n, raw: raw[:len(raw):len(raw)], A: raw[1 : 1+n*cellsSize], Eta: make([][rho][secp256k1.ScalarSize]byte, n)}
}

// cell is the encoding of Ã_{j,s}, j global.
func (m *Message2) cell(j, s int) []byte {
	i := (j*slots + s) * secp256k1.ScalarSize
	return m.A[i : i+secp256k1.ScalarSize]
}

// N is the number of signatures.
func (m *Message1) N() int { return (*otext.Message)(m).N() }

// N is the number of signatures.
func (m *Message2) N() int { return m.n }

// MarshalBinary encodes m. It never fails.
func (m *Message1) MarshalBinary() ([]byte, error) {
	b := make([]byte, 1, Message1Size(m.N()))
	b[0] = version
	return (*otext.Message)(m).AppendBinary(b)
}

// DecodeMessage1 decodes strictly: the exact size for n signatures. It keeps b.
func DecodeMessage1(b []byte, n int) (*Message1, error) {
	if err := otext.CheckBatch(n); err != nil {
		return nil, fmt.Errorf("VOLE message 1: %w", err)
	}
	r := wire.NewReader(b, version)
	body := r.Fixed("U, X, TH", otext.MessageSize(n))
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("VOLE message 1: %w", err)
	}
	m, err := otext.DecodeMessage(body, n)
	return (*Message1)(m), err
}

// MarshalBinary encodes m. It never fails. The bytes are m's own: they are a
// megabyte for twenty signatures.
func (m *Message2) MarshalBinary() ([]byte, error) {
	m.raw[0] = version
	b := m.raw[:1+len(m.A)]
	for i := range m.Eta {
		for k := range m.Eta[i] {
			b = append(b, m.Eta[i][k][:]...)
		}
	}
	return append(b, m.Mu[:]...), nil
}

// DecodeMessage2 decodes strictly: the exact size for n signatures, every scalar
// below q. It keeps b.
func DecodeMessage2(b []byte, n int) (*Message2, error) {
	if err := otext.CheckBatch(n); err != nil {
		return nil, fmt.Errorf("VOLE message 2: %w", err)
	}
	if len(b) != Message2Size(n) {
		return nil, fmt.Errorf("VOLE message 2 has %d bytes, want %d for a batch of %d", len(b), Message2Size(n), n)
	}
	if b[0] != version {
		return nil, fmt.Errorf("VOLE message 2: version %d, want %d", b[0], version)
	}
	m := newMessage2(n, b)
	rest := b[1+len(m.A):]
	for i := range m.Eta {
		for k := range m.Eta[i] {
			rest = rest[copy(m.Eta[i][k][:], rest):]
		}
	}
	copy(m.Mu[:], rest)
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check refuses a scalar that is not below q.
func (m *Message2) check() error {
	var s secp256k1.Scalar
	for i := range m.n * xi * slots {
		if err := s.SetBytes(m.cell(i/slots, i%slots)); err != nil {
			return fmt.Errorf("VOLE message 2: cell %d,%d: %w", i/slots, i%slots, err)
		}
	}
	for i := range m.Eta {
		for k := range m.Eta[i] {
			if err := s.SetBytes(m.Eta[i][k][:]); err != nil {
				return fmt.Errorf("VOLE message 2: eta %d,%d: %w", i, k, err)
			}
		}
	}
	return nil
}
