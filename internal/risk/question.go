package risk

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Question is what the coordinator asks: a request, what this wallet did before, and
// which methods the policy in force declares.
type Question struct {
	Bundle  *request.Bundle
	History []Past         // newest first
	Methods []chain.Method // without them a declared call would weigh as one that nobody understands
}

// Past is a request that was confirmed.
type Past struct {
	Request *request.Request
	Time    uint64 // when it was confirmed, unix milliseconds
}

const questionVersion = 2

// MaxHistory bounds the past, in requests and in bytes.
const (
	MaxHistory      = 64
	MaxHistoryBytes = 256 << 10
)

// Bounds of a declared method's texts, those of a policy.
const (
	maxContract  = 256
	maxSignature = 1024
)

// Encode is the canonical encoding (docs/spec/risk.md).
func (q *Question) Encode() []byte {
	w := wire.NewWriter(questionVersion).Var(q.Bundle.Encode()).Count(len(q.History))
	for i := range q.History {
		w.Var(q.History[i].Request.Encode()).Uint64(q.History[i].Time)
	}
	w.Count(len(q.Methods))
	for _, m := range q.Methods {
		w.String(m.Contract).String(m.Signature)
	}
	return w.Bytes()
}

// DecodeQuestion is the inverse of Encode.
func DecodeQuestion(b []byte) (*Question, error) {
	r := wire.NewReader(b, questionVersion)
	q := new(Question)
	if raw := r.Var("bundle", request.MaxBundle); r.Err() == nil {
		var err error
		if q.Bundle, err = request.DecodeBundle(raw); err != nil {
			r.Fail(err)
		}
	}
	for range r.Count("history", MaxHistory, 12) {
		raw, at := r.Var("past request", request.MaxBundle), r.Uint64("time")
		if r.Err() != nil {
			break
		}
		p, err := request.Decode(raw)
		if err != nil {
			r.Fail(err)
			break
		}
		q.History = append(q.History, Past{p, at})
	}
	for range r.Count("methods", policy.MaxMethods, 8) {
		m := chain.Method{Contract: r.Text("contract", maxContract), Signature: r.Text("signature", maxSignature)}
		if r.Err() != nil {
			break
		}
		if err := family.CheckMethod(&m); err != nil {
			r.Fail(err)
			break
		}
		q.Methods = append(q.Methods, m)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode question to the risk engine: %w", err)
	}
	return q, nil
}
