package refmodel

import (
	"bytes"
	"errors"
	"math/big"
	"testing"
)

type otVector struct {
	Suite     string
	PSID      hexBytes `json:"psid"`
	Sender    int
	Receiver  int
	BobRand   string   `json:"bob_rand"`
	AliceRand string   `json:"alice_rand"`
	Message1  hexBytes `json:"message1"`
	Message2  hexBytes `json:"message2"`
	K0        hexBytes `json:"k0"`
	K1        hexBytes `json:"k1"`
	Delta     hexBytes `json:"delta"`
	K         hexBytes `json:"k"`
}

func otVectors(t *testing.T) []otVector {
	var vs []otVector
	load(t, "baseot", "baseot-DKLS23-SECP256K1-B4.json", &vs)
	if len(vs) == 0 {
		t.Fatal("the file holds no vector")
	}
	return vs
}

func TestBaseOTVectors(t *testing.T) {
	t.Parallel()
	for i, v := range otVectors(t) {
		if i > 0 && underRace {
			break
		}
		if v.Suite != Suite {
			t.Errorf("suite %q", v.Suite)
		}
		in := OTInstance{v.PSID, v.Sender, v.Receiver}
		bob, m1, err := NewOTSender(in, NewStream(v.BobRand))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "message 1", m1, v.Message1)
		m2, alice, err := OTReceive(in, v.Message1, NewStream(v.AliceRand))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "message 2", m2, v.Message2)
		same(t, "Δ", alice.Delta, v.Delta)
		same(t, "k", cat(alice.K...), v.K)
		keys, err := bob.Finish(v.Message2)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "k0", cat(keys.K0...), v.K0)
		same(t, "k1", cat(keys.K1...), v.K1)
		for i := range rows {
			k := [2][]byte{keys.K0[i], keys.K1[i]}
			if c := bit(alice.Delta, i); !bytes.Equal(k[c], alice.K[i]) || bytes.Equal(k[1-c], alice.K[i]) {
				t.Errorf("OT %d: Alice's key is not Bob's of her choice alone", i)
			}
		}
	}
}

func TestBaseOTRefuses(t *testing.T) {
	v := otVectors(t)[0]
	in := OTInstance{v.PSID, v.Sender, v.Receiver}
	for _, m := range [][]byte{nil, v.Message1[:33], flip(v.Message1, 0), cat(u8(1), make([]byte, 33))} {
		if _, _, err := OTReceive(in, m, NewStream("x")); err == nil {
			t.Errorf("message 1 %x was taken", m)
		}
	}
	bob, _, err := NewOTSender(in, NewStream(v.BobRand))
	if err != nil {
		t.Fatal(err)
	}
	// T_{0,0} = −H(0, 0, T_{0,1}) makes E_{0,0} the identity.
	t1, err := DecodePoint(v.Message2[34:67])
	if err != nil {
		t.Fatal(err)
	}
	identity := cat(u8(1), in.hash(0, 0, t1).Neg().Bytes(), v.Message2[34:])
	for _, m := range [][]byte{nil, v.Message2[1:], flip(v.Message2, 0), cat(u8(1), make([]byte, 33), v.Message2[34:]), identity} {
		if _, err := bob.Finish(m); err == nil {
			t.Errorf("a message 2 of %d bytes was taken", len(m))
		}
	}
}

// The key depends on every item: the same points under another psid, direction,
// index or choice give another key.
func TestBaseOTKeySeparation(t *testing.T) {
	y, t0, t1 := g, g.Add(g), g.Add(g).Add(g)
	base := OTInstance{make([]byte, 32), 1, 2}
	other := OTInstance{flip(make([]byte, 32), 0), 1, 2}
	seen := map[string]bool{}
	for _, k := range [][]byte{
		base.key(0, 0, y, [2]Point{t0, t1}, y), base.key(1, 0, y, [2]Point{t0, t1}, y), base.key(0, 1, y, [2]Point{t0, t1}, y),
		base.key(0, 0, t0, [2]Point{t0, t1}, y), base.key(0, 0, y, [2]Point{t1, t0}, y), base.key(0, 0, y, [2]Point{t0, t1}, t0),
		other.key(0, 0, y, [2]Point{t0, t1}, y), OTInstance{base.PSID, 2, 1}.key(0, 0, y, [2]Point{t0, t1}, y),
	} {
		if seen[string(k)] {
			t.Errorf("key %x twice", k)
		}
		seen[string(k)] = true
	}
	points := map[string]bool{}
	for _, pt := range []Point{base.hash(0, 0, g), base.hash(0, 1, g), base.hash(1, 0, g), other.hash(0, 0, g),
		base.sample(0, g.Bytes()), base.sample(1, g.Bytes()), other.sample(0, g.Bytes())} {
		if points[string(pt.Bytes())] {
			t.Errorf("point %x twice", pt.Bytes())
		}
		points[string(pt.Bytes())] = true
	}
}

