package pkcs11

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// SealKey returns what may be known of a seal key.
func (d *Device) SealKey(ctx context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if err := d.ready(ctx); err != nil {
		return hsm.SealKey{}, err
	}
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return hsm.SealKey{}, err
	}
	d.mu.Lock()
	k, ok := d.known[sealName(class, epoch)]
	ok = ok && epoch >= d.below
	d.mu.Unlock()
	if !ok {
		err := d.do(ctx, "look for a seal key", func(s *session) (err error) {
			k, err = d.sealKey(s, class, epoch)
			return err
		})
		if err != nil {
			return hsm.SealKey{}, err
		}
	}
	return hsm.SealKey{Suite: k.suite, Class: class, Epoch: epoch, Public: k.public}, nil
}

// sealKey finds a seal key. One that is not there was erased, or not made yet.
func (d *Device) sealKey(s *session, class hsm.Class, epoch uint64) (key, error) {
	name := sealName(class, epoch)
	d.mu.Lock()
	erased := epoch < d.below
	d.mu.Unlock()
	var k key
	var err error
	if !erased {
		k, err = d.key(s, name)
	}
	if erased || isKind(err, hsm.ErrNotProvisioned) {
		d.forget(name)
		return key{}, hsm.Errorf(hsm.ErrInput, "", "token %q has no %v seal key of epoch %d: it was erased, or not made yet", d.info.Label, class, epoch)
	}
	return k, err
}

func (d *Device) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, name)
}

// Wrap wraps a data key inside the token.
func (d *Device) Wrap(ctx context.Context, class hsm.Class, epoch uint64, data, bind []byte) ([]byte, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	if len(data) != dataKeySize {
		return nil, hsm.Errorf(hsm.ErrInput, "", "data key of %d bytes, want %d", len(data), dataKeySize)
	}
	var enc []byte
	err := d.do(ctx, "seal", func(s *session) error {
		k, err := d.sealKey(s, class, epoch)
		switch {
		case err != nil:
			return err
		case k.suite.Public():
			return hsm.Errorf(hsm.ErrUnsupported, "", "the seal key of epoch %d is a pair: seal to its public half", epoch)
		}
		enc, err = wrap(d.mod, s.h, k, data, bind)
		return err
	})
	return enc, err
}

// Unwrap unwraps a data key inside the token, or does one Diffie-Hellman there. A
// token that asks for the PIN at each use gets it from ap, once.
func (d *Device) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, bind []byte, ap hsm.Approver) ([]byte, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	if class == hsm.ClassCold && d.perUse {
		return d.unwrapCold(ctx, epoch, enc, bind, ap)
	}
	var data []byte
	err := d.do(ctx, "unseal", func(s *session) error {
		k, err := d.sealKey(s, class, epoch)
		if err != nil {
			return err
		}
		data, err = unwrap(d.mod, s.h, d.derive, k, enc, bind, nil)
		return d.blame(k, err)
	})
	return data, err
}

// blame finds out whose fault it is that a token does not unwrap: if the same key
// still opens what is fresh, it is the blob's.
func (d *Device) blame(k key, err error) error {
	var e *hsm.Error
	if err == nil || errors.As(err, &e) || k.suite == hsm.SuiteHPKE || (absent(err) && !errors.Is(err, errRefused)) {
		return err
	}
	again := d.trySession(0, func(h p11.SessionHandle) error {
		return works(d.mod, h, d.derive, k, nil)
	})
	if again != nil {
		return err
	}
	return refusedBlob(err)
}

func refusedBlob(err error) error {
	return hsm.Errorf(hsm.ErrUnseal, "", "the token does not open the wrapped key: it was altered, or was wrapped under another: %w", err)
}

// unwrapCold asks for the PIN before it takes a session, since people are slow, and
// uses it for one try: nothing is repeated once the token may have counted it.
func (d *Device) unwrapCold(ctx context.Context, epoch uint64, enc, bind []byte, ap hsm.Approver) ([]byte, error) {
	if _, err := d.SealKey(ctx, hsm.ClassCold, epoch); err != nil {
		return nil, err
	}
	answer, err := hsm.Ask(ctx, ap, hsm.Challenge{
		Kind: hsm.ChallengePIN,
		Use:  fmt.Sprintf("open one blob that is sealed with the cold key of epoch %d of token %q", epoch, d.info.Label),
	})
	if err != nil {
		return nil, err
	}
	defer answer.PIN.Destroy()
	if answer.PIN.Len() == 0 {
		return nil, hsm.Errorf(hsm.ErrApproval, "", "token %q asks for its PIN, and got none", d.info.Label)
	}
	mark := sha256.Sum256(answer.PIN.Reveal())
	d.mu.Lock()
	before := d.refused[mark]
	d.mu.Unlock()
	if before {
		return nil, hsm.Errorf(hsm.ErrPIN, "", "token %q has refused this PIN before: it was not tried again", d.info.Label)
	}
	var data []byte
	var tried error
	err = d.do(ctx, "unseal", func(s *session) error {
		if tried != nil {
			return tried
		}
		k, err := d.sealKey(s, hsm.ClassCold, epoch)
		if err != nil {
			return err
		}
		given := false
		data, err = unwrap(d.mod, s.h, d.derive, k, enc, bind, func(h p11.SessionHandle) error {
			given = true
			return d.contextPIN(h, string(answer.PIN.Reveal()), mark)
		})
		if err == nil || !given {
			return err
		}
		// The session is closed, since it failed; so the token is asked in a new one
		// whether it is still there at all.
		var e *hsm.Error
		if !errors.As(err, &e) && !absent(err) && d.trySession(0, func(p11.SessionHandle) error { return nil }) == nil {
			err = refusedBlob(err)
		}
		tried = err
		return err
	})
	return data, err
}

