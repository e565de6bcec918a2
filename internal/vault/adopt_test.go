package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// cooling is so long that changes wait in these tests, in milliseconds.
const cooling = 100_000

// startCooling is a cluster whose changes wait.
func startCooling(t *testing.T) *fixture {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	seed := uint64(len(t.Name()))
	w, err := sim.NewGoverned(seed, 3, sim.Roster(seed), sim.Policy(), func(g *governance.Genesis) { g.Cooling = cooling })
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, World: w, x: x}
}

// publish has everybody adopt a change.
func (f *fixture) publish(kind governance.Kind, body []byte, to ...mpc.ID) *governance.SignedChange {
	f.Helper()
	s, err := f.Publish(kind, body)
	f.ok(err)
	if len(to) == 0 {
		to = f.IDs
	}
	for _, id := range to {
		f.adopts(id, s, nil, "")
	}
	return s
}

// adopts brings a vault a change, with proofs of when others adopted it.
func (f *fixture) adopts(id mpc.ID, s *governance.SignedChange, proofs []byte, want string) {
	f.Helper()
	n := f.command(id, &cluster.Command{Kind: cluster.CommandChange, Body: s.Encode(), Unsigned: proofs})
	f.ok(f.Settle())
	if r := f.Replies[n]; want != "" {
		f.refused(want, map[mpc.ID]*cluster.Reply{id: r})
	} else if r == nil || r.Outcome != cluster.OutcomeDone {
		f.Fatalf("vault %d: %s", id, show(r))
	}
}

// looser is a policy by which one approval is enough where it took two.
func looser(f *fixture) *policy.Document {
	f.Helper()
	doc := *sim.Policy()
	doc.Rules = slices.Clone(doc.Rules)
	last := &doc.Rules[len(doc.Rules)-1]
	last.Then.Require = []policy.Requirement{{Group: "approvers", Count: 1}}
	return &doc
}

func (f *fixture) wait(ms uint64) {
	f.Helper()
	for ms > 0 {
		step := min(ms, 20_000)
		f.ok(f.Tick(step))
		f.ok(f.Settle())
		ms -= step
	}
}

// events are what a vault's log says became of changes.
func (f *fixture) events(id mpc.ID, event audit.GovernanceEvent) (out []*audit.Governance) {
	f.Helper()
	for _, b := range f.Parties[id].Disk.Entries {
		e, err := audit.DecodeEntry(b)
		f.ok(err)
		if e.Kind != audit.KindGovernance {
			continue
		}
		g, err := audit.DecodeGovernance(e.Body)
		f.ok(err)
		if g.Event == event {
			out = append(out, g)
		}
	}
	return out
}

// course is what the log's own entries make of the governance.
func (f *fixture) course(id mpc.ID) *governance.State {
	f.Helper()
	st, err := governance.Start(f.Genesis)
	f.ok(err)
	way := governance.Course{State: st}
	for i, b := range f.Parties[id].Disk.Entries {
		e, err := audit.DecodeEntry(b)
		f.ok(err)
		if err := way.Entry(e); err != nil {
			f.Fatalf("vault %d, entry %d: %v", id, i, err)
		}
	}
	return way.State
}

func (f *fixture) proof(id mpc.ID, seq uint64) audit.AdoptionProof {
	f.Helper()
	n := f.command(id, &cluster.Command{Kind: cluster.CommandAdoption, Body: cluster.Adoption(seq)})
	f.ok(f.Settle())
	f.wait(2_000)
	r := f.Replies[n]
	if r == nil || r.Outcome != cluster.OutcomeDone {
		f.Fatalf("vault %d: %s", id, show(r))
	}
	p, err := audit.DecodeAdoptions(r.Body)
	f.ok(err)
	return p[0]
}

// same demands that all vaults have the same in force, as their logs say too.
func (f *fixture) same(want [32]byte) {
	f.Helper()
	for _, id := range f.IDs {
		if got := f.Parties[id].Vault.Governance().InForce(); got != want {
			f.Fatalf("vault %d has %x in force, want %x", id, got[:4], want[:4])
		}
		if got := f.course(id).InForce(); got != want {
			f.Fatalf("the log of vault %d says that %x is in force, want %x", id, got[:4], want[:4])
		}
	}
}

