package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// moves is a wallet's way through its epochs in one run.
type moves struct {
	left   int                      // orders still to be given
	order  *governance.SignedChange // under way
	asked  map[uint64]mpc.ID        // commands to carry it out, not yet judged
	probes int
	second bool              // a second key was asked for
	epochs map[mpc.ID]uint64 // newest in which a vault allowed something
	begun  map[uint64]uint64 // epoch → number of commands given when the first log told of it
	seen   map[mpc.ID]int    // entries of each log that were looked at
}

func (r *run) newMoves() *moves {
	m := &moves{asked: map[uint64]mpc.ID{}, epochs: map[mpc.ID]uint64{}, begun: map[uint64]uint64{}, seen: map[mpc.ID]int{}}
	if r.rng.IntN(2) == 0 {
		m.left = 1 + r.rng.IntN(2)
	}
	return m
}

// move gives an order about the wallet's key, or has some vaults carry it out, as a
// coordinator, honest or not, could.
func (r *run) move() error {
	m := r.moves
	if r.cheat != 0 && !m.second && r.rng.IntN(2) == 0 {
		return r.secondKey()
	}
	if m.order == nil {
		if m.left == 0 {
			return nil
		}
		m.left--
		action, t := governance.Refresh, 0
		var parties []mpc.ID
		if r.rng.IntN(2) == 0 {
			action, t, parties = governance.Reshare, r.x.Threshold, r.IDs
		}
		r.log("the admins order a %s of epoch %d", action, r.x.Certificate.Epoch)
		var err error
		if m.order, err = r.OrderChange(r.x, "treasury", action, t, parties...); err != nil {
			return err
		}
	}
	return r.carryOut()
}

// secondKey has the vaults make another key, while one of them may deal wrong
// shares.
func (r *run) secondKey() error {
	r.moves.second = true
	r.maybeLieInDealing()
	c := &cluster.Command{Kind: cluster.CommandKeygen, Attempt: r.Attempt(), Body: r.KeygenOrder("savings", 2).Encode()}
	r.log("coordinator has a second key made")
	for _, id := range r.IDs {
		n, err := r.Command(id, c)
		if err != nil {
			return err
		}
		r.moves.asked[n] = id
	}
	return nil
}

func (r *run) maybeLieInDealing() {
	liar := r.Parties[r.cheat]
	if !r.faults || liar == nil || liar.Vault == nil || r.rng.IntN(2) == 0 {
		return
	}
	to := r.IDs[(int(r.cheat)+r.rng.IntN(2))%len(r.IDs)]
	if to != r.cheat && lieInDealing(liar.Vault, to) {
		r.log("vault %d will deal a wrong share to %d", r.cheat, to)
	}
}

func (r *run) carryOut() error {
	dealers := r.IDs
	if o, err := governance.DecodeKeyOrder(r.moves.order.Change.Body); err != nil {
		return err
	} else if o.Action == governance.Reshare {
		dealers = r.pick()
	}
	r.maybeLieInDealing()
	r.log("coordinator has the order carried out, dealers %v", dealers)
	ids, err := r.StartHandover(r.x, r.moves.order, dealers...)
	for id, n := range ids {
		r.moves.asked[n] = id
	}
	return err
}

// judgeMoves: nobody who is honest is blamed; and no vault allows anything in an
// epoch that it has left, nor in one that had ended when it was asked.
func (c *checker) judgeMoves() {
	m := c.r.moves
	for n, id := range m.asked {
		rep := c.r.Replies[n]
		if rep == nil {
			continue
		}
		delete(m.asked, n)
		switch rep.Outcome {
		case cluster.OutcomeFailed:
			c.fault("vault %d failed by itself: %s", id, rep.Detail)
		case cluster.OutcomeAborted:
			for _, culprit := range rep.Culprits {
				if mpc.ID(culprit) == c.r.cheat {
					c.r.res.Lies++
				} else {
					c.fault("invariant 5: vault %d blames vault %d, which is honest: %s", id, culprit, rep.Detail)
				}
			}
		}
	}
	for _, id := range c.r.IDs {
		entries := c.r.Parties[id].Disk.Entries
		for _, b := range entries[min(m.seen[id], len(entries)):] {
			c.judgeEntry(id, b)
		}
		m.seen[id] = len(entries)
	}
}

