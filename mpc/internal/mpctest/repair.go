package mpctest

import (
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// RepairPlan is the repair of a share of a key that Keys made.
type RepairPlan struct {
	Certificate *dkg.Certificate
	Shares      map[mpc.ID]*dkg.KeyShare // of the helpers
	Lost        mpc.ID
	Helpers     []mpc.ID
}

// Config is the configuration of one participant.
func (p *RepairPlan) Config(self mpc.ID) lifecycle.RepairConfig {
	cfg := lifecycle.RepairConfig{
		Self:              self,
		Lost:              p.Lost,
		Helpers:           p.Helpers,
		Certificate:       p.Certificate,
		VerifyCertificate: Verify("identity"),
		Identities:        Identities(Union(p.Helpers, []mpc.ID{p.Lost})),
		AttemptID:         [16]byte{4},
		Sign:              func(digest [32]byte) []byte { return SignDigest("session", self, digest) },
		Verify:            Verify("session"),
	}
	if self != p.Lost {
		cfg.Share = p.Shares[self]
	}
	return cfg
}

// Repair is a run of a repair, message by message.
type Repair struct {
	Participants []mpc.ID
	Lost         mpc.ID
	Sessions     map[mpc.ID]*lifecycle.Repair
	Broadcast    [2]map[mpc.ID][]byte
	Private      [2]map[mpc.ID]map[mpc.ID][]byte // of rounds 2 and 3
}

// NewRepair makes the sessions; participant i draws from Reader(label/i).
func NewRepair(label string, plan *RepairPlan) (*Repair, error) {
	r := &Repair{Participants: Union(plan.Helpers, []mpc.ID{plan.Lost}), Lost: plan.Lost, Sessions: make(map[mpc.ID]*lifecycle.Repair)}
	for _, id := range r.Participants {
		s, err := lifecycle.NewRepair(plan.Config(id), Reader("%s/%d", label, id))
		if err != nil {
			return nil, fmt.Errorf("participant %d: %w", id, err)
		}
		r.Sessions[id] = s
	}
	return r, nil
}

// Step runs a round of one participant with what lies in the maps.
func (p *Repair) Step(round int, id mpc.ID) (broadcast []byte, private map[mpc.ID][]byte, err error) {
	switch s := p.Sessions[id]; round {
	case 0:
		broadcast, err = s.Round0()
	case 1:
		broadcast, err = s.Round1(Except(p.Broadcast[0], id))
	case 2:
		private, err = s.Round2(Except(p.Broadcast[1], id))
	case 3:
		private, err = s.Round3(Inbound(p.Private[0], id))
	}
	return broadcast, private, err
}

// Round runs a round at every participant and returns the first error, by id.
func (p *Repair) Round(round int) error {
	next, private := make(map[mpc.ID][]byte), make(map[mpc.ID]map[mpc.ID][]byte)
	var first error
	for _, id := range p.Participants {
		b, m, err := p.Step(round, id)
		if err != nil && first == nil {
			first = fmt.Errorf("participant %d: %w", id, err)
		}
		next[id], private[id] = b, m
	}
	if round < 2 {
		p.Broadcast[round] = next
	} else {
		p.Private[round-2] = private
	}
	return first
}

// Finish returns the share at the party that lost it.
func (p *Repair) Finish() (*dkg.KeyShare, error) {
	return p.Sessions[p.Lost].Finish(Inbound(p.Private[1], p.Lost))
}
