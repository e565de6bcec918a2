package vault_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// limited allows up to 3 SOL and 3 ETH in ten minutes, over all wallets.
func limited() *policy.Document {
	return source.MustCompile(`
assets:
  ETH: {id: "` + evm.NativeAsset(sim.Chain) + `", decimals: 18}
  SOL: {id: "` + solana.NativeAsset + `", decimals: 9}
limits:
  - {name: coins, max: 3 SOL, window: 10m}
  - {name: ether, max: 3 ETH, window: 10m}
rules:
  - name: coins
    when: onlyTransfers && total("SOL") <= amount("2 SOL") && total("SOL") > amount("0 SOL") && within("coins")
    then: allow
  - name: ether
    when: onlyTransfers && total("ETH") <= amount("2 ETH") && total("ETH") > amount("0 ETH") && within("ether")
    then: allow
`)
}

// Dealt once for all tests of limits: vaults 1 to 3 with an Ed25519 wallet, of which
// two sign, and one whose ledger withstands a corrupt vault.
var limitedWorld = sync.OnceValues(func() (out struct {
	w        *sim.World
	x, y     *sim.Wallet
	vigilant *sim.Wallet
}, err error) {
	const seed = 77
	if out.w, err = sim.New(seed, 3, sim.Roster(seed), limited()); err != nil {
		return out, err
	}
	if out.x, err = out.w.KeygenEd25519("coins", 2); err != nil {
		return out, err
	}
	if out.y, err = out.w.Keygen("ether", 2); err != nil {
		return out, err
	}
	out.w.Faults = 1
	out.vigilant, err = out.w.KeygenEd25519("vigilant", 2)
	return out, err
})

func startLimited(t *testing.T, seed uint64) *fixture {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	d, err := limitedWorld()
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.w.Fork(seed)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, World: w, x: d.x}
}

func (f *fixture) pay(coins uint64) *request.Bundle {
	return f.Pay(f.x, sim.KnownSolana, sim.Lamports(coins))
}

func (f *fixture) coins(n uint64) []byte {
	return sim.UnsignedSolana(f.x, sim.KnownSolana, sim.Lamports(n), 1)
}

// paidOut demands a signature.
func (f *fixture) paidOut(coins uint64, signers ...mpc.ID) *request.Bundle {
	f.Helper()
	b := f.pay(coins)
	if _, err := sim.CombineEd25519(f.x, b, f.coins(coins), f.sign(b, f.coins(coins), signers...)); err != nil {
		f.Fatal(err)
	}
	return b
}

// A limit holds though the subsets rotate, and what a vault has not signed itself
// counts: before it reserves, as far as it knows, and for sure after R1.
func TestLimitOverRotatingSubsets(t *testing.T) {
	f := startLimited(t, 1)
	f.paidOut(1, 1, 2)
	f.paidOut(1, 2, 3)
	f.paidOut(1, 1, 3)
	for _, signers := range [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}} {
		b := f.pay(1)
		for id, r := range f.sign(b, f.coins(1), signers...) {
			if r != nil && r.Outcome == cluster.OutcomeDone {
				t.Errorf("vault %d gives a share of a fourth coin", id)
			}
		}
		f.pass(21)
	}
	// Ten minutes later, and one for the clocks, they are free again.
	f.pass(60 * 11)
	f.paidOut(2, 1, 2)
}

// minutes lets minutes go by, in steps that are no jumps of the clock.
func (f *fixture) minutes(n int) {
	f.Helper()
	for range n {
		f.ok(f.Tick(60_000))
		f.ok(f.Settle())
	}
}

// A decision says what it counted.
func TestDecisionTellsLimits(t *testing.T) {
	f := startLimited(t, 2)
	f.paidOut(1, 1, 2)
	b := f.pay(2)
	for id, r := range f.sign(b, f.coins(2), 2, 3) {
		d := f.certified(id, r).Decision
		if len(d.Limits) != 1 || d.Limits[0].Name != "coins" || d.Limits[0].Used.Uint64() != sim.Lamports(3) || d.Limits[0].Max.Uint64() != sim.Lamports(3) {
			t.Errorf("vault %d counted %+v", id, d.Limits)
		}
	}
	r := f.sign(f.pay(1), f.coins(1), 2, 3)
	ref := f.refused(policy.CodeDefault, r)
	if !strings.Contains(ref.Detail, "coins") {
		t.Errorf("the refusal says %q", ref.Detail)
	}
	if d := f.certified(2, r[2]).Decision; d.Allow || len(d.Limits) == 0 || d.Limits[0].Name != "coins" || d.Limits[0].Used.Uint64() != sim.Lamports(4) {
		t.Errorf("the log says %+v", d.Limits)
	}
}

