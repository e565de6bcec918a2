package lifecycle_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// plans are a refresh of 2-of-3 and a reshare of it by 2 and 3 to 3-of-5 with 1
// leaving, for both curves: 2 deals and stays, 3 deals and leaves, 4, 5, 9 and 10
// are new.
func plans(t testing.TB, suite mpc.Suite) map[string]*mpctest.LifePlan {
	k := newKey(t, suite, "lies", mpctest.IDs(3), 2)
	return map[string]*mpctest.LifePlan{
		"refresh": k.refresh(),
		"reshare": k.reshare(ids(2, 3), ids(2, 4, 5, 9, 10), 3),
	}
}

// eachPlan runs f for both kinds and both curves. me is who looks, at dealer 3.
func eachPlan(t *testing.T, f func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID)) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		for name, plan := range plans(t, suite) {
			if race && (name == "refresh") != suite.ZeroShares() {
				continue
			}
			me := mpc.ID(1)
			if name == "reshare" {
				me = 9
			}
			t.Run(fmt.Sprintf("%s/%s", suite, name), func(t *testing.T) { f(t, plan, me) })
		}
	}
}

// start runs rounds 0 … r honestly.
func start(t testing.TB, label string, plan *mpctest.LifePlan, r int) *mpctest.Life {
	t.Helper()
	l, err := mpctest.NewLife(label, plan)
	if err != nil {
		t.Fatal(err)
	}
	for k := range r + 1 {
		if err := l.Round(k); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// convict demands evidence against id that a third party verifies, and that no
// change of it convicts anybody.
func convict(t *testing.T, err error, cert *dkg.Certificate, id mpc.ID) {
	t.Helper()
	mpctest.WantAbort(t, err, mpc.Attributed, id)
	evidence := dkg.Evidence(err)
	if len(evidence) != 1 {
		t.Fatalf("%d pieces of evidence in %v, want 1", len(evidence), err)
	}
	verify := mpctest.Verify("session")
	if got, err := lifecycle.VerifyEvidence(evidence[0], cert, verify); err != nil || got != id {
		t.Errorf("evidence convicts %d, %v, want %d", got, err, id)
	}
	for at := 0; at < len(evidence[0]); at += stride {
		if got, err := lifecycle.VerifyEvidence(mpctest.Flip(evidence[0], at), cert, verify); err == nil {
			t.Errorf("evidence with byte %d changed convicts %d", at, got)
		}
	}
	for _, bad := range [][]byte{nil, evidence[0][:40], append(slices.Clone(evidence[0]), 0)} {
		if _, err := lifecycle.VerifyEvidence(bad, cert, verify); err == nil {
			t.Errorf("%d bytes convict somebody", len(bad))
		}
	}
	if _, err := lifecycle.VerifyEvidence(evidence[0], nil, verify); err == nil {
		t.Error("evidence without a certificate convicts somebody")
	}
	if _, err := lifecycle.VerifyEvidence(evidence[0], cert, nil); err == nil {
		t.Error("evidence that nobody verifies convicts somebody")
	}
}

// A dealer that signs a share which is not on its polynomial.
func TestWrongShareIsEvidence(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		l := start(t, "wrong share", plan, 2)
		if err := l.Sessions[3].ReplacePolynomial(mpctest.Reader("another polynomial")); err != nil {
			t.Fatal(err)
		}
		if err := l.Round(3); err != nil {
			t.Fatal(err)
		}
		_, err := l.Finish(me)
		convict(t, err, plan.Certificate, 3)
		mpctest.WantStep(t, err, "lifecycle finish")
	})
}

// A dealer whose sharing is not of zero is found at its shares: it can't even
// write the constant term down.
func TestRefreshWithAnotherConstantIsEvidence(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "constant", mpctest.IDs(3), 2)
	l := start(t, "constant", k.refresh(), 2)
	// The same coefficients as before, but f(0) = 1.
	rand := mpctest.Reader("constant/3")
	if _, err := io.ReadFull(rand, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	if err := l.Sessions[3].ReplaceConstant(rand, 1); err != nil {
		t.Fatal(err)
	}
	if !l.Sessions[3].CommitsTo(1) {
		t.Fatal("the vector is another one than that of the shifted polynomial")
	}
	if err := l.Round(3); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids(1, 2) {
		_, err := l.Finish(id)
		convict(t, err, k.cert, 3)
	}
}

// A dealer of a reshare that deals another secret than its weighted share.
func TestReshareOfAnotherSecretIsEvidence(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTSecp256k1TR, mpc.FROSTEd25519} {
		k := newKey(t, suite, "constant", mpctest.IDs(3), 2)
		other := newKey(t, suite, "another key", mpctest.IDs(3), 2)
		plan := k.reshare(ids(2, 3), ids(2, 4, 5), 2)
		l := start(t, "constant", plan, 0)
		l.Sessions[3].ReplaceShare(other.shares[3])
		for r := 1; r < 3; r++ {
			if err := l.Round(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids(2, 4, 5) {
			_, _, err := l.Step(3, id)
			convict(t, err, k.cert, 3)
			mpctest.WantStep(t, err, "lifecycle round 3")
		}
	}
}

// The certificate decides what the chain code is, not the dealers: not even all of
// them together.
func TestWrongChainCodeIsEvidence(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		l := start(t, "chain code", plan, 2)
		l.Sessions[3].ReplaceChainCode([32]byte{1})
		if err := l.Round(3); err != nil {
			t.Fatal(err)
		}
		_, err := l.Finish(me)
		convict(t, err, plan.Certificate, 3)

		l = start(t, "chain code", plan, 2)
		l.Sessions[2].ReplaceChainCode([32]byte{1})
		l.Sessions[3].ReplaceChainCode([32]byte{1})
		if err := l.Round(3); err != nil {
			t.Fatal(err)
		}
		_, err = l.Finish(me)
		mpctest.WantAbort(t, err, mpc.Attributed, 2, 3)
	})
}

