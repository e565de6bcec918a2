package sim

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
)

// Enrol takes a vault down, gives it an empty disk and a device of the given
// generation (0 is the one that it was born with), and has it make its card.
func (w *World) Enrol(id mpc.ID, generation int) (*governance.Enrolment, error) {
	p := w.Parties[id]
	dev := p.Device
	if generation > 0 {
		var err error
		if dev, err = newDevice(derive(w.Seed, "device", int(id)+1000*generation)); err != nil {
			return nil, err
		}
	}
	p.Vault, p.Disk, p.Device = nil, newDisk(), dev
	genesis := w.Genesis
	w.Genesis = nil
	defer func() { w.Genesis = genesis }()
	if err := w.start(p); err != nil {
		return nil, err
	}
	for len(w.Devices) > 0 {
		if err := w.Answer(0); err != nil {
			return nil, err
		}
	}
	card, ok := p.Vault.Enrolment()
	p.Vault = nil
	if !ok {
		return nil, fmt.Errorf("vault %d made no card", id)
	}
	return governance.DecodeEnrolment(card)
}

// Replace is the change that puts a vault's new card in force.
func (w *World) Replace(id mpc.ID, e *governance.Enrolment, boot uint64) (*governance.SignedChange, error) {
	o := &governance.VaultOrder{Action: governance.ReplaceVault, Vault: uint16(id), Boot: boot, Enrolment: e, Reason: "its disk is lost"}
	return w.Publish(governance.KindVault, o.Encode())
}
