package request

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
)

const account = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"

func key(id string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(id))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(id string) signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(key(id).Public().(ed25519.PublicKey))}
}

func sign(id string, st signature.Statement) signature.Signature {
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(key(id), d[:])}
}

func sample() *Request {
	q := &Request{
		Cluster: [32]byte{1}, Wallet: [32]byte{2}, Chain: "eip155:1", Sender: account, Intent: []byte{3, 4, 5},
		Initiator: "alice", Salt: [16]byte{6}, Created: 1_700_000_000_000, Expires: 1_700_000_600_000, Memo: "invoice 17",
	}
	q.MaxFee.SetUint64(1e15)
	return q
}

func sampleBundle() *Bundle {
	q := sample()
	id := q.ID()
	b := &Bundle{Request: q, ProposeKey: public("alice"), ProposeSignature: sign("alice", ProposeStatement(id))}
	for _, who := range []string{"bob", "carol"} {
		a := Approval{Request: id, Principal: who, Approve: who == "bob", Time: q.Created + 1, Expires: q.Expires, Key: public(who)}
		a.Signature = sign(who, a.Statement())
		b.Approvals = append(b.Approvals, a)
	}
	v := RiskVerdict{Request: id, Engine: "screening", Outcome: Pass, Score: 12, Reasons: []string{"known recipient"}, Time: q.Created + 2, Expires: q.Expires, Key: public("screening")}
	v.Signature = sign("screening", v.Statement())
	b.Verdicts = []RiskVerdict{v}
	p := PriceQuote{Source: "ticker", Currency: "USD", Time: q.Created + 3, Expires: q.Expires, Key: public("ticker")}
	p.Prices = []AssetPrice{{Asset: "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"}, {Asset: "eip155:1/slip44:60"}}
	p.Prices[0].Price.SetUint64(1e15)
	p.Prices[1].Price.SetUint64(2_500_000_000_000_000_000)
	p.Signature = sign("ticker", p.Statement())
	b.Prices = []PriceQuote{p}
	return b
}

