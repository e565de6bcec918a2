package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
)

// cli runs the command line, as a user would, who sees what it prints.
func (d *demo) cli(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "coffer"), args...)
	cmd.Env, cmd.Dir = env, d.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *demo) home() []string { return []string{"COFFER_HOME=" + d.dir} }

// diff asks what a policy would newly allow.
func (d *demo) diff(ctx context.Context, text []byte) error {
	if err := os.WriteFile(filepath.Join(d.dir, "wider.yaml"), text, 0o600); err != nil {
		return err
	}
	out, err := d.cli(ctx, d.home(), "policy", "diff", "wider.yaml")
	first, _, _ := strings.Cut(out, "\n")
	if err == nil && (!strings.HasPrefix(first, "newly allowed (by payments): a transfer of") || !strings.Contains(out, "this change is loosening")) {
		err = errors.New(out)
	}
	d.say("policy.yaml is edited, a day's limit of 30 ETH instead of 10; coffer policy diff says:")
	d.say("%s", first)
	d.check("diff names what would be allowed, with a transaction that shows it", err)
	return nil
}

// suspicious are requests that the risk engine finds something about.
func (d *demo) suspicious(ctx context.Context) error {
	a, err := evm.ParseAddress(known)
	if err != nil {
		return err
	}
	a[10] ^= 0xff // in the middle, where nobody looks
	r, err := d.propose(ctx, "bot", a.String(), "0.5 ETH")
	if err != nil {
		return err
	}
	if err := d.stopped(ctx, r, fmt.Sprintf("0.5 ETH to %s, which begins and ends as the known %s… does", a, known[:6]), "looks like"); err != nil {
		return err
	}
	if _, err := d.cluster.Anvil.DeployToken(ctx, d.account(), eth("1 ETH")); err != nil {
		return err
	}
	draft, err := client.NewAllowance(d.info, d.wallet, d.chainID(), recipient, strings.Repeat("9", 30)+" "+devnode.TokenSymbol)
	if err != nil {
		return err
	}
	if r, err = d.handIn(ctx, draft); err != nil {
		return err
	}
	return d.stopped(ctx, r, "an allowance without limit, though policy lets routers have one", "without limit")
}

func (d *demo) handIn(ctx context.Context, draft *client.Draft) (*client.Request, error) {
	p, err := d.cluster.Person("bot").Propose(draft)
	if err != nil {
		return nil, err
	}
	return d.client.Propose(ctx, p)
}

// judged waits until a request is denied, or held.
func (d *demo) judged(ctx context.Context, id string) (*client.Request, error) {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(20 * time.Millisecond) {
		r, err := d.client.Request(ctx, id)
		switch {
		case err != nil || r.Final || strings.HasPrefix(r.Reason, "held:"):
			return r, err
		case time.Now().After(end):
			return nil, fmt.Errorf("it is %s: %s", r.State, r.Reason)
		}
	}
}

// stopped checks that a request is not signed because of the engine's verdict.
func (d *demo) stopped(ctx context.Context, r *client.Request, what, wanted string) (err error) {
	if r, err = d.judged(ctx, r.ID); err != nil {
		return err
	}
	words := ""
	for _, v := range r.Risk {
		if i := slices.IndexFunc(v.Reasons, func(s string) bool { return strings.Contains(s, wanted) }); i >= 0 && v.Outcome != "pass" {
			words = fmt.Sprintf("%s: %s", v.Outcome, v.Reasons[i])
		}
	}
	if words == "" || r.TxID != "" {
		err = fmt.Errorf("it is %s: %s; the risk engine says %v", r.State, r.Reason, r.Risk)
	}
	d.check(fmt.Sprintf("%s: the risk engine says %s; nothing is signed", what, words), err)
	return nil
}

