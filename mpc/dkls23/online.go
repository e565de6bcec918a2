package dkls23

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The steps that aborts of the online part name.
const (
	stepA           = "dkls23 online A"
	stepEcho        = "dkls23 online echo"
	stepOpen        = "dkls23 online: opening of R"
	stepOnlineGamma = "dkls23 online: gamma check"
	stepB           = "dkls23 online B"
)

// OnlineConfig is what a presignature is to sign; the fields are those of Config.
type OnlineConfig struct {
	Key     *dkg.KeyShare
	Signers []mpc.ID

	RequestHash [32]byte
	MessageHash [32]byte
	Tweak       *secp256k1.Scalar
	Path        []byte
}

// Online is one signer's part of a signature from a presignature:
//
//	Round0 → A: broadcast, and with V1 one private message a peer
//	Round1(A) → the echo, a broadcast; nothing when there are two signers
//	Round2(echoes) → the final share
//
// There is no way from a presignature to a share but this one: with V1 R is
// opened after the request is fixed, with V2 δ is always applied. Not safe for
// concurrent use.
type Online struct {
	order    session.Order
	protocol session.Protocol
	m        *material
	peers    []mpc.ID
	rand     io.Reader
	item     item
	hash     [32]byte   // message hash
	child    [33]byte   // pk + εG
	check    *ecdsa.Key // the same, to verify under

	nonce  [32]byte // V2
	a      []byte   // own A
	bodies map[mpc.ID]*bodyA
	gammas map[mpc.ID]*secp256k1.Point // V1: Γ^u_{j→i}
	id     [32]byte                    // of this signature, from all A
	point  [33]byte                    // R, or R′, of the share
	full   [65]byte                    // the same, not compressed
}

// Open takes the presignature for a request. If it returns an Online, the
// presignature is used, whatever comes of it; if it returns an error, it is not
// (used, expired, or not for this key, epoch and signers).
func Open(p *Presignature, cfg OnlineConfig, now time.Time, rand io.Reader) (*Online, error) {
	if p == nil || p.m == nil {
		return nil, errors.New("dkls23: no presignature")
	}
	if err := p.m.fits(cfg.Key, cfg.Signers, now); err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	if rand == nil {
		return nil, errors.New("dkls23: no source of randomness")
	}
	it, err := newItem(cfg.Key, cfg.RequestHash, cfg.MessageHash, cfg.Tweak, cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	child, check := p.m.public, p.m.check
	if it.tweak.IsZero() == 0 {
		point, err := childKey(group.Secp256k1Point(cfg.Key.PublicKey), it.tweak)
		if err != nil {
			return nil, fmt.Errorf("dkls23: %w", err)
		}
		encoded := point.BytesUncompressed()
		copy(child[1:], encoded[1:33])
		child[0] = 2 | encoded[64]&1
		if check, err = ecdsa.NewKey(encoded[:]); err != nil {
			return nil, fmt.Errorf("dkls23: %w", err)
		}
	}
	_, protocol, err := p.m.kind.protocols()
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return &Online{
		order:    session.NewOrder("dkls23"),
		protocol: protocol,
		m:        p.m.take(),
		peers:    without(p.m.signers, p.m.self),
		rand:     rand,
		item:     it,
		hash:     cfg.MessageHash,
		child:    child,
		check:    check,
		bodies:   make(map[mpc.ID]*bodyA),
		gammas:   make(map[mpc.ID]*secp256k1.Point),
	}, nil
}

// Format writes the party only, whatever the verb.
func (o Online) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkls23.Online(%d of %v, %v)", o.m.self, o.m.signers, o.m.kind)
}

// Presignature is the id of the presignature that is being used.
func (o *Online) Presignature() [32]byte { return o.m.id }

// ID returns the id of this signature. It is zero before Round1.
func (o *Online) ID() [32]byte { return o.id }

// R returns the point of the signature, for CombineOnline. It is zero before
// Round2.
func (o *Online) R() [33]byte { return o.point }

// Destroy ends the session and wipes its secrets. It may be called at any time.
func (o *Online) Destroy() {
	o.order.Close()
	o.m.destroy()
}

func (o *Online) want(round uint8, to mpc.ID) session.Header {
	h := session.Header{Protocol: o.protocol, Round: round, Session: o.id, Epoch: o.m.epoch, To: to}
	if round == 0 {
		h.Session = o.m.id
	}
	return h
}

func (o *Online) header(round uint8, to mpc.ID) *session.Header {
	h := o.want(round, to)
	h.From = o.m.self
	return &h
}