// An attempt that comes to nothing gives its allowance back once both have said so,
// even a vault that never heard of it.
func TestLimitReleased(t *testing.T) {
	f := startLimited(t, 3)
	f.paidOut(2, 1, 2)
	for _, reaches := range [][]mpc.ID{{1, 2}, {1}} {
		c := f.signCommand(f.pay(1), f.coins(1), 1, 2)
		f.Intercept = f.rounds(func(fr sim.Frame) bool { return fr.To != 1 || fr.From != 2 })
		for _, id := range reaches {
			f.command(id, c)
		}
		f.ok(f.Settle())
		// While it may still come to something, there is no room for another.
		r := f.sign(f.pay(1), f.coins(1), 1, 3)
		f.refused("limit.contended", map[mpc.ID]*cluster.Reply{1: r[1]})
		for _, id := range reaches {
			f.command(id, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: c.Attempt})
		}
		f.Intercept = nil
		f.pass(22)
	}
	f.paidOut(1, 2, 3)
}

// A vault that went down between its decision and its share never says that it gave
// none: the allowance comes back with the window.
func TestLimitAfterCrashInDecision(t *testing.T) {
	f := startLimited(t, 4)
	f.paidOut(2, 1, 2)
	c := f.signCommand(f.pay(1), f.coins(1), 1, 2)
	f.Intercept = f.rounds(func(fr sim.Frame) bool { return false })
	r1s := 0
	f.Intercept = f.rounds(func(fr sim.Frame) bool { r1s++; return r1s <= 4 }) // R0 and R1 of both
	f.command(1, c)
	f.command(2, c)
	f.ok(f.Settle())
	f.Crash(1)
	f.Intercept = nil
	f.ok(f.Restart(1))
	f.pass(60)
	for range 3 {
		for id, r := range f.sign(f.pay(1), f.coins(1), 2, 3) {
			if r == nil || r.Outcome == cluster.OutcomeDone {
				t.Fatalf("vault %d: %s", id, show(r))
			}
		}
		f.pass(21)
	}
	f.minutes(11)
	f.paidOut(1, 2, 3)
}

// Retries and replacements of one request count once.
func TestLimitCountsARequestOnce(t *testing.T) {
	f := startLimited(t, 5)
	b := f.paidOut(2, 1, 2)
	for _, signers := range [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}} {
		if _, err := sim.CombineEd25519(f.x, b, f.coins(2), f.sign(b, f.coins(2), signers...)); err != nil {
			t.Fatal(err)
		}
	}
	f.paidOut(1, 1, 3)
	d, _ := limitedWorld()
	f.x = d.y
	pay := f.Transfer(f.x, sim.Known, sim.ETH(2))
	f.signed(pay, unsignedFee(sim.Known, sim.ETH(2), 3, 20_000_000_000), 1, 2)
	f.signed(pay, unsignedFee(sim.Known, sim.ETH(2), 3, 40_000_000_000), 2, 3) // the fees were bumped
	f.signed(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 3)
	r := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 5), 1, 3)
	f.refused(policy.CodeDefault, r)
}

