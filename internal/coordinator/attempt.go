package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
)

func rpcRefused(err error) *rpc.Error {
	var e *rpc.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

func (c *Coordinator) mined(ch Chain, txid string) (rec *rpc.Receipt, blocks uint64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	rec, err = ch.Node.Receipt(ctx, txid)
	switch {
	case errors.Is(err, rpc.ErrNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	head, err := ch.Node.BlockNumber(ctx)
	if err != nil {
		return nil, 0, err
	}
	if head < rec.Block {
		return rec, 0, nil
	}
	return rec, head - rec.Block + 1, nil
}

// version is the transaction that the vaults are asked to sign. Retries use the
// one that is stored, so that a request has one version unless its fees must
// change.
func (c *Coordinator) version(r *Record) ([]byte, error) {
	if r.Unsigned != nil {
		return r.Unsigned, nil
	}
	q := r.Bundle.Request
	ch, ok := c.chains[q.Chain]
	if !ok {
		return nil, fmt.Errorf("no node of chain %s is configured", q.Chain)
	}
	in, err := evm.DecodeIntent(q.Intent)
	if err != nil {
		return nil, err
	}
	_, sender, err := evm.ParseAccount(q.Sender)
	if err != nil {
		return nil, err
	}
	id, err := evm.ParseChain(q.Chain)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	next, err := ch.Node.PendingNonce(ctx, sender)
	if err != nil {
		return nil, err
	}
	gas, err := ch.Node.EstimateGas(ctx, sender, in)
	if err != nil {
		if refused := rpcRefused(err); refused != nil {
			// It would fail; the vaults may still have to say no to it, so it is put
			// together with what a plain transfer takes, and the node has the last word.
			c.log.Warn("the chain's node expects the transaction to fail", "error", refused.Message)
			gas = plainGas
		} else {
			return nil, err
		}
	}
	fees, err := ch.Node.FeeSuggestion(ctx)
	if err != nil {
		return nil, err
	}
	if fees, err = fees.Within(gas, q.MaxFee); err != nil {
		return nil, err
	}
	nonce, err := c.store.reserveNonce(c.ctx, q.Sender, next, r.ID)
	if err != nil {
		return nil, err
	}
	unsigned, err := rpc.Build(id, nonce, gas, fees, in).Encode()
	if err != nil {
		return nil, err
	}
	if err := c.store.move(c.ctx, r.ID, Signing, Signing, r.Reason, patch{Unsigned: unsigned}); err != nil {
		return nil, err
	}
	r.Unsigned = unsigned
	return unsigned, nil
}

// plainGas is what a transfer without call data takes.
const plainGas = 21000

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
	unsigned, err := c.version(r)
	if err != nil {
		return fmt.Errorf("couldn't put the transaction together: %w", err)
	}
	signers, err := c.pick(r, cert)
	if err != nil {
		return err
	}
	a := &Attempt{Signers: signers, Unsigned: unsigned, Time: now()}
	if _, err := io.ReadFull(rand.Reader, a.ID[:]); err != nil {
		return err
	}
	if err := c.store.addAttempt(c.ctx, r.ID, a); err != nil {
		return err
	}
	// The newest approvals go along.
	fresh, err := c.store.get(c.ctx, r.ID)
	if err != nil {
		return err
	}
	replies, errs := c.ask(a, fresh.Bundle.Encode())
	if err := c.store.addReplies(c.ctx, a.ID, replies); err != nil {
		return err
	}
	if len(replies) == len(signers) && allDone(replies) {
		return c.assemble(fresh, cert, a, replies)
	}
	return c.judge(fresh, a, replies, errs)
}

// ask sends the attempt to all signers at once. As soon as one of them says no,
// the others are told to give up, so that what they reserved is free again.
func (c *Coordinator) ask(a *Attempt, bundle []byte) ([]*cluster.Reply, []error) {
	ctx, cancel := context.WithTimeout(c.ctx, attemptTimeout)
	defer cancel()
	cmd := &cluster.Command{Kind: cluster.CommandSign, Attempt: a.ID, Body: bundle, Unsigned: a.Unsigned, Signers: a.Signers}
	type answer struct {
		vault uint16
		reply *cluster.Reply
		err   error
	}
	answers := make(chan answer, len(a.Signers))
	for _, id := range a.Signers {
		go func() {
			r, err := c.command(ctx, id, cmd)
			answers <- answer{id, r, err}
		}()
	}
	var replies []*cluster.Reply
	var errs []error
	abandoned := false
	pending := slices.Clone(a.Signers)
	for range a.Signers {
		x := <-answers
		pending = slices.DeleteFunc(pending, func(id uint16) bool { return id == x.vault })
		if x.err != nil {
			errs = append(errs, x.err)
		} else {
			replies = append(replies, x.reply)
		}
		if !abandoned && (x.err != nil || x.reply.Outcome != cluster.OutcomeDone) {
			abandoned = true
			c.abandon(ctx, a.ID, pending, x.reply)
		}
	}
	slices.SortFunc(replies, func(x, y *cluster.Reply) int { return int(x.Vault) - int(y.Vault) })
	return replies, errs
}

func (c *Coordinator) abandon(ctx context.Context, attempt [16]byte, vaults []uint16, cause *cluster.Reply) {
	if cause != nil && cause.Outcome == cluster.OutcomeRefused {
		// The others decode and decide by themselves within milliseconds: their own
		// refusals are worth having. They are told to give up only if they do not
		// answer.
		return
	}
	var wg sync.WaitGroup
	for _, id := range vaults {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := c.command(ctx, id, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: attempt}); err != nil && c.ctx.Err() == nil {
				c.log.Warn("couldn't abandon attempt", "vault", id, "error", err)
			}
		}()
	}
	wg.Wait()
}