func (c *checker) judgeEntry(id mpc.ID, b []byte) {
	e, err := audit.DecodeEntry(b)
	if err != nil {
		c.fault("vault %d's log: %v", id, err)
		return
	}
	m := c.r.moves
	switch e.Kind {
	case audit.KindDecision:
		d, err := audit.DecodeDecision(e.Body)
		if err != nil || !d.Allow {
			return
		}
		if c.onDecision != nil {
			c.onDecision(id, d)
			return
		}
		if uint64(d.Epoch) < m.epochs[id] {
			c.fault("epochs: vault %d signs in epoch %d after epoch %d", id, d.Epoch, m.epochs[id])
		}
		m.epochs[id] = max(m.epochs[id], uint64(d.Epoch))
		if at, ended := m.begun[uint64(d.Epoch)+1]; ended && c.askedAt(d.Attempt) > at {
			c.fault("epochs: vault %d allows attempt %x in epoch %d, which had ended when it was asked", id, d.Attempt, d.Epoch)
		}
	case audit.KindEpoch:
		x, err := audit.DecodeEpochEntry(e.Body)
		if err != nil {
			c.fault("vault %d's log: %v", id, err)
			return
		}
		cert, err := dkg.DecodeCertificate(x.Certificate)
		if err != nil {
			c.fault("vault %d's log: %v", id, err)
			return
		}
		if c.onEpoch != nil {
			c.onEpoch(id, cert)
			return
		}
		c.entered(id, cert)
	case audit.KindIncident:
		x, err := audit.DecodeIncident(e.Body)
		if err == nil && mpc.ID(x.Peer) != c.r.cheat && (x.Class == mpc.Attributed.String() || x.Class == mpc.Quarantine.String()) {
			c.fault("invariant 5: vault %d's log accuses vault %d, which is honest: %s", id, x.Peer, x.Detail)
		}
		if told := mpc.ID(x.Peer); err == nil && (x.Class == "equivocation" || x.Class == "clone" || x.Class == "rollback") && !c.r.restored[told] && !c.r.restored[id] && told != c.r.cheat && id != c.r.cheat {
			c.fault("invariant 5: vault %d's log says %s of vault %d, whose disk was never put back: %s", id, x.Class, told, x.Detail)
		}
	}
}

// entered: everybody enters the same epoch, with the same key.
func (c *checker) entered(id mpc.ID, cert *dkg.Certificate) {
	r, m := c.r, c.r.moves
	if _, known := m.begun[cert.Epoch]; !known {
		m.begun[cert.Epoch] = r.nextCommand
		if cert.Epoch != r.x.Certificate.Epoch+1 || cert.PublicKey().Equal(r.x.Certificate.PublicKey()) != 1 {
			c.fault("epochs: vault %d enters epoch %d after epoch %d, or with another key", id, cert.Epoch, r.x.Certificate.Epoch)
		}
		x := *r.x
		x.Certificate = cert
		r.x, m.order = &x, nil
		r.res.Epochs++
		return
	}
	if cert.Epoch == r.x.Certificate.Epoch && cert.Digest() != r.x.Certificate.Digest() {
		c.fault("epochs: there are two epochs %d", cert.Epoch)
	}
}

// askedAt is the number of the first command of an attempt.
func (c *checker) askedAt(attempt [16]byte) uint64 {
	best := uint64(0)
	for n, a := range c.r.byID {
		if a.attempt == attempt && (best == 0 || n < best) {
			best = n
		}
	}
	return best
}

