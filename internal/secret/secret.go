// Package secret holds bytes that must not be printed, compared in variable
// time or left behind.
//
// What it does not do: Go may have copied the bytes before they came here (stack
// growth, a caller's slice), and the pages may be swapped unless the process
// locked them. THREAT_MODEL.md says so.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// Bytes is an erasable secret. It holds its slice behind two pointers, so that
// no verb shows it in a struct with an unexported Bytes field, where fmt does not
// call Format: behind one pointer, a verb that does not suit it (%s, %t) would.
type Bytes struct{ p **[]byte }

func hold(b []byte) Bytes {
	p := &b
	return Bytes{&p}
}

// errSecret is the answer of every encoder.
var errSecret = errors.New("secret: refuses to be encoded")

// New takes a copy of b and wipes b.
func New(b []byte) Bytes {
	c := append(make([]byte, 0, len(b)), b...)
	Wipe(b)
	return hold(c)
}

// Random reads n bytes from r.
func Random(r io.Reader, n int) (Bytes, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		Wipe(b)
		return Bytes{}, fmt.Errorf("couldn't read %d random bytes: %w", n, err)
	}
	return hold(b), nil
}

// Reveal returns the bytes themselves, not a copy: the caller must neither keep
// nor change them. It is nil after Destroy.
func (s Bytes) Reveal() []byte {
	if s.p == nil {
		return nil
	}
	return **s.p
}

// Len returns the length; it is not secret.
func (s Bytes) Len() int { return len(s.Reveal()) }

// Equal compares in constant time; lengths are public.
func (s Bytes) Equal(t Bytes) bool {
	return subtle.ConstantTimeCompare(s.Reveal(), t.Reveal()) == 1
}

// Clone returns a copy with an owner of its own.
func (s Bytes) Clone() Bytes {
	return hold(append([]byte(nil), s.Reveal()...))
}

// Destroy wipes the bytes. It may be called twice.
func (s Bytes) Destroy() {
	if s.p == nil {
		return
	}
	Wipe(**s.p)
	**s.p = nil
}

// Wipe overwrites b with zeros.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}

const redacted = "[secret]"

// Format answers every verb of fmt.
func (s Bytes) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String hides the bytes.
func (s Bytes) String() string { return redacted }

// GoString hides the bytes.
func (s Bytes) GoString() string { return redacted }

// MarshalText refuses.
func (s Bytes) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalJSON refuses.
func (s Bytes) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalBinary refuses.
func (s Bytes) MarshalBinary() ([]byte, error) { return nil, errSecret }

// GobEncode refuses.
func (s Bytes) GobEncode() ([]byte, error) { return nil, errSecret }
