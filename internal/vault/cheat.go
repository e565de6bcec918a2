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
