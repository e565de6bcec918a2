package identity

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// roled is sample with roles: alice proposes, bob and carol approve, dave has none,
// the bot proposes and freezes.
func roled(t testing.TB) *Roster {
	t.Helper()
	ro := sample(t)
	ro.Roles = []Role{{"approver", Approve | View}, {"breaker", Freeze}, {"proposer", Propose | View}}
	for id, roles := range map[string][]string{"alice": {"proposer"}, "bob": {"approver", "proposer"}, "bot": {"breaker", "proposer"}, "carol": {"approver"}} {
		p, _ := ro.Principal(id)
		p.Roles = roles
	}
	ro.Origins = []string{"http://localhost:8420", "https://coffer.example"}
	if err := ro.Check(); err != nil {
		t.Fatal(err)
	}
	return ro
}

func TestRoledRosterRoundTrips(t *testing.T) {
	ro := roled(t)
	back, err := DecodeRoster(ro.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ro, back); diff != "" {
		t.Error(diff)
	}
	if back, err = ParseRosterJSON(ro.JSON()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ro, back); diff != "" {
		t.Error(diff)
	}
	if !ro.HasRole("bob", "approver") || ro.HasRole("alice", "approver") || ro.HasRole("zoe", "approver") {
		t.Error("HasRole is wrong")
	}
	for n, b := 0, ro.Encode(); n < len(b); n++ {
		if _, err := DecodeRoster(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes of a roster decode", n, len(b))
		}
	}
}

func TestMay(t *testing.T) {
	plain, ro := sample(t), roled(t)
	all := []Right{Propose, Approve, View, Freeze, Judge, Quote}
	for _, c := range []struct {
		id           string
		plain, roled []Right
	}{
		{"alice", []Right{Propose, Approve, View, Freeze}, []Right{Propose, View, Freeze}}, // an admin
		{"bob", []Right{Propose, Approve, View, Freeze}, []Right{Propose, Approve, View, Freeze}},
		{"bot", []Right{Propose, View}, []Right{Propose, View, Freeze}},
		{"dave", []Right{Propose, Approve, View}, nil},
		{"screening", []Right{View, Judge}, []Right{Judge}},
		{"ticker", []Right{View, Quote}, []Right{Quote}},
		{"zoe", nil, nil},
	} {
		for _, r := range all {
			if got := plain.May(c.id, r); got != slices.Contains(c.plain, r) {
				t.Errorf("without roles %s may %v: %v", c.id, r, got)
			}
			if got := ro.May(c.id, r); got != slices.Contains(c.roled, r) {
				t.Errorf("with roles %s may %v: %v", c.id, r, got)
			}
		}
		if ro.May(c.id, 0) || ro.May(c.id, Propose|View) || ro.May(c.id, 1<<9) {
			t.Errorf("%s may what is no single right", c.id)
		}
	}
	// A service cannot approve, whatever its role says.
	bot, _ := ro.Principal("bot")
	bot.Roles = []string{"approver"}
	if ro.May("bot", Approve) {
		t.Error("a role lets a service approve")
	}
}

// TestRolesInABundle: what a role does not say is refused by name.
func TestRolesInABundle(t *testing.T) {
	ro := roled(t)
	b := proposal(t, "alice")
	b.Approvals = []request.Approval{approval(b, "bob", true), approval(b, "carol", true)}
	if _, err := ro.CheckBundle(b, cluster, now); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want, fix string }{
		{"dave", "approvals[0]: dave has no role, and may not approve", "one of bob, carol"},
		{"alice", "approvals[0]: alice has the role proposer, and may not approve", "one of bob, carol"},
	} {
		b.Approvals = []request.Approval{approval(b, c.name, true)}
		_, err := ro.CheckBundle(b, cluster, now)
		if r := refusal.As(err); r == nil || r.Code != "identity.role" || r.Detail != c.want || r.Fix != c.fix {
			t.Errorf("%s approves: %v", c.name, err)
		}
	}
	if _, err := ro.CheckBundle(proposal(t, "carol"), cluster, now); refusal.As(err) == nil || refusal.As(err).Code != "identity.role" {
		t.Errorf("carol proposes: %v", err)
	}
	carol, _ := ro.Principal("carol")
	carol.Roles = []string{"approver", "breaker"}
	if _, err := ro.CheckBundle(proposal(t, "carol"), cluster, now); refusal.As(err) == nil || !strings.Contains(err.Error(), "carol has the roles approver, breaker, and may not propose") {
		t.Errorf("carol proposes: %v", err)
	}
}

