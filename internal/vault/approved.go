package vault

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
)

// Approval in hardware (docs/spec/checkpoint.md): the device of a vault may have a key
// that signs with the signatures of people only. Where a wallet is in cold custody no
// peer gives its final share without the signature of that key.

// codeApproval is the refusal of a device whose approvers have not all signed.
const codeApproval = "approval.device"

// approve has the device sign that people approved the request, which this vault
// itself has decided to allow. Nothing is reserved before that.
func (v *Vault) approve(s *signSession, c *cluster.Command, card *governance.Vault) {
	var approvals hsm.Approvals
	for i, b := range c.Approvals {
		a, err := hsm.DecodeApproval(b)
		if err != nil {
			v.refuse(s.command, refusal.Newf("command.encoding", "canonical approvals", "approval %d: %v", i+1, err))
			return
		}
		approvals = append(approvals, a)
	}
	s.busy, s.approving = true, true
	v.signs[s.attempt] = s
	v.replayEarly(innerSign, s.attempt)
	st := audit.ApprovedStatement(v.clusterID(), uint16(v.cfg.ID), s.request)
	v.ask(DeviceCommand{Kind: DeviceSign, Role: hsm.RoleApproval, Statement: st, Approvals: approvals}, func(res DeviceResult) error {
		if v.signs[s.attempt] != s {
			return nil
		}
		delete(v.signs, s.attempt)
		s.busy, s.approving = false, false
		err := signature.Verify(card.Approval, st, res.Signature)
		switch {
		case res.Kind == hsm.ErrApproval:
			v.refuseSign(s, c, v.unapproved(s, res.Err))
		case res.Err != "":
			v.reply(s.command, abortReply(benign("sign", fmt.Errorf("vault %d's device did not sign with its approval key: %s", v.cfg.ID, res.Err))))
		case err != nil:
			v.reply(s.command, abortReply(benign("sign", fmt.Errorf("vault %d's device signed with another approval key than its card names: %w", v.cfg.ID, err))))
		default:
			s.approval = res.Signature
			v.takeShare(s, c)
		}
		return nil
	})
}

// unapproved names those who are missing, as the roster knows them.
func (v *Vault) unapproved(s *signSession, detail string) *refusal.Refusal {
	for i := range s.gov.Roster.Principals {
		p := &s.gov.Roster.Principals[i]
		for _, k := range p.Credentials {
			detail = strings.ReplaceAll(detail, k.Fingerprint(), p.ID)
		}
	}
	return refusal.New(codeApproval, "", fmt.Sprintf("vault %d's device: %s", v.cfg.ID, detail),
		"the device approvers' signatures for this request (coffer approve, with their P-256 keys)")
}

// checkApproved checks what a peer's decision says of the approval in its device.
func (v *Vault) checkApproved(s *signSession, id mpc.ID, d *audit.Decision) error {
	card, ok := s.gov.Vault(uint16(id))
	switch {
	case !ok:
		return fmt.Errorf("vault %d has no card", id)
	case s.gov.Approves(uint16(id), s.key.id, s.key.made.tier) != nil, d.Approval.Algorithm != 0 && card.HasApproval():
		return d.CheckApproval(v.clusterID(), uint16(id), card.Approval)
	case d.Approval.Algorithm != 0:
		return fmt.Errorf("vault %d certifies the approval of a device that has no approval key", id)
	}
	return nil
}
