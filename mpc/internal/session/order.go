package session

import (
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
)

// Order is where a session stands: its rounds are called once, in order, and an
// abort is for good.
type Order struct {
	name  string // of the protocol, for errors
	next  uint8  // the round to be called
	abort error  // set once; then every call returns it
	ended bool
}

// NewOrder is that of a session whose first round is 0.
func NewOrder(name string) Order { return Order{name: name} }

// Begin says whether a round may be called now.
func (o *Order) Begin(round uint8) error {
	switch {
	case o.abort != nil:
		return o.abort
	case o.ended:
		return fmt.Errorf("%s: the session has ended", o.name)
	case o.next != round:
		return fmt.Errorf("%s: round %d called, the next is %d", o.name, round, o.next)
	}
	return nil
}

// End records the outcome of a round. An abort wipes the session's secrets:
// destroy is the session's Destroy.
func (o *Order) End(err error, destroy func()) {
	if err != nil {
		o.abort = err
		destroy()
		return
	}
	o.next++
}

// Close ends the session. It may be called at any time.
func (o *Order) Close() { o.ended = true }

// Next is the round to be called.
func (o *Order) Next() uint8 { return o.next }

// EchoOf is Echo over the broadcasts of all, by id: one's own and the peers'.
func EchoOf(sid [32]byte, round uint8, all []mpc.ID, self mpc.ID, own []byte, messages map[mpc.ID][]byte) [32]byte {
	return Echo(sid, round, Broadcasts(all, self, own, messages))
}

// Broadcasts lists the messages of all, one's own among the peers'.
func Broadcasts(all []mpc.ID, self mpc.ID, own []byte, messages map[mpc.ID][]byte) [][]byte {
	out := make([][]byte, len(all))
	for i, id := range all {
		out[i] = messages[id]
		if id == self {
			out[i] = own
		}
	}
	return out
}

// Draw fills the slices in order. A source that fails is nobody's fault.
func Draw(rand io.Reader, step string, dst ...[]byte) error {
	for _, b := range dst {
		if _, err := io.ReadFull(rand, b); err != nil {
			return Benign(step, fmt.Errorf("couldn't read randomness: %w", err))
		}
	}
	return nil
}
