package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// sign runs one attempt. The error says why there is no signature yet; the
// caller waits and comes again.
func (c *Coordinator) sign(r *Record) error {
	w, err := c.walletByID(r.Bundle.Request.Wallet)
	if err != nil {
		return err
	}
	cert, err := dkg.DecodeCertificate(w.Certificate)
	if err != nil {
		return err
	}
	t, err := c.triedOf(r)
	if err != nil {
		return err
	}
	approvals, err := c.store.deviceApprovals(c.ctx, r.ID)
	if err != nil {
		return err
	}
	q, err := quorumOf(w, cert)
	if err != nil {
		return err
	}
	a, err := c.pick(t, cert, q, func(vault uint16) string { return c.lacking(t, w, approvals, vault) })
	if err != nil {
		return err
	}
	// A sum of the coordinator's is no reason to put together what no chain would take.
	denied := c.denies(r, noLedger)
	v, err := c.version(r, denied, t.attempts > 0)
	if errors.Is(err, errParked) {
		return err
	} else if err != nil {
		return fmt.Errorf("couldn't put the transaction together: %w", err)
	}
	a.Time = c.now()
	if _, err := io.ReadFull(rand.Reader, a.ID[:]); err != nil {
		return err
	}
	// What is asked for is durable before it is asked for.
	next, err := c.store.begin(c.ctx, r.ID, a, v)
	if err != nil {
		return err
	}
	*r = *next
	t.attempts++
	var errs []error
	a.Replies, errs = c.ask(a, c.priced(r.Bundle).Encode(), func(vault uint16) [][]byte { return c.approvalsFor(approvals, vault) })
	for _, p := range a.Replies {
		if f, err := refusal.Decode(p.Refusal); err == nil && p.Outcome == cluster.OutcomeRefused && f.Code == codeUnapproved {
			t.unapproved[p.Vault] = unapproved{len(c.approvalsFor(approvals, p.Vault)), f.Error()}
		}
	}
	if len(a.Replies) == len(a.members()) && !slices.ContainsFunc(a.Replies, func(p *cluster.Reply) bool { return p.Outcome != cluster.OutcomeDone }) {
		err := c.assemble(r, cert, a)
		if err == nil || errors.Is(err, ErrConflict) || c.ctx.Err() != nil {
			return err
		}
		t.wrong(err)
		errs = append(errs, err)
	}
	c.peers.forget()
	return c.judge(r, cert, t, a, errs)
}

// denies says that the policy, as the coordinator reads it, will not have this.
func (c *Coordinator) denies(r *Record, l *view) bool {
	x, err := c.explainOver(r, l)
	return err != nil || !x.Decision.Allow && !x.Decision.Pending
}

// graceAfterRefusal is how long the others have for their own word when one
// vault refuses. They decide by themselves within milliseconds; one that only
// waits for the refuser is then told to give up.
const graceAfterRefusal = 300 * time.Millisecond

// graceAfterDone is how long the others have when one vault has given its share.
// It has all their messages then, and they its; what they still do takes a
// signature of their device. One that lied would else keep them for a whole
// session.
const graceAfterDone = 3 * time.Second

// ask sends the attempt to all signers at once. When one of them does not go
// along, the others are told to give up, so that what they reserved is free
// again and nobody waits for nothing.
func (c *Coordinator) ask(a *Attempt, bundle []byte, approvals func(vault uint16) [][]byte) (replies []*cluster.Reply, errs []error) {
	ctx, cancel := context.WithTimeout(c.ctx, attemptTimeout)
	defer cancel()
	answers := c.askEach(ctx, a.members(), func(vault uint16) *cluster.Command {
		return &cluster.Command{
			Kind: cluster.CommandSign, Attempt: a.ID, Body: bundle, Unsigned: a.Unsigned, Signers: a.Signers, Witnesses: a.Witnesses, Approvals: approvals(vault),
		}
	})
	pending := a.members()
	var over giveUp
	for len(pending) > 0 {
		select {
		case x := <-answers:
			pending = slices.DeleteFunc(pending, func(id uint16) bool { return id == x.vault })
			switch {
			case x.err != nil:
				errs = append(errs, x.err)
				over.within(0)
			case x.reply.Outcome == cluster.OutcomeRefused:
				replies = append(replies, x.reply)
				over.within(graceAfterRefusal)
			default:
				replies = append(replies, x.reply)
				over.within(graceAfterDone)
				if x.reply.Outcome != cluster.OutcomeDone {
					over.within(0)
				}
			}
		case <-over.due:
			c.abandon(a.ID, slices.Clone(pending))
			over.again()
		}
	}
	slices.SortFunc(replies, func(x, y *cluster.Reply) int { return int(x.Vault) - int(y.Vault) })
	return replies, errs
}

// giveUp says when those who still work at something are told to stop. They are
// told again and again: the order to begin, which is on its way by itself, may
// arrive after the order to stop.
type giveUp struct {
	due   <-chan time.Time
	at    time.Time
	pause time.Duration
}

func (g *giveUp) within(d time.Duration) {
	if at := time.Now().Add(d); g.pause == 0 && (g.due == nil || at.Before(g.at)) {
		g.at, g.due = at, time.After(d)
	}
}

func (g *giveUp) again() {
	g.pause = min(max(2*g.pause, 25*time.Millisecond), time.Second)
	g.due = time.After(g.pause)
}

// answer is what came of one command.
type answer struct {
	vault uint16
	reply *cluster.Reply
	err   error
}

// askAll sends one command to several vaults at once; each gives one answer.
func (c *Coordinator) askAll(ctx context.Context, vaults []uint16, cmd *cluster.Command) <-chan answer {
	return c.askEach(ctx, vaults, func(uint16) *cluster.Command { return cmd })
}

