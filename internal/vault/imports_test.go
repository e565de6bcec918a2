package vault_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// perWallet allows each wallet 3 SOL in ten minutes.
func perWallet() *policy.Document {
	return source.MustCompile(`
assets: {SOL: {id: "` + solana.NativeAsset + `", decimals: 9}}
limits: [{name: coins, max: 3 SOL, window: 10m, per: [wallet]}]
rules: [{name: coins, when: 'onlyTransfers && total("SOL") > amount("0 SOL") && within("coins")', then: allow}]
`)
}

// Dealt once: seven vaults, and wallets of the first of them.
var wideWorld = sync.OnceValues(func() (out struct {
	w       *sim.World
	wallets map[string]*sim.Wallet
}, err error) {
	const seed = 79
	if out.w, err = sim.New(seed, 7, sim.Roster(seed), perWallet()); err != nil {
		return out, err
	}
	out.wallets = map[string]*sim.Wallet{}
	all := out.w.IDs
	for _, k := range []struct {
		name    string
		t, n, f int
	}{{"2of3", 2, 3, 0}, {"2of3f1", 2, 3, 1}, {"3of3f1", 3, 3, 1}, {"3of5f1", 3, 5, 1}, {"3of5f2", 3, 5, 2}} {
		out.w.IDs, out.w.Faults = all[:k.n], k.f
		if out.wallets[k.name], err = out.w.KeygenEd25519(k.name, k.t); err != nil {
			return out, err
		}
	}
	out.w.IDs, out.w.Faults = all, 0
	return out, nil
})

func startWide(t *testing.T, seed uint64, wallet string) *fixture {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	d, err := wideWorld()
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.w.Fork(seed)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w, x: d.wallets[wallet]}
	f.pass(2)
	return f
}

// spend has coins signed by a quorum: the first of it sign, the rest witness.
func (f *fixture) spend(coins uint64, quorum ...mpc.ID) error {
	f.Helper()
	t := f.x.Certificate.Threshold
	b := f.pay(coins)
	replies := f.witnessed(b, f.coins(coins), quorum[:t], quorum[t:])
	for _, id := range quorum[t:] {
		delete(replies, id)
	}
	_, err := sim.CombineEd25519(f.x, b, f.coins(coins), replies)
	return err
}

// full demands that nobody of a quorum gives a share for so many coins, and says why
// one of them does not.
func (f *fixture) full(coins uint64, quorum ...mpc.ID) string {
	f.Helper()
	t := f.x.Certificate.Threshold
	said := ""
	for id, r := range f.witnessed(f.pay(coins), f.coins(coins), quorum[:t], quorum[t:]) {
		if r != nil && r.Outcome == cluster.OutcomeDone {
			f.Fatalf("vault %d gives its part of %d coins, over the limit of 3", id, coins)
		}
		said = sim.Describe(r)
	}
	f.pass(21)
	return said
}

// reshare carries an order out though not everybody who took part still answers.
func (f *fixture) reshare(name string, threshold int, parties []mpc.ID, dealers ...mpc.ID) {
	f.Helper()
	s, err := f.OrderChange(f.x, name, governance.Reshare, threshold, parties...)
	f.ok(err)
	_, err = f.StartHandover(f.x, s, dealers...)
	f.ok(err)
	f.calm()
	epoch := f.x.Certificate.Epoch + 1
	f.x, err = f.Next(f.Parties[parties[len(parties)-1]].Vault.KeyCertificate(name))
	f.ok(err)
	if f.x.Certificate.Epoch != epoch {
		f.Fatalf("epoch %d, want %d", f.x.Certificate.Epoch, epoch)
	}
}

// A limit holds over one reshare and over two, though one old vault of each epoch
// denies what it has promised in it.
func TestReshareWithALiar(t *testing.T) {
	const name = "2of3f1"
	f := startWide(t, 1, name)
	before := f.Parties[1].Vault.LedgerSeq(1)
	f.ok(f.spend(2, 1, 2, 3))
	f.Parties[1].Vault.Deny(before)
	f.reshare(name, 2, []mpc.ID{3, 4, 5}, 2, 3)
	f.full(2, 4, 5, 3)
	f.full(2, 3, 4, 5)
	// Vault 3 was there, and denies it. What 4 and 5 know of it they pass on.
	f.Parties[3].Vault.Deny(0)
	f.reshare(name, 2, []mpc.ID{5, 6, 7}, 4, 5)
	f.full(2, 6, 7, 5)
	f.full(2, 5, 6, 7)
	f.ok(f.spend(1, 6, 7, 5))
	f.full(1, 5, 7, 6)
}

