package vaultshell

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// slowDevice is a device that does one operation at a time, each of which takes
// its time, as those on a bus do.
type slowDevice struct {
	*soft.Device
	each time.Duration
	mu   sync.Mutex
	ops  *atomic.Int64 // signatures on checkpoints
}

func (d *slowDevice) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	time.Sleep(d.each)
	if role == hsm.RoleDecision {
		d.ops.Add(1)
	}
	return d.Device.Sign(ctx, role, st, ap)
}

// BenchmarkDecisionsPerOp is how many decisions one signature of a device covers:
// three real vaults with real disks and devices that take 5 ms an operation, two
// of three sign, and so many clients each ask again once they have their answer.
func BenchmarkDecisionsPerOp(b *testing.B) {
	for _, suite := range []struct{ name, purpose string }{{"ecdsa", governance.PurposeECDSA}, {"ed25519", governance.PurposeEd25519}} {
		var ops atomic.Int64
		s := startSiteOn(b, 3, nil, func(d remote.Device) remote.Device {
			return &slowDevice{Device: d.(*soft.Device), each: 5 * time.Millisecond, ops: &ops}
		})
		s.ready(1, 2, 3)
		w := s.keygenFor(suite.purpose)
		for _, c := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s-c%d", suite.name, c), func(b *testing.B) {
				_, _ = s.load(w, c, time.Second) // until the loop is in its stride
				for b.Loop() {
					ops.Store(0)
					const window = 5 * time.Second
					took, again := s.load(w, c, window)
					if len(took) == 0 {
						b.Fatal("nothing was signed")
					}
					slices.Sort(took)
					b.ReportMetric(2*float64(len(took))/float64(ops.Load()), "decisions/op")
					b.ReportMetric(float64(len(took))/window.Seconds(), "signatures/s")
					b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
					b.ReportMetric(float64(again), "retries")
				}
			})
		}
		for _, p := range s.parties {
			p.down()
		}
	}
}

// keygenFor makes a wallet of all vaults, of any purpose.
func (s *site) keygenFor(purpose string) *sim.Wallet {
	s.t.Helper()
	order := s.world.KeygenOrderFor("bench", purpose, 2)
	replies, err := s.together(s.world.IDs, &cluster.Command{Kind: cluster.CommandKeygen, Attempt: attempt(), Body: order.Encode()})
	if err != nil || replies[1].Outcome != cluster.OutcomeDone {
		s.t.Fatalf("no key: %v, %s", err, describe(replies))
	}
	c, err := dkg.DecodeCertificate(replies[1].Body)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &sim.Wallet{ID: c.KeyID(), Certificate: c, PublicKey: c.PublicKey().Encode(), Parties: c.Parties, Threshold: c.Threshold}
	if purpose == governance.PurposeEd25519 {
		w.Sender, err = (solana.Codec{}).Address(solana.Mainnet, w.PublicKey)
	} else {
		w.Sender, err = (evm.Codec{}).Address(sim.Chain, w.PublicKey)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// load has clients ask for small payments for a while, each for the next once it
// has both shares. It returns how long each took, and how many had to be asked for
// again, as the coordinator would, for a reason that is nobody's fault.
func (s *site) load(w *sim.Wallet, clients int, window time.Duration) (took []time.Duration, again int) {
	s.t.Helper()
	var mu sync.Mutex // the world, and took
	var wg sync.WaitGroup
	end := time.Now().Add(window)
	pairs := [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}}
	for i := range clients {
		wg.Go(func() {
			for n := i; ; n++ {
				mu.Lock()
				b, unsigned := s.payment(w)
				mu.Unlock()
				began := time.Now()
				if began.After(end) {
					return
				}
				c := &cluster.Command{Kind: cluster.CommandSign, Attempt: attempt(), Body: b.Encode(), Unsigned: unsigned}
				for _, id := range pairs[n%3] {
					c.Signers = append(c.Signers, uint16(id))
				}
				replies, err := s.together(pairs[n%3], c)
				done, benign := true, err == nil
				for _, r := range replies {
					done = done && r != nil && r.Outcome == cluster.OutcomeDone
					benign = benign && (r.Outcome == cluster.OutcomeDone || r.Outcome == cluster.OutcomeAborted && r.Class == uint8(mpc.Benign))
				}
				if !benign {
					s.t.Errorf("no signature: %v, %s", err, describe(replies))
					return
				}
				mu.Lock()
				if now := time.Now(); !done {
					again++
					s.log.Info("again", "replies", describe(replies))
				} else if now.Before(end) {
					took = append(took, now.Sub(began))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return took, again
}

func (s *site) payment(w *sim.Wallet) (*request.Bundle, []byte) {
	s.nonce++
	s.world.Now = clock()
	if len(w.PublicKey) == 32 {
		return s.world.Pay(w, sim.KnownSolana, 1), sim.UnsignedSolana(w, sim.KnownSolana, 1, byte(s.nonce))
	}
	return s.world.Transfer(w, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), s.nonce)
}
