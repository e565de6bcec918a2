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

// Only a hello of the newest start, signed by the device that genesis names,
// opens a channel.
func TestHello(t *testing.T) {
	f := startQuick(t)
	one, two := f.Parties[1], f.Parties[2]
	boot := one.Vault.Boot()
	by := func(p *sim.Party, role hsm.Role) func(signature.Statement) signature.Signature {
		return func(st signature.Statement) signature.Signature {
			s, err := p.Device.Sign(role, st)
			f.ok(err)
			return s
		}
	}
	hello := func(boot uint64, nonce byte, edit func(*[32]byte, *mpc.ID, *[32]byte), sign func(signature.Statement) signature.Signature) {
		f.Helper()
		f.ok(f.Step(2, vault.Input{Frame: one.Vault.Hello(2, boot, [32]byte{nonce}, edit, sign)}))
	}
	own := by(one, hsm.RoleIdentity)
	hello(boot+1, 1, nil, by(f.Parties[3], hsm.RoleIdentity))
	hello(boot+1, 1, nil, by(one, hsm.RoleDecision))
	hello(boot+1, 1, func(c *[32]byte, _ *mpc.ID, _ *[32]byte) { c[0] ^= 1 }, own)
	hello(boot+1, 1, func(_ *[32]byte, id *mpc.ID, _ *[32]byte) { *id = 3 }, own)
	hello(boot+1, 1, func(_ *[32]byte, _ *mpc.ID, channel *[32]byte) { *channel = [32]byte{} }, own) // of small order
	notes := len(two.Notes)
	for range 3 {
		hello(boot-1, 1, nil, own)
	}
	if n := len(two.Notes) - notes; n != 1 {
		t.Errorf("%d notes of an older start, want 1", n)
	}
	if !two.Vault.PairReady(1) || two.Vault.PeerBoot(1) != boot {
		t.Fatal("a hello that is not one of vault 1's newest start opened a channel")
	}
	f.blameless()
	for range 3 {
		hello(boot, 1, nil, own)
	}
	if is := f.incidents(2, 1); len(is) != 1 || is[0].Class != "clone" {
		t.Errorf("%d incidents of a second copy, want 1", len(is))
	}
	if !two.Vault.Suspended(1) {
		t.Error("a vault of which two copies run is not suspended")
	}
	hello(boot+1, 1, nil, own)
	if two.Vault.PeerBoot(1) != boot+1 || two.Vault.PairReady(1) {
		t.Error("a new start is not heard")
	}
}

// Two restarts while frames get lost: the channels come up again by themselves.
func TestLostHellos(t *testing.T) {
	f := startQuick(t)
	n := 0
	f.Intercept = func(sim.Frame) bool { n++; return n%3 == 0 }
	f.Crash(1)
	f.Crash(2)
	f.ok(f.Restart(1))
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	for range 5 {
		f.ok(f.Tick(1000))
		f.ok(f.Settle())
	}
	f.Intercept = nil
	for range 8 {
		f.ok(f.Tick(10_000))
		f.ok(f.Settle())
	}
	f.works(1, 2)
	f.works(2, 3)
	f.works(1, 3)
}

// A peer that makes pair setups without end ends its own sessions only.
func TestPairSetupAgain(t *testing.T) {
	f := startQuick(t)
	f.command(2, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 2, 3))
	n := f.command(2, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2))
	for _, attempt := range []byte{9, 0xff} {
		f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{attempt, 0xff, 0xff, 0xff, 1})
	}
	f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{1})
	f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{0, 0, 0, 1, 1})
	f.aborted(n, mpc.Benign, "pair setup")
	if f.Parties[2].Vault.SessionCount() != 1 {
		t.Error("the session with vault 3 ended")
	}
	f.blameless()
	f.ok(f.Settle())
	for range 8 {
		f.ok(f.Tick(10_000))
		f.ok(f.Settle())
	}
	f.works(2, 3)
	f.works(1, 2)
}

