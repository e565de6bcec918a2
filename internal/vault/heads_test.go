package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// pass lets seconds go by, everything that is sent arriving.
func (f *fixture) pass(seconds int) {
	f.Helper()
	for range seconds {
		f.ok(f.Tick(1000))
		f.ok(f.Settle())
	}
}

// restore puts a copy of a vault's disk back and starts it.
func (f *fixture) restore(id mpc.ID, d *sim.Disk) {
	f.Helper()
	if f.Parties[id].Vault != nil {
		f.Crash(id)
	}
	f.Parties[id].Disk = d.Clone()
	f.ok(f.Restart(id))
	f.ok(f.Settle())
}

// idle demands that no vault of those gives a share of a fresh transfer.
func (f *fixture) idle(want string, signers ...mpc.ID) {
	f.Helper()
	f.nonce++
	said := ""
	for id, r := range f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1000+f.nonce), signers...) {
		if r != nil && r.Outcome == cluster.OutcomeDone {
			f.Fatalf("vault %d gave a share", id)
		}
		said += sim.Describe(r)
	}
	if !strings.Contains(said, want) {
		f.Fatalf("they say %q, want %q", said, want)
	}
	f.pass(21)
}

// stopped demands that a vault is rolled back, and says so.
func (f *fixture) stopped(id mpc.ID, by ...uint16) *cluster.Status {
	f.Helper()
	s, err := f.Status(id)
	f.ok(err)
	if s.State != cluster.StateRolledBack || s.RolledBack == nil {
		f.Fatalf("vault %d is %v: %s", id, s.State, f.Parties[id].Vault.Ready())
	}
	for _, b := range by {
		if !containsUint16(s.RolledBack.By, b) {
			f.Errorf("vault %d was told by %v, want %d among them", id, s.RolledBack.By, b)
		}
	}
	return s
}

func containsUint16(xs []uint16, x uint16) bool {
	for _, y := range xs {
		if x == y {
			return true
		}
	}
	return false
}

func (f *fixture) resume(id mpc.ID) {
	f.Helper()
	f.ok(f.Resume(id))
	f.ok(f.Settle())
	f.pass(3)
}

// A vault whose disk is a copy of an earlier day signs nothing, says why, stays so
// over restarts, and comes back by the admins' order only, with what it had promised.
func TestRestoredDisk(t *testing.T) {
	f := startQuick(t)
	old := f.Parties[2].Disk.Clone()
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
	f.pass(2)
	f.restore(2, old)
	f.pass(2)
	s := f.stopped(2, 1, 3)
	if x := s.RolledBack; x.HeldSize <= x.OwnSize || !strings.Contains(f.Parties[2].Vault.Stopped(), "rolled back") {
		t.Errorf("%+v: %s", x, f.Parties[2].Vault.Stopped())
	}
	f.idle("rolled back", 1, 2)
	f.idle("rolled back", 2, 3)
	f.works(1, 3)
	incidents := len(f.incidents(2, 2))
	for range 3 {
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.pass(2)
		f.stopped(2)
	}
	if n := len(f.incidents(2, 2)); incidents != 1 || n != 1 {
		t.Errorf("%d incidents, %d after more starts, want 1", incidents, n)
	}
	f.idle("rolled back", 2, 3)

	f.resume(2)
	for id := range f.Parties { // the disk went back to a start that the others know: to them it is a copy
		if f.Parties[id].Vault.Ready() != "" {
			t.Fatalf("vault %d: %s", id, f.Parties[id].Vault.Ready())
		}
	}
	f.ok(f.Lift(2, 0))
	f.ok(f.Settle())
	f.pass(20)
	// What it had promised it has again.
	replies := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3)
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{2: replies[2]})
	f.pass(21)
	f.works(2, 3)
	f.works(1, 2)
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.works(1, 2)
}

