package vault

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Frames between vaults (docs/spec/channel.md). What does not authenticate is
// dropped: no byte of the network ends a session.
const (
	frameVersion = 1
	frameHello   = 1
	frameSealed  = 2
	// 3: frameTell (heads.go)
)

// MaxFrame bounds a frame.
const MaxFrame = 1 << 20

// peer is another vault of the cluster.
type peer struct {
	id       mpc.ID
	name     string
	identity signature.PublicKey
	decision signature.PublicKey
	log      signature.PublicKey

	hello     *hello // of its newest start
	send      cipher.AEAD
	receive   cipher.AEAD
	sent      uint64
	window    window
	confirmed bool // it has proven to hold this channel's key
	lastHello uint64
	warned    bool // of an older start; said once a channel
	cloned    bool // incident written; once a channel

	setup       *pair.Setup
	pairing     *pair.Session
	pairAttempt uint32
	pairStarted uint64
	pairPace    pace // of the setups begun with it since this vault's start

	quarantined bool
	suspended   bool    // told two stories (witness.go)
	suspendedOf boots   // the starts of which the two stories are
	held        witness // what this vault has seen of it, durably
	shown       uint64  // size of the newest checkpoint that it was shown on this channel
	shownAt     uint64
	cosigned    uint64            // size of its newest checkpoint that this vault cosigned for it
	relayed     map[mpc.ID]uint64 // sizes of others' checkpoints that it was shown
	toldAt      uint64
	proofPace   pace // of what it asks
	showPace    pace // of what it shows

	forked      bool // two histories of its ledger are known: no more of it is taken
	behind      bool // its ledger goes on beyond what is known
	askedLedger uint64
	told        uint64 // events of this vault's ledger that it has been sent
	ledgerPace  pace   // of events that it makes this vault keep
	ledgerDay   pace   // the same, over days
	flooded     bool   // it was too much, and the log has it
	notePace    pace
	attest      attestation
	repairPace  pace // of what it asks and offers about repairs
	incidents   int  // written since this start
}

// frame takes bytes from the network.
func (v *Vault) frame(b []byte) {
	if len(b) > MaxFrame {
		return
	}
	r := wire.NewReader(b, frameVersion)
	kind, from, to := r.Uint8("kind"), mpc.ID(r.Uint16("from")), mpc.ID(r.Uint16("to"))
	body := r.Var("body", MaxFrame)
	p, known := v.peers[from]
	if r.Done() != nil || to != v.cfg.ID || !known {
		return
	}
	switch kind {
	case frameHello:
		v.onHello(from, body)
	case frameSealed:
		if in, err := v.openFrame(p, body); err == nil {
			v.onInner(p, in)
		}
	case frameTell:
		v.onTell(p, body)
	}
}

func (v *Vault) send(to mpc.ID, kind uint8, body []byte) {
	w := wire.NewWriter(frameVersion).Uint8(kind).Uint16(uint16(v.cfg.ID)).Uint16(uint16(to)).Var(body)
	if n := len(w.Bytes()); n > MaxFrame {
		// Its receiver would drop it, and a session wait for it in vain.
		v.notePeer(v.peers[to], "a frame is too large to send; what it belongs to will not finish", "bytes", n, "most", MaxFrame, "kind", kind)
		return
	}
	v.out.Messages = append(v.out.Messages, Message{uint16(to), w.Bytes()})
}

// openChannel derives the two directions' keys from both starts.
func (v *Vault) openChannel(p *peer, h *hello) error {
	priv, err := ecdh.X25519().NewPrivateKey(v.channelKey.Reveal())
	if err != nil {
		return fmt.Errorf("couldn't use the channel key: %w", err)
	}
	pub, err := ecdh.X25519().NewPublicKey(h.Channel[:])
	if err != nil {
		return fmt.Errorf("couldn't use vault %d's channel key: %w", p.id, err)
	}
	shared, err := priv.ECDH(pub)
	if err != nil {
		return fmt.Errorf("vault %d's channel key is unusable: %w", p.id, err)
	}
	defer secret.Wipe(shared)
	salt := v.channelID(h)
	direction := func(from, to mpc.ID) (cipher.AEAD, error) {
		info := wire.NewWriter(1).String("coffer/channel-key/v1").Uint16(uint16(from)).Uint16(uint16(to)).Bytes()
		k, err := hkdf.Key(sha256.New, shared, salt[:], string(info), chacha20poly1305.KeySize)
		if err != nil {
			return nil, err
		}
		defer secret.Wipe(k)
		return chacha20poly1305.New(k)
	}
	send, err := direction(v.cfg.ID, p.id)
	if err != nil {
		return err
	}
	receive, err := direction(p.id, v.cfg.ID)
	if err != nil {
		return err
	}
	v.closePair(p)
	v.endSessionsWith(p.id, fmt.Errorf("vault %d has started anew", p.id))
	p.hello, p.send, p.receive = h, send, receive
	p.sent, p.window, p.confirmed, p.warned, p.cloned = 0, window{}, false, false, false
	p.pairAttempt = 0
	p.shown, p.shownAt, p.relayed, p.cosigned = 0, 0, nil, 0
	p.attest = attestation{pace: p.attest.pace}
	v.dropEarly(p.id)
	return nil
}

