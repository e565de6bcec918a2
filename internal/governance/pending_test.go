package governance

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/refusal"
)

const (
	day = 24 * 3600 * 1000
	t0  = uint64(1_700_000_000_000)
)

// cooling is the sample cluster with a cooling-off time of a day.
func cooling(t testing.TB) *State {
	t.Helper()
	g := sampleGenesis(t)
	g.Cooling, g.Policy = day, samplePolicy(t, "3")
	st, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// next is the next change of a state.
func next(st *State, kind Kind, body []byte, who ...string) *SignedChange {
	author := "alice"
	if kind == KindFreeze && len(who) > 0 { // it is in its author's name
		author = who[0]
	}
	return signedBy(&SignedChange{Change: Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: kind, Body: body, Created: t0, Author: author,
	}}, who...)
}

func adopt(t testing.TB, st *State, at uint64, kind Kind, body []byte, who ...string) *State {
	t.Helper()
	after, err := st.Apply(next(st, kind, body, who...), at)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func refused(t testing.TB, st *State, at uint64, code, want string, kind Kind, body []byte, who ...string) {
	t.Helper()
	_, err := st.Apply(next(st, kind, body, who...), at)
	if r := refusal.As(err); r == nil || r.Code != code || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s: %s", err, code, want)
	}
}

func sendTo(count string, t testing.TB) []byte { return samplePolicy(t, count).Encode() }

func status(t testing.TB, st *State, seq uint64) Status {
	t.Helper()
	f, ok := st.Fate(seq)
	if !ok {
		t.Fatalf("no change %d", seq)
	}
	return f.Status
}

var both = []string{"alice", "bob"}

// A loosening change is adopted at once and in force when its time has come, to the
// millisecond.
func TestLooseningWaits(t *testing.T) {
	st := cooling(t)
	was, root := st.Policy.Root(), st.InForce()
	st = adopt(t, st, t0, KindPolicy, sendTo("2", t), both...)
	if st.Seq != 1 || st.Policy.Root() != was || st.InForce() != root || st.NextDue() != t0+day || status(t, st, 1) != Waiting {
		t.Fatalf("%+v", st.Fates)
	}
	if st.At(t0+day-1) != st {
		t.Error("in force a millisecond before its time")
	}
	now := st.At(t0 + day)
	if now.Policy.Root() == was || now.InForce() == root || len(now.Pending) != 0 || status(t, now, 1) != InForce {
		t.Errorf("not in force at its time: %+v", now.Fates)
	}
	if now.Head != st.Head || st.Policy.Root() != was {
		t.Error("At changed the chain, or the state that it was asked")
	}
	// A next change finds what has come in force meanwhile, without At.
	later := adopt(t, st, t0+2*day, KindFreeze, (&Freeze{Reason: "stop"}).Encode(), "alice")
	if later.Policy.Root() != now.Policy.Root() {
		t.Error("adopting a change does not put in force what was due")
	}
}