// The attack that the reservation alone does not stop: a snapshot between the
// reservation, or the decision, and the final share, put back when the share has
// left. Whatever the moment, there are never two versions.
func TestSnapshotBeforeTheFinalShare(t *testing.T) {
	for at := 0; ; at++ {
		f := startQuick(t)
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		ids, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
		f.ok(err)
		for i := 0; i < at && len(f.Frames)+len(f.Devices) > 0; i++ {
			if len(f.Devices) > 0 {
				f.ok(f.Answer(0))
			} else {
				f.ok(f.Deliver(0))
			}
		}
		if f.Replies[ids[2]] != nil {
			if at < 5 {
				t.Fatalf("vault 2 gave its share after %d steps", at)
			}
			return
		}
		snapshot := f.Parties[2].Disk.Clone()
		f.ok(f.Settle())
		if r := f.Replies[ids[2]]; r == nil || r.Outcome != cluster.OutcomeDone {
			t.Fatalf("step %d: %s", at, show(r))
		}
		f.restore(2, snapshot)
		f.pass(22) // vault 1 gives its session up, if it has not finished
		signed := f.Replies[ids[1]] != nil && f.Replies[ids[1]].Outcome == cluster.OutcomeDone
		for range 2 {
			for id, r := range f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3) {
				if r != nil && r.Outcome == cluster.OutcomeDone && (id == 2 || signed) {
					t.Fatalf("step %d: vault %d gives a share of a second version", at, id)
				}
			}
			f.pass(21)
		}
	}
}

// Two copies of one vault: each is told of the other, and nobody works with either.
func TestTwoClones(t *testing.T) {
	f := startQuick(t)
	f.pass(2)
	f.Crash(2)
	copied := f.Parties[2].Disk.Clone()
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.works(2, 3)
	first := f.Parties[2]
	second := *first
	second.Vault, second.Disk = nil, copied
	second.Starts += 100 // another randomness: another nonce
	f.Parties[2] = &second
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.pass(2)
	f.stopped(2)
	for _, id := range []mpc.ID{1, 3} {
		if is := f.incidents(id, 2); len(is) != 1 || is[0].Class != "clone" || len(is[0].Evidence) == 0 {
			t.Errorf("vault %d writes %v of two copies", id, is)
		}
		if !f.Parties[id].Vault.Suspended(2) {
			t.Errorf("vault %d goes on with a copied vault", id)
		}
	}
	// The first copy runs on, and nobody signs with it either.
	f.Parties[2] = first
	f.pass(3)
	f.idle("suspended", 1, 2)
	f.idle("suspended", 2, 3)
	// A peer's restart changes nothing.
	f.Crash(3)
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	if !f.Parties[3].Vault.Suspended(2) {
		t.Error("a suspension ends with a restart")
	}
	f.works(1, 3)
}

// signedHead is a checkpoint of vault 1's own device and log key, changed.
func (f *fixture) signedHead(id mpc.ID, edit func(*audit.Checkpoint)) []byte {
	f.Helper()
	p := f.Parties[id]
	newest, err := audit.DecodeSignedCheckpoint(p.Disk.Checkpoint)
	f.ok(err)
	cp := newest.Checkpoint
	edit(&cp)
	s := &audit.SignedCheckpoint{Checkpoint: cp, Log: p.Vault.SignLog(cp.Text())}
	s.HSM, err = p.Device.Sign(hsm.RoleDecision, cp.Statement())
	f.ok(err)
	return s.Encode()
}

// A vault that signs two logs of one size is suspended for all keys, durably, with
// both as evidence, whoever shows them, until the admins lift it.
func TestEquivocation(t *testing.T) {
	for _, by := range []mpc.ID{1, 3} { // itself, and another who relays what it holds
		f := startQuick(t)
		f.works(1, 2)
		f.pass(3)
		other := f.signedHead(1, func(c *audit.Checkpoint) { c.Root[0] ^= 1 })
		f.ok(f.Step(2, vault.Input{Frame: f.Parties[by].Vault.SealShown(2, other, 0, nil)}))
		is := f.incidents(2, 1)
		if len(is) != 1 || is[0].Class != "equivocation" || strings.Count(string(is[0].Evidence), string(other)) != 1 || len(is[0].Evidence) < 2*len(other) {
			t.Fatalf("shown by %d: incidents %v", by, is)
		}
		f.idle("suspended", 1, 2)
		f.works(2, 3)
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		f.pass(1)
		two := f.Parties[2].Vault
		if !two.Suspended(1) {
			t.Fatal("a suspension ends with a restart")
		}
		f.ok(f.Lift(1, 0))
		f.ok(f.Settle())
		f.pass(31)
		if two.Suspended(1) {
			t.Fatal("not lifted")
		}
		f.works(1, 2)
	}
}

