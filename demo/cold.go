package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/dev"
)

// cold pays from a wallet whose shares rest under keys that the devices use only when
// their operators say so, each at its own device.
func (d *demo) cold(ctx context.Context) error {
	parties, err := d.coldParties(ctx)
	if err != nil {
		return err
	}
	if len(parties) < 2 {
		d.say("no cold wallet: fewer than two devices here ask for authorisation (SoftHSM and the TPM emulator do)")
		return nil
	}
	var ids []int
	for _, p := range parties {
		ids = append(ids, int(p.ID))
	}
	order, err := d.cluster.Order(d.info, "alice", client.KeyOptions{Name: "vaulted", Threshold: 2, Vaults: ids, Tier: "cold"})
	if err != nil {
		return err
	}
	w, err := d.client.CreateWallet(ctx, order)
	if err != nil {
		return err
	}
	account, err := evm.ParseAddress(w.Addresses[d.chainID()])
	if err != nil {
		return err
	}
	if err := d.cluster.Anvil.SetBalance(ctx, account, eth("1 ETH")); err != nil {
		return err
	}
	d.say("a second wallet is cold: its shares on %s and %s rest sealed by keys that these devices use only when their operators authorise it", parties[0].Name, parties[1].Name)
	before, err := d.balance(ctx, known)
	if err != nil {
		return err
	}
	draft, err := client.NewTransfer(d.info, w, d.chainID(), known, "0.2 ETH")
	if err != nil {
		return err
	}
	p, err := d.cluster.Person("alice").Propose(draft)
	if err != nil {
		return err
	}
	r, err := d.client.Propose(ctx, p)
	if err != nil {
		return err
	}
	for _, p := range parties {
		if err := d.authorise(ctx, p); err != nil {
			return err
		}
	}
	if r, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	after, err := d.balance(ctx, known)
	if err == nil {
		err = errors.Join(decidedBy(r, 2), grew(before, after, eth("0.2 ETH")))
	}
	d.check("with both, 0.2 ETH are signed and mined", err)
	return nil
}

// coldParties are two that can keep a share cold.
func (d *demo) coldParties(ctx context.Context) (out []*dev.Party, err error) {
	vaults, err := d.client.Vaults(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range d.cluster.Parties {
		i := slices.IndexFunc(vaults, func(v client.Vault) bool { return v.ID == int(p.ID) })
		if i >= 0 && vaults[i].Hardware != nil && slices.Contains(vaults[i].Hardware.Tiers, "cold") && len(out) < 2 {
			out = append(out, p)
		}
	}
	return out, nil
}

// use is what `coffer hsm pending` says of one that waits.
type use struct {
	ID   int
	Use  string
	Asks string
}

// authorise is what a device's operator does: look what waits, and authorise it.
func (d *demo) authorise(ctx context.Context, p *dev.Party) error {
	var waits []use
	for end := time.Now().Add(settleTimeout); len(waits) == 0; time.Sleep(50 * time.Millisecond) {
		out, err := d.coffer(ctx, nil, "hsm", "pending", "--config", filepath.Join(p.Dir, "hsm.toml"), "--json")
		if err != nil {
			return err
		}
		if err := json.Unmarshal(out, &waits); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("nothing waits for the operator of %s", p.Name)
		}
	}
	args := []string{"hsm", "authorize", fmt.Sprint(waits[0].ID), "--config", filepath.Join(p.Dir, "hsm.toml")}
	var stdin []byte
	how := "his key"
	if waits[0].Asks == "pin" {
		pin, err := os.ReadFile(p.PINFile())
		if err != nil {
			return err
		}
		stdin, how = pin, "the PIN"
	} else {
		args = append(args, "--key", p.OperatorKey(), "--yes")
	}
	_, err := d.coffer(ctx, stdin, args...)
	d.check(fmt.Sprintf("%s's device waits (%q) until its operator gives %s", p.Name, waits[0].Use, how), err)
	return err
}

// coffer runs the program as a person would.
func (d *demo) coffer(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "coffer"), args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	cmd.Env = append(os.Environ(), "COFFER_HOME="+d.dir)
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("coffer %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