func allDone(replies []*cluster.Reply) bool {
	return !slices.ContainsFunc(replies, func(r *cluster.Reply) bool { return r.Outcome != cluster.OutcomeDone })
}

// pick chooses t vaults that are reachable, up to date and paired with each
// other. Which t rotates.
func (c *Coordinator) pick(r *Record, cert *dkg.Certificate) ([]uint16, error) {
	statuses := c.Statuses(c.ctx)
	gov := c.Governance()
	ok := map[uint16]*cluster.Status{}
	var why []string
	for _, s := range statuses {
		if !slices.Contains(cert.Parties, mpc.ID(s.Vault.ID)) {
			continue
		}
		switch {
		case s.Err != nil:
			why = append(why, s.Err.Error())
		case s.Status.GovernanceSeq < gov.Seq:
			if err := c.catchUp(s.Vault.ID, s.Status.GovernanceSeq); err != nil {
				why = append(why, fmt.Sprintf("vault %d is at change %d of %d: %v", s.Vault.ID, s.Status.GovernanceSeq, gov.Seq, err))
				continue
			}
			ok[s.Vault.ID] = s.Status
		default:
			ok[s.Vault.ID] = s.Status
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	suspects, spent := c.suspect[r.ID], c.spent[r.ID]
	var sets [][]uint16
	subsets(cert.Parties, cert.Threshold, func(set []uint16) {
		for _, id := range set {
			if ok[id] == nil || suspects[id] || !paired(ok[id], set) {
				return
			}
		}
		if !spent[fmt.Sprint(set)] {
			sets = append(sets, slices.Clone(set))
		}
	})
	if len(sets) == 0 {
		return nil, fmt.Errorf("waiting: %d of %d vaults can sign together now; %d are needed (%s)", len(ok), len(cert.Parties), cert.Threshold, explain(why, len(suspects), len(spent)))
	}
	c.turn++
	return sets[c.turn%len(sets)], nil
}

func explain(why []string, suspects, spent int) string {
	if suspects > 0 {
		why = append(why, fmt.Sprintf("%d are suspended for this request", suspects))
	}
	if spent > 0 {
		why = append(why, fmt.Sprintf("%d sets of signers failed without a culprit", spent))
	}
	if len(why) == 0 {
		why = []string{"their pair setups are not done yet"}
	}
	return strings.Join(why, "; ")
}

// paired says that a vault has a pair setup with every other of the set.
func paired(s *cluster.Status, set []uint16) bool {
	for _, id := range set {
		if id == s.Vault {
			continue
		}
		if !slices.ContainsFunc(s.Peers, func(p cluster.PeerStatus) bool { return p.Vault == id && p.Ready && !p.Quarantined }) {
			return false
		}
	}
	return true
}

// subsets calls f with every t of the parties, in order.
func subsets(parties []mpc.ID, t int, f func([]uint16)) {
	var walk func(from int, set []uint16)
	walk = func(from int, set []uint16) {
		if len(set) == t {
			f(set)
			return
		}
		for i := from; i <= len(parties)-(t-len(set)); i++ {
			walk(i+1, append(set, uint16(parties[i])))
		}
	}
	walk(0, nil)
}

// judge decides what a failed attempt means.
func (c *Coordinator) judge(r *Record, a *Attempt, replies []*cluster.Reply, errs []error) error {
	var refused []*refusal.Refusal
	var words []error
	for _, p := range replies {
		switch p.Outcome {
		case cluster.OutcomeRefused:
			f, err := refusal.Decode(p.Refusal)
			if err != nil {
				words = append(words, fmt.Errorf("vault %d refuses and says not why", p.Vault))
				continue
			}
			refused = append(refused, f)
			words = append(words, fmt.Errorf("vault %d refuses: %w", p.Vault, f))
		case cluster.OutcomeAborted, cluster.OutcomeFailed:
			c.remember(r, a, p)
			words = append(words, fmt.Errorf("vault %d: %s", p.Vault, p.Detail))
		}
	}
	words = append(words, errs...)
	for _, f := range refused {
		if retryable(f.Code) {
			continue
		}
		if f.Code == "policy.approvals" || f.Code == "policy.risk" {
			return c.to(r, AwaitingApproval, joinErrors(words), patch{})
		}
		return c.to(r, Denied, joinErrors(words), patch{})
	}
	return errors.New(joinErrors(words))
}

// retryable are refusals that another attempt may not meet.
func retryable(code string) bool { return code == "sign.attempt" }

// remember keeps what must not be tried again for this request.
func (c *Coordinator) remember(r *Record, a *Attempt, p *cluster.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch mpc.Class(p.Class) {
	case mpc.Attributed, mpc.Quarantine:
		if c.suspect[r.ID] == nil {
			c.suspect[r.ID] = map[uint16]bool{}
		}
		for _, id := range p.Culprits {
			// The one who accuses may be the one who lies: of the two, only the
			// pair is at odds. Both stay usable with others.
			if c.spent[r.ID] == nil {
				c.spent[r.ID] = map[string]bool{}
			}
			c.spent[r.ID][fmt.Sprint(a.Signers)] = true
			c.log.Warn("vault accuses vault", "by", p.Vault, "of", id, "detail", p.Detail)
		}
	case mpc.Unattributed:
		if c.spent[r.ID] == nil {
			c.spent[r.ID] = map[string]bool{}
		}
		c.spent[r.ID][fmt.Sprint(a.Signers)] = true
	}
}

// assemble combines the shares, verifies, and stores the signed transaction
// before anything is told or sent.
func (c *Coordinator) assemble(r *Record, cert *dkg.Certificate, a *Attempt, replies []*cluster.Reply) error {
	q := r.Bundle.Request
	prepared, err := c.codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, a.Unsigned)
	if err != nil {
		return err
	}
	var shares []*dkls23.FinalShare
	var signers []mpc.ID
	for _, p := range replies {
		s := new(dkls23.FinalShare)
		if err := s.UnmarshalBinary(p.Body); err != nil {
			return fmt.Errorf("vault %d's share: %w", p.Vault, err)
		}
		shares, signers = append(shares, s), append(signers, mpc.ID(p.Vault))
	}
	sig, err := dkls23.Combine(cert.PublicKey(), signers, prepared.Digests[0], nil, shares)
	if err != nil {
		c.remember(r, a, &cluster.Reply{Class: uint8(mpc.Unattributed), Detail: err.Error()})
		return err
	}
	raw, txid, err := c.codec.Assemble(q.Sender, a.Unsigned, []chain.Signature{chainSignature(sig)})
	if err != nil {
		return err
	}
	if err := c.to(r, Signed, fmt.Sprintf("by vaults %v", a.Signers), patch{Raw: raw, TxID: txid}); err != nil {
		return err
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.deliverReceipt(r, cert, a, prepared.Canonical, sig, txid)
	}()
	return nil
}

func chainSignature(s *ecdsa.Signature) chain.Signature {
	return chain.Signature{R: s.R, S: s.S, RecoveryID: s.RecoveryID}
}

// deliverReceipt tells the signers what came of their shares, for their logs.
func (c *Coordinator) deliverReceipt(r *Record, cert *dkg.Certificate, a *Attempt, canonical []byte, sig *ecdsa.Signature, txid string) {
	x := audit.Receipt{
		Attempt: a.ID, Request: r.ID, Key: cert.KeyID(), Unsigned: canonical,
		Signatures: []chain.Signature{chainSignature(sig)}, PublicKey: cert.PublicKey().Bytes(), TxID: txid,
	}
	ctx, cancel := context.WithTimeout(c.ctx, attemptTimeout)
	defer cancel()
	for _, id := range a.Signers {
		p, err := c.command(ctx, id, &cluster.Command{Kind: cluster.CommandReceipt, Body: x.Encode()})
		if err == nil && p.Outcome != cluster.OutcomeDone {
			f, _ := refusal.Decode(p.Refusal)
			err = fmt.Errorf("%v: %s %v", p.Outcome, p.Detail, f)
		}
		if err != nil && c.ctx.Err() == nil {
			c.log.Warn("couldn't deliver receipt", "vault", id, "error", err)
		}
	}
}
