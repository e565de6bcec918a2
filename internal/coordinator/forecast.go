package coordinator

import (
	"time"

	"github.com/cofferhq/coffer/internal/governance"
)

// Forecast says what a change would do if it were adopted now, which it also returns
// (unix milliseconds). The error is a *refusal.Refusal.
func (c *Coordinator) Forecast(ch *governance.Change) (f *governance.Forecast, now uint64, err error) {
	now = c.now()
	f, err = c.Governance().Forecast(ch, now)
	return f, now, err
}

// activate goes over to what has come in force since. The caller holds c.mu.
func (c *Coordinator) activate() {
	next := c.gov.At(c.now())
	if next == c.gov {
		return
	}
	for i := range next.Fates {
		if f := &next.Fates[i]; c.gov.Fates[i].Status != f.Status {
			c.log.Info("governance: a change's time has come", "change", f.Text())
		}
	}
	c.gov = next
	for _, ch := range c.wake {
		poke(ch)
	}
	poke(c.orders)
	poke(c.errand)
}

// untilDue is how long the courier may sleep so that it wakes when a change is due.
func (c *Coordinator) untilDue(most time.Duration) time.Duration {
	due := c.Governance().NextDue()
	if due == 0 {
		return most
	}
	left := time.Duration(due-min(due, c.now())) * time.Millisecond
	return max(min(most, left), time.Millisecond)
}
