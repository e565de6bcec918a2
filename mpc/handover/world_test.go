package handover

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// The world of these tests: parties with a disk, a lossy network, a device that
// signs, and dealings that may break off. A party dies before its k-th durable
// step or send, whichever comes, and starts again from its disk.

// A signature here is a hash that names the signer: what matters is who votes what.
func testSign(k Kind, id mpc.ID, digest [32]byte) []byte {
	h := sha256.Sum256(fmt.Appendf(nil, "sig %d %d %x", k, id, digest))
	return h[:]
}

func testProof(plan [32]byte, id mpc.ID) []byte {
	h := sha256.Sum256(fmt.Appendf(nil, "proof %x %d", plan, id))
	return h[:]
}

func testBody(p *Plan) []byte { id := p.ID(); return append([]byte("certificate of "), id[:]...) }

func testVerifier() Verifier {
	return Verifier{
		Signature: func(k Kind, id mpc.ID, digest [32]byte, sig []byte) bool {
			return string(sig) == string(testSign(k, id, digest))
		},
		Certificate: func(p *Plan, body []byte) ([32]byte, error) {
			if string(body) != string(testBody(p)) {
				return [32]byte{}, errors.New("another certificate")
			}
			return sha256.Sum256(body), nil
		},
		Proof: func(p *Plan, _ []byte, id mpc.ID, proof []byte) error {
			if string(proof) != string(testProof(p.ID(), id)) {
				return errors.New("no knowledge of the share")
			}
			return nil
		},
	}
}

type disk struct {
	state  []byte
	shares map[uint64]bool   // by epoch
	sealed map[[32]byte]bool // by plan
	loaded *Machine          // of state
}

type party struct {
	id      mpc.ID
	disk    disk
	m       *Machine // nil: down
	dealt   map[[32]byte]map[mpc.ID]bool
	could   map[uint64]bool // epochs in which it could ever sign
	waiting map[[32]byte]int
}

type event struct {
	to, from mpc.ID
	bundle   []byte
	deal     *Plan    // a dealer's message
	sign     *Request // answer of the device
}

// weakness is a deliberate fault, which the invariants must catch.
type weakness struct {
	eraseAtReady     bool // e is erased at READY
	closedNotDurable bool // CLOSED leaves before it is on disk
	fewerClosed      bool // n−t CLOSED are taken for a commit
	rebind           bool // dealers bind themselves to nothing
	readyNotDurable  bool
}

type world struct {
	t       *testing.T
	r       *rand.Rand // nil: first in, first out, nothing is lost
	weak    weakness
	old     Epoch
	newIDs  []mpc.ID
	newT    int
	parties map[mpc.ID]*party
	queue   []event
	plans   []*Plan
	next    byte
	point   int
	kills   []int
	killed  int
	fault   error
	quiet   bool // faults have stopped
}

var testKey = [32]byte{7}

func newWorld(t *testing.T, old []mpc.ID, oldT int, newIDs []mpc.ID, newT int) *world {
	w := &world{t: t, old: Epoch{1, [32]byte{1}, old, oldT}, newIDs: newIDs, newT: newT, parties: map[mpc.ID]*party{}}
	for _, id := range append(slices.Clone(old), newIDs...) {
		if w.parties[id] != nil {
			continue
		}
		p := &party{id: id, could: map[uint64]bool{}}
		var e *Epoch
		if sharing.Contains(old, id) {
			e = &w.old
			p.disk.shares = map[uint64]bool{1: true}
		} else {
			p.disk.shares = map[uint64]bool{}
		}
		p.disk.sealed = map[[32]byte]bool{}
		m, err := New(id, testKey, e, testVerifier())
		if err != nil {
			t.Fatal(err)
		}
		p.m, p.disk.state = m, m.Encode()
		p.disk.loaded = m
		p.dealt, p.waiting = map[[32]byte]map[mpc.ID]bool{}, map[[32]byte]int{}
		w.parties[id] = p
	}
	return w
}

func (w *world) ids() []mpc.ID { return slices.Sorted(maps.Keys(w.parties)) }

// step is a point at which a party may die. It says whether it lives on.
func (w *world) step(p *party) bool {
	if w.quiet {
		return true
	}
	w.point++
	if slices.Contains(w.kills, w.point) || w.r != nil && w.r.IntN(60) == 0 {
		p.m = nil
		p.dealt = map[[32]byte]map[mpc.ID]bool{}
		w.queue = slices.DeleteFunc(w.queue, func(e event) bool { return e.sign != nil && e.to == p.id })
		w.killed++
		return false
	}
	return true
}