// A clock that jumps by more than a minute counts nothing until the vault is started
// anew.
func TestClockJump(t *testing.T) {
	f := startLimited(t, 6)
	f.paidOut(2, 1, 2)
	f.Now += 60_000
	f.ok(f.Tick(1))
	f.ok(f.Settle())
	f.refused("clock.jumped", f.sign(f.pay(1), f.coins(1), 1, 2))
	for _, id := range f.IDs {
		f.Crash(id)
	}
	for _, id := range f.IDs {
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.pass(3)
	f.paidOut(1, 1, 2)
}

// A limit over all wallets needs keys whose ledgers cannot be strangers; a limit a
// wallet does not.
func TestLimitScope(t *testing.T) {
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	const seed = 78
	doc := func(per string) *policy.Document {
		return source.MustCompile(`
assets: {SOL: {id: "` + solana.NativeAsset + `", decimals: 9}}
limits: [{name: coins, max: 3 SOL, window: 10m` + per + `}]
rules: [{name: coins, when: 'onlyTransfers && within("coins")', then: allow}]
`)
	}
	for _, c := range []struct {
		per  string
		n, f int
		want string
	}{{"", 4, 0, "limit.scope"}, {", per: [initiator]", 4, 0, "limit.scope"}, {", per: [wallet]", 4, 0, ""}, {"", 3, 0, ""}, {"", 5, 1, "limit.scope"}, {"", 4, 1, ""}} {
		w, err := sim.New(seed, c.n, sim.Roster(seed), doc(c.per))
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{T: t, World: w}
		f.Faults = c.f
		o := f.KeygenOrderFor("coins", governance.PurposeEd25519, 2)
		o.Parties = []uint16{1, 2, 3}
		k := sim.Person(f.Seed, sim.Admins[0])
		o.Signature = sim.SignStatement(k, o.Statement())
		cmd := &cluster.Command{Kind: cluster.CommandKeygen, Attempt: f.Attempt(), Body: o.Encode()}
		var last uint64
		for _, id := range []mpc.ID{1, 2, 3} {
			last = f.command(id, cmd)
		}
		f.ok(f.Settle())
		if f.x, err = f.Wallet(f.Replies[last].Body); err != nil {
			t.Fatal(err)
		}
		quorum := []mpc.ID{1, 2, 3}[:2+c.f]
		if c.want == "" {
			f.ok(f.spend(1, quorum...))
			continue
		}
		ref := f.refused(c.want, f.witnessed(f.pay(1), f.coins(1), quorum[:2], quorum[2:]))
		if want := fmt.Sprintf("%d vaults or more, or a limit per wallet", (c.n+c.f)/2+1); !strings.Contains(ref.Fix, want) {
			t.Errorf("%+v, want %s", ref, want)
		}
	}
}

// run is a random run of payments under a limit.
type limitRun struct {
	*fixture
	rng      *rand.Rand
	payments []*payment
	attempts []*tryOut
	limit    uint64
	parties  []mpc.ID // of the wallet
	quorum   int
	liars    []mpc.ID
}

type payment struct {
	bundle *request.Bundle
	coins  uint64
}

type tryOut struct {
	of      *payment
	command *cluster.Command
	replies []uint64 // of the signers; 0: not asked
}

// signedCoins is the sum of the payments of which all shares exist.
func (r *limitRun) signedCoins() (sum uint64) {
	done := map[*payment]bool{}
	for _, a := range r.attempts {
		all := true
		for i, id := range a.command.Signers {
			n := a.replies[i]
			p := r.Replies[n]
			if slices.Contains(r.liars, mpc.ID(id)) {
				continue // it can always give its own
			}
			all = all && n != 0 && p != nil && p.Outcome == cluster.OutcomeDone && p.Vault == id
		}
		done[a.of] = done[a.of] || all
	}
	for p, ok := range done {
		if ok {
			sum += p.coins
		}
	}
	return sum
}

// attempt asks a subset for a payment; now and then under an attempt id that others
// were given for something else, now and then not all of them.
func (r *limitRun) attempt() {
	p := r.payments[r.rng.IntN(len(r.payments))]
	members := slices.Clone(r.parties)
	r.rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	signers, witnesses := members[:r.x.Certificate.Threshold], members[r.x.Certificate.Threshold:r.quorum]
	slices.Sort(signers)
	slices.Sort(witnesses)
	c := r.signCommand(p.bundle, r.coins(p.coins), ids(signers)...)
	c.Witnesses = ids(witnesses)
	if n := len(r.attempts); n > 0 && r.rng.IntN(3) == 0 {
		c.Attempt = r.attempts[n-1].command.Attempt
	}
	a := &tryOut{of: p, command: c, replies: make([]uint64, len(signers))}
	for i, id := range signers {
		if r.Parties[id].Vault != nil && r.rng.IntN(6) > 0 {
			a.replies[i] = r.command(id, c)
		}
	}
	for _, id := range witnesses {
		if r.Parties[id].Vault != nil && r.rng.IntN(12) > 0 {
			r.command(id, c)
		}
	}
	r.attempts = append(r.attempts, a)
}

func (r *limitRun) step() {
	switch k := r.rng.IntN(100); {
	case k < 8:
		r.attempt()
	case k < 55 && len(r.Frames) > 0:
		r.ok(r.Deliver(r.rng.IntN(len(r.Frames))))
	case k < 58 && len(r.Frames) > 0:
		i := r.rng.IntN(len(r.Frames))
		r.Frames = append(r.Frames[:i:i], r.Frames[i+1:]...)
	case k < 85 && len(r.Devices) > 0:
		r.ok(r.Answer(r.rng.IntN(len(r.Devices))))
	case k < 90:
		r.ok(r.Tick(uint64(r.rng.IntN(1500))))
	case k < 92 && len(r.attempts) > 0:
		a := r.attempts[r.rng.IntN(len(r.attempts))]
		id := mpc.ID(a.command.Signers[r.rng.IntN(len(a.command.Signers))])
		if r.Parties[id].Vault != nil {
			r.command(id, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: a.command.Attempt})
		}
	case k < 93:
		if id := r.parties[r.rng.IntN(len(r.parties))]; !slices.Contains(r.liars, id) { // a liar's own disk is its affair
			r.Crash(id)
		}
	case k < 96:
		for _, id := range r.IDs {
			if r.Parties[id].Vault == nil {
				r.ok(r.Restart(id))
			}
		}
	default:
		r.ok(r.Settle())
	}
}

