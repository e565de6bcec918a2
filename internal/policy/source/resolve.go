package source

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
)

// textKind is what a text names, which says how people may write it.
type textKind uint8

const (
	anyText textKind = iota
	chains
	wallets
	accounts
	assetIDs
	principals
	methods
	outcomes
	codes
)

// textKind is what the values of an operator name.
func (x *condition) textKind(e *policy.Expr, scope []bound) textKind {
	switch e.Op {
	case policy.OpChain:
		return chains
	case policy.OpWallet:
		return wallets
	case policy.OpSender, policy.OpArgAddress, policy.OpMessageContract, policy.OpMessageAddress:
		return accounts
	case policy.OpInitiator, policy.OpItem:
		return principals
	case policy.OpRiskOutcome:
		return outcomes
	case policy.OpField:
		switch e.Text {
		case "asset":
			return assetIDs
		case "method":
			return methods
		case "code":
			return codes
		case "from", "to", "owner", "spender":
			return accounts
		}
	case policy.OpIf:
		if a, b := x.textKind(&e.Args[1], scope), x.textKind(&e.Args[2], scope); a == b {
			return a
		}
	}
	return anyText
}

// compared resolves the literal of a comparison and refuses one that is never
// true: of two assets, of an account with a person.
func (x *condition) compared(e ast.Expr, out *policy.Expr, scope []bound) {
	if x.failed || len(out.Args) != 2 {
		return
	}
	l, r := &out.Args[0], &out.Args[1]
	kl, kr := x.textKind(l, scope), x.textKind(r, scope)
	args := e.AsCall().Args()
	switch {
	case r.Op == policy.OpText:
		r.Text = x.resolve(args[1], kl, r.Text)
	case l.Op == policy.OpText:
		l.Text = x.resolve(args[0], kr, l.Text)
	case kl != kr && kl != anyText && kr != anyText:
		x.failAt(e, "this compares two kinds of things, which are never equal")
	}
	if a, b := assetOf(l), assetOf(r); a != "" && b != "" && a != b && out.Op != policy.OpMul {
		x.failAt(e, "this mixes amounts of %s and %s; write a condition for each asset, or compare value() with money", x.symbol(a), x.symbol(b))
	}
}

// assetOf is the asset of an amount, where it is known from the text.
func assetOf(e *policy.Expr) string {
	switch e.Op {
	case policy.OpAmount, policy.OpTotal, policy.OpReceived:
		return e.Asset
	case policy.OpAdd, policy.OpSub, policy.OpMul, policy.OpDiv, policy.OpMod:
		for i := range e.Args {
			if a := assetOf(&e.Args[i]); a != "" && e.Op != policy.OpDiv {
				return a
			}
		}
	}
	return ""
}

func (c *compiler) symbol(id string) string {
	for i := range c.doc.Assets {
		if c.doc.Assets[i].ID == id {
			return c.doc.Assets[i].Symbol
		}
	}
	return id
}

// resolve turns what people write into the value that is compared.
func (x *condition) resolve(at ast.Expr, kind textKind, s string) string {
	switch kind {
	case chains:
		if err := family.CheckChain(s); err != nil {
			x.failAt(at, "%v", err)
		}
	case wallets:
		return x.wallet(at, s)
	case accounts:
		return x.account(at, s)
	case assetIDs:
		return x.asset(at, s)
	case principals:
		x.checkPrincipal(at, s)
	case methods:
		return x.method(at, s)
	case codes:
		return x.code(at, s)
	case outcomes:
		if !slices.Contains([]string{"pass", "hold", "deny"}, s) {
			x.failAt(at, "%q is no outcome, want pass, hold or deny%s", s, form.Suggest(s, []string{"pass", "hold", "deny"}))
		}
	default:
		x.checkText(at, s)
	}
	return s
}

func (x *condition) wallet(at ast.Expr, s string) string {
	var names []string
	for i := range x.doc.Wallets {
		if x.doc.Wallets[i].Name == s {
			return hex.EncodeToString(x.doc.Wallets[i].ID[:])
		}
		names = append(names, x.doc.Wallets[i].Name)
	}
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		x.failAt(at, "unknown wallet %q: want a name of the section wallets, or the 64 hex digits of its id%s", s, suggestOr(s, names, ""))
	}
	return strings.ToLower(s)
}