// A change that is not proven to tighten waits in every vault, through crashes and
// restarts, and comes in force by the clock alone; then it ends what runs, and all sign
// under it.
func TestCoolingOff(t *testing.T) {
	f := startCooling(t)
	was := f.Parties[1].Vault.Governance().InForce()
	f.publish(governance.KindPolicy, looser(f).Encode())
	f.same(was)
	f.works(1, 2)
	f.wait(cooling / 2)
	for _, id := range f.IDs {
		f.Crash(id)
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.same(was)
	f.wait(cooling/2 - 20_000)
	f.same(was)
	f.works(2, 3)
	// A session runs when the time comes: it ends, and nothing is signed in it.
	f.wait(19_000)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.Intercept = func(sim.Frame) bool { return false }
	ids, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.ok(err)
	f.ok(f.Settle())
	f.ok(f.Tick(3_000))
	f.ok(f.Settle())
	f.Intercept = nil
	for _, n := range ids {
		f.aborted(n, mpc.Benign, "has come in force")
	}
	f.wait(3_000)
	now := f.Parties[1].Vault.Governance().InForce()
	if now == was {
		t.Fatal("not in force after its time")
	}
	f.same(now)
	for _, id := range f.IDs {
		if n := len(f.events(id, audit.ChangeInForce)); n != 1 {
			t.Errorf("vault %d logged %d times that the change is in force", id, n)
		}
		f.Crash(id)
		f.ok(f.Restart(id))
	}
	f.wait(2_000)
	f.same(now)
	f.works(1, 3)
	for _, id := range f.IDs {
		if n := len(f.events(id, audit.ChangeInForce)); n != 1 {
			t.Errorf("vault %d logged %d times that the change is in force", id, n)
		}
	}
	f.blameless()
}

// A vault that hears late and has nobody's word waits by itself, and until then signs
// nothing with the others; with the word of more than half it is where they are.
func TestLateVault(t *testing.T) {
	f := startCooling(t)
	was := f.Parties[3].Vault.Governance().InForce()
	s := f.publish(governance.KindPolicy, looser(f).Encode(), 1, 2)
	p1, p2 := f.proof(1, 1), f.proof(2, 1)
	f.wait(cooling)
	now := f.Parties[1].Vault.Governance().InForce()
	if now == was {
		t.Fatal("not in force at vault 1")
	}
	other := f.proof(1, 1)
	forged := p2
	forged.Entry = slices.Clone(p2.Entry)
	forged.Entry[8] ^= 1 // an earlier time
	stolen := p2
	stolen.Checkpoint.Vault = 1
	for name, c := range map[string]struct {
		proofs []audit.AdoptionProof
		want   string
	}{
		"one alone":      {[]audit.AdoptionProof{p1}, "1 vaults show"},
		"twice the same": {[]audit.AdoptionProof{p1, other}, "after"},
		"forged":         {[]audit.AdoptionProof{p1, forged}, "inclusion"},
		"another's":      {[]audit.AdoptionProof{stolen, p2}, "vault 1"},
	} {
		refused := len(f.events(3, audit.ChangeRefused))
		f.adopts(3, s, audit.EncodeAdoptions(c.proofs), "")
		all := f.events(3, audit.ChangeRefused)
		if len(all) != refused+1 || all[len(all)-1].Code != "change.adopted" {
			t.Errorf("%s: %d refusals in the log", name, len(all)-refused)
		}
		if f.Parties[3].Vault.Governance().InForce() != was {
			t.Fatalf("%s: in force by what is not proven", name)
		}
	}
	// It is adopted by now, and waits. Nobody signs with it.
	f.adopts(3, s, nil, "")
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 2, 3)
	for _, r := range replies {
		if r == nil || r.Outcome != cluster.OutcomeAborted {
			t.Errorf("%s", show(r))
		}
	}
	f.adopts(3, s, audit.EncodeAdoptions([]audit.AdoptionProof{p1, p2}), "")
	f.same(now)
	f.Crash(3)
	f.ok(f.Restart(3))
	f.wait(40_000)
	f.same(now)
	f.works(2, 3)
	if n := len(f.events(3, audit.ChangeBackdated)); n != 1 {
		t.Errorf("%d entries of the others' time", n)
	}
}

// With the others' word a vault that was away from the beginning comes to the same
// state at once, and proves it to whoever reads its log.
func TestLateVaultWithProofs(t *testing.T) {
	f := startCooling(t)
	s := f.publish(governance.KindPolicy, looser(f).Encode(), 1, 2)
	p1, p2 := f.proof(1, 1), f.proof(2, 1)
	f.wait(cooling / 2)
	f.adopts(3, s, audit.EncodeAdoptions([]audit.AdoptionProof{p1, p2}), "")
	f.wait(cooling / 2)
	f.same(f.Parties[1].Vault.Governance().InForce())
	if f.Parties[3].Vault.Governance().NextDue() != 0 {
		t.Error("it still waits")
	}
	f.works(1, 3)
	// What it learnt from others it does not prove to a fourth.
	n := f.command(3, &cluster.Command{Kind: cluster.CommandAdoption, Body: cluster.Adoption(1)})
	f.ok(f.Settle())
	f.refused("change.adopted", map[mpc.ID]*cluster.Reply{3: f.Replies[n]})
}

