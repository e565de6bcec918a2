package vault

import (
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// The end of a dealing: the new share comes to rest, and this vault promises it.

// restShare brings the new share to rest, once its tier is known.
func (v *Vault) restShare(s *handoverSession) error {
	out := s.out
	if out.Share == nil {
		s.out = nil
		return nil // this vault leaves
	}
	made, err := v.madeTier(s)
	if err != nil || made == (making{}) {
		return err
	}
	proof, err := lifecycle.ProveShare(out.Share, ProofDigest(s.id, out.Certificate.Digest()), v.rand)
	if err != nil {
		return err
	}
	s.out = nil
	tier := v.tierOf(s.plan.Key, made.tier)
	if tier == governance.TierHot {
		v.keepCandidate(s, out, tier, made, proof)
		return nil
	}
	v.aheadOfRatchet(func() {
		if v.handovers[s.attempt] != s {
			out.Share.Destroy()
			return
		}
		v.keepCandidate(s, out, tier, made, proof)
	})
	return nil
}

func (v *Vault) keepCandidate(s *handoverSession, out *lifecycle.Output, tier governance.Tier, made making, proof []byte) {
	v.keep(out.Share, false, tier, func(h *held, err error) {
		if v.handovers[s.attempt] != s {
			h.destroy()
			return
		}
		if err == nil {
			err = v.storeCandidate(s, &candidate{h, made, out.Certificate}, proof)
		}
		if err != nil {
			v.abortHandover(s, asAbort("handover", err))
		}
	})
}

// storeCandidate stores the new share together with this vault's promise about it.
func (v *Vault) storeCandidate(s *handoverSession, c *candidate, proof []byte) error {
	rec := encodeCandidate(c)
	err := v.store.put(candidateName(s.id), rec)
	clear(rec)
	if err != nil {
		return err
	}
	v.candidates[s.id] = c
	eff, err := s.m.Sealed(s.id, c.cert.Encode(), proof)
	if err != nil {
		return err
	}
	v.carryOut(s.plan.Key, s.m, eff)
	return nil
}
