package audit

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// GovernanceEvent is what happened to a change at a vault.
type GovernanceEvent uint8

// The events. A change that is in force at once has none: its own entry says so.
const (
	ChangeWaits     GovernanceEvent = 1 // it was adopted and waits; Time: when the vault adopted it
	ChangeInForce   GovernanceEvent = 2 // its time came; Time: when it was due
	ChangeDropped   GovernanceEvent = 3 // its time came and it did not fit; Detail: why
	ChangeRefused   GovernanceEvent = 4 // it was offered and refused; Code and Detail: why
	ChangeBackdated GovernanceEvent = 5 // other vaults have proven when they adopted it; Time: the time that counts
)

func (e GovernanceEvent) String() string {
	switch e {
	case ChangeWaits:
		return "waits"
	case ChangeInForce:
		return "in-force"
	case ChangeDropped:
		return "dropped"
	case ChangeRefused:
		return "refused"
	case ChangeBackdated:
		return "backdated"
	}
	return fmt.Sprintf("event-%d", uint8(e))
}

// Governance is the body of an entry of KindGovernance.
type Governance struct {
	Event  GovernanceEvent
	Seq    uint64   // of the change
	Change [32]byte // its hash; both zero where what was refused does not decode
	Time   uint64   // unix milliseconds
	Code   string   // ChangeRefused: the refusal's
	Detail string
	Proofs []AdoptionProof // ChangeBackdated, by ascending vault
}

const governanceVersion = 1

// Encode is the canonical encoding (docs/spec/log.md).
func (g *Governance) Encode() []byte {
	w := wire.NewWriter(governanceVersion).Uint8(uint8(g.Event)).Uint64(g.Seq).Fixed(g.Change[:]).Uint64(g.Time).
		String(wire.CleanText(g.Code, maxName)).String(Clip(g.Detail))
	return w.Var(EncodeAdoptions(g.Proofs)).Bytes()
}

// DecodeGovernance is the inverse of Encode.
func DecodeGovernance(b []byte) (*Governance, error) {
	r := wire.NewReader(b, governanceVersion)
	g := &Governance{Event: GovernanceEvent(r.Uint8("event")), Seq: r.Uint64("seq")}
	if r.Err() == nil && (g.Event < ChangeWaits || g.Event > ChangeBackdated) {
		r.Failf("event: unknown value %d, want 1 to %d", uint8(g.Event), uint8(ChangeBackdated))
	}
	r.Into("change", g.Change[:])
	g.Time, g.Code, g.Detail = r.Uint64("time"), r.Text("code", maxName), r.Text("detail", maxText)
	if raw := r.Var("proofs", maxAdoptions); r.Err() == nil {
		var err error
		if g.Proofs, err = DecodeAdoptions(raw); err != nil {
			r.Fail(err)
		}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode governance entry: %w", err)
	}
	return g, nil
}

// AdoptionProof shows that a vault's log says, under a checkpoint that its HSM
// signed, when the vault adopted a change that waits.
type AdoptionProof struct {
	Index      uint64
	Entry      []byte // Entry of KindGovernance, ChangeWaits
	Proof      [][32]byte
	Checkpoint SignedCheckpoint
}

const (
	adoptionVersion = 1
	maxAdoptions    = 256 << 10
	maxAdoption     = 8 << 10 // an entry; it takes 90 bytes
)

// EncodeAdoptions is the canonical encoding of proofs, sorted by vault.
func EncodeAdoptions(proofs []AdoptionProof) []byte {
	w := wire.NewWriter(adoptionVersion).Count(len(proofs))
	for i := range proofs {
		p := &proofs[i]
		w.Uint64(p.Index).Var(p.Entry).Count(len(p.Proof))
		for j := range p.Proof {
			w.Fixed(p.Proof[j][:])
		}
		w.Var(p.Checkpoint.Encode())
	}
	return w.Bytes()
}

// DecodeAdoptions is the inverse of EncodeAdoptions. It verifies nothing.
func DecodeAdoptions(b []byte) ([]AdoptionProof, error) {
	r := wire.NewReader(b, adoptionVersion)
	var out []AdoptionProof
	last := uint16(0)
	for range r.Count("proofs", maxIDs, 20) {
		p := AdoptionProof{Index: r.Uint64("index"), Entry: r.Var("entry", maxAdoption)}
		for range r.Count("proof", MaxProof, 32) {
			var h [32]byte
			r.Into("proof", h[:])
			p.Proof = append(p.Proof, h)
		}
		raw := r.Var("checkpoint", maxCheckpoint)
		if r.Err() != nil {
			break
		}
		cp, err := DecodeSignedCheckpoint(raw)
		if err != nil {
			r.Fail(err)
			break
		}
		if cp.Vault <= last {
			r.Failf("proofs: vault %d after %d, want ascending", cp.Vault, last)
			break
		}
		p.Checkpoint, last = *cp, cp.Vault
		out = append(out, p)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode adoption proofs: %w", err)
	}
	return out, nil
}

// ProveAdoption makes the proof of the entry at index of a log, under a checkpoint
// that covers it.
func ProveAdoption(l *Log, entry []byte, index uint64, cp *SignedCheckpoint) (*AdoptionProof, error) {
	proof, err := l.Inclusion(index, cp.Size)
	if err != nil {
		return nil, err
	}
	return &AdoptionProof{index, entry, proof, *cp}, nil
}

// Verify checks the checkpoint's signatures under the vault's keys, that the entry
// stands in the log that it covers, and that it is the vault's own word of when it
// adopted the change, at that time: not of when others did. It returns the time.
func (p *AdoptionProof) Verify(k Keys, seq uint64, change [32]byte) (at uint64, err error) {
	if err := p.Checkpoint.Verify(k); err != nil {
		return 0, fmt.Errorf("adoption at vault %d: %w", k.Vault, err)
	}
	if err := CheckInclusion(p.Proof, p.Index, p.Checkpoint.Size, p.Checkpoint.Root, LeafHash(p.Entry)); err != nil {
		return 0, fmt.Errorf("adoption at vault %d: %w", k.Vault, err)
	}
	e, err := DecodeEntry(p.Entry)
	if err != nil {
		return 0, fmt.Errorf("adoption at vault %d: %w", k.Vault, err)
	}
	if e.Kind != KindGovernance {
		return 0, fmt.Errorf("adoption at vault %d: entry %d is of kind %s, want %s", k.Vault, p.Index, e.Kind, KindGovernance)
	}
	g, err := DecodeGovernance(e.Body)
	switch {
	case err != nil:
		return 0, fmt.Errorf("adoption at vault %d: %w", k.Vault, err)
	case g.Event != ChangeWaits || g.Time != e.Time:
		return 0, fmt.Errorf("adoption at vault %d: entry %d says %q, want the vault's own word that it has just adopted a change that waits", k.Vault, p.Index, g.Event)
	case g.Seq != seq || g.Change != change:
		return 0, fmt.Errorf("adoption at vault %d: entry %d is of change %d, %x; want change %d, %x", k.Vault, p.Index, g.Seq, g.Change[:8], seq, change[:8])
	}
	return g.Time, nil
}
