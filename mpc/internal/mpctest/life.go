package mpctest

import (
	"crypto/ed25519"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// LifePlan is a refresh or reshare of a key that Keys made.
type LifePlan struct {
	Kind        lifecycle.Kind
	Certificate *dkg.Certificate
	Shares      map[mpc.ID]*dkg.KeyShare // of the dealers at least
	Dealers     []mpc.ID                 // of a reshare
	Parties     []mpc.ID
	Threshold   int
}

// Config is the configuration of one participant.
func (p *LifePlan) Config(self mpc.ID) lifecycle.Config {
	return lifecycle.Config{
		Kind:              p.Kind,
		Self:              self,
		Certificate:       p.Certificate,
		VerifyCertificate: Verify("identity"),
		Share:             p.Shares[self],
		Dealers:           p.Dealers,
		Parties:           p.Parties,
		Threshold:         p.Threshold,
		Identities:        Identities(p.participants()),
		AttemptID:         [16]byte{3},
		Sign:              func(digest [32]byte) []byte { return SignDigest("session", self, digest) },
		Verify:            Verify("session"),
	}
}

func (p *LifePlan) participants() []mpc.ID {
	if p.Kind == lifecycle.Refresh && p.Dealers == nil {
		return p.Certificate.Parties
	}
	return Union(p.Dealers, p.Parties)
}

// Union is the ascending union of ids.
func Union(sets ...[]mpc.ID) []mpc.ID {
	var out []mpc.ID
	for id := 1; id <= 65535; id++ {
		for _, set := range sets {
			if contains(set, mpc.ID(id)) {
				out = append(out, mpc.ID(id))
				break
			}
		}
	}
	return out
}

func contains(ids []mpc.ID, id mpc.ID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// Identities are the public identity keys of the parties.
func Identities(parties []mpc.ID) map[mpc.ID][]byte {
	out := make(map[mpc.ID][]byte, len(parties))
	for _, id := range parties {
		out[id] = Key("identity", id).Public().(ed25519.PublicKey)
	}
	return out
}

// Life is a run of a refresh or reshare, message by message. A test may alter
// what lies in the maps between two rounds.
type Life struct {
	Participants []mpc.ID
	Sessions     map[mpc.ID]*lifecycle.Session
	Broadcast    [3]map[mpc.ID][]byte
	Private      map[mpc.ID]map[mpc.ID][]byte
}

// NewLife makes the sessions; participant i draws from Reader(label/i).
func NewLife(label string, plan *LifePlan) (*Life, error) {
	l := &Life{Participants: plan.participants(), Sessions: make(map[mpc.ID]*lifecycle.Session)}
	for _, id := range l.Participants {
		s, err := lifecycle.New(plan.Config(id), Reader("%s/%d", label, id))
		if err != nil {
			return nil, fmt.Errorf("participant %d: %w", id, err)
		}
		l.Sessions[id] = s
	}
	return l, nil
}

// Step runs round r of one participant with what lies in the maps.
func (l *Life) Step(r int, id mpc.ID) (broadcast []byte, private map[mpc.ID][]byte, err error) {
	switch s := l.Sessions[id]; r {
	case 0:
		broadcast, err = s.Round0()
	case 1:
		broadcast, err = s.Round1(Except(l.Broadcast[0], id))
	case 2:
		broadcast, err = s.Round2(Except(l.Broadcast[1], id))
	case 3:
		private, err = s.Round3(Except(l.Broadcast[2], id))
	}
	return broadcast, private, err
}

// Round runs round r at every participant and returns the first error, by id.
func (l *Life) Round(r int) error {
	next := make(map[mpc.ID][]byte)
	if r == 3 {
		l.Private = make(map[mpc.ID]map[mpc.ID][]byte)
	}
	var first error
	for _, id := range l.Participants {
		broadcast, private, err := l.Step(r, id)
		if err != nil && first == nil {
			first = fmt.Errorf("participant %d: %w", id, err)
		}
		next[id] = broadcast
		if r == 3 {
			l.Private[id] = private
		}
	}
	if r < 3 {
		l.Broadcast[r] = next
	}
	return first
}

// Finish ends the protocol at one participant.
func (l *Life) Finish(id mpc.ID) (*lifecycle.Output, error) {
	return l.Sessions[id].Finish(Inbound(l.Private, id))
}

// Redistribute runs a whole refresh or reshare and activates the shares.
func Redistribute(label string, plan *LifePlan) (map[mpc.ID]*dkg.KeyShare, *dkg.Certificate, error) {
	l, err := NewLife(label, plan)
	if err != nil {
		return nil, nil, err
	}
	for r := range 4 {
		if err := l.Round(r); err != nil {
			return nil, nil, err
		}
	}
	shares := make(map[mpc.ID]*dkg.KeyShare)
	var cert *dkg.Certificate
	for _, id := range l.Participants {
		out, err := l.Finish(id)
		if err != nil {
			return nil, nil, err
		}
		if cert != nil && cert.Digest() != out.Certificate.Digest() {
			return nil, nil, fmt.Errorf("participant %d has another certificate", id)
		}
		cert = out.Certificate
		if out.Share != nil {
			shares[id] = out.Share
		}
	}
	return shares, cert, Activate(cert, shares)
}

// Activate signs a certificate with all identities and activates the shares.
func Activate(cert *dkg.Certificate, shares map[mpc.ID]*dkg.KeyShare) error {
	digest := cert.Digest()
	for _, id := range cert.Parties {
		if err := cert.AddSignature(id, SignDigest("identity", id, digest)); err != nil {
			return err
		}
	}
	for _, k := range shares {
		if err := k.Activate(cert, Verify("identity")); err != nil {
			return err
		}
	}
	return nil
}