// A longer log must continue the one that is known: without proof nothing is begun,
// and no share leaves; a wrong proof shows the fork.
func TestConsistency(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.pass(3)
	fork := f.signedHead(1, func(c *audit.Checkpoint) { c.Size += 40; c.Root[0] ^= 1 })
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[3].Vault.SealShown(2, fork, 0, nil)}))
	if f.Parties[2].Vault.Suspended(1) {
		t.Fatal("suspended before it could answer")
	}
	f.ok(f.Settle())
	f.pass(11)
	f.idle("does not show that its log", 1, 2)
	f.works(2, 3)
	// It answers, with what it can make up.
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealProof(2, f.Parties[2].Vault.ProvenSize(1), f.Parties[1].Vault.LogSize()+77)}))
	if n := len(f.incidents(2, 1)); n != 0 {
		t.Fatalf("%d incidents of a proof that is about something else", n)
	}
	cp, err := audit.DecodeSignedCheckpoint(fork)
	f.ok(err)
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealProof(2, f.Parties[2].Vault.ProvenSize(1), cp.Size)}))
	if is := f.incidents(2, 1); len(is) != 1 || is[0].Class != "equivocation" || !f.Parties[2].Vault.Suspended(1) {
		t.Errorf("incidents of a wrong proof: %v", is)
	}
}

// Fewer answers than it takes: nothing is reserved, and it is said for whom the
// vault waits. Answers that are forged, of another vault or of another start do not
// count.
func TestStartGateWaits(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.pass(2)
	f.Crash(3)
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.pass(2)
	s, err := f.Status(2)
	f.ok(err)
	if s.State != cluster.StateAwaiting || len(s.Awaiting) != 1 || s.Awaiting[0] != 3 {
		t.Fatalf("%v, waiting for %v", s.State, s.Awaiting)
	}
	f.idle("waits until 1 more of the vaults 3", 1, 2)
	if f.Parties[2].Vault.LedgerSeq(2) != 2 {
		t.Errorf("%d events in its ledger: it reserved something", f.Parties[2].Vault.LedgerSeq(2))
	}
	one, two := f.Parties[1].Vault, f.Parties[2].Vault
	for name, frame := range map[string][]byte{
		"another's name": one.SealAnswer(2, func(a *vault.Answer) { a.Asker = 3 }),
		"another start":  one.SealAnswer(2, func(a *vault.Answer) { a.Nonce[0] ^= 1 }),
		"a foreign hello": one.SealAnswer(2, func(a *vault.Answer) {
			a.Hello = one.HelloBytes()
		}),
		"a forged hello": one.SealAnswer(2, func(a *vault.Answer) {
			a.Hello = two.SignedHello(two.Boot()+1, [32]byte{1}, func(st signature.Statement) signature.Signature {
				sig, err := f.Parties[1].Device.Sign(hsm.RoleIdentity, st)
				f.ok(err)
				return sig
			})
		}),
		"a foreign checkpoint": one.SealAnswer(2, func(a *vault.Answer) { a.Checkpoint = f.Parties[1].Disk.Checkpoint }),
		"a forged checkpoint":  one.SealAnswer(2, func(a *vault.Answer) { a.Checkpoint = flip(a.Checkpoint, len(a.Checkpoint)-5) }),
		"garbage":              one.Seal(2, vault.InnerHeads, [16]byte{}, 1, []byte("x"), nil),
	} {
		two.ForgetAnswers()
		f.ok(f.Step(2, vault.Input{Frame: frame}))
		if two.Answered(1) {
			t.Errorf("%s counts", name)
		}
		if two.Stopped() != "" {
			t.Errorf("%s stops the vault: %s", name, two.Stopped())
		}
	}
	f.ok(f.Step(2, vault.Input{Frame: one.SealAnswer(2, nil)}))
	if !two.Answered(1) {
		t.Error("an honest answer does not count")
	}
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	f.pass(3)
	f.works(1, 2)
	f.works(2, 3)
}

