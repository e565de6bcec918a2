package refmodel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

type signVector struct {
	Suite      string
	Randomness string
	Label      string
	Signers    []int
	KeyShares  map[int]hexBytes `json:"key_shares"`
	PairSetups map[int]struct {
		Peer        int
		BobLeaves   hexBytes `json:"bob_leaves"`
		AliceDelta  hexBytes `json:"alice_delta"`
		AliceLeaves hexBytes `json:"alice_leaves"`
		Hash        hexBytes
	} `json:"pair_setups"`
	AttemptID   hexBytes `json:"attempt_id"`
	RequestHash hexBytes `json:"request_hash"`
	MessageHash hexBytes `json:"message_hash"`
	Tweak       hexBytes
	Purpose     string
	Attachment  string
	SID         hexBytes `json:"sid"`
	Echo        []hexBytes
	Broadcast   []map[int]hexBytes
	Private1    map[int]map[int]hexBytes
	Private2    map[int]map[int]hexBytes
	FinalShares map[int]hexBytes `json:"final_shares"`
	ChildKey    hexBytes         `json:"child_key"`
	Signature   hexBytes         `json:"signature_r_s_recid"`
}

func signVectors(t *testing.T) signVector {
	var v signVector
	load(t, "dkls23", "DKLS23-SECP256K1-B4-sign-2of3.json", &v)
	if v.Suite != Suite || len(v.Signers) < 2 {
		t.Fatalf("suite %q, signers %v", v.Suite, v.Signers)
	}
	return v
}

func (v signVector) item(t *testing.T) Item { return Item{v.MessageHash, scalarOf(t, v.Tweak), nil} }

// signers sets the vector's signers up.
func (v signVector) signers(t *testing.T) map[int]*Signer {
	out := map[int]*Signer{}
	for _, i := range v.Signers {
		key, err := DecodeKeyShare(v.KeyShares[i])
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the key share, encoded again", key.Encode(), v.KeyShares[i])
		if key.State != Active || key.ID != i {
			t.Fatalf("key share of %d in state %d", key.ID, key.State)
		}
		ps := v.PairSetups[i]
		s := &Signer{
			Key: key, S: v.Signers, Attempt: v.AttemptID, RequestHash: v.RequestHash, Protocol: protocolSign, N: 1,
			Items: []Item{v.item(t)}, Purpose: v.Purpose, Rand: NewStream(fmt.Sprintf("coffer/test/%s/%d", v.Label, i)),
			Setups: map[int]Setup{ps.Peer: {
				Bob: Trees{Leaves: forest(t, ps.BobLeaves)}, Alice: Trees{Delta: ps.AliceDelta, Shifted: forest(t, ps.AliceLeaves)},
				Hash: ps.Hash,
			}},
		}
		for r := range s.Attachments {
			s.Attachments[r] = fmt.Appendf(nil, "attachment %d of %d", r, i)
		}
		out[i] = s
	}
	return out
}

// others gives the messages of all but i; to picks private ones.
func others(m map[int]hexBytes, i int) map[int][]byte {
	out := map[int][]byte{}
	for j, b := range m {
		if j != i {
			out[j] = b
		}
	}
	return out
}

func addressed(m map[int]map[int]hexBytes, i int) map[int][]byte {
	out := map[int][]byte{}
	for j := range m {
		if j != i {
			out[j] = m[j][i]
		}
	}
	return out
}

func samePrivate(t *testing.T, what string, got map[int][]byte, want map[int]hexBytes) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d messages, the vector has %d", what, len(got), len(want))
	}
	for j, m := range got {
		same(t, fmt.Sprintf("%s to %d", what, j), m, want[j])
	}
}

// through runs the signers over the frozen messages up to and with a round.
func (v signVector) through(t *testing.T, last int) map[int]*Signer {
	t.Helper()
	ss := v.signers(t)
	for _, i := range v.Signers {
		s := ss[i]
		r0, err := s.Round0()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "R0", r0, v.Broadcast[0][i])
		if last < 1 {
			continue
		}
		r1, p1, err := s.Round1(others(v.Broadcast[0], i))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "sid", s.SID(), v.SID)
		same(t, "h₀", s.Echo(0), v.Echo[0])
		same(t, "R1", r1, v.Broadcast[1][i])
		samePrivate(t, "R1", p1, v.Private1[i])
		if last < 2 {
			continue
		}
		r2, p2, err := s.Round2(others(v.Broadcast[1], i), addressed(v.Private1, i))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "h₁", s.Echo(1), v.Echo[1])
		same(t, "R2", r2, v.Broadcast[2][i])
		samePrivate(t, "R2", p2, v.Private2[i])
	}
	return ss
}