// Messages of rounds and peers that a session does not have, and two of one round.
func TestStrayMessages(t *testing.T) {
	f := startQuick(t)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	two := f.command(2, c)
	k := f.keygenCommand("savings")
	gen := f.command(2, k)
	f.frame(3, 2, vault.InnerSign, c.Attempt, 0, []byte("x"), nil)
	for _, round := range []uint8{3, 5, 255} {
		f.frame(1, 2, vault.InnerSign, c.Attempt, round, []byte("x"), nil)
	}
	for _, round := range []uint8{5, 255} {
		f.frame(1, 2, vault.InnerKeygen, k.Attempt, round, []byte("x"), nil)
	}
	f.frame(1, 2, 77, c.Attempt, 0, []byte("x"), nil)
	if f.Replies[two] != nil || f.Replies[gen] != nil {
		t.Fatalf("ended: %s, %s", show(f.Replies[two]), show(f.Replies[gen]))
	}
	f.frame(1, 2, vault.InnerSign, c.Attempt, 1, []byte("a"), nil)
	f.frame(1, 2, vault.InnerSign, c.Attempt, 1, []byte("a"), nil)
	f.blameless()
	f.frame(1, 2, vault.InnerSign, c.Attempt, 1, []byte("b"), nil)
	f.aborted(two, mpc.Attributed, "two different broadcasts")
	if is := f.incidents(2, 1); len(is) != 1 {
		t.Errorf("%d incidents", len(is))
	}
	e, err := audit.DecodeEntry(f.Parties[2].Disk.Entries[len(f.Parties[2].Disk.Entries)-1])
	f.ok(err)
	if o, err := audit.DecodeOutcome(e.Body); err != nil || o.Attempt != c.Attempt || o.Stage != audit.StageAborted || len(o.Culprits) != 1 {
		t.Errorf("the log ends with %v %v, want what became of the attempt", o, err)
	}
	f.command(1, k)
	f.command(3, k)
	f.ok(f.Settle())
	f.made(gen)
}

// What travels in place of R0, R1 and R2 when a vault lies: its author is named.
func TestRoundsThatDoNotDecode(t *testing.T) {
	f := startQuick(t)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	two := f.command(2, c)
	f.frame(1, 2, vault.InnerSign, c.Attempt, 0, []byte("x"), nil)
	f.aborted(two, mpc.Attributed, "R0")
}

// The certificate of a peer must be of this session in every respect.
func TestCertificateOfAnotherSession(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), 4)
	raw := f.sign(b, unsigned, 1, 2)[1].Certificate
	own := f.certified(1, &cluster.Reply{Certificate: raw}).Decision
	two := f.Parties[2].Vault
	f.ok(two.CheckCertificate(1, own, raw))
	for name, edit := range map[string]func(d *audit.Decision){
		"attempt":         func(d *audit.Decision) { d.Attempt[0] ^= 1 },
		"request":         func(d *audit.Decision) { d.Request[0] ^= 1 },
		"R0":              func(d *audit.Decision) { d.R0Hash[0] ^= 1 },
		"key":             func(d *audit.Decision) { d.Key[0] ^= 1 },
		"epoch":           func(d *audit.Decision) { d.Epoch++ },
		"signers":         func(d *audit.Decision) { d.Parties = []uint16{1, 3} },
		"transaction":     func(d *audit.Decision) { d.Unsigned = sim.Unsigned(sim.Known, sim.ETH(1), 5) },
		"governance seq":  func(d *audit.Decision) { d.GovernanceSeq++ },
		"governance head": func(d *audit.Decision) { d.GovernanceHead[0] ^= 1 },
		"policy":          func(d *audit.Decision) { d.PolicyRoot[0] ^= 1 },
		"roster":          func(d *audit.Decision) { d.RosterRoot[0] ^= 1 },
	} {
		other := own
		edit(&other)
		if two.CheckCertificate(1, other, raw) == nil {
			t.Errorf("%s: a certificate of another session is taken", name)
		}
	}
	if two.CheckCertificate(3, own, raw) == nil {
		t.Error("vault 1's certificate is taken for vault 3's")
	}
	if two.CheckCertificate(1, own, raw[:len(raw)-1]) == nil || two.CheckCertificate(1, own, flip(raw, 40)) == nil {
		t.Error("a damaged certificate is taken")
	}
	// The HSM has signed for a log in which this decision does not stand.
	c, err := audit.DecodeCertificate(raw)
	f.ok(err)
	c.Decision.R0Hash[0] ^= 1
	if two.CheckCertificate(1, c.Decision, c.Encode()) == nil {
		t.Error("a decision that is not in the log is taken")
	}
	no := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(11)), sim.Unsigned(sim.Known, sim.ETH(11), 4), 1, 2)[1].Certificate
	refused := f.certified(1, &cluster.Reply{Certificate: no}).Decision
	if err := two.CheckCertificate(1, refused, no); err == nil || !strings.Contains(err.Error(), "refusal") {
		t.Errorf("a refusal is taken: %v", err)
	}
}

