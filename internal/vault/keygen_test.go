package vault_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

func (f *fixture) keygenCommand(name string) *cluster.Command {
	return &cluster.Command{Kind: cluster.CommandKeygen, Attempt: f.Attempt(), Body: f.KeygenOrder(name, 2).Encode()}
}

func (f *fixture) all(c *cluster.Command) (ids []uint64) {
	f.Helper()
	for _, id := range f.IDs {
		ids = append(ids, f.command(id, c))
	}
	return ids
}

// made demands that all answers are one certificate.
func (f *fixture) made(ids ...uint64) []byte {
	f.Helper()
	var cert []byte
	for _, n := range ids {
		r := f.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeDone || cert != nil && string(cert) != string(r.Body) {
			f.Fatalf("command %d: %s", n, show(r))
		}
		cert = r.Body
	}
	return cert
}

func (f *fixture) aborted(n uint64, class mpc.Class, text string) {
	f.Helper()
	r := f.Replies[n]
	if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(class) || !strings.Contains(r.Detail, text) {
		f.Fatalf("command %d: %s; want an abort: %s", n, show(r), text)
	}
}

// records are the names of records on a vault's disk.
func (f *fixture) records(id mpc.ID, prefix string) (names []string) {
	for n := range f.Parties[id].Disk.Records {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	return names
}

func (f *fixture) keyEntries(id mpc.ID) (n int) {
	for _, b := range f.Parties[id].Disk.Entries {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindKey {
			n++
		}
	}
	return n
}

// A coordinator that runs one attempt twice at one vault makes it look as if that
// vault had said two things in one round. It is not let.
func TestKeygenAttemptReused(t *testing.T) {
	f := startQuick(t)
	c := f.keygenCommand("savings")
	f.command(1, c)
	f.command(2, c)
	f.ok(f.Settle())
	f.command(1, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	f.aborted(f.command(1, c), mpc.Benign, "used before")
	f.command(3, c)
	f.ok(f.Settle())
	f.ok(f.Tick(30_000))
	f.blameless()
	for _, r := range f.Replies {
		if len(r.Culprits) > 0 {
			t.Errorf("vault %d blames %v: %s", r.Vault, r.Culprits, r.Detail)
		}
	}
}

// One order run twice at the same time gives one key, the same at all vaults.
func TestKeygenTwiceAtOnce(t *testing.T) {
	f := startQuick(t)
	c, d := f.keygenCommand("savings"), f.keygenCommand("savings")
	var first, second []uint64
	for i, id := range f.IDs {
		if i%2 == 0 {
			first, second = append(first, f.command(id, c)), append(second, f.command(id, d))
		} else {
			second, first = append(second, f.command(id, d)), append(first, f.command(id, c))
		}
	}
	f.ok(f.Settle())
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	done := 0
	for _, ids := range [][]uint64{first, second} {
		n := 0
		for _, id := range ids {
			if f.Replies[id] == nil {
				t.Fatal("a command hangs")
			}
			if f.Replies[id].Outcome == cluster.OutcomeDone {
				n++
			}
		}
		if n == len(ids) {
			done++
		}
	}
	if done > 1 {
		t.Error("two keys of one name")
	}
	f.made(f.again(f.keygenCommand("savings"))...)
	for _, id := range f.IDs {
		if n := f.keyEntries(id); n != 2 {
			t.Errorf("vault %d has %d keys, want 2", id, n)
		}
	}
}

func (f *fixture) again(c *cluster.Command) []uint64 {
	f.Helper()
	ids := f.all(c)
	f.ok(f.Settle())
	return ids
}

// What a coordinator can make of orders is bounded.
func TestKeygenFlood(t *testing.T) {
	f := startQuick(t)
	for i := range vault.MaxKeygens {
		f.command(1, f.keygenCommand(strings.Repeat("a", i+1)))
	}
	f.aborted(f.command(1, f.keygenCommand("b")), mpc.Benign, "key generations run")
}

// A halted pair generates no key together.
func TestKeygenInQuarantine(t *testing.T) {
	f := startQuick(t)
	f.Parties[1].Vault.CorruptPair(2)
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	f.aborted(f.command(2, f.keygenCommand("savings")), mpc.Benign, "quarantined")
	f.ok(f.Settle())
	f.frame(1, 2, vault.InnerKeygen, [16]byte{9}, 0, []byte("x"), nil)
	f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{0, 0, 0, 9, 1})
	if f.Parties[2].Vault.EarlyCount() != 0 || f.Parties[2].Vault.PairReady(1) {
		t.Error("a frame of a halted peer was looked at")
	}
}

// Vault 3 goes down when the others have all signatures and it has not; the
// coordinator brings it the certificate.
func TestPendingKeyCompleted(t *testing.T) {
	f := startQuick(t)
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, w := range r.Writes {
			if p.ID == 3 && strings.HasPrefix(w.Name, "key/") {
				return sim.ErrCrash
			}
		}
		return nil
	}
	c := f.keygenCommand("savings")
	ids := f.all(c)
	f.ok(f.Settle())
	f.OnReady = nil
	cert := f.made(ids[:2]...)
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	if f.Parties[3].Vault.Pending() != 1 {
		t.Fatal("the pending key is lost")
	}
	bring := func(cert []byte) map[mpc.ID]*cluster.Reply {
		d := *c
		d.Unsigned = cert
		n := f.command(3, &d)
		f.ok(f.Settle())
		return map[mpc.ID]*cluster.Reply{3: f.Replies[n]}
	}
	f.refused("keygen.certificate", bring(flip(cert, len(cert)-1)))
	f.refused("keygen.certificate", bring(cert[:len(cert)-1]))
	f.refused("keygen.certificate", bring(f.x.Certificate.Encode()))
	n := f.all(&cluster.Command{Kind: cluster.CommandKeygen, Attempt: c.Attempt, Body: c.Body, Unsigned: cert})
	f.ok(f.Settle())
	f.made(n...)
	if f.Parties[3].Vault.Pending() != 0 || len(f.records(3, "pending/")) != 0 || len(f.records(3, "key/")) != 2 {
		t.Error("the pending record is still there")
	}
	f.Crash(3)
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	f.made(append(n, f.again(c)...)...)
}