// Classify: what each change is called. The reasons are for people.
func TestClassify(t *testing.T) {
	st := cooling(t)
	edit := func(f func(r *identity.Roster)) []byte {
		r := sampleRoster(t)
		f(r)
		r.Sort()
		return r.Encode()
	}
	strict := attest.Policy{Keys: []attest.TrustedKey{{AK: [32]byte{1}}, {AK: [32]byte{2}}}, Measurements: []attest.Measurement{{Kind: attest.KindTPM, Name: "m", Mask: 1, Digest: [32]byte{1}}}}.Normalize()
	measured := adopt(t, st, t0, KindMeasurements, strict.Encode(), both...)
	fewer, other, emulated := strict, strict, strict
	fewer.Keys = fewer.Keys[:1]
	other.Measurements = []attest.Measurement{{Kind: attest.KindTPM, Name: "n", Mask: 1, Digest: [32]byte{2}}}
	emulated.Emulators = true
	chained := adopt(t, st, t0, KindChains, EncodeChains([]string{"eip155:1", "eip155:5"}), both...)
	for name, c := range map[string]struct {
		st   *State
		kind Kind
		body []byte
		want Class
		why  string
	}{
		"same policy":   {st, KindPolicy, sendTo("3", t), Tightening, "the same"},
		"other policy":  {st, KindPolicy, samplePolicy(t, "2").Encode(), Loosening, ""},
		"same roster":   {st, KindRoster, edit(func(*identity.Roster) {}), Tightening, ""},
		"admin removed": {st, KindRoster, edit(func(r *identity.Roster) { r.Groups[0].Members = both }), Tightening, "takes away"},
		"higher quorum": {st, KindRoster, edit(func(r *identity.Roster) { r.AdminQuorum = 3 }), Tightening, ""},
		"lower quorum":  {st, KindRoster, edit(func(r *identity.Roster) { r.AdminQuorum = 1 }), Loosening, "from 2 to 1"},
		"new key": {st, KindRoster, edit(func(r *identity.Roster) {
			r.Principals[0].Credentials = append(r.Principals[0].Credentials, edPublic("x"))
		}), Loosening, "gives alice the key"},
		"other key": {st, KindRoster, edit(func(r *identity.Roster) { r.Principals[0].Credentials[0] = edPublic("x") }), Loosening, "gives alice the key"},
		"new person": {st, KindRoster, edit(func(r *identity.Roster) {
			r.Principals = append(r.Principals, identity.Principal{ID: "zoe", Kind: identity.Person, Credentials: r.Principals[0].Credentials[:0:0]})
			r.Principals[4].Credentials = append(r.Principals[4].Credentials, edPublic("zoe"))
		}), Loosening, "gives somebody"},
		"person gone": {st, KindRoster, edit(func(r *identity.Roster) {
			r.Principals = r.Principals[:3]
			r.Groups[1].Members = []string{"bob", "carol"}
		}), Tightening, ""},
		"into a group":      {st, KindRoster, edit(func(r *identity.Roster) { r.Groups[1].Members = append(r.Groups[1].Members, "alice") }), Loosening, "puts alice into the group approvers"},
		"suspend":           {st, KindVault, suspend(2).Encode(), Tightening, ""},
		"lift":              {st, KindVault, lift(2, 1).Encode(), Loosening, ""},
		"resume":            {st, KindVault, resume(3).Encode(), Loosening, ""},
		"replace":           {st, KindVault, replace(card(t, "third", "third"), 3).Encode(), Loosening, ""},
		"first evidence":    {st, KindMeasurements, strict.Encode(), Tightening, "nothing was demanded"},
		"no evidence":       {measured, KindMeasurements, attest.Policy{}.Encode(), Loosening, "demands no evidence"},
		"fewer keys":        {measured, KindMeasurements, fewer.Encode(), Tightening, ""},
		"other measurement": {measured, KindMeasurements, other.Encode(), Loosening, "another measurement, n"},
		"emulators":         {measured, KindMeasurements, emulated.Encode(), Loosening, "emulators"},
		"first chains":      {st, KindChains, EncodeChains([]string{"eip155:1"}), Tightening, ""},
		"fewer chains":      {chained, KindChains, EncodeChains([]string{"eip155:5"}), Tightening, ""},
		"another chain":     {chained, KindChains, EncodeChains([]string{"eip155:1", "eip155:10"}), Loosening, "eip155:10"},
		"every chain":       {chained, KindChains, EncodeChains(nil), Loosening, "every chain"},
		"freeze":            {st, KindFreeze, (&Freeze{Reason: "x"}).Encode(), Tightening, ""},
		"thaw":              {st, KindFreeze, (&Freeze{Thaw: true, Reason: "x"}).Encode(), Loosening, ""},
		"garbage":           {st, KindPolicy, []byte{9}, Unknown, "couldn't decode"},
	} {
		got, why := c.st.Classify(&Change{Kind: c.kind, Body: c.body})
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, got, why, c.want, c.why)
		}
	}
	for o, want := range map[Action]Class{Refresh: Tightening, Abandon: Tightening, Erase: Tightening, Reshare: Loosening} {
		if j := st.judgeKey(&KeyOrder{Action: o}); j.Class != want {
			t.Errorf("%s: %s", o, j.Class)
		}
	}
}

// Tiers: colder is never weaker; warmer is, unless it is known what the key was in.
func TestClassifyTier(t *testing.T) {
	st := cooling(t)
	set := func(tier Tier) *KeyOrder {
		return &KeyOrder{Action: SetTier, Key: [32]byte{1}, Name: "treasury", Epoch: 1, Tier: tier}
	}
	for _, tier := range []Tier{TierHot, TierWarm} {
		if j := st.judgeKey(set(tier)); j.Class != Loosening {
			t.Errorf("%s: %s", tier, j.Class)
		}
	}
	st = adopt(t, st, t0, KindKey, set(TierHot).Encode(), both...).At(t0 + day)
	if j := st.judgeKey(set(TierWarm)); j.Class != Tightening {
		t.Errorf("hot to warm: %s (%s)", j.Class, j.Reason)
	}
	st = adopt(t, st, t0+day, KindKey, set(TierCold).Encode(), both...)
	if st.Tier([32]byte{1}, TierHot) != TierCold {
		t.Error("cold waits")
	}
	if j := st.judgeKey(set(TierWarm)); j.Class != Loosening {
		t.Errorf("cold to warm: %s", j.Class)
	}
}

