package vault

import (
	"sort"

	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/mpc"
)

// requestIndex is the union of all ledgers, by request. What each party wrote
// stands on its own: nobody's ledger changes what another's says.
type requestIndex struct {
	self      mpc.ID
	byRequest map[[32]byte][]*promise
	byAttempt map[[16]byte]map[mpc.ID]*promise
	spending  spending // the same, in the order of time (spending.go)
	now       uint64   // this vault's clock; 0: no clock
}

// promise is one party's reservation and what became of it.
type promise struct {
	party    mpc.ID
	reserve  event
	movement *policy.Movement // that of the reservation; nil: it moves nothing, or says nothing that can be read
	status   status
	// time is that of the reservation, as far as it can be: what was known at some moment
	// was not promised later than that, by a clock with which this vault would sign. A
	// reservation that is dated further ahead would use a limit up for good.
	time uint64
	// given: of this vault's own, from before this start: its final share may have
	// left, though the disk does not say so.
	given bool
	// never: the party has not reserved, and says that it never will.
	never bool
	// restated: the party has heard of it, and has no part in it. It counts, and is no
	// word about the attempt: byAttempt does not have it.
	restated bool
}

type status uint8

const (
	statusReserved status = iota + 1
	statusReleased
	statusFinal
)

func newRequestIndex(self mpc.ID) *requestIndex {
	return &requestIndex{self: self, byRequest: map[[32]byte][]*promise{}, byAttempt: map[[16]byte]map[mpc.ID]*promise{}, spending: newSpending()}
}

// of is what a party's ledger says of an attempt; nil: nothing.
func (x *requestIndex) of(attempt [16]byte, party mpc.ID) *promise {
	return x.byAttempt[attempt][party]
}

func (x *requestIndex) add(party mpc.ID, e *event) {
	p := x.of(e.Attempt, party)
	switch e.Kind {
	case eventReserve:
		if p != nil && !p.never {
			return // an attempt is reserved once; what came first stays
		}
		// Who says never and then reserves has another history behind it: it counts.
		p = x.promised(party, e)
		x.put(p)
	case eventRestate:
		x.promised(party, e).restated = true
	case eventRelease:
		switch {
		case p == nil:
			x.put(&promise{party: party, reserve: event{Attempt: e.Attempt}, status: statusReleased, never: true})
		case p.status == statusReserved || planted.Bug == planted.LateRelease:
			p.status = statusReleased
		}
	case eventFinal:
		// A release that comes with it is a lie, or from another copy of the ledger.
		if p != nil && !p.never {
			p.status = statusFinal
		}
	}
}

// promised takes in what a party says was reserved.
func (x *requestIndex) promised(party mpc.ID, e *event) *promise {
	p := &promise{party: party, reserve: *e, status: statusReserved, time: e.Time}
	if x.now != 0 && e.Time > x.now && e.Time-x.now > maxSkew {
		p.time = x.now + maxSkew
	}
	x.byRequest[e.Request] = append(x.byRequest[e.Request], p)
	x.spend(p)
	return p
}

func (x *requestIndex) put(p *promise) {
	m := x.byAttempt[p.reserve.Attempt]
	if m == nil {
		m = map[mpc.ID]*promise{}
		x.byAttempt[p.reserve.Attempt] = m
	}
	m[p.party] = p
}

// dead says that a promise never leads to a signature: all t shares are needed, and
// more of the parties that it names than the key's faults have released the same
// reservation, so that one of them is honest. Only those count: another vault's word
// about an attempt of others means nothing. Nor does a peer's word free this vault
// once its own final share has left: a liar could complete that version, say that it
// never will, and ask for the next.
func (x *requestIndex) dead(p *promise) bool {
	if own := x.of(p.reserve.Attempt, x.self); own != nil && (own.status == statusFinal && own.signs() || own.given) && own.reserve.same(&p.reserve) {
		return false
	}
	released := 0
	for _, id := range p.reserve.Parties {
		if q := x.of(p.reserve.Attempt, id); q != nil && q.status == statusReleased && q.reserve.same(&p.reserve) {
			released++
		}
	}
	return released > int(p.reserve.Faults)
}

// signs says that the party gives a share, and is no witness.
func (p *promise) signs() bool { return containsID(p.reserve.Parties, p.party) }

// released says that the allowance of a promise is back: every signer of its attempt
// has said that its final share has not left and never will. That one of them is
// honest is enough for it to be true; what each of them had reserved under the
// attempt's name does not matter, since a name serves a vault once.
func (x *requestIndex) released(p *promise) bool {
	if planted.Bug == planted.SessionKey {
		for _, q := range x.byAttempt[p.reserve.Attempt] {
			if q.status == statusReleased {
				return true
			}
		}
	}
	for _, id := range p.reserve.Parties {
		if q := x.of(p.reserve.Attempt, id); q == nil || q.status != statusReleased {
			return false
		}
	}
	return len(p.reserve.Parties) > 0
}

// same says that two reservations are about one signature.
func (e *event) same(o *event) bool {
	return e.Attempt == o.Attempt && e.Request == o.Request && e.Key == o.Key && e.Digest == o.Digest && equalIDs(e.Parties, o.Parties)
}

// live are the promises of a request that may yet become, or became, a
// signature, sorted by time.
func (x *requestIndex) live(request [32]byte) []*promise {
	var out []*promise
	for _, p := range x.byRequest[request] {
		if !x.dead(p) {
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].reserve.Time < out[j].reserve.Time })
	return out
}

// conflicting says whether a version with these slots excludes every live
// version of the request: the chain can then take one of them only. It returns
// the first that it does not exclude.
func (x *requestIndex) conflicting(request, digest [32]byte, slots []string) *promise {
	for _, p := range x.live(request) {
		if p.reserve.Digest != digest && !shares(p.reserve.Slots, slots) {
			return p
		}
	}
	return nil
}

func shares(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
