package risk

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

func judge(t *testing.T, e *Engine, q *Question) *request.RiskVerdict {
	t.Helper()
	v, err := e.Judge(t.Context(), q, now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func reason(v *request.RiskVerdict, want string) bool {
	for _, r := range v.Reasons {
		if strings.Contains(r, want) {
			return true
		}
	}
	return false
}

func TestLookalike(t *testing.T) {
	known := evm.Address{0xab, 0xcd, 1, 2, 3, 18: 0x12, 19: 0x34}
	twin := evm.Address{0xab, 0xcd, 9, 9, 9, 18: 0x12, 19: 0x34}
	start := evm.Address{0xab, 0xcd, 9, 9, 9, 18: 0x12, 19: 0x35}
	paid := evm.NewTransfer(known, eth(t, "1 ETH"))
	for name, c := range map[string]struct {
		to    evm.Address
		past  []*evm.Intent
		known []string
		want  bool
	}{
		"twin of one that was paid": {to: twin, past: []*evm.Intent{paid}, want: true},
		"twin of one that is named": {to: twin, known: []string{evm.Account(chainID, known)}, want: true},
		"the same account":          {to: known, past: []*evm.Intent{paid}},
		"only the start":            {to: start, past: []*evm.Intent{paid}},
		"twin, but paid before":     {to: twin, past: []*evm.Intent{paid, evm.NewTransfer(twin, eth(t, "1 ETH"))}},
		"nobody is known":           {to: twin},
	} {
		e := newEngine(t, func(k *Checks) { k.Known = c.known })
		v := judge(t, e, ask(t, evm.NewTransfer(c.to, eth(t, "1 ETH")), "0.01 ETH", c.past...))
		if got := reason(v, "looks like"); got != c.want || c.want && v.Outcome != request.Deny {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
	// A spender, and a token's recipient.
	e := newEngine(t, nil)
	for name, in := range map[string]*evm.Intent{
		"spender": evm.NewERC20Approve(token, twin, eth(t, "1 wei")), "token": evm.NewERC20Transfer(token, twin, eth(t, "1 wei")),
	} {
		if v := judge(t, e, ask(t, in, "0.01 ETH", paid)); !reason(v, "looks like") {
			t.Errorf("%s: %q", name, v.Reasons)
		}
	}
	// Base58 tells upper from lower case.
	const sol = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:"
	if !alike(sol+"AbCd1111wXyZ", sol+"AbCd2222wXyZ") || alike(sol+"AbCd1111wXyZ", sol+"abcd2222wXyZ") {
		t.Error("the ends of Solana's addresses")
	}
}

func TestVelocity(t *testing.T) {
	one := evm.NewTransfer(friend, eth(t, "1 ETH"))
	at := func(q *Question, ages ...time.Duration) *Question {
		for i, d := range ages {
			q.History[i].Time = uint64(now.Add(-d).UnixMilli())
		}
		return q
	}
	past := func(n int) []*evm.Intent {
		var out []*evm.Intent
		for range n {
			out = append(out, one)
		}
		return out
	}
	const minute, day = time.Minute, 24 * time.Hour
	for name, c := range map[string]struct {
		q    *Question
		want bool
	}{
		"a burst after quiet days": {at(ask(t, one, "0.01 ETH", past(6)...), minute, 2*minute, 3*minute, 4*minute, 5*minute, 10*day), true},
		"too few to tell":          {at(ask(t, one, "0.01 ETH", past(3)...), minute, 2*minute, 10*day), false},
		"a wallet that is busy":    {at(ask(t, one, "0.01 ETH", past(8)...), minute, 2*minute, 3*minute, 4*minute, 61*minute, 62*minute, 63*minute, 64*minute), false},
		"many small ones add up": {
			at(ask(t, evm.NewTransfer(friend, eth(t, "9 ETH")), "0.01 ETH", evm.NewTransfer(friend, eth(t, "9 ETH")), one, one), minute, 5*day, 6*day), true,
		},
		"one that is large, alone": {at(ask(t, evm.NewTransfer(friend, eth(t, "11 ETH")), "0.01 ETH", one), 5*day), false},
		"as much as before":        {at(ask(t, one, "0.01 ETH", one, one, one), minute, 5*day, 6*day), false},
	} {
		e := newEngine(t, func(k *Checks) { k.UnusualWeight = 0 })
		v := judge(t, e, c.q)
		if got := reason(v, "of this wallet in") || reason(v, "leave in"); got != c.want {
			t.Errorf("%s: %q", name, v.Reasons)
		}
		// What is open counts in the window as if it were confirmed, for velocity only.
		open := *c.q
		open.History = slices.DeleteFunc(slices.Clone(c.q.History), func(p Past) bool { return p.Time+3_600_000 > uint64(now.UnixMilli()) })
		open.Open = c.q.History[:len(c.q.History)-len(open.History)]
		e = newEngine(t, func(k *Checks) { k.UnusualWeight = 0 })
		if v := judge(t, e, &open); (reason(v, "of this wallet in") || reason(v, "leave in")) != c.want || reason(v, "never paid") != (len(open.History) == 0) {
			t.Errorf("%s, open: %q", name, v.Reasons)
		}
		e = newEngine(t, func(k *Checks) { k.UnusualWeight, k.VelocityWeight = 0, 0 })
		if v := judge(t, e, c.q); reason(v, "in 1h0m0s") {
			t.Errorf("%s, switched off: %q", name, v.Reasons)
		}
	}
}

// What somebody only asks for, and nobody approves, does not become what is usual: who
// may ask could otherwise make room for a burst.
func TestOpenRequestsAreNotUsual(t *testing.T) {
	one, nine, huge := evm.NewTransfer(friend, eth(t, "1 ETH")), evm.NewTransfer(friend, eth(t, "9 ETH")), evm.NewTransfer(friend, eth(t, "1000 ETH"))
	q := ask(t, nine, "0.01 ETH", append([]*evm.Intent{one, nine, nine, nine, nine}, slices.Repeat([]*evm.Intent{huge}, 50)...)...)
	q.History[0].Time = uint64(now.Add(-10 * 24 * time.Hour).UnixMilli())
	for i := 1; i < len(q.History); i++ {
		age := time.Minute
		if i > 4 {
			age = 2 * time.Hour
		}
		q.History[i].Time = uint64(now.Add(-age).UnixMilli())
	}
	q.History, q.Open = q.History[:1], q.History[1:]
	v := judge(t, newEngine(t, nil), q)
	if !reason(v, "of this wallet in") || !reason(v, "leave in") {
		t.Errorf("%q", v.Reasons)
	}
}

func TestUnlimited(t *testing.T) {
	most := *new(request.Request).MaxFee.SetAllOne()
	v := judge(t, newEngine(t, nil), ask(t, evm.NewERC20Approve(token, friend, most), "0.01 ETH"))
	if v.Outcome != request.Hold || !reason(v, "without limit") {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
}

// publisher signs lists.
func publisher(t *testing.T) (sign func(text string) []byte, key string) {
	t.Helper()
	secret, key, err := note.GenerateKey(nil, "bad-accounts.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) []byte {
		b, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}, key
}

func listText(issued, expires time.Time, accounts ...string) string {
	text := listHeader + "\nissued " + issued.UTC().Format(time.RFC3339) + "\nexpires " + expires.UTC().Format(time.RFC3339) + "\n"
	for _, a := range accounts {
		text += a + " sanctioned\n"
	}
	return text
}

func TestSignedList(t *testing.T) {
	sign, key := publisher(t)
	forge, _ := publisher(t)
	file := filepath.Join(t.TempDir(), "bad")
	write := func(b []byte, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	e := newEngine(t, nil)
	var err error
	if e.lists, err = newLists([]ListConfig{{File: file, Key: key}}); err != nil {
		t.Fatal(err)
	}
	pay := ask(t, evm.NewTransfer(stranger, eth(t, "1 wei")), "0.01 ETH")
	refused := func(what, want string) {
		t.Helper()
		if v, err := e.Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", what, v, err, want)
		}
	}
	bad := evm.Account(chainID, stranger)
	refused("no file", "no such file")
	write(forge(listText(now.Add(-time.Hour), now.Add(time.Hour), bad)), 9*time.Minute)
	refused("another publisher", "not signed by bad-accounts.example")
	write([]byte(strings.Replace(string(sign(listText(now.Add(-time.Hour), now.Add(time.Hour), bad))), "sanctioned", "Sanctioned", 1)), 8*time.Minute)
	refused("changed", "not signed")
	write(sign(listText(now.Add(-2*time.Hour), now.Add(-time.Hour), bad)), 7*time.Minute)
	refused("expired", "expired")
	for what, text := range map[string]string{
		"header":       "something else\n" + listText(now, now.Add(time.Hour), bad),
		"account":      listText(now, now.Add(time.Hour), "0x12"),
		"twice":        listText(now, now.Add(time.Hour), bad, bad),
		"line 2":       strings.Replace(listText(now, now.Add(time.Hour)), "issued", "made", 1),
		"before it is": listText(now.Add(time.Hour), now),
	} {
		if _, err := ParseList(text); err == nil {
			t.Errorf("%s: it parses", what)
		}
	}
	for _, text := range []string{
		"", listHeader, strings.Replace(listText(now, now.Add(time.Hour), bad), "v1", "v2", 1), strings.TrimSuffix(listText(now, now.Add(time.Hour), bad), "\n"),
		listHeader + "\nissued 2026-01-01T00:00:00Z\n",
	} {
		if l, err := ParseList(text); err == nil || !strings.Contains(err.Error(), "want the line") {
			t.Errorf("%q: %v, %v", text, l, err)
		}
	}
	if l, err := ParseList(listText(now, now.Add(time.Hour))); err != nil || len(l.Accounts) != 0 {
		t.Errorf("a list of nobody: %v, %v", l, err)
	}
	write(sign(listText(now.Add(-time.Hour), now.Add(time.Hour), bad)), 6*time.Minute)
	if v := judge(t, e, pay); v.Outcome != request.Deny || !reason(v, "bad-accounts.example: sanctioned") {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	// The list follows the file, forward only.
	write(sign(listText(now.Add(-30*time.Minute), now.Add(time.Hour))), 5*time.Minute)
	if v := judge(t, e, pay); v.Outcome != request.Pass {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	write(sign(listText(now.Add(-time.Hour), now.Add(time.Hour))), 4*time.Minute)
	refused("an older one", "put back")
	// The same time, another size.
	write(sign(listText(now.Add(-30*time.Minute), now.Add(time.Hour), bad)), 5*time.Minute)
	if v := judge(t, e, pay); v.Outcome != request.Deny {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	if _, err := newLists([]ListConfig{{File: file, Key: "ed25519:x"}}); err == nil {
		t.Error("a key that is none is taken")
	}
}

// service is a provider that answers as it is told.
func service(t *testing.T, answer func(q *providerQuestion, a *providerAnswer)) (*httptest.Server, *provider) {
	t.Helper()
	public, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := new(providerQuestion)
		if err := json.NewDecoder(r.Body).Decode(q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := &providerAnswer{Version: 1, Request: q.Request, Outcome: "pass", Time: now.UTC().Format(time.RFC3339)}
		answer(q, a)
		b, _ := json.Marshal(a)
		w.Header().Set(SignatureHeader, base64.StdEncoding.EncodeToString(ed25519.Sign(secret, append([]byte(ProviderDomain+"\n"), b...))))
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	p, err := newProvider(ProviderConfig{Name: "analytics", URL: s.URL, Key: signature.PublicKey{Algorithm: signature.Ed25519, Key: string(public)}.String()}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func TestProvider(t *testing.T) {
	pay := ask(t, evm.NewTransfer(stranger, eth(t, "1 wei")), "0.01 ETH")
	for name, c := range map[string]struct {
		answer  func(q *providerQuestion, a *providerAnswer)
		outcome request.Outcome // 0: no verdict
		want    string
	}{
		"pass": {answer: func(q *providerQuestion, a *providerAnswer) {
			if len(q.Transfers) != 1 || q.Transfers[0].Amount != "1" || q.Transfers[0].To != evm.Account(chainID, stranger) {
				a.Outcome = fmt.Sprintf("asked about %+v", q)
			}
		}, outcome: request.Pass},
		"hold":    {answer: func(_ *providerQuestion, a *providerAnswer) { a.Outcome, a.Reasons = "hold", []string{"mixer"} }, outcome: request.Hold, want: "analytics says hold: mixer"},
		"deny":    {answer: func(_ *providerQuestion, a *providerAnswer) { a.Outcome = "deny" }, outcome: request.Deny, want: "says deny"},
		"other":   {answer: func(_ *providerQuestion, a *providerAnswer) { a.Outcome = "allow" }, want: "want pass, hold or deny"},
		"another": {answer: func(_ *providerQuestion, a *providerAnswer) { a.Request = strings.Repeat("0", 64) }, want: "answers about request"},
		"stale": {answer: func(_ *providerQuestion, a *providerAnswer) {
			a.Time = now.Add(-6 * time.Minute).UTC().Format(time.RFC3339)
		}, want: "want one of now"},
		"no time":      {answer: func(_ *providerQuestion, a *providerAnswer) { a.Time = "now" }, want: "RFC 3339"},
		"version":      {answer: func(_ *providerQuestion, a *providerAnswer) { a.Version = 2 }, want: "version 2"},
		"much to say":  {answer: func(_ *providerQuestion, a *providerAnswer) { a.Reasons = []string{strings.Repeat("x", maxAnswer)} }, want: "longer than"},
		"takes a long": {answer: func(*providerQuestion, *providerAnswer) { time.Sleep(300 * time.Millisecond) }, want: "deadline"},
	} {
		e := newEngine(t, nil)
		_, p := service(t, c.answer)
		if name == "takes a long" {
			p.cfg.Timeout = 50 * time.Millisecond
		}
		e.providers = []*provider{p}
		v, err := e.Judge(t.Context(), pay, now)
		switch {
		case c.outcome == 0:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %+v, %v; want %q", name, v, err, c.want)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case v.Outcome != c.outcome || c.want != "" && !reason(v, c.want):
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
	// Another's signature, no signature, an error, nobody there.
	e := newEngine(t, nil)
	s, p := service(t, func(*providerQuestion, *providerAnswer) {})
	_, other := service(t, func(*providerQuestion, *providerAnswer) {})
	p.key = other.key
	e.providers = []*provider{p}
	if v, err := e.Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), "not signed by") {
		t.Errorf("%+v, %v", v, err)
	}
	s.Config.Handler = http.NotFoundHandler()
	if v, err := e.Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("%+v, %v", v, err)
	}
	s.Config.Handler = http.RedirectHandler("/elsewhere", http.StatusFound)
	if v, err := e.Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("%+v, %v", v, err)
	}
	s.Close()
	if v, err := e.Judge(t.Context(), pay, now); err == nil {
		t.Errorf("%+v", v)
	}
	for _, bad := range []ProviderConfig{
		{Name: "x", URL: "http://example.com/", Key: p.cfg.Key}, {Name: "x", URL: "https://u:p@example.com/", Key: p.cfg.Key}, {Name: "x", URL: "example.com", Key: p.cfg.Key},
		{Name: "x", URL: "https://example.com/", Key: "none"}, {Name: "", URL: "https://example.com/", Key: p.cfg.Key}, {Name: "x", URL: "https://example.com/", Key: p.cfg.Key, Timeout: time.Hour},
	} {
		if _, err := newProvider(bad, time.Second); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// told is a node that says what it is told to.
type told struct {
	s   *rpc.Simulation
	err error
}

func (n told) Simulate(context.Context, evm.Address, *evm.Intent) (*rpc.Simulation, error) {
	return n.s, n.err
}

func TestSimulation(t *testing.T) {
	native, coin := evm.NativeAsset(chainID), evm.TokenAsset(chainID, token)
	to, bad, listed := evm.Account(chainID, friend), evm.Account(chainID, stranger), evm.Account(chainID, thief)
	send := func(kind rpc.MoveKind, asset, from, to string, n string) rpc.Move {
		return rpc.Move{Kind: kind, Asset: asset, From: from, To: to, Amount: eth(t, n)}
	}
	pay := evm.NewERC20Transfer(token, friend, eth(t, "5 wei"))
	create := &evm.Intent{Value: eth(t, "5 wei"), Data: []byte{0}}
	for name, c := range map[string]struct {
		in    *evm.Intent
		moves []rpc.Move
		want  string
	}{
		"what was decoded":   {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, to, "5 wei")}, ""},
		"in two parts":       {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, to, "2 wei"), send(rpc.MoveTransfer, coin, sender, to, "3 wei")}, ""},
		"nothing":            {pay, nil, ""},
		"more":               {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, to, "6 wei")}, "6 of " + coin},
		"more, in parts":     {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, to, "5 wei"), send(rpc.MoveTransfer, coin, sender, to, "1 wei")}, "1 of " + coin},
		"to somebody else":   {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, bad, "5 wei")}, "goes to " + bad},
		"another asset":      {pay, []rpc.Move{send(rpc.MoveTransfer, native, sender, to, "1 wei")}, "of " + native},
		"comes in":           {pay, []rpc.Move{send(rpc.MoveTransfer, coin, bad, sender, "5 wei")}, ""},
		"others pay":         {pay, []rpc.Move{send(rpc.MoveTransfer, coin, bad, to, "5 wei")}, ""},
		"allowance":          {pay, []rpc.Move{send(rpc.MoveAllowance, coin, sender, bad, "5 wei")}, bad + " may spend 5"},
		"allowance decoded":  {evm.NewERC20Approve(token, friend, eth(t, "7 wei")), []rpc.Move{send(rpc.MoveAllowance, coin, sender, to, "7 wei")}, ""},
		"item":               {pay, []rpc.Move{send(rpc.MoveItem, evm.TokenAsset(chainID, evm.Address{7}), sender, bad, "0 wei")}, "item 0"},
		"item, as decoded":   {pay, []rpc.Move{send(rpc.MoveItem, coin, sender, to, "5 wei")}, ""},
		"every item":         {pay, []rpc.Move{send(rpc.MoveForAll, coin, sender, bad, "1 wei")}, "every item"},
		"every item, no":     {pay, []rpc.Move{send(rpc.MoveForAll, coin, sender, bad, "0 wei")}, ""},
		"new contract":       {create, []rpc.Move{send(rpc.MoveTransfer, native, sender, bad, "5 wei")}, ""},
		"new contract, more": {create, []rpc.Move{send(rpc.MoveTransfer, native, sender, bad, "6 wei")}, "6 of " + native},
		"new contract, two":  {create, []rpc.Move{send(rpc.MoveTransfer, native, sender, bad, "5 wei"), send(rpc.MoveTransfer, native, sender, to, "1 wei")}, "1 of " + native},
		"new contract, coin": {create, []rpc.Move{send(rpc.MoveTransfer, coin, sender, bad, "5 wei")}, "5 of " + coin},
		"the same one twice": {pay, []rpc.Move{send(rpc.MoveTransfer, coin, sender, to, "5 wei"), send(rpc.MoveTransfer, coin, sender, to, "5 wei")}, "5 of " + coin},
	} {
		e := newEngine(t, nil)
		e.simulators = map[string]Simulator{chainID: told{s: &rpc.Simulation{Moves: c.moves}}}
		v := judge(t, e, ask(t, c.in, "0.01 ETH", c.in))
		if got := reason(v, "more than was decoded"); got != (c.want != "") || got && (!reason(v, c.want) || v.Outcome != request.Hold) {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
	// Whom a contract pays on is looked up.
	e := newEngine(t, nil)
	e.simulators = map[string]Simulator{chainID: told{s: &rpc.Simulation{Moves: []rpc.Move{send(rpc.MoveTransfer, native, to, listed, "1 wei")}}}}
	if v := judge(t, e, ask(t, pay, "0.01 ETH", pay)); v.Outcome != request.Deny || len(v.Reasons) != 1 || !reason(v, listed+" is on the list") {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	e = newEngine(t, nil)
	e.simulators = map[string]Simulator{chainID: told{s: &rpc.Simulation{Failed: "no balance"}}}
	if v := judge(t, e, ask(t, pay, "0.01 ETH", pay)); v.Outcome != request.Hold || !reason(v, "it fails: no balance") {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	e.simulators = map[string]Simulator{chainID: told{err: errors.New("down")}}
	if v, err := e.Judge(t.Context(), ask(t, pay, "0.01 ETH"), now); err == nil {
		t.Errorf("a node that is down: %+v", v)
	}
}

// TestSimulationOnNode has a real node say what a transfer does.
func TestSimulationOnNode(t *testing.T) {
	n := devnode.ForTest(t, 31337, devnode.Options{})
	holder := evm.Address{9}
	if err := n.SetBalance(t.Context(), holder, eth(t, "5 ETH")); err != nil {
		t.Fatal(err)
	}
	coin, err := n.DeployToken(t.Context(), holder, eth(t, "1000 wei"))
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, nil)
	e.simulators = map[string]Simulator{chainID: n.Client}
	for name, in := range map[string]*evm.Intent{
		"coin": evm.NewTransfer(friend, eth(t, "1 ETH")), "token": evm.NewERC20Transfer(coin, friend, eth(t, "10 wei")),
		"allowance": evm.NewERC20Approve(coin, friend, eth(t, "10 wei")),
	} {
		if v := judge(t, e, ask(t, in, "0.01 ETH", in)); reason(v, "simulated") {
			t.Errorf("%s: %q", name, v.Reasons)
		}
		s, err := n.Client.Simulate(t.Context(), holder, in)
		if err != nil || len(s.Moves) != 1 || s.Moves[0].From != sender {
			t.Errorf("%s: the node tells %+v, %v", name, s, err)
		}
	}
	if v := judge(t, e, ask(t, evm.NewERC20Transfer(coin, friend, eth(t, "1001 wei")), "0.01 ETH")); !reason(v, "it fails") {
		t.Errorf("more than there is: %q", v.Reasons)
	}
}
