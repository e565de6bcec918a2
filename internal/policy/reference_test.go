package policy

import (
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

// This is the meaning of conditions a second time, written plainly from
// docs/spec/policy.md: numbers without bound, no caches, no compiled form. The
// tests compare it with the evaluator.

// value is what an expression comes to: waiting or failed, or one of the others.
type value struct {
	state Truth // True: there is a value
	b     bool
	s     string
	n     *big.Int
	asset string
}

var (
	waits = value{state: Waiting}
	fails = value{state: Failed}
)

func boolean(b bool) value   { return value{state: True, b: b} }
func textual(s string) value { return value{state: True, s: s} }

// numeric is a number that must fit in 256 bits.
func numeric(n *big.Int, asset string) value {
	if n.Sign() < 0 || n.BitLen() > 256 {
		return fails
	}
	return value{state: True, n: n, asset: asset}
}

type reference struct {
	d     *Document
	ro    *identity.Roster
	in    Input
	items []func(field string) value // of the variables, the innermost last
	args  [][]chain.Arg
}

func bigOf(a chain.Amount) *big.Int { return a.ToBig() }

func (r *reference) eval(e *Expr) value {
	f, v := r.in.Effects, r.in.Verified
	switch e.Op {
	case OpAnd, OpOr:
		return r.junction(e)
	case OpNot:
		a := r.eval(&e.Args[0])
		a.b = !a.b
		return a
	case OpIf:
		c := r.eval(&e.Args[0])
		if c.state != True {
			return c
		}
		if c.b {
			return r.eval(&e.Args[1])
		}
		return r.eval(&e.Args[2])
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe, OpAdd, OpSub, OpMul, OpDiv, OpMod:
		return r.binary(e)
	case OpIn, OpInGroup, OpHasRole, OpLabelled:
		a := r.eval(&e.Args[0])
		if a.state != True {
			return a
		}
		switch e.Op {
		case OpIn:
			return boolean(slices.Contains(e.Set, a.s))
		case OpInGroup:
			return boolean(slices.Contains(r.ro.Members(e.Text), a.s))
		case OpHasRole:
			p, ok := r.ro.Principal(a.s)
			return boolean(ok && slices.Contains(p.Roles, e.Text))
		}
		for _, entry := range r.d.AddressBook {
			if entry.Label == e.Text && slices.Contains(entry.Addresses, a.s) {
				return boolean(true)
			}
		}
		return boolean(false)
	case OpBool:
		return boolean(!e.Num.IsZero())
	case OpUint, OpAmount, OpMoney:
		return numeric(bigOf(e.Num), e.Asset)
	case OpText:
		return textual(e.Text)
	case OpChain:
		return textual(f.Chain)
	case OpWallet:
		return textual(hex.EncodeToString(r.in.Request.Wallet[:]))
	case OpSender:
		return textual(f.Sender)
	case OpInitiator:
		return textual(v.Initiator)
	case OpOnlyTransfers:
		return boolean(r.onlyTransfers())
	case OpFee:
		return numeric(bigOf(r.in.Request.MaxFee), f.Chain+"/slip44:60")
	case OpTotal, OpReceived:
		sum := new(big.Int)
		for _, t := range f.Transfers {
			if t.Asset == e.Asset && (e.Op == OpTotal && t.From == f.Sender || e.Op == OpReceived && t.To == f.Sender) {
				sum.Add(sum, bigOf(t.Amount))
			}
		}
		return numeric(sum, e.Asset)
	case OpValue:
		return r.value()
	case OpAll, OpExists, OpExistsOne, OpCount:
		return r.quantifier(e)
	case OpField:
		return r.items[len(r.items)-1-int(e.Depth)](e.Text)
	case OpItem:
		return r.items[len(r.items)-1-int(e.Depth)]("")
	case OpArgUint, OpArgAddress, OpArgText, OpArgFlag:
		return argument(e, r.args[len(r.args)-1-int(e.Depth)])
	case OpRiskOutcome, OpRiskScore:
		for _, x := range v.Risk {
			if x.Engine == e.Text && e.Op == OpRiskOutcome {
				return textual(map[request.Outcome]string{request.Pass: "pass", request.Hold: "hold", request.Deny: "deny"}[x.Outcome])
			} else if x.Engine == e.Text {
				return numeric(big.NewInt(int64(x.Score)), "")
			}
		}
		return waits
	case OpBefore:
		return boolean(big.NewInt(int64(r.in.Now/1000)).Cmp(bigOf(e.Num)) < 0)
	case OpAfter:
		return boolean(big.NewInt(int64(r.in.Now/1000)).Cmp(bigOf(e.Num)) >= 0)
	case OpDuring:
		return r.during(e)
	case OpWithin, OpUsed:
		return r.limit(e)
	case OpMessagePresent:
		return boolean(f.Message != nil)
	}
	return r.message(e)
}

func (r *reference) message(e *Expr) value {
	m := r.in.Effects.Message
	if m == nil {
		return fails
	}
	switch e.Op {
	case OpMessageType:
		return textual(m.Type)
	case OpMessageName:
		return textual(m.Name)
	case OpMessageVersion:
		return textual(m.Version)
	case OpMessageContract:
		return textual(m.Contract)
	}
	return argument(e, m.Fields)
}

func argument(e *Expr, args []chain.Arg) value {
	for _, a := range args {
		if a.Path != e.Text {
			continue
		}
		switch {
		case a.Kind == chain.ArgUint && (e.Op == OpArgUint || e.Op == OpMessageUint):
			return numeric(bigOf(a.Uint), "")
		case a.Kind == chain.ArgAddress && (e.Op == OpArgAddress || e.Op == OpMessageAddress),
			(a.Kind == chain.ArgText || a.Kind == chain.ArgBytes) && (e.Op == OpArgText || e.Op == OpMessageText):
			return textual(a.Text)
		case a.Kind == chain.ArgFlag && (e.Op == OpArgFlag || e.Op == OpMessageFlag):
			return boolean(!a.Uint.IsZero())
		}
		break
	}
	return fails
}

// junction: && and ||, as in CEL, with waiting before error.
func (r *reference) junction(e *Expr) value {
	waiting, failed := false, false
	for i := range e.Args {
		a := r.eval(&e.Args[i])
		switch {
		case a.state == True && a.b == (e.Op == OpOr):
			return boolean(a.b)
		case a.state == Waiting:
			waiting = true
		case a.state == Failed:
			failed = true
		}
	}
	switch {
	case waiting:
		return waits
	case failed:
		return fails
	}
	return boolean(e.Op == OpAnd)
}

func (r *reference) binary(e *Expr) value {
	a, b := r.eval(&e.Args[0]), r.eval(&e.Args[1])
	switch {
	case a.state == Failed || b.state == Failed:
		return fails
	case a.state == Waiting || b.state == Waiting:
		return waits
	case a.n == nil:
		return boolean((a.b == b.b && a.s == b.s) == (e.Op == OpEq))
	}
	if a.asset != "" && b.asset != "" && a.asset != b.asset {
		return fails
	}
	order := a.n.Cmp(b.n)
	switch e.Op {
	case OpEq:
		return boolean(order == 0)
	case OpNe:
		return boolean(order != 0)
	case OpLt:
		return boolean(order < 0)
	case OpLe:
		return boolean(order <= 0)
	case OpGt:
		return boolean(order > 0)
	case OpGe:
		return boolean(order >= 0)
	case OpAdd:
		return numeric(new(big.Int).Add(a.n, b.n), a.asset)
	case OpSub:
		return numeric(new(big.Int).Sub(a.n, b.n), a.asset)
	case OpMul:
		return numeric(new(big.Int).Mul(a.n, b.n), a.asset+b.asset)
	}
	if b.n.Sign() == 0 {
		return fails
	}
	if e.Op == OpMod {
		return numeric(new(big.Int).Mod(a.n, b.n), a.asset)
	}
	asset := a.asset
	if b.asset != "" {
		asset = "" // how many times
	}
	return numeric(new(big.Int).Div(a.n, b.n), asset)
}

func (r *reference) onlyTransfers() bool {
	f := r.in.Effects
	ok := len(f.Transfers) > 0 && len(f.Approvals) == 0 && len(f.Creates) == 0 && f.Message == nil
	moved := make(map[string]bool)
	for _, t := range f.Transfers {
		ok = ok && t.From == f.Sender
		moved[t.Asset] = true
	}
	for _, c := range f.Calls {
		token := f.Chain + "/erc20:" + strings.TrimPrefix(c.To, f.Chain+":")
		transfer := c.Method == "transfer(address,uint256)" || c.Method == "transferFrom(address,address,uint256)"
		ok = ok && transfer && moved[token]
	}
	return ok
}

// quantifier evaluates the condition for every item, and then counts.
func (r *reference) quantifier(e *Expr) value {
	var fields []func(string) value
	var args [][]chain.Arg
	f := r.in.Effects
	switch e.Args[0].Op {
	case OpTransfers:
		for _, t := range f.Transfers {
			fields = append(fields, func(n string) value {
				switch n {
				case "amount":
					return numeric(bigOf(t.Amount), t.Asset)
				case "value":
					return r.worth(t.Asset, bigOf(t.Amount))
				}
				return textual(map[string]string{"from": t.From, "to": t.To, "asset": t.Asset}[n])
			})
		}
	case OpAllowances:
		for _, a := range f.Approvals {
			fields = append(fields, func(n string) value {
				switch n {
				case "amount":
					return numeric(bigOf(a.Amount), a.Asset)
				case "unlimited":
					return boolean(a.Amount.BitLen() > 96 || bigOf(a.Amount).Cmp(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 96), big.NewInt(1))) == 0)
				}
				return textual(map[string]string{"owner": a.Owner, "spender": a.Spender, "asset": a.Asset}[n])
			})
		}
	case OpCalls:
		for _, c := range f.Calls {
			args = append(args, c.Args)
			fields = append(fields, func(n string) value {
				switch n {
				case "value":
					return numeric(bigOf(c.Value), f.Chain+"/slip44:60")
				case "depth":
					return numeric(big.NewInt(int64(c.Depth)), "")
				}
				return textual(map[string]string{"from": c.From, "to": c.To, "method": c.Method}[n])
			})
		}
	case OpCreations:
		for _, c := range f.Creates {
			fields = append(fields, func(n string) value {
				if n == "code" {
					return textual("0x" + hex.EncodeToString(c.CodeHash[:]))
				}
				return numeric(bigOf(c.Value), f.Chain+"/slip44:60")
			})
		}
	case OpApprovers:
		for _, who := range r.in.Verified.Approvers {
			fields = append(fields, func(string) value { return textual(who) })
		}
	}
	if len(e.Args) == 1 {
		return numeric(big.NewInt(int64(len(fields))), "")
	}
	yes, no, waiting, failed := 0, 0, 0, 0
	for i, item := range fields {
		inner := *r
		inner.items = append(slices.Clone(r.items), item)
		inner.args = append(slices.Clone(r.args), nil)
		if args != nil {
			inner.args[len(inner.args)-1] = args[i]
		}
		switch a := inner.eval(&e.Args[1]); {
		case a.state == Waiting:
			waiting++
		case a.state == Failed:
			failed++
		case a.b:
			yes++
		default:
			no++
		}
	}
	switch {
	case e.Op == OpAll && no > 0:
		return boolean(false)
	case e.Op == OpExists && yes > 0:
		return boolean(true)
	case (e.Op == OpAll || e.Op == OpExists) && waiting > 0:
		return waits
	case failed > 0:
		return fails
	case waiting > 0:
		return waits
	}
	switch e.Op {
	case OpAll:
		return boolean(true)
	case OpExists:
		return boolean(false)
	case OpExistsOne:
		return boolean(yes == 1)
	}
	return numeric(big.NewInt(int64(yes)), "")
}

