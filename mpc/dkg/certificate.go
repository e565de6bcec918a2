package dkg

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const (
	certificateVersion = 2
	maxSignature       = 1024
	maxSuite           = 64
	maxBirth           = 4 << 10 // above that of 16 parties
)

// Origin says how an epoch of a key came to be.
type Origin uint8

// The origins. Numbers are never reused.
const (
	Generated Origin = 1 // by this package: nobody ever held the key
	Imported  Origin = 2 // dealt by somebody who held it whole
	Refreshed Origin = 3 // same parties and threshold, new shares
	Reshared  Origin = 4 // other parties or another threshold
	Repaired  Origin = 5 // a lost share was made again by its peers
)

func (o Origin) String() string {
	if o < Generated || o > Repaired {
		return fmt.Sprintf("origin-%d", uint8(o))
	}
	return [...]string{"generated", "imported", "refreshed", "reshared", "repaired"}[o-Generated]
}

// first says that a key begins with it: no certificate comes before.
func (o Origin) first() bool { return o == Generated || o == Imported }

// Certificate says which shares an epoch of a key has. It is public. It is
// complete when every party's identity has signed its Digest.
type Certificate struct {
	Suite           mpc.Suite
	Purpose         string
	Origin          Origin
	Previous        [32]byte // digest of the certificate of the epoch before; zero at first
	SID             [32]byte
	Epoch           uint64
	Threshold       int
	Parties         []mpc.ID // ascending
	PublicShares    map[mpc.ID]group.Point
	Feldman         sharing.Commitment // the sum of all dealers' vectors
	RosterHash      [32]byte
	ChainCommitment [32]byte // hides the chain code
	Echo            [32]byte // h₂: every value opened in round 2

	// keyID is zero at first: the key is then named after the certificate itself.
	keyID [32]byte
	// birth is the first certificate of the key, without signatures, in every later
	// one: the key id is a hash of it, and so key id and public key belong together
	// for somebody who has seen neither before. It is empty at first.
	birth      []byte
	signatures map[mpc.ID][]byte
}

// PublicKey is the group public key.
func (c *Certificate) PublicKey() group.Point { return c.Feldman[0] }

// body is what the digest covers.
func (c *Certificate) body() *wire.Writer {
	w := wire.NewWriter(certificateVersion).
		String(string(c.Suite)).
		String(c.Purpose).
		Uint8(uint8(c.Origin)).
		Fixed(c.keyID[:]).
		Fixed(c.Previous[:]).
		Fixed(c.SID[:]).
		Uint64(c.Epoch).
		Uint16(uint16(c.Threshold))
	points := make([]group.Point, 0, len(c.Parties)+len(c.Feldman))
	for _, id := range c.Parties {
		points = append(points, c.PublicShares[id])
	}
	encoded := group.EncodePoints(append(points, c.Feldman...)) // with one inversion
	writeShares(w, c.Parties, encoded[:len(c.Parties)])
	writePoints(w, encoded[len(c.Parties):])
	w.Fixed(c.RosterHash[:]).Fixed(c.ChainCommitment[:]).Fixed(c.Echo[:])
	if !c.Origin.first() {
		w.Var(c.birth)
	}
	return w
}

// Digest is what every party's identity signs.
func (c *Certificate) Digest() [32]byte {
	return transcript.Sum(transcript.TagDKGCert, c.body().Bytes())
}

// KeyID names the key for its whole life: it is derived from the digest of the
// first certificate, and stands in the later ones.
func (c *Certificate) KeyID() [32]byte {
	if !c.Origin.first() {
		return c.keyID
	}
	return c.name(c.Digest())
}

// name is KeyID, given the digest.
func (c *Certificate) name(digest [32]byte) [32]byte {
	if !c.Origin.first() {
		return c.keyID
	}
	return transcript.Sum(transcript.TagKeyID, digest[:])
}

// AddSignature records the signature of a party's identity over Digest. It is
// verified by Complete. A party's first signature stays.
func (c *Certificate) AddSignature(id mpc.ID, sig []byte) error {
	if !sharing.Contains(c.Parties, id) {
		return fmt.Errorf("participant %d is not one of %v", id, c.Parties)
	}
	if len(sig) == 0 || len(sig) > maxSignature {
		return fmt.Errorf("certificate signature of participant %d has %d bytes, want 1 to %d", id, len(sig), maxSignature)
	}
	if c.signatures[id] != nil {
		return fmt.Errorf("participant %d has signed the certificate already", id)
	}
	if c.signatures == nil {
		c.signatures = make(map[mpc.ID][]byte, len(c.Parties))
	}
	c.signatures[id] = append([]byte(nil), sig...)
	return nil
}