// What side 0 refuses of the last messages of a pair setup. Its base OTs are
// dealt, so that this takes no base OT.
func TestPairRefuses(t *testing.T) {
	psid, setup := H256([]byte("psid")), H256([]byte("setup"))
	frame := func(step int, parts ...[]byte) []byte {
		return cat(u8(1), u8(step), u16(2), u16(1), psid, cat(parts...))
	}
	at := func(step int) *PairSide { // side 1, awaiting the peer's message of that step
		none := make([][]byte, step-1)
		return &PairSide{Self: 1, Peer: 2, psid: psid, Hash: setup, mine: append(none, nil), theirs: none, rnd: NewStream("pair")}
	}
	if _, err := at(5).Take(frame(5, setup)); err != nil {
		t.Fatal(err)
	}
	if _, err := at(5).Take(flip(frame(5, setup), 6)); !errors.Is(err, errIgnored) {
		t.Errorf("m5 of another psid: %v", err)
	}
	_, err := at(5).Take(frame(5, flip(setup, 0)))
	wantClass(t, "another hash", err, Benign, 0)
	for name, m := range map[string][]byte{
		"another step": frame(4, setup), "another author": flip(frame(5, setup), 3),
		"for another": flip(frame(5, setup), 5), "another version": flip(frame(5, setup), 0), "a byte more": frame(5, setup, u8(0)),
	} {
		_, err := at(5).Take(m)
		wantClass(t, "m5, "+name, err, Attributed, 2)
	}

	seeds := dealt("pair")
	dsid := selfTest(psid, 1, 2)
	bob, m1 := VOLEReceive(seeds, 1, dsid, NewStream("bob"))
	a := [2]*big.Int{big.NewInt(3), big.NewInt(4)}
	both := [][2]*big.Int{a}
	cs, m2, err := VOLESend(seeds, dsid, m1, both, NewStream("alice"))
	if err != nil {
		t.Fatal(err)
	}
	c := cs[0]
	four := func() *PairSide {
		s := at(4)
		s.vole = bob
		return s
	}
	if _, err := four().Take(frame(4, m2, enc(a[0]), enc(a[1]), enc(c[0]), enc(c[1]))); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string][]byte{
		"another a": frame(4, m2, enc(a[1]), enc(a[1]), enc(c[0]), enc(c[1])), "another c": frame(4, m2, enc(a[0]), enc(a[1]), enc(c[0]), enc(c[0])),
		"another μ": frame(4, flip(m2, len(m2)-1), enc(a[0]), enc(a[1]), enc(c[0]), enc(c[1])),
	} {
		_, err := four().Take(m)
		wantClass(t, "m4, "+name, err, Benign, 0)
	}
	_, err = four().Take(frame(4, m2, enc(a[0]), enc(a[1]), enc(q), enc(c[1])))
	wantClass(t, "m4, no scalar", err, Attributed, 2)
	// m3: the peer is Bob; its trees and its VOLE message.
	bobSeeds, aliceSeeds := dealtOT("pair")
	planted, treesMessage := PlantTrees(OTInstance{psid, 2, 1}, bobSeeds)
	_, peers := VOLEReceive(planted, 1, selfTest(psid, 2, 1), NewStream("peer"))
	three := func(m []byte) error {
		s := at(3)
		s.seeds = aliceSeeds
		_, err := s.Take(m)
		return err
	}
	good := frame(3, treesMessage, peers)
	if err := three(good); err != nil {
		t.Fatal(err)
	}
	start := 38 + treesLen
	wantClass(t, "m3, S", three(flip(good, start-1)), Benign, 0)
	wantClass(t, "m3, TH", three(flip(good, len(good)-1)), Benign, 0)
	wantClass(t, "m3, version of the trees", three(flip(good, 38)), Attributed, 2)
	wantClass(t, "m3, version of the VOLE", three(flip(good, start)), Attributed, 2)
	for _, m := range [][]byte{nil, m1[:len(m1)-1], cat(m1, u8(0)), flip(m1, 0)} {
		if _, _, err := VOLESend(seeds, dsid, m, both, NewStream("alice")); err == nil {
			t.Error("a VOLE message 1 not in form was taken")
		}
	}
	for _, m := range [][]byte{nil, m2[:len(m2)-1], cat(m2, u8(0)), flip(m2, 0)} {
		if _, err := bob.Finish(m); err == nil {
			t.Error("a VOLE message 2 not in form was taken")
		}
	}
}

type pairVector struct {
	Suite   string
	Context hexBytes
	Hash    hexBytes
	Sides   []struct {
		ID             int `json:"id"`
		Boot           hexBytes
		Rand           string
		M1             hexBytes   `json:"m1"`
		MessagesSHA256 []hexBytes `json:"messages_sha256"`
		Bob            hexBytes
		Alice          hexBytes
	}
}

func TestPairVectors(t *testing.T) {
	if underRace {
		t.Skip("the model has no goroutine, and this takes six times as long under the detector")
	}
	t.Parallel()
	var vs []pairVector
	load(t, "pair", "pair-DKLS23-SECP256K1-B4.json", &vs)
	if len(vs) == 0 {
		t.Fatal("the file holds no vector")
	}
	for _, v := range vs {
		if v.Suite != Suite {
			t.Errorf("suite %q", v.Suite)
		}
		var sides [2]*PairSide
		var next [2][]byte
		for i, s := range v.Sides {
			side, m, err := NewPairSide(s.ID, v.Sides[1-i].ID, v.Context, v.Sides[0].Boot, v.Sides[1].Boot, NewStream(s.Rand))
			if err != nil {
				t.Fatal(err)
			}
			sides[i], next[i] = side, m
			same(t, "m1", m, s.M1)
		}
		for step := range 5 {
			var after [2][]byte
			for i, s := range v.Sides {
				same(t, "the hash of a message", H256(next[i]), s.MessagesSHA256[step])
				var err error
				if after[i], err = sides[i].Take(next[1-i]); err != nil {
					t.Fatalf("side %d, step %d: %v", i, step+1, err)
				}
			}
			next = after
		}
		for i, s := range v.Sides {
			same(t, "bob", joined(sides[i].Bob.Leaves), s.Bob)
			same(t, "alice", cat(sides[i].Alice.Delta, joined(sides[i].Alice.Shifted)), s.Alice)
			same(t, "hash", sides[i].Hash, v.Hash)
		}
	}
}

// joined is all leaves of tree 0, of tree 1, ….
func joined(of [][][]byte) []byte {
	var out []byte
	for _, tree := range of {
		out = cat(out, cat(tree...))
	}
	return out
}
