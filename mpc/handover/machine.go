package handover

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Epoch is what a party knows of the key's present epoch.
type Epoch struct {
	Number      uint64
	Certificate [32]byte
	Parties     []mpc.ID
	Threshold   int
}

// Machine is one party's side of a key's handovers. It is not safe for
// concurrent use.
type Machine struct {
	self   mpc.ID
	key    [32]byte
	verify Verifier

	epoch  *Epoch   // nil: this party has never held a share of the key
	shares []uint64 // epochs of which a share is kept, ascending
	plans  []*entry // in the order in which they were joined
}

// entry is what is known of one plan.
type entry struct {
	plan      Plan
	id        [32]byte
	dealing   bool // this party deals, or has dealt
	abandoned bool // the admins say that it is over
	committed bool
	settled   bool // every new party is ACTIVE, what was before is erased
	forgotten bool // this party has voted and its disk does not know it
	body      []byte
	cert      [32]byte
	proof     []byte             // of this party's new share
	closing   []byte             // what this party states with CLOSED
	mine      [lastKind + 1]bool // decided, durable; signed when it is among votes
	votes     []Vote             // verified, sorted
}

// Request asks for this party's identity signature on a vote.
type Request struct {
	Plan [32]byte
	Kind Kind
	// Digest is what is signed: of a PREPARED the certificate's.
	Digest [32]byte
}

// Message is a Bundle for another party.
type Message struct {
	To   mpc.ID
	Body []byte
}

// Blame names a party that contradicted itself, with the two votes; or one whose
// proof is wrong, with that vote.
type Blame struct {
	Plan     [32]byte
	Party    mpc.ID
	Evidence []Vote
	Err      error
}

// Effects is what the caller does after a call, in this order.
type Effects struct {
	Save      bool       // make Encode durable, with Discard and Erase
	Discard   [][32]byte // plans whose sealed share is of no use any more
	Erase     []uint64   // epochs whose share is erased now
	Sign      []Request  // answer with Signed, after Save
	Send      []Message  // after Save
	Blame     []Blame
	Committed *Bundle // the commit certificate that ended the epoch
}

func (e *Effects) add(o Effects) {
	e.Save = e.Save || o.Save
	e.Discard, e.Erase = append(e.Discard, o.Discard...), append(e.Erase, o.Erase...)
	e.Sign, e.Send, e.Blame = append(e.Sign, o.Sign...), append(e.Send, o.Send...), append(e.Blame, o.Blame...)
	if o.Committed != nil {
		e.Committed = o.Committed
	}
}

// maxPlans bounds the attempts that are remembered for one epoch.
const maxPlans = 64

// New makes the machine of a party. epoch is the key's present one if this party
// holds a share of it, else nil.
func New(self mpc.ID, key [32]byte, epoch *Epoch, v Verifier) (*Machine, error) {
	if self == 0 || v.Signature == nil || v.Certificate == nil || v.Proof == nil {
		return nil, errors.New("handover: want a participant above 0 and all of the verifier")
	}
	m := &Machine{self: self, key: key, verify: v}
	if epoch != nil {
		e := *epoch
		e.Parties = slices.Clone(e.Parties)
		if !sharing.Contains(e.Parties, self) {
			return nil, fmt.Errorf("handover: participant %d is not one of %v", self, e.Parties)
		}
		m.epoch, m.shares = &e, []uint64{e.Number}
	}
	return m, nil
}

// Key is the key's id.
func (m *Machine) Key() [32]byte { return m.key }

// Epoch is the key's present epoch as far as this party knows; nil if it never
// held a share.
func (m *Machine) Epoch() *Epoch {
	if m.epoch == nil {
		return nil
	}
	e := *m.epoch
	return &e
}

// MaySign says whether this party's promises let it sign in an epoch.
func (m *Machine) MaySign(epoch uint64) bool {
	if m.epoch == nil || m.epoch.Number != epoch || !slices.Contains(m.shares, epoch) {
		return false
	}
	return m.closed(epoch) == nil
}

// closed is the plan for which this party has closed an epoch.
func (m *Machine) closed(epoch uint64) *entry {
	for _, e := range m.plans {
		if e.plan.From == epoch && e.mine[Closed] {
			return e
		}
	}
	return nil
}

func (m *Machine) find(id [32]byte) *entry {
	for _, e := range m.plans {
		if e.id == id {
			return e
		}
	}
	return nil
}

