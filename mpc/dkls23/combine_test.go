package dkls23_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// order is q, big-endian.
var order = [32]byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
	0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
}

func random(t testing.TB, label string, i int) *secp256k1.Scalar {
	s := secp256k1.NewScalar()
	if err := s.SetRandom(mpctest.Reader("%s/%d", label, i)); err != nil {
		t.Fatal(err)
	}
	return s
}

// A curve has few points with q ≤ x < p: no signing run meets one, so bit 1 of
// the recovery id is tried on points built to have it. The key that belongs to
// (R, s, h) is r⁻¹(sR − hG).
func TestPitfall35_RecoveryIDBit1(t *testing.T) {
	found := 0
	for add := uint16(0); found < 4; add++ {
		x := order
		carry := uint32(add)
		for i := 31; carry != 0; i-- {
			carry += uint32(x[i])
			x[i] = byte(carry)
			carry >>= 8
		}
		for prefix := byte(2); prefix <= 3; prefix++ {
			point := secp256k1.NewPoint()
			if point.SetBytes(append([]byte{prefix}, x[:]...)) != nil {
				continue
			}
			if add == 0 { // x = q is on the curve, and gives r = 0
				if sig, err := dkls23.Assemble(point, one, one); err == nil {
					t.Errorf("x(R) = q gives the signature %x", sig.Bytes())
				}
				continue
			}
			found++
			hash := [32]byte{1, byte(add)}
			id := checkAssembled(t, point, random(t, "p35 w", found), random(t, "p35 u", found), hash)
			if id&2 == 0 {
				t.Errorf("recovery id %d of x = q + %d lacks bit 1", id, add)
			}
		}
	}
}

// checkAssembled makes a signature with the algebra of Combine, computes the key
// it belongs to, and asks decred. It returns the recovery id.
func checkAssembled(t *testing.T, point *secp256k1.Point, w, u *secp256k1.Scalar, hash [32]byte) byte {
	t.Helper()
	sig, err := dkls23.Assemble(point, w, u)
	if err != nil {
		t.Fatal(err)
	}
	x := point.XBytes()
	rInv := secp256k1.NewScalar().SetReduced(&x)
	rInv.Invert(rInv)
	s := secp256k1.NewScalar().Invert(u)
	s.Mul(s, w) // before it is lowered
	h := secp256k1.NewScalar().SetReduced(&hash)
	key := secp256k1.NewPoint().MultiScalarMultVartime(
		[]*secp256k1.Scalar{s.Mul(s, rInv), h.Negate(h.Mul(h, rInv))},
		[]*secp256k1.Point{point, secp256k1.Generator()}).Bytes()
	// The key that is recovered is the one that the signature verifies under.
	if got, err := ecdsa.Recover(hash, sig); err != nil || got != key {
		t.Errorf("recovered %x, %v, want %x (recovery id %d)", got, err, key, sig.RecoveryID)
	}
	return sig.RecoveryID
}

func TestPitfall35_LowSAndRecoveryID(t *testing.T) {
	point := secp256k1.NewPoint().ScalarBaseMult(random(t, "p35 k", 0))
	low, err := dkls23.Assemble(point, one, secp256k1.NewScalar().SetUint64(1)) // s = 1
	if err != nil {
		t.Fatal(err)
	}
	high, err := dkls23.Assemble(point, secp256k1.NewScalar().Negate(one), one) // s = −1
	if err != nil {
		t.Fatal(err)
	}
	if low.RecoveryID != byte(point.YIsOdd()) {
		t.Errorf("recovery id %d, want the parity of y, %d", low.RecoveryID, point.YIsOdd())
	}
	if high.S != low.S || high.R != low.R || high.RecoveryID != low.RecoveryID^1 {
		t.Errorf("lowering s gives %x, recovery id %d, want %x and %d", high.S, high.RecoveryID, low.S, low.RecoveryID^1)
	}
}

func TestPitfall35_RecoverTenThousandKeys(t *testing.T) {
	n := 10_000
	if raceEnabled || testing.Short() {
		n = 200
	}
	point, g := secp256k1.NewPoint(), secp256k1.Generator()
	w, u := random(t, "p35 many w", 0), random(t, "p35 many u", 0)
	step := random(t, "p35 step", 0)
	var seen [4]int
	for i := range n {
		point.Add(point, g)
		w.Mul(w, step)
		u.Add(u, step)
		var hash [32]byte
		binary.BigEndian.PutUint64(hash[:], uint64(i+1))
		seen[checkAssembled(t, point, w, u, hash)]++
	}
	if seen[0] < n/3 || seen[1] < n/3 {
		t.Errorf("recovery ids %v, want about half of each parity", seen)
	}
}

// finals runs an honest session to its end.
func finals(t *testing.T, label string) *mpctest.Sign {
	t.Helper()
	c := shared(t, 3, 2)
	s := c.sign(t, label, mpctest.IDs(2), nil)
	rounds(t, s, 3)
	return s
}

