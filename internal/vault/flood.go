package vault

import "fmt"

// What one peer makes this vault keep for good is bounded: 512 MiB a day, and 2 GiB at
// once for who was away. A signature is some 700 bytes in the ledger of each member, so
// that a day has room for 760,000 signatures with one peer: 26 a second for eight hours,
// or 8.8 round the clock.
const (
	ledgerDaily = 512 << 20
	day         = 86_400_000
	ledgerDays  = 4 // days' worth at once
	ownDays     = 2 // of this vault's own, less than what its peers take, whose starts are others
)

func ledgerCost(size uint64) uint64 { return (size*day + ledgerDaily - 1) / ledgerDaily }

// takes says whether a peer's ledger may grow by size here. Who exceeds it stays behind,
// so that nothing is signed with it; the log has it, once a start.
func (v *Vault) takes(p *peer, size uint64) error {
	cost := ledgerCost(size)
	if p.ledgerDay.spend(v.now, cost, ledgerDays*day) {
		return nil
	}
	p.behind = true
	err := fmt.Errorf("vault %d's ledger grows by more than %d MiB a day: this vault takes no more of it for %d s; such a load is invented, or has to go over several clusters; coffer vault suspend %d ends all work with it",
		p.id, ledgerDaily>>20, (p.ledgerDay.until+cost-v.now-ledgerDays*day)/1000+1, p.id)
	if !p.flooded {
		p.flooded = true
		v.incident(p, "flood", "ledger", err.Error(), nil)
	}
	return err
}

// mayGrow says whether this vault's own ledger may grow by another attempt. A coordinator
// with one good request could else have it grow by more than its peers take, and nothing
// would be signed with this vault until they have: for days after that coordinator is gone.
func (v *Vault) mayGrow() error {
	if !v.ownDay.spent(v.now, ownDays*day) {
		return nil
	}
	return fmt.Errorf("vault %d was asked for more attempts than its peers let its ledger grow by, %d MiB a day: retry", v.cfg.ID, ledgerDaily>>20)
}
