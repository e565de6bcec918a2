package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// Right is one thing that a principal may do, or a set of them.
type Right uint16

// The rights. Governing is not among them: the group admins governs.
const (
	Propose   Right = 1 << iota // propose transactions, and take back one's own
	Approve                     // approve and deny them
	View                        // read: no vault asks for it, the API does
	Freeze                      // freeze wallets (governance.md); admins always may
	Judge                       // give risk verdicts
	Quote                       // quote prices
	allRights Right = 1<<iota - 1
)

var rightNames = []string{"propose", "approve", "view", "freeze", "give a risk verdict", "quote prices"}

// rightWords are what stands in the form for people.
var rightWords = []string{"propose", "approve", "view", "freeze", "judge", "quote"}

func (r Right) String() string {
	var out []string
	for i, n := range rightNames {
		if r&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	if r == 0 || r&^allRights != 0 {
		out = append(out, fmt.Sprintf("right-%#x", uint16(r&^allRights)))
	}
	return strings.Join(out, ", ")
}

// Words are the rights as they stand in the form for people.
func (r Right) Words() []string {
	var out []string
	for i, n := range rightWords {
		if r&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// kindRights is the most that a kind of principal may do, whatever its roles.
func kindRights(k Kind) Right {
	switch k {
	case Person:
		return Propose | Approve | View | Freeze
	case Service:
		return Propose | View | Freeze
	case Risk:
		return Judge | View
	case Source:
		return Quote | View
	}
	return 0
}

// Role is a name for what its holders may do.
type Role struct {
	Name string
	May  Right
}

// May reports whether a principal may do this. In a roster without roles everybody
// may do what their kind may, and freezing is for admins. In a roster with roles a
// person or a service may do what one of their roles says and their kind allows;
// who has none may nothing. Engines and sources judge and quote in any case: they
// have no authority that a role could take.
func (ro *Roster) May(id string, right Right) bool {
	p, ok := ro.Principal(id)
	if !ok || right == 0 || right&(right-1) != 0 || kindRights(p.Kind)&right == 0 {
		return false
	}
	switch {
	case right == Judge || right == Quote:
		return true
	case right == Freeze && ro.InGroup(id, Admins):
		return true
	case len(ro.Roles) == 0:
		return right != Freeze
	}
	for _, name := range p.Roles {
		if r, ok := ro.Role(name); ok && r.May&right != 0 {
			return true
		}
	}
	return false
}

// Role finds a role by name.
func (ro *Roster) Role(name string) (*Role, bool) {
	i, ok := slices.BinarySearchFunc(ro.Roles, name, func(r Role, n string) int { return strings.Compare(r.Name, n) })
	if !ok {
		return nil, false
	}
	return &ro.Roles[i], true
}

// HasRole reports whether the principal holds the role.
func (ro *Roster) HasRole(id, role string) bool {
	p, ok := ro.Principal(id)
	if !ok {
		return false
	}
	_, ok = slices.BinarySearch(p.Roles, role)
	return ok
}

func (ro *Roster) checkRoles() error {
	if len(ro.Roles) > MaxRoles {
		return refuse("", "%d roles, at most %d", len(ro.Roles), MaxRoles)
	}
	for i, r := range ro.Roles {
		if err := wire.CheckName(r.Name); err != nil {
			return refuse("", "role: %v", err)
		}
		if i > 0 && ro.Roles[i-1].Name >= r.Name {
			return refuse("roles with different names, sorted", "roles: %q comes after %q", r.Name, ro.Roles[i-1].Name)
		}
		if r.May&^(Propose|Approve|View|Freeze) != 0 || r.May == 0 {
			return refuse("one or more of propose, approve, view and freeze", "role %s: may %s", r.Name, r.May)
		}
	}
	return nil
}

func (ro *Roster) checkRolesOf(p *Principal) error {
	for i, name := range p.Roles {
		if _, ok := ro.Role(name); !ok {
			return refuse("a role of this roster", "principal %s: there is no role %q", p.ID, wire.CleanText(name, 80))
		}
		if i > 0 && p.Roles[i-1] >= name {
			return refuse("different roles, sorted", "principal %s: role %q comes after %q", p.ID, name, p.Roles[i-1])
		}
	}
	return nil
}
