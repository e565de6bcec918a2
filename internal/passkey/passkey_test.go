package passkey_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
)

type octets []byte

func (b *octets) UnmarshalText(t []byte) (err error) {
	*b, err = hex.DecodeString(string(t))
	return err
}

type vector struct {
	Name                                                 string
	AttestationObject, CreateChallenge, CreateClientData octets
	Challenge, AuthenticatorData, ClientData, Signature  octets
}

func vectors(t testing.TB) []vector {
	t.Helper()
	return vectorsOf(t, "testdata/webauthn-l3.json", 11)
}

func vectorsOf(t testing.TB, path string, n int) []vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) != n {
		t.Fatalf("%d vectors, want %d", len(f.Vectors), n)
	}
	return f.Vectors
}

// setUV makes a registration that a vector made without user verification one with
// it. Nothing signs a registration without attestation.
func setUV(obj []byte) []byte {
	out := bytes.Clone(obj)
	rp := bytes.Index(out, []byte("\xbf\xab\xc3\x74\x32\x95\x8b\x06"))
	out[rp+32] |= 4
	return out
}

// TestStandardsVectors: registrations and assertions of Web Authentication Level 3,
// §16. Of what the standard's vectors allow, Coffer takes what a verified person
// made on the site itself; the others have good signatures, and are refused by what
// they say.
func TestStandardsVectors(t *testing.T) {
	refused := map[string]string{ // by name: why; the others pass
		"none.ES256": "no user verification", "packed-self.ES256": "no user verification", "none.ES256.crossOrigin": "crossOrigin is not false",
		"none.ES256.topOrigin": "crossOrigin is not false", "packed.EdDSA": "no user verification", "android-key.ES256": "no user verification",
		"apple.ES256": "no user verification", "fido-u2f.ES256": "no user verification",
	}
	passed := 0
	for _, v := range vectors(t) {
		reg := &passkey.Registration{ClientData: v.CreateClientData, AttestationObject: setUV(v.AttestationObject)}
		cross := strings.Contains(string(v.CreateClientData), `"crossOrigin":true`)
		if cross {
			if _, err := passkey.Register(reg, [32]byte(v.CreateChallenge), "example.org", []string{"https://example.org"}); err == nil || !strings.Contains(err.Error(), "crossOrigin is not false") {
				t.Errorf("%s: %v", v.Name, err)
			}
			reg.ClientData = bytes.Replace(v.CreateClientData, []byte(`"crossOrigin":true`), []byte(`"crossOrigin":false`), 1)
			reg.ClientData = bytes.Replace(reg.ClientData, []byte(`,"topOrigin":"https://example.com"`), nil, 1)
		}
		c, err := passkey.Register(reg, [32]byte(v.CreateChallenge), "example.org", []string{"https://example.org"})
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		s, err := (&passkey.Response{AuthenticatorData: v.AuthenticatorData, ClientData: v.ClientData, Signature: v.Signature}).For(c.Key)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		err = signature.VerifyAssertion(c.Key, [32]byte(v.Challenge), s)
		want := refused[v.Name]
		if want == "" {
			passed++
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", v.Name, err, want)
		}
		s.Bytes[37]++ // the signature's first byte
		if want == "" && signature.VerifyAssertion(c.Key, [32]byte(v.Challenge), s) == nil {
			t.Errorf("%s: verifies with another signature", v.Name)
		}
	}
	if passed != 3 {
		t.Errorf("%d vectors pass, want 3", passed)
	}
}

// TestBrowser: what headless Chromium made with its virtual authenticator, over the
// DevTools protocol, on a page of http://localhost: a security key and a passkey that
// is synced.
func TestBrowser(t *testing.T) {
	for i, v := range vectorsOf(t, "testdata/chromium.json", 2) {
		c, err := passkey.Register(&passkey.Registration{ClientData: v.CreateClientData, AttestationObject: v.AttestationObject}, [32]byte(v.CreateChallenge), "localhost", []string{"http://localhost:8471"})
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if c.Synced != (i == 1) || c.Key.Algorithm != signature.WebAuthnP256 {
			t.Errorf("%s: %+v", v.Name, c)
		}
		s, err := (&passkey.Response{AuthenticatorData: v.AuthenticatorData, ClientData: v.ClientData, Signature: v.Signature}).For(c.Key)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if err := signature.VerifyAssertion(c.Key, [32]byte(v.Challenge), s); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if o, err := s.Origin(); err != nil || o != "http://localhost:8471" || s.Counter() <= c.Counter && c.Counter != 0 {
			t.Errorf("%s: origin %q, counter %d after %d, %v", v.Name, o, s.Counter(), c.Counter, err)
		}
	}
}

