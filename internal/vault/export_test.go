package vault

import (
	"crypto/ed25519"
	"encoding/binary"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
)

// What tests reach into. Nothing of it is in the product.

// CorruptPair makes this vault a cheater towards a peer: its trees no
// longer fit, as if it sent a U of its own making.
func (v *Vault) CorruptPair(id mpc.ID) {
	// All trees: a cheat on one passes once in sixteen times, as it should.
	for i := range v.peers[id].setup.Bob.Leaf {
		v.peers[id].setup.Bob.Leaf[i][0][0] ^= 1
	}
}

// PairReady says whether the pair setup with a peer is done.
func (v *Vault) PairReady(id mpc.ID) bool { return v.peers[id] != nil && v.peers[id].setup != nil }

// PairHash is the hash of the pair setup's transcript.
func (v *Vault) PairHash(id mpc.ID) [32]byte { return v.peers[id].setup.Hash }

// PairAttempt is the number of the newest pair setup with a peer.
func (v *Vault) PairAttempt(id mpc.ID) uint32 { return v.peers[id].pairAttempt }

// Delta is this vault's secret of a pair setup, for proving that no two are
// alike.
func (v *Vault) Delta(id mpc.ID) [16]byte { return v.peers[id].setup.Alice.Delta }

// Quarantined says whether the pair is halted.
func (v *Vault) Quarantined(id mpc.ID) bool { return v.peers[id].quarantined }

// Suspended says whether nothing is done with a peer until the admins lift it.
func (v *Vault) Suspended(id mpc.ID) bool { return v.peers[id].suspended }

// Stopped says why this vault signs nothing, or "".
func (v *Vault) Stopped() string {
	if err := v.stopped(); err != nil {
		return err.Error()
	}
	return ""
}

// Ready says why commands that sign are not looked at, or "".
func (v *Vault) Ready() string {
	if err := v.ready(); err != nil {
		return err.Error()
	}
	return ""
}

// LedgerSeq is how far this vault knows a party's ledger.
func (v *Vault) LedgerSeq(id mpc.ID) uint64 { return v.ledgers[id].head().Seq }

// SessionCount is how many sessions run.
func (v *Vault) SessionCount() int { return len(v.signs) + len(v.keygens) }

// MaxEarly bounds waiting frames.
const MaxEarly = maxEarly

// EarlyCount is how many frames wait for their command.
func (v *Vault) EarlyCount() int { return len(v.early) }

// The ways in which a corrupt vault lies, with its own genuine channel.

// Kinds of inner frames.
const (
	InnerPing   = innerPing
	InnerPair   = innerPair
	InnerKeygen = innerKeygen
	InnerSign   = innerSign
	InnerSync   = innerSync
	InnerVotes  = innerVotes
	InnerAttest = innerAttest
	InnerHeads  = innerHeads
)

// FrameKind is the kind of a sealed frame that this vault can open; 0: it can't.
func (v *Vault) FrameKind(b []byte) uint8 {
	r := wire.NewReader(b, frameVersion)
	kind, from, _ := r.Uint8("kind"), mpc.ID(r.Uint16("from")), r.Uint16("to")
	r = wire.NewReader(r.Var("body", MaxFrame), 1)
	seq, sealed := r.Uint64("sequence"), r.Var("sealed", MaxFrame)
	p := v.peers[from]
	if kind != frameSealed || r.Done() != nil || p == nil || p.receive == nil {
		return 0
	}
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], seq)
	plain, err := p.receive.Open(nil, nonce[:], sealed, nil)
	if err != nil {
		return 0
	}
	in, err := decodeInner(plain)
	if err != nil {
		return 0
	}
	return in.Kind
}

// Seal makes a genuine frame of this vault for a peer.
func (v *Vault) Seal(to mpc.ID, kind uint8, attempt [16]byte, round uint8, broadcast, private []byte) []byte {
	held := v.out.Messages
	v.out.Messages = nil
	v.broadcast(kind, attempt, round, []mpc.ID{to}, broadcast, map[mpc.ID][]byte{to: private})
	frame := v.out.Messages[0].Frame
	v.out.Messages = held
	return frame
}

