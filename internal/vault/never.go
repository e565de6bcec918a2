package vault

import (
	"slices"

	"github.com/cofferhq/coffer/mpc"
)

// An allowance comes back when every signer of the attempt has said that its share has
// not left and never will (docs/spec/ledger.md). A vault that the command never
// reached has nothing to release: it says so when it hears that another signer has
// given the attempt up, and takes no part in it from then on.

// neverAsked keeps in mind an attempt that a peer has released, and that names this
// vault, which knows nothing of it.
func (v *Vault) neverAsked(peer mpc.ID, e *event) {
	if e.Kind != eventRelease || v.index.of(e.Attempt, v.cfg.ID) != nil {
		return
	}
	p := v.index.of(e.Attempt, peer)
	if p == nil || p.never || !p.signs() && !containsID(p.reserve.Witnesses, peer) || len(p.reserve.Movement) == 0 || !containsID(p.reserve.Parties, v.cfg.ID) {
		return
	}
	if v.given == nil {
		v.given = map[[16]byte]mpc.ID{}
	}
	v.given[e.Attempt] = peer
}

// findNeverAsked finds them anew after a start.
func (v *Vault) findNeverAsked() {
	for a, m := range v.index.byAttempt {
		for _, id := range sortedIDs(m) {
			if id != v.cfg.ID && m[id].status == statusReleased {
				v.neverAsked(id, &event{Kind: eventRelease, Attempt: a})
			}
		}
	}
}

// tickNever says of such attempts that this vault never takes part in them: once the
// others have said that its disk is the newest, or it may have done so before.
func (v *Vault) tickNever() {
	for _, a := range sortedAttempts(v.given) {
		p := v.index.of(a, v.given[a])
		k := v.keys[p.reserve.Key]
		switch {
		case v.index.of(a, v.cfg.ID) != nil, k == nil:
		case (v.gate.sure || v.gate.named) && p.reserve.Time < v.gate.began:
			// Nobody can tell what this vault did before.
		case v.signs[a] != nil, v.mayReserve(k.cert.Parties, k.cert.Threshold) != nil, !v.heardOf(&p.reserve):
			continue
		default:
			v.release(a)
		}
		delete(v.given, a)
	}
}

// release records that this vault gives no final share of an attempt.
func (v *Vault) release(attempt [16]byte) {
	v.record(&event{Kind: eventRelease, Attempt: attempt})
	v.news = true
}

// tellReleases sends what was released to those whom it may give room. What gets lost
// they ask for when they refuse something.
func (v *Vault) tellReleases() {
	if !v.news {
		return
	}
	v.news = false
	own := v.ledgers[v.cfg.ID]
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		if head := own.head().Seq; p.confirmed && p.told < head && v.worksWith(id) {
			v.sendSealed(p, &inner{Kind: innerSync, Round: 1, Private: own.deltaFrom(p.told).encode()})
			p.told = head // a receiver that lacks more asks
		}
	}
}

// worksWith says whether a peer is a party of one of this vault's keys.
func (v *Vault) worksWith(id mpc.ID) bool {
	for _, k := range v.keys {
		if slices.Contains(k.cert.Parties, id) {
			return true
		}
	}
	return false
}
