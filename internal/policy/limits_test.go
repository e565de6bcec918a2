package policy

import (
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
)

const (
	hour = 3_600_000
	day  = 24 * hour
)

// limited is a policy that allows what is within one limit.
func limited(t testing.TB, l Limit) *Document {
	d := testPolicy()
	l.Name = "it"
	d.Limits = []Limit{l}
	d.Rules = []Rule{{Name: "r", When: named(OpWithin, "it"), Then: Verdict{Effect: Allow}}}
	return checked(t, d)
}

func spentBy(request byte, wallet byte, who, to, asset string, amount, money chain.Amount, time uint64) LedgerEntry {
	return LedgerEntry{[32]byte{request}, [32]byte{wallet}, time, &Movement{
		Initiator: who, Chain: testChain, Currency: "USD", Moves: []Move{{asset, to, amount, money}},
	}}
}

func TestLimits(t *testing.T) {
	roster := testRoster(t)
	day1 := Window{Kind: Rolling, Length: day}
	three := eths(t, "3")
	old := func(ms uint64) MemoryLedger {
		return MemoryLedger{spentBy(1, 1, "bob", known, eth, three, num(3_000_000), testNow-ms)}
	}
	five := Limit{Measure: MeasureAmount, Asset: eth, Window: day1, Max: eths(t, "5")}
	with := func(l Limit, change func(*Limit)) Limit { change(&l); return l }
	counted := with(five, func(l *Limit) { l.Measure, l.Asset, l.Max = MeasureCount, "", num(1) })
	money := with(five, func(l *Limit) { l.Measure, l.Asset, l.Max = MeasureMoney, "", num(5000_000000) })
	prices := func(in *Input) { quoted("desk", 1000, 0)(in); quoted("feed", 990, 0)(in) }
	for name, c := range map[string]struct {
		limit Limit
		in    Input
		allow bool
		text  string
	}{
		"fills it":                             {five, send(t, known, "2", ledger(old(0))), true, ""},
		"exceeds it":                           {five, send(t, known, "2.1", ledger(old(0))), false, "limit it: 5.1 ETH with this request (3 ETH before it) is above 5 ETH in 24h"},
		"still counts":                         {five, send(t, known, "2.1", ledger(old(day+60_000))), false, ""},
		"not any more":                         {five, send(t, known, "2.1", ledger(old(day+60_001))), true, ""},
		"its own entry":                        {five, send(t, known, "2.1", func(in *Input) { l := old(0); l[0].Request = in.Request.ID(); in.Ledger = l }), true, ""},
		"counts once":                          {five, send(t, known, "2", ledger(append(old(0), old(5)...))), true, ""},
		"another asset":                        {with(five, func(l *Limit) { l.Asset = dai }), send(t, known, "9", ledger(old(0))), true, ""},
		"per wallet":                           {with(five, func(l *Limit) { l.Per = []Scope{PerWallet} }), send(t, known, "2.1", ledger(MemoryLedger{spentBy(1, 2, "bob", known, eth, three, num(3), testNow)})), true, ""},
		"this wallet":                          {with(five, func(l *Limit) { l.Per = []Scope{PerWallet} }), send(t, known, "2.1", ledger(old(0))), false, "per wallet"},
		"per initiator":                        {with(five, func(l *Limit) { l.Per = []Scope{PerInitiator} }), send(t, known, "2.1", ledger(old(0))), true, ""},
		"this initiator":                       {with(five, func(l *Limit) { l.Per = []Scope{PerInitiator} }), send(t, known, "2.1", by("bob"), ledger(old(0))), false, ""},
		"per destination":                      {with(five, func(l *Limit) { l.Per = []Scope{PerDestination} }), send(t, stranger, "2.1", ledger(old(0))), true, ""},
		"this destination":                     {with(five, func(l *Limit) { l.Per = []Scope{PerDestination} }), send(t, stranger, "1", also(known, dai, num(1)), also(known, eth, eths(t, "2.1")), ledger(old(0))), false, "limit it for 0x8617E340B3D01FA5F11F306F4090FD50E238070D (known)"},
		"full for what it does not send there": {with(five, func(l *Limit) { l.Per, l.Max = []Scope{PerDestination}, eths(t, "2") }), send(t, stranger, "1", also(known, dai, num(1)), ledger(old(0))), true, ""},
		"creation":                             {with(five, func(l *Limit) { l.Per = []Scope{PerDestination} }), send(t, known, "1", also("", eth, num(1))), false, "has no destination to count by"},
		"count":                                {counted, send(t, known, "1"), true, ""},
		"counts requests":                      {counted, send(t, "", "", ledger(old(0))), false, "limit it: 2 requests with this request (1 request before it) is above 1 request in 24h"},
		"count per asset":                      {with(counted, func(l *Limit) { l.Per = []Scope{PerAsset} }), send(t, known, "1", also(known, dai, num(1)), ledger(old(0))), false, "limit it for ETH: 2 requests"},
		"other asset":                          {with(counted, func(l *Limit) { l.Per = []Scope{PerAsset} }), send(t, "", "", also(known, dai, num(1)), ledger(old(0))), true, ""},
		"money":                                {money, send(t, known, "4.997", prices, ledger(old(0))), true, ""},
		"too much money":                       {money, send(t, known, "4.998", prices, ledger(old(0))), false, "limit it: 5001 USD with this request (3 USD before it) is above 5000 USD in 24h"},
		"no price":                             {money, send(t, known, "1", quoted("desk", 1000, 0)), false, "limit it: there are 1 prices of ETH in USD yet, want 2 of desk or feed"},
		"recorded unpriced":                    {money, send(t, known, "1", prices, ledger(MemoryLedger{{[32]byte{1}, [32]byte{1}, testNow, &Movement{Chain: testChain, Moves: []Move{{eth, known, three, num(0)}}}}})), true, ""},
		"nor valued now":                       {money, send(t, known, "1", prices, ledger(MemoryLedger{{[32]byte{1}, [32]byte{1}, testNow, &Movement{Chain: testChain, Moves: []Move{{dai, known, three, num(0)}}}}})), false, "limit it cannot be counted"},
		"sum overflows":                        {five, send(t, known, "1", ledger(MemoryLedger{spentBy(1, 1, "bob", known, eth, *new(chain.Amount).SetAllOne(), num(0), testNow)})), false, "the sum is above 2^256-1"},
		"ledger fails":                         {five, send(t, known, "1", ledger(broken{})), false, "limit it cannot be counted: the disk is gone"},
	} {
		d := limited(t, c.limit)
		got := d.Evaluate(roster, c.in)
		if got.Allow != c.allow {
			t.Errorf("%s: decided %+v", name, got)
		}
		wantText(t, name, got.Detail, c.text)
		if got.Allow && (len(got.Limits) != 1 || got.Limits[0].Name != "it" || got.Limits[0].Max != c.limit.Max) {
			t.Errorf("%s: limits %+v", name, got.Limits)
		}
	}
	got := limited(t, five).Evaluate(roster, send(t, known, "2.1", ledger(old(0))))
	wantText(t, "what would pass", got.Fix, "at most 2 ETH now under limit it")
	got = limited(t, with(five, func(l *Limit) { l.Max = three })).Evaluate(roster, send(t, known, "2.1", ledger(old(0))))
	wantText(t, "what would pass", got.Fix, "waiting until limit it has room again")
}

