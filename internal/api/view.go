package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(field, s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, bad(field, fmt.Sprintf("%.40q is not base64url without padding", s), "the canonical bytes in base64url (RFC 4648 §5), without '='")
	}
	return b, nil
}

// prefix reads the beginning of an id.
func prefix(field, s string) ([]byte, error) {
	const least, most = 8, 64
	if len(s) >= least && len(s) <= most {
		even := s[:len(s)&^1]
		if b, err := hex.DecodeString(even); err == nil && len(even) == len(s) {
			return b, nil
		}
	}
	return nil, bad(field, fmt.Sprintf("%.80q is no id", s), fmt.Sprintf("an even number of hex digits, %d to %d of them", least, most))
}

func millis(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, math.MaxInt64/2))).UTC() }

func ints(ids []uint16) []int {
	out := make([]int, 0, len(ids))
	for _, id := range ids {
		out = append(out, int(id))
	}
	return out
}

func (s *server) governance(gov *governance.State) client.Governance {
	p, r := gov.Policy.Root(), gov.Roster.Root()
	out := client.Governance{
		Seq: gov.Seq, Head: hex.EncodeToString(gov.Head[:]), PolicyRoot: hex.EncodeToString(p[:]), RosterRoot: hex.EncodeToString(r[:]),
		Cooling: gov.Genesis.Cooling, Chains: gov.Chains, Frozen: frozen(gov),
	}
	for i := range gov.Pending {
		out.Pending = append(out.Pending, gov.Pending[i].Change.Seq)
	}
	return out
}

func card(gov *governance.State, v *governance.Vault) client.Card {
	c := client.Card{
		ID: int(v.ID), Name: v.Name, Vendor: v.Vendor, Model: v.Model, Sealing: v.Sealing, Device: "declared",
		Identity: v.Identity.String(), Decision: v.Decision.String(), Log: v.Log.String(),
	}
	if v.HasApproval() {
		c.Approval, c.ApprovalArea = v.Approval.String(), b64(v.ApprovalArea)
	}
	if attested(gov, v) {
		c.Device = "attested"
	}
	if all := gov.Cards(v.ID); len(all) > 0 {
		c.From = all[len(all)-1].From
	}
	return c
}

// attested says whether the evidence on a card holds and is of a device for which the
// admins vouch (measurements).
func attested(gov *governance.State, v *governance.Vault) bool {
	e, err := hsm.DecodeEvidence(v.Evidence)
	if err != nil {
		return false
	}
	r, err := attest.Verify(e.Kind, e.Bytes, attest.Want{
		Nonce: governance.CardNonce(v.Identity, v.Decision), Identity: v.Identity, Decision: v.Decision, Approval: v.ApprovalArea,
	})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(gov.Measurements.Keys, func(k attest.TrustedKey) bool { return k.AK == r.AK })
}

func (s *server) cluster() *client.Cluster {
	g, gov, id := s.co.Genesis(), s.co.Governance(), s.co.Cluster()
	out := &client.Cluster{ID: hex.EncodeToString(id[:]), Name: g.Name, Created: millis(g.Created), Governance: s.governance(gov)}
	for i := range gov.Vaults {
		out.Vaults = append(out.Vaults, card(gov, &gov.Vaults[i]))
	}
	for _, ch := range s.co.Chains() {
		out.Chains = append(out.Chains, client.Chain{ID: ch.ID, Confirmations: max(ch.Confirmations, 1)})
	}
	for _, m := range gov.Policy.Methods {
		out.Methods = append(out.Methods, client.Method(m))
	}
	for _, a := range gov.Policy.Assets {
		out.Assets = append(out.Assets, client.Asset{Symbol: a.Symbol, ID: a.ID, Decimals: int(a.Decimals)})
	}
	return out
}

