package roast

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
)

// Request is a message to the signers of a session.
type Request struct {
	To      []mpc.ID
	Message []byte
}

// Coordinator gathers a signature. Nothing in it is secret, and nobody trusts
// it. It is not safe for concurrent use.
type Coordinator struct {
	pub     *frost.Public
	terms   Terms
	hash    [32]byte
	signers map[mpc.ID]*state
	ready   []mpc.ID // in the order in which they became so
	runs    []*run   // runs[k−1] is session k
	sig     []byte
}

// state is what the coordinator knows of a signer.
type state struct {
	next    *frost.Commitment // it is ready
	busy    *run              // it was asked and has not answered
	seen    [][]byte          // its messages: a repetition changes nothing
	offered bool
	fault   error // it is never asked again
}

// run is one session.
type run struct {
	number uint32
	pkg    *frost.Package
	id     [32]byte
	shares map[mpc.ID]group.Scalar
}

// NewCoordinator checks the terms.
func NewCoordinator(pub *frost.Public, terms Terms) (*Coordinator, error) {
	hash, err := terms.hash(pub)
	if err != nil {
		return nil, fmt.Errorf("roast: %w", err)
	}
	terms.Job.Message = bytes.Clone(terms.Job.Message)
	c := &Coordinator{pub: pub, terms: terms, hash: hash, signers: make(map[mpc.ID]*state)}
	for _, id := range pub.Parties {
		c.signers[id] = new(state)
	}
	return c, nil
}

// Deliver takes a message of an authenticated signer, and returns a request if
// there is one to be sent. A signer that says something wrong is never asked
// again: see Faulty. The error is for strangers only.
func (c *Coordinator) Deliver(from mpc.ID, message []byte) (*Request, error) {
	s := c.signers[from]
	if s == nil {
		return nil, fmt.Errorf("roast: participant %d is not one of the key's parties %v", from, c.pub.Parties)
	}
	repeated := func(b []byte) bool { return bytes.Equal(b, message) }
	if s.fault != nil || c.sig != nil || slices.ContainsFunc(s.seen, repeated) {
		return nil, nil
	}
	s.seen = append(s.seen, bytes.Clone(message)) // at most one more than there are sessions, then it is faulty
	next, err := c.take(s, from, message)
	if err == nil && next != nil {
		s.next, err = frost.DecodeCommitment(c.pub.Suite, from, next)
	}
	if err != nil {
		s.fault, s.next = err, nil
		c.ready = slices.DeleteFunc(c.ready, func(id mpc.ID) bool { return id == from })
		return c.open(), nil
	}
	if next != nil && c.sig == nil {
		c.ready = append(c.ready, from)
	}
	return c.open(), nil
}

// take works on an offer or an answer and returns the next commitment.
func (c *Coordinator) take(s *state, from mpc.ID, message []byte) ([]byte, error) {
	if round(message) == roundOffer {
		m, err := decodeOffer(message, c.terms.AttemptID, c.pub.Epoch)
		switch {
		case err != nil:
			return nil, fmt.Errorf("offer: %w", err)
		case m.from != from:
			return nil, fmt.Errorf("offer says that it is from participant %d", m.from)
		case m.terms != c.hash:
			return nil, errors.New("offer is for something else: the key, its epoch, the request or the job differs")
		case s.offered:
			return nil, errors.New("a second offer")
		case len(m.next) == 0:
			return nil, errors.New("offer without a commitment")
		}
		s.offered = true
		return m.next, nil
	}
	m, err := decodeAnswer(message, c.pub.Epoch)
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer: %w", err)
	case m.from != from:
		return nil, fmt.Errorf("answer says that it is from participant %d", m.from)
	case s.busy == nil:
		return nil, errors.New("an answer that was not asked for")
	case m.number != s.busy.number || m.pkg != s.busy.id:
		return nil, fmt.Errorf("answer is to session %d, package %x, want %d, %x", m.number, m.pkg, s.busy.number, s.busy.id)
	}
	z, err := decodeScalar(c.pub.PublicKey.Curve(), m.z)
	if err != nil {
		return nil, err
	}
	if err := s.busy.pkg.VerifyShare(from, z); err != nil {
		return nil, err
	}
	r := s.busy
	s.busy = nil
	r.shares[from] = z
	if len(r.shares) == c.pub.Threshold {
		sig, err := r.pkg.Aggregate(r.shares)
		if err != nil {
			return nil, fmt.Errorf("shares that are all valid make no signature: %w", err)
		}
		c.sig = sig
	}
	return m.next, nil
}

// open starts a session when t signers are ready.
func (c *Coordinator) open() *Request {
	if c.sig != nil || len(c.ready) < c.pub.Threshold {
		return nil
	}
	set := slices.Sorted(slices.Values(c.ready[:c.pub.Threshold]))
	c.ready = slices.Delete(c.ready, 0, c.pub.Threshold)
	m := &request{number: uint32(len(c.runs) + 1), set: set}
	list := make([]*frost.Commitment, len(set))
	for i, id := range set {
		list[i] = c.signers[id].next
		m.commitments = append(m.commitments, list[i].Bytes())
	}
	x, err := frost.NewPackage(c.pub, c.terms.Job, list)
	if err != nil {
		// The terms were checked and so was each commitment: the sum of the nonces is
		// the identity, which nobody can bring about. These signers are lost.
		for _, id := range set {
			c.signers[id].fault, c.signers[id].next = err, nil
		}
		return nil
	}
	r := &run{number: m.number, pkg: x, id: x.ID(), shares: make(map[mpc.ID]group.Scalar)}
	c.runs = append(c.runs, r)
	for _, id := range set {
		c.signers[id].next, c.signers[id].busy = nil, r
	}
	return &Request{To: set, Message: m.encode(c.terms.AttemptID, c.pub.Epoch)}
}

// Signature returns the signature, verified by a verifier that is not ours, or
// nil when there is none yet.
func (c *Coordinator) Signature() []byte { return bytes.Clone(c.sig) }

// Sessions counts the sessions that were opened.
func (c *Coordinator) Sessions() int { return len(c.runs) }

// Faulty returns the signers that said something wrong, and what. It is this
// coordinator's word and no evidence to others.
func (c *Coordinator) Faulty() map[mpc.ID]error {
	out := make(map[mpc.ID]error)
	for id, s := range c.signers {
		if s.fault != nil {
			out[id] = fmt.Errorf("roast: participant %d: %w", id, s.fault)
		}
	}
	return out
}

// Waiting returns the signers that were asked and have not answered, ascending.
func (c *Coordinator) Waiting() []mpc.ID {
	var out []mpc.ID
	for _, id := range slices.Sorted(maps.Keys(c.signers)) {
		if c.signers[id].busy != nil && c.signers[id].fault == nil {
			out = append(out, id)
		}
	}
	return out
}
