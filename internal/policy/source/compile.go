package source

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
)

// compiler turns one file into a document.
type compiler struct {
	doc    *policy.Document
	roster *identity.Roster
	names  map[string]bool // of guards, rules, invariants
}

// sections of a policy, in the order in which they are read.
var sections = []string{"currency", "prices", "assets", "wallets", "addressBook", "methods", "zones", "limits", "guards", "rules", "invariants"}

// Compile reads a policy as people write it, YAML or JSON (docs/policy.md). The
// error is of type Errors and names every place. With a roster, names of groups,
// roles, people and engines must be there, and groups be large enough.
func Compile(data []byte, roster *identity.Roster) (*policy.Document, error) {
	v, err := parse(data)
	if err != nil {
		return nil, err
	}
	c := &compiler{doc: new(policy.Document), roster: roster, names: map[string]bool{"undecoded": true, "effects-match-request": true}}
	v.fields(sections...)
	if !v.isMapping() {
		return nil, v.err()
	}
	c.facts(v)
	if err := v.err(); err != nil {
		return nil, err // conditions would only repeat what is wrong there
	}
	c.rules(v)
	if err := v.err(); err != nil {
		return nil, err
	}
	c.doc.Sort()
	return c.finish(v)
}

// finish lets the document's own check have the last word, and with a roster that
// of the roster.
func (c *compiler) finish(v *value) (*policy.Document, error) {
	c.counts(v)
	if err := v.err(); err != nil {
		return nil, err
	}
	encoded := c.doc.Encode()
	if len(encoded) > policy.MaxDocument {
		v.fail("the policy takes %d bytes, at most %d", len(encoded), policy.MaxDocument)
		return nil, v.err()
	}
	d, err := policy.DecodeDocument(encoded)
	if err != nil {
		v.fail("%v", err)
		return nil, v.err()
	}
	return d, nil
}

// counts refuses sections that are too long.
func (c *compiler) counts(v *value) {
	d := c.doc
	for _, s := range []struct {
		name    string
		n, most int
		fix     string
	}{
		{"assets", len(d.Assets), policy.MaxAssets, ""}, {"wallets", len(d.Wallets), policy.MaxWallets, ""},
		{"addressBook", len(d.AddressBook), policy.MaxLabels, "; a label holds many addresses"},
		{"methods", len(d.Methods), policy.MaxMethods, ""}, {"zones", len(d.Zones), policy.MaxZones, ""}, {"limits", len(d.Limits), policy.MaxLimits, ""},
		{"guards", len(d.Guards), policy.MaxGuards, "; join some with ||"}, {"rules", len(d.Rules), policy.MaxRules, "; join rules of one verdict with ||, and name addresses by labels"},
		{"invariants", len(d.Invariants), policy.MaxInvariants, ""},
	} {
		if at, ok := v.lookup(s.name); ok && s.n > s.most {
			at.fail("%d of them, at most %d%s", s.n, s.most, s.fix)
		}
	}
}

// MustCompile is Compile for tests and for policies that stand in the program.
func MustCompile(text string) *policy.Document {
	d, err := Compile([]byte(text), nil)
	if err != nil {
		panic(err)
	}
	return d
}

// facts reads everything but conditions.
func (c *compiler) facts(v *value) {
	each := func(name string, f func(*value)) {
		if s, ok := v.lookup(name); ok && s.kind() != "nothing" {
			f(s)
		}
	}
	each("currency", func(s *value) { c.doc.Currency = s.text("a currency such as USD") })
	each("prices", c.prices)
	if _, ok := v.lookup("prices"); !ok && c.doc.Currency != "" {
		v.fail("a currency needs prices: say which sources count, prices: {sources: […], agree: 2, tolerance: 1%%, maxAge: 60s}")
	}
	each("assets", c.assets)
	each("wallets", c.wallets)
	each("addressBook", c.addressBook)
	each("methods", c.methods)
	each("zones", c.zones)
	each("limits", c.limits)
}

