package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

// Everyone signs with Ed25519; bob also has a P-256 key.

func edKey(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(id string) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(edKey(id).Public().(ed25519.PublicKey))}
}

func sign(id string, st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(edKey(id), d[:])}
}

func p256Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), big.NewInt(7).FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func p256Public(t testing.TB) signature.PublicKey {
	t.Helper()
	b, err := p256Key(t).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return signature.PublicKey{Algorithm: signature.P256, Key: string(b)}
}

func p256Sign(t testing.TB, st signature.Statement) signature.Signature {
	t.Helper()
	d := st.Digest()
	r, s, err := ecdsa.Sign(nil, p256Key(t), d[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	sig, err := signature.NormalizeP256(raw)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func sample(t testing.TB) *Roster {
	t.Helper()
	ro := &Roster{AdminQuorum: 2, Groups: []Group{
		{"admins", []string{"alice", "bob", "carol"}},
		{"approvers", []string{"bob", "carol", "dave"}},
	}}
	for _, id := range []string{"alice", "bob", "bot", "carol", "dave", "screening", "ticker"} {
		p := Principal{ID: id, Kind: Person, Credentials: []signature.PublicKey{public(id)}}
		switch id {
		case "bob":
			p.Credentials = append(p.Credentials, p256Public(t))
		case "bot":
			p.Kind = Service
		case "screening":
			p.Kind = Risk
		case "ticker":
			p.Kind = Source
		}
		ro.Principals = append(ro.Principals, p)
	}
	ro.Sort()
	if err := ro.Check(); err != nil {
		t.Fatal(err)
	}
	return ro
}

func TestRosterRoundTrips(t *testing.T) {
	ro := sample(t)
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
	changed := sample(t)
	changed.AdminQuorum = 3
	if changed.Root() == ro.Root() {
		t.Error("two rosters have the same root")
	}
}

func TestRosterRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Roster)
	}{
		{"id", `principal: name "Alice"`, func(ro *Roster) { ro.Principals[0].ID = "Alice" }},
		{"id twice", `"alice" comes after "alice"`, func(ro *Roster) { ro.Principals[1].ID = "alice" }},
		{"order", "principals with different ids, sorted", func(ro *Roster) { ro.Principals[0], ro.Principals[1] = ro.Principals[1], ro.Principals[0] }},
		{"kind", "principal dave: kind 5, want 1 (person)", func(ro *Roster) { ro.Principals[4].Kind = 5 }},
		{"kind 0", "kind 0", func(ro *Roster) { ro.Principals[4].Kind = 0 }},
		{"no key", "principal dave: 0 credentials, want 1 to 16", func(ro *Roster) { ro.Principals[4].Credentials = nil }},
		{"17 keys", "principal dave: 17 credentials", func(ro *Roster) { ro.Principals[4].Credentials = make([]signature.PublicKey, 17) }},
		{"too many principals", "1025 principals and 2 groups, at most 1024 and 128", func(ro *Roster) { ro.Principals = make([]Principal, MaxPrincipals+1) }},
		{"too many groups", "7 principals and 129 groups", func(ro *Roster) { ro.Groups = make([]Group, MaxGroups+1) }},
		{"bad key", "principal dave: credentials[0]: ed25519 key of 3 bytes", func(ro *Roster) { ro.Principals[4].Credentials = []signature.PublicKey{{Algorithm: 1, Key: "abc"}} }},
		{"shared key", "belongs to alice already", func(ro *Roster) { ro.Principals[4].Credentials = []signature.PublicKey{public("alice")} }},
		{"the same key twice", "belongs to dave already", func(ro *Roster) {
			ro.Principals[4].Credentials = []signature.PublicKey{public("dave"), public("dave")}
		}},
		{"keys out of order", "is out of order", func(ro *Roster) {
			k := ro.Principals[1].Credentials
			k[0], k[1] = k[1], k[0]
		}},
		{"group's name", `group: name ""`, func(ro *Roster) { ro.Groups[0].Name = "" }},
		{"group twice", `"admins" comes after "admins"`, func(ro *Roster) { ro.Groups[1].Name = "admins" }},
		{"stranger in a group", `group approvers: member "zoe" is not a principal`, func(ro *Roster) { ro.Groups[1].Members[2] = "zoe" }},
		{"member twice", `member "bob" comes after "bob"`, func(ro *Roster) { ro.Groups[1].Members[1] = "bob" }},
		{"no admins", "there is no group admins", func(ro *Roster) { ro.Groups = ro.Groups[1:] }},
		{"admins empty", "there is no group admins with a member", func(ro *Roster) { ro.Groups[0].Members = nil }},
		{"a service governs", "group admins: bot is a service", func(ro *Roster) { ro.Groups[0].Members = []string{"alice", "bob", "bot"} }},
		{"quorum 0", "admin quorum 0 of 3 admins (would pass: an admin quorum of 1 to 3)", func(ro *Roster) { ro.AdminQuorum = 0 }},
		{"quorum 4", "admin quorum 4 of 3 admins", func(ro *Roster) { ro.AdminQuorum = 4 }},
	} {
		ro := sample(t)
		c.change(ro)
		err := ro.Check()
		if r := refusal.As(err); r == nil || r.Code != "roster.invalid" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if _, err := DecodeRoster(ro.Encode()); err == nil {
			t.Errorf("%s: its encoding decodes", c.name)
		}
	}
	large := make([]byte, MaxRoster+1)
	large[0] = rosterVersion
	if _, err := DecodeRoster(large); err == nil || !strings.Contains(err.Error(), "524289 bytes, at most 524288") {
		t.Errorf("a roster above the bound: %v", err)
	}
	for n, b := 0, sample(t).Encode(); n < len(b); n++ {
		if _, err := DecodeRoster(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes of a roster decode", n, len(b))
		}
	}
}

