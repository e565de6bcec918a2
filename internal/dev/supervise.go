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

// Supervise starts again what ends by itself, as a host's supervisor would, until
// ctx ends. say tells about it. The chain's node is not started again: its end is
// an error.
func (c *Cluster) Supervise(ctx context.Context, say func(string)) error {
	var restarts []time.Time
	for {
		p, err := c.waitEnd(ctx)
		if p == nil || err != nil {
			return err
		}
		restarts = append(slices.DeleteFunc(restarts, func(t time.Time) bool { return time.Since(t) > restartWindow }), time.Now())
		if len(restarts) > restartMost {
			return fmt.Errorf("%d processes ended within %v; the last: %w", len(restarts), restartWindow, p.Failure())
		}
		say(fmt.Sprintf("%s ended; it is started again (its log: %s)", p.Name, p.Log))
		if err := c.restart(ctx, p); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// waitEnd returns the first process that ends, nil when ctx does.
func (c *Cluster) waitEnd(ctx context.Context) (*Process, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan *Process)
	for _, p := range c.Processes() {
		go func() {
			select {
			case <-p.Done():
				select {
				case ended <- p:
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
	case p := <-ended:
		return p, nil
	case <-chain:
		if ctx.Err() != nil {
			return nil, nil
		}
		return nil, fmt.Errorf("the Ethereum node ended")
	case <-ctx.Done():
		return nil, nil
	}
}

// restart starts a service, or all three processes of the party that one of
// belongs to: a vault ends with its node, and a node alone is of no use.
func (c *Cluster) restart(ctx context.Context, ended *Process) error {
	switch ended {
	case c.Coordinator:
		return c.StartCoordinator(ctx)
	case c.Risk:
		return c.StartRisk()
	}
	for _, p := range c.Parties {
		if slices.Contains(p.processes(), ended) {
			p.Stop()
			return p.Start(ctx)
		}
	}
	return fmt.Errorf("%s belongs to nobody", ended.Name)
}
