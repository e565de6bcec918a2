package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// onVaultOrder does what a vault order demands of this vault, once its change is in
// force and recorded.
func (v *Vault) onVaultOrder(before *governance.State, o *governance.VaultChange) {
	defer v.obey(before, o)
	if o.Action == governance.ReplaceVault {
		v.onReplaced(before, &o.VaultOrder)
	}
}

// onReplaced takes a vault's new card. What is shared with the old device ends: it
// speaks for nobody any more.
func (v *Vault) onReplaced(before *governance.State, o *governance.VaultOrder) {
	id, card := mpc.ID(o.Vault), &o.Enrolment.Vault
	if id == v.cfg.ID {
		if err := v.inForce(v.gov); err != nil {
			v.standOutside(fmt.Errorf("%w: start this vault with the device that the card names", err))
		} else if v.outside {
			v.comeInside()
		}
		return
	}
	p := v.peers[id]
	v.closePair(p)
	v.dropEarly(id)
	*p = peer{
		id: id, name: card.Name, identity: card.Identity, decision: card.Decision, log: card.Log,
		quarantined: p.quarantined, forked: p.forked, incidents: p.incidents,
		suspended: p.suspended, suspendedOf: p.suspendedOf, held: p.held,
	}
}

// inForce says whether the card in force of this vault is that of its device and log.
func (v *Vault) inForce(st *governance.State) error {
	own, ok := st.Vault(uint16(v.cfg.ID))
	if !ok {
		return fmt.Errorf("the genesis does not name vault %d", v.cfg.ID)
	}
	source := "the genesis"
	if cards := st.Cards(uint16(v.cfg.ID)); len(cards) > 1 {
		source = fmt.Sprintf("change %d", cards[len(cards)-1].From)
	}
	if own.Identity != v.cfg.Identity || own.Decision != v.cfg.Decision {
		return fmt.Errorf("%s names another device for vault %d: its identity is %s, this device's is %s", source, v.cfg.ID, own.Identity.Fingerprint(), v.cfg.Identity.Fingerprint())
	}
	if own.Log != v.logPublic() {
		return fmt.Errorf("%s names another log key for vault %d: it was made from another enrolment", source, v.cfg.ID)
	}
	return nil
}

// replaced refuses what a vault is asked whose card is no longer in force. It still
// tells its status, takes changes and lets sessions be abandoned.
func (v *Vault) replaced(c *cluster.Command) *refusal.Refusal {
	if c.Kind == cluster.CommandChange || c.Kind == cluster.CommandAbandon {
		return nil
	}
	if err := v.inForce(v.gov); err != nil {
		return refusal.New("vault.replaced", "", err.Error(), "the device that the card in force names")
	}
	return nil
}

func (v *Vault) deviceStatus() cluster.DeviceStatus {
	i := v.cfg.Info
	return cluster.DeviceStatus{
		Vendor: i.Vendor, Model: i.Model, Firmware: i.Firmware, Suites: suites(i.Suites),
		Boundary: i.Boundary.String(), Rollback: i.Rollback.String(), PerUse: i.PerUse.String(),
		Tiers: v.tiers(),
	}
}

// maxSuites bounds the text of what a device negotiated.
const maxSuites = 256

// suites is what a device negotiated as one text; what does not fit is left out.
func suites(names []string) string {
	var out string
	for i, n := range names {
		if i > 0 {
			n = " " + n
		}
		if len(out)+len(n) > maxSuites {
			break
		}
		out += n
	}
	return out
}

// isolation is what holds the vault's process, as a status takes it.
func (v *Vault) isolation() []string {
	var out []string
	for _, line := range v.cfg.Isolation[:min(len(v.cfg.Isolation), 32)] {
		out = append(out, wire.CleanText(line, 256))
	}
	return out
}

// state is what the vault does, for its status.
func (v *Vault) state() cluster.State {
	switch {
	case v.phase != phaseRunning:
		return cluster.StateStarting
	case v.inForce(v.gov) != nil:
		return cluster.StateReplaced
	case v.gate.rolled != nil:
		return cluster.StateRolledBack
	}
	if _, ok := v.gov.Suspended(uint16(v.cfg.ID)); ok {
		return cluster.StateSuspended
	}
	if v.ready() != nil {
		return cluster.StateAwaiting
	}
	return cluster.StateRunning
}