// One admin withdraws what waits; what is in force already stays.
func TestWithdraw(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindPolicy, sendTo("2", t), both...)
	was := st.InForce()
	refused(t, st, t0, "change.quorum", "", KindWithdraw, (&Withdrawal{Seq: 1, Reason: "x"}).Encode())
	refused(t, st, t0, "change.body", "no change 2 before it", KindWithdraw, (&Withdrawal{Seq: 2, Reason: "x"}).Encode(), "carol")
	early := adopt(t, st, t0+day-1, KindWithdraw, (&Withdrawal{Seq: 1, Reason: "wrong address"}).Encode(), "carol")
	if early.At(t0+2*day).InForce() != was || status(t, early, 1) != Withdrawn {
		t.Errorf("withdrawn, and in force all the same: %+v", early.Fates)
	}
	late := adopt(t, st, t0+day, KindWithdraw, (&Withdrawal{Seq: 1, Reason: "wrong address"}).Encode(), "carol")
	if late.InForce() == was || status(t, late, 1) != InForce || status(t, late, 2) != NoEffect || late.Seq != 2 {
		t.Errorf("too late a withdrawal: %+v", late.Fates)
	}
	if err := late.CheckChange(&next(late, KindWithdraw, (&Withdrawal{Seq: 1, Reason: "x"}).Encode()).Change, t0+day); err == nil || !strings.Contains(err.Error(), "does not wait") {
		t.Errorf("worth signing: %v", err)
	}
}

// A newer word of the same kind takes the place of what waits, be it instant or not.
func TestSuperseded(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindPolicy, sendTo("2", t), both...)
	st = adopt(t, st, t0+1, KindPolicy, sendTo("1", t), both...)
	if status(t, st, 1) != Superseded || st.NextDue() != t0+1+day {
		t.Errorf("%+v", st.Fates)
	}
	same := adopt(t, st, t0+2, KindPolicy, sendTo("3", t), both...) // as it is: tightening, at once
	if len(same.Pending) != 0 || same.At(t0+9*day).Policy.Root() != same.Policy.Root() {
		t.Error("a pending policy outlives a newer one that is in force at once")
	}
	// Another kind does not matter.
	kept := adopt(t, st, t0+2, KindChains, EncodeChains([]string{"eip155:1"}), both...)
	if status(t, kept, 2) != Waiting {
		t.Error("chains superseded a policy")
	}
	// A suspension ends a lift of it that waits.
	v := adopt(t, cooling(t), t0, KindVault, lift(2, 0).Encode(), both...)
	v = adopt(t, v, t0+1, KindVault, suspend(2).Encode(), "bob")
	if _, suspended := v.At(t0 + 2*day).Suspended(2); !suspended {
		t.Error("an older lift undid a newer suspension")
	}
}

func compile(text string) *policy.Document { return source.MustCompile(text) }

// byBook lets one approver pay to what is known, and three to anybody.
func byBook() *policy.Document {
	return compile(`
rules:
  - name: known
    when: onlyTransfers && transfers.all(t, t.to.labelled("known"))
    then: {require: {approvers: 1}}
  - name: anybody
    when: onlyTransfers
    then: {require: {approvers: 3}}
addressBook:
  known: []
`)
}