// TestNothingPassesALimitUncounted: what is given away without leaving the sender is
// an error of limits on amounts and money, whatever asset they count.
func TestNothingPassesALimitUncounted(t *testing.T) {
	allows := func(n chain.Amount) func(*Input) {
		return func(in *Input) {
			in.Effects.Approvals = []chain.Approval{{Owner: wallet, Spender: stranger, Asset: dai, Amount: n}}
		}
	}
	moves := func(from, to string, n chain.Amount) func(*Input) {
		return func(in *Input) {
			in.Effects.Transfers = append(in.Effects.Transfers, chain.Transfer{From: from, To: to, Asset: dai, Amount: n})
		}
	}
	five := Limit{Measure: MeasureAmount, Asset: eth, Window: Window{Kind: Rolling, Length: day}, Max: eths(t, "5")}
	count := Limit{Measure: MeasureCount, Window: five.Window, Max: num(5)}
	money := Limit{Measure: MeasureMoney, Window: five.Window, Max: num(5)}
	perTo := Limit{Measure: MeasureMoney, Per: []Scope{PerDestination}, Window: five.Window, Max: num(5)}
	for name, c := range map[string]struct {
		limit Limit
		in    Input
		text  string // "": it is allowed
	}{
		"an allowance":            {five, send(t, known, "1", allows(num(1))), "may take"},
		"an allowance taken back": {five, send(t, known, "1", allows(num(0))), ""},
		"what another has":        {five, send(t, known, "1", moves(known, stranger, num(1))), "no limit counts"},
		"nothing of another's":    {five, send(t, known, "1", moves(known, stranger, num(0))), ""},
		"what comes in":           {five, send(t, known, "1", moves(known, wallet, num(1))), ""},
		"before prices are there": {money, send(t, known, "1", allows(num(1))), "may take"},
		"without prices":          {money, send(t, known, "1"), "0 prices of ETH"},
		"a contract created":      {perTo, send(t, "", "", also("", eth, num(1))), "no destination"},
		"counted requests":        {count, send(t, known, "1", allows(num(1)), moves(known, stranger, num(1))), ""},
	} {
		got := limited(t, c.limit).Evaluate(testRoster(t), c.in)
		if got.Allow != (c.text == "") || got.Pending != (name == "without prices") {
			t.Errorf("%s: decided %+v", name, got)
		}
		wantText(t, name, got.Detail, c.text)
	}
}