// Round0 returns A. From here on the presignature is for this request only; the
// caller that may have to send A again keeps these bytes.
func (o *Online) Round0(attachment []byte) (broadcast []byte, private map[mpc.ID][]byte, err error) {
	if err := o.order.Begin(0); err != nil {
		return nil, nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, nil, err
	}
	defer func() { o.order.End(err, o.Destroy) }()
	b := bodyA{job: o.item.job, attachment: attachment}
	if d := o.m.delayed; d != nil {
		b.r, b.salt = d.encoded, d.salt
		private = make(map[mpc.ID][]byte, len(o.peers))
		for _, j := range o.peers {
			gamma := d.gammas[j]
			private[j] = o.header(0, j).Writer().Fixed(gamma[:]).Bytes()
		}
	} else {
		if err := session.Draw(o.rand, stepA, o.nonce[:]); err != nil {
			return nil, nil, err
		}
		b.nonce = o.nonce
	}
	w := o.header(0, session.Broadcast).Writer()
	b.write(w, o.m.kind)
	o.a = w.Bytes()
	return slices.Clone(o.a), private, nil
}

// Round1 takes the peers' A: presignature, epoch and job equal from all, else
// benign. It returns the echo, which says which A this signer saw, or nil when
// there are two signers: then there is nobody who could have been shown another.
func (o *Online) Round1(a, private map[mpc.ID][]byte) (echo []byte, err error) {
	if err := o.order.Begin(1); err != nil {
		return nil, err
	}
	defer func() { o.order.End(err, o.Destroy) }()
	boxes := []session.Box{{Messages: a, Want: o.want(0, session.Broadcast)}}
	if o.m.kind == Delayed {
		boxes = append(boxes, session.Box{Messages: private, Want: o.want(0, o.m.self)})
	} else if len(private) != 0 {
		return nil, session.Benign(stepA, errors.New("private messages, but there are none with V2"))
	}
	in, err := session.Open(stepA, o.peers, boxes...)
	if err != nil {
		return nil, err
	}
	faults := make(map[mpc.ID]error)
	for _, id := range o.peers {
		o.bodies[id], faults[id] = readBodyA(in[0][id], o.m.kind)
		if faults[id] == nil && o.m.kind == Delayed {
			o.gammas[id], faults[id] = readGamma(in[1][id])
		}
	}
	// A difference is benign and comes before any blame, as in round 0 offline.
	for _, id := range o.peers {
		if b := o.bodies[id]; b != nil && b.job != o.item.job {
			return nil, session.Benign(stepA, fmt.Errorf("participant %d wants to sign something else: the request, the message hash, the tweak or the path differs", id))
		}
	}
	if err := session.Blame(stepA, o.peers, faults); err != nil {
		return nil, err
	}
	items := append([][]byte{o.m.id[:]}, session.Broadcasts(o.m.signers, o.m.self, o.a, a)...)
	o.id = transcript.Sum(transcript.TagOnline, items...)
	if len(o.peers) == 1 {
		return nil, nil
	}
	return o.header(1, session.Broadcast).Writer().Bytes(), nil
}

// Round2 takes the peers' echoes, nil when there are two signers, and returns the
// final share. The caller makes "final share authorised" durable before it sends
// it, and sends those very bytes if it must send it again. A quarantine abort is
// as in Session.Round2. Whatever Round2 returns, the session has ended.
func (o *Online) Round2(echoes map[mpc.ID][]byte) (out *OnlineShare, err error) {
	if err := o.order.Begin(2); err != nil {
		return nil, err
	}
	defer func() { o.order.End(err, o.Destroy); o.Destroy() }()
	if err := o.heard(echoes); err != nil {
		return nil, err
	}
	total, err := o.total()
	if err != nil {
		return nil, err
	}
	o.full = total.BytesUncompressed()
	copy(o.point[1:], o.full[1:33])
	if o.full[0] != 0 { // not the identity
		o.point[0] = 2 | o.full[64]&1
	}
	if err := usable(&o.point); err != nil {
		return nil, session.Unattributed(stepB, err)
	}
	s := slot{secret: &secrets{}, totalBytes: o.point}
	defer func() { *s.secret = secrets{} }()
	s.secret.u.Set(&o.m.secret.u)
	s.secret.v.Set(&o.m.secret.v)
	s.secret.phi.Set(&o.m.secret.phi)
	out = &OnlineShare{Kind: o.m.kind, From: o.m.self, ID: o.id, Epoch: o.m.epoch}
	s.sign(&o.item, &out.W, &out.U)
	return out, nil
}

