package dkls23

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// Presignature is one signer's part of a signature of a message that is not
// known yet. It lives in memory only: it refuses to be encoded and to be printed,
// and a copy of the struct is the same presignature. It serves one request, with
// the key, the epoch and exactly the signers that it was made for, before it
// expires; whatever comes of that request, it is gone.
type Presignature struct{ m *material }

// material is emptied when the presignature is used.
type material struct {
	id      [32]byte
	sid     [32]byte // of the slot: what the commitments are to
	kind    Kind
	key     [32]byte
	epoch   uint64
	self    mpc.ID
	signers []mpc.ID
	expires time.Time

	secret  *scalars         // nil once it is used
	point   *secp256k1.Point // Rᵢ
	total   *secp256k1.Point // R; nil in V1
	encoded [33]byte         // R, encoded; zero in V1
	public  [33]byte         // pk
	check   *ecdsa.Key       // pk, to verify under
	delayed *delayed         // V1 only
}

// scalars are what a signature is made from.
type scalars struct{ u, v, phi secp256k1.Scalar }

// delayed is what V1 opens and checks online.
type delayed struct {
	encoded     [33]byte            // Rᵢ
	salt        [32]byte            // of the commitment to it
	gammas      map[mpc.ID][33]byte // Γ^u_{i→j}
	commitments map[mpc.ID][32]byte // Cⱼ
	checks      map[mpc.ID]*check
}

// check is what the equation of Γ^u_{j→i} takes.
type check struct{ chi, d secp256k1.Scalar } // χ_{i,j}, d^u_{i,j}

// The refusals of Open.
var (
	ErrUsed    = errors.New("the presignature was used: it serves one request, whatever came of it")
	ErrExpired = errors.New("the presignature has expired")
)

// ID names the presignature. All its signers have the same name for it; it is no
// secret.
func (p *Presignature) ID() [32]byte { return p.m.id }

// Kind tells V1 from V2.
func (p *Presignature) Kind() Kind { return p.m.kind }

// KeyID and Epoch are those of the key share that it was made with.
func (p *Presignature) KeyID() [32]byte { return p.m.key }

// Epoch is the key share's.
func (p *Presignature) Epoch() uint64 { return p.m.epoch }

// Signers is the set that it serves.
func (p *Presignature) Signers() []mpc.ID { return slices.Clone(p.m.signers) }

// Expires is when it is no longer used.
func (p *Presignature) Expires() time.Time { return p.m.expires }

// Used reports whether it has served, or was destroyed.
func (p *Presignature) Used() bool { return p.m.secret == nil }

// Destroy wipes it.
func (p *Presignature) Destroy() { p.m.destroy() }

func (m *material) destroy() {
	if m.secret != nil {
		*m.secret = scalars{}
	}
	if m.delayed != nil {
		for _, c := range m.delayed.checks {
			*c = check{}
		}
		m.delayed.salt = [32]byte{}
	}
	m.secret, m.point, m.delayed = nil, nil, nil
}

// take empties the presignature into a new material: from here on it is used.
func (m *material) take() *material {
	out := *m
	m.secret, m.point, m.delayed = nil, nil, nil
	return &out
}

// fits demands the key, epoch and set that the presignature is bound to, and
// that it is neither used nor expired.
func (m *material) fits(key *dkg.KeyShare, signers []mpc.ID, now time.Time) error {
	if err := checkSigners(key, signers); err != nil {
		return err
	}
	switch {
	case m.key != key.KeyID:
		return fmt.Errorf("presignature is of key %x, want one of key %x", m.key, key.KeyID)
	case m.epoch != key.Epoch:
		return fmt.Errorf("presignature is of epoch %d, want one of epoch %d", m.epoch, key.Epoch)
	case m.self != key.ID:
		return fmt.Errorf("presignature is of participant %d, want one of %d", m.self, key.ID)
	case !slices.Equal(m.signers, signers):
		return fmt.Errorf("presignature is for the signers %v, want one for %v", m.signers, signers)
	case m.secret == nil:
		return ErrUsed
	case !now.Before(m.expires):
		return ErrExpired
	}
	return nil
}

var errNoMarshal = errors.New("a presignature refuses to be encoded: it must never leave this process")

// Format writes what is public, whatever the verb.
func (p Presignature) Format(f fmt.State, _ rune) {
	if p.m == nil {
		_, _ = io.WriteString(f, "dkls23.Presignature(none)")
		return
	}
	_, _ = fmt.Fprintf(f, "dkls23.Presignature(%v %x of %v)", p.m.kind, p.m.id[:4], p.m.signers)
}

// MarshalText refuses.
func (p Presignature) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (p Presignature) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (p Presignature) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (p Presignature) GobEncode() ([]byte, error) { return nil, errNoMarshal }