// TestVectors pins the encodings: a change here is a new version byte, a new spec
// page and new vectors (docs/spec/request.md).
func TestVectors(t *testing.T) {
	b := sampleBundle()
	id := b.Request.ID()
	c := Cancellation{Request: id, Principal: "alice", Time: 1_700_000_000_003, Key: public("alice")}
	for _, v := range []struct {
		name string
		got  []byte
		want string
	}{
		{"request", b.Request.Encode(), "010100000000000000000000000000000000000000000000000000000000000000" + "0200000000000000000000000000000000000000000000000000000000000000" +
			"00000008" + hex.EncodeToString([]byte("eip155:1")) + "00000033" + hex.EncodeToString([]byte(account)) + "00000003030405" +
			"00000000000000000000000000000000000000000000000000038d7ea4c68000" + "00000005616c696365" + "06000000000000000000000000000000" +
			"0000018bcfe56800" + "0000018bcfee8fc0" + "0000000a" + hex.EncodeToString([]byte("invoice 17"))},
		{"propose", ProposeStatement(id).Body, "01" + hex.EncodeToString(id[:])},
		{"approve", b.Approvals[0].Statement().Body, "01" + hex.EncodeToString(id[:]) + "00000003626f6201" + "0000018bcfe56801" + "0000018bcfee8fc0"},
		{"cancel", c.Statement().Body, "01" + hex.EncodeToString(id[:]) + "00000005616c696365" + "0000018bcfe56803"},
		{"verdict", b.Verdicts[0].Statement().Body, "01" + hex.EncodeToString(id[:]) + "00000009" + hex.EncodeToString([]byte("screening")) + "01000c" +
			"000000010000000f" + hex.EncodeToString([]byte("known recipient")) + "0000018bcfe56802" + "0000018bcfee8fc0"},
		{"price", b.Prices[0].Statement().Body, "01" + "00000006" + hex.EncodeToString([]byte("ticker")) + "00000003555344" + "00000002" +
			"00000039" + hex.EncodeToString([]byte(b.Prices[0].Prices[0].Asset)) + "00000000000000000000000000000000000000000000000000038d7ea4c68000" +
			"00000012" + hex.EncodeToString([]byte("eip155:1/slip44:60")) + "00000000000000000000000000000000000000000000000022b1c8c1227a0000" +
			"0000018bcfe56803" + "0000018bcfee8fc0"},
	} {
		if got := hex.EncodeToString(v.got); got != v.want {
			t.Errorf("%s is\n%s, want\n%s", v.name, got, v.want)
		}
	}
	if got, want := hex.EncodeToString(id[:]), "6e5c9b9911e6a473229cf443c0f5b67c08754c6f6da97ca887b29182c3c25708"; got != want {
		t.Errorf("request id %s, want %s", got, want)
	}
	sum := sha256.Sum256(b.Encode())
	if got, want := hex.EncodeToString(sum[:]), "a4eb68d792f91ea6b1c8fa1ef8159ea1945f02511ef30926e0e48f26f7c262df"; got != want {
		t.Errorf("SHA-256 of the bundle %s, want %s", got, want)
	}
	for _, st := range []struct{ got, want string }{
		{ProposeStatement(id).Domain, "coffer/propose/v1"},
		{b.Approvals[0].Statement().Domain, "coffer/approve/v1"},
		{c.Statement().Domain, "coffer/cancel/v1"},
		{b.Verdicts[0].Statement().Domain, "coffer/risk-verdict/v1"},
		{b.Prices[0].Statement().Domain, "coffer/price/v1"},
	} {
		if st.got != st.want {
			t.Errorf("domain %s, want %s", st.got, st.want)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	b := sampleBundle()
	back, err := DecodeBundle(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, back); diff != "" {
		t.Error(diff)
	}
	c := &Cancellation{Request: b.Request.ID(), Principal: "alice", Time: 7, Key: public("alice")}
	c.Signature = sign("alice", c.Statement())
	again, err := DecodeCancellation(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Error(diff)
	}
}

// TestIDCoversEveryField: what is not in the id is not signed.
func TestIDCoversEveryField(t *testing.T) {
	id := sample().ID()
	for name, change := range map[string]func(*Request){
		"cluster": func(q *Request) { q.Cluster[31] ^= 1 }, "wallet": func(q *Request) { q.Wallet[31] ^= 1 },
		"chain": func(q *Request) { q.Chain = "eip155:5" }, "sender": func(q *Request) { q.Sender += "0" },
		"intent": func(q *Request) { q.Intent[0] ^= 1 }, "max fee": func(q *Request) { q.MaxFee.AddUint64(&q.MaxFee, 1) },
		"initiator": func(q *Request) { q.Initiator = "bob" }, "salt": func(q *Request) { q.Salt[15] ^= 1 },
		"created": func(q *Request) { q.Created++ }, "expires": func(q *Request) { q.Expires++ }, "memo": func(q *Request) { q.Memo += "." },
	} {
		q := sample()
		change(q)
		if q.ID() == id {
			t.Errorf("another %s has the same id", name)
		}
	}
}

// TestStatementsCoverEveryField: and every signed statement.
func TestStatementsCoverEveryField(t *testing.T) {
	b := sampleBundle()
	approval, verdict := b.Approvals[0], b.Verdicts[0]
	a, v := approval.Statement().Digest(), verdict.Statement().Digest()
	for name, change := range map[string]func(*Approval){
		"request": func(a *Approval) { a.Request[0] ^= 1 }, "principal": func(a *Approval) { a.Principal = "dave" },
		"approve": func(a *Approval) { a.Approve = !a.Approve }, "time": func(a *Approval) { a.Time++ }, "expires": func(a *Approval) { a.Expires++ },
	} {
		x := approval
		change(&x)
		if x.Statement().Digest() == a {
			t.Errorf("approval: another %s has the same statement", name)
		}
	}
	for name, change := range map[string]func(*RiskVerdict){
		"request": func(v *RiskVerdict) { v.Request[0] ^= 1 }, "engine": func(v *RiskVerdict) { v.Engine = "x" },
		"outcome": func(v *RiskVerdict) { v.Outcome = Hold }, "score": func(v *RiskVerdict) { v.Score++ },
		"reasons": func(v *RiskVerdict) { v.Reasons = nil }, "time": func(v *RiskVerdict) { v.Time++ }, "expires": func(v *RiskVerdict) { v.Expires++ },
	} {
		x := verdict
		change(&x)
		if x.Statement().Digest() == v {
			t.Errorf("verdict: another %s has the same statement", name)
		}
	}
	quote := b.Prices[0]
	p := quote.Statement().Digest()
	for name, change := range map[string]func(*PriceQuote){
		"source": func(p *PriceQuote) { p.Source = "x" }, "currency": func(p *PriceQuote) { p.Currency = "EUR" },
		"asset": func(p *PriceQuote) { p.Prices[0].Asset = "eip155:1/slip44:61" }, "price": func(p *PriceQuote) { p.Prices[0].Price.SetUint64(1) },
		"prices": func(p *PriceQuote) { p.Prices = p.Prices[:1] }, "time": func(p *PriceQuote) { p.Time++ }, "expires": func(p *PriceQuote) { p.Expires++ },
	} {
		x := quote
		x.Prices = slices.Clone(quote.Prices)
		change(&x)
		if x.Statement().Digest() == p {
			t.Errorf("quote: another %s has the same statement", name)
		}
	}
	c := Cancellation{Request: b.Request.ID(), Principal: "alice", Time: 7}
	d := c.Statement().Digest()
	for name, x := range map[string]Cancellation{"request": {Principal: "alice", Time: 7}, "principal": {Request: c.Request, Principal: "bob", Time: 7}, "time": {Request: c.Request, Principal: "alice", Time: 8}} {
		if x.Statement().Digest() == d {
			t.Errorf("cancellation: another %s has the same statement", name)
		}
	}
}

func TestRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"chain", func(q *Request) { q.Chain = "ethereum" }, `chain: chain "ethereum": want a CAIP-2 id such as eip155:1`},
		{"sender", func(q *Request) { q.Sender = "0x52908400098527886E0F7030069857D2E4169EE7" }, "want a CAIP-10 account such as"},
		{"sender elsewhere", func(q *Request) { q.Chain = "eip155:5" }, "is on chain eip155:1, the request is for eip155:5"},
		{"no intent", func(q *Request) { q.Intent = nil }, "intent: 0 bytes, want 1 to"},
		{"large intent", func(q *Request) { q.Intent = make([]byte, MaxIntent+1) }, "intent: 135169"},
		{"initiator", func(q *Request) { q.Initiator = "Alice" }, `initiator: name "Alice"`},
		{"no initiator", func(q *Request) { q.Initiator = "" }, "initiator: name"},
		{"memo", func(q *Request) { q.Memo = "two\nlines" }, "memo: text"},
		{"memo that turns", func(q *Request) { q.Memo = "\u202eevil" }, "U+202E"},
		{"memo not UTF-8", func(q *Request) { q.Memo = "\xff" }, "not valid UTF-8"},
		{"long memo", func(q *Request) { q.Memo = strings.Repeat("m", MaxMemo+1) }, "memo: 257"},
		{"created", func(q *Request) { q.Created = 0 }, "created: 0, want unix milliseconds"},
		{"expires", func(q *Request) { q.Expires = q.Created }, "is not after created 2023-11-14T22:13:20Z"},
		{"lifetime", func(q *Request) { q.Expires = q.Created + MaxLifetime + 1 }, "more than 31 days after"},
		{"the end of time", func(q *Request) { q.Expires = 1<<64 - 1 }, "18446744073709551615 ms is more than 31 days"},
	} {
		q := sample()
		c.change(q)
		err := q.Check()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if !errors.Is(err, &refusal.Refusal{Code: "request.field"}) {
			t.Errorf("%s: %v is not a refusal request.field", c.name, err)
		}
		if _, err := Decode(q.Encode()); err == nil {
			t.Errorf("%s: its encoding decodes", c.name)
		}
	}
	q := sample()
	q.Expires = q.Created + MaxLifetime
	if _, err := Decode(q.Encode()); err != nil {
		t.Errorf("31 days exactly: %v", err)
	}
}

