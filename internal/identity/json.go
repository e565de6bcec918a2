package identity

import (
	"slices"

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/signature"
)

// ParseRosterJSON reads the form that JSON writes (docs/spec/roster.md). Errors name
// line and field.
func ParseRosterJSON(data []byte) (*Roster, error) {
	v, err := form.Parse(data)
	if err != nil {
		return nil, err
	}
	v.Fields("principals", "groups", "adminQuorum", "origins", "roles")
	ro := new(Roster)
	parseRoles(v, ro)
	if o, ok := v.Lookup("origins"); ok {
		for _, x := range o.Items(`a list of origins, such as ["https://coffer.example"]`) {
			s := x.Text("an origin, such as https://coffer.example")
			if err := checkOrigin(s); err != nil && x.IsText() {
				x.Fail("%v", err)
			}
			ro.Origins = append(ro.Origins, s)
		}
	}
	ids := make(map[string]bool)
	for _, p := range v.Get("principals").Items("a list of principals") {
		ro.Principals = append(ro.Principals, parsePrincipal(p, ids, ro))
	}
	v.Get("groups").Each(`an object of groups and their members, such as {"admins": ["alice"]}`, func(name string, members *form.Value) {
		g := Group{Name: name}
		for _, m := range members.Items("a list of principals") {
			id := m.Text("the id of a principal")
			if !ids[id] && m.IsText() {
				m.Fail("%q is not one of the principals%s", id, form.Suggest(id, ro.ids()))
			}
			g.Members = append(g.Members, id)
		}
		ro.Groups = append(ro.Groups, g)
	})
	ro.AdminQuorum = uint8(v.Get("adminQuorum").Int(1, 255))
	if err := v.Err(); err != nil {
		return nil, err
	}
	ro.Sort()
	if err := ro.Check(); err != nil {
		return nil, err
	}
	return ro, nil
}

func (ro *Roster) ids() []string {
	var ids []string
	for i := range ro.Principals {
		ids = append(ids, ro.Principals[i].ID)
	}
	return ids
}

func parseRoles(v *form.Value, ro *Roster) {
	roles, ok := v.Lookup("roles")
	if !ok {
		return
	}
	roles.Each(`an object of roles and what they may, such as {"trader": ["propose", "view"]}`, func(name string, may *form.Value) {
		r := Role{Name: name}
		for _, m := range may.Items("a list of rights") {
			i := slices.Index(rightWords, m.Choice("propose", "approve", "view", "freeze"))
			if i >= 0 {
				r.May |= 1 << i
			}
		}
		ro.Roles = append(ro.Roles, r)
	})
}

func (ro *Roster) roleNames() []string {
	var names []string
	for _, r := range ro.Roles {
		names = append(names, r.Name)
	}
	return names
}

func parsePrincipal(v *form.Value, ids map[string]bool, ro *Roster) Principal {
	v.Fields("id", "kind", "credentials", "roles")
	p := Principal{ID: v.Get("id").Name("the id of a principal")}
	if ids[p.ID] {
		v.Get("id").Fail("there is a principal %q already", p.ID)
	}
	ids[p.ID] = true
	switch v.Get("kind").Choice("person", "service", "risk", "price") {
	case "person":
		p.Kind = Person
	case "service":
		p.Kind = Service
	case "risk":
		p.Kind = Risk
	case "price":
		p.Kind = Source
	}
	for _, c := range v.Get("credentials").Items("a list of public keys") {
		k, err := signature.ParseText(c.Text("a public key, such as ed25519:BASE64URL or webauthn-p256:BASE64URL"))
		if err != nil && c.IsText() {
			c.Fail("%v", err)
		}
		p.Credentials = append(p.Credentials, k)
	}
	if roles, ok := v.Lookup("roles"); ok {
		for _, x := range roles.Items("a list of roles") {
			name := x.Text("the name of a role")
			if names := ro.roleNames(); x.IsText() && !slices.Contains(names, name) {
				x.Fail("%q is not one of the roles%s", name, form.Suggest(name, names))
			}
			p.Roles = append(p.Roles, name)
		}
	}
	return p
}

// JSON is the roster for people; ParseRosterJSON reads it back.
func (ro *Roster) JSON() []byte {
	var principals []any
	for i := range ro.Principals {
		p := &ro.Principals[i]
		var keys []string
		for _, k := range p.Credentials {
			keys = append(keys, k.String())
		}
		o := form.Object{{Name: "id", Value: p.ID}, {Name: "kind", Value: p.Kind.String()}, {Name: "credentials", Value: form.Strings(keys)}}
		if len(p.Roles) > 0 {
			o = append(o, form.Field{Name: "roles", Value: form.Strings(p.Roles)})
		}
		principals = append(principals, o)
	}
	var groups, roles form.Object
	for _, g := range ro.Groups {
		groups = append(groups, form.Field{Name: g.Name, Value: form.Strings(g.Members)})
	}
	out := form.Object{{Name: "principals", Value: principals}, {Name: "groups", Value: groups}, {Name: "adminQuorum", Value: int(ro.AdminQuorum)}}
	if len(ro.Origins) > 0 {
		out = append(out, form.Field{Name: "origins", Value: form.Strings(ro.Origins)})
	}
	for _, r := range ro.Roles {
		roles = append(roles, form.Field{Name: r.Name, Value: form.Strings(r.May.Words())})
	}
	if len(roles) > 0 {
		out = append(out, form.Field{Name: "roles", Value: roles})
	}
	return form.Write(out)
}

// MarshalJSON writes the form for people.
func (ro *Roster) MarshalJSON() ([]byte, error) { return ro.JSON(), nil }
