package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// A ledger is what one party has promised: a hash chain of events. Every vault
// keeps its own, and a copy of each peer's as far as it knows it. The union
// (union.go) answers which versions of a request may already exist, and how much of
// a limit is used (ARCHITECTURE.md §2, §5; docs/spec/ledger.md).

type eventKind uint8

const (
	eventReserve eventKind = 1 // this party takes part in an attempt at a signature
	eventRelease eventKind = 2 // this party has not sent its final share of the attempt, and never will
	eventFinal   eventKind = 3 // this party may have sent its final share, a witness its certificate
	eventRestate eventKind = 4 // another party has reserved this: a word for those who never knew it
)

// event is one entry of a ledger. Reserve and restate carry all fields, the others
// only Kind, Time and Attempt.
type event struct {
	Kind    eventKind
	Time    uint64
	Attempt [16]byte

	Request [32]byte
	Key     [32]byte
	Parties []mpc.ID // who signs
	Policy  [32]byte // policy root
	Digest  [32]byte // what is to be signed
	Slots   []string // what it uses up on its chain
	Expires uint64   // of the request: no version of it can be signed later

	Witnesses []mpc.ID // who takes part in the ledger and does not sign
	Faults    uint16   // of the key
	Movement  []byte   // policy.Movement, encoded: what limits count
}

const eventVersion = 2

// Bounds of an event.
const (
	maxSlots    = 64
	maxSlotText = 256
	maxEvent    = 64 << 10
)

func (e *event) encode() []byte {
	w := wire.NewWriter(eventVersion).Uint8(uint8(e.Kind)).Uint64(e.Time).Fixed(e.Attempt[:])
	if e.Kind != eventReserve && e.Kind != eventRestate {
		return w.Bytes()
	}
	w.Fixed(e.Request[:]).Fixed(e.Key[:])
	writeParties(w, e.Parties)
	w.Fixed(e.Policy[:]).Fixed(e.Digest[:]).Count(len(e.Slots))
	for _, s := range e.Slots {
		w.String(s)
	}
	writeParties(w.Uint64(e.Expires), e.Witnesses)
	return w.Uint16(e.Faults).Var(e.Movement).Bytes()
}

func decodeEvent(b []byte) (*event, error) {
	r := wire.NewReader(b, eventVersion)
	e := &event{Kind: eventKind(r.Uint8("kind")), Time: r.Uint64("time")}
	r.Into("attempt", e.Attempt[:])
	switch e.Kind {
	case eventRelease, eventFinal:
	case eventReserve, eventRestate:
		r.Into("request", e.Request[:])
		r.Into("key", e.Key[:])
		e.Parties = readParties(r, "parties")
		r.Into("policy", e.Policy[:])
		r.Into("digest", e.Digest[:])
		for range r.Count("slots", maxSlots, 4) {
			e.Slots = append(e.Slots, r.String("slot", maxSlotText))
		}
		e.Expires = r.Uint64("expires")
		e.Witnesses = readParties(r, "witnesses")
		e.Faults, e.Movement = r.Uint16("faults"), r.Var("movement", policy.MaxMovement)
		if r.Err() == nil && len(e.Movement) > 0 {
			if _, err := policy.DecodeMovement(e.Movement); err != nil {
				r.Fail(err)
			}
		}
	default:
		r.Failf("kind: unknown event %d, want 1 to 4", e.Kind)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode ledger event: %w", err)
	}
	return e, nil
}

func writeParties(w *wire.Writer, ids []mpc.ID) {
	w.Count(len(ids))
	for _, id := range ids {
		w.Uint16(uint16(id))
	}
}

