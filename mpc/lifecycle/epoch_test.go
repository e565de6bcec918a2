package lifecycle_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// mix returns the shares of old for some and of next for the others.
func mix(old, next key, from []mpc.ID) map[mpc.ID]*dkg.KeyShare {
	out := make(map[mpc.ID]*dkg.KeyShare)
	for id, s := range next.shares {
		out[id] = s
	}
	for _, id := range from {
		out[id] = old.shares[id]
	}
	return out
}

// t−1 old shares are of no use beside new ones: no set with both interpolates to
// the key, and signers of two epochs part without blame before any cryptography.
func TestOldSharesDoNotMixWithNewOnes(t *testing.T) {
	for _, suite := range mpc.Suites() {
		if race && suite != mpc.FROSTEd25519 {
			continue
		}
		old := newKey(t, suite, "mix", mpctest.IDs(5), 3)
		for name, plan := range map[string]*mpctest.LifePlan{
			"refresh": old.refresh(),
			"reshare": old.reshare(ids(1, 3, 5), mpctest.IDs(5), 3),
			"lower":   old.reshare(ids(1, 3, 5), mpctest.IDs(5), 2),
		} {
			next := run(t, "mix", plan)
			for _, from := range [][]mpc.ID{ids(1), ids(5), ids(1, 2), ids(2, 4)} { // up to t−1 old ones
				mixed := mix(old, next, from)
				for k := 2; k <= 5; k++ {
					for _, set := range subsets(ids(1, 2, 3, 4, 5), k) {
						some, all := false, true
						for _, id := range set {
							isOld := mixed[id] == old.shares[id]
							some, all = some || isOld, all && isOld
						}
						if some && !all && isKey(secret(t, mixed, set), next.cert) {
							t.Errorf("%s %s: shares of %v, of which %v are old, make the key", suite, name, set, from)
						}
					}
				}
			}
		}
	}
	old := newKey(t, mpc.DKLS23Secp256k1, "mix", mpctest.IDs(3), 2)
	next := run(t, "mix", old.refresh())
	setups, err := mpctest.Pairs("mix", ids(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	s, err := mpctest.NewSign("mix", mix(old, next, ids(1)), setups, ids(1, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Round(0); err != nil {
		t.Fatal(err)
	}
	if err := s.Round(1); err == nil {
		t.Fatal("signers of two epochs go on")
	}
	for _, err := range s.Errors {
		mpctest.WantAbort(t, err, mpc.Benign)
		if !strings.Contains(fmt.Sprint(err), "epoch") {
			t.Errorf("%v does not name the epoch", err)
		}
	}
}

// Whoever holds t−1 shares of the old epoch and t'−1 of the new one knows nothing
// of the key: for every value of it there is exactly one pair of polynomials that
// gives those shares. (One honest dealer makes the new polynomial independent of
// the old but for the constant term.) Shown for values that are not the key, with
// the shares that real sessions made.
func TestOldAndNewSharesFitEverySecret(t *testing.T) {
	old := newKey(t, mpc.DKLS23Secp256k1, "fit", mpctest.IDs(5), 3)
	for _, plan := range []*mpctest.LifePlan{
		old.refresh(),
		old.reshare(ids(1, 3, 5), mpctest.IDs(5), 3),
		old.reshare(ids(1, 3, 5), mpctest.IDs(5), 4),
		old.reshare(ids(1, 3, 5), ids(4, 5), 2),
	} {
		next := run(t, "fit", plan)
		curve := group.Secp256k1()
		for i := range uint64(8) {
			guess := curve.NewScalar().SetUint64(i)
			if i == 7 {
				guess = secret(t, old.shares, ids(1, 2, 3)) // the key itself
			}
			for _, c := range []key{old, next} {
				known := c.cert.Parties[len(c.cert.Parties)-c.cert.Threshold+1:] // t−1 of them
				f := through(t, guess, c, known)
				if len(f) != c.cert.Threshold || f[0].Equal(guess) != 1 {
					t.Fatal("the polynomial has another degree or constant term")
				}
				for _, id := range known {
					if eval(f, id).Equal(c.shares[id].Share()) != 1 {
						t.Errorf("no polynomial of degree %d gives the share of %d and the guess %d", c.cert.Threshold-1, id, i)
					}
				}
				// It is the real one for the real key only: the next share tells.
				other := c.cert.Parties[0]
				if real := eval(f, other).Equal(c.shares[other].Share()) == 1; real != (i == 7) {
					t.Errorf("guess %d fits t shares: %v", i, real)
				}
			}
			// And the pair is one that a session can make: the dealers' polynomials are
			// free but for their constant terms, so any f' with the same f'(0) is a sum.
		}
	}
}

// through returns the coefficients of the polynomial of degree t−1 that has this
// constant term and gives the known t−1 shares: the system of t−1 equations in
// a₁ … a_{t−1} is solved by elimination.
func through(t *testing.T, constant group.Scalar, k key, known []mpc.ID) []group.Scalar {
	t.Helper()
	curve, n := constant.Curve(), len(known)
	m := make([][]group.Scalar, n)
	for i, id := range known {
		x := sharing.Scalar(curve, id)
		power := curve.NewScalar().Set(x)
		for range n {
			m[i] = append(m[i], curve.NewScalar().Set(power))
			power.Mul(power, x)
		}
		m[i] = append(m[i], curve.NewScalar().Sub(k.shares[id].Share(), constant))
	}
	for c := range n {
		if m[c][c].IsZero() == 1 {
			t.Fatal("the system is singular: more than one polynomial, or none")
		}
		inverse := curve.NewScalar().Invert(m[c][c])
		for j := range m[c] {
			m[c][j].Mul(m[c][j], inverse)
		}
		for i := range n {
			if i == c {
				continue
			}
			f := curve.NewScalar().Set(m[i][c])
			for j := range m[i] {
				m[i][j].Sub(m[i][j], curve.NewScalar().Mul(f, m[c][j]))
			}
		}
	}
	out := []group.Scalar{constant}
	for i := range n {
		out = append(out, m[i][n])
	}
	return out
}

func eval(f []group.Scalar, id mpc.ID) group.Scalar {
	curve := f[0].Curve()
	x, y := sharing.Scalar(curve, id), curve.NewScalar()
	for k := len(f) - 1; k >= 0; k-- {
		y.Add(y.Mul(y, x), f[k])
	}
	return y
}

// The old share is what it was, to the byte, after a refresh that succeeds, one
// that aborts at each step, and the end of the new share.
func TestOldShareIsCopiedNeverChanged(t *testing.T) {
	old := newKey(t, mpc.DKLS23Secp256k1, "copied", mpctest.IDs(3), 2)
	before := make(map[mpc.ID][]byte)
	for id, s := range old.shares {
		before[id] = s.Encode()
	}
	certificate := old.cert.Encode()
	same := func(when string) {
		t.Helper()
		for id, s := range old.shares {
			if !bytes.Equal(before[id], s.Encode()) || !s.Active() {
				t.Fatalf("the old share of %d has changed %s", id, when)
			}
		}
		if !bytes.Equal(certificate, old.cert.Encode()) {
			t.Fatalf("the old certificate has changed %s", when)
		}
	}
	for _, plan := range []*mpctest.LifePlan{old.refresh(), old.reshare(ids(1, 2), ids(1, 2, 3), 2)} {
		next := run(t, "copied", plan)
		same("after " + plan.Kind.String())
		for _, s := range next.shares {
			for id, x := range s.PublicShares {
				x.Add(x, s.PublicShares[id]) // no memory is shared
			}
			s.PublicKey.Negate(s.PublicKey)
			s.Destroy()
		}
		for _, x := range next.cert.Feldman {
			x.Negate(x)
		}
		same("with the new one")
		for r := range 4 {
			if err := receive(t, plan, 1, 2, r, func(b []byte) []byte { return b[:50] }); err == nil {
				t.Error("half a message is accepted")
			}
			same(fmt.Sprintf("after an abort for R%d", r))
		}
	}
}

// New shares sign under the old public key, with pair setups of their own.
func TestNewSharesSign(t *testing.T) {
	old := newKey(t, mpc.DKLS23Secp256k1, "sign", mpctest.IDs(3), 2)
	refreshed := run(t, "sign", old.refresh())
	wider := run(t, "sign", refreshed.reshare(ids(1, 3), ids(2, 3, 4, 5, 6), 3))
	apart := run(t, "sign", wider.reshare(ids(2, 4, 6), ids(11, 12), 2))
	for _, c := range []struct {
		k       key
		signers []mpc.ID
	}{{refreshed, ids(2, 3)}, {wider, ids(3, 4, 6)}, {apart, ids(11, 12)}} {
		if race && len(c.signers) > 2 {
			continue
		}
		setups, err := mpctest.Pairs(fmt.Sprintf("sign in epoch %d", c.k.cert.Epoch), c.signers)
		if err != nil {
			t.Fatal(err)
		}
		s, err := mpctest.NewSign("sign", c.k.shares, setups, c.signers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(); err != nil { // Combine verifies
			t.Fatalf("epoch %d, signers %v: %v", c.k.cert.Epoch, c.signers, err)
		}
		if child := s.Child(); !bytes.Equal(child[:], old.cert.PublicKey().Encode()) {
			t.Error("the signature is under another public key")
		}
	}
}

// The same for FROST, over both curves.
func TestNewSharesSignWithFROST(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR} {
		old := newKey(t, suite, "sign", mpctest.IDs(3), 2)
		refreshed := run(t, "sign", old.refresh())
		wider := run(t, "sign", refreshed.reshare(ids(1, 3), ids(2, 3, 4, 5, 6), 3))
		for _, c := range []struct {
			k       key
			signers []mpc.ID
		}{{refreshed, ids(2, 3)}, {wider, ids(3, 4, 6)}} {
			f, err := mpctest.NewFrost("sign", c.k.shares, mpctest.FrostTerms(c.signers), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Run(); err != nil { // which combines and verifies
				t.Errorf("%s, epoch %d, signers %v: %v", suite, c.k.cert.Epoch, c.signers, err)
			}
		}
		x := old.shares[1].Share()
		dormant, err := dkg.Rebuild(old.cert, 1, x, old.shares[1].ChainCode())
		if err != nil {
			t.Fatal(err)
		}
		if err := dormant.Activate(old.cert, mpctest.Verify("identity")); err != nil {
			t.Fatal(err)
		}
		terms := mpctest.FrostTerms(ids(1, 2))
		if _, err := frost.New(frost.Config{Terms: terms, Key: dormant, Purpose: dormant.Purpose}, mpctest.Reader("dormant")); err == nil || !strings.Contains(err.Error(), "dormant") {
			t.Errorf("%s: a dormant share signs: %v", suite, err)
		}
		if _, err := frost.NewNonce(dormant, ids(1, 2), mpctest.Reader("dormant")); err == nil {
			t.Errorf("%s: a dormant share makes nonces", suite)
		}
	}
}

// A pending share does not sign, nor does a dormant one in any state.
func TestDormantSharesDoNotSign(t *testing.T) {
	old := newKey(t, mpc.DKLS23Secp256k1, "dormant", mpctest.IDs(3), 2)
	s := old.shares[1]
	x := s.Share()
	k, err := dkg.Rebuild(old.cert, 1, x, s.ChainCode())
	if err != nil {
		t.Fatal(err)
	}
	setups, err := mpctest.Pairs("dormant", ids(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(when string, certified bool) {
		t.Helper()
		if k.Active() || !k.Dormant() || k.Certified() != certified {
			t.Errorf("%s: active %v, dormant %v, certified %v", when, k.Active(), k.Dormant(), k.Certified())
		}
		if _, err := k.ZeroSeed(2); err == nil {
			t.Errorf("%s: it has a zero-share seed", when)
		}
		if _, err := dkls23.New(mpctest.SignConfig(k, ids(1, 2), setups[1]), mpctest.Reader("dormant")); err == nil {
			t.Errorf("%s: it signs", when)
		}
		again, err := dkg.DecodeKeyShare(k.Encode())
		if err != nil || again.Active() || !again.Dormant() || again.Certified() != certified || !bytes.Equal(again.Encode(), k.Encode()) {
			t.Errorf("%s: its encoding does not bring it back: %v", when, err)
		}
		k = again
	}
	refuse("rebuilt", false)
	plan := old.refresh()
	plan.Shares = map[mpc.ID]*dkg.KeyShare{1: k, 2: old.shares[2], 3: old.shares[3]}
	if _, err := lifecycle.New(plan.Config(1), mpctest.Reader("dormant")); err == nil {
		t.Error("a share without certificate starts a refresh")
	}
	if err := k.Activate(old.cert, mpctest.Verify("identity")); err != nil {
		t.Fatal(err)
	}
	refuse("certified", true)
	plan.Shares[1] = k
	run(t, "dormant", plan).check(t, old)
}

func TestRebuildChecks(t *testing.T) {
	old := newKey(t, mpc.FROSTEd25519, "rebuild", mpctest.IDs(3), 2)
	chain := old.shares[1].ChainCode()
	foreign := group.Secp256k1().NewScalar().SetUint64(1)
	for name, f := range map[string]func() error{
		"another's share": func() error { _, err := dkg.Rebuild(old.cert, 1, old.shares[2].Share(), chain); return err },
		"a stranger":      func() error { _, err := dkg.Rebuild(old.cert, 4, old.shares[1].Share(), chain); return err },
		"chain code":      func() error { _, err := dkg.Rebuild(old.cert, 1, old.shares[1].Share(), [32]byte{1}); return err },
		"another curve":   func() error { _, err := dkg.Rebuild(old.cert, 1, foreign, chain); return err },
		"no share":        func() error { _, err := dkg.Rebuild(old.cert, 1, nil, chain); return err },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := dkg.Rebuild(old.cert, 1, old.shares[1].Share(), chain); err != nil {
		t.Error(err)
	}
}