// TestLimitHolds: random subsets, crashes, losses, delays, retries and a coordinator
// that gives attempt ids twice: what is signed never exceeds the limit, and when the
// faults stop, work goes on.
func TestLimitHolds(t *testing.T) {
	runs := 10
	if testing.Short() {
		runs = 4
	}
	full := 0
	for seed := range uint64(runs) {
		f := startLimited(t, 100+seed)
		r := &limitRun{fixture: f, rng: rand.New(rand.NewPCG(seed, 9)), limit: 3, parties: f.IDs, quorum: 2}
		for range 8 {
			n := 1 + uint64(r.rng.IntN(2))
			r.payments = append(r.payments, &payment{f.pay(n), n})
		}
		for range 350 {
			r.step()
			if n := r.signedCoins(); n > r.limit {
				t.Fatalf("seed %d: %d coins are signed, over the limit of %d", seed, n, r.limit)
			}
		}
		for _, id := range r.IDs {
			if r.Parties[id].Vault == nil {
				r.ok(r.Restart(id))
			}
		}
		r.ok(r.Settle())
		r.pass(25)
		// All that is left is tried one after the other.
		for _, p := range r.payments {
			for _, signers := range [][]mpc.ID{{1, 2}, {2, 3}} {
				c := r.signCommand(p.bundle, r.coins(p.coins), ids(signers)...)
				a := &tryOut{of: p, command: c}
				for _, id := range signers {
					a.replies = append(a.replies, r.command(id, c))
				}
				r.attempts = append(r.attempts, a)
				r.ok(r.Settle())
			}
		}
		if n := r.signedCoins(); n > r.limit {
			t.Fatalf("seed %d: %d coins are signed, over the limit of %d", seed, n, r.limit)
		} else if n == r.limit {
			full++
		}
		r.minutes(12)
		r.paidOut(2, 1, 2)
	}
	if full < runs/3 {
		t.Errorf("only %d of %d runs used their limit up: too much is refused", full, runs)
	}
}

// TestWeakenedLimits builds the vault with each weakened rule: the tests above must
// fail, and say that the limit was exceeded.
func TestWeakenedLimits(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil || raceEnabled || testing.Short() {
		t.Skip("builds the vault three times")
	}
	for _, bug := range []string{"ownledger", "laterelease", "sessionkey"} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command("go", "test", "-tags", "coffer_planted,bug_"+bug, "-run", "^TestLimitHolds$", ".").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "over the limit of 3") {
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				t.Errorf("%v; want the limit exceeded; the last of it:\n%s", err, strings.Join(lines[max(0, len(lines)-8):], "\n"))
			}
		})
	}
}