type broken struct{}

func (broken) Used(*Query) (chain.Amount, error) {
	return chain.Amount{}, errors.New("the disk is gone")
}

func TestMovement(t *testing.T) {
	d := testPolicy()
	in := send(t, known, "1", also(stranger, eth, num(2)), also(known, eth, num(3)), also(known, dai, num(4)), quoted("desk", 1000, 0), quoted("feed", 1000, 0))
	in.Effects.Transfers = append(in.Effects.Transfers, chain.Transfer{From: known, To: wallet, Asset: eth, Amount: num(9)})
	m, err := d.Movement(&in)
	if err != nil {
		t.Fatal(err)
	}
	one := eths(t, "1")
	want := []Move{{dai, known, num(4), num(0)}, {eth, known, *one.Add(&one, ref(3)), num(0)}, {eth, stranger, num(2), num(0)}}
	if m.Currency != "" || len(m.Moves) != 3 || m.Moves[0] != want[0] || m.Moves[1] != want[1] || m.Moves[2] != want[2] || m.Initiator != "alice" {
		t.Errorf("moves %+v, want %+v without money: DAI has no price", m, want)
	}
	if _, err := DecodeMovement(m.Encode()); err != nil {
		t.Errorf("couldn't decode a movement: %v", err)
	}
	in.Effects.Transfers = in.Effects.Transfers[:2]
	m, err = d.Movement(&in)
	if err != nil || m.Currency != "USD" || m.Moves[0].Money != num(1000_000000) || m.Moves[1].Money != num(1) {
		t.Errorf("%+v, %v: want 1000 USD, and 2 wei rounded up to 10^-6 USD", m, err)
	}
	in.Effects.Transfers[0].Amount.SetAllOne()
	in.Effects.Transfers[1].To = known
	if _, err := d.Movement(&in); err == nil {
		t.Error("a sum above 2^256-1 is moved")
	}
	if _, err := d.Movement(&Input{}); err == nil {
		t.Error("nothing is moved without an input")
	}
}

func TestMovementIsBounded(t *testing.T) {
	in := send(t, "", "")
	for i := range 64 {
		in.Effects.Transfers = append(in.Effects.Transfers, chain.Transfer{From: wallet, To: testChain + ":0x" + string(make([]byte, 200)), Asset: eth + string(rune('a'+i%26)) + string(rune('a'+i/26))})
	}
	if _, err := testPolicy().Movement(&in); err == nil {
		t.Error("a movement above 16 KiB is made")
	}
}

