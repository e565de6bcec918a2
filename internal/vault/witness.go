package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Witnessing (docs/spec/rollback.md): a vault keeps, durably, the newest start and
// the newest signed checkpoint that each peer has shown it. By that it tells a peer
// whose disk was put back what it has forgotten, and finds out who tells two
// stories.

// head is a signed checkpoint of a peer, verified; one that the admins named has no
// signed form.
type head struct {
	size, boot         uint64
	root               [32]byte
	ledger, quarantine [32]byte
	raw                []byte // audit.SignedCheckpoint
	since              uint64 // when it was first seen, while it is not proven
	asked              uint64 // when its proof was last asked for
}

// witness is what this vault holds of a peer.
type witness struct {
	hello  []byte // of its newest start; it is signed by its HSM
	boot   uint64 // of that start
	nonce  [32]byte
	seen   head // the newest that it signed
	proven head // the newest that is known to continue all that came before

	dirty bool // differs from the record
	saved uint64
	// In memory only.
	good    map[uint64]head // by size; what is proven, as far back as it is kept
	pending []head          // signed by the peer and not proven yet
	other   []byte          // hello of a second copy of the newest start
}

const (
	recordWitness   = "witness/"
	recordSuspended = "suspended/"

	// maxGood bounds the proven heads of a peer that are remembered.
	maxGood = 128
	// maxPending bounds those that wait for their proof.
	maxPending = 8
	// proveEvery asks again for a proof; provenWithin is how long a peer may owe one
	// before nothing is begun with it any more.
	proveEvery   = 1_000
	provenWithin = 10_000
	// witnessEvery makes durable what nothing else has.
	witnessEvery = 1_000
)

func witnessName(id mpc.ID) string { return recordWitness + idText(id) }

func (x *witness) encode() []byte {
	return wire.NewWriter(1).Var(x.hello).Var(x.seen.raw).Uint64(x.proven.size).Fixed(x.proven.root[:]).Var(x.proven.raw).Bytes()
}

func decodeWitness(b []byte) (*witness, error) {
	r := wire.NewReader(b, 1)
	x := &witness{hello: r.Var("hello", maxHello)}
	seen := r.Var("seen", maxCheckpointBytes)
	x.proven.size = r.Uint64("proven size")
	r.Into("proven root", x.proven.root[:])
	raw := r.Var("proven", maxCheckpointBytes)
	err := r.Done()
	if err == nil && len(x.hello) > 0 {
		var h *hello
		if h, err = decodeHello(x.hello); err == nil {
			x.boot, x.nonce = h.Boot, h.Nonce
		}
	}
	if err == nil && len(seen) > 0 {
		err = x.seen.decode(seen)
	}
	if err == nil && len(raw) > 0 {
		size, root := x.proven.size, x.proven.root
		if err = x.proven.decode(raw); err == nil && (x.proven.size != size || x.proven.root != root) {
			err = errors.New("the proven checkpoint is of another size or root")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode witness: %w", err)
	}
	return x, nil
}

// Bounds of what is kept of a peer.
const (
	maxHello           = 2048
	maxCheckpointBytes = 4096
)

func (h *head) decode(raw []byte) error {
	cp, err := audit.DecodeSignedCheckpoint(raw)
	if err != nil {
		return err
	}
	*h = headOf(cp, raw)
	return nil
}

func headOf(cp *audit.SignedCheckpoint, raw []byte) head {
	return head{
		size: cp.Size, boot: cp.Boot, root: cp.Root, ledger: cp.Ledger, quarantine: cp.Quarantine,
		raw: slices.Clone(raw),
	}
}

func (v *Vault) loadWitnesses(records map[string][]byte) error {
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		if b, ok := records[witnessName(id)]; ok {
			x, err := decodeWitness(b)
			if err != nil {
				return fmt.Errorf("record %s: %w", witnessName(id), err)
			}
			p.held = *x
			p.held.remember(x.proven)
		}
		if b, ok := records[recordSuspended+idText(id)]; ok {
			x, err := decodeSuspended(b)
			if err != nil {
				return fmt.Errorf("record %s%s: %w", recordSuspended, idText(id), err)
			}
			p.suspended, p.suspendedOf = true, x.Of
		}
		if x := &p.held; x.seen.size > x.proven.size {
			x.wait(x.seen, v.now)
		}
	}
	return nil
}