func TestRolesAndOriginsRefuse(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Roster)
	}{
		{"role's name", `role: name "Approver"`, func(ro *Roster) { ro.Roles[0].Name = "Approver" }},
		{"role twice", `roles: "approver" comes after "approver"`, func(ro *Roster) { ro.Roles[1].Name = "approver" }},
		{"a role for nothing", "role breaker: may right-0x0", func(ro *Roster) { ro.Roles[1].May = 0 }},
		{"a role that judges", "role breaker: may give a risk verdict", func(ro *Roster) { ro.Roles[1].May = Judge }},
		{"a role that quotes", "role breaker: may quote prices", func(ro *Roster) { ro.Roles[1].May = Quote }},
		{"an unknown right", "role breaker: may right-0x8000", func(ro *Roster) { ro.Roles[1].May = 1 << 15 }},
		{"65 roles", "65 roles, at most 64", func(ro *Roster) { ro.Roles = make([]Role, 65) }},
		{"an unknown role", `principal alice: there is no role "king"`, func(ro *Roster) { ro.Principals[0].Roles = []string{"king"} }},
		{"a role twice", `principal alice: role "proposer" comes after "proposer"`, func(ro *Roster) { ro.Principals[0].Roles = []string{"proposer", "proposer"} }},
		{"17 origins", "17 origins, at most 16", func(ro *Roster) { ro.Origins = make([]string, 17) }},
		{"origin twice", `origins: "https://a.example" comes after "https://a.example"`, func(ro *Roster) { ro.Origins = []string{"https://a.example", "https://a.example"} }},
	} {
		ro := roled(t)
		c.change(ro)
		err := ro.Check()
		if r := refusal.As(err); r == nil || r.Code != "roster.invalid" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if _, err := DecodeRoster(ro.Encode()); err == nil {
			t.Errorf("%s: its encoding decodes", c.name)
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, o := range []string{"https://coffer.example", "https://a-b.coffer.example:8443", "http://localhost", "http://localhost:8420", "https://localhost", "https://xn--mnchen-3ya.example"} {
		if err := checkOrigin(o); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	for o, want := range map[string]string{
		"": "want https://HOST", "coffer.example": "want https://HOST", "ftp://coffer.example": "want https://HOST",
		"http://coffer.example": "http is for localhost only", "http://localhost.evil.example": "http is for localhost only",
		"https://": "host: want a domain name", "https://Coffer.example": "lower case", "https://coffer.example/": "host: want", "https://coffer..example": "host: want",
		"https://coffer.example:443": "not the scheme's own", "http://localhost:80": "not the scheme's own", "https://coffer.example:": "want a port",
		"https://coffer.example:0": "want a port", "https://coffer.example:08": "want a port", "https://coffer.example:65536": "want a port", "https://coffer.example:8443/x": "want a port",
		"https://127.0.0.1": "not an address", "https://user@coffer.example": "host: want", "https://-a.example": "host: want", "https://münchen.example": "host: want",
		"https://" + strings.Repeat("a.", 130) + "example": "at most 255", "android:apk-key-hash:x": "want https://HOST",
	} {
		if err := checkOrigin(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", o, err, want)
		}
	}
}

func TestRolesJSONErrors(t *testing.T) {
	key := public("alice").String()
	text := func(principal, rest string) string {
		return "{\n\"principals\": [{\"id\": \"alice\", \"kind\": \"person\", \"credentials\": [\"" + key + "\"]" + principal + "}],\n\"groups\": {\"admins\": [\"alice\"]}, \"adminQuorum\": 1" + rest + "}"
	}
	if _, err := ParseRosterJSON([]byte(text(`, "roles": ["trader"]`, `, "roles": {"trader": ["propose", "view"]}, "origins": ["https://a.example"]`))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{text(`, "roles": ["tradr"]`, `, "roles": {"trader": ["propose"]}`), `line 2: principals[0].roles[0]: "tradr" is not one of the roles; did you mean "trader"?`},
		{text(`, "roles": [1]`, `, "roles": {"trader": ["propose"]}`), "this is a number, want the name of a role"},
		{text("", `, "roles": {"trader": ["prpose"]}`), `roles.trader[0]: "prpose" is not one of "propose", "approve", "view", "freeze"; did you mean "propose"?`},
		{text("", `, "roles": {"trader": ["judge"]}`), `"judge" is not one of`},
		{text("", `, "roles": []`), "roles: this is a list, want an object of roles"},
		{text("", `, "origins": ["http://a.example"]`), "origins[0]: \"http://a.example\": http is for localhost only"},
		{text("", `, "origins": [1]`), "origins[0]: this is a number, want an origin"},
	} {
		if _, err := ParseRosterJSON([]byte(c.text)); err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want only %s", c.text, err, c.want)
		}
	}
}

func TestRightNames(t *testing.T) {
	for r, want := range map[Right]string{Propose: "propose", Approve | View: "approve, view", Judge: "give a risk verdict", 0: "right-0x0", 1 << 15: "right-0x8000"} {
		if r.String() != want {
			t.Errorf("%d is %s, want %s", r, r, want)
		}
	}
}
