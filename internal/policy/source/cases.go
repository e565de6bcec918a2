package source

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
)

// Case is a request that somebody thought of, and what the policy should say.
type Case struct {
	Name   string
	Line   int
	Input  policy.Input
	Expect Expectation
}

// Expectation is what a case expects; empty fields expect nothing.
type Expectation struct {
	Verdict string // allow, deny or wait
	Rule    string // the guard or rule that decides; "none" for none
	Code    string
	Detail  string // stands in the detail
	Missing string // stands in what would pass
}

// Cases are the cases of one file, with the people that they speak of.
type Cases struct {
	Roster *identity.Roster
	List   []Case
}

// MaxCases bounds a file.
const MaxCases = 1000

// maxItems bounds a list of effects, as vaults do.
const maxItems = 64

// caseReader reads cases against one policy.
type caseReader struct {
	*compiler
	roster *identity.Roster
	first  *value // the section defaults, or nil
	chain  string
	sender string
}

// ParseCases reads cases beside a policy (docs/policy.md). Without a roster, the
// section people says who there is.
func ParseCases(data []byte, d *policy.Document, roster *identity.Roster) (*Cases, error) {
	v, err := parse(data)
	if err != nil {
		return nil, err
	}
	v.fields("people", "defaults", "cases")
	r := &caseReader{compiler: &compiler{doc: d}, roster: roster}
	people, given := v.lookup("people")
	switch {
	case given && roster != nil:
		// The file's own people are for when there is no roster.
	case given:
		r.roster = r.people(people)
	case roster == nil:
		v.fail("who is who? Name a roster with --roster, or add a section people: {alice: [traders], bob: [treasurers]}")
	}
	r.compiler.roster = r.roster
	if first, ok := v.lookup("defaults"); ok {
		r.first = first
		first.fields(inputFields...)
	}
	out := &Cases{Roster: r.roster}
	names := make(map[string]bool)
	for _, item := range v.get("cases").items("a list of cases") {
		item.fields(append([]string{"name", "expect"}, inputFields...)...)
		c := Case{Name: item.get("name").text("what this case is about"), Line: item.at.Line}
		if names[c.Name] {
			item.get("name").fail("another case has this name")
		}
		names[c.Name] = true
		if r.roster != nil {
			c.Input = r.input(item)
		}
		c.Expect = expectation(item.get("expect"))
		if out.List = append(out.List, c); len(out.List) > MaxCases {
			item.fail("more than %d cases", MaxCases)
			break
		}
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return out, nil
}

func expectation(v *value) (x Expectation) {
	verdicts := []string{"allow", "deny", "wait"}
	if v.isText() {
		x.Verdict = v.choice(verdicts...)
		return x
	}
	v.fields("verdict", "rule", "code", "detail", "missing")
	x.Verdict = v.get("verdict").choice(verdicts...)
	for name, to := range map[string]*string{"rule": &x.Rule, "code": &x.Code, "detail": &x.Detail, "missing": &x.Missing} {
		if f, ok := v.lookup(name); ok {
			*to = f.text("text")
		}
	}
	return x
}

// people makes a roster without keys: what a policy asks of one.
func (r *caseReader) people(v *value) *identity.Roster {
	ro := &identity.Roster{AdminQuorum: 1}
	groups, roles := make(map[string][]string), make(map[string]bool)
	v.each("a mapping of people and their groups, such as {bob: [treasurers], bot: {kind: service, groups: [traders]}}", func(name string, key, field *value) {
		p := identity.Principal{ID: name, Kind: identity.Person}
		list := field
		if field.isMapping() {
			field.fields("kind", "groups", "roles")
			kinds := []string{"person", "service", "risk", "price"}
			if k, ok := field.lookup("kind"); ok {
				p.Kind = identity.Kind(1 + slices.Index(kinds, k.choice(kinds...)))
			}
			if s, ok := field.lookup("roles"); ok {
				for _, role := range s.items("a list of roles") {
					p.Roles = append(p.Roles, role.name("a role"))
					roles[role.node.Value] = true
				}
			}
			list, _ = field.lookup("groups")
		}
		if list.node != nil {
			for _, g := range list.items("a list of groups") {
				groups[g.name("a group")] = append(groups[g.node.Value], name)
			}
		}
		ro.Principals = append(ro.Principals, p)
	})
	for _, q := range neededBy(r.doc) {
		if _, ok := find(ro, q.ID); !ok {
			ro.Principals = append(ro.Principals, q)
		}
	}
	for g, members := range groups {
		ro.Groups = append(ro.Groups, identity.Group{Name: g, Members: members})
	}
	for role := range roles {
		ro.Roles = append(ro.Roles, identity.Role{Name: role})
	}
	ro.Sort()
	return ro
}

func find(ro *identity.Roster, id string) (*identity.Principal, bool) {
	i := slices.IndexFunc(ro.Principals, func(p identity.Principal) bool { return p.ID == id })
	if i < 0 {
		return nil, false
	}
	return &ro.Principals[i], true
}

// neededBy are the engines and price sources that a policy names.
func neededBy(d *policy.Document) []identity.Principal {
	var out []identity.Principal
	add := func(id string, kind identity.Kind) {
		if !slices.ContainsFunc(out, func(p identity.Principal) bool { return p.ID == id }) {
			out = append(out, identity.Principal{ID: id, Kind: kind})
		}
	}
	for _, s := range d.Prices.Sources {
		add(s, identity.Source)
	}
	var walk func(e *policy.Expr)
	walk = func(e *policy.Expr) {
		if e.Op == policy.OpRiskOutcome || e.Op == policy.OpRiskScore {
			add(e.Text, identity.Risk)
		}
		for i := range e.Args {
			walk(&e.Args[i])
		}
	}
	for i := range d.Guards {
		walk(&d.Guards[i].When)
	}
	for i := range d.Rules {
		walk(&d.Rules[i].When)
	}
	return out
}

// inputFields are the fields of a case, and of defaults.
var inputFields = []string{"chain", "wallet", "sender", "by", "at", "transfers", "allowances", "calls", "creations", "message", "fee", "undecoded", "approvedBy", "deniedBy", "risk", "prices", "past"}

// field is one of the case, or of the defaults.
func (r *caseReader) field(v *value, name string) (*value, bool) {
	if f, ok := v.lookup(name); ok {
		return f, true
	}
	if r.first != nil {
		return r.first.lookup(name)
	}
	return v.lookup(name)
}

// need is field of what must be there.
func (r *caseReader) need(v *value, name string) *value {
	f, ok := r.field(v, name)
	if !ok {
		v.fail("the field %s is missing, here and in defaults", name)
	}
	return f
}

func (r *caseReader) input(v *value) policy.Input {
	q := &request.Request{}
	if c := r.need(v, "chain"); c.isText() {
		q.Chain = c.node.Value
		if err := chain.CheckID(q.Chain); err != nil {
			c.fail("%v", err)
		}
	}
	r.chain = q.Chain
	if w, ok := r.field(v, "wallet"); ok {
		q.Wallet = r.walletOf(w)
	}
	if r.sender = r.account(r.need(v, "sender")); r.sender != "" {
		q.Sender = r.sender
	}
	q.Initiator = r.person(r.need(v, "by"), 0, "principal")
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	if at, ok := r.field(v, "at"); ok {
		if unix, ok := at.moment(); ok {
			now = time.Unix(unix, 0)
		}
	}
	in := policy.Input{Request: q, Now: uint64(now.UnixMilli()), Effects: r.effects(v), Verified: r.verified(v, q.Initiator, now)}
	q.MaxFee = in.Effects.MaxFee
	salt := sha256.Sum256([]byte(v.path))
	q.Salt = [16]byte(salt[:16])
	if past, ok := r.field(v, "past"); ok {
		in.Ledger = r.past(past, &in, now)
	} else {
		in.Ledger = policy.MemoryLedger(nil)
	}
	return in
}

func (r *caseReader) walletOf(v *value) (id [32]byte) {
	s := v.text("a wallet's name or id")
	var names []string
	for i := range r.doc.Wallets {
		if r.doc.Wallets[i].Name == s {
			return r.doc.Wallets[i].ID
		}
		names = append(names, r.doc.Wallets[i].Name)
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) == 32 {
		return [32]byte(b)
	}
	if v.isText() {
		v.fail("unknown wallet %q%s", s, suggestOr(s, names, "; the policy names no wallets"))
	}
	return id
}

// account reads a CAIP-10 account, an address on the case's chain, or a label: its
// first address.
func (r *caseReader) account(v *value) string {
	s := v.text("an account, an address on the case's chain, or a label of the address book")
	if !v.isText() || s == "" {
		return s
	}
	var labels []string
	for _, e := range r.doc.AddressBook {
		if e.Label == s && len(e.Addresses) > 0 {
			for _, a := range e.Addresses {
				if strings.HasPrefix(a, r.chain+":") {
					return a
				}
			}
			v.fail("the label %s has no address on %s", s, r.chain)
			return ""
		}
		labels = append(labels, e.Label)
	}
	if !strings.Contains(s, ":") {
		s = r.chain + ":" + s
	}
	s = normalAccount(s)
	if err := checkAccount(s); err != nil {
		v.fail("%v%s", err, form.Suggest(v.node.Value, labels))
	}
	return s
}

func (r *caseReader) person(v *value, kind identity.Kind, what string) string {
	s := v.text("a name of the roster")
	if v.isText() {
		if why := r.principal(s, kind, what); why != "" {
			v.fail("%s", why)
		}
	}
	return s
}

func (r *caseReader) verified(v *value, initiator string, now time.Time) *identity.Verified {
	out := &identity.Verified{Initiator: initiator}
	for name, to := range map[string]*[]string{"approvedBy": &out.Approvers, "deniedBy": &out.Denials} {
		f, ok := r.field(v, name)
		if !ok {
			continue
		}
		for _, p := range f.items("a list of people") {
			*to = append(*to, r.person(p, identity.Person, "person"))
		}
		slices.Sort(*to)
	}
	if f, ok := r.field(v, "risk"); ok {
		f.each("a mapping of engines and outcomes, such as {screening: pass}", func(name string, key, field *value) {
			if why := r.principal(name, identity.Risk, "risk engine"); why != "" {
				key.fail("%s", why)
			}
			out.Risk = append(out.Risk, riskResult(name, field))
		})
		slices.SortFunc(out.Risk, func(a, b identity.RiskResult) int { return strings.Compare(a.Engine, b.Engine) })
	}
	if f, ok := r.field(v, "prices"); ok {
		out.Prices = r.quotes(f, now)
	}
	return out
}

func riskResult(engine string, v *value) identity.RiskResult {
	outcome := v
	x := identity.RiskResult{Engine: engine}
	if v.isMapping() {
		v.fields("outcome", "score")
		outcome = v.get("outcome")
		if s, ok := v.lookup("score"); ok {
			x.Score = uint16(s.integer(0, 65535))
		}
	}
	switch outcome.choice("pass", "hold", "deny") {
	case "pass":
		x.Outcome = request.Pass
	case "hold":
		x.Outcome = request.Hold
	default:
		x.Outcome = request.Deny
	}
	return x
}

// quotes reads {ETH: 3,000 USD}, which all sources say, or a list of quotes.
func (r *caseReader) quotes(v *value, now time.Time) []identity.Price {
	if r.doc.Currency == "" {
		v.fail("the policy has no currency")
		return nil
	}
	var out []identity.Price
	if !v.isMapping() {
		for _, item := range v.items("a list such as {source: kraken, ETH: 3000 USD}") {
			q := identity.Price{Currency: r.doc.Currency, Time: uint64(now.UnixMilli())}
			q.Source = r.person(item.get("source"), identity.Source, "price source")
			if at, ok := item.lookup("at"); ok {
				q.Time = uint64(at.around(now).UnixMilli())
			}
			q.Assets = r.assetPrices(item, "source", "at")
			out = append(out, q)
		}
		return out
	}
	prices := r.assetPrices(v)
	for _, s := range r.doc.Prices.Sources {
		out = append(out, identity.Price{Source: s, Currency: r.doc.Currency, Time: uint64(now.UnixMilli()), Assets: prices})
	}
	return out
}

func (r *caseReader) assetPrices(v *value, other ...string) []request.AssetPrice {
	var out []request.AssetPrice
	v.each("a mapping of assets and prices, such as {ETH: 3000 USD}", func(symbol string, key, field *value) {
		if slices.Contains(other, symbol) {
			return
		}
		id, ok := r.assetID(symbol)
		if !ok {
			key.fail("unknown asset %q%s", symbol, suggestOr(symbol, r.symbols(), ""))
			return
		}
		n, err := r.parseCurrency(field.text("a price such as 3000 USD"), request.PriceDecimals)
		if err != nil && field.isText() {
			field.fail("%v", err)
		}
		out = append(out, request.AssetPrice{Asset: id, Price: n})
	})
	slices.SortFunc(out, func(a, b request.AssetPrice) int { return strings.Compare(a.Asset, b.Asset) })
	return out
}

// around reads a time, or one before now: "-2h".
func (v *value) around(now time.Time) time.Time {
	s := v.text("a time such as -2h or 2026-01-05T10:00:00Z")
	if ago, ok := strings.CutPrefix(s, "-"); ok {
		if ms := v.child(v.node, v.path).durationOf(ago, 400*24*time.Hour); ms > 0 {
			return now.Add(-time.Duration(ms) * time.Millisecond)
		}
		return now
	}
	unix, _ := v.moment()
	return time.Unix(unix, 0)
}