// probe starts a copy of the cluster from what is durable at this moment, without
// faults: some epoch must sign.
func (r *run) probe() error {
	m := r.moves
	if m.order == nil || m.probes > 0 || r.res.Halted > 0 || len(r.restored) > 1 {
		return nil // of two vaults whose disks were put back the admins decide first
	}
	m.probes++
	r.log("probe")
	w := &World{
		Seed: r.Seed, Stream: r.Stream ^ 0xb0b, Now: r.Now + 1, Parties: map[mpc.ID]*Party{}, IDs: r.IDs, Genesis: r.Genesis,
		Replies: map[uint64]*cluster.Reply{}, attempt: 1 << 50, changes: r.changes, gov: r.gov,
	}
	for _, id := range r.IDs {
		p := r.Parties[id]
		dev := *p.Device
		w.Parties[id] = &Party{ID: id, Disk: p.Disk.Clone(), Device: &dev, Starts: p.Starts}
		if err := w.start(w.Parties[id]); err != nil {
			return err
		}
	}
	for range 4 {
		if err := w.Settle(); err != nil {
			return err
		}
		if err := w.Tick(1500); err != nil {
			return err
		}
	}
	said := ""
	for out := range 2 * len(w.IDs) {
		signers := slices.Delete(slices.Clone(w.IDs), out%len(w.IDs), out%len(w.IDs)+1)
		for _, id := range signers {
			if err := w.CatchUp(id); err != nil {
				return err
			}
		}
		b := w.Transfer(r.x, Known, ETH(1))
		replies, err := w.Sign(b, Unsigned(Known, ETH(1), 7), signers...)
		if err != nil {
			return err
		}
		done := 0
		for _, rep := range replies {
			if rep != nil && rep.Outcome == cluster.OutcomeDone {
				done++
			}
			said += Describe(rep) + "; "
		}
		if done == len(signers) {
			return nil
		}
		if err := w.Tick(1500); err != nil {
			return err
		}
		if err := w.Settle(); err != nil {
			return err
		}
	}
	r.check.fault("epochs: from what is on the disks neither epoch %d nor the next one signs: %s", r.x.Certificate.Epoch, said)
	return nil
}

// finishMoves lets an honest coordinator carry out what was ordered, and says
// whether nothing is left to do. A pair that is halted for good keeps it from that.
func (r *run) finishMoves() (done bool, err error) {
	if r.moves.order == nil || r.res.Halted > 0 {
		return true, nil
	}
	if err := r.carryOut(); err != nil {
		return false, err
	}
	return false, r.Settle()
}

// epochsAtEnd: all vaults are in one epoch, and nothing ordered is left undone.
func (c *checker) epochsAtEnd() {
	if c.r.res.Halted > 0 {
		return
	}
	if c.r.moves.order != nil {
		c.fault("invariant 7: an order for epoch %d was not carried out when the faults had stopped", c.r.x.Certificate.Epoch)
	}
	for _, id := range c.r.IDs {
		n, err := c.r.Command(id, &cluster.Command{Kind: cluster.CommandStatus})
		rep := c.r.Replies[n]
		if err != nil || rep == nil {
			c.fault("vault %d has no status: %v", id, err)
			continue
		}
		s, err := cluster.DecodeStatus(rep.Body)
		i := -1
		if err == nil {
			i = slices.IndexFunc(s.Keys, func(k cluster.KeyStatus) bool { return k.ID == c.r.x.ID })
		}
		if i < 0 || uint64(s.Keys[i].Epoch) != c.r.x.Certificate.Epoch {
			c.fault("epochs: vault %d is not in epoch %d: %v %v", id, c.r.x.Certificate.Epoch, s, err)
		}
		shares := 0
		hexed := fmt.Sprintf("%x", c.r.x.ID)
		for name := range c.r.Parties[id].Disk.Records {
			for _, prefix := range []string{"key/", "share/", "candidate/"} {
				if strings.HasPrefix(name, prefix) && (prefix == "candidate/" || strings.Contains(name, hexed)) {
					shares++
				}
			}
		}
		if shares != 1 {
			c.fault("epochs: vault %d has %d shares on disk when all is done", id, shares)
		}
	}
}