func (s *server) wallet(w *coordinator.Wallet) (*client.Wallet, error) {
	cert, err := w.Key()
	if err != nil {
		return nil, err
	}
	out := &client.Wallet{
		ID: hex.EncodeToString(w.ID[:]), Name: w.Name, Purpose: cert.Purpose, PublicKey: hex.EncodeToString(cert.PublicKey().Encode()),
		Threshold: cert.Threshold, Addresses: map[string]string{}, Created: millis(w.Created), Certificate: b64(w.Certificate),
	}
	for _, p := range cert.Parties {
		out.Parties = append(out.Parties, int(p))
	}
	out.Epoch = cert.Epoch
	order, err := governance.DecodeKeygenOrder(w.Order)
	if err != nil {
		return nil, err
	}
	out.Tier, out.Insisted = s.co.Governance().Tier(w.ID, order.Tier).String(), order.Insist
	out.Faults = int(order.Faults)
	for _, p := range s.co.Orders(w) {
		o := &p.Order
		x := client.KeyOrder{
			Change: hex.EncodeToString(o.Hash[:]), Action: o.Action.String(), Epoch: o.Epoch, Threshold: int(o.Threshold), Parties: ints(o.Parties),
			Insist: o.Insist, Done: p.Done, Detail: p.Detail,
		}
		if o.Tier != 0 {
			x.Tier = o.Tier.String()
		}
		out.Orders = append(out.Orders, x)
	}
	for _, id := range s.co.ChainsOf(w) {
		account, err := w.Address(id)
		if err != nil {
			return nil, err
		}
		if _, out.Addresses[id], err = chain.ParseAccount(account); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// summary is a request without its history.
func (s *server) summary(r *coordinator.Record, c *client.Cluster) (*client.Request, error) {
	canonical := b64(r.Bundle.Request.Encode())
	d, err := client.Decode(canonical, c)
	if err != nil {
		return nil, err
	}
	s.label(&d.Effects)
	out := &client.Request{
		ID: d.ID, State: string(r.State), Reason: r.Reason, Final: coordinator.Ended(r.State, r.Reason), WalletID: d.WalletID, Chain: d.Chain, Sender: d.Sender,
		Initiator: d.Initiator, Memo: d.Memo, MaxFee: d.MaxFee, Created: d.Created, Expires: d.Expires, Updated: millis(r.Updated),
		Effects: d.Effects, Canonical: canonical, TxID: r.TxID, Receipt: s.receipt(r, c),
	}
	for _, w := range s.co.Wallets() {
		if w.ID == r.Bundle.Request.Wallet {
			out.Wallet = w.Name
		}
	}
	return out, nil
}

// label names recipients that the address book knows.
func (s *server) label(e *client.Effects) {
	book := s.co.Governance().Policy.AddressBook
	for i := range e.Transfers {
		for _, entry := range book {
			for _, a := range entry.Addresses {
				if a == e.Transfers[i].To {
					e.Transfers[i].Label = entry.Label
				}
			}
		}
	}
}

func (s *server) receipt(r *coordinator.Record, c *client.Cluster) *client.Receipt {
	if r.Receipt == nil {
		return nil
	}
	native, _ := family.Native(r.Bundle.Request.Chain)
	fee, err := c.Amount(native, r.Receipt.Fee)
	if err != nil {
		fee = client.Amount{Text: r.Receipt.Fee, Units: r.Receipt.Fee}
	}
	return &client.Receipt{Block: r.Receipt.Block, GasUsed: r.Receipt.GasUsed, Fee: fee, Success: r.Receipt.Success}
}

// whole is a request with everything that is known of it.
func (s *server) whole(ctx context.Context, r *coordinator.Record, ts []coordinator.Transition, as []*coordinator.Attempt) (*client.Request, error) {
	out, err := s.summary(r, s.cluster())
	if err != nil {
		return nil, err
	}
	if !coordinator.Ended(r.State, r.Reason) {
		out.Policy = s.decision(ctx, r)
	}
	for _, a := range r.Bundle.Approvals {
		out.Approvals = append(out.Approvals, client.Answer{Principal: a.Principal, Approve: a.Approve, Time: millis(a.Time), Expires: millis(a.Expires)})
	}
	for _, v := range r.Bundle.Verdicts {
		out.Risk = append(out.Risk, client.Risk{Engine: v.Engine, Outcome: v.Outcome.String(), Score: int(v.Score), Reasons: v.Reasons, Time: millis(v.Time), Expires: millis(v.Expires)})
	}
	for _, t := range ts {
		out.Transitions = append(out.Transitions, client.Transition{State: string(t.State), Reason: t.Reason, Time: millis(t.Time)})
	}
	for _, a := range as {
		out.Attempts = append(out.Attempts, attempt(a))
	}
	return out, nil
}

// decision is what the policy says of an open request.
func (s *server) decision(ctx context.Context, r *coordinator.Record) *client.Decision {
	x, err := s.co.Explain(ctx, r)
	if err != nil {
		if f := refusal.As(err); f != nil {
			return &client.Decision{Code: f.Code, Rule: f.Rule, Detail: f.Detail, Fix: f.Fix}
		}
		return &client.Decision{Code: "request", Detail: err.Error()}
	}
	d := &x.Decision
	out := &client.Decision{Allow: d.Allow, Pending: d.Pending, Code: d.Code, Rule: d.Rule, Glass: d.BreakGlass, Detail: d.Detail, Fix: d.Fix}
	for _, m := range d.Missing {
		out.Missing = append(out.Missing, client.Missing{Group: m.Group, Count: int(m.Count), From: m.From})
	}
	for _, list := range [][]policy.Trace{x.Guards, x.Rules} {
		for _, t := range list {
			out.Rules = append(out.Rules, client.Rule{Name: t.Name, Guard: t.Guard, Matches: t.Value.String(), Then: t.Then, Detail: t.When.Detail, Decides: t.Decides})
		}
	}
	return out
}

func (s *server) devices(as []coordinator.DeviceApproval) (out []client.DeviceYes) {
	for _, a := range as {
		out = append(out, client.DeviceYes{Vault: int(a.Vault), Principal: s.co.Approver(a.Approval.Key), Key: a.Approval.Key.String()})
	}
	return out
}

func attempt(a *coordinator.Attempt) client.Attempt {
	out := client.Attempt{ID: hex.EncodeToString(a.ID[:]), Time: millis(a.Time), Signers: ints(a.Signers), Nonce: nonce(a.Unsigned)}
	for _, p := range a.Replies {
		v := client.VaultAnswer{Vault: int(p.Vault), Outcome: p.Outcome.String(), Culprits: ints(p.Culprits), Detail: p.Detail}
		if p.Outcome == cluster.OutcomeRefused {
			if f, err := refusal.Decode(p.Refusal); err == nil {
				v.Refusal = &client.Refusal{Code: f.Code, Rule: f.Rule, Detail: f.Detail, Fix: f.Fix}
			}
		}
		if cert, err := audit.DecodeCertificate(p.Certificate); err == nil {
			d := &cert.Decision
			v.Decision = &client.VaultDecision{Allow: d.Allow, Rule: d.Rule, Glass: d.BreakGlass, Detail: d.Detail, Time: millis(d.Time), LogIndex: cert.Index, Governance: d.GovernanceSeq}
		}
		out.Replies = append(out.Replies, v)
	}
	return out
}

func nonce(unsigned []byte) *uint64 {
	tx, err := evm.DecodeUnsigned(unsigned)
	if err != nil {
		return nil
	}
	return &tx.Nonce
}
