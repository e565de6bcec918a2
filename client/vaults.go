package client

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
)

// head is a head of a vault's log that somebody reports.
type head struct {
	boot uint64
	at   governance.Position
}

// heldOf is the newest head of a vault's log that its peers, or it, tell of, and the
// greatest number of a start that anybody knows.
func heldOf(vaults []Vault, id int) (held head, boot uint64, err error) {
	see := func(b, size uint64, root string) error {
		boot = max(boot, b)
		if size == 0 || size < held.at.Size || size == held.at.Size && b <= held.boot {
			return nil
		}
		r, err := parseID("held root", root)
		if err != nil {
			return err
		}
		held = head{b, governance.Position{Size: size, Root: r}}
		return nil
	}
	for i := range vaults {
		v := &vaults[i]
		if v.ID == id {
			boot = max(boot, v.Boot)
			if r := v.RolledBack; r != nil {
				if err := see(r.HeldBoot, r.HeldSize, r.HeldRoot); err != nil {
					return held, 0, err
				}
			}
			continue
		}
		for _, p := range v.Peers {
			if p.Vault != id {
				continue
			}
			if err := see(p.HeldBoot, p.HeldSize, p.HeldRoot); err != nil {
				return held, 0, fmt.Errorf("vault %d: %w", v.ID, err)
			}
		}
	}
	return held, boot, nil
}

func findVault(vaults []Vault, id int) (*Vault, error) {
	i := slices.IndexFunc(vaults, func(v Vault) bool { return v.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("there is no vault %d", id)
	}
	return &vaults[i], nil
}

// NewResume drafts an order by which a vault that was rolled back goes on from where
// its log is now. What its peers hold beyond that is given up. It is made from what
// the vaults report: whoever signs it compares that with what happened.
func NewResume(c *Cluster, vaults []Vault, id int, author, reason string) (*DecodedChange, error) {
	v, err := findVault(vaults, id)
	switch {
	case err != nil:
		return nil, err
	case !v.Reachable:
		return nil, fmt.Errorf("vault %d does not answer: only it can say where its log is (%s)", id, v.Error)
	case v.State != "rolled-back" && v.State != "awaiting-heads": // who is gone for good answers no start
		return nil, fmt.Errorf("vault %d does not say that it was rolled back, or waits for the others: it is %s", id, v.State)
	}
	root, err := parseID("log root", v.LogRoot)
	if err != nil {
		return nil, err
	}
	held, boot, err := heldOf(vaults, id)
	if err != nil {
		return nil, err
	}
	from := governance.Position{Size: v.LogSize, Root: root}
	if held.at.Size == 0 { // its own device's counter found it out: nobody has seen more
		held.at = from
	}
	return newVaultOrder(c, author, &governance.VaultOrder{
		Action: governance.ResumeVault, Vault: uint16(id), Boot: boot + governance.BootMargin, From: from, Held: held.at, Reason: reason,
	})
}

// NewReplace drafts an order that puts a vault's new card in force: another device,
// another log, or both. card is what the new device wrote (coffer vault --enrol).
func NewReplace(c *Cluster, vaults []Vault, id int, card []byte, author, reason string) (*DecodedChange, error) {
	e, err := governance.DecodeEnrolment(card)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(); err != nil {
		return nil, err
	}
	v, err := findVault(vaults, id)
	if err != nil {
		return nil, err
	}
	if int(e.Vault.ID) != id || e.Vault.Name != v.Name {
		return nil, fmt.Errorf("the card is of vault %d, %s, not of vault %d, %s", e.Vault.ID, e.Vault.Name, id, v.Name)
	}
	_, boot, err := heldOf(vaults, id)
	if err != nil {
		return nil, err
	}
	return newVaultOrder(c, author, &governance.VaultOrder{Action: governance.ReplaceVault, Vault: uint16(id), Boot: boot + governance.BootMargin, Enrolment: e, Reason: reason})
}

// NewLift drafts an order that ends the quarantine of a pair of vaults; with peer 0
// the suspension of the vault, whoever it is by.
func NewLift(c *Cluster, id, peer int, author, reason string) (*DecodedChange, error) {
	return newVaultOrder(c, author, &governance.VaultOrder{Action: governance.LiftVault, Vault: uint16(id), Peer: uint16(peer), Reason: reason})
}

// NewSuspend drafts an order by which nobody works with a vault until it is lifted.
// One admin suffices.
func NewSuspend(c *Cluster, id int, author, reason string) (*DecodedChange, error) {
	return newVaultOrder(c, author, &governance.VaultOrder{Action: governance.SuspendVault, Vault: uint16(id), Reason: reason})
}

func newVaultOrder(c *Cluster, author string, o *governance.VaultOrder) (*DecodedChange, error) {
	return newChange(c, author, o.Reason, governance.KindVault, o.Encode())
}