func TestPitfall36_DirectedCases(t *testing.T) {
	point := secp256k1.Generator()
	zero := secp256k1.NewScalar()
	if _, err := dkls23.Assemble(point, one, zero); err == nil || !strings.Contains(err.Error(), "u add up to 0") {
		t.Errorf("Σu = 0: %v", err)
	}
	if _, err := dkls23.Assemble(point, zero, one); err == nil || !strings.Contains(err.Error(), "s is 0") {
		t.Errorf("s = 0: %v", err)
	}
	for name, x := range map[string][32]byte{"0": {}, "q": order} {
		if _, _, err := dkls23.XCoordinate(&x, 0); err == nil {
			t.Errorf("x(R) = %s gives r = 0", name)
		}
	}
	// Σu = 0 in shares that belong together.
	s := finals(t, "p36")
	s.Final[2].U.Negate(&s.Final[1].U)
	_, err := s.Combine()
	mpctest.WantAbort(t, err, mpc.Unattributed)

	c := shared(t, 3, 2)
	for name, hash := range map[string][32]byte{"0": {}, "q": order} {
		cfg := mpctest.SignConfig(c.keys[1], mpctest.IDs(2), c.setups[1])
		cfg.MessageHash = hash
		if _, err := dkls23.New(cfg, mpctest.Reader("p36")); err == nil {
			t.Errorf("message hash %s is accepted", name)
		}
	}
	for name, edit := range map[string]func(h *[32]byte){
		"q + 1": func(h *[32]byte) { *h = order; h[31]++ },
		"q − 1": func(h *[32]byte) { *h = order; h[31]-- },
		"2²⁵⁶ − 1": func(h *[32]byte) {
			copy(h[:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
		},
		"1": func(h *[32]byte) { *h = [32]byte{31: 1} },
	} {
		t.Run("h = "+name, func(t *testing.T) {
			mustSign(t, c.sign(t, "p36", mpctest.IDs(2), func(cfg *dkls23.Config) { edit(&cfg.MessageHash) }))
		})
	}
	// pk + εG = O.
	sum := secp256k1.NewScalar()
	for _, id := range mpctest.IDs(2) {
		l, err := lagrange(id)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(sum, l.Mul(l, group.Secp256k1Scalar(c.keys[id].Share())))
	}
	cfg := mpctest.SignConfig(c.keys[1], mpctest.IDs(2), c.setups[1])
	cfg.Tweak = sum.Negate(sum)
	if _, err := dkls23.New(cfg, mpctest.Reader("p36")); err == nil {
		t.Error("a tweak that takes the key to the identity is accepted")
	}
}

// All signers name −R: r, s and the signature are right, the recovery id is not.
func TestPitfall35_WrongRecoveryIDIsNotReleased(t *testing.T) {
	s := finals(t, "p35 negated")
	for _, f := range s.Final {
		p := secp256k1.NewPoint()
		if err := p.SetBytes(f.R[:]); err != nil {
			t.Fatal(err)
		}
		f.R = p.Negate(p).Bytes()
	}
	sig, err := s.Combine()
	mpctest.WantAbort(t, err, mpc.Unattributed)
	if sig != nil {
		t.Errorf("signature with recovery id %d is released", sig.RecoveryID)
	}
}

func TestPitfall39_InvalidSignatureIsNotReleased(t *testing.T) {
	for name, change := range map[string]func(*dkls23.FinalShare){
		"w": func(f *dkls23.FinalShare) { f.W.Add(&f.W, one) },
		"u": func(f *dkls23.FinalShare) { f.U.Add(&f.U, one) },
		"both": func(f *dkls23.FinalShare) {
			f.W.Add(&f.W, one)
			f.U.Add(&f.U, one)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := finals(t, "p39")
			change(s.Final[2])
			sig, err := s.Combine()
			mpctest.WantAbort(t, err, mpc.Unattributed)
			if sig != nil {
				t.Errorf("signature %x is released", sig.Bytes())
			}
		})
	}
	// The same shares for another message, tweak or key.
	s := finals(t, "p39")
	shares := []*dkls23.FinalShare{s.Final[1], s.Final[2]}
	cfg := s.Configs[1]
	for name, f := range map[string]func() error{
		"message": func() error {
			_, err := dkls23.Combine(group.Secp256k1Point(cfg.Key.PublicKey), s.Signers, [32]byte{1}, nil, shares)
			return err
		},
		"tweak": func() error {
			_, err := dkls23.Combine(group.Secp256k1Point(cfg.Key.PublicKey), s.Signers, cfg.MessageHash, one, shares)
			return err
		},
		"key": func() error {
			_, err := dkls23.Combine(secp256k1.Generator(), s.Signers, cfg.MessageHash, nil, shares)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { mpctest.WantAbort(t, f(), mpc.Unattributed) })
	}
}

func TestCombineRefusesSharesThatDoNotBelongTogether(t *testing.T) {
	a, b := finals(t, "combine a"), finals(t, "combine b")
	key, hash := group.Secp256k1Point(a.Configs[1].Key.PublicKey), a.Configs[1].MessageHash
	for name, shares := range map[string][]*dkls23.FinalShare{
		"none":         nil,
		"one missing":  {a.Final[1]},
		"one twice":    {a.Final[1], a.Final[1]},
		"two sessions": {a.Final[1], b.Final[2]},
		"stranger":     {a.Final[1], changed(a.Final[2], func(f *dkls23.FinalShare) { f.From = 3 })},
		"epoch":        {a.Final[1], changed(a.Final[2], func(f *dkls23.FinalShare) { f.Epoch++ })},
		"echo":         {a.Final[1], changed(a.Final[2], func(f *dkls23.FinalShare) { f.Echo[0] ^= 1 })},
		"R":            {a.Final[1], changed(a.Final[2], func(f *dkls23.FinalShare) { f.R[0] ^= 1 })},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dkls23.Combine(key, mpctest.IDs(2), hash, nil, shares)
			mpctest.WantAbort(t, err, mpc.Benign)
		})
	}
}

func changed(f *dkls23.FinalShare, change func(*dkls23.FinalShare)) *dkls23.FinalShare {
	c := *f
	change(&c)
	return &c
}
