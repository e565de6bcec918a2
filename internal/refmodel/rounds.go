package refmodel

import (
	"bytes"
	"errors"
	"math/big"
)

// Round2 takes all R1 and gives R2.
func (s *Signer) Round2(r1, p1 map[int][]byte) ([]byte, map[int][]byte, error) {
	if err := s.check(1, incoming{r1, 0, s.echo[0]}, incoming{p1, s.self, nil}); err != nil {
		return nil, nil, err
	}
	for _, x := range s.slots {
		x.commitments = map[int][]byte{}
	}
	m1 := map[int][]byte{}
	for _, j := range s.peers {
		b, pr := &parser{b: r1[j][headerLen+32:]}, &parser{b: p1[j][headerLen:]}
		s.bySlot(b, func(k int) { s.slots[k].commitments[j] = b.take(32) })
		b.vary(0, 1<<20)
		m1[j] = pr.vary(voleMessage1Len(s.N), voleMessage1Len(s.N))
		if err := cmpOr(b.end(), pr.end()); err != nil {
			return nil, nil, blame(j, err.Error())
		}
	}
	s.echo[1] = echoHash(s.session, 1, s.all(1, r1))
	s.sk = add(mul(lagrange(s.self, s.S), s.Key.Share), s.zeta())
	pk := Base(s.sk)
	var a [][2]*big.Int
	var points []Point
	for _, x := range s.slots {
		x.c = map[int][2]*big.Int{}
		a = append(a, [2]*big.Int{x.r, s.sk})
		points = append(points, Base(x.r))
	}
	private := map[int][]byte{}
	for _, j := range s.peers {
		dsid := s.dsid(j, s.self)
		c, m2, err := VOLESend(s.Setups[j].Alice, dsid, m1[j], a, s.Rand)
		if errors.Is(err, errCheck) {
			return nil, nil, quarantine(j, "TH")
		} else if err != nil {
			return nil, nil, blame(j, err.Error())
		}
		rho := s.weights(dsid, m2, points, pk)
		sums := two()
		psi := s.list(func(k int, x *slot) []byte {
			x.c[j] = c[k]
			for w := range sums {
				sums[w] = add(sums[w], mul(rho[k], c[k][w]))
			}
			return enc(sub(x.phi, s.bob[j].Chi[k]))
		})
		var gamma []byte
		for w := range sums {
			if s.checksProduct(w) {
				gamma = cat(gamma, Base(sums[w]).Bytes())
			}
		}
		private[j] = cat(s.message(2, j), gamma, psi, vary(m2))
	}
	var openings []byte
	if s.Protocol != protocolV1 {
		openings = s.list(func(k int, x *slot) []byte { return cat(points[k].Bytes(), x.salt) })
	}
	s.sent[2] = cat(s.message(2, 0), s.echo[1], openings, pk.Bytes(), vary(s.Attachments[2]))
	return s.sent[2], private, nil
}

// checksProduct says that Γ^u (0) or Γ^v (1) is checked in round 3: V1 puts Γ^u off.
func (s *Signer) checksProduct(w int) bool { return w == 1 || s.Protocol != protocolV1 }

// weights are ρ of a sender with these points, who sent m2 under the dsid.
func (s *Signer) weights(dsid, m2 []byte, points []Point, pk Point) []*big.Int {
	rho := []*big.Int{big.NewInt(1)}
	if s.N == 1 {
		return rho
	}
	var r []byte
	if s.Protocol != protocolV1 {
		r = cat(encodeAll(points)...)
	}
	b := RO("rho", 16*(s.N-1), dsid, m2[len(m2)-32:], r, pk.Bytes())
	for ; len(b) > 0; b = b[16:] {
		rho = append(rho, new(big.Int).SetBytes(b[:16]))
	}
	return rho
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
	r     []Point // by slot; none in V1
	salt  [][]byte
	pk    Point
	gamma [2]Point
	psi   []*big.Int
	m2    []byte
}

// readR2 gives what the peers sent.
func (s *Signer) readR2(r2, p2 map[int][]byte) (map[int]opened, error) {
	if err := s.check(2, incoming{r2, 0, s.echo[1]}, incoming{p2, s.self, nil}); err != nil {
		return nil, err
	}
	peers := map[int]opened{}
	for _, j := range s.peers {
		b, pr := &parser{b: r2[j][headerLen+32:]}, &parser{b: p2[j][headerLen:]}
		var o opened
		if s.Protocol != protocolV1 {
			s.bySlot(b, func(int) { o.r, o.salt = append(o.r, b.point()), append(o.salt, b.take(32)) })
		}
		o.pk = b.point()
		b.vary(0, 1<<20)
		for w := range o.gamma {
			if s.checksProduct(w) {
				o.gamma[w] = pr.point()
			}
		}
		s.bySlot(pr, func(int) { o.psi = append(o.psi, pr.scalar()) })
		o.m2 = pr.vary(voleMessage2Len(s.N), voleMessage2Len(s.N))
		if err := cmpOr(b.end(), pr.end()); err != nil {
			return nil, blame(j, err.Error())
		}
		peers[j] = o
	}
	s.echo[2] = echoHash(s.session, 2, s.all(2, r2))
	return peers, nil
}