// The same with a wallet of 3 of 5, of which two deny.
func TestReshareWithTwoLiars(t *testing.T) {
	const name = "3of5f2"
	f := startWide(t, 2, name)
	before := map[mpc.ID]uint64{}
	for _, id := range []mpc.ID{1, 2} {
		before[id] = f.Parties[id].Vault.LedgerSeq(id)
	}
	f.ok(f.spend(2, 1, 2, 3, 4))
	for id, n := range before {
		f.Parties[id].Vault.Deny(n)
	}
	f.reshare(name, 3, []mpc.ID{3, 4, 5, 6, 7}, 3, 4, 5)
	f.full(2, 5, 6, 7, 3)
	f.Parties[3].Vault.Deny(0)
	f.Parties[4].Vault.Deny(0)
	f.reshare(name, 3, []mpc.ID{5, 6, 7}, 5, 6, 7)
	f.full(2, 5, 6, 7)
	f.ok(f.spend(1, 5, 6, 7))
}

// With 3 of 3 one CLOSED ends the epoch. If it is a liar's, nothing is reserved in the
// next one before an honest vault has stated what it knows.
func TestOneClosedIsNotEnough(t *testing.T) {
	const name = "3of3f1"
	f := startWide(t, 3, name)
	before := f.Parties[1].Vault.LedgerSeq(1)
	f.ok(f.spend(2, 1, 2, 3))
	f.Parties[1].Vault.Deny(before)
	f.Intercept = func(fr sim.Frame) bool {
		v := f.Parties[fr.To].Vault
		kind := v.FrameKind(fr.Bytes)
		return !(fr.From == 2 || fr.From == 3) || kind != vault.InnerVotes && kind != vault.InnerSync
	}
	f.reshare(name, 3, []mpc.ID{4, 5, 6}, 1, 2, 3)
	said := f.full(2, 4, 5, 6)
	for _, want := range []string{"3 of 3 vaults with 1 faults and a ledger quorum of 3", "the ledgers of 2 of them", "known are 1", "the old vaults [2 3] have not stated theirs", "start 1 of those"} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %q, want %q", said, want)
		}
	}
	f.Intercept = nil
	f.calm()
	f.full(2, 4, 5, 6)
	f.ok(f.spend(1, 4, 5, 6))
}

// A vault that does not know yet what was promised before its epoch neither deals nor
// closes for the next: it could not pass that on.
func TestNoHandoverBeforeImport(t *testing.T) {
	const name = "2of3"
	f := startWide(t, 4, name)
	f.ok(f.spend(2, 1, 2))
	f.Intercept = func(fr sim.Frame) bool {
		return fr.To == 3 || fr.From > 3 || f.Parties[fr.To].Vault.FrameKind(fr.Bytes) != vault.InnerSync
	}
	f.reshare(name, 2, []mpc.ID{3, 4, 5}, 1, 2)
	s, err := f.OrderChange(f.x, name, governance.Reshare, 2, 5, 6, 7)
	f.ok(err)
	replies, err := f.StartHandover(f.x, s, 4, 5)
	f.ok(err)
	f.calm()
	for _, id := range []mpc.ID{4, 5} {
		r := f.Replies[replies[id]]
		if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Benign) || !strings.Contains(r.Detail, "must be known here") {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
	f.Intercept = nil
	f.calm()
	f.reshare(name, 2, []mpc.ID{5, 6, 7}, 4, 5)
	f.full(2, 6, 7)
	f.ok(f.spend(1, 6, 7))
}

// A corrupt vault closes the epoch with the head of a ledger that it never shows. The
// others who were there are enough, also who was not needed for the commit.
func TestFalseClosedHead(t *testing.T) {
	const name = "2of3"
	f := startWide(t, 5, name)
	f.ok(f.spend(2, 2, 3))
	f.Parties[1].Vault.Invent(vault.Event{Kind: 2, Attempt: [16]byte{1}})
	f.Intercept = func(fr sim.Frame) bool { // vault 3 hears and says nothing but of the dealing
		kind := f.Parties[fr.To].Vault.FrameKind(fr.Bytes)
		return !(fr.From == 1 && kind == vault.InnerSync) && !((fr.From == 3 || fr.To == 3) && (kind == vault.InnerSync || kind == vault.InnerVotes))
	}
	f.reshare(name, 2, []mpc.ID{4, 5, 6}, 1, 2)
	f.Parties[1].Vault.RewriteLast(func(e *vault.Event) { e.Attempt[0]++ })
	if said := f.full(1, 4, 5); !strings.Contains(said, "must be known here") {
		t.Errorf("it says %q", said)
	}
	f.Intercept = nil
	f.calm()
	f.full(2, 5, 6)
	f.ok(f.spend(1, 4, 5))
}

// A coordinator that uses an attempt's name again in the next epoch does not make the
// vaults there forget to pass on what it named before.
func TestReusedAttemptIsPassedOn(t *testing.T) {
	const name = "2of3"
	f := startWide(t, 6, name)
	b := f.pay(2)
	c := f.signCommand(b, f.coins(2), 1, 2)
	f.command(1, c)
	f.command(2, c)
	f.ok(f.Settle())
	f.reshare(name, 2, []mpc.ID{3, 4, 5}, 1, 2)
	again := f.signCommand(f.pay(1), f.coins(1), 4, 5)
	again.Attempt = c.Attempt
	f.command(4, again)
	f.command(5, again)
	f.ok(f.Settle())
	f.reshare(name, 2, []mpc.ID{5, 6, 7}, 4, 5)
	f.full(1, 6, 7)
}

// The old vaults are gone before the new ones know their ledgers: nothing is signed, it
// is said which are missing, and each way to bring one back goes as far as the others'
// copies do.
func TestDestroyedBeforeImport(t *testing.T) {
	const name = "2of3"
	f := startWide(t, 7, name)
	f.ok(f.spend(1, 1, 3))
	f.ok(f.spend(1, 1, 2))
	f.Crash(3)
	f.ok(f.Restart(3)) // channels open: it has the others' ledgers
	f.calm()
	f.Intercept = func(fr sim.Frame) bool {
		return fr.To < 4 || f.Parties[fr.To].Vault.FrameKind(fr.Bytes) != vault.InnerSync
	}
	f.reshare(name, 2, []mpc.ID{4, 5, 6}, 1, 2)
	f.Crash(1)
	f.Crash(2)
	f.Crash(3)
	f.Intercept = nil
	f.calm()
	said := f.full(2, 4, 5)
	for _, want := range []string{"the ledgers of 2 of them", "known are 1", "the ledger of vault 1 is not known up to its event ", "the ledger of vault 2 is not known", "start 1 of those that are missing", "lost-ledgers.md"} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %q, want %q", said, want)
		}
	}
	f.pass(40)
	if !f.noted(4, "ledgers of the vaults that had it before are missing") || f.noted(1, "are missing") {
		t.Error("vault 4 does not tell its operator, or vault 1 does")
	}
	f.ok(f.Restart(3))
	f.calm()
	f.full(2, 4, 5) // it was in neither payment's quorum
	// Vault 1 comes back with another device and an empty disk.
	f.replaced(1, f.lose(1), 50, 1, 3, 4, 5, 6, 7)
	f.repaired()
	f.full(2, 4, 5)
	f.ok(f.spend(1, 4, 5))
}

