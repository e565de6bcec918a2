package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// approved is a cluster whose vaults 1 and 2 have devices with an approval key, which
// two of bob, carol and dave must agree to use; vault 3's device has none. Its wallet
// is in cold custody.
type approved struct {
	*fixture
	people map[string]*sim.ApproverKey
	asked  map[mpc.ID]uint64 // the newest command of each vault
}

func startApproved(t *testing.T, tier governance.Tier) *approved {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	const seed = 77
	a := &approved{people: map[string]*sim.ApproverKey{}, asked: map[mpc.ID]uint64{}}
	roster := sim.Roster(seed)
	var keys []signature.PublicKey
	for _, name := range append(sim.Approvers, "mallory") {
		a.people[name] = sim.Approver(seed, name)
		for i := range roster.Principals {
			if p := &roster.Principals[i]; p.ID == name {
				p.Credentials = append(p.Credentials, a.people[name].Public())
				keys = append(keys, a.people[name].Public())
			}
		}
	}
	w, err := sim.New(seed, 3, roster, sim.Policy(), func(p *sim.Party) error {
		if p.ID == 3 {
			return nil
		}
		return p.Device.SetApprovers(2, keys...)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Tier = tier
	x, err := w.Keygen("vaulted", 2)
	if err != nil {
		t.Fatal(err)
	}
	a.fixture = &fixture{T: t, World: w, x: x}
	return a
}

// approvals are those of people for one vault's device.
func (a *approved) approvals(id mpc.ID, b *request.Bundle, people ...string) (out [][]byte) {
	card := a.card(id)
	digest, err := attest.ApprovalDigest(card.ApprovalArea, audit.ApprovedStatement(a.Genesis.Hash(), uint16(id), b.Request.ID()))
	a.ok(err)
	for _, p := range people {
		out = append(out, a.people[p].Approve(digest).Encode())
	}
	return out
}

// run signs with these approvals at each vault.
func (a *approved) run(b *request.Bundle, approvals map[mpc.ID][][]byte, signers ...mpc.ID) map[mpc.ID]*cluster.Reply {
	a.Helper()
	a.nonce++
	c := a.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), a.nonce))
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	ids := map[mpc.ID]uint64{}
	for _, id := range signers {
		own := *c
		own.Approvals = approvals[id]
		ids[id] = a.command(id, &own)
		a.asked[id] = ids[id]
	}
	a.ok(a.Settle())
	out := map[mpc.ID]*cluster.Reply{}
	for id, n := range ids {
		out[id] = a.Replies[n]
	}
	return out
}

func (a *approved) payment() *request.Bundle { return a.Transfer(a.x, sim.Known, sim.ETH(1)) }

// A cold wallet is signed with once enough people have approved in each device that
// has an approval key, and the log shows it.
func TestApprovedByDevice(t *testing.T) {
	a := startApproved(t, governance.TierCold)
	b := a.payment()
	replies := a.run(b, map[mpc.ID][][]byte{1: a.approvals(1, b, "bob", "carol"), 2: a.approvals(2, b, "carol", "dave")}, 1, 2)
	for id, r := range replies {
		if r == nil || r.Outcome != cluster.OutcomeDone {
			t.Fatalf("vault %d: %s", id, show(r))
		}
		card := a.card(id)
		if err := a.certified(id, r).Decision.CheckApproval(a.Genesis.Hash(), uint16(id), card.Approval); err != nil {
			t.Error(err)
		}
	}
	// The other one, whose device has no such key, needs none.
	b = a.payment()
	for id, r := range a.run(b, map[mpc.ID][][]byte{1: a.approvals(1, b, "bob", "dave")}, 1, 3) {
		if r == nil || r.Outcome != cluster.OutcomeDone {
			t.Fatalf("vault %d: %s", id, show(r))
		}
		if id == 3 && a.certified(3, r).Decision.Approval.Algorithm != 0 {
			t.Error("vault 3 certifies an approval")
		}
	}
	a.blameless()
}

// A wallet that is not in cold custody is signed with as ever, and the device is not
// asked.
func TestHotWalletNeedsNoDeviceApproval(t *testing.T) {
	for _, tier := range []governance.Tier{governance.TierHot, governance.TierWarm} {
		a := startApproved(t, tier)
		a.works(1, 2)
		if n := a.Parties[1].Device.Approvals; n != 0 {
			t.Errorf("%v: the device was asked %d times for its approval key", tier, n)
		}
	}
}

