// Package mpc is the root of Coffer's threshold cryptography: what every
// protocol package below it shares. The packages are usable without the rest of
// Coffer.
//
// Every protocol is a pure state machine: messages in, messages out; no I/O, no
// goroutine, no clock, and randomness only from the reader it is handed. The
// caller moves the messages over channels that are authenticated and, where a
// message says so, encrypted; it makes durable what an outcome demands before
// anything else leaves.
package mpc

import (
	"errors"
	"fmt"
)

// ID is a participant: the x-coordinate of its share, never zero.
type ID uint16

// MaxParties bounds n.
const MaxParties = 16

// Class says what the caller must do about an Abort (docs/spec/aborts.md).
type Class uint8

const (
	// Benign: timeout, epoch, split view, differing setup. Nobody is at fault;
	// retry with a new attempt id.
	Benign Class = iota + 1
	// Attributed: the culprits provably misbehaved. Suspend them for this
	// request.
	Attributed
	// Quarantine: a consistency check of the OT extension or the VOLE failed.
	// One bit of a secret may have been tested: the pair stops at once, durably,
	// before anything is emitted.
	Quarantine
	// Unattributed: the result is wrong and nobody can be named. Never try the
	// same set of signers again.
	Unattributed
)

func (c Class) String() string {
	switch c {
	case Benign:
		return "benign"
	case Attributed:
		return "attributed"
	case Quarantine:
		return "quarantine"
	case Unattributed:
		return "unattributed"
	}
	return fmt.Sprintf("class-%d", uint8(c))
}

// Abort ends a session. After it every method of the session returns the same
// Abort, and its secrets are wiped.
type Abort struct {
	Class    Class
	Culprits []ID   // sorted; empty for Benign and Unattributed
	Step     string // e.g. "dkls23 round 2: OT extension check"
	Err      error
}

func (a *Abort) Error() string {
	if len(a.Culprits) == 0 {
		return fmt.Sprintf("%s: %s abort: %v", a.Step, a.Class, a.Err)
	}
	return fmt.Sprintf("%s: %s abort, participants %v: %v", a.Step, a.Class, a.Culprits, a.Err)
}

func (a *Abort) Unwrap() error { return a.Err }

// AsAbort returns the Abort in err's chain, or nil.
func AsAbort(err error) *Abort {
	var a *Abort
	if errors.As(err, &a) {
		return a
	}
	return nil
}
