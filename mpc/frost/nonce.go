package frost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
)

var (
	// ErrConsumed says that a nonce was used or destroyed: it never answers again.
	ErrConsumed = errors.New("nonce is consumed: it signs once")
	// ErrNoNonce says that a pool has no such nonce: never made, consumed, expired,
	// or lost with the memory of the process.
	ErrNoNonce = errors.New("pool has no such nonce")
)

// Nonce is a nonce pair (d, e) of one participant, for one signature. It is bound
// to a key, an epoch and, if its maker said so, an exact set of signers. It lives
// in memory only: it prints as a placeholder and nothing encodes it. A copy of
// the struct is the same nonce, and is consumed with it.
type Nonce struct {
	commitment *Commitment
	suite      mpc.Suite
	keyID      [32]byte
	epoch      uint64
	set        []mpc.ID // nil: any
	expires    uint64

	// Behind two pointers: see dkg.KeyShare. The inner one is nil once consumed.
	secret **noncePair
}

type noncePair struct{ d, e group.Scalar }

func (p *noncePair) destroy() {
	p.d.Destroy()
	p.e.Destroy()
}

// NewNonce draws a nonce for a key and, unless set is nil, for sessions of exactly
// these signers: commit of RFC 9591 §5.1. rand must be a cryptographic source.
func NewNonce(key *dkg.KeyShare, set []mpc.ID, rand io.Reader) (*Nonce, error) {
	if key == nil || !key.Active() || rand == nil {
		return nil, errors.New("frost: a nonce needs an active key share and a source of randomness")
	}
	n, err := newNonce(key, set, rand)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	return n, nil
}

func newNonce(key *dkg.KeyShare, set []mpc.ID, rand io.Reader) (*Nonce, error) {
	s, err := suiteOf(key.Suite)
	if err != nil {
		return nil, err
	}
	share := key.Share()
	defer share.Destroy()
	p := new(noncePair)
	if p.d, err = s.nonce(share, rand); err != nil {
		return nil, err
	}
	if p.e, err = s.nonce(share, rand); err != nil {
		p.d.Destroy()
		return nil, err
	}
	c := &Commitment{id: key.ID, d: s.curve.NewPoint().ScalarBaseMult(p.d), e: s.curve.NewPoint().ScalarBaseMult(p.e)}
	c.enc = bytes.Join(group.EncodePoints([]group.Point{c.d, c.e}), nil)
	return &Nonce{
		commitment: c, suite: key.Suite, keyID: key.KeyID, epoch: key.Epoch,
		set: slices.Clone(set), secret: &p,
	}, nil
}

// nonce is nonce_generate of RFC 9591 §4.1: H3(32 random bytes ‖ share), so that
// a bad source of randomness alone does not repeat one.
func (s *suite) nonce(share group.Scalar, rand io.Reader) (group.Scalar, error) {
	var seed [32]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("couldn't read randomness: %w", err)
	}
	b := share.Encode()
	defer clear(b)
	return s.h3(seed[:], b), nil
}

// Commitment is what is published of the nonce.
func (n *Nonce) Commitment() *Commitment { return n.commitment }

// Destroy consumes the nonce without a signature.
func (n *Nonce) Destroy() {
	if p, err := n.take(); err == nil {
		p.destroy()
	}
}

// take consumes the nonce: from here on it is the caller's, and nobody else gets
// it.
func (n *Nonce) take() (*noncePair, error) {
	if n == nil || n.secret == nil || *n.secret == nil {
		return nil, ErrConsumed
	}
	p := *n.secret
	*n.secret = nil
	return p, nil
}

// bound refuses a nonce of another key, epoch, participant or set.
func (n *Nonce) bound(key *dkg.KeyShare, set []mpc.ID) error {
	switch {
	case n.suite != key.Suite || n.keyID != key.KeyID:
		return fmt.Errorf("nonce is of key %x, want %x", n.keyID, key.KeyID)
	case n.epoch != key.Epoch:
		return fmt.Errorf("nonce is of epoch %d, want %d", n.epoch, key.Epoch)
	case n.commitment.id != key.ID:
		return fmt.Errorf("nonce is of participant %d, want %d", n.commitment.id, key.ID)
	case n.set != nil && !slices.Equal(n.set, set):
		return fmt.Errorf("nonce is for the signers %v, want %v", n.set, set)
	}
	return nil
}

// MaxPool bounds a pool.
const MaxPool = 1 << 12

// NoncePool holds nonces that were made ahead, so that a signature need not wait
// for their multiplications, nor, when their commitments were published, for a
// round. Its owner refills it when it has time; taking never makes one. A nonce
// leaves the pool before anything is signed with it, and a pool that is lost is
// lost: nothing can be restored, so nothing can sign twice.
//
// Time is an input, in milliseconds of the owner's clock. A clock that goes back
// revives nothing. A pool is not safe for concurrent use.
type NoncePool struct {
	key      *dkg.KeyShare
	set      []mpc.ID
	max      int
	lifetime uint64
	now      uint64
	ready    []*Nonce // oldest first
}

