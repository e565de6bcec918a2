package governance

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

func edKey(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

func edPublic(id string) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(edKey(id).Public().(ed25519.PublicKey))}
}

func edSign(id string, st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(edKey(id), d[:])}
}

func p256Key(t testing.TB, id string) *ecdsa.PrivateKey {
	t.Helper()
	d := sha256.Sum256([]byte(id))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func p256Public(t testing.TB, id string) signature.PublicKey {
	t.Helper()
	b, err := p256Key(t, id).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return signature.PublicKey{Algorithm: signature.P256, Key: string(b)}
}

// approvalArea is what a TPM says of an approval key under some authority.
func approvalArea(t testing.TB, k signature.PublicKey) []byte {
	t.Helper()
	attributes, policy, err := attest.ApprovalArea(p256Public(t, "authority"))
	if err != nil {
		t.Fatal(err)
	}
	return attest.Area{Attributes: attributes, Policy: policy[:], Key: k}.Encode()
}

func p256Sign(t testing.TB, id string, st signature.Statement) signature.Signature {
	t.Helper()
	d := st.Digest()
	r, s, err := ecdsa.Sign(nil, p256Key(t, id), d[:])
	if err != nil {
		t.Fatal(err)
	}
	if half := new(big.Int).Rsh(elliptic.P256().Params().N, 1); s.Cmp(half) > 0 {
		s.Sub(elliptic.P256().Params().N, s)
	}
	return signature.Signature{Algorithm: signature.P256, Bytes: append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)}
}

// enrol makes vault n's card.
func enrol(t testing.TB, n uint16, name string) Enrolment {
	e := Enrolment{Vault: Vault{
		ID: n, Name: name, Identity: p256Public(t, name+"-identity"), Decision: p256Public(t, name+"-decision"),
		Log: edPublic(name + "-log"), Vendor: "SoftHSM project", Model: fmt.Sprintf("SoftHSM v%d", n),
	}}
	return seal(t, e)
}

// seal signs a card with the keys of the name that its vault has.
func seal(t testing.TB, e Enrolment) Enrolment {
	st := e.Vault.Statement()
	e.Identity, e.Decision, e.Log = p256Sign(t, e.Vault.Name+"-identity", st), p256Sign(t, e.Vault.Name+"-decision", st), edSign(e.Vault.Name+"-log", st)
	return e
}

func sampleRoster(t testing.TB) *identity.Roster {
	t.Helper()
	ro := &identity.Roster{AdminQuorum: 2, Groups: []identity.Group{
		{Name: "admins", Members: []string{"alice", "bob", "carol"}},
		{Name: "approvers", Members: []string{"bob", "carol", "dave"}},
	}}
	for _, id := range []string{"alice", "bob", "carol", "dave"} {
		ro.Principals = append(ro.Principals, identity.Principal{ID: id, Kind: identity.Person, Credentials: []signature.PublicKey{edPublic(id)}})
	}
	return ro
}

func samplePolicy(t testing.TB, count string) *policy.Document {
	t.Helper()
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Document{Rules: []policy.Rule{{Name: "r", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{
		Effect: policy.Require, Require: []policy.Requirement{{Group: "approvers", Count: uint8(n)}},
	}}}}
}

func sampleGenesis(t testing.TB) *Genesis {
	t.Helper()
	return &Genesis{
		Name: "acme", Created: 1_700_000_000_000, Roster: sampleRoster(t), Policy: samplePolicy(t, "1"),
		Enrolments: []Enrolment{enrol(t, 1, "north"), enrol(t, 2, "south"), enrol(t, 3, "west")},
	}
}

func start(t testing.TB) *State {
	t.Helper()
	st, err := Start(sampleGenesis(t))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// change is the next policy change, signed.
func change(t testing.TB, st *State, who ...string) *SignedChange {
	t.Helper()
	return signedBy(&SignedChange{Change: Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: KindPolicy, Body: samplePolicy(t, "2").Encode(),
		Created: 1_700_000_100_000, Author: "alice", Note: "two pairs of eyes",
	}}, who...)
}

