package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/transport"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/mpc"
)

const testToken = "0123456789abcdef0123456789abcdef"

// fixture is an API over a coordinator, simulated vaults and a chain.
type fixture struct {
	*client.Client
	t       testing.TB
	url     string
	v       *coordinatortest.Vaults
	risk    *coordinatortest.Engine
	node    *devnode.Node
	cluster *client.Cluster
	wallet  *client.Wallet
	keys    string // folder of key files
	co      *coordinator.Coordinator
	logs    *logs
}

var world struct {
	once   sync.Once
	vaults *coordinatortest.Vaults
	err    error
}

// shared are the vaults of all tests that leave them as they are.
func shared(t testing.TB) *coordinatortest.Vaults {
	t.Helper()
	world.once.Do(func() { world.vaults, world.err = coordinatortest.New(21) })
	if world.err != nil {
		t.Fatal(world.err)
	}
	return world.vaults
}

func newFixture(t testing.TB, v *coordinatortest.Vaults) *fixture {
	t.Helper()
	f := &fixture{t: t, v: v, risk: coordinatortest.NewEngine(v), node: devnode.ForTest(t, sim.ChainID, devnode.Options{}), keys: t.TempDir()}
	co, err := coordinator.New(coordinator.Options{
		Genesis: v.Genesis, Database: filepath.Join(t.TempDir(), "coordinator.db"), Vaults: v, Screener: f.risk,
		Chains: []coordinator.Chain{{ID: sim.Chain, Node: f.node.Client, Confirmations: 1}}, Now: v.Clock.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.co = co
	t.Cleanup(co.Close)
	f.logs = &logs{v: v, t: t}
	srv := httptest.NewServer(New(Options{Coordinator: co, Logs: f.logs, Token: testToken, Version: "test", Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	if f.Client, err = client.New(srv.URL, testToken); err != nil {
		t.Fatal(err)
	}
	if f.cluster, err = f.Cluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	order := v.KeygenOrder("treasury", 2)
	order.Created = uint64(v.Genesis.Created) // the same order in every test
	k := sim.Person(v.Seed, order.Author)
	order.Signature = sim.SignStatement(k, order.Statement())
	if f.wallet, err = f.CreateWallet(t.Context(), b64(order.Encode())); err != nil {
		t.Fatal(err)
	}
	a, err := evm.ParseAddress(f.wallet.Addresses[sim.Chain])
	if err != nil {
		t.Fatal(err)
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(1000)); err != nil {
		t.Fatal(err)
	}
	return f
}

// signer is a person of the cast, from a key file.
// signed is a change with somebody's signature.
func (f *fixture) signed(name string, d *client.DecodedChange) *client.ChangeSignature {
	f.t.Helper()
	sig, err := f.signer(name).SignChange(d)
	if err != nil {
		f.t.Fatal(err)
	}
	return sig
}

func (f *fixture) cancelled(name string, d *client.Decoded) string {
	f.t.Helper()
	c, err := f.signer(name).Cancel(d)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) signer(name string) *client.Signer {
	f.t.Helper()
	path := filepath.Join(f.keys, name+".key")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		k, err := keyfile.New(bytes.NewReader(sim.Person(f.v.Seed, name).Seed()), name)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := k.Write(path); err != nil {
			f.t.Fatal(err)
		}
	}
	s, err := client.LoadSigner(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) draft(to evm.Address, amount string) *client.Draft {
	f.t.Helper()
	d, err := client.NewTransfer(f.cluster, f.wallet, sim.Chain, to.String(), amount)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *fixture) proposal(d *client.Draft) *client.Proposal {
	f.t.Helper()
	p, err := f.signer(sim.Trader).Propose(d)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func (f *fixture) propose(to evm.Address, amount string) *client.Request {
	f.t.Helper()
	r, err := f.Propose(f.t.Context(), f.proposal(f.draft(to, amount)))
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) approval(r *client.Request, who string, yes bool) string {
	f.t.Helper()
	d, err := client.Decode(r.Canonical, f.cluster)
	if err != nil {
		f.t.Fatal(err)
	}
	a, err := f.signer(who).Approve(d, yes, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// logs are the vaults' logs as their nodes would keep them, handed out in small
// parts.
type logs struct {
	v     *coordinatortest.Vaults
	t     testing.TB
	mu    sync.Mutex // guards files
	files map[uint16]*transport.LogPart

	cosigned func(vault uint16) ([]byte, error) // instead of the vault's answer
}

func (l *logs) Log(_ context.Context, vault uint16, offset uint64) (*transport.LogPart, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[uint16]*transport.LogPart{}
	}
	if offset == 0 {
		var entries [][]byte
		var checkpoint []byte
		down := false
		l.v.Do(func(w *sim.World) {
			p := w.Parties[mpc.ID(vault)]
			down = p.Vault == nil
			d := p.Disk.Clone()
			entries, checkpoint = d.Entries, d.Checkpoint
		})
		if down {
			return nil, transport.ErrUnreachable
		}
		dir := filepath.Join(l.t.TempDir(), "log")
		f, err := logfile.Create(dir, logfile.Header{Cluster: l.v.Genesis.Hash(), Vault: vault})
		if err != nil {
			return nil, err
		}
		if err := errors.Join(f.Append(entries), f.Close()); err != nil {
			return nil, err
		}
		b, err := os.ReadFile(filepath.Join(dir, logfile.EntriesFile))
		if err != nil {
			return nil, err
		}
		l.files[vault] = &transport.LogPart{Total: uint64(len(b)), Checkpoint: checkpoint, Bytes: b}
	}
	whole := l.files[vault]
	return &transport.LogPart{Total: whole.Total, Checkpoint: whole.Checkpoint, Bytes: whole.Bytes[offset:min(whole.Total, offset+5000)]}, nil
}

// Cosigned is what the vault itself answers.
func (l *logs) Cosigned(ctx context.Context, vault uint16) ([]byte, error) {
	if l.cosigned != nil {
		return l.cosigned(vault)
	}
	b, err := l.v.Command(ctx, vault, (&cluster.Command{Kind: cluster.CommandCosigned}).Encode())
	if err != nil {
		return nil, err
	}
	r, err := cluster.DecodeReply(b)
	if err != nil || r.Outcome != cluster.OutcomeDone {
		return nil, fmt.Errorf("%w: %+v, %w", transport.ErrUnreachable, r, err)
	}
	return r.Body, nil
}

// TestFlow is what a user does, through the SDK.
func TestFlow(t *testing.T) {
	f := newFixture(t, shared(t))
	ctx := t.Context()
	vs, err := f.Vaults(ctx)
	if err != nil || len(vs) != 3 || !vs[0].Reachable || !vs[0].UpToDate || len(vs[0].Peers) != 2 || len(vs[0].Keys) == 0 || vs[0].Vendor != "sim" {
		t.Fatalf("%+v, %v", vs, err)
	}
	if ws, err := f.Wallets(ctx); err != nil || len(ws) != 1 || ws[0].Threshold != 2 {
		t.Errorf("%+v, %v", ws, err)
	}
	for _, name := range []string{"treasury", f.wallet.ID, f.wallet.ID[:8]} {
		if w, err := f.Wallet(ctx, name); err != nil || w.ID != f.wallet.ID {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}

	// Auto-approved.
	p := f.proposal(f.draft(sim.Known, "0.5 ETH"))
	r, err := f.Propose(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Effects.Transfers) != 1 || r.Effects.Transfers[0].Label != "known" || r.Effects.Transfers[0].Amount.Text != "0.5 ETH" || r.Effects.Transfers[0].Amount.Units != "500000000000000000" || r.Effects.Transfers[0].Amount.Smallest != "wei" {
		t.Errorf("effects %+v", r.Effects)
	}
	r, err = f.WaitFinal(ctx, r.ID[:8], time.Minute)
	if err != nil || r.State != "confirmed" || r.Receipt == nil || !r.Receipt.Success || !strings.HasSuffix(r.Receipt.Fee.Text, " ETH") {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(r.Attempts) != 1 || len(r.Attempts[0].Replies) != 2 || r.Attempts[0].Replies[0].Decision == nil || !r.Attempts[0].Replies[0].Decision.Allow || r.Attempts[0].Nonce == nil {
		t.Errorf("attempts %+v", r.Attempts)
	}
	if len(r.Risk) != 1 || r.Risk[0].Outcome != "pass" || len(r.Transitions) < 6 {
		t.Errorf("risk %+v, transitions %+v", r.Risk, r.Transitions)
	}
	tx, err := f.Transaction(ctx, r.ID)
	if err != nil || tx.ID != r.TxID || !strings.HasPrefix(tx.Raw, "0x02") || !strings.HasPrefix(tx.Unsigned, "0x02") || tx.Receipt == nil {
		t.Errorf("%+v, %v", tx, err)
	}
	if again, err := f.Propose(ctx, p); err != nil || again.ID != r.ID || again.State != "confirmed" {
		t.Errorf("the same proposal again: %+v, %v", again, err)
	}

	// With approvals.
	r = f.propose(sim.Stranger, "3 ETH")
	if r, err = f.Wait(ctx, r.ID, time.Minute); err != nil || r.State != "awaiting_approval" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Policy == nil || !r.Policy.Pending || r.Policy.Rule != "payments" || len(r.Policy.Missing) != 1 || r.Policy.Missing[0].Count != 2 || len(r.Policy.Rules) != 2 {
		t.Errorf("policy %+v", r.Policy)
	}
	if r, err = f.Approve(ctx, r.ID, f.approval(r, "bob", true)); err != nil || r.State != "awaiting_approval" || len(r.Approvals) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = f.Approve(ctx, r.ID[:10], f.approval(r, "carol", true)); err != nil {
		t.Fatal(err)
	}
	if r, err = f.Wait(ctx, r.ID, time.Minute); err != nil || r.State != "confirmed" {
		t.Fatalf("%+v, %v", r, err)
	}

	// Denied: every vault's own words.
	r = f.propose(sim.Stranger, "30 ETH")
	if r, err = f.Wait(ctx, r.ID, time.Minute); err != nil || r.State != "denied" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, p := range r.Attempts[0].Replies {
		if p.Refusal == nil || p.Refusal.Code != "policy.default" || p.Refusal.Fix == "" || p.Decision == nil || p.Decision.Allow {
			t.Errorf("%+v", p)
		}
	}

	// Taken back.
	r = f.propose(sim.Stranger, "4 ETH")
	if r, err = f.Wait(ctx, r.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	d, err := client.Decode(r.Canonical, f.cluster)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = f.Cancel(ctx, r.ID, f.cancelled(sim.Trader, d)); err != nil || r.State != "cancelled" {
		t.Fatalf("%+v, %v", r, err)
	}
	if rs, err := f.Requests(ctx, ""); err != nil || len(rs) != 4 {
		t.Errorf("%d requests, %v", len(rs), err)
	}
	if rs, err := f.Requests(ctx, "denied"); err != nil || len(rs) != 1 || rs[0].State != "denied" || rs[0].Attempts != nil {
		t.Errorf("%+v, %v", rs, err)
	}
}

// TestGovernanceFlow changes the policy through the SDK.
func TestGovernanceFlow(t *testing.T) {
	v, err := coordinatortest.New(22)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	f := newFixture(t, v)
	ctx := t.Context()
	old, err := f.Policy(ctx)
	if err != nil || old.Kind != "policy" || old.Root != f.cluster.Governance.PolicyRoot {
		t.Fatalf("%+v, %v", old, err)
	}
	if ro, err := f.Roster(ctx); err != nil || ro.Kind != "roster" || !strings.Contains(string(mustJSON(t, ro.Document)), sim.Trader) {
		t.Errorf("%+v, %v", ro, err)
	}
	text := strings.Replace(string(mustJSON(t, old.Document)), "10 ETH", "20 ETH", 1)
	d, err := client.NewPolicyChange(f.cluster, "ada", "a larger limit", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.ProposeChange(ctx, d, f.signed("ada", d))
	if err != nil || x.Applied || len(x.SignedBy) != 1 || x.Quorum != 2 || x.Seq != 1 || x.Note != "a larger limit" {
		t.Fatalf("%+v, %v", x, err)
	}
	// The second admin decodes what it signs.
	seen, err := client.DecodeChange(x.Canonical)
	if err != nil || seen.Hash != x.Hash || !strings.Contains(string(seen.Document), "20 ETH") {
		t.Fatalf("%+v, %v", seen, err)
	}
	if _, err := f.SignChange(ctx, x.Hash[:12], f.signed("bob", seen)); !is(err, "governance.admin", 403) {
		t.Errorf("by no admin: %v", err)
	}
	if x, err = f.SignChange(ctx, x.Hash[:12], f.signed("cleo", seen)); err != nil || !x.Applied || len(x.SignedBy) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	r := f.propose(sim.Stranger, "15 ETH")
	if r, err = f.Wait(ctx, r.ID, time.Minute); err != nil || r.State != "awaiting_approval" {
		t.Fatalf("%+v, %v", r, err)
	}
	if all, err := f.Changes(ctx); err != nil || len(all) != 1 || !all[0].Applied {
		t.Errorf("%+v, %v", all, err)
	}
	if x, err = f.Change(ctx, x.Hash); err != nil || len(x.Vaults) != 3 {
		t.Errorf("%+v, %v", x, err)
	}
	if c, err := f.Cluster(ctx); err != nil || c.Governance.Seq != 1 || c.Governance.PolicyRoot == old.Root {
		t.Errorf("%+v, %v", c.Governance, err)
	}
	// A change that was drafted before another one went through comes too late.
	late, err := client.NewPolicyChange(f.cluster, "ada", "", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ProposeChange(ctx, late, f.signed("ada", late)); !is(err, "change.seq", 409) {
		t.Errorf("a late change: %v", err)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// is says whether err is the API's problem with that code and status.
func is(err error, code string, status int) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code == code && e.Status == status && e.Detail != "" && e.Title == http.StatusText(status)
}

// TestLog: what is exported is what an auditor verifies, and it streams.
func TestLog(t *testing.T) {
	f := newFixture(t, shared(t))
	r := f.propose(sim.Known, "0.5 ETH")
	if r, err := f.WaitFinal(t.Context(), r.ID, time.Minute); err != nil || r.State != "confirmed" {
		t.Fatalf("%+v, %v", r, err)
	}
	var dirs []string
	for id := 1; id <= 3; id++ {
		dir := filepath.Join(t.TempDir(), "copy")
		n, err := f.ExportLog(t.Context(), id, dir)
		if err != nil || n == 0 {
			t.Fatalf("vault %d: %d entries, %v", id, n, err)
		}
		dirs = append(dirs, dir)
	}
	report := verify.Dirs(f.v.Genesis.Hash(), dirs, sim.Codecs())
	if len(report.Faults) > 0 {
		t.Errorf("%v", report.Faults)
	}
	if _, err := f.ExportLog(t.Context(), 9, filepath.Join(t.TempDir(), "copy")); !is(err, "not-found", 404) {
		t.Errorf("vault 9: %v", err)
	}
	f.v.Crash(2)
	dir := filepath.Join(t.TempDir(), "copy")
	if _, err := f.ExportLog(t.Context(), 2, dir); !is(err, "vaults", 503) {
		t.Errorf("a node that is away: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	if vs, err := f.Vaults(t.Context()); err != nil || vs[1].Reachable || vs[1].Error == "" || vs[1].Name == "" {
		t.Errorf("%+v, %v", vs, err)
	}
	if err := f.v.RestartAll(); err != nil {
		t.Error(err)
	}
}

// TestWait: a long poll ends with what it waits for, and not before.
func TestWait(t *testing.T) {
	f := newFixture(t, shared(t))
	ctx := t.Context()
	r := f.propose(sim.Stranger, "3 ETH")
	r, err := f.Wait(ctx, r.ID, time.Minute)
	if err != nil || r.State != "awaiting_approval" {
		t.Fatalf("%+v, %v", r, err)
	}
	// Nothing happens: the time is up.
	if same, err := f.WaitFinal(ctx, r.ID, 50*time.Millisecond); err != nil || same.State != "awaiting_approval" {
		t.Errorf("%+v, %v", same, err)
	}
	got := make(chan *client.Request, 2)
	for _, wait := range []func() (*client.Request, error){
		func() (*client.Request, error) { return f.WaitChange(ctx, r, time.Minute) },
		func() (*client.Request, error) { return f.WaitFinal(ctx, r.ID, time.Minute) },
	} {
		go func() {
			x, err := wait()
			if err != nil {
				t.Error(err)
			}
			got <- x
		}()
	}
	if _, err := f.Approve(ctx, r.ID, f.approval(r, "bob", true)); err != nil {
		t.Fatal(err)
	}
	if x := <-got; x == nil || len(x.Transitions) <= len(r.Transitions) {
		t.Fatalf("%+v", x)
	}
	if _, err := f.Approve(ctx, r.ID, f.approval(r, "dave", true)); err != nil {
		t.Fatal(err)
	}
	if x := <-got; x == nil || x.State != "confirmed" {
		t.Fatalf("%+v", x)
	}
	// The engine holds it: people should look.
	f.risk.Set(true, 0)
	held := f.propose(sim.Known, "0.1 ETH")
	if held, err = f.Wait(ctx, held.ID, time.Minute); err != nil || held.State != "screening" || !strings.HasPrefix(held.Reason, "held: ") {
		t.Errorf("%+v, %v", held, err)
	}
	// A caller who hangs up leaves nothing behind.
	gone, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = f.WaitFinal(gone, held.ID, time.Minute)
	}()
	cancel()
	<-ended
}

// TestOpenAPI: the description is there, is 3.1, and holds together.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t, shared(t))
	resp, err := http.Get(f.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	want := map[string]string{
		"/v1/cluster": "get", "/v1/vaults": "get", "/v1/wallets": "get post", "/v1/wallets/{name}": "get", "/v1/requests": "get post",
		"/v1/requests/{id}": "get", "/v1/requests/{id}/approvals": "post", "/v1/requests/{id}/cancel": "post", "/v1/requests/{id}/transaction": "get post",
		"/v1/requests/{id}/wait": "get", "/v1/policy": "get", "/v1/limits": "get", "/v1/roster": "get", "/v1/changes": "get post", "/v1/changes/{hash}": "get",
		"/v1/changes/{hash}/signatures": "post", "/v1/log/{vault}": "get", "/v1/log/{vault}/checkpoint": "get",
		"/v1/measurements": "get", "/v1/requests/{id}/device-approvals": "post", "/v1/forecasts": "post",
	}
	paths := doc["paths"].(map[string]any)
	if len(paths) != len(want) {
		t.Errorf("%d paths, want %d", len(paths), len(want))
	}
	for path, methods := range want {
		item, ok := paths[path].(map[string]any)
		if !ok {
			t.Errorf("%s is missing", path)
			continue
		}
		for _, m := range strings.Fields(methods) {
			op, ok := item[m].(map[string]any)
			if !ok {
				t.Errorf("%s %s is missing", m, path)
				continue
			}
			if _, secured := op["security"]; secured != (m == "get" || strings.HasSuffix(path, "/transaction")) {
				t.Errorf("%s %s: token %v", m, path, secured)
			}
			for code, r := range op["responses"].(map[string]any) {
				content, _ := r.(map[string]any)["content"].(map[string]any)
				if _, ok := content["application/problem+json"]; strings.HasPrefix(code, "4") && !ok {
					t.Errorf("%s %s: %s is no problem: %v", m, path, code, content)
				}
			}
		}
	}
	refs(t, doc, doc)
}

// refs checks that every reference in the document leads somewhere.
func refs(t *testing.T, doc map[string]any, v any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			var at any = doc
			for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := at.(map[string]any)
				at = m[part]
			}
			if at == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, x := range v {
			refs(t, doc, x)
		}
	case []any:
		for _, x := range v {
			refs(t, doc, x)
		}
	}
}

// send is a request by hand.
func (f *fixture) send(method, path, body string, header ...string) (int, *client.Error, http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	e := new(client.Error)
	if resp.StatusCode >= 300 {
		if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
			f.t.Errorf("%s %s: %s with content type %q: %s", method, path, resp.Status, ct, b)
		}
		if err := json.Unmarshal(b, e); err != nil {
			f.t.Errorf("%s %s: %v: %s", method, path, err, b)
		}
		if e.Status != resp.StatusCode || e.Title == "" || e.Detail == "" || e.Code == "" {
			f.t.Errorf("%s %s: an incomplete problem: %s", method, path, b)
		}
	}
	return resp.StatusCode, e, resp.Header
}
