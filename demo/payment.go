package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
)

// recipient is somebody whom the address book does not know.
const recipient = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"

// settleTimeout is how long a request may take to be mined or to wait for people.
const settleTimeout = 60 * time.Second

func eth(text string) chain.Amount {
	a, err := amount.Parse(text, amount.Ether...)
	if err != nil {
		panic(err) // a constant of this program
	}
	return a
}

func (d *demo) payment(ctx context.Context) error {
	if err := d.fund(ctx, eth("100 ETH")); err != nil {
		return err
	}
	d.say("the wallet gets 100 ETH of this chain, which cost nothing")
	before, err := d.balance(ctx, recipient)
	if err != nil {
		return err
	}
	r, err := d.propose(ctx, "bot", recipient, "2 ETH")
	if err != nil {
		return err
	}
	d.say("bot proposes 2 ETH to %s; the policy asks for two of bob, carol and dave", recipient)
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	d.check("the risk engine screened it and the request waits for people: nothing is signed yet", waitsForPeople(r))
	if err := d.approve(ctx, r, "bob"); err != nil {
		return err
	}
	if r, err = d.client.Request(ctx, r.ID); err != nil {
		return err
	}
	d.check("after bob's approval one is still missing", waitsForPeople(r))
	if err := d.approve(ctx, r, "carol"); err != nil {
		return err
	}
	if r, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	d.steps(r)
	d.check(fmt.Sprintf("vaults %s decided by themselves and signed together: rule %q", signers(r), rule(r)), decidedBy(r, 2))
	if err := d.readBack(ctx, r, before, "2 ETH"); err != nil {
		return err
	}
	if err := d.small(ctx); err != nil {
		return err
	}
	if err := d.token(ctx); err != nil {
		return err
	}
	return d.solana(ctx)
}

// propose drafts, signs and hands in a transfer.
func (d *demo) propose(ctx context.Context, who, to, text string) (*client.Request, error) {
	p, err := d.sign(who, to, text)
	if err != nil {
		return nil, err
	}
	return d.client.Propose(ctx, p)
}

func (d *demo) sign(who, to, text string) (*client.Proposal, error) {
	draft, err := client.NewTransfer(d.info, d.wallet, d.chainID(), to, text)
	if err != nil {
		return nil, err
	}
	return d.cluster.Person(who).Propose(draft)
}

// approve decodes the request's bytes once more, as every approver's client
// does, and signs.
func (d *demo) approve(ctx context.Context, r *client.Request, who string) error {
	dec, err := client.Decode(r.Canonical, d.info)
	if err != nil {
		return err
	}
	a, err := d.cluster.Person(who).Approve(dec, true, 0)
	if err != nil {
		return err
	}
	_, err = d.client.Approve(ctx, r.ID, a)
	return err
}

// confirmed waits until a request is mined.
func (d *demo) confirmed(ctx context.Context, id string) (*client.Request, error) {
	r, err := d.client.WaitFinal(ctx, id, settleTimeout)
	if err == nil && r.State != "confirmed" {
		err = fmt.Errorf("request %s… is %s: %s", id[:8], r.State, r.Reason)
	}
	return r, err
}

func waitsForPeople(r *client.Request) error {
	if r.State != "awaiting_approval" || r.TxID != "" || len(r.Attempts) > 0 {
		return fmt.Errorf("it is %s: %s", r.State, r.Reason)
	}
	return nil
}

// steps prints a request's history with the time of each step.
func (d *demo) steps(r *client.Request) {
	for i, t := range r.Transitions {
		took := ""
		if i+1 < len(r.Transitions) {
			took = short(r.Transitions[i+1].Time.Sub(t.Time))
		}
		d.say("%-18s %7s  %s", t.State, took, cut(t.Reason, 90))
	}
}

// cut shortens a line for the screen; the whole stands in the coordinator's
// answer.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n]) + "…"
	}
	return text
}

func signers(r *client.Request) string {
	if len(r.Attempts) == 0 {
		return "none"
	}
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(r.Attempts[len(r.Attempts)-1].Signers)), " and "), "[]")
}

// signersOf are the vaults of the last attempt.
func signersOf(r *client.Request) []int {
	if len(r.Attempts) == 0 {
		return nil
	}
	return r.Attempts[len(r.Attempts)-1].Signers
}

