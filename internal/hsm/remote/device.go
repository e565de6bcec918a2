package remote

import (
	"context"
	"errors"
	"slices"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// This file is the port's methods, made of calls.

// Info is what the helper said when it was dialed.
func (c *Client) Info() hsm.Info { return c.id.info }

// Public returns the key that the helper named when it was dialed.
func (c *Client) Public(ctx context.Context, role hsm.Role) (signature.PublicKey, error) {
	if err := c.ready(ctx); err != nil {
		return signature.PublicKey{}, err
	}
	if err := role.Check(); err != nil {
		return signature.PublicKey{}, err
	}
	if role != hsm.RoleApproval {
		return c.id.keys[slices.Index(hsm.Roles(), role)], nil
	}
	if c.id.approval == (signature.PublicKey{}) {
		return signature.PublicKey{}, role.CheckPlain()
	}
	return c.id.approval, nil
}

// carried are the approvals that travel with a request. Another approver stays here:
// a helper asks its own operator.
func carried(ap hsm.Approver) (hsm.Approvals, error) {
	list, ok := ap.(hsm.Approvals)
	if ap != nil && !ok {
		return nil, hsm.Errorf(hsm.ErrUnsupported, "authorise it at the helper", "a helper takes approvals that were given beforehand, and asks its own operator for the rest")
	}
	if len(list) > hsm.MaxApprovals {
		return nil, hsm.Errorf(hsm.ErrInput, "", "%d approvals, at most %d", len(list), hsm.MaxApprovals)
	}
	return list, nil
}

// Sign has the helper sign, and checks what it signed.
func (c *Client) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	key, err := c.Public(ctx, role)
	if err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	approvals, err := carried(ap)
	if err != nil {
		return signature.Signature{}, err
	}
	p, err := c.call(ctx, request{op: opSign, role: role, st: st, approvals: approvals})
	if err != nil {
		return signature.Signature{}, err
	}
	if err := signature.Verify(key, st, p.sig); err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "the HSM's signature as %v is wrong: %w", role, err)
	}
	return p.sig, nil
}

// SealKey asks the helper once for each key.
func (c *Client) SealKey(ctx context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if err := c.ready(ctx); err != nil {
		return hsm.SealKey{}, err
	}
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return hsm.SealKey{}, err
	}
	name := sealName{class, epoch}
	c.mu.Lock()
	key, ok := c.seal[name]
	c.mu.Unlock()
	if ok {
		return key, nil
	}
	p, err := c.call(ctx, request{op: opSealKey, class: class, epoch: epoch})
	if err != nil {
		return hsm.SealKey{}, err
	}
	key = hsm.SealKey{Suite: p.key.Suite, Class: class, Epoch: epoch, Public: p.key.Public}
	if err := key.Check(); err != nil {
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrDevice, "", "the helper's %v seal key of epoch %d: %w", class, epoch, err)
	}
	c.mu.Lock()
	c.seal[name] = key
	c.mu.Unlock()
	return key, nil
}

// forget lets go of a seal key that the device no longer has.
func (c *Client) forget(drop func(sealName) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.seal {
		if drop(name) {
			delete(c.seal, name)
		}
	}
}

// Wrap has the helper wrap a data key.
func (c *Client) Wrap(ctx context.Context, class hsm.Class, epoch uint64, key, bind []byte) ([]byte, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	if len(key) != secretSize || len(bind) > hsm.MaxBind {
		return nil, hsm.Errorf(hsm.ErrInput, "", "asked to wrap %d bytes with a binding of %d, want %d and at most %d", len(key), len(bind), secretSize, hsm.MaxBind)
	}
	p, err := c.call(ctx, request{op: opWrap, class: class, epoch: epoch, data: key, bind: bind})
	return p.data, err
}

// Unwrap has the helper unwrap a data key, or do one Diffie-Hellman.
func (c *Client) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, bind []byte, ap hsm.Approver) ([]byte, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	if len(enc) > hsm.MaxEnc || len(bind) > hsm.MaxBind {
		return nil, hsm.Errorf(hsm.ErrInput, "", "asked to unwrap %d bytes with a binding of %d, at most %d and %d", len(enc), len(bind), hsm.MaxEnc, hsm.MaxBind)
	}
	approvals, err := carried(ap)
	if err != nil {
		return nil, err
	}
	p, err := c.call(ctx, request{op: opUnwrap, class: class, epoch: epoch, data: enc, bind: bind, approvals: approvals})
	if errors.Is(err, hsm.ErrInput) { // it was erased since
		c.forget(func(n sealName) bool { return n == sealName{class, epoch} })
	}
	return p.data, err
}

// Seal seals here, but for what only the device can do.
func (c *Client) Seal(ctx context.Context, class hsm.Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	return hsm.SealWith(ctx, c, class, epoch, plaintext, aad)
}

// Unseal opens a blob here, but for what only the device can do.
func (c *Client) Unseal(ctx context.Context, blob, aad []byte, ap hsm.Approver) ([]byte, error) {
	return hsm.OpenWith(ctx, c, blob, aad, ap)
}

// SealEpoch asks for the newest epoch.
func (c *Client) SealEpoch(ctx context.Context) (uint64, error) {
	p, err := c.call(ctx, request{op: opSealEpoch})
	return p.number, err
}

// Advance has the next seal keys made.
func (c *Client) Advance(ctx context.Context) (uint64, error) {
	p, err := c.call(ctx, request{op: opAdvance})
	return p.number, err
}

// Erase has old seal keys destroyed.
func (c *Client) Erase(ctx context.Context, below uint64) error {
	_, err := c.call(ctx, request{op: opErase, epoch: below})
	c.forget(func(n sealName) bool { return n.epoch < below })
	return err
}

// Counter reads the device's counter.
func (c *Client) Counter(ctx context.Context) (uint64, error) {
	p, err := c.call(ctx, request{op: opCounter})
	return p.number, err
}

// Increment adds one to it. When the answer is lost it may have happened or not:
// read the counter.
func (c *Client) Increment(ctx context.Context) (uint64, error) {
	p, err := c.call(ctx, request{op: opIncrement})
	return p.number, err
}

// Attest has the device give evidence.
func (c *Client) Attest(ctx context.Context, nonce, bind [32]byte) (hsm.Evidence, error) {
	p, err := c.call(ctx, request{op: opAttest, nonce: nonce, bound: bind})
	return p.evidence, err
}

func asError(err error) (*hsm.Error, bool) {
	var e *hsm.Error
	ok := errors.As(err, &e)
	return e, ok
}
