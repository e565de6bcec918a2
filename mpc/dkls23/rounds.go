package dkls23

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/vole"
)

// The steps that aborts name.
const (
	step0       = "dkls23 round 0"
	step1       = "dkls23 round 1"
	step2       = "dkls23 round 2"
	step2TH     = "dkls23 round 2: OT extension check"
	step3       = "dkls23 round 3"
	step3Open   = "dkls23 round 3: opening of R"
	step3Mu     = "dkls23 round 3: VOLE check"
	step3Gamma  = "dkls23 round 3: gamma check"
	stepCombine = "dkls23 combine"
)

// Round0 returns R0. What is signed and by whom is fixed from here on.
func (s *Session) Round0(attachment []byte) (broadcast []byte, err error) {
	if err := s.begin(0); err != nil {
		return nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, err
	}
	defer func() { s.end(err) }()
	if err := s.draw(step0, s.nonce[:]); err != nil {
		return nil, err
	}
	b := body0{ctx: s.ctx, request: s.cfg.RequestHash, job: s.job, nonce: s.nonce, attachment: attachment}
	for _, j := range s.peers {
		b.setups = append(b.setups, s.cfg.Setups[j].Hash)
	}
	w := s.header(0, session.Broadcast).Writer()
	b.write(w)
	s.sent[0] = w.Bytes()
	return slices.Clone(s.sent[0]), nil
}

