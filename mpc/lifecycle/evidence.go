package lifecycle

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/sharing"
)

const (
	evidenceVersion = 2 // 1 is that of a key generation
	aboutVector     = 1
	aboutShare      = 2
)

// accusation is what both kinds of evidence begin with.
type accusation struct {
	sid  [32]byte
	job  *job
	from mpc.ID
}

func (s *Session) evidence(from mpc.ID) *accusation { return &accusation{s.sid, s.job, from} }

func (a *accusation) writer(about uint8) *wire.Writer {
	w := wire.NewWriter(evidenceVersion).Uint8(about).Fixed(a.sid[:])
	return a.job.write(w).Uint16(uint16(a.from))
}

// ofVector is evidence of a vector that nobody may deal by.
func (a *accusation) ofVector(o *opening) []byte {
	w := a.writer(aboutVector)
	writePoints(w, o.vector)
	return w.Var(o.sig).Bytes()
}

// ofShare is evidence of a wrong share or chain code.
func (a *accusation) ofShare(st *statement, o *opening, sig []byte) []byte {
	w := a.writer(aboutShare)
	writePoints(w, o.vector)
	w.Uint16(uint16(st.to))
	writeScalar(w, st.share)
	return w.Fixed(st.chain[:]).Var(sig).Bytes()
}

// VerifyEvidence returns the dealer that the evidence convicts of a lie in a
// refresh or reshare that starts from the epoch of this certificate: a Feldman
// vector of the wrong length or not of its own share, a share that does not lie on
// its vector, or a chain code that is not the key's. verify checks the signature
// of a participant's session key. An error means that the evidence convicts
// nobody.
func VerifyEvidence(evidence []byte, old *dkg.Certificate, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) (mpc.ID, error) {
	if old == nil || verify == nil {
		return 0, errors.New("evidence is judged by the old certificate and the participants' session keys: neither may be nil")
	}
	r := wire.NewReader(evidence, evidenceVersion)
	about := r.Uint8("kind of evidence")
	a := new(accusation)
	r.Into("sid", a.sid[:])
	a.job = readJob(r, old)
	a.from = mpc.ID(r.Uint16("from"))
	vector := sharing.Commitment(readPoints(r, a.job.curve(), "feldman vector"))
	var st *statement
	switch about {
	case aboutVector:
	case aboutShare:
		st = &statement{sid: a.sid, job: a.job.hash(), from: a.from, vector: vector.Hash()}
		st.to = mpc.ID(r.Uint16("to"))
		st.share = readScalar(r, a.job.curve(), "share")
		r.Into("chain commitment", st.chain[:])
	default:
		r.Failf("evidence of kind %d, want %d (vector) or %d (share)", about, aboutVector, aboutShare)
	}
	sig := readSignature(r, "signature")
	if r.Err() == nil && !sharing.Contains(a.job.dealers, a.from) {
		r.Failf("participant %d is not one of the dealers %v", a.from, a.job.dealers)
	}
	if r.Err() == nil && st != nil && !sharing.Contains(a.job.parties, st.to) {
		r.Failf("participant %d is not one of the new parties %v", st.to, a.job.parties)
	}
	if r.Err() == nil && st != nil && len(a.job.full(vector)) != a.job.threshold {
		r.Failf("feldman vector of %d points beside a share", len(vector))
	}
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("couldn't decode evidence: %w", err)
	}
	digest, lie := vectorDigest(a.sid, a.job.hash(), a.from, vector), a.job.checkVector(a.from, vector)
	if st != nil {
		digest, lie = st.digest(), a.job.checkStatement(st, vector)
	}
	if !verify(a.from, digest, sig) {
		return 0, fmt.Errorf("signature of participant %d does not verify: nobody is convicted", a.from)
	}
	if lie == nil {
		return 0, fmt.Errorf("what participant %d dealt is right: nobody is convicted", a.from)
	}
	return a.from, nil
}