// One admin freezes: nothing is signed after it, in any vault, whatever ran. Other
// wallets go on.
func TestFreezeStops(t *testing.T) {
	f := startCooling(t)
	f.works(1, 2)
	f.publish(governance.KindFreeze, (&governance.Freeze{Wallet: f.x.ID, Reason: "phishing"}).Encode())
	for _, signers := range [][]mpc.ID{{1, 2}, {1, 3}, {2, 3}} {
		r := f.refused("wallet.frozen", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), signers...))
		if !strings.Contains(r.Detail, "phishing") {
			t.Errorf("%s", r.Detail)
		}
	}
	f.Crash(2)
	f.ok(f.Restart(2))
	f.wait(2_000)
	f.refused("wallet.frozen", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2))
	f.publish(governance.KindFreeze, (&governance.Freeze{Wallet: f.x.ID, Thaw: true, Reason: "looked into"}).Encode())
	f.works(1, 2)
}

// Only chains on the list are signed for.
func TestClosedChain(t *testing.T) {
	f := startCooling(t)
	f.publish(governance.KindChains, governance.EncodeChains([]string{"eip155:5"}))
	f.refused("chain.closed", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2))
	f.publish(governance.KindChains, governance.EncodeChains([]string{sim.Chain, "eip155:5"}))
	f.refused("chain.closed", f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2))
	f.wait(cooling + 20_000)
	f.works(1, 2)
}

// Older versions, forks, replays and changes signed by removed admins are refused in
// every vault, with what was wrong, and logged.
func TestRefusedChangesAreLogged(t *testing.T) {
	f := startCooling(t)
	first := f.publish(governance.KindFreeze, (&governance.Freeze{Reason: "drill"}).Encode())
	second := f.publish(governance.KindFreeze, (&governance.Freeze{Thaw: true, Reason: "over"}).Encode())
	ro := sim.Roster(f.Seed)
	for i := range ro.Groups {
		if ro.Groups[i].Name == "admins" {
			ro.Groups[i].Members = slices.DeleteFunc(slices.Clone(ro.Groups[i].Members), func(m string) bool { return m == sim.Admins[0] })
			ro.AdminQuorum = min(ro.AdminQuorum, uint8(len(ro.Groups[i].Members)))
		}
	}
	f.publish(governance.KindRoster, ro.Encode())
	st := f.Parties[1].Vault.Governance()
	if st.Roster.InGroup(sim.Admins[0], "admins") {
		t.Fatal("the removal of an admin waits")
	}
	removed := &governance.SignedChange{Change: governance.Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: governance.KindPolicy, Body: looser(f).Encode(), Created: f.Now, Author: sim.Admins[0],
	}}
	fork := *second
	fork.Change.Note = "another second"
	for _, id := range f.IDs {
		f.adopts(id, first, nil, "change.seq")
		f.adopts(id, &fork, nil, "change.seq")
		f.adopts(id, removed, nil, "governance.admin")
		var codes []string
		for _, g := range f.events(id, audit.ChangeRefused) {
			codes = append(codes, g.Code)
		}
		if strings.Join(codes, " ") != "change.seq change.seq governance.admin" {
			t.Errorf("vault %d logged %v", id, codes)
		}
	}
}

// A vault dies at each of its writes while a change is adopted and comes in force. It
// is where the others are afterwards, at the same time.
func TestCrashAtEveryWriteOfAChange(t *testing.T) {
	f := startCooling(t)
	for k := 1; ; k++ {
		doc := looser(f)
		if k%2 == 0 {
			doc = sim.Policy()
		}
		n, crashed := 0, false
		f.OnReady = func(p *sim.Party, r vault.Ready) error {
			if p.ID != 2 || len(r.Writes) == 0 || crashed {
				return nil
			}
			if n++; n < (k+1)/2 {
				return nil
			}
			if crashed = true; k%4 < 2 {
				p.Disk.Write(r)
			}
			return sim.ErrCrash
		}
		s, err := f.Publish(governance.KindPolicy, doc.Encode())
		f.ok(err)
		for _, id := range f.IDs {
			f.command(id, &cluster.Command{Kind: cluster.CommandChange, Body: s.Encode()})
		}
		for range cooling/20_000 + 1 {
			f.ok(f.Settle())
			if f.Parties[2].Vault == nil {
				f.ok(f.Restart(2))
				f.ok(f.Settle())
				f.command(2, &cluster.Command{Kind: cluster.CommandChange, Body: s.Encode()})
				f.ok(f.Settle())
			}
			f.ok(f.Tick(20_000))
		}
		f.ok(f.Settle())
		if f.Parties[2].Vault == nil {
			f.ok(f.Restart(2))
		}
		f.OnReady = nil
		f.wait(2_000)
		f.same(f.Parties[1].Vault.Governance().InForce())
		if f.Parties[2].Vault.Governance().NextDue() != 0 {
			t.Fatal("a change still waits")
		}
		if !crashed {
			if k < 5 {
				t.Fatalf("a change takes %d writes", k)
			}
			break
		}
		if k > 60 {
			t.Fatal("a change takes no end of writes")
		}
	}
}
