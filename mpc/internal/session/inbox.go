package session

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// HeaderSize is the length of an encoded Header.
const HeaderSize = 47

// Broadcast is the recipient of a message that is the same for every peer.
const Broadcast mpc.ID = 0

// Header starts every message.
type Header struct {
	Protocol Protocol
	Round    uint8
	Session  [32]byte // round 0: the attempt id and zeros; later: the sid
	Epoch    uint64
	From, To mpc.ID
}

// Attempt is the session field of round 0.
func Attempt(id [16]byte) (s [32]byte) {
	copy(s[:], id[:])
	return s
}

// Writer starts a message.
func (h *Header) Writer() *wire.Writer {
	return wire.NewWriter(Version).
		Uint8(uint8(h.Protocol)).
		Uint8(h.Round).
		Fixed(h.Session[:]).
		Uint64(h.Epoch).
		Uint16(uint16(h.From)).
		Uint16(uint16(h.To))
}

// ReadHeader reads a header; the reader's error says when it is not one.
func ReadHeader(r *wire.Reader) Header {
	var h Header
	h.Protocol = Protocol(r.Uint8("protocol"))
	h.Round = r.Uint8("round")
	r.Into("session", h.Session[:])
	h.Epoch = r.Uint64("epoch")
	h.From = mpc.ID(r.Uint16("from"))
	h.To = mpc.ID(r.Uint16("to"))
	return h
}

// differs names the first field in which a genuine message of another place
// would differ.
func (h *Header) differs(want *Header) error {
	switch {
	case h.Protocol != want.Protocol:
		return fmt.Errorf("message is of protocol %d, want %d", h.Protocol, want.Protocol)
	case h.Round != want.Round:
		return fmt.Errorf("message is of round %d, want %d", h.Round, want.Round)
	case h.Epoch != want.Epoch:
		return fmt.Errorf("message is of epoch %d, want %d", h.Epoch, want.Epoch)
	case h.Session != want.Session:
		return fmt.Errorf("message is of session %x, want %x", h.Session, want.Session)
	case h.To != want.To:
		return fmt.Errorf("message is to participant %d, want %d", h.To, want.To)
	}
	return nil
}

// Box is the messages of one kind that a round takes from its peers.
type Box struct {
	Messages map[mpc.ID][]byte
	Want     Header    // From is not read: it is the key of Messages
	Echo     *[32]byte // what the 32 bytes after the header must be, if any
}

// Readers are positioned at the bodies of the messages of a Box.
type Readers map[mpc.ID]*wire.Reader

// Open does the work on a round's messages that comes before any body is looked
// at, for all peers and all boxes (docs/spec/session.md, order of work, 1 to
// 3): a message of each peer; headers; the echo of the round before. What an
// untrusted network can cause with genuine messages is benign and decided
// first; only then is a peer blamed.
func Open(step string, peers []mpc.ID, boxes ...Box) ([]Readers, error) {
	for _, b := range boxes {
		if err := complete(b.Messages, peers); err != nil {
			return nil, Benign(step, err)
		}
	}
	out := make([]Readers, len(boxes))
	faults := make(map[mpc.ID]error)
	for i := range boxes {
		out[i] = make(Readers, len(peers))
		for _, id := range peers {
			r := wire.NewReader(boxes[i].Messages[id], Version)
			h := ReadHeader(r)
			if r.Err() == nil {
				if err := h.differs(&boxes[i].Want); err != nil {
					return nil, Benign(step, fmt.Errorf("from participant %d: %w", id, err))
				}
				if h.From != id {
					r.Failf("message of participant %d says that it is from %d", id, h.From)
				}
			}
			out[i][id] = r
		}
	}
	for i := range boxes {
		for _, id := range peers {
			r := out[i][id]
			if boxes[i].Echo != nil {
				var echo [32]byte
				r.Into("echo", echo[:])
				if r.Err() == nil && echo != *boxes[i].Echo {
					return nil, Benign(step, fmt.Errorf("participant %d saw other messages of the round before: echo %x, want %x", id, echo, *boxes[i].Echo))
				}
			}
			if err := r.Err(); err != nil {
				faults[id] = err
			}
		}
	}
	if err := Blame(step, peers, faults); err != nil {
		return nil, err
	}
	return out, nil
}

func complete(messages map[mpc.ID][]byte, peers []mpc.ID) error {
	for _, id := range peers {
		if _, ok := messages[id]; !ok {
			return fmt.Errorf("no message from participant %d", id)
		}
	}
	if len(messages) != len(peers) {
		return fmt.Errorf("%d messages, want one of each of the %d peers %v", len(messages), len(peers), peers)
	}
	return nil
}

// Blame attributes faults to their authors, or returns nil when there are none.
func Blame(step string, peers []mpc.ID, faults map[mpc.ID]error) error {
	var culprits []mpc.ID
	var errs []error
	for _, id := range peers {
		if err := faults[id]; err != nil {
			culprits = append(culprits, id)
			errs = append(errs, fmt.Errorf("participant %d: %w", id, err))
		}
	}
	if culprits == nil {
		return nil
	}
	return &mpc.Abort{Class: mpc.Attributed, Culprits: culprits, Step: step, Err: errors.Join(errs...)}
}

// Attributed blames one peer.
func Attributed(step string, id mpc.ID, err error) error {
	return &mpc.Abort{Class: mpc.Attributed, Culprits: []mpc.ID{id}, Step: step, Err: err}
}

// Benign blames nobody: retry with a new attempt id.
func Benign(step string, err error) error {
	return &mpc.Abort{Class: mpc.Benign, Step: step, Err: err}
}

// Unattributed is a wrong result that cannot be laid at anyone's door.
func Unattributed(step string, err error) error {
	return &mpc.Abort{Class: mpc.Unattributed, Step: step, Err: err}
}

// Quarantine stops a pair.
func Quarantine(step string, id mpc.ID, err error) error {
	return &mpc.Abort{Class: mpc.Quarantine, Culprits: []mpc.ID{id}, Step: step, Err: err}
}
