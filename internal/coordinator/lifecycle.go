package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// An order about a key is carried out by the vaults; the coordinator proposes
// attempts until one of them succeeds. It decides nothing: when an epoch ends the
// vaults' votes say (docs/spec/handover.md).

// Progress is how far an order has come.
type Progress struct {
	Order   governance.Order
	Done    bool
	Detail  string // of what stands in the way
	Attempt int
}

// The keeper's waits between two tries, and how long one attempt may take.
const (
	keeperFirst     = 250 * time.Millisecond
	keeperLongest   = 15 * time.Second
	handoverTimeout = 40 * time.Second
	// graceOfHandover is how long the others have when one vault is in the new epoch,
	// or has given up: the votes that it has, they have within milliseconds.
	graceOfHandover = 3 * time.Second
)

// keeper carries out orders, one after the other.
func (c *Coordinator) keeper() {
	wait := keeperFirst
	for {
		if !c.keep() {
			select {
			case <-c.orders:
				wait = keeperFirst
			case <-c.ctx.Done():
				return
			}
			continue
		}
		t := time.NewTimer(wait)
		wait = min(2*wait, keeperLongest)
		select {
		case <-c.orders:
			wait = keeperFirst
		case <-t.C:
		case <-c.ctx.Done():
		}
		t.Stop()
		if c.ctx.Err() != nil {
			return
		}
	}
}

// keep tries every order that is due, and says whether one still is.
func (c *Coordinator) keep() (due bool) {
	for _, o := range c.Governance().Orders {
		w, err := c.walletByID(o.Key)
		if err != nil || c.settled(&o, w) {
			continue
		}
		if err := c.carryOut(&o, w); err != nil {
			if c.ctx.Err() != nil {
				return false
			}
			c.log.Warn("couldn't carry out an order yet", "change", o.Seq, "order", o.Action.String(), "wallet", o.Name, "err", err)
			c.progress(&o, false, err)
			due = true
			continue
		}
		c.progress(&o, true, nil)
	}
	return due
}

// settled says that nothing is left to do for an order.
func (c *Coordinator) settled(o *governance.Order, w *Wallet) bool {
	c.mu.Lock()
	done := c.carried[o.Hash] != nil && c.carried[o.Hash].Done
	c.mu.Unlock()
	cert, err := w.Key()
	if err != nil || done {
		return true
	}
	switch o.Action {
	case governance.SetTier:
		return c.overtaken(o)
	case governance.Erase:
		return cert.Epoch > o.Epoch+1
	}
	return cert.Epoch > o.Epoch
}

func (c *Coordinator) progress(o *governance.Order, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.carried[o.Hash]
	if p == nil {
		p = &Progress{Order: *o}
		c.carried[o.Hash] = p
	}
	p.Attempt++
	p.Done, p.Detail = done, ""
	if err != nil {
		p.Detail = err.Error()
	}
}

// Orders says of every order about a wallet how far it has come.
func (c *Coordinator) Orders(w *Wallet) []Progress {
	var out []Progress
	for _, o := range c.Governance().Orders {
		if o.Key != w.ID {
			continue
		}
		p := Progress{Order: o, Done: c.settled(&o, w)}
		c.mu.Lock()
		if known := c.carried[o.Hash]; known != nil {
			p.Detail, p.Attempt = known.Detail, known.Attempt
		}
		c.mu.Unlock()
		if p.Done {
			p.Detail = ""
		}
		out = append(out, p)
	}
	return out
}

// overtaken says that a later order about the key's custody tier is in force.
func (c *Coordinator) overtaken(o *governance.Order) bool {
	return slices.ContainsFunc(c.Governance().Orders, func(x governance.Order) bool {
		return x.Action == governance.SetTier && x.Key == o.Key && x.Seq > o.Seq
	})
}

