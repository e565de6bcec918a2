package pkcs11

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/signature"
)

// testAttacks is logged in as the vault is and tries to get at a private key by
// every way that the API has. The token must refuse each, and work afterwards; of NSS it
// is known that it does not, and it must be graded so.
func testAttacks(t *testing.T, name string, u pkcs11uri.URI) {
	d := openDevice(t, u)
	var got []string
	inSession(t, d, func(h p11.SessionHandle) { got = attack(t, d, h) })
	for _, how := range got {
		t.Logf("possible: %s", how)
	}
	leaks := slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "theft") })
	if leaks != (name == "NSS") {
		t.Errorf("gives keys away: %v", leaks)
	}
	if got := d.Info().Boundary; leaks != (got == hsm.GradeNone) {
		t.Errorf("gives keys away: %v, and is graded %v", leaks, got)
	}
	if _, err := d.Sign(t.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"}, nil); err != nil {
		t.Errorf("after the attacks: %v", err)
	}
	unasked := slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "cold") && strings.Contains(s, "ALWAYS_AUTHENTICATE") })
	if unasked && d.Info().PerUse != hsm.GradeNone {
		t.Errorf("a cold key can be made one that asks nobody, and per use is graded %v", d.Info().PerUse)
	}
	if name == "SoftHSM" && len(got) != 0 {
		t.Errorf("SoftHSM allows what it did not: %q", got)
	}
}

// attack returns what worked. "theft" is that which gives a key away or makes it
// possible, "weak" what no key should be fit for.
func attack(t *testing.T, d *Device, h p11.SessionHandle) (got []string) {
	works := func(what, format string, args ...any) {
		got = append(got, what+": "+fmt.Sprintf(format, args...))
	}
	for name, k := range keysOf(t, d, h) {
		attackReading(d, h, name, k.use, works)
		if k.mac != 0 {
			attackReading(d, h, name+"-mac", k.mac, works)
		}
		attackCopying(d, h, name, k, works)
		attackUse(d, h, name, k, works)
	}
	return got
}

// attacker is an RSA key that is not on the token.
var attacker = sync.OnceValue(func() *rsa.PrivateKey {
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return own
})

// wrappingKeys are keys of an attacker's: for AES, wrap+decrypt is the classic theft;
// with an RSA key whose private half he has, he decrypts at home.
func wrappingKeys(d *Device, h p11.SessionHandle) map[p11.ObjectHandle][]*p11.Mechanism {
	out := make(map[p11.ObjectHandle][]*p11.Mechanism)
	if o, err := d.mod.ctx.GenerateKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		p11.NewAttribute(p11.CKA_WRAP, true), p11.NewAttribute(p11.CKA_DECRYPT, true), p11.NewAttribute(p11.CKA_UNWRAP, true),
	}); err == nil {
		out[o] = wrapMechanisms()
	}
	own := attacker()
	if o, err := d.mod.ctx.CreateObject(h, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_WRAP, true),
		p11.NewAttribute(p11.CKA_ENCRYPT, true),
		p11.NewAttribute(p11.CKA_MODULUS, own.N.Bytes()),
		p11.NewAttribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
	}); err == nil {
		out[o] = []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil), oaep(hsm.SuiteOAEP1)}
	}
	return out
}

func attackReading(d *Device, h p11.SessionHandle, name string, o p11.ObjectHandle, works func(string, string, ...any)) {
	for _, typ := range []uint{p11.CKA_VALUE, p11.CKA_PRIVATE_EXPONENT, p11.CKA_PRIME_1} {
		if v, err := attribute(d.mod, h, o, typ); err == nil && len(bytes.Trim(v, "\x00")) != 0 {
			works("theft", "%s: attribute %#x can be read", name, typ)
		}
	}
	for wrapping, mechanisms := range wrappingKeys(d, h) {
		defer func() { _ = d.mod.ctx.DestroyObject(h, wrapping) }()
		for _, m := range mechanisms {
			if w, err := d.mod.ctx.WrapKey(h, []*p11.Mechanism{m}, wrapping, o); err == nil && len(w) != 0 {
				works("theft", "%s: mechanism %#x wraps it (%d bytes)", name, m.Mechanism, len(w))
			}
		}
	}
}

