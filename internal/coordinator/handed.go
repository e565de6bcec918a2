package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// A chain of whose nodes this coordinator asks none: people bring the transaction
// that is to be signed, since somebody must know a blockhash, and take the signed
// one away. The vaults check what is brought, as they check everything.

// handed says that requests of a chain may be served so.
func handed(chainID string) bool { return chainID == solana.Mainnet }

// offline says that a request is served so.
func (c *Coordinator) offline(r *Record) bool {
	_, node := c.chains[r.Bundle.Request.Chain]
	return !node && handed(r.Bundle.Request.Chain)
}

// ChainsOf lists the chains that a wallet's key signs for: those that there is a
// node of, and those whose transactions are brought.
func (c *Coordinator) ChainsOf(w *Wallet) []string {
	cert, err := w.Key()
	if err != nil {
		return nil
	}
	var out []string
	for _, ch := range c.opts.Chains {
		out = append(out, ch.ID)
	}
	if !slices.Contains(out, solana.Mainnet) {
		out = append(out, solana.Mainnet)
	}
	return slices.DeleteFunc(out, func(id string) bool {
		codec, err := family.Of(id)
		return err != nil || codec.Scheme().Suite() != cert.Suite
	})
}

// What the reasons of waiting requests say.
const (
	toBring  = "waiting for its transaction: "
	toExport = "; no node of the chain is configured: anybody may send what coffer export prints"
)

// Waits says that nothing happens to a request before people do something.
func Waits(s State, reason string) bool {
	switch s {
	case AwaitingApproval:
		return true
	case Screening:
		return strings.HasPrefix(reason, "held: ")
	case Signing:
		return strings.HasPrefix(reason, toBring)
	case Signed:
		return strings.HasSuffix(reason, toExport)
	}
	return false
}

// brought is the version that somebody brought. What policy denies anyway is put
// together with a blockhash that never was: the vaults have something to refuse,
// and no chain would take it.
func (c *Coordinator) brought(r *Record, denied bool) (*version, error) {
	nothing, err := placeholder(r.Bundle.Request)
	switch {
	case err != nil:
		return nil, err
	case r.Unsigned != nil && !bytes.Equal(r.Unsigned, nothing):
		return &version{latest: true}, nil
	case denied:
		return &version{stored: nothing}, nil
	}
	text := toBring + "coffer transact " + short(r.ID) + " --blockhash HASH, with a blockhash of the last minute"
	told := false
	_, err = c.store.update(c.ctx, r.ID, func(now *Record) (*move, error) {
		// It may have been brought meanwhile: then the next look finds it.
		if told = now.State == Signing && bytes.Equal(now.Unsigned, r.Unsigned) && now.Reason != text; !told {
			return nil, nil
		}
		return &move{To: Signing, Reason: text}, nil
	})
	if err != nil {
		return nil, err
	}
	if told {
		c.tell(r.ID)
	}
	return nil, errParked
}

func placeholder(q *request.Request) ([]byte, error) {
	sender, err := solana.ParseAccount(q.Sender)
	if err != nil {
		return nil, err
	}
	in, err := solana.DecodeIntent(q.Intent)
	if err != nil {
		return nil, err
	}
	m, err := (&solana.Transaction{Payer: sender, Intent: *in}).Message()
	if err != nil {
		return nil, err
	}
	return m.Encode(), nil
}

// asked says that the vaults may have been asked to sign a request. Where a
// transaction is brought, that there is one says nothing.
func (c *Coordinator) asked(r *Record) bool {
	if c.offline(r) {
		return r.State == Signing && r.Unsigned != nil
	}
	return r.Unsigned != nil
}

// Bring takes the transaction that a request's signers are to sign, or a newer
// one. It must do what the request says, or it is refused here already.
func (c *Coordinator) Bring(ctx context.Context, id [32]byte, unsigned []byte) (*Record, error) {
	r, err := c.store.update(ctx, id, func(r *Record) (*move, error) {
		q := r.Bundle.Request
		switch {
		case !c.offline(r):
			return nil, refusal.Newf("transaction", "nothing: this coordinator builds the transactions of "+q.Chain, "transaction: none is to be brought")
		case !r.State.unsigned():
			return nil, fmt.Errorf("%w: the request is %s: another transaction changes nothing any more", ErrConflict, r.State)
		}
		codec, err := family.Of(q.Chain)
		if err != nil {
			return nil, err
		}
		if _, err := codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, unsigned, c.Governance().Policy.Methods); err != nil {
			return nil, refusal.Newf("transaction", "the transaction that was requested, and nothing else", "transaction: %v", err)
		}
		m := &move{To: r.State, Reason: r.Reason, Unsigned: unsigned}
		if r.State == Signing {
			m.Reason = "a transaction was brought"
		}
		return m, nil
	})
	if err != nil {
		return nil, err
	}
	c.moved(r)
	c.run(id)
	return r, nil
}
