package refmodel

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
)

// Setup is a pair setup, as one side holds it.
type Setup struct {
	Bob, Alice Trees
	Hash       []byte
}

// Signer is one party of a signing session.
type Signer struct {
	Key         *KeyShare
	S           []int // ascending
	Setups      map[int]Setup
	Attempt     []byte
	RequestHash []byte
	MessageHash []byte
	Tweak       *big.Int
	Purpose     string
	Attachments [3][]byte
	Rand        *Stream

	frame
	ctx, job, nonce []byte
	sent            [3][]byte // broadcasts
	echo            [3][]byte
	setupHash       map[[2]int][]byte // by pair, as stated
	r, phi          *big.Int
	salt            []byte
	commitments     map[int][]byte
	bob             map[int]*VOLEBob
	sk              *big.Int
	c               map[int][2]*big.Int
	// What combine takes from the last round, and what tests look at.
	PsiSum, U, V, W *big.Int
	D               map[int][2]*big.Int
}

// validate is what dkls23.md asks of the inputs.
func (s *Signer) validate() error {
	switch {
	case len(s.S) != s.Key.T || !slices.Contains(s.S, s.Key.ID) || !slices.IsSorted(s.S):
		return errors.New("the signers are not t parties in order")
	case wide(s.MessageHash).Sign() == 0:
		return errors.New("h is zero")
	case s.Key.PublicKey.Add(Base(s.Tweak)).IsIdentity():
		return errors.New("the child key is O")
	case s.Purpose != s.Key.Purpose:
		return errors.New("the purpose is not the key's")
	case s.Key.State != Active:
		return errors.New("the key share is pending")
	}
	return nil
}

// Round0 gives R0.
func (s *Signer) Round0() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	peers := slices.DeleteFunc(slices.Clone(s.S), func(j int) bool { return j == s.Key.ID })
	s.frame = frame{protocolSign, s.Key.Epoch, s.Key.ID, peers, cat(s.Attempt, make([]byte, 16))}
	s.ctx = Context{
		Protocol: protocolSign, KeyID: s.Key.KeyID, Epoch: s.Key.Epoch, PublicKey: s.Key.PublicKey.Bytes(), Feldman: s.Key.Feldman,
		Roster: s.Key.Roster, N: len(s.Key.IDs), T: s.Key.T, S: s.S, Purpose: s.Purpose,
	}.Hash()
	s.job = RO("job", 32, s.RequestHash, s.MessageHash, enc(s.Tweak))
	s.nonce = s.Rand.Bytes(32)
	m := cat(s.message(0, 0), s.ctx, s.RequestHash, s.job, s.nonce, u32(len(peers)))
	for _, j := range peers {
		m = cat(m, s.Setups[j].Hash)
	}
	s.sent[0] = cat(m, vary(s.Attachments[0]))
	return s.sent[0], nil
}

// all are the broadcasts of a round with one's own.
func (s *Signer) all(round int, of map[int][]byte) map[int][]byte {
	out := map[int][]byte{s.self: s.sent[round]}
	for j, m := range of {
		out[j] = m
	}
	return out
}

// readR0 checks all R0 and gives the nonces.
func (s *Signer) readR0(r0 map[int][]byte) (map[int][]byte, error) {
	if err := s.check(0, incoming{r0, 0, nil}); err != nil {
		return nil, err
	}
	nonces := map[int][]byte{}
	stated := map[[2]int][]byte{}
	var differs, long error
	for _, j := range s.S {
		m := s.all(0, r0)[j]
		r := &parser{b: m[headerLen:]}
		ctx, request, job := r.take(32), r.take(32), r.take(32)
		nonces[j] = r.take(32)
		n := r.count(16)
		var list [][]byte
		for range n {
			list = append(list, r.take(32))
		}
		r.vary(0, 1<<20)
		if err := r.end(); err != nil {
			return nil, blame(j, err.Error())
		}
		if !bytes.Equal(ctx, s.ctx) || !bytes.Equal(request, s.RequestHash) || !bytes.Equal(job, s.job) {
			differs = benign("ctx, request hash or job differs")
		}
		if n != len(s.S)-1 {
			long = cmpOr(long, blame(j, "the list of setup hashes has a wrong length"))
			continue
		}
		at := 0
		for _, k := range s.S {
			if k != j {
				stated[[2]int{j, k}] = list[at]
				at++
			}
		}
	}
	for pair, h := range stated {
		if other, ok := stated[[2]int{pair[1], pair[0]}]; ok && !bytes.Equal(h, other) {
			differs = benign("a setup hash differs")
		}
	}
	s.setupHash = stated
	return nonces, cmpOr(differs, long)
}