func TestBundleRefuses(t *testing.T) {
	for _, c := range []struct {
		name, code, want string
		change           func(*Bundle)
	}{
		{"replayed approval", "approval.request", "approvals[0]: bob approved request 00", func(b *Bundle) { b.Approvals[0].Request = [32]byte{} }},
		{"duplicate approval", "approval.duplicate", "approvals[1]: bob has approved or denied already", func(b *Bundle) { b.Approvals[1] = b.Approvals[0] }},
		{"duplicate with another key", "approval.duplicate", "one person counts once, with whatever key", func(b *Bundle) { b.Approvals[1].Principal = "bob" }},
		{"approvals out of order", "approval.order", "approvals[1]: bob comes after carol", func(b *Bundle) { b.Approvals[0], b.Approvals[1] = b.Approvals[1], b.Approvals[0] }},
		{"replayed verdict", "risk.request", "verdicts[0]: screening judged request 00", func(b *Bundle) { b.Verdicts[0].Request = [32]byte{} }},
		{"duplicate verdict", "risk.duplicate", "verdicts[1]: screening comes after screening", func(b *Bundle) { b.Verdicts = append(b.Verdicts, b.Verdicts[0]) }},
		{"too many approvals", "bundle.approvals", "65 approvals, at most 64", func(b *Bundle) { b.Approvals = make([]Approval, MaxApprovals+1) }},
		{"too many verdicts", "bundle.verdicts", "9 risk verdicts, at most 8", func(b *Bundle) { b.Verdicts = make([]RiskVerdict, MaxVerdicts+1) }},
		{"duplicate quote", "price.duplicate", "prices[1]: ticker comes after ticker", func(b *Bundle) { b.Prices = append(b.Prices, b.Prices[0]) }},
		{"too many quotes", "bundle.prices", "9 price quotes, at most 8", func(b *Bundle) { b.Prices = make([]PriceQuote, MaxQuotes+1) }},
		{"bad request", "request.field", "memo", func(b *Bundle) { b.Request.Memo = "\n" }},
	} {
		b := sampleBundle()
		c.change(b)
		err := b.Check()
		if r := refusal.As(err); r == nil || r.Code != c.code || !strings.Contains(r.Detail, c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.code, c.want)
		}
		if _, err := DecodeBundle(b.Encode()); err == nil {
			t.Errorf("%s: its encoding decodes", c.name)
		}
	}
	if err := (&Bundle{}).Check(); err == nil {
		t.Error("a bundle without a request passes")
	}
}

