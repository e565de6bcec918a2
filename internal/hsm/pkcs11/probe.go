package pkcs11

import (
	"bytes"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

// trySession runs f in a session of its own, which ends with it: devices leave
// operations open in a session in which something failed.
func (d *Device) trySession(flags uint, f func(h p11.SessionHandle) error) error {
	h, _, err := d.logIn(flags)
	if err != nil {
		return err
	}
	err = f(h)
	_ = d.mod.ctx.CloseSession(h)
	return err
}

// negotiateForm finds the form of ECDH with which the token gives the right answer.
func (d *Device) negotiateForm(k key) (deriveForm, error) {
	var last error
	for _, f := range deriveForms {
		err := d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, f, k, nil) })
		if err == nil {
			return f, nil
		}
		if absent(err) {
			return deriveForm{}, err
		}
		last = err
	}
	return deriveForm{}, hsm.Errorf(hsm.ErrDevice, "", "the token does no ECDH with its seal key, in none of %d forms: %w", len(deriveForms), last)
}

// observe says what the token does with a cold key that is used without the PIN for
// this one use: whether it asks for it. A key that works is as good as none that asks;
// one that fails for another reason is an error.
func (d *Device) observe(k key) (asks bool, err error) {
	if k.suite == hsm.SuiteHPKE || k.mac != 0 || k.suite == hsm.SuiteGCM {
		return false, d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, d.derive, k, nil) })
	}
	err = d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, d.derive, k, nil) })
	if rv(err) == p11.CKR_USER_NOT_LOGGED_IN {
		return true, nil
	}
	return false, err
}

// leaks asks the token for its private keys, in clear and wrapped, and reports
// whether it gave one away. There are devices that call a key non-extractable and
// do.
func leaks(m *module, h p11.SessionHandle, keys []key) bool {
	var objects []p11.ObjectHandle
	for _, k := range keys {
		objects = append(objects, k.use)
		if k.mac != 0 {
			objects = append(objects, k.mac)
		}
	}
	wrapping, err := m.ctx.GenerateKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		p11.NewAttribute(p11.CKA_WRAP, true),
	})
	if err != nil { // a token that makes no AES key wraps with none
		wrapping = 0
	} else {
		// The key is a session object: it ends with the session at the latest.
		defer func() { _ = m.ctx.DestroyObject(h, wrapping) }()
	}
	for _, o := range objects {
		if gives(m, h, o, wrapping) {
			return true
		}
		c, err := m.ctx.CopyObject(h, o, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_TOKEN, false),
			p11.NewAttribute(p11.CKA_SENSITIVE, false),
			p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
		})
		if err != nil {
			continue
		}
		gave := gives(m, h, c, wrapping)
		_ = m.ctx.DestroyObject(h, c)
		if gave {
			return true
		}
	}
	return false
}

// gives asks for one key, in clear and wrapped.
func gives(m *module, h p11.SessionHandle, o, wrapping p11.ObjectHandle) bool {
	for _, typ := range []uint{p11.CKA_VALUE, p11.CKA_PRIVATE_EXPONENT, p11.CKA_PRIME_1} {
		if v, err := attribute(m, h, o, typ); err == nil && len(bytes.Trim(v, "\x00")) != 0 {
			secret.Wipe(v)
			return true
		}
	}
	for _, mech := range wrapMechanisms() {
		if wrapping == 0 {
			break
		}
		if w, err := m.ctx.WrapKey(h, []*p11.Mechanism{mech}, wrapping, o); err == nil && len(w) != 0 {
			return true
		}
	}
	return false
}

// unasked says whether who is logged in can turn off that a cold key asks: by setting
// the attribute, which is tried with the value that it has, or by a copy that does not
// ask. There are devices whose library asks, and not the device.
func unasked(m *module, h p11.SessionHandle, k key) bool {
	if m.ctx.SetAttributeValue(h, k.use, []*p11.Attribute{p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, true)}) == nil {
		return true
	}
	c, err := m.ctx.CopyObject(h, k.use, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, false),
	})
	if err != nil {
		return false
	}
	_ = m.ctx.DestroyObject(h, c)
	return true
}