// askEach is askAll with a command for each vault.
func (c *Coordinator) askEach(ctx context.Context, vaults []uint16, cmd func(vault uint16) *cluster.Command) <-chan answer {
	answers := make(chan answer, len(vaults))
	for _, id := range vaults {
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			r, err := c.command(ctx, id, cmd(id))
			answers <- answer{id, r, err}
		}()
	}
	return answers
}

// abandon tells vaults to end an attempt. It does not wait: what they still have
// to say about it comes as the answer to the attempt itself.
func (c *Coordinator) abandon(attempt [16]byte, vaults []uint16) {
	ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
	answers := c.askAll(ctx, vaults, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: attempt})
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer cancel()
		for range vaults {
			if x := <-answers; x.err != nil && c.ctx.Err() == nil {
				c.log.Debug("couldn't abandon attempt", "vault", x.vault, "err", x.err)
			}
		}
	}()
}

// judge decides what a failed attempt means, and keeps what was answered.
func (c *Coordinator) judge(r *Record, cert *dkg.Certificate, t *tried, a *Attempt, errs []error) error {
	t.learn(a, a.Replies)
	words := describe(a.Replies, errs)
	m := &move{To: Signing, Reason: r.Reason}
	left := 0
	for _, id := range cert.Parties {
		if t.refused[uint16(id)] == nil {
			left++
		}
	}
	refusedNow := slices.ContainsFunc(a.Replies, func(p *cluster.Reply) bool { return t.refused[p.Vault] != nil && p.Outcome == cluster.OutcomeRefused })
	switch {
	case refusedNow && (c.denies(r, c.view(c.ctx)) || left < len(a.Signers)+len(a.Witnesses)):
		// The vaults say no, and the coordinator sees why, or too few are left that
		// might say yes.
		m = &move{To: Denied, Reason: words}
	case lapsed(a.Replies):
		// A verdict or an approval was good here and not there.
		if n, err := c.next(r, c.view(c.ctx), ""); err == nil && n.To != Signing {
			m = n
		}
	}
	m.Also = func(tx *txn) error { return c.store.addReplies(tx, a.ID, a.Replies) }
	if err := c.to(r, *m); err != nil {
		return err
	}
	if m.To != Signing {
		return nil
	}
	return &retry{errors.New(words), vaultsMost}
}

func lapsed(replies []*cluster.Reply) bool {
	return slices.ContainsFunc(replies, func(p *cluster.Reply) bool {
		f, err := refusal.Decode(p.Refusal)
		return p.Outcome == cluster.OutcomeRefused && err == nil && (f.Code == policy.CodeApprovals || f.Code == policy.CodeRisk || passingPrices(f.Code))
	})
}

// describe puts what the vaults answered into words.
func describe(replies []*cluster.Reply, errs []error) string {
	var words []error
	for _, p := range replies {
		switch p.Outcome {
		case cluster.OutcomeDone:
		case cluster.OutcomeAborted:
			s := fmt.Sprintf("vault %d ended the attempt: %s", p.Vault, p.Detail)
			if len(p.Culprits) > 0 {
				s += fmt.Sprintf(" (%v, it blames %v)", mpc.Class(p.Class), p.Culprits)
			}
			words = append(words, errors.New(s))
		default:
			words = append(words, answered(p.Vault, p, nil))
		}
	}
	return joinErrors(append(words, errs...))
}

// assemble combines the shares, verifies, and stores the signed transaction and
// what is to be told to the signers, before anything is told or sent.
func (c *Coordinator) assemble(r *Record, cert *dkg.Certificate, a *Attempt) error {
	q := r.Bundle.Request
	codec, err := family.Of(q.Chain)
	if err != nil {
		return err
	}
	prepared, err := codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, a.Unsigned, c.Governance().Policy.Methods)
	if err != nil {
		return err
	}
	sig, err := combine(cert, a, r.ID, prepared)
	if err != nil {
		return fmt.Errorf("the vaults' shares make no signature: %w", err)
	}
	raw, txid, err := codec.Assemble(q.Sender, a.Unsigned, []chain.Signature{*sig})
	if err != nil {
		return err
	}
	x := audit.Receipt{
		Attempt: a.ID, Request: r.ID, Key: cert.KeyID(), Unsigned: prepared.Canonical,
		Signatures: []chain.Signature{*sig}, PublicKey: cert.PublicKey().Encode(), TxID: txid,
	}
	reason := fmt.Sprintf("by vaults %v", a.Signers)
	rule := brokeGlass(a)
	if rule != "" {
		reason = fmt.Sprintf("BREAK-GLASS, rule %s: ", rule) + reason
	}
	switch {
	case isMessage(q):
		reason += signedMessage
	case c.offline(r):
		reason += toExport
	}
	err = c.to(r, move{
		To: Signed, Reason: reason, Raw: raw, TxID: txid,
		Also: func(tx *txn) error {
			return errors.Join(c.store.addReplies(tx, a.ID, a.Replies), addDeliveries(tx, a.ID, a.Signers, x.Encode()))
		},
	})
	if err == nil {
		c.send()
		if rule != "" {
			c.log.Warn("BREAK-GLASS: a rule for emergencies allowed a request", "id", short(r.ID), "rule", rule, "initiator", q.Initiator)
		}
	}
	return err
}

// brokeGlass is the rule for emergencies by which a vault that signed allows the
// request; "": none.
func brokeGlass(a *Attempt) string {
	for _, p := range a.Replies {
		if cert, err := audit.DecodeCertificate(p.Certificate); err == nil && cert.Decision.BreakGlass {
			return cert.Decision.Rule
		}
	}
	return ""
}
