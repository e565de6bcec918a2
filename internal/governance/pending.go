package governance

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
)

// Status is what became of a change.
type Status uint8

// The statuses.
const (
	Waiting    Status = 1 // for its cooling-off time
	InForce    Status = 2 // it is, or was until a newer one replaced it
	Superseded Status = 3 // a newer change came before its time
	Withdrawn  Status = 4 // an admin withdrew it before its time
	Dropped    Status = 5 // it did not fit any more when its time came
	NoEffect   Status = 6 // a withdrawal of a change that did not wait any more
)

func (s Status) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case InForce:
		return "in-force"
	case Superseded:
		return "superseded"
	case Withdrawn:
		return "withdrawn"
	case Dropped:
		return "dropped"
	case NoEffect:
		return "no-effect"
	}
	return fmt.Sprintf("status-%d", uint8(s))
}

// Fate is what is known of an adopted change.
type Fate struct {
	Seq     uint64
	Hash    [32]byte
	Kind    Kind
	Class   Class
	Reason  string // of the class
	Quorum  int    // how many admins had to sign
	Adopted uint64 // unix milliseconds
	Due     uint64 // when it comes, or would have come, in force
	Status  Status
	Since   uint64 // unix milliseconds
	By      uint64 // the change that superseded or withdrew it
	Detail  string // Dropped, NoEffect: why
	Leaver  bool   // a withdrawal by somebody who was an admin
}

// Pending is an adopted change that waits for its cooling-off time.
type Pending struct {
	Change Change
	Due    uint64 // unix milliseconds
	body   *content
}

// record is an adopted change with its time, for Backdate.
type record struct {
	signed *SignedChange
	at     uint64 // its Fate's Adopted
	told   uint64
}

// Text says in words what became of the change.
func (f *Fate) Text() string {
	switch f.Status {
	case Superseded, Withdrawn:
		return fmt.Sprintf("%d was %s by change %d", f.Seq, f.Status, f.By)
	case Dropped:
		return fmt.Sprintf("%d was dropped, because it did not fit any more when its time came: %s", f.Seq, f.Detail)
	case NoEffect:
		return fmt.Sprintf("%d had no effect: %s", f.Seq, f.Detail)
	case Waiting:
		return fmt.Sprintf("%d waits until %s", f.Seq, request.Instant(f.Due))
	}
	return fmt.Sprintf("%d is in force since %s", f.Seq, request.Instant(f.Since))
}

// Fate finds what became of the change with this sequence number.
func (st *State) Fate(seq uint64) (*Fate, bool) {
	if seq == 0 || seq > uint64(len(st.Fates)) {
		return nil, false
	}
	return &st.Fates[seq-1], true
}

// Enacted says whether a change is in force, or was.
func (st *State) Enacted(seq uint64) bool {
	f, ok := st.Fate(seq)
	return ok && f.Status == InForce
}

// At is the state at a time (unix milliseconds): what is due by then is in force. It
// is st itself if nothing is due.
func (st *State) At(now uint64) *State {
	next := st
	for len(next.Pending) > 0 && next.Pending[0].Due <= now {
		p := next.Pending[0]
		alone := *next
		alone.Pending = alone.Pending[1:]
		after, err := alone.enact(p.body)
		if err != nil {
			after = &alone
			after.settle(Fate{Seq: p.Change.Seq, Status: Dropped, Since: p.Due, Detail: err.Error()})
		} else {
			after.leave(alone.Roster, p.Due)
			after.settle(Fate{Seq: p.Change.Seq, Status: InForce, Since: p.Due})
		}
		after.Clock, after.enacted = max(after.Clock, p.Due), p.Due
		next = after.sealed()
	}
	return next
}

// NextDue is when the next pending change comes in force; 0: none waits.
func (st *State) NextDue() uint64 {
	if len(st.Pending) == 0 {
		return 0
	}
	return st.Pending[0].Due
}

// settle notes what became of a change. The state is one that nobody else holds.
func (st *State) settle(f Fate) {
	st.Fates = slices.Clone(st.Fates)
	x := &st.Fates[f.Seq-1]
	x.Status, x.Since, x.By, x.Detail = f.Status, f.Since, f.By, f.Detail
}

// sealed finishes a state that was made: nothing changes it any more.
func (st *State) sealed() *State {
	if len(st.Pending) == 0 {
		st.base, st.records = nil, nil
	}
	st.Policy = st.Policy.Compiled()
	st.policyRoot, st.rosterRoot = st.Policy.Root(), st.Roster.Root()
	st.inForce = st.root()
	return st
}

// projected is the state once all that waits is in force.
func (st *State) projected() *State { return st.At(^uint64(0)) }

// without is the state without some pending changes.
func (st *State) without(seqs []uint64) *State {
	if len(seqs) == 0 {
		return st
	}
	next := *st
	next.Pending = slices.DeleteFunc(slices.Clone(st.Pending), func(p Pending) bool { return slices.Contains(seqs, p.Change.Seq) })
	return &next
}

