package dkg

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Certified reports whether all n parties have certified the share: it is active
// or dormant, not pending.
func (k *KeyShare) Certified() bool { return k.private().active }

// Dormant reports that the share was made again outside the session that made its
// epoch: repaired by the peers, restored from a backup, or imported. It has no
// zero-share seeds and does not sign, whatever the suite; a refresh or reshare
// (mpc/lifecycle) turns it into one that does.
func (k *KeyShare) Dormant() bool { return k.private().dormant }

// CheckActive says why the share may not sign, or nil.
func (k *KeyShare) CheckActive() error {
	switch {
	case k.Active():
		return nil
	case k.Certified():
		return errors.New("key share is dormant: it was repaired, restored or imported, and signs after the next refresh or reshare only")
	}
	return errors.New("key share is pending: its certificate lacks signatures, see KeyShare.Activate")
}

// Rebuild makes the dormant share of a party from the certificate of its epoch,
// the secret and the chain code. It is pending until Activate, and does not sign
// after it either.
func Rebuild(c *Certificate, self mpc.ID, share group.Scalar, chainCode [32]byte) (*KeyShare, error) {
	switch {
	case !sharing.Contains(c.Parties, self):
		return nil, fmt.Errorf("id %d is not one of the parties %v", self, c.Parties)
	case share == nil || share.Curve() != c.PublicKey().Curve():
		return nil, fmt.Errorf("no share, or one of another curve than %s", c.PublicKey().Curve().Name())
	case ChainCommitment(c.SID, chainCode) != c.ChainCommitment:
		return nil, errors.New("chain code does not match its commitment in the certificate")
	}
	curve := share.Curve()
	k := &KeyShare{
		Suite:           c.Suite,
		ID:              self,
		Threshold:       c.Threshold,
		Parties:         slices.Clone(c.Parties),
		Purpose:         c.Purpose,
		KeyID:           c.KeyID(),
		Epoch:           c.Epoch,
		PublicKey:       curve.NewPoint().Set(c.PublicKey()),
		PublicShares:    make(map[mpc.ID]group.Point, len(c.Parties)),
		FeldmanHash:     c.Feldman.Hash(),
		RosterHash:      c.RosterHash,
		CertificateHash: c.Digest(),
		secret:          hold(&keySecret{dormant: true, chainCode: chainCode, share: curve.NewScalar().Set(share), zero: make(map[mpc.ID]*[32]byte)}),
	}
	for id, x := range c.PublicShares {
		k.PublicShares[id] = curve.NewPoint().Set(x)
	}
	if err := k.checkShare(); err != nil {
		k.Destroy()
		return nil, err
	}
	return k, nil
}

// state is how the share is written.
func (k *KeyShare) state() uint8 {
	switch {
	case k.private().dormant && k.private().active:
		return stateDormant
	case k.private().dormant:
		return stateDormantPending
	case k.private().active:
		return stateActive
	}
	return statePending
}

// setState is the inverse of state.
func (k *KeyShare) setState(state uint8) error {
	if state < statePending || state > stateDormantPending {
		return fmt.Errorf("state %d, want %d (pending), %d (active), %d (dormant) or %d (dormant and pending)",
			state, statePending, stateActive, stateDormant, stateDormantPending)
	}
	k.private().active = state == stateActive || state == stateDormant
	k.private().dormant = state == stateDormant || state == stateDormantPending
	return nil
}