func TestDecodeRefuses(t *testing.T) {
	b := sampleBundle()
	a, v := b.Approvals[0], b.Verdicts[0]
	with := func(change func()) []byte { a, v = b.Approvals[0], b.Verdicts[0]; change(); return nil }
	for _, c := range []struct {
		name, want string
		decode     func() error
	}{
		{"approval that ends before it begins", "expires: 2023-11-14T22:13:20Z is not after time", func() error {
			with(func() { a.Expires = a.Time })
			_, err := DecodeApproval(a.Encode())
			return err
		}},
		{"approver's name", `principal: name "Bob"`, func() error {
			with(func() { a.Principal = "Bob" })
			_, err := DecodeApproval(a.Encode())
			return err
		}},
		{"unknown algorithm", "key: unknown key algorithm 9", func() error {
			with(func() { a.Key.Algorithm = 9 })
			_, err := DecodeApproval(a.Encode())
			return err
		}},
		{"outcome", "outcome: unknown value 4, want 1 (pass), 2 (hold) or 3 (deny)", func() error {
			with(func() { v.Outcome = 4 })
			_, err := DecodeRiskVerdict(v.Encode())
			return err
		}},
		{"outcome 0", "outcome: unknown value 0", func() error {
			with(func() { v.Outcome = 0 })
			_, err := DecodeRiskVerdict(v.Encode())
			return err
		}},
		{"reason", "reason: text", func() error {
			with(func() { v.Reasons = []string{"\x1b"} })
			_, err := DecodeRiskVerdict(v.Encode())
			return err
		}},
		{"reasons", "reasons: 17 items, at most 16", func() error {
			with(func() { v.Reasons = make([]string, 17) })
			_, err := DecodeRiskVerdict(v.Encode())
			return err
		}},
		{"verdict that ends before it begins", "is not after time", func() error {
			with(func() { v.Expires = v.Time - 1 })
			_, err := DecodeRiskVerdict(v.Encode())
			return err
		}},
		{"quote without prices", "prices: none, want 1 to 64", quoteWith(func(p *PriceQuote) { p.Prices = nil })},
		{"quote with 65 prices", "prices: 65 items, at most 64", quoteWith(func(p *PriceQuote) { p.Prices = make([]AssetPrice, 65) })},
		{"quote in no currency", `currency: "usd", want 3 to 8 characters`, quoteWith(func(p *PriceQuote) { p.Currency = "usd" })},
		{"quote in a long currency", "currency: 9 items", quoteWith(func(p *PriceQuote) { p.Currency = "USDUSDUSD" })},
		{"quote for nothing", "prices[0]: eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48 costs nothing", quoteWith(func(p *PriceQuote) { p.Prices[0].Price.Clear() })},
		{"quote of no asset", "prices[0]: asset", quoteWith(func(p *PriceQuote) { p.Prices[0].Asset = "ETH" })},
		{"quote out of order", "prices[1]: eip155:1/erc20", quoteWith(func(p *PriceQuote) { p.Prices[0], p.Prices[1] = p.Prices[1], p.Prices[0] })},
		{"quote of an asset twice", "comes after", quoteWith(func(p *PriceQuote) { p.Prices[1].Asset = p.Prices[0].Asset })},
		{"quote that ends before it begins", "is not after time", quoteWith(func(p *PriceQuote) { p.Expires = p.Time })},
		{"quote for two days", "more than a day after time", quoteWith(func(p *PriceQuote) { p.Expires = p.Time + MaxQuoteLifetime + 1 })},
		{"quote by no name", `source: name "Ticker"`, quoteWith(func(p *PriceQuote) { p.Source = "Ticker" })},
		{"canceller's name", "principal: name", func() error {
			_, err := DecodeCancellation((&Cancellation{Key: public("alice"), Signature: a.Signature}).Encode())
			return err
		}},
		{"large bundle", "bytes, at most 262144", func() error { _, err := DecodeBundle(make([]byte, MaxBundle+1)); return err }},
		{"trailing byte", "after the end", func() error { _, err := DecodeBundle(append(b.Encode(), 0)); return err }},
	} {
		if err := c.decode(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// quoteWith decodes a quote that was changed.
func quoteWith(change func(*PriceQuote)) func() error {
	return func() error {
		p := sampleBundle().Prices[0]
		change(&p)
		_, err := DecodePriceQuote(p.Encode())
		return err
	}
}

func TestPriceOf(t *testing.T) {
	p := sampleBundle().Prices[0]
	if got, ok := p.Price("eip155:1/slip44:60"); !ok || got.Dec() != "2500000000000000000" {
		t.Errorf("%v, %v", got, ok)
	}
	if _, ok := p.Price("eip155:1/slip44:61"); ok {
		t.Error("a price that nobody quoted")
	}
}

// TestTruncated: no beginning of a message is a message, nested ones included.
func TestTruncated(t *testing.T) {
	b := sampleBundle()
	c := &Cancellation{Principal: "alice", Key: public("alice")}
	c.Signature = sign("alice", c.Statement())
	for name, x := range map[string]struct {
		b      []byte
		decode func([]byte) error
	}{
		"request":      {b.Request.Encode(), func(b []byte) error { _, err := Decode(b); return err }},
		"approval":     {b.Approvals[0].Encode(), func(b []byte) error { _, err := DecodeApproval(b); return err }},
		"verdict":      {b.Verdicts[0].Encode(), func(b []byte) error { _, err := DecodeRiskVerdict(b); return err }},
		"quote":        {b.Prices[0].Encode(), func(b []byte) error { _, err := DecodePriceQuote(b); return err }},
		"cancellation": {c.Encode(), func(b []byte) error { _, err := DecodeCancellation(b); return err }},
		"bundle":       {b.Encode(), func(b []byte) error { _, err := DecodeBundle(b); return err }},
	} {
		for n := range x.b {
			if x.decode(x.b[:n]) == nil {
				t.Errorf("the first %d of %d bytes of a %s decode", n, len(x.b), name)
			}
		}
	}
	a := b.Approvals[1]
	b.Approvals[1].Principal = "Carol"
	if _, err := DecodeBundle(b.Encode()); err == nil || !strings.Contains(err.Error(), `approvals[1]: couldn't decode approval: principal: name "Carol"`) {
		t.Errorf("a bad approval: %v", err)
	}
	b.Approvals[1], b.Verdicts[0].Outcome = a, 7
	if _, err := DecodeBundle(b.Encode()); err == nil || !strings.Contains(err.Error(), "verdicts[0]: couldn't decode risk verdict: outcome") {
		t.Errorf("a bad verdict: %v", err)
	}
	b = sampleBundle()
	b.Request.Memo = "\x00"
	if _, err := DecodeBundle(b.Encode()); err == nil || !strings.Contains(err.Error(), "request: couldn't decode request: memo") {
		t.Errorf("a bad request: %v", err)
	}
}

func TestSort(t *testing.T) {
	b := sampleBundle()
	b.Approvals[0], b.Approvals[1] = b.Approvals[1], b.Approvals[0]
	v := b.Verdicts[0]
	v.Engine = "a"
	b.Verdicts = append(b.Verdicts, v)
	p := b.Prices[0]
	p.Source = "a"
	b.Prices = append(b.Prices, p)
	b.Sort()
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}

func TestInstant(t *testing.T) {
	for ms, want := range map[uint64]string{
		0: "1970-01-01T00:00:00Z", 1_700_000_000_999: "2023-11-14T22:13:20Z",
		253402300799999: "9999-12-31T23:59:59Z", 253402300800000: "253402300800000 ms", 1<<64 - 1: "18446744073709551615 ms",
	} {
		if got := Instant(ms); got != want {
			t.Errorf("%d is %s, want %s", ms, got, want)
		}
	}
}

func TestOutcomeNames(t *testing.T) {
	for o, want := range map[Outcome]string{Pass: "pass", Hold: "hold", Deny: "deny", 9: "outcome-9"} {
		if o.String() != want {
			t.Errorf("%d is %s, want %s", o, o, want)
		}
	}
}
