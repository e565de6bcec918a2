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
	f := start(t, 3, 2)
	one, two := f.Parties[1], f.Parties[2]
	boot := one.Vault.Boot()
	by := func(p *sim.Party, role hsm.Role) func(signature.Statement) signature.Signature {
		return func(st signature.Statement) signature.Signature {
			s, err := p.Device.Sign(role, st)
			f.ok(err)
			return s
		}
	}
	hello := func(boot uint64, nonce byte, edit func(*[32]byte, *mpc.ID), sign func(signature.Statement) signature.Signature) {
		f.Helper()
		f.ok(f.Step(2, vault.Input{Frame: one.Vault.Hello(2, boot, [32]byte{nonce}, edit, sign)}))
	}
	own := by(one, hsm.RoleIdentity)
	hello(boot+1, 1, nil, by(f.Parties[3], hsm.RoleIdentity))
	hello(boot+1, 1, nil, by(one, hsm.RoleDecision))
	hello(boot+1, 1, func(c *[32]byte, _ *mpc.ID) { c[0] ^= 1 }, own)
	hello(boot+1, 1, func(_ *[32]byte, id *mpc.ID) { *id = 3 }, own)
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
	f.works(1, 2)
	hello(boot+1, 1, nil, own)
	if two.Vault.PeerBoot(1) != boot+1 || two.Vault.PairReady(1) {
		t.Error("a new start is not heard")
	}
}

// Two restarts while frames get lost: the channels come up again by themselves.
func TestLostHellos(t *testing.T) {
	f := start(t, 3, 2)
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
	f := start(t, 3, 2)
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
	f := start(t, 3, 2)
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
	f.command(1, k)
	f.command(3, k)
	f.ok(f.Settle())
	f.made(gen)
}

// What travels in place of R0, R1 and R2 when a vault lies: its author is named.
func TestRoundsThatDoNotDecode(t *testing.T) {
	f := start(t, 3, 2)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	two := f.command(2, c)
	f.frame(1, 2, vault.InnerSign, c.Attempt, 0, []byte("x"), nil)
	f.aborted(two, mpc.Attributed, "R0")
}

// The certificate of a peer must be of this session in every respect.
func TestCertificateOfAnotherSession(t *testing.T) {
	f := start(t, 3, 2)
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
	no := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(11)), sim.Unsigned(sim.Known, sim.ETH(11), 4), 1, 2)[1].Certificate
	refused := f.certified(1, &cluster.Reply{Certificate: no}).Decision
	if err := two.CheckCertificate(1, refused, no); err == nil || !strings.Contains(err.Error(), "refusal") {
		t.Errorf("a refusal is taken: %v", err)
	}
}

// A peer's checkpoints tell one story.
func TestWitness(t *testing.T) {
	f := start(t, 3, 2)
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
	f := start(t, 3, 2)
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