func signedBy(s *SignedChange, who ...string) *SignedChange {
	s.Signatures = nil
	for _, id := range who {
		s.Signatures = append(s.Signatures, AdminSignature{id, edPublic(id), edSign(id, s.Change.Statement())})
	}
	return s
}

func TestGenesisRoundTrips(t *testing.T) {
	g := sampleGenesis(t)
	back, err := DecodeGenesis(g.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, back, cmpopts.IgnoreUnexported(policy.Document{})); diff != "" {
		t.Error(diff)
	}
	if g.Hash() != back.Hash() || g.Hash() == [32]byte{} {
		t.Error("the hash changed")
	}
}

func TestGenesisRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*Genesis)
	}{
		{"name", `cluster: name "Acme Inc"`, func(g *Genesis) { g.Name = "Acme Inc" }},
		{"one vault", "1 vaults, want 2 to 16", func(g *Genesis) { g.Enrolments = g.Enrolments[:1] }},
		{"17 vaults", "17 vaults", func(g *Genesis) {
			for len(g.Enrolments) < 17 {
				g.Enrolments = append(g.Enrolments, g.Enrolments[0])
			}
		}},
		{"vault 0", "vault id 0, want 1 to 16", func(g *Genesis) { g.Enrolments[0].Vault.ID = 0; g.Enrolments[0] = seal(t, g.Enrolments[0]) }},
		{"vault 17", "vault id 17", func(g *Genesis) { g.Enrolments[2].Vault.ID = 17; g.Enrolments[2] = seal(t, g.Enrolments[2]) }},
		{"order", "vault 1 comes after vault 2", func(g *Genesis) { g.Enrolments[0], g.Enrolments[1] = g.Enrolments[1], g.Enrolments[0] }},
		{"vault twice", "vault 1 comes after vault 1", func(g *Genesis) { g.Enrolments[1] = enrol(t, 1, "south") }},
		{"name twice", "two vaults have the name north", func(g *Genesis) {
			e := enrol(t, 2, "south")
			e.Vault.Name = "north"
			st := e.Vault.Statement()
			e.Identity, e.Decision, e.Log = p256Sign(t, "south-identity", st), p256Sign(t, "south-decision", st), edSign("south-log", st)
			g.Enrolments[1] = e
		}},
		{"vault's name", `vault 1: name "North"`, func(g *Genesis) { g.Enrolments[0].Vault.Name = "North" }},
		{"model", "vendor or model: text", func(g *Genesis) { g.Enrolments[0].Vault.Model = "a\tb" }},
		{"vendor", "vendor or model: 65 bytes", func(g *Genesis) { g.Enrolments[0].Vault.Vendor = strings.Repeat("v", 65) }},
		{"identity key", "vault 1: the identity key is ed25519, want p256", func(g *Genesis) { g.Enrolments[0].Vault.Identity = edPublic("x") }},
		{"decision key", "vault 1: the decision key is ed25519, want p256", func(g *Genesis) { g.Enrolments[0].Vault.Decision = edPublic("x") }},
		{"log key", "vault 1: the log key is p256, want ed25519", func(g *Genesis) { g.Enrolments[0].Vault.Log = p256Public(t, "x") }},
		{"approval key", "vault 1: the approval key is ed25519, want p256", func(g *Genesis) {
			g.Enrolments[0].Vault.Approval, g.Enrolments[0].Vault.ApprovalArea = edPublic("x"), []byte{1}
		}},
		{"approval area alone", "an approval key comes with its area of 1 to 512 bytes, got 1", func(g *Genesis) { g.Enrolments[0].Vault.ApprovalArea = []byte{1} }},
		{"long approval area", "area of 1 to 512 bytes, got 513", func(g *Genesis) {
			g.Enrolments[0].Vault.Approval, g.Enrolments[0].Vault.ApprovalArea = p256Public(t, "x"), make([]byte, 513)
		}},
		// Root shows the device's key, which its approvers guard, and would sign with another.
		{"approval area of another key", "its area describes", func(g *Genesis) {
			g.Enrolments[0].Vault.Approval, g.Enrolments[0].Vault.ApprovalArea = p256Public(t, "x"), approvalArea(t, p256Public(t, "y"))
		}},
		{"approval area that is none", "vault 1: approval area", func(g *Genesis) {
			g.Enrolments[0].Vault.Approval, g.Enrolments[0].Vault.ApprovalArea = p256Public(t, "x"), []byte("area")
		}},
		{"approval key without a policy", "has no policy", func(g *Genesis) {
			a, err := attest.DecodeArea(approvalArea(t, p256Public(t, "x")))
			if err != nil {
				t.Fatal(err)
			}
			a.Policy = nil
			g.Enrolments[0].Vault.Approval, g.Enrolments[0].Vault.ApprovalArea = p256Public(t, "x"), a.Encode()
		}},
		{"long evidence", "evidence of 33793 bytes, at most 33792", func(g *Genesis) { g.Enrolments[0].Vault.Evidence = make([]byte, 33<<10+1) }},
		{"sealing", "vault 1: sealing: text", func(g *Genesis) { g.Enrolments[0].Vault.Sealing = "a\nb" }},
		{"unsigned by identity", "vault 2: its card is not signed by its identity key", func(g *Genesis) { g.Enrolments[1].Identity = g.Enrolments[1].Decision }},
		{"unsigned by decision", "vault 2: its card is not signed by its decision key", func(g *Genesis) { g.Enrolments[1].Decision = g.Enrolments[1].Identity }},
		{"unsigned by log", "vault 2: its card is not signed by its log key", func(g *Genesis) { g.Enrolments[1].Log = g.Enrolments[0].Log }},
		{"changed card", "its card is not signed", func(g *Genesis) { g.Enrolments[1].Vault.Model = "another" }},
		{"one key for two purposes", "serves vault 1 already", func(g *Genesis) {
			e := g.Enrolments[0]
			e.Vault.Decision = e.Vault.Identity
			st := e.Vault.Statement()
			e.Identity, e.Decision, e.Log = p256Sign(t, "north-identity", st), p256Sign(t, "north-identity", st), edSign("north-log", st)
			g.Enrolments[0] = e
		}},
		{"a person's key in a vault", "serves alice already", func(g *Genesis) { g.Roster.Principals[0].Credentials[0] = g.Enrolments[0].Vault.Log }},
		{"bad roster", "admin quorum 9", func(g *Genesis) { g.Roster.AdminQuorum = 9 }},
		{"policy beside the roster", "there is no group", func(g *Genesis) { g.Policy.Rules[0].Then.Require[0].Group = "nobody" }},
	} {
		g := sampleGenesis(t)
		c.change(g)
		if err := g.Check(); refusal.As(err) == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if _, err := Start(g); err == nil {
			t.Errorf("%s: it starts", c.name)
		}
		if _, err := DecodeGenesis(g.Encode()); err == nil {
			t.Errorf("%s: its encoding decodes", c.name)
		}
	}
	for name, change := range map[string]func(*Genesis){"roster": func(g *Genesis) { g.Roster = nil }, "policy": func(g *Genesis) { g.Policy = nil }} {
		g := sampleGenesis(t)
		change(g)
		if err := g.Check(); refusal.As(err) == nil || !strings.Contains(err.Error(), "has no roster or no policy") {
			t.Errorf("without a %s: %v", name, err)
		}
	}
}