// perform carries out effects in their order. seal is a share that becomes durable
// with them.
func (w *world) perform(p *party, out Effects, seal *[32]byte) {
	readying := slices.ContainsFunc(out.Sign, func(r Request) bool { return r.Kind == Ready })
	if out.Save || seal != nil {
		if !w.step(p) {
			return
		}
		w.save(p, out, seal)
	}
	if readying && w.weak.eraseAtReady {
		delete(p.disk.shares, 1)
	}
	for _, b := range out.Blame {
		w.fail("party %d blames %d, who is honest: %v", p.id, b.Party, b.Err)
	}
	for _, r := range out.Sign {
		if !w.step(p) {
			return
		}
		w.queue = append(w.queue, event{to: p.id, sign: &r})
	}
	for _, msg := range out.Send {
		if !w.step(p) {
			return
		}
		w.queue = append(w.queue, event{to: msg.To, from: p.id, bundle: msg.Body})
	}
	w.check()
}

func (w *world) save(p *party, out Effects, seal *[32]byte) {
	d := &p.disk
	d.state = p.m.Encode()
	if seal != nil {
		d.sealed[*seal] = true
	}
	if c := out.Committed; c != nil && d.sealed[c.Plan.ID()] {
		d.shares[c.Plan.To()] = true
	}
	for _, id := range out.Discard {
		delete(d.sealed, id)
	}
	for _, n := range out.Erase {
		delete(d.shares, n)
	}
	if d.loaded = w.load(p); d.loaded == nil {
		return
	}
	w.check()
}

func (w *world) fail(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf("at point %d (kills %v): "+format, append([]any{w.point, w.kills}, args...)...)
	}
}

// check: some epoch always has t usable shares on disk; no party signs in e+1
// while t may sign in e, nor again in e; one plan commits at most.
func (w *world) check() {
	usable, mayOld, mayNew := 0, 0, 0
	for _, p := range w.parties {
		d := &p.disk
		if d.loaded.MaySign(1) && d.shares[1] {
			usable++
		}
		if p.m != nil {
			for _, e := range []uint64{1, 2} {
				if p.m.MaySign(e) {
					p.could[e] = true
				}
			}
			if p.m.MaySign(1) && p.could[2] {
				w.fail("party %d signs in epoch 1 again after epoch 2", p.id)
			}
			if p.m.MaySign(2) {
				mayNew++
			}
		}
		// A party that is down may sign again after its start.
		if (p.m == nil && d.loaded.MaySign(1) || p.m != nil && p.m.MaySign(1)) && d.shares[1] {
			mayOld++
		}
	}
	if mayNew > 0 && mayOld >= w.old.Threshold {
		w.fail("%d parties sign in epoch 2 while %d may sign in epoch 1", mayNew, mayOld)
	}
	committed := map[[32]byte]bool{}
	for _, plan := range w.plans {
		id := plan.ID()
		ready, closed, shares := 0, 0, 0
		for _, pid := range plan.New {
			d := &w.parties[pid].disk
			if e := d.loaded.find(id); e != nil && e.mine[Ready] {
				ready++
			}
			if d.sealed[id] {
				shares++
			}
		}
		for _, pid := range plan.Old {
			if e := w.parties[pid].disk.loaded.find(id); e != nil && (e.mine[Closed] || e.committed) {
				closed++
			}
		}
		if ready == len(plan.New) && closed >= plan.closedQuorum() && shares >= plan.NewThreshold {
			usable = max(usable, plan.NewThreshold+w.old.Threshold)
		}
		for _, p := range w.parties {
			for _, m := range []*Machine{p.m, p.disk.loaded} {
				if m == nil {
					continue
				}
				if e := m.find(id); e != nil && e.committed {
					committed[id] = true
				}
			}
		}
	}
	if usable < w.old.Threshold {
		// A settled machine has forgotten how it came there: then the new shares count.
		n := 0
		for _, p := range w.parties {
			if p.disk.loaded.MaySign(2) && p.disk.shares[2] {
				n++
			}
		}
		if n < w.newT {
			w.fail("no epoch has enough usable shares: %d in the old one, %d in the new one", usable, n)
		}
	}
	if len(committed) > 1 {
		w.fail("%d plans of one epoch are committed", len(committed))
	}
}

