package governance

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
)

// without is the sample roster without an admin, and otherwise edited.
func without(t testing.TB, who string, edits ...func(*identity.Roster)) []byte {
	t.Helper()
	r := sampleRoster(t)
	r.Groups[0].Members = slices.DeleteFunc(r.Groups[0].Members, func(m string) bool { return m == who })
	for _, f := range edits {
		f(r)
	}
	r.Sort()
	return r.Encode()
}

// gone takes a person out of the roster altogether.
func gone(who string) func(*identity.Roster) {
	return func(r *identity.Roster) {
		r.Principals = slices.DeleteFunc(r.Principals, func(p identity.Principal) bool { return p.ID == who })
		for i := range r.Groups {
			r.Groups[i].Members = slices.DeleteFunc(r.Groups[i].Members, func(m string) bool { return m == who })
		}
	}
}

// coolingAt is the sample cluster with a cooling-off time of a day and a policy that takes
// so many approvers.
func coolingAt(t testing.TB, count string) *State {
	t.Helper()
	g := sampleGenesis(t)
	g.Cooling, g.Policy = day, samplePolicy(t, count)
	st, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// leavers is a withdrawal that somebody signs with a key (of that name) for themselves.
func leavers(st *State, seq uint64, who, key string) *SignedChange {
	s := next(st, KindWithdraw, (&Withdrawal{Seq: seq, Reason: "not with me"}).Encode())
	s.Change.Author = who
	s.Signatures = []AdminSignature{{Principal: who, Key: edPublic(key), Signature: edSign(key, s.Change.Statement())}}
	return s
}

func withdrawn(t testing.TB, st *State, at, seq uint64, who, key string) *State {
	t.Helper()
	after, err := st.Apply(leavers(st, seq, who, key), at)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func refusedLeaver(t testing.TB, st *State, at, seq uint64, who, key, code, want string) {
	t.Helper()
	_, err := st.Apply(leavers(st, seq, who, key), at)
	if r := refusal.As(err); r == nil || r.Code != code || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s: %s", err, code, want)
	}
}

// Two admins remove the third at once and publish what they like: for one cooling-off
// time the third withdraws it, to the millisecond, and does nothing else.
func TestLeaverWithdraws(t *testing.T) {
	for name, body := range map[string][]byte{"from the admins": without(t, "carol"), "from the roster": without(t, "carol", gone("carol"))} {
		st := adopt(t, coolingAt(t, "2"), t0, KindRoster, body, both...)
		if st.Roster.InGroup("carol", identity.Admins) {
			t.Fatalf("%s: the removal waits", name)
		}
		st = adopt(t, st, t0+1, KindPolicy, sendTo("1", t), both...)
		was := st.InForce()
		early := withdrawn(t, st, t0+day-1, 2, "carol", "carol")
		if status(t, early, 2) != Withdrawn || early.At(t0+9*day).InForce() != was {
			t.Errorf("%s: %+v", name, early.Fates)
		}
		late := withdrawn(t, st, t0+day, 2, "carol", "carol")
		if f, _ := late.Fate(3); f.Status != NoEffect || !strings.Contains(f.Detail, "ended at 2023-11-15") || late.At(t0+9*day).InForce() == was {
			t.Errorf("%s: a millisecond too late: %+v", name, f)
		}
		// Long after it has no place in the chain at all.
		withdrawn(t, st, t0+day+LeaverGrace-1, 2, "carol", "carol")
		refusedLeaver(t, st, t0+day+LeaverGrace, 2, "carol", "carol", "change.leaver", "ended at")
		// Nothing else.
		for kind, body := range map[Kind][]byte{
			KindFreeze: (&Freeze{Reason: "stop"}).Encode(), KindVault: suspend(2).Encode(), KindPolicy: sendTo("2", t),
		} {
			s := next(st, kind, body)
			s.Change.Author = "carol"
			if _, err := st.Apply(signedBy(s, "carol"), t0+2); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
				t.Errorf("%s: carol's %s: %v", name, kind, err)
			}
		}
		// A leaver's signature does not count with an admin's, nor in an admin's name, nor an
		// admin's in a leaver's.
		mixed := next(st, KindWithdraw, (&Withdrawal{Seq: 2, Reason: "x"}).Encode())
		if _, err := st.Apply(signedBy(mixed, "carol"), t0+2); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
			t.Errorf("%s: in alice's name: %v", name, err)
		}
		mixed.Change.Author, mixed.Signatures = "carol", nil
		for _, who := range [][]string{{"alice", "carol"}, {"alice"}} {
			mixed.Signatures = nil
			if _, err := st.Apply(signedBy(mixed, who...), t0+2); refusal.As(err) == nil || refusal.As(err).Code != "governance.admin" {
				t.Errorf("%s: by %v: %v", name, who, err)
			}
		}
		forged := leavers(st, 2, "carol", "carol")
		forged.Signatures[0].Signature = edSign("dave", forged.Change.Statement())
		if _, err := st.Apply(forged, t0+2); refusal.As(err) == nil || refusal.As(err).Code != "identity.signature" {
			t.Errorf("%s: forged: %v", name, err)
		}
	}
}

