package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Key returns what the vaults certified.
func (w *Wallet) Key() (*dkg.Certificate, error) { return dkg.DecodeCertificate(w.Certificate) }

// Address is the wallet's account on a chain.
func (w *Wallet) Address(chain string) (string, error) {
	cert, err := w.Key()
	if err != nil {
		return "", err
	}
	codec, err := family.Of(chain)
	if err != nil {
		return "", err
	}
	return codec.Address(chain, cert.PublicKey().Encode())
}

// Wallets lists the keys by name.
func (c *Coordinator) Wallets() []*Wallet {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Wallet
	for _, w := range c.wallets {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *Wallet) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}

func (c *Coordinator) walletByID(id [32]byte) (*Wallet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.wallets[id]; w != nil {
		return w, nil
	}
	return nil, refusal.Newf("request.wallet", "a wallet of this cluster (coffer wallet list)", "wallet: there is none with key id %x", id[:8])
}

// Keygen has the vaults make a key. It may be repeated with the same order: a
// vault that has the key answers with its certificate.
func (c *Coordinator) Keygen(ctx context.Context, o *governance.KeygenOrder) (w *Wallet, created bool, err error) {
	if err := c.Governance().CheckKeygen(o, c.now()); err != nil {
		return nil, false, err
	}
	if !c.begin() {
		return nil, false, context.Canceled
	}
	defer c.wg.Done()
	c.keygens.Lock()
	defer c.keygens.Unlock()
	enc := o.Encode()
	for _, w := range c.Wallets() {
		if bytes.Equal(w.Order, enc) {
			return w, false, nil
		}
		if w.Name == o.Name {
			return nil, false, refusal.Newf("keygen.name", "another name", "wallet: there is one named %q already", o.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, keygenTimeout)
	defer cancel()
	cert, err := c.generate(ctx, o, enc)
	if err != nil {
		return nil, false, err
	}
	key, err := dkg.DecodeCertificate(cert)
	if err != nil {
		return nil, false, err
	}
	if want := governance.SuiteOf(o.Purpose); key.Suite != want {
		return nil, false, fmt.Errorf("the vaults made a key of suite %s, want %s", key.Suite, want)
	}
	w = &Wallet{ID: key.KeyID(), Name: o.Name, Order: enc, Certificate: cert, Created: c.now()}
	if err := c.store.addWallet(ctx, w); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wallets[w.ID] = w
	c.log.Info("wallet", "name", w.Name, "key", short(w.ID))
	return w, true, nil
}

// keygenAgain is the wait between tries while vaults are still starting.
const keygenAgain = 250 * time.Millisecond

// generate runs the order until every vault has the key, one of them says no, or
// time is up.
func (c *Coordinator) generate(ctx context.Context, o *governance.KeygenOrder, enc []byte) (cert []byte, err error) {
	for {
		if cert, err = c.tryKeygen(ctx, o, enc); err == nil {
			return cert, nil
		}
		var again *retry
		if !errors.As(err, &again) {
			return nil, err
		}
		t := time.NewTimer(again.most)
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil || c.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrVaults, again.error)
		}
	}
}

// ErrVaults says that vaults which are needed are not there, or failed. Doing the
// same again later may succeed.
var ErrVaults = errors.New("the vaults could not do it")

func (c *Coordinator) tryKeygen(ctx context.Context, o *governance.KeygenOrder, enc []byte) ([]byte, error) {
	var attempt [16]byte
	if _, err := io.ReadFull(rand.Reader, attempt[:]); err != nil {
		return nil, err
	}
	attempt, err := c.store.keygenAttempt(ctx, enc, o.Name, attempt)
	if err != nil {
		return nil, err
	}
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
		err := fmt.Errorf("%d of %d vaults have the key, repeat the order: %s", len(certs), len(o.Parties), joinErrors(errs))
		return nil, &retry{err, keygenAgain}
	}
	for _, b := range certs {
		if !bytes.Equal(b, certs[0]) {
			return nil, errors.New("the vaults have different certificates")
		}
	}
	return certs[0], nil
}

// keygenFailure is a vault's answer that is no key.
type keygenFailure struct {
	vault uint16
	reply *cluster.Reply
	error
}

