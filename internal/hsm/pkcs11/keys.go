package pkcs11

import (
	"bytes"
	"crypto/ecdh"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// defaultObject begins the labels of a vault's keys when the URI names no object.
const defaultObject = "coffer"

const (
	pointSize = 65
	nameSize  = 16 // CKA_ID of a symmetric key
	macSuffix = "-mac"
	tryName   = "try" // of keys that are made to see what the token does
)

// sealName is a seal key's name, as it stands in labels: seal and cold of epoch 1,
// seal-2 and so on.
func sealName(class hsm.Class, epoch uint64) string {
	name := "seal"
	if class == hsm.ClassCold {
		name = "cold"
	}
	if epoch == 1 {
		return name
	}
	return name + "-" + strconv.FormatUint(epoch, 10)
}

// parseSealName is the inverse of sealName.
func parseSealName(s string) (class hsm.Class, epoch uint64, ok bool) {
	name, number, numbered := strings.Cut(s, "-")
	class, epoch = hsm.ClassState, 1
	if name == "cold" {
		class = hsm.ClassCold
	}
	if numbered {
		var err error
		if epoch, err = strconv.ParseUint(number, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return class, epoch, epoch != 0 && sealName(class, epoch) == s
}

func label(object, name string) string { return object + "-" + name }

// p256OID is the DER of the object identifier 1.2.840.10045.3.1.7.
var p256OID = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// find returns the objects of one class with one label.
func find(m *module, h p11.SessionHandle, class uint, label string) ([]p11.ObjectHandle, error) {
	return findAll(m, h, 2, // enough to know that there is more than one
		p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_LABEL, label))
}

func findAll(m *module, h p11.SessionHandle, limit int, template ...*p11.Attribute) ([]p11.ObjectHandle, error) {
	if err := m.ctx.FindObjectsInit(h, template); err != nil {
		return nil, err
	}
	var all []p11.ObjectHandle
	for len(all) < limit {
		found, _, err := m.ctx.FindObjects(h, min(limit-len(all), 64))
		if err != nil {
			_ = m.ctx.FindObjectsFinal(h)
			return nil, err
		}
		if len(found) == 0 {
			break
		}
		all = append(all, found...)
	}
	return all, m.ctx.FindObjectsFinal(h)
}

// maxObjects bounds how many objects of a token are looked at.
const maxObjects = 4096

// sealObjects are the objects of this vault that are seal keys or parts of them, by
// name (for a MAC key with its suffix).
func sealObjects(m *module, h p11.SessionHandle, object string) (map[string][]p11.ObjectHandle, error) {
	out := make(map[string][]p11.ObjectHandle)
	for _, class := range []uint{p11.CKO_PRIVATE_KEY, p11.CKO_SECRET_KEY, p11.CKO_PUBLIC_KEY} {
		found, err := findAll(m, h, maxObjects, p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_TOKEN, true))
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			l, err := attribute(m, h, o, p11.CKA_LABEL)
			if err != nil {
				if absent(err) && rv(err) != p11.CKR_OBJECT_HANDLE_INVALID {
					return nil, err
				}
				continue // one that went since, or without a label
			}
			name, ok := strings.CutPrefix(string(bytes.TrimRight(l, "\x00")), object+"-")
			if !ok {
				continue
			}
			if _, _, ok := parseSealName(trimMAC(name)); ok || trimMAC(name) == tryName {
				out[name] = append(out[name], o)
			}
		}
	}
	return out, nil
}

// newestEpoch is the last epoch that has a state key: it is made after the cold one.
// Zero: none.
func newestEpoch(m *module, h p11.SessionHandle, object string) (uint64, error) {
	objects, err := sealObjects(m, h, object)
	if err != nil {
		return 0, err
	}
	var newest uint64
	for name := range objects {
		if class, epoch, ok := parseSealName(name); ok && class == hsm.ClassState && epoch > newest {
			if k, err := findKey(m, h, label(object, name)); err == nil && k.use != 0 {
				newest = epoch
			} else if err != nil && !isKind(err, hsm.ErrNotProvisioned) {
				return 0, err
			}
		}
	}
	return newest, nil
}

// kind is what sort of key it is.
type kind uint8

const (
	kindEC  kind = iota + 1 // a pair on P-256
	kindRSA                 // a pair
	kindGCM                 // one AES key
	kindCBC                 // an AES key and a MAC key
)

// key is one key on the token.
type key struct {
	kind   kind
	use    p11.ObjectHandle // the private half, or the AES key
	mac    p11.ObjectHandle
	public []byte    // point, modulus, or the name of a symmetric key
	suite  hsm.Suite // if it is a seal key
}

// same says whether two are the same key, as far as can be seen.
func (k key) same(o key) bool {
	return k.kind == o.kind && k.suite == o.suite && bytes.Equal(k.public, o.public)
}

