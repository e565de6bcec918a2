package dkls23_test

import (
	"crypto/sha3"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/pprf"
)

const modelFile = "../../internal/refmodel/testdata/model-" + string(mpc.DKLS23Secp256k1) + ".json"

// modelSetups are the pair setups of the model's run: each direction dealt from
// a stream of its own.
func modelSetups(t *testing.T, m *mpctest.Model) mpctest.Setups {
	t.Helper()
	out := make(mpctest.Setups)
	for _, id := range m.Signers {
		out[id] = make(map[mpc.ID]*pair.Setup)
	}
	for i, lo := range m.Signers {
		for _, hi := range m.Signers[i+1:] {
			x, y := &pair.Setup{Self: lo, Peer: hi}, &pair.Setup{Self: hi, Peer: lo}
			x.Hash = [32]byte(m.SetupHashes[fmt.Sprintf("%d %d", lo, hi)])
			y.Hash = x.Hash
			x.Bob, y.Alice = deal(t, lo, hi)
			y.Bob, x.Alice = deal(t, hi, lo)
			out[lo][hi], out[hi][lo] = x, y
		}
	}
	return out
}

// deal makes the trees of one direction.
func deal(t *testing.T, bob, alice mpc.ID) (*pprf.Full, *pprf.Punctured) {
	t.Helper()
	stream := sha3.NewSHAKE256()
	if _, err := fmt.Fprintf(stream, "bob %d alice %d", bob, alice); err != nil {
		t.Fatal(err)
	}
	return dealTrees(t, stream)
}

// The reference model, written from the specification alone, and this package
// agree on every byte of a run that the model froze: three signers of 3-of-4,
// ids up to 65535, a message hash that is not below q, no tweak, no attachments.
func TestModel(t *testing.T) {
	m := mpctest.LoadModel(t, modelFile)
	keys := make(map[mpc.ID]*dkg.KeyShare)
	for _, id := range m.Signers {
		k, err := dkg.DecodeKeyShare(m.KeyShares[id])
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = k
	}
	tweak := secp256k1.NewScalar()
	if err := tweak.SetBytes(m.Tweak); err != nil {
		t.Fatal(err)
	}
	s, err := mpctest.NewSign("refmodel sign", keys, modelSetups(t, m), m.Signers, func(cfg *dkls23.Config) {
		cfg.AttemptID, cfg.RequestHash, cfg.MessageHash = [16]byte(m.Attempt), [32]byte(m.RequestHash), [32]byte(m.MessageHash)
		cfg.Purpose, cfg.Tweak = m.Purpose, tweak
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Bare = true
	sig := mustSign(t, s)
	sid := s.Sessions[m.Signers[0]].SID()
	mpctest.Same(t, "sid", sid[:], m.SID)
	mpctest.SameMessages(t, mpctest.Sent(s.Broadcast[:], s.Private[:]), m.Messages)
	w, u := secp256k1.NewScalar(), secp256k1.NewScalar()
	for _, id := range m.Signers {
		b, err := s.Final[id].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		mpctest.Same(t, fmt.Sprintf("final share of %d", id), b, m.FinalShares[id])
		w.Add(w, &s.Final[id].W)
		u.Add(u, &s.Final[id].U)
	}
	raw := sig.Bytes()
	mpctest.Same(t, "signature", raw[:], m.Signature)
	if negated := w.Mul(w, u.Invert(u)).IsHigh() == 1; negated != m.Negated {
		t.Errorf("s was negated: %t, the model says %t", negated, m.Negated)
	}
}
