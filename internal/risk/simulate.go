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
// what was decoded, and names everybody whom it reaches: contracts pay on. A node that
// gives no answer means no verdict.
func (e *Engine) simulate(ctx context.Context, f *findings, x *chain.Effects, raw []byte) (reached []string, err error) {
	node := e.simulators[x.Chain]
	if node == nil || x.Message != nil || e.checks.SimulationWeight == 0 {
		return nil, nil
	}
	in, err := evm.DecodeIntent(raw)
	if err != nil {
		return nil, err
	}
	_, from, err := evm.ParseAccount(x.Sender)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.checks.Timeout)
	defer cancel()
	s, err := node.Simulate(ctx, from, in)
	if err != nil {
		return nil, fmt.Errorf("couldn't simulate on %s: %w", x.Chain, err)
	}
	if s.Failed != "" {
		f.add(e.checks.SimulationWeight, "simulated on the chain's node it fails: %s", s.Failed)
		return nil, nil
	}
	for _, d := range surplus(x, s.Moves) {
		f.add(e.checks.SimulationWeight, "simulated on the chain's node it does more than was decoded: %s", d)
	}
	for i := range s.Moves {
		reached = append(reached, s.Moves[i].From, s.Moves[i].To)
	}
	return reached, nil
}