// Knows says whether a plan was joined.
func (m *Machine) Knows(plan [32]byte) bool { return m.find(plan) != nil }

func (e *entry) vote(k Kind, from mpc.ID) *Vote {
	for i := range e.votes {
		if e.votes[i].Kind == k && e.votes[i].From == from {
			return &e.votes[i]
		}
	}
	return nil
}

// all says whether every one of ids has cast a vote for the certificate.
func (e *entry) all(k Kind, ids []mpc.ID) bool { return e.count(k, ids) == len(ids) }

func (e *entry) count(k Kind, ids []mpc.ID) int {
	n := 0
	for _, id := range ids {
		if v := e.vote(k, id); v != nil && v.Certificate == e.cert {
			n++
		}
	}
	return n
}

// aborted says that a new party has promised never to sign READY.
func (e *entry) aborted() bool {
	return e.mine[Abort] || slices.ContainsFunc(e.votes, func(v Vote) bool { return v.Kind == Abort })
}

// released says that this party is no longer bound to the plan. It is never
// released from what it has closed for: it then holds the READY of everybody, so
// that whoever says ABORT lies.
func (e *entry) released() bool { return !e.mine[Closed] && (e.abandoned || e.aborted()) }

// bound is the plan that keeps this party from dealing, or closing, for another.
// The t dealers of one plan and the n−t+1 who close for another have a party in
// common: so at most one plan of an epoch commits.
func (m *Machine) bound(epoch uint64, except *entry) *entry {
	for _, e := range m.plans {
		if e != except && e.plan.From == epoch && (e.dealing || e.mine[Closed]) && !e.released() {
			return e
		}
	}
	return nil
}

// Join makes a plan known that the caller has checked and found to be ordered. deal
// says that this party is about to deal: its first message of the dealing leaves
// after the Save. A plan that is known already is joined without effect.
func (m *Machine) Join(p *Plan, deal bool) (Effects, error) {
	if err := m.mayJoin(p, deal); err != nil {
		return Effects{}, fmt.Errorf("handover: %w", err)
	}
	id := p.ID()
	if e := m.find(id); e != nil {
		if deal && !e.dealing {
			return Effects{}, errors.New("handover: this plan was joined without dealing: take a fresh attempt")
		}
		return Effects{}, nil
	}
	q := *p
	q.Old, q.New, q.Dealers = slices.Clone(p.Old), slices.Clone(p.New), slices.Clone(p.Dealers)
	m.plans = append(m.plans, &entry{plan: q, id: id, dealing: deal})
	return Effects{Save: true}, nil
}

func (m *Machine) mayJoin(p *Plan, deal bool) error {
	if err := p.Check(); err != nil {
		return err
	}
	old, newer := sharing.Contains(p.Old, m.self), sharing.Contains(p.New, m.self)
	e := m.find(p.ID())
	switch {
	case p.Key != m.key:
		return fmt.Errorf("the plan is of key %x, this is key %x", p.Key[:8], m.key[:8])
	case !old && !newer:
		return fmt.Errorf("participant %d has no part in the plan", m.self)
	case deal && !sharing.Contains(p.Dealers, m.self):
		return fmt.Errorf("participant %d is no dealer of the plan", m.self)
	case e != nil:
		return nil
	case len(m.plans) >= maxPlans:
		return fmt.Errorf("%d attempts at the next epoch are remembered: let one succeed first", maxPlans)
	}
	if m.epoch != nil {
		here := m.epoch
		switch {
		case p.From != here.Number && (old || p.From < here.Number || sharing.Contains(here.Parties, m.self)):
			return fmt.Errorf("the plan leaves epoch %d, here it is epoch %d", p.From, here.Number)
		case p.From == here.Number && (p.Previous != here.Certificate || p.OldThreshold != here.Threshold || !slices.Equal(p.Old, here.Parties)):
			return fmt.Errorf("the plan leaves another epoch %d than this one", p.From)
		}
	} else if old && !m.lost(p) {
		return fmt.Errorf("participant %d holds no share of epoch %d", m.self, p.From)
	}
	if b := m.bound(p.From, nil); deal && b != nil {
		return fmt.Errorf("participant %d is bound to attempt %x until a new party of it aborts", m.self, b.plan.Attempt)
	}
	return nil
}

// lost: an old party that lost its share, and gets a new one, may join as if it
// came new. It cannot deal, and does not close.
func (m *Machine) lost(p *Plan) bool {
	return sharing.Contains(p.New, m.self) && !sharing.Contains(p.Dealers, m.self)
}

