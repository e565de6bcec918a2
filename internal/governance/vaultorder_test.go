package governance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
)

// vaultOrder is a change of kind vault, signed.
func vaultOrder(st *State, o *VaultOrder, who ...string) *SignedChange {
	return signedBy(&SignedChange{Change: Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: KindVault, Body: o.Encode(), Created: 1_700_000_100_000, Author: "alice",
	}}, who...)
}

func apply(t testing.TB, st *State, o *VaultOrder) *State {
	t.Helper()
	next, err := st.Apply(vaultOrder(st, o, "alice", "bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// card is a card of vault 2, south, with the keys of a device and of a log.
func card(t testing.TB, device, log string) *Enrolment {
	t.Helper()
	e := &Enrolment{Vault: Vault{
		ID: 2, Name: "south", Identity: p256Public(t, device+"-identity"), Decision: p256Public(t, device+"-decision"), Log: edPublic(log + "-log"),
		Vendor: "IBM", Model: "openCryptoki", Sealing: "seal:aes-cbc-hmac",
	}}
	return sign(t, e, device, log)
}

func sign(t testing.TB, e *Enrolment, device, log string) *Enrolment {
	st := e.Vault.Statement()
	e.Identity, e.Decision, e.Log = p256Sign(t, device+"-identity", st), p256Sign(t, device+"-decision", st), edSign(log+"-log", st)
	return e
}

func replace(e *Enrolment, boot uint64) *VaultOrder {
	return &VaultOrder{Action: ReplaceVault, Vault: 2, Boot: boot, Enrolment: e, Reason: "the token is gone"}
}

func resume(boot uint64) *VaultOrder {
	return &VaultOrder{
		Action: ResumeVault, Vault: 2, Boot: boot, From: Position{9, [32]byte{1}}, Held: Position{12, [32]byte{2}}, Reason: "the disk was restored from a backup",
	}
}

func lift(vault, peer uint16) *VaultOrder {
	return &VaultOrder{Action: LiftVault, Vault: vault, Peer: peer, Reason: "looked into"}
}

func suspend(vault uint16) *VaultOrder {
	return &VaultOrder{Action: SuspendVault, Vault: vault, Reason: "the host is gone"}
}

// A replaced vault has its new card's keys from that change on, and its earlier
// card stays in the history.
func TestReplace(t *testing.T) {
	st := start(t)
	fresh := card(t, "spare", "spare")
	next := apply(t, st, replace(fresh, 8))
	v, ok := next.Vault(2)
	if !ok || v.Identity != fresh.Vault.Identity || v.Model != "openCryptoki" {
		t.Errorf("the card in force is %+v", v)
	}
	if old, _ := st.Vault(2); old.Identity != p256Public(t, "south-identity") {
		t.Error("the state before was changed")
	}
	cards := next.Cards(2)
	if len(cards) != 2 || cards[0].From != 0 || cards[0].Vault.Identity != p256Public(t, "south-identity") || cards[1].From != 1 || cards[1].Vault.Log != fresh.Vault.Log {
		t.Errorf("the history of cards is %+v", cards)
	}
	if len(next.Cards(1)) != 1 || len(next.Cards(9)) != 0 || len(st.Cards(2)) != 1 {
		t.Error("another vault's cards, or the state's before, were changed")
	}
	if next.MinBoot(2) != 8 || next.MinBoot(1) != 0 || st.MinBoot(2) != 0 {
		t.Errorf("least boots %d, %d, %d", next.MinBoot(2), next.MinBoot(1), st.MinBoot(2))
	}
	if !st.FreshLog(replace(fresh, 8)) || st.FreshLog(replace(card(t, "spare", "south"), 8)) || st.FreshLog(resume(8)) {
		t.Error("a new log key, and it alone, starts a fresh log")
	}
	// What the old identity signed for good still verifies, by the new one too; by
	// another's never.
	statement := signature.Statement{Domain: "coffer/test/v1", Body: []byte("x")}
	for device, want := range map[string]bool{"south": true, "spare": true, "north": false} {
		sig := p256Sign(t, device+"-identity", statement)
		if next.SignedByIdentity(2, statement, sig.Encode()) != want {
			t.Errorf("signed by the identity of %s: want %v", device, want)
		}
	}
	if sig := p256Sign(t, "spare-identity", statement); st.SignedByIdentity(2, statement, sig.Encode()) || next.SignedByIdentity(2, statement, []byte{1}) {
		t.Error("an identity counts before its card, or a broken signature does")
	}
	// Another device for the same log, then another log for the same device.
	next = apply(t, next, replace(card(t, "third", "spare"), 9))
	next = apply(t, next, replace(card(t, "third", "new"), 10))
	if len(next.Cards(2)) != 4 || next.Vaults[1].Log != edPublic("new-log") {
		t.Error("the history is not complete")
	}
}

func TestReplaceRefused(t *testing.T) {
	st := apply(t, start(t), replace(card(t, "spare", "spare"), 8))
	for name, c := range map[string]struct {
		want string
		o    *VaultOrder
	}{
		"no card":              {"no card (would pass: the card that the new device made", replace(nil, 9)},
		"boot that has ended":  {"from boot 8: starts below 9 have ended already (would pass: a boot number of at least 9)", replace(card(t, "third", "third"), 8)},
		"the card in force":    {"the card has the keys of the one in force", replace(card(t, "spare", "spare"), 9)},
		"the old device":       {"serves, or has served, as the identity key of vault 2", replace(card(t, "south", "third"), 9)},
		"the old log":          {"serves, or has served, as the log key of vault 2", replace(card(t, "third", "south"), 9)},
		"another vault's":      {"serves, or has served, as the identity key of vault 1", replace(card(t, "north", "third"), 9)},
		"another vault's log":  {"as the log key of vault 3", replace(card(t, "third", "west"), 9)},
		"a person's key":       {"is alice's", replace(withLog(t, "alice"), 9)},
		"unsigned":             {"its card is not signed by its log key", replace(edited(t, func(e *Enrolment) { e.Log = e.Identity }), 9)},
		"changed":              {"its card is not signed by its identity key", replace(edited(t, func(e *Enrolment) { e.Vault.Model = "x" }), 9)},
		"of another vault":     {"the card is of vault 3, south (would pass: a card of vault 2, south)", replace(resigned(t, func(v *Vault) { v.ID = 3 }), 9)},
		"of another name":      {"the card is of vault 2, east", replace(resigned(t, func(v *Vault) { v.Name = "east" }), 9)},
		"keys that swap roles": {"serves, or has served, as the", replace(swapped(t), 9)},
		"a position":           {"it names a place in the log, which belongs to resume", with(replace(card(t, "third", "third"), 9), func(o *VaultOrder) { o.From.Size = 1 })},
		"a held head":          {"it names a held head", with(replace(card(t, "third", "third"), 9), func(o *VaultOrder) { o.Held.Root[0] = 1 })},
		"no reason":            {"no reason is given", with(replace(card(t, "third", "third"), 9), func(o *VaultOrder) { o.Reason = "" })},
		"a vault that is not":  {"there is no vault 9", with(replace(card(t, "third", "third"), 9), func(o *VaultOrder) { o.Vault = 9 })},
		"approval key used": {"as the identity key of vault 1", replace(resigned(t, func(v *Vault) {
			v.Approval, v.ApprovalArea = p256Public(t, "north-identity"), approvalArea(t, p256Public(t, "north-identity"))
		}), 9)},
		"approval key its own":  {"serves", replace(resigned(t, func(v *Vault) { v.Approval, v.ApprovalArea = v.Identity, approvalArea(t, v.Identity) }), 9)},
		"approval without area": {"an approval key comes with its area", replace(resigned(t, func(v *Vault) { v.Approval = p256Public(t, "a") }), 9)},
	} {
		_, err := st.Apply(vaultOrder(st, c.o, "alice", "bob"), 0)
		if r := refusal.As(err); r == nil || r.Code != "change.body" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := st.Apply(vaultOrder(st, replace(card(t, "third", "third"), 9), "alice", "bob"), 0); err != nil {
		t.Error(err)
	}
}

func with(o *VaultOrder, edit func(*VaultOrder)) *VaultOrder { edit(o); return o }

func edited(t testing.TB, edit func(*Enrolment)) *Enrolment {
	e := card(t, "third", "third")
	edit(e)
	return e
}

func resigned(t testing.TB, edit func(*Vault)) *Enrolment {
	e := card(t, "third", "third")
	edit(&e.Vault)
	return sign(t, e, "third", "third")
}

func withLog(t testing.TB, person string) *Enrolment {
	e := card(t, "third", "third")
	e.Vault.Log = edPublic(person)
	st := e.Vault.Statement()
	e.Identity, e.Decision, e.Log = p256Sign(t, "third-identity", st), p256Sign(t, "third-decision", st), edSign(person, st)
	return e
}

func swapped(t testing.TB) *Enrolment {
	e := card(t, "spare", "third")
	e.Vault.Identity, e.Vault.Decision = e.Vault.Decision, e.Vault.Identity
	st := e.Vault.Statement()
	e.Identity, e.Decision, e.Log = p256Sign(t, "spare-decision", st), p256Sign(t, "spare-identity", st), edSign("third-log", st)
	return e
}

// Whoever takes a vault's retired key into a person's hand is refused.
func TestRetiredKeyInAPersonsHand(t *testing.T) {
	st := apply(t, start(t), replace(card(t, "spare", "spare"), 8))
	ro := sampleRoster(t)
	ro.Principals[3].Credentials[0] = edPublic("south-log")
	_, err := st.Apply(signedBy(&SignedChange{Change: Change{Cluster: st.Cluster, Seq: 2, Prev: st.Head, Kind: KindRoster, Body: ro.Encode(), Author: "bob"}}, "alice", "bob"), 0)
	if err == nil || !strings.Contains(err.Error(), "is a key of vault 2") {
		t.Error(err)
	}
}

func TestVaultOrderRefused(t *testing.T) {
	st := start(t)
	for name, c := range map[string]struct {
		want string
		o    *VaultOrder
	}{
		"unknown action":        {"unknown value 5, want 1 to 4", with(lift(2, 0), func(o *VaultOrder) { o.Action = 5 })},
		"resume from nothing":   {"every log begins with the genesis", with(resume(3), func(o *VaultOrder) { o.From = Position{} })},
		"resume without a head": {"nothing is given up", with(resume(3), func(o *VaultOrder) { o.Held = Position{} })},
		"resume, boot 0":        {"(would pass: a boot number of at least 1)", resume(0)},
		"resume with a card":    {"it names a card, which belongs to replace", with(resume(3), func(o *VaultOrder) { o.Enrolment = card(t, "spare", "spare") })},
		"resume with a peer":    {"it names a peer, which belongs to lift", with(resume(3), func(o *VaultOrder) { o.Peer = 1 })},
		"lift, no such vault":   {"there is no vault 7", lift(7, 0)},
		"lift, vault 0":         {"there is no vault 0", lift(0, 0)},
		"lift, no such peer":    {"there is no such pair", lift(2, 7)},
		"lift, peer of itself":  {"there is no such pair", lift(2, 2)},
		"lift with a boot":      {"it names a boot number, which belongs to replace", with(lift(2, 0), func(o *VaultOrder) { o.Boot = 1 })},
		"suspend with a peer":   {"it names a peer", with(suspend(2), func(o *VaultOrder) { o.Peer = 1 })},
		"reason of two lines":   {"reason: text", with(suspend(2), func(o *VaultOrder) { o.Reason = "a\nb" })},
		"long reason":           {"reason", with(suspend(2), func(o *VaultOrder) { o.Reason = strings.Repeat("x", 257) })},
	} {
		_, err := st.Apply(vaultOrder(st, c.o, "alice", "bob"), 0)
		if r := refusal.As(err); r == nil || r.Code != "change.body" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	c := vaultOrder(st, lift(2, 0), "alice", "bob")
	c.Change.Body = []byte{1, 3}
	if _, err := st.Apply(signedBy(c, "alice", "bob"), 0); err == nil || refusal.As(err).Code != "change.body" {
		t.Errorf("a broken order: %v", err)
	}
}

// One admin suspends; whatever lets a vault take part again takes the quorum.
func TestVaultOrderQuorum(t *testing.T) {
	st := start(t)
	if _, err := st.Apply(vaultOrder(st, suspend(2)), 0); err == nil {
		t.Error("a suspension that nobody signed")
	}
	next, err := st.Apply(vaultOrder(st, suspend(2), "alice"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := next.Suspended(2); !ok || c.Seq != 1 || c.Hash != next.Head {
		t.Errorf("vault 2 is not suspended: %+v", c)
	}
	if _, ok := next.Suspended(1); ok {
		t.Error("vault 1 is suspended too")
	}
	for name, o := range map[string]*VaultOrder{"resume": resume(3), "lift": lift(2, 0), "lift of a pair": lift(2, 1), "replace": replace(card(t, "spare", "spare"), 3)} {
		if _, err := next.Apply(vaultOrder(next, o, "alice"), 0); err == nil || refusal.As(err).Code != "change.quorum" {
			t.Errorf("%s by one admin: %v", name, err)
		}
		after := apply(t, next, o)
		if _, ok := after.Suspended(2); ok != (name != "lift") {
			t.Errorf("%s: suspended is %v afterwards: only its lift ends a suspension", name, ok)
		}
		if n := len(after.VaultOrders); n != 2 || after.VaultOrders[1].Action != o.Action || after.VaultOrders[1].Seq != 2 {
			t.Errorf("%s: %d orders in force", name, n)
		}
	}
	again := apply(t, apply(t, next, lift(2, 0)), suspend(2))
	if c, ok := again.Suspended(2); !ok || c.Seq != 3 {
		t.Error("it can't be suspended again")
	}
}

// Of two resumes only the later boot counts: an order is not carried out twice.
func TestResumeBootsGrow(t *testing.T) {
	st := apply(t, start(t), resume(5))
	if st.MinBoot(2) != 5 {
		t.Errorf("least boot %d", st.MinBoot(2))
	}
	if _, err := st.Apply(vaultOrder(st, resume(5), "alice", "bob"), 0); err == nil || !strings.Contains(err.Error(), "at least 6") {
		t.Error(err)
	}
	apply(t, st, resume(6))
}

const measurementsJSON = `{
  "emulators": true,
  "keys": [{"key": "%064x", "note": "rack 4"}],
  "measurements": [{"name": "debian 13", "pcrs": [0, 1, 7], "digest": "%064x", "firmware": "1a"}]
}`

// What the machines may run takes the quorum, and replaces what was in force.
func TestMeasurements(t *testing.T) {
	st := start(t)
	p, err := ParseMeasurementsJSON(fmt.Appendf(nil, measurementsJSON, 5, 6))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Keys) != 1 || p.Keys[0].AK[31] != 5 || len(p.Measurements) != 1 || p.Measurements[0].Mask != 0x83 || p.Measurements[0].Firmware != 0x1a || !p.Emulators {
		t.Errorf("%+v", p)
	}
	again, err := ParseMeasurementsJSON(MeasurementsJSON(p))
	if diff := cmp.Diff(p, again); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	m := func(body []byte, who ...string) *SignedChange {
		return signedBy(&SignedChange{Change: Change{Cluster: st.Cluster, Seq: 1, Prev: st.Head, Kind: KindMeasurements, Body: body, Author: "alice"}}, who...)
	}
	if _, err := st.Apply(m(p.Encode(), "alice"), 0); err == nil || refusal.As(err).Code != "change.quorum" {
		t.Errorf("by one admin: %v", err)
	}
	if _, err := st.Apply(m([]byte{1}, "alice", "bob"), 0); err == nil || refusal.As(err).Code != "change.body" {
		t.Errorf("undecodable: %v", err)
	}
	next, err := st.Apply(m(p.Encode(), "alice", "bob"), 0)
	if err != nil || !next.Measurements.Demands() || st.Measurements.Demands() {
		t.Errorf("%v, %+v", err, next.Measurements)
	}
	for want, doc := range map[string]string{
		"want 64 hex digits": strings.Replace(measurementsJSON, "%064x", "12", 1),
		"firmware":           strings.Replace(measurementsJSON, "1a", "x", 1),
		"from 0 to 23":       strings.Replace(measurementsJSON, "[0, 1, 7]", "[24]", 1),
		"pcrs":               strings.Replace(measurementsJSON, `"pcrs": [0, 1, 7],`, "", 1),
		"some of 0 to 23":    strings.Replace(measurementsJSON, "[0, 1, 7]", "[]", 1),
	} {
		if strings.Count(doc, "%064x") == 2 {
			doc = fmt.Sprintf(doc, 5, 6)
		} else {
			doc = fmt.Sprintf(doc, 6)
		}
		if _, err := ParseMeasurementsJSON([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A tier order takes the quorum, names a tier and nothing else; the newest counts.
func TestTier(t *testing.T) {
	st := start(t)
	set := func(tier Tier) func(*KeyOrder) {
		return func(o *KeyOrder) { *o = KeyOrder{Action: SetTier, Key: o.Key, Name: o.Name, Epoch: 1, Tier: tier} }
	}
	if _, err := st.Apply(keyChange(t, st, set(TierCold), "alice"), 0); err == nil || refusal.As(err).Code != "change.quorum" {
		t.Errorf("by one admin: %v", err)
	}
	for name, c := range map[string]struct {
		want string
		edit func(*KeyOrder)
	}{
		"no tier":         {"custody tier: unknown value 0 (would pass: hot (1), warm (2) or cold (3))", set(0)},
		"tier 4":          {"custody tier: unknown value 4", set(4)},
		"with parties":    {"stay as they are", func(o *KeyOrder) { o.Action, o.Tier = SetTier, TierWarm }},
		"tier of reshare": {"it names a custody tier, which stays as it is", func(o *KeyOrder) { o.Tier = TierHot }},
		"insist":          {"it insists on devices that are alike", func(o *KeyOrder) { set(TierWarm)(o); o.Insist = true }},
	} {
		if _, err := st.Apply(keyChange(t, st, c.edit, "alice", "bob"), 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	next, err := st.Apply(keyChange(t, st, set(TierCold), "alice", "bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	last, err := next.Apply(keyChange(t, next, set(TierWarm), "alice", "bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c, d := st.Tier([32]byte{1}, TierHot), next.Tier([32]byte{1}, TierHot), last.Tier([32]byte{1}, TierHot), last.Tier([32]byte{2}, TierHot); a != TierHot || b != TierCold || c != TierWarm || d != TierHot {
		t.Errorf("tiers %v %v %v %v", a, b, c, d)
	}
	for _, tier := range []Tier{TierHot, TierWarm, TierCold} {
		if got, err := ParseTier(tier.String()); err != nil || got != tier {
			t.Errorf("%v: %v", tier, err)
		}
	}
	if _, err := ParseTier("tepid"); err == nil || !strings.Contains(err.Error(), "want hot, warm or cold") {
		t.Error(err)
	}
	o := order(st)
	o.Tier = 0
	o.Signature = edSign("bob", o.Statement())
	if err := st.CheckKeygen(o, o.Created); err == nil || refusal.As(err).Code != "keygen.invalid" {
		t.Errorf("a key without a tier: %v", err)
	}
}

// fullCard is a card with everything that a card can hold.
func fullCard(t testing.TB) *Enrolment {
	e := card(t, "third", "third")
	e.Vault.Approval, e.Vault.ApprovalArea, e.Vault.Evidence = p256Public(t, "third-approval"), approvalArea(t, p256Public(t, "third-approval")), []byte("evidence")
	return sign(t, e, "third", "third")
}

// An admin who signs for a new card sees whether, and by whose policy, its device asks
// people.
func TestReplaceShowsApproval(t *testing.T) {
	for _, c := range []struct {
		want string
		e    *Enrolment
	}{
		{`"approval": "none"`, card(t, "third", "third")},
		{`"approval": "` + p256Public(t, "third-approval").String() + `"`, fullCard(t)},
		{`"approval_policy": "`, fullCard(t)},
	} {
		if j := string(replace(c.e, 3).JSON()); !strings.Contains(j, c.want) {
			t.Errorf("want %s in %s", c.want, j)
		}
	}
}

func TestVaultOrderRoundTrips(t *testing.T) {
	for _, o := range []*VaultOrder{resume(3), lift(2, 1), suspend(2), replace(fullCard(t), 3)} {
		b := o.Encode()
		back, err := DecodeVaultOrder(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o, back); diff != "" {
			t.Error(diff)
		}
		for n := range b {
			if _, err := DecodeVaultOrder(b[:n]); err == nil {
				t.Errorf("%v: the first %d bytes decode", o.Action, n)
			}
		}
		if j := string(o.JSON()); !strings.Contains(j, o.Action.String()) || !strings.Contains(j, o.Reason) {
			t.Error(j)
		}
	}
	if VaultAction(9).String() != "vault-action-9" || Tier(9).String() != "tier-9" {
		t.Error("names of unknown numbers")
	}
}

// TestGolden pins the bytes of what docs/spec/governance.md specifies. Keys and
// texts are fixed, signatures are not in it.
func TestGolden(t *testing.T) {
	v := fullCard(t).Vault
	keygen := order(start(t))
	keygen.Cluster, keygen.Tier, keygen.Insist = [32]byte{7}, TierCold, true
	reshare := &KeyOrder{Action: Reshare, Key: [32]byte{1}, Name: "treasury", Epoch: 1, Parties: []uint16{1, 2, 3}, Threshold: 2, Insist: true}
	tier := &KeyOrder{Action: SetTier, Key: [32]byte{1}, Name: "treasury", Epoch: 4, Tier: TierWarm}
	var lines []string
	for _, g := range []struct {
		name string
		b    []byte
	}{
		{"card", v.Encode()}, {"keygen", keygen.Statement().Body}, {"reshare", reshare.Encode()}, {"tier", tier.Encode()},
		{"resume", resume(3).Encode()}, {"lift", lift(2, 1).Encode()}, {"suspend", suspend(2).Encode()},
	} {
		lines = append(lines, g.name+" "+hex.EncodeToString(g.b))
	}
	got := strings.Join(lines, "\n") + "\n"
	want, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("encodings changed (sha256 %x); a new encoding takes a new version:\n%s", sha256.Sum256([]byte(got)), got)
	}
}

func FuzzDecodeVaultOrder(f *testing.F) {
	for _, o := range []*VaultOrder{resume(3), lift(2, 1), suspend(2), replace(fullCard(f), 3)} {
		f.Add(o.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := DecodeVaultOrder(b); err == nil && string(o.Encode()) != string(b) {
			t.Errorf("%x encodes to %x", b, o.Encode())
		}
	})
}