// The address book: additions cool off, removals are not proven harmless either until
// policy is looked at; what was removed does not come back by what waited; and what
// came later than a policy survives that policy.
func TestBook(t *testing.T) {
	x := Labelled{"known", "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"}
	y := Labelled{"known", "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D"}
	add := func(l ...Labelled) []byte { b := &Book{Add: l}; b.Sort(); return b.Encode() }
	remove := func(l ...Labelled) []byte { b := &Book{Remove: l}; b.Sort(); return b.Encode() }
	in := func(st *State, l Labelled) bool {
		for _, e := range st.Policy.AddressBook {
			for _, a := range e.Addresses {
				if e.Label == l.Label && a == l.Address {
					return true
				}
			}
		}
		return false
	}
	g := sampleGenesis(t)
	g.Cooling, g.Policy = day, byBook()
	first, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	if class, why := first.Classify(&Change{Kind: KindBook, Body: (&Book{Add: []Labelled{{"nobody-asks", x.Address}}}).Encode()}); class != Tightening {
		t.Errorf("a label that no rule speaks of: %s: %s", class, why)
	}
	st := adopt(t, first, t0, KindBook, add(x), both...)
	if in(st, x) || !in(st.At(t0+day), x) {
		t.Error("a new address does not cool off")
	}
	two := adopt(t, st, t0+1, KindBook, add(y), both...)
	if after := two.At(t0 + 2*day); !in(after, x) || !in(after, y) {
		t.Error("one addition superseded another")
	}
	gone := adopt(t, two, t0+2, KindBook, remove(x), both...).At(t0 + 3*day)
	if in(gone, x) || !in(gone, y) || status(t, gone, 1) != Superseded {
		t.Errorf("removed while it waited: %+v", gone.Fates)
	}
	// A policy that was written before the removal does not bring it back.
	doc := byBook()
	doc.Rules[1].Then.Require[0].Count = 2
	doc.AddressBook = []policy.Entry{{Label: "known", Addresses: []string{x.Address, y.Address}}}
	waits := adopt(t, st.At(t0+day), t0+day, KindPolicy, doc.Encode(), both...)
	waits = adopt(t, waits, t0+day+1, KindBook, remove(x), both...)
	if after := waits.At(t0 + 5*day); in(after, x) || !in(after, y) {
		t.Error("an older policy brought back what was removed since")
	}
	// A newer policy is whole: what waited for the book is over.
	whole := adopt(t, st, t0+1, KindPolicy, samplePolicy(t, "2").Encode(), both...)
	if after := whole.At(t0 + 3*day); in(after, x) || status(t, after, 1) != Superseded {
		t.Error("an addition outlived a newer policy")
	}
}

// One admin freezes, at once; the quorum thaws, at once. Each thaw is of what it names.
func TestFreeze(t *testing.T) {
	st, w := cooling(t), [32]byte{7}
	stop := func(w [32]byte) []byte { return (&Freeze{Wallet: w, Reason: "phishing"}).Encode() }
	thaw := func(w [32]byte) []byte { return (&Freeze{Wallet: w, Thaw: true, Reason: "looked into"}).Encode() }
	if err := st.CheckSigning(w, "eip155:1"); err != nil {
		t.Fatal(err)
	}
	inAnothersName := next(st, KindFreeze, stop(w), "carol")
	inAnothersName.Change.Author = "bob"
	if _, err := st.Apply(signedBy(inAnothersName, "carol"), t0); refusal.As(err) == nil || refusal.As(err).Code != "change.author" {
		t.Errorf("carol freezes in bob's name: %v", err)
	}
	st = adopt(t, st, t0, KindFreeze, stop(w), "carol")
	err := st.CheckSigning(w, "eip155:1")
	if r := refusal.As(err); r == nil || r.Code != "wallet.frozen" || !strings.Contains(err.Error(), "frozen by carol in change 1: phishing") {
		t.Errorf("%v", err)
	}
	if err := st.CheckSigning([32]byte{8}, "eip155:1"); err != nil {
		t.Error(err)
	}
	refused(t, st, t0, "change.body", "frozen already", KindFreeze, stop(w), "carol")
	refused(t, st, t0, "change.quorum", "", KindFreeze, thaw(w), "alice")
	refused(t, st, t0, "change.body", "not frozen", KindFreeze, thaw([32]byte{}), both...)
	st = adopt(t, st, t0, KindFreeze, stop([32]byte{}), "bob")
	if st.CheckSigning([32]byte{8}, "eip155:1") == nil {
		t.Error("all are frozen, and one is not")
	}
	st = adopt(t, st, t0, KindFreeze, thaw([32]byte{}), both...)
	if st.CheckSigning([32]byte{8}, "eip155:1") != nil || st.CheckSigning(w, "eip155:1") == nil {
		t.Error("a thaw of all thaws what was frozen by itself, or nothing")
	}
	if st = adopt(t, st, t0, KindFreeze, thaw(w), both...); st.CheckSigning(w, "eip155:1") != nil {
		t.Error("still frozen")
	}
}

