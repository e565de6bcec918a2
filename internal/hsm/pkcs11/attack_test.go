package pkcs11

import (
	"slices"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// TestAttacks is logged in as the vault is and tries to get at a private key by
// every way that the API has. The token must refuse each, and work afterwards.
func TestAttacks(t *testing.T) {
	d := openDevice(t, newProvisioned(t))
	inSession(t, d, func(h p11.SessionHandle) { attack(t, d, h) })
	if d.Info().Boundary != hsm.GradeSoftware {
		t.Errorf("SoftHSM, which refused all this, is graded %v, want software", d.Info().Boundary)
	}
	if _, err := d.Sign(t.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"}, nil); err != nil {
		t.Errorf("after the attacks: %v", err)
	}
}

func attack(t *testing.T, d *Device, h p11.SessionHandle) {
	ctx := d.mod.ctx
	aes := func(attrs ...*p11.Attribute) p11.ObjectHandle {
		o, err := ctx.GenerateKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, append([]*p11.Attribute{
			p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
			p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
			p11.NewAttribute(p11.CKA_TOKEN, false),
			p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		}, attrs...))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	// A key that wraps, decrypts and unwraps: wrap+decrypt is the classic theft.
	wrapping := aes(p11.NewAttribute(p11.CKA_WRAP, true), p11.NewAttribute(p11.CKA_DECRYPT, true), p11.NewAttribute(p11.CKA_UNWRAP, true))
	attributes := []struct {
		name string
		attr *p11.Attribute
	}{
		{"EXTRACTABLE", p11.NewAttribute(p11.CKA_EXTRACTABLE, true)},
		{"SENSITIVE", p11.NewAttribute(p11.CKA_SENSITIVE, false)},
		{"UNWRAP", p11.NewAttribute(p11.CKA_UNWRAP, true)},
		{"DECRYPT", p11.NewAttribute(p11.CKA_DECRYPT, true)},
		{"SIGN and DERIVE", p11.NewAttribute(p11.CKA_DERIVE, true)},
		{"LABEL", p11.NewAttribute(p11.CKA_LABEL, "stolen")},
	}
	for name, k := range keysOf(t, d, h) {
		o := k.use
		if v, err := attribute(d.mod, h, o, p11.CKA_VALUE); err == nil && len(v) != 0 {
			t.Errorf("%s: CKA_VALUE can be read", name)
		}
		for _, m := range wrapMechanisms() {
			if w, err := ctx.WrapKey(h, []*p11.Mechanism{m}, wrapping, o); err == nil {
				t.Errorf("%s: mechanism %#x wraps it (%d bytes)", name, m.Mechanism, len(w))
			}
		}
		for _, a := range attributes {
			if err := ctx.SetAttributeValue(h, o, []*p11.Attribute{a.attr}); err == nil {
				t.Errorf("%s: %s can be set", name, a.name)
			}
			if c, err := ctx.CopyObject(h, o, []*p11.Attribute{a.attr, p11.NewAttribute(p11.CKA_TOKEN, false)}); err == nil {
				t.Errorf("%s: can be copied with another %s (object %d)", name, a.name, c)
			}
		}
		if c, err := ctx.CopyObject(h, o, []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, false)}); err == nil {
			t.Errorf("%s: can be copied as it is (object %d)", name, c)
		}
		// Each key does its one work only.
		if !isRole(name) {
			if err := ctx.SignInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, o); err == nil {
				t.Errorf("%s: signs", name)
			}
		} else {
			if err := works(d.mod, h, d.derive, key{kind: kindEC, use: o, public: k.public, suite: hsm.SuiteHPKE}, nil); err == nil {
				t.Errorf("%s: derives", name)
			}
		}
		if err := ctx.DecryptInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}, o); err == nil {
			t.Errorf("%s: decrypts", name)
		}
		if _, err := ctx.UnwrapKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}, o, make([]byte, 32), []*p11.Attribute{
			p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
			p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
			p11.NewAttribute(p11.CKA_SENSITIVE, false),
			p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
		}); err == nil {
			t.Errorf("%s: unwraps as non-sensitive", name)
		}
	}
}

// TestLeakingKeyIsSeen plants keys that a token gives away, and the checks at
// opening must see each.
func TestLeakingKeyIsSeen(t *testing.T) {
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
			u := newProvisioned(t)
			d := openDevice(t, u)
			inSession(t, d, func(h p11.SessionHandle) {
				l := label(d.object, "planted")
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
