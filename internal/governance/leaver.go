package governance

import (
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// A quorum can take the others' rights away at once. So that somebody is left who can
// withdraw what it publishes next, a key that signed for an admin keeps that one right
// for one cooling-off time after it was taken away.

// leaver is a key that signed for an admin until a roster came in force.
type leaver struct {
	who    string
	key    signature.PublicKey
	since  uint64           // when that roster came in force here
	roster *identity.Roster // the last one that listed it, but for everything else in it
}

// LeaverGrace is how long after a leaver's right has ended its withdrawals are still
// adopted, without effect, in milliseconds. A withdrawal that came in time elsewhere
// must have its place in the chain at a vault whose clock says otherwise; but a key that
// was taken away long ago must not be good for one.
const LeaverGrace = MaxCooling

// tried is a leaver's withdrawal: each has one for every change.
type tried struct {
	who string
	seq uint64 // of the change that it named
	by  uint64 // the withdrawal
}

// signsFor says whether a key signs for an admin.
func signsFor(ro *identity.Roster, who string, key signature.PublicKey) bool {
	p, ok := ro.Principal(who)
	return ok && ro.InGroup(who, identity.Admins) && slices.Contains(p.Credentials, key)
}

// leave notes whose right another roster has ended, or given back. The state is one that
// nobody else holds.
func (st *State) leave(old *identity.Roster, at uint64) {
	if old == st.Roster {
		return
	}
	st.leavers = slices.DeleteFunc(slices.Clone(st.leavers), func(l leaver) bool { return signsFor(st.Roster, l.who, l.key) })
	for _, m := range old.Members(identity.Admins) {
		p, _ := old.Principal(m)
		for _, k := range p.Credentials {
			if !signsFor(st.Roster, m, k) {
				st.leavers = append(st.leavers, leaver{m, k, at, &identity.Roster{
					Principals: []identity.Principal{{ID: m, Kind: p.Kind, Credentials: []signature.PublicKey{k}}}, Origins: old.Origins,
				}})
			}
		}
	}
}

// withdrawsAsLeaver finds the leaver that a withdrawal is signed by; nil: it is none,
// and takes an admin.
func (st *State) withdrawsAsLeaver(s *SignedChange) *leaver {
	if s.Change.Kind != KindWithdraw || len(s.Signatures) != 1 {
		return nil
	}
	sig := &s.Signatures[0]
	for i := range st.leavers {
		if l := &st.leavers[i]; l.who == s.Change.Author && l.who == sig.Principal && l.key == sig.Key {
			return l
		}
	}
	return nil
}

// leaver finds the key of somebody who was an admin whose right ends last.
func (st *State) leaver(who string) (out *leaver) {
	for i := range st.leavers {
		if l := &st.leavers[i]; l.who == who && (out == nil || l.since >= out.since) {
			out = l
		}
	}
	return out
}

// rightEnds is when a leaver's withdrawals stop having an effect.
func (st *State) rightEnds(l *leaver) uint64 { return l.since + st.Genesis.Cooling }

func (st *State) rightEnded(l *leaver) error {
	return refusal.Newf("change.leaver", "an admin's withdrawal", "%s is no admin since %s; the right to withdraw what waits ended at %s",
		wire.CleanText(l.who, 80), request.Instant(l.since), request.Instant(st.rightEnds(l)))
}

// checkLeaver says whether a leaver's withdrawal has a place in the chain, told is when
// it was adopted, here or by proof elsewhere.
func (st *State) checkLeaver(x *content, l *leaver, told uint64) error {
	if st.Genesis.Cooling == 0 || told >= st.rightEnds(l)+LeaverGrace {
		return st.rightEnded(l)
	}
	f, ok := st.Fate(x.withdraw.Seq)
	if ok && (f.Kind == KindFreeze || f.Kind == KindWithdraw) {
		return refusal.Newf("change.leaver", "a change that waits for its time", "withdrawal: change %d is a %s, which never waits", f.Seq, f.Kind)
	}
	for _, t := range st.tried {
		if t.who == l.who && t.seq == x.withdraw.Seq {
			return refusal.Newf("change.leaver", "", "withdrawal: %s, who is no admin any more, has withdrawn change %d already, by change %d", l.who, t.seq, t.by)
		}
	}
	return nil
}
