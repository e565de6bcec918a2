package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
)

// startFive is a cluster of five vaults with a wallet 2-of-3 on the first three.
func startFive(t *testing.T) *fixture {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	w, err := sim.New(5, 5, sim.Roster(5), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w}
	f.x, err = w.KeygenAmong("treasury", 2, 1, 2, 3)
	f.ok(err)
	return f
}

func (f *fixture) order(action governance.Action, threshold int, parties ...mpc.ID) *governance.SignedChange {
	f.Helper()
	s, err := f.OrderChange(f.x, "treasury", action, threshold, parties...)
	f.ok(err)
	return s
}

func (f *fixture) handOver(s *governance.SignedChange, dealers ...mpc.ID) {
	f.Helper()
	x, err := f.Handover(f.x, s, dealers...)
	f.ok(err)
	f.x = x
	f.ok(f.Settle())
}

// A wallet goes from 2 of 3 to 3 of 5 and back to others; refreshed in between. Its
// address stays, old shares leave every disk, and a restart changes nothing.
func TestLifecycle(t *testing.T) {
	f := startFive(t)
	f.works(1, 2)
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 3)
	if f.x.Certificate.Epoch != 2 {
		t.Fatalf("epoch %d", f.x.Certificate.Epoch)
	}
	f.works(2, 3)
	f.handOver(f.order(governance.Reshare, 3, 1, 2, 3, 4, 5), 1, 3)
	f.works(3, 4, 5)
	f.works(1, 2, 5)
	for _, id := range f.IDs {
		if n := len(f.records(id, "key/")) + len(f.records(id, "share/")); n != 1 {
			t.Errorf("vault %d has %d shares on disk, want that of the present epoch", id, n)
		}
		if n := len(f.records(id, "candidate/")); n != 0 {
			t.Errorf("vault %d has %d candidates on disk", id, n)
		}
	}
	f.handOver(f.order(governance.Reshare, 2, 3, 4, 5), 1, 2, 5)
	f.works(4, 5)
	for _, id := range []mpc.ID{1, 2} {
		if n := len(f.records(id, "key/")) + len(f.records(id, "share/")); n != 0 {
			t.Errorf("vault %d, which left, still has %d shares on disk", id, n)
		}
	}
	for _, id := range f.IDs {
		f.Crash(id)
	}
	for _, id := range f.IDs {
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.works(3, 4)
	f.blameless()
	// Back to one who left.
	f.handOver(f.order(governance.Reshare, 2, 1, 2, 3), 3, 4)
	f.works(1, 2)
}