// channelID binds a channel to both starts, in the order of the ids.
func (v *Vault) channelID(h *hello) [32]byte {
	a, b := v.hello, h
	if b.Vault < a.Vault {
		a, b = b, a
	}
	return wire.Hash("coffer/channel/v1", a.body(), b.body())
}

// inner is what a sealed frame holds.
type inner struct {
	Kind      uint8
	Attempt   [16]byte // of a session
	Round     uint8
	Broadcast []byte // the same bytes to everybody, signed by the start's session key
	Signature signature.Signature
	Private   []byte // for the receiver alone
}

const (
	innerPing   = 1
	innerPair   = 2 // Private: attempt u32 ‖ message
	innerKeygen = 3
	innerSign   = 4
	innerSync   = 5 // Private: ledger heads (Round 0) or a delta (Round 1)

	innerHandover = 6 // a refresh or reshare
	innerVotes    = 7 // Private: handover.Bundle
	innerHeads    = 8 // what vaults hold of each other (heads.go, witness.go)

	innerAttest = 9 // what a machine runs (attested.go)

	innerRepair = 10 // of a lost share (repair.go, offer.go)

	innerVersion = 1
)

func (in *inner) encode() []byte {
	w := wire.NewWriter(innerVersion).Uint8(in.Kind).Fixed(in.Attempt[:]).Uint8(in.Round).Var(in.Broadcast)
	if len(in.Broadcast) > 0 {
		w.Fixed(in.Signature.Bytes)
	}
	return w.Var(in.Private).Bytes()
}

func decodeInner(b []byte) (*inner, error) {
	r := wire.NewReader(b, innerVersion)
	in := &inner{Kind: r.Uint8("kind")}
	r.Into("attempt", in.Attempt[:])
	in.Round = r.Uint8("round")
	if in.Broadcast = r.Var("broadcast", MaxFrame); len(in.Broadcast) > 0 {
		in.Signature = signature.Signature{Algorithm: signature.Ed25519, Bytes: r.Fixed("signature", 64)}
	}
	in.Private = r.Var("private", MaxFrame)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode inner frame: %w", err)
	}
	return in, nil
}

// broadcastStatement is what the sender of a broadcast signs, so that two
// versions of one broadcast are evidence against it.
func (v *Vault) broadcastStatement(kind uint8, attempt [16]byte, round uint8, from mpc.ID, broadcast []byte) signature.Statement {
	cluster := v.clusterID()
	sum := sha256.Sum256(broadcast)
	w := wire.NewWriter(1).Fixed(cluster[:]).Uint8(kind).Fixed(attempt[:]).Uint8(round).Uint16(uint16(from)).Fixed(sum[:])
	return signature.Statement{Domain: "coffer/broadcast/v1", Body: w.Bytes()}
}

func (v *Vault) signSession(st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.session, d[:])}
}

