package dev

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Bounds of restarts: what ends again and again is not to be restarted for ever.
const (
	restartMost   = 10
	restartWindow = time.Minute
)

// child is something that the cluster started and that may end.
type child struct {
	name, log string
	done      <-chan struct{}
	failure   func() error
	restart   func(ctx context.Context) error
}

// children are all of them: a service is started again alone; of a party, all three
// processes, since a vault ends with its node and a node alone is of no use.
func (c *Cluster) children() []child {
	var out []child
	add := func(p *Process, restart func(ctx context.Context) error) {
		if p != nil {
			out = append(out, child{p.Name, p.Log, p.Done(), p.Failure, restart})
		}
	}
	add(c.Coordinator, c.StartCoordinator)
	add(c.Risk, func(context.Context) error { return c.StartRisk() })
	add(c.Witness, c.restartWitness)
	for _, p := range c.Parties {
		for _, x := range p.processes() {
			add(x, func(ctx context.Context) error { p.Stop(); return p.Start(ctx) })
		}
		if p.tpm != nil {
			name := "TPM emulator of " + p.Name
			out = append(out, child{name, p.Token, p.tpm.Done(), func() error { return fmt.Errorf("%s ended", name) }, p.plug})
		}
	}
	return out
}

// Supervise starts again what ends by itself, as a host's supervisor would, until
// ctx ends. say tells about it. The chain's node is not started again: its end is
// an error.
func (c *Cluster) Supervise(ctx context.Context, say func(string)) error {
	var restarts []time.Time
	for {
		x, err := c.waitEnd(ctx)
		if x == nil || err != nil {
			return err
		}
		restarts = append(slices.DeleteFunc(restarts, func(t time.Time) bool { return time.Since(t) > restartWindow }), time.Now())
		if len(restarts) > restartMost {
			return fmt.Errorf("%d processes ended within %v; the last: %w", len(restarts), restartWindow, x.failure())
		}
		say(fmt.Sprintf("%s ended; it is started again (its log: %s)", x.name, x.log))
		if err := x.restart(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// waitEnd returns the first child that ends, nil when ctx does.
func (c *Cluster) waitEnd(ctx context.Context) (*child, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan *child)
	for _, x := range c.children() {
		go func() {
			select {
			case <-x.done:
				select {
				case ended <- &x:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
		}()
	}
	var chain <-chan struct{}
	if c.Anvil != nil {
		chain = c.Anvil.Exited()
	}
	select {
	case x := <-ended:
		return x, nil
	case <-chain:
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, fmt.Errorf("the Ethereum node ended")
	case <-ctx.Done():
		return nil, nil
	}
}