// What a coordinator asks for without the admins' word, or against it, is refused,
// and the wallet works as before.
func TestHandoverRefused(t *testing.T) {
	f := startFive(t)
	s := f.order(governance.Reshare, 2, 1, 2, 4)
	order := s.Change.Hash()
	for _, id := range f.IDs {
		f.ok(f.CatchUp(id))
	}
	f.ok(f.Settle())
	other, err := f.KeygenAmong("savings", 2, 1, 2, 4)
	f.ok(err)
	ask := func(id mpc.ID, edit func(h *cluster.Handover, c *cluster.Command)) *cluster.Reply {
		h := &cluster.Handover{Order: order, Certificate: f.x.Certificate.Encode()}
		c := &cluster.Command{Kind: cluster.CommandHandover, Attempt: f.Attempt(), Signers: []uint16{1, 2}}
		edit(h, c)
		if c.Body == nil {
			c.Body = h.Encode()
		}
		return f.Replies[f.command(id, c)]
	}
	unsigned, err := dkg.DecodeCertificate(f.x.Certificate.Encode())
	f.ok(err)
	for name, c := range map[string]struct {
		id      mpc.ID
		outcome cluster.Outcome
		says    string
		edit    func(h *cluster.Handover, c *cluster.Command)
	}{
		"garbage":                  {1, cluster.OutcomeRefused, "handover.encoding", func(_ *cluster.Handover, c *cluster.Command) { c.Body = []byte{1} }},
		"nothing ordered":          {1, cluster.OutcomeAborted, "no change", func(h *cluster.Handover, _ *cluster.Command) { h.Order[0]++ }},
		"too few dealers":          {1, cluster.OutcomeRefused, "1 dealers", func(_ *cluster.Handover, c *cluster.Command) { c.Signers = []uint16{1} }},
		"a dealer from outside":    {1, cluster.OutcomeRefused, "dealer 4", func(_ *cluster.Handover, c *cluster.Command) { c.Signers = []uint16{1, 4} }},
		"no dealers":               {1, cluster.OutcomeRefused, "0 participants", func(_ *cluster.Handover, c *cluster.Command) { c.Signers = nil }},
		"a vault with no part":     {5, cluster.OutcomeAborted, "no part", func(*cluster.Handover, *cluster.Command) {}},
		"newcomer, no certificate": {4, cluster.OutcomeRefused, "handover.certificate", func(h *cluster.Handover, _ *cluster.Command) { h.Certificate = nil }},
		"newcomer, another key's":  {4, cluster.OutcomeRefused, "handover.certificate", func(h *cluster.Handover, _ *cluster.Command) { h.Certificate = other.Certificate.Encode() }},
		"newcomer, not certified":  {4, cluster.OutcomeRefused, "lacks the signature", func(h *cluster.Handover, _ *cluster.Command) { h.Certificate = stripped(unsigned) }},
		"attempt that ran before":  {1, cluster.OutcomeAborted, "used before", func(_ *cluster.Handover, c *cluster.Command) { c.Attempt = f.keygenCommandOf(1) }},
	} {
		r := ask(c.id, c.edit)
		if r == nil || r.Outcome != c.outcome || !strings.Contains(sim.Describe(r), c.says) {
			t.Errorf("%s: %s, want %s", name, sim.Describe(r), c.says)
		}
	}
	f.calm()
	f.works(1, 2)
	f.handOver(s, 1, 2)
	// The same order again is done already; an order for an ended epoch is not carried out.
	old := f.x
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 4)
	f.x = old
	if r := ask(1, func(*cluster.Handover, *cluster.Command) {}); r == nil || r.Outcome != cluster.OutcomeRefused || !strings.Contains(sim.Describe(r), "handover.epoch") {
		t.Errorf("an order for an ended epoch: %s", sim.Describe(r))
	}
	f.blameless()
}

// stripped is a certificate without its signatures.
func stripped(c *dkg.Certificate) []byte {
	d := *c
	e := dkg.Certificate{
		Suite: d.Suite, Origin: d.Origin, Purpose: d.Purpose, SID: d.SID, Epoch: d.Epoch, Threshold: d.Threshold, Parties: d.Parties,
		PublicShares: d.PublicShares, Feldman: d.Feldman, RosterHash: d.RosterHash, ChainCommitment: d.ChainCommitment, Echo: d.Echo,
	}
	return e.Encode()
}

// keygenCommandOf is an attempt that a vault has taken part in.
func (f *fixture) keygenCommandOf(id mpc.ID) [16]byte {
	c := &cluster.Command{Kind: cluster.CommandKeygen, Attempt: f.Attempt(), Body: f.KeygenOrder("spare", 3).Encode()}
	f.command(id, c)
	f.command(id, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
	return c.Attempt
}

// A newcomer that never answers: nobody becomes READY, everybody gives up, and the
// old epoch goes on; so does the next attempt, once it is there.
func TestSilentNewcomer(t *testing.T) {
	f := startFive(t)
	s := f.order(governance.Reshare, 3, 1, 2, 3, 4, 5)
	f.Crash(5)
	ids, err := f.StartHandover(f.x, s, 1, 2)
	f.ok(err)
	f.calm()
	for id, n := range ids {
		if r := f.Replies[n]; id != 5 && (r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "[5]")) {
			t.Errorf("vault %d: %s, want it to name vault 5", id, show(r))
		}
	}
	f.works(1, 2)
	f.works(2, 3)
	f.ok(f.Restart(5))
	f.calm()
	f.handOver(s, 2, 3)
	f.works(3, 4, 5)
	f.blameless()
}