// attackCopying changes a key, or a copy of it, and then reads again. What could be
// changed is changed back.
func attackCopying(d *Device, h p11.SessionHandle, name string, k key, works func(string, string, ...any)) {
	session := p11.NewAttribute(p11.CKA_TOKEN, false)
	for _, a := range []struct {
		name string
		typ  uint
		to   bool
	}{
		{"EXTRACTABLE", p11.CKA_EXTRACTABLE, true}, {"SENSITIVE", p11.CKA_SENSITIVE, false}, {"ALWAYS_AUTHENTICATE", p11.CKA_ALWAYS_AUTHENTICATE, false},
		{"UNWRAP", p11.CKA_UNWRAP, true}, {"DECRYPT", p11.CKA_DECRYPT, true}, {"DERIVE", p11.CKA_DERIVE, true},
	} {
		before, err := attribute(d.mod, h, k.use, a.typ)
		attr := p11.NewAttribute(a.typ, a.to)
		if err != nil || bytes.Equal(before, attr.Value) {
			continue // the key has no such attribute, or it is so already
		}
		if err := d.mod.ctx.SetAttributeValue(h, k.use, []*p11.Attribute{attr}); err == nil {
			works("weak", "%s: %s can be set", name, a.name)
			attackReading(d, h, name+" with another "+a.name, k.use, works)
			_ = d.mod.ctx.SetAttributeValue(h, k.use, []*p11.Attribute{p11.NewAttribute(a.typ, before)})
		}
		if c, err := d.mod.ctx.CopyObject(h, k.use, []*p11.Attribute{attr, session}); err == nil {
			works("weak", "%s: can be copied with another %s", name, a.name)
			attackReading(d, h, "a copy of "+name+" with another "+a.name, c, works)
		}
	}
	if _, err := d.mod.ctx.CopyObject(h, k.use, []*p11.Attribute{session}); err == nil {
		works("weak", "%s: can be copied as it is", name)
	}
}

// attackUse has each key do another work than its own.
func attackUse(d *Device, h p11.SessionHandle, name string, k key, report func(string, string, ...any)) {
	ctx := d.mod.ctx
	if k.kind == kindEC && !isRole(name) {
		if err := ctx.SignInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, k.use); err == nil {
			report("weak", "%s: begins to sign", name)
		}
	}
	if k.kind == kindEC && isRole(name) {
		wrong := k
		wrong.suite = hsm.SuiteHPKE
		if err := d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, d.derive, wrong, nil) }); err == nil {
			report("weak", "%s: derives", name)
		}
	}
	if err := ctx.DecryptInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}, k.use); err == nil {
		report("weak", "%s: begins to decrypt by PKCS#1 v1.5", name)
	}
	if _, err := ctx.UnwrapKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}, k.use, make([]byte, 256), []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		p11.NewAttribute(p11.CKA_SENSITIVE, false),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
	}); err == nil {
		report("theft", "%s: unwraps as non-sensitive", name)
	}
}

// TestLeakingKeyIsSeen plants keys that a token gives away, and the checks at
// opening must see each.
func TestLeakingKeyIsSeen(t *testing.T) {
	d := openDevice(t, newProvisioned(t))
	for _, tc := range []struct {
		name  string
		plant []*p11.Attribute
		leaks bool // probe sees it; otherwise the attributes say so
	}{
		{"readable", []*p11.Attribute{p11.NewAttribute(p11.CKA_SENSITIVE, false), p11.NewAttribute(p11.CKA_EXTRACTABLE, true)}, true},
		{"wrappable", []*p11.Attribute{p11.NewAttribute(p11.CKA_SENSITIVE, true), p11.NewAttribute(p11.CKA_EXTRACTABLE, true)}, true},
		{"sensitive but readable to no one", []*p11.Attribute{p11.NewAttribute(p11.CKA_SENSITIVE, true), p11.NewAttribute(p11.CKA_EXTRACTABLE, false)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inSession(t, d, func(h p11.SessionHandle) {
				l := label(d.object, "planted "+tc.name)
				public, private := templates(l, plan{kind: kindEC}, plain)
				private = append(private[:4], append(tc.plant, private[6:]...)...)
				_, o, err := d.mod.ctx.GenerateKeyPair(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)}, public, private)
				if err != nil {
					t.Fatal(err)
				}
				if got := leaks(d.mod, h, []key{{use: o}}); got != tc.leaks {
					t.Errorf("probe says leaking: %v, want %v", got, tc.leaks)
				}
				if _, err := findKey(d.mod, h, l); (err != nil) != tc.leaks {
					t.Errorf("attributes: %v", err)
				}
			})
		})
	}
}

// keysOf are the keys that a device has now, by name.
func keysOf(t testing.TB, d *Device, h p11.SessionHandle) map[string]key {
	t.Helper()
	epoch, err := newestEpoch(d.mod, h, d.object)
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]key)
	for _, name := range append(roleNames(), sealName(hsm.ClassState, epoch), sealName(hsm.ClassCold, epoch)) {
		if keys[name], err = findKey(d.mod, h, label(d.object, name)); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func isRole(name string) bool { return slices.Contains(roleNames(), name) }
