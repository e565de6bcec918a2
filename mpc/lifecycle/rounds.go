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
)

// The steps that aborts name.
const (
	step0      = "lifecycle round 0"
	step1      = "lifecycle round 1"
	step2      = "lifecycle round 2"
	step3      = "lifecycle round 3"
	stepFinish = "lifecycle finish"
)

// Round0 returns R0.
func (s *Session) Round0() (broadcast []byte, err error) {
	if err := s.order.Begin(0); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := session.Draw(s.rand, step0, s.nonce[:]); err != nil {
		return nil, err
	}
	s.sent[0] = s.header(0, session.Broadcast).Writer().Fixed(s.ctx[:]).Fixed(s.jobHash[:]).Fixed(s.nonce[:]).Bytes()
	return slices.Clone(s.sent[0]), nil
}

// Round1 takes the peers' R0 and returns R1.
func (s *Session) Round1(r0 map[mpc.ID][]byte) (broadcast []byte, err error) {
	if err := s.order.Begin(1); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step1, s.peers, session.Box{Messages: r0, Want: s.want(0)})
	if err != nil {
		return nil, err
	}
	nonces, err := agree(step1, in[0], s.participants, s.cfg.Self, s.ctx, s.jobHash, s.nonce)
	if err != nil {
		return nil, err
	}
	s.sid = session.SID(s.ctx, s.cfg.AttemptID, s.jobHash[:], nonces)
	s.hear(0, r0)
	if err := s.choose(); err != nil {
		return nil, err
	}
	w := s.header(1, session.Broadcast).Writer().Fixed(s.echo[0][:])
	if s.deals {
		c := s.own.commitment(s.sid, s.cfg.Self)
		w.Fixed(c[:])
	}
	s.sent[1] = w.Bytes()
	return slices.Clone(s.sent[1]), nil
}

// agree reads the bodies of round 0, context, job and nonce, and demands that all
// are about the same. It returns the nonces, by id.
func agree(step string, in session.Readers, all []mpc.ID, self mpc.ID, ctx, job, nonce [32]byte) ([][32]byte, error) {
	nonces := make([][32]byte, len(all))
	faults := make(map[mpc.ID]error)
	var differs error
	for i, id := range all {
		if id == self {
			nonces[i] = nonce
			continue
		}
		var theirs, job2 [32]byte
		r := in[id]
		r.Into("context", theirs[:])
		r.Into("job", job2[:])
		r.Into("nonce", nonces[i][:])
		faults[id] = r.Done()
		switch {
		case faults[id] != nil:
		case theirs != ctx:
			differs = fmt.Errorf("context of participant %d is %x, want %x: key, old shares, parties, threshold or identities differ", id, theirs, ctx)
		case job2 != job:
			differs = fmt.Errorf("job of participant %d is %x, want %x: kind, old certificate, dealers or parties differ", id, job2, job)
		}
	}
	if differs != nil {
		return nil, session.Benign(step, differs)
	}
	return nonces, session.Blame(step, without(all, self), faults)
}

// choose draws everything that this participant contributes, in the order of the
// specification.
func (s *Session) choose() error {
	s.own = new(opening)
	if s.deals {
		if err := s.choosePolynomial(); err != nil {
			return err
		}
		if err := session.Draw(s.rand, step1, s.own.salt[:]); err != nil {
			return err
		}
		sig, err := sign(step1, s.cfg.Sign, vectorDigest(s.sid, s.jobHash, s.cfg.Self, s.own.vector))
		if err != nil {
			return err
		}
		s.own.sig = sig
		*s.chainCode = s.cfg.Share.ChainCode()
	}
	if !s.seeded || !s.receives {
		return nil
	}
	s.halves = make(map[mpc.ID]*seedHalf, len(s.cfg.Parties))
	for _, j := range without(s.cfg.Parties, s.cfg.Self) {
		h := new(seedHalf)
		s.halves[j] = h
		if err := session.Draw(s.rand, step1, h.seed[:], h.salt[:]); err != nil {
			return err
		}
		s.own.seeds = append(s.own.seeds, h.commitment(s.sid, s.cfg.Self, j))
	}
	return nil
}