func (x *condition) account(at ast.Expr, s string) string {
	if s == "" {
		return s
	}
	s = normalAccount(s)
	if err := family.CheckAccount(s); err != nil {
		hint := ""
		switch {
		case x.hasLabel(s):
			hint = fmt.Sprintf("; for the label write …labelled(%q)", s)
		case strings.HasPrefix(s, "0x"):
			hint = "; put its chain before it, eip155:1:" + s
		}
		x.failAt(at, "%v%s", err, hint)
	}
	return s
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

func (x *condition) asset(at ast.Expr, s string) string {
	if id, ok := x.assetID(s); ok {
		return id
	}
	x.failAt(at, "unknown asset %q%s", s, suggestOr(s, x.symbols(), "; the policy has no assets"))
	return ""
}

// assetID finds an asset by its symbol or its id.
func (c *compiler) assetID(s string) (string, bool) {
	n := normalAsset(s)
	for i := range c.doc.Assets {
		if a := &c.doc.Assets[i]; strings.EqualFold(a.Symbol, s) || a.ID == n {
			return a.ID, true
		}
	}
	return "", false
}

func (c *compiler) symbols() []string {
	var out []string
	for i := range c.doc.Assets {
		out = append(out, c.doc.Assets[i].Symbol)
	}
	slices.Sort(out)
	return out
}

func (c *compiler) unitOf(symbol string) (amount.Unit, bool) {
	for i := range c.doc.Assets {
		if a := &c.doc.Assets[i]; strings.EqualFold(a.Symbol, symbol) {
			return amount.Unit{Symbol: a.Symbol, Decimals: a.Decimals}, true
		}
	}
	return amount.Unit{}, false
}

// parseAmount reads "10,000.5 DAI". It tells what is wrong in err.
func (c *compiler) parseAmount(s string) (asset string, n chain.Amount, err error) {
	plain, err := ungroup(s)
	if err != nil {
		return "", n, err
	}
	symbol := strings.TrimSpace(strings.TrimLeft(plain, "0123456789. -"))
	unit, ok := c.unitOf(symbol)
	switch {
	case !ok && symbol == "":
		return "", n, fmt.Errorf("amount %q names no unit%s", s, suggestOr(s, c.symbols(), "; the policy has no assets"))
	case !ok && strings.EqualFold(symbol, c.doc.Currency):
		return "", n, fmt.Errorf("%s is the currency and no asset; write money(%q)", symbol, s)
	case !ok:
		return "", n, fmt.Errorf("unknown asset %q%s", symbol, suggestOr(symbol, c.symbols(), "; the policy has no assets"))
	}
	asset, _ = c.assetID(symbol)
	n, err = amount.Parse(plain, unit)
	return asset, n, err
}

// parseMoney reads "10,000 USD" into 10^-6 of the currency.
func (c *compiler) parseMoney(s string) (n chain.Amount, err error) { return c.parseCurrency(s, 6) }

func (c *compiler) parseCurrency(s string, decimals uint8) (n chain.Amount, err error) {
	if c.doc.Currency == "" {
		return n, fmt.Errorf("%q: the policy has no currency; name one, and which prices count", s)
	}
	plain, err := ungroup(s)
	if err != nil {
		return n, err
	}
	return amount.Parse(plain, amount.Unit{Symbol: c.doc.Currency, Decimals: decimals})
}

// ungroup takes the commas out of a number that is grouped by thousands.
func ungroup(s string) (string, error) {
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	if !strings.Contains(number, ",") {
		return s, nil
	}
	whole, fraction, point := strings.Cut(number, ".")
	groups := strings.Split(whole, ",")
	for i, g := range groups {
		if strings.Trim(g, "0123456789") != "" || len(g) > 3 || len(g) == 0 || i > 0 && len(g) != 3 {
			return "", fmt.Errorf("%q is not a number; commas part thousands, as in 10,000.5", number)
		}
	}
	number = strings.Join(groups, "")
	if point {
		number += "." + fraction
	}
	return number + " " + unit, nil
}

func (x *condition) amount(at ast.Expr, s string) (string, chain.Amount) {
	asset, n, err := x.parseAmount(s)
	if err != nil {
		x.failAt(at, "%v", err)
	}
	return asset, n
}

func (x *condition) money(at ast.Expr, s string) chain.Amount {
	n, err := x.parseMoney(s)
	if err != nil {
		x.failAt(at, "%v", err)
	}
	return n
}

func (x *condition) during(at ast.Expr, s string) policy.Expr {
	hours, zone, err := policy.ParseDuring(s)
	if err != nil {
		x.failAt(at, "%v", err)
		return policy.Expr{}
	}
	x.checkZone(func(format string, args ...any) { x.failAt(at, format, args...) }, zone)
	return policy.Expr{Op: policy.OpDuring, Text: zone, Num: hours.Num()}
}

// time reads a moment, of whole seconds, into unix seconds.
func (x *condition) time(at ast.Expr, s string) (n chain.Amount) {
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		x.failAt(at, "%q is no time, want one such as 2027-01-01T00:00:00Z or 2027-01-01T08:00:00+01:00", s)
	case t.Unix() < 0 || t.Nanosecond() != 0:
		x.failAt(at, "%q: want whole seconds, and a time after 1970", s)
	default:
		n.SetUint64(uint64(t.Unix()))
	}
	return n
}

