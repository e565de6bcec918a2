package risk

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/request"
)

// The tests of this file are ways round the checks that somebody tried.

// call is a call of friend's contract; numbers and accounts are its words.
func call(signature string, words ...any) *evm.Intent {
	in := &evm.Intent{To: &friend, Data: topic(signature)[:4]}
	for _, w := range words {
		switch w := w.(type) {
		case evm.Address:
			in.Data = append(append(in.Data, make([]byte, 12)...), w[:]...)
		case int:
			in.Data = append(append(in.Data, make([]byte, 30)...), byte(w>>8), byte(w))
		}
	}
	return in
}

// TestBadAccountElsewhere: a list of one chain is of the same account on another, and
// hides in no argument.
func TestBadAccountElsewhere(t *testing.T) {
	declared := []chain.Method{{Signature: "swap(uint256 amount,address recipient)"}}
	twin := evm.Address{thief[0], thief[1], 1, 2, 3, 19: thief[19]}
	for name, c := range map[string]struct {
		in     *evm.Intent
		change func(*Checks)
		want   string
	}{
		"listed of another chain": {evm.NewTransfer(stranger, eth(t, "1 wei")), func(k *Checks) { k.Bad = []string{evm.Account("eip155:1", stranger)} }, "known bad"},
		"of another family": {evm.NewTransfer(stranger, eth(t, "1 wei")), func(k *Checks) {
			k.Bad = []string{"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:11111111111111111111111111111112"}
		}, ""},
		"an argument":              {call("swap(uint256,address)", 5, thief), nil, "known bad"},
		"an argument, a stranger":  {call("swap(uint256,address)", 5, stranger), nil, ""},
		"an argument that is twin": {call("swap(uint256,address)", 5, twin), func(k *Checks) { k.Bad, k.Known = nil, []string{evm.Account(chainID, thief)} }, "looks like"},
	} {
		q := ask(t, c.in, "0.01 ETH", c.in)
		q.Methods = declared
		v := judge(t, newEngine(t, c.change), q)
		if got := v.Outcome == request.Deny; got != (c.want != "") || got && !reason(v, c.want) {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
}

// TestBadAccountInMessage: those whom a message names are looked up as well.
func TestBadAccountInMessage(t *testing.T) {
	bad, e := evm.Account(chainID, thief), newEngine(t, nil)
	for name, m := range map[string]*chain.Message{
		"its contract": {Contract: bad},
		"a field":      {Contract: evm.Account(chainID, token), Fields: []chain.Arg{{Path: "taker", Kind: chain.ArgAddress, Text: bad}}},
	} {
		f := &findings{}
		if err := e.known(f, parties(&chain.Effects{Sender: sender, Message: m}), map[string]bool{}, now); err != nil || f.score != maxScore {
			t.Errorf("%s: score %d, %v", name, f.score, err)
		}
	}
	twin := evm.Address{friend[0], friend[1], 9, 19: friend[19]}
	x := &chain.Effects{Sender: sender, Message: &chain.Message{Fields: []chain.Arg{{Kind: chain.ArgAddress, Text: evm.Account(chainID, twin)}}}}
	e.checks.Known = []string{evm.Account(chainID, friend)}
	f := &findings{}
	if e.lookalike(f, x, nil); f.score != e.checks.LookalikeWeight {
		t.Errorf("a twin in a message: score %d", f.score)
	}
	f = &findings{}
	x = &chain.Effects{Sender: sender, Approvals: []chain.Approval{{Owner: bad, Spender: sender}}}
	if err := e.known(f, parties(x), map[string]bool{}, now); err != nil || f.score != maxScore {
		t.Errorf("an owner: score %d, %v", f.score, err)
	}
}

// TestPoisonedPast: payments of nothing and payments of others make nobody known.
func TestPoisonedPast(t *testing.T) {
	known := evm.Address{0xab, 0xcd, 1, 2, 3, 18: 0x12, 19: 0x34}
	twin := evm.Address{0xab, 0xcd, 9, 9, 9, 18: 0x12, 19: 0x34}
	paid := evm.NewTransfer(known, eth(t, "1 ETH"))
	others := call("transferFrom(address,address,uint256)", stranger, twin, 5)
	for name, past := range map[string]*evm.Intent{"nothing": evm.NewTransfer(twin, chain.Amount{}), "another's": others} {
		v := judge(t, newEngine(t, nil), ask(t, evm.NewTransfer(twin, eth(t, "1 ETH")), "0.01 ETH", past, paid))
		if v.Outcome != request.Deny || !reason(v, "never paid") || !reason(v, "looks like") {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
		// Nor does it make others look like somebody.
		v = judge(t, newEngine(t, nil), ask(t, evm.NewTransfer(known, eth(t, "1 ETH")), "0.01 ETH", past))
		if reason(v, "looks like") {
			t.Errorf("%s: %q", name, v.Reasons)
		}
	}
}

// TestUnusualInParts: many transfers of one request count together, what comes in does
// not, and allowances do.
func TestUnusualInParts(t *testing.T) {
	batch := func(n int, amounts ...int) *evm.Intent {
		words := []any{wallet, friend, 160, 160 + 32*(n+1), 160 + 64*(n+1)}
		words = append(words, n)
		for range n {
			words = append(words, 7)
		}
		words = append(words, n)
		for _, a := range amounts {
			words = append(words, a)
		}
		return call("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", append(words, 0)...)
	}
	one := batch(1, 10)
	wrap := func(n int) *evm.Intent {
		in := call("deposit()")
		in.Value.SetUint64(uint64(n))
		return in
	}
	coin := func(n int) *evm.Intent {
		return evm.NewERC20Transfer(friend, friend, *new(chain.Amount).SetUint64(uint64(n)))
	}
	for name, c := range map[string]struct {
		in   *evm.Intent
		past []*evm.Intent
		want bool
	}{
		"in two parts":                 {batch(2, 60, 60), []*evm.Intent{one}, true},
		"in two parts, not too much":   {batch(2, 50, 50), []*evm.Intent{one}, false},
		"as much, in parts":            {batch(2, 60, 60), []*evm.Intent{batch(2, 6, 6)}, false},
		"what came in is no measure":   {coin(101), []*evm.Intent{wrap(200), coin(10)}, true},
		"what comes in is not unusual": {wrap(101), []*evm.Intent{coin(10), evm.NewTransfer(friend, eth(t, "100 wei"))}, false},
		"an allowance":                 {evm.NewERC20Approve(friend, friend, eth(t, "101 wei")), []*evm.Intent{coin(10)}, true},
		"a usual allowance":            {evm.NewERC20Approve(friend, friend, eth(t, "100 wei")), []*evm.Intent{coin(10)}, false},
		"an allowance was the most":    {coin(101), []*evm.Intent{evm.NewERC20Approve(friend, friend, eth(t, "11 wei"))}, false},
		"none was the most":            {coin(101), []*evm.Intent{evm.NewERC20Approve(friend, friend, *new(chain.Amount).SetAllOne()), coin(10)}, true},
	} {
		v := judge(t, newEngine(t, nil), ask(t, c.in, "0.01 ETH", c.past...))
		if reason(v, "more than 10 times") != c.want || reason(v, "understood") {
			t.Errorf("%s: %q", name, v.Reasons)
		}
	}
}

// TestOutflowOnce: what leaves in several transfers of a request is told once, and what
// comes in is not blamed for what left before.
func TestOutflowOnce(t *testing.T) {
	coin := func(n int) *evm.Intent {
		return evm.NewERC20Transfer(friend, friend, *new(chain.Amount).SetUint64(uint64(n)))
	}
	asset := evm.TokenAsset(chainID, friend)
	e := newEngine(t, nil)
	q := ask(t, coin(90), "0.01 ETH", coin(90), coin(1))
	q.History[1].Time = uint64(now.Add(-48 * time.Hour).UnixMilli())
	part := chain.Transfer{From: sender, To: evm.Account(chainID, friend), Asset: asset, Amount: *new(chain.Amount).SetUint64(5)}
	in := part
	in.From, in.To = in.To, in.From
	past := []*chain.Effects{{Sender: sender, Transfers: []chain.Transfer{part}}, {Sender: sender, Transfers: []chain.Transfer{part}}}
	past[0].Transfers[0].Amount.SetUint64(90)
	for name, c := range map[string]struct {
		transfers []chain.Transfer
		score     int
	}{"two parts": {[]chain.Transfer{part, part}, e.checks.VelocityWeight}, "it comes in": {[]chain.Transfer{in}, 0}} {
		f := &findings{}
		if e.velocity(f, &chain.Effects{Sender: sender, Transfers: c.transfers}, q.History, past, uint64(now.UnixMilli())); f.score != c.score {
			t.Errorf("%s: score %d, %q; want %d", name, f.score, f.reasons, c.score)
		}
	}
}

// TestAllowances: every way to give one, in one step or in several.
func TestAllowances(t *testing.T) {
	half := *new(chain.Amount).Lsh(new(chain.Amount).SetUint64(1), 95)
	give := func(amounts ...chain.Amount) *chain.Effects {
		x := &chain.Effects{Sender: sender}
		for _, a := range amounts {
			x.Approvals = append(x.Approvals, chain.Approval{Owner: sender, Spender: evm.Account(chainID, friend), Asset: evm.TokenAsset(chainID, token), Amount: a})
		}
		return x
	}
	two := give(half, half)
	two.Approvals[1].Spender = evm.Account(chainID, stranger)
	other := give(half, half)
	other.Approvals[1].Asset = evm.TokenAsset(chainID, friend)
	const some, all = 150, 600
	for name, c := range map[string]struct {
		x     *chain.Effects
		score int
	}{
		"one": {give(half), some}, "two halves": {give(half, half), some + all}, "to two spenders": {two, some + some}, "of two assets": {other, some + some},
		"none": {give(chain.Amount{}), 0},
	} {
		f := &findings{}
		if newEngine(t, nil).shape(f, c.x); f.score != c.score {
			t.Errorf("%s: score %d, %q; want %d", name, f.score, f.reasons, c.score)
		}
	}
	most := func(in *evm.Intent) *evm.Intent { // its last word is all ones
		for i := len(in.Data) - 32; i < len(in.Data); i++ {
			in.Data[i] = 0xff
		}
		return in
	}
	permit := call("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", wallet, stranger, 0, 0, 27, 1, 1)
	for i := range 32 {
		permit.Data[4+64+i] = 0xff
	}
	dai := call("permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", wallet, stranger, 0, 0, 1, 27, 1, 1)
	permit2 := call("approve(address,address,uint160,uint48)", token, stranger, 0, 1)
	permit2.To = &evm.Permit2
	for i := 12; i < 32; i++ {
		permit2.Data[4+64+i] = 0xff
	}
	for name, in := range map[string]*evm.Intent{
		"approve": most(call("approve(address,uint256)", stranger, 0)), "increaseAllowance": most(call("increaseAllowance(address,uint256)", stranger, 0)),
		"setApprovalForAll": call("setApprovalForAll(address,bool)", stranger, 1), "permit": permit, "Dai's permit": dai, "Permit2": permit2,
	} {
		if v := judge(t, newEngine(t, nil), ask(t, in, "0.01 ETH")); v.Outcome != request.Hold || !reason(v, "without limit") || reason(v, "understood") {
			t.Errorf("%s: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
}

// TestListSpoiledMeanwhile: a list that goes bad while the node is asked is an outage.
func TestListSpoiledMeanwhile(t *testing.T) {
	sign, key := publisher(t)
	file := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(file, sign(listText(now.Add(-time.Hour), now.Add(time.Hour))), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, nil)
	var err error
	if e.lists, err = newLists([]ListConfig{{file, key}}); err != nil {
		t.Fatal(err)
	}
	pay := ask(t, evm.NewTransfer(stranger, eth(t, "1 wei")), "0.01 ETH")
	judge(t, e, pay)
	e.simulators = map[string]Simulator{chainID: spoiler(file)}
	if v, err := e.Judge(t.Context(), pay, now); err == nil {
		t.Errorf("%+v", v)
	}
}

// spoiler is a node that removes a file.
type spoiler string

func (s spoiler) Simulate(context.Context, evm.Address, *evm.Intent) (*rpc.Simulation, error) {
	return new(rpc.Simulation), os.Remove(string(s))
}

// TestProvidersWord: what is signed well may still be no answer.
func TestProvidersWord(t *testing.T) {
	q := &providerQuestion{Request: strings.Repeat("ab", 32)}
	good := `{"version":1,"request":"` + q.Request + `","outcome":"pass","reasons":[],"time":"` + now.UTC().Format(time.RFC3339) + `"}`
	if a, err := decodeAnswer([]byte(good), q, now); err != nil || a.outcome() != request.Pass {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"unknown field": strings.Replace(good, `"reasons"`, `"score":0,"reasons"`, 1), "goes on": good + good, "its answer: EOF": "", "cannot unmarshal": "[]",
		"want one of now":      strings.Replace(good, now.UTC().Format(time.RFC3339), now.Add(6*time.Minute).UTC().Format(time.RFC3339), 1),
		`its outcome is ""`:    strings.Replace(good, `"pass"`, `""`, 1),
		`outcome is "PASS"`:    strings.Replace(good, `"pass"`, `"PASS"`, 1),
		`about request "abab7`: strings.Replace(good, "ababab", "abab7b", 1),
	} {
		if a, err := decodeAnswer([]byte(text), q, now); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), q.Request, "asked"), want) {
			t.Errorf("%s: %+v, %v", want, a, err)
		}
	}
}

// TestProvidersTogether: all must answer, and none outweighs another.
func TestProvidersTogether(t *testing.T) {
	pay := ask(t, evm.NewTransfer(stranger, eth(t, "1 wei")), "0.01 ETH")
	_, pass := service(t, func(*providerQuestion, *providerAnswer) {})
	_, deny := service(t, func(_ *providerQuestion, a *providerAnswer) { a.Outcome = "deny" })
	_, wrong := service(t, func(_ *providerQuestion, a *providerAnswer) { a.Outcome = "perhaps" })
	for name, c := range map[string]struct {
		providers []*provider
		outcome   request.Outcome
	}{
		"pass and deny": {[]*provider{pass, deny}, request.Deny}, "deny and pass": {[]*provider{deny, pass}, request.Deny}, "deny and nothing": {[]*provider{deny, wrong}, 0},
		"pass and nothing": {[]*provider{pass, wrong}, 0}, "both pass": {[]*provider{pass, pass}, request.Pass},
	} {
		e := newEngine(t, nil)
		e.providers = c.providers
		v, err := e.Judge(t.Context(), pay, now)
		if (err != nil) != (c.outcome == 0) || err == nil && v.Outcome != c.outcome {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// TestListsAndClocks: one list that names an account is enough, a list of a day to come
// is none, and a new engine takes what there is.
func TestListsAndClocks(t *testing.T) {
	sign, key := publisher(t)
	other, otherKey := publisher(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := evm.Account("eip155:1", stranger) // another chain's
	first := ListConfig{write("a", sign(listText(now.Add(-time.Hour), now.Add(time.Hour)))), key}
	second := ListConfig{write("b", other(listText(now.Add(-time.Hour), now.Add(time.Hour), bad))), otherKey}
	pay := ask(t, evm.NewTransfer(stranger, eth(t, "1 wei")), "0.01 ETH")
	start := func(configs ...ListConfig) *Engine {
		t.Helper()
		e := newEngine(t, nil)
		var err error
		if e.lists, err = newLists(configs); err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, configs := range map[string][]ListConfig{"the second": {first, second}, "the first": {second, first}} {
		if v := judge(t, start(configs...), pay); v.Outcome != request.Deny || !reason(v, "sanctioned") {
			t.Errorf("%s list names it: %v, %q", name, v.Outcome, v.Reasons)
		}
	}
	if v := judge(t, start(first), pay); v.Outcome != request.Pass {
		t.Errorf("%v, %q", v.Outcome, v.Reasons)
	}
	// Either one that is away is an outage.
	if v, err := start(second, ListConfig{filepath.Join(dir, "c"), key}).Judge(t.Context(), pay, now); err == nil {
		t.Errorf("one of two is missing: %+v", v)
	}
	first.File = write("d", sign(listText(now.Add(11*time.Minute), now.Add(time.Hour))))
	if v, err := start(first).Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), "to come") {
		t.Errorf("a list of 11 minutes ahead: %+v, %v", v, err)
	}
	if v, err := start(first).Judge(t.Context(), pay, now.Add(time.Minute)); err != nil {
		t.Errorf("a list of 10 minutes ahead: %+v, %v", v, err)
	}
	// At the moment that it expires, it has.
	e := start(second)
	if _, err := e.Judge(t.Context(), pay, now.Add(time.Hour-time.Millisecond)); err != nil {
		t.Error(err)
	}
	if v, err := e.Judge(t.Context(), pay, now.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "it expired") {
		t.Errorf("%+v, %v", v, err)
	}
	if err := os.Truncate(second.File, maxListBytes+1); err != nil {
		t.Fatal(err)
	}
	if v, err := e.Judge(t.Context(), pay, now); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a huge list: %+v, %v", v, err)
	}
}

// TestSums: only what leaves the wallet, of the asset that is asked for, and never less
// for being too much.
func TestSums(t *testing.T) {
	other := evm.Account(chainID, friend)
	amount := func(n uint64) chain.Amount { return *new(chain.Amount).SetUint64(n) }
	x := &chain.Effects{Sender: sender, Transfers: []chain.Transfer{
		{From: sender, To: other, Asset: "a", Amount: amount(1)}, {From: sender, To: other, Asset: "b", Amount: amount(2)}, {From: other, To: sender, Asset: "a", Amount: amount(4)},
	}}
	if sum := leaves(x, "a"); sum != amount(1) {
		t.Errorf("%s leaves, want 1", sum.Dec())
	}
	most, one := *new(chain.Amount).SetAllOne(), amount(1)
	if addUp(&most, &one); most != *new(chain.Amount).SetAllOne() {
		t.Errorf("the largest number and 1 are %s", most.Dec())
	}
	// A twin that is paid twice is found once.
	twin := evm.Account(chainID, evm.Address{friend[0], friend[1], 9, 19: friend[19]})
	x.Transfers[0].To, x.Transfers[1].To = twin, twin
	e := newEngine(t, func(k *Checks) { k.Known, k.LookalikeWeight = []string{other}, 7 })
	f := &findings{}
	if e.lookalike(f, x, nil); f.score != 7 {
		t.Errorf("score %d, want 7", f.score)
	}
}
