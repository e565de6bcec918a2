package analysis

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/signature"
)

func testRoster() *identity.Roster {
	key := func(b byte) []signature.PublicKey {
		return []signature.PublicKey{{Algorithm: signature.Ed25519, Key: strings.Repeat(string(rune(b)), 32)}}
	}
	r := &identity.Roster{
		Principals: []identity.Principal{
			{ID: "alice", Kind: identity.Person, Credentials: key('a')},
			{ID: "bob", Kind: identity.Person, Credentials: key('b')},
			{ID: "carol", Kind: identity.Person, Credentials: key('c')},
			{ID: "robot", Kind: identity.Service, Credentials: key('r')},
			{ID: "screening", Kind: identity.Risk, Credentials: key('s')},
			{ID: "ticker", Kind: identity.Source, Credentials: key('t')},
		},
		Groups: []identity.Group{
			{Name: "admins", Members: []string{"alice", "bob", "carol"}},
			{Name: "traders", Members: []string{"bob", "robot"}},
			{Name: "treasurers", Members: []string{"alice", "bob", "carol"}},
		},
		AdminQuorum: 2,
	}
	r.Sort()
	return r
}

func TestClassifyRosters(t *testing.T) {
	doc := new(policy.Document)
	for _, c := range []struct {
		name   string
		change func(r *identity.Roster)
		want   Class
		reason string
	}{
		{"nothing", func(r *identity.Roster) {}, Tightening, "nothing passes"},
		{"a principal more", func(r *identity.Roster) { r.Principals[0].ID = "aaron" }, Loosening, "aaron is new"},
		{"a principal less", func(r *identity.Roster) { r.Principals = r.Principals[:5] }, Tightening, "nothing passes"},
		{"a key more", func(r *identity.Roster) {
			p := &r.Principals[1]
			p.Credentials = append(p.Credentials, signature.PublicKey{Algorithm: signature.Ed25519, Key: strings.Repeat("z", 32)})
		}, Loosening, "bob gets another key"},
		{"another kind", func(r *identity.Roster) { r.Principals[3].Kind = identity.Person }, Loosening, "robot becomes a person"},
		{"an admin more", func(r *identity.Roster) { r.Groups[0].Members = append(r.Groups[0].Members, "robot") }, Loosening, "robot becomes an admin"},
		{"an admin less", func(r *identity.Roster) { r.Groups[0].Members = r.Groups[0].Members[:2] }, 0, ""},
		{"a lower quorum", func(r *identity.Roster) { r.AdminQuorum = 1 }, Loosening, "1 admins govern instead of 2"},
		{"a higher quorum", func(r *identity.Roster) { r.AdminQuorum = 3 }, Tightening, ""},
		{"an origin", func(r *identity.Roster) { r.Origins = []string{"https://evil.example"} }, Loosening, "evil.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := testRoster()
			c.change(changed)
			got := Classify(doc, doc, testRoster(), changed)
			if c.want != 0 && got.Class != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("%s: %s, want %s: …%s…", got.Class, got.Reason, c.want, c.reason)
			}
		})
	}
	t.Run("a role that gives rights", func(t *testing.T) {
		before, after := testRoster(), testRoster()
		for _, r := range []*identity.Roster{before, after} {
			r.Roles = []identity.Role{{Name: "approver", May: identity.Approve}}
		}
		after.Principals[0].Roles = []string{"approver"}
		if got := Classify(doc, doc, before, after); got.Class != Loosening || got.Reason != "alice may approve" {
			t.Errorf("%s: %s", got.Class, got.Reason)
		}
		if got := Classify(doc, doc, after, before); got.Class != Tightening {
			t.Errorf("without the role: %s: %s", got.Class, got.Reason)
		}
	})
}
