package vault

// pace bounds what somebody may cause over time. Its unit is the millisecond: who
// causes something that costs c waits c before the next, after a burst. The zero
// value has spent nothing.
type pace struct{ until uint64 }

// spend takes cost, or says that there is not enough left.
func (p *pace) spend(now, cost, burst uint64) bool {
	if p.until = max(p.until, now); p.until+cost-now > burst {
		return false
	}
	p.until += cost
	return true
}

// force takes cost whether or not there is enough left.
func (p *pace) force(now, cost uint64) { p.until = max(p.until, now) + cost }

// spent says that nothing is left.
func (p *pace) spent(now, burst uint64) bool { return p.until > now && p.until-now >= burst }

// notePeer is a note that a peer can cause: one a minute after a burst, or it
// would fill the operator's log.
func (v *Vault) notePeer(p *peer, text string, args ...any) {
	if p.notePace.spend(v.now, 60_000, 64*60_000) {
		v.note(text, append([]any{"peer", p.id}, args...)...)
	}
}
