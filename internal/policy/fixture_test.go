package policy

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

const (
	testChain = "eip155:1"
	wallet    = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"
	stranger  = "eip155:1:0xde709f2102306220921060314715629080e2fb77"
	swapper   = "eip155:1:0x6B175474E89094C44Da98b954EedeAC495271d0F"
)

// testNow is a Wednesday, 2026-07-15 10:00 in Zurich.
const testNow = 1784102400_000

func testKey(id string) signature.PublicKey {
	seed := sha256.Sum256([]byte(id))
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))}
}

// testRoster: alice trades; bob, carol, dave are treasurers; carol and erin do
// compliance; alice, bob and carol govern. screening judges, desk and feed tell
// prices.
func testRoster(t testing.TB) *identity.Roster {
	t.Helper()
	ro := &identity.Roster{
		AdminQuorum: 2,
		Groups: []identity.Group{
			{Name: "admins", Members: []string{"alice", "bob", "carol"}},
			{Name: "compliance", Members: []string{"carol", "erin"}},
			{Name: "traders", Members: []string{"alice", "bot"}},
			{Name: "treasurers", Members: []string{"bob", "carol", "dave"}},
		},
		Roles: []identity.Role{{Name: "proposer", May: identity.Propose | identity.Approve}, {Name: "viewer", May: identity.View}},
	}
	kinds := map[string]identity.Kind{"bot": identity.Service, "screening": identity.Risk, "desk": identity.Source, "feed": identity.Source, "third": identity.Source}
	for _, id := range []string{"alice", "bob", "bot", "carol", "dave", "desk", "erin", "feed", "screening", "third"} {
		kind, ok := kinds[id]
		p := identity.Principal{ID: id, Kind: identity.Person, Credentials: []signature.PublicKey{testKey(id)}}
		if ok {
			p.Kind = kind
		}
		if p.Kind == identity.Person {
			p.Roles = []string{"proposer"}
		}
		ro.Principals = append(ro.Principals, p)
	}
	ro.Sort()
	if err := ro.Check(); err != nil {
		t.Fatal(err)
	}
	return ro
}

// testPolicy is everything without its guards, rules and invariants.
func testPolicy() *Document {
	d := everything()
	d.Guards, d.Rules, d.Invariants = nil, nil, nil
	return d
}

// checked checks a policy against the roster, and compiles it after a round trip.
func checked(t testing.TB, d *Document) *Document {
	t.Helper()
	if err := d.Check(testRoster(t)); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDocument(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	got.Compile()
	return got
}

// when makes a policy that allows what matches one condition.
func when(t testing.TB, e Expr) *Document {
	t.Helper()
	d := testPolicy()
	d.Rules = []Rule{{Name: "it", When: e, Then: Verdict{Effect: Allow}}}
	return checked(t, d)
}

func eths(t testing.TB, s string) chain.Amount {
	t.Helper()
	a, err := amount.Parse(s+" ETH", amount.ETH)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// send is an input: alice sends so many ETH to somebody. The verdicts and
// approvals come from the options.
func send(t testing.TB, to, value string, options ...func(*Input)) Input {
	t.Helper()
	fee := eths(t, "0.01")
	in := Input{
		Request:  &request.Request{Chain: testChain, Sender: wallet, MaxFee: fee, Initiator: "alice", Wallet: [32]byte{1}},
		Effects:  &chain.Effects{Chain: testChain, Sender: wallet, MaxFee: fee},
		Verified: &identity.Verified{Initiator: "alice"},
		Now:      testNow,
		Ledger:   MemoryLedger{},
	}
	if to != "" {
		in.Effects.Transfers = []chain.Transfer{{From: wallet, To: to, Asset: eth, Amount: eths(t, value)}}
	}
	for _, o := range options {
		o(&in)
	}
	return in
}

func also(to, asset string, a chain.Amount) func(*Input) {
	return func(in *Input) {
		in.Effects.Transfers = append(in.Effects.Transfers, chain.Transfer{From: wallet, To: to, Asset: asset, Amount: a})
	}
}

func calls(to, method string, args ...chain.Arg) func(*Input) {
	return func(in *Input) {
		in.Effects.Calls = append(in.Effects.Calls, chain.Call{From: wallet, To: to, Method: method, Args: args})
	}
}

func approved(who ...string) func(*Input) { return func(in *Input) { in.Verified.Approvers = who } }
func denied(who ...string) func(*Input)   { return func(in *Input) { in.Verified.Denials = who } }
func at(ms uint64) func(*Input)           { return func(in *Input) { in.Now = ms } }
func ledger(l Ledger) func(*Input)        { return func(in *Input) { in.Ledger = l } }

func by(who string) func(*Input) {
	return func(in *Input) { in.Verified.Initiator, in.Request.Initiator = who, who }
}

func screened(o request.Outcome, reasons ...string) func(*Input) {
	return func(in *Input) {
		in.Verified.Risk = []identity.RiskResult{{Engine: "screening", Outcome: o, Score: 300, Reasons: reasons}}
	}
}

// quoted adds a price of ETH in USD from a source, so many ms ago.
func quoted(source string, usd uint64, age uint64) func(*Input) {
	return func(in *Input) {
		price := num(usd)
		price.Mul(&price, new(chain.Amount).Exp(ref(10), ref(request.PriceDecimals)))
		in.Verified.Prices = append(in.Verified.Prices, identity.Price{
			Source: source, Currency: "USD", Time: in.Now - age, Assets: []request.AssetPrice{{Asset: eth, Price: price}},
		})
	}
}

func ref(n uint64) *chain.Amount { a := num(n); return &a }

// wantText fails unless got holds every one of the parts.
func wantText(t testing.TB, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s\n got  %s\n want %s", what, got, p)
		}
	}
}
