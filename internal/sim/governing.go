package sim

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc"
)

// Governance while vaults sign. The admins change how much one payment may be, freeze
// and thaw; changes reach each vault when they do, in order, some late; what loosens
// waits for a cooling-off time of each vault's own clock. What was in force at a vault
// is worked out here, from when its log says that it adopted which change.

// cooling is the cooling-off time of these clusters, in ms.
const cooling = 60_000

// ceilings are what a payment may be, in SOL: of the genesis, and the most.
const (
	firstCeiling = 3
	maxCeiling   = 5
)

// governing is one seed at work. Of spending it has the payments and their attempts.
type governing struct {
	*spending
	ceilings map[uint64]uint64 // of policies, by the change's seq
	frozen   map[[32]byte]bool // as the admins have ordered
	rosters  map[uint64]people // by the change's seq
	books    map[mpc.ID]*book
	// suspended vaults, as the admins have ordered.
	suspended   map[mpc.ID]bool
	judgedUnder map[[16]byte]inForce
}

// ceilingPolicy allows payments of up to n SOL, and more with two approvals.
func ceilingPolicy(n uint64) *policy.Document {
	return source.MustCompile(fmt.Sprintf(`
assets: {SOL: {id: %s, decimals: 9}}
rules:
  - name: coins
    when: onlyTransfers && total("SOL") > amount("0 SOL") && total("SOL") <= amount("%d SOL")
    then: allow
  - name: approved
    when: onlyTransfers && total("SOL") > amount("%d SOL") && total("SOL") <= amount("%d SOL")
    then: {require: {approvers: 2}}
`, solana.NativeAsset, n, n, mostApproved))
}

var governed = sync.OnceValues(func() (*spendingWorld, error) {
	s := new(spendingWorld)
	var err error
	if s.w, err = NewGoverned(baseSeed+7, 3, Roster(baseSeed+7), ceilingPolicy(firstCeiling), func(g *governance.Genesis) { g.Cooling = cooling }); err != nil {
		return nil, err
	}
	return s, s.deal(2, []string{governance.PurposeEd25519}, []string{governance.PurposeEd25519})
})

// SimulateGovernance runs one seed of it.
func SimulateGovernance(seed uint64, lines Lines) (*Result, error) {
	base, err := governed()
	if err != nil {
		return nil, err
	}
	w, err := base.w.Fork(seed)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x90fe))
	w.Unanimous = true
	g := &governing{
		rosters: map[uint64]people{}, suspended: map[mpc.ID]bool{}, judgedUnder: map[[16]byte]inForce{}, ceilings: map[uint64]uint64{}, frozen: map[[32]byte]bool{}, books: map[mpc.ID]*book{},
		spending: spendingOn(w, seed, rng, append(append([]*Wallet(nil), base.loose...), base.vigilant...), lines),
	}
	g.check.onShare, g.check.onRefusal = g.judged, func(f *refusal.Refusal) {
		if f.Code == "wallet.frozen" {
			g.res.Frozen++
		}
	}
	if err := g.skew(); err != nil {
		return nil, err
	}
	for range 300 + rng.IntN(300) {
		if err := g.step(); err != nil {
			return nil, fmt.Errorf("seed %d: %w", seed, err)
		}
		g.check.afterStep()
	}
	if err := g.calm(); err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	g.trace.Sum(g.res.Trace[:0])
	return g.res, nil
}

// spendingOn is a run over a world.
func spendingOn(w *World, seed uint64, rng *rand.Rand, wallets []*Wallet, lines Lines) *spending {
	if lines == nil {
		lines = func(string, ...any) {}
	}
	s := &spending{of: map[*asked]*try{}, wallets: wallets, run: &run{
		World: w, rng: rng, trace: sha256.New(), lines: lines,
		res: &Result{Seed: seed}, byID: map[uint64]*asked{}, faults: true,
		shots: map[mpc.ID]*snapshot{}, restored: map[mpc.ID]bool{},
	}}
	s.x, s.moves = wallets[0], &moves{asked: map[uint64]mpc.ID{}, epochs: map[mpc.ID]uint64{}, begun: map[uint64]uint64{}, seen: map[mpc.ID]int{}}
	s.check = newChecker(s.run)
	w.OnReady = s.run.onReady
	return s
}