func TestRosterJSONErrors(t *testing.T) {
	key := public("alice").String()
	roster := func(principals, rest string) string { return "{\n\"principals\": [" + principals + "],\n" + rest + "}" }
	alice := `{"id": "alice", "kind": "person", "credentials": ["` + key + `"]}`
	groups := `"groups": {"admins": ["alice"]}, "adminQuorum": 1`
	if _, err := ParseRosterJSON([]byte(roster(alice, groups))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"not JSON", "{", "line 1: not JSON"},
		{"no quorum", roster(alice, `"groups": {"admins": ["alice"]}`), `the field "adminQuorum" is missing`},
		{"unknown field", roster(alice, groups+`, "quorum": 2`), `line 3: quorum: unknown field`},
		{"kind", roster(strings.Replace(alice, "person", "human", 1), groups), `principals[0].kind: "human" is not one of "person", "service", "risk", "price"`},
		{"id twice", roster(alice+",\n"+alice, groups), `line 3: principals[1].id: there is a principal "alice" already`},
		{"key", roster(`{"id": "alice", "kind": "person", "credentials": ["ed25519:AAAA"]}`, groups), "line 2: principals[0].credentials[0]: ed25519 key of 3 bytes, want 32"},
		{"key's algorithm", roster(`{"id": "alice", "kind": "person", "credentials": ["rsa:AAAA"]}`, groups), `unknown algorithm "rsa", want ed25519, p256, rsa3072, webauthn-p256 or webauthn-ed25519`},
		{"key that is a number", roster(`{"id": "alice", "kind": "person", "credentials": [1]}`, groups), "principals[0].credentials[0]: this is a number, want a public key"},
		{"member", roster(alice, `"groups": {"admins": ["alcie"]}, "adminQuorum": 1`), `line 3: groups.admins[0]: "alcie" is not one of the principals; did you mean "alice"?`},
		{"member that is a number", roster(alice, `"groups": {"admins": ["alice", 1]}, "adminQuorum": 1`), "line 3: groups.admins[1]: this is a number, want the id of a principal"},
		{"quorum", roster(alice, `"groups": {"admins": ["alice"]}, "adminQuorum": 0`), "line 3: adminQuorum: 0, want a whole number from 1 to 255"},
		{"quorum too high", roster(alice, `"groups": {"admins": ["alice"]}, "adminQuorum": 2`), "admin quorum 2 of 1 admins"},
		{"no admins", roster(alice, `"groups": {}, "adminQuorum": 1`), "there is no group admins"},
	} {
		if _, err := ParseRosterJSON([]byte(c.text)); err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want only %s", c.name, err, c.want)
		}
	}
}

