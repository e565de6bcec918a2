package sim

import (
	"fmt"
	"sync"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/mpc"
)

// rule is a limit as the simulation itself counts it.
type rule struct {
	name      string
	max       uint64
	window    uint64 // ms
	coin      string // "": requests are counted
	perWallet bool
	perPerson bool
}

var spendingRules = []rule{
	{name: "wallet-sol", max: 3, window: 600_000, coin: "SOL", perWallet: true},
	{name: "wallet-eth", max: 3, window: 600_000, coin: "ETH", perWallet: true},
	{name: "cluster-sol", max: 4, window: 120_000, coin: "SOL"},
	{name: "trips", max: 4, window: 300_000, perPerson: true},
}

// spendingPolicy says the same to the vaults.
func spendingPolicy() *policy.Document {
	return source.MustCompile(fmt.Sprintf(`
assets:
  ETH: {id: %s, decimals: 18}
  SOL: {id: %s, decimals: 9}
limits:
  - {name: wallet-sol, max: 3 SOL, window: 10m, per: [wallet]}
  - {name: wallet-eth, max: 3 ETH, window: 10m, per: [wallet]}
  - {name: cluster-sol, max: 4 SOL, window: 2m}
  - {name: trips, max: 4 requests, window: 5m, per: [initiator]}
rules:
  - name: coins
    when: onlyTransfers && total("SOL") > amount("0 SOL") && total("ETH") == amount("0 ETH") && within("wallet-sol") && within("cluster-sol") && within("trips")
    then: allow
  - name: ether
    when: onlyTransfers && total("ETH") > amount("0 ETH") && total("SOL") == amount("0 SOL") && within("wallet-eth") && within("trips")
    then: allow
`, evm.NativeAsset(Chain), solana.NativeAsset))
}

// spendingWorld is a cluster dealt once for all seeds.
type spendingWorld struct {
	w        *World
	loose    []*Wallet // faults 0
	vigilant []*Wallet // faults 1
	names    map[[32]byte]string
}

// spendingOf3 are three vaults, of which two sign; of the vigilant keys all three take
// part in the ledger.
var spendingOf3 = sync.OnceValues(func() (*spendingWorld, error) {
	s := new(spendingWorld)
	var err error
	if s.w, err = New(baseSeed+3, 3, Roster(baseSeed+3), spendingPolicy()); err != nil {
		return nil, err
	}
	return s, s.deal(2, []string{governance.PurposeEd25519, governance.PurposeEd25519, governance.PurposeECDSA}, []string{governance.PurposeEd25519, governance.PurposeEd25519})
})

// spendingOf5 are five vaults, of which three sign and four take part in the ledger.
var spendingOf5 = sync.OnceValues(func() (*spendingWorld, error) {
	s := new(spendingWorld)
	var err error
	if s.w, err = New(baseSeed+5, 5, Roster(baseSeed+5), spendingPolicy()); err != nil {
		return nil, err
	}
	return s, s.deal(3, []string{governance.PurposeEd25519}, []string{governance.PurposeEd25519, governance.PurposeEd25519})
})

func (s *spendingWorld) deal(t int, loose, vigilant []string) error {
	for i, purposes := range [][]string{loose, vigilant} {
		s.w.Faults = i
		for k, p := range purposes {
			x, err := s.w.KeygenFor(fmt.Sprintf("wallet-%d-%d", i, k), p, t)
			if err != nil {
				return err
			}
			if i == 0 {
				s.loose = append(s.loose, x)
			} else {
				s.vigilant = append(s.vigilant, x)
			}
		}
	}
	return nil
}

// quorum is how many take part in the ledger of a key's signatures.
func quorum(x *Wallet) int { return max(x.Threshold, (len(x.Parties)+x.Faults+2)/2) }

// coinOf is what a wallet pays in.
func coinOf(x *Wallet) string {
	if x.Certificate.Suite == mpc.FROSTEd25519 {
		return "SOL"
	}
	return "ETH"
}
