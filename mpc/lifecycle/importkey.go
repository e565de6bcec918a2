package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const (
	packetVersion  = 1
	maxCertificate = 16 << 10
)

// ImportConfig is what the dealer and the parties of an import agree on.
type ImportConfig struct {
	Suite      mpc.Suite
	Purpose    string
	Parties    []mpc.ID // ascending
	Threshold  int      // 2 … n
	Identities map[mpc.ID][]byte
}

func (c *ImportConfig) check() error {
	if err := c.Suite.Check(); err != nil {
		return err
	}
	if err := session.CheckPurpose(c.Purpose); err != nil {
		return err
	}
	if err := sharing.CheckIDs(c.Parties); err != nil {
		return err
	}
	return sharing.CheckThreshold(c.Threshold, len(c.Parties))
}

// Import splits a key that exists already. It runs offline, where that key is; the
// dealer knows the key, so whoever had it before can still sign with it, and its
// certificate says Imported for as long as the key lives. Each packet goes to its
// party encrypted and authenticated by the caller, who wipes packets, secret and
// chain code afterwards.
func Import(cfg ImportConfig, secret group.Scalar, chainCode [32]byte, rand io.Reader) (packets map[mpc.ID][]byte, certificate *dkg.Certificate, err error) {
	if err := cfg.check(); err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	curve, err := group.OfSuite(cfg.Suite)
	if err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	switch {
	case rand == nil:
		return nil, nil, errors.New("import: no source of randomness")
	case secret == nil || secret.Curve() != curve:
		return nil, nil, fmt.Errorf("import: the secret key is no scalar of %s", curve.Name())
	case secret.IsZero() == 1:
		return nil, nil, errors.New("import: the secret key is 0")
	}
	roster, err := session.RosterHash(cfg.Parties, cfg.Identities)
	if err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	polynomial, err := sharing.NewPolynomialWith(curve, rand, secret, cfg.Threshold)
	if err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	defer polynomial.Destroy()
	var nonce [32]byte
	if _, err := io.ReadFull(rand, nonce[:]); err != nil {
		return nil, nil, fmt.Errorf("import: couldn't read randomness: %w", err)
	}
	sid := transcript.Sum(transcript.TagImport, nonce[:])
	c, err := importCertificate(&cfg, sid, roster, polynomial.Commit(), chainCode)
	if err != nil {
		return nil, nil, fmt.Errorf("import: %w", err)
	}
	packets = make(map[mpc.ID][]byte, len(cfg.Parties))
	for _, id := range cfg.Parties {
		share := polynomial.Eval(id)
		w := wire.NewWriter(packetVersion).Var(c.Encode()).Uint16(uint16(id))
		writeScalar(w, share)
		packets[id] = w.Fixed(chainCode[:]).Bytes()
		share.Destroy()
	}
	return packets, c, nil
}

// AcceptImport reads a party's packet. It demands that the packet is of this
// import; that every party got a share of the same key, the signatures of all n
// parties on the certificate say, with which the caller then activates the share.
// The share does not sign before the next refresh: dkg.KeyShare.Dormant.
func AcceptImport(cfg ImportConfig, self mpc.ID, packet []byte) (*Output, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	curve, err := group.OfSuite(cfg.Suite)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	r := wire.NewReader(packet, packetVersion)
	encoded := r.Var("certificate", maxCertificate)
	id := mpc.ID(r.Uint16("id"))
	share := readScalar(r, curve, "share")
	defer share.Destroy()
	var chain [32]byte
	defer clear(chain[:])
	r.Into("chain code", chain[:])
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("import: couldn't decode packet: %w", err)
	}
	if id != self {
		return nil, fmt.Errorf("import: packet is for participant %d, want %d", id, self)
	}
	c, err := dkg.DecodeCertificate(encoded)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if err := cfg.matches(c, chain); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	k, err := dkg.Rebuild(c, self, share, chain)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return &Output{Share: k, Certificate: c}, nil
}

// matches demands that a certificate is the one that this import makes from its
// Feldman vector.
func (c *ImportConfig) matches(got *dkg.Certificate, chain [32]byte) error {
	roster, err := session.RosterHash(c.Parties, c.Identities)
	if err != nil {
		return err
	}
	if got.Suite != c.Suite || len(got.Feldman) != c.Threshold || !slices.Equal(got.Parties, c.Parties) {
		return fmt.Errorf("certificate is of suite %s, %d of %v, want suite %s, %d of %v",
			got.Suite, got.Threshold, got.Parties, c.Suite, c.Threshold, c.Parties)
	}
	want, err := importCertificate(c, got.SID, roster, got.Feldman, chain)
	if err != nil {
		return err
	}
	if !bytes.Equal(want.Encode(), got.Encode()) {
		return errors.New("certificate is not that of this import: purpose, origin, epoch, roster, chain code or signatures differ")
	}
	return nil
}
