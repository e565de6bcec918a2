package dkls23

import (
	"errors"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/transcript"
	"github.com/cofferhq/coffer/mpc/vole"
)

// finish takes the peers' R2, makes every check and leaves uᵢ and vᵢ (without
// any tweak) and R in each slot. Presigning V1 leaves what concerns R for later.
func (r *run) finish(r2, private map[mpc.ID][]byte) error {
	// h₁ of all peers is equal before any opening, VOLE or Γ check: Open.
	in, err := session.Open(step3, r.peers,
		session.Box{Messages: r2, Want: r.want(2, session.Broadcast), Echo: &r.echo[1]},
		session.Box{Messages: private, Want: r.want(2, r.self)})
	if err != nil {
		return err
	}
	peers := make(map[mpc.ID]*opened, len(r.peers))
	faults := make(map[mpc.ID]error)
	for _, id := range r.peers {
		peers[id], faults[id] = readOpened(in[0][id], in[1][id], r.layout)
	}
	if err := session.Blame(step3, r.peers, faults); err != nil {
		return err
	}
	r.hear(2, r2)
	if r.layout.opens {
		for _, id := range r.peers {
			for k, s := range r.slots {
				o := &peers[id].slots[k]
				if err := s.opening(id, &o.r, &o.salt); err != nil {
					faults[id] = err
				}
			}
		}
		if err := session.Blame(step3Open, r.peers, faults); err != nil {
			return err
		}
	}
	for _, id := range r.peers {
		if err := r.checkProducts(id, peers[id]); err != nil {
			return err
		}
	}
	if err := r.checkKey(peers); err != nil {
		return err
	}
	totals := make([]*secp256k1.Point, len(r.slots))
	for k, s := range r.slots {
		r.sum(k, s, peers)
		totals[k] = s.total
	}
	if !r.layout.opens {
		return nil
	}
	for k, encoded := range secp256k1.EncodePoints(totals) {
		if err := usable(&encoded); err != nil {
			return session.Unattributed(step3, err)
		}
		r.slots[k].totalBytes = encoded
	}
	return nil
}

// opening checks what a peer opens against its commitment of round 1.
func (s *slot) opening(id mpc.ID, point *[33]byte, salt *[32]byte) error {
	if rCommitment(s.sid, id, point, salt) != s.commitments[id] {
		return errors.New("opening of R does not match the commitment of round 1")
	}
	return nil
}

// checkProducts finishes the VOLE with j and checks that j multiplied by the r
// and the sk that it stands for in public, in every slot.
func (r *run) checkProducts(j mpc.ID, o *opened) error {
	l := r.links[j]
	d, err := l.bob.Finish(o.vole)
	if errors.Is(err, vole.ErrCheck) {
		return session.Quarantine(step3Mu, j, err)
	}
	if err != nil {
		return session.Attributed(step3Mu, j, err)
	}
	l.d = d
	// Σ ρₖχₖ·Rⱼ − Γ^u = (Σ ρₖ·d^u)·G and (Σ ρₖχₖ)·pkⱼ − Γ^v = (Σ ρₖ·d^v)·G;
	// both are computed whatever the first gives.
	chi, sum := make([]*secp256k1.Scalar, len(r.slots)), secp256k1.NewScalar()
	u, v := secp256k1.NewScalar(), secp256k1.NewScalar()
	defer func() {
		for _, s := range append(chi, sum, u, v) {
			s.Destroy()
		}
	}()
	points := make([]*secp256k1.Point, len(r.slots))
	for k, rho := range r.weights(r.self, j, o.mu, &o.body2) {
		chi[k] = secp256k1.NewScalar().Mul(rho, l.bob.Chi(k))
		sum.Add(sum, chi[k])
		u.MulAdd(rho, &d[k][0], u)
		v.MulAdd(rho, &d[k][1], v)
		points[k] = o.points[k].r
	}
	good := gamma(secp256k1.NewPoint().ScalarMult(sum, o.public), o.gammaV, v)
	if r.layout.opens {
		good &= gamma(secp256k1.NewPoint().MultiScalarMult(chi, points), o.gammaU, u)
	}
	if good != 1 {
		return session.Quarantine(step3Gamma, j, errProduct)
	}
	return nil
}

var errProduct = errors.New("product does not match R or pk")

