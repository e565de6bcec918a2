package sim

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
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
	books    map[mpc.ID]*book
}

// ceilingPolicy allows payments of up to n SOL.
func ceilingPolicy(n uint64) *policy.Document {
	return source.MustCompile(fmt.Sprintf(`
assets: {SOL: {id: %s, decimals: 9}}
rules:
  - name: coins
    when: onlyTransfers && total("SOL") > amount("0 SOL") && total("SOL") <= amount("%d SOL")
    then: allow
`, solana.NativeAsset, n))
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
	g := &governing{
		ceilings: map[uint64]uint64{}, frozen: map[[32]byte]bool{}, books: map[mpc.ID]*book{},
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
		return g.pay(1 + uint64(g.rng.IntN(maxCeiling)))
	case k < 72:
		return g.order()
	case k < 80:
		for _, id := range g.IDs {
			if g.rng.IntN(4) > 0 {
				if err := g.tell(id); err != nil {
					return err
				}
			}
		}
	case k < 82 && len(g.Frames) > 0:
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
	g.bundle(p)
	g.pays = append(g.pays, p)
	signers, witnesses := g.subset(p.x)
	return g.ask(p, g.command(p, signers, witnesses, 0), func(mpc.ID) bool { return true })
}

// order is the admins': another ceiling, a freeze or a thaw.
func (g *governing) order() error {
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
		if err := g.pay(ceiling + 1); err != nil {
			return err
		}
		if err := g.settleFor(1, 1_000); err != nil {
			return err
		}
	}
	return nil
}

// judged is a share, or a witness's certificate, that left a vault: what was in force
// there at that moment must have allowed it.
func (g *governing) judged(a *asked, rep *cluster.Reply) {
	t, b := g.of[a], g.bookOf(a.vault)
	now := g.Now + g.Skew[a.vault]
	if n := b.ceilingAt(now); t.pay.amount > n {
		g.check.fault("governance: vault %d lets %d SOL of attempt %x pass, and the ceiling in force there is %d", a.vault, t.pay.amount, a.attempt, n)
	}
	if b.frozen[t.pay.x.ID] || b.frozen[[32]byte{}] {
		g.check.fault("governance: vault %d takes part in attempt %x, and has applied a freeze of its wallet", a.vault, a.attempt)
	}
	g.share(a, rep)
}
