package vault

import (
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/wire"
)

// making is what the order to make a key said of it that no certificate states: a
// vault that comes new to the key has not seen the order. Zero: unknown.
type making struct {
	tier   governance.Tier
	faults uint16 // f: how many corrupt parties its ledger withstands
}

func madeBy(o *governance.KeygenOrder) making { return making{o.Tier, o.Faults} }

func readMaking(r *wire.Reader) making {
	return making{governance.Tier(r.Uint8("tier")), r.Uint16("faults")}
}

// quorum is how many vaults take part in the ledger for each signature of the key.
func (k *key) quorum() int {
	return governance.Quorum(len(k.cert.Parties), k.cert.Threshold, k.faults())
}

// faults is f. A reshare to a lower threshold takes it along as far as that allows.
func (k *key) faults() int { return min(int(k.made.faults), k.cert.Threshold-1) }
