package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Wallets lists the keys.
func (c *Coordinator) Wallets(ctx context.Context) ([]*Wallet, error) { return c.store.wallets(ctx) }

func (c *Coordinator) walletByID(id [32]byte) (*Wallet, error) {
	ws, err := c.store.wallets(c.ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		if w.ID == id {
			return w, nil
		}
	}
	return nil, refusal.Newf("request.wallet", "a wallet of this cluster (coffer wallet list)", "wallet: there is none with key id %x", id[:8])
}

// walletKey is the 33-byte group public key.
func walletKey(w *Wallet) []byte {
	cert, err := dkg.DecodeCertificate(w.Certificate)
	if err != nil {
		return nil
	}
	b := cert.PublicKey().Bytes()
	return b[:]
}

// Keygen has the vaults make a key. It may be repeated with the same order: a
// vault that has the key answers with its certificate.
func (c *Coordinator) Keygen(ctx context.Context, o *governance.KeygenOrder) (*Wallet, error) {
	enc := o.Encode()
	ws, err := c.store.wallets(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		if bytes.Equal(w.Order, enc) {
			return w, nil
		}
		if w.Name == o.Name {
			return nil, refusal.Newf("keygen.name", "another name", "wallet: there is one named %q already", o.Name)
		}
	}
	if err := c.Governance().CheckKeygen(o, now()); err != nil {
		return nil, err
	}
	var fresh [16]byte
	if _, err := io.ReadFull(rand.Reader, fresh[:]); err != nil {
		return nil, err
	}
	attempt, err := c.store.keygenAttempt(ctx, enc, o.Name, fresh)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, keygenTimeout)
	defer cancel()
	certs, errs := c.askKeygen(ctx, o, &cluster.Command{Kind: cluster.CommandKeygen, Attempt: attempt, Body: enc})
	if len(certs) == 0 {
		// Nobody has the key: the next try begins anew.
		if err := c.store.dropKeygen(ctx, enc); err != nil {
			return nil, err
		}
		return nil, keygenError(errs)
	}
	if len(certs) < len(o.Parties) {
		// Some have it: the others lack only the signatures.
		certs, errs = c.askKeygen(ctx, o, &cluster.Command{Kind: cluster.CommandKeygen, Attempt: attempt, Body: enc, Unsigned: certs[0]})
	}
	if len(certs) < len(o.Parties) {
		return nil, fmt.Errorf("%d of %d vaults have the key: repeat the order: %w", len(certs), len(o.Parties), keygenError(errs))
	}
	for _, b := range certs {
		if !bytes.Equal(b, certs[0]) {
			return nil, errors.New("the vaults have different certificates")
		}
	}
	cert, err := dkg.DecodeCertificate(certs[0])
	if err != nil {
		return nil, err
	}
	w := &Wallet{ID: cert.KeyID(), Name: o.Name, Order: enc, Certificate: certs[0], Created: now()}
	return w, c.store.addWallet(ctx, w)
}

// keygenError prefers a refusal, which says what to change.
func keygenError(errs []error) error {
	for _, e := range errs {
		var r *refusal.Refusal
		if errors.As(e, &r) {
			return r
		}
	}
	return errors.New(joinErrors(errs))
}

func (c *Coordinator) askKeygen(ctx context.Context, o *governance.KeygenOrder, cmd *cluster.Command) ([][]byte, []error) {
	var mu sync.Mutex // guards certs, errs
	var certs [][]byte
	var errs []error
	var wg sync.WaitGroup
	for _, id := range o.Parties {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := c.command(ctx, id, cmd)
			if err == nil && r.Outcome == cluster.OutcomeRefused {
				if f, e := refusal.Decode(r.Refusal); e == nil {
					err = f
				}
			}
			if err == nil && r.Outcome != cluster.OutcomeDone {
				err = fmt.Errorf("vault %d: %s", id, r.Detail)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			certs = append(certs, r.Body)
		}()
	}
	wg.Wait()
	return certs, errs
}

// Changes lists all changes of policy and roster.
func (c *Coordinator) Changes(ctx context.Context) ([]*StoredChange, error) {
	return c.store.changes(ctx)
}

// Change takes a proposed change, or more signatures of one. When the quorum is
// complete it goes to every vault.
func (c *Coordinator) Change(ctx context.Context, s *governance.SignedChange) (*StoredChange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, err := c.store.changes(ctx)
	if err != nil {
		return nil, err
	}
	merged := *s
	for _, o := range all {
		if o.Signed.Change.Hash() != s.Change.Hash() {
			continue
		}
		if o.Applied {
			return o, nil
		}
		for _, sig := range o.Signed.Signatures {
			if !slices.ContainsFunc(merged.Signatures, func(x governance.AdminSignature) bool { return x.Principal == sig.Principal }) {
				merged.Signatures = append(merged.Signatures, sig)
			}
		}
	}
	merged.Sort()
	next, err := c.gov.Apply(&merged)
	if err != nil {
		r := refusal.As(err)
		if r == nil || r.Code != "change.quorum" {
			return nil, err
		}
		// Too few signatures yet, and each that is there is good (Apply counts last):
		// keep them.
		return &StoredChange{Signed: &merged, Time: now()}, c.store.putChange(ctx, &merged, false)
	}
	if err := c.store.putChange(ctx, &merged, true); err != nil {
		return nil, err
	}
	c.gov = next
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		for _, id := range c.vaultIDs() {
			if err := c.catchUp(id, merged.Change.Seq-1); err != nil && c.ctx.Err() == nil {
				c.log.Warn("couldn't bring vault up to date", "vault", id, "error", err)
			}
		}
	}()
	return &StoredChange{Signed: &merged, Applied: true, Time: now()}, nil
}

// catchUp sends a vault the changes that it missed.
func (c *Coordinator) catchUp(vault uint16, from uint64) error {
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	all, err := c.store.changes(ctx)
	if err != nil {
		return err
	}
	for _, ch := range all {
		if !ch.Applied || ch.Signed.Change.Seq <= from {
			continue
		}
		r, err := c.command(ctx, vault, &cluster.Command{Kind: cluster.CommandChange, Body: ch.Signed.Encode()})
		if err != nil {
			return err
		}
		if r.Outcome == cluster.OutcomeRefused {
			f, err := refusal.Decode(r.Refusal)
			if err != nil {
				return err
			}
			return fmt.Errorf("vault %d refuses change %d: %w", vault, ch.Signed.Change.Seq, f)
		}
		if r.Outcome != cluster.OutcomeDone {
			return fmt.Errorf("vault %d: %s", vault, r.Detail)
		}
	}
	return nil
}