// worth: every choice of Agree fresh prices that lie within the tolerance of their
// lowest would do; the highest price of any of them counts.
func (r *reference) worth(asset string, amount *big.Int) value {
	if amount.Sign() == 0 {
		return numeric(new(big.Int), "")
	}
	var fresh []*big.Int
	all := 0
	for _, q := range r.in.Verified.Prices {
		for _, a := range q.Assets {
			if a.Asset != asset || q.Currency != r.d.Currency || !slices.Contains(r.d.Prices.Sources, q.Source) {
				continue
			}
			all++
			if int64(r.in.Now)-int64(q.Time) <= int64(r.d.Prices.MaxAge) {
				fresh = append(fresh, bigOf(a.Price))
			}
		}
	}
	known := slices.IndexFunc(r.d.Assets, func(a Asset) bool { return a.ID == asset })
	need := int(r.d.Prices.Agree)
	switch {
	case known < 0, len(fresh) < need && all >= need:
		return fails
	case len(fresh) < need:
		return waits
	}
	var best *big.Int
	for _, high := range fresh {
		n := 0
		for _, p := range fresh {
			// p ≤ high and high − p ≤ ⌊p·tolerance/10000⌋
			most := new(big.Int).Div(new(big.Int).Mul(p, big.NewInt(int64(r.d.Prices.Tolerance))), big.NewInt(10000))
			if apart := new(big.Int).Sub(high, p); apart.Sign() >= 0 && apart.Cmp(most) <= 0 {
				n++
			}
		}
		if n >= need && (best == nil || high.Cmp(best) > 0) {
			best = high
		}
	}
	if best == nil {
		return fails
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(r.d.Assets[known].Decimals)+9), nil)
	money, rest := new(big.Int).DivMod(new(big.Int).Mul(amount, best), unit, new(big.Int))
	if rest.Sign() > 0 {
		money.Add(money, big.NewInt(1))
	}
	return numeric(money, "")
}

