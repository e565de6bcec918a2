package refmodel

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/big"
	"testing"
)

type dkgVector struct {
	Suite             string
	Randomness        string
	Label             string
	Parties           []int
	Threshold         int
	Purpose           string
	AttemptID         hexBytes `json:"attempt_id"`
	Identities        map[int]hexBytes
	SessionKeySeeds   map[int]hexBytes `json:"session_key_seeds_ed25519"`
	SID               hexBytes         `json:"sid"`
	D0                map[int]hexBytes `json:"d0"`
	D1                map[int]hexBytes `json:"d1"`
	D2                map[int]hexBytes `json:"d2"`
	D3                map[int]map[int]hexBytes
	Certificate       hexBytes
	CertificateDigest hexBytes         `json:"certificate_digest"`
	KeyID             hexBytes         `json:"key_id"`
	KeySharesPending  map[int]hexBytes `json:"key_shares_pending"`
}

func dkgVectors(t *testing.T) dkgVector {
	var v dkgVector
	load(t, "dkg", "DKLS23-SECP256K1-B4-dkg-2of3.json", &v)
	if v.Suite != Suite || len(v.Parties) != 3 {
		t.Fatalf("suite %q, parties %v", v.Suite, v.Parties)
	}
	return v
}

func (v dkgVector) dealers() map[int]*Dealer {
	keys, identities := map[int]ed25519.PublicKey{}, map[int][]byte{}
	for _, i := range v.Parties {
		keys[i] = ed25519.NewKeyFromSeed(v.SessionKeySeeds[i]).Public().(ed25519.PublicKey)
		identities[i] = v.Identities[i]
	}
	out := map[int]*Dealer{}
	for _, i := range v.Parties {
		out[i] = &Dealer{
			ID: i, T: v.Threshold, IDs: v.Parties, Identities: identities, Attempt: v.AttemptID, Purpose: v.Purpose,
			SessionKey: ed25519.NewKeyFromSeed(v.SessionKeySeeds[i]), SessionKeys: keys,
			Rand: NewStream(fmt.Sprintf("coffer/test/%s/%d", v.Label, i)),
		}
	}
	return out
}

// through runs party i over the frozen messages, up to and with a round.
func (v dkgVector) through(t *testing.T, i, last int) *Dealer {
	t.Helper()
	d := v.dealers()[i]
	same(t, "D0", d.Round0(), v.D0[i])
	if last < 1 {
		return d
	}
	d1, err := d.Round1(others(v.D0, i))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "sid", d.SID(), v.SID)
	same(t, "D1", d1, v.D1[i])
	if last < 2 {
		return d
	}
	d2, err := d.Round2(others(v.D1, i))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "D2", d2, v.D2[i])
	if last < 3 {
		return d
	}
	d3, err := d.Round3(others(v.D2, i))
	if err != nil {
		t.Fatal(err)
	}
	samePrivate(t, "D3", d3, v.D3[i])
	return d
}

func TestDKGVectors(t *testing.T) {
	v := dkgVectors(t)
	f0 := new(big.Int)
	keys := map[int]*KeyShare{}
	for _, i := range v.Parties {
		d := v.through(t, i, 3)
		out, err := d.Finish(addressed(v.D3, i))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "digest", out.Digest, v.CertificateDigest)
		same(t, "key id", out.Share.KeyID, v.KeyID)
		same(t, "certificate", out.Body, v.Certificate[:len(out.Body)])
		v.signatures(t, v.Certificate[len(out.Body):], out.Digest)
		same(t, "key share", out.Share.Encode(), v.KeySharesPending[i])
		if _, err := DecodeKeyShare(v.KeySharesPending[i]); err != nil {
			t.Errorf("key share of %d: %v", i, err)
		}
		f0 = add(f0, d.f[0])
		keys[i] = out.Share
	}
	pk := keys[1].PublicKey
	if !Base(f0).Equal(pk) {
		t.Error("Σ f_i(0)·G is not the public key")
	}
	for _, set := range [][]int{{1, 2}, {1, 3}, {2, 3}, {1, 2, 3}} {
		sum := new(big.Int)
		for _, i := range set {
			sum = add(sum, mul(lagrange(i, set), keys[i].Share))
		}
		if !Base(sum).Equal(pk) {
			t.Errorf("the shares of %v do not give the public key", set)
		}
	}
	for _, i := range v.Parties {
		for j, k := range keys[i].Zero {
			same(t, "zero-share seed", k, keys[j].Zero[i])
		}
	}
}

