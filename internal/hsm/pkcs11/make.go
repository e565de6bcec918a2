package pkcs11

import (
	"crypto/rand"
	"fmt"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// plan is how a key is made.
type plan struct {
	kind  kind
	bits  uint      // RSA
	suite hsm.Suite // of a seal key; zero: it signs
	// auth: the token is to ask for the PIN at each use.
	auth bool
}

func (p plan) String() string {
	s := map[kind]string{kindEC: "P-256", kindRSA: fmt.Sprintf("RSA-%d", p.bits), kindGCM: "AES-GCM", kindCBC: "AES-CBC with HMAC"}[p.kind]
	if p.suite == hsm.SuiteHPKE {
		s = "ECDH on P-256"
	}
	return s
}

// planOf is how to make another key like this one.
func planOf(k key, auth bool) plan {
	p := plan{kind: k.kind, suite: k.suite, auth: auth}
	if k.kind == kindRSA {
		p.bits = uint(len(k.public)) * 8
	}
	return p
}

// How much is asked of a new key; devices that do not know an attribute get less.
const (
	bare = iota // what it does, and not what it doesn't
	plain
	strict  // it is never copied nor changed, and unwraps nothing
	focused // and it does the one mechanism that it is for
)

// mechanism is the one that a key is for.
func (p plan) mechanism() uint {
	switch {
	case p.kind == kindEC && p.suite == 0:
		return p11.CKM_ECDSA
	case p.kind == kindEC:
		return p11.CKM_ECDH1_DERIVE
	case p.kind == kindRSA && p.suite == 0:
		return p11.CKM_RSA_PKCS
	case p.kind == kindRSA:
		return p11.CKM_RSA_PKCS_OAEP
	case p.kind == kindGCM:
		return p11.CKM_AES_GCM
	}
	return p11.CKM_AES_CBC
}

// only is CKA_ALLOWED_MECHANISMS with one mechanism, a CK_ULONG.
func only(mechanism uint) *p11.Attribute {
	return p11.NewAttribute(p11.CKA_ALLOWED_MECHANISMS, p11.NewAttribute(0, mechanism).Value)
}

// withoutNo leaves out what a key does not do.
func withoutNo(t []*p11.Attribute) []*p11.Attribute {
	return slices.DeleteFunc(t, func(a *p11.Attribute) bool {
		return a.Type != p11.CKA_EXTRACTABLE && a.Type != p11.CKA_PRIVATE && len(a.Value) == 1 && a.Value[0] == 0
	})
}

// templates are the attributes of a new pair.
func templates(label string, p plan, level int) (public, private []*p11.Attribute) {
	id := []byte(label)
	if p.suite == hsm.SuiteOAEP1 {
		id = append(id, idSHA1...)
	}
	signs := p.suite == 0
	keyType := uint(p11.CKK_EC)
	if p.kind == kindRSA {
		keyType = p11.CKK_RSA
	}
	public = []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, keyType),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_PRIVATE, false),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
		p11.NewAttribute(p11.CKA_VERIFY, signs),
	}
	private = []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, keyType),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_PRIVATE, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
		p11.NewAttribute(p11.CKA_SIGN, signs),
		p11.NewAttribute(p11.CKA_DECRYPT, !signs && p.kind == kindRSA),
	}
	if p.kind == kindRSA {
		public = append(public,
			p11.NewAttribute(p11.CKA_ENCRYPT, !signs),
			p11.NewAttribute(p11.CKA_MODULUS_BITS, p.bits),
			p11.NewAttribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	} else {
		public = append(public, p11.NewAttribute(p11.CKA_EC_PARAMS, p256OID))
		private = append(private, p11.NewAttribute(p11.CKA_DERIVE, !signs))
	}
	if p.auth {
		private = append(private, p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, true))
	}
	if level >= strict {
		private = append(private,
			p11.NewAttribute(p11.CKA_UNWRAP, false),
			p11.NewAttribute(p11.CKA_COPYABLE, false),
			p11.NewAttribute(p11.CKA_MODIFIABLE, false))
	}
	if level >= focused {
		private = append(private, only(p.mechanism()))
	}
	if level == bare {
		return withoutNo(public), withoutNo(private)
	}
	return public, private
}

