package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

// TestBadInput: each thing that is wrong gets a problem that names the field, what
// was found and what would be right; nothing of it is kept.
func TestBadInput(t *testing.T) {
	f := newFixture(t, shared(t))
	waits := f.propose(sim.Stranger, "3 ETH")
	if w, err := f.Wait(t.Context(), waits.ID, time.Minute); err != nil || w.State != "awaiting_approval" {
		t.Fatalf("%+v, %v", w, err)
	}
	other := f.propose(sim.Stranger, "4 ETH")
	good := f.proposal(f.draft(sim.Known, "1 ETH"))
	proposal := func(change func(*client.Proposal)) string {
		p := *good
		change(&p)
		return string(mustJSON(t, p))
	}
	// signed is a proposal of a request that was changed before it was signed.
	signed := func(change func(*request.Request)) string {
		raw, err := unb64("request", good.Request)
		if err != nil {
			t.Fatal(err)
		}
		q, err := request.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		k := sim.Person(f.v.Seed, sim.Trader)
		return string(mustJSON(t, client.Proposal{Request: b64(q.Encode()), Key: sim.PublicKey(k).String(), Signature: b64(sim.SignStatement(k, request.ProposeStatement(q.ID())).Bytes)}))
	}
	field := func(name, value string) string { return fmt.Sprintf("{%q: %q}", name, value) }
	approval := func(who string, yes bool) string { return f.approval(waits, who, yes) }
	flip := func(s string) string { // another byte within
		b, err := unb64("x", s)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-10] ^= 1
		return b64(b)
	}
	requests, approvals, cancel := "/v1/requests", "/v1/requests/"+waits.ID+"/approvals", "/v1/requests/"+waits.ID+"/cancel"
	for name, c := range map[string]struct {
		path, body  string
		status      int
		code, field string
		words       string
	}{
		"not JSON":          {requests, `{"request": `, 400, "form", "body", "unexpected end"},
		"no object":         {requests, `[1]`, 422, "form", "body", "object"},
		"text":              {requests, `hello`, 400, "form", "body", "invalid character"},
		"empty body":        {requests, ``, 400, "form", "body", "required"},
		"missing field":     {requests, `{"request": "AQ", "key": "x"}`, 422, "form", "body", "signature"},
		"unknown field":     {requests, proposal(func(*client.Proposal) {})[:1] + `"amount": "1", ` + proposal(func(*client.Proposal) {})[1:], 422, "form", "amount", "unexpected property"},
		"wrong type":        {requests, `{"request": 5, "key": "x", "signature": "y"}`, 422, "form", "request", "expected string"},
		"no base64":         {requests, proposal(func(p *client.Proposal) { p.Request = "%%%" }), 422, "form", "request", "base64url"},
		"padded base64":     {requests, proposal(func(p *client.Proposal) { p.Request = "AQ==" }), 422, "form", "request", "without padding"},
		"empty request":     {requests, proposal(func(p *client.Proposal) { p.Request = "" }), 422, "form", "request", "base64url"},
		"garbage":           {requests, proposal(func(p *client.Proposal) { p.Request = b64([]byte("garbage")) }), 422, "form", "request", "couldn't decode request"},
		"cut off":           {requests, proposal(func(p *client.Proposal) { p.Request = p.Request[:40] }), 422, "form", "request", "couldn't decode request"},
		"longer":            {requests, proposal(func(p *client.Proposal) { p.Request = b64(append(mustUnb64(t, p.Request), 0)) }), 422, "form", "request", "couldn't decode request"},
		"key":               {requests, proposal(func(p *client.Proposal) { p.Key = "rsa:AQAB" }), 422, "form", "key", "want ed25519, p256, rsa3072, webauthn-p256 or webauthn-ed25519"},
		"key's length":      {requests, proposal(func(p *client.Proposal) { p.Key = "ed25519:AQAB" }), 422, "form", "key", "want 32"},
		"signature's form":  {requests, proposal(func(p *client.Proposal) { p.Signature = "AQAB" }), 422, "form", "signature", "3 bytes for a key of ed25519"},
		"signature":         {requests, proposal(func(p *client.Proposal) { p.Signature = flip(p.Signature) }), 403, "identity.signature", "request.initiator", "does not verify"},
		"somebody's key":    {requests, proposal(func(p *client.Proposal) { p.Key = f.signer("bob").PublicKey() }), 403, "identity.key", "request.initiator", "not one of"},
		"unknown initiator": {requests, signed(func(q *request.Request) { q.Initiator = "mallory" }), 403, "identity.principal", "request.initiator", `"mallory" is not in the roster`},
		"machine":           {requests, signed(func(q *request.Request) { q.Initiator = sim.Engine }), 403, "identity.kind", "request.initiator", "may not propose"},
		"other cluster":     {requests, signed(func(q *request.Request) { q.Cluster[0]++ }), 422, "request.cluster", "request", "cluster"},
		"unknown wallet":    {requests, signed(func(q *request.Request) { q.Wallet[0]++ }), 422, "request.wallet", "request.wallet", "there is none"},
		"chain": {requests, signed(func(q *request.Request) {
			q.Chain, q.Sender = "eip155:1", strings.Replace(q.Sender, sim.Chain, "eip155:1", 1)
		}), 422, "request.chain", "request.chain", "no node of eip155:1"},
		"chain's name":    {requests, signed(func(q *request.Request) { q.Chain = "ethereum" }), 422, "request.field", "request.chain", "CAIP-2"},
		"chain family":    {requests, signed(func(q *request.Request) { q.Chain, q.Sender = "cosmos:hub", "cosmos:hub:x" }), 422, "request.chain", "request.chain", "eip155"},
		"sender's chain":  {requests, signed(func(q *request.Request) { q.Chain = "eip155:1" }), 422, "request.field", "request.sender", "is on chain"},
		"other sender":    {requests, signed(func(q *request.Request) { q.Sender = sim.Chain + ":" + sim.Known.String() }), 422, "request.sender", "request.sender", "is not the address of wallet treasury"},
		"checksum":        {requests, signed(func(q *request.Request) { q.Sender = swapCase(q.Sender) }), 422, "request.sender", "request.sender", "checksum"},
		"intent":          {requests, signed(func(q *request.Request) { q.Intent = []byte{1, 9} }), 422, "request.intent", "request.intent", "couldn't decode intent"},
		"expired":         {requests, signed(func(q *request.Request) { q.Created -= 20_000; q.Expires = q.Created + 1000 }), 422, "request.expired", "request", "expired at"},
		"expiry":          {requests, signed(func(q *request.Request) { q.Expires = q.Created }), 422, "request.field", "request.expires", "is not after"},
		"lifetime":        {requests, signed(func(q *request.Request) { q.Expires = q.Created + 32*24*3600*1000 }), 422, "request.field", "request.expires", "31 days"},
		"from the future": {requests, signed(func(q *request.Request) { q.Created += 3600_000; q.Expires += 3600_000 }), 422, "request.created", "request.created", "ahead"},
		"too large":       {requests, `{"request": "` + strings.Repeat("A", 600<<10) + `", "key": "", "signature": ""}`, 413, "too-large", "body", "too large"},

		"replayed approval":       {"/v1/requests/" + other.ID + "/approvals", field("approval", approval("bob", true)), 422, "approval.request", "approval.request", "not for " + other.ID[:8]},
		"forged approval":         {approvals, field("approval", flip(approval("bob", true))), 403, "identity.signature", "approval", "does not verify"},
		"stranger's approval":     {approvals, field("approval", strangers(f, waits)), 403, "identity.principal", "approval", "mallory"},
		"expired approval":        {approvals, field("approval", f.oldApproval(waits, "bob")), 422, "approval.expired", "approval", "expired at"},
		"garbage approval":        {approvals, field("approval", "AAAA"), 422, "form", "approval", "couldn't decode approval"},
		"approval of nothing":     {"/v1/requests/" + strings.Repeat("ab", 32) + "/approvals", field("approval", f.approvalOf(strings.Repeat("ab", 32), "bob")), 404, "not-found", "approval", "not found"},
		"cancelled by another":    {cancel, field("cancellation", f.cancellation(waits, "bob")), 403, "cancellation.principal", "cancellation", "no admin"},
		"forged cancellation":     {cancel, field("cancellation", flip(f.cancellation(waits, sim.Trader))), 403, "identity.signature", "cancellation", "does not verify"},
		"cancellation of another": {"/v1/requests/" + other.ID + "/cancel", field("cancellation", f.cancellation(waits, sim.Trader)), 422, "cancellation.request", "cancellation.request", "not for"},

		"garbage order":       {"/v1/wallets", field("order", "AAAA"), 422, "form", "order", "couldn't decode keygen order"},
		"order by no admin":   {"/v1/wallets", field("order", f.order("bob", "second", 2)), 403, "governance.admin", "order.author", "not an admin"},
		"order's threshold":   {"/v1/wallets", field("order", f.order("ada", "second", 1)), 422, "keygen.invalid", "order", "threshold 1 of 3"},
		"name taken":          {"/v1/wallets", field("order", f.order("ada", "treasury", 2)), 409, "keygen.name", "order.wallet", "already"},
		"garbage change":      {"/v1/changes", `{"change": "AAAA", "signatures": [{"principal": "ada", "key": "x", "signature": "y"}]}`, 422, "form", "change", "couldn't decode change"},
		"unsigned change":     {"/v1/changes", `{"change": "AAAA", "signatures": []}`, 422, "form", "signatures", "length"},
		"unknown change":      {"/v1/changes/" + strings.Repeat("ab", 32) + "/signatures", `{"principal": "ada", "key": "x", "signature": "y"}`, 404, "not-found", "hash", "not found"},
		"no such operation":   {"/v1/nonsense", `{}`, 404, "not-found", "", "no POST of this path"},
		"wrong hash":          {"/v1/changes/xyz/signatures", `{"principal": "ada", "key": "x", "signature": "y"}`, 422, "form", "hash", "no id"},
		"write with no type":  {requests, proposal(func(*client.Proposal) {}), 415, "form", "body", "unknown content type"},
		"unknown id approval": {"/v1/requests/1234/approvals", field("approval", approval("bob", true)), 422, "form", "id", "no id"},
	} {
		var header []string
		if name == "write with no type" {
			header = []string{"Content-Type", "text/csv"}
		}
		status, e, _ := f.send(http.MethodPost, c.path, c.body, header...)
		if status != c.status || e.Code != c.code || e.Field != c.field || !strings.Contains(e.Detail, c.words) {
			t.Errorf("%s: %d %+v\n\twant %d, code %s, field %q, %q in the detail", name, status, *e, c.status, c.code, c.field, c.words)
		}
		if status == 422 && e.Fix == "" && !strings.Contains(e.Detail, "want") && !strings.Contains(e.Detail, "is not") && !strings.Contains(e.Detail, "more than") && !strings.Contains(e.Detail, "it is 0x") {
			t.Errorf("%s: it does not say what would be right: %+v", name, *e)
		}
	}
	// Nothing of all that is kept.
	rs, err := f.Requests(t.Context(), "")
	if err != nil || len(rs) != 2 {
		t.Errorf("%d requests, want the 2 good ones: %v", len(rs), err)
	}
	if r, err := f.Request(t.Context(), waits.ID); err != nil || r.State != "awaiting_approval" || len(r.Approvals) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if all, err := f.Changes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if ws, err := f.Wallets(t.Context()); err != nil || len(ws) != 1 {
		t.Errorf("%+v, %v", ws, err)
	}
	// A duplicate is told as such, the same bytes again are not.
	a := approval("bob", true)
	for range 2 {
		if _, err := f.Approve(t.Context(), waits.ID, a); err != nil {
			t.Errorf("%v", err)
		}
	}
	if _, err := f.Approve(t.Context(), waits.ID, approval("bob", false)); !is(err, "approval.duplicate", 409) {
		t.Errorf("a second answer: %v", err)
	}
}

