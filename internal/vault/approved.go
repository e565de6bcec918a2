package vault

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
)

// Approval in hardware (docs/spec/checkpoint.md): the device of a vault may have a key
// that signs with the signatures of people only. Where a wallet is in cold custody no
// peer gives its final share without the signature of that key.

// madeTier is the custody tier that the key was made with.
func (k *key) madeTier() governance.Tier {
	o, err := governance.DecodeKeygenOrder(k.order)
	if err != nil {
		return 0
	}
	return o.Tier
}

// checkApproved checks what a peer's decision says of the approval in its device.
func (v *Vault) checkApproved(s *signSession, id mpc.ID, d *audit.Decision) error {
	card, ok := s.gov.Vault(uint16(id))
	switch {
	case !ok:
		return fmt.Errorf("vault %d has no card", id)
	case s.gov.Approves(uint16(id), s.key.id, s.key.madeTier()) != nil, d.Approval.Algorithm != 0 && card.HasApproval():
		return d.CheckApproval(v.clusterID(), uint16(id), card.Approval)
	case d.Approval.Algorithm != 0:
		return fmt.Errorf("vault %d certifies the approval of a device that has no approval key", id)
	}
	return nil
}