func wrapMechanisms() []*p11.Mechanism {
	return []*p11.Mechanism{
		p11.NewMechanism(p11.CKM_AES_KEY_WRAP, nil),
		p11.NewMechanism(p11.CKM_AES_KEY_WRAP_PAD, nil),
		p11.NewMechanism(p11.CKM_AES_CBC_PAD, make([]byte, 16)),
		p11.NewMechanism(p11.CKM_AES_ECB, nil),
	}
}

// rsaBits are the sizes that are tried for sealing by RSA.
var rsaBits = []uint{3072, 2048}

// signPlans and statePlans are what is tried, best first.
func signPlans() []plan { return []plan{{kind: kindEC}, {kind: kindRSA, bits: 3072}} }

func statePlans() []plan {
	return append([]plan{
		{kind: kindEC, suite: hsm.SuiteHPKE},
		{kind: kindGCM, suite: hsm.SuiteGCM},
		{kind: kindCBC, suite: hsm.SuiteCBCHMAC},
	}, oaepPlans(false)...)
}

func oaepPlans(auth bool) []plan {
	var plans []plan
	for _, bits := range rsaBits {
		for _, suite := range []hsm.Suite{hsm.SuiteOAEP256, hsm.SuiteOAEP1} {
			plans = append(plans, plan{kind: kindRSA, bits: bits, suite: suite, auth: auth})
		}
	}
	return plans
}

// choose makes a key by each plan in turn, under a name that nothing is ever sealed
// with, has it do its work, and destroys it. It returns the first plan that works.
func (d *Device) choose(what string, plans []plan) (plan, error) {
	l := label(d.object, tryName)
	clear := func(h p11.SessionHandle) error {
		return errors.Join(destroyNamed(d.mod, h, l), destroyNamed(d.mod, h, l+macSuffix))
	}
	defer func() { _ = d.trySession(p11.CKF_RW_SESSION, clear) }()
	var tried []error
	var have plan
	for _, p := range plans {
		again := have
		again.suite = p.suite
		var err error
		if have.kind != kindRSA || again != p { // the hash of OAEP needs no key of its own
			have = p
			err = d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) error {
				if err := clear(h); err != nil { // of a process that was killed
					return err
				}
				return generate(d.mod, h, l, p)
			})
		}
		if err == nil {
			err = d.tryKey(l, p)
		}
		switch {
		case err == nil:
			return p, nil
		case isKind(err, hsm.ErrFull), isKind(err, hsm.ErrPIN), isKind(err, hsm.ErrLocked), absent(err) && rv(err) != p11.CKR_USER_NOT_LOGGED_IN:
			return plan{}, err
		}
		tried = append(tried, fmt.Errorf("%v: %w", p, err))
	}
	return plan{}, hsm.Errorf(hsm.ErrDevice, "use a device with P-256, AES or RSA", "the token offers no way to %s: %w", what, errors.Join(tried...))
}

// tryKey tries one key that was made for a trial.
func (d *Device) tryKey(l string, p plan) error {
	var k key
	if err := d.trySession(0, func(h p11.SessionHandle) (err error) {
		k, err = findKey(d.mod, h, l)
		return err
	}); err != nil {
		return err
	}
	if k.kind == kindRSA {
		k.suite = p.suite
	}
	switch {
	case p.suite == 0:
		return d.trySession(0, func(h p11.SessionHandle) error { return signsWell(d.mod, h, k, "trial") })
	case p.suite == hsm.SuiteHPKE:
		_, err := d.negotiateForm(k)
		return err
	case !p.auth:
		return d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, deriveForm{}, k, nil) })
	}
	// It must ask for the PIN, and be content with it.
	asks, err := d.observe(k)
	if err != nil {
		return err
	}
	if !asks {
		return errors.New("the token does not ask for the PIN at each use")
	}
	return d.trySession(0, func(h p11.SessionHandle) error {
		return works(d.mod, h, deriveForm{}, k, func(h p11.SessionHandle) error {
			return d.pin.again(func(pin string) error { return d.mod.ctx.Login(h, p11.CKU_CONTEXT_SPECIFIC, pin) })
		})
	})
}
