// Package refusal is the answer "no": policy, identity or input said so, and
// nobody is at fault. A vault signs and logs its refusals, and people read them,
// so a Refusal says which rule, which value, and what would pass.
//
// It is not for a participant that misbehaved (mpc.Abort) nor for our own
// failures (any other error). The encoding is specified in docs/spec/request.md.
package refusal

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Refusal is an error whose text is made for people. Code is stable and for
// programs ("request.expired", "identity.signature", "policy.default"); what
// stands before its first dot names the package that refuses.
type Refusal struct {
	Code   string `json:"code"`
	Rule   string `json:"rule,omitempty"` // the rule of the policy that decided
	Detail string `json:"detail"`         // what is wrong: which field, which value, what was expected
	Fix    string `json:"fix,omitempty"`  // what would pass
}

// Bounds of the encoding, in bytes. Longer text is cut when it is encoded.
const (
	MaxCode   = 64
	MaxRule   = 128
	MaxDetail = 4096
	MaxFix    = 2048
)

const version = 1

// New makes a Refusal.
func New(code, rule, detail, fix string) *Refusal {
	r := Refusal{code, rule, detail, fix}.clean()
	return &r
}

// Newf makes a Refusal without a rule.
func Newf(code, fix, format string, args ...any) *Refusal {
	return New(code, "", fmt.Sprintf(format, args...), fix)
}

// clean cuts and cleans the text, which may quote what a stranger wrote.
func (r Refusal) clean() Refusal {
	return Refusal{
		Code: wire.CleanText(r.Code, MaxCode), Rule: wire.CleanText(r.Rule, MaxRule),
		Detail: wire.CleanText(r.Detail, MaxDetail), Fix: wire.CleanText(r.Fix, MaxFix),
	}
}

// Error is one line: code, detail, what would pass.
func (r *Refusal) Error() string {
	s := r.Code + ": " + r.Detail
	if r.Fix != "" {
		s += " (would pass: " + r.Fix + ")"
	}
	return s
}

// Is lets errors.Is match by code alone: errors.Is(err, &Refusal{Code: "x.y"}).
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code && (*t == *r || *t == Refusal{Code: t.Code})
}

// As returns the Refusal in err's chain, or nil.
func As(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// Encode is the canonical encoding.
func (r *Refusal) Encode() []byte {
	c := r.clean()
	return wire.NewWriter(version).String(c.Code).String(c.Rule).String(c.Detail).String(c.Fix).Bytes()
}

// Decode is the inverse of Encode.
func Decode(b []byte) (*Refusal, error) {
	rd := wire.NewReader(b, version)
	r := &Refusal{
		Code: rd.Text("code", MaxCode), Rule: rd.Text("rule", MaxRule),
		Detail: rd.Text("detail", MaxDetail), Fix: rd.Text("fix", MaxFix),
	}
	if rd.Err() == nil && r.Code == "" {
		rd.Failf("code: empty, want a code such as request.expired")
	}
	if err := rd.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode refusal: %w", err)
	}
	return r, nil
}
