package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/client"
)

// blocked is an address that the example policy's guard names.
const blocked = "0x000000000000000000000000000000000000dEaD"

const bigPayment = "20 ETH"

func (d *demo) policy(ctx context.Context) error {
	d.say("the policy allows payments up to 10 ETH; bot proposes %s", bigPayment)
	if err := d.refused(ctx, recipient, bigPayment, "10 ETH"); err != nil {
		return err
	}
	if err := d.refused(ctx, blocked, "0.1 ETH", "known-bad"); err != nil {
		return err
	}
	untouched, err := d.balance(ctx, blocked)
	if err == nil && !untouched.IsZero() {
		err = errors.New("the address that the policy blocks got money")
	}
	d.check("the blocked address has nothing", err)
	if err := d.raiseLimit(ctx); err != nil {
		return err
	}
	before, err := d.balance(ctx, recipient)
	if err != nil {
		return err
	}
	r, err := d.propose(ctx, "bot", recipient, bigPayment)
	if err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	d.check("under the new policy the same payment waits for two approvals", waitsForPeople(r))
	for _, who := range []string{"carol", "dave"} {
		if err := d.approve(ctx, r, who); err != nil {
			return err
		}
	}
	if _, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	after, err := d.balance(ctx, recipient)
	if err == nil {
		err = grew(before, after, eth(bigPayment))
	}
	d.check("with them it is signed, mined and paid", err)
	return nil
}

// refused proposes what policy forbids and checks that the vaults themselves say
// no, in words that hold what is wanted.
func (d *demo) refused(ctx context.Context, to, text, wanted string) error {
	return d.refusedBy(ctx, to, text, wanted, true)
}

// refusedBy is refused by all vaults that are asked, or by one at least: a vault that
// did not sign the payments before hears of them from its peer, who stops first.
func (d *demo) refusedBy(ctx context.Context, to, text, wanted string, all bool) error {
	r, err := d.propose(ctx, "bot", to, text)
	if err != nil {
		return err
	}
	if r, err = d.client.WaitFinal(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	d.check(fmt.Sprintf("%s to %s…: denied, nothing was signed", text, to[:8]), denied(r))
	if len(r.Attempts) == 0 {
		return errors.New("no vault was asked")
	}
	replies := r.Attempts[len(r.Attempts)-1].Replies
	some := slices.ContainsFunc(replies, func(a client.VaultAnswer) bool { return checkRefusal(&a, wanted) == nil })
	for _, a := range replies {
		if !all && some && a.Outcome == "aborted" {
			d.say("vault %d stops, since the other one refuses", a.Vault)
			continue
		}
		err := checkRefusal(&a, wanted)
		words := fmt.Sprintf("vault %d refuses", a.Vault)
		if a.Refusal != nil {
			words += fmt.Sprintf(": %s: %s (would pass: %s)", or(a.Refusal.Rule, a.Refusal.Code), cut(a.Refusal.Detail, 250), a.Refusal.Fix)
		}
		d.check(words, err)
	}
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func denied(r *client.Request) error {
	if r.State != "denied" || r.TxID != "" {
		return fmt.Errorf("it is %s: %s", r.State, r.Reason)
	}
	if n := len(r.Attempts); n == 0 || len(r.Attempts[n-1].Replies) < 2 {
		return errors.New("fewer than two vaults were asked")
	}
	return nil
}

func checkRefusal(a *client.VaultAnswer, wanted string) error {
	switch {
	case a.Refusal == nil:
		return fmt.Errorf("it answers %q", a.Outcome)
	case a.Refusal.Detail == "" || a.Refusal.Fix == "":
		return errors.New("it does not say why, or what would pass")
	case !strings.Contains(fmt.Sprint(*a.Refusal), wanted):
		return fmt.Errorf("it does not speak of %s", wanted)
	case a.Decision == nil || a.Decision.Allow:
		return errors.New("its log holds no refusal, signed for by its HSM")
	}
	return nil
}

// raiseLimit edits the policy's file, as its owner would, and has two admins sign
// it.
func (d *demo) raiseLimit(ctx context.Context) error {
	path := filepath.Join(d.dir, "policy.yaml")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := bytes.Replace(old, []byte(`amount("10 ETH")`), []byte(`amount("25 ETH")`), 1)
	if bytes.Equal(old, changed) {
		return errors.New("policy.yaml does not name 10 ETH")
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		return err
	}
	d.say("policy.yaml is edited: payments up to 25 ETH; alice and bob are two of three admins")
	if d.info, err = d.client.Cluster(ctx); err != nil {
		return err
	}
	change, err := client.NewPolicyChange(d.info, "alice", "payments up to 25 ETH", changed)
	if err != nil {
		return err
	}
	sig, err := d.cluster.Person("alice").SignChange(change)
	if err != nil {
		return err
	}
	c, err := d.client.ProposeChange(ctx, change, sig)
	if err == nil && c.Applied {
		err = errors.New("it is in force already")
	}
	d.check("one admin's signature does not change the policy", err)
	if c == nil {
		return nil
	}
	// Bob signs what he decoded from the bytes himself.
	theirs, err := client.DecodeChange(c.Canonical)
	if err != nil {
		return err
	}
	if !bytes.Equal(compact(theirs.Document), compact(change.Document)) {
		return errors.New("bob sees another policy than alice wrote")
	}
	if sig, err = d.cluster.Person("bob").SignChange(theirs); err != nil {
		return err
	}
	if _, err = d.client.SignChange(ctx, c.Hash, sig); err != nil {
		return err
	}
	d.check("with the second the change is in force in every vault", d.everywhere(ctx, d.info.Governance.Seq+1))
	d.info, err = d.client.Cluster(ctx)
	return err
}

func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return nil
	}
	return out.Bytes()
}

// everywhere waits until all vaults have applied so many changes.
func (d *demo) everywhere(ctx context.Context, seq uint64) error {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(20 * time.Millisecond) {
		vaults, err := d.client.Vaults(ctx)
		if err != nil {
			return err
		}
		n := 0
		for _, v := range vaults {
			if v.Reachable && v.GovernanceSeq == seq {
				n++
			}
		}
		if n == len(d.info.Vaults) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d vaults have applied it", n, len(d.info.Vaults))
		}
	}
}