// step lets one thing happen.
func (g *governing) step() error {
	busy := len(g.Frames)+len(g.Devices) > 0
	switch k := g.rng.IntN(100); {
	case k < 55 && busy:
		return g.deliverSome(1 + g.rng.IntN(10))
	case k < 70:
		return g.pay(1 + uint64(g.rng.IntN(mostApproved+1)))
	case k < 74:
		return g.order()
	case k < 81:
		for _, id := range g.IDs {
			if g.rng.IntN(4) > 0 {
				if err := g.tell(id); err != nil {
					return err
				}
			}
		}
	case k < 83 && len(g.Frames) > 0:
		return g.mistreat()
	case k < 88:
		ms := uint64(g.rng.IntN(7000))
		g.log("tick %d", ms)
		return g.Tick(ms)
	case k < 89:
		return g.pause(1)
	case k < 90:
		if id := g.IDs[g.rng.IntN(len(g.IDs))]; g.Parties[id].Vault != nil {
			g.log("crash %d", id)
			g.res.Crashes++
			g.Crash(id)
		}
	case k < 97:
		return g.restartOne()
	case busy:
		return g.deliverOne()
	}
	return nil
}

func (g *governing) pay(amount uint64) error {
	p := &payment{x: g.wallets[g.rng.IntN(len(g.wallets))], amount: amount, who: Trader, nonce: uint64(len(g.pays))}
	if len(g.pays) > 0 && g.rng.IntN(3) == 0 { // one that people approved some time ago
		p = g.pays[max(0, len(g.pays)-8)+g.rng.IntN(min(8, len(g.pays)))]
	} else {
		g.bundle(p)
		g.approve(p)
		g.pays = append(g.pays, p)
	}
	signers, witnesses := g.subset(p.x)
	return g.ask(p, g.command(p, signers, witnesses, 0), func(mpc.ID) bool { return true })
}

// order is the admins': another ceiling, other approvers, a freeze or a thaw, a vault
// suspended or not, a withdrawal.
func (g *governing) order() error {
	switch g.rng.IntN(6) {
	case 0, 1:
		return g.orderRoster()
	case 2:
		return g.withdraw()
	case 3:
		if g.rng.IntN(2) == 0 {
			return g.orderVault(g.IDs[g.rng.IntN(len(g.IDs))])
		}
	}
	if g.rng.IntN(2) == 0 {
		n := 1 + uint64(g.rng.IntN(maxCeiling))
		g.log("the admins set the ceiling to %d", n)
		c, err := g.Publish(governance.KindPolicy, ceilingPolicy(n).Encode())
		if err == nil {
			g.ceilings[c.Change.Seq] = n
		}
		return err
	}
	var f governance.Freeze
	if g.rng.IntN(3) > 0 {
		f.Wallet = g.wallets[g.rng.IntN(len(g.wallets))].ID
	}
	return g.freeze(f.Wallet, g.frozen[f.Wallet])
}

func (g *governing) freeze(wallet [32]byte, thaw bool) error {
	f := governance.Freeze{Wallet: wallet, Thaw: thaw, Reason: "drill"}
	g.log("the admins order: %s, thaw %v", f.What(), thaw)
	g.frozen[wallet] = !thaw
	_, err := g.Publish(governance.KindFreeze, f.Encode())
	return err
}

// tell brings a vault all changes so far.
func (g *governing) tell(id mpc.ID) error {
	if g.Parties[id].Vault == nil {
		return nil
	}
	g.log("the changes reach %d", id)
	return g.CatchUp(id)
}

