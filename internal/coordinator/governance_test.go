package coordinator

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

// own is a fixture with vaults of its own: governance changes them for good.
func own(t *testing.T, s uint64) *fixture {
	t.Helper()
	v := newVaults(t, s)
	t.Cleanup(v.Close)
	order := v.KeygenOrder("treasury", 2)
	return fixtureOf(t, v, order, devnode.Options{}, nil)
}

// upTo waits until the vaults have applied that many changes.
func (f *fixture) upTo(seq uint64, vaults ...uint16) {
	f.t.Helper()
	for range 20000 {
		n := 0
		for _, s := range f.co.Statuses(f.t.Context()) {
			if slices.Contains(vaults, s.Vault.ID) && s.Err == nil && s.Status.GovernanceSeq == seq {
				n++
			}
		}
		if n == len(vaults) {
			return
		}
	}
	f.t.Fatalf("vaults %v are not at change %d: %+v", vaults, seq, f.co.Statuses(f.t.Context()))
}

// TestChange: signatures are collected, the quorum puts the change in force, every
// vault gets it, and one that was away gets it later.
func TestChange(t *testing.T) {
	f := own(t, seed+2)
	f.v.Crash(3)
	// Before: 50 ETH is too much.
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(50))).ID, Denied)
	d := sim.Policy()
	d.Rules = append(d.Rules, policy.Rule{Name: "everything", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{Effect: policy.Allow}})
	d.Sort()
	both := f.change(d, "ada", "ben")
	one := &governance.SignedChange{Change: both.Change, Signatures: both.Signatures[:1]}
	two := &governance.SignedChange{Change: both.Change, Signatures: both.Signatures[1:]}
	if x, err := f.co.Change(t.Context(), one); err != nil || x.Applied || len(x.Signed.Signatures) != 1 {
		t.Fatalf("the first signature: %+v, %v", x, err)
	}
	if f.co.Governance().Seq != 0 {
		t.Error("one signature was enough")
	}
	f.restart()
	forged := *two
	forged.Signatures = slices.Clone(two.Signatures)
	forged.Signatures[0].Signature.Bytes = slices.Clone(forged.Signatures[0].Signature.Bytes)
	forged.Signatures[0].Signature.Bytes[3]++
	if _, err := f.co.Change(t.Context(), &forged); !errors.Is(err, &refusal.Refusal{Code: "identity.signature"}) {
		t.Errorf("a forged signature: %v", err)
	}
	if all, err := f.co.Changes(t.Context()); err != nil || len(all) != 1 || len(all[0].Signed.Signatures) != 1 {
		t.Errorf("it was kept: %+v, %v", all, err)
	}
	if x, err := f.co.Change(t.Context(), two); err != nil || !x.Applied || len(x.Signed.Signatures) != 2 {
		t.Fatalf("the second signature: %+v, %v", x, err)
	}
	if x, err := f.co.Change(t.Context(), two); err != nil || !x.Applied {
		t.Errorf("the same again: %+v, %v", x, err)
	}
	f.upTo(1, 1, 2)
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(50))).ID, Confirmed)
	// The vault that was away catches up by itself.
	f.restartVault(3)
	f.upTo(1, 3)
	f.restart()
	if f.co.Governance().Seq != 1 {
		t.Error("the change is forgotten")
	}
}

// TestCatchUpBeforeSigning: a vault that lags is brought up to date by the request
// that needs it.
func TestCatchUpBeforeSigning(t *testing.T) {
	f := own(t, seed+3)
	// Nobody brings the change to vaults 2 and 3 for now.
	f.v.Deafen(2, 3)
	d := sim.Policy()
	d.Rules = append(d.Rules, policy.Rule{Name: "everything", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{Effect: policy.Allow}})
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "cleo")); err != nil {
		t.Fatal(err)
	}
	f.upTo(1, 1)
	f.v.Crash(1)
	f.v.Heal()
	f.co.peers.forget()
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(50))).ID, Confirmed)
	f.upTo(1, 2, 3)
}

