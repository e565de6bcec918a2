package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// State is what a vault is doing, or why it signs nothing.
type State uint8

// The states.
const (
	StateStarting   State = 1 // its device has not opened its root key yet, or it is being enrolled
	StateReplaced   State = 2 // it waits for the change that puts its card in force
	StateAwaiting   State = 3 // it waits for what its peers hold of it (Awaiting), and reserves nothing
	StateRunning    State = 4
	StateRolledBack State = 5 // its disk is older than what its peers have seen (RolledBack)
	StateSuspended  State = 6 // the admins have suspended it
)

func (s State) String() string {
	switch s {
	case StateStarting:
		return "starting"
	case StateReplaced:
		return "replaced"
	case StateAwaiting:
		return "awaiting-heads"
	case StateRunning:
		return "running"
	case StateRolledBack:
		return "rolled-back"
	case StateSuspended:
		return "suspended"
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Status is what a vault says of itself.
type Status struct {
	Vault          uint16
	Name           string
	Device         DeviceStatus
	Identity       []byte // signature.PublicKey of the HSM identity
	Boot           uint64 // how often this vault has started
	Clock          uint64 // unix milliseconds
	Software       [32]byte
	Isolation      []string // what confines the vault's process, and what is missing
	State          State
	Cluster        [32]byte
	GovernanceSeq  uint64
	GovernanceHead [32]byte
	LogSize        uint64
	LogRoot        [32]byte
	Awaiting       []uint16    // StateAwaiting: whose answers would do
	RolledBack     *RolledBack // StateRolledBack
	Peers          []PeerStatus
	Keys           []KeyStatus
	Sessions       uint32 // running now
}

// DeviceStatus is what a vault's device says of itself, and its grades.
type DeviceStatus struct {
	Vendor, Model, Firmware string
	Suites                  string  // what was negotiated
	Boundary                string  // what keeps its keys
	Rollback                string  // what it has against old state: none, software, hardware
	PerUse                  string  // whether it asks for authorisation at every use of a key
	Tiers                   []uint8 // the custody tiers that it can serve (governance.Tier), ascending
}

// RolledBack says how a vault knows that its disk is old.
type RolledBack struct {
	OwnSize  uint64 // of its log, when it found out
	HeldBoot uint64
	HeldSize uint64 // of the newest head that was shown to it
	HeldRoot [32]byte
	By       []uint16 // who showed it; empty: its own device's counter
}

// PeerStatus is one vault's view of another.
type PeerStatus struct {
	Vault       uint16
	Connected   bool // a channel is up
	Ready       bool // the pair setup is done
	Quarantined bool
	Suspended   bool // caught with two histories, or suspended by the admins
	// The newest head of the other's log that this vault holds; zero for none.
	HeldBoot uint64
	HeldSize uint64
	HeldRoot [32]byte
	// Machine is what the other's machine has shown and what the admins accept; empty
	// where they demand nothing.
	Machine string
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
	Tier      uint8 // governance.Tier; 0 unknown
}

const (
	statusVersion = 2
	maxWord       = 256 // bytes of a text
	maxIsolation  = 32
	maxTiers      = 8
	maxMachine    = 1024
)

// Encode is the canonical encoding.
func (s *Status) Encode() []byte {
	w := wire.NewWriter(statusVersion).Uint16(s.Vault).String(s.Name)
	s.Device.write(w)
	w.Var(s.Identity).Uint64(s.Boot).Uint64(s.Clock).Fixed(s.Software[:]).Count(len(s.Isolation))
	for _, line := range s.Isolation {
		w.String(line)
	}
	w.Uint8(uint8(s.State)).Fixed(s.Cluster[:]).Uint64(s.GovernanceSeq).Fixed(s.GovernanceHead[:])
	w.Uint64(s.LogSize).Fixed(s.LogRoot[:])
	writeIDs(w, s.Awaiting)
	w.Bool(s.RolledBack != nil)
	if r := s.RolledBack; r != nil {
		writeIDs(w.Uint64(r.OwnSize).Uint64(r.HeldBoot).Uint64(r.HeldSize).Fixed(r.HeldRoot[:]), r.By)
	}
	w.Count(len(s.Peers))
	for _, p := range s.Peers {
		w.Uint16(p.Vault).Bool(p.Connected).Bool(p.Ready).Bool(p.Quarantined).Bool(p.Suspended)
		w.Uint64(p.HeldBoot).Uint64(p.HeldSize).Fixed(p.HeldRoot[:]).String(p.Machine)
	}
	w.Count(len(s.Keys))
	for _, k := range s.Keys {
		w.Fixed(k.ID[:]).String(k.Name).String(k.Purpose).Var(k.PublicKey).Uint16(k.Threshold)
		writeIDs(w, k.Parties)
		w.Uint32(k.Epoch).Uint8(k.Tier)
	}
	return w.Uint32(s.Sessions).Bytes()
}

func (d *DeviceStatus) write(w *wire.Writer) {
	w.String(d.Vendor).String(d.Model).String(d.Firmware).String(d.Suites).String(d.Boundary).String(d.Rollback).String(d.PerUse)
	w.Var(d.Tiers)
}

func (d *DeviceStatus) read(r *wire.Reader) {
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"vendor", &d.Vendor},
		{"model", &d.Model},
		{"firmware", &d.Firmware},
		{"suites", &d.Suites},
		{"boundary", &d.Boundary},
		{"rollback", &d.Rollback},
		{"per use", &d.PerUse},
	} {
		*f.to = r.Text(f.name, maxWord)
	}
	for i, t := range r.Var("tiers", maxTiers) {
		if t == 0 || i > 0 && d.Tiers[i-1] >= t {
			r.Failf("tiers: want them above 0, sorted and unique; got %d", t)
			return
		}
		d.Tiers = append(d.Tiers, t)
	}
}