// A vault that lost everything is given up: those who are left, as many as sign,
// give its place to a spare one.
func TestLostVaultIsReplaced(t *testing.T) {
	f := startFive(t)
	f.Crash(2)
	delete(f.Parties, 2) // for good
	f.IDs = []mpc.ID{1, 3, 4, 5}
	s := f.order(governance.Reshare, 2, 1, 3, 4)
	_, err := f.StartHandover(f.x, s, 1, 3)
	f.ok(err)
	f.calm()
	f.x, err = f.Next(f.Parties[1].Vault.KeyCertificate("treasury"))
	f.ok(err)
	f.everywhere(2, []mpc.ID{1, 3, 4})
	f.works(3, 4)
	f.works(1, 4)
}

// While an epoch is closed, nothing is signed in it, and a restart forgets nothing:
// what is asked then is told to come again.
func TestClosedEpochSignsNothing(t *testing.T) {
	f := startFive(t)
	s := f.order(governance.Refresh, 0)
	_, err := f.StartHandover(f.x, s, 1, 2, 3)
	f.ok(err)
	// Whoever closes first hears and says nothing from then on.
	closed := func(id mpc.ID) bool {
		x := f.Parties[id].Vault
		return x != nil && x.KeyEpoch("treasury") == 1 && !x.MaySign("treasury")
	}
	first := mpc.ID(0)
	for first == 0 && len(f.Frames)+len(f.Devices) > 0 {
		if len(f.Devices) > 0 {
			f.ok(f.Answer(0))
		} else {
			f.ok(f.Deliver(0))
		}
		for _, id := range []mpc.ID{1, 2, 3} {
			if closed(id) {
				first = id
			}
		}
	}
	if first == 0 {
		t.Fatal("nobody has closed the epoch")
	}
	mute := func(fr sim.Frame) bool { return fr.To != first && fr.From != first }
	f.Frames = slices.DeleteFunc(f.Frames, func(fr sim.Frame) bool { return !mute(fr) })
	f.Intercept = mute
	f.ok(f.Settle())
	peer := uint16(first%3 + 1)
	signers := []uint16{min(uint16(first), peer), max(uint16(first), peer)}
	for _, said := range []string{"retry", "has started anew"} {
		r := f.Replies[f.command(first, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 7), signers...))]
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, said) {
			t.Fatalf("it says %s", show(r))
		}
		f.Crash(first)
		f.ok(f.Restart(first))
		f.ok(f.Settle())
		if !closed(first) {
			t.Fatal("a restart opened the epoch again")
		}
	}
	f.Intercept = nil
	f.calm()
	f.everywhere(2, []mpc.ID{1, 2, 3})
	f.works(1, 3)
	f.blameless()
}

// Votes on a plan that nobody ordered come to nothing.
func TestUnorderedPlanIsIgnored(t *testing.T) {
	f := startFive(t)
	p := handover.Plan{
		Key: f.x.ID, From: 1, Previous: f.x.Certificate.Digest(), Old: f.x.Certificate.Parties, OldThreshold: 2, Dealers: []mpc.ID{1, 2},
		New: []mpc.ID{1, 2, 4}, NewThreshold: 2, Order: f.order(governance.Reshare, 2, 1, 2, 5).Change.Hash(),
	}
	for _, id := range f.IDs {
		f.ok(f.CatchUp(id))
	}
	f.ok(f.Settle())
	records := len(f.records(3, "handover/"))
	f.frame(1, 3, vault.InnerVotes, [16]byte{}, 0, nil, (&handover.Bundle{Plan: p, Ask: true}).Encode())
	f.frame(1, 3, vault.InnerVotes, [16]byte{}, 0, nil, []byte("x"))
	if len(f.records(3, "handover/")) != records {
		t.Error("a vault joined a plan that is not what its order says")
	}
	p.New = []mpc.ID{1, 2, 5}
	f.frame(1, 3, vault.InnerVotes, [16]byte{}, 0, nil, (&handover.Bundle{Plan: p, Ask: true}).Encode())
	if len(f.records(3, "handover/")) != records+1 {
		t.Error("a vault did not join a plan that is as its order says")
	}
	f.works(2, 3)
}