// TestSpecExample: the page shows a real roster.
func TestSpecExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/spec/roster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	ro, err := ParseRosterJSON([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if string(ro.JSON()) != example {
		t.Errorf("written as\n%s", ro.JSON())
	}
}

// TestRosterForm is the whole form.
func TestRosterForm(t *testing.T) {
	want, err := os.ReadFile("testdata/roster.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(sample(t).JSON()); got != string(want) {
		t.Errorf("written as\n%s", got)
	}
}

func TestLookups(t *testing.T) {
	ro := sample(t)
	if p, ok := ro.Principal("bob"); !ok || p.ID != "bob" {
		t.Error("bob is not found")
	}
	if _, ok := ro.Principal("bo"); ok {
		t.Error("bo is found")
	}
	for _, c := range []struct {
		id, group string
		want      bool
	}{{"bob", "approvers", true}, {"alice", "approvers", false}, {"bob", "nobody", false}, {"zoe", "admins", false}, {"", "admins", false}} {
		if ro.InGroup(c.id, c.group) != c.want {
			t.Errorf("InGroup(%q, %q) is not %v", c.id, c.group, c.want)
		}
	}
	if !ro.HasGroup("admins") || ro.HasGroup("admin") {
		t.Error("HasGroup is wrong")
	}
	if p, ok := ro.Owner(p256Public(t)); !ok || p.ID != "bob" {
		t.Error("bob's second key is not his")
	}
	if _, ok := ro.Owner(public("zoe")); ok {
		t.Error("a stranger's key has an owner")
	}
}

// TestVerify: alone, as governance uses it.
func TestVerify(t *testing.T) {
	ro := sample(t)
	st := request.ProposeStatement([32]byte{1})
	if err := ro.Verify("bob", public("bob"), st, sign("bob", st)); err != nil {
		t.Error(err)
	}
	if err := ro.Verify("bob", p256Public(t), st, p256Sign(t, st)); err != nil {
		t.Error(err)
	}
	err := ro.Verify("zoe", public("zoe"), st, sign("zoe", st))
	if r := refusal.As(err); r == nil || r.Code != "identity.principal" || r.Fix != "a principal of the roster: alice, bob, bot, carol, dave, screening, ticker" {
		t.Errorf("a stranger: %v", err)
	}
	for _, id := range []string{"e1", "e2", "e3"} {
		ro.Principals = append(ro.Principals, Principal{ID: id, Kind: Person, Credentials: []signature.PublicKey{public(id)}})
	}
	ro.Sort()
	if err := ro.Verify("zoe", public("zoe"), st, sign("zoe", st)); !strings.HasSuffix(refusal.As(err).Fix, "dave, e1, e2, e3, …") {
		t.Errorf("a long list: %v", err)
	}
	b := proposal(t, "screening")
	if _, err := ro.CheckBundle(b, cluster, now); refusal.As(err).Fix != "one of alice, bob, bot, carol, dave, e1, e2, e3" {
		t.Errorf("who may propose: %v", err)
	}
}

const now = 1_700_000_100_000

var cluster = [32]byte{1}

// proposal is a bundle by alice; approve adds people's yes.
func proposal(t testing.TB, who string) *request.Bundle {
	t.Helper()
	q := &request.Request{
		Cluster: cluster, Wallet: [32]byte{2}, Chain: "eip155:1", Sender: "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7",
		Intent: []byte{3}, Initiator: who, Created: 1_700_000_000_000, Expires: 1_700_000_600_000,
	}
	return &request.Bundle{Request: q, ProposeKey: public(who), ProposeSignature: sign(who, request.ProposeStatement(q.ID()))}
}

func approval(b *request.Bundle, who string, yes bool) request.Approval {
	a := request.Approval{Request: b.Request.ID(), Principal: who, Approve: yes, Time: now - 1000, Expires: b.Request.Expires, Key: public(who)}
	a.Signature = sign(who, a.Statement())
	return a
}

func verdict(b *request.Bundle, engine string) request.RiskVerdict {
	v := request.RiskVerdict{Request: b.Request.ID(), Engine: engine, Outcome: request.Pass, Score: 3, Reasons: []string{"fine"}, Time: now - 1000, Expires: now + 1000, Key: public(engine)}
	v.Signature = sign(engine, v.Statement())
	return v
}

// full is a bundle that uses everything.
func full(t testing.TB) *request.Bundle {
	b := proposal(t, "alice")
	b.Approvals = []request.Approval{approval(b, "bob", true), approval(b, "carol", false), approval(b, "dave", true)}
	b.Verdicts = []request.RiskVerdict{verdict(b, "screening")}
	b.Prices = []request.PriceQuote{quote("ticker")}
	return b
}

func quote(source string) request.PriceQuote {
	p := request.PriceQuote{Source: source, Currency: "USD", Time: now - 1000, Expires: now + 1000, Key: public(source)}
	p.Prices = []request.AssetPrice{{Asset: "eip155:1/slip44:60"}}
	p.Prices[0].Price.SetUint64(2_500_000_000_000_000_000)
	p.Signature = sign(source, p.Statement())
	return p
}

func TestCheckBundle(t *testing.T) {
	got, err := sample(t).CheckBundle(full(t), cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	want := &Verified{
		Initiator: "alice", Approvers: []string{"bob", "dave"}, Denials: []string{"carol"},
		Risk:   []RiskResult{{"screening", request.Pass, 3, []string{"fine"}}},
		Prices: []Price{{"ticker", "USD", now - 1000, quote("ticker").Prices}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r, ok := got.RiskOf("screening"); !ok || r.Outcome != request.Pass {
		t.Error("the verdict is not found")
	}
	if _, ok := got.RiskOf("another"); ok {
		t.Error("a verdict is found that nobody gave")
	}
}

func TestASecondKeyOfTheSamePerson(t *testing.T) {
	b := proposal(t, "alice")
	a := approval(b, "bob", true)
	a.Key, a.Signature = p256Public(t), p256Sign(t, a.Statement())
	b.Approvals = []request.Approval{a}
	got, err := sample(t).CheckBundle(b, cluster, now)
	if err != nil || len(got.Approvers) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	// With both keys he is still one person.
	b.Approvals = append(b.Approvals, approval(b, "bob", true))
	if _, err := sample(t).CheckBundle(b, cluster, now); refusal.As(err) == nil || refusal.As(err).Code != "approval.duplicate" {
		t.Errorf("approving with two keys: %v", err)
	}
}

func TestCheckBundleRefuses(t *testing.T) {
	for _, c := range []struct {
		name, code, want string
		change           func(*request.Bundle)
	}{
		{"another cluster", "request.cluster", "the request is for cluster 0200000000000000, this is cluster 0100000000000000", func(b *request.Bundle) { b.Request.Cluster[0] = 2 }},
		{"unknown initiator", "identity.principal", `initiator: "zoe" is not in the roster`, func(b *request.Bundle) { *b = *proposal(t, "zoe") }},
		{"an engine proposes", "identity.kind", "initiator: screening is a risk principal and may not propose", func(b *request.Bundle) { *b = *proposal(t, "screening") }},
		{"another's proposal", "identity.key", "initiator: the key", func(b *request.Bundle) {
			b.ProposeKey, b.ProposeSignature = public("bob"), sign("bob", request.ProposeStatement(b.Request.ID()))
		}},
		{"a changed request", "identity.signature", `the signature of alice for "coffer/propose/v1" does not verify`, func(b *request.Bundle) { b.Approvals, b.Verdicts = nil, nil; b.Request.Intent[0]++ }},
		{"a changed request, approvals kept", "approval.request", "not this one", func(b *request.Bundle) { b.Request.Intent[0]++ }},
		{"an approval for a proposal", "identity.signature", `"coffer/propose/v1" does not verify`, func(b *request.Bundle) { b.ProposeSignature = approval(b, "alice", true).Signature }},
		{"an unknown approver", "identity.principal", `approvals[0]: "zoe" is not in the roster`, func(b *request.Bundle) { b.Approvals = []request.Approval{approval(b, "zoe", true)} }},
		{"a service approves", "identity.kind", "approvals[0]: bot is a service principal and may not approve", func(b *request.Bundle) { b.Approvals = []request.Approval{approval(b, "bot", true)} }},
		{"an engine approves", "identity.kind", "screening is a risk principal", func(b *request.Bundle) { b.Approvals = []request.Approval{approval(b, "screening", true)} }},
		{"a no turned into a yes", "identity.signature", "approvals[1]: the signature of carol", func(b *request.Bundle) { b.Approvals[1].Approve = true }},
		{"an approval made longer", "identity.signature", "approvals[0]: the signature of bob", func(b *request.Bundle) { b.Approvals[0].Expires++ }},
		{"bob signs for carol", "identity.key", "approvals[1]: the key", func(b *request.Bundle) {
			a := approval(b, "carol", true)
			a.Key, a.Signature = public("bob"), sign("bob", a.Statement())
			b.Approvals[1] = a
		}},
		{"carol's key, bob's signature", "identity.signature", "approvals[1]: the signature of carol", func(b *request.Bundle) {
			b.Approvals[1].Signature = b.Approvals[0].Signature
		}},
		{"a replayed approval", "approval.request", "approvals[0]: bob approved request", func(b *request.Bundle) {
			b.Approvals[0] = approval(proposal(t, "bob"), "bob", true)
		}},
		{"an unknown engine", "identity.principal", `verdicts[0]: "oracle" is not in the roster`, func(b *request.Bundle) { b.Verdicts[0] = verdict(b, "oracle") }},
		{"a person for an engine", "identity.kind", "verdicts[0]: dave is a person principal and may not give a risk verdict", func(b *request.Bundle) { b.Verdicts[0] = verdict(b, "dave") }},
		{"a deny turned into a pass", "identity.signature", "verdicts[0]: the signature of screening", func(b *request.Bundle) {
			b.Verdicts[0].Outcome = request.Deny
			b.Verdicts[0].Signature = sign("screening", b.Verdicts[0].Statement())
			b.Verdicts[0].Outcome = request.Pass
		}},
		{"an unknown source", "identity.principal", `prices[0]: "oracle" is not in the roster`, func(b *request.Bundle) { b.Prices[0] = quote("oracle") }},
		{"a person for a source", "identity.kind", "prices[0]: dave is a person principal and may not quote prices", func(b *request.Bundle) { b.Prices[0] = quote("dave") }},
		{"an engine for a source", "identity.kind", "prices[0]: screening is a risk principal and may not quote prices", func(b *request.Bundle) { b.Prices[0] = quote("screening") }},
		{"a source for an engine", "identity.kind", "verdicts[0]: ticker is a price principal and may not give a risk verdict", func(b *request.Bundle) { b.Verdicts[0] = verdict(b, "ticker") }},
		{"a source proposes", "identity.kind", "initiator: ticker is a price principal", func(b *request.Bundle) { *b = *proposal(t, "ticker") }},
		{"another price", "identity.signature", "prices[0]: the signature of ticker", func(b *request.Bundle) { b.Prices[0].Prices[0].Price.SetUint64(1) }},
	} {
		b := full(t)
		c.change(b)
		_, err := sample(t).CheckBundle(b, cluster, now)
		if r := refusal.As(err); r == nil || r.Code != c.code || !strings.Contains(r.Detail, c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.code, c.want)
		}
	}
}

func TestNoRequest(t *testing.T) {
	if _, err := sample(t).CheckBundle(&request.Bundle{}, cluster, now); refusal.As(err) == nil || refusal.As(err).Code != "bundle.request" {
		t.Errorf("got %v", err)
	}
}

func TestTimes(t *testing.T) {
	ro := sample(t)
	b := full(t)
	for _, c := range []struct {
		name string
		now  uint64
		code string
	}{
		{"the last moment", b.Request.Expires - 1, ""},
		{"expired", b.Request.Expires, "request.expired"},
		{"a clock within the skew", b.Request.Created - request.MaxSkew, ""},
		{"from the future", b.Request.Created - request.MaxSkew - 1, "request.created"},
	} {
		_, err := ro.CheckBundle(b, cluster, c.now)
		if r := refusal.As(err); (c.code == "") != (err == nil) || r != nil && r.Code != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	_, err := ro.CheckBundle(b, cluster, b.Request.Expires)
	if want := "the request expired at 2023-11-14T22:23:20Z, it is 2023-11-14T22:23:20Z"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestLapsed: what has expired is no reason to refuse, but it does not count; a no
// stays a no.
func TestLapsed(t *testing.T) {
	b := proposal(t, "alice")
	add := func(who string, yes bool, time, expires uint64) {
		a := request.Approval{Request: b.Request.ID(), Principal: who, Approve: yes, Time: time, Expires: expires, Key: public(who)}
		a.Signature = sign(who, a.Statement())
		b.Approvals = append(b.Approvals, a)
	}
	add("alice", true, now-1000, now)                               // expires now
	add("bob", true, now-1000, now+1)                               // counts
	add("carol", false, now-1000, now-1)                            // a no
	add("dave", true, now+request.MaxSkew+1, now+2*request.MaxSkew) // not yet
	v := verdict(b, "screening")
	v.Expires = now
	v.Signature = sign("screening", v.Statement())
	b.Verdicts = []request.RiskVerdict{v}
	p := quote("ticker")
	p.Expires = now
	p.Signature = sign("ticker", p.Statement())
	b.Prices = []request.PriceQuote{p}
	got, err := sample(t).CheckBundle(b, cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	want := &Verified{Initiator: "alice", Approvers: []string{"bob"}, Denials: []string{"carol"}, Ignored: []Ignored{
		{"alice", "the approval expired at 2023-11-14T22:15:00Z"},
		{"dave", "the approval is dated 2023-11-14T22:16:00Z, more than 60 s ahead of this vault's clock"},
		{"screening", "the risk verdict expired at 2023-11-14T22:15:00Z"},
		{"ticker", "the price quote expired at 2023-11-14T22:15:00Z"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEveryBitCounts: no byte of a bundle may be changed without CheckBundle
// noticing, except to something that does not decode.
func TestEveryBitCounts(t *testing.T) {
	ro := sample(t)
	enc := full(t).Encode()
	rapid.Check(t, func(t *rapid.T) {
		bad := []byte(string(enc))
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		b, err := request.DecodeBundle(bad)
		if err != nil {
			return
		}
		if v, err := ro.CheckBundle(b, cluster, now); err == nil {
			t.Fatalf("a changed bundle passes: %+v", v)
		} else if refusal.As(err) == nil {
			t.Fatalf("%v is not a refusal", err)
		}
	})
}

func TestCancellation(t *testing.T) {
	ro, q := sample(t), proposal(t, "bot").Request
	cancel := func(who string, id [32]byte) *request.Cancellation {
		c := &request.Cancellation{Request: id, Principal: who, Time: now, Key: public(who)}
		c.Signature = sign(who, c.Statement())
		return c
	}
	for _, c := range []struct {
		name, code string
		c          *request.Cancellation
	}{
		{"the initiator", "", cancel("bot", q.ID())},
		{"an admin", "", cancel("carol", q.ID())},
		{"somebody else", "cancellation.principal", cancel("dave", q.ID())},
		{"another request", "cancellation.request", cancel("alice", [32]byte{})},
		{"a forged one", "identity.signature", func() *request.Cancellation { c := cancel("alice", q.ID()); c.Time++; return c }()},
	} {
		err := ro.CheckCancellation(c.c, q)
		if r := refusal.As(err); (c.code == "") != (err == nil) || r != nil && r.Code != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}

func FuzzDecodeRoster(f *testing.F) {
	f.Add(sample(f).Encode())
	f.Add(roled(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		ro, err := DecodeRoster(b)
		if err != nil {
			return
		}
		if string(ro.Encode()) != string(b) {
			t.Fatalf("encodes to %x", ro.Encode())
		}
		back, err := ParseRosterJSON(ro.JSON())
		if err != nil || back.Root() != ro.Root() {
			t.Fatalf("the JSON form changed it: %v\n%s", err, ro.JSON())
		}
	})
}

func FuzzParseRosterJSON(f *testing.F) {
	f.Add(sample(f).JSON())
	f.Add(roled(f).JSON())
	f.Fuzz(func(t *testing.T, b []byte) {
		ro, err := ParseRosterJSON(b)
		if err != nil {
			return
		}
		if _, err := DecodeRoster(ro.Encode()); err != nil {
			t.Fatalf("parsed, but does not decode: %v", err)
		}
	})
}

// FuzzCheckBundle: whatever the bytes, an answer; and only the real bundle passes.
func FuzzCheckBundle(f *testing.F) {
	ro := sample(f)
	real := full(f).Encode()
	f.Add(real)
	f.Fuzz(func(t *testing.T, enc []byte) {
		b, err := request.DecodeBundle(enc)
		if err != nil {
			return
		}
		if _, err := ro.CheckBundle(b, cluster, now); err == nil && b.Request.ID() != full(t).Request.ID() {
			t.Fatalf("a bundle that nobody signed passes: %x", enc)
		}
	})
}