// What somebody who was an admin may name: a change that can wait, each once.
func TestLeaverNames(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindRoster, without(t, "carol"), both...)
	st = adopt(t, st, t0, KindFreeze, (&Freeze{Reason: "stop"}).Encode(), "alice")
	st = adopt(t, st, t0, KindPolicy, sendTo("2", t), both...)
	refusedLeaver(t, st, t0, 0, "carol", "carol", "change.body", "no change 0")
	refusedLeaver(t, st, t0, 4, "carol", "carol", "change.body", "no change 4")
	refusedLeaver(t, st, t0, 2, "carol", "carol", "change.leaver", "never waits")
	refusedLeaver(t, st, t0, 3, "dave", "dave", "governance.admin", "dave is not an admin")
	refusedLeaver(t, st, t0, 3, "carol", "dave", "governance.admin", "carol is not an admin")
	idle := withdrawn(t, st, t0, 1, "carol", "carol") // it does not wait any more: whether it did, a clock says
	if status(t, idle, 4) != NoEffect || status(t, idle, 1) != InForce {
		t.Errorf("%+v", idle.Fates)
	}
	refusedLeaver(t, idle, t0, 1, "carol", "carol", "change.leaver", "already, by change 4")
	refusedLeaver(t, idle, t0, 4, "carol", "carol", "change.leaver", "never waits")
	if after := withdrawn(t, idle, t0, 3, "carol", "carol"); status(t, after, 3) != Withdrawn {
		t.Errorf("%+v", after.Fates)
	}
	// Where nothing waits there is nothing to withdraw.
	g := sampleGenesis(t)
	now, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	now = adopt(t, now, t0, KindRoster, without(t, "carol"), both...)
	refusedLeaver(t, now, t0, 1, "carol", "carol", "change.leaver", "ended")
}

// A removal that waits leaves the admin the right until it is in force, and one
// cooling-off time from then.
func TestLeaverOfARemovalThatWaits(t *testing.T) {
	swap := without(t, "carol", func(r *identity.Roster) {
		r.Groups[0].Members = append(r.Groups[0].Members, "dave")
	})
	st := adopt(t, cooling(t), t0, KindRoster, swap, both...)
	if status(t, st, 1) != Waiting {
		t.Fatal("in force at once")
	}
	st = st.At(t0 + day)
	st = adopt(t, st, t0+2*day-2, KindPolicy, sendTo("2", t), "alice", "dave")
	if early := withdrawn(t, st, t0+2*day-1, 2, "carol", "carol"); status(t, early, 2) != Withdrawn {
		t.Errorf("%+v", early.Fates)
	}
	if late := withdrawn(t, st, t0+2*day, 2, "carol", "carol"); status(t, late, 2) != Waiting {
		t.Errorf("%+v", late.Fates)
	}
}

// A key that is taken away from an admin who stays, or exchanged, is a leaver's too; and
// whoever comes back is an admin, with whatever key the roster lists, and may leave again.
func TestLeaverKeys(t *testing.T) {
	keys := func(names ...string) func(*identity.Roster) {
		return func(r *identity.Roster) {
			r.Principals[2].Credentials = nil
			for _, n := range names {
				r.Principals[2].Credentials = append(r.Principals[2].Credentials, edPublic(n))
			}
		}
	}
	rotated := adopt(t, cooling(t), t0, KindRoster, without(t, "", keys("other")), both...).At(t0 + day)
	rotated = adopt(t, rotated, t0+day+1, KindPolicy, sendTo("2", t), "alice", "bob")
	if st := withdrawn(t, rotated, t0+2*day-1, 2, "carol", "carol"); status(t, st, 2) != Withdrawn {
		t.Errorf("her old key: %+v", st.Fates)
	}
	if st := withdrawn(t, rotated, t0+2*day, 2, "carol", "carol"); status(t, st, 2) != Waiting {
		t.Errorf("her old key, too late: %+v", st.Fates)
	}
	// Removed, and named again under another key: the first key's right ends as it would have.
	st := adopt(t, coolingAt(t, "2"), t0, KindRoster, without(t, "carol", gone("carol")), both...)
	st = adopt(t, st, t0+1, KindRoster, without(t, "", keys("other")), both...) // waits
	if back := withdrawn(t, st, t0+2, 2, "carol", "carol"); status(t, back, 2) != Withdrawn {
		t.Errorf("%+v", back.Fates)
	}
	back := adopt(t, st.At(t0+1+day), t0+1+day, KindPolicy, sendTo("1", t), "alice", "bob")
	if late := withdrawn(t, back, t0+1+day, 3, "carol", "carol"); status(t, late, 3) != Waiting {
		t.Errorf("%+v", late.Fates)
	}
	// Named again with the same key she is an admin, and when she leaves again it counts anew.
	st = adopt(t, cooling(t), t0, KindRoster, without(t, "carol"), both...)
	st = adopt(t, st, t0, KindRoster, without(t, ""), both...).At(t0 + day)
	if len(st.leavers) != 0 {
		t.Errorf("an admin is a leaver: %+v", st.leavers)
	}
	st = adopt(t, st, t0+5*day, KindRoster, without(t, "carol"), both...)
	st = adopt(t, st, t0+5*day, KindPolicy, sendTo("2", t), both...)
	if again := withdrawn(t, st, t0+6*day-1, 4, "carol", "carol"); status(t, again, 4) != Withdrawn {
		t.Errorf("%+v", again.Fates)
	}
}

