package governance

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
)

// Course is how the governance went in one vault's log: by its changes in the order of
// their numbers, each from when the log says that it was adopted, and by the clock of
// its entries, when what waited came in force. Whoever reads the same entries comes to
// the same state.
type Course struct {
	State *State
	times map[uint64]uint64 // proven for a change that comes next (audit.ChangeBackdated), by number
	told  uint64            // when the newest change came, by the clock; its Fate's Adopted is later if that was set back
}

// errOther says that a log tells of a change what the rules do not.
var errOther = errors.New("the rules say otherwise")

// Entry goes on by an entry of the log; those of other kinds change nothing. An error
// says what the vault wrote that the rules do not allow; the course stays where it was.
func (c *Course) Entry(e *audit.Entry) error {
	switch e.Kind {
	case audit.KindChange:
		s, err := DecodeSignedChange(e.Body)
		if err != nil {
			return err
		}
		return c.change(s, e.Time)
	case audit.KindGovernance:
		g, err := audit.DecodeGovernance(e.Body)
		if err != nil {
			return err
		}
		return c.event(g, e.Time)
	}
	return nil
}

func (c *Course) change(s *SignedChange, at uint64) error {
	if t, ok := c.times[s.Change.Seq]; ok {
		at = min(at, t)
	}
	next, err := c.State.Apply(s, at)
	if err == nil {
		c.State, c.told = next, at
	}
	return err
}

// event goes on by what the log says became of a change, at the time of the entry.
func (c *Course) event(g *audit.Governance, at uint64) error {
	switch g.Event {
	case audit.ChangeRefused:
		return nil
	case audit.ChangeBackdated:
		return c.backdated(g, at)
	}
	next := c.State.At(at)
	f, ok := next.Fate(g.Seq)
	if !ok || f.Hash != g.Change {
		return fmt.Errorf("%w: it tells of change %d, %x, which the log does not hold", errOther, g.Seq, g.Change[:8])
	}
	switch {
	case g.Event == audit.ChangeWaits && (f.Due > f.Adopted || f.Leaver) && (f.Adopted == g.Time || f.Seq == next.Seq && c.told == g.Time),
		g.Event == audit.ChangeInForce && f.Status == InForce && f.Since == g.Time && f.Due > f.Adopted,
		g.Event == audit.ChangeDropped && f.Status == Dropped && f.Since == g.Time:
		c.State = next
		return nil
	}
	return fmt.Errorf("%w: it says that change %d %s from %d, and change %s", errOther, g.Seq, g.Event, g.Time, f.Text())
}

func (c *Course) backdated(g *audit.Governance, at uint64) error {
	if g.Time > at {
		return fmt.Errorf("%w: change %d was adopted at %d, after this entry", errOther, g.Seq, g.Time)
	}
	switch proven, err := AdoptedAt(c.State, g.Seq, g.Change, g.Proofs); {
	case err != nil:
		return err
	case proven != g.Time:
		return fmt.Errorf("%w: change %d waits from %d by the proofs, it says %d", errOther, g.Seq, proven, g.Time)
	}
	if g.Seq == c.State.Seq+1 {
		if c.times == nil {
			c.times = map[uint64]uint64{}
		}
		c.times[g.Seq] = g.Time
		return nil
	}
	if f, ok := c.State.Fate(g.Seq); !ok || f.Hash != g.Change {
		return fmt.Errorf("%w: it tells of change %d, %x, which the log does not hold", errOther, g.Seq, g.Change[:8])
	}
	next, err := c.State.Backdate(g.Seq, g.Time)
	if err == nil {
		c.State = next.At(at)
	}
	return err
}