// choosePolynomial draws fᵢ with constant term 0 in a refresh, λᵢ·sᵢ in a reshare.
func (s *Session) choosePolynomial() (err error) {
	curve := s.job.curve()
	var constant group.Scalar
	if s.cfg.Kind == Reshare {
		l, err := sharing.Lagrange(curve, s.cfg.Dealers, s.cfg.Self)
		if err != nil {
			return session.Benign(step1, err)
		}
		constant = s.cfg.Share.Share()
		defer constant.Destroy()
		constant.Mul(constant, l)
	}
	if s.polynomial, err = sharing.NewPolynomialWith(curve, s.rand, constant, s.cfg.Threshold); err != nil {
		return session.Benign(step1, err)
	}
	s.own.vector = s.polynomial.Commit()
	if s.cfg.Kind == Refresh {
		s.own.vector = s.own.vector[1:]
	}
	return nil
}

// Round2 takes the peers' R1 and returns R2.
func (s *Session) Round2(r1 map[mpc.ID][]byte) (broadcast []byte, err error) {
	if err := s.order.Begin(2); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step2, s.peers, session.Box{Messages: r1, Want: s.want(1), Echo: &s.echo[0]})
	if err != nil {
		return nil, err
	}
	s.commitments = make(map[mpc.ID][32]byte, len(s.cfg.Dealers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		if s.isDealer(id) {
			var c [32]byte
			in[0][id].Into("commitment", c[:])
			s.commitments[id] = c
		}
		faults[id] = in[0][id].Done()
	}
	if err := session.Blame(step2, s.peers, faults); err != nil {
		return nil, err
	}
	s.hear(1, r1)
	w := s.header(2, session.Broadcast).Writer().Fixed(s.echo[1][:])
	s.own.write(w, s.opens(s.cfg.Self))
	s.sent[2] = w.Bytes()
	return slices.Clone(s.sent[2]), nil
}

func (s *Session) isDealer(id mpc.ID) bool   { return sharing.Contains(s.cfg.Dealers, id) }
func (s *Session) isReceiver(id mpc.ID) bool { return sharing.Contains(s.cfg.Parties, id) }

// opens says what the R2 of a participant has.
func (s *Session) opens(id mpc.ID) parts {
	return parts{s.job.curve(), s.isDealer(id), s.seeded && s.isReceiver(id)}
}

// sends says what R3 has on its way between two participants.
func (s *Session) sends(from, to mpc.ID) parts {
	return parts{s.job.curve(), s.isDealer(from) && s.isReceiver(to), s.seeded && s.isReceiver(from) && s.isReceiver(to)}
}

// Round3 takes the peers' R2 and returns R3, for each peer its own. The caller
// encrypts each to its recipient.
func (s *Session) Round3(r2 map[mpc.ID][]byte) (private map[mpc.ID][]byte, err error) {
	if err := s.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step3, s.peers, session.Box{Messages: r2, Want: s.want(2), Echo: &s.echo[1]})
	if err != nil {
		return nil, err
	}
	s.opened = make(map[mpc.ID]*opening, len(s.participants))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		s.opened[id], faults[id] = readOpening(in[0][id], s.opens(id))
	}
	if err := session.Blame(step3, s.peers, faults); err != nil {
		return nil, err
	}
	for _, id := range s.peers {
		faults[id] = s.checkOpening(id)
	}
	if err := session.Blame(step3, s.peers, faults); err != nil {
		return nil, err
	}
	s.hear(2, r2)
	s.opened[s.cfg.Self] = s.own
	vectors := make([]sharing.Commitment, len(s.cfg.Dealers))
	for i, id := range s.cfg.Dealers {
		vectors[i] = s.job.full(s.opened[id].vector)
	}
	if s.sum, err = s.job.sum(vectors); err != nil {
		return nil, session.Unattributed(step3, err)
	}
	return s.deal()
}

func (s *Session) checkOpening(id mpc.ID) error {
	o := s.opened[id]
	if s.opens(id).seeds && len(o.seeds) != len(s.cfg.Parties)-1 {
		return fmt.Errorf("%d seed commitments, want %d", len(o.seeds), len(s.cfg.Parties)-1)
	}
	if !s.isDealer(id) {
		return nil
	}
	if !s.cfg.Verify(id, vectorDigest(s.sid, s.jobHash, id, o.vector), o.sig) {
		return errors.New("signature on the Feldman vector does not verify")
	}
	if o.commitment(s.sid, id) != s.commitments[id] {
		return errors.New("opening does not match the commitment of round 1")
	}
	if err := s.job.checkVector(id, o.vector); err != nil {
		return &dkg.EvidenceError{Evidence: s.evidence(id).ofVector(o), Err: err}
	}
	return nil
}