// Event is what a liar writes into its ledger.
type Event struct {
	Kind    uint8 // 1 reserve, 2 release, 3 final
	Attempt [16]byte
	Request [32]byte
	Key     [32]byte
	Digest  [32]byte
	Parties []mpc.ID
	Slots   []string
}

// Invent appends events to this vault's own ledger, whatever they say.
func (v *Vault) Invent(es ...Event) {
	for _, e := range es {
		v.record(&event{Kind: eventKind(e.Kind), Attempt: e.Attempt, Request: e.Request, Key: e.Key, Digest: e.Digest, Parties: e.Parties, Slots: e.Slots})
	}
}

// InventMovement appends a reservation of something that moves to this vault's own
// ledger, dated as it likes.
func (v *Vault) InventMovement(attempt [16]byte, key [32]byte, parties []mpc.ID, time uint64, m *policy.Movement) {
	e := &event{Kind: eventReserve, Time: time, Attempt: attempt, Request: [32]byte{attempt[0], 1}, Key: key, Parties: parties, Slots: []string{"any"}, Movement: m.Encode()}
	v.appendEvent(v.cfg.ID, e, e.encode())
}

// OwnDelta is this vault's ledger from an event on, as a sync frame carries it.
func (v *Vault) OwnDelta(from uint64) []byte { return v.ledgers[v.cfg.ID].deltaFrom(from).encode() }

// ForgedDelta has events of any bytes at the end of what the peer knows.
func (v *Vault) ForgedDelta(party mpc.ID, from uint64, events ...[]byte) []byte {
	return (&delta{From: from, Events: events, Head: ledgerHead{Party: party, Seq: from + uint64(len(events))}}).encode()
}

// ReserveEvent is the encoding of a reservation with slots of some length.
func ReserveEvent(attempt byte, slots, length int) []byte {
	e := event{Kind: eventReserve, Attempt: [16]byte{attempt}, Parties: []mpc.ID{1, 2}}
	for range slots {
		e.Slots = append(e.Slots, string(make([]byte, length)))
	}
	return e.encode()
}

// ExhaustPair uses the pair setup up.
func (v *Vault) ExhaustPair(id mpc.ID) {
	var dsid [32]byte
	for i := uint64(1); v.peers[id].setup.Claim(dsid) == nil; i++ {
		binary.BigEndian.PutUint64(dsid[:], i)
	}
}

// Pending is how many keys wait for signatures on their certificate.
func (v *Vault) Pending() int { return len(v.pending) }

// Forked says whether a peer's ledger is known to be forked.
func (v *Vault) Forked(id mpc.ID) bool { return v.peers[id].forked }

// Boot is the number of this start.
func (v *Vault) Boot() uint64 { return v.boot }

// Hello signs a hello of another start with the given signer and returns the
// frame for a peer.
func (v *Vault) Hello(to mpc.ID, boot uint64, nonce [32]byte, edit func(cluster *[32]byte, id *mpc.ID, channel *[32]byte), sign func(signature.Statement) signature.Signature) []byte {
	h := *v.hello
	h.Boot, h.Nonce = boot, nonce
	if edit != nil {
		edit(&h.Cluster, &h.Vault, &h.Channel)
	}
	h.Signature = sign(h.statement())
	held := v.out.Messages
	v.out.Messages = nil
	v.send(to, frameHello, h.encode())
	frame := v.out.Messages[0].Frame
	v.out.Messages = held
	return frame
}

// PeerBoot is the newest start known of a peer.
func (v *Vault) PeerBoot(id mpc.ID) uint64 { return v.peers[id].hello.Boot }

// RewriteLast replaces the last event of this vault's own ledger, of which nobody
// has heard yet.
func (v *Vault) RewriteLast(edit func(*Event)) {
	l := v.ledgers[v.cfg.ID]
	n := len(l.events) - 1
	old, err := decodeEvent(l.events[n])
	if err != nil {
		panic(err)
	}
	e := Event{uint8(old.Kind), old.Attempt, old.Request, old.Key, old.Digest, old.Parties, old.Slots}
	edit(&e)
	l.events, l.hashes = l.events[:n], l.hashes[:n]
	old.Kind, old.Attempt, old.Request, old.Key, old.Digest, old.Parties, old.Slots = eventKind(e.Kind), e.Attempt, e.Request, e.Key, e.Digest, e.Parties, e.Slots
	l.append(old.encode())
}

