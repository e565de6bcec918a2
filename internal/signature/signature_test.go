package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/wire"
)

var statement = Statement{Domain: "coffer/test/v1", Body: []byte{1, 2, 3}}

func edPrivate(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

func edPublic(id string) PublicKey {
	return PublicKey{Ed25519, string(edPrivate(id).Public().(ed25519.PublicKey))}
}

func edSign(id string, st Statement) Signature {
	d := st.Digest()
	return Signature{Ed25519, ed25519.Sign(edPrivate(id), d[:])}
}

func pPrivate(t testing.TB, id string) *ecdsa.PrivateKey {
	t.Helper()
	d := sha256.Sum256([]byte(id))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pPublic(t testing.TB, id string) PublicKey {
	t.Helper()
	b, err := pPrivate(t, id).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return PublicKey{P256, string(b)}
}

// pRaw is r ‖ s as a device may return it, with either s.
func pRaw(t testing.TB, id string, st Statement) []byte {
	t.Helper()
	d := st.Digest()
	r, s, err := ecdsa.Sign(nil, pPrivate(t, id), d[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

func pSign(t testing.TB, id string, st Statement) Signature {
	t.Helper()
	s, err := NormalizeP256(pRaw(t, id, st))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flipS replaces s by q−s.
func flipS(raw []byte) []byte {
	out := bytes.Clone(raw)
	s := new(big.Int).SetBytes(raw[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(out[32:])
	return out
}

func TestDigest(t *testing.T) {
	b, err := hex.DecodeString("0e" + hex.EncodeToString([]byte("coffer/test/v1")) + "00000001" + "0000000000000003" + "010203")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := statement.Digest(), sha256.Sum256(b); got != want {
		t.Errorf("digest %x, want %x", got, want)
	}
}

// TestVectors pins keys and signatures as they stand in rosters and logs.
func TestVectors(t *testing.T) {
	ed := edPublic("vector")
	if got, want := hex.EncodeToString(ed.Bytes()), "01000100000020"+hex.EncodeToString([]byte(ed.Key)); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	s := edSign("vector", statement)
	if got, want := hex.EncodeToString(s.Encode()), "01000100000040"+hex.EncodeToString(s.Bytes); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	p := pPublic(t, "vector")
	if got, want := hex.EncodeToString(p.Bytes()), "01000200000041"+"04"+hex.EncodeToString([]byte(p.Key[1:])); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	h := wire.Hash("coffer/key-fingerprint/v1", ed.Bytes())
	if got, want := ed.Fingerprint(), hex.EncodeToString(h[:16]); got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
	if ed.KeyID() != sha256.Sum256(ed.Bytes()) {
		t.Error("the key's id is not the SHA-256 of its encoding")
	}
}

func TestVerify(t *testing.T) {
	ed, p := edPublic("a"), pPublic(t, "a")
	edSig, pSig := edSign("a", statement), pSign(t, "a", statement)
	rk, rSig := rsaPublic(t), rsaSign(t, statement)
	for name, c := range map[string]struct {
		k PublicKey
		s Signature
	}{"ed25519": {ed, edSig}, "p256": {p, pSig}, "rsa3072": {rk, rSig}} {
		if err := Verify(c.k, statement, c.s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := Statement{"coffer/other/v1", statement.Body}
	body := Statement{statement.Domain, []byte{1, 2}}
	for _, c := range []struct {
		name, want string
		k          PublicKey
		st         Statement
		s          Signature
	}{
		{"ed25519, another domain", "does not verify", ed, other, edSig},
		{"ed25519, another body", "does not verify", ed, body, edSig},
		{"ed25519, another key", "does not verify", edPublic("b"), statement, edSig},
		{"p256, another domain", "does not verify", p, other, pSig},
		{"p256, another body", "does not verify", p, body, pSig},
		{"p256, another key", "does not verify", pPublic(t, "b"), statement, pSig},
		{"a p256 signature under an ed25519 key", "key is ed25519, signature is p256", ed, statement, pSig},
		{"relabelled", "does not verify", ed, statement, Signature{Ed25519, pSig.Bytes}},
		{"p256 with the other s", "does not verify", p, statement, Signature{P256, flipS(pSig.Bytes)}},
		{"p256, zero", "does not verify", p, statement, Signature{P256, make([]byte, 64)}},
		{"p256, key off the curve", "does not verify", PublicKey{P256, p.Key[:64] + "\x00"}, statement, pSig},
		{"short", "63 bytes, want 64", ed, statement, Signature{Ed25519, edSig.Bytes[:63]}},
		{"long", "65 bytes, want 64", p, statement, Signature{P256, append(bytes.Clone(pSig.Bytes), 0)}},
		{"rsa3072, another body", "does not verify", rk, body, rSig},
		{"rsa3072, another domain", "does not verify", rk, other, rSig},
		{"rsa3072, short", "383 bytes, want 384", rk, statement, Signature{RSA3072, rSig.Bytes[:383]}},
		{"rsa3072 plus the modulus", "does not verify", rk, statement, plusModulus(rk, rSig)},
		{"rsa3072, zero", "does not verify", rk, statement, Signature{RSA3072, make([]byte, 384)}},
		{"rsa3072, short key", "rsa3072 key of 383 bytes", PublicKey{RSA3072, rk.Key[1:]}, statement, rSig},
		{"a p256 signature under an rsa3072 key", "key is rsa3072, signature is p256", rk, statement, pSig},
		{"ed25519, short key", "does not verify", PublicKey{Ed25519, ed.Key[:31]}, statement, edSig},
		{"unknown algorithm", "unknown algorithm 9", PublicKey{9, ed.Key}, statement, Signature{9, edSig.Bytes}},
		{"nothing", "unknown algorithm 0", PublicKey{}, Statement{Domain: "x"}, Signature{}},
	} {
		if err := Verify(c.k, c.st, c.s); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestEveryBitCounts: in key, statement and signature (passkeys: TestEveryBitOfAPasskeyCounts).
func TestEveryBitCounts(t *testing.T) {
	keys := map[Algorithm]PublicKey{Ed25519: edPublic("a"), P256: pPublic(t, "a"), RSA3072: rsaPublic(t)}
	sigs := map[Algorithm]Signature{Ed25519: edSign("a", statement), P256: pSign(t, "a", statement), RSA3072: rsaSign(t, statement)}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]Algorithm{Ed25519, P256, RSA3072}).Draw(t, "algorithm")
		flip := func(s string) string {
			b := []byte(s)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			return string(b)
		}
		k, st, s := keys[a], statement, sigs[a]
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			k.Key = flip(k.Key)
		case 1:
			st.Body = []byte(flip(string(st.Body)))
		case 2:
			st.Domain = flip(st.Domain)
		default:
			s.Bytes = []byte(flip(string(s.Bytes)))
		}
		if Verify(k, st, s) == nil {
			t.Fatal("verifies with a bit changed")
		}
	})
}

// small are the encodings of the points of small order.
var small = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// TestKeysThatAnybodyCanSignFor: the standard library verifies under them.
func TestKeysThatAnybodyCanSignFor(t *testing.T) {
	d := statement.Digest()
	forged := make([]byte, 64)
	forged[0] = 1 // R the neutral element, S zero
	neutral, _ := hex.DecodeString(small[0])
	if !ed25519.Verify(neutral, d[:], forged) {
		t.Error("the forgery does not verify: is the check still needed?")
	}
	for _, h := range small {
		b, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePublicKey(Ed25519, b); err == nil || !strings.Contains(err.Error(), "small order") {
			t.Errorf("%s: %v", h, err)
		}
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	p := []byte(pPublic(t, "a").Key)
	compressed := append([]byte{2 + p[64]&1}, p[1:33]...)
	off := bytes.Clone(p)
	off[64] ^= 1
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	for _, c := range []struct {
		name, want string
		a          Algorithm
		key        []byte
	}{
		{"no key", "ed25519 key of 0 bytes, want 32", Ed25519, nil},
		{"short", "ed25519 key of 31 bytes", Ed25519, make([]byte, 31)},
		{"not a point", "canonical encoding of a point", Ed25519, unhex("0200000000000000000000000000000000000000000000000000000000000000")},
		{"y above p", "canonical encoding of a point", Ed25519, unhex("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")},
		{"y = p+1", "canonical encoding of a point", Ed25519, unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")},
		{"minus zero", "canonical encoding of a point", Ed25519, unhex("0100000000000000000000000000000000000000000000000000000000000080")},
		{"compressed", "want a 65-byte uncompressed point", P256, compressed},
		{"off the curve", "want a 65-byte uncompressed point", P256, off},
		{"infinity", "want a 65-byte uncompressed point", P256, []byte{0}},
		{"zero", "want a 65-byte uncompressed point", P256, make([]byte, 65)},
		{"an ed25519 key", "want a 65-byte uncompressed point", P256, []byte(edPublic("a").Key)},
		{"algorithm 0", "unknown key algorithm 0, want 1 (ed25519), 2 (p256), 3 (rsa3072), 4 (webauthn-p256) or 5 (webauthn-ed25519)", 0, p},
		{"algorithm 6", "unknown key algorithm 6", 6, p},
		{"rsa3072, short", "rsa3072 key of 256 bytes and 2048 bits", RSA3072, bytes.Repeat([]byte{0xff}, 256)},
		{"rsa3072, a bit short", "rsa3072 key of 384 bytes and 3071 bits", RSA3072, append([]byte{0x7f}, bytes.Repeat([]byte{0xff}, 383)...)},
		{"rsa3072, even", "an odd modulus", RSA3072, append(bytes.Repeat([]byte{0xff}, 383), 0xfe)},
		{"rsa3072, long", "rsa3072 key of 385 bytes", RSA3072, append([]byte{0}, bytes.Repeat([]byte{0xff}, 384)...)},
	} {
		if _, err := ParsePublicKey(c.a, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if c.a.size() != 0 {
			if _, err := DecodePublicKey((PublicKey{c.a, string(c.key)}).Bytes()); err == nil {
				t.Errorf("%s: its encoding decodes", c.name)
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, k := range []PublicKey{edPublic("a"), pPublic(t, "a"), rsaPublic(t)} {
		back, err := ParseText(k.String())
		if err != nil || back != k {
			t.Errorf("%s is read back as %v, %v", k, back, err)
		}
		j, err := json.Marshal(map[string]PublicKey{"k": k})
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]PublicKey
		if err := json.Unmarshal(j, &m); err != nil || m["k"] != k {
			t.Errorf("%s is read back as %v, %v", j, m, err)
		}
	}
	k := edPublic("a").String()
	for _, c := range []struct{ s, want string }{
		{"", "want ALGORITHM:BASE64URL with ed25519, p256, rsa3072, webauthn-p256 or webauthn-ed25519"},
		{"ed25519", "want ALGORITHM:BASE64URL"},
		{k + "=", "want ALGORITHM:BASE64URL"},
		{k + "\n", "want ALGORITHM:BASE64URL"},
		{k[:len(k)-1], "ed25519 key of 31 bytes, want 32"},
		{k[:len(k)-4], "want ALGORITHM:BASE64URL"},
		{strings.Replace(k, "ed25519", "p256", 1), "want a 65-byte uncompressed point"},
		{strings.Replace(k, "ed25519", "rsa", 1), `unknown algorithm "rsa", want ed25519, p256, rsa3072, webauthn-p256 or webauthn-ed25519`},
	} {
		if _, err := ParseText(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.s, err, c.want)
		}
		var k PublicKey
		if err := k.UnmarshalText([]byte(c.s)); err == nil || k != (PublicKey{}) {
			t.Errorf("%q unmarshals to %v", c.s, k)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	s := edSign("a", statement)
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"nothing", "version", nil},
		{"version", "version 2, want 1", append([]byte{2}, s.Encode()[1:]...)},
		{"algorithm", "algorithm 6 with 64 bytes", Signature{6, s.Bytes}.Encode()},
		{"algorithm 0", "algorithm 0 with 0 bytes", Signature{}.Encode()},
		{"a passkey's, short", "algorithm 4 with 101 bytes", Signature{4, make([]byte, 101)}.Encode()},
		{"a passkey's, long", "1126 items, at most 1125", Signature{5, make([]byte, 1126)}.Encode()},
		{"rsa of an ed25519's size", "algorithm 3 with 64 bytes", Signature{RSA3072, s.Bytes}.Encode()},
		{"ed25519 of an rsa's size", "algorithm 1 with 384 bytes", Signature{Ed25519, make([]byte, 384)}.Encode()},
		{"rsa, long", "algorithm 3 with 385 bytes", Signature{RSA3072, make([]byte, 385)}.Encode()},
		{"short", "algorithm 1 with 63 bytes", Signature{Ed25519, s.Bytes[:63]}.Encode()},
		{"long", "algorithm 1 with 65 bytes", Signature{Ed25519, make([]byte, 65)}.Encode()},
		{"trailing", "after the end", append(s.Encode(), 0)},
	} {
		if _, err := Decode(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := DecodePublicKey(append(edPublic("a").Bytes(), 0)); err == nil {
		t.Error("a key with a byte too many decodes")
	}
}

// TestNormalizeP256: both s of a signature become the same one, which verifies.
func TestNormalizeP256(t *testing.T) {
	raw := pRaw(t, "a", statement)
	before := bytes.Clone(raw)
	a, err := NormalizeP256(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NormalizeP256(flipS(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes, b.Bytes) || Verify(pPublic(t, "a"), statement, a) != nil {
		t.Error("the two forms of a signature do not become one that verifies")
	}
	if !bytes.Equal(raw, before) {
		t.Error("the argument was changed")
	}
	n := elliptic.P256().Params().N
	half := new(big.Int).Rsh(n, 1)
	edge := append(make([]byte, 32), half.FillBytes(make([]byte, 32))...)
	if s, err := NormalizeP256(edge); err != nil || !bytes.Equal(s.Bytes, edge) {
		t.Errorf("s = q/2 is changed to %x, %v", s.Bytes, err)
	}
	over := append(make([]byte, 32), new(big.Int).Add(n, big.NewInt(1)).FillBytes(make([]byte, 32))...)
	for _, raw := range [][]byte{nil, make([]byte, 63), make([]byte, 65), over} {
		if s, err := NormalizeP256(raw); err == nil {
			t.Errorf("%x becomes %x", raw, s.Bytes)
		}
	}
}

func TestNestedFields(t *testing.T) {
	k, s := pPublic(t, "a"), edSign("a", statement)
	w := wire.NewWriter(1)
	WriteKey(w, k)
	WriteSignature(w, s)
	r := wire.NewReader(w.Bytes(), 1)
	if got := ReadKey(r, "k"); got != k {
		t.Errorf("got %v", got)
	}
	if got := ReadSignature(r, "s"); !bytes.Equal(got.Bytes, s.Bytes) || got.Algorithm != s.Algorithm {
		t.Errorf("got %v", got)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
	bad := wire.NewReader(wire.NewWriter(1).Var([]byte{9}).Bytes(), 1)
	ReadKey(bad, "admin key")
	if ReadSignature(bad, "s"); bad.Err() == nil || !strings.Contains(bad.Err().Error(), "admin key: couldn't decode public key") {
		t.Error(bad.Err())
	}
	bad = wire.NewReader(wire.NewWriter(1).Var([]byte{9}).Bytes(), 1)
	ReadSignature(bad, "admin signature")
	if ReadKey(bad, "k"); bad.Err() == nil || !strings.Contains(bad.Err().Error(), "admin signature: couldn't decode signature") {
		t.Error(bad.Err())
	}
}

func TestAlgorithmNames(t *testing.T) {
	for a, want := range map[Algorithm]string{Ed25519: "ed25519", P256: "p256", RSA3072: "rsa3072", WebAuthnP256: "webauthn-p256", WebAuthnEd25519: "webauthn-ed25519", 9: "algorithm-9"} {
		if a.String() != want {
			t.Errorf("%d is %s, want %s", a, a, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(edSign("a", statement).Encode())
	f.Add(rsaSign(f, statement).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatalf("encodes to %x", s.Encode())
		}
	})
}

func FuzzDecodePublicKey(f *testing.F) {
	f.Add(edPublic("a").Bytes())
	f.Add(pPublic(f, "a").Bytes())
	f.Add(rsaPublic(f).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := DecodePublicKey(b)
		if err != nil {
			return
		}
		if !bytes.Equal(k.Bytes(), b) {
			t.Fatalf("encodes to %x", k.Bytes())
		}
		if back, err := ParseText(k.String()); err != nil || back != k {
			t.Fatalf("%s is read back as %v, %v", k, back, err)
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add(edPublic("a").String())
	f.Add(pPublic(f, "a").String())
	f.Add(rsaPublic(f).String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseText(s); err == nil && k.String() != s {
			t.Fatalf("%q is %q", s, k)
		}
	})
}

// FuzzVerify: no bytes make it panic, and none but the real signature verifies.
func FuzzVerify(f *testing.F) {
	s := edSign("a", statement)
	f.Add(uint16(1), []byte(edPublic("a").Key), s.Bytes, uint16(1))
	f.Add(uint16(2), []byte(pPublic(f, "a").Key), pSign(f, "a", statement).Bytes, uint16(2))
	f.Add(uint16(3), []byte(rsaPublic(f).Key), rsaSign(f, statement).Bytes, uint16(3))
	f.Fuzz(func(t *testing.T, a uint16, key, sig []byte, b uint16) {
		k, err := ParsePublicKey(Algorithm(a), key)
		if err != nil {
			return
		}
		if Verify(k, statement, Signature{Algorithm(b), sig}) == nil && k != edPublic("a") && k != pPublic(t, "a") && k != rsaPublic(t) {
			t.Fatalf("a signature under a key that nobody holds: %x", key)
		}
	})
}
