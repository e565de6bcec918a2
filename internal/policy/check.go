package policy

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// invalid is a Refusal that names the place in the document.
func invalid(at, format string, args ...any) error {
	return refusal.Newf("policy.invalid", "", "%s: %s", at, fmt.Sprintf(format, args...))
}

// Check says whether the document is well formed and fits the roster: every group,
// person and risk engine that it names exists, and every requirement can be met.
// The error is a *refusal.Refusal that names the place.
func (d *Document) Check(roster *identity.Roster) error {
	if err := d.checkForm(); err != nil {
		return err
	}
	if n := len(d.Encode()); n > MaxDocument {
		return invalid("policy", "%d bytes, at most %d", n, MaxDocument)
	}
	for i := range d.Guards {
		if err := checkNames("guard "+d.Guards[i].Name, &d.Guards[i].When, roster); err != nil {
			return err
		}
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if err := checkNames("rule "+r.Name, &r.When, roster); err != nil {
			return err
		}
		for _, q := range r.Then.Require {
			at := fmt.Sprintf("rule %s: require %d of %s", r.Name, q.Count, q.Group)
			if !roster.HasGroup(q.Group) {
				return invalid(at, "there is no such group in the roster%s", form.Suggest(q.Group, groupNames(roster)))
			}
			if have := persons(roster, q.Group); have < int(q.Count) {
				return invalid(at, "the group has %d persons: it could never be met", have)
			}
		}
	}
	return nil
}

func persons(roster *identity.Roster, group string) int {
	n := 0
	for _, m := range roster.Members(group) {
		if p, ok := roster.Principal(m); ok && p.Kind == identity.Person {
			n++
		}
	}
	return n
}

func groupNames(roster *identity.Roster) []string {
	var names []string
	for _, g := range roster.Groups {
		names = append(names, g.Name)
	}
	return names
}

func principalIDs(roster *identity.Roster) []string {
	var ids []string
	for i := range roster.Principals {
		ids = append(ids, roster.Principals[i].ID)
	}
	return ids
}

// checkNames checks the names that a condition takes from the roster.
func checkNames(at string, c *Condition, roster *identity.Roster) error {
	for i := range c.Sub {
		if err := checkNames(at, &c.Sub[i], roster); err != nil {
			return err
		}
	}
	switch c.Op {
	case Initiator:
		for _, s := range c.Set {
			if g, ok := strings.CutPrefix(s, "group:"); ok {
				if !roster.HasGroup(g) {
					return invalid(at, "initiator: there is no group %q in the roster%s", g, form.Suggest(g, groupNames(roster)))
				}
			} else if _, ok := roster.Principal(s); !ok {
				return invalid(at, "initiator: %q is not in the roster%s", s, form.Suggest(s, principalIDs(roster)))
			}
		}
	case RiskIs:
		p, ok := roster.Principal(c.Set[0])
		if !ok {
			return invalid(at, "risk: the engine %q is not in the roster%s", c.Set[0], form.Suggest(c.Set[0], principalIDs(roster)))
		}
		if p.Kind != identity.Risk {
			return invalid(at, "risk: %s is a %s principal, want a risk engine", p.ID, p.Kind)
		}
	}
	return nil
}