// dsid is that of bob → alice, slot 0.
func (s *Signer) dsid(bob, alice int) []byte {
	return RO("dsid", 32, s.session, u16(bob), u16(alice), u64(0), s.setupHash[[2]int{bob, alice}])
}

// SID is the session id, from round 1 on.
func (s *Signer) SID() []byte { return s.session }

// Echo is h_r.
func (s *Signer) Echo(r int) []byte { return s.echo[r] }

// Round1 takes all R0 and gives R1: the broadcast and the private messages.
func (s *Signer) Round1(r0 map[int][]byte) ([]byte, map[int][]byte, error) {
	nonces, err := s.readR0(r0)
	if err != nil {
		return nil, nil, err
	}
	s.session = sessionID(s.ctx, s.Attempt, s.job, nonces)
	s.echo[0] = echoHash(s.session, 0, s.all(0, r0))
	s.r, s.phi, s.salt = s.Rand.Scalar(), s.Rand.Scalar(), s.Rand.Bytes(32)
	private := map[int][]byte{}
	s.bob = map[int]*VOLEBob{}
	for _, j := range s.peers {
		bob, m1 := VOLEReceive(s.Setups[j].Bob, 1, s.dsid(s.self, j), s.Rand)
		s.bob[j] = bob
		private[j] = cat(s.message(1, j), vary(m1))
	}
	c := RO("R-com", 32, s.session, u16(s.self), Base(s.r).Bytes(), s.salt)
	s.sent[1] = cat(s.message(1, 0), s.echo[0], c, vary(s.Attachments[1]))
	return s.sent[1], private, nil
}

// Round2 takes all R1 and gives R2.
func (s *Signer) Round2(r1, p1 map[int][]byte) ([]byte, map[int][]byte, error) {
	if err := s.check(1, incoming{r1, 0, s.echo[0]}, incoming{p1, s.self, nil}); err != nil {
		return nil, nil, err
	}
	s.commitments = map[int][]byte{}
	m1 := map[int][]byte{}
	for _, j := range s.peers {
		b, pr := &parser{b: r1[j][headerLen+32:]}, &parser{b: p1[j][headerLen:]}
		s.commitments[j] = b.take(32)
		b.vary(0, 1<<20)
		m1[j] = pr.vary(2225, 2225)
		if err := cmpOr(b.end(), pr.end()); err != nil {
			return nil, nil, blame(j, err.Error())
		}
	}
	s.echo[1] = echoHash(s.session, 1, s.all(1, r1))
	s.sk = add(mul(lagrange(s.self, s.S), s.Key.Share), s.zeta())
	private := map[int][]byte{}
	s.c = map[int][2]*big.Int{}
	for _, j := range s.peers {
		c, m2, err := VOLESend(s.Setups[j].Alice, s.dsid(j, s.self), m1[j], [][2]*big.Int{{s.r, s.sk}}, s.Rand)
		if errors.Is(err, errCheck) {
			return nil, nil, quarantine(j, "TH")
		} else if err != nil {
			return nil, nil, blame(j, err.Error())
		}
		s.c[j] = c[0]
		private[j] = cat(s.message(2, j), Base(c[0][0]).Bytes(), Base(c[0][1]).Bytes(), enc(sub(s.phi, s.bob[j].Chi[0])), vary(m2))
	}
	s.sent[2] = cat(s.message(2, 0), s.echo[1], Base(s.r).Bytes(), s.salt, Base(s.sk).Bytes(), vary(s.Attachments[2]))
	return s.sent[2], private, nil
}

// zeta is ζ, the share of zero.
func (s *Signer) zeta() *big.Int {
	sum := new(big.Int)
	for _, j := range s.peers {
		f := ROScalar("zero-share", s.Key.Zero[j], s.session)
		if j > s.self {
			sum = add(sum, f)
		} else {
			sum = sub(sum, f)
		}
	}
	return sum
}

// opened is what a peer sends in R2.
type opened struct {
	r, pk Point
	salt  []byte
	gamma [2]Point
	psi   *big.Int
	m2    []byte
}

