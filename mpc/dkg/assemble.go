package dkg

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Parts are what an epoch of a key is made of: by this package the first, by
// mpc/lifecycle the later ones.
type Parts struct {
	Suite      mpc.Suite
	Purpose    string
	SID        [32]byte // of the session that made the epoch
	Origin     Origin
	Previous   *Certificate // of the epoch before; nil at first
	Epoch      uint64
	KeyID      [32]byte // Previous's; zero at first
	Self       mpc.ID
	Threshold  int
	Parties    []mpc.ID // ascending
	Feldman    sharing.Commitment
	RosterHash [32]byte
	ChainCode  [32]byte
	Echo       [32]byte // of the round in which everything was opened
	Share      group.Scalar
	ZeroSeeds  map[mpc.ID][32]byte // one a peer; none if the suite has no zero shares
}

// Assemble returns the pending share and the certificate, unsigned, of an epoch.
// It copies what it is given. An error says what contradicts what.
func Assemble(p Parts) (*KeyShare, *Certificate, error) {
	curve, err := group.OfSuite(p.Suite)
	if err != nil {
		return nil, nil, err
	}
	if err := p.check(curve); err != nil {
		return nil, nil, err
	}
	if err := p.checkOwn(curve); err != nil {
		return nil, nil, err
	}
	shares, err := p.publicShares()
	if err != nil {
		return nil, nil, err
	}
	return assemble(&p, shares)
}

// publicShares are the values of the Feldman vector.
func (p *Parts) publicShares() (map[mpc.ID]group.Point, error) {
	shares := make(map[mpc.ID]group.Point, len(p.Parties))
	for _, id := range p.Parties {
		shares[id] = p.Feldman.Eval(id)
		if shares[id].IsIdentity() == 1 {
			return nil, fmt.Errorf("public share of participant %d is the identity", id)
		}
	}
	return shares, nil
}

// checkOwn is about the party itself.
func (p *Parts) checkOwn(c group.Curve) error {
	if !sharing.Contains(p.Parties, p.Self) {
		return fmt.Errorf("id %d is not one of the parties %v", p.Self, p.Parties)
	}
	if p.Share == nil || p.Share.Curve() != c {
		return fmt.Errorf("no share, or one of another curve than %s", c.Name())
	}
	return nil
}

// Certify is Assemble without the share: the certificate as a party sees it that
// leaves with this epoch. Self and Share are not read.
func Certify(p Parts) (*Certificate, error) {
	curve, err := group.OfSuite(p.Suite)
	if err != nil {
		return nil, err
	}
	if err := p.check(curve); err != nil {
		return nil, err
	}
	shares, err := p.publicShares()
	if err != nil {
		return nil, err
	}
	return certify(&p, shares)
}

// check is about everything but the share and its public shares.
func (p *Parts) check(c group.Curve) error {
	if err := session.CheckPurpose(p.Purpose); err != nil {
		return err
	}
	if err := sharing.CheckIDs(p.Parties); err != nil {
		return err
	}
	if err := sharing.CheckThreshold(p.Threshold, len(p.Parties)); err != nil {
		return err
	}
	if len(p.Feldman) != p.Threshold {
		return fmt.Errorf("feldman vector of %d points for threshold %d", len(p.Feldman), p.Threshold)
	}
	for k, a := range p.Feldman {
		if a.Curve() != c || a.IsIdentity() == 1 {
			return fmt.Errorf("point %d of the Feldman vector is the identity or of curve %s, want a point of %s", k, a.Curve().Name(), c.Name())
		}
	}
	return p.checkPrevious()
}

