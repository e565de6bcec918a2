package vault

import "github.com/cofferhq/coffer/mpc"

// LieRelease has this vault tell a ledger in which its last reservation was released.
func (v *Vault) LieRelease() {
	l := v.ledgers[v.cfg.ID]
	for i := len(l.events) - 1; i >= 0; i-- {
		e, err := decodeEvent(l.events[i])
		if err != nil || e.Kind != eventReserve {
			continue
		}
		l.events, l.hashes = l.events[:i+1], l.hashes[:i+1]
		v.index.of(e.Attempt, v.cfg.ID).status = statusReserved
		v.record(&event{Kind: eventRelease, Attempt: e.Attempt})
		return
	}
}

// Deny has this vault tell a ledger that ends after so many events, and nothing else.
func (v *Vault) Deny(from uint64) {
	l := v.ledgers[v.cfg.ID]
	l.events, l.hashes = l.events[:from], l.hashes[:from]
	v.store.dirty = true
}

// Flood has a peer's ledger have grown by size just now.
func (v *Vault) Flood(id mpc.ID, size uint64) { v.peers[id].ledgerDay.force(v.now, ledgerCost(size)) }

// FloodOwn is the same of this vault's own ledger.
func (v *Vault) FloodOwn(size uint64) { v.ownDay.force(v.now, ledgerCost(size)) }

// OwnLedger is how much a vault reserves at once, in bytes.
const OwnLedger = ownDays * ledgerDaily

// QuotaMet says whether a peer that has this vault keep so many bytes, every so many
// milliseconds for eight hours a day, is ever told to wait.
func QuotaMet(bytes, every uint64, days int) bool {
	var p pace
	for d := range uint64(days) {
		for at := uint64(0); at < 8*3_600_000; at += every {
			if !p.spend(1+d*day+at, ledgerCost(bytes), ledgerDays*day) {
				return true
			}
		}
	}
	return false
}
