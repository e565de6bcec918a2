package dkls23_test

import (
	"io"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/pprf"
)

// vector is a whole signature; docs/spec/dkls23.md says how to reproduce it.
type vector struct {
	Suite       string                            `json:"suite"`
	Randomness  string                            `json:"randomness"`
	Label       string                            `json:"label"`
	Signers     []mpc.ID                          `json:"signers"`
	KeyShares   map[mpc.ID]mpctest.Hex            `json:"key_shares"`
	Setups      map[mpc.ID]setupVector            `json:"pair_setups"`
	AttemptID   mpctest.Hex                       `json:"attempt_id"`
	RequestHash mpctest.Hex                       `json:"request_hash"`
	MessageHash mpctest.Hex                       `json:"message_hash"`
	Tweak       mpctest.Hex                       `json:"tweak"`
	Purpose     string                            `json:"purpose"`
	Attachment  string                            `json:"attachment"`
	SID         mpctest.Hex                       `json:"sid"`
	Echo        [3]mpctest.Hex                    `json:"echo"`
	Broadcast   [3]map[mpc.ID]mpctest.Hex         `json:"broadcast"`
	Private1    map[mpc.ID]map[mpc.ID]mpctest.Hex `json:"private1"`
	Private2    map[mpc.ID]map[mpc.ID]mpctest.Hex `json:"private2"`
	Final       map[mpc.ID]mpctest.Hex            `json:"final_shares"`
	ChildKey    mpctest.Hex                       `json:"child_key"`
	Signature   mpctest.Hex                       `json:"signature_r_s_recid"`
}

// setupVector is one signer's setup with the other: 32 trees of 16 leaves of 16
// bytes each; Alice's leaf z of tree i is the leaf z ⊕ Δ_i, zeroes at z = 0.
type setupVector struct {
	Peer        mpc.ID      `json:"peer"`
	BobLeaves   mpctest.Hex `json:"bob_leaves"`
	AliceDelta  mpctest.Hex `json:"alice_delta"`
	AliceLeaves mpctest.Hex `json:"alice_leaves"`
	Hash        mpctest.Hex `json:"hash"`
}

func newSetupVector(s *pair.Setup) setupVector {
	v := setupVector{Peer: s.Peer, AliceDelta: s.Alice.Delta[:], Hash: s.Hash[:]}
	for i := range s.Bob.Leaf {
		for x := range s.Bob.Leaf[i] {
			v.BobLeaves = append(v.BobLeaves, s.Bob.Leaf[i][x][:]...)
			v.AliceLeaves = append(v.AliceLeaves, s.Alice.Leaf[i][x][:]...)
		}
	}
	return v
}

// dealtSetups are setups as a dealer would make them: the vectors of signing do
// not depend on how a pair comes to its trees (those are in mpc/pair).
func dealtSetups(t *testing.T, a, b mpc.ID) mpctest.Setups {
	t.Helper()
	x, y := &pair.Setup{Self: a, Peer: b}, &pair.Setup{Self: b, Peer: a}
	rand := mpctest.Reader("golden/setup")
	for _, s := range [][2]*pair.Setup{{x, y}, {y, x}} {
		s[0].Bob, s[1].Alice = dealTrees(t, rand)
	}
	read(t, rand, x.Hash[:])
	y.Hash = x.Hash
	return mpctest.Setups{a: {b: x}, b: {a: y}}
}

// dealTrees makes the trees of one direction: Δ, then leaf x of tree i.
func dealTrees(t *testing.T, rand io.Reader) (*pprf.Full, *pprf.Punctured) {
	t.Helper()
	bob, alice := new(pprf.Full), new(pprf.Punctured)
	read(t, rand, alice.Delta[:])
	for i := range bob.Leaf {
		for x := range bob.Leaf[i] {
			read(t, rand, bob.Leaf[i][x][:])
		}
		block := int(alice.Delta[i/2]>>(4*(i%2))) & 15
		for z := 1; z < pprf.Leaves; z++ {
			alice.Leaf[i][z] = bob.Leaf[i][z^block]
		}
	}
	return bob, alice
}

func read(t *testing.T, r io.Reader, b []byte) {
	t.Helper()
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
}

func TestGolden(t *testing.T) {
	const label = "golden/sign"
	keys, _, err := mpctest.Keys("golden/dkg", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	signers := []mpc.ID{1, 3}
	setups := dealtSetups(t, 1, 3)
	tweak := secp256k1.NewScalar().SetUint64(0x1234567890)
	s, err := mpctest.NewSign(label, keys, setups, signers, func(cfg *dkls23.Config) { cfg.Tweak = tweak })
	if err != nil {
		t.Fatal(err)
	}
	cfg, eps := s.Configs[1], tweak.Bytes()
	v := vector{
		Suite:       string(mpc.DKLS23Secp256k1),
		Randomness:  `signer i reads SHAKE256("coffer/test/" || label || "/" || i), i in decimal`,
		Label:       label,
		Signers:     signers,
		KeyShares:   make(map[mpc.ID]mpctest.Hex),
		Setups:      make(map[mpc.ID]setupVector),
		AttemptID:   cfg.AttemptID[:],
		RequestHash: cfg.RequestHash[:],
		MessageHash: cfg.MessageHash[:],
		Tweak:       eps[:],
		Purpose:     cfg.Purpose,
		Attachment:  `"attachment " || r || " of " || i, round and signer in decimal`,
		Final:       make(map[mpc.ID]mpctest.Hex),
	}
	for i, id := range signers {
		v.KeyShares[id] = keys[id].Encode()
		v.Setups[id] = newSetupVector(setups[id][signers[1-i]])
	}
	sig := mustSign(t, s)
	sid := s.Sessions[1].SID()
	v.SID = sid[:]
	for r := range 3 {
		h := s.Sessions[1].Echo(r)
		v.Echo[r] = h[:]
		v.Broadcast[r] = mpctest.HexMap(s.Broadcast[r])
	}
	v.Private1, v.Private2 = mpctest.HexPrivate(s.Private[1]), mpctest.HexPrivate(s.Private[2])
	for _, id := range signers {
		v.Final[id], err = s.Final[id].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
	}
	child, raw := s.Child(), sig.Bytes()
	v.ChildKey, v.Signature = child[:], raw[:]
	mpctest.Golden(t, "testdata/"+string(mpc.DKLS23Secp256k1)+"-sign-2of3.json", v)
}
