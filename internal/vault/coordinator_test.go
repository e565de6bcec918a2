package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// What a dishonest coordinator asks.

// changeCommand is a change of the policy that two admins signed.
func (f *fixture) changeCommand(signers ...string) *cluster.Command {
	doc := sim.Policy()
	doc.Rules = doc.Rules[1:] // no small transfers without approvals any more
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: f.Genesis.Hash(), Seq: 1, Prev: f.Genesis.Hash(), Kind: governance.KindPolicy, Body: doc.Encode(), Created: f.Now, Author: sim.Admins[0],
	}}
	for _, a := range signers {
		k := sim.Person(f.Seed, a)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	return &cluster.Command{Kind: cluster.CommandChange, Body: s.Encode()}
}

// A change is in force at once: what was begun before it is not signed after it,
// wherever the session stands.
func TestChangeEndsSessions(t *testing.T) {
	for at := 0; ; at++ {
		f := startQuick(t)
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		ids, err := f.StartSign(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		f.ok(err)
		for i := 0; i < at && len(f.Frames)+len(f.Devices) > 0; i++ {
			if len(f.Devices) > 0 {
				f.ok(f.Answer(0))
			} else {
				f.ok(f.Deliver(0))
			}
		}
		if f.Replies[ids[1]] != nil || f.Replies[ids[2]] != nil {
			if at < 5 {
				t.Fatalf("a signature took %d steps", at)
			}
			break
		}
		c := f.changeCommand("ada", "ben")
		changed := f.all(c)
		f.ok(f.Settle())
		for _, n := range append(changed, f.all(c)...) { // the same again is done already
			if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
				t.Fatalf("step %d: %s", at, show(r))
			}
		}
		for _, n := range ids {
			f.aborted(n, mpc.Benign, "change 1 of the governance")
		}
		f.refused("policy.approvals", f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2))
		f.blameless()
	}
}

func TestChangeRefused(t *testing.T) {
	f := startQuick(t)
	n := f.command(1, f.changeCommand("ada"))
	f.refused("change.quorum", map[mpc.ID]*cluster.Reply{1: f.Replies[n]})
	n = f.command(1, &cluster.Command{Kind: cluster.CommandChange, Body: []byte{1}})
	f.refused("change.encoding", map[mpc.ID]*cluster.Reply{1: f.Replies[n]})
	// Vaults at different changes do not sign together, and say which one lags.
	f.command(1, f.changeCommand("ada", "ben"))
	f.ok(f.Settle())
	b := f.Transfer(f.x, sim.Stranger, sim.ETH(5), "bob", "carol")
	for _, r := range f.sign(b, sim.Unsigned(sim.Stranger, sim.ETH(5), 4), 1, 2) {
		if r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "governance change") {
			t.Errorf("%s", show(r))
		}
	}
	f.Crash(1)
	f.ok(f.Restart(1)) // the change is replayed
	f.command(2, f.changeCommand("ada", "ben"))
	f.ok(f.Settle())
	f.signed(b, sim.Unsigned(sim.Stranger, sim.ETH(5), 4), 1, 2)
}

// The coordinator sends two signers different things under one attempt.
func TestDifferentCommands(t *testing.T) {
	for name, edit := range map[string]func(f *fixture, c *cluster.Command){
		"request":     func(f *fixture, c *cluster.Command) { c.Body = f.Transfer(f.x, sim.Known, sim.ETH(1)).Encode() },
		"transaction": func(_ *fixture, c *cluster.Command) { c.Unsigned = sim.Unsigned(sim.Known, sim.ETH(1), 5) },
	} {
		f := startQuick(t)
		c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		d := *c
		edit(f, &d)
		one, two := f.command(1, c), f.command(2, &d)
		f.ok(f.Settle())
		f.aborted(one, mpc.Benign, "another "+name)
		f.aborted(two, mpc.Benign, "another "+name)
		f.blameless()
	}
}

