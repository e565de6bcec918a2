package analysis

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	policy "github.com/cofferhq/coffer/internal/policy2"
	"github.com/cofferhq/coffer/internal/signature"
)

// Class is what a change of policy or roster does to what can be signed.
type Class uint8

// The classes. What is not proven to tighten counts as loosening.
const (
	Tightening Class = 1 // nothing passes that did not pass before
	Loosening  Class = 2 // something does
	Unknown    Class = 3 // it is not known
)

func (c Class) String() string {
	switch c {
	case Tightening:
		return "tightening"
	case Loosening:
		return "loosening"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("class-%d", uint8(c))
}

// Result is a class and what it rests on.
type Result struct {
	Class  Class
	Reason string
}

// Classify compares what passes under the new policy and roster with what passes
// under the old ones.
func Classify(old, new *policy.Document, oldRoster, newRoster *identity.Roster) Result {
	if old == nil || new == nil || oldRoster == nil || newRoster == nil {
		return Result{Class: Unknown, Reason: "there is no policy or roster to compare"}
	}
	if r, done := classifyRosters(oldRoster, newRoster); done {
		return r
	}
	if bytes.Equal(old.Encode(), new.Encode()) && slices.EqualFunc(oldRoster.Groups, newRoster.Groups, func(a, b identity.Group) bool {
		return a.Name == b.Name && slices.Equal(a.Members, b.Members)
	}) {
		return Result{Class: Tightening, Reason: "the policy is the same, and nobody may do more"}
	}
	return Result{Class: Unknown, Reason: "the policies differ in a way that is not understood"}
}

// classifyRosters finds what lets somebody sign who could not, whatever the policy
// says.
func classifyRosters(old, new *identity.Roster) (Result, bool) {
	loosens := func(format string, args ...any) (Result, bool) {
		return Result{Class: Loosening, Reason: fmt.Sprintf(format, args...)}, true
	}
	for i := range new.Principals {
		p := &new.Principals[i]
		was, ok := old.Principal(p.ID)
		if !ok {
			return loosens("%s is new in the roster", p.ID)
		}
		if was.Kind != p.Kind {
			return loosens("%s becomes a %s", p.ID, p.Kind)
		}
		if slices.ContainsFunc(p.Credentials, func(k signature.PublicKey) bool { return !slices.Contains(was.Credentials, k) }) {
			return loosens("%s gets another key", p.ID)
		}
		for _, r := range []identity.Right{identity.Propose, identity.Approve, identity.Judge, identity.Quote} {
			if new.May(p.ID, r) && !old.May(p.ID, r) {
				return loosens("%s may %s", p.ID, r)
			}
		}
	}
	for _, a := range new.Members(identity.Admins) {
		if !old.InGroup(a, identity.Admins) {
			return loosens("%s becomes an admin", a)
		}
	}
	if new.AdminQuorum < old.AdminQuorum {
		return loosens("%d admins govern instead of %d", new.AdminQuorum, old.AdminQuorum)
	}
	for _, o := range new.Origins {
		if !slices.Contains(old.Origins, o) {
			return loosens("passkeys may sign at %s", o)
		}
	}
	return Result{}, false
}
