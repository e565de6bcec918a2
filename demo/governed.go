package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/dev"
)

//go:embed governed.yaml
var governedPolicy string

// cooling is how long this part's changes wait that are not proven to tighten.
const cooling = 2 * time.Second

// governed runs in a cluster of its own, whose changes cool off.
func (d *demo) governed(ctx context.Context) error {
	main := *d
	defer func() {
		d.dir, d.cluster, d.client, d.info, d.wallet = main.dir, main.cluster, main.client, main.info, main.wallet
	}()
	d.dir = filepath.Join(d.dir, "gov")
	c, err := dev.Start(ctx, dev.Options{
		Dir: d.dir, Binary: filepath.Join(d.bin, "coffer"), Devices: []string{"software"}, Cooling: cooling, Policy: []byte(governedPolicy),
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
	order, err := c.Order(d.info, "alice", client.KeyOptions{Name: walletName, Threshold: 2})
	if err != nil {
		return err
	}
	if d.wallet, err = d.client.CreateWallet(ctx, order); err != nil {
		return err
	}
	if err := d.fund(ctx, eth("100 ETH")); err != nil {
		return err
	}
	d.say("a second cluster: known addresses get up to 3 ETH without approval, a wallet sends at most 10 ETH in 24 hours, changes cool off for %s", short(cooling))
	var paid *client.Request
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) (err error) { paid, err = d.limit(ctx); return err },
		d.invariant, d.widen, d.tighten, d.freeze, d.suspicious, d.permit,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.bundle(ctx, paid)
}

// limit pays until the limit of the day, and a wei more. It returns a payment.
func (d *demo) limit(ctx context.Context) (paid *client.Request, err error) {
	var subsets []string
	for _, text := range []string{"3 ETH", "3 ETH", "3 ETH"} {
		if paid, err = d.pays(ctx, known, text); err != nil {
			return nil, err
		}
		if s := signers(paid); !slices.Contains(subsets, s) {
			subsets = append(subsets, s)
		}
	}
	if len(subsets) < 2 {
		err = fmt.Errorf("always vaults %s signed", subsets)
	}
	d.check(fmt.Sprintf("three times 3 ETH are mined, signed by vaults %s: no vault signed all of them", strings.Join(subsets, "; ")), err)
	if err := d.refusedBy(ctx, known, "1.000000000000000001 ETH", "9 ETH before it", false); err != nil {
		return nil, err
	}
	if paid, err = d.pays(ctx, known, "1 ETH"); err == nil {
		err = decidedBy(paid, 2)
	}
	d.check("that was 10 ETH and a wei with the 9 before it; 1 ETH, to the limit exactly, is mined", err)
	if err != nil {
		return nil, err
	}
	return paid, d.refusedBy(ctx, known, "1 wei", "10 ETH before it", false)
}

// pays proposes a payment and waits until it is mined.
func (d *demo) pays(ctx context.Context, to, text string) (*client.Request, error) {
	r, err := d.propose(ctx, "bot", to, text)
	if err != nil {
		return nil, err
	}
	return d.confirmed(ctx, r.ID)
}

// edited is this part's policy with one text changed.
func (d *demo) edited(old, new string) ([]byte, error) {
	if !strings.Contains(governedPolicy, old) {
		return nil, fmt.Errorf("governed.yaml does not name %s", old)
	}
	return []byte(strings.Replace(governedPolicy, old, new, 1)), nil
}

// invariant tries to publish what the policy's own invariant forbids.
func (d *demo) invariant(ctx context.Context) error {
	text, err := d.edited(`amount("3 ETH") && within`, `amount("4 ETH") && within`)
	if err != nil {
		return err
	}
	change, err := client.NewPolicyChange(d.info, "alice", "4 ETH alone", text)
	if err != nil {
		return err
	}
	err = d.ordered(ctx, change, "alice")
	var refused *client.Error
	words := ""
	switch {
	case err == nil:
		err = errors.New("it is taken")
	case !errors.As(err, &refused) || refused.Code != "policy.invariant" || !strings.Contains(refused.Detail, "a transfer of"):
	default:
		words, err = refused.Detail, nil
	}
	d.check(fmt.Sprintf("up to 4 ETH without approval cannot be published, since an invariant says otherwise: %s", words), err)
	return nil
}

// changed proposes a policy and has alice and bob sign it.
func (d *demo) changed(ctx context.Context, note string, text []byte) (c *client.Change, err error) {
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return nil, err
	}
	change, err := client.NewPolicyChange(d.info, "alice", note, text)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.ordered(ctx, change, "alice"), d.ordered(ctx, change, "bob")); err != nil {
		return nil, err
	}
	return d.client.Change(ctx, change.Hash)
}

