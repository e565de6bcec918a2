package sim

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// Disk is what a node has made durable.
type Disk struct {
	Records    map[string][]byte
	Entries    [][]byte
	Checkpoint []byte
}

func newDisk() *Disk { return &Disk{Records: map[string][]byte{}} }

// Clone is a snapshot of the disk.
func (d *Disk) Clone() *Disk {
	c := newDisk()
	for n, b := range d.Records {
		c.Records[n] = append([]byte(nil), b...)
	}
	for _, e := range d.Entries {
		c.Entries = append(c.Entries, append([]byte(nil), e...))
	}
	c.Checkpoint = append([]byte(nil), d.Checkpoint...)
	return c
}

func (d *Disk) loaded() vault.Loaded {
	l := vault.Loaded{Checkpoint: append([]byte(nil), d.Checkpoint...)}
	names := make([]string, 0, len(d.Records))
	for n := range d.Records {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		l.Records = append(l.Records, vault.Record{Name: n, Value: append([]byte(nil), d.Records[n]...)})
	}
	for _, e := range d.Entries {
		l.Entries = append(l.Entries, append([]byte(nil), e...))
	}
	return l
}

// Write makes the durable part of a Ready durable.
func (d *Disk) Write(r vault.Ready) {
	for _, w := range r.Writes {
		if w.Value == nil {
			delete(d.Records, w.Name)
		} else {
			d.Records[w.Name] = w.Value
		}
	}
	d.Entries = append(d.Entries, r.Entries...)
	if r.Checkpoint != nil {
		d.Checkpoint = r.Checkpoint
	}
}

// Party is one vault with its disk and device.
type Party struct {
	ID     mpc.ID
	Disk   *Disk
	Device *Device
	Next   *Device      // to which the vault is moving
	Vault  *vault.Vault // nil while it is down
	Starts int
	// Stopped: it has ended cleanly.
	Stopped bool
	Notes   []string
}

// Frame is on its way.
type Frame struct {
	From, To mpc.ID
	Bytes    []byte
}

// World is a cluster.
type World struct {
	Seed    uint64 // of keys and devices
	Stream  uint64 // of the vaults' randomness
	Now     uint64
	Parties map[mpc.ID]*Party
	IDs     []mpc.ID
	Genesis *governance.Genesis
	Tier    governance.Tier      // of the keys that are made; 0: hot
	PerUse  map[mpc.ID]hsm.Grade // of devices that differ in it
	// Counters are the grades of the devices that have a counter.
	Counters map[mpc.ID]hsm.Grade
	Insist   bool // that keys may be made though the devices are alike
	Faults   int  // of the keys that are made
	// Proposer is who asks for what is signed; empty: the trader.
	Proposer string
	// Unanimous: all admins sign every change, as it takes for those whose class nobody
	// can tell.
	Unanimous bool
	// Skew is how far a vault's clock is ahead, in ms.
	Skew map[mpc.ID]uint64

	// Queues of what has not happened yet, oldest first.
	Frames  []Frame
	Devices []PendingDevice
	Replies map[uint64]*cluster.Reply // by command id

	// Intercept, when set, sees every frame before it is queued; false drops it.
	Intercept func(Frame) bool
	// OnReady, when set, sees all work before the shell does any of it. An error
	// crashes the party before its writes.
	OnReady func(p *Party, r vault.Ready) error

	gov         *governance.State // with the changes so far
	changes     []*governance.SignedChange
	nextCommand uint64
	attempt     uint64
	salt        uint64
}

// PendingDevice is a device's answer on its way to a vault.
type PendingDevice struct {
	Party  mpc.ID
	Result vault.DeviceResult
	start  int
}

// Start is when every simulation begins: a day in 2026.
const Start = 1_790_000_000_000

// Person makes the key of a person from the seed.
func Person(seed uint64, name string) ed25519.PrivateKey {
	s := derive(seed, "person/"+name, 0)
	return ed25519.NewKeyFromSeed(s[:])
}

// PublicKey is the person's key as the roster names it.
func PublicKey(k ed25519.PrivateKey) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(k.Public().(ed25519.PublicKey))}
}

