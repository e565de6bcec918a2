package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
)

func registrationBody(t *testing.T, r *passkey.Registration) []byte {
	t.Helper()
	b, err := json.Marshal(registrationJSON{base64.RawURLEncoding.EncodeToString(r.ClientData), base64.RawURLEncoding.EncodeToString(r.AttestationObject)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRegistrationPage: what the page's server gives and takes.
func TestRegistrationPage(t *testing.T) {
	p := &registration{name: "alice", flags: &passkeyFlags{rp: "localhost", origin: "http://localhost:8421"}, challenge: [32]byte{9}, done: make(chan *passkey.Credential, 1)}
	ask := func(method, host, path string, body []byte) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://"+host+path, bytes.NewReader(body))
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	if w := ask("GET", "localhost:8421", "/", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `userVerification: "required"`) || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("GET", "evil.example:8421", "/options", nil); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", w.Code)
	}
	if w := ask("GET", "localhost:8421", "/register", nil); w.Code != http.StatusNotFound {
		t.Errorf("GET of a registration: %d", w.Code)
	}
	var o struct{ Challenge, RP, Name string }
	w := ask("GET", "localhost:8421", "/options", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || o.RP != "localhost" || o.Name != "alice" {
		t.Fatalf("%s, %v", w.Body, err)
	}
	challenge, err := base64.RawURLEncoding.DecodeString(o.Challenge)
	if err != nil || [32]byte(challenge) != p.challenge {
		t.Fatalf("challenge %x, %v", challenge, err)
	}
	x := passkeytest.New(signature.WebAuthnP256, "alice", "localhost")
	x.Origin = "http://localhost:8421"
	for name, body := range map[string][]byte{
		"nothing": nil, "garbage": []byte(`{"clientDataJSON": "*"}`), "another challenge": registrationBody(t, x.Create([32]byte{8})),
		"too much": append([]byte(`{"clientDataJSON": "`), bytes.Repeat([]byte("a"), maxPageBody)...),
	} {
		if w := ask("POST", "localhost:8421", "/register", body); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	good := registrationBody(t, x.Create(p.challenge))
	if w := ask("POST", "localhost:8421", "/register", good); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), x.Public().Fingerprint()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("POST", "localhost:8421", "/register", good); w.Code != http.StatusConflict {
		t.Errorf("again: %d", w.Code)
	}
	if c := <-p.done; c.Key != x.Public() {
		t.Errorf("registered %v", c.Key)
	}
}

// TestRegistrationFile: of a passkey that was made on another site.
func TestRegistrationFile(t *testing.T) {
	x := passkeytest.New(signature.WebAuthnEd25519, "alice", "coffer.example")
	path := filepath.Join(t.TempDir(), "registration.json")
	challenge := [32]byte{7}
	if err := os.WriteFile(path, registrationBody(t, x.Create(challenge)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &passkeyFlags{rp: "coffer.example", origin: "https://coffer.example", file: path, challenge: hex.EncodeToString(challenge[:])}
	c, err := registerFile(f)
	if err != nil || c.Key != x.Public() {
		t.Fatalf("%v, %v", c, err)
	}
	f.origin = "https://other.example"
	if _, err := registerFile(f); err == nil || !strings.Contains(err.Error(), "made on https://coffer.example") {
		t.Errorf("another origin: %v", err)
	}
	f.challenge = "07"
	if _, err := registerFile(f); err == nil || !strings.Contains(err.Error(), "--challenge") {
		t.Errorf("a short challenge: %v", err)
	}
}
