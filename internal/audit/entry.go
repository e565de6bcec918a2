package audit

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Kind says what an entry's body is.
type Kind uint8

// The kinds. Numbers are never reused.
const (
	KindBoot     Kind = 1 // Boot: the vault started
	KindGenesis  Kind = 2 // governance.Genesis: the cluster began
	KindChange   Kind = 3 // governance.SignedChange: policy or roster changed
	KindKey      Kind = 4 // KeyEntry: a key was generated
	KindDecision Kind = 5 // Decision: a request was allowed or refused
	KindOutcome  Kind = 6 // Outcome: what became of an attempt at this vault
	KindReceipt  Kind = 7 // Receipt: a signature came about
	KindIncident Kind = 8 // Incident: a peer misbehaved
	KindEpoch    Kind = 9 // EpochEntry: a key went to its next epoch

	KindGovernance Kind = 11 // Governance: what became of a change at this vault
	KindClone      Kind = 12 // Clone: a passkey is in two devices
)

var kindNames = [...]string{
	KindBoot: "boot", KindGenesis: "genesis", KindChange: "change", KindKey: "key",
	KindDecision: "decision", KindOutcome: "outcome", KindReceipt: "receipt", KindIncident: "incident", KindEpoch: "epoch", KindGovernance: "governance",
	KindClone: "clone",
}

func (k Kind) String() string {
	if k.known() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

func (k Kind) known() bool { return k >= KindBoot && int(k) < len(kindNames) && kindNames[k] != "" }

// Bounds. A body always fits one wire message with its frame around it.
const (
	MaxBody   = wire.MaxMessage - 1024
	maxBundle = 256 << 10 // request.Bundle
	maxTx     = 256 << 10 // a canonical unsigned transaction
	maxText   = 4 << 10   // Detail, Fix
	maxName   = 256
	maxIDs    = 16 // mpc.MaxParties
	maxBlob   = 1 << 20
)

const entryVersion = 1

// entryHead is what an entry's encoding has beside its body.
const entryHead = 1 + 8 + 1 + 4

// Entry is one line of the log. The leaf hash is over its encoding.
type Entry struct {
	Time uint64 // unix milliseconds, as the vault's clock said
	Kind Kind
	Body []byte // canonical encoding of what Kind names
}

// Encode is the canonical encoding (docs/spec/log.md).
func (e *Entry) Encode() []byte {
	return wire.NewWriter(entryVersion).Uint64(e.Time).Uint8(uint8(e.Kind)).Var(e.Body).Bytes()
}

// DecodeEntry is the inverse of Encode. It does not look into the body.
func DecodeEntry(b []byte) (*Entry, error) {
	r := wire.NewReader(b, entryVersion)
	e := &Entry{Time: r.Uint64("time"), Kind: Kind(r.Uint8("kind"))}
	if !e.Kind.known() {
		r.Failf("kind %d, want one of 1 to %d that has a meaning", uint8(e.Kind), len(kindNames)-1)
	}
	e.Body = r.Var("body", MaxBody)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode log entry: %w", err)
	}
	return e, nil
}

// Clip makes an explanation fit for the records of this package. Their encoders do
// it by themselves.
func Clip(s string) string { return wire.CleanText(s, maxText) }

func writeIDs(w *wire.Writer, ids []uint16) {
	w.Count(len(ids))
	for _, id := range ids {
		w.Uint16(id)
	}
}

// readIDs reads participants in strictly ascending order, none of them 0, so
// that a set has one encoding.
func readIDs(r *wire.Reader, field string) []uint16 {
	var ids []uint16
	last := uint16(0)
	for range r.Count(field, maxIDs, 2) {
		id := r.Uint16(field)
		if id <= last {
			r.Failf("%s: vault %d after %d, want ascending from 1", field, id, last)
		}
		ids, last = append(ids, id), id
	}
	return ids
}