// contextPIN is the one try of a PIN that somebody gave for one use.
func (d *Device) contextPIN(h p11.SessionHandle, pin string, mark [32]byte) error {
	t, err := findToken(d.mod, d.uri)
	if err != nil {
		return err
	}
	if err := mayCount(t); err != nil {
		return err
	}
	err = d.mod.ctx.Login(h, p11.CKU_CONTEXT_SPECIFIC, pin)
	if !pinRefused(err) {
		return err
	}
	d.mu.Lock()
	d.refused[mark] = true
	d.mu.Unlock()
	now, _ := d.mod.ctx.GetTokenInfo(t.slot)
	if rv(err) == p11.CKR_PIN_LOCKED {
		return hsm.Errorf(hsm.ErrLocked, "have the security officer reset the user PIN", "token %q is locked: %w", d.info.Label, err)
	}
	return hsm.Errorf(hsm.ErrPIN, "give the right PIN; this one isn't tried again", "token %q refused the PIN for this use, which was tried once (%s): %w",
		d.info.Label, triesLeft(now.Flags), err)
}

// SealEpoch looks for the newest epoch on the token.
func (d *Device) SealEpoch(ctx context.Context) (uint64, error) {
	var epoch uint64
	err := d.do(ctx, "look for seal keys", func(s *session) (err error) {
		epoch, err = d.newest(s)
		return err
	})
	return epoch, err
}

func (d *Device) newest(s *session) (uint64, error) {
	epoch, err := newestEpoch(d.mod, s.h, d.object)
	if err == nil && epoch == 0 {
		err = hsm.Errorf(hsm.ErrUnavailable, helpSwapped, "token %q has no seal key any more", d.info.Label)
	}
	if err == nil {
		d.mu.Lock()
		d.epoch = max(d.epoch, epoch)
		d.mu.Unlock()
	}
	return epoch, err
}

// Advance makes the seal keys of the next epoch, of the kinds of the newest. Each is
// tried before the state key makes the epoch.
func (d *Device) Advance(ctx context.Context) (uint64, error) {
	d.changes.Lock()
	defer d.changes.Unlock()
	var next uint64 // decided once: what is repeated must not go two steps
	err := d.doWith(ctx, "make the next seal keys", p11.CKF_RW_SESSION, func(s *session) error {
		epoch, err := d.newest(s)
		if err != nil {
			return err
		}
		if next == 0 {
			next = epoch + 1
		}
		cold, err := d.sealKey(s, hsm.ClassCold, epoch)
		if err != nil {
			return err
		}
		state, err := d.sealKey(s, hsm.ClassState, epoch)
		if err != nil {
			return err
		}
		if epoch < next {
			if err := d.makeEpoch(s.h, next, planOf(state, false), planOf(cold, d.perUse)); err != nil {
				return err
			}
		}
		_, err = d.newest(s)
		return err
	})
	if err != nil {
		return 0, err
	}
	return next, nil
}

func (d *Device) makeEpoch(h p11.SessionHandle, epoch uint64, state, cold plan) error {
	k, err := ensureKey(d.mod, h, label(d.object, sealName(hsm.ClassCold, epoch)), cold)
	if err != nil {
		return err
	}
	switch asks, err := d.observe(k); {
	case err != nil:
		return fmt.Errorf("cold seal key of epoch %d: %w", epoch, err)
	case asks != cold.auth:
		return hsm.Errorf(hsm.ErrDevice, "", "the token's new cold key asks for the PIN at each use: %v, the one before: %v", asks, cold.auth)
	}
	l := label(d.object, sealName(hsm.ClassState, epoch))
	if k, err = ensureKey(d.mod, h, l, state); err != nil {
		return err
	}
	if err := d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, d.derive, k, nil) }); err != nil {
		// Nobody has heard of this epoch yet, so nothing is sealed in it.
		return errors.Join(fmt.Errorf("state seal key of epoch %d: %w", epoch, err), destroyNamed(d.mod, h, l))
	}
	return nil
}

// Erase destroys the seal keys of the epochs below, and looks whether they are gone.
func (d *Device) Erase(ctx context.Context, below uint64) error {
	d.changes.Lock()
	defer d.changes.Unlock()
	return d.doWith(ctx, "erase seal keys", p11.CKF_RW_SESSION, func(s *session) error {
		epoch, err := d.newest(s)
		if err != nil {
			return err
		}
		if below > epoch {
			return hsm.Errorf(hsm.ErrInput, "", "asked to erase the seal keys below epoch %d, the newest is %d and stays", below, epoch)
		}
		old, err := d.older(s, below)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.below = max(d.below, below)
		d.mu.Unlock()
		for _, name := range old {
			d.forget(name)
			if err := destroyNamed(d.mod, s.h, label(d.object, name)); err != nil {
				return err
			}
		}
		if old, err = d.older(s, below); err == nil && len(old) != 0 {
			err = hsm.Errorf(hsm.ErrDevice, "", "the token still shows the seal keys %v after it was told to destroy them", old)
		}
		return err
	})
}

// older are the names of the seal keys, and of their parts, of the epochs below.
func (d *Device) older(s *session, below uint64) ([]string, error) {
	objects, err := sealObjects(d.mod, s.h, d.object)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range objects {
		if _, epoch, ok := parseSealName(trimMAC(name)); ok && epoch < below {
			names = append(names, name)
		}
	}
	return names, nil
}
