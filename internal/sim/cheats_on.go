//go:build coffer_sim

package sim

import (
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

const cheats = true

func lie(v *vault.Vault, to mpc.ID) bool { return v.Cheat(to) }

// lieInDealing makes a vault deal a wrong share to a peer the next time.
func lieInDealing(v *vault.Vault, to mpc.ID) bool { return v.CheatDealing(to) }
