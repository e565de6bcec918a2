package source

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/policy"
)

// condText is a condition: in YAML it may take several lines.
type condText struct{ line, lines string }

const conditionWidth = 92

func conditionOf(d *policy.Document, e *policy.Expr) condText {
	f := formatter{doc: d, lim: conditionWidth}
	return condText{Format(d, e), f.text(e, "")}
}

// YAML is a document as people write it. Compile reads it back into a document
// with the same root.
func YAML(d *policy.Document) []byte {
	var b strings.Builder
	for i, f := range object(d) {
		if list, ok := f.Value.([]any); i > 0 && (!ok || len(list) > 0) {
			b.WriteByte('\n')
		}
		writeField(&b, f, "")
	}
	return []byte(b.String())
}

// JSON is the same in JSON, which Compile reads, too.
func JSON(d *policy.Document) []byte { return form.Write(plainJSON(object(d))) }

// plainJSON puts conditions on one line.
func plainJSON(v any) any {
	switch v := v.(type) {
	case form.Object:
		out := make(form.Object, 0, len(v))
		for _, f := range v {
			out = append(out, form.Field{Name: f.Name, Value: plainJSON(f.Value)})
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, x := range v {
			out = append(out, plainJSON(x))
		}
		return out
	case condText:
		return v.line
	}
	return v
}

// object is the document as a tree of fields, without what is empty.
func object(d *policy.Document) form.Object {
	var out form.Object
	add := func(name string, empty bool, value any) {
		if !empty {
			out = append(out, form.Field{Name: name, Value: value})
		}
	}
	add("currency", d.Currency == "", d.Currency)
	add("prices", d.Currency == "", form.Object{
		{Name: "sources", Value: form.Strings(d.Prices.Sources)}, {Name: "agree", Value: int(d.Prices.Agree)},
		{Name: "tolerance", Value: formatPercent(d.Prices.Tolerance)}, {Name: "maxAge", Value: formatDuration(d.Prices.MaxAge)},
	})
	var assets, walletNames, book, zones form.Object
	for _, a := range d.Assets {
		assets = append(assets, form.Field{Name: a.Symbol, Value: form.Object{{Name: "id", Value: a.ID}, {Name: "decimals", Value: int(a.Decimals)}}})
	}
	add("assets", len(assets) == 0, assets)
	for _, w := range d.Wallets {
		walletNames = append(walletNames, form.Field{Name: w.Name, Value: hex.EncodeToString(w.ID[:])})
	}
	add("wallets", len(walletNames) == 0, walletNames)
	for _, e := range d.AddressBook {
		book = append(book, form.Field{Name: e.Label, Value: form.Strings(e.Addresses)})
	}
	add("addressBook", len(book) == 0, book)
	var methods []any
	for _, m := range d.Methods {
		if m.Contract == "" {
			methods = append(methods, m.Signature)
		} else {
			methods = append(methods, form.Object{{Name: "contract", Value: m.Contract}, {Name: "signature", Value: m.Signature}})
		}
	}
	add("methods", len(methods) == 0, methods)
	for i := range d.Zones {
		zones = append(zones, form.Field{Name: d.Zones[i].Name, Value: zoneObject(&d.Zones[i])})
	}
	add("zones", len(zones) == 0, zones)
	var limits []any
	for i := range d.Limits {
		limits = append(limits, limitObject(d, &d.Limits[i]))
	}
	add("limits", len(limits) == 0, limits)
	return append(out, ruleFields(d)...)
}

func ruleFields(d *policy.Document) form.Object {
	var out form.Object
	guards, rules, invariants := []any{}, []any{}, []any{}
	for i := range d.Guards {
		g := &d.Guards[i]
		guards = append(guards, form.Object{{Name: "name", Value: g.Name}, {Name: "when", Value: conditionOf(d, &g.When)}})
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		o := form.Object{{Name: "name", Value: r.Name}, {Name: "when", Value: conditionOf(d, &r.When)}, {Name: "then", Value: verdictValue(&r.Then)}}
		if r.BreakGlass {
			o = append(o, form.Field{Name: "breakGlass", Value: true})
		}
		rules = append(rules, o)
	}
	for i := range d.Invariants {
		v := &d.Invariants[i]
		invariants = append(invariants, form.Object{{Name: "name", Value: v.Name}, {Name: "when", Value: conditionOf(d, &v.When)}, {Name: "atLeast", Value: floorValue(&v.AtLeast)}})
	}
	if len(guards) > 0 {
		out = append(out, form.Field{Name: "guards", Value: guards})
	}
	out = append(out, form.Field{Name: "rules", Value: rules})
	if len(invariants) > 0 {
		out = append(out, form.Field{Name: "invariants", Value: invariants})
	}
	return out
}

// zoneObject is a year, when this machine's database compiles the zone to the
// same; else the steps themselves.
func zoneObject(z *policy.Zone) any {
	until := time.Unix(z.Until, 0).UTC()
	if same, err := Zone(z.Name, until.Year()); err == nil && same.Until == z.Until && len(same.Steps) == len(z.Steps) {
		equal := true
		for i := range same.Steps {
			equal = equal && same.Steps[i] == z.Steps[i]
		}
		if equal {
			return until.Year()
		}
	}
	var steps []any
	for _, s := range z.Steps {
		steps = append(steps, form.Object{{Name: "from", Value: formatMoment(s.From)}, {Name: "offset", Value: int(s.Offset)}})
	}
	return form.Object{{Name: "until", Value: formatMoment(z.Until)}, {Name: "steps", Value: steps}}
}

func limitObject(d *policy.Document, l *policy.Limit) form.Object {
	out := form.Object{{Name: "name", Value: l.Name}, {Name: "max", Value: maxText(d, l)}}
	if len(l.Per) > 0 {
		var per []any
		for _, s := range l.Per {
			per = append(per, scopes[s-1])
		}
		out = append(out, form.Field{Name: "per", Value: per})
	}
	var window any = formatDuration(l.Window.Length)
	if l.Window.Kind == policy.Calendar {
		window = form.Object{{Name: "calendar", Value: units[l.Window.Unit-1]}, {Name: "zone", Value: l.Window.Zone}}
	}
	return append(out, form.Field{Name: "window", Value: window})
}

func maxText(d *policy.Document, l *policy.Limit) string {
	switch l.Measure {
	case policy.MeasureAmount:
		return formatAmount(d, l.Asset, l.Max)
	case policy.MeasureMoney:
		return formatMoney(d, l.Max)
	}
	return l.Max.Dec() + " requests"
}

func formatPercent(n uint16) string {
	s := fmt.Sprintf("%d.%02d", n/100, n%100)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "%"
}

func formatDuration(ms uint64) string {
	for _, u := range []struct {
		ms   uint64
		name string
	}{{24 * 3600 * 1000, "d"}, {3600 * 1000, "h"}, {60 * 1000, "m"}, {1000, "s"}} {
		if ms%u.ms == 0 && (u.name != "d" || ms > u.ms) {
			return fmt.Sprintf("%d%s", ms/u.ms, u.name)
		}
	}
	return fmt.Sprintf("%dms", ms)
}

func verdictValue(v *policy.Verdict) any {
	switch v.Effect {
	case policy.Allow:
		return "allow"
	case policy.Deny:
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

func floorValue(f *policy.Floor) any {
	if f.Deny {
		return "deny"
	}
	out := form.Object{{Name: "approvals", Value: int(f.Approvals)}}
	if f.InitiatorExcluded {
		out = append(out, form.Field{Name: "initiatorExcluded", Value: true})
	}
	if f.Group != "" {
		out = append(out, form.Field{Name: "group", Value: f.Group})
	}
	return out
}

// writeField writes one field of a mapping at an indentation.
func writeField(b *strings.Builder, f form.Field, indent string) {
	b.WriteString(indent + scalar(f.Name) + ":")
	switch v := f.Value.(type) {
	case condText:
		writeCondition(b, v, indent)
		return
	case form.Object, []any:
		if s := flow(v); len(indent)+len(f.Name)+len(s) <= 100 && indent != "" || s == "[]" {
			b.WriteString(" " + s + "\n")
			return
		}
		b.WriteByte('\n')
		writeBlock(b, v, indent+"  ")
		return
	}
	b.WriteString(" " + flow(f.Value) + "\n")
}

func writeBlock(b *strings.Builder, v any, indent string) {
	switch v := v.(type) {
	case form.Object:
		for _, f := range v {
			writeField(b, f, indent)
		}
	case []any:
		for _, item := range v {
			o, ok := item.(form.Object)
			if s := flow(item); !ok || s != "" && len(indent)+len(s) < 100 {
				b.WriteString(indent + "- " + flow(item) + "\n")
				continue
			}
			var inner strings.Builder
			for _, f := range o {
				writeField(&inner, f, indent+"  ")
			}
			b.WriteString(indent + "- " + strings.TrimPrefix(inner.String(), indent+"  "))
		}
	}
}

// writeCondition writes CEL plain where YAML leaves it alone, else as a block.
func writeCondition(b *strings.Builder, c condText, indent string) {
	if !strings.Contains(c.lines, "\n") && plainCEL.MatchString(c.line) && !strings.Contains(c.line, ": ") && !strings.Contains(c.line, " #") {
		b.WriteString(" " + c.line + "\n")
		return
	}
	b.WriteString(" |-\n")
	for _, line := range strings.Split(c.lines, "\n") {
		b.WriteString(indent + "  " + line + "\n")
	}
}

var plainCEL = regexp.MustCompile(`^[a-z][^\n]*[^:\s]$`)

// flow writes a value on one line; conditions have no such form, and give "".
func flow(v any) string {
	var parts []string
	switch v := v.(type) {
	case form.Object:
		for _, f := range v {
			s := flow(f.Value)
			if s == "" {
				return ""
			}
			parts = append(parts, scalar(f.Name)+": "+s)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		for _, x := range v {
			s := flow(x)
			if s == "" {
				return ""
			}
			parts = append(parts, s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		return scalar(v)
	case condText:
		return ""
	}
	return fmt.Sprint(v)
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@-]*(:[A-Za-z0-9_./-]+)*$`)

var plainNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?( [A-Za-z]+|[dhms]|ms|%)$`) // 10 ETH, 24h, 1%

// scalar writes a string, in quotes where YAML or an old reader could take it for
// something else.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
	default:
		if plain.MatchString(s) || plainNumber.MatchString(s) {
			return s
		}
	}
	return quoteJSON(s)
}

func quoteJSON(s string) string { return strings.TrimSuffix(string(form.Write(s)), "\n") }
