package vault

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// hello introduces a vault's start to its peers: the keys of this start,
// certified by the HSM's identity key, which the card in force names.
type hello struct {
	Cluster [32]byte
	Vault   mpc.ID
	Boot    uint64   // grows by every start; an older hello than known is refused
	Nonce   [32]byte // of this start
	Session signature.PublicKey
	Channel [32]byte // X25519
	Time    uint64
	// Software is the SHA-256 of the program that the sender says it runs; zeros:
	// it doesn't know. It is the sender's own word: shown, not relied upon.
	Software [32]byte

	Signature signature.Signature // by the HSM identity, over all of the above
}

const helloVersion = 2

func (h *hello) body() []byte {
	return wire.NewWriter(helloVersion).Fixed(h.Cluster[:]).Uint16(uint16(h.Vault)).Uint64(h.Boot).Fixed(h.Nonce[:]).
		Var(h.Session.Bytes()).Fixed(h.Channel[:]).Uint64(h.Time).Fixed(h.Software[:]).Bytes()
}

func (h *hello) statement() signature.Statement {
	return signature.Statement{Domain: "coffer/hello/v2", Body: h.body()}
}

func (h *hello) encode() []byte {
	return wire.NewWriter(helloVersion).Var(h.body()).Var(h.Signature.Encode()).Bytes()
}

func decodeHello(b []byte) (*hello, error) {
	r := wire.NewReader(b, helloVersion)
	body, sig := r.Var("body", 512), r.Var("signature", signature.MaxSignature)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode hello: %w", err)
	}
	h := &hello{}
	r = wire.NewReader(body, helloVersion)
	r.Into("cluster", h.Cluster[:])
	h.Vault, h.Boot = mpc.ID(r.Uint16("vault")), r.Uint64("boot")
	r.Into("nonce", h.Nonce[:])
	session := r.Var("session key", 128)
	r.Into("channel key", h.Channel[:])
	h.Time = r.Uint64("time")
	r.Into("software", h.Software[:])
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode hello: %w", err)
	}
	var err error
	if h.Session, err = signature.DecodePublicKey(session); err != nil {
		return nil, fmt.Errorf("couldn't decode hello: %w", err)
	}
	if h.Session.Algorithm != signature.Ed25519 {
		return nil, fmt.Errorf("couldn't decode hello: session key is %v, want ed25519", h.Session.Algorithm)
	}
	if h.Signature, err = signature.Decode(sig); err != nil {
		return nil, fmt.Errorf("couldn't decode hello: %w", err)
	}
	return h, nil
}

// makeHello draws the keys of this start and has the device certify them.
func (v *Vault) makeHello() error {
	var seed [96]byte
	if err := v.draw(seed[:]); err != nil {
		return err
	}
	copy(v.bootNonce[:], seed[:32])
	v.session = ed25519.NewKeyFromSeed(seed[32:64])
	priv, err := ecdh.X25519().NewPrivateKey(seed[64:])
	if err != nil {
		return fmt.Errorf("couldn't make the channel key: %w", err)
	}
	v.channelKey = newSecret(seed[64:])
	clear(seed[:])
	h := &hello{Cluster: v.clusterID(), Vault: v.cfg.ID, Boot: v.boot, Nonce: v.bootNonce, Time: v.now, Software: v.cfg.Software}
	h.Session = signature.PublicKey{Algorithm: signature.Ed25519, Key: string(v.session.Public().(ed25519.PublicKey))}
	copy(h.Channel[:], priv.PublicKey().Bytes())
	v.askIdentity(h.statement(), func(sig signature.Signature) {
		if h.Nonce != v.bootNonce {
			return // of a start that is over
		}
		h.Signature = sig
		v.hello = h
		v.helloFrame = h.encode()
		for _, id := range sortedIDs(v.peers) {
			v.sendHello(v.peers[id])
		}
	})
	return nil
}

func (v *Vault) sendHello(p *peer) {
	p.lastHello = v.now
	v.send(p.id, frameHello, v.helloFrame)
}

// onHello opens a new channel when a peer has started anew.
func (v *Vault) onHello(from mpc.ID, b []byte) {
	p := v.peers[from]
	h, err := decodeHello(b)
	if err != nil || v.hello == nil {
		return
	}
	if h.Vault != from || h.Cluster != v.clusterID() {
		return
	}
	if signature.Verify(p.identity, h.statement(), h.Signature) != nil {
		return // unauthenticated bytes are dropped and end nothing
	}
	if least := v.gov.MinBoot(uint16(from)); h.Boot < least {
		v.notePeer(p, "peer shows a start that the admins have ended", "boot", h.Boot, "least", least)
		v.tell(p, h.Nonce)
		return
	}
	x := &p.held
	switch {
	case h.Boot < x.boot:
		if !p.warned {
			p.warned = true
			v.note("peer shows an older start than known: its disk was rolled back, or a network replays", "peer", from, "boot", h.Boot, "known", x.boot)
		}
		v.tell(p, h.Nonce)
		return
	case h.Boot == x.boot && h.Nonce != x.nonce:
		x.other = bytes.Clone(b)
		v.equivocated(p, boots{h.Boot, h.Boot}, "clone", fmt.Sprintf("two different starts number %d of vault %d: its disk was put back, or two copies of it run", h.Boot, from), x.hello, b)
		v.tell(p, h.Nonce)
		return
	case p.hello != nil && h.Nonce == p.hello.Nonce:
		v.sendSealed(p, &inner{Kind: innerPing}) // it has not heard us yet
		return
	}
	if err := v.openChannel(p, h); err != nil {
		v.notePeer(p, "couldn't open channel", "error", err.Error())
		return
	}
	// That this start is the newest is durable before it hears so: from here on no
	// older copy of the vault gets anything.
	if h.Boot > x.boot {
		x.hello, x.boot, x.nonce, x.dirty = bytes.Clone(b), h.Boot, h.Nonce, true
	}
	v.sendHello(p)
	v.sendSealed(p, &inner{Kind: innerPing})
	v.answerHeads(p)
	v.startPairing(p, p.pairAttempt+1)
}
