package identity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Kind says what may act under a principal's name.
type Kind uint8

// The kinds. A person proposes, approves and governs; a service proposes; a risk
// engine gives verdicts, a price source quotes.
const (
	Person  Kind = 1
	Service Kind = 2
	Risk    Kind = 3
	Source  Kind = 4
)

func (k Kind) String() string {
	switch k {
	case Person:
		return "person"
	case Service:
		return "service"
	case Risk:
		return "risk"
	case Source:
		return "price"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Principal is someone who can sign, with all the keys that sign for them.
type Principal struct {
	ID          string // a name (wire.CheckName)
	Kind        Kind
	Credentials []signature.PublicKey // sorted by their encoding; a key has one owner
	Roles       []string              // sorted; of the roster's
}

// Group is a set of principals that policy speaks of.
type Group struct {
	Name    string
	Members []string // sorted
}

// Admins is the group that governs; it exists in every roster.
const Admins = "admins"

// Roster is everyone who can sign, at one version of the governance.
type Roster struct {
	Principals  []Principal // sorted by ID
	Groups      []Group     // sorted by name
	AdminQuorum uint8       // how many admins must sign a change
	Origins     []string    // sorted: the web pages where passkeys may sign, "https://coffer.example"
	Roles       []Role      // sorted by name; none: everybody may do what their kind may

	Confirms Confirms // not encoded; nil: signature.Verify alone
}

// Confirms is a quicker way to a yes: it says true only of a signature that
// signature.Verify takes. Of the others signature.Verify is asked.
type Confirms func(key signature.PublicKey, st signature.Statement, sig signature.Signature) bool

// Confirming is the same roster, with a quicker way to a yes.
func (ro *Roster) Confirming(f Confirms) *Roster {
	c := *ro
	c.Confirms = f
	return &c
}

const rosterVersion = 2

// Bounds of a Roster.
const (
	MaxRoster      = 512 << 10 // bytes of its encoding
	MaxPrincipals  = 1024
	MaxCredentials = 16 // of one principal
	MaxGroups      = 128
	MaxOrigins     = 16
	MaxRoles       = 64
)

// Encode is the canonical encoding.
func (ro *Roster) Encode() []byte {
	w := wire.NewWriter(rosterVersion).Count(len(ro.Principals))
	for i := range ro.Principals {
		p := &ro.Principals[i]
		w.String(p.ID).Uint8(uint8(p.Kind)).Count(len(p.Credentials))
		for _, k := range p.Credentials {
			signature.WriteKey(w, k)
		}
		writeStrings(w, p.Roles)
	}
	w.Count(len(ro.Groups))
	for _, g := range ro.Groups {
		writeStrings(w.String(g.Name), g.Members)
	}
	writeStrings(w.Uint8(ro.AdminQuorum), ro.Origins)
	w.Count(len(ro.Roles))
	for _, x := range ro.Roles {
		w.String(x.Name).Uint16(uint16(x.May))
	}
	return w.Bytes()
}

func writeStrings(w *wire.Writer, list []string) {
	w.Count(len(list))
	for _, s := range list {
		w.String(s)
	}
}

// DecodeRoster is the inverse of Encode. What it returns passes Check.
func DecodeRoster(b []byte) (*Roster, error) {
	r := wire.NewReader(b, rosterVersion)
	if len(b) > MaxRoster {
		r.Failf("%d bytes, at most %d", len(b), MaxRoster)
	}
	ro := new(Roster)
	for range r.Count("principals", MaxPrincipals, 13) {
		p := Principal{ID: r.Name("principal"), Kind: Kind(r.Uint8("kind"))}
		for range r.Count("credentials", MaxCredentials, 8) {
			p.Credentials = append(p.Credentials, signature.ReadKey(r, "credential"))
		}
		for range r.Count("roles", MaxRoles, 4) {
			p.Roles = append(p.Roles, r.Name("role"))
		}
		ro.Principals = append(ro.Principals, p)
	}
	for range r.Count("groups", MaxGroups, 8) {
		g := Group{Name: r.Name("group")}
		for range r.Count("members", MaxPrincipals, 4) {
			g.Members = append(g.Members, r.Name("member"))
		}
		ro.Groups = append(ro.Groups, g)
	}
	ro.AdminQuorum = r.Uint8("admin quorum")
	for range r.Count("origins", MaxOrigins, 4) {
		ro.Origins = append(ro.Origins, r.String("origin", maxOrigin))
	}
	for range r.Count("roles", MaxRoles, 6) {
		ro.Roles = append(ro.Roles, Role{r.Name("role"), Right(r.Uint16("may"))})
	}
	err := r.Done()
	if err == nil {
		err = ro.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode roster: %w", err)
	}
	return ro, nil
}

// Root names this exact roster.
func (ro *Roster) Root() [32]byte { return wire.Hash("coffer/roster/v2", ro.Encode()) }

// Sort puts everything in the order of the encoding.
func (ro *Roster) Sort() {
	slices.SortFunc(ro.Principals, func(a, b Principal) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range ro.Principals {
		slices.SortFunc(p.Credentials, compareKeys)
		slices.Sort(p.Roles)
	}
	slices.SortFunc(ro.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	for _, g := range ro.Groups {
		slices.Sort(g.Members)
	}
	slices.Sort(ro.Origins)
	slices.SortFunc(ro.Roles, func(a, b Role) int { return cmp.Compare(a.Name, b.Name) })
}

func compareKeys(a, b signature.PublicKey) int {
	return cmp.Compare(string(a.Bytes()), string(b.Bytes()))
}

// Check says whether the roster can govern: everything named exists, once, in
// order. The error is a *refusal.Refusal.
func (ro *Roster) Check() error {
	if len(ro.Principals) > MaxPrincipals || len(ro.Groups) > MaxGroups {
		return refuse("", "%d principals and %d groups, at most %d and %d", len(ro.Principals), len(ro.Groups), MaxPrincipals, MaxGroups)
	}
	if err := ro.checkRoles(); err != nil {
		return err
	}
	if err := ro.checkOrigins(); err != nil {
		return err
	}
	owner := make(map[signature.PublicKey]string)
	for i := range ro.Principals {
		if i > 0 && ro.Principals[i-1].ID >= ro.Principals[i].ID {
			return refuse("principals with different ids, sorted", "principals: %q comes after %q", ro.Principals[i].ID, ro.Principals[i-1].ID)
		}
		if err := ro.Principals[i].check(owner); err != nil {
			return err
		}
		if err := ro.checkRolesOf(&ro.Principals[i]); err != nil {
			return err
		}
	}
	for i := range ro.Groups {
		if i > 0 && ro.Groups[i-1].Name >= ro.Groups[i].Name {
			return refuse("groups with different names, sorted", "groups: %q comes after %q", ro.Groups[i].Name, ro.Groups[i-1].Name)
		}
		if err := ro.checkGroup(&ro.Groups[i]); err != nil {
			return err
		}
	}
	if err := ro.checkPasskeys(); err != nil {
		return err
	}
	return ro.checkAdmins()
}

func refuse(fix, format string, args ...any) error {
	return refusal.Newf("roster.invalid", fix, format, args...)
}

// check also enters the principal's keys into owner.
func (p *Principal) check(owner map[signature.PublicKey]string) error {
	if err := wire.CheckName(p.ID); err != nil {
		return refuse("", "principal: %v", err)
	}
	if p.Kind < Person || p.Kind > Source {
		return refuse("", "principal %s: kind %d, want 1 (person), 2 (service), 3 (risk) or 4 (price)", p.ID, p.Kind)
	}
	if len(p.Credentials) == 0 || len(p.Credentials) > MaxCredentials {
		return refuse("", "principal %s: %d credentials, want 1 to %d", p.ID, len(p.Credentials), MaxCredentials)
	}
	for i, k := range p.Credentials {
		if _, err := signature.ParsePublicKey(k.Algorithm, []byte(k.Key)); err != nil {
			return refuse("", "principal %s: credentials[%d]: %v", p.ID, i, err)
		}
		if other, taken := owner[k.Own()]; taken {
			return refuse("a key of its own for each of them", "principal %s: the key %s belongs to %s already", p.ID, k, other)
		}
		if i > 0 && compareKeys(p.Credentials[i-1], k) > 0 {
			return refuse("credentials sorted by their encoding", "principal %s: credentials[%d] is out of order", p.ID, i)
		}
		owner[k.Own()] = p.ID
	}
	return nil
}

func (ro *Roster) checkGroup(g *Group) error {
	if err := wire.CheckName(g.Name); err != nil {
		return refuse("", "group: %v", err)
	}
	for i, m := range g.Members {
		if _, ok := ro.Principal(m); !ok {
			return refuse("a member that is a principal of this roster", "group %s: member %q is not a principal", g.Name, m)
		}
		if i > 0 && g.Members[i-1] >= m {
			return refuse("different members, sorted", "group %s: member %q comes after %q", g.Name, m, g.Members[i-1])
		}
	}
	return nil
}

func (ro *Roster) checkAdmins() error {
	members := ro.Members(Admins)
	for _, m := range members {
		if p, _ := ro.Principal(m); p.Kind != Person {
			return refuse("persons as admins", "group admins: %s is a %s", m, p.Kind)
		}
	}
	if len(members) == 0 {
		return refuse("a group admins with at least one person", "there is no group admins with a member: nobody could change anything")
	}
	if ro.AdminQuorum == 0 || int(ro.AdminQuorum) > len(members) {
		return refuse(fmt.Sprintf("an admin quorum of 1 to %d", len(members)), "admin quorum %d of %d admins", ro.AdminQuorum, len(members))
	}
	return nil
}

// Principal finds a principal by id.
func (ro *Roster) Principal(id string) (*Principal, bool) {
	i, ok := slices.BinarySearchFunc(ro.Principals, id, func(p Principal, id string) int { return cmp.Compare(p.ID, id) })
	if !ok {
		return nil, false
	}
	return &ro.Principals[i], true
}

// HasGroup reports whether the group exists.
func (ro *Roster) HasGroup(name string) bool {
	_, ok := ro.group(name)
	return ok
}

func (ro *Roster) group(name string) (*Group, bool) {
	i, ok := slices.BinarySearchFunc(ro.Groups, name, func(g Group, name string) int { return cmp.Compare(g.Name, name) })
	if !ok {
		return nil, false
	}
	return &ro.Groups[i], true
}

// Members returns the members of a group, sorted; none if there is no such group.
func (ro *Roster) Members(group string) []string {
	if g, ok := ro.group(group); ok {
		return g.Members
	}
	return nil
}

// InGroup reports whether the principal is a member of the group.
func (ro *Roster) InGroup(id, group string) bool {
	_, ok := slices.BinarySearch(ro.Members(group), id)
	return ok
}

// Owner finds the principal that a key belongs to.
func (ro *Roster) Owner(key signature.PublicKey) (*Principal, bool) {
	for i := range ro.Principals {
		if slices.Contains(ro.Principals[i].Credentials, key) {
			return &ro.Principals[i], true
		}
	}
	return nil, false
}

// Verify checks that sig is the principal's, by one of their keys, over st. The
// error is a *refusal.Refusal.
func (ro *Roster) Verify(principal string, key signature.PublicKey, st signature.Statement, sig signature.Signature) error {
	p, ok := ro.Principal(principal)
	if !ok {
		return refusal.Newf("identity.principal", "a principal of the roster: "+ro.names(func(*Principal) bool { return true }),
			"%q is not in the roster", wire.CleanText(principal, 80))
	}
	if !slices.Contains(p.Credentials, key) {
		return refusal.Newf("identity.key", "a signature by a key that the roster lists for "+principal,
			"the key %s is not one of the %d keys of %s", key.Fingerprint(), len(p.Credentials), principal)
	}
	if ro.Confirms != nil && !key.Algorithm.IsPasskey() && ro.Confirms(key, st, sig) {
		return nil
	}
	if err := signature.Verify(key, st, sig); err != nil {
		return refusal.Newf("identity.signature", "a signature by "+principal+" over exactly this content",
			"the signature of %s for %q does not verify under the key %s%s", principal, st.Domain, key.Fingerprint(), passkeyFault(key, err))
	}
	if key.Algorithm.IsPasskey() {
		return ro.verifyOrigin(principal, key, sig)
	}
	return nil
}

// some names up to eight principals that may do this.
func (ro *Roster) some(right Right) string {
	return ro.names(func(p *Principal) bool { return ro.May(p.ID, right) })
}

func (ro *Roster) names(pass func(*Principal) bool) string {
	var names []string
	for i := range ro.Principals {
		if !pass(&ro.Principals[i]) {
			continue
		}
		if len(names) == 8 {
			return strings.Join(names, ", ") + ", …"
		}
		names = append(names, ro.Principals[i].ID)
	}
	return strings.Join(names, ", ")
}
