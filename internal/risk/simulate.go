package risk

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
)

// Simulator runs an intent on a chain's node without sending it. rpc.Client is one.
type Simulator interface {
	Simulate(ctx context.Context, from evm.Address, in *evm.Intent) (*rpc.Simulation, error)
}

// simulate compares what the chain's node says that the transaction would do with
// what was decoded. A node that gives no answer means no verdict.
func (e *Engine) simulate(ctx context.Context, f *findings, x *chain.Effects, raw []byte) error {
	node := e.simulators[x.Chain]
	if node == nil || x.Message != nil || e.checks.SimulationWeight == 0 {
		return nil
	}
	in, err := evm.DecodeIntent(raw)
	if err != nil {
		return err
	}
	_, from, err := evm.ParseAccount(x.Sender)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.checks.Timeout)
	defer cancel()
	s, err := node.Simulate(ctx, from, in)
	if err != nil {
		return fmt.Errorf("couldn't simulate on %s: %w", x.Chain, err)
	}
	if s.Failed != "" {
		f.add(e.checks.SimulationWeight, "simulated on the chain's node it fails: %s", s.Failed)
		return nil
	}
	for _, d := range surplus(x, s.Moves) {
		f.add(e.checks.SimulationWeight, "simulated on the chain's node it does more than was decoded: %s", d)
	}
	return nil
}

// flow is what leaves the sender: an asset to somebody, or an allowance for them.
type flow struct {
	kind      rpc.MoveKind
	asset, to string
}

// surplus names what leaves the sender in the simulation beyond what was decoded.
// What comes in, and what others pay each other, costs the sender nothing.
func surplus(x *chain.Effects, moves []rpc.Move) []string {
	decoded := map[flow]chain.Amount{}
	add := func(k flow, a *chain.Amount) {
		sum := decoded[k]
		if _, over := sum.AddOverflow(&sum, a); over {
			sum.SetAllOne()
		}
		decoded[k] = sum
	}
	for i := range x.Transfers {
		if t := &x.Transfers[i]; t.From == x.Sender {
			add(flow{rpc.MoveTransfer, t.Asset, t.To}, &t.Amount)
		}
	}
	for i := range x.Approvals {
		if a := &x.Approvals[i]; a.Owner == x.Sender {
			add(flow{rpc.MoveAllowance, a.Asset, a.Spender}, &a.Amount)
		}
	}
	var out []string
	for i := range moves {
		m := &moves[i]
		if m.From != x.Sender || m.To == x.Sender || m.Amount.IsZero() && m.Kind != rpc.MoveItem {
			continue
		}
		switch m.Kind {
		case rpc.MoveTransfer, rpc.MoveAllowance:
			k := flow{m.Kind, m.Asset, m.To}
			left := decoded[k]
			if fresh := (flow{m.Kind, m.Asset, ""}); m.Amount.Gt(&left) && len(x.Creates) > 0 {
				k, left = fresh, decoded[fresh] // a contract that is created has no address in the effects
			}
			if m.Amount.Gt(&left) {
				out = append(out, words(m)+fmt.Sprintf(", decoded %s", left.Dec()))
				continue
			}
			decoded[k] = *left.Sub(&left, &m.Amount)
		default:
			if !mentions(x, m) {
				out = append(out, words(m))
			}
		}
	}
	return out
}

func words(m *rpc.Move) string {
	switch m.Kind {
	case rpc.MoveAllowance:
		return fmt.Sprintf("%s may spend %s of %s", m.To, m.Amount.Dec(), m.Asset)
	case rpc.MoveItem:
		return fmt.Sprintf("item %s of %s goes to %s", m.Amount.Dec(), m.Asset, m.To)
	case rpc.MoveForAll:
		return fmt.Sprintf("%s may take every item of %s", m.To, m.Asset)
	}
	return fmt.Sprintf("%s of %s goes to %s", m.Amount.Dec(), m.Asset, m.To)
}

// mentions says whether the effects tell of the same asset for the same account.
// How a codec counts the items of a collection is its own affair.
func mentions(x *chain.Effects, m *rpc.Move) bool {
	if m.Kind == rpc.MoveItem {
		for i := range x.Transfers {
			if t := &x.Transfers[i]; t.From == x.Sender && t.To == m.To && sameContract(t.Asset, m.Asset) {
				return true
			}
		}
		return false
	}
	for i := range x.Approvals {
		if a := &x.Approvals[i]; a.Owner == x.Sender && a.Spender == m.To && sameContract(a.Asset, m.Asset) {
			return true
		}
	}
	return false
}

// sameContract compares the contracts of two assets, whatever kind of token the
// assets call them.
func sameContract(a, b string) bool {
	ca, _, ra, errA := chain.ParseAsset(a)
	cb, _, rb, errB := chain.ParseAsset(b)
	return errA == nil && errB == nil && ca == cb && contract(ra) == contract(rb)
}

func contract(reference string) string {
	for i := range len(reference) {
		if reference[i] == '/' {
			return reference[:i]
		}
	}
	return reference
}
