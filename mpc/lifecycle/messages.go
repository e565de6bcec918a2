package lifecycle

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The bodies of the messages, after header and echo. Each decoder reads all of
// it: bytes left over are an error. Which parts a body has follows from the roles
// of its author (and recipient), which all know.

const maxSignature = 256

// parts says what a body has.
type parts struct {
	curve group.Curve
	deals bool // the author deals (to a new party)
	seeds bool // author (and recipient) are new parties and share a seed
}

// opening is the body of R2.
type opening struct {
	vector sharing.Commitment // Aᵢ, without A₀ in a refresh
	salt   [32]byte
	sig    []byte     // over the vector
	seeds  [][32]byte // M_{i→j}, j ≠ i ascending
}

func (o *opening) write(w *wire.Writer, p parts) {
	if p.deals {
		writePoints(w, o.vector)
		w.Fixed(o.salt[:]).Var(o.sig)
	}
	if p.seeds {
		w.Count(len(o.seeds))
		for i := range o.seeds {
			w.Fixed(o.seeds[i][:])
		}
	}
}

func readOpening(r *wire.Reader, p parts) (*opening, error) {
	o := new(opening)
	if p.deals {
		o.vector = readPoints(r, p.curve, "feldman vector")
		r.Into("salt", o.salt[:])
		o.sig = readSignature(r, "signature on the vector")
	}
	if p.seeds {
		o.seeds = make([][32]byte, r.Count("seed commitments", mpc.MaxParties-1, 32))
		for i := range o.seeds {
			r.Into("seed commitment", o.seeds[i][:])
		}
	}
	return o, r.Done()
}

// commitment is Cᵢ = RO("life-com", sid, i, Aᵢ…, saltᵢ).
func (o *opening) commitment(sid [32]byte, id mpc.ID) [32]byte {
	items := [][]byte{sid[:], transcript.Uint16(uint16(id))}
	for _, p := range o.vector {
		items = append(items, p.Encode())
	}
	return transcript.Sum(transcript.TagLifeCommit, append(items, o.salt[:])...)
}

// vectorDigest is what a dealer signs in round 2: RO("life-vector", sid, job, i, Aᵢ…).
func vectorDigest(sid, job [32]byte, id mpc.ID, vector sharing.Commitment) [32]byte {
	items := [][]byte{sid[:], job[:], transcript.Uint16(uint16(id))}
	for _, p := range vector {
		items = append(items, p.Encode())
	}
	return transcript.Sum(transcript.TagLifeVector, items...)
}

// seedHalf is what a new party contributes to the zero-share seed of a pair.
type seedHalf struct{ seed, salt [32]byte }

// commitment is M_{i→j}.
func (s *seedHalf) commitment(sid [32]byte, from, to mpc.ID) [32]byte {
	return transcript.Sum(transcript.TagLifeSeed, sid[:],
		transcript.Uint16(uint16(from)), transcript.Uint16(uint16(to)), s.seed[:], s.salt[:])
}

// pairSeed is kᵢⱼ = RO("life-zero", sid, lo, hi, seed_{lo→hi}, seed_{hi→lo}).
func pairSeed(sid [32]byte, self, peer mpc.ID, own, theirs *seedHalf) [32]byte {
	if self > peer {
		self, peer, own, theirs = peer, self, theirs, own
	}
	return transcript.Sum(transcript.TagLifeZero, sid[:],
		transcript.Uint16(uint16(self)), transcript.Uint16(uint16(peer)), own.seed[:], theirs.seed[:])
}

// deal is the body of R3.
type deal struct {
	share group.Scalar // fᵢ(j)
	chain [32]byte     // chain code
	sig   []byte       // over share, commitment to the chain code, and vector
	half  seedHalf
}

func (d *deal) write(w *wire.Writer, p parts) {
	if p.deals {
		writeScalar(w, d.share)
		w.Fixed(d.chain[:]).Var(d.sig)
	}
	if p.seeds {
		w.Fixed(d.half.seed[:]).Fixed(d.half.salt[:])
	}
}

func readDeal(r *wire.Reader, p parts) (*deal, error) {
	d := new(deal)
	if p.deals {
		d.share = readScalar(r, p.curve, "share")
		r.Into("chain code", d.chain[:])
		d.sig = readSignature(r, "signature on the share")
	}
	if p.seeds {
		r.Into("seed", d.half.seed[:])
		r.Into("seed salt", d.half.salt[:])
	}
	return d, r.Done()
}

func (d *deal) destroy() {
	if d.share != nil {
		d.share.Destroy()
	}
	clear(d.chain[:])
	d.half = seedHalf{}
}

// statement is what a dealer signs of a share:
// RO("life-share", sid, job, i, j, fᵢ(j), chain commitment, H(Aᵢ)).
type statement struct {
	sid, job [32]byte
	from, to mpc.ID
	share    group.Scalar
	chain    [32]byte // commitment to the chain code that was sent
	vector   [32]byte // H(Aᵢ)
}

func (s *statement) digest() [32]byte {
	b := s.share.Encode()
	defer clear(b)
	return transcript.Sum(transcript.TagLifeShare, s.sid[:], s.job[:],
		transcript.Uint16(uint16(s.from)), transcript.Uint16(uint16(s.to)), b, s.chain[:], s.vector[:])
}

func readSignature(r *wire.Reader, field string) []byte {
	sig := r.Var(field, maxSignature)
	if r.Err() == nil && len(sig) == 0 {
		r.Failf("%s is empty", field)
	}
	return sig
}

// sign makes a signature of bounded length with the session key.
func sign(step string, key func([32]byte) []byte, digest [32]byte) ([]byte, error) {
	sig := key(digest)
	if len(sig) == 0 || len(sig) > maxSignature {
		return nil, session.Benign(step, fmt.Errorf("own session key made a signature of %d bytes, want 1 to %d", len(sig), maxSignature))
	}
	return sig, nil
}

func writePoints(w *wire.Writer, points []group.Point) {
	w.Count(len(points))
	for _, p := range points {
		w.Fixed(p.Encode())
	}
}

func readPoints(r *wire.Reader, curve group.Curve, field string) []group.Point {
	points := make([]group.Point, r.Count(field, mpc.MaxParties, curve.PointSize()))
	for i := range points {
		points[i] = readPoint(r, curve, field)
	}
	return points
}

// readPoint refuses the identity and every encoding but the canonical one.
func readPoint(r *wire.Reader, curve group.Curve, field string) group.Point {
	p := curve.NewPoint()
	b := r.Fixed(field, curve.PointSize())
	if r.Err() == nil {
		if err := p.Decode(b); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
		}
	}
	return p
}

func writeScalar(w *wire.Writer, s group.Scalar) {
	b := s.Encode()
	w.Fixed(b)
	clear(b)
}

func readScalar(r *wire.Reader, curve group.Curve, field string) group.Scalar {
	s := curve.NewScalar()
	b := r.Fixed(field, 32)
	if r.Err() == nil {
		if err := s.Decode(b); err != nil {
			r.Fail(fmt.Errorf("%s: %w", field, err))
		}
	}
	return s
}