// Forecast: a leaver hears before signing when the right ends, or ended.
func TestForecastOfALeaver(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindRoster, without(t, "carol"), both...)
	st = adopt(t, st, t0+1, KindPolicy, sendTo("2", t), both...)
	ask := func(who string, at uint64) error {
		_, err := st.Forecast(&leavers(st, 2, who, who).Change, at)
		return err
	}
	if err := ask("carol", t0+day-1); err != nil {
		t.Error(err)
	}
	for who, code := range map[string]string{"carol": "change.leaver", "dave": "governance.admin"} {
		if r := refusal.As(ask(who, t0+day)); r == nil || r.Code != code {
			t.Errorf("%s: %v", who, r)
		}
	}
	if r := refusal.As(ask("carol", t0+day)); r == nil || !strings.Contains(r.Detail, "ended at 2023-11-15") {
		t.Errorf("%v", r)
	}
}

// A vault that hears late takes the others' word of when they adopted a leaver's
// withdrawal, at once or afterwards, as long as what it names waits.
func TestLateVaultOfALeaver(t *testing.T) {
	st := adopt(t, cooling(t), t0, KindRoster, without(t, "carol"), both...)
	loose := next(st, KindPolicy, sendTo("2", t), both...)
	waits, err := st.Apply(loose, t0+5*day) // it was away
	if err != nil {
		t.Fatal(err)
	}
	w := leavers(waits, 2, "carol", "carol")
	proven, err := waits.Apply(w, t0+day-1)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := proven.Fate(3); status(t, proven, 2) != Withdrawn || f.Adopted != t0+5*day || !f.Leaver {
		t.Errorf("%+v", proven.Fates)
	}
	alone, err := waits.Apply(w, t0+5*day)
	if err != nil || status(t, alone, 3) != NoEffect || status(t, alone, 2) != Waiting {
		t.Fatalf("%v: %+v", err, alone.Fates)
	}
	if _, err := alone.Backdate(3, t0+day); err != nil {
		t.Error(err)
	} else if same, _ := alone.Backdate(3, t0+5*day); same != alone {
		t.Error("a time that is no earlier changes something")
	}
	healed, err := alone.Backdate(3, t0+day-1)
	if err != nil || status(t, healed, 2) != Withdrawn {
		t.Errorf("%v", err)
	}
	if _, err := alone.At(t0+7*day).Backdate(3, t0+day-1); err == nil {
		t.Error("what is in force already was withdrawn")
	}
	// What is replayed from the disk is what was lived.
	f, _ := proven.Fate(3)
	again, err := waits.Replay(w, f.Adopted, t0+day-1)
	if err != nil || again.InForce() != proven.InForce() || status(t, again, 2) != Withdrawn {
		t.Errorf("%v", err)
	}
}

// A passkey's origin is checked as the roster said that named the key.
func TestLeaverOrigins(t *testing.T) {
	st := cooling(t)
	old := *st.Roster
	old.Origins = []string{"https://coffer.example"}
	next := *st
	next.leave(&old, t0)
	if next.leavers != nil {
		t.Error("nobody left")
	}
	gone := old
	gone.Groups = []identity.Group{{Name: identity.Admins, Members: []string{"alice", "bob"}}}
	next.Roster = &gone
	next.leave(&old, t0)
	if len(next.leavers) != 1 || !slices.Equal(next.leavers[0].roster.Origins, old.Origins) || !slices.Equal(next.leavers[0].roster.Principals[0].Credentials, []signature.PublicKey{edPublic("carol")}) {
		t.Errorf("%+v", next.leavers)
	}
}