// The certificate comes from outside while the vault still waits for signatures.
func TestPendingKeyCompletedMeanwhile(t *testing.T) {
	f := startQuick(t)
	lose := false
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, w := range r.Writes {
			lose = lose || p.ID == 3 && strings.HasPrefix(w.Name, "pending/")
		}
		return nil
	}
	f.Intercept = func(fr sim.Frame) bool { return !lose || fr.To != 3 }
	c := f.keygenCommand("savings")
	ids := f.all(c)
	// Frames on the way to vault 3 when it begins to wait are lost, too.
	for len(f.Frames)+len(f.Devices) > 0 {
		if lose {
			kept := f.Frames[:0]
			for _, fr := range f.Frames {
				if fr.To != 3 {
					kept = append(kept, fr)
				}
			}
			f.Frames = kept
		}
		switch {
		case len(f.Devices) > 0:
			f.ok(f.Answer(0))
		case len(f.Frames) > 0:
			f.ok(f.Deliver(0))
		}
	}
	f.OnReady, f.Intercept = nil, nil
	cert := f.made(ids[:2]...)
	if f.Replies[ids[2]] != nil {
		t.Fatalf("vault 3 says %s", show(f.Replies[ids[2]]))
	}
	d := *c
	d.Unsigned = cert
	n := f.command(3, &d)
	f.ok(f.Settle())
	f.made(append(ids, n)...)
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	if k := f.keyEntries(3); k != 2 || f.Parties[3].Vault.SessionCount() != 0 {
		t.Errorf("vault 3 logged %d keys, want 2; %d sessions run", k, f.Parties[3].Vault.SessionCount())
	}
}