// Sealed says that this party's new share is sealed on disk. body is the
// certificate without signatures, proof the proof of knowledge of the share. The
// caller seals in the same durable step as this call's Save.
func (m *Machine) Sealed(plan [32]byte, body, proof []byte) (Effects, error) {
	e := m.find(plan)
	switch {
	case e == nil:
		return Effects{}, errors.New("handover: that plan was not joined")
	case !sharing.Contains(e.plan.New, m.self):
		return Effects{}, fmt.Errorf("handover: participant %d is no new party", m.self)
	case e.mine[Prepared]:
		return Effects{}, errors.New("handover: the share of this plan was sealed before")
	case e.mine[Abort]:
		return Effects{}, errors.New("handover: this party has aborted the plan")
	case e.forgotten:
		return Effects{}, errForgotten
	case len(body) == 0 || len(body) > MaxBody || len(proof) == 0 || len(proof) > maxProof:
		return Effects{}, fmt.Errorf("handover: certificate of %d and proof of %d bytes", len(body), len(proof))
	}
	digest, err := m.verify.Certificate(&e.plan, body)
	if err == nil {
		err = m.verify.Proof(&e.plan, body, m.self, proof)
	}
	if err != nil {
		return Effects{}, fmt.Errorf("handover: %w", err)
	}
	e.body, e.cert, e.proof = slices.Clone(body), digest, slices.Clone(proof)
	return m.decide(e, Prepared), nil
}

// GiveUp aborts a plan for which this party is not READY: its share of it is of no
// use then. It is an error where only others, or the admins, can end the plan.
func (m *Machine) GiveUp(plan [32]byte) (Effects, error) {
	e := m.find(plan)
	switch {
	case e == nil:
		return Effects{}, errors.New("handover: that plan was not joined")
	case !sharing.Contains(e.plan.New, m.self):
		return Effects{}, fmt.Errorf("handover: participant %d is no new party: one of %v must abort", m.self, e.plan.New)
	case e.forgotten:
		return Effects{}, errForgotten
	case e.mine[Ready]:
		return Effects{}, errors.New("handover: this party is READY, so that the plan may have been committed")
	case e.mine[Abort]:
		return Effects{}, nil
	}
	out := m.decide(e, Abort)
	out.Discard = append(out.Discard, e.id)
	return out, nil
}

var errForgotten = errors.New("handover: this party has voted on the plan and its disk does not know it: the disk was lost or rolled back")

// Abandon ends a plan by the admins' word, which the caller has verified: for a
// party that is bound to it while every new party that could abort is gone. It
// frees nobody who has closed.
func (m *Machine) Abandon(plan [32]byte) (Effects, error) {
	e := m.find(plan)
	if e == nil {
		return Effects{}, errors.New("handover: that plan was not joined")
	}
	if e.mine[Closed] {
		return Effects{}, errors.New("handover: this party has closed the epoch for it: the plan completes when the others are back")
	}
	if e.abandoned || e.committed {
		return Effects{}, nil
	}
	e.abandoned = true
	return Effects{Save: true}, nil
}

// Erase gives up the shares of ended epochs by the admins' word, though not every
// new party has said ACTIVE.
func (m *Machine) Erase() Effects {
	var out Effects
	for _, e := range m.plans {
		if e.committed && !e.settled {
			out.add(m.settle(e))
		}
	}
	return out
}

// Open are the bundles of plans that are not settled and in which a party has a
// part: what it may have voted there.
func (m *Machine) Open(party mpc.ID) []*Bundle {
	var out []*Bundle
	for _, e := range m.plans {
		if !e.settled && slices.Contains(e.plan.everybody(), party) {
			out = append(out, m.bundle(e))
		}
	}
	return out
}

// Remind shows a party, after a start and before it votes on anything, what others
// know of its votes. On a plan on which it has voted and does not know of it, it
// votes no more.
func (m *Machine) Remind(b *Bundle) Effects {
	e := m.find(b.Plan.ID())
	if e == nil {
		return Effects{}
	}
	var out Effects
	for i := range b.Votes {
		v := &b.Votes[i]
		if v.From != m.self || e.mine[v.Kind] || v.Kind == Prepared || !sharing.Contains(e.plan.voters(v.Kind), v.From) || e.forgotten {
			continue
		}
		if m.verify.Signature(v.Kind, v.From, v.Digest(e.id), v.Signature) {
			e.forgotten, out.Save = true, true
		}
	}
	return out
}