func TestSignVectors(t *testing.T) {
	v := signVectors(t)
	ss := v.through(t, 2)
	var shares [][]byte
	for _, i := range v.Signers {
		share, err := ss[i].Round3(others(v.Broadcast[2], i), addressed(v.Private2, i))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "h₂", ss[i].Echo(2), v.Echo[2])
		same(t, "final share", share, v.FinalShares[i])
		shares = append(shares, share)
	}
	pk := ss[v.Signers[0]].Key.PublicKey
	sig, err := Combine(pk, v.Signers, v.item(t), shares)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "signature", sig, v.Signature)
	child := pk.Add(Base(scalarOf(t, v.Tweak)))
	same(t, "child key", child.Bytes(), v.ChildKey)
	v.algebra(t, ss, child)
	v.oneOf(t, pk, shares)

	// A third verifier.
	var r, s secp256k1.ModNScalar
	r.SetByteSlice(sig[:32])
	s.SetByteSlice(sig[32:64])
	key, err := secp256k1.ParsePubKey(v.ChildKey)
	if err != nil || !ecdsa.NewSignature(&r, &s).Verify(v.MessageHash, key) {
		t.Errorf("decred refuses the signature: %v", err)
	}
}

// algebra checks the identities that make the final shares a signature.
func (v signVector) algebra(t *testing.T, ss map[int]*Signer, child Point) {
	t.Helper()
	r, phi, sk, u, vv := new(big.Int), new(big.Int), new(big.Int), new(big.Int), new(big.Int)
	zero := new(big.Int)
	for _, i := range v.Signers {
		s := ss[i]
		x := s.slots[0]
		r, phi, sk, u, vv = add(r, x.r), add(phi, x.phi), add(sk, s.sk), add(u, x.u), add(vv, x.v)
		zero = add(zero, s.zeta())
		for _, j := range s.peers {
			for w, a := range [2]*big.Int{x.r, s.sk} {
				if add(x.c[j][w], ss[j].slots[0].d[i][w]).Cmp(mul(a, ss[j].bob[i].Chi[0])) != 0 {
					t.Errorf("c_%d + d_%d of %d→%d is not a·χ", w, w, i, j)
				}
			}
			if bytes.Equal(s.dsid(i, j), s.dsid(j, i)) {
				t.Error("dsid has no direction")
			}
		}
	}
	if zero.Sign() != 0 {
		t.Error("Σζ is not 0")
	}
	if !Base(sk).Equal(ss[v.Signers[0]].Key.PublicKey) {
		t.Error("Σsk·G is not the public key")
	}
	tweaked := add(sk, scalarOf(t, v.Tweak))
	if !Base(tweaked).Equal(child) {
		t.Error("(Σsk + ε)·G is not the child key")
	}
	if u.Cmp(mul(r, phi)) != 0 {
		t.Error("Σu is not r·φ")
	}
	if vv.Cmp(mul(tweaked, phi)) != 0 {
		t.Error("Σv is not (sk + ε)·φ")
	}
	// The signature is that of plain ECDSA with nonce 1/r… of (Σr)·G.
	rx := mod(Base(r).X)
	plain := mul(inv(r), add(wide(v.MessageHash), mul(rx, tweaked)))
	if plain.Cmp(half) > 0 {
		plain = neg(plain)
	}
	same(t, "plain ECDSA", cat(enc(rx), enc(plain)), v.Signature[:64])
}

// oneOf checks that combine refuses what is not the signature of all.
func (v signVector) oneOf(t *testing.T, pk Point, shares [][]byte) {
	t.Helper()
	last := len(shares[0]) - 1
	for name, c := range map[string]struct {
		shares [][]byte
		class  Class
	}{
		"one share twice":   {[][]byte{shares[0], shares[0]}, Benign},
		"another session":   {[][]byte{shares[0], flip(shares[1], 3)}, Benign},
		"another epoch":     {[][]byte{shares[0], flip(shares[1], 42)}, Benign},
		"another h₂":        {[][]byte{shares[0], flip(shares[1], headerLen)}, Benign},
		"another R":         {[][]byte{shares[0], flip(shares[1], headerLen+32)}, Benign},
		"another w":         {[][]byte{shares[0], flip(shares[1], last-32)}, Unattributed},
		"another u":         {[][]byte{shares[0], flip(shares[1], last)}, Unattributed},
		"one share missing": {shares[:1], Benign},
	} {
		_, err := Combine(pk, v.Signers, v.item(t), c.shares)
		wantClass(t, name, err, c.class, 0)
	}
	if _, err := Combine(pk, v.Signers, Item{v.MessageHash, new(big.Int), nil}, shares); err == nil {
		t.Error("a signature of the child was taken for one of the parent")
	}
	if _, err := Combine(pk, v.Signers, Item{flip(v.MessageHash, 0), v.item(t).Tweak, nil}, shares); err == nil {
		t.Error("a signature of another message was taken")
	}
}

func wantClass(t *testing.T, name string, err error, class Class, culprit int) {
	t.Helper()
	var a *Abort
	if !errors.As(err, &a) || a.Class != class || a.Culprit != culprit {
		t.Errorf("%s: %v, want %s, culprit %d", name, err, class, culprit)
	}
}