func TestDecodeMovementRefuses(t *testing.T) {
	good := func() *Movement {
		return &Movement{Initiator: "bob", Chain: "eip155:1", Currency: "USD", Moves: []Move{{dai, known, num(3), num(4)}, {eth, known, num(1), num(2)}}}
	}
	if _, err := DecodeMovement(good().Encode()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Movement){
		"order":       func(m *Movement) { m.Moves[0], m.Moves[1] = m.Moves[1], m.Moves[0] },
		"twice":       func(m *Movement) { m.Moves[1] = m.Moves[0] },
		"asset":       func(m *Movement) { m.Moves[0].Asset = "dai" },
		"chain":       func(m *Movement) { m.Chain = "x" },
		"currency":    func(m *Movement) { m.Currency = "usd" },
		"no currency": func(m *Movement) { m.Currency = "" },
		"initiator":   func(m *Movement) { m.Initiator = "" },
	} {
		m := good()
		change(m)
		if _, err := DecodeMovement(m.Encode()); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	if _, err := DecodeMovement(make([]byte, MaxMovement+1)); err == nil {
		t.Error("decoded more than the bound")
	}
}

func TestPrices(t *testing.T) {
	roster := testRoster(t)
	cheap := op(OpLt, op(OpValue), money(1001_000000))
	for name, c := range map[string]struct {
		options []func(*Input)
		code    string
		text    string
	}{
		"agree":         {[]func(*Input){quoted("desk", 1000, 0), quoted("feed", 981, 600_000)}, CodeAllow, ""},
		"highest":       {[]func(*Input){quoted("desk", 1000, 0), quoted("feed", 1001, 0)}, CodeDefault, "value sent 1001 USD is at least 1001 USD"},
		"one":           {[]func(*Input){quoted("desk", 1000, 0)}, CodePrice, "there are 1 prices of ETH in USD yet, want 2 of desk or feed"},
		"none":          {nil, CodePrice, "there are 0 prices of ETH"},
		"stale":         {[]func(*Input){quoted("desk", 1000, 600_001), quoted("feed", 1000, 0)}, CodeStale, "1 prices of ETH are older than 10m, 1 are fresh, want 2 of desk or feed"},
		"disagree":      {[]func(*Input){quoted("desk", 1000, 0), quoted("feed", 979, 0)}, CodeDisagree, "the prices of ETH are too far apart: 1000 USD, 979 USD, want 2 within 2 % of each other"},
		"unknown":       {[]func(*Input){quoted("desk", 1000, 0), quoted("third", 1000, 0)}, CodePrice, ""},
		"other money":   {[]func(*Input){quoted("desk", 1000, 0), quoted("feed", 1000, 0), func(in *Input) { in.Verified.Prices[1].Currency = "EUR" }}, CodePrice, ""},
		"worth nothing": {[]func(*Input){quoted("desk", 1000, 0), quoted("feed", 0, 0)}, CodePrice, ""},
	} {
		got := when(t, cheap).Evaluate(roster, send(t, known, "1", c.options...))
		if got.Code != c.code || got.Pending != (c.code == CodePrice) {
			t.Errorf("%s: decided %+v", name, got)
		}
		wantText(t, name, got.Detail, c.text)
	}
	if got := when(t, cheap).Evaluate(roster, send(t, "", "")); !got.Allow {
		t.Errorf("nothing sent is worth something: %+v", got)
	}
}

// scale rounds up, and never loses what does not fit.
func TestScale(t *testing.T) {
	all := *new(chain.Amount).SetAllOne()
	for _, c := range []struct {
		a, price chain.Amount
		digits   int
		want     chain.Amount
		ok       Truth
	}{
		{num(10), num(1), 1, num(1), True}, {num(11), num(1), 1, num(2), True}, {num(0), num(9), 77, num(0), True}, {num(1), num(1), 77, num(1), True},
		{num(1), num(1), 78, num(0), Failed}, {all, num(10), 1, all, True}, {all, num(11), 1, num(0), Failed}, {all, num(1), 0, all, True},
	} {
		got, ok := scale(&c.a, &c.price, c.digits)
		if ok != c.ok || ok == True && got != c.want {
			t.Errorf("%s at %s over 10^%d is %s, %s; want %s, %s", c.a.Dec(), c.price.Dec(), c.digits, got.Dec(), ok, c.want.Dec(), c.ok)
		}
	}
}

// Calendar windows of real zones, against Go's own.
func TestCalendarWindows(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip(err)
	}
	z := Zone{Name: "Europe/Zurich", Until: maxUnix}
	for at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2028; at = at.Add(time.Hour) {
		_, offset := at.In(zurich).Zone()
		if n := len(z.Steps); n == 0 || z.Steps[n-1].Offset != int32(offset) {
			z.Steps = append(z.Steps, Step{at.Unix(), int32(offset)})
		}
	}
	d := &Document{Zones: []Zone{z}}
	for at := time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC); at.Year() < 2028; at = at.Add(79 * time.Minute) {
		local := at.In(zurich)
		y, m, n := local.Date()
		for unit, want := range map[Unit]time.Time{
			Day: time.Date(y, m, n, 0, 0, 0, 0, zurich), Week: time.Date(y, m, n-(int(local.Weekday())+6)%7, 0, 0, 0, 0, zurich),
			Month: time.Date(y, m, 1, 0, 0, 0, 0, zurich), Year: time.Date(y, 1, 1, 0, 0, 0, 0, zurich),
		} {
			e := &evaluation{doc: d, in: Input{Now: uint64(at.UnixMilli())}}
			got, err := e.since(&Window{Kind: Calendar, Unit: unit, Zone: "Europe/Zurich"})
			if err != nil || got != uint64(want.UnixMilli()) {
				t.Fatalf("%s, unit %d: since %d, %v; want %d", local, unit, got, err, want.UnixMilli())
			}
		}
	}
}