// sendSealed seals a frame for a peer. The sequence number is the nonce.
func (v *Vault) sendSealed(p *peer, in *inner) {
	if p.send == nil {
		return
	}
	p.sent++
	var nonce [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint64(nonce[4:], p.sent)
	plain := in.encode()
	sealed := p.send.Seal(nil, nonce[:], plain, nil)
	secret.Wipe(plain) // shares, in a key generation
	v.send(p.id, frameSealed, wire.NewWriter(1).Uint64(p.sent).Var(sealed).Bytes())
}

func (v *Vault) openFrame(p *peer, body []byte) (*inner, error) {
	r := wire.NewReader(body, 1)
	seq, sealed := r.Uint64("sequence"), r.Var("sealed", MaxFrame)
	if err := r.Done(); err != nil {
		return nil, err
	}
	if p.receive == nil || !p.window.fresh(seq) {
		return nil, fmt.Errorf("frame %d from vault %d: no channel, or a repetition", seq, p.id)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint64(nonce[4:], seq)
	plain, err := p.receive.Open(nil, nonce[:], sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("frame %d from vault %d does not open: %w", seq, p.id, err)
	}
	p.window.take(seq)
	if !p.confirmed {
		p.confirmed = true
		v.askLedger(p)
		v.tellEpochs(p)
	}
	defer secret.Wipe(plain) // what is decoded is a copy
	return decodeInner(plain)
}

func (v *Vault) onInner(p *peer, in *inner) {
	if v.barred(p) && in.Kind != innerPing && in.Kind != innerSync && in.Kind != innerHeads {
		return
	}
	if rounds(in.Kind) && v.attested(p) != nil {
		return
	}
	if len(in.Broadcast) > 0 {
		st := v.broadcastStatement(in.Kind, in.Attempt, in.Round, p.id, in.Broadcast)
		if signature.Verify(p.hello.Session, st, in.Signature) != nil {
			return
		}
	}
	switch in.Kind {
	case innerPair:
		v.onPair(p, in.Private)
	case innerKeygen:
		v.onKeygen(p, in)
	case innerSign:
		v.onSign(p, in)
	case innerSync:
		v.onSync(p, in)
	case innerHandover:
		v.onHandover(p, in)
	case innerVotes:
		v.onVotes(p, in.Private)
	case innerHeads:
		v.onHeads(p, in)
	case innerAttest:
		v.onAttest(p, in)
	case innerRepair:
		v.onRepair(p, in)
	}
}

// window refuses repeated sequence numbers while it lets the network reorder.
type window struct {
	top  uint64
	seen [16]uint64 // bit i: top-i was taken
}

const windowSize = 16 * 64

func (w *window) fresh(seq uint64) bool {
	if seq == 0 {
		return false
	}
	if seq > w.top {
		return true
	}
	d := w.top - seq
	return d < windowSize && w.seen[d/64]>>(d%64)&1 == 0
}

func (w *window) take(seq uint64) {
	for ; w.top < seq; w.top++ {
		if seq-w.top > windowSize {
			*w = window{top: seq - 1}
			continue
		}
		for i := len(w.seen) - 1; i > 0; i-- {
			w.seen[i] = w.seen[i]<<1 | w.seen[i-1]>>63
		}
		w.seen[0] <<= 1
	}
	d := w.top - seq
	w.seen[d/64] |= 1 << (d % 64)
}

// askLedger tells a peer how far this vault knows its ledger.
func (v *Vault) askLedger(p *peer) {
	p.askedLedger = v.now
	w := wire.NewWriter(1)
	writeHeads(w, []ledgerHead{v.ledgers[p.id].head()})
	v.sendSealed(p, &inner{Kind: innerSync, Private: w.Bytes()})
}

// onSync answers a peer that asks for this vault's ledger, or takes over what it
// sent of its own.
func (v *Vault) onSync(p *peer, in *inner) {
	switch in.Round {
	case 0:
		r := wire.NewReader(in.Private, 1)
		hs := readHeads(r)
		if r.Done() != nil || len(hs) != 1 || hs[0].Party != v.cfg.ID {
			return
		}
		own := v.ledgers[v.cfg.ID]
		if known, ok := own.hashAt(hs[0].Seq); !ok || known != hs[0].Hash {
			v.notePeer(p, "this peer knows another history of this vault's ledger: this vault's disk may have been rolled back", "event", hs[0].Seq)
			return
		}
		p.told = hs[0].Seq
		if d := own.deltaFrom(p.told); p.told < d.Head.Seq {
			v.sendSealed(p, &inner{Kind: innerSync, Round: 1, Private: d.encode()})
			p.told += uint64(len(d.Events))
		}
	case 1:
		d, err := decodeDelta(in.Private)
		if err != nil {
			return
		}
		before := v.ledgers[p.id].head().Seq
		if v.adoptOrReport(p, d) != nil {
			return
		}
		if p.behind && v.ledgers[p.id].head().Seq > before {
			v.askLedger(p)
		}
	}
}
