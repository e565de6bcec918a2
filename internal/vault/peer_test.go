package vault_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// What a corrupt vault, or a coordinator that knows one, tries on honest vaults.

// frame hands a vault a genuine frame of a peer.
func (f *fixture) frame(from, to mpc.ID, kind uint8, attempt [16]byte, round uint8, broadcast, private []byte) {
	f.Helper()
	f.ok(f.Step(to, vault.Input{Frame: f.Parties[from].Vault.Seal(to, kind, attempt, round, broadcast, private)}))
}

// tellLedger has a vault show a peer all of its ledger that it does not know.
func (f *fixture) tellLedger(from, to mpc.ID) {
	f.Helper()
	f.frame(from, to, vault.InnerSync, [16]byte{}, 1, nil, f.Parties[from].Vault.OwnDelta(f.Parties[to].Vault.LedgerSeq(from)))
}

func (f *fixture) command(id mpc.ID, c *cluster.Command) uint64 {
	f.Helper()
	n, err := f.Command(id, c)
	f.ok(err)
	return n
}

// incidents are those in a vault's log about a peer.
func (f *fixture) incidents(id, about mpc.ID) (out []*audit.Incident) {
	f.Helper()
	for _, b := range f.Parties[id].Disk.Entries {
		e, err := audit.DecodeEntry(b)
		f.ok(err)
		if e.Kind != audit.KindIncident {
			continue
		}
		i, err := audit.DecodeIncident(e.Body)
		f.ok(err)
		if i.Peer == uint16(about) {
			out = append(out, i)
		}
	}
	return out
}

// blameless demands that no vault's log blames another.
func (f *fixture) blameless() {
	f.Helper()
	for _, a := range f.IDs {
		for _, b := range f.IDs {
			if is := f.incidents(a, b); len(is) > 0 {
				f.Errorf("vault %d blames vault %d: %s, %s: %s", a, b, is[0].Class, is[0].Step, is[0].Detail)
			}
		}
	}
}

func (f *fixture) digest(b *request.Bundle, unsigned []byte) [32]byte {
	f.Helper()
	p, err := evm.Codec{}.Prepare(sim.Chain, f.x.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	f.ok(err)
	return p.Digests[0]
}

func (f *fixture) signCommand(b *request.Bundle, unsigned []byte, signers ...uint16) *cluster.Command {
	return &cluster.Command{Kind: cluster.CommandSign, Attempt: f.Attempt(), Body: b.Encode(), Unsigned: unsigned, Signers: signers}
}

// A vault may hear of an attempt from a peer's ledger before the command reaches
// it: under load that is the rule.
func TestPeersReservationComesFirst(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	one := f.command(1, c)
	f.tellLedger(1, 2)
	two := f.command(2, c)
	f.ok(f.Settle())
	f.combine(b, c.Unsigned, map[mpc.ID]*cluster.Reply{1: f.Replies[one], 2: f.Replies[two]})
}

// Vault 3 took no part in the first version. That it writes a release of that
// attempt into its own ledger does not free vaults 1 and 2 of their promise.
func TestReleaseByAStranger(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	unsigned := sim.Unsigned(sim.Known, sim.ETH(1), 7)
	replies := f.sign(b, unsigned, 1, 2)
	f.combine(b, unsigned, replies)
	attempt := f.certified(1, replies[1]).Decision.Attempt
	for _, parties := range [][]mpc.ID{{1, 2}, {1, 2, 3}, {1, 3}} {
		f.Parties[3].Vault.Invent(
			vault.Event{Kind: 1, Attempt: attempt, Request: b.Request.ID(), Key: f.x.ID, Digest: f.digest(b, unsigned), Parties: parties, Slots: []string{"any"}},
			vault.Event{Kind: 2, Attempt: attempt})
		f.tellLedger(3, 1)
		f.tellLedger(3, 2)
		for _, s := range []mpc.ID{1, 2} {
			r := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), s, 3)
			f.refused("version.conflict", map[mpc.ID]*cluster.Reply{s: r[s]})
		}
		f.ok(f.Tick(30_000))
	}
}

// Vault 3 hears of an attempt's id and tells vault 1 nonsense about it first. What
// vault 1 reserves itself counts all the same.
func TestPoisonedAttempt(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.Parties[3].Vault.Invent(vault.Event{Kind: 1, Attempt: c.Attempt, Request: [32]byte{9}, Parties: []mpc.ID{1, 2, 3}, Slots: []string{"x"}}, vault.Event{Kind: 2, Attempt: c.Attempt})
	f.tellLedger(3, 1)
	one, two := f.command(1, c), f.command(2, c)
	f.ok(f.Settle())
	f.combine(b, c.Unsigned, map[mpc.ID]*cluster.Reply{1: f.Replies[one], 2: f.Replies[two]})
	f.refused("version.conflict", f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 5), 1, 2))
}

