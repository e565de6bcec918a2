package lifecycle_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// same fails when what decodes encodes to other bytes.
func same(t *testing.T, b, again []byte, err error) {
	t.Helper()
	if err == nil && !bytes.Equal(again, b) {
		t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
	}
}

func curveOf(ed bool) group.Curve {
	if ed {
		return group.Ed25519()
	}
	return group.Secp256k1()
}

func fuzzPlans(f *testing.F) []*mpctest.LifePlan {
	k := newKey(f, mpc.DKLS23Secp256k1, "fuzz", mpctest.IDs(3), 2)
	e := newKey(f, mpc.FROSTEd25519, "fuzz", mpctest.IDs(3), 2)
	return []*mpctest.LifePlan{k.refresh(), k.reshare(ids(2, 3), ids(1, 3, 4), 2), e.refresh(), e.reshare(ids(2, 3), ids(1, 3, 4), 2)}
}

func FuzzDecodeR2(f *testing.F) {
	for i, plan := range fuzzPlans(f) {
		f.Add(start(f, "fuzz", plan, 2).Broadcast[2][3], i >= 2, true, i < 2)
	}
	f.Fuzz(func(t *testing.T, b []byte, ed, deals, seeds bool) {
		again, err := lifecycle.Reencode(b, 2, curveOf(ed), deals, seeds)
		same(t, b, again, err)
	})
}

func FuzzDecodeR3(f *testing.F) {
	for i, plan := range fuzzPlans(f) {
		f.Add(start(f, "fuzz", plan, 3).Private[3][1], i >= 2, true, i < 2)
	}
	f.Fuzz(func(t *testing.T, b []byte, ed, deals, seeds bool) {
		again, err := lifecycle.Reencode(b, 3, curveOf(ed), deals, seeds)
		same(t, b, again, err)
	})
}

func FuzzDecodeP1(f *testing.F) {
	k := newKey(f, mpc.DKLS23Secp256k1, "fuzz", mpctest.IDs(3), 2)
	f.Add(startRepair(f, k.repair(2, 1, 3), 1).Broadcast[1][3], false)
	f.Fuzz(func(t *testing.T, b []byte, ed bool) {
		again, err := lifecycle.ReencodeP1(b, curveOf(ed))
		same(t, b, again, err)
	})
}

// Whatever one participant sends, the session ends in an abort or goes on with
// what it was sent, and never panics; and nobody but that participant is blamed.
func FuzzDeliver(f *testing.F) {
	all := fuzzPlans(f)
	for i, plan := range all {
		l := start(f, "receive", plan, 3)
		for r := range 3 {
			f.Add(l.Broadcast[r][3], uint8(r), uint8(i))
		}
		f.Add(l.Private[3][1], uint8(3), uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, round, which uint8) {
		err := receive(t, all[int(which)%len(all)], 1, 3, int(round%4), func([]byte) []byte { return b })
		if a := mpc.AsAbort(err); err != nil && (a == nil || len(a.Culprits) > 0 && !slices.Equal(a.Culprits, ids(3))) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzDeliverRepair is FuzzDeliver for a repair.
func FuzzDeliverRepair(f *testing.F) {
	k := newKey(f, mpc.FROSTEd25519, "fuzz", mpctest.IDs(3), 2)
	p := startRepair(f, k.repair(2, 1, 3), 3)
	for r, b := range [][]byte{p.Broadcast[0][3], p.Broadcast[1][3], p.Private[0][3][1], p.Private[1][3][2]} {
		f.Add(b, uint8(r))
	}
	f.Fuzz(func(t *testing.T, b []byte, round uint8) {
		err := receiveRepair(t, k.repair(2, 1, 3), int(round%4), func([]byte) []byte { return b })
		if a := mpc.AsAbort(err); err != nil && (a == nil || len(a.Culprits) > 0 && !slices.Equal(a.Culprits, ids(3))) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzVerifyEvidence(f *testing.F) {
	plan := fuzzPlans(f)[1]
	l := start(f, "fuzz", plan, 3)
	vector, share := lifecycle.Frame(l.Sessions[1], 3, l.Private[3][1])
	f.Add(vector)
	f.Add(share)
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := lifecycle.VerifyEvidence(b, plan.Certificate, mpctest.Verify("session")); err == nil {
			t.Errorf("bytes without a dishonest signature convict %d", id)
		}
	})
}

func FuzzVerifyRepairEvidence(f *testing.F) {
	k := newKey(f, mpc.DKLS23Secp256k1, "fuzz", mpctest.IDs(3), 2)
	p := startRepair(f, k.repair(2, 1, 3), 3)
	for _, e := range lifecycle.FrameRepair(p.Sessions[2], p.Sessions[1], 3, p.Private[0][3][1], p.Private[1][3][2]) {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := lifecycle.VerifyRepairEvidence(b, k.cert, mpctest.Verify("session")); err == nil {
			t.Errorf("bytes without a dishonest signature convict %d", id)
		}
	})
}

func FuzzAcceptImport(f *testing.F) {
	cfg := importConfig(mpc.DKLS23Secp256k1, mpctest.IDs(3), 2)
	packets, cert, err := lifecycle.Import(cfg, group.Secp256k1().NewScalar().SetUint64(12345), [32]byte{7}, mpctest.Reader("import"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packets[2])
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := lifecycle.AcceptImport(cfg, 2, b)
		if err != nil {
			return
		}
		if !bytes.Equal(pack(out.Certificate, out.Share), b) {
			t.Errorf("another packet gives %x", pack(out.Certificate, out.Share))
		}
		if out.Certificate.Digest() == cert.Digest() && !bytes.Equal(b, packets[2]) {
			t.Error("another packet gives this certificate")
		}
	})
}

func FuzzVerifyShareProof(f *testing.F) {
	k := newKey(f, mpc.DKLS23Secp256k1, "proof", mpctest.IDs(2), 2)
	proof, err := lifecycle.ProveShare(k.shares[1], [32]byte{1}, mpctest.Reader("fuzz"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proof)
	f.Fuzz(func(t *testing.T, b []byte) {
		if lifecycle.VerifyShareProof(k.cert.PublicShares[1], [32]byte{1}, b) == nil && !bytes.Equal(b, proof) {
			t.Errorf("%x proves a share that nobody used", b)
		}
	})
}