// saveWitness makes what is held of a peer durable with this step.
func (v *Vault) saveWitness(p *peer) {
	if !p.held.dirty {
		return
	}
	p.held.dirty, p.held.saved = false, v.now
	if err := v.store.put(witnessName(p.id), p.held.encode()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
}

func (x *witness) remember(h head) {
	if h.size == 0 {
		return
	}
	if x.good == nil {
		x.good = map[uint64]head{}
	}
	if len(x.good) >= maxGood {
		least := h.size
		for size := range x.good {
			least = min(least, size)
		}
		delete(x.good, least)
	}
	x.good[h.size] = h
	x.pending = slices.DeleteFunc(x.pending, func(y head) bool { return y.size == h.size })
}

// wait keeps a head until its proof comes. When too many wait, the newest and the
// oldest of them are the ones that tell most.
func (x *witness) wait(h head, now uint64) {
	if slices.ContainsFunc(x.pending, func(y head) bool { return y.size == h.size }) {
		return
	}
	h.since = now
	x.pending = append(x.pending, h)
	if len(x.pending) > maxPending {
		x.pending = slices.Delete(x.pending, 1, 2)
	}
}

// known finds another head of the same size, among all that are kept.
func (x *witness) known(size uint64) (head, bool) {
	if h, ok := x.good[size]; ok {
		return h, true
	}
	for _, h := range append(slices.Clone(x.pending), x.seen, x.proven) {
		if h.size == size && size > 0 {
			return h, true
		}
	}
	return head{}, false
}

// witness takes a checkpoint that a peer shows, or that another vault relays. An
// error says why it is not one that goes on from what is known.
func (v *Vault) witness(p *peer, b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("vault %d shows no checkpoint yet", p.id)
	}
	x := &p.held
	cp, err := audit.DecodeSignedCheckpoint(b)
	if err != nil {
		return fmt.Errorf("vault %d's checkpoint: %w", p.id, err)
	}
	old, known := x.known(cp.Size)
	if known && string(old.raw) == string(b) {
		return nil
	}
	if err := cp.Verify(v.keysOf(p)); err != nil {
		return fmt.Errorf("vault %d's checkpoint: %w", p.id, err)
	}
	if least := v.gov.MinBoot(uint16(p.id)); cp.Boot < least {
		return fmt.Errorf("vault %d's checkpoint is of start %d: the admins have ended all before %d", p.id, cp.Boot, least)
	}
	h := headOf(cp, b)
	switch {
	case known && old.root != h.root && len(old.raw) == 0:
		return fmt.Errorf("vault %d's log of %d entries is not the one from which the admins let it go on", p.id, cp.Size)
	case known && old.root != h.root:
		v.equivocated(p, boots{old.boot, h.boot}, "equivocation", fmt.Sprintf("two checkpoints of vault %d at size %d have different roots", p.id, cp.Size), old.raw, b)
		return fmt.Errorf("vault %d signed two logs of %d entries", p.id, cp.Size)
	case x.seen.size > 0 && (h.size < x.seen.size && h.boot > x.seen.boot || h.size > x.seen.size && h.boot < x.seen.boot):
		v.equivocated(p, boots{x.seen.boot, h.boot}, "rollback", fmt.Sprintf("vault %d started anew with a shorter log: %d entries in start %d, %d in start %d", p.id, x.seen.size, x.seen.boot, h.size, h.boot), x.seen.raw, b)
		return fmt.Errorf("vault %d's log shrank: its disk was rolled back", p.id)
	}
	if h.size > x.seen.size {
		x.seen, x.dirty = h, true
	}
	switch {
	case known:
	case x.proven.size == 0:
		x.proven, x.dirty = h, true
		x.remember(h)
	default:
		x.wait(h, v.now)
	}
	return nil
}

// prove takes a proof of consistency between two sizes of a peer's log: one of them
// is proven, the other was signed. It says whether the proof was of use and right.
func (v *Vault) prove(p *peer, from, to uint64, proof [][32]byte) (used bool, err error) {
	x := &p.held
	pending := func(size uint64) (head, bool) {
		i := slices.IndexFunc(x.pending, func(y head) bool { return y.size == size })
		if i < 0 {
			return head{}, false
		}
		return x.pending[i], true
	}
	a, okA := x.good[from]
	b, okB := pending(to)
	fresh := b
	if !okA || !okB {
		if a, okA = pending(from); !okA {
			return false, nil
		}
		if b, okB = x.good[to]; !okB {
			return false, nil
		}
		fresh = a
	}
	if err := audit.CheckConsistency(proof, a.size, a.root, b.size, b.root); err != nil {
		return true, err
	}
	x.remember(fresh)
	if fresh.size > x.proven.size {
		x.proven, x.dirty = fresh, true
	}
	v.proved(p)
	return true, nil
}

