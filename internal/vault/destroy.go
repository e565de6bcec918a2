package vault

import (
	"maps"
	"slices"

	"github.com/cofferhq/coffer/internal/secret"
)

// Destroy wipes the secrets that this vault holds: shares, pair setups, the sessions
// under way and its keys. No step comes after it. It is called when nobody waits for
// anything any more; what is on the disk stays.
//
// What it cannot reach are copies inside the standard library's and x/crypto's
// ciphers: they go with the process, whose memory nobody else can read
// (docs/spec/isolation.md).
func (v *Vault) Destroy() {
	for _, s := range slices.Collect(maps.Values(v.signs)) {
		if s.run != nil {
			s.run.Destroy()
		}
		s.giveBack()
	}
	for _, s := range slices.Collect(maps.Values(v.keygens)) {
		v.endKeygen(s)
	}
	for _, s := range slices.Collect(maps.Values(v.handovers)) {
		v.endHandover(s)
	}
	for _, s := range slices.Collect(maps.Values(v.repairs)) {
		v.endRepair(s)
	}
	for _, p := range v.peers {
		v.closePair(p)
		p.send, p.receive = nil, nil
	}
	for _, k := range v.keys {
		k.held.destroy()
	}
	for _, p := range v.pending {
		p.held.destroy()
	}
	for _, c := range v.candidates {
		c.held.destroy()
	}
	v.channelKey.Destroy()
	secret.Wipe(v.logKey)
	secret.Wipe(v.session)
	v.store = nil
	v.device = nil // their continuations hold what is to be written
}