func TestPitfall32_LifeVectorLength(t *testing.T) {
	// A dealer that really commits to a polynomial of another degree, with a right
	// commitment and a right signature: only its length gives it away.
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		right := plan.Threshold
		if plan.Kind == lifecycle.Refresh {
			right = plan.Certificate.Threshold
		}
		for _, threshold := range []int{right - 1, right + 1} {
			l := start(t, "length", plan, 0)
			l.Sessions[3].ReplaceThreshold(threshold)
			for r := 1; r < 3; r++ {
				if err := l.Round(r); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := l.Step(3, me)
			convict(t, err, plan.Certificate, 3)
		}
	})
}

// Nobody can be convicted of what it rightly did.
func TestHonestDealersCannotBeFramed(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		l := start(t, "framed", plan, 3)
		verify := mpctest.Verify("session")
		vector, share := lifecycle.Frame(l.Sessions[me], 3, l.Private[3][me])
		for _, e := range [][]byte{vector, share} {
			if id, err := lifecycle.VerifyEvidence(e, plan.Certificate, verify); err == nil || !strings.Contains(err.Error(), "is right") {
				t.Errorf("what is right convicts %d, %v", id, err)
			}
			for at := 0; at < len(e); at += stride {
				if id, err := lifecycle.VerifyEvidence(mpctest.Flip(e, at), plan.Certificate, verify); err == nil {
					t.Errorf("byte %d changed convicts %d", at, id)
				}
			}
		}
	})
	// Nor by what it did in another job: the same lie-free vector is wrong in a job
	// of other dealers.
	k := newKey(t, mpc.DKLS23Secp256k1, "framed", mpctest.IDs(3), 2)
	l := start(t, "framed", k.reshare(ids(2, 3), ids(2, 4), 2), 3)
	vector, _ := lifecycle.Frame(l.Sessions[2], 3, l.Private[3][2])
	other := start(t, "framed", k.reshare(ids(1, 3), ids(1, 4), 2), 3)
	template, _ := lifecycle.Frame(other.Sessions[1], 3, other.Private[3][1])
	if len(vector) != len(template) {
		t.Fatal("the two pieces of evidence differ in form")
	}
	framed := slices.Clone(vector)
	copy(framed[34:34+23], template[34:34+23]) // kind, dealers, threshold, parties
	if bytes.Equal(framed, vector) {
		t.Fatal("nothing was changed")
	}
	if id, err := lifecycle.VerifyEvidence(framed, k.cert, mpctest.Verify("session")); err == nil {
		t.Errorf("a vector of another job convicts %d", id)
	}
}

// A seed that is not the one committed to.
func TestWrongSeedIsAttributed(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "seeds", mpctest.IDs(3), 2)
	for _, c := range []struct {
		plan     *mpctest.LifePlan
		liar, me mpc.ID
	}{
		{k.refresh(), 1, 2}, {k.refresh(), 3, 2},
		{k.reshare(ids(2, 3), ids(1, 2, 9), 2), 9, 1}, {k.reshare(ids(2, 3), ids(1, 2, 9), 2), 1, 9},
	} {
		l := start(t, "seeds", c.plan, 2)
		l.Sessions[c.liar].ReplaceSeed(c.me)
		if err := l.Round(3); err != nil {
			t.Fatal(err)
		}
		_, err := l.Finish(c.me)
		mpctest.WantAbort(t, err, mpc.Attributed, c.liar)
	}
}

// Dealer 2 copies dealer 3's commitment and opening.
func TestPitfall24_LifeCommitmentNamesItsSender(t *testing.T) {
	k := newKey(t, mpc.FROSTEd25519, "copied", mpctest.IDs(3), 2) // R2 has no seeds
	l := start(t, "copied", k.refresh(), 1)
	l.Broadcast[1][2] = mpctest.Put(l.Broadcast[1][2], mpctest.OffEchoBody, l.Broadcast[1][3][mpctest.OffEchoBody:])
	if err := l.Round(2); err != nil {
		t.Fatal(err)
	}
	// 2 signs 3's vector as its own, and opens with 3's salt.
	copied := l.Sessions[2].CopyOpening(l.Broadcast[2][3])
	_, err := l.Sessions[1].Round3(map[mpc.ID][]byte{2: copied, 3: l.Broadcast[2][3]})
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
	if err == nil || !strings.Contains(err.Error(), "commitment") {
		t.Errorf("got %v, want a refusal of the commitment", err)
	}
}
