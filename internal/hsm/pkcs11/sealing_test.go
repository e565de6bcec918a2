package pkcs11

import (
	"bytes"
	"crypto/rand"
	"testing"

	p11 "github.com/miekg/pkcs11"
)

// TestEverySuite: SoftHSM can do them all, so each is tried there, also those that it
// would not choose. What a token wraps it unwraps; altered, or bound to something else, it
// does not.
func TestEverySuite(t *testing.T) {
	u := newToken(t)
	d, err := connect(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	worked := 0
	inSession(t, d, func(keeper p11.SessionHandle) {
		for i, p := range statePlans() {
			l := label(d.object, sealName(1, uint64(i+1)))
			var k key
			err := d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) (err error) {
				if err = generate(d.mod, h, l, p); err == nil {
					k, err = findKey(d.mod, h, l)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if k.suite != p.suite || k.kind != p.kind {
				t.Errorf("%v: found again as %+v", p, k)
			}
			form := deriveForm{}
			if p.kind == kindEC {
				if form, err = d.negotiateForm(k); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, form, k, nil) }); err != nil {
				t.Logf("%v (%v): %v", p, p.suite, err) // its OAEP knows SHA-1 only
				continue
			}
			worked++
			if !k.suite.Public() {
				testWrapped(t, d, k)
			}
		}
	})
	if worked != 4 {
		t.Errorf("%d suites work, want HPKE, GCM, CBC and OAEP with SHA-1", worked)
	}
}

func testWrapped(t *testing.T, d *Device, k key) {
	t.Helper()
	data, bind := make([]byte, dataKeySize), []byte("a header")
	rand.Read(data)
	var enc []byte
	if err := d.trySession(0, func(h p11.SessionHandle) (err error) {
		enc, err = wrap(d.mod, h, k, data, bind)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	open := func(enc, bind []byte) (got []byte, err error) {
		err = d.trySession(0, func(h p11.SessionHandle) (err error) {
			got, err = unwrap(d.mod, h, deriveForm{}, k, enc, bind, nil)
			return err
		})
		return got, err
	}
	if got, err := open(enc, bind); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%v: unwrapped another key, %v", k.suite, err)
	}
	if bytes.Contains(enc, data[:8]) {
		t.Errorf("%v: the wrapped key shows the key", k.suite)
	}
	for i := range enc {
		damaged := bytes.Clone(enc)
		damaged[i] ^= 1
		if _, err := open(damaged, bind); err == nil {
			t.Errorf("%v: opens with byte %d changed", k.suite, i)
		}
	}
	for _, other := range []string{"", "a headeR", "a header "} {
		if _, err := open(enc, []byte(other)); err == nil {
			t.Errorf("%v: opens when bound to %q", k.suite, other)
		}
	}
}
