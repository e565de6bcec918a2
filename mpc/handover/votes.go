package handover

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// decide casts a vote: durable first, then signed.
func (m *Machine) decide(e *entry, k Kind) Effects {
	e.mine[k] = true
	if k == Closed && m.verify.Closing != nil {
		e.closing = m.verify.Closing(&e.plan)
	}
	return Effects{Save: true, Sign: []Request{m.request(e, k)}}
}

func (m *Machine) own(e *entry, k Kind) Vote {
	v := Vote{Kind: k, From: m.self}
	if k != Abort {
		v.Certificate = e.cert
	}
	switch k {
	case Ready:
		v.Proof = e.proof
	case Closed:
		v.Proof = e.closing
	}
	return v
}

func (m *Machine) request(e *entry, k Kind) Request {
	v := m.own(e, k)
	return Request{e.id, k, v.Digest(e.id)}
}

// Signed brings the identity's signature on a vote.
func (m *Machine) Signed(plan [32]byte, k Kind, sig []byte) (Effects, error) {
	e := m.find(plan)
	if e == nil || k < Prepared || k > lastKind || !e.mine[k] {
		return Effects{}, errors.New("handover: a signature that nobody asked for")
	}
	if e.vote(k, m.self) != nil {
		return Effects{}, nil
	}
	v := m.own(e, k)
	v.Signature = slices.Clone(sig)
	if !m.verify.Signature(k, m.self, v.Digest(plan), sig) {
		return Effects{}, fmt.Errorf("handover: this party's own signature on its %s does not verify", k)
	}
	e.insert(v)
	out := Effects{Save: true}
	out.add(m.advance(e))
	out.Send = append(out.Send, m.tell(e)...)
	return out, nil
}

func (e *entry) insert(v Vote) {
	i, _ := slices.BinarySearchFunc(e.votes, v, func(a, b Vote) int {
		if a.before(&b) {
			return -1
		}
		return 1
	})
	e.votes = slices.Insert(e.votes, i, v)
}

// Deliver takes a bundle of any party; who brings it does not matter. What does
// not verify is ignored.
func (m *Machine) Deliver(from mpc.ID, b *Bundle) Effects {
	id := b.Plan.ID()
	e := m.find(id)
	if e == nil {
		// Who still asks about an attempt at an epoch that has ended is told how.
		if c := m.Commit(); b.Ask && c != nil && b.Plan.From <= c.Plan.From && slices.Contains(c.Plan.everybody(), from) {
			return Effects{Send: []Message{{from, c.Encode()}}}
		}
		return Effects{}
	}
	var out Effects
	fresh := m.adoptCertificate(e, b)
	for i := range b.Votes {
		took, blame := m.take(e, &b.Votes[i])
		fresh = fresh || took
		if blame != nil {
			out.Blame = append(out.Blame, *blame)
		}
	}
	if fresh {
		out.Save = true
		out.add(m.advance(e))
	}
	// A peer that lags is told.
	if b.Ask && from != m.self && slices.Contains(e.plan.everybody(), from) && e.knowsMore(b) {
		out.Send = append(out.Send, Message{from, m.bundle(e).Encode()})
	}
	return out
}

func (e *entry) knowsMore(b *Bundle) bool {
	for i := range e.votes {
		if !slices.ContainsFunc(b.Votes, func(v Vote) bool { return v.Kind == e.votes[i].Kind && v.From == e.votes[i].From }) {
			return true
		}
	}
	return len(e.body) > 0 && len(b.Body) == 0 && len(e.votes) > 0
}

