package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/transport"
)

type thief struct {
	order     *Order
	genesis   *governance.Genesis
	transport *transport.Coordinator
	own       evm.Address
}

// connectTimeout is how long the broker may take to let the thief in.
const connectTimeout = 10 * time.Second

func newThief(ctx context.Context, o *Order) (*thief, error) {
	b, err := os.ReadFile(o.Genesis)
	if err != nil {
		return nil, err
	}
	t := &thief{order: o}
	if t.genesis, err = governance.DecodeGenesis(b); err != nil {
		return nil, err
	}
	if t.own, err = evm.ParseAddress(o.Own); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	t.transport, err = transport.ConnectCoordinator(transport.ClientConfig{URL: o.Broker, Credentials: o.Credentials}, t.genesis.Hash(), rand.Reader, nil, log)
	if err != nil {
		return nil, err
	}
	// The connection comes up in the background.
	end := time.Now().Add(connectTimeout)
	for {
		_, err := t.transport.Status(ctx, 1)
		if err == nil {
			return t, nil
		}
		if time.Now().After(end) {
			t.transport.Close()
			return nil, fmt.Errorf("the broker does not let the thief in: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// attacks runs them one after the other. The first is none: it shows that the
// thief's way to the vaults works.
func (t *thief) attacks(ctx context.Context) ([]Result, error) {
	good, err := t.bundle(ctx, t.order.Approved)
	if err != nil {
		return nil, err
	}
	race, err := t.bundle(ctx, t.order.Race)
	if err != nil {
		return nil, err
	}
	other, err := t.bundle(ctx, t.order.Unapproved)
	if err != nil {
		return nil, err
	}
	intent, err := evm.DecodeIntent(good.Request.Intent)
	if err != nil {
		return nil, err
	}
	var out []Result
	add := func(r Result, err error) error {
		out = append(out, r)
		return err
	}
	more := *intent
	more.Value = *new(uint256.Int).Mul(&intent.Value, uint256.NewInt(10))
	mine := *intent
	mine.To = &t.own

	steps := []func() error{
		func() error { return add(t.sign(ctx, "recipient", good, &mine, t.order.Nonce, 1, 2)) },
		func() error { return add(t.sign(ctx, "amount", good, &more, t.order.Nonce, 2, 3)) },
		func() error {
			// The request itself is rewritten too; the signatures are all that is left.
			q := *good.Request
			q.Intent = mine.Encode()
			forged := *good
			forged.Request, forged.Approvals = &q, nil
			forged.Verdicts = slices.Clone(good.Verdicts)
			for i := range forged.Verdicts {
				forged.Verdicts[i].Request = q.ID()
			}
			for _, a := range good.Approvals {
				a.Request = q.ID()
				forged.Approvals = append(forged.Approvals, a)
			}
			return add(t.sign(ctx, "rewritten", &forged, &mine, t.order.Nonce, 1, 3))
		},
		func() error {
			replay := *other
			replay.Approvals = good.Approvals
			in, err := evm.DecodeIntent(other.Request.Intent)
			if err != nil {
				return err
			}
			return add(t.sign(ctx, "replay", &replay, in, t.order.Nonce, 1, 2))
		},
		func() error {
			// And with the approvals made to name the other request.
			replay := *other
			for _, a := range good.Approvals {
				a.Request = other.Request.ID()
				replay.Approvals = append(replay.Approvals, a)
			}
			in, err := evm.DecodeIntent(other.Request.Intent)
			if err != nil {
				return err
			}
			return add(t.sign(ctx, "relabelled", &replay, in, t.order.Nonce, 2, 3))
		},
		func() error { return add(t.sign(ctx, "honest", good, intent, t.order.Nonce, 1, 2)) },
		func() error { return add(t.sign(ctx, "second-nonce", good, intent, t.order.Nonce+1, 2, 3)) },
		func() error { return add(t.sign(ctx, "third-nonce", good, intent, t.order.Nonce+2, 1, 3)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	both, err := t.race(ctx, race)
	return append(out, both...), err
}

// race asks two subsets for two nonces of one request at the same moment.
func (t *thief) race(ctx context.Context, b *request.Bundle) ([]Result, error) {
	intent, err := evm.DecodeIntent(b.Request.Intent)
	if err != nil {
		return nil, err
	}
	out, errs := make([]Result, 2), make([]error, 2)
	var wg sync.WaitGroup
	for i, signers := range [][]uint16{{1, 2}, {2, 3}} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out[i], errs[i] = t.sign(ctx, "race", b, intent, t.order.Nonce+uint64(i), signers...)
		}()
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// bundle puts what people signed together, with a verdict of the risk engine,
// which answers whoever holds the coordinator's credentials.
func (t *thief) bundle(ctx context.Context, p Papers) (*request.Bundle, error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.Request)
	if err != nil {
		return nil, err
	}
	b := new(request.Bundle)
	if b.Request, err = request.Decode(raw); err != nil {
		return nil, err
	}
	if b.ProposeKey, err = signature.ParseText(p.Key); err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.DecodeString(p.Signature)
	if err != nil {
		return nil, err
	}
	b.ProposeSignature = signature.Signature{Algorithm: b.ProposeKey.Algorithm, Bytes: sig}
	for _, text := range p.Approvals {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		a, err := request.DecodeApproval(raw)
		if err != nil {
			return nil, err
		}
		b.Approvals = append(b.Approvals, *a)
	}
	b.Sort()
	v, err := (&risk.Client{Transport: t.transport}).Screen(ctx, &risk.Question{Bundle: b})
	if err != nil {
		return nil, err
	}
	b.Verdicts = []request.RiskVerdict{*v}
	return b, nil
}

// fees are ordinary.
func fees() rpc.Fees {
	return rpc.Fees{Type: evm.TypeDynamicFee, TipCap: *uint256.NewInt(1_000_000_000), FeeCap: *uint256.NewInt(20_000_000_000)}
}

// sign asks vaults for a signature of a transaction, with a bundle that need not
// fit it.
func (t *thief) sign(ctx context.Context, name string, b *request.Bundle, in *evm.Intent, nonce uint64, signers ...uint16) (Result, error) {
	id, err := evm.ParseChain(b.Request.Chain)
	if err != nil {
		return Result{}, err
	}
	unsigned, err := rpc.Build(id, nonce, 21000, fees(), in).Encode()
	if err != nil {
		return Result{}, err
	}
	cmd := &cluster.Command{Kind: cluster.CommandSign, Body: b.Encode(), Unsigned: unsigned, Signers: signers}
	if _, err := rand.Read(cmd.Attempt[:]); err != nil {
		return Result{}, err
	}
	r := Result{Name: name, Attempt: hex.EncodeToString(cmd.Attempt[:]), Answers: make([]Answer, len(signers))}
	var wg sync.WaitGroup
	no := make(chan struct{}, len(signers))
	for i, v := range signers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r.Answers[i] = t.ask(ctx, v, cmd)
			if r.Answers[i].Outcome != "done" {
				no <- struct{}{}
			}
		}()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return r, nil
	case <-no:
	}
	// A vault whose partner refused waits for it in vain, until it gives up by
	// itself or is told to.
	select {
	case <-done:
		return r, nil
	case <-time.After(patience):
	}
	for _, v := range signers {
		t.ask(ctx, v, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: cmd.Attempt})
	}
	<-done
	return r, nil
}

// patience is how long the thief waits for a second signer after a first refusal.
const patience = 2 * time.Second

func (t *thief) ask(ctx context.Context, vault uint16, cmd *cluster.Command) Answer {
	a := Answer{Vault: vault}
	b, err := t.transport.Command(ctx, vault, cmd.Encode())
	if err != nil {
		a.Failed = err.Error()
		return a
	}
	reply, err := cluster.DecodeReply(b)
	if err != nil {
		a.Failed = err.Error()
		return a
	}
	a.Outcome, a.Detail, a.HasOutput = reply.Outcome.String(), reply.Detail, len(reply.Body) > 0
	if f, err := refusal.Decode(reply.Refusal); err == nil {
		a.Code, a.Rule, a.Detail, a.Fix = f.Code, f.Rule, f.Detail, f.Fix
	}
	if c, err := audit.DecodeCertificate(reply.Certificate); err == nil {
		for _, e := range t.genesis.Enrolments {
			if e.Vault.ID == vault {
				a.Certified = c.Verify(audit.Keys{Cluster: t.genesis.Hash(), Vault: vault, Decision: e.Vault.Decision, Log: e.Vault.Log}) == nil
			}
		}
	}
	return a
}
