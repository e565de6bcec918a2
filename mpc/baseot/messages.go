package baseot

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

const version = 1

// Sizes of the encoded messages.
const (
	Message1Size = 1 + pointSize
	Message2Size = 1 + N*2*pointSize
)

// Message1 is Bob's: the encoding of Y.
type Message1 struct{ Y [pointSize]byte }

// Pair is (T_{i,0}, T_{i,1}) of one OT, encoded.
type Pair [2][pointSize]byte

// Message2 is Alice's.
type Message2 struct{ T [N]Pair }

// MarshalBinary encodes m. It never fails.
func (m *Message1) MarshalBinary() ([]byte, error) {
	return wire.NewWriter(version).Fixed(m.Y[:]).Bytes(), nil
}

// UnmarshalBinary decodes strictly: the exact size, and a canonical point.
func (m *Message1) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, version)
	var t Message1
	r.Into("Y", t.Y[:])
	if err := r.Done(); err != nil {
		return fmt.Errorf("base OT message 1: %w", err)
	}
	if _, err := decodePoint(&t.Y); err != nil {
		return fmt.Errorf("base OT message 1: Y: %w", err)
	}
	*m = t
	return nil
}

// MarshalBinary encodes m. It never fails.
func (m *Message2) MarshalBinary() ([]byte, error) {
	w := wire.NewWriter(version)
	for i := range m.T {
		w.Fixed(m.T[i][0][:]).Fixed(m.T[i][1][:])
	}
	return w.Bytes(), nil
}

// UnmarshalBinary checks version and size. The points are decoded, strictly, by
// Finish, which needs them: decoding 256 of them twice would cost 1 ms.
func (m *Message2) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, version)
	var t Message2
	for i := range t.T {
		r.Into("T", t.T[i][0][:])
		r.Into("T", t.T[i][1][:])
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("base OT message 2: %w", err)
	}
	*m = t
	return nil
}
