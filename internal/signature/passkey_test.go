package signature_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
)

var passkeys = []signature.Algorithm{signature.WebAuthnP256, signature.WebAuthnEd25519}

var paid = signature.Statement{Domain: "coffer/test/v1", Body: []byte{1, 2, 3}}

const site = "coffer.example"

func TestPasskeyVerifies(t *testing.T) {
	for _, a := range passkeys {
		x := passkeytest.New(a, "alice", site)
		for _, c := range []struct {
			name   string
			change func()
		}{
			{"plain", func() {}},
			{"eligible", func() { x.Flags |= passkeytest.Eligible }},
			{"backed up", func() { x.Synced = true }},
			{"on a subdomain, with a port", func() { x.Origin = "https://desk.coffer.example:8443" }},
			{"with a field more", func() {
				x.Extra = `,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template"`
			}},
			{"with long client data", func() { x.Extra = `,"x":"` + strings.Repeat("x", 800) + `"` }},
		} {
			c.change()
			s := x.Sign(paid)
			if err := signature.Verify(x.Public(), paid, s); err != nil {
				t.Errorf("%v, %s: %v", a, c.name, err)
			}
			back, err := signature.Decode(s.Encode())
			if err != nil || !bytes.Equal(back.Encode(), s.Encode()) {
				t.Errorf("%v, %s: %v", a, c.name, err)
			}
			if o, err := s.Origin(); err != nil || o != x.Origin {
				t.Errorf("origin %q, %v", o, err)
			}
			if s.Counter() != x.Counter {
				t.Errorf("counter %d, want %d", s.Counter(), x.Counter)
			}
			parts, err := s.Assertion()
			if err != nil || !bytes.Equal(parts.Encode(a).Encode(), s.Encode()) {
				t.Errorf("taken apart and put together: %v", err)
			}
		}
		k := x.Public()
		if back, err := signature.ParseText(k.String()); err != nil || back != k {
			t.Errorf("%s is read back as %v, %v", k, back, err)
		}
		if back, err := signature.DecodePublicKey(k.Bytes()); err != nil || back != k {
			t.Errorf("%v, %v", back, err)
		}
		if rp, ok := k.RPHash(); !ok || rp != sha256.Sum256([]byte(site)) {
			t.Errorf("rp hash %x, %v", rp, ok)
		}
		if len(k.Bytes()) > signature.MaxKey || !a.IsPasskey() || !strings.HasPrefix(k.String(), "webauthn-") {
			t.Errorf("the key %v", k)
		}
	}
}

// TestPasskeyVector pins the encodings.
func TestPasskeyVector(t *testing.T) {
	x := passkeytest.New(signature.WebAuthnEd25519, "vector", site)
	x.Counter = 0x01020303
	s := x.Sign(paid)
	if got := hex.EncodeToString([]byte(x.Public().Key[32:])); len(x.Public().Key) != 64 || got != hash(site) {
		t.Errorf("the key ends %s, want %s", got, hash(site))
	}
	client := `{"type":"webauthn.get","challenge":"` + challengeOf(paid) + `","origin":"https://coffer.example","crossOrigin":false}`
	want := hash(site) + "05" + "01020304"
	if got := hex.EncodeToString(s.Bytes[:37]); got != want {
		t.Errorf("authenticator data %s, want %s", got, want)
	}
	if got := string(s.Bytes[101:]); got != client {
		t.Errorf("client data %s, want %s", got, client)
	}
}

