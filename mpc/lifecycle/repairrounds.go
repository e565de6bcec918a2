package lifecycle

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The steps that aborts of a repair name.
const (
	repair0      = "repair round 0"
	repair1      = "repair round 1"
	repair2      = "repair round 2"
	repair3      = "repair round 3"
	repairFinish = "repair finish"
)

// Round0 returns P0.
func (s *Repair) Round0() (broadcast []byte, err error) {
	if err := s.order.Begin(0); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := session.Draw(s.rand, repair0, s.nonce[:]); err != nil {
		return nil, err
	}
	s.sent[0] = s.header(0, session.Broadcast).Writer().Fixed(s.ctx[:]).Fixed(s.jobHash[:]).Fixed(s.nonce[:]).Bytes()
	return slices.Clone(s.sent[0]), nil
}

// Round1 takes the peers' P0 and returns P1.
func (s *Repair) Round1(p0 map[mpc.ID][]byte) (broadcast []byte, err error) {
	if err := s.order.Begin(1); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(repair1, s.peers, session.Box{Messages: p0, Want: s.want(0, session.Broadcast)})
	if err != nil {
		return nil, err
	}
	nonces, err := agree(repair1, in[0], s.all, s.cfg.Self, s.ctx, s.jobHash, s.nonce)
	if err != nil {
		return nil, err
	}
	s.sid = session.SID(s.ctx, s.cfg.AttemptID, s.jobHash[:], nonces)
	s.echo[0] = session.EchoOf(s.sid, 0, s.all, s.cfg.Self, s.sent[0], p0)
	w := s.header(1, session.Broadcast).Writer().Fixed(s.echo[0][:])
	if s.helps {
		if err := s.divide(); err != nil {
			return nil, err
		}
		s.own.write(w)
	}
	s.sent[1] = w.Bytes()
	return slices.Clone(s.sent[1]), nil
}

// divide splits λᵢ(lost)·sᵢ: every part but this helper's own is drawn, in the
// order of the helpers.
func (s *Repair) divide() error {
	curve := s.job.curve()
	l, err := sharing.LagrangeAt(curve, s.cfg.Helpers, s.cfg.Self, s.cfg.Lost)
	if err != nil {
		return session.Benign(repair1, err)
	}
	rest := s.cfg.Share.Share()
	rest.Mul(rest, l)
	s.split = map[mpc.ID]group.Scalar{s.cfg.Self: rest}
	for _, j := range without(s.cfg.Helpers, s.cfg.Self) {
		d := curve.NewScalar()
		s.split[j] = d
		if err := d.SetRandom(s.rand); err != nil {
			return session.Benign(repair1, fmt.Errorf("couldn't read randomness: %w", err))
		}
		rest.Sub(rest, d)
	}
	s.own = new(committed)
	for _, j := range s.cfg.Helpers {
		s.own.parts = append(s.own.parts, curve.NewPoint().ScalarBaseMult(s.split[j]))
	}
	s.own.sig, err = sign(repair1, s.cfg.Sign, partsDigest(s.sid, s.jobHash, s.cfg.Self, s.own.parts))
	return err
}

// partsDigest is what a helper signs in round 1: RO("repair-parts", sid, job, i, Δ…).
func partsDigest(sid, job [32]byte, id mpc.ID, parts []group.Point) [32]byte {
	items := [][]byte{sid[:], job[:], transcript.Uint16(uint16(id))}
	for _, p := range parts {
		items = append(items, p.Encode())
	}
	return transcript.Sum(transcript.TagRepairParts, items...)
}

// Round2 takes the peers' P1 and returns P2, for each peer its own. The caller
// encrypts each to its recipient.
func (s *Repair) Round2(p1 map[mpc.ID][]byte) (private map[mpc.ID][]byte, err error) {
	if err := s.order.Begin(2); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(repair2, s.peers, session.Box{Messages: p1, Want: s.want(1, session.Broadcast), Echo: &s.echo[0]})
	if err != nil {
		return nil, err
	}
	s.heard = make(map[mpc.ID]*committed, len(s.all))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		if id == s.cfg.Lost {
			faults[id] = in[0][id].Done()
			continue
		}
		s.heard[id], faults[id] = readCommitted(in[0][id], s.job.curve())
	}
	if err := session.Blame(repair2, s.peers, faults); err != nil {
		return nil, err
	}
	for id, c := range s.heard {
		faults[id] = s.checkCommitted(id, c)
	}
	if err := session.Blame(repair2, s.peers, faults); err != nil {
		return nil, err
	}
	if s.helps {
		s.heard[s.cfg.Self] = s.own
	}
	s.first = make(map[mpc.ID][]byte, len(s.all))
	for _, id := range s.peers {
		s.first[id] = slices.Clone(p1[id])
	}
	s.first[s.cfg.Self] = s.sent[1]
	s.echo[1] = session.EchoOf(s.sid, 1, s.all, s.cfg.Self, s.sent[1], p1)
	return s.deal()
}

