package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
)

// What the admins do about vaults.

// OrderVault is the next change with an order about a vault.
func (w *World) OrderVault(o *governance.VaultOrder) (*governance.SignedChange, error) {
	return w.Publish(governance.KindVault, o.Encode())
}

// Status asks a vault what it does.
func (w *World) Status(id mpc.ID) (*cluster.Status, error) {
	n, err := w.Command(id, &cluster.Command{Kind: cluster.CommandStatus})
	if err != nil {
		return nil, err
	}
	rep := w.Replies[n]
	if rep == nil {
		return nil, fmt.Errorf("vault %d tells no status", id)
	}
	return cluster.DecodeStatus(rep.Body)
}

// ResumeOrder is the order that lets a rolled-back vault go on, made of what it says
// and what the others hold.
func (w *World) ResumeOrder(id mpc.ID) (*governance.VaultOrder, error) {
	s, err := w.Status(id)
	if err != nil {
		return nil, err
	}
	o := &governance.VaultOrder{
		Action: governance.ResumeVault, Vault: uint16(id), Boot: s.Boot + 1, Reason: "restored from a backup",
		From: governance.Position{Size: s.LogSize, Root: s.LogRoot},
	}
	gov, err := w.governance()
	if err != nil {
		return nil, err
	}
	o.Boot = max(o.Boot, gov.MinBoot(uint16(id))+1)
	raise := func(boot, size uint64, root [32]byte) {
		o.Boot = max(o.Boot, boot+1)
		if size > o.Held.Size {
			o.Held = governance.Position{Size: size, Root: root}
		}
	}
	if x := s.RolledBack; x != nil {
		raise(x.HeldBoot, x.HeldSize, x.HeldRoot)
	}
	for _, other := range w.IDs {
		if other == id || w.Parties[other].Vault == nil {
			continue
		}
		t, err := w.Status(other)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(t.Peers, func(p cluster.PeerStatus) bool { return p.Vault == uint16(id) }); i >= 0 {
			raise(t.Peers[i].HeldBoot, t.Peers[i].HeldSize, t.Peers[i].HeldRoot)
		}
	}
	if o.Held.Size == 0 { // its own counter found it out: nobody has seen more
		o.Held = o.From
	}
	return o, nil
}

// Resume has the admins let a vault go on, and brings the order to all that run.
func (w *World) Resume(id mpc.ID) error {
	o, err := w.ResumeOrder(id)
	if err != nil {
		return err
	}
	if _, err := w.OrderVault(o); err != nil {
		return err
	}
	return w.CatchUpAll()
}

// Lift has the admins lift the quarantine of a pair, or, with peer 0, the suspension
// of a vault.
func (w *World) Lift(id, peer mpc.ID) error {
	o := &governance.VaultOrder{Action: governance.LiftVault, Vault: uint16(id), Peer: uint16(peer), Reason: "looked into"}
	if _, err := w.OrderVault(o); err != nil {
		return err
	}
	return w.CatchUpAll()
}

// CatchUpAll brings the changes to every vault that runs.
func (w *World) CatchUpAll() error {
	var errs []error
	for _, id := range w.IDs {
		if w.Parties[id].Vault != nil {
			errs = append(errs, w.CatchUp(id))
		}
	}
	return errors.Join(errs...)
}
