package refusal

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
)

func TestError(t *testing.T) {
	r := New("policy.rule", "payments", "amount 5 ETH is above 2 ETH", "at most 2 ETH")
	if got, want := r.Error(), "policy.rule: amount 5 ETH is above 2 ETH (would pass: at most 2 ETH)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Newf("a.b", "", "%d wrong", 3).Error(), "a.b: 3 wrong"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMatching(t *testing.T) {
	r := New("request.expired", "", "expired", "a new one")
	err := fmt.Errorf("couldn't sign: %w", r)
	if As(err) != r || As(errors.New("x")) != nil || As(nil) != nil {
		t.Error("As does not find exactly the refusals")
	}
	for _, c := range []struct {
		target error
		want   bool
	}{
		{&Refusal{Code: "request.expired"}, true},
		{New("request.expired", "", "expired", "a new one"), true},
		{&Refusal{Code: "request"}, false},
		{&Refusal{Code: "request.expired", Detail: "another"}, false},
		{errors.New("request.expired"), false},
	} {
		if errors.Is(err, c.target) != c.want {
			t.Errorf("errors.Is(err, %v) is not %v", c.target, c.want)
		}
	}
}

// TestTextIsCleaned: a refusal may quote a stranger, and is shown on terminals.
func TestTextIsCleaned(t *testing.T) {
	r := Newf("a.b", strings.Repeat("x", 5000), "field \x1b[31m%s\u202e", strings.Repeat("é", 3000))
	if strings.ContainsAny(r.Detail, "\x1b\u202e") || len(r.Detail) > MaxDetail || len(r.Fix) > MaxFix {
		t.Errorf("%d bytes of detail, %d of fix: %.40q", len(r.Detail), len(r.Fix), r.Detail)
	}
	// Built by hand, it is cleaned at the latest when it is encoded.
	byHand := &Refusal{Code: "a.b", Rule: "\x00", Detail: strings.Repeat("y", 5000)}
	back, err := Decode(byHand.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if back.Rule != "\uFFFD" || len(back.Detail) != MaxDetail || !strings.HasSuffix(back.Detail, "…") {
		t.Errorf("got %q, %d bytes", back.Rule, len(back.Detail))
	}
}

func TestDecodeRefuses(t *testing.T) {
	encode := func(s ...string) []byte {
		w := wire.NewWriter(1)
		for _, x := range s {
			w.String(x)
		}
		return w.Bytes()
	}
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{nil, "version"},
		{[]byte{2}, "version 2, want 1"},
		{encode("", "", "d", ""), "code: empty"},
		{encode("a\n", "", "d", ""), "code: text"},
		{encode("a", "", "\xff", ""), "detail: text"},
		{encode("a", "", strings.Repeat("d", MaxDetail+1), ""), "detail: 4097 items, at most 4096"},
		{encode("a", "", "d"), "fix: message ends early"},
		{append(encode("a", "", "d", ""), 0), "1 bytes after the end"},
	} {
		if _, err := Decode(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%x: %v, want %s", c.b[:min(len(c.b), 20)], err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(New("policy.rule", "payments", "amount 5 ETH is above 2 ETH", "at most 2 ETH").Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err == nil && string(r.Encode()) != string(b) {
			t.Fatalf("encodes to %x", r.Encode())
		}
	})
}