func TestApply(t *testing.T) {
	st := start(t)
	c := change(t, st, "alice", "carol")
	next, err := st.Apply(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if next.Seq != 1 || next.Head != c.Change.Hash() || next.Policy.Rules[0].Then.Require[0].Count != 2 || next.Roster != st.Roster {
		t.Errorf("after the change: %+v", next)
	}
	if st.Seq != 0 || st.Head != st.Cluster || st.Policy.Rules[0].Then.Require[0].Count != 1 {
		t.Errorf("the state before was changed: %+v", st)
	}
	// The next one: a roster in which dave is an admin and alice is not.
	ro := sampleRoster(t)
	ro.Groups[0].Members = []string{"bob", "carol", "dave"}
	second := signedBy(&SignedChange{Change: Change{Cluster: st.Cluster, Seq: 2, Prev: next.Head, Kind: KindRoster, Body: ro.Encode(), Author: "bob"}}, "alice", "bob")
	third, err := next.Apply(second, 0)
	if err != nil {
		t.Fatal(err)
	}
	if third.Roster.InGroup("alice", "admins") || third.Policy != next.Policy {
		t.Errorf("after the roster's change: %+v", third)
	}
	// From now on alice's signature is worth nothing, dave's is.
	if _, err := third.Apply(change(t, third, "alice", "bob"), 0); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
		t.Errorf("a former admin signs: %v", err)
	}
	last := change(t, third)
	last.Change.Author = "dave"
	if _, err := third.Apply(signedBy(last, "bob", "dave"), 0); err != nil {
		t.Error(err)
	}
}