// A vault's ledger must say what its R0 said.
func TestReservesSomethingElse(t *testing.T) {
	for name, edit := range map[string]func(*vault.Event){
		"request": func(e *vault.Event) { e.Request[0] ^= 1 },
		"key":     func(e *vault.Event) { e.Key[0] ^= 1 },
		"digest":  func(e *vault.Event) { e.Digest[0] ^= 1 },
		"parties": func(e *vault.Event) { e.Parties = []mpc.ID{1, 3} },
		"slots":   func(e *vault.Event) { e.Slots = []string{"another"} },
	} {
		f := startQuick(t)
		c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
		f.command(1, c)
		f.Parties[1].Vault.RewriteLast(edit)
		two := f.command(2, c)
		f.ok(f.Settle())
		if r := f.Replies[two]; r == nil || r.Class != uint8(mpc.Attributed) || len(r.Culprits) != 1 || r.Culprits[0] != 1 {
			t.Errorf("%s: vault 2 says %s", name, show(r))
		}
	}
	// An attempt of which the ledger says nothing, or says that it has ended, is
	// nobody's proof.
	f := startQuick(t)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.command(1, c)
	f.Parties[1].Vault.RewriteLast(func(e *vault.Event) { e.Attempt[0] ^= 1 })
	two := f.command(2, c)
	f.ok(f.Settle())
	if r := f.Replies[two]; r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "not known up to") {
		t.Errorf("vault 2 says %s", show(r))
	}
	f = startQuick(t)
	c = f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.command(1, c)
	f.Parties[1].Vault.Invent(vault.Event{Kind: 2, Attempt: c.Attempt})
	two = f.command(2, c)
	f.ok(f.Settle())
	if r := f.Replies[two]; r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "ended this attempt") {
		t.Errorf("vault 2 signs in an attempt that vault 1 has released: %s", show(r))
	}
}

// A forked ledger is an incident, once; the vault that shows it gets no signature.
func TestForkedLedger(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	size := len(f.Parties[2].Disk.Entries)
	for range 40 {
		f.frame(1, 2, vault.InnerSync, [16]byte{}, 1, nil, f.Parties[1].Vault.ForgedDelta(1, 0, vault.ReserveEvent(9, 60, 250)))
	}
	if is := f.incidents(2, 1); len(is) != 1 || is[0].Class != "fork" || !f.Parties[2].Vault.Forked(1) {
		t.Fatalf("%d incidents, want 1", len(is))
	}
	if grown := len(f.Parties[2].Disk.Entries) - size; grown != 1 {
		t.Errorf("the log grew by %d entries, want 1", grown)
	}
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 1, 2)
	if r := replies[2]; r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "forked") {
		t.Errorf("vault 2 says %s", show(replies[2]))
	}
	f.works(2, 3)
	f.works(1, 3)
}

// Other deltas that are not what they should be change nothing.
func TestForgedDeltas(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	know := f.Parties[2].Vault.LedgerSeq(1)
	one := f.Parties[1].Vault
	good := vault.ReserveEvent(3, 1, 5)
	for name, d := range map[string][]byte{
		"empty":                   {},
		"another's":               one.ForgedDelta(3, know, good),
		"gap":                     one.ForgedDelta(1, know+1, good),
		"second event is garbage": one.ForgedDelta(1, know, good, []byte{1, 9}),
	} {
		f.frame(1, 2, vault.InnerSync, [16]byte{}, 1, nil, d)
		if got := f.Parties[2].Vault.LedgerSeq(1); got != know {
			t.Errorf("%s: %d events were taken", name, got-know)
		}
	}
	f.blameless()
	// Events whose head is another: the chain that they give is not the peer's.
	f.frame(1, 2, vault.InnerSync, [16]byte{}, 1, nil, one.ForgedDelta(1, know, good))
	if !f.Parties[2].Vault.Forked(1) {
		t.Error("a delta whose head does not follow from its events was taken")
	}
}