// mutated is the frozen messages to signer i with one byte of j's changed.
func mutated(m map[int][]byte, j, at int) map[int][]byte {
	out := map[int][]byte{}
	for k, b := range m {
		out[k] = b
	}
	if at < 0 {
		at += len(m[j])
	}
	out[j] = flip(m[j], at)
	return out
}

// What a changed byte of a frozen message does to its reader (aborts.md).
func TestSignAborts(t *testing.T) {
	v := signVectors(t)
	i, j := v.Signers[0], v.Signers[1]
	at := [3]*Signer{}
	for round := range at {
		at[round] = v.through(t, round)[i]
	}
	r0, r1, r2 := others(v.Broadcast[0], i), others(v.Broadcast[1], i), others(v.Broadcast[2], i)
	p1, p2 := addressed(v.Private1, i), addressed(v.Private2, i)
	for _, c := range []struct {
		name  string
		at    int
		class Class
	}{
		{"protocol", 1, Benign}, {"session", 3, Benign}, {"epoch", 42, Benign}, {"to", 46, Benign}, {"version", 0, Attributed}, {"from", 44, Attributed},
		{"ctx", 47, Benign}, {"request hash", 79, Benign}, {"job", 111, Benign},
		{"setup hash", 179, Benign}, {"length of the attachment", -len("attachment 0 of 1") - 1, Attributed},
	} {
		s := *at[0] // a round gives its signer new maps: a flat copy is enough
		_, _, err := s.Round1(mutated(r0, j, c.at))
		wantClass(t, "R0 "+c.name, err, c.class, blamed(c.class, j))
	}
	for _, c := range []struct {
		name    string
		private bool
		at      int
		class   Class
	}{
		{"session", false, 3, Benign}, {"h₀", false, 47, Benign}, {"private session", true, 3, Benign}, {"private from", true, 44, Attributed},
		{"length", true, 50, Attributed}, {"U", true, 51 + 1 + 50, Quarantine}, {"X", true, -33, Quarantine}, {"TH", true, -1, Quarantine},
		{"version of the VOLE", true, 51, Attributed},
	} {
		b, pr := r1, p1
		if c.private {
			pr = mutated(p1, j, c.at)
		} else {
			b = mutated(r1, j, c.at)
		}
		s := *at[1]
		_, _, err := s.Round2(b, pr)
		wantClass(t, "R1 "+c.name, err, c.class, blamed(c.class, j))
	}
	body := len(p2[j]) - 53345
	for _, c := range []struct {
		name    string
		private bool
		at      int
		class   Class
	}{
		{"h₁", false, 47, Benign}, {"prefix of R", false, 79, Attributed}, {"salt", false, 79 + 33, Attributed}, {"sign of pk", false, 79 + 65, Quarantine},
		{"Γ^u", true, 47, Quarantine}, {"Γ^v", true, 47 + 33, Quarantine}, {"Ã", true, body + 32, Quarantine}, {"η", true, -33, Quarantine}, {"μ", true, -1, Quarantine},
		{"private to", true, 46, Benign},
	} {
		b, pr := r2, p2
		if c.private {
			pr = mutated(p2, j, c.at)
		} else {
			b = mutated(r2, j, c.at)
		}
		s := *at[2]
		_, err := s.Round3(b, pr)
		wantClass(t, "R2 "+c.name, err, c.class, blamed(c.class, j))
	}
}

func blamed(c Class, j int) int {
	if c == Attributed || c == Quarantine {
		return j
	}
	return 0
}

func FuzzDecodeKeyShare(f *testing.F) {
	var v signVector
	b, err := os.ReadFile("../../mpc/dkls23/testdata/DKLS23-SECP256K1-B4-sign-2of3.json")
	if err != nil {
		f.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		f.Fatal(err)
	}
	for _, k := range v.KeyShares {
		f.Add([]byte(k))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := DecodeKeyShare(b); err == nil && !bytes.Equal(k.Encode(), b) {
			t.Errorf("%x was decoded and is encoded as %x", b, k.Encode())
		}
	})
}

// A key share that is not in form, or whose parts contradict each other.
func TestKeyShareRefuses(t *testing.T) {
	v := signVectors(t)
	good := v.KeyShares[v.Signers[0]]
	k, err := DecodeKeyShare(good)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(good[1:5], u32(len(Suite))) {
		t.Fatal("the suite is not where it is thought")
	}
	share := len(good) - 2*32 - 4 - 1 // the last byte of the share
	for name, b := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)-1], "longer": cat(good, u8(0)), "version": flip(good, 0), "suite": flip(good, 5), "share": flip(good, share),
		"no threshold":                bytes.Replace(good, cat(u16(k.T), u32(3)), cat(u16(4), u32(3)), 1),
		"number of seeds":             flip(good, share+4),
		"the public share of another": bytes.Replace(good, k.X[2].Bytes(), k.X[2].Neg().Bytes(), 1),
		"a party twice":               bytes.Replace(good, cat(u16(2), k.X[1].Bytes()), cat(u16(1), k.X[0].Bytes()), 1),
	} {
		if _, err := DecodeKeyShare(b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}