func (r *reference) value() value {
	sum, failed, waiting := new(big.Int), false, false
	for _, t := range r.in.Effects.Transfers {
		if t.From != r.in.Effects.Sender {
			continue
		}
		w := r.worth(t.Asset, bigOf(t.Amount))
		failed, waiting = failed || w.state == Failed, waiting || w.state == Waiting
		if w.state == True {
			sum.Add(sum, w.n)
		}
	}
	switch {
	case failed || sum.BitLen() > 256:
		return fails
	case waiting:
		return waits
	}
	return numeric(sum, "")
}

// zone makes Go's own zone of one of the document's.
func (r *reference) local(name string) (time.Time, bool) {
	i := slices.IndexFunc(r.d.Zones, func(z Zone) bool { return z.Name == name })
	z, now := r.d.Zones[i], int64(r.in.Now/1000)
	if now >= z.Until || now < z.Steps[0].From {
		return time.Time{}, false
	}
	offset := 0
	for _, s := range z.Steps {
		if s.From <= now {
			offset = int(s.Offset)
		}
	}
	return time.Unix(now, 0).In(time.FixedZone("", offset)), true
}

func (r *reference) during(e *Expr) value {
	local, ok := r.local(e.Text)
	if !ok {
		return fails
	}
	n := e.Num.Uint64()
	days, from, to := n>>32, int(n>>16&0xffff), int(n&0xffff)
	if from >= to {
		to += 1440
	}
	// Look whether a span that began today or yesterday holds this minute.
	for _, back := range []int{0, 1} {
		day := (int(local.Weekday()) + 6 - back + 7) % 7
		minute := local.Hour()*60 + local.Minute() + 1440*back
		if days>>day&1 == 1 && from <= minute && minute < to {
			return boolean(true)
		}
	}
	return boolean(false)
}
