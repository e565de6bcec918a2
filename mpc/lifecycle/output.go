package lifecycle

import (
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// assemble makes the output of the new epoch.
func (s *Session) assemble(share group.Scalar, seeds map[mpc.ID][32]byte) (*Output, error) {
	old := s.cfg.Certificate
	parts := dkg.Parts{
		Suite:      old.Suite,
		Purpose:    old.Purpose,
		SID:        s.sid,
		Origin:     dkg.Reshared,
		Previous:   old,
		Epoch:      s.job.epoch(),
		KeyID:      old.KeyID(),
		Self:       s.cfg.Self,
		Threshold:  s.cfg.Threshold,
		Parties:    s.cfg.Parties,
		Feldman:    s.sum,
		RosterHash: s.roster,
		ChainCode:  *s.chainCode,
		Echo:       s.echo[2],
		Share:      share,
		ZeroSeeds:  seeds,
	}
	if s.cfg.Kind == Refresh {
		parts.Origin = dkg.Refreshed
	}
	if !s.receives {
		cert, err := dkg.Certify(parts)
		if err != nil {
			return nil, session.Unattributed(stepFinish, err)
		}
		return &Output{Certificate: cert}, nil
	}
	k, cert, err := dkg.Assemble(parts)
	if err != nil {
		return nil, session.Unattributed(stepFinish, err)
	}
	return &Output{Share: k, Certificate: cert}, nil
}

// importCertificate is the certificate of an import with this Feldman vector.
func importCertificate(c *ImportConfig, sid, roster [32]byte, feldman sharing.Commitment, chainCode [32]byte) (*dkg.Certificate, error) {
	return dkg.Certify(dkg.Parts{
		Suite:      c.Suite,
		Purpose:    c.Purpose,
		SID:        sid,
		Origin:     dkg.Imported,
		Epoch:      dkg.FirstEpoch,
		Threshold:  c.Threshold,
		Parties:    c.Parties,
		Feldman:    feldman,
		RosterHash: roster,
		ChainCode:  chainCode,
	})
}