// SignStatement signs with a person's key.
func SignStatement(k ed25519.PrivateKey, st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(k, d[:])}
}

// New enrols n vaults and starts them under one genesis. with may change a party
// before that.
func New(seed uint64, n int, roster *identity.Roster, doc *policy.Document, with ...func(*Party) error) (*World, error) {
	return NewGoverned(seed, n, roster, doc, func(*governance.Genesis) {}, with...)
}

// NewGoverned is New with a genesis that terms may edit before the vaults start under
// it.
func NewGoverned(seed uint64, n int, roster *identity.Roster, doc *policy.Document, terms func(*governance.Genesis), with ...func(*Party) error) (*World, error) {
	w := &World{Seed: seed, Now: Start, Parties: map[mpc.ID]*Party{}, Replies: map[uint64]*cluster.Reply{}}
	g := &governance.Genesis{Name: "sim", Created: Start, Roster: roster, Policy: doc}
	for i := 1; i <= n; i++ {
		id := mpc.ID(i)
		dev, err := newDevice(derive(seed, "device", i))
		if err != nil {
			return nil, err
		}
		p := &Party{ID: id, Disk: newDisk(), Device: dev}
		w.Parties[id] = p
		w.IDs = append(w.IDs, id)
		for _, change := range with {
			if err := change(p); err != nil {
				return nil, err
			}
		}
		if err := w.start(p); err != nil {
			return nil, err
		}
		if err := w.Settle(); err != nil {
			return nil, err
		}
		card, ok := p.Vault.Enrolment()
		if !ok {
			return nil, fmt.Errorf("vault %d made no card", id)
		}
		e, err := governance.DecodeEnrolment(card)
		if err != nil {
			return nil, err
		}
		g.Enrolments = append(g.Enrolments, *e)
		p.Vault = nil
	}
	terms(g)
	w.Genesis = g
	for _, id := range w.IDs {
		if err := w.start(w.Parties[id]); err != nil {
			return nil, err
		}
	}
	return w, w.Settle()
}

// Codecs are the chains that simulated vaults can read.
func Codecs() []chain.Codec { return family.Codecs() }

func (w *World) start(p *Party) error {
	p.Starts++
	cfg := vault.Config{
		ID: p.ID, Name: fmt.Sprintf("vault-%d", p.ID), Info: hsm.Info{Vendor: "sim", Model: fmt.Sprintf("seeded %d", p.ID), PerUse: w.perUse(p.ID), Suites: []string{hsm.HasRatchet, hsm.HasPerUse}},
		Identity: p.Device.Public(hsm.RoleIdentity), Decision: p.Device.Public(hsm.RoleDecision),
		Genesis: w.Genesis, Codecs: Codecs(),
	}
	if g, ok := w.Counters[p.ID]; ok {
		cfg.Info.Rollback, cfg.Info.Suites = g, append(cfg.Info.Suites, hsm.HasCounter)
	}
	p.Stopped = false
	if p.Next != nil {
		cfg.Next = &vault.NextDevice{Info: cfg.Info, Identity: p.Next.Public(hsm.RoleIdentity), Decision: p.Next.Public(hsm.RoleDecision)}
	}
	if a := p.Device.approvers; a != nil {
		cfg.Approval, cfg.ApprovalArea = p.Device.Public(hsm.RoleApproval), a.area
	}
	v, ready, err := vault.New(cfg, stream(w.Seed^w.Stream<<32, fmt.Sprintf("vault/%d", p.ID), p.Starts), w.Now+w.Skew[p.ID], p.Disk.loaded())
	if err != nil {
		return err
	}
	p.Vault = v
	return w.do(p, ready)
}

func (w *World) perUse(id mpc.ID) hsm.Grade {
	if g, ok := w.PerUse[id]; ok {
		return g
	}
	return hsm.GradeSoftware
}

// Restart starts a vault that is down, from its disk.
func (w *World) Restart(id mpc.ID) error {
	if w.Parties[id].Vault != nil {
		return fmt.Errorf("vault %d is up", id)
	}
	return w.start(w.Parties[id])
}

