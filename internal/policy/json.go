package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/request"
)

// reader turns the JSON form into a Document.
type reader struct {
	doc   *Document
	names map[string]bool // of guards and rules
}

// ParseJSON reads the form that JSON writes (docs/spec/policy.md). Errors name line
// and field, all of them at once. Whether the document fits a roster, Check says.
func ParseJSON(data []byte) (*Document, error) {
	v, err := form.Parse(data)
	if err != nil {
		return nil, err
	}
	rd := &reader{doc: new(Document), names: map[string]bool{undecodedGuard: true, effectsGuard: true}}
	v.Fields("assets", "addressBook", "guards", "rules")
	for _, a := range v.Get("assets").Items("a list of assets") {
		rd.asset(a)
	}
	if book, ok := v.Lookup("addressBook"); ok {
		book.Each(`an object of labels and their addresses, such as {"known": ["eip155:1:0x…"]}`, rd.label)
	}
	rd.doc.Sort() // conditions look assets and labels up
	if guards, ok := v.Lookup("guards"); ok {
		for _, g := range guards.Items("a list of guards") {
			g.Fields("name", "when")
			rd.doc.Guards = append(rd.doc.Guards, Guard{rd.name(g.Get("name")), rd.condition(g.Get("when"), 1)})
		}
	}
	for _, r := range v.Get("rules").Items("a list of rules") {
		r.Fields("name", "when", "then")
		rd.doc.Rules = append(rd.doc.Rules, Rule{rd.name(r.Get("name")), rd.condition(r.Get("when"), 1), verdict(r.Get("then"))})
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	rd.doc.Sort()
	if err := rd.doc.checkForm(); err != nil {
		return nil, err
	}
	return rd.doc, nil
}

func (rd *reader) name(v *form.Value) string {
	s := v.Name("a name")
	if rd.names[s] && v.IsText() {
		v.Fail("the name %q is taken by another guard or rule, or built in", s)
	}
	rd.names[s] = true
	return s
}

func (rd *reader) asset(v *form.Value) {
	v.Fields("symbol", "id", "decimals")
	symbol, id, decimals := v.Get("symbol"), v.Get("id"), v.Get("decimals")
	a := Asset{symbol.Text("a symbol such as ETH"), normalAsset(id.Text("a CAIP-19 asset")), uint8(decimals.Int(0, maxDecimals))}
	if err := checkSymbol(a.Symbol); err != nil && symbol.IsText() {
		symbol.Fail("%v", err)
	}
	if err := checkAsset(a.ID); err != nil && id.IsText() {
		id.Fail("%v", err)
	}
	for _, b := range rd.doc.Assets {
		if strings.EqualFold(a.Symbol, b.Symbol) && a.Symbol != "" {
			symbol.Fail("there is an asset with the symbol %s already", b.Symbol)
		}
		if a.ID == b.ID && a.ID != "" {
			id.Fail("this is the asset %s already", b.Symbol)
		}
	}
	rd.doc.Assets = append(rd.doc.Assets, a)
}

// normalAccount gives an account on an EVM chain that is written in lower case its
// checksum, the spelling that the codec uses. A wrong checksum stays, to be told.
func normalAccount(s string) string {
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.HasPrefix(s, evm.Namespace+":") {
		if a, err := evm.ParseAddress(s[i+1:]); err == nil {
			return s[:i+1] + a.String()
		}
	}
	return s
}

func normalAsset(s string) string {
	const token = "/erc20:"
	if id, address, ok := strings.Cut(s, token); ok {
		return id + token + strings.TrimPrefix(normalAccount(id+":"+address), id+":")
	}
	return s
}

func (rd *reader) label(name string, v *form.Value) {
	e := Entry{Label: name}
	for _, item := range v.Items("a list of CAIP-10 accounts") {
		a := normalAccount(item.Text("a CAIP-10 account such as eip155:1:0x…"))
		if err := family.CheckAccount(a); err != nil && item.IsText() {
			item.Fail("%v", err)
		}
		if slices.Contains(e.Addresses, a) {
			item.Fail("%s is listed twice", a)
		}
		e.Addresses = append(e.Addresses, a)
	}
	rd.doc.AddressBook = append(rd.doc.AddressBook, e)
}

// condition reads one tree. Its depth is bounded by form's own and by checkForm.
func (rd *reader) condition(v *form.Value, depth int) Condition {
	name, field := v.Only(`the operator, such as {"everyRecipient": ["label:known"]}; combine several with all, any and not`)
	if field.Absent() {
		return Condition{}
	}
	c := Condition{}
	var known []string
	for _, o := range operators {
		known = append(known, o.name)
		if o.name == name {
			c.Op = o.op
		}
	}
	if depth > MaxDepth {
		v.Fail("conditions are nested deeper than %d levels", MaxDepth)
		return c
	}
	switch c.Op.fields() {
	case fieldUnknown:
		field.Fail("unknown operator, want one of %s%s", strings.Join(known, ", "), form.Suggest(name, known))
	case fieldNone:
		if !field.Bool() {
			field.Fail("want true; write {\"not\": {%q: true}} for the opposite", name)
		}
	case fieldSub:
		rd.operands(&c, field, depth)
	case fieldSet:
		rd.set(&c, field)
	case fieldLimits:
		rd.limits(&c, field)
	case fieldRisk:
		risk(&c, field)
	}
	return c
}

func (rd *reader) operands(c *Condition, v *form.Value, depth int) {
	if c.Op == Not {
		c.Sub = []Condition{rd.condition(v, depth+1)}
		return
	}
	for _, item := range v.Items("a list of conditions") {
		c.Sub = append(c.Sub, rd.condition(item, depth+1))
	}
	if len(c.Sub) == 0 {
		v.Fail("want at least one condition")
	}
}

func (rd *reader) set(c *Condition, v *form.Value) {
	for _, item := range v.Items("a list of strings") {
		s := rd.normal(c.Op, item.Text("a string"))
		if err := rd.doc.checkItem(c.Op, s); err != nil && item.IsText() {
			item.Fail("%v", err)
		}
		if slices.Contains(c.Set, s) {
			item.Fail("%s is listed twice", s)
		}
		c.Set = append(c.Set, s)
	}
	if len(c.Set) == 0 {
		v.Fail("want at least one value")
	}
}

// normal turns what people may write into the canonical value.
func (rd *reader) normal(op Op, s string) string {
	switch op {
	case Sender, EveryRecipient, AnyRecipient, EverySpender, AnySpender, EveryContract, AnyContract:
		return normalAccount(s)
	case EveryAsset, AnyAsset:
		if a, ok := rd.symbol(s); ok {
			return a.ID
		}
		return normalAsset(s)
	}
	return s
}

func (rd *reader) symbol(s string) (*Asset, bool) {
	for i := range rd.doc.Assets {
		if strings.EqualFold(rd.doc.Assets[i].Symbol, s) {
			return &rd.doc.Assets[i], true
		}
	}
	return nil, false
}

func (rd *reader) limits(c *Condition, v *form.Value) {
	items := v.Items(`a list of amounts, such as ["2 ETH"]`)
	for _, item := range items {
		s := item.Text("an amount such as 2 ETH")
		if !item.IsText() {
			continue
		}
		asset, a, err := rd.doc.ParseAmount(s)
		if err != nil {
			item.Fail("%v", err)
			continue
		}
		if _, twice := limitOf(c.Limits, asset); twice {
			item.Fail("there is a limit of this asset already")
		}
		c.Limits = append(c.Limits, Limit{asset, a})
	}
	if len(items) == 0 {
		v.Fail("want at least one amount")
	}
}

// ParseAmount reads "2 ETH" with the document's assets.
func (d *Document) ParseAmount(s string) (asset string, a chain.Amount, err error) {
	var units []amount.Unit
	for _, known := range d.Assets {
		unit := amount.Unit{Symbol: known.Symbol, Decimals: known.Decimals}
		if strings.EqualFold(strings.TrimLeft(s, "0123456789. "), known.Symbol) {
			a, err := amount.Parse(s, unit)
			return known.ID, a, err
		}
		units = append(units, unit)
	}
	if _, err = amount.Parse(s, units...); err == nil {
		err = fmt.Errorf("amount %q: want a number and one of this policy's assets", s)
	}
	return "", chain.Amount{}, err
}

func risk(c *Condition, v *form.Value) {
	v.Fields("engine", "outcome")
	c.Set = []string{v.Get("engine").Name("the name of a risk engine")}
	outcome := v.Get("outcome")
	for _, item := range outcome.Items(`a list of "pass", "hold" and "deny"`) {
		var o request.Outcome
		switch item.Choice("pass", "hold", "deny") {
		case "pass":
			o = request.Pass
		case "hold":
			o = request.Hold
		case "deny":
			o = request.Deny
		}
		c.Outcomes = append(c.Outcomes, o)
	}
}

func verdict(v *form.Value) Verdict {
	switch {
	case v.Absent():
		return Verdict{}
	case v.IsText():
		if v.Choice("allow", "deny") == "allow" {
			return Verdict{Effect: Allow}
		}
		return Verdict{Effect: Deny}
	case !v.IsObject():
		v.Fail(`want "allow", "deny" or an object such as {"require": {"treasurers": 2}}`)
		return Verdict{}
	}
	v.Fields("require", "initiatorExcluded")
	out := Verdict{Effect: Require}
	require := v.Get("require")
	require.Each(`an object of groups and numbers, such as {"treasurers": 2}`, func(group string, n *form.Value) {
		out.Require = append(out.Require, Requirement{group, uint8(n.Int(1, maxCount))})
	})
	if x, ok := v.Lookup("initiatorExcluded"); ok {
		out.InitiatorExcluded = x.Bool()
	}
	return out
}

// JSON is the document for people; ParseJSON reads it back.
func (d *Document) JSON() []byte {
	assets, guards, rules := []any{}, []any{}, []any{}
	for _, a := range d.Assets {
		assets = append(assets, form.Object{{Name: "symbol", Value: a.Symbol}, {Name: "id", Value: a.ID}, {Name: "decimals", Value: int(a.Decimals)}})
	}
	book := form.Object{}
	for _, e := range d.AddressBook {
		book = append(book, form.Field{Name: e.Label, Value: form.Strings(e.Addresses)})
	}
	for i := range d.Guards {
		guards = append(guards, form.Object{{Name: "name", Value: d.Guards[i].Name}, {Name: "when", Value: d.form(&d.Guards[i].When)}})
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		rules = append(rules, form.Object{{Name: "name", Value: r.Name}, {Name: "when", Value: d.form(&r.When)}, {Name: "then", Value: r.Then.form()}})
	}
	return form.Write(form.Object{{Name: "assets", Value: assets}, {Name: "addressBook", Value: book}, {Name: "guards", Value: guards}, {Name: "rules", Value: rules}})
}

// MarshalJSON writes the form for people.
func (d *Document) MarshalJSON() ([]byte, error) { return d.JSON(), nil }

func (d *Document) form(c *Condition) form.Object {
	var v any
	switch c.Op.fields() {
	case fieldNone:
		v = true
	case fieldSub:
		var list []any
		for i := range c.Sub {
			list = append(list, d.form(&c.Sub[i]))
		}
		v = list
		if c.Op == Not && len(list) == 1 {
			v = list[0]
		}
	case fieldSet:
		var list []string
		for _, s := range c.Set {
			if a, ok := d.asset(s); ok {
				s = a.Symbol
			}
			list = append(list, s)
		}
		v = form.Strings(list)
	case fieldLimits:
		var list []string
		for i := range c.Limits {
			list = append(list, d.Amount(c.Limits[i].Asset, c.Limits[i].Amount))
		}
		v = form.Strings(list)
	case fieldRisk:
		var outcomes []string
		for _, o := range c.Outcomes {
			outcomes = append(outcomes, o.String())
		}
		v = form.Object{{Name: "engine", Value: strings.Join(c.Set, ",")}, {Name: "outcome", Value: form.Strings(outcomes)}}
	}
	return form.Object{{Name: c.Op.String(), Value: v}}
}

func (v *Verdict) form() any {
	switch v.Effect {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	var groups form.Object
	for _, q := range v.Require {
		groups = append(groups, form.Field{Name: q.Group, Value: int(q.Count)})
	}
	out := form.Object{{Name: "require", Value: groups}}
	if v.InitiatorExcluded {
		out = append(out, form.Field{Name: "initiatorExcluded", Value: true})
	}
	return out
}
