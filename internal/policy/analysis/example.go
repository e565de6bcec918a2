package analysis

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

// Input is what a vault would decide about: an example.
type Input struct {
	Request  *request.Request
	Effects  *chain.Effects
	Verified *identity.Verified
	Now      uint64 // unix ms
	Ledger   policy.MemoryLedger
}

// Policy is the input as policy takes it.
func (in *Input) Policy() policy.Input {
	return policy.Input{Request: in.Request, Effects: in.Effects, Verified: in.Verified, Now: in.Now, Ledger: in.Ledger}
}

// maxCopies bounds the transfers that an example repeats to reach an amount.
const maxCopies = 60

// builder makes an input of a model.
type builder struct {
	*model
	doc    *policy.Document // whose assets, prices and zones count
	in     *Input
	chain  string
	sender string
	fresh  int
	values map[*text]string
	highs  []chain.Amount // by transfer: the most that the model permits
}

// build makes an input of the model that the solver found. It is an attempt: what
// the abstraction leaves open may not fit together.
func (m *model) build(doc *policy.Document, approvers []string) *Input {
	b := &builder{model: m, doc: doc, values: make(map[*text]string)}
	b.in = &Input{
		Request:  &request.Request{Intent: []byte{0}, Salt: [16]byte{1}},
		Effects:  new(chain.Effects),
		Verified: &identity.Verified{Approvers: approvers},
	}
	b.chain = b.value(m.chain)
	b.sender = b.value(m.sender)
	q, f := b.in.Request, b.in.Effects
	q.Chain, q.Sender, f.Chain, f.Sender = b.chain, b.sender, b.chain, b.sender
	q.Initiator = b.value(m.initiator)
	b.in.Verified.Initiator = q.Initiator
	if id, err := hex.DecodeString(b.value(m.wallet)); err == nil && len(id) == 32 {
		q.Wallet = [32]byte(id)
	}
	b.time()
	b.items()
	b.message()
	b.fee()
	b.risk()
	b.prices()
	b.ledger()
	return b.in
}

// value is a text of the class that the model chose.
func (b *builder) value(t *text) string {
	if v, ok := b.values[t]; ok {
		return v
	}
	v := b.choose(t)
	b.values[t] = v
	return v
}

func (b *builder) choose(t *text) string {
	isSender, asked := b.flags[t.name+" is the sender"]
	if asked && b.holds(isSender) {
		return b.sender
	}
	for i := range t.classes {
		c := &t.classes[i]
		if !b.holds(c.is) {
			continue
		}
		for _, v := range c.named {
			if !asked || v != b.sender {
				return v
			}
		}
		if c.empty || len(c.named) > 0 {
			return ""
		}
		return b.stranger(t, c.chain)
	}
	return b.stranger(t, b.chain)
}

// stranger is a text that no condition mentions.
func (b *builder) stranger(t *text, on string) string {
	const unmentioned = "eip155:1000000007"
	if on == elsewhere || on == "" {
		on = unmentioned
	}
	b.fresh++
	switch {
	case t == b.model.chain:
		return unmentioned
	case t == b.wallet:
		return strings.Repeat("ee", 32)
	case strings.HasSuffix(t.name, ".code"):
		return "0x" + strings.Repeat("e", 60) + fmt.Sprintf("%04x", b.fresh)
	case t.domain == plain:
		return fmt.Sprintf("other-%d", b.fresh)
	case strings.HasSuffix(t.name, ".asset") && b.unasked(t, on) != "":
		return b.unasked(t, on)
	case strings.HasSuffix(t.name, ".asset") && strings.HasPrefix(on, "solana:"):
		return on + "/token:" + base58(b.fresh)
	case strings.HasSuffix(t.name, ".asset"):
		return fmt.Sprintf("%s/erc20:0x%040d", on, b.fresh)
	case strings.HasPrefix(on, "solana:"):
		return on + ":" + base58(b.fresh)
	}
	return fmt.Sprintf("%s:0x%040d", on, b.fresh)
}

// unasked is an asset of the document on a chain that no condition asks about.
func (b *builder) unasked(t *text, on string) string {
	for i := range b.doc.Assets {
		id := b.doc.Assets[i].ID
		if chainOf(id) == on && !slices.ContainsFunc(t.sets, func(s *set) bool { return slices.Contains(s.list, id) }) {
			return id
		}
	}
	return ""
}