func TestApplyRefuses(t *testing.T) {
	st := start(t)
	moved, err := st.Apply(change(t, st, "alice", "bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(s *SignedChange) { signedBy(s, "alice", "bob") }
	for _, c := range []struct {
		name, code, want string
		state            *State
		change           func(*SignedChange)
	}{
		{"another cluster", "change.cluster", "it is for cluster 00", st, func(s *SignedChange) { s.Change.Cluster = [32]byte{}; resign(s) }},
		{"too early", "change.seq", "change 3: changes 1 to 2 are missing here", st, func(s *SignedChange) { s.Change.Seq = 3; resign(s) }},
		{"replayed", "change.seq", "change 1: this cluster has applied 1 changes already (would pass: a change with sequence number 2)", moved, func(s *SignedChange) { *s = *change(t, st, "alice", "bob") }},
		{"forked", "change.prev", "which is not this cluster's newest", moved, func(s *SignedChange) { s.Change.Prev = st.Head; resign(s) }},
		{"note", "change.note", "note: text", st, func(s *SignedChange) { s.Change.Note = "\x1b[2J"; resign(s) }},
		{"unknown author", "governance.admin", "author: zoe is not an admin", st, func(s *SignedChange) { s.Change.Author = "zoe"; resign(s) }},
		{"author who is no admin", "governance.admin", "author: dave is not an admin (would pass: one of alice, bob, carol)", st, func(s *SignedChange) { s.Change.Author = "dave"; resign(s) }},
		{"signed by nobody", "change.quorum", "change 1 is signed by 0 of the 2 admins that it takes (nobody) (would pass: 2 more of alice, bob, carol)", st, func(s *SignedChange) { signedBy(s) }},
		{"signed by too few", "change.quorum", "change 1 is signed by 1 of the 2 admins that it takes (alice) (would pass: 1 more of bob, carol)", st, func(s *SignedChange) { signedBy(s, "alice") }},
		{"signed twice by one", "change.duplicate", "signatures[1]: alice has signed already", st, func(s *SignedChange) { signedBy(s, "alice", "alice") }},
		{"out of order", "change.order", "signatures[1]: alice comes after bob", st, func(s *SignedChange) { signedBy(s, "bob", "alice") }},
		{"signed by one who is no admin", "governance.admin", "signatures[1]: dave is not an admin", st, func(s *SignedChange) { signedBy(s, "alice", "dave") }},
		{"signed with another's key", "identity.key", "signatures[1]: the key", st, func(s *SignedChange) { s.Signatures[1].Key = edPublic("alice") }},
		{"changed after it was signed", "identity.signature", "signatures[0]: the signature of alice", st, func(s *SignedChange) { s.Change.Note = "one pair will do" }},
		{"policy that does not parse", "change.body", "policy of change 1: couldn't decode policy", st, func(s *SignedChange) { s.Change.Body = []byte{1, 2, 3}; resign(s) }},
		{"no body", "change.body", "policy of change 1: couldn't decode policy", st, func(s *SignedChange) { s.Change.Body = nil; resign(s) }},
		{"policy beside the roster", "change.body", "policy of change 1: rule r: require 1 of nobody: there is no group", st, func(s *SignedChange) {
			d := samplePolicy(t, "1")
			d.Rules[0].Then.Require[0].Group = "nobody"
			s.Change.Body = d.Encode()
			resign(s)
		}},
		{"malformed policy", "change.body", "0 groups must approve", st, func(s *SignedChange) {
			d := samplePolicy(t, "1")
			d.Rules[0].Then.Require = nil
			s.Change.Body = d.Encode()
			resign(s)
		}},
		{"a policy as a roster", "change.body", "roster of change 1", st, func(s *SignedChange) { s.Change.Kind = KindRoster; resign(s) }},
		{"roster without the policy's group", "change.body", "roster of change 1: rule r: require 1 of approvers: there is no group", st, func(s *SignedChange) {
			ro := sampleRoster(t)
			ro.Groups = ro.Groups[:1]
			s.Change.Kind, s.Change.Body = KindRoster, ro.Encode()
			resign(s)
		}},
		{"a vault's key in a person's hand", "change.body", "is a key of vault 2", st, func(s *SignedChange) {
			ro := sampleRoster(t)
			ro.Principals[3].Credentials[0] = edPublic("south-log")
			s.Change.Kind, s.Change.Body = KindRoster, ro.Encode()
			resign(s)
		}},
		{"unknown kind", "change.kind", "kind: unknown value 10, want 1 (roster), 2 (policy), 3 (key), 4 (vault), 5 (measurements), 6 (book), 7 (chains), 8 (freeze) or 9 (withdraw)", st, func(s *SignedChange) { s.Change.Kind = 10; resign(s) }},
	} {
		s := change(t, c.state, "alice", "bob")
		c.change(s)
		got, err := c.state.Apply(s, 0)
		if r := refusal.As(err); r == nil || r.Code != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.code, c.want)
		}
		if got != nil {
			t.Errorf("%s: a state comes with the error", c.name)
		}
	}
}