func rule(r *client.Request) string {
	if len(r.Attempts) == 0 {
		return ""
	}
	for _, a := range r.Attempts[len(r.Attempts)-1].Replies {
		if a.Decision != nil {
			return a.Decision.Rule
		}
	}
	return ""
}

// decidedBy checks that n vaults each decided to allow, with a certificate from
// their logs.
func decidedBy(r *client.Request, n int) error {
	if len(r.Attempts) == 0 {
		return errors.New("no vault was asked")
	}
	var vaults []int
	for _, a := range r.Attempts[len(r.Attempts)-1].Replies {
		if a.Outcome == "done" && a.Decision != nil && a.Decision.Allow && !slices.Contains(vaults, a.Vault) {
			vaults = append(vaults, a.Vault)
		}
	}
	if len(vaults) != n {
		return fmt.Errorf("%d vaults allowed it, want %d", len(vaults), n)
	}
	return nil
}

func (d *demo) balance(ctx context.Context, address string) (chain.Amount, error) {
	a, err := evm.ParseAddress(address)
	if err != nil {
		return chain.Amount{}, err
	}
	return d.cluster.Node.Balance(ctx, a)
}

// readBack asks the chain's node what happened; nothing here comes from Coffer.
func (d *demo) readBack(ctx context.Context, r *client.Request, before chain.Amount, text string) error {
	tx, err := d.cluster.Node.Transaction(ctx, r.TxID)
	if err != nil {
		return err
	}
	if tx.From != d.account() {
		err = fmt.Errorf("the node recovers %s", tx.From)
	}
	d.check(fmt.Sprintf("the node recovers the sender %s from the signature: the vaults' key", tx.From), err)
	rec, err := d.cluster.Node.Receipt(ctx, r.TxID)
	if err != nil {
		return err
	}
	if !rec.OK {
		err = errors.New("it was reverted")
	}
	fee := rec.Fee()
	d.check(fmt.Sprintf("receipt: mined in block %d, %d gas, fee %s", rec.Block, rec.GasUsed, amount.Format(fee, amount.ETH)), err)
	after, err := d.balance(ctx, r.Effects.Transfers[0].To[len(d.chainID())+1:])
	if err != nil {
		return err
	}
	d.check(fmt.Sprintf("the recipient has %s more, read from the chain", text), grew(before, after, eth(text)))
	return nil
}

func grew(before, after, by chain.Amount) error {
	sum, overflow := new(chain.Amount).AddOverflow(&before, &by)
	if overflow || *sum != after {
		return fmt.Errorf("it was %s wei and is %s", before.Dec(), after.Dec())
	}
	return nil
}

// small is a transfer that needs nobody: below 1 ETH, to a known address.
func (d *demo) small(ctx context.Context) error {
	before, err := d.balance(ctx, known)
	if err != nil {
		return err
	}
	r, err := d.propose(ctx, "alice", known, "0.1 ETH")
	if err != nil {
		return err
	}
	if r, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	after, err := d.balance(ctx, known)
	if err == nil {
		err = errors.Join(decidedBy(r, 2), grew(before, after, eth("0.1 ETH")))
	}
	d.check("0.1 ETH to a known address needs no approval (rule small-transfers) and is mined", err)
	return nil
}

// token moves an ERC-20 token.
func (d *demo) token(ctx context.Context) error {
	supply := *uint256.NewInt(1_000_000_000_000)
	token, err := d.cluster.Anvil.DeployToken(ctx, d.account(), supply)
	if err != nil {
		return err
	}
	r, err := d.propose(ctx, "alice", recipient, "250 "+devnode.TokenSymbol)
	if err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	for _, who := range []string{"bob", "dave"} {
		if err := d.approve(ctx, r, who); err != nil {
			return err
		}
	}
	if r, err = d.confirmed(ctx, r.ID); err != nil {
		return err
	}
	to, err := evm.ParseAddress(recipient)
	if err != nil {
		return err
	}
	have, err := d.cluster.Node.TokenBalance(ctx, token, to)
	if err == nil {
		err = errors.Join(decidedBy(r, 2), grew(chain.Amount{}, have, *uint256.NewInt(250_000_000)))
	}
	d.check("250 TEST of an ERC-20 token, decoded by each vault from the call's bytes, reach the recipient", err)
	return nil
}