// All at once: everybody waits for everybody, and gets it.
func TestAllRestart(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.works(2, 3)
	for range 3 {
		for _, id := range f.IDs {
			f.Crash(id)
		}
		for _, id := range f.IDs {
			f.ok(f.Restart(id))
		}
		f.ok(f.Settle())
		f.pass(2)
		f.works(1, 2)
		f.works(1, 3)
	}
}

// A peer that says without proof that this vault has forgotten something stops it
// until the admins have looked: they suspend the liar, which one of them can.
func TestUnprovenClaim(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.pass(2)
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealAnswer(2, func(a *vault.Answer) { a.Seq += 3; a.Head[0] ^= 1 })}))
	f.idle("either this vault's disk was rolled back, or vault 1 lies", 2, 3)
	_, err := f.OrderVault(&governance.VaultOrder{Action: governance.SuspendVault, Vault: 1, Reason: "lies about vault 2"})
	f.ok(err)
	f.ok(f.CatchUpAll())
	f.ok(f.Settle())
	f.pass(2)
	f.works(2, 3)
	f.idle("suspended", 1, 2)
	f.idle("suspended", 1, 3)
	f.ok(f.Lift(1, 0))
	f.ok(f.Settle())
	f.pass(31)
	f.works(1, 3)
}

// A policy, a quarantine and a promise that an old disk does not know do not come
// back with it.
func TestNothingComesBack(t *testing.T) {
	f := startQuick(t)
	f.pass(2)
	old := f.Parties[2].Disk.Clone()
	// Vault 1 cheats: vault 2 halts the pair.
	f.Parties[1].Vault.CorruptPair(2)
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.pass(3)
	if !f.Parties[2].Vault.Quarantined(1) {
		t.Fatal("not halted")
	}
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 2, 3)
	f.pass(2)
	f.restore(2, old)
	f.pass(2)
	f.stopped(2)
	f.resume(2)
	f.ok(f.Lift(2, 0))
	f.ok(f.Settle())
	f.pass(2)
	// It cannot know which pair it had halted: all wait for the admins.
	if two := f.Parties[2].Vault; !two.Quarantined(1) || !two.Quarantined(3) {
		t.Fatal("the quarantine is forgotten")
	}
	f.idle("quarantined", 2, 3)
	f.ok(f.Lift(2, 3))
	f.ok(f.Settle())
	f.pass(40)
	if two := f.Parties[2].Vault; !two.Quarantined(1) || two.Quarantined(3) {
		t.Fatal("lifting one pair lifted the other, or none")
	}
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{2: f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3)[2]})
	f.pass(21)
	f.works(2, 3)
}

