package source

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"crypto/sha256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
)

func checkAccount(s string) error { return family.CheckAccount(s) }

// tokenTransfer is how a token is moved.
const tokenTransfer = "transfer(address,uint256)"

// effects reads what a case's transaction does. A token's transfer is a call, too,
// which need not be written.
func (r *caseReader) effects(v *value) *chain.Effects {
	f := &chain.Effects{Chain: r.chain, Sender: r.sender}
	if list, ok := r.field(v, "transfers"); ok {
		f.Transfers = r.transfers(list)
	}
	if list, ok := r.field(v, "allowances"); ok {
		for _, item := range r.most(list, "a list such as {spender: …, amount: 5 DAI}") {
			f.Approvals = append(f.Approvals, r.allowance(item))
		}
	}
	if list, ok := r.field(v, "calls"); ok {
		for _, item := range r.most(list, "a list such as {to: …, method: \"deposit(uint256)\", args: {amount: 5}}") {
			f.Calls = append(f.Calls, r.callOf(item))
		}
	} else {
		f.Calls = tokenCalls(f)
	}
	if list, ok := r.field(v, "creations"); ok {
		for _, item := range r.most(list, "a list such as {value: 0 ETH, code: \"0x…\"}") {
			item.fields("value", "code")
			f.Creates = append(f.Creates, r.creation(item))
		}
	}
	if m, ok := r.field(v, "message"); ok {
		f.Message = r.message(m)
	}
	if fee, ok := r.field(v, "fee"); ok {
		asset, n := r.amountOf(fee)
		if native, _ := family.Native(r.chain); asset != "" && asset != native {
			fee.fail("fees are paid in %s", r.symbol(native))
		}
		f.MaxFee = n
	}
	if u, ok := r.field(v, "undecoded"); ok {
		f.Undecoded = u.text("why it could not be understood")
	}
	return f
}

// most is items, of which vaults take no more than maxItems.
func (r *caseReader) most(v *value, what string) []*value {
	list := v.items(what)
	if len(list) > maxItems {
		v.fail("%d items, at most %d", len(list), maxItems)
		return nil
	}
	return list
}

func (r *caseReader) amountOf(v *value) (string, chain.Amount) {
	s := v.text("an amount such as 1.5 ETH")
	if !v.isText() {
		return "", chain.Amount{}
	}
	asset, n, err := r.parseAmount(s)
	if err != nil {
		v.fail("%v", err)
	}
	return asset, n
}

func (r *caseReader) transfers(v *value) []chain.Transfer {
	var out []chain.Transfer
	for _, item := range r.most(v, "a list such as {to: known, amount: 1 ETH}") {
		item.fields("from", "to", "amount")
		t := chain.Transfer{From: r.sender, To: r.account(item.get("to"))}
		if from, ok := item.lookup("from"); ok {
			t.From = r.account(from)
		}
		t.Asset, t.Amount = r.amountOf(item.get("amount"))
		out = append(out, t)
	}
	return out
}

func (r *caseReader) allowance(v *value) chain.Approval {
	v.fields("owner", "spender", "amount")
	a := chain.Approval{Owner: r.sender, Spender: r.account(v.get("spender"))}
	if owner, ok := v.lookup("owner"); ok {
		a.Owner = r.account(owner)
	}
	amount := v.get("amount")
	if symbol, ok := strings.CutPrefix(amount.text("an amount such as 5 DAI, or unlimited DAI"), "unlimited "); ok {
		id, known := r.assetID(symbol)
		if !known {
			amount.fail("unknown asset %q%s", symbol, suggestOr(symbol, r.symbols(), ""))
		}
		a.Asset, a.Amount = id, *new(chain.Amount).SetAllOne()
		return a
	}
	a.Asset, a.Amount = r.amountOf(amount)
	return a
}

// tokenCalls are the calls that move the tokens of the transfers.
func tokenCalls(f *chain.Effects) []chain.Call {
	var out []chain.Call
	for i := range f.Transfers {
		t := &f.Transfers[i]
		id, namespace, address, err := chain.ParseAsset(t.Asset)
		if err != nil || namespace != "erc20" || t.From != f.Sender {
			continue
		}
		out = append(out, chain.Call{From: f.Sender, To: id + ":" + address, Method: tokenTransfer, Args: []chain.Arg{
			{Path: "to", Type: "address", Kind: chain.ArgAddress, Text: t.To}, {Path: "amount", Type: "uint256", Kind: chain.ArgUint, Uint: t.Amount},
		}})
	}
	return out
}

