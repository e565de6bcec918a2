package request

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Approval is one person's yes or no to one request.
type Approval struct {
	Request   [32]byte // Request.ID
	Principal string
	Approve   bool   // false: this person says no
	Time      uint64 // when it was given
	Expires   uint64 // from then on it does not count
	Key       signature.PublicKey
	Signature signature.Signature
}

const (
	approvalVersion     = 1
	cancellationVersion = 1
	verdictVersion      = 1
)

// Statement is what the approver signs.
func (a *Approval) Statement() signature.Statement {
	w := wire.NewWriter(statementVersion).Fixed(a.Request[:]).String(a.Principal).Bool(a.Approve)
	return signature.Statement{Domain: "coffer/approve/v1", Body: w.Uint64(a.Time).Uint64(a.Expires).Bytes()}
}

// Encode is the canonical encoding.
func (a *Approval) Encode() []byte {
	w := wire.NewWriter(approvalVersion).Fixed(a.Request[:]).String(a.Principal).Bool(a.Approve).Uint64(a.Time).Uint64(a.Expires)
	signature.WriteKey(w, a.Key)
	signature.WriteSignature(w, a.Signature)
	return w.Bytes()
}

// DecodeApproval is the inverse of Encode.
func DecodeApproval(b []byte) (*Approval, error) {
	r := wire.NewReader(b, approvalVersion)
	a := new(Approval)
	r.Into("request", a.Request[:])
	a.Principal, a.Approve = r.Name("principal"), r.Bool("approve")
	a.Time, a.Expires = r.Uint64("time"), r.Uint64("expires")
	if r.Err() == nil && a.Expires <= a.Time {
		r.Failf("expires: %s is not after time %s", Instant(a.Expires), Instant(a.Time))
	}
	a.Key, a.Signature = signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode approval: %w", err)
	}
	return a, nil
}

// Cancellation takes a request back.
type Cancellation struct {
	Request   [32]byte
	Principal string
	Time      uint64
	Key       signature.PublicKey
	Signature signature.Signature
}

// Statement is what the canceller signs.
func (c *Cancellation) Statement() signature.Statement {
	w := wire.NewWriter(statementVersion).Fixed(c.Request[:]).String(c.Principal).Uint64(c.Time)
	return signature.Statement{Domain: "coffer/cancel/v1", Body: w.Bytes()}
}

// Encode is the canonical encoding.
func (c *Cancellation) Encode() []byte {
	w := wire.NewWriter(cancellationVersion).Fixed(c.Request[:]).String(c.Principal).Uint64(c.Time)
	signature.WriteKey(w, c.Key)
	signature.WriteSignature(w, c.Signature)
	return w.Bytes()
}

// DecodeCancellation is the inverse of Encode.
func DecodeCancellation(b []byte) (*Cancellation, error) {
	r := wire.NewReader(b, cancellationVersion)
	c := new(Cancellation)
	r.Into("request", c.Request[:])
	c.Principal, c.Time = r.Name("principal"), r.Uint64("time")
	c.Key, c.Signature = signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode cancellation: %w", err)
	}
	return c, nil
}

// Outcome is what a risk engine makes of a request.
type Outcome uint8

// The outcomes. An engine that did not answer is worth Hold, never Pass.
const (
	Pass Outcome = 1
	Hold Outcome = 2
	Deny Outcome = 3
)

func (o Outcome) String() string {
	switch o {
	case Pass:
		return "pass"
	case Hold:
		return "hold"
	case Deny:
		return "deny"
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// Bounds of a RiskVerdict.
const (
	MaxReasons = 16
	MaxReason  = 256 // bytes
)

// RiskVerdict is an automated engine's opinion. It has no authority of its own:
// policy says what it is worth.
type RiskVerdict struct {
	Request   [32]byte
	Engine    string // the engine's principal
	Outcome   Outcome
	Score     uint16 // 0 harmless, 1000 certain; the engine's own scale
	Reasons   []string
	Time      uint64
	Expires   uint64
	Key       signature.PublicKey
	Signature signature.Signature
}

func (v *RiskVerdict) body(w *wire.Writer) *wire.Writer {
	w.Fixed(v.Request[:]).String(v.Engine).Uint8(uint8(v.Outcome)).Uint16(v.Score).Count(len(v.Reasons))
	for _, s := range v.Reasons {
		w.String(s)
	}
	return w.Uint64(v.Time).Uint64(v.Expires)
}

// Statement is what the engine signs.
func (v *RiskVerdict) Statement() signature.Statement {
	return signature.Statement{Domain: "coffer/risk-verdict/v1", Body: v.body(wire.NewWriter(statementVersion)).Bytes()}
}

// Encode is the canonical encoding.
func (v *RiskVerdict) Encode() []byte {
	w := v.body(wire.NewWriter(verdictVersion))
	signature.WriteKey(w, v.Key)
	signature.WriteSignature(w, v.Signature)
	return w.Bytes()
}

// DecodeRiskVerdict is the inverse of Encode.
func DecodeRiskVerdict(b []byte) (*RiskVerdict, error) {
	r := wire.NewReader(b, verdictVersion)
	v := new(RiskVerdict)
	r.Into("request", v.Request[:])
	v.Engine, v.Outcome, v.Score = r.Name("engine"), Outcome(r.Uint8("outcome")), r.Uint16("score")
	if r.Err() == nil && (v.Outcome < Pass || v.Outcome > Deny) {
		r.Failf("outcome: unknown value %d, want 1 (pass), 2 (hold) or 3 (deny)", v.Outcome)
	}
	for range r.Count("reasons", MaxReasons, 4) {
		v.Reasons = append(v.Reasons, r.Text("reason", MaxReason))
	}
	v.Time, v.Expires = r.Uint64("time"), r.Uint64("expires")
	if r.Err() == nil && v.Expires <= v.Time {
		r.Failf("expires: %s is not after time %s", Instant(v.Expires), Instant(v.Time))
	}
	v.Key, v.Signature = signature.ReadKey(r, "key"), signature.ReadSignature(r, "signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode risk verdict: %w", err)
	}
	return v, nil
}