// What is left of generations that failed at the end does not pile up.
func TestPendingKeysGo(t *testing.T) {
	f := startQuick(t)
	down := 0
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, w := range r.Writes {
			if strings.HasPrefix(w.Name, "pending/") && w.Value != nil {
				down++
			}
		}
		return nil
	}
	for range 3 {
		down = 0
		f.Intercept = func(sim.Frame) bool { return down < 3 }
		f.all(f.keygenCommand("savings"))
		for len(f.Frames)+len(f.Devices) > 0 && down < 3 {
			if len(f.Devices) > 0 {
				f.ok(f.Answer(0))
			} else {
				f.ok(f.Deliver(0))
			}
		}
		f.Frames, f.Devices = nil, nil
		f.Intercept = nil
		for _, id := range f.IDs { // their devices' answers are lost with them
			f.Crash(id)
			f.ok(f.Restart(id))
		}
		f.ok(f.Settle())
		for _, id := range f.IDs {
			if n := len(f.records(id, "pending/")); n != 1 || f.Parties[id].Vault.Pending() != 1 {
				t.Fatalf("vault %d keeps %d pending keys, want 1", id, n)
			}
		}
	}
	f.made(f.again(f.keygenCommand("savings"))...)
	for _, id := range f.IDs {
		if n := len(f.records(id, "pending/")); n != 0 || f.Parties[id].Vault.Pending() != 0 {
			t.Errorf("vault %d keeps %d pending keys", id, n)
		}
	}
}

// A peer that misbehaves without end fills no log.
func TestIncidentFlood(t *testing.T) {
	f := startQuick(t)
	for i := range vault.MaxIncidents + 8 {
		c := f.keygenCommand("savings")
		n := f.command(2, c)
		f.frame(1, 2, vault.InnerKeygen, c.Attempt, 0, []byte{1}, nil)
		f.frame(1, 2, vault.InnerKeygen, c.Attempt, 0, []byte{1}, nil) // the same again is no crime
		f.frame(1, 2, vault.InnerKeygen, c.Attempt, 0, []byte{2}, nil)
		f.aborted(n, mpc.Attributed, "two different messages")
		if i == 0 && len(f.incidents(2, 1)) != 1 {
			t.Fatal("no incident")
		}
	}
	if n := len(f.incidents(2, 1)); n != vault.MaxIncidents {
		t.Errorf("%d incidents, want %d", n, vault.MaxIncidents)
	}
}

// Orders that are not what they should be.
func TestKeygenRefused(t *testing.T) {
	f := startQuick(t)
	order := func(edit func(*governance.KeygenOrder), by string) *cluster.Command {
		o := f.KeygenOrder("savings", 2)
		edit(o)
		k := sim.Person(f.Seed, by)
		o.Author, o.Key = by, sim.PublicKey(k)
		o.Signature = sim.SignStatement(k, o.Statement())
		return &cluster.Command{Kind: cluster.CommandKeygen, Attempt: f.Attempt(), Body: o.Encode()}
	}
	same := func(*governance.KeygenOrder) {}
	for _, c := range []struct {
		name, code string
		command    *cluster.Command
	}{
		{"garbage", "keygen.order", &cluster.Command{Kind: cluster.CommandKeygen, Body: []byte("x")}},
		{"no admin", "governance.admin", order(same, "alice")},
		{"name taken", "keygen.name", order(func(o *governance.KeygenOrder) { o.Name, o.Created = "treasury", o.Created-1 }, "ada")},
		{"not of ours", "keygen.parties", order(func(o *governance.KeygenOrder) { o.Parties = []uint16{2, 3} }, "ada")},
		{"low threshold", "keygen.invalid", order(func(o *governance.KeygenOrder) { o.Threshold = 1 }, "ada")},
		{"purpose", "keygen.invalid", order(func(o *governance.KeygenOrder) { o.Purpose = "x" }, "ada")},
	} {
		n := f.command(1, c.command)
		r := f.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeRefused {
			t.Errorf("%s: %s", c.name, show(r))
			continue
		}
		f.refused(c.code, map[mpc.ID]*cluster.Reply{1: r})
	}
}

