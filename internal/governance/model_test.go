package governance

import (
	"maps"
	"slices"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/analysis"
)

// A small, slow model of docs/spec/governance.md over plain values. It shares with the
// package only how a policy is written and what analysis says of two of them.

// mChange is a change as the model knows it: what its kind does not use is zero.
type mChange struct {
	kind    Kind
	author  string
	signers []string
	key     string // of the one who signs a withdrawal alone; "": their own
	admins  string // roster: letters, sorted
	quorum  int
	cleos   string // roster: carol's key
	policy  mPolicy
	add     string // book: letters
	remove  string
	chains  string // letters; "": all
	keys    string // measurements: letters; "": no demand
	wallet  byte   // freeze
	thaw    bool
	action  VaultAction
	boot    uint64
	tier    Tier
	action2 Action // key
	target  uint64 // withdraw
}

type mPolicy struct {
	count int
	book  string
	odd   int // a rule that the analysis cannot follow
}

type mFate struct {
	class        Class
	adopted, due uint64
	told         uint64
	status       Status
	leaver       bool
}

type mBook struct {
	seq uint64
	c   *mChange
}

type mLeaver struct {
	who, key string
	since    uint64
}

// mState is everything that is in force, and what waits.
type mState struct {
	clock   uint64
	enacted uint64
	changes []*mChange
	fates   []mFate
	pending []uint64

	admins, cleos string
	quorum        int
	written       mPolicy
	books         []mBook
	chains, keys  string
	frozen        string
	orders        []uint64 // of vault 2, in force, sorted
	tiers         []uint64
	leavers       []mLeaver
	tried         []string
}

type model struct {
	cooling uint64
	roster  *identity.Roster
	policy  func(mPolicy) *policy.Document
	seen    map[[2]mPolicy]Class
}

func names(letters string) (out []string) {
	for _, l := range letters {
		out = append(out, map[rune]string{'a': "alice", 'b': "bob", 'c': "carol", 'd': "dave"}[l])
	}
	return out
}

func within(a, b string) bool {
	for _, l := range a {
		if !slices.Contains([]rune(b), l) {
			return false
		}
	}
	return true
}

func letters(a, add, remove string) string {
	set := map[rune]bool{}
	for _, l := range a + add {
		set[l] = true
	}
	for _, l := range remove {
		delete(set, l)
	}
	return string(slices.Sorted(maps.Keys(set)))
}

func (s *mState) copy() *mState {
	c := *s
	c.changes, c.fates, c.pending, c.books = slices.Clone(s.changes), slices.Clone(s.fates), slices.Clone(s.pending), slices.Clone(s.books)
	c.orders, c.tiers, c.leavers, c.tried = slices.Clone(s.orders), slices.Clone(s.tiers), slices.Clone(s.leavers), slices.Clone(s.tried)
	return &c
}

// inForce is the policy in force: the newest document with every newer book change.
func (s *mState) inForce() mPolicy {
	p := s.written
	for _, b := range s.books {
		p.book = letters(p.book, b.c.add, b.c.remove)
	}
	return p
}

func (s *mState) keyOf(who string) string {
	if who == "carol" {
		return s.cleos
	}
	return who
}

func (s *mState) isAdmin(who string) bool { return slices.Contains(names(s.admins), who) }

// speaking leaves out the orders that a newer word about the vault's suspension has
// made silent.
func (s *mState) speaking() (out []uint64) {
	heard := false
	for i := len(s.orders) - 1; i >= 0; i-- {
		a := s.changes[s.orders[i]-1].action
		if a != SuspendVault && a != LiftVault {
			out = append(out, s.orders[i])
		} else if !heard {
			out, heard = append(out, s.orders[i]), true
		}
	}
	slices.Sort(out)
	return out
}

func (s *mState) minBoot() (boot uint64) {
	for _, o := range s.orders {
		boot = max(boot, s.changes[o-1].boot)
	}
	return boot
}

