package analysis

import (
	"slices"
	"strings"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

// example time: Wednesday 2026-07-01 10:00 UTC, when nothing else is asked for.
const plainTime = 1782900000

// time looks for an instant that is in the hours that the model wants: the first
// after the plain time, minute by minute, for three weeks and around the bounds.
func (b *builder) time() {
	low, high := b.between(b.now)
	from, to := uint64(0), uint64(maxUnix)
	if low.IsUint64() {
		from = low.Uint64()
	}
	if high.IsUint64() {
		to = min(to, high.Uint64())
	}
	now := max(from, min(plainTime, to))
	const threeWeeks = 3 * 7 * 1440
	try := func(at uint64) bool {
		if at < from || at > to || !b.hours(at) {
			return false
		}
		now = at
		return true
	}
	for n := range uint64(threeWeeks) {
		if try(now+60*n) || now >= 60*n && try(now-60*n) {
			break
		}
	}
	b.in.Now = now * 1000
	q := b.in.Request
	q.Created, q.Expires = b.in.Now, b.in.Now+3600*1000
	if q.Created == 0 {
		q.Created = 1
	}
}

// hours reports whether the local times at an instant are what the model wants.
func (b *builder) hours(at uint64) bool {
	for _, z := range b.zoneList {
		if len(z.minute.sets) == 0 {
			continue
		}
		local := int64(at)
		for _, s := range z.zone.Steps {
			if s.From <= int64(at) {
				local = int64(at) + int64(s.Offset)
			}
		}
		const week = 7 * 86400
		minute := minutesOfWeek[((local+3*86400)%week+week)%week/60] // 1970 began on a Thursday
		for _, s := range z.minute.sets {
			if _, in := slices.BinarySearch(s.list, minute); in != b.holds(s.in) {
				return false
			}
		}
	}
	return true
}

// transfers chooses amounts: as few as the items permit, and then more until the
// totals are reached.
func (b *builder) transfers() {
	f := &b.in.Effects.Transfers
	b.highs = nil
	for _, i := range b.present(policy.OpTransfers) {
		t := chain.Transfer{From: b.end(i, "from"), To: b.end(i, "to"), Asset: b.value(b.itemText(i, "asset"))}
		low, high := chain.Amount{}, largest
		if n, ok := i.numbers["amount"]; ok {
			low, high = b.between(n)
		}
		if _, limited := b.totalBy[t.Asset+" false"]; limited && t.From == b.sender {
			t.Amount = low
		} else if in, limited := b.totalBy[t.Asset+" true"]; limited && in != nil && t.To == b.sender {
			t.Amount = low
		} else {
			t.Amount = plainest(low, high, b.decimals(t.Asset))
		}
		*f = append(*f, t)
		b.highs = append(b.highs, high)
	}
	for _, t := range b.totals {
		if b.holds(t.valid) {
			b.reach(t)
		}
	}
}

// end is the account at one end of a transfer; somebody, when nothing asks.
func (b *builder) end(i *item, field string) string {
	return b.value(b.itemText(i, field))
}

// reach raises the transfers of a total until it is what the model wants, and
// repeats the last one when that does not suffice.
func (b *builder) reach(t *total) {
	low, high := b.between(t.sum)
	want := plainest(low, high, b.decimals(t.asset))
	f := &b.in.Effects.Transfers
	counts := func(x *chain.Transfer) bool {
		return x.Asset == t.asset && (!t.in && x.From == b.sender || t.in && x.To == b.sender)
	}
	var sum chain.Amount
	last := -1
	for i := range *f {
		if counts(&(*f)[i]) {
			sum.Add(&sum, &(*f)[i].Amount)
			last = i
		}
	}
	for i := range *f {
		x := &(*f)[i]
		if !counts(x) || !sum.Lt(&want) {
			continue
		}
		var more, room chain.Amount
		more.Sub(&want, &sum)
		if room.Sub(&b.highs[i], &x.Amount); room.Lt(&more) {
			more = room
		}
		x.Amount.Add(&x.Amount, &more)
		sum.Add(&sum, &more)
	}
	for n := 0; last >= 0 && n < maxCopies && sum.Lt(&want); n++ {
		x := (*f)[last]
		var more chain.Amount
		if more.Sub(&want, &sum); x.Amount.Gt(&more) {
			x.Amount = more
		}
		*f, b.highs = append(*f, x), append(b.highs, b.highs[last])
		sum.Add(&sum, &x.Amount)
	}
}

// prices makes what is moved worth what the model wants: every asset is worth one
// of the currency a unit, but the first one that makes up the difference.
func (b *builder) prices() {
	for _, v := range b.views {
		if v.doc.Currency == "" {
			continue
		}
		prices := b.quotes(v)
		for _, s := range v.doc.Prices.Sources {
			if slices.ContainsFunc(b.in.Verified.Prices, func(p identity.Price) bool { return p.Source == s }) {
				continue
			}
			b.in.Verified.Prices = append(b.in.Verified.Prices, identity.Price{
				Source: s, Currency: v.doc.Currency, Time: b.in.Now, Assets: prices,
			})
		}
	}
	slices.SortFunc(b.in.Verified.Prices, func(x, y identity.Price) int { return strings.Compare(x.Source, y.Source) })
}

func (b *builder) quotes(v *view) []request.AssetPrice {
	var out []request.AssetPrice
	if l, ok := b.flags["no "+v.valuedName("value")]; ok && b.holds(l) {
		return nil // the model wants it without a value
	}
	var want chain.Amount
	n, limited := b.numbers["value"+v.worth]
	if limited {
		low, high := b.between(n)
		want = plainest(low, high, 6)
	}
	for i := range v.doc.Assets {
		a := &v.doc.Assets[i]
		p := request.AssetPrice{Asset: a.ID, Price: *uint256.NewInt(1e15)}
		var moved chain.Amount
		for k := range b.in.Effects.Transfers {
			if x := &b.in.Effects.Transfers[k]; x.Asset == a.ID && x.From == b.sender {
				moved.Add(&moved, &x.Amount)
			}
		}
		if limited && !moved.IsZero() {
			var unit chain.Amount // price = want·10^(decimals+15−6)/moved
			unit.Exp(uint256.NewInt(10), uint256.NewInt(uint64(a.Decimals)+request.PriceDecimals-6))
			if _, over := p.Price.MulDivOverflow(&want, &unit, &moved); over || p.Price.IsZero() {
				p.Price.SetOne()
			}
			want.SetOne()
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y request.AssetPrice) int { return strings.Compare(x.Asset, y.Asset) })
	return out
}

// ledger makes what was used before so much that with this request it is what the
// model wants: one movement for each limit that wants more than there is, those of
// the shortest windows first.
func (b *builder) ledger() {
	b.in.Ledger = policy.MemoryLedger{}
	uses := slices.Clone(b.limits)
	slices.SortStableFunc(uses, func(x, y *limitUse) int { return compareWindows(&x.limit.Window, &y.limit.Window) })
	for n, u := range uses {
		low, high := b.between(u.used)
		if low.IsZero() || !b.holds(u.valid) {
			continue
		}
		unit := uint8(0)
		switch u.limit.Measure {
		case policy.MeasureAmount:
			unit = b.decimals(u.limit.Asset)
		case policy.MeasureMoney:
			unit = 6
		}
		want := plainest(low, high, unit)
		ago := uint64(60_000)
		for _, s := range uses[:n] {
			if s.limit.Window.Kind == policy.Rolling && s.limit.Window.Length+2*policy.Margin < u.limit.Window.Length {
				ago = s.limit.Window.Length + 2*policy.Margin
			}
		}
		b.use(u, want, ago)
	}
}

func compareWindows(a, b *policy.Window) int {
	length := func(w *policy.Window) uint64 {
		if w.Kind == policy.Rolling {
			return w.Length
		}
		return []uint64{0, 1, 7, 31, 366}[min(int(w.Unit), 4)] * 86400_000
	}
	x, y := length(a), length(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// use adds what is missing of a limit.
func (b *builder) use(u *limitUse, want chain.Amount, ago uint64) {
	in := b.in.Policy()
	moved, err := b.doc.Movement(&in)
	if err != nil {
		return
	}
	have := policy.MemoryLedger(slices.Clone(b.in.Ledger))
	have = append(have, policy.LedgerEntry{Request: [32]byte{0xff}, Wallet: b.in.Request.Wallet, Time: b.in.Now, Movement: moved})
	q := policy.Query{Measure: u.limit.Measure, Asset: u.limit.Asset, Currency: b.doc.Currency}
	if u.limit.Window.Kind == policy.Rolling && b.in.Now > u.limit.Window.Length {
		q.Since = b.in.Now - u.limit.Window.Length
	}
	used, err := have.Used(&q)
	if err != nil || !used.Lt(&want) {
		return
	}
	var more chain.Amount
	more.Sub(&want, &used)
	past := &policy.Movement{Initiator: moved.Initiator, Chain: moved.Chain, Currency: moved.Currency}
	move := policy.Move{Asset: u.limit.Asset, To: b.sender, Amount: more}
	if len(moved.Moves) > 0 {
		move.To = moved.Moves[0].To
		if move.Asset == "" {
			move.Asset = moved.Moves[0].Asset
		}
	}
	copies := uint64(1)
	switch u.limit.Measure {
	case policy.MeasureMoney:
		move.Money = more
	case policy.MeasureCount:
		copies = min(more.Uint64(), 1000)
		move.Amount.SetOne()
	}
	past.Moves = []policy.Move{move}
	for n := range copies {
		id := [32]byte{1, byte(len(b.in.Ledger)), byte(len(b.in.Ledger) >> 8), byte(n), byte(n >> 8)}
		b.in.Ledger = append(b.in.Ledger, policy.LedgerEntry{Request: id, Wallet: b.in.Request.Wallet, Time: b.in.Now - min(ago, b.in.Now), Movement: past})
	}
}
