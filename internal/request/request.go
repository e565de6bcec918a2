package request

import (
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Bounds of a Request. Times are unix milliseconds.
const (
	MaxIntent = 132 << 10 // the codecs' 128 KiB of call data and what stands around it
	MaxMemo   = 256       // bytes
	// MaxLifetime bounds Expires − Created, and so for how long a stolen bundle of
	// signatures is worth something.
	MaxLifetime = 31 * 24 * 3600 * 1000
	// MaxSkew is how far a person's clock may be ahead of the vault's.
	MaxSkew = 60 * 1000
)

// Request is a transaction as far as people decide it. Nonce (or inputs) and fees
// below MaxFee are chosen at signing, since a request may wait.
type Request struct {
	Cluster   [32]byte     // governance.Genesis.Hash: worthless in any other cluster
	Wallet    [32]byte     // the key's id (mpc/dkg)
	Chain     string       // CAIP-2
	Sender    string       // CAIP-10: the wallet's address on Chain
	Intent    []byte       // the chain codec's canonical intent
	MaxFee    chain.Amount // the most that fees may be, smallest unit of the native asset
	Initiator string       // the principal who proposes it
	Salt      [16]byte     // random: the same payment can be wanted twice
	Created   uint64
	Expires   uint64 // from then on no vault signs it
	Memo      string
}

const requestVersion = 1

// Encode is the canonical encoding.
func (q *Request) Encode() []byte {
	w := wire.NewWriter(requestVersion).Fixed(q.Cluster[:]).Fixed(q.Wallet[:]).String(q.Chain).String(q.Sender).Var(q.Intent)
	chain.WriteAmount(w, &q.MaxFee)
	w.String(q.Initiator).Fixed(q.Salt[:]).Uint64(q.Created).Uint64(q.Expires).String(q.Memo)
	return w.Bytes()
}

// Decode is the inverse of Encode. What it returns passes Check.
func Decode(b []byte) (*Request, error) {
	r := wire.NewReader(b, requestVersion)
	q := new(Request)
	r.Into("cluster", q.Cluster[:])
	r.Into("wallet", q.Wallet[:])
	q.Chain, q.Sender = r.String("chain", 64), r.String("sender", 256)
	q.Intent = r.Var("intent", MaxIntent)
	q.MaxFee = chain.ReadAmount(r, "max fee")
	q.Initiator = r.Name("initiator")
	r.Into("salt", q.Salt[:])
	q.Created, q.Expires = r.Uint64("created"), r.Uint64("expires")
	q.Memo = r.Text("memo", MaxMemo)
	err := r.Done()
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode request: %w", err)
	}
	return q, nil
}

// Check says whether q is well formed: everything that can be said without
// knowing the cluster. The error is a *refusal.Refusal.
func (q *Request) Check() error {
	field := func(name string, err error) error {
		return refusal.Newf("request.field", "", "%s: %v", name, err)
	}
	if err := chain.CheckID(q.Chain); err != nil {
		return field("chain", err)
	}
	if id, _, err := chain.ParseAccount(q.Sender); err != nil {
		return field("sender", err)
	} else if id != q.Chain {
		return refusal.Newf("request.field", "an account on "+q.Chain, "sender: account %s is on chain %s, the request is for %s", q.Sender, id, q.Chain)
	}
	if len(q.Intent) == 0 || len(q.Intent) > MaxIntent {
		return refusal.Newf("request.field", "", "intent: %d bytes, want 1 to %d", len(q.Intent), MaxIntent)
	}
	if err := wire.CheckName(q.Initiator); err != nil {
		return field("initiator", err)
	}
	if err := wire.CheckText(q.Memo, MaxMemo); err != nil {
		return field("memo", err)
	}
	return q.checkTimes()
}

func (q *Request) checkTimes() error {
	switch {
	case q.Created == 0:
		return refusal.Newf("request.field", "", "created: 0, want unix milliseconds")
	case q.Expires <= q.Created:
		return refusal.Newf("request.field", "an expiry after its creation", "expires: %s is not after created %s", Instant(q.Expires), Instant(q.Created))
	case q.Expires-q.Created > MaxLifetime:
		return refusal.Newf("request.field", fmt.Sprintf("an expiry of at most %s", Instant(q.Created+MaxLifetime)),
			"expires: %s is more than 31 days after created %s", Instant(q.Expires), Instant(q.Created))
	}
	return nil
}

// ID is the request's name everywhere, and what people sign.
func (q *Request) ID() [32]byte { return wire.Hash("coffer/request/v1", q.Encode()) }

// ProposeStatement is what the initiator signs.
func ProposeStatement(id [32]byte) signature.Statement {
	return signature.Statement{Domain: "coffer/propose/v1", Body: wire.NewWriter(statementVersion).Fixed(id[:]).Bytes()}
}

const statementVersion = 1

// Instant writes unix milliseconds for people.
func Instant(ms uint64) string {
	const lastYear = 253402300799999 // 9999-12-31T23:59:59.999Z
	if ms > lastYear {
		return fmt.Sprintf("%d ms", ms)
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05Z")
}
