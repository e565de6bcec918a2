package dkls23_test

import (
	"io"
	"math/big"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// sameBeta makes signer 1's two β of one extension equal: they are drawn in one
// read, of 52 bytes a signature and 16 more.
type sameBeta struct{ io.Reader }

func (r sameBeta) Read(p []byte) (int, error) {
	n, err := io.ReadFull(r.Reader, p)
	if len(p) == 2*52+16 {
		copy(p[52:104], p[:52])
	}
	return n, err
}

// Two signatures of a batch under one χ reveal the key to the peer: ψ₀ − ψ₁ is
// then φ₀ − φ₁, and two equations remain for φ₀ and the key. The attack is shown
// to work when β is forced to repeat, and to fail on honest batches.
func TestPitfall26_ReuseOfChiInABatchRecoversTheKey(t *testing.T) {
	c := shared(t, 3, 2)
	run := func(reuse bool) bool {
		m := c.start(t, "batch", mpctest.IDs(2), -1)
		m.Items = mpctest.Items(2)
		m.Items[1].Tweak, m.Items[1].Path = nil, nil
		phi := make([]*secp256k1.Scalar, 2) // of signer 2, the adversary
		for _, id := range m.Signers {
			rand := mpctest.Reader("p26 chi #%d/%d", runs.Add(1), id)
			if id == 1 && reuse {
				rand = sameBeta{rand}
			}
			s, err := dkls23.NewBatch(mpctest.BatchConfig(c.keys[id], m.Signers, c.setups[id], m.Items), rand)
			if err != nil {
				t.Fatal(err)
			}
			m.Batch[id], m.Sessions[id] = s, s
		}
		for r := range 2 {
			if err := m.Round(r); err != nil {
				t.Fatal(err)
			}
		}
		if same := m.Batch[1].Chi(2, 0).Equal(m.Batch[1].Chi(2, 1)) == 1; same != reuse {
			t.Fatalf("χ is the same: %t, want %t", same, reuse)
		}
		m.Broadcast[2], m.Private[2] = orEmpty(nil), orEmptyPrivate(nil)
		for _, id := range m.Signers {
			var err error
			m.Broadcast[2][id], m.Private[2][id], err = m.Batch[id].CheatRound2(mpctest.Except(m.Broadcast[1], id), mpctest.Inbound(m.Private[1], id), func(slot int, s *dkls23.Secrets) {
				if id == 2 {
					phi[slot] = secp256k1.NewScalar().Set(s.Phi)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Round(3); err != nil {
			t.Fatal(err)
		}
		sigs, err := m.Combine()
		if err != nil {
			t.Fatal(err)
		}
		for k, sig := range sigs {
			verify(t, c, nil, m.Items[k].MessageHash, sig)
		}
		return recoversFromPsi(t, c, m, phi)
	}
	if !run(true) {
		t.Error("the attack does not recover the key from a repeated χ: it proves nothing")
	}
	if run(false) {
		t.Error("an honest batch reveals the key")
	}
}

// recoversFromPsi supposes that signer 1 had one χ in both slots. With D = φ₀ − φ₁
// (of all signers), Wₖ = φₖ·(hₖ + rₖ·x): x = (W₀/φ₀ − h₀)/r₀ in the second equation
// gives a quadratic one for φ₀.
func recoversFromPsi(t *testing.T, c *cluster, m *mpctest.Many, phi []*secp256k1.Scalar) bool {
	t.Helper()
	q := new(big.Int).SetBytes(order[:])
	num := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	scalar := func(s *secp256k1.Scalar) *big.Int { b := s.Bytes(); return num(b[:]) }
	private := m.Private[2][1][2]
	psi := func(k int) *big.Int {
		at := mpctest.OffBody + 66 + 4 + k*32
		return num(private[at : at+32])
	}
	mod := func(x *big.Int) *big.Int { return x.Mod(x, q) }
	mul := func(x, y *big.Int) *big.Int { return mod(new(big.Int).Mul(x, y)) }
	sub := func(x, y *big.Int) *big.Int { return mod(new(big.Int).Sub(x, y)) }
	add := func(x, y *big.Int) *big.Int { return mod(new(big.Int).Add(x, y)) }
	d := add(sub(psi(0), psi(1)), sub(scalar(phi[0]), scalar(phi[1])))
	var w, r, h [2]*big.Int
	for k := range 2 {
		w[k] = new(big.Int)
		for _, f := range m.Final {
			w[k] = add(w[k], scalar(&f.Slots[k].W))
		}
		r[k] = mod(num(m.Final[1].Slots[k].R[1:]))
		h[k] = mod(num(m.Items[k].MessageHash[:]))
	}
	// W₁·φ₀·r₀ = (φ₀ − D)·(φ₀·(h₁r₀ − r₁h₀) + r₁W₀): a·φ₀² + b·φ₀ + e = 0.
	a := sub(mul(h[1], r[0]), mul(r[1], h[0]))
	rw := mul(r[1], w[0])
	b := sub(sub(rw, mul(d, a)), mul(w[1], r[0]))
	e := sub(new(big.Int), mul(d, rw))
	root := new(big.Int).ModSqrt(sub(mul(b, b), mul(big.NewInt(4), mul(a, e))), q)
	if root == nil {
		return false
	}
	for _, s := range []*big.Int{root, sub(new(big.Int), root)} {
		phi0 := mul(sub(s, b), new(big.Int).ModInverse(mul(big.NewInt(2), a), q))
		if phi0.Sign() == 0 {
			continue
		}
		x := mul(sub(mul(w[0], new(big.Int).ModInverse(phi0, q)), h[0]), new(big.Int).ModInverse(r[0], q))
		key := secp256k1.NewScalar()
		if err := key.SetBytes(x.FillBytes(make([]byte, 32))); err != nil {
			t.Fatal(err)
		}
		p := secp256k1.NewPoint().ScalarBaseMult(key).Bytes()
		if string(p[:]) == string(c.keys[1].PublicKey.Encode()) {
			return true
		}
	}
	return false
}

// Each slot of a batch has its own R, commitment, φ and χ; sk is one for all slots
// of the session, and another in every session.
func TestPitfall26_EverySlotHasItsOwn(t *testing.T) {
	c := shared(t, 3, 2)
	seen := make(map[[32]byte]string)
	for _, flavour := range flavours {
		m := c.start(t, flavour, mpctest.IDs(2), 1)
		note := func(what string, s *secp256k1.Scalar) {
			if other, ok := seen[s.Bytes()]; ok {
				t.Errorf("%s: %s is %s", flavour, what, other)
			}
			seen[s.Bytes()] = what
		}
		for id, s := range m.Sessions {
			many := s.(interface {
				cheater
				Chi(j mpc.ID, slot int) *secp256k1.Scalar
				ZeroShare() *secp256k1.Scalar
			})
			for slot := range 2 {
				note("χ", many.Chi(3-id, slot))
			}
			if id == 1 { // of two signers one has the other's, negated
				note("ζ", many.ZeroShare())
			}
			var sk *secp256k1.Scalar
			_, _, err := many.CheatRound2(mpctest.Except(m.Broadcast[1], id), mpctest.Inbound(m.Private[1], id), func(slot int, s *dkls23.Secrets) {
				note("r", s.R)
				note("φ", s.Phi)
				if slot == 0 {
					note("sk", s.SK)
					sk = secp256k1.NewScalar().Set(s.SK)
				} else if sk.Equal(s.SK) != 1 {
					t.Errorf("%s: the slots of a session have different sk", flavour)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		at := mpctest.OffEchoBody + 4
		for _, b := range m.Broadcast[1] {
			if string(b[at:at+32]) == string(b[at+32:at+64]) {
				t.Errorf("%s: two slots have one commitment", flavour)
			}
		}
	}
}