// Round3 takes all R2 and gives the final share.
func (s *Signer) Round3(r2, p2 map[int][]byte) ([]byte, error) {
	if err := s.check(2, incoming{r2, 0, s.echo[1]}, incoming{p2, s.self, nil}); err != nil {
		return nil, err
	}
	peers := map[int]opened{}
	for _, j := range s.peers {
		b, pr := &parser{b: r2[j][headerLen+32:]}, &parser{b: p2[j][headerLen:]}
		o := opened{r: b.point(), salt: b.take(32), pk: b.point()}
		b.vary(0, 1<<20)
		o.gamma = [2]Point{pr.point(), pr.point()}
		o.psi = pr.scalar()
		o.m2 = pr.vary(53345, 53345)
		if err := cmpOr(b.end(), pr.end()); err != nil {
			return nil, blame(j, err.Error())
		}
		peers[j] = o
	}
	s.echo[2] = echoHash(s.session, 2, s.all(2, r2))
	for _, j := range s.peers {
		o := peers[j]
		if !bytes.Equal(s.commitments[j], RO("R-com", 32, s.session, u16(j), o.r.Bytes(), o.salt)) {
			return nil, blame(j, "the opening is not that of the commitment")
		}
	}
	if err := s.finishVOLE(peers); err != nil {
		return nil, err
	}
	bigR, pk := Base(s.r), Base(s.sk)
	psi := s.phi
	for _, j := range s.peers {
		bigR, pk, psi = bigR.Add(peers[j].r), pk.Add(peers[j].pk), add(psi, peers[j].psi)
	}
	if !pk.Equal(s.Key.PublicKey) {
		return nil, unattributed("Σpk is not the public key")
	}
	if bigR.IsIdentity() || mod(bigR.X).Sign() == 0 {
		return nil, unattributed("R is no nonce")
	}
	s.PsiSum = psi
	s.U, s.V = mul(s.r, psi), mul(s.sk, psi)
	for _, j := range s.peers {
		s.U = add(s.U, s.c[j][0], s.D[j][0])
		s.V = add(s.V, s.c[j][1], s.D[j][1])
	}
	s.V = add(s.V, mul(s.Tweak, s.phi))
	s.W = add(mul(wide(s.MessageHash), s.phi), mul(mod(bigR.X), s.V))
	return cat(s.message(3, 0), s.echo[2], bigR.Bytes(), enc(s.W), enc(s.U)), nil
}

// finishVOLE is the check of μ and of both Γ, peer by peer.
func (s *Signer) finishVOLE(peers map[int]opened) error {
	s.D = map[int][2]*big.Int{}
	for _, j := range s.peers {
		o := peers[j]
		d, err := s.bob[j].Finish(o.m2)
		if errors.Is(err, errCheck) {
			return quarantine(j, "μ")
		} else if err != nil {
			return blame(j, err.Error())
		}
		chi := s.bob[j].Chi[0]
		if !o.r.Mul(chi).Sub(o.gamma[0]).Equal(Base(d[0][0])) {
			return quarantine(j, "Γ^u")
		}
		if !o.pk.Mul(chi).Sub(o.gamma[1]).Equal(Base(d[0][1])) {
			return quarantine(j, "Γ^v")
		}
		s.D[j] = d[0]
	}
	return nil
}

// Combine gives r ‖ s ‖ recovery id of the final shares.
func Combine(pk Point, messageHash []byte, tweak *big.Int, shares [][]byte) ([]byte, error) {
	u, w := new(big.Int), new(big.Int)
	seen := map[int]bool{}
	var first []byte
	var bigR Point
	for _, m := range shares {
		if len(m) != headerLen+32+33+64 {
			return nil, errors.New("not a final share")
		}
		r := &parser{b: m}
		head, from, to := r.take(43), r.u16(), r.u16()
		echo, pt := r.take(32), r.take(33)
		common := cat(head, u16(to), echo, pt)
		if first == nil {
			first = common
		}
		if !bytes.Equal(first, common) || seen[from] {
			return nil, benign("the shares are not of one session")
		}
		seen[from] = true
		var err error
		if bigR, err = DecodePoint(pt); err != nil {
			return nil, err
		}
		w, u = add(w, r.scalar()), add(u, r.scalar())
		if err := r.end(); err != nil {
			return nil, err
		}
	}
	if len(shares) == 0 || u.Sign() == 0 {
		return nil, unattributed("Σu is zero")
	}
	r, s := mod(bigR.X), mul(w, inv(u))
	recid := int(bigR.Y.Bit(0))
	if bigR.X.Cmp(q) >= 0 {
		recid |= 2
	}
	if s.Cmp(half) > 0 {
		s = neg(s)
		recid ^= 1
	}
	child := pk.Add(Base(tweak))
	if !VerifyECDSA(child, messageHash, r, s) || !RecoverECDSA(messageHash, r, s, recid).Equal(child) {
		return nil, unattributed("the signature does not verify")
	}
	return cat(enc(r), enc(s), u8(recid)), nil
}