// A peer's checkpoints tell one story.
func TestWitness(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	one, two := f.Parties[1], f.Parties[2].Vault
	newest, err := audit.DecodeSignedCheckpoint(one.Disk.Checkpoint)
	f.ok(err)
	signed := func(edit func(*audit.Checkpoint)) []byte {
		cp := newest.Checkpoint
		edit(&cp)
		s := &audit.SignedCheckpoint{Checkpoint: cp, Log: one.Vault.SignLog(cp.Text())}
		s.HSM, err = one.Device.Sign(hsm.RoleDecision, cp.Statement())
		f.ok(err)
		return s.Encode()
	}
	f.ok(two.Witness(1, newest.Encode()))
	f.ok(two.Witness(1, signed(func(c *audit.Checkpoint) { c.Size += 5; c.Root[0] ^= 1 })))
	f.ok(two.Witness(1, newest.Encode())) // late
	for name, b := range map[string][]byte{
		"none":        nil,
		"garbage":     {1},
		"unsigned":    flip(newest.Encode(), 290),
		"of 3":        f.Parties[3].Disk.Checkpoint,
		"two logs":    signed(func(c *audit.Checkpoint) { c.Size += 5 }),
		"rolled back": signed(func(c *audit.Checkpoint) { c.Boot++ }),
	} {
		if two.Witness(1, b) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A disk, a device and a genesis that do not belong together do not start, and
// say why.
func TestStartRefused(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	f.Crash(2)
	genesis := f.Genesis
	edited := func(edit func(g *governance.Genesis)) *governance.Genesis {
		g := *genesis
		g.Enrolments = append([]governance.Enrolment(nil), genesis.Enrolments...)
		edit(&g)
		return &g
	}
	for name, c := range map[string]struct {
		genesis *governance.Genesis
		id      mpc.ID
		want    string
	}{
		"another cluster": {edited(func(g *governance.Genesis) { g.Name = "other" }), 2, "belongs to cluster"},
		"not a genesis":   {edited(func(g *governance.Genesis) { g.Enrolments[0].Vault.Name = "x" }), 2, "genesis"},
		"enrol again":     {nil, 2, "belongs to a cluster already"},
		"vault 0":         {genesis, 0, "ids start at 1"},
	} {
		f.Genesis = c.genesis
		p := f.Parties[2]
		p.ID = c.id
		err := f.Restart(2)
		if err == nil {
			err = f.Settle()
		}
		p.ID = 2
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		p.Vault, f.Devices, f.Frames = nil, nil, nil
	}
	f.Genesis = genesis
	down := f.Parties[2].Device
	down.Down = true
	err := f.Restart(2)
	if err == nil {
		err = f.Settle()
	}
	if err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("without its device: %v", err)
	}
	down.Down = false
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	f.works(1, 2)
}

// lie lets two vaults run a session, loses what vault 1 sends to vault 2 from a
// round on, and hands vault 2 a forged broadcast instead.
func (f *fixture) lie(round int, attachment func([]byte) []byte) *cluster.Reply {
	f.Helper()
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	n, back := 0, 0
	f.Intercept = f.rounds(func(fr sim.Frame) bool {
		if fr.From == 1 && fr.To == 2 {
			n++
			return n <= round
		}
		back++ // vault 1 gets no R2, or it would be done
		return back <= 2
	})
	f.command(1, c)
	two := f.command(2, c)
	f.ok(f.Settle())
	f.Intercept = nil
	if f.Replies[two] != nil {
		f.Fatalf("vault 2 says %s", show(f.Replies[two]))
	}
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.Forge(2, c.Attempt, uint8(round), attachment)}))
	f.ok(f.Settle())
	return f.Replies[two]
}

// Attachments that lie: their author is named, and no share leaves.
func TestForgedAttachments(t *testing.T) {
	garbage := func([]byte) []byte { return []byte("x") }
	for round := range 3 {
		f := startQuick(t)
		other := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2)[1].Certificate
		forgeries := []func([]byte) []byte{garbage, func(b []byte) []byte { return b[:len(b)-1] }}
		if round == 2 {
			forgeries = append(forgeries, func([]byte) []byte { return other })
		}
		for _, forge := range forgeries {
			r := f.lie(round, forge)
			if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Attributed) || len(r.Culprits) != 1 || r.Culprits[0] != 1 {
				t.Errorf("round %d: vault 2 says %s", round, show(r))
			}
			f.ok(f.Tick(30_000))
			f.ok(f.Settle())
		}
		f.works(1, 2)
	}
}