// checkForm says whether the document means something by itself.
func (d *Document) checkForm() error {
	if len(d.Assets) > MaxAssets || len(d.AddressBook) > MaxLabels || len(d.Guards) > MaxGuards || len(d.Rules) > MaxRules {
		return invalid("policy", "%d assets, %d labels, %d guards and %d rules, at most %d, %d, %d and %d",
			len(d.Assets), len(d.AddressBook), len(d.Guards), len(d.Rules), MaxAssets, MaxLabels, MaxGuards, MaxRules)
	}
	if err := d.checkAssets(); err != nil {
		return err
	}
	if err := d.checkAddressBook(); err != nil {
		return err
	}
	seen := map[string]bool{undecodedGuard: true, effectsGuard: true}
	name := func(at, name string) error {
		if err := wire.CheckName(name); err != nil {
			return invalid(at, "%v", err)
		}
		if seen[name] {
			return invalid(at, "the name %s is taken by another guard or rule, or built in", name)
		}
		seen[name] = true
		return nil
	}
	for i := range d.Guards {
		if err := name(fmt.Sprintf("guards[%d]", i), d.Guards[i].Name); err != nil {
			return err
		}
		if err := d.checkCondition("guard "+d.Guards[i].Name, &d.Guards[i].When); err != nil {
			return err
		}
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if err := name(fmt.Sprintf("rules[%d]", i), r.Name); err != nil {
			return err
		}
		if err := d.checkCondition("rule "+r.Name, &r.When); err != nil {
			return err
		}
		if err := r.Then.check("rule " + r.Name); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkAssets() error {
	symbols := make(map[string]bool)
	for i, a := range d.Assets {
		at := fmt.Sprintf("assets[%d]", i)
		if err := checkSymbol(a.Symbol); err != nil {
			return invalid(at, "%v", err)
		}
		if err := checkAsset(a.ID); err != nil {
			return invalid(at, "%v", err)
		}
		if a.Decimals > maxDecimals {
			return invalid(at, "%s: %d decimals, at most %d", a.Symbol, a.Decimals, maxDecimals)
		}
		if folded := strings.ToLower(a.Symbol); symbols[folded] {
			return invalid(at, "two assets have the symbol %s (case does not tell them apart)", a.Symbol)
		} else {
			symbols[folded] = true
		}
		if i > 0 && d.Assets[i-1].ID >= a.ID {
			return invalid(at, "%s comes after %s: want different assets, sorted by id", a.ID, d.Assets[i-1].ID)
		}
	}
	return nil
}

func checkSymbol(s string) error {
	ok := len(s) >= 1 && len(s) <= 16
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && ('0' <= c && c <= '9' || c == '.' || c == '-')
	}
	if !ok {
		return fmt.Errorf("symbol %q: want 1 to 16 letters, digits, '.' and '-', starting with a letter", wire.CleanText(s, 80))
	}
	return nil
}

func (d *Document) checkAddressBook() error {
	for i, e := range d.AddressBook {
		at := fmt.Sprintf("address book, label %q", wire.CleanText(e.Label, 80))
		if err := wire.CheckName(e.Label); err != nil {
			return invalid(at, "%v", err)
		}
		if i > 0 && d.AddressBook[i-1].Label >= e.Label {
			return invalid(at, "comes after %q: want different labels, sorted", d.AddressBook[i-1].Label)
		}
		if len(e.Addresses) > MaxAddresses {
			return invalid(at, "%d addresses, at most %d", len(e.Addresses), MaxAddresses)
		}
		if err := checkSorted(at, e.Addresses); err != nil {
			return err
		}
		for _, a := range e.Addresses {
			if err := family.CheckAccount(a); err != nil {
				return invalid(at, "%v", err)
			}
		}
	}
	return nil
}

func checkSorted(at string, list []string) error {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return invalid(at, "%q comes after %q: want different values, sorted", list[i], list[i-1])
		}
	}
	return nil
}

func (v *Verdict) check(at string) error {
	switch v.Effect {
	case Allow, Deny:
		if len(v.Require) > 0 || v.InitiatorExcluded {
			return invalid(at, "approvals are required and not required")
		}
		return nil
	case Require:
	default:
		return invalid(at, "effect %d, want 1 (allow), 2 (deny) or 3 (require)", v.Effect)
	}
	if len(v.Require) == 0 || len(v.Require) > MaxRequirements {
		return invalid(at, "%d groups must approve, want 1 to %d", len(v.Require), MaxRequirements)
	}
	for i, q := range v.Require {
		if err := wire.CheckName(q.Group); err != nil {
			return invalid(at, "require: group: %v", err)
		}
		if q.Count == 0 || q.Count > maxCount {
			return invalid(at, "require: %d approvals from %s, want 1 to %d", q.Count, q.Group, maxCount)
		}
		if i > 0 && v.Require[i-1].Group >= q.Group {
			return invalid(at, "require: group %s comes after %s: want different groups, sorted", q.Group, v.Require[i-1].Group)
		}
	}
	return nil
}

// checkCondition checks one whole tree.
func (d *Document) checkCondition(at string, c *Condition) error {
	nodes := 0
	return d.checkNode(at, c, 1, &nodes)
}

func (d *Document) checkNode(at string, c *Condition, depth int, nodes *int) error {
	if *nodes++; depth > MaxDepth || *nodes > MaxNodes {
		return invalid(at, "the condition has more than %d levels or %d operators", MaxDepth, MaxNodes)
	}
	f := c.Op.fields()
	if f == fieldUnknown {
		return invalid(at, "unknown operator %d", c.Op)
	}
	at += ": " + c.Op.String()
	if f != fieldSub && len(c.Sub) > 0 || f != fieldSet && f != fieldRisk && len(c.Set) > 0 ||
		f != fieldLimits && len(c.Limits) > 0 || f != fieldRisk && len(c.Outcomes) > 0 {
		return invalid(at, "holds a field that this operator does not use")
	}
	switch f {
	case fieldSub:
		if c.Op == Not && len(c.Sub) != 1 {
			return invalid(at, "%d operands, want 1", len(c.Sub))
		}
		if len(c.Sub) == 0 {
			return invalid(at, "is empty: want at least one condition")
		}
		for i := range c.Sub {
			if err := d.checkNode(at, &c.Sub[i], depth+1, nodes); err != nil {
				return err
			}
		}
		return nil
	case fieldSet:
		return d.checkSet(at, c)
	case fieldLimits:
		return d.checkLimits(at, c)
	case fieldRisk:
		return checkRisk(at, c)
	}
	return nil
}

