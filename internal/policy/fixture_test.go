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
	acme      = "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D" // label known
	stranger  = "eip155:1:0xde709f2102306220921060314715629080e2fb77"
	thief     = "eip155:1:0x27b1fdb04752bbc536007a920d24acb045561c26" // label blocked
	tokenAddr = "eip155:1:0x6B175474E89094C44Da98b954EedeAC495271d0F"
	eth       = "eip155:1/slip44:60"
	dai       = "eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F"
)

func testKey(id string) signature.PublicKey {
	seed := sha256.Sum256([]byte(id))
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))}
}

// testRoster: alice trades; bob, carol, dave are treasurers; carol and erin do
// compliance; alice, bob and carol govern.
func testRoster(t testing.TB) *identity.Roster {
	t.Helper()
	ro := &identity.Roster{AdminQuorum: 2, Groups: []identity.Group{
		{Name: "admins", Members: []string{"alice", "bob", "carol"}},
		{Name: "compliance", Members: []string{"carol", "erin"}},
		{Name: "traders", Members: []string{"alice", "bot"}},
		{Name: "treasurers", Members: []string{"bob", "carol", "dave"}},
	}}
	for _, id := range []string{"alice", "bob", "bot", "carol", "dave", "erin", "screening"} {
		kind := identity.Person
		switch id {
		case "bot":
			kind = identity.Service
		case "screening":
			kind = identity.Risk
		}
		ro.Principals = append(ro.Principals, identity.Principal{ID: id, Kind: kind, Credentials: []signature.PublicKey{testKey(id)}})
	}
	ro.Sort()
	if err := ro.Check(); err != nil {
		t.Fatal(err)
	}
	return ro
}

// head is the beginning of every test's policy; the test adds guards and rules.
const head = `{
  "assets": [
    {"symbol": "DAI", "id": "eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F", "decimals": 18},
    {"symbol": "ETH", "id": "eip155:1/slip44:60", "decimals": 18}
  ],
  "addressBook": {
    "blocked": ["eip155:1:0x27b1fdb04752bbc536007a920d24acb045561c26"],
    "known": ["eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D"]
  },
`

// testPolicy reads head and the rest, and checks it against the roster.
func testPolicy(t testing.TB, rest string) *Document {
	t.Helper()
	d, err := ParseJSON([]byte(head + rest + "}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(testRoster(t)); err != nil {
		t.Fatal(err)
	}
	return d
}

// when makes a policy that allows what matches one condition.
func when(t testing.TB, condition string) *Document {
	t.Helper()
	return testPolicy(t, `"rules": [{"name": "it", "when": `+condition+`, "then": "allow"}]`)
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
		Request:  &request.Request{Chain: testChain, Sender: wallet, MaxFee: fee, Initiator: "alice"},
		Effects:  &chain.Effects{Chain: testChain, Sender: wallet, MaxFee: fee},
		Verified: &identity.Verified{Initiator: "alice"},
		Now:      1000,
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

func call(to, method string) func(*Input) {
	return func(in *Input) { in.Effects.Calls = append(in.Effects.Calls, chain.Call{To: to, Method: method}) }
}

func allowance(spender string, a chain.Amount) func(*Input) {
	return func(in *Input) {
		in.Effects.Approvals = append(in.Effects.Approvals, chain.Approval{Owner: wallet, Spender: spender, Asset: dai, Amount: a})
	}
}

func approved(who ...string) func(*Input) {
	return func(in *Input) { in.Verified.Approvers = who }
}

func denied(who ...string) func(*Input) {
	return func(in *Input) { in.Verified.Denials = who }
}

func by(who string) func(*Input) {
	return func(in *Input) { in.Verified.Initiator, in.Request.Initiator = who, who }
}

func screened(o request.Outcome, reasons ...string) func(*Input) {
	return func(in *Input) {
		in.Verified.Risk = []identity.RiskResult{{Engine: "screening", Outcome: o, Reasons: reasons}}
	}
}

// wantText fails unless got holds every one of the parts.
func wantText(t testing.TB, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s\n got  %s\n want %s", what, got, p)
		}
	}
}