// permit has typed data signed, and other typed data refused.
func (d *demo) permit(ctx context.Context) error {
	typed := func(value string) []byte {
		return fmt.Appendf(nil, `{"types": {"Permit": [{"name": "owner", "type": "address"}, {"name": "spender", "type": "address"},
  {"name": "value", "type": "uint256"}, {"name": "nonce", "type": "uint256"}, {"name": "deadline", "type": "uint256"}]}, "primaryType": "Permit",
  "domain": {"name": "Test", "version": "1", "chainId": %d, "verifyingContract": "%s"},
  "message": {"owner": "%s", "spender": "%s", "value": "%s", "nonce": "0", "deadline": "1900000000"}}`, d.cluster.Chain, tokenAddress, d.address(), recipient, value)
	}
	draft, err := client.NewMessage(d.info, d.wallet, typed("900000000"))
	if err != nil {
		return err
	}
	r, err := d.handIn(ctx, draft)
	if err != nil {
		return err
	}
	if r, err = d.client.Wait(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	d.check("a permit (EIP-712) for 900 TEST is read as an allowance, allowed by rule permits and signed: the wallet's address is recovered from it", d.recovered(ctx, r, typed("900000000")))
	if draft, err = client.NewMessage(d.info, d.wallet, typed("1100000000")); err != nil {
		return err
	}
	if r, err = d.handIn(ctx, draft); err != nil {
		return err
	}
	if r, err = d.client.WaitFinal(ctx, r.ID, settleTimeout); err != nil {
		return err
	}
	err = denied(r)
	if err == nil && !strings.Contains(r.Reason, "1100000000") {
		err = errors.New(r.Reason)
	}
	d.check("one for 1,100 TEST is denied, since policy says up to 1,000", err)
	return nil
}

// tokenAddress is that of a chain's first contract.
const tokenAddress = "0x5FbDB2315678afecb367f032d93F642f64180aa3"

// recovered checks the signature of a message as its contract would.
func (d *demo) recovered(ctx context.Context, r *client.Request, typed []byte) error {
	t, err := d.client.Transaction(ctx, r.ID)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(t.Raw, "0x"))
	if err != nil || len(raw) != 65 {
		return fmt.Errorf("it is %s: %s", r.State, r.Reason)
	}
	m, err := evm.ParseTypedData(typed)
	if err != nil {
		return err
	}
	sig := chain.Signature{R: [32]byte(raw[:32]), S: [32]byte(raw[32:64]), RecoveryID: raw[64] - 27}
	_, _, err = evm.Codec{}.Assemble(evm.Account(d.chainID(), d.account()), m.Unsigned(), []chain.Signature{sig})
	return err
}

// bundle hands the proof of one payment to somebody who has the genesis hash alone.
func (d *demo) bundle(ctx context.Context, paid *client.Request) error {
	file := filepath.Join(d.dir, "payment.bundle")
	if out, err := d.cli(ctx, d.home(), "bundle", paid.ID, "-o", file); err != nil {
		return errors.New(out)
	}
	d.cluster.Stop()
	good, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	h := d.cluster.Genesis.Hash()
	verify := func() (string, error) {
		return d.cli(ctx, []string{}, "verify", file, "--genesis", hex.EncodeToString(h[:]))
	}
	out, err := verify()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err == nil && (!strings.HasPrefix(lines[len(lines)-1], "verified:") || !strings.Contains(out, "proposed by bot")) {
		err = errors.New("it does not say so")
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	d.say("the cluster is stopped; an auditor gets the genesis hash and a file of %d bytes about the payment of 1 ETH, and asks coffer verify:", len(good))
	for _, l := range lines {
		d.say("  %s", cut(l, 140))
	}
	d.check("offline: the signature rests on two vaults' decisions, on this policy, and on who proposed it", err)
	for _, at := range []int{len(good) / 4, len(good) / 2, len(good) - 100} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			return err
		}
		out, err := verify()
		if err == nil {
			err = errors.New("it verifies")
		} else {
			err = nil
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(out[strings.LastIndex(out, "error: ")+1:], "rror: "), "\n")
		d.check(fmt.Sprintf("with byte %d changed it is refused: %s", at, cut(first, 160)), err)
	}
	return nil
}
