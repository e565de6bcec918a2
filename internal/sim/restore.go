package sim

import (
	"slices"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/mpc"
)

// A host that keeps copies of its vault's disk and puts one back.

// snapshot is such a copy.
type snapshot struct {
	disk  *Disk
	epoch uint64 // of the wallet's key
}

// maxRestores bounds how often that happens in one run.
const maxRestores = 2

// rollBack takes a copy of a disk, or puts one back.
func (r *run) rollBack() error {
	id := r.IDs[r.rng.IntN(len(r.IDs))]
	p, s := r.Parties[id], r.shots[id]
	if r.rng.IntN(3) == 0 {
		return r.rob()
	}
	if r.moves.order != nil || r.res.Restores >= maxRestores {
		return nil
	}
	if s == nil || s.epoch != r.x.Certificate.Epoch || r.rng.IntN(3) == 0 {
		r.log("the host of %d copies its disk", id)
		r.shots[id] = &snapshot{p.Disk.Clone(), r.x.Certificate.Epoch}
		return nil
	}
	return r.putBack(id, s.disk)
}

// putBack starts a vault on an old copy of its disk.
func (r *run) putBack(id mpc.ID, old *Disk) error {
	p := r.Parties[id]
	r.log("the host of %d puts its disk back, %d entries for %d", id, len(old.Entries), len(p.Disk.Entries))
	r.res.Restores++
	r.restored[id] = true
	p.Vault, p.Disk = nil, old.Clone()
	r.check.forget(id)
	if err := r.Restart(id); err != nil {
		return err
	}
	return r.deliverSome(400)
}

// rob is the whole attack at once: a copy of the disk, a signature, the copy back, and
// the other version of the same request with a vault that knows nothing of the first.
func (r *run) rob() error {
	i := r.rng.IntN(len(r.IDs))
	id, one, two := r.IDs[i], r.IDs[(i+1)%len(r.IDs)], r.IDs[(i+2)%len(r.IDs)]
	k := slices.IndexFunc(r.jobs, func(j *job) bool { return j.legal && !j.twice && !r.check.signed(j) })
	if k < 0 || r.moves.order != nil || r.res.Restores >= maxRestores || r.Parties[id].Vault == nil || r.robbed {
		return nil
	}
	r.robbed = true
	if err := r.deliverSome(300); err != nil {
		return err
	}
	j, old := r.jobs[k], r.Parties[id].Disk.Clone()
	if err := r.ask(j, j.bundle, Unsigned(j.to, j.amount, j.nonce), sorted(id, one), "asks, before the disk is put back"); err != nil {
		return err
	}
	if err := r.deliverSome(80); err != nil {
		return err
	}
	// The one who signed with it would tell it of its own part: the host keeps the two
	// from each other.
	apart := func(f Frame) bool { return f.From == id && f.To == one || f.From == one && f.To == id }
	r.Frames = slices.DeleteFunc(r.Frames, apart)
	r.Intercept = func(f Frame) bool { return !apart(f) }
	defer func() { r.Intercept = nil }()
	if err := r.putBack(id, old); err != nil {
		return err
	}
	j.twice = true
	if err := r.ask(j, j.bundle, Unsigned(j.to, j.amount, j.nonce+otherNonce), sorted(id, two), "asks for what may be forgotten"); err != nil {
		return err
	}
	return r.deliverSome(80)
}

func sorted(a, b mpc.ID) []mpc.ID { return []mpc.ID{min(a, b), max(a, b)} }

func (r *run) deliverSome(most int) error {
	for i := 0; i < most && len(r.Frames)+len(r.Devices) > 0; i++ {
		if err := r.deliverOne(); err != nil {
			return err
		}
		r.check.afterStep()
	}
	return nil
}

// forget: what a vault had written before its disk was put back it need not stand by,
// unless another saw it; that is the vaults' to find out.
func (c *checker) forget(id mpc.ID) {
	entries := c.r.Parties[id].Disk.Entries
	c.logs[id], c.roots[id] = entries, nil
	c.r.moves.seen[id] = min(c.r.moves.seen[id], len(entries))
	for pair := range c.halted {
		if pair[0] == id {
			delete(c.halted, pair)
		}
	}
}

// admins let vaults go on that were rolled back, and lift what that has brought
// about. A pair that was halted because one of it lied stays so.
func (r *run) admins(round int) error {
	for _, id := range r.IDs {
		if !r.restored[id] || r.Parties[id].Vault == nil {
			continue
		}
		s, err := r.Status(id)
		if err != nil {
			return err
		}
		if s.State == cluster.StateRolledBack || s.State == cluster.StateAwaiting && round > 2 {
			o, err := r.ResumeOrder(id)
			if err != nil {
				return err
			}
			r.log("the admins resume %d in start %d", id, o.Boot)
			r.res.Resumed++
			if _, err := r.OrderVault(o); err != nil {
				return err
			}
			r.check.forget(id)
			continue
		}
		if err := r.liftAfter(id, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) liftAfter(id mpc.ID, s *cluster.Status) error {
	for _, p := range s.Peers {
		if p.Quarantined && mpc.ID(p.Vault) != r.cheat && id != r.cheat {
			r.log("the admins lift the pair of %d and %d", id, p.Vault)
			if err := r.Lift(id, mpc.ID(p.Vault)); err != nil {
				return err
			}
		}
	}
	for _, other := range r.IDs {
		t, err := r.Status(other)
		if err != nil {
			return err
		}
		for _, p := range t.Peers {
			if mpc.ID(p.Vault) == id && p.Suspended {
				r.log("the admins lift the suspension of %d", id)
				return r.Lift(id, 0)
			}
		}
	}
	return nil
}
