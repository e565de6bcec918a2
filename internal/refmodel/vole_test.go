package refmodel

import (
	"errors"
	"math/big"
	"testing"
)

type voleVector struct {
	Suite     string
	SeedsRand string       `json:"seeds_rand"`
	DSID      hexBytes     `json:"dsid"`
	BobRand   string       `json:"bob_rand"`
	AliceRand string       `json:"alice_rand"`
	A         [][]hexBytes `json:"a"`
	Message1  hexBytes     `json:"message1"`
	Chi       []hexBytes   `json:"chi"`
	Message2  hexBytes     `json:"message2"`
	C         [][]hexBytes `json:"c"`
	D         [][]hexBytes `json:"d"`
}

func voleVectors(t *testing.T) []voleVector {
	var vs []voleVector
	load(t, "vole", "vole-DKLS23-SECP256K1-B4.json", &vs)
	if len(vs) == 0 {
		t.Fatal("the file holds no vector")
	}
	return vs
}

// dealt is seeds_rand: Δ, then the leaves of every tree.
func dealt(seed string) Trees {
	rnd := NewStream(seed)
	tr := Trees{Delta: rnd.Bytes(16)}
	for i := range trees {
		var r [][]byte
		for range leaves {
			r = append(r, rnd.Bytes(16))
		}
		tr.Leaves = append(tr.Leaves, r)
		shifted := [][]byte{make([]byte, 16)}
		for z := 1; z < leaves; z++ {
			shifted = append(shifted, r[z^block(tr.Delta, i)])
		}
		tr.Shifted = append(tr.Shifted, shifted)
	}
	return tr
}

// Message for message; the third vector is a batch of three.
func TestVOLEVectors(t *testing.T) {
	batch := false
	for _, v := range voleVectors(t) {
		tr, n := dealt(v.SeedsRand), len(v.A)
		batch = batch || n > 1
		bob, m1 := VOLEReceive(tr, n, v.DSID, NewStream(v.BobRand))
		same(t, "message 1", m1, v.Message1)
		var a [][2]*big.Int
		for s := range n {
			same(t, "χ", enc(bob.Chi[s]), v.Chi[s])
			a = append(a, [2]*big.Int{scalarOf(t, v.A[s][0]), scalarOf(t, v.A[s][1])})
		}
		c, m2, err := VOLESend(tr, v.DSID, v.Message1, a, NewStream(v.AliceRand))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "message 2", m2, v.Message2)
		d, err := bob.Finish(v.Message2)
		if err != nil {
			t.Fatal(err)
		}
		for s := range n {
			for w := range 2 {
				same(t, "c", enc(c[s][w]), v.C[s][w])
				same(t, "d", enc(d[s][w]), v.D[s][w])
				if add(c[s][w], d[s][w]).Cmp(mul(a[s][w], bob.Chi[s])) != 0 {
					t.Errorf("signature %d: c_%d + d_%d is not a_%d·χ", s, w, w, w)
				}
			}
		}
		if v.Suite != Suite {
			t.Errorf("suite %q", v.Suite)
		}
	}
	if !batch {
		t.Error("no vector is a batch")
	}
}

// The columns of the extension correlate by Δ: t_j = q_j ⊕ β_j·Δ.
func TestColumnsCorrelate(t *testing.T) {
	v := voleVectors(t)[0]
	for _, n := range []int{1, 2} { // M = 4, padded, and 7
		tr := dealt(v.SeedsRand)
		rows, x, m := extendBob(tr, n, v.DSID, NewStream(v.BobRand))
		qr, err := extendAlice(tr, n, v.DSID, m)
		if err != nil {
			t.Fatal(err)
		}
		for j := range n * columns {
			want := column(qr, j)
			if bit(x, j) == 1 {
				want = xor(want, tr.Delta)
			}
			same(t, "column", column(rows, j), want)
		}
	}
}

// Any change of one bit of the frozen messages fails the check of its reader.
func TestVOLEChecks(t *testing.T) {
	v := voleVectors(t)[0]
	tr := dealt(v.SeedsRand)
	bob, _ := VOLEReceive(tr, 1, v.DSID, NewStream(v.BobRand))
	zero := [][2]*big.Int{two()}
	end := len(v.Message1)
	tree := 0
	for block(tr.Delta, tree) == 0 { // where Δ_i is 0 a change of U_i is no cheat that can be seen
		tree++
	}
	for _, at := range []int{1 + 68*tree + 52, end - 48, end - 33, end - 32, end - 1} { // a tail of U, X, TH
		if _, _, err := VOLESend(tr, v.DSID, flip(v.Message1, at), zero, NewStream("x")); !errors.Is(err, errCheck) {
			t.Errorf("byte %d of message 1: %v", at, err)
		}
	}
	// Byte 1 + 32k + 31 is the last of a scalar, which stays below q.
	end = len(v.Message2)
	for _, at := range []int{32, 32 + 128*415, end - 65, end - 33, end - 1} { // Ã, η_0, η_1, μ
		if _, err := bob.Finish(flip(v.Message2, at)); !errors.Is(err, errCheck) {
			t.Errorf("byte %d of message 2: %v", at, err)
		}
	}
	other := flip(v.DSID, 0)
	if _, _, err := VOLESend(tr, other, v.Message1, zero, NewStream("x")); !errors.Is(err, errCheck) {
		t.Errorf("another dsid: %v", err)
	}
	if _, _, err := VOLESend(tr, v.DSID, v.Message1, [][2]*big.Int{two(), two()}, NewStream("x")); err == nil {
		t.Error("a message 1 of one signature was taken for two")
	}
}

// A Bob whose row of tree i lies passes exactly when Δ_i is what he bet on: the
// leak of four bits that quarantine answers.
func TestOneRowLies(t *testing.T) {
	v := voleVectors(t)[0]
	tr := dealt(v.SeedsRand)
	for _, i := range []int{0, 31} {
		for bet := range leaves {
			if underRace && bet > 2 && bet != block(tr.Delta, i) {
				continue
			}
			_, err := extendAlice(tr, 1, v.DSID, selective(tr, v.DSID, i, bet))
			if passed := err == nil; passed != (block(tr.Delta, i) == bet) {
				t.Errorf("tree %d, Δ_%d = %d, bet %d: passed is %v", i, i, block(tr.Delta, i), bet, passed)
			}
		}
	}
}

// selective is the message of a Bob whose row of one tree has other choices, and
// who bets on that block of Δ.
func selective(tr Trees, dsid []byte, tree, bet int) []byte {
	x := NewStream("cheat").Bytes(rowLen(1))
	e := flip(make([]byte, rowLen(1)), 0)
	var u []byte
	var t [][]byte
	for i := range trees {
		ui, ti := expand(1, dsid, i, tr.Leaves[i])
		t = append(t, ti[:]...)
		ui = xor(ui, x)
		if i == tree {
			ui = xor(ui, e)
		}
		u = cat(u, ui)
	}
	h := newUniversal(1, dsid, u)
	var hashes []byte
	for r, ti := range t {
		hr := h.of(ti)
		if r/depth == tree && bet>>(r%depth)&1 == 1 {
			hr = xor(hr, h.of(e))
		}
		hashes = cat(hashes, hr)
	}
	return cat(u, h.of(x), RO("T", 32, dsid, hashes))
}