// begin starts an attempt: the dealers bind themselves and deal.
func (w *world) begin(dealers []mpc.ID) {
	w.next++
	p := &Plan{Key: testKey, From: 1, Previous: w.old.Certificate, Old: w.old.Parties, OldThreshold: w.old.Threshold,
		Dealers: dealers, New: w.newIDs, NewThreshold: w.newT, Attempt: [16]byte{w.next}}
	w.plans = append(w.plans, p)
	for _, id := range p.everybody() {
		x := w.parties[id]
		if x.m == nil {
			continue
		}
		deal := sharing.Contains(dealers, id)
		if w.weak.rebind {
			deal = false
		}
		out, err := x.m.Join(p, deal)
		if err != nil {
			continue // bound elsewhere, or in the next epoch: the attempt dies
		}
		w.perform(x, out, nil)
		if x.m == nil || !sharing.Contains(dealers, id) {
			continue
		}
		for _, to := range p.New {
			if !w.step(x) {
				break
			}
			w.queue = append(w.queue, event{to: to, from: id, deal: p})
		}
	}
}

func (w *world) deliver(e event) {
	p := w.parties[e.to]
	if p.m == nil {
		return
	}
	switch {
	case e.sign != nil:
		out, err := p.m.Signed(e.sign.Plan, e.sign.Kind, testSign(e.sign.Kind, p.id, e.sign.Digest))
		if err != nil && p.m.Knows(e.sign.Plan) {
			w.fail("party %d: %v", p.id, err)
		}
		w.perform(p, out, nil)
	case e.deal != nil:
		id := e.deal.ID()
		if p.dealt[id] == nil {
			p.dealt[id] = map[mpc.ID]bool{}
		}
		p.dealt[id][e.from] = true
		if len(p.dealt[id]) == len(e.deal.Dealers) {
			// The command may come after the first shares.
			if !p.m.Knows(id) {
				if _, err := p.m.Join(e.deal, false); err != nil {
					return
				}
			}
			out, err := p.m.Sealed(id, testBody(e.deal), testProof(id, p.id))
			if err == nil {
				w.perform(p, out, &id)
			}
		}
	default:
		b, err := DecodeBundle(e.bundle)
		if err != nil || string(b.Encode()) != string(e.bundle) {
			w.fail("bundle: %v", err)
			return
		}
		if !p.m.Knows(b.Plan.ID()) {
			// The vault checks the order that comes along.
			if out, err := p.m.Join(&b.Plan, false); err == nil {
				if w.perform(p, out, nil); p.m == nil {
					return
				}
			}
		}
		if w.weak.fewerClosed {
			w.forgeClosed(b)
		}
		w.perform(p, p.m.Deliver(e.from, b), nil)
	}
}

// forgeClosed adds a CLOSED that its party has not decided: one fewer is enough then.
func (w *world) forgeClosed(b *Bundle) {
	for _, id := range b.Plan.Old {
		if i := slices.IndexFunc(b.Votes, func(v Vote) bool { return v.Kind >= Closed }); i >= 0 && b.Votes[i].Kind == Closed &&
			!slices.ContainsFunc(b.Votes, func(v Vote) bool { return v.Kind == Closed && v.From == id }) {
			v := Vote{Kind: Closed, From: id, Certificate: b.Votes[i].Certificate}
			v.Signature = testSign(Closed, id, v.Digest(b.Plan.ID()))
			b.Votes = append(b.Votes, v)
			slices.SortFunc(b.Votes, func(x, y Vote) int {
				if x.before(&y) {
					return -1
				}
				return 1
			})
			return
		}
	}
}

// drain delivers until nothing is on the way.
func (w *world) drain() {
	for n := 0; len(w.queue) > 0 && w.fault == nil; n++ {
		if n > 20000 {
			w.fail("messages never end")
			return
		}
		i := 0
		if w.r != nil && !w.quiet {
			i = w.r.IntN(len(w.queue))
		}
		e := w.queue[i]
		again := w.r != nil && !w.quiet && w.r.IntN(20) == 0
		if !again {
			w.queue = slices.Delete(w.queue, i, i+1)
		}
		if e.sign == nil && w.r != nil && !w.quiet && w.r.IntN(12) == 0 {
			continue // lost
		}
		w.deliver(e)
		if w.r != nil && w.r.IntN(30) == 0 {
			w.restart(w.ids()[w.r.IntN(len(w.parties))])
		}
	}
}