// takeR2 is all of round 3 up to u and v of every slot.
func (s *Signer) takeR2(r2, p2 map[int][]byte) error {
	peers, err := s.readR2(r2, p2)
	if err != nil {
		return err
	}
	for _, j := range s.peers {
		for k, r := range peers[j].r {
			x := s.slots[k]
			if !bytes.Equal(x.commitments[j], x.commitment(j, r, peers[j].salt[k])) {
				return blame(j, "the opening is not that of the commitment")
			}
		}
	}
	for _, x := range s.slots {
		x.d = map[int][2]*big.Int{}
	}
	pk := Base(s.sk)
	for _, j := range s.peers {
		if err := s.finishVOLE(j, peers[j]); err != nil {
			return err
		}
		pk = pk.Add(peers[j].pk)
	}
	if !pk.Equal(s.Key.PublicKey) {
		return unattributed("Σpk is not the public key")
	}
	for k, x := range s.slots {
		x.bigR, x.psi = Base(x.r), x.phi
		for _, j := range s.peers {
			x.psi = add(x.psi, peers[j].psi[k])
			if s.Protocol != protocolV1 {
				x.bigR = x.bigR.Add(peers[j].r[k])
			}
		}
		if s.Protocol != protocolV1 && noNonce(x.bigR) {
			return unattributed("R is no nonce")
		}
		x.u, x.v = mul(x.r, x.psi), mul(s.sk, x.psi)
		for _, j := range s.peers {
			x.u = add(x.u, x.c[j][0], x.d[j][0])
			x.v = add(x.v, x.c[j][1], x.d[j][1])
		}
	}
	return nil
}

// noNonce says that R is O or its r_x is zero.
func noNonce(r Point) bool { return r.IsIdentity() || mod(r.X).Sign() == 0 }

// gammaHolds is χ·P − Γ = d·G.
func gammaHolds(chi *big.Int, pt, gamma Point, d *big.Int) bool {
	return pt.Mul(chi).Sub(gamma).Equal(Base(d))
}

// finishVOLE is the check of μ, and then of both Γ, of one peer.
func (s *Signer) finishVOLE(j int, o opened) error {
	d, err := s.bob[j].Finish(o.m2)
	if errors.Is(err, errCheck) {
		return quarantine(j, "μ")
	} else if err != nil {
		return blame(j, err.Error())
	}
	rho := s.weights(s.dsid(s.self, j), o.m2, o.r, o.pk)
	var sumR Point // Σ ρχ·R
	sumChi, sumD := new(big.Int), two()
	for k, x := range s.slots {
		weighted := mul(rho[k], s.bob[j].Chi[k])
		sumChi = add(sumChi, weighted)
		if s.Protocol != protocolV1 {
			sumR = sumR.Add(o.r[k].Mul(weighted))
		}
		for w := range sumD {
			sumD[w] = add(sumD[w], mul(rho[k], d[k][w]))
		}
		x.d[j] = d[k]
	}
	if s.checksProduct(0) && !sumR.Sub(o.gamma[0]).Equal(Base(sumD[0])) {
		return quarantine(j, "Γ^u")
	}
	if !gammaHolds(sumChi, o.pk, o.gamma[1], sumD[1]) {
		return quarantine(j, "Γ^v")
	}
	return nil
}

// Round3 takes all R2 and gives the final share of a signature or a batch.
func (s *Signer) Round3(r2, p2 map[int][]byte) ([]byte, error) {
	if err := s.takeR2(r2, p2); err != nil {
		return nil, err
	}
	items := s.list(func(k int, x *slot) []byte {
		it := s.Items[k]
		x.v = add(x.v, mul(it.Tweak, x.phi))
		x.w = add(mul(wide(it.MessageHash), x.phi), mul(mod(x.bigR.X), x.v))
		return cat(x.bigR.Bytes(), enc(x.w), enc(x.u))
	})
	return cat(s.message(3, 0), s.echo[2], items), nil
}