// NewNoncePool makes an empty pool of at most max nonces for a key and, unless
// set is nil, for sessions of exactly these signers. A nonce expires lifetime
// milliseconds after it was made.
func NewNoncePool(key *dkg.KeyShare, set []mpc.ID, max int, lifetime uint64) (*NoncePool, error) {
	if key == nil || !key.Active() {
		return nil, errors.New("frost: nonces need an active key share")
	}
	pub := PublicOf(key)
	if err := pub.check(); err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	if set != nil {
		if err := pub.checkSigners(set); err != nil {
			return nil, fmt.Errorf("frost: %w", err)
		}
		if !slices.Contains(set, key.ID) {
			return nil, fmt.Errorf("frost: participant %d is not one of the signers %v", key.ID, set)
		}
	}
	if max < 1 || max > MaxPool || lifetime == 0 {
		return nil, fmt.Errorf("frost: pool of %d nonces for %d ms, want 1 to %d and more than 0 ms", max, lifetime, MaxPool)
	}
	return &NoncePool{key: key, set: slices.Clone(set), max: max, lifetime: lifetime}, nil
}

// Refill makes up to n nonces while there is room and returns their commitments,
// for an owner who publishes them.
func (p *NoncePool) Refill(n int, now uint64, rand io.Reader) ([]*Commitment, error) {
	p.expire(now)
	var made []*Commitment
	for len(made) < n && len(p.ready) < p.max {
		if !p.key.Active() {
			return made, errors.New("frost: the key share was destroyed")
		}
		x, err := newNonce(p.key, p.set, rand)
		if err != nil {
			return made, fmt.Errorf("frost: %w", err)
		}
		x.expires = p.now + p.lifetime
		p.ready = append(p.ready, x)
		made = append(made, x.commitment)
	}
	return made, nil
}

// Take removes the oldest nonce.
func (p *NoncePool) Take(now uint64) (*Nonce, error) {
	p.expire(now)
	if len(p.ready) == 0 {
		return nil, fmt.Errorf("frost: the pool is empty: %w", ErrNoNonce)
	}
	return p.remove(0), nil
}

// Consume removes the nonce whose commitment, D ‖ E, was published.
func (p *NoncePool) Consume(commitment []byte, now uint64) (*Nonce, error) {
	p.expire(now)
	for i, n := range p.ready {
		if bytes.Equal(n.commitment.enc, commitment) {
			return p.remove(i), nil
		}
	}
	return nil, fmt.Errorf("frost: commitment %x: %w", commitment, ErrNoNonce)
}

// Len counts the nonces that are left.
func (p *NoncePool) Len(now uint64) int {
	p.expire(now)
	return len(p.ready)
}

// Destroy wipes all nonces.
func (p *NoncePool) Destroy() {
	for _, n := range p.ready {
		n.Destroy()
	}
	p.ready = nil
}

func (p *NoncePool) remove(i int) *Nonce {
	n := p.ready[i]
	p.ready = slices.Delete(p.ready, i, i+1)
	return n
}

// expire wipes what is too old.
func (p *NoncePool) expire(now uint64) {
	p.now = max(p.now, now)
	p.ready = slices.DeleteFunc(p.ready, func(n *Nonce) bool {
		if n.expires > p.now {
			return false
		}
		n.Destroy()
		return true
	})
}

const (
	redactedNonce = "[nonce]"
	redactedPool  = "[nonce pool]"
)

var errMemoryOnly = errors.New("frost: a nonce lives in memory only and refuses to be encoded")

// Format answers every verb of fmt.
func (n Nonce) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedNonce) }

// String hides the nonce.
func (n Nonce) String() string { return redactedNonce }

// GoString hides the nonce.
func (n Nonce) GoString() string { return redactedNonce }

// MarshalText refuses.
func (n Nonce) MarshalText() ([]byte, error) { return nil, errMemoryOnly }

// MarshalJSON refuses.
func (n Nonce) MarshalJSON() ([]byte, error) { return nil, errMemoryOnly }

// MarshalBinary refuses.
func (n Nonce) MarshalBinary() ([]byte, error) { return nil, errMemoryOnly }

// GobEncode refuses.
func (n Nonce) GobEncode() ([]byte, error) { return nil, errMemoryOnly }

// Format answers every verb of fmt.
func (p NoncePool) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedPool) }

// String hides the nonces.
func (p NoncePool) String() string { return redactedPool }

// GoString hides the nonces.
func (p NoncePool) GoString() string { return redactedPool }

// MarshalText refuses.
func (p NoncePool) MarshalText() ([]byte, error) { return nil, errMemoryOnly }

// MarshalJSON refuses.
func (p NoncePool) MarshalJSON() ([]byte, error) { return nil, errMemoryOnly }

// MarshalBinary refuses.
func (p NoncePool) MarshalBinary() ([]byte, error) { return nil, errMemoryOnly }

// GobEncode refuses.
func (p NoncePool) GobEncode() ([]byte, error) { return nil, errMemoryOnly }