// enact puts a change in force at a time; false: it does not fit.
func (s *mState) enact(seq, at uint64) bool {
	c := s.changes[seq-1]
	switch c.kind {
	case KindRoster:
		before := s.copy()
		s.admins, s.quorum, s.cleos = c.admins, c.quorum, c.cleos
		s.leavers = slices.DeleteFunc(s.leavers, func(l mLeaver) bool { return s.isAdmin(l.who) && s.keyOf(l.who) == l.key })
		for _, who := range names(before.admins) {
			if k := before.keyOf(who); !s.isAdmin(who) || s.keyOf(who) != k {
				s.leavers = append(s.leavers, mLeaver{who, k, at})
			}
		}
	case KindPolicy:
		s.written = c.policy
		s.books = slices.DeleteFunc(s.books, func(b mBook) bool { return b.seq < seq })
	case KindBook:
		s.books = append(s.books, mBook{seq, c})
		slices.SortFunc(s.books, func(a, b mBook) int { return int(a.seq) - int(b.seq) })
	case KindChains:
		s.chains = c.chains
	case KindMeasurements:
		s.keys = c.keys
	case KindFreeze:
		if c.thaw != slices.Contains([]byte(s.frozen), c.wallet) {
			return false
		}
		if c.thaw {
			s.frozen = letters(s.frozen, "", string(c.wallet))
		} else {
			s.frozen = letters(s.frozen, string(c.wallet), "")
		}
	case KindVault:
		if c.action == ResumeVault && c.boot <= s.minBoot() {
			return false
		}
		s.orders = append(s.orders, seq)
		slices.Sort(s.orders)
	case KindKey:
		if c.action2 == SetTier {
			s.tiers = append(s.tiers, seq)
			slices.Sort(s.tiers)
		}
	}
	return true
}

// at is the state when all is in force that is due by then.
func (s *mState) at(now uint64) *mState {
	s = s.copy()
	for len(s.pending) > 0 && s.fates[s.pending[0]-1].due <= now {
		seq := s.pending[0]
		s.pending = s.pending[1:]
		f := &s.fates[seq-1]
		f.status = InForce
		if !s.enact(seq, f.due) {
			f.status = Dropped
		}
		s.clock, s.enacted = max(s.clock, f.due), f.due
	}
	return s
}

func (s *mState) without(seqs []uint64) *mState {
	s = s.copy()
	s.pending = slices.DeleteFunc(s.pending, func(p uint64) bool { return slices.Contains(seqs, p) })
	return s
}

// class of a change against what is in force alone.
func (m *model) class(s *mState, c *mChange) Class {
	loose := map[bool]Class{true: Tightening, false: Loosening}
	switch c.kind {
	case KindRoster:
		return loose[within(c.admins, s.admins) && c.quorum >= s.quorum && c.cleos == s.cleos]
	case KindPolicy:
		return m.compare(s.inForce(), c.policy)
	case KindBook:
		next := s.inForce()
		next.book = letters(next.book, c.add, c.remove)
		return m.compare(s.inForce(), next)
	case KindChains:
		return loose[s.chains == "" || c.chains != "" && within(c.chains, s.chains)]
	case KindMeasurements:
		return loose[s.keys == "" || c.keys != "" && within(c.keys, s.keys)]
	case KindFreeze:
		return loose[!c.thaw]
	case KindVault:
		return loose[c.action == SuspendVault]
	case KindKey:
		if c.action2 != SetTier || c.tier == TierCold {
			return Tightening
		}
		n := len(s.tiers)
		return loose[n > 0 && s.changes[s.tiers[n-1]-1].tier <= c.tier]
	}
	return Tightening
}

// compare asks the analysis, which has a model of its own.
func (m *model) compare(a, b mPolicy) Class {
	if a == b {
		return Tightening
	}
	if c, ok := m.seen[[2]mPolicy{a, b}]; ok {
		return c
	}
	c := analysis.Classify(m.policy(a), m.policy(b), m.roster, m.roster).Class
	m.seen[[2]mPolicy{a, b}] = c
	return c
}