// TestBadChanges leave nothing behind.
func TestBadChanges(t *testing.T) {
	f := newFixture(t)
	d := sim.Policy()
	change := func(edit func(*governance.Change), who ...string) *governance.SignedChange {
		s := f.change(d)
		edit(&s.Change)
		for _, w := range who {
			k := sim.Person(seed, w)
			s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
		}
		s.Sort()
		return s
	}
	none := func(*governance.Change) {}
	broken := sim.Policy()
	broken.Rules[1].Then.Require[0].Group = "nobody"
	for name, c := range map[string]struct {
		s    *governance.SignedChange
		code string
	}{
		"cluster":   {change(func(c *governance.Change) { c.Cluster[0]++ }, "ada", "ben"), "change.cluster"},
		"seq":       {change(func(c *governance.Change) { c.Seq = 2 }, "ada", "ben"), "change.seq"},
		"prev":      {change(func(c *governance.Change) { c.Prev[0]++ }, "ada", "ben"), "change.prev"},
		"body":      {change(func(c *governance.Change) { c.Body = []byte{1, 2} }, "ada"), "change.body"},
		"group":     {change(func(c *governance.Change) { c.Body = broken.Encode() }, "ada"), "change.body"},
		"author":    {change(func(c *governance.Change) { c.Author = sim.Trader }, "ada"), "governance.admin"},
		"signer":    {change(none, "ada", "bob"), "governance.admin"},
		"nobody":    {change(none), "change.quorum"},
		"duplicate": {change(none, "ada", "ada"), "change.duplicate"},
	} {
		if _, err := f.co.Change(t.Context(), c.s); !errors.Is(err, &refusal.Refusal{Code: c.code}) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if all, err := f.co.Changes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept: %+v, %v", all, err)
	}
}