func TestRegister(t *testing.T) {
	challenge := [32]byte{7}
	origins := []string{"https://coffer.example"}
	for _, a := range []signature.Algorithm{signature.WebAuthnP256, signature.WebAuthnEd25519} {
		x := passkeytest.New(a, "alice", "coffer.example")
		c, err := passkey.Register(x.Create(challenge), challenge, "coffer.example", origins)
		if err != nil {
			t.Fatal(err)
		}
		if c.Key != x.Public() || c.Origin != x.Origin || c.Synced || string(c.ID) != "credential of alice" {
			t.Errorf("%+v", c)
		}
		x.Synced = true
		if c, err := passkey.Register(x.Create(challenge), challenge, "coffer.example", origins); err != nil || !c.Synced {
			t.Errorf("%+v, %v", c, err)
		}
		x.Synced = false
		for _, v := range []struct {
			name, want string
			change     func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte
		}{
			{"another challenge", "another challenge", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte { return [32]byte{8} }},
			{"another origin", "made on https://evil.example, want one of [https://coffer.example]", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				x.Origin = "https://evil.example"
				*r = *x.Create(challenge)
				return challenge
			}},
			{"another relying party", "not for the relying party", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				x.RPID = "evil.example"
				*r = *x.Create(challenge)
				return challenge
			}},
			{"no verification", "did not verify the person", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				x.Flags &^= passkeytest.Verified
				*r = *x.Create(challenge)
				return challenge
			}},
			{"an assertion's client data", "webauthn.create", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				r.ClientData = x.Get(challenge).ClientData
				return challenge
			}},
			{"trailing", "nothing behind", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				r.AttestationObject = append(r.AttestationObject, 0)
				return challenge
			}},
			{"large", "at most 16384", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				r.AttestationObject = make([]byte, passkey.MaxAttestation+1)
				return challenge
			}},
			{"deep", "nested deeper than 8", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				r.AttestationObject = bytes.Repeat([]byte{0x81}, 1000)
				return challenge
			}},
			{"another algorithm", "want ES256 over P-256 or EdDSA over Ed25519", func(x *passkeytest.Authenticator, r *passkey.Registration) [32]byte {
				i := bytes.LastIndex(r.AttestationObject, []byte{0x03, 0x26})
				if i < 0 {
					i = bytes.LastIndex(r.AttestationObject, []byte{0x03, 0x27})
				}
				r.AttestationObject[i+1] = 0x28
				return challenge
			}},
		} {
			x := passkeytest.New(a, "alice", "coffer.example")
			r := x.Create(challenge)
			ch := v.change(x, r)
			if _, err := passkey.Register(r, ch, "coffer.example", origins); err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%v, %s: %v, want %s", a, v.name, err, v.want)
			}
		}
		r := x.Create(challenge)
		for n := range r.AttestationObject {
			if _, err := passkey.Register(&passkey.Registration{ClientData: r.ClientData, AttestationObject: r.AttestationObject[:n]}, challenge, "coffer.example", origins); err == nil {
				t.Errorf("%v: the first %d of %d bytes register", a, n, len(r.AttestationObject))
			}
		}
	}
}

func TestResponseRefuses(t *testing.T) {
	x := passkeytest.New(signature.WebAuthnP256, "alice", "coffer.example")
	good := x.Get([32]byte{1})
	for _, c := range []struct {
		name, want string
		key        signature.PublicKey
		change     func(r *passkey.Response)
	}{
		{"no passkey", "no passkey", x.Public().Own(), func(*passkey.Response) {}},
		{"extensions", "want 37: no extensions", x.Public(), func(r *passkey.Response) { r.AuthenticatorData = append(bytes.Clone(r.AuthenticatorData), 0xa0) }},
		{"not DER", "not the DER", x.Public(), func(r *passkey.Response) { r.Signature = make([]byte, 64) }},
		{"DER with a tail", "not the DER", x.Public(), func(r *passkey.Response) { r.Signature = append(bytes.Clone(r.Signature), 0) }},
		{"zero", "not of P-256", x.Public(), func(r *passkey.Response) { r.Signature = []byte{0x30, 6, 2, 1, 0, 2, 1, 1} }},
		{"negative", "not of P-256", x.Public(), func(r *passkey.Response) { r.Signature = []byte{0x30, 6, 2, 1, 1, 2, 1, 0xff} }},
		{"an ed25519 signature of another size", "want 64", passkeytest.New(signature.WebAuthnEd25519, "a", "b.example").Public(), func(*passkey.Response) {}},
		{"no client data", "with 101 bytes", x.Public(), func(r *passkey.Response) { r.ClientData = nil }},
		{"large client data", "signature: 1126 items, at most 1125", x.Public(), func(r *passkey.Response) { r.ClientData = make([]byte, 1025) }},
	} {
		r := *good
		c.change(&r)
		if _, err := r.For(c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// FuzzRegister: whatever the bytes, an answer; and what registers is a key that a
// roster takes.
func FuzzRegister(f *testing.F) {
	challenge := [32]byte{7}
	x := passkeytest.New(signature.WebAuthnP256, "alice", "example.org")
	client := x.Create(challenge).ClientData
	f.Add(x.Create(challenge).AttestationObject)
	f.Add(passkeytest.New(signature.WebAuthnEd25519, "alice", "example.org").Create(challenge).AttestationObject)
	for _, v := range vectors(f) {
		f.Add(setUV(v.AttestationObject))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := passkey.Register(&passkey.Registration{ClientData: client, AttestationObject: b}, challenge, "example.org", []string{"https://example.org"})
		if err != nil {
			return
		}
		if back, err := signature.DecodePublicKey(c.Key.Bytes()); err != nil || back != c.Key {
			t.Fatalf("registered %v: %v", c.Key, err)
		}
	})
}