// Commands that no vault takes part in, with the reason.
func TestSignRefused(t *testing.T) {
	f := startQuick(t)
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), 4)
	edited := func(edit func(*request.Request)) *request.Bundle {
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		edit(b.Request)
		k := sim.Person(f.Seed, sim.Trader)
		b.ProposeSignature = sim.SignStatement(k, request.ProposeStatement(b.Request.ID()))
		f.Screen(b, request.Pass)
		return b
	}
	good := f.Transfer(f.x, sim.Known, sim.ETH(1))
	for _, c := range []struct {
		name, code string
		command    *cluster.Command
		logged     bool
	}{
		{"garbage", "bundle.encoding", &cluster.Command{Kind: cluster.CommandSign, Body: []byte("x"), Signers: []uint16{1, 2}}, false},
		{"wallet", "request.wallet", f.signCommand(edited(func(q *request.Request) { q.Wallet[0] ^= 1 }), unsigned, 1, 2), false},
		{"all", "sign.signers", f.signCommand(good, unsigned, 1, 2, 3), true},
		{"one", "sign.signers", f.signCommand(good, unsigned, 1), true},
		{"others", "sign.signers", f.signCommand(good, unsigned, 2, 3), true},
		{"stranger", "sign.signers", f.signCommand(good, unsigned, 1, 4), true},
		{"chain", "request.chain", f.signCommand(edited(func(q *request.Request) {
			q.Chain, q.Sender = "bip122:000000000019d6689c085ae165831e93", "bip122:000000000019d6689c085ae165831e93:x"
		}), unsigned, 1, 2), true},
		{"no such chain", "request.chain", f.signCommand(edited(func(q *request.Request) { q.Chain, q.Sender = "eip155:x", "eip155:x"+q.Sender[len(sim.Chain):] }), unsigned, 1, 2), true},
		{"sender", "request.sender", f.signCommand(edited(func(q *request.Request) { q.Sender = evm.Account(sim.Chain, sim.Stranger) }), unsigned, 1, 2), true},
		{"transaction", "transaction", f.signCommand(good, unsigned[1:], 1, 2), true},
		{"initiator", "identity.signature", f.signCommand(func() *request.Bundle {
			b := f.Transfer(f.x, sim.Known, sim.ETH(1))
			b.ProposeSignature = good.ProposeSignature
			return b
		}(), unsigned, 1, 2), true},
	} {
		n := f.command(1, c.command)
		f.ok(f.Settle())
		r := f.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeRefused {
			t.Errorf("%s: %s", c.name, show(r))
			continue
		}
		ref, err := refusal.Decode(r.Refusal)
		f.ok(err)
		if ref.Code != c.code {
			t.Errorf("%s: refused with %s: %s, want %s", c.name, ref.Code, ref.Detail, c.code)
		}
		if (len(r.Certificate) > 0) != c.logged {
			t.Errorf("%s: a certificate of %d bytes", c.name, len(r.Certificate))
		}
	}
	n := f.command(1, &cluster.Command{Kind: 99})
	f.refused("command.encoding", map[mpc.ID]*cluster.Reply{1: f.Replies[n]})
	if f.Parties[1].Vault.LedgerSeq(1) != 0 {
		t.Error("a refusal reserved something")
	}
}

// Only the union of the ledgers shows that another version may exist.
func TestConflictOnTheUnion(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.command(2, c)
	f.Parties[2].Vault.Invent(vault.Event{Kind: 1, Attempt: [16]byte{5}, Request: b.Request.ID(), Parties: []mpc.ID{2, 3}, Slots: []string{"another"}})
	one := f.command(1, c)
	f.ok(f.Settle())
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{1: f.Replies[one]})
	d := f.certified(1, f.Replies[one]).Decision
	if d.Allow || d.R0Hash == [32]byte{} || d.Code != "version.conflict" {
		t.Errorf("the log says %+v", d)
	}
}

// Refusals go into the log; a coordinator that makes them without end is not
// looked at any more, for a while.
func TestRefusalFlood(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	junk := make([]byte, 200<<10)
	refusals, aborts := 0, 0
	for range 200 {
		n := f.command(1, f.signCommand(b, junk, 1, 2))
		f.ok(f.Settle())
		switch r := f.Replies[n]; {
		case r != nil && r.Outcome == cluster.OutcomeRefused && len(r.Certificate) > 0:
			refusals++
		case r != nil && r.Outcome == cluster.OutcomeAborted:
			aborts++
		default:
			t.Fatalf("%s", show(r))
		}
	}
	if refusals < 50 || aborts < 50 {
		t.Errorf("%d refusals of 200 KB logged, %d put off", refusals, aborts)
	}
	f.ok(f.Tick(60_000))
	f.ok(f.Settle())
	f.works(1, 2)
}