// TestKeygen: the same order twice is one key; a vault that lost the last message
// is helped.
func TestKeygen(t *testing.T) {
	f := own(t, seed+4)
	order := f.v.KeygenOrder("second", 2)
	var wg sync.WaitGroup
	made := make([]*Wallet, 3)
	for i := range made {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w, _, err := f.co.Keygen(t.Context(), order)
			if err != nil {
				t.Error(err)
			}
			made[i] = w
		}()
	}
	wg.Wait()
	if t.Failed() || made[0].ID != made[1].ID || made[0].ID != made[2].ID {
		t.Fatalf("one order made different keys: %+v", made)
	}
	f.restart()
	if ws := f.co.Wallets(); len(ws) != 2 || ws[0].Name != "second" || ws[1].Name != "treasury" {
		t.Errorf("wallets %+v", ws)
	}
	same, forged, stranger := f.v.KeygenOrder("second", 3), f.v.KeygenOrder("third", 2), f.v.KeygenOrder("third", 2)
	forged.Name = "fourth"
	k := sim.Person(f.v.Seed, "bob")
	stranger.Author, stranger.Key = "bob", sim.PublicKey(k)
	stranger.Signature = sim.SignStatement(k, stranger.Statement())
	for code, o := range map[string]*governance.KeygenOrder{"keygen.name": same, "identity.signature": forged, "governance.admin": stranger} {
		if _, _, err := f.co.Keygen(t.Context(), o); !errors.Is(err, &refusal.Refusal{Code: code}) {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

// TestKeygenInterrupted: a vault that goes down in the middle and comes back, and
// a coordinator that lost all answers.
func TestKeygenInterrupted(t *testing.T) {
	f := own(t, seed+5)
	order := f.v.KeygenOrder("second", 2)
	// Vault 3's peers finish; it does not hear their last words.
	var last int
	f.v.Do(func(w *sim.World) { last = len(w.Parties[3].Disk.Entries) })
	f.mind = func(o *Options) {
		o.Vaults = &overruled{o.Vaults, func(vault uint16, c *cluster.Command) *cluster.Reply {
			if c.Kind == cluster.CommandKeygen && vault == 3 && len(c.Unsigned) == 0 {
				_, _ = f.v.Command(t.Context(), vault, c.Encode()) // it works, and nobody hears of it
				return &cluster.Reply{Vault: 3, Outcome: cluster.OutcomeAborted, Class: 1, Detail: "the answer was lost"}
			}
			return nil
		}}
	}
	f.restart()
	w, created, err := f.co.Keygen(t.Context(), order)
	if err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	f.v.Do(func(w *sim.World) {
		if n := len(w.Parties[3].Disk.Entries); n != last+1 {
			t.Errorf("vault 3 has %d entries more, want the key's alone", n-last)
		}
	})
	// The whole answer was lost: the order again finds the key.
	f.mind = nil
	f.restart()
	if _, err := f.co.store.db.Exec(`DELETE FROM wallets WHERE name = 'second'`); err != nil {
		t.Fatal(err)
	}
	f.restart()
	again, created, err := f.co.Keygen(t.Context(), order)
	if err != nil || !created || again.ID != w.ID {
		t.Errorf("%v, %v, %v", again, created, err)
	}
	// With a vault down there is no key, and it is said which.
	f.v.Crash(2)
	third := f.v.KeygenOrder("third", 2)
	ctx, cancel := contextSoon(t)
	defer cancel()
	if _, _, err := f.co.Keygen(ctx, third); !errors.Is(err, ErrVaults) || !strings.Contains(err.Error(), "vault 2") {
		t.Errorf("%v", err)
	}
	f.restartVault(2)
	if _, _, err := f.co.Keygen(t.Context(), third); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

// TestVerdictThatPolicyIgnores: a policy that does not speak of the engine cannot
// have meant its hold, or its no, to pass.
func TestVerdictThatPolicyIgnores(t *testing.T) {
	f := own(t, seed+6)
	d := sim.Policy()
	d.Rules = []policy.Rule{{Name: "everything", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{Effect: policy.Allow}}}
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	for _, o := range []request.Outcome{request.Hold, request.Deny} {
		f.risk.Set(false, o)
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		if r := f.waiting(id, "held", "says "+o.String(), "the policy says nothing about such a verdict"); r.State != Screening {
			t.Errorf("%v: it is %s", o, r.State)
		}
		f.risk.Set(false, request.Pass)
		f.co.Wake()
		f.state(id, Confirmed)
	}
}

// TestHeldAndDenied: what the policy denies whatever the engine says is not held
// until it expires; the vaults refuse it, signed.
func TestHeldAndDenied(t *testing.T) {
	f := own(t, seed+7)
	for name, o := range map[string]request.Outcome{"hold": request.Hold, "deny": request.Deny} {
		f.risk.Set(false, o)
		to := sim.Known
		id := f.handIn(f.propose(&evm.Intent{To: &to, Data: []byte{1, 2, 3, 4}}, time.Hour)).ID // nobody can decode it
		r := f.state(id, Denied)
		if !strings.Contains(r.Reason, "policy.undecoded") {
			t.Errorf("%s: %s", name, r.Reason)
		}
	}
}

// TestLapsedApprovalMayBeGivenAgain: a yes counts until it lapses; then the same
// person may say yes again. A no stands.
func TestLapsedApprovalMayBeGivenAgain(t *testing.T) {
	f := own(t, seed+8)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	f.state(id, AwaitingApproval)
	short := f.approval(id, "bob", true)
	short.Expires = f.now() + 60_000
	short.Signature = sim.SignStatement(sim.Person(f.v.Seed, "bob"), short.Statement())
	if _, err := f.co.Approve(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	f.v.Clock.Advance(time.Second)
	if _, err := f.co.Approve(t.Context(), f.approval(id, "bob", true)); refusal.As(err) == nil || refusal.As(err).Code != "approval.duplicate" {
		t.Errorf("a second yes while the first counts: %v", err)
	}
	f.v.Clock.Advance(2 * time.Minute)
	f.approve(id, "bob", true)
	f.approve(id, "carol", true)
	f.state(id, Confirmed)
}