// gamma is 1 when P − Γ = d·G.
func gamma(p, g *secp256k1.Point, d *secp256k1.Scalar) int {
	left := secp256k1.NewPoint().Sub(p, g)
	return left.Equal(secp256k1.NewPoint().ScalarBaseMult(d))
}

// weights are ρ₀ = 1, ρ₁, …, of 128 bits: what the joint check of bob on alice's
// products weights the slots with. They come after everything that alice has
// fixed: R, pk, and μ, which nobody can make before Ã and η.
func (r *run) weights(bob, alice mpc.ID, mu [32]byte, b *body2) []*secp256k1.Scalar {
	rho := make([]*secp256k1.Scalar, len(r.slots))
	rho[0] = secp256k1.NewScalar().SetUint64(1)
	if len(rho) == 1 {
		return rho
	}
	points := make([]byte, 0, 33*len(b.slots))
	for k := range b.slots {
		points = append(points, b.slots[k].r[:]...)
	}
	dsid := r.dsid(bob, alice, 0)
	stream := make([]byte, 16*(len(rho)-1))
	transcript.Fill(stream, transcript.TagRho, dsid[:], mu[:], points, b.pk[:])
	for k := 1; k < len(rho); k++ {
		var wide [32]byte
		copy(wide[16:], stream[16*(k-1):16*k])
		rho[k] = secp256k1.NewScalar().SetReduced(&wide)
	}
	return rho
}

// muOf is μ, the end of a VOLE message 2.
func muOf(message2 []byte) [32]byte { return [32]byte(message2[len(message2)-32:]) }

// checkKey demands that the public shares add up to the untweaked key: ε is in
// nobody's skᵢ.
func (r *run) checkKey(peers map[mpc.ID]*opened) error {
	public := secp256k1.NewPoint().Set(&r.mine.public)
	for _, id := range r.peers {
		public.Add(public, peers[id].public)
	}
	if public.Equal(group.Secp256k1Point(r.key.PublicKey)) != 1 {
		return session.Unattributed(step3, errors.New("the signers' public shares do not add up to the public key"))
	}
	return nil
}

// sum adds up slot k of all signers.
func (r *run) sum(k int, s *slot, peers map[mpc.ID]*opened) {
	s.total = secp256k1.NewPoint().Set(s.point)
	psi := secp256k1.NewScalar().Set(&s.secret.phi) // φᵢ + Σⱼ ψ_{j→i}
	defer psi.Destroy()
	for _, id := range r.peers {
		o := &peers[id].points[k]
		psi.Add(psi, &o.psi)
		if r.layout.opens {
			s.total.Add(s.total, o.r)
		}
	}
	// uᵢ = rᵢ·(φᵢ + Σψ) + Σ(c^u + d^u)
	// vᵢ = skᵢ·(φᵢ + Σψ) + Σ(c^v + d^v)
	u, v := &s.secret.u, &s.secret.v
	u.Mul(&s.secret.r, psi)
	v.Mul(&r.mine.sk, psi)
	for _, id := range r.peers {
		c, d := &r.links[id].c[k], &r.links[id].d[k]
		u.Add(u, &c[0])
		u.Add(u, &d[0])
		v.Add(v, &c[1])
		v.Add(v, &d[1])
	}
}

// usable refuses an R, as encoded, that makes no signature.
func usable(point *[33]byte) error {
	if *point == [33]byte{} {
		return errors.New("the nonces add up to the identity")
	}
	if xScalar(point).IsZero() == 1 {
		return errors.New("x of R is 0 mod q")
	}
	return nil
}

// xScalar is r_x = x(R) mod q.
func xScalar(point *[33]byte) *secp256k1.Scalar {
	return secp256k1.NewScalar().SetReduced((*[32]byte)(point[1:]))
}

// sign makes this signer's part of the signature of an item:
//
//	w = h·φᵢ + r_x·(vᵢ + ε·φᵢ),  u = uᵢ
func (s *slot) sign(it *item, w, u *secp256k1.Scalar) {
	v := secp256k1.NewScalar().MulAdd(it.tweak, &s.secret.phi, &s.secret.v)
	defer v.Destroy()
	w.Mul(xScalar(&s.totalBytes), v)
	w.MulAdd(it.h, &s.secret.phi, w)
	u.Set(&s.secret.u)
}