// TestCheckChange: worth signing, before anybody has.
func TestCheckChange(t *testing.T) {
	st := start(t)
	c := change(t, st).Change
	if err := st.CheckChange(&c, 0); err != nil {
		t.Error(err)
	}
	late := c
	late.Seq = 2
	if err := st.CheckChange(&late, 0); refusal.As(err) == nil || refusal.As(err).Code != "change.seq" {
		t.Errorf("in another place: %v", err)
	}
	broken := c
	broken.Body = []byte{1}
	if err := st.CheckChange(&broken, 0); refusal.As(err) == nil || refusal.As(err).Code != "change.body" {
		t.Errorf("with a broken body: %v", err)
	}
}

// TestEveryBitOfAChangeCounts: no bit may differ from what the admins signed.
func TestEveryBitOfAChangeCounts(t *testing.T) {
	st := start(t)
	enc := change(t, st, "alice", "bob").Encode()
	rapid.Check(t, func(t *rapid.T) {
		bad := []byte(string(enc))
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		s, err := DecodeSignedChange(bad)
		if err != nil {
			return
		}
		if _, err := st.Apply(s, 0); refusal.As(err) == nil {
			t.Fatalf("a changed change: %v", err)
		}
	})
}

func order(st *State) *KeygenOrder {
	o := &KeygenOrder{Cluster: st.Cluster, Name: "main", Parties: []uint16{1, 2, 3}, Threshold: 2, Purpose: PurposeECDSA, Tier: TierHot, Faults: 1, Created: 1_700_000_000_000, Author: "bob", Key: edPublic("bob")}
	o.Signature = edSign("bob", o.Statement())
	return o
}

