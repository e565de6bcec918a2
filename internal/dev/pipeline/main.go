// Command pipeline measures how long a whole cluster takes from a proposal to a
// signature: 200 requests one after another, with real vault processes, real
// tokens and real fsync, auto-approved by the example policy's rule for small
// transfers. It prints the median as `make bench` wants it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/dev"
)

// known is whom the example policy pays without approval.
const known = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

func main() {
	binary := flag.String("coffer", ".build/coffer", "the program coffer")
	n := flag.Int("n", 200, "requests")
	verbose := flag.Bool("v", false, "print more than the median")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	times, err := measure(ctx, *binary, *n)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	slices.Sort(times)
	fmt.Printf("bench: pipeline-ecdsa-2of3-p50 %d ns\n", times[len(times)/2].Nanoseconds())
	if *verbose {
		fmt.Printf("%d requests: fastest %v, p50 %v, p95 %v, slowest %v\n", len(times), times[0], times[len(times)/2], times[len(times)*95/100], times[len(times)-1])
	}
}

func measure(ctx context.Context, binary string, n int) (_ []time.Duration, err error) {
	dir, err := os.MkdirTemp("", "coffer-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	have, _ := dev.Devices()
	c, err := dev.Start(ctx, dev.Options{Dir: dir, Binary: binary, Devices: have[:1]}) // all alike: SoftHSM, as ever
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	b := &bench{cluster: c}
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	var times []time.Duration
	for range n {
		t, err := b.one(ctx)
		if err != nil {
			return nil, err
		}
		times = append(times, t)
	}
	return times, nil
}

type bench struct {
	cluster *dev.Cluster
	client  *client.Client
	info    *client.Cluster
	wallet  *client.Wallet
	chain   string
}

func (b *bench) setUp(ctx context.Context) (err error) {
	if b.client, err = b.cluster.Client(); err != nil {
		return err
	}
	if b.info, err = b.client.Cluster(ctx); err != nil {
		return err
	}
	order, err := b.cluster.Order(b.info, "alice", client.KeyOptions{Name: "bench", Threshold: 2})
	if err != nil {
		return err
	}
	if b.wallet, err = b.client.CreateWallet(ctx, order); err != nil {
		return err
	}
	b.chain = evm.ChainName(b.cluster.Chain)
	account, err := evm.ParseAddress(b.wallet.Addresses[b.chain])
	if err != nil {
		return err
	}
	wei, err := amount.Parse("1000 ETH", amount.Ether...)
	if err != nil {
		return err
	}
	return b.cluster.Anvil.SetBalance(ctx, account, wei)
}

// one runs a request and returns the time from handing it in to the moment that
// the coordinator had stored its signature, by this machine's clock.
func (b *bench) one(ctx context.Context) (time.Duration, error) {
	d, err := client.NewTransfer(b.info, b.wallet, b.chain, known, "0.001 ETH")
	if err != nil {
		return 0, err
	}
	p, err := b.cluster.Person("bot").Propose(d)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	r, err := b.client.Propose(ctx, p)
	if err != nil {
		return 0, err
	}
	if r, err = b.client.WaitFinal(ctx, r.ID, time.Minute); err != nil {
		return 0, err
	}
	if r.State != "confirmed" {
		return 0, fmt.Errorf("request %s is %s: %s", r.ID, r.State, r.Reason)
	}
	for _, t := range r.Transitions {
		if t.State == "signed" {
			// The coordinator stores milliseconds: count the one that had begun.
			return t.Time.Add(time.Millisecond).Sub(began), nil
		}
	}
	return 0, fmt.Errorf("request %s was never signed", r.ID)
}