// findKey finds a key. One that is not whole is ErrNotProvisioned.
func findKey(m *module, h p11.SessionHandle, label string) (key, error) {
	private, err := find(m, h, p11.CKO_PRIVATE_KEY, label)
	if err != nil {
		return key{}, err
	}
	secrets, err := find(m, h, p11.CKO_SECRET_KEY, label)
	if err != nil {
		return key{}, err
	}
	switch {
	case len(private)+len(secrets) > 1:
		return key{}, tooMany(label)
	case len(secrets) == 1:
		return findSecret(m, h, secrets[0], label)
	case len(private) == 0:
		return key{}, hsm.Errorf(hsm.ErrNotProvisioned, "provision the token", "the token holds no key %q", label)
	}
	public, err := find(m, h, p11.CKO_PUBLIC_KEY, label)
	if err != nil {
		return key{}, err
	}
	switch len(public) {
	case 0:
		return key{}, hsm.Errorf(hsm.ErrNotProvisioned, "restore the public key object from a backup; if the vault never ran, remove the private key and provision again",
			"the token holds the private key %q without its public key", label)
	case 1:
		return readPair(m, h, private[0], public[0], label)
	}
	return key{}, tooMany(label)
}

func tooMany(label string) error {
	return hsm.Errorf(hsm.ErrConfig, "remove the key that is not this vault's, or name another object in the URI",
		"the token holds more than one key %q", label)
}

func readPair(m *module, h p11.SessionHandle, private, public p11.ObjectHandle, label string) (key, error) {
	if err := checkPrivate(m, h, private, label); err != nil {
		return key{}, err
	}
	typ, err := number(m, h, private, p11.CKA_KEY_TYPE)
	if err != nil {
		return key{}, err
	}
	switch typ {
	case p11.CKK_EC:
		point, err := readPoint(m, h, public, label)
		return key{kind: kindEC, use: private, public: point, suite: hsm.SuiteHPKE}, err
	case p11.CKK_RSA:
		return readRSA(m, h, private, public, label)
	}
	return key{}, hsm.Errorf(hsm.ErrConfig, "", "key %q has key type %d, want EC or RSA", label, typ)
}

// readRSA reads a pair. Which hash its OAEP takes stands in its id.
func readRSA(m *module, h p11.SessionHandle, private, public p11.ObjectHandle, label string) (key, error) {
	modulus, err := attribute(m, h, public, p11.CKA_MODULUS)
	if err != nil {
		return key{}, err
	}
	exponent, err := attribute(m, h, public, p11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return key{}, err
	}
	if e := new(big.Int).SetBytes(exponent); e.Cmp(big.NewInt(65537)) != 0 {
		return key{}, hsm.Errorf(hsm.ErrConfig, "", "key %q has the public exponent %v, want 65537", label, e)
	}
	id, err := attribute(m, h, private, p11.CKA_ID)
	if err != nil {
		return key{}, err
	}
	k := key{kind: kindRSA, use: private, public: bytes.TrimLeft(modulus, "\x00"), suite: hsm.SuiteOAEP256}
	if bytes.HasSuffix(id, []byte(idSHA1)) {
		k.suite = hsm.SuiteOAEP1
	}
	return k, nil
}

// idSHA1 ends the CKA_ID of an RSA seal key of suite 5.
const idSHA1 = "#sha1"

func findSecret(m *module, h p11.SessionHandle, o p11.ObjectHandle, label string) (key, error) {
	if err := checkPrivate(m, h, o, label); err != nil {
		return key{}, err
	}
	name, err := attribute(m, h, o, p11.CKA_ID)
	if err != nil {
		return key{}, err
	}
	if len(name) != nameSize {
		return key{}, hsm.Errorf(hsm.ErrConfig, "", "key %q has an id of %d bytes, want %d", label, len(name), nameSize)
	}
	k := key{kind: kindGCM, use: o, public: name, suite: hsm.SuiteGCM}
	macs, err := find(m, h, p11.CKO_SECRET_KEY, label+macSuffix)
	switch {
	case err != nil:
		return key{}, err
	case len(macs) > 1:
		return key{}, tooMany(label + macSuffix)
	case len(macs) == 1:
		if err := checkPrivate(m, h, macs[0], label+macSuffix); err != nil {
			return key{}, err
		}
		k.kind, k.suite, k.mac = kindCBC, hsm.SuiteCBCHMAC, macs[0]
	}
	return k, nil
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

// number reads an attribute that is a CK_ULONG.
func number(m *module, h p11.SessionHandle, o p11.ObjectHandle, typ uint) (uint64, error) {
	v, err := attribute(m, h, o, typ)
	if err != nil {
		return 0, err
	}
	switch len(v) {
	case 8:
		return binary.NativeEndian.Uint64(v), nil
	case 4:
		return uint64(binary.NativeEndian.Uint32(v)), nil
	}
	return 0, hsm.Errorf(hsm.ErrDevice, "", "the token gives attribute %#x as %d bytes, want a number", typ, len(v))
}

// checkPrivate refuses a key that says that it can leave the device. That
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

// destroyNamed destroys all objects of one label, the secret ones first.
func destroyNamed(m *module, h p11.SessionHandle, label string) error {
	for _, class := range []uint{p11.CKO_PRIVATE_KEY, p11.CKO_SECRET_KEY, p11.CKO_PUBLIC_KEY} {
		found, err := findAll(m, h, maxObjects, p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_LABEL, label))
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := m.ctx.DestroyObject(h, o); err != nil {
				return fmt.Errorf("destroy %q: %w", label, err)
			}
		}
	}
	return nil
}

func trimMAC(name string) string { return strings.TrimSuffix(name, macSuffix) }

// roleNames are the names of the signing keys.
func roleNames() []string {
	var names []string
	for _, role := range hsm.Roles() {
		names = append(names, role.String())
	}
	return names
}
