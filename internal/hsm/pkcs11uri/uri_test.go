package pkcs11uri

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func slot(n uint) *uint { return &n }

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want URI
	}{
		{"pkcs11:", URI{}},
		{"pkcs11:token=node", URI{Token: "node"}},
		{
			"pkcs11:token=my%20node;object=coffer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin",
			URI{Token: "my node", Object: "coffer", Module: "/usr/lib/softhsm/libsofthsm2.so", PIN: "/run/pin"},
		},
		{
			"pkcs11:serial=a%3Bb;manufacturer=Snake%20Oil,%20Inc.;model=1.0;slot-id=327",
			URI{Serial: "a;b", Manufacturer: "Snake Oil, Inc.", Model: "1.0", Slot: slot(327)},
		},
		{"pkcs11:token=x?pin-source=/run/pin", URI{Token: "x", PIN: "/run/pin"}},
		{"pkcs11:token=x?pin-source=file:///run/pin", URI{Token: "x", PIN: "/run/pin"}},
		{"pkcs11:token=%C3%A9t%C3%A9", URI{Token: "été"}},
	} {
		got, err := Parse(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", tc.in, d)
		}
		again, err := Parse(got.String())
		if err != nil || cmp.Diff(got, again) != "" {
			t.Errorf("%s: String gives %s, which parses to %+v, %v", tc.in, got, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ in, say string }{
		{"", `start with "pkcs11:"`},
		{"PKCS11:token=x", `start with "pkcs11:"`},
		{"pkcs11:token", "want name=value"},
		{"pkcs11:=x", "want name=value"},
		{"pkcs11:token=x;", "want name=value"},
		{"pkcs11:token=", `"token" is empty`},
		{"pkcs11:token=x;token=y", "given twice"},
		{"pkcs11:token=x?module-path=/a&module-path=/b", "given twice"},
		{"pkcs11:tokn=x", `unknown attribute "tokn"`},
		{"pkcs11:token=a b", "must be written %20"},
		{"pkcs11:token=a/b", "must be written %2F"},
		{"pkcs11:token=a%2", "mid-escape"},
		{"pkcs11:token=a%", "mid-escape"},
		{"pkcs11:token=a%zz", "not an escape"},
		{"pkcs11:token=a%+1", "not an escape"},
		{"pkcs11:token=a%00", "control character"},
		{"pkcs11:token=a%0A", "control character"},
		{"pkcs11:slot-id=-1", "not a slot number"},
		{"pkcs11:slot-id=007", "not a slot number"},
		{"pkcs11:slot-id=99999999999", "not a slot number"},
		{"pkcs11:token=x?", "nothing follows"},
		{"pkcs11:token=x?module-path=lib.so", "not an absolute path"},
		{"pkcs11:token=x?pin-source=file:pin", "does not name a file"},
		{"pkcs11:token=x?pin-source=file://host/pin", "does not name a file"},
		{"pkcs11:token=x?pin-source=|cat%20pin", "does not name a file"},
		{"pkcs11:token=x?pin-value=1234", "pin-source"},
		{"pkcs11:token=x?module-name=softhsm2", `unknown attribute "module-name"`},
		{"pkcs11:token=x?pin-value=1234%", "pin-source"},
		{"pkcs11:token=x;pin-source=x", "behind the '?'"},
		{"pkcs11:token=" + strings.Repeat("x", MaxLength), "at most 4096"},
	} {
		_, err := Parse(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%.60s: got %v, want an error that says %q", tc.in, err, tc.say)
		}
		if err != nil && strings.Contains(err.Error(), "1234") {
			t.Errorf("error shows the PIN: %v", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkcs11:token=my%20node;slot-id=3?module-path=/lib.so&pin-source=file:/run/pin")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(u.String())
		if err != nil || cmp.Diff(u, again) != "" {
			t.Fatalf("%q gives %s, which parses to %+v, %v", s, u, again, err)
		}
	})
}
