package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/dev"
	"github.com/cofferhq/coffer/internal/node"
)

// lifecycle runs in a cluster of five vaults of its own: a wallet of three of them
// gets new shares, and then goes to all five, while people go on paying.
func (d *demo) lifecycle(ctx context.Context) error {
	main := *d
	defer func() {
		d.cluster, d.client, d.info, d.wallet = main.cluster, main.client, main.info, main.wallet
	}()
	c, err := dev.Start(ctx, dev.Options{
		Dir: filepath.Join(d.dir, "five"), Binary: filepath.Join(d.bin, "coffer"), Vaults: 5,
		Say:      func(text string) { d.say("!! %s", text) },
		Progress: func(step string, took time.Duration) { d.say("%-48s %s", step, short(took)) },
	})
	if err != nil {
		return err
	}
	defer c.Stop()
	d.cluster = c
	if d.client, err = c.Client(); err != nil {
		return err
	}
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	order, err := c.Order(d.info, "alice", client.KeyOptions{Name: walletName, Threshold: 2, Vaults: []int{1, 2, 3}})
	if err != nil {
		return err
	}
	if d.wallet, err = d.client.CreateWallet(ctx, order); err != nil {
		return err
	}
	if err := d.fund(ctx, eth("100 ETH")); err != nil {
		return err
	}
	address := d.address()
	d.say("a wallet on vaults 1, 2 and 3 of five, any 2 sign; address %s", address)
	stream := d.pay(ctx)
	err = d.epochs(ctx, address)
	paid, lost := stream.end(ctx)
	if err != nil {
		return err
	}
	if lost == nil && paid < 5 {
		lost = fmt.Errorf("only %d were made", paid)
	}
	d.check(fmt.Sprintf("%d payments were asked for all the while, one after the other: every one is mined", paid), lost)
	c.Stop()
	d.check("the shares of ended epochs are gone from all five disks", onlyNewest(c))
	return nil
}

// epochs refreshes the wallet's key and moves it to all five vaults.
func (d *demo) epochs(ctx context.Context, address string) error {
	began := time.Now()
	draft, err := client.NewRefresh(d.info, d.wallet, "alice", "new shares, as every quarter")
	if err != nil {
		return err
	}
	if err := d.ordered(ctx, draft, "alice"); err != nil {
		return err
	}
	err = d.reaches(ctx, 2, address)
	d.check(fmt.Sprintf("refresh: one admin orders it; after %s vaults 1, 2 and 3 have new shares, epoch 2, the same address", short(time.Since(began))), err)
	if err != nil {
		return err
	}

	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	if draft, err = client.NewReshare(d.info, d.wallet, "alice", "five places, three must agree", 3, []int{1, 2, 3, 4, 5}, d.cluster.Alike(3, nil) != ""); err != nil {
		return err
	}
	if err := d.ordered(ctx, draft, "alice"); err != nil {
		return err
	}
	w, err := d.client.Wallet(ctx, walletName)
	if err == nil && (len(w.Orders) != 1 || w.Epoch != 2) {
		err = errors.New("one signature was enough")
	}
	d.check("reshare to 3 of 5: one admin's order is not enough, since it says who can spend", err)
	began = time.Now()
	if err := d.ordered(ctx, draft, "bob"); err != nil {
		return err
	}
	v2 := d.cluster.Parties[1]
	time.Sleep(30 * time.Millisecond) // some of the dealing has been done
	v2.Kill()
	d.say("bob signs too; %s later vault 2 gets SIGKILL, in the middle of it", short(time.Since(began)))
	r, err := d.propose(ctx, "alice", known, "0.01 ETH")
	if err != nil {
		return err
	}
	r, err = d.confirmed(ctx, r.ID)
	d.check(fmt.Sprintf("with vault 2 dead the wallet works on: a payment, signed by vaults %s, is mined", signers(r)), err)
	if err := v2.Start(ctx); err != nil {
		return err
	}
	d.say("vault 2 starts again from its disk")
	err = d.reaches(ctx, 3, address)
	d.check(fmt.Sprintf("after %s the wallet is in epoch 3: any 3 of 5 vaults sign, name, key id and address %s stay", short(time.Since(began)), address), err)
	if err != nil {
		return err
	}
	return d.fiveSign(ctx)
}

