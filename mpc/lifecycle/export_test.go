package lifecycle

import (
	"io"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// What the tests of a dishonest participant need.

// ReplacePolynomial makes a dealer deal other shares than it committed to.
func (s *Session) ReplacePolynomial(rand io.Reader) (err error) {
	s.polynomial, err = sharing.NewPolynomial(s.job.curve(), rand, s.cfg.Threshold)
	return err
}

// ReplaceShare makes a dealer deal another share than its own.
func (s *Session) ReplaceShare(k *dkg.KeyShare) { s.cfg.Share = k }

// ReplaceThreshold makes a dealer commit to a polynomial of another degree.
func (s *Session) ReplaceThreshold(t int) { s.cfg.Threshold = t }

// ReplaceChainCode makes a dealer send another chain code.
func (s *Session) ReplaceChainCode(c [32]byte) { *s.chainCode = c }

// ReplaceSeed makes a new party send another seed than it committed to.
func (s *Session) ReplaceSeed(peer mpc.ID) { s.halves[peer].seed[0] ^= 1 }

// Wiped reports whether no secret is left.
func (s *Session) Wiped() bool {
	for _, h := range s.halves {
		if *h != (seedHalf{}) {
			return false
		}
	}
	return *s.chainCode == [32]byte{} && (s.polynomial == nil || s.polynomial.Eval(7).IsZero() == 1)
}

// ReplaceShare makes a helper split another share than its own.
func (s *Repair) ReplaceShare(k *dkg.KeyShare) { s.cfg.Share = k }

// ReplacePart makes a helper send another part than it committed to.
func (s *Repair) ReplacePart(to mpc.ID) {
	s.split[to].Add(s.split[to], s.job.curve().NewScalar().SetUint64(1))
}

// Parts are the parts that a helper made.
func (s *Repair) Parts() map[mpc.ID]group.Scalar { return s.split }

// Reencode decodes the body of a message of a participant and encodes what it
// decoded: kind 2 is R2, kind 3 R3.
func Reencode(b []byte, kind uint8, curve group.Curve, deals, seeds bool) ([]byte, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	echo := r.Fixed("echo", 32)
	if err := r.Err(); err != nil {
		return nil, err
	}
	w := h.Writer().Fixed(echo)
	p := parts{curve, deals, seeds}
	if kind == 2 {
		o, err := readOpening(r, p)
		if err != nil {
			return nil, err
		}
		o.write(w, p)
		return w.Bytes(), nil
	}
	d, err := readDeal(r, p)
	if err != nil {
		return nil, err
	}
	d.write(w, p)
	return w.Bytes(), nil
}

// ReencodeP1 is Reencode for a repair's P1.
func ReencodeP1(b []byte, curve group.Curve) ([]byte, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	echo := r.Fixed("echo", 32)
	if err := r.Err(); err != nil {
		return nil, err
	}
	c, err := readCommitted(r, curve)
	if err != nil {
		return nil, err
	}
	return c.write(h.Writer().Fixed(echo)).Bytes(), nil
}

// ReplaceConstant makes a dealer deal by the polynomial of rand with another
// constant term.
func (s *Session) ReplaceConstant(rand io.Reader, constant uint64) (err error) {
	c := s.job.curve().NewScalar().SetUint64(constant)
	s.polynomial, err = sharing.NewPolynomialWith(s.job.curve(), rand, c, s.cfg.Threshold)
	return err
}

// Frame makes evidence of what a dealer rightly sent to this participant.
func Frame(s *Session, from mpc.ID, r3 []byte) (vector, share []byte) {
	o := s.opened[from]
	r := wire.NewReader(r3, session.Version)
	session.ReadHeader(r)
	r.Fixed("echo", 32)
	d, err := readDeal(r, s.sends(from, s.cfg.Self))
	if err != nil {
		panic(err)
	}
	return s.evidence(from).ofVector(o), s.evidence(from).ofShare(s.statement(from, s.cfg.Self, d, o), o, d.sig)
}

// CopyOpening is another dealer's R2 as this one's, rightly signed.
func (s *Session) CopyOpening(r2 []byte) []byte {
	r := wire.NewReader(r2, session.Version)
	session.ReadHeader(r)
	echo := r.Fixed("echo", 32)
	p := s.opens(s.cfg.Self)
	o, err := readOpening(r, p)
	if err != nil {
		panic(err)
	}
	o.sig = s.cfg.Sign(vectorDigest(s.sid, s.jobHash, s.cfg.Self, o.vector))
	w := s.header(2, session.Broadcast).Writer().Fixed(echo)
	o.write(w, p)
	return w.Bytes()
}

// CommitsTo reports whether the vector that was opened is that of the polynomial
// from coefficient k on.
func (s *Session) CommitsTo(k int) bool {
	return s.polynomial.Commit()[k:].Hash() == s.own.vector.Hash()
}

// FrameRepair makes evidence of each kind of what a helper rightly did.
func FrameRepair(lost, helper *Repair, from mpc.ID, p2, p3 []byte) [][]byte {
	r := wire.NewReader(p2, session.Version)
	session.ReadHeader(r)
	r.Fixed("echo", 32)
	p := &part{value: readScalar(r, helper.job.curve(), "part"), sig: readSignature(r, "signature")}
	r = wire.NewReader(p3, session.Version)
	session.ReadHeader(r)
	a := &answer{sum: readScalar(r, lost.job.curve(), "sum")}
	r.Into("chain code", a.chain[:])
	a.sig = readSignature(r, "signature")
	return [][]byte{
		helper.evidence(from).ofParts(helper.heard[from]),
		helper.evidence(from).ofPart(helper.cfg.Self, helper.heard[from], p),
		lost.evidence(from).ofSum(lost.first, lost.sumStatement(from, a), a.sig),
	}
}