// A broadcast that its author has not signed is dropped.
func TestUnsignedBroadcast(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	two := f.command(2, c)
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealUnsigned(2, vault.InnerSign, c.Attempt, 0, []byte("x"))}))
	one := f.command(1, c)
	f.ok(f.Settle())
	f.combine(b, c.Unsigned, map[mpc.ID]*cluster.Reply{1: f.Replies[one], 2: f.Replies[two]})
}

// Who asks for a ledger gets it when the question fits it.
func TestLedgerQuestions(t *testing.T) {
	f := startQuick(t)
	f.works(2, 3)
	one := f.Parties[1].Vault
	ask := func(private []byte) int {
		before := len(f.Frames)
		f.frame(1, 2, vault.InnerSync, [16]byte{}, 0, nil, private)
		return len(f.Frames) - before
	}
	if ask(one.Heads([]mpc.ID{2}, 0, 0)) != 1 {
		t.Error("no answer")
	}
	notes := len(f.Parties[2].Notes)
	for name, private := range map[string][]byte{
		"garbage":         {9},
		"nothing":         one.Heads(nil, 0, 0),
		"two":             one.Heads([]mpc.ID{1, 2}, 0, 0),
		"another's":       one.Heads([]mpc.ID{3}, 0, 0),
		"another history": one.Heads([]mpc.ID{2}, 0, 1),
		"the future":      one.Heads([]mpc.ID{2}, 1000, 0),
	} {
		if ask(private) != 0 {
			t.Errorf("%s: answered", name)
		}
	}
	if n := len(f.Parties[2].Notes) - notes; n != 2 {
		t.Errorf("%d notes, want 2", n)
	}
}

// A vault whose disk was put back does not sign with a peer that knows better.
func TestRolledBackDisk(t *testing.T) {
	f := startQuick(t)
	disk := f.Parties[2].Disk.Clone()
	f.works(1, 2)
	f.Crash(2)
	f.Parties[2].Disk = disk
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	for range 2 {
		replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2)
		said := ""
		for _, r := range replies {
			if r != nil && r.Outcome == cluster.OutcomeDone {
				t.Fatal("a share left")
			}
			if r != nil {
				said += r.Detail
			}
		}
		if !strings.Contains(said, "rolled back") {
			t.Errorf("they say %q", said)
		}
		f.ok(f.Tick(30_000))
	}
	f.works(1, 3)
}

// The device does not answer for long: the session ends, and the late answer does
// no harm.
func TestSlowDevice(t *testing.T) {
	f := startQuick(t)
	ids, err := f.StartSign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.ok(err)
	for len(f.Frames) > 0 {
		f.ok(f.Deliver(0))
	}
	f.ok(f.Tick(20_001))
	for _, n := range ids {
		f.aborted(n, mpc.Benign, "the device's signature")
	}
	f.ok(f.Settle())
	f.works(1, 2)
}

// Commands are answered at every stage.
func TestStatus(t *testing.T) {
	f := startQuick(t)
	f.Crash(2)
	f.ok(f.Restart(2))
	ask := func() *cluster.Status {
		n := f.command(2, &cluster.Command{Kind: cluster.CommandStatus})
		r := f.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeDone {
			t.Fatalf("%s", show(r))
		}
		s, err := cluster.DecodeStatus(r.Body)
		f.ok(err)
		return s
	}
	if s := ask(); s.Vault != 2 || len(s.Keys) != 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range []*cluster.Command{
		f.changeCommand("ada", "ben"), f.keygenCommand("savings"), f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2),
		{Kind: cluster.CommandReceipt}, {Kind: cluster.CommandAbandon},
	} {
		f.aborted(f.command(2, c), mpc.Benign, "still starting")
	}
	f.ok(f.Settle())
	s := ask()
	if len(s.Keys) != 1 || len(s.Peers) != 2 || !s.Peers[0].Connected || !s.Peers[0].Ready || s.Peers[0].Quarantined || s.Sessions != 0 {
		t.Errorf("%+v", s)
	}
}