// signatures reads the certificate's list of n Ed25519 signatures.
func (v dkgVector) signatures(t *testing.T, b, digest []byte) {
	t.Helper()
	r := &parser{b: b}
	if n := r.count(16); n != len(v.Parties) {
		t.Fatalf("%d signatures on the certificate", n)
	}
	for _, i := range v.Parties {
		if id := r.u16(); id != i {
			t.Errorf("signature of %d where that of %d should be", id, i)
		}
		if !ed25519.Verify(ed25519.PublicKey(v.Identities[i]), digest, r.vary(1, 1024)) {
			t.Errorf("the certificate's signature of %d is wrong", i)
		}
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// The signing vectors' keys are those of this key generation, made active.
func TestKeysOfVectorsAgree(t *testing.T) {
	v, s := dkgVectors(t), signVectors(t)
	for i, b := range s.KeyShares {
		k, err := DecodeKeyShare(b)
		if err != nil {
			t.Fatal(err)
		}
		k.State = Pending
		same(t, "key share", k.Encode(), v.KeySharesPending[i])
	}
}

func TestDKGAborts(t *testing.T) {
	v := dkgVectors(t)
	const i, j = 1, 3
	head := headerLen + 32
	at := [4]*Dealer{}
	for round := range at {
		at[round] = v.through(t, i, round)
	}
	for _, c := range []struct {
		name      string
		round, at int
		class     Class
	}{
		{"version", 0, 0, Attributed}, {"protocol", 0, 1, Benign}, {"round", 0, 2, Benign}, {"epoch", 0, 42, Benign}, {"from", 0, 44, Attributed}, {"to", 0, 46, Benign},
		{"ctx", 0, 47, Benign},
		{"session", 1, 3, Benign}, {"h₀", 1, 47, Benign},
		{"h₁", 2, 47, Benign}, {"number of points", 2, head + 3, Attributed}, {"A_0", 2, head + 4, Attributed}, {"A_1", 2, head + 4 + 33, Attributed},
		{"K", 2, head + 70, Attributed}, {"z", 2, head + 103 + 31, Attributed}, {"cc", 2, head + 135, Attributed}, {"salt", 2, head + 167, Attributed},
		{"number of seeds", 2, head + 202, Attributed},
		{"to of D3", 3, 46, Benign}, {"h₂", 3, 47, Benign}, {"share", 3, head + 31, Attributed}, {"seed", 3, head + 32, Attributed}, {"seed's salt", 3, head + 64, Attributed},
		{"signature", 3, -1, Attributed},
	} {
		d := *at[c.round] // flat is enough, as in TestSignAborts
		var err error
		switch c.round {
		case 0:
			_, err = d.Round1(mutated(others(v.D0, i), j, c.at))
		case 1:
			_, err = d.Round2(mutated(others(v.D1, i), j, c.at))
		case 2:
			_, err = d.Round3(mutated(others(v.D2, i), j, c.at))
		case 3:
			_, err = d.Finish(mutated(addressed(v.D3, i), j, c.at))
		}
		wantClass(t, "D"+fmt.Sprint(c.round)+" "+c.name, err, c.class, blamed(c.class, j))
	}
}

// A dealer that signs a share which is not on its vector convicts itself.
func TestEvidence(t *testing.T) {
	v := dkgVectors(t)
	const i, j = 1, 3
	liar := v.through(t, j, 3)
	key := liar.SessionKey.Public().(ed25519.PublicKey)
	honest := liar.deal(i)
	share := add(honest, big.NewInt(1))
	a := liar.opened[j].a
	sig := ed25519.Sign(liar.SessionKey, shareDigest(v.SID, j, i, share, a))
	d3 := addressed(v.D3, i)
	d3[j] = cat(liar.message(3, i), liar.echo[2], enc(share), liar.seed[i][0], liar.seed[i][1], vary(sig))
	_, err := v.through(t, i, 3).Finish(d3)
	wantClass(t, "a wrong share", err, Attributed, j)
	var abort *Abort
	if !errors.As(err, &abort) || abort.Evidence == nil {
		t.Fatal("no evidence")
	}
	if err := VerifyEvidence(abort.Evidence, key); err != nil {
		t.Errorf("the evidence: %v", err)
	}
	good := ed25519.Sign(liar.SessionKey, shareDigest(v.SID, j, i, honest, a))
	for name, b := range map[string][]byte{
		"a right share":     evidence(v.SID, j, i, honest, a, good),
		"a framed share":    evidence(v.SID, j, i, share, a, good),
		"another vector":    evidence(v.SID, j, i, honest, []Point{a[1], a[0]}, good),
		"another recipient": evidence(v.SID, j, 2, honest, a, good),
		"another session":   evidence(flip(v.SID, 0), j, i, share, a, sig),
		"bytes left over":   cat(abort.Evidence, u8(0)),
	} {
		if VerifyEvidence(b, key) == nil {
			t.Errorf("%s was taken as evidence", name)
		}
	}
	if other := v.dealers()[2].SessionKeys[2]; VerifyEvidence(abort.Evidence, other) == nil {
		t.Error("the evidence convicts another dealer")
	}
}

// A copied commitment cannot be opened by its copier.
func TestDKGMirror(t *testing.T) {
	v := dkgVectors(t)
	d := v.through(t, 1, 1)
	d1 := others(v.D1, 1)
	d1[3] = cat(v.D1[3][:headerLen+32], v.D1[2][headerLen+32:])
	if _, err := d.Round2(d1); err != nil {
		t.Fatal(err)
	}
	d2 := map[int][]byte{}
	for _, j := range []int{2, 3} {
		d2[j] = cat(v.D2[j][:headerLen], d.echo[1], v.D2[2][headerLen+32:])
	}
	_, err := d.Round3(d2)
	wantClass(t, "a mirrored commitment", err, Attributed, 3)
}