func (s *mState) supersedes(c *mChange) (out []uint64) {
	for _, seq := range s.pending {
		o := s.changes[seq-1]
		same := c.kind == o.kind
		switch {
		case same && (c.kind == KindRoster || c.kind == KindPolicy || c.kind == KindMeasurements || c.kind == KindChains),
			c.kind == KindPolicy && o.kind == KindBook,
			same && c.kind == KindBook && letters(o.add, "", c.remove) != o.add,
			same && c.kind == KindKey && c.action2 == o.action2,
			same && c.kind == KindVault && (c.action == o.action || c.action == SuspendVault && o.action == LiftVault):
			out = append(out, seq)
		}
	}
	return out
}

func (s *mState) leaver(c *mChange) *mLeaver {
	if c.kind != KindWithdraw || len(c.signers) != 1 || c.signers[0] != c.author {
		return nil
	}
	for i := range s.leavers {
		if l := &s.leavers[i]; l.who == c.author && l.key == c.key {
			return l
		}
	}
	return nil
}

// adopt is the state after a change that is told at a time, not before the clock; ""
// or the code of its refusal.
func (m *model) adopt(s *mState, c *mChange, adopted, told uint64) (*mState, string) {
	at := max(adopted, s.clock)
	s = s.at(at)
	l := s.leaver(c)
	if l == nil {
		if !s.isAdmin(c.author) {
			return nil, "governance.admin"
		}
		for _, w := range c.signers {
			if !s.isAdmin(w) {
				return nil, "governance.admin"
			}
			if c.key != "" && c.key != s.keyOf(w) || c.key == "" && s.keyOf(w) != w {
				return nil, "identity.key"
			}
		}
		if c.kind == KindFreeze && !slices.Contains(c.signers, c.author) {
			return nil, "change.author"
		}
	}
	single := c.kind == KindFreeze && !c.thaw || c.kind == KindWithdraw || c.kind == KindVault && c.action == SuspendVault || c.kind == KindKey && c.action2 == Refresh
	over := s.supersedes(c)
	class := max(m.class(s, c), m.class(s.without(over).at(^uint64(0)), c))
	need := s.quorum
	switch {
	case single:
		need = 1
	case class == Unknown:
		need = len(s.admins)
	}
	if len(c.signers) < need {
		return nil, "change.quorum"
	}
	s.changes = append(s.changes, c)
	seq := uint64(len(s.changes))
	f := mFate{class: class, adopted: at, due: at, told: told, status: InForce, leaver: l != nil}
	if class != Tightening && c.kind != KindFreeze {
		f.due = at + m.cooling
	}
	s.clock = at
	if c.kind == KindWithdraw {
		return m.withdraw(s, c, f, l)
	}
	for _, o := range over {
		s.fates[o-1].status = Superseded
	}
	s = s.without(over)
	if f.due > at {
		f.status = Waiting
		if !s.at(^uint64(0)).enact(seq, at) {
			return nil, "change.body"
		}
		s.pending = append(s.pending, seq)
	} else if !s.enact(seq, at) {
		return nil, "change.body"
	}
	s.fates = append(s.fates, f)
	return s, ""
}

func (m *model) withdraw(s *mState, c *mChange, f mFate, l *mLeaver) (*mState, string) {
	if c.target == 0 || c.target >= uint64(len(s.changes)) {
		return nil, "change.body"
	}
	if l != nil {
		once := l.who + string(rune(c.target))
		kind := s.changes[c.target-1].kind
		if f.told >= l.since+m.cooling+30*day || kind == KindFreeze || kind == KindWithdraw || slices.Contains(s.tried, once) {
			return nil, "change.leaver"
		}
		s.tried = append(s.tried, once)
	}
	if !slices.Contains(s.pending, c.target) || l != nil && f.told >= l.since+m.cooling {
		f.status = NoEffect
	} else {
		s.fates[c.target-1].status = Withdrawn
		s = s.without([]uint64{c.target})
	}
	s.fates = append(s.fates, f)
	return s, ""
}
