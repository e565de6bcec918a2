package pkcs11

import (
	"context"
	"errors"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
)

// Provision makes the keys that are missing on a token: of which kinds, it finds by
// trying. It never replaces a key; after a crash it makes the rest.
func Provision(ctx context.Context, u pkcs11uri.URI) error {
	d, err := connect(ctx, u)
	if err != nil {
		return err
	}
	fill := func() (uint64, error) {
		d.mod.mu.RLock()
		defer d.mod.mu.RUnlock()
		return d.mod.gen, d.fill(ctx)
	}
	gen, err := fill()
	if err != nil && worthRestart(err) { // such as a token that came after the library was started
		if err = d.mod.restart(gen); err == nil {
			_, err = fill()
		}
	}
	return errors.Join(failed("provision the token", err), d.Close())
}

// fill makes what is missing. It holds a session to its end: with the last one the
// login ends, and with that the keys' handles.
func (d *Device) fill(ctx context.Context) error {
	return d.trySession(0, func(p11.SessionHandle) error { return d.fillIn(ctx) })
}

func (d *Device) fillIn(ctx context.Context) error {
	for _, name := range roleNames() {
		if err := d.ensure(ctx, name, d.signPlan); err != nil {
			return err
		}
	}
	var epoch uint64
	if err := d.trySession(0, func(h p11.SessionHandle) (err error) {
		epoch, err = newestEpoch(d.mod, h, d.object)
		return err
	}); err != nil {
		return err
	}
	epoch = max(epoch, 1)
	// The cold key first: with the state key the epoch is there.
	if err := d.ensure(ctx, sealName(hsm.ClassCold, epoch), d.coldPlan); err != nil {
		return err
	}
	return d.ensure(ctx, sealName(hsm.ClassState, epoch), func() (plan, error) { return d.choose("seal", statePlans()) })
}

// signPlan is that of the signing key that is there already.
func (d *Device) signPlan() (plan, error) {
	for _, name := range roleNames() {
		var k key
		err := d.trySession(0, func(h p11.SessionHandle) (err error) {
			k, err = findKey(d.mod, h, label(d.object, name))
			return err
		})
		if err == nil {
			p := planOf(k, false)
			p.suite = 0
			return p, nil
		}
		if !isKind(err, hsm.ErrNotProvisioned) {
			return plan{}, err
		}
	}
	return d.choose("sign", signPlans())
}

// coldPlan is one for which the token asks for the PIN at each use, else the plan of
// the state key.
func (d *Device) coldPlan() (plan, error) {
	p, err := d.choose("seal with a PIN at each use", oaepPlans(true))
	if isKind(err, hsm.ErrDevice) {
		p, err = d.choose("seal", statePlans())
	}
	return p, err
}

// ensure makes a key if it is missing; only then it asks how.
func (d *Device) ensure(ctx context.Context, name string, how func() (plan, error)) error {
	if err := ctx.Err(); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "run it again: it makes what is missing", "couldn't make all keys: %w", err)
	}
	l := label(d.object, name)
	err := d.trySession(0, func(h p11.SessionHandle) error {
		_, err := findKey(d.mod, h, l)
		return err
	})
	if !isKind(err, hsm.ErrNotProvisioned) {
		return err
	}
	p, perr := how()
	if perr != nil {
		return perr
	}
	return d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) error {
		_, err := ensureKey(d.mod, h, l, p)
		return err
	})
}
