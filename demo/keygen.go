package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/dev"
)

// walletName is the key that the demo works with.
const walletName = "treasury"

func (d *demo) keygen(ctx context.Context) error {
	order, err := d.cluster.Order(d.info, "alice", client.KeyOptions{Name: walletName, Threshold: 2})
	if err != nil {
		return err
	}
	d.say("alice, an admin, orders a key of which any 2 of the 3 vaults can sign")
	began := time.Now()
	if d.wallet, err = d.client.CreateWallet(ctx, order); err != nil {
		return err
	}
	took := time.Since(began)
	d.check(fmt.Sprintf("key %s… made by 3 vaults in %s, any 2 can sign; address %s", d.wallet.ID[:8], short(took), d.address()), d.keyEverywhere(ctx))
	for _, v := range d.info.Vaults {
		d.say("%s: HSM %s %s, public identity %s", v.Name, v.Vendor, v.Model, v.Identity)
	}
	d.check("each vault's identity is a key that its own HSM made and the genesis names", d.identities())
	before, err := d.client.Wallets(ctx)
	if err != nil {
		return err
	}
	again, err := d.client.CreateWallet(ctx, order)
	if err == nil && (again.ID != d.wallet.ID || len(before) != 1) {
		err = errors.New("there is a second key now")
	}
	d.check("the same order once more makes no second key", err)
	return d.theft(ctx)
}

func (d *demo) chainID() string { return evm.ChainName(d.cluster.Chain) }

func (d *demo) address() string { return d.wallet.Addresses[d.chainID()] }

func (d *demo) account() evm.Address {
	a, err := evm.ParseAddress(d.address())
	if err != nil {
		return evm.Address{} // the coordinator named no address: no balance will fit
	}
	return a
}

// keyEverywhere asks every vault for the key, by its own word.
func (d *demo) keyEverywhere(ctx context.Context) error {
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return err
	}
	for _, v := range vaults {
		if !v.Reachable || len(v.Keys) != 1 || v.Keys[0].PublicKey != d.wallet.PublicKey || v.Keys[0].Threshold != 2 {
			return fmt.Errorf("%s does not hold the key", v.Name)
		}
	}
	if _, err := evm.ParseAddress(d.address()); err != nil {
		return err
	}
	return nil
}

func (d *demo) identities() error {
	seen := map[string]bool{}
	for i, e := range d.cluster.Genesis.Enrolments {
		v := d.info.Vaults[i]
		if v.Identity != e.Vault.Identity.String() {
			return fmt.Errorf("%s is not whom the genesis names: %s", v.Name, v.Identity)
		}
		if seen[v.Identity] {
			return fmt.Errorf("%s has the identity of another vault", v.Name)
		}
		seen[v.Identity] = true
	}
	return nil
}

// theft moves a vault's token away and starts a copy of its disk, as somebody
// would who stole the disk.
func (d *demo) theft(ctx context.Context) error {
	p := d.withToken()
	p.Stop()
	moved := p.Token + ".moved"
	if err := os.Rename(p.Token, moved); err != nil {
		return err
	}
	d.say("the token of %s is moved away, and a copy of its disk started without it", p.Name)
	words, err := d.openCopy(ctx, p, "thief", nil)
	if err == nil {
		d.say("it says: %s", words)
	}
	d.check("without its token a copy of the vault's disk does not open", err)

	words, err = d.openCopy(ctx, p, "thief-with-a-token", func(t *dev.Party) error { return d.cluster.Device(ctx, t) })
	if err == nil {
		d.say("it says: %s", words)
	}
	d.check("with another token than its own it does not open either", err)

	if err := errors.Join(os.RemoveAll(p.Token), os.Rename(moved, p.Token)); err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	err = d.cluster.WaitReady(ctx)
	d.check("with its token back, the vault starts again from disk and token", err)
	return err
}

// withToken is the party whose device is a SoftHSM token, or the last one.
func (d *demo) withToken() *dev.Party {
	all := d.cluster.Parties
	if i := slices.IndexFunc(all, func(p *dev.Party) bool { return p.Kind == "softhsm" }); i >= 0 {
		return all[i]
	}
	return all[len(all)-1]
}

// openCopy tries to run a copy of a vault's disk. It returns the words with which
// that failed, or an error because it did not fail.
func (d *demo) openCopy(ctx context.Context, p *dev.Party, name string, device func(*dev.Party) error) (words string, err error) {
	t, err := p.Copy(filepath.Join(d.dir, name))
	if err != nil {
		return "", err
	}
	if device != nil {
		if err := device(t); err != nil {
			return "", err
		}
	}
	if err := t.Write(filepath.Join(d.dir, "genesis")); err != nil {
		return "", err
	}
	defer t.Stop()
	if err := t.StartHSM(ctx); err != nil {
		return lastLine(err), nil
	}
	if err := t.StartVault(); err != nil {
		return "", err
	}
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case <-t.Vault.Done():
		return lastLine(t.Vault.Failure()), nil
	case <-t.HSM.Done():
		return lastLine(t.HSM.Failure()), nil
	case <-limit.Done():
		return "", errors.New("it runs")
	}
}

// lastLine is the line with the error in a process's last words.
func lastLine(err error) string {
	lines := bytes.Split([]byte(err.Error()), []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if _, rest, ok := bytes.Cut(lines[i], []byte("error: ")); ok {
			words := string(rest)
			if i+1 < len(lines) {
				if _, hint, ok := bytes.Cut(lines[i+1], []byte("hint:  ")); ok {
					words += " (" + string(hint) + ")"
				}
			}
			return words
		}
	}
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}

// fund gives the wallet money, which on this chain costs nothing.
func (d *demo) fund(ctx context.Context, wei chain.Amount) error {
	return d.cluster.Anvil.SetBalance(ctx, d.account(), wei)
}
