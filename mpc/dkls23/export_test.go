package dkls23

import (
	"errors"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/vole"
)

// What the tests of a dishonest signer need: its secrets before it multiplies.

// Secrets are a signer's values between round 1 and round 2.
type Secrets struct {
	R, Phi, SK    *secp256k1.Scalar // rᵢ, φᵢ, skᵢ
	Point, Public *secp256k1.Point  // Rᵢ and pkᵢ, as R2 opens them
}

// CheatRound2 is Round2 of a signer that changes its secrets before it
// multiplies. SK is what the slot multiplies by; Public is the session's, the same
// for all slots.
func (r *run) CheatRound2(r1, private map[mpc.ID][]byte, change func(slot int, s *Secrets)) ([]byte, map[mpc.ID][]byte, error) {
	messages, err := r.receive1(r1, private)
	if err != nil {
		return nil, nil, err
	}
	r.hear(1, r1)
	inputs := r.inputs()
	for k, s := range r.slots {
		sk := secp256k1.NewScalar().Set(&r.mine.sk)
		inputs[k][1] = sk
		if change != nil {
			change(k, &Secrets{&s.secret.r, &s.secret.phi, sk, s.point, &r.mine.public})
		}
		s.encoded = s.point.Bytes()
	}
	r.mine.encoded = r.mine.public.Bytes()
	for r.order.Next() < 3 {
		r.order.End(nil, nil)
	}
	return r.multiply(messages, inputs, nil)
}

// DSID shows the directional ids.
func (r *run) DSID(bob, alice mpc.ID, slot uint64) [32]byte { return r.dsid(bob, alice, slot) }

// SlotID shows what a slot's commitments are to.
func (r *run) SlotID(slot int) [32]byte { return r.slots[slot].sid }

// Weights shows ρ of what alice sends, from a broadcast of some R and a pk.
func (r *run) Weights(bob, alice mpc.ID, mu [32]byte, points [][33]byte, pk [33]byte) (out [][32]byte) {
	b := body2{pk: pk}
	for _, p := range points {
		b.slots = append(b.slots, opening{r: p})
	}
	for _, rho := range r.weights(bob, alice, mu, &b) {
		out = append(out, rho.Bytes())
	}
	return out
}

// ZeroShare shows ζᵢ.
func (r *run) ZeroShare() *secp256k1.Scalar {
	z, err := r.zeroShare()
	if err != nil {
		panic(err)
	}
	return z
}

// Wiped reports whether a session holds no secret any more.
func (r *run) Wiped() bool {
	for _, s := range r.slots {
		if *s.secret != (secrets{}) {
			return false
		}
	}
	return len(r.links) == 0 && *r.mine == (multiplicand{})
}

// Raw shows what a presignature hides: uᵢ, vᵢ, φᵢ and R (nil in V1).
func (p *Presignature) Raw() (u, v, phi *secp256k1.Scalar, total *secp256k1.Point) {
	return &p.m.secret.u, &p.m.secret.v, &p.m.secret.phi, p.m.total
}

// CheckOf shows χ_{i,j} and d^u_{i,j} of a presignature V1.
func (p *Presignature) CheckOf(j mpc.ID) (chi, d *secp256k1.Scalar) {
	return &p.m.delayed.checks[j].chi, &p.m.delayed.checks[j].d
}

// Clone makes a second presignature of the same material: what the package never
// does, and an adversary who restores memory would.
func (p *Presignature) Clone() *Presignature {
	m := *p.m
	secret := *p.m.secret
	m.secret = &secret
	if p.m.delayed != nil {
		d := *p.m.delayed
		d.checks = make(map[mpc.ID]*check)
		for id, c := range p.m.delayed.checks {
			x := *c
			d.checks[id] = &x
		}
		m.delayed = &d
	}
	return &Presignature{&m}
}

// Wiped reports whether a signature from a presignature holds no secret.
func (o *Online) Wiped() bool { return o.m.secret == nil && o.m.delayed == nil }

// Chi shows χ_{i,j} of a slot.
func (r *run) Chi(j mpc.ID, slot int) *secp256k1.Scalar { return r.links[j].bob.Chi(slot) }

// DU shows d^u_{i,j} of a slot, when its VOLE is finished.
func (r *run) DU(j mpc.ID, slot int) *secp256k1.Scalar { return &r.links[j].d[slot][0] }

// FinishVOLE runs what Round3 does with the peer's products, and leaves the
// session where it is.
func (r *run) FinishVOLE(r2, private map[mpc.ID][]byte) error { return r.finish(r2, private) }