// awaitTier sees whether every vault that holds a share keeps it as ordered. The
// vaults do that by themselves when the change reaches them.
func (c *Coordinator) awaitTier(ctx context.Context, o *governance.Order, cert *dkg.Certificate) error {
	if _, err := c.prepare(ctx, o, cert, fromIDs(cert.Parties)); err != nil {
		return err
	}
	c.peers.forget()
	for _, s := range c.peers.get(ctx) {
		if !slices.Contains(cert.Parties, mpc.ID(s.Vault.ID)) {
			continue
		}
		if s.Err != nil {
			return s.Err
		}
		if s.Status.GovernanceSeq < o.Seq {
			return fmt.Errorf("vault %d is at change %d of %d", s.Vault.ID, s.Status.GovernanceSeq, o.Seq)
		}
		for _, k := range s.Status.Keys {
			if k.ID == o.Key && k.Tier != 0 && governance.Tier(k.Tier) != o.Tier {
				return fmt.Errorf("vault %d keeps its share %v, not %v yet", s.Vault.ID, governance.Tier(k.Tier), o.Tier)
			}
		}
	}
	return nil
}

// carryOut makes one attempt at an order.
func (c *Coordinator) carryOut(o *governance.Order, w *Wallet) error {
	cert, err := w.Key()
	if err != nil {
		return err
	}
	if o.Action == governance.SetTier {
		ctx, cancel := context.WithTimeout(c.ctx, commandTimeout)
		defer cancel()
		return c.awaitTier(ctx, o, cert)
	}
	ctx, cancel := context.WithTimeout(c.ctx, handoverTimeout)
	defer cancel()
	all := fromIDs(cert.Parties)
	if o.Action == governance.Reshare {
		all = append(all, o.Parties...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	holders, err := c.prepare(ctx, o, cert, all)
	if err != nil {
		return err
	}
	cmd := &cluster.Command{Kind: cluster.CommandHandover, Signers: c.dealers(o, cert, holders)}
	if _, err := io.ReadFull(rand.Reader, cmd.Attempt[:]); err != nil {
		return err
	}
	cmd.Body = (&cluster.Handover{Order: o.Hash, Certificate: w.Certificate}).Encode()
	certs, done, errs := c.askHandover(ctx, all, cmd)
	if o.Action == governance.Abandon || o.Action == governance.Erase {
		if done < len(all) {
			return fmt.Errorf("%d of %d vaults have done it: %s", done, len(all), joinErrors(errs))
		}
		return nil
	}
	for _, b := range certs {
		next, err := c.nextCertificate(o, cert, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return c.enterEpoch(ctx, w, next, b)
	}
	for _, e := range errs {
		if r := refusal.As(e); r != nil {
			return e
		}
	}
	return fmt.Errorf("%s", joinErrors(errs))
}

func fromIDs(ids []mpc.ID) []uint16 {
	var out []uint16
	for _, id := range ids {
		out = append(out, uint16(id))
	}
	return out
}

// prepare brings the vaults up to date and says which of the parties hold a share
// of the present epoch. Of those who are to hold shares none may be missing.
func (c *Coordinator) prepare(ctx context.Context, o *governance.Order, cert *dkg.Certificate, all []uint16) (holders []uint16, err error) {
	c.peers.forget()
	id := cert.KeyID()
	for _, s := range c.peers.get(ctx) {
		if !slices.Contains(all, s.Vault.ID) {
			continue
		}
		needed := o.Action == governance.Refresh || o.Action == governance.Reshare && slices.Contains(o.Parties, s.Vault.ID)
		if s.Err == nil && s.Status.GovernanceSeq < o.Seq {
			s.Err = c.catchUp(s.Vault.ID, s.Status.GovernanceSeq)
		}
		if s.Err != nil && needed {
			return nil, fmt.Errorf("vault %d is to hold a share: %w", s.Vault.ID, s.Err)
		}
		if s.Err == nil && slices.ContainsFunc(s.Status.Keys, func(k cluster.KeyStatus) bool { return k.ID == id && uint64(k.Epoch) == cert.Epoch }) {
			holders = append(holders, s.Vault.ID)
		}
	}
	return holders, nil
}

// dealers are those who deal: in a refresh all, in a reshare as many as sign. Which
// of them rotates, in case one of them is bound to an attempt that hangs.
func (c *Coordinator) dealers(o *governance.Order, cert *dkg.Certificate, holders []uint16) []uint16 {
	switch o.Action {
	case governance.Refresh:
		return fromIDs(cert.Parties)
	case governance.Reshare:
	default:
		return nil
	}
	var sets [][]uint16
	ids := make([]mpc.ID, len(holders))
	for i, id := range holders {
		ids[i] = mpc.ID(id)
	}
	if len(ids) >= cert.Threshold {
		subsets(ids, cert.Threshold, func(set []uint16) { sets = append(sets, slices.Clone(set)) })
	}
	if len(sets) == 0 {
		return fromIDs(cert.Parties[:cert.Threshold]) // the vaults say what is wrong; one may have the next epoch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if p := c.carried[o.Hash]; p != nil {
		n = p.Attempt
	}
	return sets[n%len(sets)]
}

// askHandover sends the command to all. When one is in the new epoch, or fails, and
// the others do not follow soon, they are told to end the attempt: who has
// promised something keeps it all the same.
func (c *Coordinator) askHandover(ctx context.Context, all []uint16, cmd *cluster.Command) (certs [][]byte, done int, errs []error) {
	answers := c.askAll(ctx, all, cmd)
	pending := slices.Clone(all)
	var over giveUp
	for len(pending) > 0 {
		select {
		case x := <-answers:
			pending = slices.DeleteFunc(pending, func(id uint16) bool { return id == x.vault })
			err := answered(x.vault, x.reply, x.err)
			if err != nil {
				errs = append(errs, err)
			} else {
				done++
				if len(x.reply.Body) > 0 {
					certs = append(certs, x.reply.Body)
				}
			}
			over.within(graceOfHandover)
			if err != nil {
				over.within(graceAfterRefusal)
			}
		case <-over.due:
			c.abandon(cmd.Attempt, slices.Clone(pending))
			over.again()
		}
	}
	return certs, done, errs
}

// nextCertificate checks what a vault says the new epoch is: the same key, ordered
// so, and certified by all new parties.
func (c *Coordinator) nextCertificate(o *governance.Order, old *dkg.Certificate, b []byte) (*dkg.Certificate, error) {
	next, err := dkg.DecodeCertificate(b)
	if err != nil {
		return nil, err
	}
	parties, t := fromIDs(old.Parties), old.Threshold
	if o.Action == governance.Reshare {
		parties, t = o.Parties, int(o.Threshold)
	}
	switch {
	case next.KeyID() != old.KeyID() || next.PublicKey().Equal(old.PublicKey()) != 1 || next.Previous != old.Digest() || next.Epoch != old.Epoch+1:
		return nil, fmt.Errorf("a vault's certificate of epoch %d does not follow epoch %d", next.Epoch, old.Epoch)
	case next.Threshold != t || !slices.Equal(fromIDs(next.Parties), parties):
		return nil, fmt.Errorf("a vault's certificate is for %d of %v, ordered was %d of %v", next.Threshold, next.Parties, t, parties)
	}
	return next, next.Complete(c.certified)
}

func (c *Coordinator) certified(id mpc.ID, digest [32]byte, sig []byte) bool {
	return c.Governance().SignedByIdentity(uint16(id), vault.CertificateStatement(digest), sig)
}

// enterEpoch has requests signed by the new parties from now on.
func (c *Coordinator) enterEpoch(ctx context.Context, w *Wallet, cert *dkg.Certificate, b []byte) error {
	if err := c.store.setCertificate(ctx, w.ID, b); err != nil {
		return err
	}
	next := *w
	next.Certificate = bytes.Clone(b)
	c.mu.Lock()
	c.wallets[w.ID] = &next
	c.mu.Unlock()
	c.log.Info("wallet has gone to its next epoch", "name", w.Name, "epoch", cert.Epoch, "parties", cert.Parties, "threshold", cert.Threshold)
	c.peers.forget()
	c.Wake()
	return nil
}