// secretTemplate are the attributes of a new symmetric key.
func secretTemplate(label string, id []byte, mac bool, mechanism uint, level int) []*p11.Attribute {
	keyType := uint(p11.CKK_AES)
	if mac {
		keyType = p11.CKK_GENERIC_SECRET
	}
	t := []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, keyType),
		p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_PRIVATE, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
		p11.NewAttribute(p11.CKA_ENCRYPT, !mac),
		p11.NewAttribute(p11.CKA_DECRYPT, !mac),
		p11.NewAttribute(p11.CKA_SIGN, mac),
		p11.NewAttribute(p11.CKA_VERIFY, false),
		p11.NewAttribute(p11.CKA_WRAP, false),
		p11.NewAttribute(p11.CKA_UNWRAP, false),
	}
	if level >= strict {
		t = append(t,
			p11.NewAttribute(p11.CKA_DERIVE, false),
			p11.NewAttribute(p11.CKA_COPYABLE, false),
			p11.NewAttribute(p11.CKA_MODIFIABLE, false))
	}
	if level >= focused {
		t = append(t, only(mechanism))
	}
	if level == bare {
		return withoutNo(t)
	}
	return t
}

// lessAndLess asks for a key with as much as the device knows, and remembers that:
// each refusal costs some devices memory that they do not get back.
func lessAndLess(m *module, ask func(level int) error) error {
	for level := focused - int(m.knowsLess.Load()); ; level-- {
		err := ask(level)
		if err == nil {
			m.knowsLess.Store(int32(focused - level))
		}
		if err == nil || level == bare || !unknownAttribute(err) {
			return err
		}
	}
}

func unknownAttribute(err error) bool {
	switch rv(err) {
	case p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_VALUE_INVALID, p11.CKR_ATTRIBUTE_READ_ONLY, p11.CKR_TEMPLATE_INCONSISTENT,
		p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED: // some devices say no more than that
		return true
	}
	return false
}

// generateFails lets a test be a token that has no room: SoftHSM always has.
var generateFails func(label string) error

// generate makes a key inside the token.
func generate(m *module, h p11.SessionHandle, label string, p plan) error {
	if generateFails != nil {
		if err := generateFails(label); err != nil {
			return made(label, err)
		}
	}
	if p.kind == kindGCM || p.kind == kindCBC {
		return generateSecret(m, h, label, p)
	}
	mechanism := uint(p11.CKM_EC_KEY_PAIR_GEN)
	if p.kind == kindRSA {
		mechanism = p11.CKM_RSA_PKCS_KEY_PAIR_GEN
	}
	return made(label, lessAndLess(m, func(level int) error {
		public, private := templates(label, p, level)
		_, _, err := m.ctx.GenerateKeyPair(h, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, public, private)
		return err
	}))
}

// generateSecret makes the MAC key first: with the AES key the whole is there.
func generateSecret(m *module, h p11.SessionHandle, label string, p plan) error {
	if p.kind == kindCBC {
		if err := generateOne(m, h, label+macSuffix, true, p11.CKM_SHA256_HMAC); err != nil {
			return err
		}
	}
	return generateOne(m, h, label, false, p.mechanism())
}

func generateOne(m *module, h p11.SessionHandle, label string, mac bool, use uint) error {
	id := make([]byte, nameSize)
	rand.Read(id)
	mechanism := uint(p11.CKM_AES_KEY_GEN)
	if mac {
		mechanism = p11.CKM_GENERIC_SECRET_KEY_GEN
	}
	return made(label, lessAndLess(m, func(level int) error {
		_, err := m.ctx.GenerateKey(h, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, secretTemplate(label, id, mac, use, level))
		return err
	}))
}

// made says what it means when a key could not be made.
func made(label string, err error) error {
	switch {
	case err == nil:
		return nil
	case full(err):
		return hsm.Errorf(hsm.ErrFull, "erase seal keys of old epochs, or remove what else is on the token; the keys that were there are untouched",
			"the token has no room for key %q: %w", label, err)
	}
	return fmt.Errorf("key %q: %w", label, err)
}

// ensureKey makes a key unless it is there. A public key without its private half
// is what a process leaves that was killed in C_GenerateKeyPair, and a MAC key without
// its AES key likewise: nothing was ever signed or sealed with it, so it is removed.
// The reverse is never touched.
func ensureKey(m *module, h p11.SessionHandle, label string, p plan) (key, error) {
	k, err := findKey(m, h, label)
	if !isKind(err, hsm.ErrNotProvisioned) {
		return k, err
	}
	private, ferr := find(m, h, p11.CKO_PRIVATE_KEY, label)
	if ferr != nil || len(private) != 0 {
		if ferr != nil {
			err = ferr
		}
		return key{}, err
	}
	for _, l := range []string{label, label + macSuffix} {
		if err := destroyNamed(m, h, l); err != nil {
			return key{}, err
		}
	}
	if err := generate(m, h, label, p); err != nil {
		return key{}, err
	}
	return findKey(m, h, label)
}