// superseded are the pending changes in whose place a new one comes, whatever its
// class: a roster, a policy, measurements and the chains are always whole, and a
// newer word about the same thing is the one that counts.
func (st *State) superseded(x *content) (seqs []uint64) {
	for i := range st.Pending {
		if supersedes(x, st.Pending[i].body) {
			seqs = append(seqs, st.Pending[i].Change.Seq)
		}
	}
	return seqs
}

func supersedes(x, p *content) bool {
	kind, old := x.change.Kind, p.change.Kind
	switch {
	case kind == KindPolicy && old == KindBook: // a policy holds the whole address book
		return true
	case kind != old:
		return false
	}
	switch kind {
	case KindRoster, KindPolicy, KindMeasurements, KindChains:
		return true
	case KindBook: // what is removed must not come back later
		return slices.ContainsFunc(x.book.Remove, func(l Labelled) bool { return slices.Contains(p.book.Add, l) })
	case KindKey:
		return x.key.Key == p.key.Key && x.key.Action == p.key.Action
	case KindVault:
		n, o := x.vault, p.vault
		switch {
		case n.Vault != o.Vault:
			return false
		case n.Action == SuspendVault:
			return o.Action == LiftVault && o.Peer == 0
		case n.Action == ReplaceVault:
			return o.Action == ReplaceVault || o.Action == ResumeVault
		}
		return n.Action == o.Action && n.Peer == o.Peer
	}
	return false
}

// Backdate is the state as if the change seq, which waits here, had been adopted at a
// time before the one at which it came here, but not before the change before it, nor
// before what waited came in force here:
// for a vault that was told late (AdoptedAt). A leaver's withdrawal that had no effect is
// backdated, too, while what it names waits. The error is a *refusal.Refusal.
func (st *State) Backdate(seq, at uint64) (*State, error) {
	i := slices.IndexFunc(st.records, func(r record) bool { return r.signed.Change.Seq == seq })
	if i < 0 || !st.waits(seq) && !st.idle(&st.records[i].signed.Change) {
		return nil, refusal.Newf("change.adopted", "a change that waits here", "change %d does not wait here", seq)
	}
	if at >= st.records[i].told {
		return st, nil
	}
	next := st.base
	for j, r := range st.records {
		t, told := r.at, r.told
		if j == i {
			t, told = max(at, st.enacted), at
		}
		var err error
		if next, err = next.Replay(r.signed, t, told); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// idle says whether a change is a leaver's withdrawal, of what still waits here, that had
// no effect.
func (st *State) idle(c *Change) bool {
	f, ok := st.Fate(c.Seq)
	if !ok || !f.Leaver || f.Status != NoEffect {
		return false
	}
	w, err := DecodeWithdrawal(c.Body)
	return err == nil && st.waits(w.Seq)
}

func (st *State) waits(seq uint64) bool {
	return slices.ContainsFunc(st.Pending, func(p Pending) bool { return p.Change.Seq == seq })
}

// Forecast is what a change would do if it were adopted at a time.
type Forecast struct {
	Judgement
	Quorum     int      // how many admins must sign
	Due        uint64   // when it would be in force; the time itself: at once
	Supersedes []uint64 // pending changes that it would end

	told   uint64
	leaver *leaver // whose withdrawal it is
}

// Forecast checks all of a change but its signatures, as CheckChange, and says what
// it would do if it were adopted at this time. The error is a *refusal.Refusal.
func (st *State) Forecast(c *Change, at uint64) (*Forecast, error) {
	now := st.At(at)
	if err := now.checkPlace(c); err != nil {
		return nil, err
	}
	x, err := decodeContent(c)
	if err != nil {
		return nil, err
	}
	f := now.forecast(x, at)
	f.told = at
	if c.Kind == KindWithdraw && !now.Roster.InGroup(c.Author, identity.Admins) {
		if f.leaver = now.leaver(c.Author); f.leaver == nil {
			return nil, now.checkAdmin("author", c.Author)
		}
		if at >= now.rightEnds(f.leaver) {
			return nil, now.rightEnded(f.leaver)
		}
	}
	if c.Kind == KindWithdraw && !now.waits(x.withdraw.Seq) {
		return nil, refusal.Newf("change.body", "a change that waits for its time (coffer changes pending)", "withdrawal: change %d does not wait", x.withdraw.Seq)
	}
	if _, err := now.adopt(x, f, at, nil); err != nil {
		return nil, err
	}
	return f, nil
}

func (st *State) forecast(x *content, at uint64) *Forecast {
	f := &Forecast{Judgement: st.judge(x), Due: at, Supersedes: st.superseded(x)}
	if f.Class != Tightening && x.change.Kind != KindFreeze {
		f.Due = at + st.Genesis.Cooling
	}
	f.Quorum = st.quorum(x, f.Class)
	return f
}