func TestChains(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindChains, EncodeChains([]string{"eip155:1", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}), both...)
	if err := st.CheckSigning([32]byte{1}, "eip155:1"); err != nil {
		t.Error(err)
	}
	if r := refusal.As(st.CheckSigning([32]byte{1}, "eip155:5")); r == nil || r.Code != "chain.closed" {
		t.Errorf("%v", r)
	}
	for _, bad := range [][]string{{"eip155:5", "eip155:1"}, {"eip155:1", "eip155:1"}, {"mainnet"}} {
		if _, err := DecodeChains(EncodeChains(bad)); err == nil {
			t.Errorf("%v decodes", bad)
		}
	}
}

// A change that tightens what is in force is none that tightens if it opens a door
// for what waits.
func TestTighteningWithWhatWaits(t *testing.T) {
	st := cooling(t)
	// In force the quorum is 2. A roster with quorum 3 waits, since it also adds a key.
	ro := sampleRoster(t)
	ro.Principals[0].Credentials = append(ro.Principals[0].Credentials, edPublic("x"))
	ro.Sort()
	st = adopt(t, st, t0, KindRoster, ro.Encode(), both...)
	// A policy about a group that is only in the roster that waits fits what will be.
	ro.Groups = append(ro.Groups, identity.Group{Name: "traders", Members: []string{"alice", "dave"}})
	ro.Sort()
	st = adopt(t, st, t0+1, KindRoster, ro.Encode(), both...)
	doc := samplePolicy(t, "1")
	doc.Rules[0].Then.Require[0].Group = "traders"
	refused(t, cooling(t), t0, "change.body", "traders", KindPolicy, doc.Encode(), both...)
	st = adopt(t, st, t0+2, KindPolicy, doc.Encode(), both...)
	// Back to the first roster: nothing but a removal, as seen from either. It is in
	// force at once, and the policy that needs the group is dropped when its time comes.
	st = adopt(t, st, t0+3, KindRoster, sampleRoster(t).Encode(), both...)
	end := st.At(t0 + 2*day)
	if f, _ := end.Fate(3); f.Status != Dropped || !strings.Contains(f.Detail, "traders") || status(t, end, 2) != Superseded {
		t.Errorf("%+v", end.Fates)
	}
	if end.Policy.Root() != cooling(t).Policy.Root() {
		t.Error("a policy is in force that does not fit the roster")
	}
}

// A change that tightens by the policy in force, and not by the one that waits, waits
// with it: otherwise it would open at the last moment what nobody could see coming.
func TestJudgedByWhatWaits(t *testing.T) {
	less := sampleRoster(t)
	less.Groups[1].Members = []string{"bob", "carol"} // dave stays, and is no approver
	c := &Change{Kind: KindRoster, Body: less.Encode()}
	st := cooling(t)
	if class, why := st.Classify(c); class != Tightening {
		t.Errorf("in force alone: %s: %s", class, why)
	}
	st = adopt(t, st, t0, KindPolicy, compile(`
rules:
  - name: others
    when: onlyTransfers && !initiator.inGroup("approvers")
    then: {require: {approvers: 2}}
`).Encode(), "alice", "bob", "carol")
	if class, why := st.Classify(c); class == Tightening || !strings.Contains(why, "with what waits already") {
		t.Errorf("with what waits: %s: %s", class, why)
	}
}

// A policy signed by admins who are removed already, and one signed by those who are
// not admins yet.
func TestRemovedAdmins(t *testing.T) {
	ro := sampleRoster(t)
	ro.Groups[0].Members = []string{"bob", "carol", "dave"}
	st := adopt(t, cooling(t), t0, KindRoster, ro.Encode(), both...)
	refused(t, st, t0+1, "governance.admin", "dave", KindPolicy, sendTo("2", t), "alice", "dave")
	late := next(st, KindPolicy, sendTo("2", t), "alice", "bob")
	if _, err := st.Apply(late, t0+day); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
		t.Errorf("signed by a removed admin: %v", err)
	}
	if _, err := st.Apply(late, t0+day-1); err != nil {
		t.Errorf("signed by an admin whose removal waits: %v", err)
	}
	// Removal alone is instant.
	out := sampleRoster(t)
	out.Groups[0].Members = []string{"bob", "carol"}
	now := adopt(t, cooling(t), t0, KindRoster, out.Encode(), "bob", "carol")
	refused(t, now, t0, "governance.admin", "alice", KindPolicy, sendTo("2", t), both...)
}

