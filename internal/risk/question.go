package risk

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Question is what the coordinator asks: a request, what this wallet did before, what
// of it is still under way, and which methods the policy in force declares.
type Question struct {
	Bundle  *request.Bundle
	History []Past         // confirmed, newest first
	Open    []Past         // neither confirmed nor ended, and older than this one, newest first
	Methods []chain.Method // without them a declared call would weigh as one that nobody understands
}

// Past is another request of the wallet.
type Past struct {
	Request *request.Request
	Time    uint64 // when it was confirmed, or, when it is open, made; unix milliseconds
}

const questionVersion = 3

// MaxHistory bounds each list of requests, in requests and in bytes.
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
	w := wire.NewWriter(questionVersion).Var(q.Bundle.Encode())
	for _, list := range [][]Past{q.History, q.Open} {
		w.Count(len(list))
		for i := range list {
			w.Var(list[i].Request.Encode()).Uint64(list[i].Time)
		}
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
	q.History, q.Open = readPasts(r, "history"), readPasts(r, "open")
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

func readPasts(r *wire.Reader, name string) (out []Past) {
	for range r.Count(name, MaxHistory, 12) {
		raw, at := r.Var("past request", request.MaxBundle), r.Uint64("time")
		if r.Err() != nil {
			break
		}
		p, err := request.Decode(raw)
		if err != nil {
			r.Fail(err)
			break
		}
		out = append(out, Past{p, at})
	}
	return out
}
