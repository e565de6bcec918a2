package secret

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestNoVerbShowsASecret(t *testing.T) {
	s := New([]byte{171, 172, 173, 174})
	inside := struct{ b Bytes }{s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%b", "%e", "%p", "%z"} {
		for _, v := range []any{s, &s, []Bytes{s}, map[int]Bytes{1: s}, struct{ B Bytes }{s}, inside, &inside, []any{inside}} {
			out := fmt.Sprintf(verb, v)
			for _, leak := range []string{"171 172", "ab ac", "abac", "ABAC", "\xab\xac", "0xab, 0xac"} {
				if strings.Contains(out, leak) {
					t.Errorf("%s of %T shows the secret: %s", verb, v, out)
				}
			}
		}
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("a secret is encoded as JSON")
	}
	for _, f := range []func() ([]byte, error){s.MarshalText, s.MarshalJSON, s.MarshalBinary, s.GobEncode} {
		if _, err := f(); err == nil {
			t.Error("a secret is encoded")
		}
	}
}

func TestDestroyWipesEveryHolder(t *testing.T) {
	src := []byte{1, 2, 3}
	s := New(src)
	if src[0] != 0 {
		t.Error("New left the source in place")
	}
	other, clone := s, s.Clone()
	bytes := s.Reveal()
	if !s.Equal(clone) || s.Len() != 3 {
		t.Error("clone differs")
	}
	s.Destroy()
	s.Destroy()
	if bytes[0] != 0 || other.Reveal() != nil || clone.Len() != 3 {
		t.Errorf("after Destroy: %v, %v, clone of %d bytes", bytes, other.Reveal(), clone.Len())
	}
	var zero Bytes
	zero.Destroy()
	if zero.Reveal() != nil {
		t.Error("the zero value holds something")
	}
}