// deal makes R3.
func (s *Session) deal() (map[mpc.ID][]byte, error) {
	out := make(map[mpc.ID][]byte, len(s.peers))
	for _, j := range s.peers {
		p := s.sends(s.cfg.Self, j)
		d := new(deal)
		if p.deals {
			d.share, d.chain = s.polynomial.Eval(j), *s.chainCode
			sig, err := sign(step3, s.cfg.Sign, s.statement(s.cfg.Self, j, d, s.own).digest())
			if err != nil {
				d.destroy()
				return nil, err
			}
			d.sig = sig
		}
		if p.seeds {
			d.half = *s.halves[j]
		}
		w := s.header(3, j).Writer().Fixed(s.echo[2][:])
		d.write(w, p)
		d.destroy()
		out[j] = w.Bytes()
	}
	return out, nil
}

func (s *Session) statement(from, to mpc.ID, d *deal, o *opening) *statement {
	return &statement{
		sid: s.sid, job: s.jobHash, from: from, to: to, share: d.share,
		chain: dkg.ChainCommitment(s.cfg.Certificate.SID, d.chain), vector: o.vector.Hash(),
	}
}

// Finish takes the peers' R3. Whatever it returns, the session has ended.
func (s *Session) Finish(r3 map[mpc.ID][]byte) (out *Output, err error) {
	if err := s.order.Begin(4); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy); s.Destroy() }()
	want := s.want(3)
	want.To = s.cfg.Self
	in, err := session.Open(stepFinish, s.peers, session.Box{Messages: r3, Want: want, Echo: &s.echo[2]})
	if err != nil {
		return nil, err
	}
	deals := make(map[mpc.ID]*deal, len(s.participants))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		deals[id], faults[id] = readDeal(in[0][id], s.sends(id, s.cfg.Self))
	}
	defer func() {
		for _, d := range deals {
			d.destroy()
		}
	}()
	if err := session.Blame(stepFinish, s.peers, faults); err != nil {
		return nil, err
	}
	for _, id := range s.peers {
		faults[id] = s.checkDeal(id, deals[id])
	}
	if err := session.Blame(stepFinish, s.peers, faults); err != nil {
		return nil, err
	}
	return s.output(deals)
}

func (s *Session) checkDeal(id mpc.ID, d *deal) error {
	p, o := s.sends(id, s.cfg.Self), s.opened[id]
	if p.deals {
		st := s.statement(id, s.cfg.Self, d, o)
		if !s.cfg.Verify(id, st.digest(), d.sig) {
			return errors.New("signature on the share does not verify")
		}
		if err := s.job.checkStatement(st, o.vector); err != nil {
			return &dkg.EvidenceError{Evidence: s.evidence(id).ofShare(st, o, d.sig), Err: err}
		}
	}
	if p.seeds {
		k := slices.Index(without(s.cfg.Parties, id), s.cfg.Self)
		if d.half.commitment(s.sid, id, s.cfg.Self) != o.seeds[k] {
			return errors.New("zero-share seed does not match its commitment")
		}
	}
	return nil
}

// checkStatement says whether a share and a chain code are right.
func (j *job) checkStatement(st *statement, vector sharing.Commitment) error {
	if err := j.full(vector).Verify(st.to, st.share); err != nil {
		return err
	}
	if st.chain != j.old.ChainCommitment {
		return errors.New("chain code does not match its commitment in the old certificate")
	}
	return nil
}

// output adds up what was dealt. The old share is read and not touched.
func (s *Session) output(deals map[mpc.ID]*deal) (*Output, error) {
	share := s.job.curve().NewScalar()
	defer share.Destroy()
	if s.receives && s.cfg.Kind == Refresh {
		old := s.cfg.Share.Share()
		share.Set(old)
		old.Destroy()
	}
	for _, id := range s.cfg.Dealers {
		if !s.receives {
			break
		}
		if id == s.cfg.Self {
			own := s.polynomial.Eval(id)
			share.Add(share, own)
			own.Destroy()
			continue
		}
		share.Add(share, deals[id].share)
		*s.chainCode = deals[id].chain
	}
	seeds := make(map[mpc.ID][32]byte, len(s.halves))
	for id, own := range s.halves {
		seeds[id] = pairSeed(s.sid, s.cfg.Self, id, own, &deals[id].half)
	}
	return s.assemble(share, seeds)
}