// Too few approvals, or wrong ones: the device does not sign, nothing is reserved, and
// the refusal, which is in the log, says who is missing.
func TestTooFewDeviceApprovals(t *testing.T) {
	a := startApproved(t, governance.TierCold)
	b := a.payment()
	other := a.payment()
	wrong := func(id mpc.ID, b *request.Bundle, people ...string) [][]byte { return a.approvals(id, b, people...) }
	junk := hsm.Approval{Key: a.people["carol"].Public(), Signature: a.people["bob"].Approve([32]byte{1}).Signature}
	for name, c := range map[string]struct {
		given   [][]byte
		missing []string
	}{
		"nobody":                {nil, []string{"bob", "carol", "dave"}},
		"one of two":            {a.approvals(1, b, "bob"), []string{"carol", "dave"}},
		"one of two, twice":     {a.approvals(1, b, "bob", "bob"), []string{"carol", "dave"}},
		"a stranger":            {a.approvals(1, b, "bob", "mallory"), []string{"carol", "dave"}},
		"of another request":    {append(a.approvals(1, b, "dave"), wrong(1, other, "bob", "carol")...), []string{"bob", "carol"}},
		"for another vault":     {wrong(2, b, "bob", "carol"), []string{"bob", "carol", "dave"}},
		"of a wrong signature":  {append(a.approvals(1, b, "bob"), junk.Encode()), []string{"carol", "dave"}},
		"for the wrong request": {wrong(1, other, "bob", "carol"), []string{"bob", "carol", "dave"}},
	} {
		before := a.Parties[1].Vault.LedgerSeq(1)
		r := a.run(b, map[mpc.ID][][]byte{1: c.given, 3: nil}, 1, 3)
		ref := a.refused("approval.device", map[mpc.ID]*cluster.Reply{1: r[1]})
		for _, who := range sim.Approvers {
			if strings.Contains(ref.Detail, who) != slices.Contains(c.missing, who) {
				t.Errorf("%s: %q, want it to miss %v", name, ref.Detail, c.missing)
			}
		}
		if d := a.certified(1, r[1]).Decision; d.Allow || d.Approval.Algorithm != 0 {
			t.Errorf("%s: vault 1 certifies %+v", name, d)
		}
		if n := a.Parties[1].Vault.LedgerSeq(1); n != before {
			t.Errorf("%s: %d events in the ledger, before it were %d", name, n, before)
		}
		a.ok(a.Tick(151_000)) // vault 3 gives up, and vault 1 says that it never begins
		a.ok(a.Settle())
	}
	bad := a.run(b, map[mpc.ID][][]byte{1: {[]byte("x")}}, 1, 3)
	a.refused("command.encoding", map[mpc.ID]*cluster.Reply{1: bad[1]})
	a.blameless()
}

// What the vault would not allow is not put before the device's approvers' key: their
// signatures for it stay unused.
func TestDeviceApprovesWhatTheVaultAllows(t *testing.T) {
	a := startApproved(t, governance.TierCold)
	b := a.Transfer(a.x, sim.Known, sim.ETH(11)) // above every rule
	c := a.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(11), 4), 1, 2)
	c.Approvals = a.approvals(1, b, "bob", "carol")
	n := a.command(1, c)
	a.ok(a.Settle())
	a.refused("policy.default", map[mpc.ID]*cluster.Reply{1: a.Replies[n]})
	if n := a.Parties[1].Device.Approvals; n != 0 {
		t.Errorf("the device was asked %d times", n)
	}
}

// The device fails, or is another one than the card names: nothing is signed, nobody
// is blamed, and no refusal stands in the log as if people had said no.
func TestApprovalKeyFails(t *testing.T) {
	a := startApproved(t, governance.TierCold)
	b := a.payment()
	entries := len(a.Parties[1].Disk.Entries)
	for name, change := range map[string]func(d *sim.Device){
		"removed":     func(d *sim.Device) { d.Down = true },
		"another key": func(d *sim.Device) { *d = *a.Parties[2].Device },
	} {
		dev := *a.Parties[1].Device
		change(a.Parties[1].Device)
		approvals := a.approvals(1, b, "bob", "carol")
		if name == "another key" {
			approvals = a.otherDevice(b)
		}
		r := a.run(b, map[mpc.ID][][]byte{1: approvals}, 1, 3)[1]
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "approval key") {
			t.Errorf("%s: vault 1 says %s", name, show(r))
		}
		*a.Parties[1].Device = dev
		a.ok(a.Settle())
	}
	if n := len(a.Parties[1].Disk.Entries); n != entries {
		t.Errorf("%d entries were written", n-entries)
	}
}