// A slow device does not let what waits for it pile up.
func TestManyWaitForTheDevice(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(11))
	last := uint64(0)
	for range 300 {
		last = f.command(1, f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(11), 4), 1, 2))
	}
	f.aborted(last, mpc.Benign, "waits for the device")
	f.ok(f.Settle())
	for n := uint64(1); n <= last; n++ {
		if f.Replies[n] == nil {
			t.Fatalf("command %d has no answer", n)
		}
	}
}

// Sessions are bounded; one that waits too long ends, and so does an abandoned
// one.
func TestManySessions(t *testing.T) {
	f := startQuick(t)
	first, last := uint64(0), uint64(0)
	var c *cluster.Command
	for range 129 {
		c = f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		if last = f.command(1, c); first == 0 {
			first = last
		}
	}
	f.aborted(last, mpc.Benign, "128 sessions run")
	n := f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
		t.Errorf("%s", show(r))
	}
	f.ok(f.Tick(20_000))
	if f.Replies[first] != nil {
		t.Fatal("ended early")
	}
	f.ok(f.Tick(1))
	f.aborted(first, mpc.Benign, "stayed silent: R0 of [2]")
	f.Frames = nil
	// Vault 2 has to catch up with all that vault 1 reserved and released.
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5), 1, 2)
	f.ok(f.Tick(21_000))
	f.works(1, 2)
}

// receiptOf signs and makes the receipt.
func (f *fixture) receiptOf(nonce uint64) *audit.Receipt {
	f.Helper()
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), nonce)
	replies := f.sign(b, unsigned, 1, 2)
	sig, err := sim.Combine(f.x, f.digest(b, unsigned), replies)
	f.ok(err)
	r := &audit.Receipt{
		Attempt: f.certified(1, replies[1]).Decision.Attempt, Request: b.Request.ID(), Key: f.x.ID, Unsigned: unsigned, PublicKey: f.x.PublicKey,
		Signatures: []chain.Signature{{R: sig.R, S: sig.S, RecoveryID: sig.RecoveryID}},
	}
	_, r.TxID, err = evm.Codec{}.Assemble(f.x.Sender, r.Unsigned, r.Signatures)
	f.ok(err)
	return r
}

func (f *fixture) receipts(id mpc.ID) (n int) {
	for _, b := range f.Parties[id].Disk.Entries {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindReceipt {
			n++
		}
	}
	return n
}

// A receipt is logged once, over restarts too, and only a true one.
func TestReceipts(t *testing.T) {
	f := startQuick(t)
	one, two := f.receiptOf(1), f.receiptOf(2)
	bring := func(id mpc.ID, x *audit.Receipt) *cluster.Reply {
		n := f.command(id, &cluster.Command{Kind: cluster.CommandReceipt, Body: x.Encode()})
		f.ok(f.Settle())
		return f.Replies[n]
	}
	for name, edit := range map[string]func(x *audit.Receipt){
		"receipt.attempt attempt":         func(x *audit.Receipt) { x.Attempt[0] ^= 1 },
		"receipt.attempt request":         func(x *audit.Receipt) { x.Request[0] ^= 1 },
		"receipt.attempt key":             func(x *audit.Receipt) { x.Key[0] ^= 1 },
		"receipt.signature none":          func(x *audit.Receipt) { x.Signatures = nil },
		"receipt.signature two":           func(x *audit.Receipt) { x.Signatures = append(x.Signatures, x.Signatures[0]) },
		"receipt.signature public key":    func(x *audit.Receipt) { x.PublicKey = append([]byte{x.PublicKey[0] ^ 1}, x.PublicKey[1:]...) },
		"receipt.signature r":             func(x *audit.Receipt) { x.Signatures[0].R[5] ^= 1 },
		"receipt.signature another's":     func(x *audit.Receipt) { x.Signatures = two.Signatures },
		"receipt.transaction id":          func(x *audit.Receipt) { x.TxID = two.TxID },
		"receipt.transaction":             func(x *audit.Receipt) { x.Unsigned = two.Unsigned },
		"receipt.transaction garbage":     func(x *audit.Receipt) { x.Unsigned = []byte{1} },
		"receipt.transaction recovery id": func(x *audit.Receipt) { x.Signatures[0].RecoveryID ^= 1 },
	} {
		bad := *one
		bad.Signatures = append([]chain.Signature(nil), one.Signatures...)
		edit(&bad)
		r := bring(1, &bad)
		if r == nil || r.Outcome != cluster.OutcomeRefused {
			t.Errorf("%s: %s", name, show(r))
			continue
		}
		code, _, _ := strings.Cut(name, " ")
		if ref, err := refusal.Decode(r.Refusal); err != nil || ref.Code != code && !(strings.HasSuffix(name, "recovery id") && ref.Code == "receipt.signature") {
			t.Errorf("%s: %v, %v", name, ref, err)
		}
	}
	if r := bring(3, one); r == nil || r.Outcome != cluster.OutcomeRefused {
		t.Errorf("a vault that took no part: %s", show(r))
	}
	n := f.command(1, &cluster.Command{Kind: cluster.CommandReceipt, Body: []byte{1}})
	f.refused("receipt.encoding", map[mpc.ID]*cluster.Reply{1: f.Replies[n]})
	for range 2 {
		for range 2 {
			if r := bring(1, one); r == nil || r.Outcome != cluster.OutcomeDone {
				t.Fatalf("%s", show(r))
			}
		}
		f.Crash(1)
		f.ok(f.Restart(1))
		f.ok(f.Settle())
	}
	if n := f.receipts(1); n != 1 {
		t.Errorf("%d receipts in the log, want 1", n)
	}
	// An attempt that was released gives no receipt.
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.command(1, c)
	f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	x := *one
	x.Attempt = c.Attempt
	if r := bring(1, &x); r == nil || r.Outcome != cluster.OutcomeRefused {
		t.Errorf("released: %s", show(r))
	}
}

