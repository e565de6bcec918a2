package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/dev"
)

// lost takes a vault's disk and device away for good. A new device on an empty disk
// takes its place when the admins say so; the others give it its shares back.
func (d *demo) lost(ctx context.Context, p *dev.Party) error {
	p.Stop()
	for _, name := range []string{"disk", "card", "device", filepath.Base(p.Token)} {
		if err := os.RemoveAll(filepath.Join(p.Dir, name)); err != nil {
			return err
		}
	}
	d.say("the host of %s burns down, disk and device; a new one is set up and makes a new card", p.Name)
	if err := d.cluster.Reenrol(ctx, p); err != nil {
		return err
	}
	card, err := os.ReadFile(filepath.Join(p.Dir, "card"))
	if err != nil {
		return err
	}
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return err
	}
	draft, err := client.NewReplace(d.info, vaults, int(p.ID), card, "alice", "its host burnt down")
	if err != nil {
		return err
	}
	if err := errors.Join(d.ordered(ctx, draft, "alice"), d.ordered(ctx, draft, "bob")); err != nil {
		return err
	}
	began := time.Now()
	if err := p.StartVault(); err != nil {
		return err
	}
	err = d.untilHolds(ctx, p)
	d.check(fmt.Sprintf("two admins put the new card in force; after %s vaults 1 and 2 have repaired its share, which none of them ever saw", short(time.Since(began))), err)
	if err != nil {
		return err
	}
	if err := d.cluster.WaitReady(ctx); err != nil {
		return err
	}
	return d.awake(ctx, p)
}

// untilHolds waits until a vault has a share of the wallet's key again.
func (d *demo) untilHolds(ctx context.Context, p *dev.Party) error {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(50 * time.Millisecond) {
		v, err := d.vault(ctx, p.ID)
		switch {
		case err != nil:
			return err
		case v.Reachable && v.State == "running" && slices.ContainsFunc(v.Keys, func(k client.Key) bool { return k.ID == d.wallet.ID }):
			return nil
		case time.Now().After(end):
			return fmt.Errorf("it is %q with %d keys after %s: %s", v.State, len(v.Keys), settleTimeout, v.Error)
		}
	}
}

// awake refreshes the key, since a share that was repaired rests until then, and pays.
func (d *demo) awake(ctx context.Context, p *dev.Party) (err error) {
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	if d.wallet, err = d.client.Wallet(ctx, walletName); err != nil {
		return err
	}
	draft, err := client.NewRefresh(d.info, d.wallet, "alice", "vault 3 was replaced")
	if err != nil {
		return err
	}
	if err := d.ordered(ctx, draft, "alice"); err != nil {
		return err
	}
	err = d.reaches(ctx, d.wallet.Epoch+1, d.address())
	if err == nil {
		err = d.paysWith(ctx, p.ID, "0.01 ETH")
	}
	d.check(fmt.Sprintf("after a refresh, which makes the lost share worthless, %s signs again: the address is the same", p.Name), err)
	return err
}
