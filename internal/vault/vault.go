package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
)

// Config is what a vault is told at its start by its operator.
type Config struct {
	ID       mpc.ID
	Name     string
	Info     hsm.Info            // the device, in its own words
	Identity signature.PublicKey // the device's identity key
	Decision signature.PublicKey // the device's checkpoint key

	// For the card. Approval is the device's approval key, zero where it has none, with
	// the device's own description of it; Evidence is what the device says of itself
	// (hsm.Evidence, encoded).
	Approval     signature.PublicKey
	ApprovalArea []byte
	Evidence     []byte

	// Genesis names the cluster. Nil starts the vault in enrolment mode, in which
	// it makes its keys and its card and does nothing else.
	Genesis *governance.Genesis

	Codecs []chain.Codec

	// Next makes this start one that gets the disk ready for another device, and does
	// nothing else.
	Next *NextDevice

	// Software is the SHA-256 of the program that runs this vault, zeros when it is
	// not known, and Isolation what holds its process, each "name: state". Both are
	// for people: peers and log readers see them, nothing rests on them.
	Software  [32]byte
	Isolation []string
}

// Time bounds, in milliseconds.
const (
	// maxSkew is how far a peer's clock may be off in R0 (ARCHITECTURE.md §5).
	maxSkew = 30_000
	// maxSession ends a session that waits for a silent peer; its reservation is
	// released.
	maxSession = 20_000
	// helloEvery repeats the hello to a peer with which there is no channel yet.
	helloEvery = 1_000
	// pairingTimeout starts a pair setup again whose messages got lost.
	pairingTimeout = 15_000
	// checkpointEvery is how long an entry that nobody waits for may be in the log
	// before a checkpoint covers it.
	checkpointEvery = 1_000
	// earlyFor is how long a frame may wait for the command that it belongs to.
	earlyFor = 10_000
	// ledgerEvery asks again for a ledger that is known in part.
	ledgerEvery = 1_000
)

// Vault is the machine. It is owned by one goroutine.
type Vault struct {
	cfg  Config
	rand io.Reader
	now  uint64

	phase   phase
	outside bool // the card in force is not this device's and log's
	store   *store
	ratchet ratchet
	logKey  ed25519.PrivateKey
	// cosigned are the newest own checkpoints, with the cosignatures of the peers.
	cosigned []ownCosigned
	session  ed25519.PrivateKey // this start's key for broadcasts
	card     []byte             // enrolment mode: the finished card
	// Of a move to another device (rotate.go).
	rotation []byte // the new card with the old device's word
	onNext   bool   // this device opened what was made ready for it, and its card is not in force yet
	nextRoot []byte

	gov        *governance.State
	boot       uint64
	bootNonce  [32]byte
	channelKey secret.Bytes // X25519, this start's
	hello      *hello
	helloFrame []byte
	peers      map[mpc.ID]*peer

	log        *audit.Log
	checkpoint *audit.SignedCheckpoint // newest
	signing    bool                    // a checkpoint is at the device
	signedAt   uint64                  // when the newest was asked for
	holding    bool                    // decisions wait for others, to share a signature
	heldFrom   uint64
	holdMost   uint64
	deviceTook uint64 // microseconds, for the newest
	waiters    []checkpointWaiter
	lastUsage  *cluster.Usage // what people were last told of the limits

	keys    map[[32]byte]*key
	pending map[[16]byte]*pendingKey
	ledgers map[mpc.ID]*ledger
	index   *requestIndex
	given   map[[16]byte]mpc.ID // attempts of which this vault knows nothing, and the peer that has released them (never.go)
	jumped  jump                // of the clock, without anybody's word
	stepped bool                // it was stepped since this start
	news    bool                // something was released, and nobody has heard of it
	// receipts are the attempts whose signature is in the log.
	receipts map[[16]byte]bool
	passkeys passkeys
	gate     gate // what is known about this start (heads.go)
	counter  counter

	machines   map[[32]byte]*handover.Machine // of the keys' epochs
	candidates map[[32]byte]*candidate        // by plan
	unsigned   []unsignedVote
	asked      uint64 // when the machines were last asked what to repeat

	coldUses  int // of cold keys that wait for the device's operator
	signs     map[[16]byte]*signSession
	handovers map[[16]byte]*handoverSession
	repairs   map[[16]byte]*repairSession
	helps     map[string]helpGiven // by record name
	lost      lostShares
	keygens   map[[16]byte]*keygenSession
	// begun are the attempts at a keygen since this start: a second run of one
	// would look to a peer like two messages of one round.
	begun map[[16]byte]bool
	early []earlyFrame

	refusals pace // of the log
	ownDay   pace // of this vault's own ledger
	repeats  pace // of adopted changes
	// adoptions are this vault's log's words of when it adopted a change that had to
	// wait, by number.
	adoptions map[uint64]adoption

	device     map[uint64]func(DeviceResult) error
	nextDevice uint64

	out  Ready
	held Ready // used by a planted bug only (planted.go)

	cheating cheating // empty but in the simulation's build (cheat.go)
}

type phase uint8

const (
	phaseStarting phase = iota // waiting for the device to open the root key
	phaseEnrol                 // enrolment mode
	phaseRunning
)

