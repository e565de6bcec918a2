package identity

import (
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
	v.Fields("principals", "groups", "adminQuorum")
	ro := new(Roster)
	ids := make(map[string]bool)
	for _, p := range v.Get("principals").Items("a list of principals") {
		ro.Principals = append(ro.Principals, parsePrincipal(p, ids))
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

func parsePrincipal(v *form.Value, ids map[string]bool) Principal {
	v.Fields("id", "kind", "credentials")
	p := Principal{ID: v.Get("id").Name("the id of a principal")}
	if ids[p.ID] {
		v.Get("id").Fail("there is a principal %q already", p.ID)
	}
	ids[p.ID] = true
	switch v.Get("kind").Choice("person", "service", "risk") {
	case "person":
		p.Kind = Person
	case "service":
		p.Kind = Service
	case "risk":
		p.Kind = Risk
	}
	for _, c := range v.Get("credentials").Items("a list of public keys") {
		k, err := signature.ParseText(c.Text("a public key, ed25519:BASE64URL or p256:BASE64URL"))
		if err != nil && c.IsText() {
			c.Fail("%v", err)
		}
		p.Credentials = append(p.Credentials, k)
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
		principals = append(principals, form.Object{{Name: "id", Value: p.ID}, {Name: "kind", Value: p.Kind.String()}, {Name: "credentials", Value: form.Strings(keys)}})
	}
	var groups form.Object
	for _, g := range ro.Groups {
		groups = append(groups, form.Field{Name: g.Name, Value: form.Strings(g.Members)})
	}
	return form.Write(form.Object{{Name: "principals", Value: principals}, {Name: "groups", Value: groups}, {Name: "adminQuorum", Value: int(ro.AdminQuorum)}})
}

// MarshalJSON writes the form for people.
func (ro *Roster) MarshalJSON() ([]byte, error) { return ro.JSON(), nil }