// Each thing that this vault has signed and its disk does not know stops it, alone.
func TestEachEvidence(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.pass(3)
	one, two := f.Parties[1].Vault, f.Parties[2].Vault
	boot := two.Boot()
	hello := func(boot uint64, nonce byte) []byte {
		return two.SignedHello(boot, [32]byte{nonce}, func(st signature.Statement) signature.Signature {
			sig, err := f.Parties[2].Device.Sign(hsm.RoleIdentity, st)
			f.ok(err)
			return sig
		})
	}
	size := two.LogSize()
	for name, edit := range map[string]func(*vault.Answer){
		"a later start":         func(a *vault.Answer) { a.Hello = hello(boot+1, 1) },
		"the same start twice":  func(a *vault.Answer) { a.Hello = hello(boot, 1) },
		"a longer log":          func(a *vault.Answer) { a.Checkpoint = f.signedHead(2, func(c *audit.Checkpoint) { c.Size = size + 1 }) },
		"another log":           func(a *vault.Answer) { a.Checkpoint = f.signedHead(2, func(c *audit.Checkpoint) { c.Root[0] ^= 1 }) },
		"a shorter other log":   func(a *vault.Answer) { a.Checkpoint = f.signedHead(2, func(c *audit.Checkpoint) { c.Size-- }) },
		"a log of later starts": func(a *vault.Answer) { a.Checkpoint = f.signedHead(2, func(c *audit.Checkpoint) { c.Boot++ }) },
		"another ledger":        func(a *vault.Answer) { a.Checkpoint = f.signedHead(2, func(c *audit.Checkpoint) { c.Ledger[0] ^= 1 }) },
	} {
		two.ForgetRollback()
		f.ok(f.Step(2, vault.Input{Frame: one.SealAnswer(2, edit)}))
		if !strings.Contains(two.Stopped(), "rolled back") {
			t.Errorf("%s: it goes on", name)
		}
		if two.Answered(1) {
			t.Errorf("%s: the answer counts", name)
		}
	}
	// An older start is no evidence, and no answer: who has it for the newest works with
	// another copy.
	two.ForgetRollback()
	f.ok(f.Step(2, vault.Input{Frame: one.SealAnswer(2, func(a *vault.Answer) { a.Hello = hello(boot-1, 1) })}))
	if two.Stopped() != "" || two.Answered(1) {
		t.Errorf("an answer about an older start: %q, counts %v", two.Stopped(), two.Answered(1))
	}
}

// What peers hold of a start outlasts their own restarts.
func TestPeersRemember(t *testing.T) {
	f := startQuick(t)
	old := f.Parties[2].Disk.Clone()
	for range 2 {
		f.Crash(2)
		f.begin(2)
	}
	f.works(1, 2)
	f.pass(3)
	held := f.Parties[3].Vault.HeldSize(2)
	f.Crash(2)
	for _, id := range []mpc.ID{1, 3} {
		f.Crash(id)
		f.begin(id)
	}
	if f.Parties[3].Vault.HeldSize(2) != held || held == 0 {
		t.Fatalf("vault 3 holds %d of vault 2's log, before its restart %d", f.Parties[3].Vault.HeldSize(2), held)
	}
	// The copy is of before the last start: no channel, and the peers say why.
	f.restore(2, old)
	f.pass(2)
	if f.Parties[1].Vault.PairReady(2) || f.Parties[3].Vault.PairReady(2) {
		t.Error("a start that the peers know to be old gets a channel")
	}
	f.stopped(2)
}

// An order to resume serves once: with a copy of the disk from before it, brought
// again, the vault is behind the start that it had after it.
func TestResumeOrderServesOnce(t *testing.T) {
	f := startQuick(t)
	old := f.Parties[2].Disk.Clone()
	f.works(1, 2)
	f.pass(2)
	f.restore(2, old)
	f.pass(2)
	f.stopped(2)
	rolled := f.Parties[2].Disk.Clone()
	f.resume(2)
	f.ok(f.Lift(2, 0))
	f.pass(31)
	f.works(1, 2)
	f.pass(2)
	f.restore(2, rolled)
	f.pass(2)
	f.ok(f.CatchUpAll()) // the same order again
	f.pass(15)
	f.stopped(2)
	f.idle("", 2, 3)
	// One that gives up less than is known does not help.
	o, err := f.ResumeOrder(2)
	f.ok(err)
	o.Held.Size = o.From.Size
	_, err = f.OrderVault(o)
	f.ok(err)
	f.ok(f.CatchUpAll())
	f.pass(15)
	if f.Parties[2].Vault.Ready() == "" {
		t.Error("resumed though more was given up than the admins knew")
	}
	f.resume(2)
	f.ok(f.Lift(2, 0))
	f.pass(31)
	f.works(1, 2)
}
