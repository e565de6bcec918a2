package verify

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

// clone is a passkey that a vault found to be in two devices.
type clone struct {
	time uint64
	seq  int // of the governance that was valid then
}

func (v *verifier) replayClone(l *vaultLog, i uint64, e *audit.Entry) error {
	c, err := audit.DecodeClone(e.Body)
	if err != nil {
		return err
	}
	owner, ok := l.state().Roster.Owner(c.Key)
	switch err := c.Verify(); {
	case err != nil:
		v.entryFault(l, i, CloneBad, "passkey %s: %v", c.Key.Fingerprint(), err)
		return nil
	case !ok || owner.ID != c.Principal:
		v.entryFault(l, i, CloneBad, "the passkey %s is not %s's under the roster of that moment", c.Key.Fingerprint(), c.Principal)
		return nil
	}
	if l.clones == nil {
		l.clones = map[signature.PublicKey]clone{}
	}
	l.clones[c.Key] = clone{e.Time, len(l.history) - 1}
	v.report.Notes = append(v.report.Notes, fmt.Sprintf("vault %d, entry %d: the passkey %s of %s is in two devices: it signed with counter %d and with counter %d",
		l.id, i, c.Key.Fingerprint(), c.Principal, c.First.Counter(), c.Second.Counter()))
	return nil
}

// clonedIn refuses a bundle that rests on a passkey which this vault had found to be
// in two devices, and which no roster since has been without. A decision of the same
// millisecond may have been made before.
func (l *vaultLog) clonedIn(b *request.Bundle, st *governance.State, d *audit.Decision) *refusal.Refusal {
	for _, u := range b.PasskeyUses() {
		c, ok := l.clones[u.Key]
		if !ok || c.time > d.Time || c.time == d.Time && d.Allow {
			continue
		}
		for s := c.seq; ok && s < len(l.history) && l.history[s].Seq <= st.Seq; s++ {
			_, ok = l.history[s].Roster.Owner(u.Key)
		}
		if ok {
			return refusal.New("identity.cloned", "", fmt.Sprintf("the passkey %s of %s is in two devices", u.Key.Fingerprint(), u.Principal), "")
		}
	}
	return nil
}