func TestPasskeyRefuses(t *testing.T) {
	for _, a := range passkeys {
		for _, c := range []struct {
			name, want string
			sign       func(x *passkeytest.Authenticator) signature.Signature
		}{
			{"another statement", "signed the challenge", func(x *passkeytest.Authenticator) signature.Signature {
				return x.Sign(signature.Statement{Domain: paid.Domain, Body: []byte{1}})
			}},
			{"another domain", "signed the challenge", func(x *passkeytest.Authenticator) signature.Signature {
				return x.Sign(signature.Statement{Domain: "coffer/other/v1", Body: paid.Body})
			}},
			{"another relying party", "another relying party", func(x *passkeytest.Authenticator) signature.Signature { x.RPID = "evil.example"; return x.Sign(paid) }},
			{"no presence", "nobody touched", func(x *passkeytest.Authenticator) signature.Signature { x.Flags &^= 1; return x.Sign(paid) }},
			{"no verification", "no user verification", func(x *passkeytest.Authenticator) signature.Signature { x.Flags &^= 4; return x.Sign(paid) }},
			{"backed up, not eligible", "backed up which cannot be", func(x *passkeytest.Authenticator) signature.Signature {
				x.Flags |= passkeytest.BackedUp
				return x.Sign(paid)
			}},
			{"reserved bit 1", "flags are 0x07", func(x *passkeytest.Authenticator) signature.Signature { x.Flags |= 2; return x.Sign(paid) }},
			{"reserved bit 5", "flags are 0x25", func(x *passkeytest.Authenticator) signature.Signature { x.Flags |= 32; return x.Sign(paid) }},
			{"attested data", "flags are 0x45", func(x *passkeytest.Authenticator) signature.Signature {
				x.Flags |= passkeytest.Attested
				return x.Sign(paid)
			}},
			{"extensions", "flags are 0x85", func(x *passkeytest.Authenticator) signature.Signature {
				x.Flags |= passkeytest.Extended
				return x.Sign(paid)
			}},
			{"asked for by another site", "crossOrigin is not false", func(x *passkeytest.Authenticator) signature.Signature { x.Cross = true; return x.Sign(paid) }},
			{"a top origin", "no topOrigin", func(x *passkeytest.Authenticator) signature.Signature {
				x.Extra = `,"topOrigin":"https://evil.example"`
				return x.Sign(paid)
			}},
			{"an origin that ends the string", "origin holds the byte 0x5c", func(x *passkeytest.Authenticator) signature.Signature {
				x.Origin = `https://evil.example\`
				return x.Sign(paid)
			}},
			{"an origin with a space", "origin holds the byte 0x20", func(x *passkeytest.Authenticator) signature.Signature { x.Origin = "https://a b"; return x.Sign(paid) }},
			{"an origin with a quote", "origin holds the byte 0x22", func(x *passkeytest.Authenticator) signature.Signature {
				x.Origin = `https://coffer.example","x":"`
				return x.Sign(paid)
			}},
			{"garbage behind", "want } or more fields", func(x *passkeytest.Authenticator) signature.Signature { x.Extra = " "; return x.Sign(paid) }},
			{"a registration's client data", "want {\"type\":\"webauthn.get\"", func(x *passkeytest.Authenticator) signature.Signature {
				s := x.Sign(paid)
				p, _ := s.Assertion()
				p.ClientData = bytes.Replace(p.ClientData, []byte("webauthn.get"), []byte("webauthn.create"), 1)
				return p.Encode(a)
			}},
			{"another key", "signature is not good", func(x *passkeytest.Authenticator) signature.Signature {
				return passkeytest.New(a, "mallory", site).Sign(paid)
			}},
			{"another's counter", "signature is not good", func(x *passkeytest.Authenticator) signature.Signature {
				s := x.Sign(paid)
				s.Bytes[36]++
				return s
			}},
			{"a signature of the other kind", "signature is", func(x *passkeytest.Authenticator) signature.Signature {
				s := x.Sign(paid)
				s.Algorithm = 9 - s.Algorithm
				return s
			}},
			{"cut", "want an assertion of", func(x *passkeytest.Authenticator) signature.Signature {
				return signature.Signature{Algorithm: a, Bytes: x.Sign(paid).Bytes[:101]}
			}},
			{"client data too long", "want an assertion of", func(x *passkeytest.Authenticator) signature.Signature {
				s := x.Sign(paid)
				s.Bytes = append(s.Bytes, make([]byte, 1024)...)
				return s
			}},
		} {
			x := passkeytest.New(a, "alice", site)
			if err := signature.Verify(x.Public(), paid, c.sign(x)); !errors.Is(err, signature.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %s: %v, want %s", a, c.name, err, c.want)
			}
		}
		x := passkeytest.New(a, "alice", site)
		if err := signature.VerifyDigest(x.Public(), paid.Digest(), x.Sign(paid)); err == nil || !strings.Contains(err.Error(), "a passkey signs statements only") {
			t.Errorf("a digest: %v", err)
		}
	}
}

// TestPasskeyHasOneForm: the other s of an ECDSA signature is refused.
func TestPasskeyHasOneForm(t *testing.T) {
	x := passkeytest.New(signature.WebAuthnP256, "alice", site)
	s := x.Sign(paid)
	low := new(big.Int).SetBytes(s.Bytes[69:101])
	new(big.Int).Sub(elliptic.P256().Params().N, low).FillBytes(s.Bytes[69:101])
	if err := signature.Verify(x.Public(), paid, s); err == nil {
		t.Error("the other s verifies")
	}
}