// calm: all hear of all changes, and after the cooling-off time the newest ceiling is
// in force everywhere; what it allows is signed, what it does not is refused.
func (g *governing) calm() error {
	g.log("calm")
	g.run.faults = false
	for w, frozen := range g.frozen {
		if frozen && w == ([32]byte{}) { // one order at a time, in an order of its own
			if err := g.freeze(w, true); err != nil {
				return err
			}
		}
	}
	for _, x := range g.wallets {
		if g.frozen[x.ID] {
			if err := g.freeze(x.ID, true); err != nil {
				return err
			}
		}
	}
	if err := g.anew(); err != nil {
		return err
	}
	for range 6 {
		for _, id := range g.IDs {
			if g.Parties[id].Vault == nil {
				if err := g.Restart(id); err != nil {
					return err
				}
			}
			if err := g.tell(id); err != nil {
				return err
			}
		}
		if err := g.settleFor(1, 25_000); err != nil {
			return err
		}
	}
	ceiling := uint64(firstCeiling)
	for seq := uint64(1); seq <= uint64(len(g.changes)); seq++ {
		if n, ok := g.ceilings[seq]; ok {
			ceiling = n
		}
	}
	for _, x := range g.wallets {
		p := &payment{x: x, amount: ceiling, who: Trader, nonce: uint64(len(g.pays))}
		if err := g.demand(p, "though the ceiling in force allows it"); err != nil {
			return err
		}
		if err := g.demandApproved(x); err != nil {
			return err
		}
		if err := g.pay(mostApproved + 1); err != nil {
			return err
		}
		if err := g.settleFor(1, 1_000); err != nil {
			return err
		}
	}
	return nil
}

// anew: vaults are lifted, and what a withdrawal may have left in force at some and not at
// others is said once more.
func (g *governing) anew() error {
	for _, id := range g.IDs {
		if g.suspended[id] {
			if err := g.orderVault(id); err != nil {
				return err
			}
		}
	}
	if err := g.orderRoster(); err != nil {
		return err
	}
	n := 1 + uint64(g.rng.IntN(maxCeiling))
	g.log("the admins set the ceiling to %d", n)
	c, err := g.Publish(governance.KindPolicy, ceilingPolicy(n).Encode())
	if err == nil {
		g.ceilings[c.Change.Seq] = n
	}
	return err
}

// demandApproved: what takes approvals is signed with those of the people in force.
func (g *governing) demandApproved(x *Wallet) error {
	p := &payment{x: x, amount: mostApproved, who: Trader, nonce: uint64(len(g.pays))}
	g.bundle(p)
	g.pays = append(g.pays, p)
	for i, in := range g.lastPeople() {
		if !in.out {
			g.approveAs(p, i, in.key, Approvers[i])
		}
	}
	p.bundle.Sort()
	return g.insist(p, "though two approve who may")
}

// judged is a share, or a witness's certificate, that left a vault: what was in force
// there at that moment must have allowed it.
func (g *governing) judged(a *asked, rep *cluster.Reply) {
	t, b := g.of[a], g.bookOf(a.vault)
	p := t.pay
	b.at(g.Now + g.Skew[a.vault])
	switch {
	case p.amount > mostApproved:
		g.check.fault("governance: vault %d lets %d SOL of attempt %x pass, which no policy allowed", a.vault, p.amount, a.attempt)
	case p.amount > b.ceiling && p.counted(&b.people) < 2:
		g.check.fault("governance: vault %d lets %d SOL of attempt %x pass, the ceiling in force there is %d, and of its approvals %v those of %v count", a.vault, p.amount, a.attempt, b.ceiling, p.yes, b.people)
	}
	if b.frozen[p.x.ID] || b.frozen[[32]byte{}] {
		g.check.fault("governance: vault %d takes part in attempt %x, and has applied a freeze of its wallet", a.vault, a.attempt)
	}
	for _, n := range append(slices.Clone(t.command.Signers), t.command.Witnesses...) {
		if b.suspended[mpc.ID(n)] {
			g.check.fault("governance: vault %d takes part in attempt %x with vault %d, which is suspended there", a.vault, a.attempt, n)
		}
	}
	now := inForce{b.ceiling, b.people}
	if was, ok := g.judgedUnder[a.attempt]; ok && was != now {
		g.check.fault("governance: attempt %x mixes versions: %+v, and at vault %d %+v", a.attempt, was, a.vault, now)
	}
	g.judgedUnder[a.attempt] = now
	g.share(a, rep)
}

// inForce is what one attempt was decided under.
type inForce struct {
	ceiling uint64
	people  people
}