// Bounds that tests run into.
const (
	MaxIncidents = maxIncidents
	MaxKeygens   = maxKeygens
)

// CheckCertificate is the check before a final share, against another session.
func (v *Vault) CheckCertificate(id mpc.ID, own audit.Decision, cert []byte) error {
	_, err := v.checkCertificate(&signSession{decided: own, signers: toIDs(own.Parties), gov: v.gov, key: v.keys[own.Key]}, v.peers[id], cert)
	return err
}

// Witness is the check of a checkpoint that a peer shows.
func (v *Vault) Witness(id mpc.ID, cp []byte) error { return v.witness(v.peers[id], cp) }

// SignLog signs with the log key.
func (v *Vault) SignLog(text string) signature.Signature {
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.logKey, []byte(text))}
}

// Forge is this vault's broadcast of a round of signing with another attachment.
func (v *Vault) Forge(to mpc.ID, attempt [16]byte, round uint8, attachment func([]byte) []byte) []byte {
	b := v.signs[attempt].own[round]
	old, err := attached(v.signs[attempt].key.cert.Suite, int(round), b)
	if err != nil {
		panic(err)
	}
	forged := attachment(old)
	b = append(append([]byte(nil), b[:len(b)-len(old)-4]...), binary.BigEndian.AppendUint32(nil, uint32(len(forged)))...)
	return v.Seal(to, innerSign, attempt, round, append(b, forged...), nil)
}

// SealOwn is this vault's broadcast of a round of signing, with a private part.
func (v *Vault) SealOwn(to mpc.ID, attempt [16]byte, round uint8, private []byte) []byte {
	return v.Seal(to, innerSign, attempt, round, v.signs[attempt].own[round], private)
}

// SealEdited is this vault's broadcast of a round of signing, changed.
func (v *Vault) SealEdited(to mpc.ID, attempt [16]byte, round uint8, edit func([]byte)) []byte {
	b := append([]byte(nil), v.signs[attempt].own[round]...)
	edit(b)
	return v.Seal(to, innerSign, attempt, round, b, nil)
}

// DropPair forgets the pair setup with a peer.
func (v *Vault) DropPair(id mpc.ID) { v.closePair(v.peers[id]) }

// SealUnsigned is a frame whose broadcast this vault has not signed.
func (v *Vault) SealUnsigned(to mpc.ID, kind uint8, attempt [16]byte, round uint8, broadcast []byte) []byte {
	held := v.out.Messages
	v.out.Messages = nil
	none := signature.Signature{Algorithm: signature.Ed25519, Bytes: make([]byte, ed25519.SignatureSize)}
	v.sendSealed(v.peers[to], &inner{Kind: kind, Attempt: attempt, Round: round, Broadcast: broadcast, Signature: none})
	frame := v.out.Messages[0].Frame
	v.out.Messages = held
	return frame
}

// Heads says how far this vault knows a party's ledger, with the hash changed.
func (v *Vault) Heads(parties []mpc.ID, seq uint64, hash byte) []byte {
	w := wire.NewWriter(1)
	var hs []ledgerHead
	for _, id := range parties {
		known, _ := v.ledgers[id].hashAt(seq)
		known[0] ^= hash
		hs = append(hs, ledgerHead{id, seq, known})
	}
	writeHeads(w, hs)
	return w.Bytes()
}

// Pairing says whether a pair setup with a peer is under way.
func (v *Vault) Pairing(id mpc.ID) bool { return v.peers[id].pairing != nil }

// KeyEpoch is the epoch of which this vault holds a share of the wallet's key.
func (v *Vault) KeyEpoch(name string) uint64 {
	if k := v.keyNamed(name); k != nil && k.holds() {
		return k.cert.Epoch
	}
	return 0
}

// KeyCertificate is that of the epoch which this vault knows.
func (v *Vault) KeyCertificate(name string) *dkg.Certificate { return v.keyNamed(name).cert }

