package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Outcome is how a command ended.
type Outcome uint8

// The outcomes: done; policy or input said no (signed and logged, Certificate
// proves it when the refusal is a Decision); a protocol run ended without a
// result; the vault itself failed.
const (
	OutcomeDone    Outcome = 1
	OutcomeRefused Outcome = 2
	OutcomeAborted Outcome = 3
	OutcomeFailed  Outcome = 4
)

func (o Outcome) String() string {
	switch o {
	case OutcomeDone:
		return "done"
	case OutcomeRefused:
		return "refused"
	case OutcomeAborted:
		return "aborted"
	case OutcomeFailed:
		return "failed"
	}
	return fmt.Sprintf("outcome-%d", uint8(o))
}

// Reply answers a Command.
type Reply struct {
	Vault       uint16
	Outcome     Outcome
	Body        []byte // OutcomeDone: what the command's kind says
	Certificate []byte // audit.Certificate of the decision, allowed or refused, when there is one
	Refusal     []byte // OutcomeRefused: refusal.Refusal
	// OutcomeAborted: mpc's class, who is blamed, where.
	Class    uint8
	Culprits []uint16
	Detail   string // OutcomeAborted, OutcomeFailed: in words
}

const replyVersion = 1

// Encode is the canonical encoding.
func (p *Reply) Encode() []byte {
	w := wire.NewWriter(replyVersion).Uint16(p.Vault).Uint8(uint8(p.Outcome)).Var(p.Body).Var(p.Certificate).Var(p.Refusal)
	w.Uint8(p.Class)
	writeIDs(w, p.Culprits)
	return w.String(p.Detail).Bytes()
}

// DecodeReply is the inverse of Encode.
func DecodeReply(b []byte) (*Reply, error) {
	r := wire.NewReader(b, replyVersion)
	p := &Reply{Vault: r.Uint16("vault"), Outcome: Outcome(r.Uint8("outcome"))}
	if r.Err() == nil && (p.Outcome < OutcomeDone || p.Outcome > OutcomeFailed) {
		r.Failf("outcome: unknown value %d, want 1 to %d", p.Outcome, OutcomeFailed)
	}
	p.Body = r.Var("body", MaxBody)
	p.Certificate = r.Var("certificate", MaxBody)
	p.Refusal = r.Var("refusal", 64<<10)
	p.Class = r.Uint8("class")
	p.Culprits = readIDs(r, "culprits")
	p.Detail = r.Text("detail", 4096)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode reply: %w", err)
	}
	return p, nil
}
