package dkg

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// The steps that aborts name.
const (
	step1      = "dkg round 1"
	step2      = "dkg round 2"
	step3      = "dkg round 3"
	stepFinish = "dkg finish"
)

// Round0 returns D0.
func (s *Session) Round0() (broadcast []byte, err error) {
	if err := s.order.Begin(0); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := session.Draw(s.rand, "dkg round 0", s.nonce[:]); err != nil {
		return nil, err
	}
	s.sent[0] = s.header(0, session.Broadcast).Writer().Fixed(s.ctx[:]).Fixed(s.nonce[:]).Bytes()
	return slices.Clone(s.sent[0]), nil
}

// Round1 takes the peers' D0 and returns D1.
func (s *Session) Round1(d0 map[mpc.ID][]byte) (broadcast []byte, err error) {
	if err := s.order.Begin(1); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step1, s.peers, session.Box{Messages: d0, Want: s.want(0)})
	if err != nil {
		return nil, err
	}
	nonces := make([][32]byte, len(s.cfg.Parties))
	faults := make(map[mpc.ID]error)
	var differs error
	for i, id := range s.cfg.Parties {
		if id == s.cfg.Self {
			nonces[i] = s.nonce
			continue
		}
		var ctx [32]byte
		r := in[0][id]
		r.Into("context", ctx[:])
		r.Into("nonce", nonces[i][:])
		faults[id] = r.Done()
		if faults[id] == nil && ctx != s.ctx {
			differs = fmt.Errorf("context of participant %d is %x, want %x: parties, threshold, identities or purpose differ", id, ctx, s.ctx)
		}
	}
	if differs != nil {
		return nil, session.Benign(step1, differs)
	}
	if err := session.Blame(step1, s.peers, faults); err != nil {
		return nil, err
	}
	s.sid = session.SID(s.ctx, s.cfg.AttemptID, nil, nonces)
	s.hear(0, d0)
	if err := s.choose(); err != nil {
		return nil, err
	}
	c := s.own.commitment(s.sid, s.cfg.Self)
	s.sent[1] = s.header(1, session.Broadcast).Writer().Fixed(s.echo[0][:]).Fixed(c[:]).Bytes()
	return slices.Clone(s.sent[1]), nil
}

// choose draws everything that this party contributes, in the order of the
// specification.
func (s *Session) choose() error {
	var err error
	if s.polynomial, err = sharing.NewPolynomial(s.curve, s.rand, s.cfg.Threshold); err != nil {
		return session.Benign(step1, err)
	}
	k := s.curve.NewScalar()
	defer k.Destroy()
	if err := k.SetRandom(s.rand); err != nil {
		return session.Benign(step1, err)
	}
	o := &opening{vector: s.polynomial.Commit(), proofNonce: s.curve.NewPoint().ScalarBaseMult(k)}
	o.encode()
	if err := session.Draw(s.rand, step1, o.chain[:], o.salt[:]); err != nil {
		return err
	}
	s.halves = make(map[mpc.ID]*seedHalf, len(s.peers))
	for _, j := range s.zeroPeers() {
		h := new(seedHalf)
		s.halves[j] = h
		if err := session.Draw(s.rand, step1, h.seed[:], h.salt[:]); err != nil {
			return err
		}
		o.seeds = append(o.seeds, h.commitment(s.sid, s.cfg.Self, j))
	}
	// zᵢ = kᵢ + eᵢ·a_{i,0}
	a := s.polynomial.Constant()
	defer a.Destroy()
	z := o.challenge(s.sid, s.cfg.Self)
	o.proof = z.Add(z.Mul(z, a), k)
	s.own = o
	return nil
}

// zeroPeers are the peers with whom a zero-share seed is made.
func (s *Session) zeroPeers() []mpc.ID {
	if !s.cfg.Suite.ZeroShares() {
		return nil
	}
	return s.peers
}

// Round2 takes the peers' D1 and returns D2. The caller encrypts D2 to the peers.
func (s *Session) Round2(d1 map[mpc.ID][]byte) (broadcast []byte, err error) {
	if err := s.order.Begin(2); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step2, s.peers, session.Box{Messages: d1, Want: s.want(1), Echo: &s.echo[0]})
	if err != nil {
		return nil, err
	}
	s.commitments = make(map[mpc.ID][32]byte, len(s.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		var c [32]byte
		in[0][id].Into("commitment", c[:])
		faults[id] = in[0][id].Done()
		s.commitments[id] = c
	}
	if err := session.Blame(step2, s.peers, faults); err != nil {
		return nil, err
	}
	s.hear(1, d1)
	w := s.header(2, session.Broadcast).Writer().Fixed(s.echo[1][:])
	s.own.write(w, s.cfg.Suite)
	s.sent[2] = w.Bytes()
	return slices.Clone(s.sent[2]), nil
}

// Round3 takes the peers' D2 and returns D3, for each peer its own. The caller
// encrypts each to its recipient.
func (s *Session) Round3(d2 map[mpc.ID][]byte) (private map[mpc.ID][]byte, err error) {
	if err := s.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(step3, s.peers, session.Box{Messages: d2, Want: s.want(2), Echo: &s.echo[1]})
	if err != nil {
		return nil, err
	}
	s.opened = make(map[mpc.ID]*opening, len(s.cfg.Parties))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		s.opened[id], faults[id] = readOpening(in[0][id], s.curve, s.cfg.Suite)
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
	s.hear(2, d2)
	if err := s.combine(); err != nil {
		return nil, session.Unattributed(step3, err)
	}
	return s.deal()
}

