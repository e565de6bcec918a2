package vault_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// lie has one of the corrupt vaults understate its ledger, tell another, say that what
// it gave was never given, or keep silent towards somebody.
func (r *limitRun) lie() {
	liar := r.liars[r.rng.IntN(len(r.liars))]
	v := r.Parties[liar].Vault
	if v == nil {
		return
	}
	switch seq := v.LedgerSeq(liar); r.rng.IntN(6) {
	case 0:
		v.Hide(r.rng.Uint64N(seq + 1))
	case 1:
		v.Deny(r.rng.Uint64N(seq + 1))
	case 2:
		v.LieRelease()
	case 3:
		if n := len(r.attempts); n > 0 {
			v.Invent(vault.Event{Kind: 2, Attempt: r.attempts[r.rng.IntN(n)].command.Attempt})
		}
	case 4:
		deaf := r.parties[r.rng.IntN(len(r.parties))]
		r.Intercept = func(fr sim.Frame) bool { return fr.From != liar || fr.To != deaf }
	default:
		r.Intercept = nil
	}
}

// TestLimitHoldsWithLiars is TestLimitHolds for ledger quorums of 3 of 3 and 4 of 5, with
// as many corrupt vaults among the key's as it states, and with none. A payment counts
// as soon as every honest signer has given its share.
func TestLimitHoldsWithLiars(t *testing.T) {
	for _, c := range []struct {
		wallet  string
		parties int
		quorum  int
		liars   []mpc.ID
		spent   bool // demanded: that something is signed once the lies stop
	}{
		{"2of3f1", 3, 3, []mpc.ID{2}, false},
		{"3of5f1", 5, 4, nil, true},
		{"3of5f1", 5, 4, []mpc.ID{2}, false},
		{"3of5f2", 5, 4, []mpc.ID{1, 2}, false},
	} {
		t.Run(fmt.Sprint(c.wallet, c.liars), func(t *testing.T) {
			total := uint64(0)
			runs := 2
			if testing.Short() {
				runs = 1
			}
			for seed := range uint64(runs) {
				f := startWide(t, 200+seed, c.wallet)
				r := &limitRun{fixture: f, rng: rand.New(rand.NewPCG(seed, 11)), limit: 3, parties: f.IDs[:c.parties], quorum: c.quorum, liars: c.liars}
				for range 6 {
					n := 1 + uint64(r.rng.IntN(2))
					r.payments = append(r.payments, &payment{f.pay(n), n})
				}
				for i := range 200 {
					if len(c.liars) > 0 && i%12 == 11 {
						r.lie()
					}
					r.step()
					r.holds(seed)
				}
				r.Intercept = nil
				for _, id := range r.IDs {
					if r.Parties[id].Vault == nil {
						r.ok(r.Restart(id))
					}
				}
				r.ok(r.Settle())
				r.pass(25)
				for _, p := range r.payments {
					r.finish(p)
					r.holds(seed)
				}
				total += r.signedCoins()
			}
			if c.spent && total < uint64(runs) {
				t.Errorf("%d coins are signed in %d runs: too much is refused", total, runs)
			}
		})
	}
}

func (r *limitRun) holds(seed uint64) {
	r.Helper()
	if n := r.signedCoins(); n > r.limit {
		r.Fatalf("seed %d: %d coins are signed, over the limit of %d", seed, n, r.limit)
	}
}

// finish tries a payment with two quorums, the first one of the last parties.
func (r *limitRun) finish(p *payment) {
	t := r.x.Certificate.Threshold
	for i := range 2 {
		members := r.parties[(len(r.parties)-r.quorum)*(1-i):][:r.quorum]
		c := r.signCommand(p.bundle, r.coins(p.coins), ids(members[:t])...)
		c.Witnesses = ids(members[t:])
		a := &tryOut{of: p, command: c}
		for _, id := range members {
			n := r.command(id, c)
			if len(a.replies) < t {
				a.replies = append(a.replies, n)
			}
		}
		r.attempts = append(r.attempts, a)
		r.ok(r.Settle())
	}
}

// One corrupt vault of the quorum, and each of its lies by itself: what it promised is
// understated, told otherwise to others, or not told at all.
func TestOneLiarInEveryQuorum(t *testing.T) {
	for _, c := range []struct {
		wallet string
		first  []mpc.ID // with the liar, 2
		then   [][]mpc.ID
	}{
		{"2of3f1", []mpc.ID{1, 2, 3}, [][]mpc.ID{{2, 3, 1}, {1, 3, 2}, {1, 2, 3}}},
		{"3of5f1", []mpc.ID{1, 2, 3, 4}, [][]mpc.ID{{2, 3, 5, 4}, {1, 2, 5, 3}, {3, 4, 5, 1}}},
	} {
		for name, lie := range map[string]func(v *vault.Vault, before uint64){
			"understates": func(v *vault.Vault, before uint64) { v.Deny(before) },
			"forks": func(v *vault.Vault, before uint64) {
				v.Hide(before)
				v.Invent(vault.Event{Kind: 1, Attempt: [16]byte{9}, Parties: []mpc.ID{1, 2, 3}}, vault.Event{Kind: 2, Attempt: [16]byte{9}})
			},
			"releases": func(v *vault.Vault, _ uint64) { v.LieRelease() },
			"is deaf":  func(*vault.Vault, uint64) {},
		} {
			f := startWide(t, 300, c.wallet)
			v := f.Parties[2].Vault
			before := v.LedgerSeq(2)
			f.ok(f.spend(2, c.first...))
			lie(v, before)
			if name == "is deaf" {
				f.Intercept = f.rounds(func(fr sim.Frame) bool {
					return fr.From != 2 || f.Parties[fr.To].Vault.FrameKind(fr.Bytes) != vault.InnerSync
				})
			}
			for _, quorum := range c.then {
				n := len(f.x.Certificate.Parties) // the liar's own word does not count
				gave := 0
				for id, r := range f.witnessed(f.pay(2), f.coins(2), quorum[:n/2+1], quorum[n/2+1:]) {
					if id != 2 && r != nil && r.Outcome == cluster.OutcomeDone {
						gave++
					}
				}
				if gave > 0 {
					t.Errorf("%s, vault 2 %s: %v give their part in 4 coins, over the limit of 3", c.wallet, name, quorum)
				}
				f.pass(21)
			}
			f.Intercept = nil
			if c.wallet == "3of5f1" && name != "is deaf" {
				// What the liar never releases counts for a window. The honest ones are a quorum.
				f.minutes(12)
				f.ok(f.spend(1, 1, 3, 4, 5))
			}
		}
	}
}
