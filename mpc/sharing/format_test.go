package sharing

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// No verb shows a coefficient, whatever holds the polynomial.
func TestPolynomialIsNotPrinted(t *testing.T) {
	p, err := NewPolynomial(rand.Reader, 2)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ P *Polynomial }
	for _, v := range []any{*p, p, []*Polynomial{p}, map[string]*Polynomial{"p": p}, holder{p}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if s := fmt.Sprintf(verb, v); !strings.Contains(s, redacted) && !strings.Contains(s, "0x") && len(s) > 64 {
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