// heard demands that all peers saw the same A. The id of the signature is over
// all of them, so it stands in the header of the echo and nothing else does.
func (o *Online) heard(echoes map[mpc.ID][]byte) error {
	if len(o.peers) == 1 {
		if len(echoes) != 0 {
			return session.Benign(stepEcho, errors.New("an echo, but there is none between two signers"))
		}
		return nil
	}
	in, err := session.Open(stepEcho, o.peers, session.Box{Messages: echoes, Want: o.want(1, session.Broadcast)})
	if err != nil {
		return err
	}
	faults := make(map[mpc.ID]error)
	for _, id := range o.peers {
		faults[id] = in[0][id].Done()
	}
	return session.Blame(stepEcho, o.peers, faults)
}

// total is R of the signature; with V2 it moves u by δ with it.
func (o *Online) total() (*secp256k1.Point, error) {
	if o.m.kind == Delayed {
		return o.opened()
	}
	delta := o.delta()
	// R′ = R + δ·G, u′ᵢ = uᵢ + δ·φᵢ
	o.m.secret.u.MulAdd(delta, &o.m.secret.phi, &o.m.secret.u)
	return secp256k1.NewPoint().Add(o.m.total, secp256k1.NewPoint().ScalarBaseMult(delta)), nil
}

// delta is δ of V2.
func (o *Online) delta() *secp256k1.Scalar {
	h, eps := o.item.h.Bytes(), o.item.tweak.Bytes()
	var set []byte
	for _, id := range o.m.signers {
		set = append(set, transcript.Uint16(uint16(id))...)
	}
	items := [][]byte{o.m.encoded[:], o.child[:], h[:], eps[:], set, o.m.id[:], o.item.job[:]}
	for _, id := range o.m.signers {
		nonce := &o.nonce
		if id != o.m.self {
			nonce = &o.bodies[id].nonce
		}
		items = append(items, nonce[:])
	}
	return transcript.Scalar(transcript.TagRerandomR, items...)
}

// opened is V1: the commitments of round 1, then the checks of Γ^u, then R.
func (o *Online) opened() (*secp256k1.Point, error) {
	total := secp256k1.NewPoint().Set(o.m.point)
	faults := make(map[mpc.ID]error)
	points := make(map[mpc.ID]*secp256k1.Point)
	for _, id := range o.peers {
		b := o.bodies[id]
		if rCommitment(o.m.sid, id, &b.r, &b.salt) != o.m.delayed.commitments[id] {
			faults[id] = errors.New("opening of R does not match the commitment of round 1")
		}
		points[id] = b.point
	}
	if err := session.Blame(stepOpen, o.peers, faults); err != nil {
		return nil, err
	}
	for _, id := range o.peers {
		c := o.m.delayed.checks[id]
		if gamma(secp256k1.NewPoint().ScalarMult(&c.chi, points[id]), o.gammas[id], &c.d) != 1 {
			return nil, session.Quarantine(stepOnlineGamma, id, errProduct)
		}
		total.Add(total, points[id])
	}
	return total, nil
}

// Combine is CombineOnline for a signer, which knows everything but the shares.
func (o *Online) Combine(shares []*OnlineShare) (*ecdsa.Signature, error) {
	return combineOnline(o.m.signers, &o.point, shares, func(sig *ecdsa.Signature) error {
		return ecdsa.CheckAt(o.check, o.hash, sig, &o.full)
	})
}

// CombineOnline makes the signature from the final shares of all signers, as
// Combine does. point is R of the signature; any signer tells it (Online.R), and a
// wrong one gives no signature. A signature that does not verify is never
// returned (unattributed), and the presignature is gone in any case.
func CombineOnline(publicKey *secp256k1.Point, signers []mpc.ID, point [33]byte, messageHash [32]byte, tweak *secp256k1.Scalar, shares []*OnlineShare) (*ecdsa.Signature, error) {
	child, err := childKey(publicKey, tweak)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return combineOnline(signers, &point, shares, func(sig *ecdsa.Signature) error {
		return ecdsa.Check(child.Bytes(), messageHash, sig)
	})
}

func combineOnline(signers []mpc.ID, point *[33]byte, shares []*OnlineShare, check func(*ecdsa.Signature) error) (*ecdsa.Signature, error) {
	parts := make([]part, len(shares))
	for i, f := range shares {
		if f.Kind != shares[0].Kind {
			return nil, session.Benign(stepCombine, fmt.Errorf("final shares of participants %d and %d are of different kinds", shares[0].From, f.From))
		}
		parts[i] = part{from: f.From, session: f.ID, epoch: f.Epoch, point: *point, w: &f.W, u: &f.U}
	}
	if err := belong(signers, parts); err != nil {
		return nil, session.Benign(stepCombine, err)
	}
	sig, err := release(parts, check)
	if err != nil {
		return nil, session.Unattributed(stepCombine, err)
	}
	return sig, nil
}
