package vault

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
