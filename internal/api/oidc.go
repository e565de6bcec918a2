package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// OIDC says whose identity tokens permit reading, and nothing else. Writes are
// authorised by signatures that vaults verify; vaults know no identity provider.
type OIDC struct {
	Issuer   string `toml:"issuer"`   // https://…; empty: no identity tokens
	Audience string `toml:"audience"` // this API's client id there
	Claim    string `toml:"claim"`    // a claim that the token must have: "groups"
	Value    string `toml:"value"`    // and its value, or one of its values: "coffer-readers"
}

// Check refuses what could not be used.
func (o *OIDC) Check() error {
	if *o == (OIDC{}) {
		return nil
	}
	u, err := url.Parse(o.Issuer)
	host := ""
	if err == nil {
		host = u.Hostname()
	}
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case err != nil || host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && local):
		return fmt.Errorf("oidc.issuer %q: want https://HOST/PATH", o.Issuer)
	case o.Audience == "":
		return errors.New("oidc.audience is empty: want this API's client id at the issuer, or tokens for anything else would do")
	case o.Claim == "" || o.Value == "":
		return errors.New("oidc.claim, oidc.value: want a claim and its value that readers' tokens have, such as groups and coffer-readers, or everybody at the issuer could read")
	}
	return nil
}

const (
	issuerTimeout = 5 * time.Second  // of each question to the issuer
	issuerPause   = 10 * time.Second // after one that failed
)

// signedBy are the algorithms that are taken: public-key ones only. A token without a
// signature, or with a MAC under a key that everybody knows, is none.
var signedBy = []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA}

// readers verifies identity tokens.
type readers struct {
	cfg    OIDC
	client *http.Client
	now    func() time.Time

	mu       sync.Mutex // guards what follows
	verifier *oidc.IDTokenVerifier
	failed   time.Time
	why      error
}

func newReaders(cfg OIDC) *readers {
	if cfg == (OIDC{}) {
		return nil
	}
	return &readers{cfg: cfg, now: time.Now, client: &http.Client{Timeout: issuerTimeout}}
}

// find asks the issuer for its keys' address once; keys are read when they are needed.
func (r *readers) find() (*oidc.IDTokenVerifier, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verifier != nil {
		return r.verifier, nil
	}
	if r.why != nil && r.now().Sub(r.failed) < issuerPause {
		return nil, r.why
	}
	// The provider keeps this context for its keys: it is no single request's.
	p, err := oidc.NewProvider(oidc.ClientContext(context.Background(), r.client), r.cfg.Issuer)
	if err != nil {
		r.failed, r.why = r.now(), fmt.Errorf("couldn't reach the issuer: %w", err)
		return nil, r.why
	}
	r.verifier = p.Verifier(&oidc.Config{ClientID: r.cfg.Audience, SupportedSigningAlgs: signedBy, Now: r.now})
	return r.verifier, nil
}

// check says whether a token permits reading.
func (r *readers) check(ctx context.Context, token string) error {
	v, err := r.find()
	if err != nil {
		return err
	}
	t, err := v.Verify(ctx, token)
	if err != nil {
		return err
	}
	if t.Expiry.IsZero() {
		return errors.New("the token never expires")
	}
	var claims map[string]json.RawMessage
	if err := t.Claims(&claims); err != nil {
		return err
	}
	var one string
	var many []string
	if json.Unmarshal(claims[r.cfg.Claim], &one) == nil && one == r.cfg.Value ||
		json.Unmarshal(claims[r.cfg.Claim], &many) == nil && slices.Contains(many, r.cfg.Value) {
		return nil
	}
	return fmt.Errorf("the token's claim %q is not, and has not, %q", r.cfg.Claim, r.cfg.Value)
}