// proved lets the sessions go on that waited for a peer's proof.
func (v *Vault) proved(p *peer) {
	for _, a := range sortedAttempts(v.signs) {
		if s := v.signs[a]; s != nil && s.proving && s.has(p.id) {
			s.proving = false
			v.advanceSign(s)
		}
	}
}

// unproven says whether a head of a peer is signed but not proven to continue what
// was known, and sees to it that the proof is asked for.
func (v *Vault) unproven(p *peer, size uint64) bool {
	for i := range p.held.pending {
		if h := &p.held.pending[i]; h.size == size {
			v.askProof(p, h)
			return true
		}
	}
	return false
}

// mayWorkWith says whether a session may be begun with a peer.
func (v *Vault) mayWorkWith(p *peer) error {
	switch {
	case p.quarantined:
		return fmt.Errorf("the pair with vault %d is quarantined until the admins lift it", p.id)
	case p.suspended:
		return fmt.Errorf("vault %d is suspended until the admins lift it: it told two stories, or two copies of it ran", p.id)
	}
	if o, ok := v.gov.Suspended(uint16(p.id)); ok {
		return fmt.Errorf("the admins have suspended vault %d by change %d: %s", p.id, o.Seq, o.Reason)
	}
	if err := v.attested(p); err != nil {
		return err
	}
	for _, h := range p.held.pending {
		if v.now-h.since > provenWithin {
			return fmt.Errorf("vault %d does not show that its log of %d entries continues the one of %d that is known", p.id, h.size, p.held.proven.size)
		}
	}
	return nil
}

// partner is the peer for a dealing, a key generation or a repair: it is in the
// cluster, there is a channel to it, and nothing speaks against it.
func (v *Vault) partner(id mpc.ID) (*peer, error) {
	p := v.peers[id]
	switch {
	case p == nil:
		return nil, fmt.Errorf("vault %d is not in the cluster", id)
	case p.hello == nil:
		return nil, fmt.Errorf("no channel to vault %d yet", id)
	}
	return p, v.mayWorkWith(p)
}

// barred says that nothing but witnessing goes on with a peer.
func (v *Vault) barred(p *peer) bool {
	_, ordered := v.gov.Suspended(uint16(p.id))
	return p.quarantined || p.suspended || ordered
}

// equivocated writes down that a peer has signed two things that do not go together,
// and suspends it for all keys.
func (v *Vault) equivocated(p *peer, of boots, class, detail string, evidence ...[]byte) {
	w := wire.NewWriter(1).Count(len(evidence))
	for _, e := range evidence {
		w.Var(e)
	}
	v.suspend(p, of, class, detail, w.Bytes())
}

// boots are the starts of which two statements are that do not go together.
type boots struct{ one, other uint64 }

// apart says that an order by which a vault goes on from an older head lies between
// the two: they are of two histories because the admins ended the first.
func (b boots) apart(order uint64) bool {
	return min(b.one, b.other) < order && order <= max(b.one, b.other)
}

// suspendedRecord says why a peer is suspended.
type suspendedRecord struct {
	Peer  mpc.ID
	Time  uint64
	Class string
	Of    boots
}

func (s *suspendedRecord) encode() []byte {
	return wire.NewWriter(1).Uint16(uint16(s.Peer)).Uint64(s.Time).String(s.Class).Uint64(s.Of.one).Uint64(s.Of.other).Bytes()
}

func decodeSuspended(b []byte) (*suspendedRecord, error) {
	r := wire.NewReader(b, 1)
	s := &suspendedRecord{Peer: mpc.ID(r.Uint16("peer")), Time: r.Uint64("time"), Class: r.String("class", 256)}
	s.Of = boots{r.Uint64("start"), r.Uint64("other start")}
	return s, r.Done()
}

// suspend ends all work with a peer, at once and durably. Only the admins lift it.
func (v *Vault) suspend(p *peer, of boots, class, detail string, evidence []byte) {
	if p.suspended {
		return
	}
	p.suspended, p.suspendedOf = true, of
	v.closePair(p)
	s := suspendedRecord{p.id, v.now, class, of}
	if err := v.store.put(recordSuspended+idText(p.id), s.encode()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	v.incident(p, class, "witness", detail, evidence)
	v.endSessionsWith(p.id, fmt.Errorf("vault %d is suspended", p.id))
	v.answerHeads(p) // its own disk may be what was changed: it learns of that
}
