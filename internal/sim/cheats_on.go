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

func ledgerMark(v *vault.Vault) (uint64, bool) { return v.CheatMark() }

// hideLedger makes a vault deny what it wrote after so many events; releaseAll makes it
// say that it gave nothing.
func hideLedger(v *vault.Vault, from uint64) bool { return v.CheatHide(from) }

func releaseAll(v *vault.Vault) bool { return v.CheatRelease() }
