package api

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// issuer is an identity provider on this machine.
type issuer struct {
	*httptest.Server
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := new(issuer)
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	answer := func(path string, v any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		})
	}
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	answer("/.well-known/openid-configuration", map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/a", "token_endpoint": i.URL + "/t",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
	})
	answer("/keys", map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "r", "use": "sig", "n": b64(i.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "EC", "kid": "e", "use": "sig", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
	}})
	return i
}

func (i *issuer) claims(change func(c map[string]any)) map[string]any {
	c := map[string]any{"iss": i.URL, "aud": "coffer", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "groups": []string{"staff", "coffer-readers"}}
	if change != nil {
		change(c)
	}
	return c
}

// token signs as the header says.
func (i *issuer) token(alg, kid string, claims map[string]any) string {
	h, _ := json.Marshal(map[string]string{"alg": alg, "kid": kid, "typ": "JWT"})
	c, _ := json.Marshal(claims)
	body := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	d := sha256.Sum256([]byte(body))
	var sig []byte
	switch alg {
	case "RS256":
		sig, _ = rsa.SignPKCS1v15(nil, i.rsa, crypto.SHA256, d[:])
	case "ES256":
		r, s, _ := ecdsa.Sign(rand.Reader, i.ec, d[:])
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "HS256": // the public key taken for a secret
		der, _ := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write([]byte(body))
		sig = mac.Sum(nil)
	}
	return body + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestIdentityTokensRead: and do nothing else.
func TestIdentityTokensRead(t *testing.T) {
	i := newIssuer(t)
	f := newFixture(t, shared(t))
	cfg := OIDC{Issuer: i.URL, Audience: "coffer", Claim: "groups", Value: "coffer-readers"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(New(Options{Coordinator: f.co, Logs: &logs{v: f.v, t: t}, Token: testToken, OIDC: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)}))
	defer srv.Close()
	ask := func(method, path, token string, body []byte) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	good := i.token("RS256", "r", i.claims(nil))
	for name, token := range map[string]string{
		"rsa": good, "ec": i.token("ES256", "e", i.claims(nil)), "the token file's": testToken,
		"one group":           i.token("ES256", "e", i.claims(func(c map[string]any) { c["groups"] = "coffer-readers" })),
		"one of many clients": i.token("ES256", "e", i.claims(func(c map[string]any) { c["aud"] = []string{"else", "coffer"} })),
	} {
		for _, path := range []string{"/v1/cluster", "/v1/requests", "/v1/roster"} {
			if status, body := ask("GET", path, token, nil); status != 200 {
				t.Errorf("%s: GET %s: %d %s", name, path, status, body)
			}
		}
	}
	stranger := newIssuer(t)
	forged := strings.Split(good, ".")
	payload, _ := json.Marshal(i.claims(func(c map[string]any) { c["sub"] = "mallory" }))
	forged[1] = base64.RawURLEncoding.EncodeToString(payload)
	for name, c := range map[string]struct{ token, want string }{
		"none":                {"", "this needs the coordinator's token"},
		"garbage":             {"garbage", "does not permit reading"},
		"expired":             {i.token("RS256", "r", i.claims(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() })), "expired"},
		"no expiry":           {i.token("RS256", "r", i.claims(func(c map[string]any) { delete(c, "exp") })), "expire"},
		"not yet":             {i.token("RS256", "r", i.claims(func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() })), "before the nbf"},
		"another audience":    {i.token("RS256", "r", i.claims(func(c map[string]any) { c["aud"] = "mail" })), "audience"},
		"another issuer":      {stranger.token("RS256", "r", stranger.claims(nil)), "does not permit reading"},
		"another's signature": {stranger.token("RS256", "r", i.claims(nil)), "verify"},
		"other claims":        {strings.Join(forged, "."), "verify"},
		"alg none":            {i.token("none", "r", i.claims(nil)), "does not permit reading"},
		"HS256 by public key": {i.token("HS256", "r", i.claims(nil)), "does not permit reading"},
		"EC taken for RSA":    {i.token("RS256", "e", i.claims(nil)), "verify"},
		"no group":            {i.token("RS256", "r", i.claims(func(c map[string]any) { delete(c, "groups") })), `the token's claim \"groups\" is not`},
		"another group":       {i.token("RS256", "r", i.claims(func(c map[string]any) { c["groups"] = []string{"coffer-readers-not"} })), "is not, and has not"},
		"a group's part":      {i.token("RS256", "r", i.claims(func(c map[string]any) { c["groups"] = "staff coffer-readers" })), "is not, and has not"},
	} {
		if status, body := ask("GET", "/v1/cluster", c.token, nil); status != 401 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want 401 and %s", name, status, body, c.want)
		}
	}
	for _, path := range []string{"/v1/requests", "/v1/changes", "/v1/wallets", "/v1/requests/00000000/approvals", "/v1/requests/00000000/transaction"} {
		if status, body := ask("POST", path, good, []byte("{}")); status != 403 || !strings.Contains(body, "an identity token is for reading only") {
			t.Errorf("POST %s: %d %s", path, status, body)
		}
		if status, body := ask("POST", path, "", []byte("{}")); status == 403 {
			t.Errorf("POST %s without a token: %d %s", path, status, body)
		}
	}
}

// TestIssuerAway: reads with the token file's token go on.
func TestIssuerAway(t *testing.T) {
	r := newReaders(OIDC{Issuer: "http://127.0.0.1:1", Audience: "coffer", Claim: "groups", Value: "x"})
	for range 2 {
		if err := r.check(t.Context(), "x.y.z"); err == nil || !strings.Contains(err.Error(), "couldn't reach the issuer") {
			t.Errorf("%v", err)
		}
	}
	if newReaders(OIDC{}) != nil {
		t.Error("there are readers without an issuer")
	}
}

func TestOIDCConfig(t *testing.T) {
	good := OIDC{Issuer: "https://id.example/realm", Audience: "coffer", Claim: "groups", Value: "x"}
	for want, change := range map[string]func(*OIDC){
		"":              func(*OIDC) {},
		"oidc.issuer":   func(o *OIDC) { o.Issuer = "http://id.example" },
		`oidc.issuer "`: func(o *OIDC) { o.Issuer = "" },
		"oidc.audience": func(o *OIDC) { o.Audience = "" },
		"oidc.claim":    func(o *OIDC) { o.Claim = "" },
		"oidc.value":    func(o *OIDC) { o.Value = "" },
	} {
		c := good
		change(&c)
		if err := c.Check(); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := new(OIDC).Check(); err != nil {
		t.Error(err)
	}
}