// A key that was made with 2 faults and reshared to a threshold of 2 withstands 1. Its
// parties offer it as it was made, and a share of it is repaired.
func TestRepairBelowTheFaults(t *testing.T) {
	const name = "3of5f2"
	f := startWide(t, 8, name)
	f.reshare(name, 2, []mpc.ID{5, 6, 7}, 1, 2, 3)
	f.replaced(7, f.lose(7), 50, f.IDs...)
	f.repaired()
	if got := f.Parties[7].Vault.KeyEpoch(name); got != 2 {
		t.Fatalf("its share of %s is of epoch %d, want 2: %v", name, got, f.Parties[7].Notes)
	}
}

// Nor does it join a plan that others tell it of: what it then closes with would count
// for the commit, and state nothing.
func TestNoJoinBeforeImport(t *testing.T) {
	const name = "2of3"
	f := startWide(t, 9, name)
	f.ok(f.spend(2, 1, 2))
	f.Intercept = func(fr sim.Frame) bool {
		return fr.To != 5 || f.Parties[fr.To].Vault.FrameKind(fr.Bytes) != vault.InnerSync
	}
	f.reshare(name, 2, []mpc.ID{3, 4, 5}, 1, 2)
	s, err := f.OrderChange(f.x, name, governance.Reshare, 2, 3, 4, 6)
	f.ok(err)
	f.Intercept = func(fr sim.Frame) bool { // nobody closes: vault 6 is not READY
		kind := f.Parties[fr.To].Vault.FrameKind(fr.Bytes)
		return (fr.To != 5 || kind != vault.InnerSync) && (fr.From != 6 || kind != vault.InnerVotes)
	}
	replies, err := f.StartHandover(f.x, s, 3, 4)
	f.ok(err)
	f.ok(f.Settle())
	for range 4 {
		f.ok(f.Tick(600))
		f.ok(f.Settle())
	}
	for id, n := range replies {
		if r := f.Replies[n]; r != nil {
			t.Logf("vault %d: %s", id, show(r))
		}
	}
	if a, b := f.Parties[3].Vault.OpenPlans(name), f.Parties[5].Vault.OpenPlans(name); a != 1 || b != 0 {
		t.Errorf("vault 3 knows %d open plans, vault 5 knows %d; want 1 and 0", a, b)
	}
	f.Intercept = nil
	f.calm()
	if f.Parties[3].Vault.KeyEpoch(name) != 3 {
		t.Error("the handover does not end")
	}
}