func (c *compiler) prices(v *value) {
	v.fields("sources", "agree", "tolerance", "maxAge")
	if c.doc.Currency == "" {
		v.fail("there is no currency to tell prices in; add currency: USD")
	}
	p := &c.doc.Prices
	for _, s := range v.get("sources").items("a list of price sources of the roster") {
		name := s.text("the name of a price source")
		if why := c.principal(name, identity.Source, "price source"); why != "" && s.isText() {
			s.fail("%s", why)
		}
		if slices.Contains(p.Sources, name) {
			s.fail("%s is listed twice", name)
		}
		p.Sources = append(p.Sources, name)
	}
	p.Agree = uint8(v.get("agree").integer(1, policy.MaxSources))
	if int(p.Agree) > len(p.Sources) {
		v.get("agree").fail("%d sources must agree, of %d", p.Agree, len(p.Sources))
	}
	p.Tolerance = v.get("tolerance").percent()
	p.MaxAge = v.get("maxAge").duration(24 * time.Hour)
}

// percent reads "0.5%" into 1/10000.
func (v *value) percent() uint16 {
	const what = "a percentage of at most two decimals, such as 0.5%"
	s := v.text(what)
	if !v.isText() {
		return 0
	}
	number, ok := strings.CutSuffix(s, "%")
	whole, fraction, _ := strings.Cut(strings.TrimSpace(number), ".")
	if len(fraction) <= 2 {
		n, err := strconv.ParseUint(whole+fraction+"00"[len(fraction):], 10, 16)
		if ok && err == nil && n <= 10000 {
			return uint16(n)
		}
	}
	v.fail("%q, want %s", s, what)
	return 0
}

// duration reads "90s", "24h", "7d" into ms.
func (v *value) duration(most time.Duration) uint64 {
	s := v.text("a time such as 90s, 24h or 7d")
	if !v.isText() {
		return 0
	}
	return v.durationOf(s, most)
}

func (v *value) durationOf(s string, most time.Duration) uint64 {
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	i := strings.LastIndexAny(s, "0123456789") + 1
	n, err := strconv.ParseUint(s[:i], 10, 40)
	unit, ok := units[s[i:]]
	switch {
	case err != nil || !ok || n == 0:
		v.fail("%q, want a time such as 90s, 24h or 7d", s)
	case n > uint64(most/unit):
		v.fail("%s, at most %d days", s, most/(24*time.Hour))
	default:
		return n * uint64(unit/time.Millisecond)
	}
	return 0
}

func (c *compiler) assets(v *value) {
	v.each("a mapping of symbols, such as ETH: {id: eip155:1/slip44:60, decimals: 18}", func(symbol string, key, field *value) {
		field.fields("id", "decimals")
		id := field.get("id")
		a := policy.Asset{Symbol: symbol, ID: normalAsset(id.text("a CAIP-19 asset")), Decimals: uint8(field.get("decimals").integer(0, 77))}
		if err := checkSymbol(symbol); err != nil {
			key.fail("%v", err)
		}
		if err := family.CheckAsset(a.ID); err != nil && id.isText() {
			id.fail("%v", err)
		}
		for _, b := range c.doc.Assets {
			if strings.EqualFold(a.Symbol, b.Symbol) {
				key.fail("there is an asset with the symbol %s already", b.Symbol)
			}
			if a.ID == b.ID && a.ID != "" {
				id.fail("this is the asset %s already", b.Symbol)
			}
		}
		if strings.EqualFold(symbol, c.doc.Currency) {
			key.fail("%s is the currency already", symbol)
		}
		c.doc.Assets = append(c.doc.Assets, a)
	})
}

func (c *compiler) wallets(v *value) {
	v.each("a mapping of names and wallet ids of 64 hex digits", func(name string, key, field *value) {
		if err := wire.CheckName(name); err != nil {
			key.fail("%v", err)
		}
		s := field.text("a wallet id of 64 hex digits, in quotes")
		b, err := hex.DecodeString(s)
		if field.isText() && (err != nil || len(b) != 32) {
			field.fail("%q: want the 64 hex digits of a wallet's id", s)
			return
		}
		w := policy.NamedWallet{Name: name}
		copy(w.ID[:], b)
		for _, o := range c.doc.Wallets {
			if o.ID == w.ID {
				field.fail("this is the wallet %s already", o.Name)
			}
		}
		c.doc.Wallets = append(c.doc.Wallets, w)
	})
}