// Signature returns the recorded signature of a party, or nil.
func (c *Certificate) Signature(id mpc.ID) []byte {
	return append([]byte(nil), c.signatures[id]...)
}

// Complete demands a valid signature of every one of the n parties.
func (c *Certificate) Complete(verify func(id mpc.ID, digest [32]byte, sig []byte) bool) error {
	return c.complete(c.Digest(), verify)
}

// complete is Complete, given the digest.
func (c *Certificate) complete(digest [32]byte, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) error {
	if verify == nil {
		return errors.New("no verifier of the parties' signatures")
	}
	for _, id := range c.Parties {
		sig := c.signatures[id]
		if sig == nil {
			return fmt.Errorf("certificate lacks the signature of participant %d; it takes all %d", id, len(c.Parties))
		}
		if !verify(id, digest, sig) {
			return fmt.Errorf("signature of participant %d on the certificate does not verify", id)
		}
	}
	return nil
}

// Encode is the certificate with the signatures it has.
func (c *Certificate) Encode() []byte {
	w := c.body().Count(len(c.signatures))
	for _, id := range c.Parties {
		if sig := c.signatures[id]; sig != nil {
			w.Uint16(uint16(id)).Var(sig)
		}
	}
	return w.Bytes()
}

// DecodeCertificate is strict. A certificate that decodes has public shares
// that lie on its Feldman vector; whether it is signed, Complete tells.
func DecodeCertificate(b []byte) (*Certificate, error) {
	r := wire.NewReader(b, certificateVersion)
	c := new(Certificate)
	c.readBody(r)
	c.readSignatures(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode certificate: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("certificate contradicts itself: %w", err)
	}
	return c, nil
}

// readBody is the inverse of body.
func (c *Certificate) readBody(r *wire.Reader) {
	var curve group.Curve
	c.Suite, curve = readSuite(r)
	c.Purpose = r.String("purpose", session.MaxPurpose)
	c.Origin = Origin(r.Uint8("origin"))
	r.Into("key id", c.keyID[:])
	r.Into("previous certificate", c.Previous[:])
	r.Into("sid", c.SID[:])
	c.Epoch = r.Uint64("epoch")
	c.Threshold = int(r.Uint16("threshold"))
	c.Parties, c.PublicShares = readShares(r, curve)
	c.Feldman = readPoints(r, curve, "feldman vector")
	r.Into("roster hash", c.RosterHash[:])
	r.Into("chain commitment", c.ChainCommitment[:])
	r.Into("echo", c.Echo[:])
	if !c.Origin.first() {
		c.birth = r.Var("first certificate", maxBirth)
	}
}

func (c *Certificate) readSignatures(r *wire.Reader) {
	n := r.Count("signatures", mpc.MaxParties, 2+4+1)
	last := mpc.ID(0)
	for range n {
		id := mpc.ID(r.Uint16("signer"))
		sig := r.Var("signature", maxSignature)
		if r.Err() == nil && id <= last {
			r.Failf("signature of participant %d follows that of %d, want ascending ids", id, last)
		}
		last = id
		if r.Err() == nil {
			if err := c.AddSignature(id, sig); err != nil {
				r.Fail(err)
			}
		}
	}
}

func (c *Certificate) check() error {
	if err := session.CheckPurpose(c.Purpose); err != nil {
		return err
	}
	if err := c.checkOrigin(); err != nil {
		return err
	}
	if err := c.checkBirth(); err != nil {
		return err
	}
	if err := sharing.CheckThreshold(c.Threshold, len(c.Parties)); err != nil {
		return err
	}
	if len(c.Feldman) != c.Threshold {
		return fmt.Errorf("feldman vector of %d points for threshold %d", len(c.Feldman), c.Threshold)
	}
	for _, id := range c.Parties {
		if c.Feldman.Eval(id).Equal(c.PublicShares[id]) != 1 {
			return fmt.Errorf("public share of participant %d does not lie on the Feldman vector", id)
		}
	}
	return nil
}