// New starts a vault on what its node had on disk. The first Ready asks the
// device to open the root key; commands are answered once it has.
func New(cfg Config, rand io.Reader, now uint64, loaded Loaded) (*Vault, Ready, error) {
	v := &Vault{
		cfg: cfg, rand: rand, now: now,
		peers:   map[mpc.ID]*peer{},
		keys:    map[[32]byte]*key{},
		pending: map[[16]byte]*pendingKey{}, receipts: map[[16]byte]bool{},
		ledgers:  map[mpc.ID]*ledger{},
		index:    newRequestIndex(cfg.ID),
		log:      audit.Load(nil),
		signs:    map[[16]byte]*signSession{},
		passkeys: passkeys{seen: map[signature.PublicKey]*passkeySeen{}},
		machines: map[[32]byte]*handover.Machine{}, candidates: map[[32]byte]*candidate{}, handovers: map[[16]byte]*handoverSession{},
		repairs: map[[16]byte]*repairSession{}, helps: map[string]helpGiven{}, lost: newLostShares(),
		keygens: map[[16]byte]*keygenSession{}, begun: map[[16]byte]bool{},
		adoptions: map[uint64]adoption{},
		device:    map[uint64]func(DeviceResult) error{},
		ratchet:   ratchet{able: hasRatchet(cfg.Info)},
	}
	if err := v.start(loaded); err != nil {
		return nil, Ready{}, err
	}
	return v, v.take(), nil
}

// Step handles one event. An error means that the vault cannot go on: its shell
// stops and says so.
func (v *Vault) Step(in Input) (Ready, error) {
	v.stepClock(in.Now)
	v.enactDue()
	if err := v.handle(in); err != nil {
		return Ready{}, err
	}
	if v.phase == phaseRunning && !v.counter.stopped {
		v.tick()
	}
	return v.take(), nil
}

func (v *Vault) handle(in Input) error {
	if v.counter.stopped && in.Device == nil {
		return nil
	}
	switch {
	case in.Stop:
		v.stop()
	case in.Device != nil:
		then, ok := v.device[in.Device.ID]
		if !ok {
			return fmt.Errorf("device result %d answers no command", in.Device.ID)
		}
		delete(v.device, in.Device.ID)
		return then(*in.Device)
	case in.Command != nil:
		v.command(in.Command)
	case in.Frame != nil && v.phase == phaseRunning:
		v.frame(in.Frame)
	}
	return nil
}

// take returns the collected work. Any write takes the manifest along, so that
// records of different times cannot be mixed.
func (v *Vault) take() Ready {
	if v.store != nil && v.store.dirty {
		v.out.Writes = append(v.out.Writes, v.store.flush(v.manifest())...)
	}
	out := v.out
	v.out = Ready{}
	if planted.Bug == planted.Order {
		out = v.plantedOrder(out)
	}
	return out
}

// Enrolment returns the vault's card once the device has signed it.
func (v *Vault) Enrolment() ([]byte, bool) { return v.card, v.card != nil }

// ask sends a command to the device; then runs with its answer.
func (v *Vault) ask(c DeviceCommand, then func(DeviceResult) error) {
	v.nextDevice++
	c.ID = v.nextDevice
	v.device[c.ID] = then
	v.out.Device = append(v.out.Device, c)
}

func (v *Vault) note(text string, args ...any) {
	v.out.Notes = append(v.out.Notes, Note{text, args})
}

func (v *Vault) reply(id uint64, r cluster.Reply) {
	r.Vault = uint16(v.cfg.ID)
	v.out.Replies = append(v.out.Replies, Reply{id, r.Encode()})
}

// tick ends what waited too long and repeats what got lost.
func (v *Vault) tick() {
	v.forgetPasskeys()
	for _, id := range sortedIDs(v.peers) {
		v.tickPeer(v.peers[id])
		v.tickWitness(v.peers[id])
	}
	v.tickGate()
	v.tickNever()
	v.tellReleases()
	for _, a := range sortedAttempts(v.signs) {
		if s := v.signs[a]; s != nil && v.now-s.started > patience(s.key.tier()) {
			v.abortSign(s, benign("sign", errors.New("a peer stayed silent: "+s.waitingFor())))
		}
	}
	for _, a := range sortedAttempts(v.keygens) {
		if s := v.keygens[a]; s != nil && v.now-s.started > maxSession {
			v.abortKeygen(s, benign("keygen", errors.New("a peer stayed silent: "+s.waitingFor())))
		}
	}
	v.tickHandovers()
	v.tickRepairs()
	if !v.outside {
		v.tickRatchet()
	}
	kept := v.early[:0]
	for _, f := range v.early {
		if v.now-f.at <= earlyFor {
			kept = append(kept, f)
		}
	}
	v.early = kept
	if v.checkpointDue() {
		v.signCheckpoint()
	}
	v.wakeForChange()
}

func benign(step string, err error) *mpc.Abort {
	return &mpc.Abort{Class: mpc.Benign, Step: step, Err: err}
}

// asAbort makes an Abort of any error of a protocol: what is none is our own
// failure, for which nobody is blamed.
func asAbort(step string, err error) *mpc.Abort {
	if a := mpc.AsAbort(err); a != nil {
		return a
	}
	return benign(step, err)
}

// codec returns the codec of a CAIP-2 chain.
func (v *Vault) codec(chainID string) (chain.Codec, bool) {
	for _, c := range v.cfg.Codecs {
		if ns := c.Namespace(); len(chainID) > len(ns) && chainID[:len(ns)] == ns && chainID[len(ns)] == ':' {
			return c, true
		}
	}
	return nil, false
}

func sortedIDs[T any](m map[mpc.ID]T) []mpc.ID {
	ids := make([]mpc.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

func sortedAttempts[T any](m map[[16]byte]T) [][16]byte {
	as := make([][16]byte, 0, len(m))
	for a := range m {
		as = append(as, a)
	}
	sort.Slice(as, func(i, j int) bool { return string(as[i][:]) < string(as[j][:]) })
	return as
}
