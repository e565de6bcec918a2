package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/request"
)

// broadcast sends the signed transaction. It may be repeated: the chain knows a
// transaction by its hash.
func (c *Coordinator) broadcast(r *Record) error {
	ch, err := c.chain(r.Bundle.Request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	if _, err := ch.Node.SendRaw(ctx, r.Raw); err != nil {
		if refused := refusedByNode(err); refused != nil && !transient(refused) {
			return c.to(r, move{To: Rejected, Reason: "the chain's node refuses the transaction: " + refused.Message})
		}
		return fmt.Errorf("couldn't send the transaction: %w", err)
	}
	return c.to(r, move{To: Broadcast, Reason: "sent as " + r.TxID})
}

// transient says that the node may take the transaction later.
func transient(e *rpc.Error) bool {
	m := strings.ToLower(e.Message)
	return e.Code == -32005 || e.Code == -32603 && !strings.Contains(m, "nonce") || strings.Contains(m, "txpool is full") || strings.Contains(m, "limit exceeded")
}

func (c *Coordinator) chain(q *request.Request) (Chain, error) {
	ch, ok := c.chains[q.Chain]
	if !ok {
		return ch, fmt.Errorf("no node of chain %s is configured", q.Chain)
	}
	return ch, nil
}

// follow waits until the transaction has its confirmations.
func (c *Coordinator) follow(r *Record, wake <-chan struct{}) error {
	ch, err := c.chain(r.Bundle.Request)
	if err != nil {
		return err
	}
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, followEvery) {
		rec, blocks, err := c.mined(ch, r.TxID)
		if err != nil {
			return err
		}
		if rec != nil && blocks >= ch.Confirmations {
			fee := rec.Fee()
			out := &Receipt{Block: rec.Block, GasUsed: rec.GasUsed, Fee: fee.Dec(), Success: rec.OK}
			if !rec.OK {
				return c.to(r, move{To: Failed, Reason: fmt.Sprintf("mined in block %d and reverted; the fee is paid", rec.Block), Receipt: out})
			}
			err := c.to(r, move{To: Confirmed, Reason: fmt.Sprintf("in block %d, %d confirmations", rec.Block, blocks), Receipt: out})
			if err == nil {
				c.remember(r)
			}
			return err
		}
		if rec == nil && wait >= followEvery {
			if err := c.chase(ch, r); err != nil {
				return err
			}
		}
		c.sleep(r, wait, wake)
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
	}
}

// chase looks after a transaction that is not mined: a node may have dropped it,
// or wait for an earlier nonce.
func (c *Coordinator) chase(ch Chain, r *Record) error {
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	if _, err := ch.Node.Transaction(ctx, r.TxID); errors.Is(err, rpc.ErrNotFound) {
		if _, err := ch.Node.SendRaw(ctx, r.Raw); err != nil {
			return fmt.Errorf("the chain's node dropped the transaction and does not take it again: %w", err)
		}
	} else if err != nil {
		return err
	}
	tx, from, err := sentBy(r)
	if err != nil {
		return err
	}
	next, err := ch.Node.LatestNonce(ctx, from)
	if err == nil && next < tx.Nonce {
		c.reason(r.ID, Broadcast, fmt.Errorf("sent as %s; its nonce is %d and the chain waits for %d first: another request of this wallet must go before it", r.TxID, tx.Nonce, next))
	}
	return err
}

func (c *Coordinator) mined(ch Chain, txid string) (rec *rpc.Receipt, blocks uint64, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, chainTimeout)
	defer cancel()
	rec, err = ch.Node.Receipt(ctx, txid)
	switch {
	case errors.Is(err, rpc.ErrNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	if ch.Confirmations == 1 {
		return rec, 1, nil
	}
	head, err := ch.Node.BlockNumber(ctx)
	if err != nil {
		return nil, 0, err
	}
	if head < rec.Block {
		return rec, 0, nil
	}
	return rec, head - rec.Block + 1, nil
}