// adoptCertificate: a party that leaves made no certificate of its own. It takes
// the one that all n′ have signed and are READY for: a READY names the plan, which
// a PREPARED does not.
func (m *Machine) adoptCertificate(e *entry, b *Bundle) bool {
	if len(e.body) > 0 || len(b.Body) == 0 {
		return false
	}
	digest, err := m.verify.Certificate(&e.plan, b.Body)
	if err != nil {
		return false
	}
	count := make(map[Kind]int)
	for i := range b.Votes {
		v := &b.Votes[i]
		if (i == 0 || b.Votes[i-1].before(v)) && v.Certificate == digest && sharing.Contains(e.plan.New, v.From) &&
			m.verify.Signature(v.Kind, v.From, v.Digest(e.id), v.Signature) {
			count[v.Kind]++
		}
	}
	if count[Prepared] < len(e.plan.New) || count[Ready] < len(e.plan.New) {
		return false
	}
	e.body, e.cert = slices.Clone(b.Body), digest
	return true
}

// take verifies a vote and keeps it.
func (m *Machine) take(e *entry, v *Vote) (fresh bool, blame *Blame) {
	if !sharing.Contains(e.plan.voters(v.Kind), v.From) {
		return false, nil
	}
	if v.From == m.self && !e.mine[v.Kind] {
		if v.Kind == Prepared {
			return false, nil // perhaps of another attempt; and who forgot one may still abort
		}
		// This party's own vote, of which its disk knows nothing: the disk was lost or
		// rolled back. What else it promised is not known either: it votes no more.
		lost := !e.forgotten && m.verify.Signature(v.Kind, v.From, v.Digest(e.id), v.Signature)
		e.forgotten = e.forgotten || lost
		return lost, nil
	}
	if old := e.vote(v.Kind, v.From); old != nil && old.Certificate == v.Certificate {
		return false, nil
	}
	// A certificate is needed to judge all the others. What comes before it is asked
	// for again.
	if len(e.body) == 0 && v.Kind != Abort {
		return false, nil
	}
	if !m.verify.Signature(v.Kind, v.From, v.Digest(e.id), v.Signature) {
		return false, nil
	}
	for i := range e.votes {
		if o := &e.votes[i]; o.contradicts(v) && v.From != m.self {
			blame = &Blame{e.id, v.From, []Vote{*o, *v}, fmt.Errorf("participant %d signed %s and then, against its word, %s", v.From, o.Kind, v.Kind)}
		}
	}
	if e.vote(v.Kind, v.From) != nil {
		return false, blame
	}
	if v.Kind != Abort && len(e.body) > 0 && v.Certificate != e.cert {
		return false, blame
	}
	if v.Kind == Ready {
		if err := m.verify.Proof(&e.plan, e.body, v.From, v.Proof); err != nil {
			return false, &Blame{e.id, v.From, []Vote{*v}, fmt.Errorf("READY of participant %d: %w", v.From, err)}
		}
	}
	kept := *v
	kept.Proof, kept.Signature = slices.Clone(v.Proof), slices.Clone(v.Signature)
	e.insert(kept)
	return true, blame
}

// advance casts the votes that are due.
func (m *Machine) advance(e *entry) Effects {
	var out Effects
	p := &e.plan
	ready := len(e.body) > 0 && e.all(Prepared, p.New) && e.all(Ready, p.New)
	if !e.committed && ready && e.count(Closed, p.Old) >= p.closedQuorum() {
		out.add(m.commit(e))
	}
	if m.mayReady(e) {
		out.add(m.decide(e, Ready))
	}
	if ready && m.mayClose(e) {
		out.add(m.decide(e, Closed))
	}
	if e.committed && !e.settled && e.all(Active, p.New) {
		out.add(m.settle(e))
	}
	return out
}

func (m *Machine) mayReady(e *entry) bool {
	return e.mine[Prepared] && !e.mine[Ready] && !e.forgotten && !e.released() && e.all(Prepared, e.plan.New) &&
		(m.epoch == nil || m.epoch.Number <= e.plan.From)
}