func (r *caseReader) callOf(v *value) chain.Call {
	v.fields("from", "to", "method", "value", "depth", "args")
	c := chain.Call{From: r.sender, To: r.account(v.get("to")), Method: canonicalMethod(v.get("method").text("a method such as deposit(uint256)"))}
	if from, ok := v.lookup("from"); ok {
		c.From = r.account(from)
	}
	if value, ok := v.lookup("value"); ok {
		_, c.Value = r.amountOf(value)
	}
	if depth, ok := v.lookup("depth"); ok {
		c.Depth = uint8(depth.integer(0, 32))
	}
	if args, ok := v.lookup("args"); ok {
		c.Args = r.args(args)
	}
	return c
}

func (r *caseReader) creation(v *value) (c chain.Creation) {
	_, c.Value = r.amountOf(v.get("value"))
	if code, ok := v.lookup("code"); ok {
		s := code.text("the hash of the code, 0x and 64 hex digits")
		b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
		if err != nil || len(b) != 32 || !strings.HasPrefix(s, "0x") {
			code.fail("%q is no hash of a creation's code, want 0x and 64 hex digits", s)
			return c
		}
		c.CodeHash = [32]byte(b)
	}
	return c
}

func (r *caseReader) message(v *value) *chain.Message {
	v.fields("type", "name", "version", "contract", "fields")
	m := &chain.Message{Type: v.get("type").text("the type, such as Permit")}
	for name, to := range map[string]*string{"name": &m.Name, "version": &m.Version} {
		if f, ok := v.lookup(name); ok {
			*to = f.text("text, in quotes")
		}
	}
	if f, ok := v.lookup("contract"); ok {
		m.Contract = r.account(f)
	}
	if f, ok := v.lookup("fields"); ok {
		m.Fields = r.args(f)
	}
	return m
}

// args reads decoded values by what they look like: a whole number, an amount of
// an asset, true or false, an account, other text.
func (r *caseReader) args(v *value) []chain.Arg {
	var out []chain.Arg
	v.each("a mapping of names and values", func(name string, key, field *value) {
		a := chain.Arg{Path: name, Kind: chain.ArgText, Type: "string"}
		switch field.kind() {
		case "a number":
			a.Kind, a.Type = chain.ArgUint, "uint256"
			if err := a.Uint.SetFromDecimal(field.node.Value); err != nil {
				field.fail("%s, want a whole number of 0 to 2^256-1", field.node.Value)
			}
		case "true or false":
			a.Kind, a.Type, a.Uint = chain.ArgFlag, "bool", number(field.boolean())
		case "text":
			r.textArg(&a, field)
		default:
			field.fail("this is %s, want a number, an amount, true or false, an account or text", field.kind())
		}
		out = append(out, a)
	})
	return out
}

func (r *caseReader) textArg(a *chain.Arg, v *value) {
	s := v.node.Value
	if _, n, err := r.parseAmount(s); err == nil {
		a.Kind, a.Type, a.Uint = chain.ArgUint, "uint256", n
		return
	}
	isLabel := slices.ContainsFunc(r.doc.AddressBook, func(e policy.Entry) bool { return e.Label == s })
	if isLabel || strings.HasPrefix(s, "0x") && len(s) == 42 || strings.HasPrefix(s, r.chain+":") {
		a.Kind, a.Type, a.Text = chain.ArgAddress, "address", r.account(v)
		return
	}
	a.Text = s
}

// past reads what was signed before: it counts for the limits.
func (r *caseReader) past(v *value, in *policy.Input, now time.Time) policy.Ledger {
	var out policy.MemoryLedger
	for i, item := range r.most(v, "a list such as {at: -2h, transfers: [{to: known, amount: 1 ETH}]}") {
		item.fields("at", "by", "wallet", "transfers", "calls")
		e := policy.LedgerEntry{Request: sha256.Sum256(fmt.Appendf(nil, "past %d", i)), Wallet: in.Request.Wallet, Time: uint64(item.get("at").around(now).UnixMilli())}
		if w, ok := item.lookup("wallet"); ok {
			e.Wallet = r.walletOf(w)
		}
		before := *in
		verified := *in.Verified
		if by, ok := item.lookup("by"); ok {
			verified.Initiator = r.person(by, 0, "principal")
		}
		before.Verified = &verified
		before.Effects = &chain.Effects{Chain: r.chain, Sender: r.sender}
		if t, ok := item.lookup("transfers"); ok {
			before.Effects.Transfers = r.transfers(t)
		}
		m, err := r.doc.Movement(&before)
		if err != nil {
			item.fail("%v", err)
			continue
		}
		e.Movement = m
		out = append(out, e)
	}
	return out
}
