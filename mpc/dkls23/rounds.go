package dkls23

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
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
func (r *run) Round0(attachment []byte) (broadcast []byte, err error) {
	if err := r.order.Begin(0); err != nil {
		return nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, err
	}
	defer func() { r.order.End(err, r.Destroy) }()
	if err := session.Draw(r.rand, step0, r.nonce[:]); err != nil {
		return nil, err
	}
	b := body0{ctx: r.ctx, request: r.request, job: r.job, nonce: r.nonce, attachment: attachment}
	for _, j := range r.peers {
		b.setups = append(b.setups, r.setups[j].Hash)
	}
	w := r.header(0, session.Broadcast).Writer()
	b.write(w)
	r.sent[0] = w.Bytes()
	return slices.Clone(r.sent[0]), nil
}

// Round1 takes the peers' R0 and returns R1: the broadcast, and for each peer a
// private message.
func (r *run) Round1(r0 map[mpc.ID][]byte, attachment []byte) (broadcast []byte, private map[mpc.ID][]byte, err error) {
	if err := r.order.Begin(1); err != nil {
		return nil, nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, nil, err
	}
	defer func() { r.order.End(err, r.Destroy) }()
	in, err := session.Open(step1, r.peers, session.Box{Messages: r0, Want: r.want(0, session.Broadcast)})
	if err != nil {
		return nil, nil, err
	}
	bodies := make(map[mpc.ID]*body0, len(r.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range r.peers {
		bodies[id], faults[id] = readBody0(in[0][id])
	}
	if err := r.agree(bodies, faults); err != nil {
		return nil, nil, err
	}
	nonces := make([][32]byte, len(r.signers))
	for i, id := range r.signers {
		nonces[i] = r.nonce
		if id != r.self {
			nonces[i] = bodies[id].nonce
		}
	}
	r.sid = session.SID(r.ctx, r.attempt, r.job[:], nonces)
	r.nameSlots()
	r.hear(0, r0)
	for _, j := range r.peers {
		setup := r.setups[j]
		if err := errors.Join(setup.Claim(r.dsid(r.self, j, 0)), setup.Claim(r.dsid(j, r.self, 0))); err != nil {
			return nil, nil, session.Benign(step1, fmt.Errorf("pair setup with participant %d: %w", j, err))
		}
	}
	if err := r.multiplicand(); err != nil {
		return nil, nil, err
	}
	return r.commit(attachment)
}

// agree compares what the signers fixed in R0. Differences are benign and come
// before any blame for a message that is not in form.
func (r *run) agree(bodies map[mpc.ID]*body0, faults map[mpc.ID]error) error {
	for _, id := range r.peers {
		b := bodies[id]
		if faults[id] != nil {
			continue
		}
		var what string
		switch {
		case b.ctx != r.ctx:
			what = "the context (key, epoch, signers, purpose)"
		case b.request != r.request:
			what = "the request"
		case b.job != r.job:
			what = "the message hash or the tweak"
		default:
			continue
		}
		return session.Benign(step1, fmt.Errorf("participant %d wants to sign something else: %s differs", id, what))
	}
	for _, id := range r.peers {
		if faults[id] == nil && len(bodies[id].setups) != len(r.peers) {
			faults[id] = fmt.Errorf("%d setup hashes, want %d", len(bodies[id].setups), len(r.peers))
		}
	}
	stated := func(i, j mpc.ID) (h [32]byte, ok bool) {
		if i == r.self {
			return r.setups[j].Hash, true
		}
		if faults[i] != nil {
			return h, false
		}
		return bodies[i].setups[indexWithout(r.signers, i, j)], true
	}
	for i, a := range r.signers {
		for _, b := range r.signers[i+1:] {
			x, ok := stated(a, b)
			y, ok2 := stated(b, a)
			if ok && ok2 && x != y {
				return session.Benign(step1, fmt.Errorf("participants %d and %d hold different pair setups, %x and %x: make them again", a, b, x, y))
			}
		}
	}
	return session.Blame(step1, r.peers, faults)
}

// indexWithout is the index of j in the set without i.
func indexWithout(set []mpc.ID, i, j mpc.ID) int {
	k := slices.Index(set, j)
	if i < j {
		k--
	}
	return k
}

// multiplicand computes skᵢ = λᵢ·sᵢ + ζᵢ and pkᵢ.
func (r *run) multiplicand() error {
	lambda, err := sharing.Lagrange(group.Secp256k1(), r.signers, r.self)
	if err != nil {
		return session.Benign(step1, err)
	}
	zeta, err := r.zeroShare()
	if err != nil {
		return session.Benign(step1, err)
	}
	defer zeta.Destroy()
	share := r.key.Share()
	defer share.Destroy()
	r.mine.sk.MulAdd(group.Secp256k1Scalar(lambda), group.Secp256k1Scalar(share), zeta)
	r.mine.public.ScalarBaseMult(&r.mine.sk)
	return nil
}

// commit draws this signer's secrets and makes R1.
func (r *run) commit(attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	points := make([]*secp256k1.Point, len(r.slots), len(r.slots)+1)
	for k, s := range r.slots {
		if err := errors.Join(s.secret.r.SetRandom(r.rand), s.secret.phi.SetRandom(r.rand)); err != nil {
			return nil, nil, session.Benign(step1, err)
		}
		if err := session.Draw(r.rand, step1, s.secret.salt[:]); err != nil {
			return nil, nil, err
		}
		s.point = secp256k1.NewPoint().ScalarBaseMult(&s.secret.r)
		points[k] = s.point
	}
	private := make(map[mpc.ID][]byte, len(r.peers))
	for _, j := range r.peers {
		bob, m, err := vole.Receive(r.rand, r.setups[j].Bob, r.dsid(r.self, j, 0), len(r.slots))
		if err != nil {
			return nil, nil, session.Benign(step1, err)
		}
		r.links[j] = &link{bob: bob}
		b, err := m.MarshalBinary()
		if err != nil {
			return nil, nil, session.Benign(step1, err)
		}
		private[j] = r.header(1, j).Writer().Var(b).Bytes()
	}
	b := body1{attachment: attachment}
	encoded := secp256k1.EncodePoints(append(points, &r.mine.public))
	r.mine.encoded = encoded[len(r.slots)]
	for k, s := range r.slots {
		s.encoded = encoded[k]
		b.commitments = append(b.commitments, rCommitment(s.sid, r.self, &s.encoded, &s.secret.salt))
	}
	w := r.header(1, session.Broadcast).Writer().Fixed(r.echo[0][:])
	b.write(w, r.layout)
	r.sent[1] = w.Bytes()
	return slices.Clone(r.sent[1]), private, nil
}

// Round2 takes the peers' R1 and returns R2. A quarantine abort of a peer means
// that its OT extension failed the check: nothing may be sent to anyone before
// the quarantine is durable.
func (r *run) Round2(r1, private map[mpc.ID][]byte, attachment []byte) (broadcast []byte, out map[mpc.ID][]byte, err error) {
	if err := r.order.Begin(2); err != nil {
		return nil, nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, nil, err
	}
	defer func() { r.order.End(err, r.Destroy) }()
	messages, err := r.receive1(r1, private)
	if err != nil {
		return nil, nil, err
	}
	r.hear(1, r1)
	return r.multiply(messages, r.inputs(), attachment)
}

// receive1 takes the peers' R1. h₀ of all peers is equal before any of their
// extensions is looked at: Open.
func (r *run) receive1(r1, private map[mpc.ID][]byte) (map[mpc.ID]*vole.Message1, error) {
	in, err := session.Open(step2, r.peers,
		session.Box{Messages: r1, Want: r.want(1, session.Broadcast), Echo: &r.echo[0]},
		session.Box{Messages: private, Want: r.want(1, r.self)})
	if err != nil {
		return nil, err
	}
	messages := make(map[mpc.ID]*vole.Message1, len(r.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range r.peers {
		b, err := readBody1(in[0][id], r.layout)
		if err == nil {
			for k, s := range r.slots {
				s.commitments[id] = b.commitments[k]
			}
			messages[id], err = readPrivate1(in[1][id], len(r.slots))
		}
		faults[id] = err
	}
	return messages, session.Blame(step2, r.peers, faults)
}

// inputs are Alice's of every slot: rᵢ and skᵢ.
func (r *run) inputs() [][2]*secp256k1.Scalar {
	in := make([][2]*secp256k1.Scalar, len(r.slots))
	for k, s := range r.slots {
		in[k] = [2]*secp256k1.Scalar{&s.secret.r, &r.mine.sk}
	}
	return in
}

// multiply answers every peer's extension as Alice and makes R2.
func (r *run) multiply(messages map[mpc.ID]*vole.Message1, inputs [][2]*secp256k1.Scalar, attachment []byte) ([]byte, map[mpc.ID][]byte, error) {
	answers := make([][]byte, len(r.peers))
	for i, j := range r.peers {
		alice := r.setups[j].Alice
		if alice == nil {
			return nil, nil, session.Benign(step2, fmt.Errorf("the pair setup with participant %d was destroyed meanwhile", j))
		}
		c, m, err := vole.Send(r.rand, alice, r.dsid(j, r.self, 0), messages[j], inputs)
		if errors.Is(err, vole.ErrCheck) {
			return nil, nil, session.Quarantine(step2TH, j, err)
		}
		if err != nil {
			return nil, nil, session.Benign(step2, err)
		}
		r.links[j].c = c
		if answers[i], err = m.MarshalBinary(); err != nil {
			return nil, nil, session.Benign(step2, err)
		}
	}
	broadcast, private := r.open(answers, attachment)
	return broadcast, private, nil
}

// open encodes R2. Presigning V1 keeps R, its salt and Γ^u back: each of them
// would reveal R.
func (r *run) open(answers [][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte) {
	b := body2{pk: r.mine.encoded, attachment: attachment}
	if r.layout.opens {
		for _, s := range r.slots {
			b.slots = append(b.slots, opening{s.encoded, s.secret.salt})
		}
	}
	gammas := r.gammas(answers, &b)
	private := make(map[mpc.ID][]byte, len(r.peers))
	for i, j := range r.peers {
		w := r.header(2, j).Writer()
		for _, gamma := range gammas[i] {
			w.Fixed(gamma[:])
		}
		r.layout.writeCount(w, len(r.slots))
		for k, s := range r.slots {
			// ψ_{i→j} = φᵢ − χ_{i,j}
			psi := secp256k1.NewScalar().Sub(&s.secret.phi, r.links[j].bob.Chi(k)).Bytes()
			w.Fixed(psi[:])
		}
		private[j] = w.Var(answers[i]).Bytes()
	}
	w := r.header(2, session.Broadcast).Writer().Fixed(r.echo[1][:])
	b.write(w, r.layout)
	r.sent[2] = w.Bytes()
	return slices.Clone(r.sent[2]), private
}

// gammas are, for every peer, Γ^u_{i→j} = (Σ ρₖ·c^u)·G and Γ^v_{i→j} = (Σ ρₖ·c^v)·G,
// encoded with one inversion. Presigning V1 opens each R alone, so it has a Γ^u
// of each slot, and keeps them.
func (r *run) gammas(answers [][]byte, b *body2) [][][33]byte {
	var points []*secp256k1.Point
	for i, j := range r.peers {
		c := r.links[j].c
		u, v := secp256k1.NewScalar(), secp256k1.NewScalar()
		for k, rho := range r.weights(j, r.self, muOf(answers[i]), b) {
			u.MulAdd(rho, &c[k][0], u)
			v.MulAdd(rho, &c[k][1], v)
			if !r.layout.opens {
				points = append(points, secp256k1.NewPoint().ScalarBaseMult(&c[k][0]))
			}
		}
		if r.layout.opens {
			points = append(points, secp256k1.NewPoint().ScalarBaseMult(u))
		}
		points = append(points, secp256k1.NewPoint().ScalarBaseMult(v))
		u.Destroy()
		v.Destroy()
	}
	encoded := secp256k1.EncodePoints(points)
	out := make([][][33]byte, len(r.peers))
	each := len(points) / len(r.peers)
	for i, j := range r.peers {
		out[i] = encoded[i*each : (i+1)*each]
		if r.layout.opens {
			continue
		}
		for k, s := range r.slots {
			s.late[j] = out[i][k]
		}
		out[i] = out[i][len(r.slots):]
	}
	return out
}

func checkAttachment(b []byte) error {
	if len(b) > MaxAttachment {
		return fmt.Errorf("dkls23: attachment of %d bytes, at most %d", len(b), MaxAttachment)
	}
	return nil
}
