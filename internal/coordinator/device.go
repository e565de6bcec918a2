package coordinator

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
)

// Approval in hardware (docs/spec/checkpoint.md): people sign for each vault whose
// device has an approval key, and the device alone says whether they are enough.

// DeviceApproval is a person's signature for one vault's device.
type DeviceApproval struct {
	Vault    uint16
	Approval hsm.Approval
}

// ApproveDevices takes what one person signed for the vaults' devices. It is kept if
// it is by a person of the roster and verifies; whether that person is one of the
// device's approvers is the device's to know.
func (c *Coordinator) ApproveDevices(ctx context.Context, id [32]byte, as []DeviceApproval) (*Record, error) {
	r, err := c.store.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !r.State.unsigned() {
		return nil, fmt.Errorf("%w: the request is %s: an approval changes nothing any more", ErrConflict, r.State)
	}
	for i := range as {
		if err := c.checkDeviceApproval(id, &as[i]); err != nil {
			return nil, err
		}
	}
	added, err := c.store.addDeviceApprovals(ctx, id, as)
	if err != nil {
		return nil, err
	}
	if added {
		c.tell(id)
		c.run(id)
	}
	return r, nil
}

func (c *Coordinator) checkDeviceApproval(id [32]byte, a *DeviceApproval) error {
	gov := c.Governance()
	card, ok := gov.Vault(a.Vault)
	if !ok || !card.HasApproval() {
		return refusal.Newf("approval.device", "the vaults whose cards name an approval key (coffer node list)", "approvals: vault %d has no approval key", a.Vault)
	}
	if personOf(gov.Roster, a.Approval.Key) == "" {
		return refusal.Newf("approval.device", "a p256 key of a person in the roster", "approvals: key %s is nobody's in the roster", a.Approval.Key)
	}
	digest, err := attest.ApprovalDigest(card.ApprovalArea, audit.ApprovedStatement(c.cluster, a.Vault, id))
	if err != nil {
		return fmt.Errorf("the approval key of vault %d's card: %w", a.Vault, err)
	}
	if err := signature.VerifyDigest(a.Approval.Key, digest, a.Approval.Signature); err != nil {
		return refusal.Newf("approval.device", "a signature over this request for this vault's device", "approvals: for vault %d: %v", a.Vault, err)
	}
	return nil
}

// personOf is the person whose key this is; empty for nobody.
func personOf(ro *identity.Roster, k signature.PublicKey) string {
	for i := range ro.Principals {
		if p := &ro.Principals[i]; p.Kind == identity.Person && slices.Contains(p.Credentials, k) {
			return p.ID
		}
	}
	return ""
}

// DeviceApprovals are those that a request has, by vault and key.
func (c *Coordinator) DeviceApprovals(ctx context.Context, id [32]byte) ([]DeviceApproval, error) {
	return c.store.deviceApprovals(ctx, id)
}

// Approver is whose key approved in a device, as the roster says; empty for nobody.
func (c *Coordinator) Approver(k signature.PublicKey) string {
	return personOf(c.Governance().Roster, k)
}

// approvalsFor are what goes to a vault with the order to sign: those by people who
// are in the roster still, as many as an order holds.
func (c *Coordinator) approvalsFor(all []DeviceApproval, vault uint16) (out [][]byte) {
	for i := range all {
		if a := &all[i]; a.Vault == vault && len(out) < hsm.MaxApprovals && c.Approver(a.Approval.Key) != "" {
			out = append(out, a.Approval.Encode())
		}
	}
	return out
}

// demands says whether a vault's device must have signed for the wallet.
func (c *Coordinator) demands(w *Wallet, vault uint16) bool {
	o, err := governance.DecodeKeygenOrder(w.Order)
	return err == nil && c.Governance().Approves(vault, w.ID, o.Tier) != nil
}

// lacking says why it is of no use to ask a vault now: its device has refused with
// just the approvals that there are, or there are none.
func (c *Coordinator) lacking(t *tried, w *Wallet, all []DeviceApproval, vault uint16) string {
	if !c.demands(w, vault) {
		return ""
	}
	n := len(c.approvalsFor(all, vault))
	switch said, refused := t.unapproved[vault]; {
	case n == 0:
		return fmt.Sprintf("vault %d's device signs for this cold wallet with its approvers' signatures only, and there are none yet (coffer approve, with a P-256 key)", vault)
	case refused && said.had == n:
		return said.words
	}
	return ""
}

// unapproved is what a vault's device said to a number of approvals.
type unapproved struct {
	had   int
	words string
}

func (s *store) addDeviceApprovals(ctx context.Context, request [32]byte, as []DeviceApproval) (added bool, err error) {
	err = s.tx(ctx, func(tx *txn) error {
		for i := range as {
			a := &as[i]
			res, err := tx.Exec(`INSERT OR IGNORE INTO device_approvals (request, vault, key, approval, time) VALUES (?,?,?,?,?)`,
				request[:], a.Vault, a.Approval.Key.Bytes(), a.Approval.Encode(), s.now())
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				added = true
			}
		}
		return nil
	})
	return added, err
}

func (s *store) deviceApprovals(ctx context.Context, request [32]byte) ([]DeviceApproval, error) {
	return collect(ctx, s, func(rows *sql.Rows) (DeviceApproval, error) {
		var a DeviceApproval
		var b []byte
		if err := rows.Scan(&a.Vault, &b); err != nil {
			return a, err
		}
		var err error
		a.Approval, err = hsm.DecodeApproval(b)
		return a, err
	}, `SELECT vault, approval FROM device_approvals WHERE request = ? ORDER BY vault, time, key`, request[:])
}