// calm lets the vaults finish what they can finish by themselves.
func (f *fixture) calm() {
	f.Helper()
	f.ok(f.Settle())
	for range 6 {
		f.ok(f.Tick(6_000))
		f.ok(f.Settle())
	}
}

// somebodySigns demands that t parties of the present epoch sign.
func (f *fixture) somebodySigns(sets ...[]mpc.ID) {
	f.Helper()
	said := ""
	for _, signers := range sets {
		f.nonce++
		b := f.Transfer(f.x, sim.Known, sim.ETH(1))
		unsigned := sim.Unsigned(sim.Known, sim.ETH(1), f.nonce)
		replies := f.sign(b, unsigned, signers...)
		x := *f.x
		x.Parties = f.IDs
		if _, err := sim.Combine(&x, f.digest(b, unsigned), replies); err == nil {
			return
		}
		for _, r := range replies {
			said += show(r) + "; "
		}
		f.ok(f.Tick(100))
		f.ok(f.Settle())
	}
	f.Fatalf("nobody signs: %s", said)
}

// A vault dies at each of its writes while the wallet goes from 2 of 3 to 3 of 5, or
// back, before or after it. At every moment the old or the new epoch signs; in the
// end everybody is in the new one, and nobody is blamed.
func TestPitfall52_CrashAtEveryWriteOfAReshare(t *testing.T) {
	f := startFive(t)                       // one cluster for all crashes: each must leave a sound one
	for _, victim := range []mpc.ID{1, 4} { // one who deals and receives; one who comes and leaves
		for k := 1; f.crashInReshare(victim, k, k%2 == 0); k++ {
			if k > 40 {
				t.Fatal("a reshare takes no end of writes")
			}
		}
	}
	f.blameless()
}

// crashInReshare says whether the vault came to its k-th write.
func (f *fixture) crashInReshare(victim mpc.ID, k int, before bool) (crashed bool) {
	f.Helper()
	epoch := f.x.Certificate.Epoch
	parties, t := []mpc.ID{1, 2, 3, 4, 5}, 3
	if len(f.x.Certificate.Parties) == 5 {
		parties, t = parties[:3], 2
	}
	n := 0
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		if p.ID != victim || len(r.Writes) == 0 || crashed {
			return nil
		}
		if n++; n < k {
			return nil
		}
		if crashed = true; !before {
			p.Disk.Write(r)
		}
		return sim.ErrCrash
	}
	s := f.order(governance.Reshare, t, parties...)
	dealers := f.x.Certificate.Parties[:f.x.Certificate.Threshold]
	_, err := f.StartHandover(f.x, s, dealers...)
	f.ok(err)
	f.ok(f.Settle())
	f.OnReady = nil
	if crashed {
		// Three that live are enough for either epoch; of 2 of 3, two are.
		live := slices.DeleteFunc(slices.Clone(f.IDs), func(id mpc.ID) bool { return id == victim })
		f.somebodySigns(live[:2], live[:3], live[:2], live[:3], live[len(live)-3:])
		f.ok(f.Restart(victim))
	}
	f.calm()
	for range 2 { // an attempt that was given up is made once more
		if f.Parties[2].Vault.KeyEpoch("treasury") == epoch {
			_, err := f.StartHandover(f.x, s, f.x.Certificate.Parties[len(f.x.Certificate.Parties)-f.x.Certificate.Threshold:]...)
			f.ok(err)
			f.calm()
		}
	}
	f.everywhere(epoch+1, parties)
	next := f.Parties[2].Vault.KeyCertificate("treasury")
	if f.x, err = f.Next(next); err != nil {
		f.Fatal(err)
	}
	f.somebodySigns(parties[len(parties)-t:], parties[len(parties)-t:])
	return crashed
}