func (s *Repair) checkCommitted(id mpc.ID, c *committed) error {
	if !s.cfg.Verify(id, partsDigest(s.sid, s.jobHash, id, c.parts), c.sig) {
		return errors.New("signature on the committed parts does not verify")
	}
	if err := s.job.checkParts(id, c.parts); err != nil {
		return &dkg.EvidenceError{Evidence: s.evidence(id).ofParts(c), Err: err}
	}
	return nil
}

// deal makes P2.
func (s *Repair) deal() (map[mpc.ID][]byte, error) {
	out := make(map[mpc.ID][]byte, len(s.peers))
	for _, j := range s.peers {
		w := s.header(2, j).Writer().Fixed(s.echo[1][:])
		if s.helps && j != s.cfg.Lost {
			d := s.split[j]
			sig, err := sign(repair2, s.cfg.Sign, partDigest(s.sid, s.jobHash, s.cfg.Self, j, d, s.own.parts))
			if err != nil {
				return nil, err
			}
			writeScalar(w, d)
			w.Var(sig)
		}
		out[j] = w.Bytes()
	}
	return out, nil
}

// partDigest is what a helper signs of a part:
// RO("repair-part", sid, job, i, j, δ_{i→j}, H(Δᵢ)).
func partDigest(sid, job [32]byte, from, to mpc.ID, part group.Scalar, committed []group.Point) [32]byte {
	vector := sharing.Commitment(committed).Hash()
	b := part.Encode()
	defer clear(b)
	return transcript.Sum(transcript.TagRepairPart, sid[:], job[:],
		transcript.Uint16(uint16(from)), transcript.Uint16(uint16(to)), b, vector[:])
}

// Round3 takes the peers' P2. A helper returns P3, which it encrypts to the party
// that lost its share, and has done its part; that party returns nothing.
func (s *Repair) Round3(p2 map[mpc.ID][]byte) (private map[mpc.ID][]byte, err error) {
	if err := s.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() {
		s.order.End(err, s.Destroy)
		if s.helps {
			s.Destroy()
		}
	}()
	in, err := session.Open(repair3, s.peers, session.Box{Messages: p2, Want: s.want(2, s.cfg.Self), Echo: &s.echo[1]})
	if err != nil {
		return nil, err
	}
	faults := make(map[mpc.ID]error)
	got := make(map[mpc.ID]*part)
	defer func() {
		for _, p := range got {
			p.value.Destroy()
		}
	}()
	for _, id := range s.peers {
		r := in[0][id]
		if !s.helps || id == s.cfg.Lost {
			faults[id] = r.Done()
			continue
		}
		got[id] = &part{value: readScalar(r, s.job.curve(), "part")}
		got[id].sig = readSignature(r, "signature on the part")
		faults[id] = r.Done()
	}
	if err := session.Blame(repair3, s.peers, faults); err != nil {
		return nil, err
	}
	for id, p := range got {
		faults[id] = s.checkPart(id, p)
	}
	if err := session.Blame(repair3, s.peers, faults); err != nil {
		return nil, err
	}
	if !s.helps {
		return nil, nil
	}
	return s.answer(got)
}

// part is the body of P2 between helpers.
type part struct {
	value group.Scalar
	sig   []byte
}

func (s *Repair) checkPart(id mpc.ID, p *part) error {
	c := s.heard[id]
	if !s.cfg.Verify(id, partDigest(s.sid, s.jobHash, id, s.cfg.Self, p.value, c.parts), p.sig) {
		return errors.New("signature on the part does not verify")
	}
	k := slices.Index(s.cfg.Helpers, s.cfg.Self)
	if s.job.curve().NewPoint().ScalarBaseMult(p.value).Equal(c.parts[k]) != 1 {
		return &dkg.EvidenceError{
			Evidence: s.evidence(id).ofPart(s.cfg.Self, c, p),
			Err:      errors.New("part does not match its commitment"),
		}
	}
	return nil
}

