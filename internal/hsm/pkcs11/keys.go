package pkcs11

import (
	"bytes"
	"crypto/ecdh"
	"encoding/asn1"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// defaultObject begins the labels of a vault's keys when the URI names no object.
const defaultObject = "coffer"

const (
	sealKey   = "seal"
	pointSize = 65
)

// keyNames are the keys of a vault, as they stand in labels.
func keyNames() []string {
	names := []string{sealKey}
	for _, role := range hsm.Roles() {
		names = append(names, role.String())
	}
	return names
}

func label(object, name string) string { return object + "-" + name }

// p256OID is the DER of the object identifier 1.2.840.10045.3.1.7.
var p256OID = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// find returns the objects of one class with one label.
func find(m *module, h p11.SessionHandle, class uint, label string) ([]p11.ObjectHandle, error) {
	if err := m.ctx.FindObjectsInit(h, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, class),
		p11.NewAttribute(p11.CKA_LABEL, label),
	}); err != nil {
		return nil, err
	}
	// Two are enough to know that there is more than one.
	found, _, err := m.ctx.FindObjects(h, 2)
	if ferr := m.ctx.FindObjectsFinal(h); err == nil {
		err = ferr
	}
	return found, err
}

// key is one key pair on the token.
type key struct {
	private p11.ObjectHandle
	point   []byte // of the public half, uncompressed
}

// findKey finds a pair. A pair that is not whole is ErrNotProvisioned.
func findKey(m *module, h p11.SessionHandle, label string) (key, error) {
	private, err := find(m, h, p11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return key{}, err
	}
	public, err := find(m, h, p11.CKO_PUBLIC_KEY, label)
	if err != nil {
		return key{}, err
	}
	switch {
	case len(private) > 1 || len(public) > 1:
		return key{}, hsm.Errorf(hsm.ErrConfig, "remove the key that is not this vault's, or name another object in the URI",
			"the token holds more than one key %q", label)
	case len(private) == 0:
		return key{}, hsm.Errorf(hsm.ErrNotProvisioned, "provision the token", "the token holds no key %q", label)
	case len(public) == 0:
		return key{}, hsm.Errorf(hsm.ErrNotProvisioned, "restore the public key object from a backup; if the vault never ran, remove the private key and provision again",
			"the token holds the private key %q without its public key", label)
	}
	if err := checkPrivate(m, h, private[0], label); err != nil {
		return key{}, err
	}
	point, err := readPoint(m, h, public[0], label)
	if err != nil {
		return key{}, err
	}
	return key{private[0], point}, nil
}

// attribute reads one attribute; devices fail a whole list for one that they do
// not know.
func attribute(m *module, h p11.SessionHandle, o p11.ObjectHandle, typ uint) ([]byte, error) {
	a, err := m.ctx.GetAttributeValue(h, o, []*p11.Attribute{p11.NewAttribute(typ, nil)})
	if err != nil {
		return nil, err
	}
	return a[0].Value, nil
}

// checkPrivate refuses a private key that says that it can leave the device. That
// it says it cannot is no evidence; probe tries.
func checkPrivate(m *module, h p11.SessionHandle, o p11.ObjectHandle, label string) error {
	for _, want := range []struct {
		typ   uint
		name  string
		value byte
		must  bool
	}{
		{p11.CKA_SENSITIVE, "CKA_SENSITIVE", 1, true},
		{p11.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", 0, true},
		{p11.CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", 1, false},
		{p11.CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", 1, false},
	} {
		v, err := attribute(m, h, o, want.typ)
		if err != nil && !want.must && !absent(err) {
			continue
		}
		if err != nil {
			return err
		}
		if len(v) != 1 || v[0] != want.value {
			return hsm.Errorf(hsm.ErrConfig, "provision keys inside the token; imported or extractable ones are refused",
				"key %q has %s %x, want %02x", label, want.name, v, want.value)
		}
	}
	return nil
}

// readPoint reads a public key, which devices give as a DER octet string or bare.
func readPoint(m *module, h p11.SessionHandle, o p11.ObjectHandle, label string) ([]byte, error) {
	params, err := attribute(m, h, o, p11.CKA_EC_PARAMS)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(params, p256OID) {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "key %q is on curve %x, want P-256 (%x)", label, params, p256OID)
	}
	point, err := attribute(m, h, o, p11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	if len(point) != pointSize {
		var inner []byte
		if rest, err := asn1.Unmarshal(point, &inner); err != nil || len(rest) != 0 {
			return nil, hsm.Errorf(hsm.ErrDevice, "", "key %q: public point of %d bytes is neither a point nor an octet string", label, len(point))
		}
		point = inner
	}
	if _, err := ecdh.P256().NewPublicKey(point); err != nil {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "key %q: public point is not on P-256: %w", label, err)
	}
	return point, nil
}

// templates are the attributes of a new pair. strict adds those that older devices
// do not know.
func templates(label, name string, strict bool) (public, private []*p11.Attribute) {
	id := []byte(label)
	public = []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_EC),
		p11.NewAttribute(p11.CKA_EC_PARAMS, p256OID),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_PRIVATE, false),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
		p11.NewAttribute(p11.CKA_VERIFY, name != sealKey),
	}
	private = []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_EC),
		p11.NewAttribute(p11.CKA_TOKEN, true),
		p11.NewAttribute(p11.CKA_PRIVATE, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_LABEL, label),
		p11.NewAttribute(p11.CKA_ID, id),
		p11.NewAttribute(p11.CKA_SIGN, name != sealKey),
		p11.NewAttribute(p11.CKA_DERIVE, name == sealKey),
		p11.NewAttribute(p11.CKA_DECRYPT, false),
		p11.NewAttribute(p11.CKA_UNWRAP, false),
	}
	if strict {
		private = append(private,
			p11.NewAttribute(p11.CKA_COPYABLE, false),
			p11.NewAttribute(p11.CKA_MODIFIABLE, false))
	}
	return public, private
}

// generate makes a pair inside the token.
func generate(m *module, h p11.SessionHandle, object, name string) error {
	mechanism := []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)}
	public, private := templates(label(object, name), name, true)
	_, _, err := m.ctx.GenerateKeyPair(h, mechanism, public, private)
	switch rv(err) {
	case p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_VALUE_INVALID, p11.CKR_ATTRIBUTE_READ_ONLY, p11.CKR_TEMPLATE_INCONSISTENT:
		public, private = templates(label(object, name), name, false)
		_, _, err = m.ctx.GenerateKeyPair(h, mechanism, public, private)
	}
	if err != nil {
		return fmt.Errorf("key %q: %w", label(object, name), err)
	}
	return nil
}

// ensureKey makes a pair unless it is there. A public key without its private half
// is what a process leaves that was killed in C_GenerateKeyPair: nothing was ever
// signed or sealed with it, so it is removed. The reverse is never touched.
func ensureKey(m *module, h p11.SessionHandle, object, name string) error {
	l := label(object, name)
	private, err := find(m, h, p11.CKO_PRIVATE_KEY, l)
	if err != nil {
		return err
	}
	if len(private) == 0 {
		orphans, err := find(m, h, p11.CKO_PUBLIC_KEY, l)
		if err != nil {
			return err
		}
		for _, o := range orphans {
			if err := m.ctx.DestroyObject(h, o); err != nil {
				return err
			}
		}
		if err := generate(m, h, object, name); err != nil {
			return err
		}
	}
	_, err = findKey(m, h, l)
	return err
}