// A disk whose newest checkpoint is the vault's own, of another log.
func TestCheckpointOfAnotherLog(t *testing.T) {
	f := startQuick(t)
	p := f.Parties[2]
	cp, err := audit.DecodeSignedCheckpoint(p.Disk.Checkpoint)
	f.ok(err)
	cp.Root[0] ^= 1
	cp.Log = p.Vault.SignLog(cp.Text())
	cp.HSM, err = p.Device.Sign(hsm.RoleDecision, cp.Statement())
	f.ok(err)
	good := p.Disk.Checkpoint
	p.Disk.Checkpoint = cp.Encode()
	f.Crash(2)
	f.ok(f.Restart(2))
	if err := f.Settle(); err == nil || !strings.Contains(err.Error(), "not of this log") {
		t.Errorf("%v", err)
	}
	p.Disk.Checkpoint = good
	f.ok(f.Restart(2))
	f.ok(f.Settle())
}

// Hellos that are none, and those that come before this vault has its own.
func TestEarlyHello(t *testing.T) {
	f := startQuick(t)
	hello := func() []byte {
		h := f.Parties[1].Vault.Hello(2, f.Parties[1].Vault.Boot()+1, [32]byte{1}, nil, func(st signature.Statement) signature.Signature {
			s, err := f.Parties[1].Device.Sign(hsm.RoleIdentity, st)
			f.ok(err)
			return s
		})
		return h
	}()
	cut := append(append([]byte(nil), hello[:6]...), 0, 0, 0, 1, 7)
	f.ok(f.Step(2, vault.Input{Frame: cut}))
	f.ok(f.Step(2, vault.Input{Frame: make([]byte, vault.MaxFrame+1)}))
	f.Crash(2)
	f.ok(f.Restart(2))
	f.ok(f.Answer(0)) // the root key
	f.ok(f.Step(2, vault.Input{Frame: hello}))
	f.ok(f.Settle())
	f.ok(f.Tick(1000))
	f.ok(f.Settle())
	f.works(1, 2)
}

// A halted pair makes no setup again, whatever restarts; and a message of a setup
// that was given up does not disturb the one under way.
func TestPairSetupUnderWay(t *testing.T) {
	f := startQuick(t)
	f.Crash(1)
	f.ok(f.Restart(1))
	one, two := f.Parties[1].Vault, f.Parties[2].Vault
	for !(two.Pairing(1) && one.Pairing(2)) {
		if len(f.Devices) > 0 {
			f.ok(f.Answer(0))
		} else {
			f.ok(f.Deliver(0))
		}
	}
	f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{0, 0, 0, 0, 9})
	if !two.Pairing(1) {
		t.Error("a message of an earlier setup ended this one")
	}
	f.ok(f.Settle())
	one.CorruptPair(2)
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.Crash(1)
	f.ok(f.Restart(1))
	f.ok(f.Settle())
	f.ok(f.Tick(60_000))
	if !two.Quarantined(1) || two.Pairing(1) || two.PairReady(1) {
		t.Error("a halted pair makes a setup again")
	}
}

// What comes after a session has ended is not kept.
func TestLateMessages(t *testing.T) {
	f := startQuick(t)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	k := f.keygenCommand("savings")
	f.command(1, c)
	f.command(2, c)
	f.all(k)
	f.ok(f.Settle())
	f.frame(1, 2, vault.InnerSign, c.Attempt, 0, []byte("x"), nil)
	f.frame(1, 2, vault.InnerKeygen, k.Attempt, 0, []byte("x"), nil)
	if n := f.Parties[2].Vault.EarlyCount(); n != 0 {
		t.Errorf("%d frames of ended sessions wait", n)
	}
}

// A frame that its receiver would drop is not sent, and the operator hears of it.
func TestFrameTooLarge(t *testing.T) {
	f := startQuick(t)
	f.Parties[1].Vault.SendPrivate(2, vault.MaxFrame-100)
	f.ok(f.Tick(1))
	if len(f.Frames) != 1 || len(f.Parties[1].Notes) > 0 && strings.Contains(f.Parties[1].Notes[len(f.Parties[1].Notes)-1], "too large") {
		t.Fatalf("%d frames on their way, notes %q", len(f.Frames), f.Parties[1].Notes)
	}
	f.ok(f.Settle())
	f.Parties[1].Vault.SendPrivate(2, vault.MaxFrame)
	f.ok(f.Tick(1))
	if n := f.Parties[1].Notes; len(f.Frames) != 0 || len(n) == 0 || !strings.Contains(n[len(n)-1], "too large") {
		t.Errorf("%d frames on their way, notes %q", len(f.Frames), n)
	}
}