// Messages of a key generation that lie: their author is named.
func TestKeygenLies(t *testing.T) {
	f := startQuick(t)
	c := f.keygenCommand("savings")
	two := f.command(2, c)
	f.frame(1, 2, vault.InnerKeygen, c.Attempt, 0, []byte("x"), nil)
	f.command(3, c)
	f.ok(f.Settle())
	f.aborted(two, mpc.Attributed, "dkg")

	// A signature on the certificate that is none.
	f = startQuick(t)
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, w := range r.Writes {
			if p.ID == 1 && strings.HasPrefix(w.Name, "pending/") {
				return sim.ErrCrash
			}
		}
		return nil
	}
	c = f.keygenCommand("savings")
	two = f.command(2, c)
	f.frame(1, 2, vault.InnerKeygen, c.Attempt, 4, nil, []byte("x"))
	f.command(1, c)
	f.command(3, c)
	f.ok(f.Settle())
	f.aborted(two, mpc.Attributed, "certificate")
	if r := f.Replies[two]; len(r.Culprits) != 1 || r.Culprits[0] != 1 {
		t.Errorf("culprits %v", r.Culprits)
	}
}

// A generation that cannot begin, or whose device fails, or that is abandoned
// while the device signs.
func TestKeygenEnds(t *testing.T) {
	f := startQuick(t)
	f.Crash(3)
	f.Crash(1)
	f.ok(f.Restart(1))
	f.ok(f.Settle())
	f.aborted(f.command(1, f.keygenCommand("savings")), mpc.Benign, "waits until 1 more of the vaults 3 say")
	f.ok(f.Restart(3))
	f.ok(f.Settle())

	pending := func(then func(p *sim.Party)) {
		f.OnReady = func(p *sim.Party, r vault.Ready) error {
			for _, w := range r.Writes {
				if p.ID == 2 && strings.HasPrefix(w.Name, "pending/") {
					then(p)
				}
			}
			return nil
		}
	}
	pending(func(p *sim.Party) { p.Device.Down = true })
	ids := f.all(f.keygenCommand("savings"))
	f.ok(f.Settle())
	f.aborted(ids[1], mpc.Benign, "device does not sign")
	f.Parties[2].Device.Down, f.OnReady = false, nil
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	f.aborted(ids[0], mpc.Benign, "D4 of [2]")

	c, waits := f.keygenCommand("savings"), false
	pending(func(*sim.Party) { waits = true })
	ids = f.all(c)
	for !waits {
		if len(f.Devices) > 0 {
			f.ok(f.Answer(0))
		} else {
			f.ok(f.Deliver(0))
		}
	}
	f.OnReady = nil
	f.command(2, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	f.aborted(ids[1], mpc.Benign, "abandoned")
	f.ok(f.Settle())
	f.ok(f.Tick(30_000))
	f.blameless()
	f.made(f.again(f.keygenCommand("savings"))...)
}

// A party starts anew in the middle.
func TestKeygenPeerRestarts(t *testing.T) {
	f := startQuick(t)
	ids := f.all(f.keygenCommand("savings"))
	for range 4 {
		f.ok(f.Deliver(0))
	}
	f.Crash(3)
	f.ok(f.Restart(3))
	f.ok(f.Settle())
	f.aborted(ids[0], mpc.Benign, "started anew")
	f.aborted(ids[1], mpc.Benign, "started anew")
	f.blameless()
	f.made(f.again(f.keygenCommand("savings"))...)
}
