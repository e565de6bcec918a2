//go:build !coffer_sim

package sim

import (
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

const cheats = false

func lie(*vault.Vault, mpc.ID) bool { return false }

func lieInDealing(*vault.Vault, mpc.ID) bool { return false }

func ledgerMark(*vault.Vault) (uint64, bool) { return 0, false }

func hideLedger(*vault.Vault, uint64) bool { return false }

func releaseAll(*vault.Vault) bool { return false }