// DecodeStatus is the inverse of Encode.
func DecodeStatus(b []byte) (*Status, error) {
	r := wire.NewReader(b, statusVersion)
	s := &Status{Vault: r.Uint16("vault"), Name: r.Text("name", maxWord)}
	s.Device.read(r)
	s.Identity, s.Boot, s.Clock = r.Var("identity", 512), r.Uint64("boot"), r.Uint64("clock")
	r.Into("software", s.Software[:])
	for range r.Count("isolation", maxIsolation, 4) {
		s.Isolation = append(s.Isolation, r.Text("isolation", maxWord))
	}
	if s.State = State(r.Uint8("state")); s.State > StateSuspended {
		r.Failf("state: unknown value %d, want at most %d", s.State, StateSuspended)
	}
	r.Into("cluster", s.Cluster[:])
	s.GovernanceSeq = r.Uint64("governance seq")
	r.Into("governance head", s.GovernanceHead[:])
	s.LogSize = r.Uint64("log size")
	r.Into("log root", s.LogRoot[:])
	s.Awaiting = readIDs(r, "awaiting")
	if r.Bool("rolled back") {
		b := &RolledBack{OwnSize: r.Uint64("own size"), HeldBoot: r.Uint64("held boot"), HeldSize: r.Uint64("held size")}
		r.Into("held root", b.HeldRoot[:])
		b.By = readIDs(r, "by")
		s.RolledBack = b
	}
	readPeers(r, s)
	for range r.Count("keys", 1024, 55) {
		var k KeyStatus
		r.Into("key id", k.ID[:])
		k.Name, k.Purpose = r.Text("key name", maxWord), r.Text("purpose", maxWord)
		k.PublicKey, k.Threshold = r.Var("public key", 64), r.Uint16("threshold")
		k.Parties, k.Epoch, k.Tier = readIDs(r, "parties"), r.Uint32("epoch"), r.Uint8("tier")
		s.Keys = append(s.Keys, k)
	}
	s.Sessions = r.Uint32("sessions")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode status: %w", err)
	}
	return s, nil
}

func readPeers(r *wire.Reader, s *Status) {
	for range r.Count("peers", MaxVaults, 58) {
		p := PeerStatus{
			Vault: r.Uint16("peer"), Connected: r.Bool("connected"), Ready: r.Bool("ready"), Quarantined: r.Bool("quarantined"), Suspended: r.Bool("suspended"),
			HeldBoot: r.Uint64("held boot"), HeldSize: r.Uint64("held size"),
		}
		r.Into("held root", p.HeldRoot[:])
		p.Machine = r.Text("machine", maxMachine)
		s.Peers = append(s.Peers, p)
	}
}
