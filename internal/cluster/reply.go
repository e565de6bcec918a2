package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Outcome is how a command ended.
type Outcome uint8

// The outcomes: done; policy or input said no (signed and logged, Certificate
// proves it when the refusal is a Decision); a protocol run ended without a
// result; the vault itself failed.
const (
	OutcomeDone    Outcome = 1
	OutcomeRefused Outcome = 2
	OutcomeAborted Outcome = 3
	OutcomeFailed  Outcome = 4
)

func (o Outcome) String() string {
	switch o {
	case OutcomeDone:
		return "done"
	case OutcomeRefused:
		return "refused"
	case OutcomeAborted:
		return "aborted"
	case OutcomeFailed:
		return "failed"
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// Reply answers a Command.
type Reply struct {
	Vault       uint16
	Outcome     Outcome
	Body        []byte // OutcomeDone: what the command's kind says
	Certificate []byte // audit.Certificate of the decision, allowed or refused, when there is one
	Refusal     []byte // OutcomeRefused: refusal.Refusal
	// OutcomeAborted: mpc's class, who is blamed, where.
	Class    uint8
	Culprits []uint16
	Detail   string // OutcomeAborted, OutcomeFailed: in words
}

const replyVersion = 1

// Encode is the canonical encoding.
func (p *Reply) Encode() []byte {
	w := wire.NewWriter(replyVersion).Uint16(p.Vault).Uint8(uint8(p.Outcome)).Var(p.Body).Var(p.Certificate).Var(p.Refusal)
	w.Uint8(p.Class)
	writeIDs(w, p.Culprits)
	return w.String(p.Detail).Bytes()
}

// DecodeReply is the inverse of Encode.
func DecodeReply(b []byte) (*Reply, error) {
	r := wire.NewReader(b, replyVersion)
	p := &Reply{Vault: r.Uint16("vault"), Outcome: Outcome(r.Uint8("outcome"))}
	if r.Err() == nil && (p.Outcome < OutcomeDone || p.Outcome > OutcomeFailed) {
		r.Failf("outcome: unknown value %d, want 1 to %d", p.Outcome, OutcomeFailed)
	}
	p.Body = r.Var("body", MaxBody)
	p.Certificate = r.Var("certificate", MaxBody)
	p.Refusal = r.Var("refusal", 64<<10)
	p.Class = r.Uint8("class")
	p.Culprits = readIDs(r, "culprits")
	p.Detail = r.Text("detail", 4096)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode reply: %w", err)
	}
	return p, nil
}

// Status is what a vault says of itself.
type Status struct {
	Vault          uint16
	Name           string
	Vendor         string // of the HSM, as the device names itself
	Model          string
	Identity       []byte // signature.PublicKey of the HSM identity
	Boot           uint64 // how often this vault has started
	Clock          uint64 // unix milliseconds
	Cluster        [32]byte
	GovernanceSeq  uint64
	GovernanceHead [32]byte
	LogSize        uint64
	LogRoot        [32]byte
	Peers          []PeerStatus
	Keys           []KeyStatus
	Sessions       uint32 // running now
}

// PeerStatus is one vault's view of another.
type PeerStatus struct {
	Vault       uint16
	Connected   bool // a channel is up
	Ready       bool // the pair setup is done
	Quarantined bool
}

// KeyStatus is one key that the vault holds a share of.
type KeyStatus struct {
	ID        [32]byte
	Name      string
	Purpose   string
	PublicKey []byte // 33 bytes, SEC1 compressed
	Threshold uint16
	Parties   []uint16
	Epoch     uint32
}

const statusVersion = 1

// Encode is the canonical encoding.
func (s *Status) Encode() []byte {
	w := wire.NewWriter(statusVersion).Uint16(s.Vault).String(s.Name).String(s.Vendor).String(s.Model).Var(s.Identity)
	w.Uint64(s.Boot).Uint64(s.Clock).Fixed(s.Cluster[:]).Uint64(s.GovernanceSeq).Fixed(s.GovernanceHead[:])
	w.Uint64(s.LogSize).Fixed(s.LogRoot[:])
	w.Count(len(s.Peers))
	for _, p := range s.Peers {
		w.Uint16(p.Vault).Bool(p.Connected).Bool(p.Ready).Bool(p.Quarantined)
	}
	w.Count(len(s.Keys))
	for _, k := range s.Keys {
		w.Fixed(k.ID[:]).String(k.Name).String(k.Purpose).Var(k.PublicKey).Uint16(k.Threshold)
		writeIDs(w, k.Parties)
		w.Uint32(k.Epoch)
	}
	return w.Uint32(s.Sessions).Bytes()
}

// DecodeStatus is the inverse of Encode.
func DecodeStatus(b []byte) (*Status, error) {
	r := wire.NewReader(b, statusVersion)
	s := &Status{
		Vault: r.Uint16("vault"), Name: r.Text("name", 256), Vendor: r.Text("vendor", 256),
		Model: r.Text("model", 256), Identity: r.Var("identity", 256),
		Boot: r.Uint64("boot"), Clock: r.Uint64("clock"),
	}
	r.Into("cluster", s.Cluster[:])
	s.GovernanceSeq = r.Uint64("governance seq")
	r.Into("governance head", s.GovernanceHead[:])
	s.LogSize = r.Uint64("log size")
	r.Into("log root", s.LogRoot[:])
	for range r.Count("peers", MaxVaults, 5) {
		s.Peers = append(s.Peers, PeerStatus{
			r.Uint16("peer"), r.Bool("connected"), r.Bool("ready"), r.Bool("quarantined"),
		})
	}
	for range r.Count("keys", 1024, 54) {
		var k KeyStatus
		r.Into("key id", k.ID[:])
		k.Name, k.Purpose = r.Text("key name", 256), r.Text("purpose", 256)
		k.PublicKey, k.Threshold = r.Var("public key", 64), r.Uint16("threshold")
		k.Parties, k.Epoch = readIDs(r, "parties"), r.Uint32("epoch")
		s.Keys = append(s.Keys, k)
	}
	s.Sessions = r.Uint32("sessions")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode status: %w", err)
	}
	return s, nil
}