// Round1 takes the peers' R0 and returns R1: the broadcast, and for each peer a
// private message.
func (s *Session) Round1(r0 map[mpc.ID][]byte, attachment []byte) (broadcast []byte, private map[mpc.ID][]byte, err error) {
	if err := s.begin(1); err != nil {
		return nil, nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, nil, err
	}
	defer func() { s.end(err) }()
	in, err := session.Open(step1, s.peers, session.Box{Messages: r0, Want: s.want(0, session.Broadcast)})
	if err != nil {
		return nil, nil, err
	}
	bodies := make(map[mpc.ID]*body0, len(s.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		bodies[id], faults[id] = readBody0(in[0][id])
	}
	if err := s.agree(bodies, faults); err != nil {
		return nil, nil, err
	}
	nonces := make([][32]byte, len(s.cfg.Signers))
	for i, id := range s.cfg.Signers {
		nonces[i] = s.nonce
		if id != s.self {
			nonces[i] = bodies[id].nonce
		}
	}
	s.sid = session.SID(s.ctx, s.cfg.AttemptID, s.job[:], nonces)
	s.hear(0, r0)
	for _, j := range s.peers {
		setup := s.cfg.Setups[j]
		if err := errors.Join(setup.Claim(s.dsid(s.self, j, 0)), setup.Claim(s.dsid(j, s.self, 0))); err != nil {
			return nil, nil, session.Benign(step1, fmt.Errorf("pair setup with participant %d: %w", j, err))
		}
	}
	return s.commit(attachment)
}

// agree compares what the signers fixed in R0. Differences are benign and come
// before any blame for a message that is not in form.
func (s *Session) agree(bodies map[mpc.ID]*body0, faults map[mpc.ID]error) error {
	for _, id := range s.peers {
		b := bodies[id]
		if faults[id] != nil {
			continue
		}
		var what string
		switch {
		case b.ctx != s.ctx:
			what = "the context (key, epoch, signers, purpose)"
		case b.request != s.cfg.RequestHash:
			what = "the request"
		case b.job != s.job:
			what = "the message hash or the tweak"
		default:
			continue
		}
		return session.Benign(step1, fmt.Errorf("participant %d wants to sign something else: %s differs", id, what))
	}
	for _, id := range s.peers {
		if faults[id] == nil && len(bodies[id].setups) != len(s.peers) {
			faults[id] = fmt.Errorf("%d setup hashes, want %d", len(bodies[id].setups), len(s.peers))
		}
	}
	stated := func(i, j mpc.ID) (h [32]byte, ok bool) {
		if i == s.self {
			return s.cfg.Setups[j].Hash, true
		}
		if faults[i] != nil {
			return h, false
		}
		return bodies[i].setups[without(s.cfg.Signers, i, j)], true
	}
	for i, a := range s.cfg.Signers {
		for _, b := range s.cfg.Signers[i+1:] {
			x, ok := stated(a, b)
			y, ok2 := stated(b, a)
			if ok && ok2 && x != y {
				return session.Benign(step1, fmt.Errorf("participants %d and %d hold different pair setups, %x and %x: make them again", a, b, x, y))
			}
		}
	}
	return session.Blame(step1, s.peers, faults)
}

// without is the index of j in the set without i.
func without(set []mpc.ID, i, j mpc.ID) int {
	k := slices.Index(set, j)
	if i < j {
		k--
	}
	return k
}

// commit draws this signer's secrets and makes R1.
func (s *Session) commit(attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	if err := errors.Join(s.secret.r.SetRandom(s.rand), s.secret.phi.SetRandom(s.rand)); err != nil {
		return nil, nil, session.Benign(step1, err)
	}
	if err := s.draw(step1, s.secret.salt[:]); err != nil {
		return nil, nil, err
	}
	private := make(map[mpc.ID][]byte, len(s.peers))
	for _, j := range s.peers {
		bob, m, err := vole.Receive(s.rand, s.cfg.Setups[j].Bob, s.dsid(s.self, j, 0))
		if err != nil {
			return nil, nil, session.Benign(step1, err)
		}
		s.links[j] = &link{bob: bob}
		b, err := m.MarshalBinary()
		if err != nil {
			return nil, nil, session.Benign(step1, err)
		}
		private[j] = s.header(1, j).Writer().Var(b).Bytes()
	}
	s.point = secp256k1.NewPoint().ScalarBaseMult(&s.secret.r)
	point := s.point.Bytes()
	c := rCommitment(s.sid, s.self, &point, &s.secret.salt)
	s.sent[1] = s.header(1, session.Broadcast).Writer().Fixed(s.echo[0][:]).Fixed(c[:]).Var(attachment).Bytes()
	return slices.Clone(s.sent[1]), private, nil
}

// Round2 takes the peers' R1 and returns R2. A quarantine abort of a peer means
// that its OT extension failed the check: nothing may be sent to anyone before
// the quarantine is durable.
func (s *Session) Round2(r1, private map[mpc.ID][]byte, attachment []byte) (broadcast []byte, out map[mpc.ID][]byte, err error) {
	if err := s.begin(2); err != nil {
		return nil, nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, nil, err
	}
	defer func() { s.end(err) }()
	messages, err := s.receive1(r1, private)
	if err != nil {
		return nil, nil, err
	}
	s.hear(1, r1)
	if err := s.multiplicand(); err != nil {
		return nil, nil, err
	}
	return s.multiply(messages, attachment)
}

// receive1 takes the peers' R1. h₀ of all peers is equal before any of their
// extensions is looked at: Open.
func (s *Session) receive1(r1, private map[mpc.ID][]byte) (map[mpc.ID]*vole.Message1, error) {
	in, err := session.Open(step2, s.peers,
		session.Box{Messages: r1, Want: s.want(1, session.Broadcast), Echo: &s.echo[0]},
		session.Box{Messages: private, Want: s.want(1, s.self)})
	if err != nil {
		return nil, err
	}
	messages := make(map[mpc.ID]*vole.Message1, len(s.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		b, err := readBody1(in[0][id])
		if err == nil {
			s.commitments[id] = b.commitment
			messages[id], err = readPrivate1(in[1][id])
		}
		faults[id] = err
	}
	return messages, session.Blame(step2, s.peers, faults)
}

// multiplicand computes skᵢ = λᵢ·sᵢ + ζᵢ and pkᵢ.
func (s *Session) multiplicand() error {
	lambda, err := sharing.Lagrange(s.cfg.Signers, s.self)
	if err != nil {
		return session.Benign(step2, err)
	}
	share, zeta := s.cfg.Key.Share(), s.zeroShare()
	s.secret.sk.MulAdd(lambda, share, zeta)
	share.Destroy()
	zeta.Destroy()
	s.public = secp256k1.NewPoint().ScalarBaseMult(&s.secret.sk)
	return nil
}

// multiply answers every peer's extension as Alice and makes R2.
func (s *Session) multiply(messages map[mpc.ID]*vole.Message1, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	points := []*secp256k1.Point{s.point, s.public}
	answers := make([][]byte, len(s.peers))
	for i, j := range s.peers {
		alice := s.cfg.Setups[j].Alice
		if alice == nil {
			return nil, nil, session.Benign(step2, fmt.Errorf("the pair setup with participant %d was destroyed meanwhile", j))
		}
		c, m, err := vole.Send(s.rand, alice, s.dsid(j, s.self, 0), messages[j], [2]*secp256k1.Scalar{&s.secret.r, &s.secret.sk})
		if errors.Is(err, vole.ErrCheck) {
			return nil, nil, session.Quarantine(step2TH, j, err)
		}
		if err != nil {
			return nil, nil, session.Benign(step2, err)
		}
		l := s.links[j]
		l.c = c
		points = append(points, secp256k1.NewPoint().ScalarBaseMult(&l.c[0]), secp256k1.NewPoint().ScalarBaseMult(&l.c[1]))
		if answers[i], err = m.MarshalBinary(); err != nil {
			return nil, nil, session.Benign(step2, err)
		}
	}
	encoded := secp256k1.EncodePoints(points)
	private := make(map[mpc.ID][]byte, len(s.peers))
	for i, j := range s.peers {
		// ψ_{i→j} = φᵢ − χ_{i,j}
		psi := secp256k1.NewScalar().Sub(&s.secret.phi, s.links[j].bob.Chi()).Bytes()
		private[j] = s.header(2, j).Writer().
			Fixed(encoded[2+2*i][:]).Fixed(encoded[3+2*i][:]).Fixed(psi[:]).Var(answers[i]).Bytes()
	}
	s.sent[2] = s.header(2, session.Broadcast).Writer().
		Fixed(s.echo[1][:]).
		Fixed(encoded[0][:]).Fixed(s.secret.salt[:]).Fixed(encoded[1][:]).
		Var(attachment).Bytes()
	return slices.Clone(s.sent[2]), private, nil
}

// Round3 takes the peers' R2 and returns the final share. The caller makes
// "final share authorised" durable before it sends it. A quarantine abort is as
// in Round2. Whatever Round3 returns, the session has ended.
func (s *Session) Round3(r2, private map[mpc.ID][]byte) (out *FinalShare, err error) {
	if err := s.begin(3); err != nil {
		return nil, err
	}
	defer func() { s.end(err); s.Destroy() }()
	// h₁ of all peers is equal before any opening, VOLE or Γ check: Open.
	in, err := session.Open(step3, s.peers,
		session.Box{Messages: r2, Want: s.want(2, session.Broadcast), Echo: &s.echo[1]},
		session.Box{Messages: private, Want: s.want(2, s.self)})
	if err != nil {
		return nil, err
	}
	peers := make(map[mpc.ID]*opened, len(s.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range s.peers {
		peers[id], faults[id] = readOpened(in[0][id], in[1][id])
	}
	if err := session.Blame(step3, s.peers, faults); err != nil {
		return nil, err
	}
	s.hear(2, r2)
	for _, id := range s.peers {
		o := peers[id]
		if rCommitment(s.sid, id, &o.r, &o.salt) != s.commitments[id] {
			faults[id] = errors.New("opening of R does not match the commitment of round 1")
		}
	}
	if err := session.Blame(step3Open, s.peers, faults); err != nil {
		return nil, err
	}
	for _, id := range s.peers {
		if err := s.checkProduct(id, peers[id]); err != nil {
			return nil, err
		}
	}
	return s.finalShare(peers)
}

// checkProduct finishes the VOLE with j and checks that j multiplied by the r
// and the sk that it stands for in public.
func (s *Session) checkProduct(j mpc.ID, o *opened) error {
	l := s.links[j]
	d, err := l.bob.Finish(o.vole)
	if errors.Is(err, vole.ErrCheck) {
		return session.Quarantine(step3Mu, j, err)
	}
	if err != nil {
		return session.Attributed(step3Mu, j, err)
	}
	l.d = d
	// χ·Rⱼ − Γ^u = d^u·G and χ·pkⱼ − Γ^v = d^v·G; both are computed whatever the
	// first gives.
	u := gamma(l.bob.Chi(), o.point, o.gammaU, &l.d[0])
	v := gamma(l.bob.Chi(), o.public, o.gammaV, &l.d[1])
	if u != 1 || v != 1 {
		return session.Quarantine(step3Gamma, j, errors.New("product does not match R or pk"))
	}
	return nil
}

// gamma is 1 when χ·P − Γ = d·G.
func gamma(chi *secp256k1.Scalar, p, g *secp256k1.Point, d *secp256k1.Scalar) int {
	left := secp256k1.NewPoint().ScalarMult(chi, p)
	left.Sub(left, g)
	return left.Equal(secp256k1.NewPoint().ScalarBaseMult(d))
}

func (s *Session) finalShare(peers map[mpc.ID]*opened) (*FinalShare, error) {
	sum := secp256k1.NewPoint().Set(s.public)
	r := secp256k1.NewPoint().Set(s.point)
	psi := secp256k1.NewScalar().Set(&s.secret.phi) // φᵢ + Σⱼ ψ_{j→i}
	defer psi.Destroy()
	for _, id := range s.peers {
		sum.Add(sum, peers[id].public)
		r.Add(r, peers[id].point)
		psi.Add(psi, peers[id].psi)
	}
	// The untweaked key: ε is in nobody's skᵢ.
	if sum.Equal(s.cfg.Key.PublicKey) != 1 {
		return nil, session.Unattributed(step3, errors.New("the signers' public shares do not add up to the public key"))
	}
	if r.IsIdentity() == 1 {
		return nil, session.Unattributed(step3, errors.New("the nonces add up to the identity"))
	}
	x := r.XBytes()
	rx := secp256k1.NewScalar().SetReduced(&x)
	if rx.IsZero() == 1 {
		return nil, session.Unattributed(step3, errors.New("x of R is 0 mod q"))
	}
	f := &FinalShare{From: s.self, SID: s.sid, Epoch: s.cfg.Key.Epoch, Echo: s.echo[2], R: r.Bytes()}
	// uᵢ = rᵢ·(φᵢ + Σψ) + Σ(c^u + d^u)
	// vᵢ = skᵢ·(φᵢ + Σψ) + Σ(c^v + d^v) + ε·φᵢ
	u, v := &f.U, secp256k1.NewScalar()
	defer v.Destroy()
	u.Mul(&s.secret.r, psi)
	v.Mul(&s.secret.sk, psi)
	for _, id := range s.peers {
		l := s.links[id]
		u.Add(u, &l.c[0])
		u.Add(u, &l.d[0])
		v.Add(v, &l.c[1])
		v.Add(v, &l.d[1])
	}
	v.MulAdd(s.cfg.Tweak, &s.secret.phi, v)
	// wᵢ = h·φᵢ + r_x·vᵢ
	f.W.Mul(rx, v)
	f.W.MulAdd(s.h, &s.secret.phi, &f.W)
	return f, nil
}

func checkAttachment(b []byte) error {
	if len(b) > MaxAttachment {
		return fmt.Errorf("dkls23: attachment of %d bytes, at most %d", len(b), MaxAttachment)
	}
	return nil
}

// draw fills dst. A source that fails is nobody's fault.
func (s *Session) draw(step string, dst []byte) error {
	if _, err := io.ReadFull(s.rand, dst); err != nil {
		return session.Benign(step, fmt.Errorf("couldn't read randomness: %w", err))
	}
	return nil
}
