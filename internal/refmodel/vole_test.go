package refmodel

import (
	"errors"
	"math/big"
	"testing"
)

type voleVector struct {
	Suite     string
	SeedsRand string     `json:"seeds_rand"`
	DSID      hexBytes   `json:"dsid"`
	BobRand   string     `json:"bob_rand"`
	AliceRand string     `json:"alice_rand"`
	A         []hexBytes `json:"a"`
	Message1  hexBytes   `json:"message1"`
	Chi       hexBytes   `json:"chi"`
	Message2  hexBytes   `json:"message2"`
	C         []hexBytes `json:"c"`
	D         []hexBytes `json:"d"`
}

func voleVectors(t *testing.T) []voleVector {
	behind(t)
	var vs []voleVector
	load(t, "vole", "vole-DKLS23-SECP256K1-B4.json", &vs)
	if len(vs) == 0 {
		t.Fatal("the file holds no vector")
	}
	return vs
}

// dealt is seeds_rand: Δ, then k_{i,0}, k_{i,1} for every i.
func dealt(seed string) Seeds {
	rnd := NewStream(seed)
	s := Seeds{Delta: rnd.Bytes(16)}
	for i := range rows {
		k := [2][]byte{rnd.Bytes(16), rnd.Bytes(16)}
		s.K0, s.K1, s.K = append(s.K0, k[0]), append(s.K1, k[1]), append(s.K, k[bit(s.Delta, i)])
	}
	return s
}

func TestVOLEVectors(t *testing.T) {
	for _, v := range voleVectors(t) {
		s := dealt(v.SeedsRand)
		bob, m1 := VOLEReceive(s, v.DSID, NewStream(v.BobRand))
		same(t, "message 1", m1, v.Message1)
		same(t, "χ", enc(bob.Chi), v.Chi)
		a := [2]*big.Int{scalarOf(t, v.A[0]), scalarOf(t, v.A[1])}
		c, m2, err := VOLESend(s, v.DSID, v.Message1, a, NewStream(v.AliceRand))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "message 2", m2, v.Message2)
		d, err := bob.Finish(v.Message2)
		if err != nil {
			t.Fatal(err)
		}
		for w := range 2 {
			same(t, "c", enc(c[w]), v.C[w])
			same(t, "d", enc(d[w]), v.D[w])
			if add(c[w], d[w]).Cmp(mul(a[w], bob.Chi)) != 0 {
				t.Errorf("c_%d + d_%d is not a_%d·χ", w, w, w)
			}
		}
		if v.Suite != Suite {
			t.Errorf("suite %q", v.Suite)
		}
	}
}

// The columns of the extension correlate by Δ: t_j = q_j ⊕ β_j·Δ.
func TestColumnsCorrelate(t *testing.T) {
	v := voleVectors(t)[0]
	s := dealt(v.SeedsRand)
	tr, x, m := extendBob(s, v.DSID, NewStream(v.BobRand))
	qr, err := extendAlice(s, v.DSID, m)
	if err != nil {
		t.Fatal(err)
	}
	for j := range columns {
		want := column(qr, j)
		if bit(x, j) == 1 {
			want = xor(want, s.Delta)
		}
		same(t, "column", column(tr, j), want)
	}
}

// Any change of one bit of the frozen messages fails the check of its reader.
func TestVOLEChecks(t *testing.T) {
	v := voleVectors(t)[0]
	s := dealt(v.SeedsRand)
	bob, _ := VOLEReceive(s, v.DSID, NewStream(v.BobRand))
	zero := [2]*big.Int{new(big.Int), new(big.Int)}
	end := len(v.Message1)
	for _, at := range []int{1 + 52, end - 48, end - 33, end - 32, end - 1} { // U_0's tail, X, TH
		if _, _, err := VOLESend(s, v.DSID, flip(v.Message1, at), zero, NewStream("x")); !errors.Is(err, errCheck) {
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
	if _, _, err := VOLESend(s, other, v.Message1, zero, NewStream("x")); !errors.Is(err, errCheck) {
		t.Errorf("another dsid: %v", err)
	}
}

// A message 1 whose row i lies passes exactly when Δ_i is 0: the leak of one
// bit that quarantine answers.
func TestOneRowLies(t *testing.T) {
	v := voleVectors(t)[0]
	s := dealt(v.SeedsRand)
	for i := range 8 {
		u, x, k := selective(s, v.DSID, i)
		_, err := extendAlice(s, v.DSID, cat(u, x, k))
		if passed := err == nil; passed != (bit(s.Delta, i) == 0) {
			t.Errorf("row %d, Δ_%d = %d: passed is %v", i, i, bit(s.Delta, i), passed)
		}
	}
}

// selective is extendBob of a cheat whose row i uses other choices.
func selective(s Seeds, dsid []byte, row int) (u, xh, th []byte) {
	x := NewStream("cheat").Bytes(rowLen)
	for i := range rows {
		choice := x
		if i == row {
			choice = flip(x, 0)
		}
		u = append(u, xor(xor(prg(s.K0[i], dsid), prg(s.K1[i], dsid)), choice)...)
	}
	h := newUniversal(dsid, u)
	var hashes []byte
	for i := range rows {
		hashes = append(hashes, h.of(prg(s.K0[i], dsid))...)
	}
	return u, h.of(x), RO("T", 32, dsid, hashes)
}
