package lifecycle

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

const (
	repairEvidenceVersion = 3
	aboutParts            = 1
	aboutPart             = 2
	aboutSum              = 3
	maxFirst              = 47 + 32 + 4 + 33*mpc.MaxParties + 4 + maxSignature // a P1
)

type repairAccusation struct {
	sid  [32]byte
	job  *repairJob
	from mpc.ID
}

func (s *Repair) evidence(from mpc.ID) *repairAccusation {
	return &repairAccusation{s.sid, s.job, from}
}

func (a *repairAccusation) writer(about uint8) *wire.Writer {
	w := wire.NewWriter(repairEvidenceVersion).Uint8(about).Fixed(a.sid[:])
	return a.job.write(w).Uint16(uint16(a.from))
}

// ofParts is evidence of parts that are not of the helper's share.
func (a *repairAccusation) ofParts(c *committed) []byte {
	return c.write(a.writer(aboutParts)).Bytes()
}

// ofPart is evidence of a part that differs from its commitment.
func (a *repairAccusation) ofPart(to mpc.ID, c *committed, p *part) []byte {
	w := a.writer(aboutPart)
	writePoints(w, c.parts)
	w.Uint16(uint16(to))
	writeScalar(w, p.value)
	return w.Var(p.sig).Bytes()
}

// ofSum is evidence of a wrong answer, with all that was said in round 1.
func (a *repairAccusation) ofSum(first map[mpc.ID][]byte, st *sumStatement, sig []byte) []byte {
	w := a.writer(aboutSum)
	for _, id := range a.job.participants() {
		w.Var(first[id])
	}
	writeScalar(w, st.sum)
	return w.Fixed(st.chain[:]).Var(sig).Bytes()
}

// VerifyRepairEvidence returns the helper that the evidence convicts of a lie in
// a repair in the epoch of this certificate: committed parts that are not of its
// share, a part that is not what it committed to, or an answer that is not the sum
// of its parts or has another chain code. An error means that the evidence
// convicts nobody.
func VerifyRepairEvidence(evidence []byte, cert *dkg.Certificate, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) (mpc.ID, error) {
	if cert == nil || verify == nil {
		return 0, errors.New("evidence is judged by the certificate and the participants' session keys: neither may be nil")
	}
	r := wire.NewReader(evidence, repairEvidenceVersion)
	about := r.Uint8("kind of evidence")
	a := &repairAccusation{job: &repairJob{cert: cert}}
	r.Into("sid", a.sid[:])
	a.job.lost = mpc.ID(r.Uint16("lost"))
	a.job.helpers = session.ReadIDs(r, "helpers")
	a.from = mpc.ID(r.Uint16("from"))
	if r.Err() == nil {
		if err := a.job.check(); err != nil {
			r.Fail(err)
		}
	}
	if r.Err() == nil && !sharing.Contains(a.job.helpers, a.from) {
		r.Failf("participant %d is not one of the helpers %v", a.from, a.job.helpers)
	}
	var digest [32]byte
	var sig []byte
	var lie error
	switch about {
	case aboutParts:
		digest, sig, lie = a.readParts(r)
	case aboutPart:
		digest, sig, lie = a.readPart(r)
	case aboutSum:
		digest, sig, lie = a.readSum(r)
	default:
		r.Failf("evidence of kind %d, want %d (parts), %d (part) or %d (sum)", about, aboutParts, aboutPart, aboutSum)
	}
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("couldn't decode evidence: %w", err)
	}
	if !verify(a.from, digest, sig) {
		return 0, fmt.Errorf("signature of participant %d does not verify: nobody is convicted", a.from)
	}
	if lie == nil {
		return 0, fmt.Errorf("what participant %d did is right: nobody is convicted", a.from)
	}
	return a.from, nil
}

func (a *repairAccusation) readParts(r *wire.Reader) (digest [32]byte, sig []byte, lie error) {
	parts := readPoints(r, a.job.curve(), "committed parts")
	sig = readSignature(r, "signature")
	if r.Err() != nil {
		return digest, nil, nil
	}
	return partsDigest(a.sid, a.job.hash(), a.from, parts), sig, a.job.checkParts(a.from, parts)
}

func (a *repairAccusation) readPart(r *wire.Reader) (digest [32]byte, sig []byte, lie error) {
	parts := readPoints(r, a.job.curve(), "committed parts")
	to := mpc.ID(r.Uint16("to"))
	value := readScalar(r, a.job.curve(), "part")
	sig = readSignature(r, "signature")
	k := slices.Index(a.job.helpers, to)
	if r.Err() == nil && (k < 0 || len(parts) != len(a.job.helpers)) {
		r.Failf("part to %d of %d, want to one of %v", to, len(parts), a.job.helpers)
	}
	if r.Err() != nil {
		return digest, nil, nil
	}
	if a.job.curve().NewPoint().ScalarBaseMult(value).Equal(parts[k]) != 1 {
		lie = fmt.Errorf("part to %d does not match its commitment", to)
	}
	return partDigest(a.sid, a.job.hash(), a.from, to, value, parts), sig, lie
}

// readSum goes by the broadcasts of round 1 that the accused itself signed for:
// their echo is in what it signed.
func (a *repairAccusation) readSum(r *wire.Reader) (digest [32]byte, sig []byte, lie error) {
	all := a.job.participants()
	broadcasts := make([][]byte, len(all))
	heard := make(map[mpc.ID]*committed)
	for i, id := range all {
		broadcasts[i] = r.Var("message of round 1", maxFirst)
		if r.Err() != nil || id == a.job.lost {
			continue
		}
		c, err := readFirst(broadcasts[i], a.job.curve())
		if err == nil && len(c.parts) != len(a.job.helpers) {
			err = fmt.Errorf("%d committed parts, want %d", len(c.parts), len(a.job.helpers))
		}
		if err != nil {
			r.Fail(fmt.Errorf("message of round 1 of participant %d: %w", id, err))
			continue
		}
		heard[id] = c
	}
	st := &sumStatement{sid: a.sid, job: a.job.hash(), from: a.from, sum: readScalar(r, a.job.curve(), "sum")}
	r.Into("chain commitment", st.chain[:])
	sig = readSignature(r, "signature")
	if r.Err() != nil {
		return digest, nil, nil
	}
	st.echo = session.Echo(a.sid, 1, broadcasts)
	return st.digest(), sig, a.job.checkSum(st, heard)
}

// readFirst reads a whole P1.
func readFirst(b []byte, curve group.Curve) (*committed, error) {
	r := wire.NewReader(b, session.Version)
	session.ReadHeader(r)
	r.Fixed("echo", 32)
	return readCommitted(r, curve)
}