func (c *compiler) addressBook(v *value) {
	v.each("a mapping of labels and their addresses, such as known: [eip155:1:0x…]", func(label string, key, field *value) {
		if err := wire.CheckName(label); err != nil {
			key.fail("%v", err)
		}
		e := policy.Entry{Label: label}
		for _, item := range field.items("a list of CAIP-10 accounts") {
			a := normalAccount(item.text("a CAIP-10 account such as eip155:1:0x…"))
			if err := family.CheckAccount(a); err != nil && item.isText() {
				item.fail("%v", err)
			}
			if slices.Contains(e.Addresses, a) {
				item.fail("%s is listed twice", a)
			}
			e.Addresses = append(e.Addresses, a)
		}
		c.doc.AddressBook = append(c.doc.AddressBook, e)
	})
}

func (c *compiler) methods(v *value) {
	for _, item := range v.items("a list of methods such as \"swap(address token,uint256 amount)\" or {contract: eip155:1:0x…, signature: …}") {
		var m chain.Method
		at := item
		if item.isMapping() {
			item.fields("contract", "signature")
			at = item.get("signature")
			contract := item.get("contract")
			m.Contract = normalAccount(contract.text("a CAIP-10 account"))
			if err := family.CheckAccount(m.Contract); err != nil && contract.isText() {
				contract.fail("%v", err)
			}
		}
		m.Signature = at.text("a signature such as swap(address token,uint256 amount)")
		if err := family.CheckMethod(&m); err != nil && at.isText() {
			at.fail("%v", err)
		}
		if slices.Contains(c.doc.Methods, m) {
			item.fail("this method is listed twice")
		}
		c.doc.Methods = append(c.doc.Methods, m)
	}
}

var scopes = []string{"wallet", "asset", "initiator", "destination"}
var units = []string{"day", "week", "month", "year"}

func (c *compiler) limits(v *value) {
	for _, item := range v.items("a list of limits") {
		item.fields("name", "max", "per", "window")
		l := policy.Limit{Name: item.get("name").name("a name such as daily")}
		if _, twice := c.limit(l.Name); twice {
			item.get("name").fail("there is a limit %s already", l.Name)
		}
		c.most(&l, item.get("max"))
		if per, ok := item.lookup("per"); ok {
			for _, s := range per.items("a list of wallet, asset, initiator, destination") {
				scope := policy.Scope(1 + slices.Index(scopes, s.choice(scopes...)))
				switch {
				case scope == 0:
				case slices.Contains(l.Per, scope):
					s.fail("listed twice")
				case scope == policy.PerAsset && l.Measure == policy.MeasureAmount:
					s.fail("this limit counts one asset only")
				}
				l.Per = append(l.Per, scope)
			}
		}
		c.window(&l.Window, item.get("window"))
		c.doc.Limits = append(c.doc.Limits, l)
	}
}

// most reads the measure and the maximum: "10 ETH", "10,000 USD", "20 requests".
func (c *compiler) most(l *policy.Limit, v *value) {
	s := v.text(`the most, such as 10 ETH, "10,000 USD" or 20 requests`)
	if !v.isText() {
		return
	}
	var err error
	switch unit := strings.TrimSpace(strings.TrimLeft(s, "0123456789,. ")); {
	case unit == "requests" || unit == "request":
		l.Measure = policy.MeasureCount
		var n uint64
		if n, err = strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(s, unit)), 10, 32); err != nil {
			err = fmt.Errorf("%q, want a whole number of requests", s)
		}
		l.Max.SetUint64(n)
	case c.doc.Currency != "" && strings.EqualFold(unit, c.doc.Currency):
		l.Measure = policy.MeasureMoney
		l.Max, err = c.parseMoney(s)
	default:
		l.Measure = policy.MeasureAmount
		l.Asset, l.Max, err = c.parseAmount(s)
	}
	if err != nil {
		v.fail("%v", err)
	}
}

// window reads 24h, or {calendar: month, zone: Europe/Zurich}.
func (c *compiler) window(w *policy.Window, v *value) {
	if !v.isMapping() {
		w.Kind = policy.Rolling
		w.Length = v.duration(366 * 24 * time.Hour)
		return
	}
	v.fields("calendar", "zone")
	w.Kind = policy.Calendar
	w.Unit = policy.Unit(1 + slices.Index(units, v.get("calendar").choice(units...)))
	zone := v.get("zone")
	if w.Zone = zone.text("a zone of the section zones"); zone.isText() {
		c.checkZone(zone.fail, w.Zone)
	}
}

