package risk

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

const chainID = "eip155:31337"

var (
	testCluster = [32]byte{1, 2, 3}
	now         = time.UnixMilli(1_790_000_000_000)
	friend      = evm.Address{1}
	stranger    = evm.Address{2}
	thief       = evm.Address{3}
	token       = evm.Address{4}
	sender      = evm.Account(chainID, evm.Address{9})
)

func newEngine(t testing.TB, change func(*Checks)) *Engine {
	t.Helper()
	key, err := keyfile.New(bytes.NewReader(bytes.Repeat([]byte{5}, 32)), "screening")
	if err != nil {
		t.Fatal(err)
	}
	c := Default().Checks
	c.Bad = []string{evm.Account(chainID, thief)}
	if change != nil {
		change(&c)
	}
	e, err := New(testCluster, key, &c, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func eth(t testing.TB, text string) chain.Amount {
	t.Helper()
	a, err := amount.Parse(text, amount.Ether...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t testing.TB, in *evm.Intent, fee string, past ...*evm.Intent) *Question {
	t.Helper()
	req := func(in *evm.Intent) *request.Request {
		return &request.Request{
			Cluster: testCluster, Chain: chainID, Sender: sender, Intent: in.Encode(), MaxFee: eth(t, fee), Initiator: "alice",
			Created: uint64(now.UnixMilli()), Expires: uint64(now.Add(2 * time.Hour).UnixMilli()),
		}
	}
	k := newEngine(t, nil).key.Public()
	q := &Question{Bundle: &request.Bundle{Request: req(in), ProposeKey: k, ProposeSignature: signature.Signature{Algorithm: signature.Ed25519, Bytes: make([]byte, 64)}}}
	for _, p := range past {
		q.History = append(q.History, Past{req(p), uint64(now.UnixMilli()) - 1000})
	}
	return q
}

func TestJudge(t *testing.T) {
	one := evm.NewTransfer(friend, eth(t, "1 ETH"))
	for name, c := range map[string]struct {
		q       *Question
		change  func(*Checks)
		outcome request.Outcome
		score   int
		reasons []string
	}{
		"usual":               {q: ask(t, one, "0.01 ETH", one), outcome: request.Pass},
		"first payment":       {q: ask(t, one, "0.01 ETH"), outcome: request.Pass, score: 100, reasons: []string{"never paid"}},
		"new recipient":       {q: ask(t, evm.NewTransfer(stranger, eth(t, "1 ETH")), "0.01 ETH", one), outcome: request.Pass, score: 100, reasons: []string{"never paid " + evm.Account(chainID, stranger)}},
		"known bad":           {q: ask(t, evm.NewTransfer(thief, eth(t, "1 wei")), "0.01 ETH", evm.NewTransfer(thief, eth(t, "1 wei"))), outcome: request.Deny, score: 1000, reasons: []string{"known bad"}},
		"bad spender":         {q: ask(t, evm.NewERC20Approve(token, thief, eth(t, "1 wei")), "0.01 ETH"), outcome: request.Deny, score: 1000, reasons: []string{"known bad", "spend"}},
		"bad token recipient": {q: ask(t, evm.NewERC20Transfer(token, thief, eth(t, "1 wei")), "0.01 ETH"), outcome: request.Deny, score: 1000, reasons: []string{"known bad", "never paid"}},
		"bad contract": {
			q: ask(t, evm.NewERC20Transfer(thief, friend, eth(t, "1 wei")), "0.01 ETH"), outcome: request.Deny, score: 1000, reasons: []string{"known bad", "never paid"},
		},
		"ten times":        {q: ask(t, evm.NewTransfer(friend, eth(t, "10 ETH")), "0.01 ETH", one), outcome: request.Pass},
		"more than that":   {q: ask(t, evm.NewTransfer(friend, eth(t, "10.1 ETH")), "0.01 ETH", one), outcome: request.Pass, score: 300, reasons: []string{"more than 10 times the largest so far"}},
		"the largest rule": {q: ask(t, evm.NewTransfer(friend, eth(t, "10.1 ETH")), "0.01 ETH", one, evm.NewTransfer(friend, eth(t, "2 ETH")), one), outcome: request.Pass},
		"other asset":      {q: ask(t, evm.NewTransfer(friend, eth(t, "10.1 ETH")), "0.01 ETH", one, evm.NewERC20Transfer(token, friend, eth(t, "1000 ETH"))), outcome: request.Pass, score: 300, reasons: []string{"more than 10 times"}},
		"fee too high":     {q: ask(t, one, "0.051 ETH", one), outcome: request.Pass, score: 200, reasons: []string{"maximum fee 0.051 ETH is above 0.05 ETH"}},
		"fee too low":      {q: ask(t, one, "20999 wei", one), outcome: request.Pass, score: 200, reasons: []string{"below"}},
		"allowance":        {q: ask(t, evm.NewERC20Approve(token, friend, eth(t, "5 wei")), "0.01 ETH"), outcome: request.Pass, score: 150, reasons: []string{"spend 5"}},
		"not understood":   {q: ask(t, &evm.Intent{To: &friend, Data: []byte{1, 2, 3, 4}}, "0.01 ETH"), outcome: request.Hold, score: 600, reasons: []string{"could not be understood"}},
		"adds up": {
			q: ask(t, evm.NewTransfer(stranger, eth(t, "100 ETH")), "1 ETH", one), outcome: request.Hold, score: 600,
			reasons: []string{"never paid", "more than 10 times", "maximum fee"},
		},
		"switched off": {q: ask(t, evm.NewTransfer(stranger, eth(t, "100 ETH")), "1 ETH", one), outcome: request.Pass, change: func(c *Checks) {
			c.NewRecipientWeight, c.UnusualWeight, c.FeeWeight = 0, 0, 0
		}},
	} {
		v, err := newEngine(t, c.change).Judge(context.Background(), c.q, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v.Outcome != c.outcome || int(v.Score) != c.score || len(v.Reasons) != len(c.reasons) {
			t.Errorf("%s: %v, score %d, %q; want %v, %d, %q", name, v.Outcome, v.Score, v.Reasons, c.outcome, c.score, c.reasons)
			continue
		}
		for i, want := range c.reasons {
			if !strings.Contains(v.Reasons[i], want) {
				t.Errorf("%s: reason %q, want %q in it", name, v.Reasons[i], want)
			}
		}
		if err := signature.Verify(v.Key, v.Statement(), v.Signature); err != nil || v.Request != c.q.Bundle.Request.ID() || v.Engine != "screening" {
			t.Errorf("%s: %+v: %v", name, v, err)
		}
		if v.Time != uint64(now.UnixMilli()) || v.Expires != uint64(now.Add(time.Hour).UnixMilli()) {
			t.Errorf("%s: valid from %d to %d", name, v.Time, v.Expires)
		}
		if got, err := request.DecodeRiskVerdict(v.Encode()); err != nil || cmp.Diff(v, got) != "" {
			t.Errorf("%s: it does not survive its encoding: %v", name, err)
		}
	}
}

// TestHistoryOfOthers: what another wallet, cluster or chain did teaches nothing.
func TestHistoryOfOthers(t *testing.T) {
	one := evm.NewTransfer(friend, eth(t, "1 ETH"))
	for name, change := range map[string]func(*request.Request){
		"wallet":  func(r *request.Request) { r.Sender = evm.Account(chainID, evm.Address{8}) },
		"cluster": func(r *request.Request) { r.Cluster[0]++ },
		"chain":   func(r *request.Request) { r.Chain, r.Sender = "eip155:1", evm.Account("eip155:1", evm.Address{9}) },
		"garbage": func(r *request.Request) { r.Intent = []byte{9} },
	} {
		q := ask(t, one, "0.01 ETH", one)
		change(q.History[0].Request)
		v, err := newEngine(t, nil).Judge(context.Background(), q, now)
		if err != nil || v.Score != 100 {
			t.Errorf("%s: score %d, %v", name, v.Score, err)
		}
	}
}

// TestNoVerdict: what cannot be judged gets no verdict, which holds it.
func TestNoVerdict(t *testing.T) {
	one := evm.NewTransfer(friend, eth(t, "1 ETH"))
	for name, change := range map[string]func(*request.Request){
		"cluster": func(r *request.Request) { r.Cluster[0]++ },
		"intent":  func(r *request.Request) { r.Intent = []byte{9} },
		"expired": func(r *request.Request) { r.Expires = uint64(now.UnixMilli()) },
	} {
		q := ask(t, one, "0.01 ETH")
		change(q.Bundle.Request)
		if v, err := newEngine(t, nil).Judge(context.Background(), q, now); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Default()
	good.Risk.Genesis, good.Risk.Key, good.Broker.URL, good.Broker.Credentials = "g", "k", "nats://x:1", "file:x"
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"risk.genesis":                func(c *Config) { c.Risk.Genesis = "" },
		"risk.key":                    func(c *Config) { c.Risk.Key = "" },
		"risk.valid":                  func(c *Config) { c.Risk.Valid = time.Second },
		"broker.url":                  func(c *Config) { c.Broker.URL = "" },
		"broker.credentials":          func(c *Config) { c.Broker.Credentials = "" },
		"checks.hold":                 func(c *Config) { c.Checks.Hold = 950 },
		"checks.deny":                 func(c *Config) { c.Checks.Deny = 1001 },
		"hold is 0":                   func(c *Config) { c.Checks.Hold = 0 },
		"hold is 901":                 func(c *Config) { c.Checks.Hold = 901 },
		"timeout is 1m1s":             func(c *Config) { c.Checks.Timeout = time.Minute + time.Second },
		"timeout is -1s":              func(c *Config) { c.Checks.Timeout = -time.Second },
		"velocity_window is 59s":      func(c *Config) { c.Checks.VelocityWindow = 59 * time.Second },
		"velocity_factor 0":           func(c *Config) { c.Checks.VelocityFactor = 0 },
		"checks.bad_weight":           func(c *Config) { c.Checks.BadWeight = -1 },
		"checks.unusual_factor":       func(c *Config) { c.Checks.UnusualFactor = 0 },
		"checks.bad[0]":               func(c *Config) { c.Checks.Bad = []string{"0x12"} },
		"checks.fee_most":             func(c *Config) { c.Checks.FeeMost = "much" },
		"checks.known[0]":             func(c *Config) { c.Checks.Known = []string{"0x12"} },
		"checks.velocity_window":      func(c *Config) { c.Checks.VelocityLeast = 1 },
		"checks.timeout":              func(c *Config) { c.Checks.Timeout = 0 },
		"checks.simulation_weight":    func(c *Config) { c.Checks.SimulationWeight = 1001 },
		"checks.new_recipient_weight": func(c *Config) { c.Checks.NewRecipientWeight = 1001 },
	} {
		c := *good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestSwitchedOff: what is switched off need make no sense, and no engine is made with
// checks that make none.
func TestSwitchedOff(t *testing.T) {
	c := Default().Checks
	c.UnusualWeight, c.UnusualFactor, c.FeeWeight, c.FeeMost, c.VelocityWeight, c.VelocityLeast = 0, 0, 0, "much", 0, 0
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.Hold = 0
	if e, err := New(testCluster, newEngine(t, nil).key, &c, time.Hour); err == nil {
		t.Errorf("%+v", e)
	}
}

// TestDeclared: a call that the policy declares is one that the engine understands.
func TestDeclared(t *testing.T) {
	q := ask(t, &evm.Intent{To: &friend, Data: []byte{0xd0, 0x9d, 0xe0, 0x8a}}, "0.01 ETH") // increment()
	for _, c := range []struct {
		methods []chain.Method
		score   uint16
	}{
		{nil, 600},
		{[]chain.Method{{Contract: evm.Account(chainID, stranger), Signature: "increment()"}}, 600},
		{[]chain.Method{{Contract: evm.Account(chainID, friend), Signature: "increment()"}}, 0},
		{[]chain.Method{{Signature: "increment()"}}, 0},
	} {
		q.Methods = c.methods
		if v := judge(t, newEngine(t, nil), q); v.Score != c.score {
			t.Errorf("%v: score %d, %q; want %d", c.methods, v.Score, v.Reasons, c.score)
		}
	}
	// The past is read with them, too.
	pay := evm.NewTransfer(friend, eth(t, "1 ETH"))
	q = ask(t, pay, "0.01 ETH", &evm.Intent{To: &friend, Value: eth(t, "1 ETH"), Data: []byte{0xd0, 0x9d, 0xe0, 0x8a}})
	q.Methods = []chain.Method{{Signature: "increment()"}}
	if v := judge(t, newEngine(t, nil), q); v.Score != 0 {
		t.Errorf("after a deposit to the same account: score %d, %q", v.Score, v.Reasons)
	}
}

func TestQuestion(t *testing.T) {
	one := evm.NewTransfer(friend, eth(t, "1 ETH"))
	q := ask(t, one, "0.01 ETH", one, one)
	q.Open = []Past{{q.History[0].Request, 7}}
	q.Methods = []chain.Method{{Contract: evm.Account(chainID, friend), Signature: "increment()"}, {Signature: "swap(address token,uint256 amount)"}}
	b := q.Encode()
	got, err := DecodeQuestion(b)
	if err != nil || len(got.History) != 2 || len(got.Open) != 1 || len(got.Methods) != 2 || !bytes.Equal(got.Encode(), b) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		if _, err := DecodeQuestion(b[:i]); err == nil {
			t.Errorf("the first %d bytes decode", i)
		}
	}
	if _, err := DecodeQuestion(append(slices.Clone(b), 0)); err == nil {
		t.Error("with a byte more it decodes")
	}
	for what, m := range map[string]chain.Method{"signature": {Signature: "swap("}, "account": {Contract: "0x12", Signature: "increment()"}} {
		bad := *q
		bad.Methods = []chain.Method{m}
		if _, err := DecodeQuestion(bad.Encode()); err == nil {
			t.Errorf("a method without a right %s decodes", what)
		}
	}
	for range MaxHistory {
		q.History = append(q.History, q.History[0])
	}
	if _, err := DecodeQuestion(q.Encode()); err == nil {
		t.Error("too much history decodes")
	}
}

func FuzzDecodeQuestion(f *testing.F) {
	one := evm.NewTransfer(friend, eth(f, "1 ETH"))
	f.Add(ask(f, one, "0.01 ETH").Encode())
	f.Add(ask(f, one, "0.01 ETH", one, one).Encode())
	declared := ask(f, &evm.Intent{To: &friend, Data: []byte{0xd0, 0x9d, 0xe0, 0x8a}}, "0.01 ETH", one)
	declared.Methods = []chain.Method{{Signature: "increment()"}}
	f.Add(declared.Encode())
	e := newEngine(f, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeQuestion(b)
		if err != nil {
			return
		}
		if !bytes.Equal(q.Encode(), b) {
			t.Fatal("Encode(Decode(b)) is not b")
		}
		v, err := e.Judge(context.Background(), q, now)
		if err != nil {
			return
		}
		if _, err := request.DecodeRiskVerdict(v.Encode()); err != nil {
			t.Fatalf("a verdict that does not decode: %v", err)
		}
	})
}
