package sharing

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc/group"
)

// No verb shows a coefficient, whatever holds the polynomial.
func TestPolynomialIsNotPrinted(t *testing.T) {
	p, err := NewPolynomial(group.Secp256k1(), rand.Reader, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{*p, p, []Polynomial{*p}, []*Polynomial{p}, map[string]Polynomial{"p": *p}, struct{ P Polynomial }{*p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			s := fmt.Sprintf(verb, v)
			if pointers, ok := v.([]*Polynomial); ok {
				s = fmt.Sprintf(verb, pointers[0]) // a slice of pointers prints addresses
			}
			if !strings.Contains(s, redacted) {
				t.Errorf("%s of %T prints %q", verb, v, s)
			}
		}
	}
	if s := fmt.Sprintf("%v", *p); s != redacted {
		t.Errorf("prints %q", s)
	}
	if _, err := json.Marshal(p); err == nil {
		t.Error("encodes to JSON")
	}
}