// The device fails while commands wait for a checkpoint: each gets its answer.
func TestDeviceFailsForCommands(t *testing.T) {
	f := startQuick(t)
	x := f.receiptOf(1)
	f.Parties[1].Device.Down = true
	for _, c := range []*cluster.Command{
		f.changeCommand("ada", "ben"), {Kind: cluster.CommandReceipt, Body: x.Encode()},
	} {
		n := f.command(1, c)
		f.ok(f.Settle())
		if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeFailed || !strings.Contains(r.Detail, "device") {
			t.Errorf("command %v: %s", c.Kind, show(r))
		}
	}
	n := f.command(1, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(11)), sim.Unsigned(sim.Known, sim.ETH(11), 4), 1, 2))
	f.ok(f.Settle())
	if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeRefused || len(r.Certificate) != 0 {
		t.Errorf("%s", show(r))
	}
	f.Parties[1].Device.Down = false
	f.command(2, f.changeCommand("ada", "ben"))
	f.ok(f.Tick(1000))
	f.ok(f.Settle())
	b := f.Transfer(f.x, sim.Stranger, sim.ETH(5), "bob", "carol")
	f.signed(b, sim.Unsigned(sim.Stranger, sim.ETH(5), 4), 1, 2)
}

// What was reserved and comes to nothing is released at once when it is abandoned.
// When the vault went down before it had decided, it is once the others have said that
// they hold no newer head: on the disk's own word nothing is.
func TestReservationsAreReleased(t *testing.T) {
	f := startQuick(t)
	command := func() (*cluster.Command, uint64) {
		c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		return c, f.command(1, c)
	}
	c, n := command()
	f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	f.aborted(n, mpc.Benign, "abandoned")
	if seq := f.Parties[1].Vault.LedgerSeq(1); seq != 2 {
		t.Errorf("%d events, want a reservation and its release", seq)
	}
	command()
	f.Crash(1)
	f.Intercept = func(fr sim.Frame) bool { return fr.To != 1 || fr.From != 3 }
	f.ok(f.Restart(1))
	f.ok(f.Settle())
	if seq := f.Parties[1].Vault.LedgerSeq(1); seq != 3 {
		t.Errorf("%d events after the restart, want 3: nothing is released on the disk's own word", seq)
	}
	f.Intercept = nil
	for range 3 {
		f.ok(f.Tick(1000))
		f.ok(f.Settle())
	}
	if seq := f.Parties[1].Vault.LedgerSeq(1); seq != 4 {
		t.Errorf("%d events once the others have answered, want 4", seq)
	}
}

// A checkpoint shows that a pair is halted.
func TestCheckpointCoversQuarantine(t *testing.T) {
	f := startQuick(t)
	head := func() [32]byte {
		cp, err := audit.DecodeSignedCheckpoint(f.Parties[2].Disk.Checkpoint)
		f.ok(err)
		return cp.Quarantine
	}
	before := head()
	f.Parties[1].Vault.CorruptPair(2)
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.ok(f.Tick(2000))
	f.ok(f.Settle())
	if !f.Parties[2].Vault.Quarantined(1) || head() == before {
		t.Error("the checkpoint says nothing of the quarantine")
	}
}
