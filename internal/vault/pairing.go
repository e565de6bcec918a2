package vault

import (
	"encoding/binary"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Bounds of the pair setups with a peer: 64 at once, then one a minute. Each lets
// the peer bet on bits of a new Δ, and a failed one bans nobody: without a bound it
// would try until a bet on many bits comes off.
const (
	pairingCost  = 60_000
	pairingBurst = 64 * pairingCost
)

// startPairing begins the pair setup with a peer. It lives in memory only and is
// made afresh after every start of either side (docs/spec/pair-setup.md): a host
// that restores a snapshot finds another Δ. When too many were begun it does
// nothing; tickPeer tries again.
func (v *Vault) startPairing(p *peer, attempt uint32) {
	if v.barred(p) || v.gate.rolled != nil || p.hello == nil || !p.pairPace.spend(v.now, pairingCost, pairingBurst) {
		return
	}
	for _, a := range sortedAttempts(v.signs) {
		if s := v.signs[a]; s != nil && s.has(p.id) && s.run != nil && s.run.Paired() {
			v.abortSign(s, benign("sign", fmt.Errorf("a new pair setup with vault %d begins", p.id)))
		}
	}
	v.closePair(p)
	p.pairAttempt, p.pairStarted = attempt, v.now
	channel := v.channelID(p.hello)
	cfg := pair.Config{
		Self: v.cfg.ID, Peer: p.id, SelfNonce: v.bootNonce, PeerNonce: p.hello.Nonce,
		Context: wire.Hash("coffer/pair-context/v1", channel[:], binary.BigEndian.AppendUint32(nil, attempt)),
	}
	s, first, err := pair.New(cfg, v.rand)
	if err != nil {
		v.notePeer(p, "couldn't start pair setup", "error", err.Error())
		return
	}
	p.pairing = s
	v.sendPair(p, first)
}

func (v *Vault) sendPair(p *peer, msg []byte) {
	if len(msg) == 0 {
		return
	}
	v.sendSealed(p, &inner{Kind: innerPair, Private: append(binary.BigEndian.AppendUint32(nil, p.pairAttempt), msg...)})
}

func (v *Vault) onPair(p *peer, b []byte) {
	if len(b) < 4 {
		return
	}
	attempt, msg := binary.BigEndian.Uint32(b), b[4:]
	switch {
	case attempt < p.pairAttempt:
		return // of a setup that was given up
	case attempt > p.pairAttempt:
		v.startPairing(p, attempt)
	}
	if p.pairing == nil || attempt != p.pairAttempt {
		return
	}
	out, done, err := p.pairing.Deliver(msg)
	if err != nil {
		// A failed setup bans nobody: no share was used in it. It is made again.
		v.notePeer(p, "pair setup failed", "error", err.Error())
		p.pairing = nil
		return
	}
	v.sendPair(p, out)
	if !done {
		return
	}
	setup, err := p.pairing.Setup()
	p.pairing = nil
	if err != nil {
		v.notePeer(p, "pair setup failed", "error", err.Error())
		return
	}
	p.setup = setup
	v.notePeer(p, "pair setup done")
}

// closePair wipes what is shared with a peer.
func (v *Vault) closePair(p *peer) {
	p.setup.Destroy()
	p.pairing.Destroy()
	p.setup, p.pairing = nil, nil
}

// tickPeer repeats what got lost on the way to a peer.
func (v *Vault) tickPeer(p *peer) {
	if v.hello == nil {
		return
	}
	if !p.confirmed && v.now-p.lastHello >= helloEvery {
		v.sendHello(p)
	}
	// Both sides would start at once; the lower id does. It may have a setup of
	// which the higher one lacks the last message, so that one waits longer.
	wait := uint64(pairingTimeout)
	if v.cfg.ID > p.id {
		wait *= 2
	}
	// It leaves room for an answer: if each spent its last on a setup of its own,
	// neither could take the other's.
	room := !p.pairPace.spent(v.now, pairingBurst-2*pairingCost)
	if p.confirmed && p.setup == nil && room && v.now-p.pairStarted >= wait {
		v.startPairing(p, p.pairAttempt+1)
	}
	v.tickAttest(p)
	if p.behind && v.now-p.askedLedger >= ledgerEvery {
		v.askLedger(p)
	}
}

// endSessionsWith ends every session in which a peer takes part.
func (v *Vault) endSessionsWith(id mpc.ID, why error) {
	v.endSessions(func(peers []mpc.ID) bool { return containsID(peers, id) }, why)
}

// endSessions ends the sessions whose peers are among those meant.
func (v *Vault) endSessions(meant func(peers []mpc.ID) bool, why error) {
	for _, a := range sortedAttempts(v.signs) {
		if s := v.signs[a]; s != nil && meant(s.peers) {
			v.abortSign(s, benign("sign", why))
		}
	}
	for _, a := range sortedAttempts(v.keygens) {
		if s := v.keygens[a]; s != nil && meant(s.peers) {
			v.abortKeygen(s, benign("keygen", why))
		}
	}
	for _, a := range sortedAttempts(v.repairs) {
		if s := v.repairs[a]; s != nil && meant(s.peers) {
			v.abortRepair(s, benign("repair", why))
		}
	}
	for _, a := range sortedAttempts(v.handovers) {
		if s := v.handovers[a]; s != nil && s.run != nil && meant(s.peers) {
			v.abortHandover(s, benign("handover", why))
		}
	}
}