func mustUnb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := unb64("x", s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// swapCase breaks the checksum of an account.
func swapCase(account string) string {
	i := strings.LastIndex(account, ":0x") + 3
	return account[:i] + strings.ToUpper(account[i:])
}

func (f *fixture) signApproval(a request.Approval, who string) string {
	k := sim.Person(f.v.Seed, who)
	a.Principal, a.Approve, a.Key = who, true, sim.PublicKey(k)
	a.Signature = sim.SignStatement(k, a.Statement())
	return b64(a.Encode())
}

func (f *fixture) id(hexID string) (id [32]byte) {
	p, err := prefix("id", hexID)
	if err != nil {
		f.t.Fatal(err)
	}
	copy(id[:], p)
	return id
}

func (f *fixture) now() uint64 { return uint64(f.v.Clock.Now().UnixMilli()) }

func strangers(f *fixture, r *client.Request) string {
	return f.signApproval(request.Approval{Request: f.id(r.ID), Time: f.now(), Expires: f.now() + 1000}, "mallory")
}

func (f *fixture) oldApproval(r *client.Request, who string) string {
	return f.signApproval(request.Approval{Request: f.id(r.ID), Time: f.now() - 2000, Expires: f.now() - 1000}, who)
}

func (f *fixture) approvalOf(id, who string) string {
	return f.signApproval(request.Approval{Request: f.id(id), Time: f.now(), Expires: f.now() + 100_000}, who)
}

func (f *fixture) cancellation(r *client.Request, who string) string {
	f.t.Helper()
	d, err := client.Decode(r.Canonical, f.cluster)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.cancelled(who, d)
}

func (f *fixture) order(who, name string, threshold int) string {
	f.t.Helper()
	o, err := f.signer(who).OrderWallet(f.cluster, name, threshold, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// TestReads: tokens, ids, queries.
func TestReads(t *testing.T) {
	f := newFixture(t, shared(t))
	r := f.propose(sim.Stranger, "3 ETH")
	for name, c := range map[string]struct {
		path        string
		header      []string
		status      int
		code, field string
	}{
		"no token":       {"/v1/cluster", []string{"Authorization", ""}, 401, "token", "Authorization"},
		"wrong token":    {"/v1/requests", []string{"Authorization", "Bearer " + strings.Repeat("0", 32)}, 401, "token", "Authorization"},
		"other scheme":   {"/v1/policy", []string{"Authorization", "Basic " + testToken}, 401, "token", "Authorization"},
		"log":            {"/v1/log/1", []string{"Authorization", ""}, 401, "token", "Authorization"},
		"short id":       {"/v1/requests/" + r.ID[:6], nil, 422, "form", "id"},
		"odd id":         {"/v1/requests/" + r.ID[:9], nil, 422, "form", "id"},
		"no hex":         {"/v1/requests/zzzzzzzz", nil, 422, "form", "id"},
		"unknown id":     {"/v1/requests/" + strings.Repeat("00", 32), nil, 404, "not-found", "id"},
		"no transaction": {"/v1/requests/" + r.ID + "/transaction", nil, 404, "not-found", "id"},
		"state":          {"/v1/requests?state=done", nil, 422, "form", "state"},
		"limit":          {"/v1/requests?limit=0", nil, 422, "form", "limit"},
		"unknown query":  {"/v1/requests?color=red", nil, 422, "form", "color"},
		"timeout":        {"/v1/requests/" + r.ID + "/wait?timeout=forever", nil, 422, "form", "timeout"},
		"long timeout":   {"/v1/requests/" + r.ID + "/wait?timeout=2h", nil, 422, "form", "timeout"},
		"until":          {"/v1/requests/" + r.ID + "/wait?until=later", nil, 422, "form", "until"},
		"wallet":         {"/v1/wallets/nobodys", nil, 404, "not-found", "name"},
		"vault":          {"/v1/log/0", nil, 422, "form", "vault"},
		"vault's name":   {"/v1/log/one", nil, 422, "form", "vault"},
		"checkpoint":     {"/v1/log/1/checkpoint", []string{"Authorization", ""}, 401, "token", "Authorization"},
		"no vault":       {"/v1/log/9/checkpoint", nil, 404, "not-found", "vault"},
		"change":         {"/v1/changes/" + strings.Repeat("00", 32), nil, 404, "not-found", "hash"},
		"path":           {"/v2/cluster", nil, 404, "not-found", ""},
		"root":           {"/", nil, 404, "not-found", ""},
	} {
		status, e, h := f.send(http.MethodGet, c.path, "", c.header...)
		if status != c.status || e.Code != c.code || e.Field != c.field {
			t.Errorf("%s: %d %+v, want %d, code %s, field %q", name, status, *e, c.status, c.code, c.field)
		}
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: it may be cached", name)
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodDelete, "/v1/requests/" + r.ID, "GET, HEAD"},
		{http.MethodPut, "/v1/requests", "GET, HEAD, POST"},
		{http.MethodGet, "/v1/requests/" + r.ID + "/approvals", "POST"},
		{"BREW", "/v1/cluster", "GET, HEAD"},
	} {
		status, e, h := f.send(c.method, c.path, "")
		if status != http.StatusMethodNotAllowed || e.Code != "method" || h.Get("Allow") != c.allow || e.Fix != c.allow {
			t.Errorf("%s %s: %d %+v, Allow %q, want 405 and %q", c.method, c.path, status, *e, h.Get("Allow"), c.allow)
		}
	}
	if status, e, h := f.send(http.MethodDelete, "/v1/nonsense", ""); status != http.StatusNotFound || e.Code != "not-found" || h.Get("Allow") != "" {
		t.Errorf("DELETE of nothing: %d %+v", status, *e)
	}
	// A write asks for no token: its signatures say who wants it.
	p := mustJSON(t, f.proposal(f.draft(sim.Known, "0.1 ETH")))
	status, _, _ := f.send(http.MethodPost, "/v1/requests", string(p), "Authorization", "")
	if status != http.StatusCreated {
		t.Errorf("a proposal without a token: %d", status)
	}
	if status, _, _ = f.send(http.MethodPost, "/v1/requests", string(p), "Authorization", ""); status != http.StatusOK {
		t.Errorf("the same again: %d", status)
	}
	// But a transaction carries none.
	path := "/v1/requests/" + r.ID + "/transaction"
	if status, e, _ := f.send(http.MethodPost, path, `{"unsigned": "AQ"}`, "Authorization", ""); status != http.StatusUnauthorized || e.Code != "token" {
		t.Errorf("a transaction without a token: %d %+v", status, e)
	}
	if status, e, _ := f.send(http.MethodPost, path, `{"unsigned": "AQ"}`); status != http.StatusUnprocessableEntity || !strings.Contains(e.Detail, "none is to be brought") {
		t.Errorf("a transaction where the coordinator builds it: %d %+v", status, e)
	}
	if status, e, _ := f.send(http.MethodPost, path, `{"unsigned": "%"}`); status != http.StatusUnprocessableEntity || e.Field != "unsigned" {
		t.Errorf("no base64: %d %+v", status, e)
	}
}