// otherDevice are approvals that vault 2's device would take for what vault 1's is asked.
func (a *approved) otherDevice(b *request.Bundle) (out [][]byte) {
	card := a.card(2)
	digest, err := attest.ApprovalDigest(card.ApprovalArea, audit.ApprovedStatement(a.Genesis.Hash(), 1, b.Request.ID()))
	a.ok(err)
	for _, p := range []string{"bob", "carol"} {
		out = append(out, a.people[p].Approve(digest).Encode())
	}
	return out
}

// TestRootWithoutApprovers: whoever runs a vault's host, with its share, its log key,
// its channels and its HSM's decision key at hand, gets no final share for a cold
// wallet from an honest peer without the signature of the approval key, which the
// device makes with the approvers only.
func TestRootWithoutApprovers(t *testing.T) {
	a := startApproved(t, governance.TierCold)
	b, other := a.payment(), a.payment()
	both := func(b *request.Bundle) map[mpc.ID][][]byte {
		return map[mpc.ID][][]byte{1: a.approvals(1, b, "bob", "carol"), 2: a.approvals(2, b, "bob", "carol")}
	}
	a.run(other, both(other), 1, 2)
	root := a.Parties[1].Device
	sign := func(role hsm.Role, vault uint16, b *request.Bundle) signature.Signature {
		s, err := root.Sign(role, audit.ApprovedStatement(a.Genesis.Hash(), vault, b.Request.ID()))
		a.ok(err)
		return s
	}
	for name, approval := range map[string]signature.Signature{
		"none":                {},
		"by the decision key": sign(hsm.RoleDecision, 1, b),
		"by the identity key": sign(hsm.RoleIdentity, 1, b),
		"of another request":  sign(hsm.RoleApproval, 1, other), // as its approvers have let it
		"of another vault":    sign(hsm.RoleApproval, 2, b),
	} {
		r := a.forge(b, both(b), approval)
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Attributed) || len(r.Body) > 0 || !strings.Contains(r.Detail, "approval key") {
			t.Errorf("%s: vault 2 says %s", name, show(r))
		}
	}
	if r := a.forge(b, both(b), sign(hsm.RoleApproval, 1, b)); r == nil || r.Outcome != cluster.OutcomeDone {
		t.Errorf("with the approval it is not signed either, so this test shows nothing: %s", show(r))
	}
}

// forge signs with vaults 1 and 2, of which 1 puts another approval into its decision
// and has its HSM sign for it. It returns vault 2's answer.
func (a *approved) forge(b *request.Bundle, approvals map[mpc.ID][][]byte, approval signature.Signature) *cluster.Reply {
	a.Helper()
	var held *sim.Frame
	one := a.Parties[1]
	a.Intercept = func(fr sim.Frame) bool {
		if fr.From == 1 && one.Vault.Certified(fr.To, fr.Bytes) {
			held = &fr
		}
		return held == nil || fr.From != 1 && fr.To != 1
	}
	a.run(b, approvals, 1, 2)
	a.Intercept = nil
	if held == nil {
		a.Fatal("no R2")
	}
	frame := one.Vault.Recertify(2, held.Bytes, func(own []byte) []byte {
		c, err := audit.DecodeCertificate(own)
		a.ok(err)
		d := c.Decision
		d.Approval = approval
		l := audit.Load(one.Disk.Entries[:c.Index])
		l.Append(d.Entry().Encode())
		cp := audit.SignedCheckpoint{Checkpoint: c.Checkpoint.Checkpoint}
		cp.Size, cp.Root = l.Size(), l.Root()
		cp.HSM, err = one.Device.Sign(hsm.RoleDecision, cp.Statement())
		a.ok(err)
		cp.Log = one.Vault.SignLog(cp.Text())
		forged, err := audit.Certify(l, &d, c.Index, &cp)
		a.ok(err)
		return forged.Encode()
	})
	a.Frames = append(a.Frames, sim.Frame{From: 1, To: 2, Bytes: frame})
	a.ok(a.Settle())
	a.ok(a.Tick(151_000)) // vault 1 gives up
	a.ok(a.Settle())
	return a.Replies[a.asked[2]]
}

func (a *approved) card(id mpc.ID) *governance.Vault { return &a.Genesis.Enrolments[id-1].Vault }
