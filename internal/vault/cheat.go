//go:build coffer_sim

package vault

import "github.com/cofferhq/coffer/mpc"

// Cheat makes this vault lie to a peer from now on: what it sends in the OT
// extension no longer fits. It exists only in builds of the simulation (build
// tag coffer_sim), never in a vault that people run.
func (v *Vault) Cheat(id mpc.ID) bool {
	p := v.peers[id]
	if p == nil || p.setup == nil {
		return false
	}
	for i := range p.setup.Bob.Leaf {
		p.setup.Bob.Leaf[i][0][0] ^= 1
	}
	return true
}

// cheating is what this vault will lie about.
type cheating struct{ wrongShareTo mpc.ID }

// CheatDealing makes this vault deal a wrong share to a peer in its next key
// generation, refresh or reshare.
func (v *Vault) CheatDealing(id mpc.ID) bool {
	v.cheating.wrongShareTo = id
	return true
}

// spoil changes a private message of a dealing on its way out.
func (v *Vault) spoil(kind, round uint8, private map[mpc.ID][]byte) {
	if kind != innerKeygen && kind != innerHandover || round != 3 {
		return
	}
	if b := private[v.cheating.wrongShareTo]; len(b) > 90 {
		b[90] ^= 1 // within the share, which comes after the header and the echo
		v.cheating.wrongShareTo = 0
	}
}

// CheatMark is how long this vault's ledger is, for CheatHide.
func (v *Vault) CheatMark() (events uint64, ok bool) {
	if l := v.ledgers[v.cfg.ID]; l != nil {
		return l.head().Seq, true
	}
	return 0, false // it is still starting
}

// CheatHide makes this vault deny what its ledger says after so many events. It must not
// be started again after that: its disk remembers.
func (v *Vault) CheatHide(from uint64) bool {
	l := v.ledgers[v.cfg.ID]
	if l == nil || from >= l.head().Seq {
		return false
	}
	l.events, l.hashes = l.events[:from], l.hashes[:from]
	clear(v.signs) // and what it has under way, since that is in what it denies
	clear(v.given)
	v.index = newRequestIndex(v.cfg.ID)
	for _, id := range sortedIDs(v.ledgers) {
		if id != v.cfg.ID { // what others told it would refuse the lie
			v.ledgers[id] = &ledger{party: id}
		}
	}
	for _, enc := range l.events {
		if e, err := decodeEvent(enc); err == nil {
			v.index.add(v.cfg.ID, e)
		}
	}
	return true
}

// CheatRelease makes this vault say that it has released all that it gave.
func (v *Vault) CheatRelease() bool {
	var given [][16]byte
	if v.ledgers[v.cfg.ID] == nil {
		return false
	}
	for _, enc := range v.ledgers[v.cfg.ID].events {
		if e, err := decodeEvent(enc); err == nil && e.Kind == eventFinal {
			given = append(given, e.Attempt)
		}
	}
	for _, a := range given {
		v.record(&event{Kind: eventRelease, Attempt: a})
	}
	return len(given) > 0
}
