package refmodel

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// with is m with the message of j replaced.
func with(m map[int][]byte, j int, b []byte) map[int][]byte {
	out := map[int][]byte{}
	for k, v := range m {
		out[k] = v
	}
	out[j] = b
	return out
}

// framing calls step with every message set that no honest party sends, however
// the bytes of its messages may be.
func framing(t *testing.T, name string, m map[int][]byte, j int, step func(map[int][]byte) error) {
	t.Helper()
	wantClass(t, name+": a byte more", step(with(m, j, cat(m[j], u8(0)))), Attributed, j)
	wantClass(t, name+": a byte less", step(with(m, j, m[j][:len(m[j])-1])), Attributed, j)
	wantClass(t, name+": half a header", step(with(m, j, m[j][:20])), Attributed, j)
	wantClass(t, name+": nothing", step(with(m, j, nil)), Attributed, j)
	wantClass(t, name+": one missing", step(without(m, j)), Benign, 0)
	wantClass(t, name+": a stranger's", step(with(m, 9, m[j])), Benign, 0)
}

func TestDKGFraming(t *testing.T) {
	v := dkgVectors(t)
	const i, j = 1, 3
	at := [4]*Dealer{}
	for round := range at {
		at[round] = v.through(t, i, round)
	}
	framing(t, "D0", others(v.D0, i), j, func(m map[int][]byte) error { d := *at[0]; _, err := d.Round1(m); return err })
	framing(t, "D1", others(v.D1, i), j, func(m map[int][]byte) error { d := *at[1]; _, err := d.Round2(m); return err })
	framing(t, "D2", others(v.D2, i), j, func(m map[int][]byte) error { d := *at[2]; _, err := d.Round3(m); return err })
	framing(t, "D3", addressed(v.D3, i), j, func(m map[int][]byte) error { d := *at[3]; _, err := d.Finish(m); return err })

	// The lists of a D2 that is well committed and has a coefficient more or less.
	body := headerLen + 32
	for _, coefficients := range []int{1, 3} {
		liar := v.through(t, j, 1)
		liar.f = append(liar.f, big.NewInt(5))[:coefficients]
		forged := liar.own()
		d := *at[2]
		d.commitment = map[int][]byte{2: d.commitment[2], j: liar.commit(j, forged)}
		m := cat(v.D2[j][:body], u32(coefficients), cat(encodeAll(forged.a)...), forged.k.Bytes(), enc(forged.z), forged.cc, forged.salt,
			u32(len(forged.seeds)), cat(forged.seeds...))
		_, err := d.Round3(with(others(v.D2, i), j, m))
		wantClass(t, fmt.Sprintf("%d coefficients", coefficients), err, Attributed, j)
	}
	m := v.D2[j]
	one := cat(m[:len(m)-2*32-4], u32(1), m[len(m)-32:])
	d := *at[2]
	_, err := d.Round3(with(others(v.D2, i), j, one))
	wantClass(t, "one seed commitment", err, Attributed, j)
}