// load is the machine that a start would find.
func (w *world) load(p *party) *Machine {
	m, err := Load(p.disk.state, testVerifier())
	if err != nil {
		w.fail("%v", err)
		return nil
	}
	if string(m.Encode()) != string(p.disk.state) {
		w.fail("state does not encode to itself")
	}
	for k, lost := range map[Kind]bool{Closed: w.weak.closedNotDurable, Ready: w.weak.readyNotDurable} {
		for _, e := range m.plans {
			if lost && !e.committed {
				e.mine[k] = false
				e.votes = slices.DeleteFunc(e.votes, func(v Vote) bool { return v.Kind == k && v.From == p.id })
			}
		}
	}
	return m
}

func (w *world) restart(id mpc.ID) {
	p := w.parties[id]
	if p.m != nil {
		return
	}
	m := w.load(p)
	if m == nil {
		return
	}
	p.m = m
	w.perform(p, m.Restart(), nil)
	// A channel opens: who has gone on says so.
	for _, peer := range w.ids() {
		o := w.parties[peer]
		if o.m == nil || peer == id {
			continue
		}
		if c := o.m.Commit(); c != nil {
			w.perform(o, Effects{Send: []Message{{id, c.Encode()}}}, nil)
		}
	}
}

// round restarts who is down, repeats what got lost, and gives up what hangs.
func (w *world) round() {
	for _, id := range w.ids() {
		w.restart(id)
		p := w.parties[id]
		if p.m != nil {
			w.perform(p, p.m.Tick(), nil)
		}
	}
	w.drain()
	for _, id := range w.ids() {
		p := w.parties[id]
		for _, plan := range w.plans {
			pid := plan.ID()
			if p.m == nil || !p.m.Knows(pid) {
				continue
			}
			if p.waiting[pid]++; p.waiting[pid] < 3 {
				continue
			}
			if out, err := p.m.GiveUp(pid); err == nil {
				w.perform(p, out, nil)
			}
		}
	}
	w.drain()
}

// ended says whether everybody is in one epoch with nothing open.
func (w *world) ended() bool {
	for _, p := range w.parties {
		if p.m == nil || p.m.Epoch() == nil || p.m.Epoch().Number != 2 || slices.ContainsFunc(p.m.plans, (*entry).open) {
			return false
		}
	}
	return true
}

// run drives the key to its next epoch, through whatever is in the way.
func (w *world) run() error {
	w.begin(w.old.Parties[:w.old.Threshold])
	if w.r != nil && w.r.IntN(2) == 0 {
		w.begin(w.old.Parties[len(w.old.Parties)-w.old.Threshold:]) // two at once
	}
	for n := 0; n < 60 && w.fault == nil && !w.ended(); n++ {
		w.drain()
		w.round()
		if n >= 20 {
			w.quiet = true
		}
		if w.r != nil && n%3 == 1 || w.r == nil && n%5 == 4 {
			if len(w.plans) < 12 && !w.ended() {
				d := slices.Clone(w.old.Parties)
				if w.r != nil {
					w.r.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
				}
				d = d[:w.old.Threshold]
				slices.Sort(d)
				w.begin(d)
			}
		}
	}
	if w.fault == nil && !w.ended() {
		w.fail("faults have stopped, and not everybody is in one epoch")
		for _, id := range w.ids() {
			p := w.parties[id]
			w.t.Logf("party %d: epoch %+v", id, p.m.Epoch())
			for _, e := range p.m.plans {
				w.t.Logf("  attempt %d dealers %v: dealing %v mine %v votes %d committed %v aborted %v", e.plan.Attempt[0], e.plan.Dealers, e.dealing, e.mine, len(e.votes), e.committed, e.aborted())
			}
		}
	}
	if w.fault == nil {
		w.final()
	}
	return w.fault
}

// final: what was before is gone from every disk, and nothing else.
func (w *world) final() {
	for id, p := range w.parties {
		if len(p.disk.shares) > 0 && p.disk.shares[1] {
			w.fail("party %d still has the share of epoch 1", id)
		}
		if p.disk.shares[2] != sharing.Contains(w.newIDs, id) || p.m.MaySign(2) != sharing.Contains(w.newIDs, id) {
			w.fail("party %d: share %v, may sign %v in epoch 2", id, p.disk.shares[2], p.m.MaySign(2))
		}
	}
}