// everywhere demands that exactly these vaults hold a share, of this epoch, and
// that no other share is on any disk.
func (f *fixture) everywhere(epoch uint64, parties []mpc.ID) {
	f.Helper()
	for _, id := range f.IDs {
		want, on := uint64(0), 0
		if slices.Contains(parties, id) {
			want, on = epoch, 1
		}
		if got := f.Parties[id].Vault.KeyEpoch("treasury"); got != want {
			f.Fatalf("vault %d has a share of epoch %d, want %d", id, got, want)
		}
		if n := len(f.records(id, "key/")) + len(f.records(id, "share/")) + len(f.records(id, "candidate/")); n != on {
			f.Fatalf("vault %d has %d shares on disk, want %d", id, n, on)
		}
	}
}

// A reshare does not help a coordinator who wants one request paid twice: those who
// hold shares afterwards know what was signed before.
func TestReshareDoesNotEscapeVersions(t *testing.T) {
	f := startFive(t)
	f.Intercept = func(fr sim.Frame) bool { return fr.To != 4 && fr.To != 5 || f.x.Certificate.Epoch != 1 }
	b := f.Transfer(f.x, sim.Known, sim.ETH(1))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	f.Intercept = nil
	f.handOver(f.order(governance.Reshare, 2, 3, 4, 5), 1, 3)
	f.refused("version.conflict", f.sign(b, sim.Unsigned(sim.Known, sim.ETH(1), 5), 4, 5))
	f.signed(b, sim.Unsigned(sim.Known, sim.ETH(1), 4), 4, 5)
}

// The ledgers of those who closed the epoch are needed, all that the commit
// certificate names: without them nothing is reserved.
func TestImportIsAwaited(t *testing.T) {
	f := startFive(t)
	f.works(1, 2)
	s := f.order(governance.Reshare, 2, 3, 4, 5)
	_, err := f.StartHandover(f.x, s, 1, 2)
	f.ok(err)
	f.Intercept = func(fr sim.Frame) bool {
		return f.Parties[4].Vault.KeyEpoch("treasury") != 2 || !(fr.From == 1 || fr.From == 2) || fr.To != 4
	}
	f.ok(f.Settle())
	for id, r := range f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 9), 4, 5) {
		if id == 4 && (r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "ledger of vault")) {
			t.Errorf("vault 4 says %s", show(r))
		}
	}
	f.Intercept = nil
	f.calm()
	f.x.Parties = f.IDs
	f.works(4, 5)
}

// What was learnt of a pair setup in one epoch is worthless in the next: the pairs
// of the key's parties are made anew, and no others.
func TestRefreshMakesPairSetupsAnew(t *testing.T) {
	f := startFive(t)
	was := map[[2]mpc.ID][32]byte{}
	for _, a := range f.IDs {
		for _, b := range f.IDs {
			if a != b {
				was[[2]mpc.ID{a, b}] = f.Parties[a].Vault.PairHash(b)
			}
		}
	}
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 3)
	for pair, h := range was {
		if !f.Parties[pair[0]].Vault.PairReady(pair[1]) {
			t.Fatalf("vaults %v have no pair setup", pair)
		}
		if now := f.Parties[pair[0]].Vault.PairHash(pair[1]); (now != h) != (pair[0] <= 3 && pair[1] <= 3) {
			t.Errorf("pair setup of %v: the same %v", pair, now == h)
		}
	}
	f.works(1, 2)
	f.works(2, 3)
}

