package pkcs11

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

// negotiate finds the form of ECDH with which the token gives the right answer.
func negotiate(m *module, s *session, seal *ecdh.PublicKey) (deriveForm, error) {
	e, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return deriveForm{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't make a test key: %w", err)
	}
	want, err := e.ECDH(seal)
	if err != nil {
		return deriveForm{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the seal key: %w", err)
	}
	defer secret.Wipe(want)
	var last error
	for _, f := range deriveForms {
		got, err := f.exchange(m, s, e.PublicKey())
		if err == nil && bytes.Equal(got, want) {
			secret.Wipe(got)
			return f, nil
		}
		if err != nil {
			last = err
			if absent(err) {
				return deriveForm{}, err
			}
		}
	}
	if last == nil {
		return deriveForm{}, hsm.Errorf(hsm.ErrDevice, "", "the token's seal key gives wrong results")
	}
	return deriveForm{}, hsm.Errorf(hsm.ErrDevice, "use a device with ECDH on P-256 (CKM_ECDH1_DERIVE)",
		"the token does no ECDH with its seal key, in none of %d forms: %w", len(deriveForms), last)
}

// leaks asks the token for its private keys, in clear and wrapped, and reports
// whether it gave one away. There are devices that call a key non-extractable and
// do.
func leaks(m *module, s *session) bool {
	for _, k := range s.keys {
		if v, err := attribute(m, s.h, k.private, p11.CKA_VALUE); err == nil && len(v) != 0 {
			secret.Wipe(v)
			return true
		}
	}
	wrapping, err := m.ctx.GenerateKey(s.h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		p11.NewAttribute(p11.CKA_WRAP, true),
	})
	if err != nil { // a token that makes no AES key wraps with none
		return false
	}
	// The key is a session object: it ends with the session at the latest.
	defer func() { _ = m.ctx.DestroyObject(s.h, wrapping) }()
	for _, k := range s.keys {
		for _, mech := range wrapMechanisms() {
			if w, err := m.ctx.WrapKey(s.h, []*p11.Mechanism{mech}, wrapping, k.private); err == nil && len(w) != 0 {
				return true
			}
		}
	}
	return false
}

func wrapMechanisms() []*p11.Mechanism {
	return []*p11.Mechanism{
		p11.NewMechanism(p11.CKM_AES_KEY_WRAP, nil),
		p11.NewMechanism(p11.CKM_AES_KEY_WRAP_PAD, nil),
		p11.NewMechanism(p11.CKM_AES_CBC_PAD, make([]byte, 16)),
	}
}
