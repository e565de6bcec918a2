package handover

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

const stateVersion = 1

// MaxState bounds an encoded machine.
const MaxState = maxPlans * (MaxBody + maxVotes*(maxProof+maxSignature+64))

// Encode is the machine as it must be on disk. It holds no secret.
func (m *Machine) Encode() []byte {
	w := wire.NewWriter(stateVersion).Uint16(uint16(m.self)).Fixed(m.key[:]).Bool(m.epoch != nil)
	if e := m.epoch; e != nil {
		w.Uint64(e.Number).Fixed(e.Certificate[:])
		session.WriteIDs(w, e.Parties)
		w.Uint16(uint16(e.Threshold))
	}
	w.Count(len(m.shares))
	for _, n := range m.shares {
		w.Uint64(n)
	}
	w.Count(len(m.plans))
	for _, e := range m.plans {
		w.Var(e.plan.Encode()).Bool(e.dealing).Bool(e.abandoned).Bool(e.committed).Bool(e.settled).Bool(e.forgotten)
		w.Var(e.body).Fixed(e.cert[:]).Var(e.proof).Var(e.closing)
		for k := Prepared; k <= lastKind; k++ {
			w.Bool(e.mine[k])
		}
		w.Count(len(e.votes))
		for i := range e.votes {
			writeVote(w, &e.votes[i])
		}
	}
	return w.Bytes()
}

// Load is the inverse of Encode, after a start. Go on with Restart.
func Load(b []byte, v Verifier) (*Machine, error) {
	r := wire.NewReader(b, stateVersion)
	m := &Machine{self: mpc.ID(r.Uint16("party")), verify: v}
	r.Into("key", m.key[:])
	if r.Bool("epoch known") {
		e := &Epoch{Number: r.Uint64("epoch")}
		r.Into("certificate", e.Certificate[:])
		e.Parties, e.Threshold = session.ReadIDs(r, "parties"), int(r.Uint16("threshold"))
		m.epoch = e
	}
	for range r.Count("shares", maxPlans+2, 8) {
		m.shares = append(m.shares, r.Uint64("share's epoch"))
	}
	for range r.Count("plans", maxPlans, 64) {
		e := readEntry(r)
		if r.Err() != nil {
			break
		}
		m.plans = append(m.plans, e)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode handover state: %w", err)
	}
	return m, nil
}

func readEntry(r *wire.Reader) *entry {
	e := new(entry)
	raw := r.Var("plan", 1<<10)
	if r.Err() != nil {
		return nil
	}
	p, err := DecodePlan(raw)
	if err != nil {
		r.Fail(err)
		return nil
	}
	e.plan, e.id = *p, p.ID()
	e.dealing, e.abandoned, e.committed, e.settled, e.forgotten = r.Bool("dealing"), r.Bool("abandoned"), r.Bool("committed"), r.Bool("settled"), r.Bool("forgotten")
	e.body = r.Var("certificate", MaxBody)
	r.Into("digest", e.cert[:])
	e.proof, e.closing = r.Var("proof", maxProof), r.Var("closing", maxProof)
	for k := Prepared; k <= lastKind; k++ {
		e.mine[k] = r.Bool("decided")
	}
	for range r.Count("votes", maxVotes, 1+2+32+4+4) {
		v := readVote(r)
		if n := len(e.votes); r.Err() == nil && n > 0 && !e.votes[n-1].before(&v) {
			r.Failf("votes are not sorted")
		}
		e.votes = append(e.votes, v)
	}
	return e
}

// Progress is what an operator is told of a plan.
type Progress struct {
	Plan      Plan
	Waiting   []mpc.ID // whose vote is missing for the next step
	Step      Kind     // the vote that is waited for
	Committed bool
	Settled   bool
	Aborted   bool
}

// Progress lists the plans that are known.
func (m *Machine) Progress() []Progress {
	var out []Progress
	for _, e := range m.plans {
		x := Progress{Plan: e.plan, Committed: e.committed, Settled: e.settled, Aborted: !e.committed && (e.aborted() || e.abandoned)}
		for _, k := range []Kind{Prepared, Ready, Closed, Active} {
			if who := e.lacking(k); len(who) > 0 && (k != Closed || !e.committed) {
				x.Step, x.Waiting = k, who
				break
			}
		}
		out = append(out, x)
	}
	return out
}

func (e *entry) lacking(k Kind) []mpc.ID {
	return slices.DeleteFunc(slices.Clone(e.plan.voters(k)), func(id mpc.ID) bool { return e.vote(k, id) != nil })
}

// Commit returns the commit certificate of the newest epoch, for a party that
// lags; nil if there is none.
func (m *Machine) Commit() *Bundle {
	for _, e := range slices.Backward(m.plans) {
		if e.committed {
			return m.bundle(e)
		}
	}
	return nil
}