// An order must be about this wallet, by its name, and about this very epoch of it.
func TestOrderAboutSomethingElse(t *testing.T) {
	f := startFive(t)
	_, err := f.KeygenAmong("savings", 2, 1, 4)
	f.ok(err)
	other, err := dkg.DecodeCertificate(f.x.Certificate.Encode())
	f.ok(err)
	other.SID[0]++
	x := *f.x
	x.Certificate = other
	for name, c := range map[string]struct {
		x    *sim.Wallet
		name string
		id   mpc.ID
		says string
	}{
		"another name":             {f.x, "spare", 1, "handover.name"},
		"another wallet's name":    {f.x, "savings", 4, "handover.name"},
		"another epoch 1":          {&x, "treasury", 1, "handover.certificate"},
		"another epoch 1, to come": {&x, "treasury", 4, "handover.certificate"},
	} {
		s, err := f.OrderChange(c.x, c.name, governance.Reshare, 2, 1, 2, 4)
		f.ok(err)
		f.ok(f.CatchUp(c.id))
		f.ok(f.Settle())
		h := cluster.Handover{Order: s.Change.Hash(), Certificate: f.x.Certificate.Encode()}
		r := f.Replies[f.command(c.id, &cluster.Command{Kind: cluster.CommandHandover, Attempt: f.Attempt(), Signers: []uint16{1, 2}, Body: h.Encode()})]
		if r == nil || r.Outcome != cluster.OutcomeRefused || !strings.Contains(sim.Describe(r), c.says) {
			t.Errorf("%s: %s, want %s", name, sim.Describe(r), c.says)
		}
	}
}

// Who closes an epoch ends at once what it signs in it.
func TestClosingEndsSessions(t *testing.T) {
	f := startFive(t)
	s := f.order(governance.Refresh, 0)
	for _, id := range []mpc.ID{1, 2, 3} {
		f.ok(f.CatchUp(id))
	}
	f.ok(f.Settle())
	n := f.command(1, f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 7), 1, 2))
	f.handOver(s, 1, 2, 3)
	f.aborted(n, mpc.Benign, "goes to epoch 2")
	f.works(1, 2)
}

// A certificate is voted for only if it is of the epoch that the plan leads to, of
// the same public key, and without signatures.
func TestNewCertificateIsChecked(t *testing.T) {
	f := startFive(t)
	savings, err := f.KeygenAmong("savings", 2, 1, 2, 3)
	f.ok(err)
	first := f.x.Certificate
	f.handOver(f.order(governance.Refresh, 0), 1, 2, 3)
	var commit *handover.Bundle
	for _, b := range f.Parties[1].Disk.Entries {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindEpoch {
			x, err := audit.DecodeEpochEntry(e.Body)
			f.ok(err)
			commit, err = handover.DecodeBundle(x.Commit)
			f.ok(err)
		}
	}
	one := f.Parties[1].Vault
	f.ok(one.CheckNewCertificate(&commit.Plan, commit.Body, first))
	for name, edit := range map[string]func(p *handover.Plan){
		"another epoch":     func(p *handover.Plan) { p.From++ },
		"another before it": func(p *handover.Plan) { p.Previous[0]++ },
		"other parties":     func(p *handover.Plan) { p.New = []mpc.ID{1, 2, 4} },
		"another threshold": func(p *handover.Plan) { p.NewThreshold = 3 },
	} {
		p := commit.Plan
		edit(&p)
		if one.CheckNewCertificate(&p, commit.Body, first) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if one.CheckNewCertificate(&commit.Plan, f.x.Certificate.Encode(), first) == nil {
		t.Error("a certificate with signatures is taken")
	}
	if one.CheckNewCertificate(&commit.Plan, commit.Body, savings.Certificate) == nil {
		t.Error("a certificate of another public key is taken")
	}
}
