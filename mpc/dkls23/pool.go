package dkls23

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// Pool holds presignatures of one party, by key, epoch and signers. It makes none
// itself, and nothing waits for it: the owner asks Want now and then, in the
// background, and runs a Presigning for what is lacking; who signs asks Pick, and
// when the pool has nothing runs the whole protocol instead. It is not safe for
// concurrent use.
type Pool struct {
	target int
	sets   map[setKey][]*Presignature // by expiry, soonest first
}

// setKey is what presignatures are bound to.
type setKey struct {
	key     [32]byte
	epoch   uint64
	kind    Kind
	signers [mpc.MaxParties]mpc.ID
}

// ErrLacking: this signer does not have the presignature that it was asked for.
// The peers' presignatures of that name are of no use.
var ErrLacking = errors.New("no such presignature: it was never made, was used, has expired or was dropped")

// MaxTarget bounds what a pool keeps of one set.
const MaxTarget = 1024

// NewPool makes a pool that wants target presignatures of every set, 1 to
// MaxTarget.
func NewPool(target int) (*Pool, error) {
	if target < 1 || target > MaxTarget {
		return nil, fmt.Errorf("a pool of %d presignatures, want 1 to %d", target, MaxTarget)
	}
	return &Pool{target: target, sets: make(map[setKey][]*Presignature)}, nil
}

// Format writes sizes only, whatever the verb.
func (p *Pool) Format(f fmt.State, _ rune) {
	n := 0
	for _, s := range p.sets {
		n += len(s)
	}
	_, _ = fmt.Fprintf(f, "dkls23.Pool(%d presignatures of %d sets)", n, len(p.sets))
}

func newSetKey(key [32]byte, epoch uint64, kind Kind, signers []mpc.ID) (k setKey, err error) {
	if len(signers) > mpc.MaxParties {
		return k, fmt.Errorf("%d signers, at most %d", len(signers), mpc.MaxParties)
	}
	k = setKey{key: key, epoch: epoch, kind: kind}
	copy(k.signers[:], signers)
	return k, nil
}

// Add puts in what a Presigning gave. It refuses one that was used or is there
// already; those before it are in.
func (p *Pool) Add(presigs ...*Presignature) error {
	for _, x := range presigs {
		if x == nil || x.m == nil {
			return errors.New("no presignature")
		}
		k, err := newSetKey(x.m.key, x.m.epoch, x.m.kind, x.m.signers)
		if err != nil {
			return err
		}
		if x.Used() {
			return ErrUsed
		}
		if slices.ContainsFunc(p.sets[k], func(y *Presignature) bool { return x.m.id == y.m.id }) {
			return fmt.Errorf("presignature %x is in the pool already", x.m.id)
		}
		p.sets[k] = append(p.sets[k], x)
		slices.SortStableFunc(p.sets[k], func(a, b *Presignature) int {
			return cmp.Or(a.m.expires.Compare(b.m.expires), slices.Compare(a.m.id[:], b.m.id[:]))
		})
	}
	return nil
}

// Want is how many presignatures of a set are lacking at the time.
func (p *Pool) Want(key [32]byte, epoch uint64, kind Kind, signers []mpc.ID, now time.Time) int {
	p.Expire(now)
	k, err := newSetKey(key, epoch, kind, signers)
	if err != nil {
		return 0
	}
	return max(0, p.target-len(p.sets[k]))
}

// Pick names the presignature of a set that expires first, for whoever proposes
// a signature: one party for each set, or two of them name the same one and both
// fail. ok is false when there is none: run the whole protocol.
func (p *Pool) Pick(key [32]byte, epoch uint64, kind Kind, signers []mpc.ID, now time.Time) (id [32]byte, ok bool) {
	p.Expire(now)
	k, err := newSetKey(key, epoch, kind, signers)
	if err != nil || len(p.sets[k]) == 0 {
		return id, false
	}
	return p.sets[k][0].m.id, true
}

// Take removes the presignature that the proposer named. If this party does not
// have it, the abort is benign: the signers run the whole protocol, and those who
// had taken theirs destroy it.
func (p *Pool) Take(id [32]byte, now time.Time) (*Presignature, error) {
	p.Expire(now)
	for k, set := range p.sets {
		for i, x := range set {
			if x.m.id != id {
				continue
			}
			p.put(k, slices.Delete(set, i, i+1))
			if x.Used() {
				return nil, session.Benign("dkls23 pool", ErrLacking)
			}
			return x, nil
		}
	}
	return nil, session.Benign("dkls23 pool", ErrLacking)
}

// Expire destroys what has expired at the time and returns how many.
func (p *Pool) Expire(now time.Time) int {
	return p.drop(func(x *material) bool { return !now.Before(x.expires) })
}

// DropPeer destroys everything that needs a peer, and returns how many. It is due
// when the peer is quarantined, and when the pair setup with it is lost or made
// again: a peer that started anew has forgotten its part.
func (p *Pool) DropPeer(peer mpc.ID) int {
	return p.drop(func(x *material) bool { return slices.Contains(x.signers, peer) })
}

// KeepEpoch destroys the presignatures of a key that are not of this epoch, and
// returns how many. It is due before the new epoch's share is used.
func (p *Pool) KeepEpoch(key [32]byte, epoch uint64) int {
	return p.drop(func(x *material) bool { return x.key == key && x.epoch != epoch })
}

// Drain destroys everything.
func (p *Pool) Drain() int {
	return p.drop(func(*material) bool { return true })
}

func (p *Pool) drop(which func(*material) bool) int {
	n := 0
	for k, set := range p.sets {
		kept := slices.DeleteFunc(slices.Clone(set), func(x *Presignature) bool {
			if !which(x.m) {
				return false
			}
			x.Destroy()
			n++
			return true
		})
		p.put(k, kept)
	}
	return n
}

// put replaces a set; one that is empty takes no room.
func (p *Pool) put(k setKey, set []*Presignature) {
	if len(set) == 0 {
		delete(p.sets, k)
		return
	}
	p.sets[k] = set
}