// checkPrevious: a later epoch is of the same key.
func (p *Parts) checkPrevious() error {
	before := p.Previous
	if before == nil {
		if p.KeyID != [32]byte{} {
			return errors.New("the first epoch of a key gives the key its id, and is given none")
		}
		return nil
	}
	switch {
	case p.KeyID != before.KeyID():
		return fmt.Errorf("key id %x after a certificate of key %x", p.KeyID, before.KeyID())
	case p.Suite != before.Suite || p.Purpose != before.Purpose:
		return fmt.Errorf("suite %s and purpose %q after %s and %q: a key keeps both", p.Suite, p.Purpose, before.Suite, before.Purpose)
	case p.Feldman[0].Equal(before.PublicKey()) != 1:
		return fmt.Errorf("public key %x after %x: a key keeps it", p.Feldman[0].Encode(), before.PublicKey().Encode())
	case p.Epoch <= before.Epoch:
		return fmt.Errorf("epoch %d after epoch %d, want a later one", p.Epoch, before.Epoch)
	}
	return nil
}

// certify makes the certificate. shares are the values of the Feldman vector.
func certify(p *Parts, shares map[mpc.ID]group.Point) (*Certificate, error) {
	cert := &Certificate{
		Suite:           p.Suite,
		Purpose:         p.Purpose,
		Origin:          p.Origin,
		SID:             p.SID,
		Epoch:           p.Epoch,
		Threshold:       p.Threshold,
		Parties:         slices.Clone(p.Parties),
		PublicShares:    shares,
		Feldman:         make(sharing.Commitment, len(p.Feldman)),
		RosterHash:      p.RosterHash,
		ChainCommitment: ChainCommitment(p.SID, p.ChainCode),
		Echo:            p.Echo,
		keyID:           p.KeyID,
	}
	if p.Previous != nil {
		cert.Previous, cert.birth = p.Previous.Digest(), p.Previous.first()
	}
	if err := cert.checkOrigin(); err != nil {
		return nil, err
	}
	for i, a := range p.Feldman {
		cert.Feldman[i] = a.Curve().NewPoint().Set(a)
	}
	if err := cert.checkBirth(); err != nil {
		return nil, err
	}
	return cert, nil
}

// assemble makes the two from parts that are consistent but for the share.
// shares are the values of the Feldman vector.
func assemble(p *Parts, shares map[mpc.ID]group.Point) (*KeyShare, *Certificate, error) {
	cert, err := certify(p, shares)
	if err != nil {
		return nil, nil, err
	}
	curve := p.Share.Curve()
	k := &KeyShare{
		Suite:        p.Suite,
		ID:           p.Self,
		Threshold:    p.Threshold,
		Parties:      slices.Clone(p.Parties),
		Purpose:      p.Purpose,
		Epoch:        p.Epoch,
		PublicKey:    curve.NewPoint().Set(p.Feldman[0]),
		PublicShares: make(map[mpc.ID]group.Point, len(p.Parties)),
		FeldmanHash:  p.Feldman.Hash(),
		RosterHash:   p.RosterHash,
		secret:       hold(&keySecret{chainCode: p.ChainCode, share: curve.NewScalar().Set(p.Share), zero: make(map[mpc.ID]*[32]byte)}),
	}
	for id, x := range shares {
		k.PublicShares[id] = curve.NewPoint().Set(x)
	}
	k.CertificateHash = cert.Digest()
	k.KeyID = cert.name(k.CertificateHash)
	if err := k.take(p.ZeroSeeds); err != nil {
		k.Destroy()
		return nil, nil, err
	}
	if err := k.checkShare(); err != nil {
		k.Destroy()
		return nil, nil, err
	}
	return k, cert, nil
}

// take copies the zero-share seeds: one a peer, or none.
func (k *KeyShare) take(seeds map[mpc.ID][32]byte) error {
	peers := k.zeroPeers()
	if len(seeds) != len(peers) {
		return fmt.Errorf("%d zero-share seeds, want %d", len(seeds), len(peers))
	}
	for _, id := range peers {
		seed, ok := seeds[id]
		if !ok {
			return fmt.Errorf("no zero-share seed with participant %d", id)
		}
		k.private().zero[id] = &seed
	}
	return nil
}
