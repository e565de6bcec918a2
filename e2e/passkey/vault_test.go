package passkey

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/passkey"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// site serves one of Coffer's pages on an origin of its own, http://localhost:PORT.
type site struct {
	t      *testing.T
	origin string

	mu        sync.Mutex // guards what follows
	challenge [32]byte
	body      map[string]string // what the page sent
}

func serve(t *testing.T, file string) *site {
	t.Helper()
	html, err := os.ReadFile("../../cmd/coffer/" + file)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t}
	if _, err := rand.Read(s.challenge[:]); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch r.Method + r.URL.Path {
		case "GET/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(html)
		case "GET/options":
			_ = json.NewEncoder(w).Encode(map[string]string{
				"name": "bob", "rp": "localhost", "text": "pays 5 ETH", "user": "Ym9i", "challenge": base64.RawURLEncoding.EncodeToString(s.challenge[:]),
			})
		case "POST/register", "POST/sign":
			if err := json.NewDecoder(r.Body).Decode(&s.body); err != nil {
				t.Error(err)
			}
			_, _ = w.Write([]byte("taken"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.origin = "http://localhost:" + port
	return s
}

// ask sets what the page asks for next.
func (s *site) ask(challenge [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge, s.body = challenge, nil
}

// sent is what the page sent; nil when it sent nothing.
func (s *site) sent() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body == nil {
		return nil
	}
	out := map[string][]byte{}
	for name, text := range s.body {
		out[name] = decode(s.t, text)
	}
	return out
}

func (s *site) response() *passkey.Response {
	sent := s.sent()
	if sent == nil {
		return nil
	}
	return &passkey.Response{AuthenticatorData: sent["authenticatorData"], ClientData: sent["clientDataJSON"], Signature: sent["signature"]}
}

// register has the page make a passkey.
func (s *site) register(p *page) *passkey.Credential {
	s.t.Helper()
	p.until("document.readyState === 'complete' && document.getElementById('name')?.textContent === 'bob'")
	if said := p.press("make"); said != "taken" {
		s.t.Fatalf("the page says %q", said)
	}
	sent := s.sent()
	r := &passkey.Registration{ClientData: sent["clientDataJSON"], AttestationObject: sent["attestationObject"]}
	c, err := passkey.Register(r, s.challenge, "localhost", []string{s.origin})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// sign has the page sign a challenge; the answer is nil, and what it says instead, when
// the browser does not.
func (s *site) sign(p *page, challenge [32]byte) (*passkey.Response, string) {
	s.t.Helper()
	s.ask(challenge)
	p.do(p.session, "Page.navigate", map[string]any{"url": s.origin}, nil)
	p.until("document.readyState === 'complete' && document.getElementById('text')?.textContent === 'pays 5 ETH'")
	said := p.press("sign")
	return s.response(), said
}

// world is a cluster of three vaults whose roster lists bob's passkey.
type world struct {
	*sim.World
	t     *testing.T
	x     *sim.Wallet
	key   signature.PublicKey
	nonce uint64
}

func newWorld(t *testing.T, origin string, key signature.PublicKey) *world {
	t.Helper()
	const seed = 17
	ro := sim.Roster(seed)
	for i := range ro.Principals {
		if p := &ro.Principals[i]; p.ID == "bob" {
			p.Credentials = append(p.Credentials, key)
		}
	}
	ro.Origins = []string{origin}
	ro.Sort()
	w, err := sim.New(seed, 3, ro, sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	return &world{World: w, t: t, x: x, key: key, nonce: 1}
}

// approval is bob's of a new payment, not signed yet; carol approved it.
func (w *world) approval() (*request.Bundle, request.Approval) {
	b := w.Transfer(w.x, sim.Stranger, sim.ETH(5), "carol")
	return b, request.Approval{Request: b.Request.ID(), Principal: "bob", Approve: true, Time: w.Now, Expires: b.Request.Expires, Key: w.key}
}

// vaults has two vaults decide; the code is empty when they signed the payment.
func (w *world) vaults(b *request.Bundle, a request.Approval, r *passkey.Response) (code, detail string) {
	w.t.Helper()
	var err error
	if a.Signature, err = r.For(w.key); err != nil {
		w.t.Fatal(err)
	}
	b.Approvals = append(b.Approvals, a)
	b.Sort()
	w.nonce++
	unsigned := sim.Unsigned(sim.Stranger, sim.ETH(5), w.nonce)
	replies, err := w.Sign(b, unsigned, 1, 2)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range []mpc.ID{1, 2} {
		if p := replies[id]; p != nil && p.Outcome == cluster.OutcomeRefused {
			ref, err := refusal.Decode(p.Refusal)
			if err != nil {
				w.t.Fatal(err)
			}
			if code != "" && code != ref.Code {
				w.t.Errorf("vault %d refuses with %s, vault 1 with %s", id, ref.Code, code)
			}
			code, detail = ref.Code, ref.Detail
		} else if code != "" {
			w.t.Errorf("vault 1 refuses with %s, vault %d: %s", code, id, sim.Describe(p))
		}
	}
	if code == "" {
		p, err := evm.Codec{}.Prepare(sim.Chain, w.x.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := sim.Combine(w.x, p.Digests[0], replies); err != nil {
			w.t.Fatal(err)
		}
	}
	return code, detail
}

// TestBrowser: a passkey that Chromium makes approves a payment in vaults; what it signs
// over something else, elsewhere, without looking at its person, or in a copy does not.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	making, here, elsewhere := serve(t, "passkey.html"), serve(t, "passkeysign.html"), serve(t, "passkeysign.html")
	p := b.open(making.origin, true)
	c := making.register(p)
	if c.Key.Algorithm != signature.WebAuthnP256 || c.Synced {
		t.Errorf("%+v", c)
	}
	w := newWorld(t, here.origin, c.Key)

	bundle, a := w.approval()
	r, said := here.sign(p, a.Statement().Digest())
	if r == nil {
		t.Fatalf("the page says %q", said)
	}
	if code, detail := w.vaults(bundle, a, r); code != "" {
		t.Fatalf("refused: %s: %s", code, detail)
	}
	copied := p.credentials()[0]

	refused := func(name, want, word string, r *passkey.Response, bundle *request.Bundle, a request.Approval) {
		t.Helper()
		if r == nil {
			t.Fatalf("%s: the browser signs nothing", name)
		}
		if code, detail := w.vaults(bundle, a, r); code != want || !strings.Contains(detail, word) {
			t.Errorf("%s: %q: %s; want %s: %s", name, code, detail, want, word)
		}
	}
	// Over another request: the answer of above, and one for a challenge of its own.
	bundle, a = w.approval()
	refused("another request", "identity.signature", "bob", r, bundle, a)
	bundle, a = w.approval()
	r, _ = here.sign(p, [32]byte{7})
	refused("another challenge", "identity.signature", "bob", r, bundle, a)
	// On another port of this machine.
	bundle, a = w.approval()
	r, _ = elsewhere.sign(p, a.Statement().Digest())
	refused("another origin", "identity.origin", elsewhere.origin, r, bundle, a)
	// Without a PIN: the page's own question gets no answer; a page that asks for less does.
	p.verifies(false)
	bundle, a = w.approval()
	if r, said := here.sign(p, a.Statement().Digest()); r != nil || !strings.Contains(said, "NotAllowedError") {
		t.Errorf("nobody verified: %v, the page says %q", r, said)
	}
	p.eval(`navigator.credentials.real = navigator.credentials.get;
		navigator.credentials.get = o => {
			o.publicKey.userVerification = "discouraged";
			o.publicKey.allowCredentials = [{type: "public-key", id: bytes("` + base64.RawURLEncoding.EncodeToString(c.ID) + `")}];
			return navigator.credentials.real(o);
		}; true`)
	if said := p.press("sign"); said != "taken" {
		t.Fatalf("the page says %q", said)
	}
	refused("no user verification", "identity.signature", "user verification", here.response(), bundle, a)
	p.verifies(true)

	// bob goes on with it. A copy from before, in another authenticator, counts on its own.
	bundle, a = w.approval()
	r, said = here.sign(p, a.Statement().Digest())
	if r == nil {
		t.Fatalf("the page says %q", said)
	}
	if code, detail := w.vaults(bundle, a, r); code != "" {
		t.Fatalf("refused: %s: %s", code, detail)
	}
	now := p.credentials()[0]["signCount"]
	copied["signCount"] = now.(float64) - 1
	thief := b.open(here.origin, true)
	thief.put(copied)
	bundle, a = w.approval()
	r, said = here.sign(thief, a.Statement().Digest())
	if r == nil {
		t.Fatalf("the page says %q", said)
	}
	refused("a copy", "identity.cloned", "bob", r, bundle, a)
	bundle, a = w.approval()
	r, _ = here.sign(p, a.Statement().Digest())
	refused("the copied one itself, from then on", "identity.cloned", "bob", r, bundle, a)
}