// ReencodeA decodes A and encodes what it decoded.
func ReencodeA(kind Kind, private bool, b []byte) ([]byte, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	w := h.Writer()
	if err := r.Err(); err != nil {
		return nil, err
	}
	if private {
		p, err := readGamma(r)
		if err != nil {
			return nil, err
		}
		e := p.Bytes()
		return w.Fixed(e[:]).Bytes(), nil
	}
	a, err := readBodyA(r, kind)
	if err != nil {
		return nil, err
	}
	if kind == Delayed {
		a.r = a.point.Bytes()
	}
	a.write(w, kind)
	return w.Bytes(), nil
}

// Assemble is the algebra of Combine.
func Assemble(point *secp256k1.Point, w, u *secp256k1.Scalar) (*ecdsa.Signature, error) {
	b := point.Bytes()
	return assemble(&b, w, u)
}

// The algebra of Combine.
var (
	XCoordinate = xCoordinate
)

// The steps that aborts name.
const (
	Step1, Step2, Step2TH, Step3                      = step1, step2, step2TH, step3
	StepA, StepEcho, StepOpen, StepOnlineGamma, StepB = stepA, stepEcho, stepOpen, stepOnlineGamma, stepB
	Step3Open, Step3Mu, Step3Gamma, StepCombineName   = step3Open, step3Mu, step3Gamma, stepCombine
)

// Reencode decodes a message of a round of a session of n slots and encodes what
// it decoded. The protocol is that of the header.
func Reencode(round uint8, private bool, n int, b []byte) ([]byte, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	w := h.Writer()
	var echo [32]byte
	if round > 0 && !private {
		r.Into("echo", echo[:])
		w.Fixed(echo[:])
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	l := layoutOf(h.Protocol)
	l.slots = n
	if !l.counted && n != 1 {
		return nil, errors.New("a single signature has one slot")
	}
	switch {
	case round == 0:
		b, err := readBody0(r)
		if err != nil {
			return nil, err
		}
		b.write(w)
	case round == 1 && private:
		m, err := readPrivate1(r, n)
		if err != nil {
			return nil, err
		}
		return varMessage(w, m)
	case round == 1:
		b, err := readBody1(r, l)
		if err != nil {
			return nil, err
		}
		b.write(w, l)
	default:
		return reencode2(w, r, private, l)
	}
	return w.Bytes(), nil
}

// reencode2 puts a fitting other half beside the message: a peer's two messages
// of round 2 are decoded together.
func reencode2(w *wire.Writer, r *wire.Reader, private bool, l layout) ([]byte, error) {
	g := secp256k1.Generator().Bytes()
	other := new(wire.Writer)
	if private {
		half := body2{slots: make([]opening, l.slots), pk: g}
		for k := range half.slots {
			half.slots[k].r = g
		}
		other = new(wire.Writer)
		half.write(other, l)
		o, err := readOpened(after(other.Bytes()), r, l)
		if err != nil {
			return nil, err
		}
		if l.opens {
			u := o.gammaU.Bytes()
			w.Fixed(u[:])
		}
		v := o.gammaV.Bytes()
		w.Fixed(v[:])
		l.writeCount(w, len(o.points))
		for k := range o.points {
			psi := o.points[k].psi.Bytes()
			w.Fixed(psi[:])
		}
		return varMessage(w, o.vole)
	}
	if l.opens {
		other.Fixed(g[:])
	}
	other.Fixed(g[:])
	l.writeCount(other, l.slots)
	other.Fixed(make([]byte, 32*l.slots)).Var(zeroMessage2(l.slots))
	broadcast, _ := readBody2(r, l)
	if broadcast == nil {
		return nil, errors.New("no body")
	}
	var again wire.Writer
	broadcast.write(&again, l)
	o, err := readOpened(after(again.Bytes()), after(other.Bytes()), l)
	if err != nil {
		return nil, err
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	b := body2{pk: o.public.Bytes(), attachment: broadcast.attachment}
	if l.opens {
		for k := range o.points {
			b.slots = append(b.slots, opening{o.points[k].r.Bytes(), o.slots[k].salt})
		}
	}
	b.write(w, l)
	return w.Bytes(), nil
}

// zeroMessage2 is a VOLE message 2 in form.
func zeroMessage2(n int) []byte {
	return append([]byte{1}, make([]byte, vole.Message2Size(n)-1)...)
}

// after is a reader at the start of b.
func after(b []byte) *wire.Reader {
	return wire.NewReader(append([]byte{session.Version}, b...), session.Version)
}

func varMessage(w *wire.Writer, m interface{ MarshalBinary() ([]byte, error) }) ([]byte, error) {
	b, err := m.MarshalBinary()
	return w.Var(b).Bytes(), err
}