func ids(in []mpc.ID) (out []uint16) {
	for _, id := range in {
		out = append(out, uint16(id))
	}
	return out
}

// With faults 0 a vault that lies overspends, n−t+1 times the limit at most, and its
// own signatures prove it.
func TestForkedLedgerIsProven(t *testing.T) {
	f := startLimited(t, 7)
	before := f.Parties[2].Vault.LedgerSeq(2)
	f.paidOut(2, 1, 2)
	one := f.Parties[1].Vault.LedgerOf(2)
	f.Parties[2].Vault.Hide(before)
	f.paidOut(2, 2, 3)
	st, err := governance.Start(f.Genesis)
	f.ok(err)
	g, _ := st.Vault(2)
	keys := audit.Keys{Cluster: f.Genesis.Hash(), Vault: 2, Decision: g.Decision, Log: g.Log}
	three := f.Parties[3].Vault.LedgerOf(2)
	if at, err := vault.VerifyFork(keys, one, three); err != nil || at != before {
		t.Errorf("the histories part at event %d: %v", at, err)
	}
	if _, err := vault.VerifyFork(keys, one, one); err == nil {
		t.Error("one history is a fork")
	}
	longer := vault.LedgerSide{Events: append(one.Events[:len(one.Events):len(one.Events)], []byte{1}), Checkpoint: one.Checkpoint}
	if _, err := vault.VerifyFork(keys, longer, three); err == nil {
		t.Error("an event for which nobody signed is evidence")
	}
	keys.Vault = 1
	if _, err := vault.VerifyFork(keys, one, three); err == nil {
		t.Error("it is evidence against vault 1")
	}
	// Vaults 1 and 3 between them spend no more, and their operators hear of it.
	for id, r := range f.sign(f.pay(1), f.coins(1), 1, 3) {
		if r == nil || r.Outcome == cluster.OutcomeDone {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
	if n := f.Parties[1].Notes; !strings.Contains(strings.Join(n, "\n"), "another history of a third vault's ledger") {
		t.Errorf("vault 1 says %q", n)
	}
}

// With faults 1 the same lie spends nothing: the third vault was there.
func TestLiarWithQuorum(t *testing.T) {
	f := startLimited(t, 8)
	d, err := limitedWorld()
	f.ok(err)
	f.x = d.vigilant
	pay := func(signers, witnesses []mpc.ID) error {
		b := f.pay(2)
		replies := f.witnessed(b, f.coins(2), signers, witnesses)
		for _, id := range witnesses {
			delete(replies, id)
		}
		_, err := sim.CombineEd25519(f.x, b, f.coins(2), replies)
		return err
	}
	before := f.Parties[2].Vault.LedgerSeq(2)
	f.ok(pay([]mpc.ID{1, 2}, []mpc.ID{3}))
	f.Parties[2].Vault.Hide(before)
	if pay([]mpc.ID{2, 3}, []mpc.ID{1}) == nil {
		t.Fatal("4 coins are signed, over the limit of 3")
	}
	f.pass(21)
	f.Parties[2].Vault.LieRelease()
	if pay([]mpc.ID{1, 3}, []mpc.ID{2}) == nil {
		t.Fatal("4 coins are signed, over the limit of 3")
	}
}

// An attempt that reached a witness only is given up by the signers when it is by the
// witness: its allowance comes back.
func TestWitnessAloneGivesBack(t *testing.T) {
	f := startLimited(t, 9)
	d, err := limitedWorld()
	f.ok(err)
	f.x = d.vigilant
	c := f.signCommand(f.pay(2), f.coins(2), 1, 2)
	c.Witnesses = []uint16{3}
	f.command(3, c)
	f.ok(f.Settle())
	f.pass(25)
	for range 3 {
		b := f.pay(2)
		replies := f.witnessed(b, f.coins(2), []mpc.ID{2, 3}, []mpc.ID{1})
		delete(replies, 1)
		if _, err = sim.CombineEd25519(f.x, b, f.coins(2), replies); err == nil {
			return
		}
		f.pass(2)
	}
	t.Errorf("nobody but a witness was asked, and there is no room: %v", err)
}