// method takes the names of parameters out of a signature, as calls have it.
func (x *condition) method(at ast.Expr, s string) string {
	name, params, ok := strings.Cut(s, "(")
	if !ok {
		if !strings.HasPrefix(s, "0x") {
			var known []string
			for _, m := range x.doc.Methods {
				known = append(known, canonicalMethod(m.Signature))
			}
			x.failAt(at, "%q is no method, want one with the types of its parameters, such as approve(address,uint256)%s", s, suggestOr(s, known, ""))
		}
		return s
	}
	return canonicalMethod(name + "(" + params)
}

// canonicalMethod is a signature with types only: "f(address to, uint256 n)" is
// "f(address,uint256)".
func canonicalMethod(s string) string {
	var out strings.Builder
	word := 0
	for _, c := range s {
		switch c {
		case '(', ',', ')':
			word = 0
			out.WriteRune(c)
		case ' ', '\t', '\n':
			if word > 0 {
				word = 2 // what follows is a name
			}
		default:
			if word == 0 {
				word = 1
			}
			if word == 1 {
				out.WriteRune(c)
			}
		}
	}
	return out.String()
}

func (x *condition) checkText(at ast.Expr, s string) {
	const most = 256
	if err := wire.CheckText(s, most); err != nil {
		x.failAt(at, "%v", err)
	}
}

func (c *compiler) limit(name string) (*policy.Limit, bool) {
	for i := range c.doc.Limits {
		if c.doc.Limits[i].Name == name {
			return &c.doc.Limits[i], true
		}
	}
	return nil, false
}

func (c *compiler) limitNames() []string {
	var out []string
	for i := range c.doc.Limits {
		out = append(out, c.doc.Limits[i].Name)
	}
	return out
}

func (x *condition) checkLimit(at ast.Expr, name string) {
	if _, ok := x.limit(name); !ok {
		x.failAt(at, "unknown limit %q%s", name, suggestOr(name, x.limitNames(), "; the policy has no limits"))
	}
}

func (c *compiler) hasLabel(s string) bool {
	return slices.ContainsFunc(c.doc.AddressBook, func(e policy.Entry) bool { return e.Label == s })
}

func (x *condition) checkLabel(at ast.Expr, name string) {
	if x.hasLabel(name) {
		return
	}
	var known []string
	for _, e := range x.doc.AddressBook {
		known = append(known, e.Label)
	}
	x.failAt(at, "unknown label %q%s", name, suggestOr(name, known, "; the address book is empty"))
}

// What only a roster can tell is checked when there is one; else the form.

func (x *condition) checkGroup(at ast.Expr, name string) {
	if why := x.group(name); why != "" {
		x.failAt(at, "%s", why)
	}
}

// group says what is wrong with the name of a group.
func (c *compiler) group(name string) string {
	if err := wire.CheckName(name); err != nil {
		return err.Error()
	}
	if c.roster == nil || c.roster.HasGroup(name) {
		return ""
	}
	var known []string
	for _, g := range c.roster.Groups {
		known = append(known, g.Name)
	}
	return fmt.Sprintf("the roster has no group %q%s", name, suggestOr(name, known, ""))
}

func (x *condition) checkRole(at ast.Expr, name string) {
	if err := wire.CheckName(name); err != nil {
		x.failAt(at, "%v", err)
		return
	}
	if x.roster == nil {
		return
	}
	if _, ok := x.roster.Role(name); !ok {
		var known []string
		for _, r := range x.roster.Roles {
			known = append(known, r.Name)
		}
		x.failAt(at, "the roster has no role %q%s", name, suggestOr(name, known, "; the roster has no roles"))
	}
}

func (x *condition) checkEngine(at ast.Expr, name string) {
	if why := x.principal(name, identity.Risk, "risk engine"); why != "" {
		x.failAt(at, "%s", why)
	}
}

func (x *condition) checkPrincipal(at ast.Expr, name string) {
	if why := x.principal(name, 0, "principal"); why != "" {
		x.failAt(at, "%s", why)
	}
}

// principal says what is wrong with the id of a principal of a kind, 0 for any.
func (c *compiler) principal(name string, kind identity.Kind, what string) string {
	if err := wire.CheckName(name); err != nil {
		return err.Error()
	}
	if c.roster == nil {
		return ""
	}
	if p, ok := c.roster.Principal(name); ok && (kind == 0 || p.Kind == kind) {
		return ""
	}
	var known []string
	for i := range c.roster.Principals {
		if p := &c.roster.Principals[i]; kind == 0 || p.Kind == kind {
			known = append(known, p.ID)
		}
	}
	return fmt.Sprintf("the roster has no %s %q%s", what, name, suggestOr(name, known, ""))
}

// code is the hash of a creation's code.
func (x *condition) code(at ast.Expr, s string) string {
	digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != 32 {
		x.failAt(at, "%q is no hash of a creation's code, want 0x and 64 hex digits: Keccak-256 of its init code", s)
	}
	return strings.ToLower(s)
}
