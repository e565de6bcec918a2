package handover

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Plan is one attempt to move a key to its next epoch. Its ID is in every vote.
type Plan struct {
	Key          [32]byte
	From         uint64   // the epoch that ends, e; the next one is e+1
	Previous     [32]byte // digest of e's certificate
	Old          []mpc.ID // ascending
	OldThreshold int
	Dealers      []mpc.ID // ascending, at least OldThreshold of Old
	New          []mpc.ID // ascending
	NewThreshold int
	Order        [32]byte // hash of what authorises the move
	Attempt      [16]byte // never used twice
}

const planVersion = 1

// Check refuses a plan that no party may join.
func (p *Plan) Check() error {
	for _, set := range [][]mpc.ID{p.Old, p.New, p.Dealers} {
		if err := sharing.CheckIDs(set); err != nil {
			return err
		}
	}
	if err := sharing.CheckThreshold(p.OldThreshold, len(p.Old)); err != nil {
		return fmt.Errorf("old epoch: %w", err)
	}
	if err := sharing.CheckThreshold(p.NewThreshold, len(p.New)); err != nil {
		return fmt.Errorf("new epoch: %w", err)
	}
	if len(p.Dealers) < p.OldThreshold {
		return fmt.Errorf("%d dealers, want at least %d", len(p.Dealers), p.OldThreshold)
	}
	for _, id := range p.Dealers {
		if !sharing.Contains(p.Old, id) {
			return fmt.Errorf("dealer %d is not one of the parties %v", id, p.Old)
		}
	}
	if p.From == 0 || p.From+1 == 0 {
		return errors.New("epochs start at 1")
	}
	return nil
}

// To is the epoch that begins.
func (p *Plan) To() uint64 { return p.From + 1 }

// closedQuorum is n−t+1: what is left of the old set can no longer sign.
func (p *Plan) closedQuorum() int { return len(p.Old) - p.OldThreshold + 1 }

// everybody lists old and new parties, ascending.
func (p *Plan) everybody() []mpc.ID {
	all := append(slices.Clone(p.Old), p.New...)
	slices.Sort(all)
	return slices.Compact(all)
}

// ID names the plan.
func (p *Plan) ID() [32]byte { return transcript.Sum(transcript.TagHandoverPlan, p.Encode()) }

// Encode is the canonical encoding.
func (p *Plan) Encode() []byte {
	w := wire.NewWriter(planVersion).Fixed(p.Key[:]).Uint64(p.From).Fixed(p.Previous[:])
	session.WriteIDs(w, p.Old)
	w.Uint16(uint16(p.OldThreshold))
	session.WriteIDs(w, p.Dealers)
	session.WriteIDs(w, p.New)
	return w.Uint16(uint16(p.NewThreshold)).Fixed(p.Order[:]).Fixed(p.Attempt[:]).Bytes()
}

// DecodePlan is strict; what it returns passes Check.
func DecodePlan(b []byte) (*Plan, error) {
	r := wire.NewReader(b, planVersion)
	p := new(Plan)
	r.Into("key", p.Key[:])
	p.From = r.Uint64("epoch")
	r.Into("previous certificate", p.Previous[:])
	p.Old, p.OldThreshold = session.ReadIDs(r, "old parties"), int(r.Uint16("old threshold"))
	p.Dealers = session.ReadIDs(r, "dealers")
	p.New, p.NewThreshold = session.ReadIDs(r, "new parties"), int(r.Uint16("new threshold"))
	r.Into("order", p.Order[:])
	r.Into("attempt", p.Attempt[:])
	err := r.Done()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode handover plan: %w", err)
	}
	return p, nil
}
