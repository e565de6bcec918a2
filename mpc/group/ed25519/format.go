package ed25519

import (
	"errors"
	"fmt"
	"io"
)

const redacted = "ed25519.Scalar(redacted)"

var errNoMarshal = errors.New("scalar refuses to be marshalled: it may be secret; encode Bytes explicitly")

// Format writes a placeholder, whatever the verb.
func (s Scalar) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns a placeholder.
func (s Scalar) String() string { return redacted }

// GoString returns a placeholder.
func (s Scalar) GoString() string { return redacted }

// MarshalText refuses.
func (s Scalar) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (s Scalar) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (s Scalar) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (s Scalar) GobEncode() ([]byte, error) { return nil, errNoMarshal }

const redactedPoint = "ed25519.Point(use Bytes)"

// Format writes a placeholder: projective coordinates tell more about a secret
// scalar than the point does.
func (p Point) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedPoint) }

// String returns a placeholder.
func (p Point) String() string { return redactedPoint }

// GoString returns a placeholder.
func (p Point) GoString() string { return redactedPoint }
