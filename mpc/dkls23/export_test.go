package dkls23

import (
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
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
// multiplies.
func (s *Session) CheatRound2(r1, private map[mpc.ID][]byte, change func(*Secrets)) ([]byte, map[mpc.ID][]byte, error) {
	messages, err := s.receive1(r1, private)
	if err != nil {
		return nil, nil, err
	}
	s.hear(1, r1)
	if err := s.multiplicand(); err != nil {
		return nil, nil, err
	}
	change(&Secrets{&s.secret.r, &s.secret.phi, &s.secret.sk, s.point, s.public})
	s.next = 3
	return s.multiply(messages, nil)
}

// DSID shows the directional ids.
func (s *Session) DSID(bob, alice mpc.ID, slot uint64) [32]byte { return s.dsid(bob, alice, slot) }

// ZeroShare shows ζᵢ.
func (s *Session) ZeroShare() *secp256k1.Scalar { return s.zeroShare() }

// Wiped reports whether a session holds no secret any more.
func (s *Session) Wiped() bool {
	return *s.secret == secrets{} && len(s.links) == 0
}

// The algebra of Combine.
var (
	Assemble    = assemble
	XCoordinate = xCoordinate
)

// The steps that aborts name.
const (
	Step1, Step2, Step2TH, Step3                    = step1, step2, step2TH, step3
	Step3Open, Step3Mu, Step3Gamma, StepCombineName = step3Open, step3Mu, step3Gamma, stepCombine
)

// Reencode decodes a message of a round and encodes what it decoded.
func Reencode(round uint8, private bool, b []byte) ([]byte, error) {
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
	switch {
	case round == 0:
		b, err := readBody0(r)
		if err != nil {
			return nil, err
		}
		b.write(w)
	case round == 1 && private:
		m, err := readPrivate1(r)
		if err != nil {
			return nil, err
		}
		return varMessage(w, m)
	case round == 1:
		b, err := readBody1(r)
		if err != nil {
			return nil, err
		}
		w.Fixed(b.commitment[:]).Var(b.attachment)
	default:
		return reencode2(w, r, private)
	}
	return w.Bytes(), nil
}

// reencode2 puts a fitting other half beside the message: a peer's two messages
// of round 2 are decoded together.
func reencode2(w *wire.Writer, r *wire.Reader, private bool) ([]byte, error) {
	g := secp256k1.Generator().Bytes()
	if private {
		other := new(wire.Writer).Fixed(g[:]).Fixed(make([]byte, 32)).Fixed(g[:]).Var(nil).Bytes()
		o, err := readOpened(after(other), r)
		if err != nil {
			return nil, err
		}
		u, v, psi := o.gammaU.Bytes(), o.gammaV.Bytes(), o.psi.Bytes()
		return varMessage(w.Fixed(u[:]).Fixed(v[:]).Fixed(psi[:]), o.vole)
	}
	m, err := new(vole.Message2).MarshalBinary()
	if err != nil {
		return nil, err
	}
	other := new(wire.Writer).Fixed(g[:]).Fixed(g[:]).Fixed(make([]byte, 32)).Var(m).Bytes()
	o, err := readOpened(r, after(other))
	if err != nil {
		return nil, err
	}
	point, public := o.point.Bytes(), o.public.Bytes()
	return w.Fixed(point[:]).Fixed(o.salt[:]).Fixed(public[:]).Var(o.attachment).Bytes(), nil
}

// after is a reader at the start of b.
func after(b []byte) *wire.Reader {
	return wire.NewReader(append([]byte{session.Version}, b...), session.Version)
}

func varMessage(w *wire.Writer, m interface{ MarshalBinary() ([]byte, error) }) ([]byte, error) {
	b, err := m.MarshalBinary()
	return w.Var(b).Bytes(), err
}