func (s *Session) checkOpening(id mpc.ID) error {
	o := s.opened[id]
	if len(o.vector) != s.cfg.Threshold {
		return fmt.Errorf("feldman vector of %d points, want %d", len(o.vector), s.cfg.Threshold)
	}
	if want := len(s.zeroPeers()); len(o.seeds) != want {
		return fmt.Errorf("%d seed commitments, want %d", len(o.seeds), want)
	}
	if o.commitment(s.sid, id) != s.commitments[id] {
		return errors.New("opening does not match the commitment of round 1")
	}
	if !o.proves(s.sid, id) {
		return errors.New("proof of possession does not verify")
	}
	return nil
}

// combine adds up what was opened.
func (s *Session) combine() error {
	s.opened[s.cfg.Self] = s.own
	vectors := make([]sharing.Commitment, len(s.cfg.Parties))
	items := [][]byte{s.sid[:]}
	for i, id := range s.cfg.Parties {
		vectors[i] = s.opened[id].vector
		items = append(items, s.opened[id].chain[:])
	}
	sum, err := sharing.SumCommitments(vectors...)
	if err != nil {
		return err
	}
	s.sum = sum
	s.shares = make(map[mpc.ID]group.Point, len(s.cfg.Parties))
	for _, id := range s.cfg.Parties {
		s.shares[id] = sum.Eval(id)
		if s.shares[id].IsIdentity() == 1 {
			return fmt.Errorf("public share of participant %d is the identity", id)
		}
	}
	*s.chainCode = transcript.Sum(transcript.TagChainCode, items...)
	return nil
}

// deal makes D3.
func (s *Session) deal() (map[mpc.ID][]byte, error) {
	out := make(map[mpc.ID][]byte, len(s.peers))
	vector := s.own.hash()
	for _, j := range s.peers {
		d := deal{share: s.polynomial.Eval(j)}
		if h := s.halves[j]; h != nil {
			d.half = *h
		}
		d.sig = s.cfg.Sign(shareDigest(s.sid, s.cfg.Self, j, d.share, vector))
		if len(d.sig) == 0 || len(d.sig) > maxShareSignature {
			return nil, session.Benign(step3, fmt.Errorf("own session key made a signature of %d bytes, want 1 to %d", len(d.sig), maxShareSignature))
		}
		w := s.header(3, j).Writer().Fixed(s.echo[2][:])
		d.write(w, s.cfg.Suite)
		d.share.Destroy()
		out[j] = w.Bytes()
	}
	return out, nil
}

// Finish takes the peers' D3. Whatever it returns, the session has ended.
func (s *Session) Finish(d3 map[mpc.ID][]byte) (out *Output, err error) {
	if err := s.order.Begin(4); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy); s.Destroy() }()
	want := s.want(3)
	want.To = s.cfg.Self
	in, err := session.Open(stepFinish, s.peers, session.Box{Messages: d3, Want: want, Echo: &s.echo[2]})
	if err != nil {
		return nil, err
	}
	deals := make(map[mpc.ID]*deal, len(s.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		deals[id], faults[id] = readDeal(in[0][id], s.curve, s.cfg.Suite)
	}
	defer func() {
		for _, d := range deals {
			d.share.Destroy()
			d.half = seedHalf{}
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
	o := s.opened[id]
	if !s.cfg.Verify(id, shareDigest(s.sid, id, s.cfg.Self, d.share, o.hash()), d.sig) {
		return errors.New("signature on the share does not verify")
	}
	if err := o.vector.Verify(s.cfg.Self, d.share); err != nil {
		return &EvidenceError{Evidence: encodeEvidence(s.cfg.Suite, s.sid, id, s.cfg.Self, d, o.points()), Err: err}
	}
	if !s.cfg.Suite.ZeroShares() {
		return nil
	}
	// The dealer's commitments are by recipient, itself left out.
	k := slices.Index(s.cfg.Parties, s.cfg.Self)
	if id < s.cfg.Self {
		k--
	}
	if d.half.commitment(s.sid, id, s.cfg.Self) != o.seeds[k] {
		return errors.New("zero-share seed does not match its commitment")
	}
	return nil
}

func (s *Session) output(deals map[mpc.ID]*deal) (*Output, error) {
	share := s.polynomial.Eval(s.cfg.Self)
	defer share.Destroy()
	zero := make(map[mpc.ID][32]byte, len(s.peers))
	for _, id := range s.peers {
		share.Add(share, deals[id].share)
	}
	for _, id := range s.zeroPeers() {
		zero[id] = pairSeed(s.sid, s.cfg.Self, id, s.halves[id], &deals[id].half)
	}
	k, cert, err := assemble(&Parts{
		Suite:      s.cfg.Suite,
		Purpose:    s.cfg.Purpose,
		SID:        s.sid,
		Origin:     Generated,
		Epoch:      FirstEpoch,
		Self:       s.cfg.Self,
		Threshold:  s.cfg.Threshold,
		Parties:    s.cfg.Parties,
		Feldman:    s.sum,
		RosterHash: s.roster,
		ChainCode:  *s.chainCode,
		Echo:       s.echo[2],
		Share:      share,
		ZeroSeeds:  zero,
	}, s.shares)
	clear(zero)
	if err != nil {
		return nil, session.Unattributed(stepFinish, err)
	}
	return &Output{Share: k, Certificate: cert}, nil
}
