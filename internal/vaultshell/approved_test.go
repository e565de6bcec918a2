package vaultshell

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// tpmDevice is an emulated TPM with an approval key, which two of bob, carol and dave
// use together, and with an operator who authorises every use of a cold key.
type tpmDevice struct {
	*tpm.Device
}

// Approve is the operator.
func (tpmDevice) Approve(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
	return hsm.Answer{Approvals: []hsm.Approval{sim.Approver(seed, "operator").Approve(c.Digest)}}, nil
}

func newTPM(t testing.TB) tpmDevice {
	t.Helper()
	dir, err := os.MkdirTemp("", "vt") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	s, err := swtpm.Start(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	authority := sim.Approver(seed, "authority")
	uri := s.URI(filepath.Join(dir, "keys")) + "&authority=" + authority.Public().String() + "&operator=" + sim.Approver(seed, "operator").Public().String()
	if err := tpm.Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	d, err := tpm.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	counter, now, err := d.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var keys []signature.PublicKey
	for _, name := range sim.Approvers {
		keys = append(keys, sim.Approver(seed, name).Public())
	}
	set, err := attest.NewApprovers(keys, 2, counter, now+1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.InstallApprovers(t.Context(), set, authority.Approve(digest).Signature); err != nil {
		t.Fatal(err)
	}
	return tpmDevice{d}
}

// TestApprovedByTPM: real vaults, nodes and helpers, with TPMs (emulated ones). A cold
// wallet is signed with once the approvers of each TPM have signed for the request;
// root on a vault's host, who talks to its helper and to the TPM itself, gets no
// signature of the approval key without them.
func TestApprovedByTPM(t *testing.T) {
	if _, _, err := swtpm.Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	var tpms []tpmDevice
	s := startSiteOn(t, 3, nil, func(remote.Device) remote.Device {
		tpms = append(tpms, newTPM(t))
		return tpms[len(tpms)-1]
	})
	for i, e := range s.world.Genesis.Enrolments {
		if v := e.Vault; !v.HasApproval() || len(v.Evidence) == 0 {
			t.Fatalf("the card of vault %d: approval key %v, %d bytes of evidence", i+1, v.HasApproval(), len(v.Evidence))
		}
	}
	s.ready(1, 2, 3)
	s.world.Tier = governance.TierCold
	w := s.keygenFor(governance.PurposeEd25519)
	b, unsigned := s.payment(w)

	replies := s.approved(b, unsigned, "bob")
	for id, r := range replies {
		f, err := refusal.Decode(r.Refusal)
		if r.Outcome != cluster.OutcomeRefused || err != nil || f.Code != "approval.device" || !strings.Contains(f.Detail, "1 of the approvals are good for it, want 2 of 3") {
			t.Errorf("vault %d, with one approver: %s", id, sim.Describe(r))
		}
	}
	s.rootGetsNothing(tpms[0], b)
	if _, err := sim.CombineEd25519(w, b, unsigned, s.approved(b, unsigned, "bob", "dave")); err != nil {
		t.Errorf("with two approvers: %v", err)
	}
	for _, p := range s.parties {
		p.down()
	}
	s.logs()
}

// approved signs with vaults 1 and 2, with these approvers' signatures for each.
func (s *site) approved(b *request.Bundle, unsigned []byte, people ...string) map[mpc.ID]*cluster.Reply {
	s.t.Helper()
	a := attempt()
	replies := map[mpc.ID]*cluster.Reply{}
	type answer struct {
		id  mpc.ID
		r   *cluster.Reply
		err error
	}
	answers := make(chan answer, 2)
	for _, id := range []mpc.ID{1, 2} {
		c := &cluster.Command{Kind: cluster.CommandSign, Attempt: a, Body: b.Encode(), Unsigned: unsigned, Signers: []uint16{1, 2}}
		for _, name := range people {
			c.Approvals = append(c.Approvals, s.approval(uint16(id), b, name).Encode())
		}
		go func() {
			r, err := s.command(id, c)
			answers <- answer{id, r, err}
		}()
	}
	for range 2 {
		x := <-answers
		if x.err != nil {
			s.t.Fatal(x.err)
		}
		replies[x.id] = x.r
	}
	return replies
}

func (s *site) approval(vault uint16, b *request.Bundle, name string) hsm.Approval {
	s.t.Helper()
	digest, err := attest.ApprovalDigest(s.world.Genesis.Enrolments[vault-1].Vault.ApprovalArea, audit.ApprovedStatement(s.world.Genesis.Hash(), vault, b.Request.ID()))
	if err != nil {
		s.t.Fatal(err)
	}
	return sim.Approver(seed, name).Approve(digest)
}

// rootGetsNothing tries what whoever owns vault 1's host can: the helper's socket, and
// the TPM with all files beside it.
func (s *site) rootGetsNothing(d tpmDevice, b *request.Bundle) {
	s.t.Helper()
	helper, err := remote.Dial(s.t.Context(), s.parties[0].vcfg.HSM.Socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer helper.Close()
	st := audit.ApprovedStatement(s.world.Genesis.Hash(), 1, b.Request.ID())
	foreign := hsm.Approvals{s.approval(2, b, "bob"), s.approval(2, b, "carol")}
	for name, given := range map[string]hsm.Approvals{
		"nobody":              nil,
		"one":                 {s.approval(1, b, "bob")},
		"one, twice":          {s.approval(1, b, "bob"), s.approval(1, b, "bob")},
		"a stranger":          {s.approval(1, b, "bob"), s.approval(1, b, "mallory")},
		"the operator":        {s.approval(1, b, "operator"), s.approval(1, b, "authority")},
		"for another vault's": foreign,
	} {
		for where, sign := range map[string]func() (signature.Signature, error){
			"the helper": func() (signature.Signature, error) { return helper.Sign(s.t.Context(), hsm.RoleApproval, st, given) },
			"the TPM":    func() (signature.Signature, error) { return d.Sign(s.t.Context(), hsm.RoleApproval, st, given) },
		} {
			if sig, err := sign(); !errors.Is(err, hsm.ErrApproval) {
				s.t.Errorf("%s, with approvals by %s: signature %v, %v", where, name, sig, err)
			}
		}
	}
}