// checkOrigin: the first certificate of a key names none before and no key id;
// every later one names both.
func (c *Certificate) checkOrigin() error {
	var none [32]byte
	switch {
	case c.Origin < Generated || c.Origin > Repaired:
		return fmt.Errorf("origin %d is unknown, want %d to %d", c.Origin, Generated, Repaired)
	case c.Origin.first() && (c.Epoch != FirstEpoch || c.Previous != none || c.keyID != none):
		return fmt.Errorf("a key that was %s begins with epoch %d, names no certificate before it and gets its id from this one; this is epoch %d after %.8x… of key %.8x…",
			c.Origin, FirstEpoch, c.Epoch, c.Previous[:], c.keyID[:])
	case !c.Origin.first() && (c.Epoch <= FirstEpoch || c.Previous == none || c.keyID == none):
		return fmt.Errorf("a key that was %s has an epoch above %d, a certificate before and an id; this is epoch %d after %.8x… of key %.8x…",
			c.Origin, FirstEpoch, c.Epoch, c.Previous[:], c.keyID[:])
	}
	return nil
}

// checkBirth: a later certificate carries the first one, from which its key id is
// derived, and is of the same public key, suite and purpose. Without it whoever
// hands a certificate to a newcomer could put any public key beside a key id.
func (c *Certificate) checkBirth() error {
	if c.Origin.first() {
		return nil
	}
	r := wire.NewReader(c.birth, certificateVersion)
	first := new(Certificate)
	first.readBody(r)
	err := r.Done()
	switch {
	case err != nil:
		return fmt.Errorf("first certificate of the key: %w", err)
	case !first.Origin.first() || len(first.Feldman) == 0 || len(c.Feldman) == 0:
		return fmt.Errorf("first certificate of the key is of a key that was %s", first.Origin)
	case first.KeyID() != c.keyID:
		return fmt.Errorf("first certificate is of key %x, this one of key %x", first.KeyID(), c.keyID)
	case first.Suite != c.Suite || first.Purpose != c.Purpose || first.PublicKey().Equal(c.PublicKey()) != 1:
		return fmt.Errorf("the key began with suite %s, purpose %q and public key %x, here it has %s, %q and %x",
			first.Suite, first.Purpose, first.PublicKey().Encode(), c.Suite, c.Purpose, c.PublicKey().Encode())
	}
	return nil
}

// first is the body of the key's first certificate.
func (c *Certificate) first() []byte {
	if c.Origin.first() {
		return c.body().Bytes()
	}
	return slices.Clone(c.birth)
}

// The pieces of encodings that the certificate and the key share have in common.

// readSuite always returns a curve, so that the rest can be read.
func readSuite(r *wire.Reader) (mpc.Suite, group.Curve) {
	s := mpc.Suite(r.String("suite", maxSuite))
	c, err := group.OfSuite(s)
	if err != nil {
		if r.Err() == nil {
			r.Fail(err)
		}
		return s, group.Secp256k1()
	}
	return s, c
}

func writeShares(w *wire.Writer, parties []mpc.ID, shares [][]byte) {
	w.Count(len(parties))
	for i, b := range shares {
		w.Uint16(uint16(parties[i])).Fixed(b)
	}
}

func readShares(r *wire.Reader, c group.Curve) ([]mpc.ID, map[mpc.ID]group.Point) {
	n := r.Count("public shares", mpc.MaxParties, 2+c.PointSize())
	parties := make([]mpc.ID, n)
	shares := make(map[mpc.ID]group.Point, n)
	for i := range parties {
		parties[i] = mpc.ID(r.Uint16("participant"))
		shares[parties[i]] = readPoint(r, c, "public share")
	}
	if r.Err() == nil {
		if err := sharing.CheckIDs(parties); err != nil {
			r.Fail(err)
		}
	}
	return parties, shares
}

func writePoints(w *wire.Writer, points [][]byte) {
	w.Count(len(points))
	for i := range points {
		w.Fixed(points[i])
	}
}

func readPoints(r *wire.Reader, c group.Curve, field string) sharing.Commitment {
	v := make(sharing.Commitment, r.Count(field, mpc.MaxParties, c.PointSize()))
	for k := range v {
		v[k] = readPoint(r, c, field)
	}
	return v
}

// readPoint refuses the identity and every encoding but the canonical one.
func readPoint(r *wire.Reader, c group.Curve, field string) group.Point {
	p, _ := readEncoded(r, c, field)
	return p
}

// readEncoded returns also the encoding: there is one only.
func readEncoded(r *wire.Reader, c group.Curve, field string) (group.Point, []byte) {
	p := c.NewPoint()
	b := make([]byte, c.PointSize())
	r.Into(field, b)
	if r.Err() == nil {
		if err := p.Decode(b); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
		}
	}
	return p, b
}

func readScalar(r *wire.Reader, c group.Curve, field string) group.Scalar {
	s := c.NewScalar()
	var b [32]byte
	r.Into(field, b[:])
	if r.Err() == nil {
		if err := s.Decode(b[:]); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
		}
	}
	clear(b[:])
	return s
}
