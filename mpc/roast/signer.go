package roast

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
)

// ErrEnough says that a signer has answered as often as it may.
var ErrEnough = errors.New("signer has answered in as many sessions as an honest coordinator needs")

// Signer is one participant's side. It is not safe for concurrent use.
type Signer struct {
	key    *dkg.KeyShare
	pub    *frost.Public
	terms  Terms
	hash   [32]byte
	rand   io.Reader
	next   *frost.Nonce // offered, not used
	asked  int          // sessions answered
	offers bool         // Offer was called
	ended  bool

	request, answer []byte // the last: a repetition is answered with the same bytes
}

// MaxSessions is how many sessions an honest coordinator needs at most, and so
// how often a signer answers.
func MaxSessions(n, t int) int { return n - t + 1 }

// NewSigner makes a signer for one job, which its owner has approved. purpose
// must be the key's.
func NewSigner(key *dkg.KeyShare, purpose string, terms Terms, rand io.Reader) (*Signer, error) {
	switch {
	case key == nil || !key.Active():
		return nil, errors.New("roast: no active key share")
	case key.Purpose != purpose:
		return nil, fmt.Errorf("roast: purpose %q, but the key is for %q", purpose, key.Purpose)
	case rand == nil:
		return nil, errors.New("roast: no source of randomness")
	}
	pub := frost.PublicOf(key)
	hash, err := terms.hash(pub)
	if err != nil {
		return nil, fmt.Errorf("roast: %w", err)
	}
	terms.Job.Message = bytes.Clone(terms.Job.Message)
	return &Signer{key: key, pub: pub, terms: terms, hash: hash, rand: rand}, nil
}

// Format writes the party only, whatever the verb.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "roast.Signer(%d)", s.key.ID) }

// Offer returns the first message.
func (s *Signer) Offer() ([]byte, error) {
	if s.ended || s.offers {
		return nil, errors.New("roast: the signer has offered already")
	}
	s.offers = true
	next, err := s.draw()
	if err != nil {
		return nil, err
	}
	m := offer{from: s.key.ID, terms: s.hash, next: next}
	return m.encode(s.terms.AttemptID, s.key.Epoch), nil
}

// draw makes the next nonce, if it may still be used.
func (s *Signer) draw() ([]byte, error) {
	if s.asked >= MaxSessions(len(s.pub.Parties), s.pub.Threshold) {
		return nil, nil
	}
	n, err := frost.NewNonce(s.key, nil, s.rand)
	if err != nil {
		return nil, fmt.Errorf("roast: %w", err)
	}
	s.next = n
	return n.Commitment().Bytes(), nil
}

// Answer signs what a request asks for. A request that is not in form, or that
// does not have this signer's newest commitment in it, is an error that changes
// nothing: it may be anybody's. The nonce is consumed before the share exists.
func (s *Signer) Answer(req []byte) ([]byte, error) {
	if s.ended {
		return nil, errors.New("roast: the signer has ended")
	}
	if s.request != nil && bytes.Equal(req, s.request) {
		return bytes.Clone(s.answer), nil
	}
	if s.offers && s.next == nil {
		return nil, fmt.Errorf("roast: %w", ErrEnough)
	}
	m, err := decodeRequest(req, s.terms.AttemptID, s.key.Epoch)
	if err != nil {
		return nil, fmt.Errorf("roast: couldn't decode request: %w", err)
	}
	if err := s.mine(m); err != nil {
		return nil, err
	}
	x, err := s.fix(m)
	if err != nil {
		return nil, err
	}
	n := s.next
	s.next = nil
	s.asked++
	z, err := x.Sign(s.key, n)
	if err != nil {
		return nil, fmt.Errorf("roast: %w", err)
	}
	next, err := s.draw()
	if err != nil {
		return nil, err
	}
	a := answer{from: s.key.ID, pkg: x.ID(), number: m.number, z: z.Encode(), next: next}
	s.request, s.answer = bytes.Clone(req), a.encode(s.key.Epoch)
	return bytes.Clone(s.answer), nil
}

// mine demands exactly t signers, and this one with its newest commitment.
func (s *Signer) mine(m *request) error {
	if len(m.set) != s.pub.Threshold {
		return fmt.Errorf("roast: request to %d signers, want %d", len(m.set), s.pub.Threshold)
	}
	for i, id := range m.set {
		if id != s.key.ID {
			continue
		}
		if s.next == nil || !bytes.Equal(m.commitments[i], s.next.Commitment().Bytes()) {
			return errors.New("roast: request has another commitment of this signer than its newest")
		}
		return nil
	}
	return fmt.Errorf("roast: participant %d is not one of the signers %v", s.key.ID, m.set)
}

func (s *Signer) fix(m *request) (*frost.Package, error) {
	var list []*frost.Commitment
	for i, id := range m.set {
		if id == s.key.ID {
			list = append(list, s.next.Commitment())
			continue
		}
		c, err := frost.DecodeCommitment(s.pub.Suite, id, m.commitments[i])
		if err != nil {
			return nil, fmt.Errorf("roast: participant %d: %w", id, err)
		}
		list = append(list, c)
	}
	x, err := frost.NewPackage(s.pub, s.terms.Job, list)
	if err != nil {
		return nil, fmt.Errorf("roast: %w", err)
	}
	return x, nil
}

// ID is the participant.
func (s *Signer) ID() mpc.ID { return s.key.ID }

// Destroy ends the signer and wipes its nonce.
func (s *Signer) Destroy() {
	s.ended = true
	if s.next != nil {
		s.next.Destroy()
		s.next = nil
	}
}
