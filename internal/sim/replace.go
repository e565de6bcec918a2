package sim

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/vault"
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

// NewDevice is a vault's device of another generation.
func (w *World) NewDevice(id mpc.ID, generation int) (*Device, error) {
	return newDevice(derive(w.Seed, "device", int(id)+1000*generation))
}

// Rotate starts a vault that is down with both its devices, which makes its disk ready
// for the next one, and returns the new card with the old device's word.
func (w *World) Rotate(id mpc.ID, next *Device) (*vault.Rotation, error) {
	p := w.Parties[id]
	p.Next = next
	defer func() { p.Next, p.Vault = nil, nil }()
	if err := w.start(p); err != nil {
		return nil, err
	}
	for len(w.Devices) > 0 {
		if err := w.Answer(0); err != nil {
			return nil, err
		}
	}
	if p.Vault == nil {
		return nil, ErrCrash
	}
	b, ok := p.Vault.Rotation()
	if !ok {
		return nil, fmt.Errorf("vault %d made no card", id)
	}
	return vault.DecodeRotation(b)
}

// Replace is the change that puts a vault's new card in force.
func (w *World) Replace(id mpc.ID, e *governance.Enrolment, boot uint64) (*governance.SignedChange, error) {
	o := &governance.VaultOrder{Action: governance.ReplaceVault, Vault: uint16(id), Boot: boot, Enrolment: e, Reason: "its disk is lost"}
	return w.Publish(governance.KindVault, o.Encode())
}