// rules reads guards, rules and invariants.
func (c *compiler) rules(v *value) {
	if guards, ok := v.lookup("guards"); ok && guards.kind() != "nothing" {
		for _, g := range guards.items("a list of guards") {
			g.fields("name", "when")
			c.doc.Guards = append(c.doc.Guards, policy.Guard{Name: c.name(g.get("name")), When: c.checked(g.get("when"))})
		}
	}
	for _, r := range v.get("rules").items("a list of rules") {
		r.fields("name", "when", "then", "breakGlass")
		rule := policy.Rule{Name: c.name(r.get("name")), When: c.checked(r.get("when")), Then: c.verdict(r.get("then"))}
		if b, ok := r.lookup("breakGlass"); ok {
			if rule.BreakGlass = b.boolean(); rule.BreakGlass && rule.Then.Effect == policy.Deny {
				b.fail("a break-glass rule allows something; this one denies")
			}
		}
		c.doc.Rules = append(c.doc.Rules, rule)
	}
	if list, ok := v.lookup("invariants"); ok && list.kind() != "nothing" {
		for _, i := range list.items("a list of invariants") {
			i.fields("name", "when", "atLeast")
			c.doc.Invariants = append(c.doc.Invariants, policy.Invariant{Name: c.name(i.get("name")), When: c.checked(i.get("when")), AtLeast: c.floor(i.get("atLeast"))})
		}
	}
}

func (c *compiler) name(v *value) string {
	s := v.name("a name")
	if c.names[s] && v.isText() {
		v.fail("the name %q is taken by another guard, rule or invariant, or built in", s)
	}
	c.names[s] = true
	return s
}

// checked compiles a condition and lets the document's own types agree.
func (c *compiler) checked(v *value) policy.Expr {
	e := c.condition(v)
	if e.Op == 0 {
		return e
	}
	d := *c.doc
	d.Guards, d.Rules, d.Invariants = nil, nil, nil
	d.Sort()
	t, err := d.Type(&e)
	switch {
	case err != nil:
		v.fail("%v", err)
	case t != policy.TypeBool:
		v.fail("a condition is true or false, this is %s", t)
	}
	return e
}

func (c *compiler) verdict(v *value) policy.Verdict {
	switch {
	case v.node == nil:
		return policy.Verdict{}
	case v.isText():
		if v.choice("allow", "deny") == "allow" {
			return policy.Verdict{Effect: policy.Allow}
		}
		return policy.Verdict{Effect: policy.Deny}
	case !v.isMapping():
		v.fail("want allow, deny or {require: {treasurers: 2}}")
		return policy.Verdict{}
	}
	v.fields("require", "initiatorExcluded")
	out := policy.Verdict{Effect: policy.Require}
	v.get("require").each("a mapping of groups and numbers, such as {treasurers: 2}", func(group string, key, n *value) {
		q := policy.Requirement{Group: group, Count: uint8(n.integer(1, 16))}
		if why := c.group(group); why != "" {
			key.fail("%s", why)
		} else if persons := c.persons(group); c.roster != nil && int(q.Count) > persons {
			n.fail("nobody can satisfy this: %d approvals from %s, which has %d persons", q.Count, group, persons)
		}
		out.Require = append(out.Require, q)
	})
	if x, ok := v.lookup("initiatorExcluded"); ok {
		out.InitiatorExcluded = x.boolean()
	}
	return out
}

func (c *compiler) persons(group string) (n int) {
	if c.roster == nil {
		return 0
	}
	for _, who := range c.roster.Members(group) {
		if p, ok := c.roster.Principal(who); ok && p.Kind == identity.Person {
			n++
		}
	}
	return n
}

func (c *compiler) floor(v *value) (f policy.Floor) {
	if v.isText() {
		f.Deny = v.choice("deny") == "deny"
		return f
	}
	v.fields("approvals", "initiatorExcluded", "group")
	if !v.isMapping() {
		return f
	}
	f.Approvals = uint8(v.get("approvals").integer(1, 16))
	if x, ok := v.lookup("initiatorExcluded"); ok {
		f.InitiatorExcluded = x.boolean()
	}
	if g, ok := v.lookup("group"); ok {
		f.Group = g.name("a group")
		if why := c.group(f.Group); why != "" && g.isText() {
			g.fail("%s", why)
		}
	}
	return f
}

var symbol = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.-]{0,15}$`)

func checkSymbol(s string) error {
	if !symbol.MatchString(s) {
		return fmt.Errorf("symbol %q: want 1 to 16 letters, digits, '.' and '-', starting with a letter", s)
	}
	return nil
}