// A day that begins twice begins the first time, one whose midnight is skipped
// begins after the gap; before its first step and after its end nothing is known.
func TestZoneEdges(t *testing.T) {
	const midnight = 20000 * dayLength
	back := Zone{Name: "back", Steps: []Step{{0, 3600}, {midnight - 3600 + 1800, 0}}, Until: maxUnix} // at 00:30 the clock goes back to 23:30
	if got, err := back.first(midnight); err != nil || got != midnight-3600 {
		t.Errorf("the day begins at %d, %v, want %d", got, err, midnight-3600)
	}
	gap := Zone{Name: "gap", Steps: []Step{{0, 0}, {midnight - 1800, 3600}}, Until: maxUnix} // at 23:30 it goes on to 00:30
	if got, err := gap.first(midnight); err != nil || got != midnight-1800 {
		t.Errorf("the day begins at %d, %v, want %d", got, err, midnight-1800)
	}
	late := Zone{Name: "late", Steps: []Step{{midnight + 10, 0}}, Until: midnight + 100}
	if _, err := late.first(midnight); err == nil {
		t.Error("a day begins before its zone is known")
	}
	for _, at := range []int64{midnight + 9, midnight + 100} {
		if _, err := late.offset(at); err == nil {
			t.Errorf("the offset at %d is known", at)
		}
	}
	for _, at := range []int64{midnight + 10, midnight + 99} {
		if _, err := late.offset(at); err != nil {
			t.Errorf("the offset at %d: %v", at, err)
		}
	}
}

func TestHours(t *testing.T) {
	for text, want := range map[string]string{
		"Mon-Fri 08:00-18:00 Europe/Zurich": "Mon-Fri 08:00-18:00", "sat,sun 00:00-24:00 UTC": "Sat,Sun 00:00-24:00",
		"22:00-06:00 UTC": "Mon-Sun 22:00-06:00", "Fri-Mon 09:30-10:00 Etc/GMT+1": "Mon,Fri-Sun 09:30-10:00", "Tue 23:00-00:00 UTC": "Tue 23:00-24:00",
	} {
		h, zone, err := ParseDuring(text)
		if err != nil || h.String() != want {
			t.Errorf("%q is %q, %v, want %q", text, h, err, want)
			continue
		}
		again, same, err := ParseDuring(h.String() + " " + zone)
		if n := h.Num(); err != nil || again != h || same != zone {
			t.Errorf("%q is read back as %v %s, %v", text, again, same, err)
		} else if back, err := HoursOf(&n); err != nil || back != h {
			t.Errorf("%s packs to %v, %v", h, back, err)
		}
	}
	for _, text := range []string{"", "UTC", "Mon 08:00 UTC", "Mon 8:00-18:00 UTC", "Xyz 08:00-18:00 UTC", "Mon 08:00-25:00 UTC", "Mon 08:60-09:00 UTC", "Mon 08:00-08:00 UTC", "Mon 24:00-08:00 UTC", "Mon 08:00-18:00 UTC+é", "Mon Tue 08:00-18:00 UTC"} {
		if h, _, err := ParseDuring(text); err == nil {
			t.Errorf("%q is read as %s", text, h)
		}
	}
}