// base58 is an account of 32 bytes that no condition mentions.
func base58(n int) string {
	const digits = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	return strings.Repeat("1", 31) + digits[n%len(digits):][:1]
}

// number is a plain number that the model permits.
func (b *builder) plainNumber(name string, unit uint8) chain.Amount {
	low, high := chain.Amount{}, largest
	if n, ok := b.numbers[name]; ok {
		low, high = b.between(n)
	}
	return plainest(low, high, unit)
}

// plainest is a number from low to high with few digits: whole units if there are
// any.
func plainest(low, high chain.Amount, unit uint8) chain.Amount {
	if low.IsZero() {
		low.SetOne()
		if high.Lt(&low) {
			return high
		}
	}
	for p := max(int(unit), len(low.Dec())-2); p >= 0; p-- {
		var step, n chain.Amount
		step.Exp(uint256.NewInt(10), uint256.NewInt(uint64(p)))
		n.Div(&low, &step)
		if over := new(chain.Amount).Mod(&low, &step); !over.IsZero() {
			n.AddUint64(&n, 1)
		}
		if _, over := n.MulOverflow(&n, &step); !over && !n.Gt(&high) && !n.Lt(&low) {
			return n
		}
	}
	return low
}

func (b *builder) decimals(asset string) uint8 {
	for i := range b.doc.Assets {
		if b.doc.Assets[i].ID == asset {
			return b.doc.Assets[i].Decimals
		}
	}
	return 0
}

// present are the items of a list that the model has, once each where it takes
// several witnesses for one item.
func (b *builder) present(op policy.Op) []*item {
	var out []*item
	seen := make(map[string]bool)
	for _, i := range b.listOf(op).items {
		if !b.holds(i.present) {
			continue
		}
		like := b.likeness(i)
		if seen[like] && !b.counted(i) {
			continue
		}
		seen[like] = true
		out = append(out, i)
	}
	return out
}

// counted reports whether the item is one of several that a count needs.
func (b *builder) counted(i *item) bool {
	for _, q := range b.quantQ {
		if k := slices.Index(q.witnesses, i); k > 0 {
			low, _ := b.between(q.most)
			if low.CmpUint64(uint64(k)) > 0 {
				return true
			}
		}
	}
	return false
}

// likeness is everything that the model says of an item.
func (b *builder) likeness(i *item) string {
	var s strings.Builder
	for _, t := range b.textList {
		if rest := twin(t.name, i, &item{}); rest != "" {
			for _, c := range t.classes {
				fmt.Fprint(&s, b.holds(c.is))
			}
		}
	}
	for _, n := range b.numberList {
		if rest := twin(n.name, i, &item{}); rest != "" {
			for _, x := range n.bounds {
				fmt.Fprint(&s, b.holds(x.is))
			}
		}
	}
	for _, name := range b.flagList {
		if rest := twin(name, i, &item{}); rest != "" {
			fmt.Fprint(&s, b.holds(b.flags[name]))
		}
	}
	return s.String()
}

func (b *builder) items() {
	f := b.in.Effects
	b.transfers()
	for _, i := range b.present(policy.OpAllowances) {
		asset := b.value(b.itemText(i, "asset"))
		owner := b.sender
		if t, ok := b.texts[i.name+".owner"]; ok {
			owner = b.value(t)
		}
		f.Approvals = append(f.Approvals, chain.Approval{
			Owner: owner, Spender: b.value(b.itemText(i, "spender")), Asset: asset, Amount: b.plainNumber(i.name+".amount", b.decimals(asset)),
		})
	}
	for _, i := range b.present(policy.OpCalls) {
		f.Calls = append(f.Calls, b.call(i))
	}
	for _, i := range b.present(policy.OpCreations) {
		c := chain.Creation{CodeHash: [32]byte{1}}
		if t, ok := b.texts[i.name+".code"]; ok {
			if h, err := hex.DecodeString(strings.TrimPrefix(b.value(t), "0x")); err == nil && len(h) == 32 {
				c.CodeHash = [32]byte(h)
			}
		}
		if _, ok := b.numbers[i.name+".value"]; ok {
			c.Value = b.plainNumber(i.name+".value", 0)
		}
		f.Creates = append(f.Creates, c)
	}
	for _, i := range b.present(policy.OpApprovers) {
		v := &b.in.Verified.Approvers
		*v = sortedUnion(*v, []string{b.value(b.itemText(i, ""))})
	}
}