// Backdate: as if the change had been adopted earlier, never later, never before the
// one before it.
func TestBackdate(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindChains, EncodeChains([]string{"eip155:1"}), both...)
	st = adopt(t, st, t0+10*day, KindPolicy, sendTo("2", t), both...)
	st = adopt(t, st, t0+10*day+5, KindFreeze, (&Freeze{Reason: "x"}).Encode(), "bob")
	back, err := st.Backdate(2, t0+9*day+7)
	if err != nil || back.NextDue() != t0+10*day+7 {
		t.Fatalf("%v: %+v", err, back.Fates)
	}
	if back.Head != st.Head || back.Seq != st.Seq || len(back.Frozen) != 1 {
		t.Error("the chain changed")
	}
	if same, err := st.Backdate(2, t0+11*day); err != nil || same != st {
		t.Errorf("later: %v", err)
	}
	early, err := st.Backdate(2, 0)
	if f, _ := early.Fate(2); err != nil || f.Adopted != t0 {
		t.Errorf("before the change before it: %v", err)
	}
	for _, seq := range []uint64{0, 1, 3, 4} {
		if _, err := st.Backdate(seq, t0); refusal.As(err) == nil || refusal.As(err).Code != "change.adopted" {
			t.Errorf("%d: %v", seq, err)
		}
	}
	// It stays as exact afterwards: At, and a second time.
	if twice, err := st.Backdate(2, t0+9*day+9); err != nil || status(t, twice.At(t0+10*day+9), 2) != InForce {
		t.Errorf("%v", err)
	}
}

// Forecast says beforehand what Apply does.
func TestForecast(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindPolicy, sendTo("2", t), both...)
	f, err := st.Forecast(&next(st, KindPolicy, sendTo("1", t)).Change, t0+5)
	if err != nil || f.Class != Loosening || f.Due != t0+5+day || f.Quorum != 2 || len(f.Supersedes) != 1 || f.Supersedes[0] != 1 {
		t.Errorf("%+v %v", f, err)
	}
	f, err = st.Forecast(&next(st, KindFreeze, (&Freeze{Reason: "x"}).Encode()).Change, t0+5)
	if err != nil || f.Class != Tightening || f.Due != t0+5 || f.Quorum != 1 {
		t.Errorf("%+v %v", f, err)
	}
	if f, err := st.Forecast(&next(st, KindFreeze, []byte{1}).Change, t0); err == nil {
		t.Errorf("%+v", f)
	}
}

func FuzzDecodeBook(f *testing.F) {
	law(f, DecodeBook, &Book{Add: []Labelled{{"known", "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"}}})
}

func FuzzDecodeFreeze(f *testing.F) { law(f, DecodeFreeze, &Freeze{Wallet: [32]byte{1}, Reason: "x"}) }

func FuzzDecodeWithdrawal(f *testing.F) { law(f, DecodeWithdrawal, &Withdrawal{Seq: 3, Reason: "x"}) }

func FuzzDecodeChains(f *testing.F) {
	f.Add(EncodeChains([]string{"eip155:1", "eip155:5"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeChains(b); err == nil && string(EncodeChains(c)) != string(b) {
			t.Errorf("%x encodes to %x", b, EncodeChains(c))
		}
	})
}

// TestPolicyInvariant: what the admins stated of their policy is proven wherever a
// policy comes from, or it does not come in force.
func TestPolicyInvariant(t *testing.T) {
	promise := func(count string, when policy.Expr) *policy.Document {
		d := samplePolicy(t, count)
		d.Invariants = []policy.Invariant{{Name: "two-people", When: when, AtLeast: policy.Floor{Approvals: 2}}}
		return d
	}
	always := policy.Expr{Op: policy.OpOnlyTransfers}
	st := cooling(t)
	st = adopt(t, st, t0, KindPolicy, promise("2", always).Encode(), both...)
	refused(t, st, t0, "policy.invariant", "\"two-people\" is broken", KindPolicy, promise("1", always).Encode(), both...)
	g := sampleGenesis(t)
	g.Policy = promise("1", always)
	if _, err := Start(g); refusal.As(err) == nil || refusal.As(err).Code != "policy.invariant" {
		t.Errorf("a genesis that breaks its own promise: %v", err)
	}
	// Nor is a promise dropped at once.
	if class, _ := st.At(t0 + day).Classify(&next(st, KindPolicy, sendTo("2", t)).Change); class == Tightening {
		t.Error("a promise is dropped at once")
	}
}