func (m *Machine) mayClose(e *entry) bool {
	p := &e.plan
	return !e.mine[Closed] && !e.forgotten && !e.released() && m.epoch != nil && m.epoch.Number == p.From &&
		slices.Contains(m.shares, p.From) && sharing.Contains(p.Old, m.self) && m.bound(p.From, e) == nil
}

// mayCloseLate: the others have ended the epoch. Whatever this party was bound to in
// it, unless it has closed for another plan itself, is void.
func (m *Machine) mayCloseLate(e *entry) bool {
	p := &e.plan
	return m.epoch != nil && m.epoch.Number == p.From && slices.Contains(m.shares, p.From) && sharing.Contains(p.Old, m.self) &&
		!e.forgotten && m.closed(p.From) == nil
}

// commit moves this party to the new epoch. It overrides an ABORT.
func (m *Machine) commit(e *entry) Effects {
	e.committed = true
	out := Effects{Save: true}
	p := &e.plan
	// An old party that was not needed closes all the same: it states how far it came.
	if m.mayCloseLate(e) {
		out.add(m.decide(e, Closed))
	}
	out.Committed = m.bundle(e)
	if m.epoch == nil || m.epoch.Number <= p.From {
		m.epoch = &Epoch{p.To(), e.cert, slices.Clone(p.New), p.NewThreshold}
	}
	if e.mine[Ready] {
		if !slices.Contains(m.shares, p.To()) {
			m.shares = append(m.shares, p.To())
		}
		out.add(m.decide(e, Active))
	}
	return out
}

// settle erases what was before: every new party has said ACTIVE.
func (m *Machine) settle(e *entry) Effects {
	e.settled = true
	out := Effects{Save: true}
	kept := m.shares[:0]
	for _, n := range m.shares {
		if n <= e.plan.From {
			out.Erase = append(out.Erase, n)
		} else {
			kept = append(kept, n)
		}
	}
	m.shares = kept
	// The other attempts at this epoch can never commit, and what came before it
	// nobody asks about.
	var plans []*entry
	for _, o := range m.plans {
		if o == e || o.plan.From > e.plan.From {
			plans = append(plans, o)
		} else if o.mine[Prepared] && !o.mine[Abort] && !o.committed {
			out.Discard = append(out.Discard, o.id)
		}
	}
	m.plans = plans
	return out
}

func (m *Machine) bundle(e *entry) *Bundle {
	return &Bundle{Plan: e.plan, Body: e.body, Votes: slices.Clone(e.votes)}
}

// tell sends what is known to everybody.
func (m *Machine) tell(e *entry) []Message {
	b := m.bundle(e)
	b.Ask = true
	body := b.Encode()
	var out []Message
	for _, id := range e.plan.everybody() {
		if id != m.self {
			out = append(out, Message{id, body})
		}
	}
	return out
}

// Tick repeats what may have got lost, while something is open here. Call it every
// second or so.
func (m *Machine) Tick() Effects {
	var out Effects
	for _, e := range m.plans {
		if e.open() {
			out.Send = append(out.Send, m.tell(e)...)
		}
	}
	return out
}

// open says that this party waits for something of the plan.
func (e *entry) open() bool { return !e.settled && (e.committed || !e.aborted() && !e.abandoned) }

// Restart goes on after a start: votes that were decided are signed again, and
// what died before its share was sealed is given up.
func (m *Machine) Restart() Effects {
	var out Effects
	for _, e := range slices.Clone(m.plans) {
		for k := Prepared; k <= lastKind; k++ {
			if e.mine[k] && e.vote(k, m.self) == nil {
				out.Sign = append(out.Sign, m.request(e, k))
			}
		}
		if sharing.Contains(e.plan.New, m.self) && !e.mine[Prepared] && !e.mine[Abort] && e.open() {
			if more, err := m.GiveUp(e.id); err == nil {
				out.add(more)
			}
		}
		if e.open() {
			out.add(m.advance(e))
			out.Send = append(out.Send, m.tell(e)...)
		}
	}
	return out
}