// answer makes P3: the sum of the parts, and the chain code.
func (s *Repair) answer(got map[mpc.ID]*part) (map[mpc.ID][]byte, error) {
	sum := s.job.curve().NewScalar().Set(s.split[s.cfg.Self])
	defer sum.Destroy()
	for _, p := range got {
		sum.Add(sum, p.value)
	}
	a := &answer{sum: sum, chain: s.cfg.Share.ChainCode()}
	defer clear(a.chain[:])
	sig, err := sign(repair3, s.cfg.Sign, s.sumStatement(s.cfg.Self, a).digest())
	if err != nil {
		return nil, err
	}
	w := s.header(3, s.cfg.Lost).Writer()
	writeScalar(w, sum)
	w.Fixed(a.chain[:]).Var(sig)
	return map[mpc.ID][]byte{s.cfg.Lost: w.Bytes()}, nil
}

// answer is the body of P3.
type answer struct {
	sum   group.Scalar // σⱼ
	chain [32]byte
	sig   []byte
}

// sumStatement is what a helper signs of its answer:
// RO("repair-sum", sid, job, j, σⱼ, chain commitment, h₁).
type sumStatement struct {
	sid, job [32]byte
	from     mpc.ID
	sum      group.Scalar
	chain    [32]byte // commitment to the chain code that was sent
	echo     [32]byte // h₁: all that was committed to
}

func (st *sumStatement) digest() [32]byte {
	b := st.sum.Encode()
	defer clear(b)
	return transcript.Sum(transcript.TagRepairSum, st.sid[:], st.job[:], transcript.Uint16(uint16(st.from)), b, st.chain[:], st.echo[:])
}

func (s *Repair) sumStatement(from mpc.ID, a *answer) *sumStatement {
	return &sumStatement{
		sid: s.sid, job: s.jobHash, from: from, sum: a.sum,
		chain: dkg.ChainCommitment(s.cfg.Certificate.SID, a.chain), echo: s.echo[1],
	}
}

// Finish takes the helpers' P3 at the party that lost its share. The share that
// it returns is the one that was lost, and does not sign before the next refresh:
// dkg.KeyShare.Dormant. Whatever it returns, the session has ended.
func (s *Repair) Finish(p3 map[mpc.ID][]byte) (share *dkg.KeyShare, err error) {
	if err := s.order.Begin(4); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy); s.Destroy() }()
	in, err := session.Open(repairFinish, s.peers, session.Box{Messages: p3, Want: s.want(3, s.cfg.Self)})
	if err != nil {
		return nil, err
	}
	answers := make(map[mpc.ID]*answer, len(s.peers))
	defer func() {
		for _, a := range answers {
			a.sum.Destroy()
			clear(a.chain[:])
		}
	}()
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		r := in[0][id]
		a := &answer{sum: readScalar(r, s.job.curve(), "sum of the parts")}
		r.Into("chain code", a.chain[:])
		a.sig = readSignature(r, "signature on the sum")
		answers[id], faults[id] = a, r.Done()
	}
	if err := session.Blame(repairFinish, s.peers, faults); err != nil {
		return nil, err
	}
	for id, a := range answers {
		faults[id] = s.checkAnswer(id, a)
	}
	if err := session.Blame(repairFinish, s.peers, faults); err != nil {
		return nil, err
	}
	sum := s.job.curve().NewScalar()
	defer sum.Destroy()
	var chain [32]byte
	defer clear(chain[:])
	for _, a := range answers {
		sum.Add(sum, a.sum)
		chain = a.chain
	}
	if share, err = dkg.Rebuild(s.cfg.Certificate, s.cfg.Self, sum, chain); err != nil {
		return nil, session.Unattributed(repairFinish, err)
	}
	if err := share.Activate(s.cfg.Certificate, s.cfg.VerifyCertificate); err != nil {
		share.Destroy()
		return nil, session.Unattributed(repairFinish, err)
	}
	return share, nil
}

func (s *Repair) checkAnswer(id mpc.ID, a *answer) error {
	st := s.sumStatement(id, a)
	if !s.cfg.Verify(id, st.digest(), a.sig) {
		return errors.New("signature on the sum does not verify")
	}
	if err := s.job.checkSum(st, s.heard); err != nil {
		return &dkg.EvidenceError{Evidence: s.evidence(id).ofSum(s.first, st, a.sig), Err: err}
	}
	return nil
}

// checkSum says whether an answer is right: σⱼ·G = Σᵢ Δ_{i→j}, and the chain code.
func (j *repairJob) checkSum(st *sumStatement, heard map[mpc.ID]*committed) error {
	k := slices.Index(j.helpers, st.from)
	column := j.curve().NewPoint()
	for _, c := range heard {
		column.Add(column, c.parts[k])
	}
	if j.curve().NewPoint().ScalarBaseMult(st.sum).Equal(column) != 1 {
		return errors.New("sum does not match what the helpers committed to")
	}
	if st.chain != j.cert.ChainCommitment {
		return errors.New("chain code does not match its commitment in the certificate")
	}
	return nil
}