// ordered proposes a change, or adds a signature to it.
func (d *demo) ordered(ctx context.Context, draft *client.DecodedChange, who string) error {
	sig, err := d.cluster.Person(who).SignChange(draft)
	if err == nil {
		_, err = d.client.ProposeChange(ctx, draft, sig)
	}
	return err
}

// reaches waits until the wallet is in an epoch, by the word of its vaults too.
func (d *demo) reaches(ctx context.Context, epoch uint64, address string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var last error
	for {
		w, err := d.client.Wallet(ctx, walletName)
		if err == nil {
			if err = d.holds(ctx, w, epoch); err == nil {
				old := d.wallet
				d.wallet = w
				if w.ID != old.ID || w.Name != old.Name || d.address() != address {
					return fmt.Errorf("key %s with address %s became key %s with %s", old.ID, address, w.ID, d.address())
				}
				return nil
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", settleTimeout, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *demo) holds(ctx context.Context, w *client.Wallet, epoch uint64) error {
	if w.Epoch != epoch {
		return fmt.Errorf("it is in epoch %d: %v", w.Epoch, w.Orders)
	}
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return err
	}
	for _, v := range vaults {
		i := slices.IndexFunc(v.Keys, func(k client.Key) bool { return k.ID == w.ID })
		switch {
		case slices.Contains(w.Parties, v.ID) != (i >= 0):
			return fmt.Errorf("%s holds a share: %v", v.Name, i >= 0)
		case i >= 0 && v.Keys[i].Epoch != epoch:
			return fmt.Errorf("%s is in epoch %d", v.Name, v.Keys[i].Epoch)
		}
	}
	return nil
}

// fiveSign pays until both newcomers have signed.
func (d *demo) fiveSign(ctx context.Context) error {
	seen := map[string]bool{}
	var err error
	for range 30 {
		r, e := d.propose(ctx, "alice", known, "0.01 ETH")
		if e != nil {
			return e
		}
		if r, err = d.confirmed(ctx, r.ID); err != nil {
			break
		}
		if err = decidedBy(r, 3); err != nil {
			break
		}
		for _, v := range strings.Split(signers(r), " and ") {
			seen[v] = true
		}
		if seen["4"] && seen["5"] {
			break
		}
	}
	if err == nil && (!seen["4"] || !seen["5"]) {
		err = fmt.Errorf("signed have only %v", seen)
	}
	d.check("payments now carry three vaults' decisions, vaults 4 and 5 among them", err)
	return nil
}

// stream is somebody who pays without pause.
type stream struct {
	d    demo // with a wallet of its own view
	stop chan struct{}
	wg   sync.WaitGroup

	ids []string
	err error
}

func (d *demo) pay(ctx context.Context) *stream {
	s := &stream{d: *d, stop: make(chan struct{})}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for s.err == nil {
			r, err := s.d.propose(ctx, "alice", known, "0.001 ETH")
			if err != nil {
				s.err = err
				return
			}
			s.ids = append(s.ids, r.ID)
			select {
			case <-s.stop:
				return
			case <-ctx.Done():
				return
			case <-time.After(150 * time.Millisecond):
			}
		}
	}()
	return s
}

// end stops asking and waits for what was asked.
func (s *stream) end(ctx context.Context) (paid int, err error) {
	close(s.stop)
	s.wg.Wait()
	if s.err != nil {
		return 0, s.err
	}
	for _, id := range s.ids {
		if _, err := s.d.confirmed(ctx, id); err != nil {
			return paid, err
		}
		paid++
	}
	return paid, nil
}

// onlyNewest reads the disks of a cluster that is stopped: of every share's record
// only that of the newest epoch is there.
func onlyNewest(c *dev.Cluster) error {
	for _, p := range c.Parties {
		names, err := node.RecordNames(filepath.Join(p.Dir, "disk"))
		if err != nil {
			return err
		}
		var shares []string
		for _, n := range names {
			for _, prefix := range []string{"key/", "share/", "candidate/", "pending/"} {
				if strings.HasPrefix(n, prefix) {
					shares = append(shares, n)
				}
			}
		}
		if len(shares) != 1 || !strings.HasSuffix(shares[0], fmt.Sprintf("/%016x", 3)) {
			return fmt.Errorf("%s has %v", p.Name, shares)
		}
	}
	return nil
}