// Stop ends a vault cleanly. It is down after that.
func (w *World) Stop(id mpc.ID) error {
	p := w.Parties[id]
	if err := w.Step(id, vault.Input{Stop: true}); err != nil {
		return err
	}
	for p.Vault != nil && !p.Stopped {
		i := slices.IndexFunc(w.Devices, func(d PendingDevice) bool { return d.Party == id })
		if i < 0 {
			return fmt.Errorf("vault %d does not end", id)
		}
		if err := w.Answer(i); err != nil {
			return err
		}
	}
	p.Vault = nil
	return nil
}

// Crash takes a vault down at once. What its device was asked is lost.
func (w *World) Crash(id mpc.ID) { w.Parties[id].Vault = nil }

// ErrCrash lets OnReady take a party down before its writes are durable.
var ErrCrash = errors.New("crash before the writes")

// do is the shell: device, writes, then messages and replies.
func (w *World) do(p *Party, r vault.Ready) error {
	if w.OnReady != nil {
		if err := w.OnReady(p, r); err != nil {
			p.Vault = nil
			if errors.Is(err, ErrCrash) {
				return nil
			}
			return err
		}
	}
	p.Disk.Write(r)
	for _, c := range r.Device {
		dev := p.Device
		if c.Next {
			dev = p.Next
		}
		w.Devices = append(w.Devices, PendingDevice{p.ID, dev.Do(c), p.Starts})
	}
	for _, m := range r.Messages {
		f := Frame{p.ID, mpc.ID(m.To), m.Frame}
		if w.Intercept == nil || w.Intercept(f) {
			w.Frames = append(w.Frames, f)
		}
	}
	p.Stopped = p.Stopped || r.Stopped
	for _, rep := range r.Replies {
		d, err := cluster.DecodeReply(rep.Body)
		if err != nil {
			return fmt.Errorf("vault %d answers with %w", p.ID, err)
		}
		if w.Replies[rep.ID] != nil {
			return fmt.Errorf("vault %d answers command %d twice", p.ID, rep.ID)
		}
		w.Replies[rep.ID] = d
	}
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, fmt.Sprint(append([]any{n.Text}, n.Args...)...))
	}
	return nil
}

// Step hands one input to a vault; one that is down takes nothing.
func (w *World) Step(id mpc.ID, in vault.Input) error {
	p := w.Parties[id]
	if p == nil || p.Vault == nil {
		return nil
	}
	in.Now = w.Now + w.Skew[id]
	r, err := p.Vault.Step(in)
	if err != nil {
		p.Vault = nil
		return fmt.Errorf("vault %d stopped: %w", id, err)
	}
	return w.do(p, r)
}

// Deliver takes frame i off the queue and hands it over.
func (w *World) Deliver(i int) error {
	f := w.Frames[i]
	w.Frames = append(w.Frames[:i:i], w.Frames[i+1:]...)
	return w.Step(f.To, vault.Input{Frame: f.Bytes})
}

// Answer takes device answer i off the queue and hands it over.
func (w *World) Answer(i int) error {
	d := w.Devices[i]
	w.Devices = append(w.Devices[:i:i], w.Devices[i+1:]...)
	if p := w.Parties[d.Party]; p.Vault == nil || p.Starts != d.start {
		return nil
	}
	return w.Step(d.Party, vault.Input{Device: &d.Result})
}

// Settle delivers everything in order until nothing is on its way.
func (w *World) Settle() error {
	for len(w.Frames) > 0 || len(w.Devices) > 0 {
		var err error
		if len(w.Devices) > 0 {
			err = w.Answer(0)
		} else {
			err = w.Deliver(0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Command hands a command to a vault and returns its id; the answer comes in
// Replies.
func (w *World) Command(id mpc.ID, c *cluster.Command) (uint64, error) {
	w.nextCommand++
	n := w.nextCommand
	return n, w.Step(id, vault.Input{Command: &vault.Command{ID: n, Body: c.Encode()}})
}

// Tick advances the clock and every vault's.
func (w *World) Tick(ms uint64) error {
	w.Now += ms
	for _, id := range w.IDs {
		if err := w.Step(id, vault.Input{}); err != nil {
			return err
		}
	}
	return nil
}
