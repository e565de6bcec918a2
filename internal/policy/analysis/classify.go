package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
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
	Class   Class
	Reason  string
	Example *Example // of Loosening by a policy: what passes now and did not
}

// Classify compares what passes under the new policy and roster with what passes
// under the old ones, whoever approves. A denial is not weighed: who hands over a
// request's signatures could leave it out.
func Classify(old, new *policy.Document, oldRoster, newRoster *identity.Roster) Result {
	return classify(old, new, oldRoster, newRoster, defaultBudget)
}

func classify(old, new *policy.Document, oldRoster, newRoster *identity.Roster, budget int64) Result {
	if old == nil || new == nil || oldRoster == nil || newRoster == nil {
		return Result{Class: Unknown, Reason: "there is no policy or roster to compare"}
	}
	if r, done := classifyRosters(oldRoster, newRoster); done {
		return r
	}
	if err := cmp.Or(wellTyped(old), wellTyped(new)); err != nil {
		return Result{Class: Unknown, Reason: err.Error()}
	}
	if renamed(old, new) {
		return Result{Class: Unknown, Reason: "the arguments of a declared method have other names now"}
	}
	if name, ok := collide(old, new); ok {
		return Result{Class: Unknown, Reason: "calls of " + name + " could be of another declared method"}
	}
	c := compare(old, new, oldRoster, newRoster, budget)
	if name, ok := c.forgotten(); ok {
		return Result{Class: Loosening, Reason: fmt.Sprintf("the invariant %s is not promised any more", name)}
	}
	return c.class()
}

// class searches twice: first without looking into the lists, which is enough when
// what differs only adds to what they have in common, then with everything.
func (c *comparison) class() Result {
	tightens := Result{Class: Tightening, Reason: "nothing passes that did not pass before"}
	if c.solve(c.wider) == unsat {
		return tightens
	}
	if !c.finish() {
		return Result{Class: Unknown, Reason: "the policies are too large to compare"}
	}
	switch x, a := c.search(); a {
	case unsat:
		return tightens
	case sat:
		return Result{Class: Loosening, Reason: "newly allowed: " + x.Words, Example: x}
	}
	return Result{Class: Unknown, Reason: c.doubt()}
}

// doubt says why there is no answer: the conditions outside the fragment that the
// models with no example rested on.
func (c *comparison) doubt() string {
	if c.steps <= 0 {
		return "the comparison takes too many steps"
	}
	var words []string
	for _, o := range c.opaques {
		if !slices.Contains(words, o.words) && len(words) < 4 {
			words = append(words, o.words)
		}
	}
	if len(words) == 0 {
		return "what might pass newly was not found to be possible, nor to be impossible"
	}
	return "not understood: " + strings.Join(words, "; ")
}

// forgotten finds an invariant of the old policy that the new one does not state.
func (c *comparison) forgotten() (string, bool) {
	now := *c.new
	now.view = &view{model: c.model, doc: c.new.doc, roster: c.oldRoster, worth: c.new.worth, assets: c.new.assets}
	for i := range c.old.doc.Invariants {
		v := &c.old.doc.Invariants[i]
		key := c.old.key(&v.When, nil)
		if !slices.ContainsFunc(c.new.doc.Invariants, func(n policy.Invariant) bool {
			return n.AtLeast == v.AtLeast && now.key(&n.When, nil) == key
		}) {
			return v.Name, true
		}
	}
	return "", false
}

// wellTyped guards against documents that were never checked.
func wellTyped(d *policy.Document) error {
	check := func(name string, e *policy.Expr) error {
		if t, err := d.Type(e); err != nil || t != policy.TypeBool {
			return fmt.Errorf("%s is no condition", name)
		}
		return nil
	}
	for i := range d.Guards {
		if err := check(d.Guards[i].Name, &d.Guards[i].When); err != nil {
			return err
		}
	}
	for i := range d.Rules {
		if err := check(d.Rules[i].Name, &d.Rules[i].When); err != nil {
			return err
		}
	}
	for i := range d.Invariants {
		if err := check(d.Invariants[i].Name, &d.Invariants[i].When); err != nil {
			return err
		}
	}
	return nil
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