func TestPasskeyKeysRefused(t *testing.T) {
	p, ed := passkeytest.New(signature.WebAuthnP256, "a", site).Public(), passkeytest.New(signature.WebAuthnEd25519, "a", site).Public()
	for _, c := range []struct {
		name, want string
		a          signature.Algorithm
		key        string
	}{
		{"short", "want a public key and the 32-byte hash", signature.WebAuthnP256, p.Key[:31]},
		{"no rp hash", "uncompressed point", signature.WebAuthnP256, p.Key[:65]},
		{"long", "uncompressed point", signature.WebAuthnP256, p.Key + "x"},
		{"off the curve", "uncompressed point", signature.WebAuthnP256, p.Key[:64] + "\x00" + p.Key[65:]},
		{"ed25519, no rp hash", "ed25519 key of 0 bytes", signature.WebAuthnEd25519, ed.Key[:32]},
		{"ed25519, small order", "small order", signature.WebAuthnEd25519, "\x01" + strings.Repeat("\x00", 31) + ed.Key[32:]},
	} {
		if _, err := signature.ParsePublicKey(c.a, []byte(c.key)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, err := signature.Passkey(p, site); err == nil {
		t.Error("a passkey of a passkey")
	}
	if p.Own().Algorithm != signature.P256 || p.Own().Own() != p.Own() || ed.Own().Algorithm != signature.Ed25519 {
		t.Error("Own is wrong")
	}
	if _, ok := p.Own().RPHash(); ok {
		t.Error("a plain key has a relying party")
	}
}

// TestEveryBitOfAPasskeyCounts: in key, statement and signature.
func TestEveryBitOfAPasskeyCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := passkeytest.New(rapid.SampledFrom(passkeys).Draw(t, "algorithm"), "alice", site)
		k, st, s := x.Public(), paid, x.Sign(paid)
		flip := func(s string) string {
			b := []byte(s)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			return string(b)
		}
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
		if signature.Verify(k, st, s) == nil {
			t.Fatal("verifies with a bit changed")
		}
	})
}

// FuzzParseClientData: what passes begins as the standard says, byte for byte.
func FuzzParseClientData(f *testing.F) {
	x := passkeytest.New(signature.WebAuthnP256, "alice", site)
	f.Add(x.Get(paid.Digest()).ClientData)
	x.Extra = `,"x":{}`
	f.Add(x.Get(paid.Digest()).ClientData)
	f.Fuzz(func(t *testing.T, b []byte) {
		challenge, origin, err := signature.ParseClientData(b, "webauthn.get")
		if err != nil {
			return
		}
		want := `{"type":"webauthn.get","challenge":"` + encode(challenge) + `","origin":"` + origin + `","crossOrigin":false`
		if !bytes.HasPrefix(b, []byte(want)) {
			t.Fatalf("%q passes, and does not begin with %q", b, want)
		}
	})
}

// FuzzVerifyAssertion: no bytes make it panic, and none but the device's own verify.
func FuzzVerifyAssertion(f *testing.F) {
	x := passkeytest.New(signature.WebAuthnP256, "alice", site)
	y := passkeytest.New(signature.WebAuthnEd25519, "alice", site)
	p, ed := x.Sign(paid), y.Sign(paid)
	f.Add(p.Bytes, true)
	f.Add(ed.Bytes, false)
	f.Fuzz(func(t *testing.T, b []byte, p256 bool) {
		k, real := y.Public(), ed
		if p256 {
			k, real = x.Public(), p
		}
		if signature.Verify(k, paid, signature.Signature{Algorithm: k.Algorithm, Bytes: b}) == nil && !bytes.Equal(b, real.Bytes) {
			t.Fatalf("verifies, and nobody signed it: %x", b)
		}
	})
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func encode(c [32]byte) string { return base64.RawURLEncoding.EncodeToString(c[:]) }

func challengeOf(st signature.Statement) string { return encode(st.Digest()) }

// TestChallengeHasOneSpelling: Go's decoder passes over line ends, which no browser
// writes.
func TestChallengeHasOneSpelling(t *testing.T) {
	enc := strings.Repeat("A", 43)
	data := func(challenge string) []byte {
		return []byte(`{"type":"webauthn.get","challenge":"` + challenge + `","origin":"https://coffer.example","crossOrigin":false}`)
	}
	if _, _, err := signature.ParseClientData(data(enc), "webauthn.get"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{enc[:20] + "\n" + enc[20:], enc + "\r", enc + "=", enc[:42] + "B", enc[:42]} {
		if _, _, err := signature.ParseClientData(data(c), "webauthn.get"); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
}
