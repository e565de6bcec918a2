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

// rollback puts an old copy of a vault's disk back, with the copied token, as who has
// its host's backups could.
func (d *demo) rollback(ctx context.Context, p *dev.Party) error {
	copies := filepath.Join(d.dir, "backup")
	p.Stop()
	if err := errors.Join(copyTo(filepath.Join(p.Dir, "disk"), filepath.Join(copies, "disk")), copyTo(p.Token, filepath.Join(copies, "token"))); err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	if err := d.cluster.WaitReady(ctx); err != nil {
		return err
	}
	if err := d.paysWith(ctx, p.ID, "0.01 ETH"); err != nil {
		return err
	}
	p.Stop()
	d.say("%s is copied, disk and software token; it signs a payment; then the copy is put back in its place", p.Name)
	for from, to := range map[string]string{filepath.Join(copies, "disk"): filepath.Join(p.Dir, "disk"), filepath.Join(copies, "token"): p.Token} {
		if err := errors.Join(os.RemoveAll(to), copyTo(from, to)); err != nil {
			return err
		}
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	v, err := d.untilState(ctx, p.ID, "rolled-back")
	if err != nil {
		d.check("the old disk is recognised", err)
		return err
	}
	r := v.RolledBack
	d.check(fmt.Sprintf("the old disk is recognised before it signs anything: its log has %d entries, vaults %v hold a signed head of %d", r.OwnSize, r.By, r.HeldSize), nil)
	q, err := d.propose(ctx, "alice", known, "0.01 ETH")
	if err != nil {
		return err
	}
	if q, err = d.confirmed(ctx, q.ID); err == nil && slices.Contains(signersOf(q), int(p.ID)) {
		err = fmt.Errorf("%s signed it", p.Name)
	}
	d.check(fmt.Sprintf("it signs nothing; the other two go on: vaults %s sign a payment", signers(q)), err)
	return d.resume(ctx, p)
}

// resume has the admins let the vault go on.
func (d *demo) resume(ctx context.Context, p *dev.Party) (err error) {
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return err
	}
	draft, err := client.NewResume(d.info, vaults, int(p.ID), "alice", "a backup was put back by mistake")
	if err != nil {
		return err
	}
	if err := d.ordered(ctx, draft, "alice"); err != nil {
		return err
	}
	v, err := d.vault(ctx, p.ID)
	if err == nil && v.State != "rolled-back" {
		err = fmt.Errorf("it is %s with one signature", v.State)
	}
	d.check("one admin cannot let it go on", err)
	if err := d.ordered(ctx, draft, "bob"); err != nil {
		return err
	}
	if err := d.lift(ctx, p); err != nil {
		return err
	}
	if _, err = d.untilState(ctx, p.ID, "running"); err == nil {
		if err = d.cluster.WaitReady(ctx); err == nil {
			err = d.paysWith(ctx, p.ID, "0.01 ETH")
		}
	}
	d.check(fmt.Sprintf("two admins can, who also lift the suspension (two starts of one number could be two copies): %s takes its ledger from its peers and signs again", p.Name), err)
	if err != nil {
		return err
	}
	d.info, err = d.client.Cluster(ctx)
	return err
}

// lift ends the suspension of a vault, which those have made who saw two of its
// starts with one number: a copied disk, and a copy that runs beside it, look alike.
func (d *demo) lift(ctx context.Context, p *dev.Party) (err error) {
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	draft, err := client.NewLift(d.info, int(p.ID), 0, "alice", "there is one copy only")
	if err != nil {
		return err
	}
	return errors.Join(d.ordered(ctx, draft, "alice"), d.ordered(ctx, draft, "bob"))
}

func copyTo(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return errors.Join(os.CopyFS(to, os.DirFS(from)), os.Chmod(to, info.Mode().Perm()))
}

func (d *demo) vault(ctx context.Context, id uint16) (*client.Vault, error) {
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return nil, err
	}
	for i := range vaults {
		if vaults[i].ID == int(id) {
			return &vaults[i], nil
		}
	}
	return nil, fmt.Errorf("there is no vault %d", id)
}

// untilState waits until a vault says that it is in a state.
func (d *demo) untilState(ctx context.Context, id uint16, state string) (*client.Vault, error) {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(50 * time.Millisecond) {
		v, err := d.vault(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case v.Reachable && v.State == state:
			return v, nil
		case time.Now().After(end):
			return nil, fmt.Errorf("it is %q, not %s, after %s: %s", v.State, state, settleTimeout, v.Error)
		}
	}
}

// paysWith pays until a vault has signed. The coordinator takes the vaults in turn; what
// it knows of them may be a little old.
func (d *demo) paysWith(ctx context.Context, id uint16, text string) error {
	for n, end := 1, time.Now().Add(settleTimeout); ; n++ {
		r, err := d.propose(ctx, "alice", known, text)
		if err != nil {
			return err
		}
		if r, err = d.confirmed(ctx, r.ID); err != nil {
			return err
		}
		if slices.Contains(signersOf(r), int(id)) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("vault %d signed none of %d payments", id, n)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
