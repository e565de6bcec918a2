package signature

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// CounterSlack is by how much two signatures' times may stand in another order than
// the authenticator's counter, in milliseconds: clocks are off, and pages stay open
// between the moment that they write into the statement and the touch.
const CounterSlack = 10 * 60 * 1000

// Use is one signature of a passkey, as far as it tells of copies of the passkey.
type Use struct {
	Digest    [32]byte // the statement's: what was signed
	Time      uint64   // when, by what the statement fixes (unix ms); 0: it fixes none
	Signature Signature
}

// Counter is the authenticator's, 0 when it does not count.
func (u *Use) Counter() uint32 { return u.Signature.Counter() }

// Contradicts reports whether no single authenticator can have made both: one counter
// for two statements, or a counter that fell as time went on. Two uses that do not
// count never contradict each other.
func (u *Use) Contradicts(o *Use) bool {
	a, b := u.Counter(), o.Counter()
	switch {
	case u.Digest == o.Digest, a == 0 && b == 0:
		return false
	case a == b:
		return true
	case u.Time == 0 || o.Time == 0:
		return false
	case a < b:
		return u.Time > o.Time && u.Time-o.Time > CounterSlack
	}
	return o.Time > u.Time && o.Time-u.Time > CounterSlack
}

// WriteUse appends u as a field of a larger encoding.
func WriteUse(w *wire.Writer, u *Use) {
	WriteSignature(w.Fixed(u.Digest[:]).Uint64(u.Time), u.Signature)
}

// ReadUse reads what WriteUse wrote.
func ReadUse(r *wire.Reader, field string) (u Use) {
	r.Into(field+": digest", u.Digest[:])
	u.Time = r.Uint64(field + ": time")
	u.Signature = ReadSignature(r, field+": signature")
	if r.Err() == nil && !u.Signature.Algorithm.IsPasskey() {
		r.Fail(fmt.Errorf("%s: a signature by %v, want a passkey's", field, u.Signature.Algorithm))
	}
	return u
}

// MinUse is the least size of a Use's encoding.
const MinUse = 32 + 8 + 4