func TestKeygen(t *testing.T) {
	st := start(t)
	const now = 1_700_000_000_000
	if err := st.CheckKeygen(order(st), now); err != nil {
		t.Fatal(err)
	}
	back, err := DecodeKeygenOrder(order(st).Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(order(st), back); diff != "" {
		t.Error(diff)
	}
	for _, created := range []uint64{now - 1, now + request.MaxSkew} {
		o := order(st)
		o.Created = created
		o.Signature = edSign("bob", o.Statement())
		if err := st.CheckKeygen(o, now); err != nil {
			t.Errorf("created %d ms after now: %v", int64(created-now), err)
		}
	}
	for _, c := range []struct {
		name, code, want string
		change           func(*KeygenOrder)
		keep             bool // the signature is not made anew
	}{
		{"cluster", "keygen.cluster", "it is for cluster", func(o *KeygenOrder) { o.Cluster[0] ^= 1 }, false},
		{"name", "keygen.invalid", `wallet: name "Main"`, func(o *KeygenOrder) { o.Name = "Main" }, false},
		{"purpose", "keygen.invalid", `purpose: "bls"`, func(o *KeygenOrder) { o.Purpose = "bls" }, false},
		{"unknown vault", "keygen.invalid", "there is no vault 4", func(o *KeygenOrder) { o.Parties[2] = 4 }, false},
		{"vault twice", "keygen.invalid", "vault 2 comes after vault 2", func(o *KeygenOrder) { o.Parties[2] = 2 }, false},
		{"threshold 1", "keygen.invalid", "threshold 1 of 3 vaults (would pass: a threshold of 2 to 3)", func(o *KeygenOrder) { o.Threshold = 1 }, false},
		{"threshold 4", "keygen.invalid", "threshold 4 of 3 vaults", func(o *KeygenOrder) { o.Threshold = 4 }, false},
		{"faults of a threshold", "keygen.invalid", "faults: 2 corrupt vaults would be enough to sign, with threshold 2 (would pass: faults of 0 to 1)", func(o *KeygenOrder) { o.Faults = 2 }, false},
		{"no parties", "keygen.invalid", "threshold 2 of 0 vaults", func(o *KeygenOrder) { o.Parties = nil }, false},
		{"created", "keygen.invalid", "is ahead of this vault's clock", func(o *KeygenOrder) { o.Created = now + request.MaxSkew + 1 }, false},
		{"no admin", "governance.admin", "author: dave is not an admin", func(o *KeygenOrder) { o.Author = "dave" }, false},
		{"forged", "identity.signature", "the signature of bob", func(o *KeygenOrder) { o.Threshold = 3 }, true},
		{"another's key", "identity.key", "is not one of the 1 keys of alice", func(o *KeygenOrder) { o.Author = "alice" }, false},
	} {
		o := order(st)
		c.change(o)
		if !c.keep {
			o.Signature = edSign("bob", o.Statement())
		}
		if err := st.CheckKeygen(o, now); refusal.As(err) == nil || refusal.As(err).Code != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.code, c.want)
		}
	}
}

// Any two ledger quorums share more than f vaults, and no smaller number would do.
func TestQuorum(t *testing.T) {
	for n := 2; n <= MaxVaults; n++ {
		for th := n/2 + 1; th <= n; th++ {
			for f := range th {
				q := Quorum(n, th, f)
				if q < th || q > n || 2*q-n <= f {
					t.Errorf("%d of %d, f %d: quorum %d", th, n, f, q)
				}
				if q > th && 2*(q-1)-n > f {
					t.Errorf("%d of %d, f %d: a quorum of %d would do, not %d", th, n, f, q-1, q)
				}
			}
		}
	}
	if Quorum(3, 2, 0) != 2 || Quorum(3, 2, 1) != 3 || Quorum(5, 3, 1) != 4 || Quorum(5, 3, 2) != 4 {
		t.Error("not the quorums of ARCHITECTURE.md")
	}
}