// A peer cannot fill this vault's disk at once; what it really has written comes
// over in time.
func TestLedgerFlood(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	var es []vault.Event
	for i := range 600 {
		e := vault.Event{Kind: 1, Attempt: [16]byte{1, byte(i >> 8), byte(i)}, Parties: []mpc.ID{1, 2}}
		for range 60 {
			e.Slots = append(e.Slots, strings.Repeat("x", 250))
		}
		es = append(es, e)
	}
	before := f.Parties[2].Vault.LedgerSeq(1)
	f.Parties[1].Vault.Invent(es...)
	for range 100 {
		f.tellLedger(1, 2)
	}
	f.ok(f.Settle())
	if n := f.Parties[2].Vault.LedgerSeq(1) - before; n == 0 || n > 300 {
		t.Fatalf("vault 2 took %d events of 15 KB at once", n)
	}
	f.blameless()
	for range 60 {
		f.ok(f.Tick(1000))
		f.ok(f.Settle())
	}
	if n, all := f.Parties[2].Vault.LedgerSeq(1), f.Parties[1].Vault.LedgerSeq(1); n != all {
		t.Fatalf("vault 2 knows %d of %d events after a minute", n, all)
	}
	f.works(1, 2)
}

// A peer's early frames take no place of others', and little memory.
func TestEarlyFlood(t *testing.T) {
	f := startQuick(t)
	for i := range 2 * vault.MaxEarly {
		a := [16]byte{7, byte(i >> 8), byte(i)}
		for round := range uint8(4) {
			f.frame(1, 2, vault.InnerSign, a, round, []byte("x"), nil)
			f.frame(1, 2, vault.InnerKeygen, a, round, []byte("x"), nil)
		}
		f.frame(1, 2, vault.InnerSign, a, 0, make([]byte, 100_000), nil)
		f.frame(1, 2, vault.InnerSign, a, 0, []byte("x"), make([]byte, 100_000))
	}
	if n := f.Parties[2].Vault.EarlyCount(); n != vault.MaxEarly {
		t.Errorf("%d frames wait, want %d", n, vault.MaxEarly)
	}
	// Vault 3's frame is early and still there when the command comes.
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	c := f.signCommand(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 2, 3)
	three := f.command(3, c)
	f.ok(f.Settle())
	two := f.command(2, c)
	f.ok(f.Settle())
	f.combine(b, c.Unsigned, map[mpc.ID]*cluster.Reply{2: f.Replies[two], 3: f.Replies[three]})
	f.ok(f.Tick(11_000))
	if n := f.Parties[2].Vault.EarlyCount(); n != 0 {
		t.Errorf("%d frames wait for ever", n)
	}
	// What came over a channel that has ended is forgotten with it.
	f.frame(1, 2, vault.InnerSign, [16]byte{8}, 0, []byte("x"), nil)
	f.Crash(1)
	f.ok(f.Restart(1))
	f.ok(f.Settle())
	if n := f.Parties[2].Vault.EarlyCount(); n != 0 {
		t.Errorf("%d frames of the last channel wait", n)
	}
}

// A pair setup that is used up is made again.
func TestPairSetupUsedUp(t *testing.T) {
	f := startQuick(t)
	f.Parties[1].Vault.ExhaustPair(2)
	for id, r := range f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2) {
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) {
			t.Errorf("vault %d says %s", id, show(r))
		}
	}
	f.works(1, 2)
}

// A peer cannot have one pair setup after the other made: each lets it bet on bits
// of a new Δ, and a failed one bans nobody.
func TestPairSetupsArePaced(t *testing.T) {
	f := startQuick(t)
	f.works(1, 2)
	begin := func(attempt uint32) {
		f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, binary.BigEndian.AppendUint32(nil, attempt))
	}
	for a := range uint32(500) {
		begin(2 + a)
	}
	n := f.Parties[2].Vault.PairAttempt(1)
	if n < 2 || n > 65 {
		t.Fatalf("vault 2 went through %d pair setups at once", n)
	}
	// In the hour that follows it begins one a minute.
	for range 60 {
		f.ok(f.Tick(60_000))
		begin(f.Parties[2].Vault.PairAttempt(1) + 1)
		begin(f.Parties[2].Vault.PairAttempt(1) + 1)
	}
	if m := f.Parties[2].Vault.PairAttempt(1); m < n+30 || m > n+60 {
		t.Errorf("vault 2 began %d pair setups within an hour", m-n)
	}
	// A peer that behaves again is not shut out.
	for range 5 {
		f.ok(f.Tick(60_000))
		f.ok(f.Settle())
	}
	f.works(1, 2)
	f.blameless()
}

// Vault 2's final share of the first version is out. That vault 1, which took
// part, says it never gave its own does not free vault 2 to sign another.
func TestReleaseByALiar(t *testing.T) {
	f := startQuick(t)
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2)
	f.Parties[1].Vault.RewriteLast(func(e *vault.Event) { e.Kind = 2 })
	f.tellLedger(1, 2)
	r := f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 8), 2, 3)
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{2: r[2]})
	f.ok(f.Tick(30_000))
	f.signed(b, unsignedFee(sim.Known, sim.ETH(1), 7, 30_000_000_000), 2, 3)
}
