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
	var a [][2]*big.Int
	for _, x := range s.slots {
		x.sk = add(mul(lagrange(s.self, s.S), s.Key.Share), s.zeta(x.id))
		x.c = map[int][2]*big.Int{}
		a = append(a, [2]*big.Int{x.r, x.sk})
	}
	private := map[int][]byte{}
	for _, j := range s.peers {
		c, m2, err := VOLESend(s.Setups[j].Alice, s.dsid(j, s.self), m1[j], a, s.Rand)
		if errors.Is(err, errCheck) {
			return nil, nil, quarantine(j, "TH")
		} else if err != nil {
			return nil, nil, blame(j, err.Error())
		}
		items := s.list(func(k int, x *slot) []byte {
			x.c[j] = c[k]
			rest := cat(Base(c[k][1]).Bytes(), enc(sub(x.phi, s.bob[j].Chi[k])))
			if s.Protocol == protocolV1 { // Γ^u is withheld
				return rest
			}
			return cat(Base(c[k][0]).Bytes(), rest)
		})
		private[j] = cat(s.message(2, j), items, vary(m2))
	}
	items := s.list(func(_ int, x *slot) []byte {
		if s.Protocol == protocolV1 { // so are R and its salt
			return Base(x.sk).Bytes()
		}
		return cat(Base(x.r).Bytes(), x.salt, Base(x.sk).Bytes())
	})
	s.sent[2] = cat(s.message(2, 0), s.echo[1], items, vary(s.Attachments[2]))
	return s.sent[2], private, nil
}

// zeta is ζ, the share of zero of a slot.
func (s *Signer) zeta(id []byte) *big.Int {
	sum := new(big.Int)
	for _, j := range s.peers {
		f := ROScalar("zero-share", s.Key.Zero[j], id)
		if j > s.self {
			sum = add(sum, f)
		} else {
			sum = sub(sum, f)
		}
	}
	return sum
}

// opened is what a peer sends in R2 of a slot.
type opened struct {
	r, pk Point
	salt  []byte
	gamma [2]Point
	psi   *big.Int
}

// readR2 gives what the peers opened, by slot, and their VOLE messages.
func (s *Signer) readR2(r2, p2 map[int][]byte) (map[int][]opened, map[int][]byte, error) {
	if err := s.check(2, incoming{r2, 0, s.echo[1]}, incoming{p2, s.self, nil}); err != nil {
		return nil, nil, err
	}
	peers, m2 := map[int][]opened{}, map[int][]byte{}
	for _, j := range s.peers {
		b, pr := &parser{b: r2[j][headerLen+32:]}, &parser{b: p2[j][headerLen:]}
		o := make([]opened, s.N)
		s.bySlot(b, func(k int) {
			if s.Protocol != protocolV1 {
				o[k].r, o[k].salt = b.point(), b.take(32)
			}
			o[k].pk = b.point()
		})
		b.vary(0, 1<<20)
		s.bySlot(pr, func(k int) {
			if s.Protocol != protocolV1 {
				o[k].gamma[0] = pr.point()
			}
			o[k].gamma[1], o[k].psi = pr.point(), pr.scalar()
		})
		m2[j] = pr.vary(voleMessage2Len(s.N), voleMessage2Len(s.N))
		if err := cmpOr(b.end(), pr.end()); err != nil {
			return nil, nil, blame(j, err.Error())
		}
		peers[j] = o
	}
	s.echo[2] = echoHash(s.session, 2, s.all(2, r2))
	return peers, m2, nil
}

// takeR2 is all of round 3 up to u and v of every slot.
func (s *Signer) takeR2(r2, p2 map[int][]byte) error {
	peers, m2, err := s.readR2(r2, p2)
	if err != nil {
		return err
	}
	for _, j := range s.peers {
		for k, x := range s.slots {
			o := peers[j][k]
			if s.Protocol != protocolV1 && !bytes.Equal(x.commitments[j], x.commitment(j, o.r, o.salt)) {
				return blame(j, "the opening is not that of the commitment")
			}
		}
	}
	for _, x := range s.slots {
		x.d = map[int][2]*big.Int{}
	}
	for _, j := range s.peers {
		if err := s.finishVOLE(j, peers[j], m2[j]); err != nil {
			return err
		}
	}
	for k, x := range s.slots {
		x.bigR, x.psi = Base(x.r), x.phi
		pk := Base(x.sk)
		for _, j := range s.peers {
			o := peers[j][k]
			x.bigR, pk, x.psi = x.bigR.Add(o.r), pk.Add(o.pk), add(x.psi, o.psi)
		}
		if !pk.Equal(s.Key.PublicKey) {
			return unattributed("Σpk is not the public key")
		}
		if s.Protocol != protocolV1 && noNonce(x.bigR) {
			return unattributed("R is no nonce")
		}
	}
	for _, x := range s.slots {
		x.u, x.v = mul(x.r, x.psi), mul(x.sk, x.psi)
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

// finishVOLE is the check of μ, and then of all Γ, of one peer.
func (s *Signer) finishVOLE(j int, o []opened, m2 []byte) error {
	d, err := s.bob[j].Finish(m2)
	if errors.Is(err, errCheck) {
		return quarantine(j, "μ")
	} else if err != nil {
		return blame(j, err.Error())
	}
	for k, x := range s.slots {
		chi := s.bob[j].Chi[k]
		if s.Protocol != protocolV1 && !gammaHolds(chi, o[k].r, o[k].gamma[0], d[k][0]) {
			return quarantine(j, "Γ^u")
		}
		if !gammaHolds(chi, o[k].pk, o[k].gamma[1], d[k][1]) {
			return quarantine(j, "Γ^v")
		}
		x.d[j] = d[k]
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