// TestMinorityThreshold: with t ≤ n/2 two sets of signers can be strangers.
func TestMinorityThreshold(t *testing.T) {
	g := sampleGenesis(t)
	g.Enrolments = append(g.Enrolments, enrol(t, 4, "east"))
	st, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	o := order(st)
	o.Parties = []uint16{1, 2, 3, 4}
	o.Signature = edSign("bob", o.Statement())
	if err := st.CheckKeygen(o, o.Created); err == nil || !strings.Contains(err.Error(), "threshold 2 of 4 vaults: two sets of signers could share no vault") || !strings.Contains(err.Error(), "at least 3") {
		t.Errorf("got %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	st := start(t)
	s := change(t, st, "alice", "bob")
	swapped := *s
	swapped.Signatures = []AdminSignature{s.Signatures[1], s.Signatures[0]}
	kind := *s
	kind.Change.Kind = 10
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"signatures out of order", "signatures[1]: alice comes after bob", swapped.Encode()},
		{"kind", "kind: unknown value 10, want 1 (roster), 2 (policy), 3 (key), 4 (vault), 5 (measurements), 6 (book), 7 (chains), 8 (freeze) or 9 (withdraw)", kind.Encode()},
		{"trailing", "after the end", append(s.Encode(), 0)},
		{"nothing", "version", nil},
	} {
		if _, err := DecodeSignedChange(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestTruncated: no beginning of a message is a message.
func TestTruncated(t *testing.T) {
	st := start(t)
	s := change(t, st, "alice", "bob")
	roster := *s
	roster.Change.Kind, roster.Change.Body = KindRoster, sampleRoster(t).Encode()
	for name, c := range map[string]struct {
		b      []byte
		decode func([]byte) error
	}{
		"vault":         {st.Genesis.Enrolments[0].Vault.Encode(), func(b []byte) error { _, err := DecodeVault(b); return err }},
		"enrolment":     {st.Genesis.Enrolments[0].Encode(), func(b []byte) error { _, err := DecodeEnrolment(b); return err }},
		"genesis":       {st.Genesis.Encode(), func(b []byte) error { _, err := DecodeGenesis(b); return err }},
		"change":        {s.Change.Encode(), func(b []byte) error { _, err := DecodeChange(b); return err }},
		"signed change": {s.Encode(), func(b []byte) error { _, err := DecodeSignedChange(b); return err }},
		"roster change": {roster.Encode(), func(b []byte) error { _, err := DecodeSignedChange(b); return err }},
		"keygen order":  {order(st).Encode(), func(b []byte) error { _, err := DecodeKeygenOrder(b); return err }},
	} {
		for n := range c.b {
			if n > 300 && n < len(c.b)-300 && n%7 != 0 {
				continue
			}
			if c.decode(c.b[:n]) == nil {
				t.Errorf("the first %d of %d bytes of a %s decode", n, len(c.b), name)
			}
		}
		if err := c.decode(c.b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSortAndNames(t *testing.T) {
	s := signedBy(change(t, start(t)), "bob", "alice")
	s.Sort()
	if s.Signatures[0].Principal != "alice" {
		t.Error("not sorted")
	}
	for k, want := range map[Kind]string{KindRoster: "roster", KindPolicy: "policy", KindWithdraw: "withdraw", 17: "kind-17"} {
		if k.String() != want {
			t.Errorf("%d is %s, want %s", k, k, want)
		}
	}
}

// TestDomains: a signature for one purpose is worthless for another.
func TestDomains(t *testing.T) {
	st := start(t)
	for _, c := range []struct{ got, want string }{
		{change(t, st).Change.Statement().Domain, "coffer/change/v1"},
		{order(st).Statement().Domain, "coffer/keygen/v1"},
		{st.Genesis.Enrolments[0].Vault.Statement().Domain, "coffer/enrol/v1"},
	} {
		if c.got != c.want {
			t.Errorf("domain %s, want %s", c.got, c.want)
		}
	}
	if c := change(t, st).Change; c.Hash() != c.Statement().Digest() {
		t.Error("a change's hash is not the digest that is signed")
	}
}

func law[T interface{ Encode() []byte }](f *testing.F, decode func([]byte) (T, error), seed T) {
	f.Add(seed.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decode(b)
		if err == nil && string(x.Encode()) != string(b) {
			t.Fatalf("encodes to %x", x.Encode())
		}
	})
}

func FuzzDecodeVault(f *testing.F) { law(f, DecodeVault, &sampleGenesis(f).Enrolments[0].Vault) }

func FuzzDecodeEnrolment(f *testing.F) { law(f, DecodeEnrolment, &sampleGenesis(f).Enrolments[0]) }

func FuzzDecodeGenesis(f *testing.F) { law(f, DecodeGenesis, sampleGenesis(f)) }

func FuzzDecodeChange(f *testing.F) { law(f, DecodeChange, &change(f, start(f)).Change) }

func FuzzDecodeSignedChange(f *testing.F) {
	law(f, DecodeSignedChange, change(f, start(f), "alice", "bob"))
}

func FuzzDecodeKeygenOrder(f *testing.F) { law(f, DecodeKeygenOrder, order(start(f))) }

// keyChange is the next change with an order about a key, signed.
func keyChange(t testing.TB, st *State, edit func(o *KeyOrder), who ...string) *SignedChange {
	t.Helper()
	o := &KeyOrder{Action: Reshare, Key: [32]byte{1}, Name: "treasury", Epoch: 1, Parties: []uint16{1, 2, 3}, Threshold: 2}
	if edit != nil {
		edit(o)
	}
	return signedBy(&SignedChange{Change: Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: KindKey, Body: o.Encode(), Created: 1_700_000_100_000, Author: "alice",
	}}, who...)
}

// A refresh takes one admin; whatever else happens to a key takes the quorum.
func TestKeyOrderQuorum(t *testing.T) {
	st := start(t)
	plain := func(a Action) func(o *KeyOrder) {
		return func(o *KeyOrder) { *o = KeyOrder{Action: a, Key: o.Key, Name: o.Name, Epoch: 1} }
	}
	next, err := st.Apply(keyChange(t, st, plain(Refresh), "alice"), 0)
	if err != nil {
		t.Fatal(err)
	}
	c := keyChange(t, st, plain(Refresh), "alice")
	if o, ok := next.FindOrder(c.Change.Hash()); !ok || o.Action != Refresh || o.Seq != 1 || len(st.Orders) != 0 {
		t.Errorf("the order is not found, or the state before it was changed: %+v", o)
	}
	if _, err := st.Apply(keyChange(t, st, plain(Refresh)), 0); err == nil {
		t.Error("a refresh that nobody signed")
	}
	for name, edit := range map[string]func(o *KeyOrder){"reshare": nil, "abandon": plain(Abandon), "erase": plain(Erase)} {
		if _, err := st.Apply(keyChange(t, st, edit, "alice"), 0); err == nil || refusal.As(err).Code != "change.quorum" {
			t.Errorf("%s by one admin: %v", name, err)
		}
		if _, err := st.Apply(keyChange(t, st, edit, "alice", "bob"), 0); err != nil {
			t.Errorf("%s by two admins: %v", name, err)
		}
	}
}

func TestKeyOrderRefused(t *testing.T) {
	st := start(t)
	for name, c := range map[string]struct {
		want string
		edit func(o *KeyOrder)
	}{
		"epoch 0":            {"epochs start at 1", func(o *KeyOrder) { o.Epoch = 0 }},
		"nobody":             {"threshold 2 of 0", func(o *KeyOrder) { o.Parties = nil }},
		"no such vault":      {"there is no vault 9", func(o *KeyOrder) { o.Parties = []uint16{1, 9} }},
		"vaults unsorted":    {"comes after", func(o *KeyOrder) { o.Parties = []uint16{2, 1} }},
		"vault twice":        {"comes after", func(o *KeyOrder) { o.Parties = []uint16{1, 1} }},
		"threshold 1":        {"threshold 1", func(o *KeyOrder) { o.Threshold = 1 }},
		"threshold above n":  {"threshold 4", func(o *KeyOrder) { o.Threshold = 4 }},
		"refresh of others":  {"stay as they are", func(o *KeyOrder) { o.Action = Refresh }},
		"refresh, threshold": {"stay as they are", func(o *KeyOrder) { o.Action, o.Parties = Refresh, nil }},
		"unknown action":     {"unknown value 9", func(o *KeyOrder) { o.Action = 9 }},
		"no name":            {"name", func(o *KeyOrder) { o.Name = "" }},
	} {
		_, err := st.Apply(keyChange(t, st, c.edit, "alice", "bob"), 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzDecodeKeyOrder(f *testing.F) {
	f.Add((&KeyOrder{Action: Reshare, Key: [32]byte{1}, Name: "treasury", Epoch: 1, Parties: []uint16{1, 2, 3}, Threshold: 2}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := DecodeKeyOrder(b); err == nil && string(o.Encode()) != string(b) {
			t.Errorf("%x encodes to %x", b, o.Encode())
		}
	})
}