// keygenError prefers a refusal, which says what to change. Everything but a
// refusal and an accusation is worth another try.
func keygenError(errs []error) error {
	for _, e := range errs {
		if r := refusal.As(e); r != nil {
			return r
		}
	}
	for _, e := range errs {
		var f *keygenFailure
		if errors.As(e, &f) && f.reply.Outcome == cluster.OutcomeAborted && mpc.Class(f.reply.Class) != mpc.Benign {
			return fmt.Errorf("%w: %s", ErrVaults, joinErrors(errs))
		}
	}
	return &retry{errors.New(joinErrors(errs)), keygenAgain}
}

// graceOfKeygen is how long the others have when one vault is done, or is not: a
// vault that has all signatures has them within milliseconds of the others.
const graceOfKeygen = 2 * time.Second

// askKeygen sends the order to all parties. When one is done or fails and others
// do not follow soon, they are told to end the attempt.
func (c *Coordinator) askKeygen(ctx context.Context, o *governance.KeygenOrder, cmd *cluster.Command) (certs [][]byte, errs []error) {
	answers := c.askAll(ctx, o.Parties, cmd)
	pending := slices.Clone(o.Parties)
	var over giveUp
	for len(pending) > 0 {
		select {
		case x := <-answers:
			pending = slices.DeleteFunc(pending, func(id uint16) bool { return id == x.vault })
			switch err := answered(x.vault, x.reply, x.err); {
			case x.err != nil:
				errs = append(errs, x.err)
			case err != nil:
				errs = append(errs, &keygenFailure{x.vault, x.reply, err})
			default:
				certs = append(certs, x.reply.Body)
			}
			over.within(graceOfKeygen)
			if len(errs) > 0 {
				over.within(graceAfterRefusal)
			}
		case <-over.due:
			c.abandon(cmd.Attempt, slices.Clone(pending))
			over.again()
		}
	}
	return certs, errs
}

func (f *keygenFailure) Unwrap() error { return f.error }

// Changes lists all changes of policy and roster.
func (c *Coordinator) Changes(ctx context.Context) ([]*StoredChange, error) {
	return c.store.changes(ctx)
}

// Change takes a proposed change, or more signatures of one. When the quorum is
// complete it is in force, and goes to every vault. Signatures that are there
// must be good, or nothing is kept.
func (c *Coordinator) Change(ctx context.Context, s *governance.SignedChange) (*StoredChange, error) {
	c.governing.Lock()
	defer c.governing.Unlock()
	all, err := c.store.changes(ctx)
	if err != nil {
		return nil, err
	}
	merged := &governance.SignedChange{Change: s.Change, Signatures: slices.Clone(s.Signatures)}
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
	gov := c.Governance()
	if len(merged.Signatures) == 0 {
		return nil, refusal.Newf("change.quorum", "the author's signature", "signatures: there is none")
	}
	at := c.now()
	next, err := gov.Apply(merged, at)
	if err != nil {
		if r := refusal.As(err); r == nil || r.Code != "change.quorum" {
			return nil, err
		}
		if err := gov.CheckChange(&merged.Change, at); err != nil {
			return nil, err
		}
		return c.store.putChange(ctx, merged, false, at)
	}
	if err := checkFarewell(gov.At(at), merged, at, all); err != nil {
		return nil, err
	}
	// Whoever is no admin any more is not to move the chain for nothing.
	if f, _ := next.Fate(next.Seq); f.Leaver && f.Status == governance.NoEffect {
		return nil, refusal.New("change.leaver", "", "the withdrawal would have no effect: "+f.Detail, "an admin's withdrawal, of a change that waits")
	}
	stored, err := c.store.putChange(ctx, merged, true, at)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.gov = next
	c.mu.Unlock()
	c.log.Info("governance", "seq", next.Seq, "kind", merged.Change.Kind.String())
	c.peers.forget()
	c.Wake() // what waits may be allowed by now, or denied
	c.send()
	poke(c.orders)
	return stored, nil
}

// FindChange finds a stored change by the first bytes of its hash.
func (c *Coordinator) FindChange(ctx context.Context, prefix []byte) (*StoredChange, error) {
	all, err := c.store.changes(ctx)
	if err != nil {
		return nil, err
	}
	var found []*StoredChange
	for _, x := range all {
		if h := x.Signed.Change.Hash(); bytes.HasPrefix(h[:], prefix) {
			found = append(found, x)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("change %x: %w", prefix, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%w: more than one change begins with %x", ErrConflict, prefix)
}
