package identity

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

// keyed is sample in which bob has a security key and carol a synced passkey.
func keyed(t testing.TB) (*Roster, *passkeytest.Authenticator, *passkeytest.Authenticator) {
	t.Helper()
	ro := sample(t)
	bob := passkeytest.New(signature.WebAuthnP256, "bob", "coffer.example")
	carol := passkeytest.New(signature.WebAuthnEd25519, "carol", "coffer.example")
	carol.Synced = true
	carol.Origin = "https://desk.coffer.example"
	for id, x := range map[string]*passkeytest.Authenticator{"bob": bob, "carol": carol} {
		p, _ := ro.Principal(id)
		p.Credentials = append(p.Credentials, x.Public())
	}
	ro.Origins = []string{"https://coffer.example", "https://desk.coffer.example", "https://other.example"}
	ro.Sort()
	if err := ro.Check(); err != nil {
		t.Fatal(err)
	}
	return ro, bob, carol
}

func passApproval(b *request.Bundle, who string, x *passkeytest.Authenticator) request.Approval {
	a := request.Approval{Request: b.Request.ID(), Principal: who, Approve: true, Time: now - 1000, Expires: b.Request.Expires, Key: x.Public()}
	a.Signature = x.Sign(a.Statement())
	return a
}

func TestPasskeysApprove(t *testing.T) {
	ro, bob, carol := keyed(t)
	b := proposal(t, "bob")
	b.ProposeKey, b.ProposeSignature = bob.Public(), bob.Sign(request.ProposeStatement(b.Request.ID()))
	b.Approvals = []request.Approval{passApproval(b, "bob", bob), passApproval(b, "carol", carol)}
	v, err := ro.CheckBundle(b, cluster, now)
	if err != nil || v.Initiator != "bob" || strings.Join(v.Approvers, " ") != "bob carol" {
		t.Fatalf("%+v, %v", v, err)
	}
	if back, err := request.DecodeBundle(b.Encode()); err != nil || string(back.Encode()) != string(b.Encode()) {
		t.Error(err)
	}
	for _, c := range []struct {
		name, code, want string
		approve          func() request.Approval
	}{
		{"another's passkey", "identity.key", "is not one of the 3 keys of bob", func() request.Approval { return passApproval(b, "bob", carol) }},
		{"bob's passkey as a plain key", "identity.key", "is not one of the 3 keys", func() request.Approval {
			a := passApproval(b, "bob", bob)
			a.Key = a.Key.Own()
			return a
		}},
		{"no user verification", "identity.signature", "no user verification", func() request.Approval {
			x := bob.Clone()
			x.Flags = passkeytest.Present
			return passApproval(b, "bob", x)
		}},
		{"another page", "identity.origin", `bob signed with a passkey on "https://evil.example", which is no origin`, func() request.Approval {
			x := bob.Clone()
			x.Origin = "https://evil.example"
			return passApproval(b, "bob", x)
		}},
		{"a page below the origins", "identity.origin", "https://x.coffer.example", func() request.Approval {
			x := bob.Clone()
			x.Origin = "https://x.coffer.example"
			return passApproval(b, "bob", x)
		}},
		{"an origin of another relying party", "identity.origin", "https://other.example", func() request.Approval {
			x := bob.Clone()
			x.Origin = "https://other.example"
			return passApproval(b, "bob", x)
		}},
		{"an approval over another request", "identity.signature", "signed the challenge", func() request.Approval {
			a := passApproval(b, "bob", bob)
			other := passApproval(proposal(t, "alice"), "bob", bob)
			a.Signature = other.Signature
			return a
		}},
		{"a yes made of a no", "identity.signature", "signed the challenge", func() request.Approval {
			a := passApproval(b, "bob", bob)
			a.Approve = false
			a.Signature = bob.Sign(a.Statement())
			a.Approve = true
			return a
		}},
	} {
		b.Approvals = []request.Approval{c.approve()}
		_, err := ro.CheckBundle(b, cluster, now)
		if r := refusal.As(err); r == nil || r.Code != c.code || !strings.Contains(r.Detail, c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.code, c.want)
		}
	}
	// With passkey and key he is one person.
	b.Approvals = []request.Approval{approval(b, "bob", true), passApproval(b, "bob", bob)}
	if _, err := ro.CheckBundle(b, cluster, now); refusal.As(err) == nil || refusal.As(err).Code != "approval.duplicate" {
		t.Errorf("approving with key and passkey: %v", err)
	}
}

// TestRevocation: what a credential signed before it was taken away counts for
// nothing afterwards.
func TestRevocation(t *testing.T) {
	ro, bob, _ := keyed(t)
	b := proposal(t, "alice")
	b.Approvals = []request.Approval{passApproval(b, "bob", bob)}
	if _, err := ro.CheckBundle(b, cluster, now); err != nil {
		t.Fatal(err)
	}
	if _, err := sample(t).CheckBundle(b, cluster, now); refusal.As(err) == nil || refusal.As(err).Code != "identity.key" {
		t.Errorf("a revoked passkey approves: %v", err)
	}
}

func TestPasskeysInARoster(t *testing.T) {
	ro, bob, _ := keyed(t)
	back, err := ParseRosterJSON(ro.JSON())
	if err != nil || back.Root() != ro.Root() {
		t.Fatalf("%v\n%s", err, ro.JSON())
	}
	for _, c := range []struct {
		name, want string
		change     func(*Roster)
	}{
		{"no origins", "belongs to none of the 0 origins", func(ro *Roster) { ro.Origins = nil }},
		{"another's origins", "belongs to none of the 1 origins", func(ro *Roster) { ro.Origins = []string{"https://other.example"} }},
		{"a parent's origin", "belongs to none of the 1 origins", func(ro *Roster) { ro.Origins = []string{"https://example"} }},
		{"the same key plain, at somebody else's", "belongs to bob already", func(ro *Roster) {
			p, _ := ro.Principal("dave")
			p.Credentials = []signature.PublicKey{bob.Public().Own()}
		}},
		{"the same key twice, for two sites", "belongs to bob already", func(ro *Roster) {
			p, _ := ro.Principal("bob")
			k, _ := signature.Passkey(bob.Public().Own(), "other.example")
			p.Credentials = append(p.Credentials, k)
			ro.Sort()
		}},
	} {
		ro, _, _ := keyed(t)
		c.change(ro)
		if err := ro.Check(); refusal.As(err) == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