// Polynomials that cancel give no key.
func TestDKGCancels(t *testing.T) {
	v := dkgVectors(t)
	for k := range 3 {
		rounds := []map[int][]byte{{}, {}, {}}
		ds := v.dealers()
		for _, i := range v.Parties {
			rounds[0][i] = ds[i].Round0()
		}
		for _, i := range v.Parties {
			if _, err := ds[i].Round1(without(rounds[0], i)); err != nil {
				t.Fatal(err)
			}
		}
		// The third dealer, who is to know the others' polynomials, shifts its
		// own: so that A_0 is O, or A_1 is, or the public share of 2 is.
		f := [2]*big.Int{}
		for c := range f {
			f[c] = add(ds[1].f[c], ds[2].f[c])
		}
		switch k {
		case 0, 1:
			ds[3].f[k] = neg(f[k])
		case 2:
			two := big.NewInt(2)
			ds[3].f[0] = neg(add(f[0], mul(two, add(f[1], ds[3].f[1]))))
		}
		for _, i := range v.Parties {
			rounds[1][i] = cat(ds[i].message(1, 0), ds[i].echo[0], ds[i].commit(i, ds[i].own()))
			ds[i].sent[1] = rounds[1][i]
		}
		for _, i := range v.Parties {
			var err error
			if rounds[2][i], err = ds[i].Round2(without(rounds[1], i)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ds[1].Round3(without(rounds[2], 1))
		wantClass(t, fmt.Sprint("cancelled ", k), err, Unattributed, 0)
	}
}

func TestSignFraming(t *testing.T) {
	v := signVectors(t)
	i, j := v.Signers[0], v.Signers[1]
	at := [3]*Signer{}
	for round := range at {
		at[round] = v.through(t, round)[i]
	}
	r0, r1, r2 := others(v.Broadcast[0], i), others(v.Broadcast[1], i), others(v.Broadcast[2], i)
	p1, p2 := addressed(v.Private1, i), addressed(v.Private2, i)
	framing(t, "R0", r0, j, func(m map[int][]byte) error { s := *at[0]; _, _, err := s.Round1(m); return err })
	framing(t, "R1", r1, j, func(m map[int][]byte) error { s := *at[1]; _, _, err := s.Round2(m, p1); return err })
	framing(t, "private R1", p1, j, func(m map[int][]byte) error { s := *at[1]; _, _, err := s.Round2(r1, m); return err })
	framing(t, "R2", r2, j, func(m map[int][]byte) error { s := *at[2]; _, err := s.Round3(m, p2); return err })
	framing(t, "private R2", p2, j, func(m map[int][]byte) error { s := *at[2]; _, err := s.Round3(r2, m); return err })

	// A list of setup hashes with one too many.
	list := headerLen + 4*32
	m := slices.Concat(r0[j][:list], u32(2), make([]byte, 32), r0[j][list+4:])
	s := *at[0]
	_, _, err := s.Round1(with(r0, j, m))
	wantClass(t, "two setup hashes", err, Attributed, j)

	// Benign faults of one peer come before the blame of another.
	if err := at[1].check(1, incoming{with(r1, j, flip(r1[j], 0)), 0, at[1].echo[0]}, incoming{with(p1, j, flip(p1[j], 3)), i, nil}); err != nil {
		wantClass(t, "a replay beside another version", err, Benign, 0)
	} else {
		t.Error("a replay was taken")
	}
}

func TestFinalShareFraming(t *testing.T) {
	v := signVectors(t)
	key, err := DecodeKeyShare(v.KeyShares[v.Signers[0]])
	if err != nil {
		t.Fatal(err)
	}
	good := v.FinalShares[v.Signers[1]]
	noPoint := slices.Concat(good[:headerLen+32], u8(4), good[headerLen+33:])
	for name, b := range map[string][]byte{
		"a byte more": cat(good, u8(0)), "a byte less": good[:len(good)-1], "nothing": nil, "no point": noPoint,
		"u is q": slices.Concat(good[:len(good)-32], enc(q)), "w is q": slices.Concat(good[:len(good)-64], enc(q), good[len(good)-32:]),
	} {
		first := []byte(v.FinalShares[v.Signers[0]])
		if name == "no point" { // in both, so that they agree
			first = slices.Concat(first[:headerLen+32], u8(4), first[headerLen+33:])
		}
		if _, err := Combine(key.PublicKey, v.Signers, v.item(t), [][]byte{first, b}); err == nil {
			t.Errorf("%s: combined", name)
		}
	}
}

func TestECDSARanges(t *testing.T) {
	v := signVectors(t)
	pk, err := DecodePoint(v.ChildKey)
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(v.Signature[:32]), new(big.Int).SetBytes(v.Signature[32:64])
	if !VerifyECDSA(pk, v.MessageHash, r, s) {
		t.Fatal("the vector's signature does not verify")
	}
	zero := new(big.Int)
	for name, c := range map[string][2]*big.Int{
		"high s": {r, neg(s)}, "r = 0": {zero, s}, "s = 0": {r, zero}, "r + q": {new(big.Int).Add(r, q), s}, "s + q": {r, new(big.Int).Add(s, q)}, "r + 1": {add(r, big.NewInt(1)), s},
	} {
		if VerifyECDSA(pk, v.MessageHash, c[0], c[1]) {
			t.Errorf("%s verifies", name)
		}
	}
	if !RecoverECDSA(v.MessageHash, r, s, 2).IsIdentity() {
		t.Error("a key was recovered from an x that is not below p")
	}
}