// MaySign says whether this vault's promises let it sign with the wallet's key.
func (v *Vault) MaySign(name string) bool { return v.maySign(v.keyNamed(name)) == nil }

// CheckNewCertificate is what this vault demands of the certificate of a plan's new
// epoch, if the key's present one is known.
func (v *Vault) CheckNewCertificate(p *handover.Plan, body []byte, known *dkg.Certificate) error {
	k := v.keys[p.Key]
	old := k.cert
	defer func() { k.cert = old }()
	k.cert = known
	_, err := v.checkNewCertificate(p, body)
	return err
}

// SendPrivate sends a peer a frame of so many bytes.
func (v *Vault) SendPrivate(to mpc.ID, size int) {
	v.sendSealed(v.peers[to], &inner{Kind: innerPing, Private: make([]byte, size)})
}

// SealEpochs are the epoch in which the root key rests, the device's newest, and the
// one below which seal keys are destroyed.
func (v *Vault) SealEpochs() (epoch, newest, erased uint64) {
	return v.ratchet.epoch, v.ratchet.newest, v.ratchet.erased
}

// Lent is the share that a session uses.
func (v *Vault) Lent(attempt [16]byte) *dkg.KeyShare {
	if s := v.signs[attempt]; s != nil {
		return s.share
	}
	return nil
}

// TierOf is how this vault keeps its share of a wallet's key.
func (v *Vault) TierOf(name string) governance.Tier { return v.keyNamed(name).tier() }

// WaitingCold is how many uses of cold keys wait for the device's operator.
func (v *Vault) WaitingCold() int { return v.coldUses }

// MaxColdUses bounds them.
const MaxColdUses = maxColdUses

// DeviceCommands is how many answers of the device are awaited.
func (v *Vault) DeviceCommands() int { return len(v.device) }

// What a thief has who owns this vault's memory and disk, and not its HSM.

// ShowCheckpoint makes this vault show an older checkpoint as its newest.
func (v *Vault) ShowCheckpoint(b []byte) {
	cp, err := audit.DecodeSignedCheckpoint(b)
	if err != nil {
		panic(err)
	}
	v.checkpoint = cp
}

// Checkpoint is the newest one.
func (v *Vault) Checkpoint() []byte { return v.checkpointBytes() }

// OwnCertificate is what this vault sent with its R2 of an attempt that still runs.
func (v *Vault) OwnCertificate(attempt [16]byte) []byte { return v.signs[attempt].cert }

// Certified says whether a frame that this vault has sealed for a peer is its R2.
func (v *Vault) Certified(to mpc.ID, frame []byte) bool {
	in := v.openOwn(to, frame)
	return in != nil && in.Kind == innerSign && in.Round == 2
}

// Recertify seals a frame of this vault with R2 again, under another certificate. All
// else, what is for the peer alone too, stays.
func (v *Vault) Recertify(to mpc.ID, frame []byte, edit func(cert []byte) []byte) []byte {
	in := v.openOwn(to, frame)
	s := v.signs[in.Attempt]
	if s == nil {
		panic("the session has ended")
	}
	old, err := attached(s.key.cert.Suite, 2, in.Broadcast)
	if err != nil {
		panic(err)
	}
	cert := edit(old)
	b := binary.BigEndian.AppendUint32(append([]byte(nil), in.Broadcast[:len(in.Broadcast)-len(old)-4]...), uint32(len(cert)))
	return v.Seal(to, in.Kind, in.Attempt, in.Round, append(b, cert...), in.Private)
}

// openOwn opens a frame that this vault has sealed.
func (v *Vault) openOwn(to mpc.ID, frame []byte) *inner {
	r := wire.NewReader(frame, frameVersion)
	kind, _, _ := r.Uint8("kind"), r.Uint16("from"), r.Uint16("to")
	body := r.Var("body", MaxFrame)
	if kind != frameSealed {
		return nil
	}
	r = wire.NewReader(body, 1)
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], r.Uint64("sequence"))
	plain, err := v.peers[to].send.Open(nil, nonce[:], r.Var("sealed", MaxFrame), nil)
	if err != nil {
		return nil // of an older channel
	}
	in, err := decodeInner(plain)
	if err != nil {
		panic(err)
	}
	return in
}