// readParties reads a sorted list of ids without zero and without repetition.
func readParties(r *wire.Reader, field string) []mpc.ID {
	var ids []mpc.ID
	for range r.Count(field, mpc.MaxParties, 2) {
		id := mpc.ID(r.Uint16(field))
		if n := len(ids); r.Err() == nil && (id == 0 || n > 0 && ids[n-1] >= id) {
			r.Failf("%s: ids must be above 0, sorted and unique; got %d", field, id)
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// ledgerHead names a party's ledger up to an event.
type ledgerHead struct {
	Party mpc.ID
	Seq   uint64 // number of events
	Hash  [32]byte
}

func writeHeads(w *wire.Writer, hs []ledgerHead) {
	w.Count(len(hs))
	for _, h := range hs {
		w.Uint16(uint16(h.Party)).Uint64(h.Seq).Fixed(h.Hash[:])
	}
}

func readHeads(r *wire.Reader) []ledgerHead {
	var hs []ledgerHead
	for range r.Count("heads", mpc.MaxParties, 42) {
		h := ledgerHead{Party: mpc.ID(r.Uint16("party")), Seq: r.Uint64("seq")}
		r.Into("hash", h.Hash[:])
		if n := len(hs); r.Err() == nil && (h.Party == 0 || n > 0 && hs[n-1].Party >= h.Party) {
			r.Failf("heads: parties must be above 0, sorted and unique; got %d", h.Party)
			return nil
		}
		hs = append(hs, h)
	}
	return hs
}

// ledger is a party's chain as this vault knows it. Encoded events stay in
// memory: they are what a peer that lags behind is sent.
type ledger struct {
	party  mpc.ID
	events [][]byte
	hashes [][32]byte // hashes[i] is the head after i+1 events
}

var emptyLedger [32]byte

func (l *ledger) head() ledgerHead {
	h := ledgerHead{Party: l.party, Seq: uint64(len(l.events))}
	if n := len(l.hashes); n > 0 {
		h.Hash = l.hashes[n-1]
	}
	return h
}

// hashAt is the head after seq events.
func (l *ledger) hashAt(seq uint64) ([32]byte, bool) {
	switch {
	case seq == 0:
		return emptyLedger, true
	case seq <= uint64(len(l.hashes)):
		return l.hashes[seq-1], true
	}
	return [32]byte{}, false
}

func (l *ledger) append(encoded []byte) ledgerHead {
	prev := l.head()
	h := wire.Hash("coffer/ledger/v1", wire.NewWriter(1).Uint16(uint16(l.party)).Uint64(prev.Seq).Bytes(), prev.Hash[:], encoded)
	l.events = append(l.events, encoded)
	l.hashes = append(l.hashes, h)
	return l.head()
}

// The bounds of one delta's events; a peer that lags further catches up
// over several.
const (
	maxDelta      = 256
	maxDeltaBytes = 256 << 10
)

// delta is a stretch of a party's ledger, from a head that the receiver stated.
type delta struct {
	From   uint64
	Events [][]byte
	Head   ledgerHead // the sender's head, which may lie beyond the events
}

const deltaVersion = 1

func (d *delta) encode() []byte {
	w := wire.NewWriter(deltaVersion).Uint64(d.From).Count(len(d.Events))
	for _, e := range d.Events {
		w.Var(e)
	}
	writeHeads(w, []ledgerHead{d.Head})
	return w.Bytes()
}

func decodeDelta(b []byte) (*delta, error) {
	r := wire.NewReader(b, deltaVersion)
	d := &delta{From: r.Uint64("from")}
	for range r.Count("events", maxDelta, 4) {
		d.Events = append(d.Events, r.Var("event", maxEvent))
	}
	hs := readHeads(r)
	if r.Err() == nil && len(hs) != 1 {
		r.Failf("head: %d given, want 1", len(hs))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode ledger delta: %w", err)
	}
	d.Head = hs[0]
	return d, nil
}

func (l *ledger) deltaFrom(seq uint64) *delta {
	d := &delta{From: min(seq, uint64(len(l.events))), Head: l.head()}
	size := 0
	for _, e := range l.events[d.From:min(uint64(len(l.events)), d.From+maxDelta)] {
		if size += len(e); size > maxDeltaBytes {
			break
		}
		d.Events = append(d.Events, e)
	}
	return d
}

// record appends an event to this vault's own ledger, durably before anything
// that follows from it leaves.
func (v *Vault) record(e *event) {
	e.Time = v.now
	b := e.encode()
	v.ownDay.force(v.now, ledgerCost(uint64(len(b))))
	v.appendEvent(v.cfg.ID, e, b)
}

func (v *Vault) appendEvent(party mpc.ID, e *event, encoded []byte) {
	l := v.ledgers[party]
	seq := l.append(encoded).Seq
	if err := v.store.put(fmt.Sprintf("%s%d/%016x", recordLedger, party, seq), encoded); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	v.index.add(party, e)
}

// adopt takes over what a peer says happened in its ledger. A gap is no fault,
// it only needs more; another history than the one known is a fork.
func (v *Vault) adopt(p *peer, d *delta) error {
	l := v.ledgers[p.id]
	have := l.head()
	switch {
	case p.forked:
		return fmt.Errorf("vault %d's ledger is forked", p.id)
	case d.Head.Party != p.id:
		return fmt.Errorf("delta of vault %d's ledger names vault %d", p.id, d.Head.Party)
	case d.From > have.Seq:
		p.behind = true
		return fmt.Errorf("delta of vault %d's ledger starts after event %d, known are %d: a gap", p.id, d.From, have.Seq)
	}
	fresh, events, size, err := d.beyond(l)
	if err != nil {
		return err
	}
	p.behind = d.Head.Seq > have.Seq+uint64(len(fresh))
	if !p.ledgerPace.spend(v.now, size/ledgerBytesPerMs, ledgerBurst) {
		p.behind = true
		return fmt.Errorf("vault %d's ledger grows faster than this vault takes: retry", p.id)
	}
	if err := v.takes(p, size); err != nil {
		return err
	}
	for i, enc := range fresh {
		v.appendEvent(p.id, events[i], enc)
		v.neverAsked(p.id, events[i])
	}
	if known, ok := l.hashAt(d.Head.Seq); ok && known != d.Head.Hash {
		return &forkError{p.id, d.Head.Seq}
	}
	return nil
}

// beyond decodes the events that l has not; those that it has must be the same.
// All of them decode, or none is taken.
func (d *delta) beyond(l *ledger) (fresh [][]byte, events []*event, size uint64, err error) {
	have := uint64(len(l.events))
	for i, enc := range d.Events {
		if seq := d.From + uint64(i); seq < have {
			if string(l.events[seq]) != string(enc) {
				return nil, nil, 0, &forkError{l.party, seq}
			}
			continue
		}
		e, err := decodeEvent(enc)
		if err != nil {
			return nil, nil, 0, err
		}
		fresh, events, size = append(fresh, enc), append(events, e), size+uint64(len(enc))
	}
	return fresh, events, size, nil
}

// Bounds of what a peer makes this vault keep for good: 256 KB a second, far more
// than signing needs, and 4 MB at once.
const (
	ledgerBytesPerMs = 256
	ledgerBurst      = 16_000 // milliseconds' worth
)

// forkError: two histories of one ledger.
type forkError struct {
	party mpc.ID
	seq   uint64
}

func (e *forkError) Error() string {
	return fmt.Sprintf("vault %d's ledger forks at event %d: two different histories are known", e.party, e.seq)
}

func (v *Vault) heads() []ledgerHead {
	var hs []ledgerHead
	for _, id := range sortedIDs(v.ledgers) {
		hs = append(hs, v.ledgers[id].head())
	}
	return hs
}
