package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// invalid is a Refusal that names the place in the document.
func invalid(at, format string, args ...any) error {
	return refusal.Newf("policy.invalid", "", "%s: %s", at, fmt.Sprintf(format, args...))
}

// maxMethod bounds a declared method's signature, in bytes.
const maxMethod = 1024

// checkForm says whether the document means something by itself.
func (d *Document) checkForm() error {
	for _, n := range []struct {
		what      string
		have, max int
	}{
		{"assets", len(d.Assets), MaxAssets}, {"wallets", len(d.Wallets), MaxWallets}, {"labels", len(d.AddressBook), MaxLabels},
		{"methods", len(d.Methods), MaxMethods}, {"zones", len(d.Zones), MaxZones}, {"limits", len(d.Limits), MaxLimits},
		{"guards", len(d.Guards), MaxGuards}, {"rules", len(d.Rules), MaxRules}, {"invariants", len(d.Invariants), MaxInvariants},
	} {
		if n.have > n.max {
			return invalid("policy", "%d %s, at most %d", n.have, n.what, n.max)
		}
	}
	for _, check := range []func() error{
		d.checkPrices, d.checkAssets, d.checkWallets, d.checkAddressBook, d.checkMethods, d.checkZones, d.checkLimits, d.checkRules,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkPrices() error {
	p := &d.Prices
	if d.Currency == "" {
		if len(p.Sources) > 0 || p.Agree != 0 || p.Tolerance != 0 || p.MaxAge != 0 {
			return invalid("prices", "there is no currency to tell prices in")
		}
		return nil
	}
	if !currency(d.Currency) {
		return invalid("currency", "%q: want 3 to 8 characters of A-Z and 0-9", wire.CleanText(d.Currency, 80))
	}
	if len(p.Sources) == 0 || len(p.Sources) > MaxSources {
		return invalid("prices", "%d sources, want 1 to %d", len(p.Sources), MaxSources)
	}
	for _, s := range p.Sources {
		if err := wire.CheckName(s); err != nil {
			return invalid("prices", "source: %v", err)
		}
	}
	if err := checkSorted("prices", p.Sources); err != nil {
		return err
	}
	if p.Agree == 0 || int(p.Agree) > len(p.Sources) {
		return invalid("prices", "%d sources must agree of %d, want 1 to %d", p.Agree, len(p.Sources), len(p.Sources))
	}
	if p.Tolerance > 10000 {
		return invalid("prices", "tolerance %d/10000, at most 10000", p.Tolerance)
	}
	if p.MaxAge == 0 || p.MaxAge > maxPriceAge {
		return invalid("prices", "age of %d ms, want 1 to %d", p.MaxAge, uint64(maxPriceAge))
	}
	return nil
}

func currency(s string) bool {
	ok := len(s) >= 3 && len(s) <= 8
	for i := 0; ok && i < len(s); i++ {
		ok = 'A' <= s[i] && s[i] <= 'Z' || '0' <= s[i] && s[i] <= '9'
	}
	return ok
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
		folded := strings.ToLower(a.Symbol)
		if symbols[folded] {
			return invalid(at, "two assets have the symbol %s (case does not tell them apart)", a.Symbol)
		}
		symbols[folded] = true
		if i > 0 && d.Assets[i-1].ID >= a.ID {
			return invalid(at, "%s comes after %s: want different assets, sorted by id", a.ID, d.Assets[i-1].ID)
		}
	}
	if symbols[strings.ToLower(d.Currency)] {
		return invalid("currency", "an asset has the symbol %s too (case does not tell them apart)", d.Currency)
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

func (d *Document) checkWallets() error {
	ids := make(map[[32]byte]bool)
	for i := range d.Wallets {
		n := &d.Wallets[i]
		if err := wire.CheckName(n.Name); err != nil {
			return invalid("wallets", "%v", err)
		}
		if i > 0 && d.Wallets[i-1].Name >= n.Name {
			return invalid("wallets", "%q comes after %q: want different names, sorted", n.Name, d.Wallets[i-1].Name)
		}
		if ids[n.ID] {
			return invalid("wallets", "%s: the wallet %x has a name already", n.Name, n.ID[:8])
		}
		ids[n.ID] = true
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

func (d *Document) checkMethods() error {
	for i, m := range d.Methods {
		at := fmt.Sprintf("methods[%d]", i)
		if err := family.CheckMethod(&m); err != nil {
			return invalid(at, "%v", err)
		}
		if i > 0 && compareMethods(d.Methods[i-1], m) >= 0 {
			return invalid(at, "%s %s is out of order or there twice: want them sorted by contract and signature", m.Contract, m.Signature)
		}
	}
	return nil
}

func (d *Document) checkZones() error {
	const maxOffset = 26 * 3600
	for i := range d.Zones {
		z := &d.Zones[i]
		at := "zone " + wire.CleanText(z.Name, 80)
		if err := checkZoneName(z.Name); err != nil {
			return invalid(at, "%v", err)
		}
		if i > 0 && d.Zones[i-1].Name >= z.Name {
			return invalid(at, "comes after %q: want different zones, sorted", d.Zones[i-1].Name)
		}
		if len(z.Steps) == 0 || len(z.Steps) > MaxSteps {
			return invalid(at, "%d steps, want 1 to %d", len(z.Steps), MaxSteps)
		}
		for j, s := range z.Steps {
			if s.From < 0 || s.From > maxUnix || j > 0 && z.Steps[j-1].From >= s.From {
				return invalid(at, "step %d begins at %d: want unix seconds, each later than the one before", j, s.From)
			}
			if s.Offset < -maxOffset || s.Offset > maxOffset {
				return invalid(at, "step %d is %d s from UTC, at most %d", j, s.Offset, maxOffset)
			}
		}
		if last := z.Steps[len(z.Steps)-1].From; z.Until <= last || z.Until > maxUnix {
			return invalid(at, "is known until %d: want a time after its last step, %d, up to the year 9999", z.Until, last)
		}
	}
	return nil
}

func (d *Document) checkLimits() error {
	for i := range d.Limits {
		l := &d.Limits[i]
		at := "limit " + wire.CleanText(l.Name, 80)
		if err := wire.CheckName(l.Name); err != nil {
			return invalid(at, "%v", err)
		}
		if i > 0 && d.Limits[i-1].Name >= l.Name {
			return invalid(at, "comes after %q: want different limits, sorted", d.Limits[i-1].Name)
		}
		if err := d.checkMeasure(at, l); err != nil {
			return err
		}
		for j, s := range l.Per {
			if s < PerWallet || s > PerDestination || j > 0 && l.Per[j-1] >= s {
				return invalid(at, "per %d: want different ones of 1 (wallet), 2 (asset), 3 (initiator), 4 (destination), sorted", s)
			}
		}
		if err := d.checkWindow(at, &l.Window); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkMeasure(at string, l *Limit) error {
	switch l.Measure {
	case MeasureAmount:
		if err := d.checkKnown(l.Asset); err != nil {
			return invalid(at, "%v", err)
		}
		if slices.Contains(l.Per, PerAsset) {
			return invalid(at, "counts amounts of one asset: per asset says nothing")
		}
		return nil
	case MeasureMoney:
		if d.Currency == "" {
			return invalid(at, "the policy has no currency: say which, and which price sources count")
		}
	case MeasureCount:
	default:
		return invalid(at, "measure %d, want 1 (amount), 2 (money) or 3 (count)", l.Measure)
	}
	if l.Asset != "" {
		return invalid(at, "measures no amount, but names the asset %s", l.Asset)
	}
	return nil
}

func (d *Document) checkWindow(at string, w *Window) error {
	switch w.Kind {
	case Rolling:
		if w.Length == 0 || w.Length > maxWindow || w.Unit != 0 || w.Zone != "" {
			return invalid(at, "rolling window of %d ms: want 1 to %d (366 days), and no unit and zone", w.Length, uint64(maxWindow))
		}
		return nil
	case Calendar:
	default:
		return invalid(at, "window %d, want 1 (rolling) or 2 (calendar)", w.Kind)
	}
	if w.Unit < Day || w.Unit > Year || w.Length != 0 {
		return invalid(at, "calendar window of unit %d: want 1 (day), 2 (week), 3 (month) or 4 (year), and no length", w.Unit)
	}
	if _, ok := d.zone(w.Zone); !ok {
		return invalid(at, "zone %q is not one of this policy's zones", wire.CleanText(w.Zone, 80))
	}
	return nil
}

// checkRules checks guards, rules and invariants, and what they cost together.
func (d *Document) checkRules() error {
	seen := map[string]bool{undecodedGuard: true, effectsGuard: true}
	cost := 0
	condition := func(what, name string, e *Expr) error {
		at := what + " " + wire.CleanText(name, 80)
		if err := wire.CheckName(name); err != nil {
			return invalid(at, "%v", err)
		}
		if seen[name] {
			return invalid(at, "the name is taken by another guard, rule or invariant, or built in")
		}
		seen[name] = true
		c := typing{doc: d, bound: make([]Type, 0, MaxNesting)}
		t, _, err := c.node(e, 1)
		if err != nil {
			return invalid(at, "%v", err)
		}
		if t != TypeBool {
			return invalid(at, "the condition is of type %s, want bool", t)
		}
		if cost += c.cost; cost > MaxCost {
			return invalid(at, "up to here conditions could take more than %d steps: nest fewer quantifiers", MaxCost)
		}
		return nil
	}
	for i := range d.Guards {
		if err := condition("guard", d.Guards[i].Name, &d.Guards[i].When); err != nil {
			return err
		}
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if err := condition("rule", r.Name, &r.When); err != nil {
			return err
		}
		if err := r.Then.check("rule " + r.Name); err != nil {
			return err
		}
		if r.BreakGlass && r.Then.Effect == Deny {
			return invalid("rule "+r.Name, "denies and is a break-glass rule: want one that allows something")
		}
	}
	for i := range d.Invariants {
		v := &d.Invariants[i]
		if err := condition("invariant", v.Name, &v.When); err != nil {
			return err
		}
		if err := v.AtLeast.check("invariant " + v.Name); err != nil {
			return err
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

func (f *Floor) check(at string) error {
	if f.Group != "" {
		if err := wire.CheckName(f.Group); err != nil {
			return invalid(at, "group: %v", err)
		}
	}
	switch {
	case f.Deny && (f.Approvals != 0 || f.InitiatorExcluded || f.Group != ""):
		return invalid(at, "demands a denial and approvals")
	case !f.Deny && (f.Approvals == 0 || f.Approvals > maxCount):
		return invalid(at, "demands %d approvals, want 1 to %d, or a denial", f.Approvals, maxCount)
	}
	return nil
}