// Answer is what a vault says that it holds of another.
type Answer struct {
	Asker      mpc.ID
	Nonce      [32]byte
	Hello      []byte
	Checkpoint []byte
	Seq        uint64
	Head       [32]byte
}

// SealAnswer is this vault's answer to a peer, changed.
func (v *Vault) SealAnswer(to mpc.ID, edit func(*Answer)) []byte {
	a := v.answerFor(v.peers[to], v.peers[to].hello.Nonce)
	x := Answer{a.Asker, a.Nonce, a.Hello, a.Checkpoint, a.Ledger.Seq, a.Ledger.Hash}
	if edit != nil {
		edit(&x)
	}
	a.Asker, a.Nonce, a.Hello, a.Checkpoint, a.Ledger.Seq, a.Ledger.Hash = x.Asker, x.Nonce, x.Hello, x.Checkpoint, x.Seq, x.Head
	return v.Seal(to, innerHeads, [16]byte{}, headsAnswer, a.encode(), nil)
}

// SealShown shows a peer a checkpoint.
func (v *Vault) SealShown(to mpc.ID, cp []byte, from uint64, proof [][32]byte) []byte {
	return v.Seal(to, innerHeads, [16]byte{}, headsShow, nil, encodeShown([]shown{{cp, from, proof}}))
}

// SealProof shows a peer a made-up proof about two sizes of this vault's log.
func (v *Vault) SealProof(to mpc.ID, from, size uint64) []byte {
	return v.Seal(to, innerHeads, [16]byte{}, headsProof, encodeProof(from, size, [][32]byte{{1}}), nil)
}

// ProvenSize is how much of a peer's log is proven.
func (v *Vault) ProvenSize(id mpc.ID) uint64 { return v.peers[id].held.proven.size }

// HeldSize is the newest checkpoint of a peer that this vault holds.
func (v *Vault) HeldSize(id mpc.ID) uint64 { return v.peers[id].held.seen.size }

// LogSize is how many entries this vault's log has.
func (v *Vault) LogSize() uint64 { return v.log.Size() }

// HelloBytes is this start's hello.
func (v *Vault) HelloBytes() []byte { return v.helloFrame }

// Answered says whether a peer's answer counts.
func (v *Vault) Answered(id mpc.ID) bool { return v.gate.answered[id] }

// ForgetAnswers begins the start gate anew.
func (v *Vault) ForgetAnswers() { v.gate.answered = map[mpc.ID]bool{} }

// Lie makes this vault say that it has seen nothing of a peer but some events.
func (v *Vault) Lie(id mpc.ID, events uint64) {
	x := &v.peers[id].held
	x.seen, x.proven, x.good, x.pending = head{}, head{}, nil, nil
	l := v.ledgers[id]
	l.events, l.hashes = l.events[:events], l.hashes[:events]
}

// SignedHello is a hello of this vault's device for a start of any number.
func (v *Vault) SignedHello(boot uint64, nonce [32]byte, sign func(signature.Statement) signature.Signature) []byte {
	h := *v.hello
	h.Boot, h.Nonce = boot, nonce
	h.Signature = sign(h.statement())
	return h.encode()
}

// ForgetRollback begins the start gate anew, as if nothing had been found.
func (v *Vault) ForgetRollback() { v.gate.rolled, v.gate.answered = nil, map[mpc.ID]bool{} }

// Hide has this vault forget, towards all but those whom it has told, what its ledger
// says after so many events. Its copies of others' ledgers stay.
func (v *Vault) Hide(from uint64) {
	l := v.ledgers[v.cfg.ID]
	l.events, l.hashes = l.events[:from], l.hashes[:from]
	v.index = newRequestIndex(v.cfg.ID)
	for _, id := range sortedIDs(v.ledgers) {
		if id == v.cfg.ID {
			continue
		}
		v.ledgers[id] = &ledger{party: id}
	}
	for _, enc := range l.events {
		if e, err := decodeEvent(enc); err == nil {
			v.index.add(v.cfg.ID, e)
		}
	}
	v.store.dirty = true
}