func (b *builder) call(i *item) chain.Call {
	c := chain.Call{From: b.sender, To: b.value(b.itemText(i, "to")), Method: "other()"}
	if t, ok := b.texts[i.name+".from"]; ok {
		c.From = b.value(t)
	}
	if t, ok := b.texts[i.name+".method"]; ok {
		c.Method = b.value(t)
	}
	if _, ok := b.numbers[i.name+".value"]; ok {
		c.Value = b.plainNumber(i.name+".value", 0)
	}
	if n, ok := b.numbers[i.name+".depth"]; ok {
		low, _ := b.between(n)
		c.Depth = uint8(low.Uint64())
	}
	c.Args = b.args(i.name+" ", []string{"uint", "address", "text", "flag"})
	return c
}

// args are the arguments that the model has under a name.
func (b *builder) args(prefix string, kinds []string) []chain.Arg {
	var out []chain.Arg
	for _, name := range b.flagList {
		rest, ok := strings.CutPrefix(name, "no has "+prefix)
		if !ok || b.holds(b.flags[name]) {
			continue
		}
		kind, path, ok := strings.Cut(rest, " ")
		if !ok || !slices.Contains(kinds, kind) || slices.ContainsFunc(out, func(a chain.Arg) bool { return a.Path == path }) {
			continue
		}
		a := chain.Arg{Path: path, Type: kind}
		full := prefix + rest
		switch kind {
		case "uint":
			a.Kind, a.Type, a.Uint = chain.ArgUint, "uint256", b.plainNumber(full, 0)
		case "address":
			a.Kind, a.Text = chain.ArgAddress, b.value(b.text(full, plain))
		case "text":
			a.Kind, a.Type, a.Text = chain.ArgText, "string", b.value(b.text(full, plain))
		case "flag":
			a.Kind, a.Type = chain.ArgFlag, "bool"
			if b.holds(b.flags[full]) {
				a.Uint.SetOne()
			}
		}
		out = append(out, a)
	}
	return out
}

func (b *builder) message() {
	l, ok := b.flags["message"]
	if !ok || !b.holds(l) {
		return
	}
	get := func(op policy.Op) string {
		if t, ok := b.texts[op.String()]; ok {
			return b.value(t)
		}
		return ""
	}
	b.in.Effects.Message = &chain.Message{
		Type: get(policy.OpMessageType), Name: get(policy.OpMessageName), Version: get(policy.OpMessageVersion), Contract: get(policy.OpMessageContract),
		Fields: b.args("message.", []string{"uint", "address", "text", "flag"}),
	}
}

// fee is in the chain's native asset.
func (b *builder) fee() {
	if n, ok := b.numbers["fee"]; ok {
		low, high := b.between(n)
		native, _ := family.Native(b.chain)
		unit := b.decimals(native)
		b.in.Request.MaxFee = plainest(low, high, max(unit, 3)-3)
	}
	b.in.Effects.MaxFee = b.in.Request.MaxFee
}

func (b *builder) risk() {
	for _, name := range b.flagList {
		engine, ok := strings.CutPrefix(name, "no verdict of ")
		if !ok || b.holds(b.flags[name]) {
			continue
		}
		r := identity.RiskResult{Engine: engine, Outcome: request.Pass}
		if t, ok := b.texts["risk "+engine]; ok {
			r.Outcome = map[string]request.Outcome{"pass": request.Pass, "hold": request.Hold, "deny": request.Deny}[b.value(t)]
		}
		if n, ok := b.numbers["score "+engine]; ok {
			low, _ := b.between(n)
			r.Score = uint16(low.Uint64())
		}
		b.in.Verified.Risk = append(b.in.Verified.Risk, r)
	}
	slices.SortFunc(b.in.Verified.Risk, func(x, y identity.RiskResult) int { return strings.Compare(x.Engine, y.Engine) })
}