// widen raises the limit of the day.
func (d *demo) widen(ctx context.Context) error {
	text, err := d.edited("max: 10 ETH", "max: 30 ETH")
	if err != nil {
		return err
	}
	if err := d.diff(ctx, text); err != nil {
		return err
	}
	c, err := d.changed(ctx, "30 ETH a day", text)
	if err != nil {
		return err
	}
	if c.Status != "waiting" || c.Class != "loosening" || c.Due == nil {
		err = fmt.Errorf("it is %s, %s", c.Class, c.Status)
	}
	d.check("signed by two admins the change waits: every vault judged by itself that it loosens", err)
	if err := d.refusedBy(ctx, known, "2 ETH", "10 ETH before it", false); err != nil {
		return err
	}
	began := time.Now()
	err = d.until(ctx, c.Hash, "in-force")
	waited := time.Since(began)
	if err == nil {
		_, err = d.pays(ctx, known, "2 ETH")
	}
	d.check(fmt.Sprintf("%s later it is in force, and the same payment is mined", short(waited)), err)
	return err
}

// until waits for a change's state.
func (d *demo) until(ctx context.Context, hash, status string) error {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(50 * time.Millisecond) {
		c, err := d.client.Change(ctx, hash)
		switch {
		case err != nil:
			return err
		case c.Status == status:
			return d.everywhere(ctx, c.Seq)
		case time.Now().After(end):
			return fmt.Errorf("it is %s after %s", c.Status, settleTimeout)
		}
	}
}

// tighten takes most of what needs no approval away.
func (d *demo) tighten(ctx context.Context) error {
	text, err := d.edited(`amount("3 ETH") && within`, `amount("1 ETH") && within`)
	if err != nil {
		return err
	}
	text = []byte(strings.Replace(string(text), "max: 10 ETH", "max: 30 ETH", 1))
	began := time.Now()
	c, err := d.changed(ctx, "1 ETH alone", text)
	if err != nil {
		return err
	}
	took := time.Since(began)
	r, err := d.propose(ctx, "bot", known, "2 ETH")
	if err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err == nil {
		err = waitsForPeople(r)
	}
	if err == nil && (c.Class != "tightening" || c.Status != "in-force") {
		err = fmt.Errorf("it is %s, %s", c.Class, c.Status)
	}
	d.check(fmt.Sprintf("up to 1 ETH instead of 3 is proven to tighten: in force at once, after %s; 2 ETH wait for approvals now", short(took)), err)
	return nil
}

// freeze stops a wallet, and thaws it.
func (d *demo) freeze(ctx context.Context) (err error) {
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	draft, err := client.NewFreeze(d.info, d.wallet, false, "carol", "a phishing mail")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := d.ordered(ctx, draft, "carol"); err != nil {
		return err
	}
	d.say("carol, one admin of three, freezes the wallet: that took %s", short(time.Since(began)))
	if err := d.refusedBy(ctx, known, "0.1 ETH", "frozen by carol", false); err != nil {
		return err
	}
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	if draft, err = client.NewFreeze(d.info, d.wallet, true, "carol", "it was a false alarm"); err != nil {
		return err
	}
	if err := d.ordered(ctx, draft, "carol"); err != nil {
		return err
	}
	r, err := d.propose(ctx, "bot", known, "0.1 ETH")
	if err != nil {
		return err
	}
	if r, err = d.client.WaitFinal(ctx, r.ID, settleTimeout); err == nil {
		err = denied(r)
	}
	d.check("one admin cannot thaw it", err)
	if err := d.ordered(ctx, draft, "alice"); err != nil {
		return err
	}
	_, err = d.pays(ctx, known, "0.1 ETH")
	d.check("two can: 0.1 ETH are signed and mined", err)
	return err
}