func (d *Document) checkSet(at string, c *Condition) error {
	if len(c.Set) == 0 || len(c.Set) > MaxSet {
		return invalid(at, "%d values, want 1 to %d", len(c.Set), MaxSet)
	}
	if err := checkSorted(at, c.Set); err != nil {
		return err
	}
	for _, s := range c.Set {
		if err := d.checkItem(c.Op, s); err != nil {
			return invalid(at, "%v", err)
		}
	}
	return nil
}

// checkItem checks one value of an operator's set.
func (d *Document) checkItem(op Op, s string) error {
	switch op {
	case Chain:
		return family.CheckChain(s)
	case Wallet:
		if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || strings.ToLower(s) != s {
			return fmt.Errorf("wallet %q: want the 64 hex digits of its key id, in lower case", wire.CleanText(s, 80))
		}
	case Sender:
		return family.CheckAccount(s)
	case Initiator:
		return wire.CheckName(strings.TrimPrefix(s, "group:"))
	case EveryAsset, AnyAsset:
		return d.checkKnown(s)
	case EveryRecipient, AnyRecipient, EverySpender, AnySpender, EveryContract, AnyContract:
		return d.checkParty(s)
	case EveryMethod, AnyMethod:
		if s == "" || len(s) > maxItem || wire.CheckText(s, maxItem) != nil || strings.ContainsAny(s, " ") {
			return fmt.Errorf("method %q: want a signature without spaces such as approve(address,uint256)", wire.CleanText(s, 80))
		}
	case Contains:
		if !slices.Contains(contents, s) {
			return fmt.Errorf("%q: want one of %s%s", wire.CleanText(s, 80), strings.Join(contents, ", "), form.Suggest(s, contents))
		}
	}
	return nil
}

var contents = []string{"allowances", "calls", "transfers"}

// checkKnown checks that conditions name only assets that the document explains.
func (d *Document) checkKnown(id string) error {
	if _, ok := d.asset(id); !ok {
		return fmt.Errorf("asset %q is not one of this policy's assets", wire.CleanText(id, 200))
	}
	return nil
}

func (d *Document) checkParty(s string) error {
	if label, ok := strings.CutPrefix(s, "label:"); ok {
		if _, ok := d.entry(label); !ok {
			var labels []string
			for _, e := range d.AddressBook {
				labels = append(labels, e.Label)
			}
			return fmt.Errorf("there is no label %q in the address book%s", wire.CleanText(label, 80), form.Suggest(label, labels))
		}
		return nil
	}
	if _, _, err := chain.ParseAccount(s); err != nil {
		return fmt.Errorf("%q: want label:NAME of the address book, or a CAIP-10 account such as eip155:1:0x52908400098527886E0F7030069857D2E4169EE7", wire.CleanText(s, 200))
	}
	return family.CheckAccount(s)
}

func (d *Document) checkLimits(at string, c *Condition) error {
	if len(c.Limits) == 0 || len(c.Limits) > MaxSet {
		return invalid(at, "%d limits, want 1 to %d", len(c.Limits), MaxSet)
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		if err := d.checkKnown(l.Asset); err != nil {
			return invalid(at, "%v", err)
		}
		if i > 0 && cmp.Compare(c.Limits[i-1].Asset, l.Asset) >= 0 {
			return invalid(at, "asset %s comes after %s: want one limit an asset, sorted", l.Asset, c.Limits[i-1].Asset)
		}
		if c.Op != MaxFeeAtMost {
			continue
		}
		id, ns, _, _ := chain.ParseAsset(l.Asset)
		if ns != nativeNamespace {
			return invalid(at, "fees are paid in the native asset of a chain (…/%s:…), not in %s", nativeNamespace, l.Asset)
		}
		if i > 0 && strings.HasPrefix(c.Limits[i-1].Asset, id+"/") {
			return invalid(at, "two limits of fees on %s, want one", id)
		}
	}
	return nil
}

// nativeNamespace is the CAIP-19 namespace of chains' native assets.
const nativeNamespace = "slip44"

func checkRisk(at string, c *Condition) error {
	if len(c.Set) != 1 {
		return invalid(at, "%d engines, want 1", len(c.Set))
	}
	if err := wire.CheckName(c.Set[0]); err != nil {
		return invalid(at, "engine: %v", err)
	}
	if len(c.Outcomes) == 0 || len(c.Outcomes) > 2 {
		return invalid(at, "%d outcomes, want 1 or 2 of pass, hold, deny", len(c.Outcomes))
	}
	for i, o := range c.Outcomes {
		if o < request.Pass || o > request.Deny || i > 0 && c.Outcomes[i-1] >= o {
			return invalid(at, "outcome %d, want different ones of 1 (pass), 2 (hold), 3 (deny), sorted", o)
		}
	}
	return nil
}
